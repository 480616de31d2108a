//! What literals mean: numbers, addresses, durations, escapes.
//!
//! The lexical pass calls these to report, the tree builder to get the value.

use std::net::Ipv4Addr;

use lambdac_diag::{Diagnostic, Span};

/// Why a literal is none.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    label: String,
    help: Option<&'static str>,
    /// The bytes of a quoted literal's inside that are wrong; without it, the whole literal.
    pub(crate) range: Option<(usize, usize)>,
}

impl Problem {
    fn new(message: &str, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: label.into(),
            help: None,
            range: None,
        }
    }

    fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    fn at(mut self, from: usize, to: usize) -> Self {
        self.range = Some((from, to));
        self
    }

    /// As an error at `span`.
    pub(crate) fn diagnostic(self, span: Span) -> Diagnostic {
        let d = Diagnostic::error("E0104", self.message, span, self.label);
        match self.help {
            Some(help) => d.with_help(help),
            None => d,
        }
    }
}

/// A token that starts with a digit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// The value and the length of the suffix (0 without one).
    Int(u128, usize),
    /// Nanoseconds.
    Duration(u64),
    /// An IPv4 address.
    Ip(u32),
}

/// Reads a token that starts with a digit.
pub(crate) fn number(text: &str) -> Result<Number, Problem> {
    if text.contains('.') {
        return address(text);
    }
    let (radix, digits_at) = match text.get(..2) {
        Some("0x") => (16, 2),
        Some("0b") => (2, 2),
        _ => (10, 0),
    };
    let body = &text[digits_at..];
    let is_digit = |c: char| {
        c == '_'
            || if radix == 16 {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
    };
    let (digits, suffix) = body.split_at(body.find(|c| !is_digit(c)).unwrap_or(body.len()));
    let value = digits_value(digits, radix)?;
    match suffix {
        "" => Ok(Number::Int(value, 0)),
        "ns" | "us" | "ms" | "s" if radix == 10 => duration(value, suffix),
        _ if is_int_type(suffix) => Ok(Number::Int(value, suffix.len())),
        _ => Err(Problem::new("malformed number", "unknown suffix")
            .help("a suffix is an integer type (`10u8`) or, for a duration, `ns`, `us`, `ms` or `s`")),
    }
}

fn is_int_type(suffix: &str) -> bool {
    let width = suffix.strip_prefix(['u', 'i']).unwrap_or_default();
    matches!(width.len(), 1..=3) && width.bytes().all(|b| b.is_ascii_digit())
}

fn digits_value(digits: &str, radix: u32) -> Result<u128, Problem> {
    let mut value: u128 = 0;
    let mut any = false;
    for c in digits.chars().filter(|&c| c != '_') {
        let digit = c
            .to_digit(radix)
            .ok_or_else(|| Problem::new("malformed number", format!("`{c}` is no digit here")))?;
        any = true;
        value = value
            .checked_mul(radix.into())
            .and_then(|v| v.checked_add(digit.into()))
            .ok_or_else(|| Problem::new("number too large", "does not fit 128 bits"))?;
    }
    if any {
        Ok(value)
    } else {
        Err(Problem::new("malformed number", "no digits"))
    }
}

fn duration(value: u128, unit: &str) -> Result<Number, Problem> {
    let nanoseconds = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        _ => 1,
    };
    let total = value.checked_mul(nanoseconds).and_then(|v| u64::try_from(v).ok());
    total
        .map(Number::Duration)
        .ok_or_else(|| Problem::new("duration too long", "does not fit 64 bits of nanoseconds"))
}

fn address(text: &str) -> Result<Number, Problem> {
    let octets: Vec<&str> = text.split('.').take(5).collect();
    let decimal = octets
        .iter()
        .all(|o| !o.is_empty() && o.bytes().all(|b| b.is_ascii_digit()));
    if octets.len() != 4 || !decimal {
        return Err(
            Problem::new("malformed number", "neither an integer nor an IPv4 address")
                .help("there are no fractions; an address has four parts, as in `10.0.0.1`"),
        );
    }
    let mut value = [0u8; 4];
    for (slot, octet) in value.iter_mut().zip(&octets) {
        let digits = octet.trim_start_matches('0');
        *slot = if digits.is_empty() { Ok(0) } else { digits.parse() }
            .map_err(|_| Problem::new("address out of range", "a part of an address is at most 255"))?;
    }
    Ok(Number::Ip(Ipv4Addr::from(value).to_bits()))
}

/// The bytes that the inside of a quoted literal stands for.
pub(crate) fn unescape(inside: &str) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(inside.len());
    each_escaped(inside, |bytes| out.extend_from_slice(bytes))?;
    Ok(out)
}

/// Whether [`unescape`] would succeed.
pub(crate) fn check_escapes(inside: &str) -> Result<(), Problem> {
    each_escaped(inside, |_| {})
}

/// The byte that the inside of `b'…'` stands for.
pub(crate) fn byte(inside: &str) -> Result<u8, Problem> {
    match unescape(inside)?.as_slice() {
        [byte] if byte.is_ascii() || inside.starts_with('\\') => Ok(*byte),
        _ => Err(Problem::new("malformed byte", "must hold exactly one byte")
            .help("longer ones are written `b\"…\"`")),
    }
}

fn each_escaped(inside: &str, mut emit: impl FnMut(&[u8])) -> Result<(), Problem> {
    let mut at = 0;
    while at < inside.len() {
        let Some(plain) = inside[at..].find('\\') else {
            emit(&inside.as_bytes()[at..]);
            break;
        };
        emit(&inside.as_bytes()[at..at + plain]);
        at += plain;
        let (byte, len) = escape(&inside[at..]).ok_or_else(|| bad_escape(inside, at))?;
        emit(&[byte]);
        at += len;
    }
    Ok(())
}

/// The byte and length of the escape that `text` starts with.
fn escape(text: &str) -> Option<(u8, usize)> {
    let byte = match text.as_bytes().get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'"' => b'"',
        b'\'' => b'\'',
        b'x' => {
            let digits = text
                .get(2..4)
                .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            return Some((u8::from_str_radix(digits, 16).ok()?, 4));
        }
        _ => return None,
    };
    Some((byte, 2))
}

fn bad_escape(inside: &str, at: usize) -> Problem {
    let len: usize = inside[at..].chars().take(2).map(char::len_utf8).sum();
    Problem::new("unknown escape", "not an escape")
        .help("the escapes are `\\n \\r \\t \\0 \\\\ \\\" \\'` and `\\x41`")
        .at(at, at + len)
}
