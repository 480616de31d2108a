//! Values, as constants of a program and as the evaluator computes them.

use std::sync::Arc;

/// A value. Its [`crate::Type`] is known from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// Integer or enum: the low bits of the type's width, zero-extended, for signed types too.
    Int(u64),
    /// `[T; n]` with n elements.
    Array(Vec<Value>),
    /// `bytes<n>`, and `[u8; n]` is *not* this but [`Value::Array`].
    Bytes(Vec<u8>),
    /// A struct's or header's fields in declaration order.
    Struct(Vec<Value>),
    /// `T?` without a value.
    None,
    /// `T?` with one.
    Some(Arc<Value>),
    /// No value.
    Unit,
}

impl Value {
    /// The integer of a scalar; bools are 0 and 1.
    ///
    /// # Panics
    /// If the value is no scalar, which the type checker excludes.
    pub fn as_int(&self) -> u64 {
        match self {
            Self::Int(v) => *v,
            Self::Bool(b) => u64::from(*b),
            other => unreachable!("a scalar was expected, found {other:?}"),
        }
    }

    /// The bool of a `bool`.
    ///
    /// # Panics
    /// If the value is no bool, which the type checker excludes.
    pub fn as_bool(&self) -> bool {
        match self {
            Self::Bool(b) => *b,
            other => unreachable!("a bool was expected, found {other:?}"),
        }
    }
}
