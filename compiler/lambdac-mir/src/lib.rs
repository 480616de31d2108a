//! MIR: what lowering makes, passes rewrite and back ends read.
//!
//! A [`Module`] is one workload; an image is a list of them. Bodies are **structured**: scalars are SSA values inside
//! nested regions (`if`, `switch`, `block`, `loop`), with early exits by label, because P4 and the kernel verifier have
//! no goto and worst cases are a walk over the tree. Aggregates (arrays, bytes, structs) are never SSA values: they live
//! in slots and state objects and are reached through typed [`Place`]s.
//!
//! - **Scalars** are integers `i1` to `i64` without a sign; operations carry the sign. A value is held zero-extended. All
//!   operations are total, with the language's meaning (`x / 0 == 0`, a shift past the width gives 0 or the sign fill).
//! - **Checks are explicit.** A place with an index is in bounds whenever it is reached; lowering puts a
//!   [`Op::Check`] before it, and range analysis deletes those that always hold.
//! - **Byte strings** are read through [`View`]s (place, offset, length), so slices cost nothing.
//! - **The request** is a read-only byte string; header fields are read by [`Op::LoadBits`] at constant bit offsets.
//! - **State**: a scalar load or store on an object is atomic; nothing moves across a [`Op::Check`] or trap.
//! - **The match stage stays declarative** ([`Match`]): rules over fields, masks, ranges and tables.
//! - **await** is an [`Op::Await`] until the split, which cuts a lambda into [`Part`]s that end in [`Term::Await`].
//!
//! The text form (printer and parser) is described in `lang-spec/mir.md`; the invariants are the validator's doc.

#![forbid(unsafe_code)]

mod body;
mod effects;
pub mod interp;
mod lexer;
pub mod memcached;
mod module;
mod parse;
mod print;
mod shape;
pub mod validate;
mod visit;
mod walk;

pub use body::*;
pub use effects::{Effects, func_effects};
pub use module::*;
pub use parse::{MAX_TEXT_BYTES, ParseError, parse, parse_image};
pub use print::{print_func, print_image, print_lambda, print_region};
pub use shape::{MAX_SHAPE_DEPTH, base_shape, mask, place_shape, scalar_bytes, sign_extend};
pub use validate::{ValidateError, validate};
pub use visit::{Access, Use, UseMut};
