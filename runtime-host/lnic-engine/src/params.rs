//! Deploy-time parameters: their values in memory, and how they are read from text.

use std::net::Ipv4Addr;

use lambdac_backend_host::layout;
use lambdac_mir::{Data, Module, Param, Shape};

use crate::error::{Error, Result};
use crate::words::Words;

/// The values of a module's parameters, as generated code reads them.
pub struct Params {
    words: Words,
    values: Vec<Data>,
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Params").field(&self.values).finish()
    }
}

impl Params {
    /// The defaults of a module, with some values replaced.
    ///
    /// # Errors
    /// A parameter that is unknown, has a value that is not of its type, or has none at all.
    pub fn new(module: &Module, values: &[(&str, Data)]) -> Result<Self> {
        let workload = || module.name.to_string();
        if let Some((name, _)) = values
            .iter()
            .find(|(name, _)| !module.params.iter().any(|p| *p.name == **name))
        {
            return Err(Error::UnknownParam {
                workload: workload(),
                param: (*name).into(),
            });
        }
        let bad = |param: &Param, reason: String| Error::BadParam {
            workload: workload(),
            param: param.name.to_string(),
            reason,
        };
        let compile = |source| Error::Compile {
            workload: workload(),
            source,
        };
        let (offsets, size) = layout::params(&module.params).map_err(compile)?;
        let mut memory = vec![0; size as usize];
        let mut all = Vec::with_capacity(module.params.len());
        for (param, offset) in module.params.iter().zip(offsets) {
            let given = values
                .iter()
                .rev()
                .find(|(name, _)| *param.name == **name)
                .map(|(_, data)| data);
            let Some(data) = given.or(param.default.as_ref()) else {
                return Err(Error::MissingParam {
                    workload: workload(),
                    param: param.name.to_string(),
                });
            };
            let bytes = layout::encoded(&param.shape, data).map_err(|error| bad(param, error.to_string()))?;
            memory[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            all.push(data.clone());
        }
        let words = Words::for_bytes(memory.len());
        words.fill(&memory);
        Ok(Self { words, values: all })
    }

    /// The values, in the module's order.
    pub fn values(&self) -> &[Data] {
        &self.values
    }

    pub(crate) fn base(&self) -> *const u8 {
        self.words.base()
    }
}

/// Reads a parameter's value from text: numbers as the language writes them (decimal, `0x`, `0b`, `_` between digits),
/// durations (`5ms`), IPv4 addresses, `true` and `false`; arrays of them with commas between their elements; byte strings
/// and arrays of bytes as they are.
///
/// # Errors
/// Why the text is no value of the parameter's type.
pub fn parse_param(param: &Param, text: &str) -> std::result::Result<Data, String> {
    match &param.shape {
        Shape::Scalar(width) => parse_scalar(*width, param.signed, text).map(Data::Int),
        Shape::Bytes(capacity) if text.len() <= *capacity as usize => Ok(Data::Bytes(text.as_bytes().into())),
        Shape::Bytes(capacity) => Err(format!("{} bytes do not fit bytes<{capacity}>", text.len())),
        Shape::Array(element, count) if **element == Shape::Scalar(8) => {
            if text.len() == *count as usize {
                Ok(Data::Bytes(text.as_bytes().into()))
            } else {
                Err(format!("{count} bytes are needed, not {}", text.len()))
            }
        }
        Shape::Array(element, count) => match **element {
            Shape::Scalar(width) => parse_list(width, param.signed, *count, text),
            _ => Err(UNREADABLE.into()),
        },
        Shape::Struct(_) | Shape::View => Err(UNREADABLE.into()),
    }
}

/// What is said of types that have no text.
const UNREADABLE: &str = "only integers, arrays of them and byte strings can be given as text";

/// Reads an array of integers of a width.
fn parse_list(width: u8, signed: bool, count: u32, text: &str) -> std::result::Result<Data, String> {
    let elements: Vec<&str> = text.split(',').collect();
    if elements.len() != count as usize {
        return Err(format!("{count} elements are needed, not {}", elements.len()));
    }
    let element = |text: &&str| parse_scalar(width, signed, text).map(Data::Int);
    let list: std::result::Result<Vec<Data>, String> = elements.iter().map(element).collect();
    Ok(Data::List(list?.into()))
}

/// Reads an integer of a width.
pub(crate) fn parse_scalar(width: u8, signed: bool, text: &str) -> std::result::Result<u64, String> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) if signed => (true, digits),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(digits).ok_or_else(|| format!("`{text}` is no integer"))?;
    let most = match (signed, negative) {
        (false, _) => layout::mask(width),
        (true, true) => 1 << (width - 1),
        (true, false) => layout::mask(width) >> 1,
    };
    if magnitude > most {
        let sign = if signed { "i" } else { "u" };
        return Err(format!("`{text}` is out of range of {sign}{width}"));
    }
    let value = if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    };
    Ok(value & layout::mask(width))
}

fn parse_magnitude(text: &str) -> Option<u64> {
    match text {
        "true" => return Some(1),
        "false" => return Some(0),
        _ => (),
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(u32::from(address).into());
    }
    let clean = |text: &str| text.replace('_', "");
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(&clean(hex), 16).ok();
    }
    if let Some(binary) = text.strip_prefix("0b") {
        return u64::from_str_radix(&clean(binary), 2).ok();
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" | "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    clean(digits).parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{Data, parse_list, parse_scalar};

    #[test]
    fn lists_are_integers_with_commas() {
        let list = |values: &[u64]| Ok(Data::List(values.iter().map(|value| Data::Int(*value)).collect()));
        assert_eq!(
            parse_list(32, false, 3, "1, 10.0.0.1,5us"),
            list(&[1, 0x0a00_0001, 5000])
        );
        assert_eq!(parse_list(16, true, 1, "-1"), list(&[0xffff]));
        for (count, text) in [(3, "1,2"), (1, "1,2"), (2, "1,"), (1, "70000")] {
            assert!(parse_list(16, false, count, text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_read_as_the_language_writes_them() {
        let cases = [
            (64, false, "60s", Ok(60_000_000_000)),
            (32, false, "10.0.0.1", Ok(0x0a00_0001)),
            (16, false, "0xbeef", Ok(0xbeef)),
            (8, true, "-128", Ok(0x80)),
            (20, false, "1_000", Ok(1000)),
            (1, false, "true", Ok(1)),
        ];
        for (width, signed, text, value) in cases {
            assert_eq!(parse_scalar(width, signed, text), value, "{text}");
        }
        for (width, signed, text) in [
            (8, false, "256"),
            (8, true, "128"),
            (8, false, "-1"),
            (8, false, "x"),
            (8, false, ""),
        ] {
            assert!(parse_scalar(width, signed, text).is_err(), "{text}");
        }
    }
}
