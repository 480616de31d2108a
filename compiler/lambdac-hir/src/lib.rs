//! Typed HIR: one workload after names are resolved and types are checked.
//!
//! The checker makes it, the evaluator runs it, lowering reads it. Everything that a program may leave out is filled
//! in here: literals have types and are within range, constants are folded to [`Value`]s, implicit conversions of
//! `bytes` are written out as [`ExprKind::Widen`], fields of struct literals keep the order in which they were written.
//! Libraries are resolved away: a workload holds the library items that it uses.
//!
//! A [`Workload`] exists only if checking found no error, so its readers need no error paths.

#![forbid(unsafe_code)]

mod body;
mod codec;
mod items;
mod types;
mod value;

pub use body::*;
pub use codec::{CodecError, MessageSize, decode, decode_prefix, encode, message_size};
pub use items::*;
pub use types::*;
pub use value::Value;
