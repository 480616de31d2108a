//! Types.

use std::sync::Arc;

/// An integer type: `u1` … `u64`, `i8`, `i16`, `i32`, `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntType {
    /// 1 to 64.
    pub bits: u8,
    /// Two's complement.
    pub signed: bool,
}

impl IntType {
    /// `uN`
    pub const fn unsigned(bits: u8) -> Self {
        Self { bits, signed: false }
    }

    /// `u32`
    pub const U32: Self = Self::unsigned(32);
    /// `u64`
    pub const U64: Self = Self::unsigned(64);
    /// `u8`
    pub const U8: Self = Self::unsigned(8);

    /// The low `bits` bits set.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }
}

/// Index into [`crate::Workload::enums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnumId(pub u32);

/// Index into [`crate::Workload::structs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StructId(pub u32);

/// A type of the language.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `bool`
    Bool,
    /// An integer.
    Int(IntType),
    /// An enum.
    Enum(EnumId),
    /// `[T; n]`
    Array(Arc<Type>, u32),
    /// `bytes<n>`
    Bytes(u32),
    /// Plain `bytes`: a fn parameter's read-only view of any length.
    BytesView,
    /// A struct or header.
    Struct(StructId),
    /// `T?`; T is not itself optional.
    Option(Arc<Type>),
    /// The value of a call of a fn without a return type, and of a block without a tail.
    Unit,
    /// The "value" of a block that always leaves (reply, return, break, …); fits every type.
    Never,
}

impl Type {
    /// `u32`
    pub const U32: Self = Self::Int(IntType::U32);
    /// `u64`
    pub const U64: Self = Self::Int(IntType::U64);
    /// `u8`
    pub const U8: Self = Self::Int(IntType::U8);

    /// Whether a value is one machine word: bool, integer or enum.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Bool | Self::Int(_) | Self::Enum(_))
    }
}
