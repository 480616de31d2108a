//! Words shared with the parser, and `Display` of the small things: shapes, places, views, data, strings.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::{
    Base, BinOp, BitPos, CastOp, CmpOp, Data, HashOp, KeyPart, Loc, LogArg, MemoryRegion, Operand, Place,
    Protocol, RmwOp, ServiceOp, Shape, Side, Step, TableKind, View,
};

/// Runs of at least so many equal elements print as `value x count`.
const RUN: usize = 4;
/// Runs of at least so many equal bytes print as `value x count`.
const BYTE_RUN: usize = 24;

macro_rules! words {
    ($($ty:ident { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        impl $ty {
            /// Its word in the text form.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What a word of the text form means.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

words! {
    BinOp {
        Add = "add", Sub = "sub", Mul = "mul", UDiv = "udiv", SDiv = "sdiv", URem = "urem", SRem = "srem",
        And = "and", Or = "or", Xor = "xor", Shl = "shl", LShr = "lshr", AShr = "ashr",
        UMin = "umin", UMax = "umax", SMin = "smin", SMax = "smax",
    }
    CmpOp { Eq = "eq", Ne = "ne", Ult = "ult", Ule = "ule", Slt = "slt", Sle = "sle" }
    CastOp { ZExt = "zext", SExt = "sext", Trunc = "trunc" }
    RmwOp { Add = "atomic_add", Sub = "atomic_sub", Swap = "atomic_swap" }
    HashOp { Crc32 = "crc32", Crc16 = "crc16" }
    ServiceOp { Get = "get", Set = "set", Delete = "delete" }
    MemoryRegion { Lmem = "lmem", Cls = "cls", Ctm = "ctm", Imem = "imem", Emem = "emem" }
    TableKind { Exact = "exact", Lpm = "lpm", Ternary = "ternary" }
    Protocol { Memcached = "memcached" }
    Side { Host = "host", Nic = "nic" }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(width) => write!(f, "i{width}"),
            Self::Array(element, len) => write!(f, "[{element} x {len}]"),
            Self::Bytes(capacity) => write!(f, "bytes<{capacity}>"),
            Self::Struct(fields) => {
                f.write_str("{")?;
                list(f, fields.iter())?;
                f.write_str("}")
            }
            Self::View => f.write_str("view"),
        }
    }
}

impl Display for KeyPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(width) => write!(f, "i{width}"),
            Self::Bytes(len) => write!(f, "[i8 x {len}]"),
        }
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "{slot}"),
            Self::Arg(arg) => write!(f, "arg{arg}"),
            Self::Object(object) => write!(f, "{object}"),
            Self::Const(id) => write!(f, "{id}"),
            Self::Param(id) => write!(f, "{id}"),
            Self::Request => f.write_str("req"),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        for step in &self.path {
            match step {
                Step::Field(field) => write!(f, ".{field}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Display for View {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{} +: {}]", self.place, self.offset, self.len)
    }
}

impl Display for BitPos {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "bit {}", self.bit)?;
        match self.index {
            Some((index, stride)) => write!(f, " + {index} * {stride}"),
            None => Ok(()),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Place(place) => write!(f, "{place}"),
            Self::View(view) => write!(f, "{view}"),
        }
    }
}

impl Display for LogArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "unsigned {value}"),
            Self::Signed(value) => write!(f, "signed {value}"),
            Self::Bool(value) => write!(f, "bool {value}"),
            Self::Bytes(view) => write!(f, "bytes {view}"),
        }
    }
}

/// `@line`, or `@file:line` where the file is not the first; nothing where unknown.
impl Display for Loc {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.file, self.line) {
            (0, 0) => Ok(()),
            (0, line) => write!(f, "@{line}"),
            (file, line) => write!(f, "@{file}:{line}"),
        }
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Bytes(bytes) => write!(f, "{}", ByteText(bytes)),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, run) in items.chunk_by(|a, b| a == b).enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    match run {
                        [one, ..] if run.len() >= RUN => write!(f, "{one} x {}", run.len())?,
                        _ => list(f, run.iter())?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}

/// A byte string: `b"…"`, or `bytes[b"…", 0 x 1000]` where it has long runs.
pub(super) struct ByteText<'a>(pub &'a [u8]);

impl Display for ByteText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let runs = || self.0.chunk_by(|a, b| a == b);
        if !runs().any(|run| run.len() >= BYTE_RUN) {
            return quoted_bytes(f, self.0);
        }
        f.write_str("bytes[")?;
        let mut plain = 0..0;
        let mut first = true;
        let mut separate = |f: &mut Formatter<'_>| {
            let text = if first { "" } else { ", " };
            first = false;
            f.write_str(text)
        };
        for run in runs() {
            if run.len() < BYTE_RUN {
                plain.end += run.len();
                continue;
            }
            if !plain.is_empty() {
                separate(f)?;
                quoted_bytes(f, &self.0[plain.clone()])?;
            }
            separate(f)?;
            write!(f, "{} x {}", run[0], run.len())?;
            let next = plain.end + run.len();
            plain = next..next;
        }
        if !plain.is_empty() {
            separate(f)?;
            quoted_bytes(f, &self.0[plain])?;
        }
        f.write_str("]")
    }
}

fn quoted_bytes(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("b\"")?;
    for &byte in bytes {
        match byte {
            b'"' => f.write_str("\\\"")?,
            b'\\' => f.write_str("\\\\")?,
            b'\n' => f.write_str("\\n")?,
            0x20..=0x7e => f.write_char(char::from(byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_str("\"")
}

/// A name or other text: `"…"`.
pub(super) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_str("\"")
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (i, item) in items.enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}
