//! Types as the generator knows them.

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ty {
    Bool,
    /// Bits, signed.
    Int(u8, bool),
    /// Index into the enums.
    Enum(usize),
    Array(Box<Ty>, u32),
    Bytes(u32),
    /// Index into the structs.
    Struct(usize),
}

pub const U8: Ty = Ty::Int(8, false);
pub const U16: Ty = Ty::Int(16, false);
pub const U32: Ty = Ty::Int(32, false);
pub const U64: Ty = Ty::Int(64, false);

/// An enum of the program.
#[derive(Clone, Debug)]
pub struct EnumDef {
    pub name: String,
    pub bits: u8,
    pub variants: Vec<(String, u64)>,
}

/// A struct or header of the program.
#[derive(Clone, Debug)]
pub struct StructDef {
    pub name: String,
    pub header: bool,
    pub fields: Vec<(String, Ty)>,
}

/// A fn of the program.
#[derive(Clone, Debug)]
pub struct FnDef {
    pub name: String,
    pub params: Vec<FnParam>,
    pub ret: FnRet,
    /// Touches no state, draws no random number.
    pub pure: bool,
}

/// A parameter of a fn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FnParam {
    Value(Ty),
    /// `T?`
    Option(Ty),
    /// Plain `bytes`.
    View,
}

/// What a fn gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FnRet {
    Value(Ty),
    Option(Ty),
    Nothing,
}

impl Ty {
    /// Whether it is one machine word.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Bool | Self::Int(..) | Self::Enum(_))
    }
}
