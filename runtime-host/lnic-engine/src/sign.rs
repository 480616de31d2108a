//! Which integers of an object are signed. MIR's have no sign, as its operations have it; people do want to see one. It
//! stands in the declaration that each object carries (`map<i32, Pair>(16) where Pair { a: i8, b: u32 }`). Where that is too
//! long to be written out, everything reads as unsigned.

use lambdac_mir::KeyPart;

/// The signs of a value's integers, in its structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// An unsigned integer, or something else that has no sign.
    None,
    /// A signed integer of so many bits.
    Signed(u8),
    /// Elements.
    Array(Box<Sign>),
    /// Fields in order.
    Struct(Vec<Sign>),
}

/// The signs of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// By part of a key; empty where none is signed.
    key: Vec<Sign>,
    /// Of its value.
    pub(crate) value: Sign,
}

/// Structs in structs that are followed; the language has no recursive ones.
const MAX_DEPTH: usize = 32;

impl Signs {
    /// Reads a declaration.
    pub(crate) fn of(decl: &str, key: &[KeyPart]) -> Self {
        let (ty, structs) = decl.split_once(" where ").unwrap_or((decl, ""));
        let reader = Reader { structs };
        let Some((_, arguments)) = ty.split_once('<').filter(|(kind, _)| is_keyed(kind)) else {
            return Self {
                key: Vec::new(),
                value: reader.sign(ty, 0),
            };
        };
        let arguments = arguments.rsplit_once('>').map_or(arguments, |(inner, _)| inner);
        let (key_type, value) = split_top(arguments).unwrap_or((arguments, ""));
        let mut parts = Vec::new();
        flatten(reader.sign(key_type, 0), &mut parts);
        if parts.len() != key.len() {
            parts.clear();
        }
        Self {
            key: parts,
            value: reader.sign(value, 0),
        }
    }

    /// Of what has no signed integers.
    pub(crate) fn none() -> Self {
        Self {
            key: Vec::new(),
            value: Sign::None,
        }
    }

    /// The sign of a part of a key.
    pub(crate) fn part(&self, index: usize) -> &Sign {
        self.key.get(index).unwrap_or(&Sign::None)
    }
}

impl Sign {
    /// The sign of an element or field.
    pub(crate) fn at(&self, index: usize) -> &Sign {
        match self {
            Sign::Array(element) => element,
            Sign::Struct(fields) => fields.get(index).unwrap_or(&Sign::None),
            Sign::None | Sign::Signed(_) => &Sign::None,
        }
    }

    /// The number, if it is negative, that an integer without a sign stands for.
    pub(crate) fn negative(&self, value: u64) -> Option<i64> {
        let Sign::Signed(width @ 1..=64) = self else {
            return None;
        };
        let shift = 64 - u32::from(*width);
        let number = (value << shift).cast_signed() >> shift;
        (number < 0).then_some(number)
    }
}

fn is_keyed(kind: &str) -> bool {
    matches!(kind, "lru" | "map" | "exact" | "lpm" | "ternary")
}

/// At the first comma that is in no brackets.
fn split_top(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    let at = text.bytes().position(|byte| {
        match byte {
            b'<' | b'[' => depth += 1,
            b'>' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        byte == b',' && depth == 0
    })?;
    Some((&text[..at], &text[at + 1..]))
}

fn flatten(sign: Sign, parts: &mut Vec<Sign>) {
    match sign {
        Sign::Struct(fields) => fields.into_iter().for_each(|field| flatten(field, parts)),
        other => parts.push(other),
    }
}

/// The structs that a declaration spells out: `Pair { a: i8, b: u32 }, Other { … }`.
struct Reader<'d> {
    structs: &'d str,
}

impl Reader<'_> {
    fn sign(&self, ty: &str, depth: usize) -> Sign {
        let ty = ty.trim();
        if let Some(inner) = ty.strip_prefix('[') {
            let element = inner.rsplit_once(';').map_or(inner, |(element, _)| element);
            return match self.sign(element, depth) {
                Sign::None => Sign::None,
                sign => Sign::Array(Box::new(sign)),
            };
        }
        let width = ty.strip_prefix('i').and_then(|digits| digits.parse().ok());
        if let Some(width @ 1..=64) = width {
            return Sign::Signed(width);
        }
        self.fields(ty, depth).map_or(Sign::None, Sign::Struct)
    }

    fn fields(&self, name: &str, depth: usize) -> Option<Vec<Sign>> {
        if depth == MAX_DEPTH || name.is_empty() {
            return None;
        }
        let mut items = self
            .structs
            .split('}')
            .map(|item| item.trim_start_matches([',', ' ']));
        let body = items.find_map(|item| item.strip_prefix(name)?.strip_prefix(" {"))?;
        let mut rest = body;
        let mut signs = Vec::new();
        while !rest.trim().is_empty() {
            let (field, after) = split_top(rest).unwrap_or((rest, ""));
            let (_, ty) = field.split_once(':')?;
            signs.push(self.sign(ty, depth + 1));
            rest = after;
        }
        Some(signs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_from_declarations() {
        use Sign::{None, Signed};
        let value = |decl: &str| Signs::of(decl, &[]).value;
        assert_eq!(value("i32"), Signed(32));
        assert_eq!(value("u32"), None);
        assert_eq!(
            value("[[i7; 2]; 3]"),
            Sign::Array(Sign::Array(Signed(7).into()).into())
        );
        let decl = "Pair where Pair { a: i8, more: [Inner; 2] }, Inner { x: u8, y: i64, text: bytes<9> }";
        let inner = Sign::Struct(vec![None, Signed(64), None]);
        assert_eq!(
            value(decl),
            Sign::Struct(vec![Signed(8), Sign::Array(inner.into())])
        );
        for hostile in [
            "",
            "[",
            "i",
            "i65",
            "Pair where Pair { a",
            "Loop where Loop { l: Loop }",
        ] {
            value(hostile);
        }
        let key = [KeyPart::Scalar(16), KeyPart::Scalar(32), KeyPart::Bytes(4)];
        let signs = Signs::of(
            "lru<Key, i16>(4, ttl = 9) where Key { a: i16, b: u32, c: [u8; 4] }",
            &key,
        );
        assert_eq!(
            (signs.part(0), signs.part(1), signs.part(2)),
            (&Signed(16), &None, &None)
        );
        assert_eq!(signs.value, Signed(16));
    }

    #[test]
    fn negative_numbers_are_told_by_their_width() {
        assert_eq!(Sign::Signed(8).negative(0xfb), Some(-5));
        assert_eq!(Sign::Signed(8).negative(0x7b), None);
        assert_eq!(Sign::Signed(64).negative(u64::MAX), Some(-1));
        assert_eq!(Sign::None.negative(u64::MAX), None);
    }
}
