//! The validator: what every pass and back end may rely on.
//!
//! [`validate`] runs after lowering and after every pass in tests, and on every bundle that is loaded. It takes time
//! linear in the module (sorting of switch ranges and table keys aside) and recurses no deeper than [`MAX_DEPTH`].

mod body;
mod dispatch;
mod graph;
mod item;
mod op;
mod place;
mod region;

use std::fmt::{self, Display, Formatter};

use crate::{Loc, Module};

/// The deepest nesting of regions, counted through calls: inlining everything never makes a body deeper.
pub const MAX_DEPTH: u32 = 512;
/// The most values of a body.
pub const MAX_VALUES: usize = 1 << 20;
/// The most statements of a body.
pub const MAX_STATEMENTS: usize = 1 << 20;
/// The most labels of a body.
pub const MAX_LABELS: u32 = 1 << 20;
/// The most files, constants, objects, functions, lambdas, slots of a body, and so on.
pub const MAX_ITEMS: usize = 1 << 16;
/// The most packed bytes of a body's slots; of a call chain's, four times that.
pub const MAX_SLOT_BYTES: u64 = 16 << 20;
/// The most packed bytes of a key, and of a message.
pub const MAX_VALUE_BYTES: u64 = 1 << 20;
/// The most packed bytes of a constant, a parameter or a stored value: the language allows 1 MiB of contents, and the
/// four bytes that hold the length of a byte string may stand beside a single byte.
pub const MAX_DATA_BYTES: u64 = 5 * MAX_VALUE_BYTES;
/// The most packed bytes of an object, its whole capacity counted.
pub const MAX_OBJECT_BYTES: u64 = 1 << 30;
/// The most packed bytes of an object of kind value.
pub const MAX_STATE_VALUE_BYTES: u64 = 16 << 20;
/// The most bytes of a chunk of a stream, and of its reply.
pub const MAX_CHUNK_BYTES: u32 = 1344;
/// The most bytes of a name, type or address.
pub const MAX_NAME_BYTES: usize = 4096;

/// Errors reported before the validator stops.
const MAX_ERRORS: usize = 64;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ValidateError {
    /// The item, for example `func f0 "dec"` or `lambda l1 "get" part0`.
    pub site: String,
    /// The statement's source position, where there is one.
    pub loc: Loc,
    /// What is wrong.
    pub message: String,
}

impl Display for ValidateError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.site)?;
        if self.loc != Loc::default() {
            write!(f, " {}", self.loc)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Checks every invariant of MIR. A module that passes never makes a pass, a back end or the interpreter panic.
///
/// **Not** proved here, since it depends on the values of a run: that indexes, views and lengths are in bounds, that
/// slots are written before they are read, that loops with `checked: false` stay within `max`, that copies between
/// places with different indexes do not overlap. Lowering and passes promise these; [`crate::interp`] detects them.
///
/// # Invariants
///
/// **Ids and items**
/// - Every id is in range. Names of objects, lambdas, parameters and services are distinct within their group.
/// - Scalars have 1 to 64 bits. Shapes nest at most [`crate::MAX_SHAPE_DEPTH`] deep and hold no view.
/// - Data fits its shape ([`crate::Data::fits`]; an array of `i8` is always `Data::Bytes`). Constants and parameters
///   take at most [`MAX_DATA_BYTES`].
/// - An object of kind value holds no byte strings. Values of lru, map and table are scalars, byte strings, or aggregates
///   without byte strings. Keys have at least one part; capacities and counts are at least 1; a counter that is no array
///   counts once; an object takes at most [`MAX_OBJECT_BYTES`] ([`MAX_STATE_VALUE_BYTES`] for kind value).
/// - Table entries are at most the capacity; their keys have one datum a part that fits it (byte parts exactly), prefixes
///   only in `lpm` (at most the key's bits, with zeros behind the prefix), masks and `_` only in `ternary`, whole keys
///   only in `exact`; whole keys and prefixes are distinct.
/// - Messages have `min <= max <= 1 MiB`; a stream's chunk and reply at most [`MAX_CHUNK_BYTES`], and a chunk at least 1.
///
/// **Functions and calls**
/// - A callee's id is below its caller's. Arguments match parameters: a scalar of its width; for a reference a place of
///   exactly its shape, not in an object, and writable where the parameter is; for a view parameter a view. What is
///   passed as writable shares no memory with another argument, as far as bases and fields tell.
/// - A function's parameters define distinct values; `return` carries its results.
/// - The request is reached only in lambdas and in conditions' functions; parameters by reference only in functions.
///
/// **Values and scopes**
/// - Every value is defined at most once in its body (in a lambda, over all parts) and used only where it is visible: later
///   in the region that defines it and in regions nested there. A loop's parameters are visible in its condition and its
///   body, its variable in its body. The results of an operation are not visible in its own regions. A part sees its own
///   parameters and nothing of other parts.
/// - A label is given once in its body and below [`crate::Body::labels`].
///
/// **Operations**
/// - Results have the count and widths that the operation says; operands the widths. A constant fits its width. `zext` and
///   `sext` widen, `trunc` narrows, strictly.
/// - Places have steps that fit their shapes. `load`, `store` and atomics reach scalars; atomics in objects only.
/// - Only slots, objects of kind value and writable reference parameters are written.
/// - `copy` is of aggregates, of one shape or bytes into bytes of at least the capacity, and not onto itself. `len` is of
///   byte strings, views and the request; `set_len` of byte strings. Views and bit fields are of byte strings, arrays of
///   `i8`, views and the request, with `i32` offset and length; bit fields are not written in objects; a constant bit
///   position lies inside the place.
/// - Keys match key parts: a value of the width, or a view. Where the mapped value is a scalar it is a result or a value; an
///   aggregate goes to a writable place outside objects of its shape (bytes: of at least the capacity) and comes from a
///   place of its shape; bytes come from a view.
/// - The ranges of a switch are not empty, disjoint and within the width; every arm has one.
///
/// **Control**
/// - `if`, `switch` and `while` conditions end in `yield` with the results' widths (a condition: one `i1`) or leave. A
///   block's and a loop's region never yields.
/// - `break` names an enclosing block or loop and carries its results; `continue` an enclosing loop and its parameters. A
///   loop's results have its parameters' widths. In a `while` condition its own label is not visible.
/// - `return` only in functions; `reply`, `drop`, `punt`, `await` and `become` only in lambdas; in a stream no `drop`, `punt`
///   or `await`. Punts form no cycle.
/// - Regions nest at most [`MAX_DEPTH`] deep, counted through calls.
///
/// **Await**
/// - The operation `await` stands only in a lambda that has one part, not in a loop or block. `get` has a `bytes<n>` frame
///   slot to answer to and no value, `set` a value, `delete` neither.
/// - Part 0 has no parameters and no live slots and is never entered from a part; parts enter each other without cycles.
///   After an await the part gets two `i1` and the arguments; `become` passes all parameters. Live slots are distinct
///   frame slots.
/// - A lambda has at most one reply-buffer slot: `bytes<n>` with n at most the largest reply. A `reply` that reads it reads
///   it from its start (a constant offset 0, no steps). Functions have none.
///
/// **Match stage**
/// - Fields, rests and byte keys lie inside `min_len`; constants fit their fields; `has` names a table, with one key field
///   of the right width a part.
/// - A condition's function has no parameters, returns one `i1`, and neither it nor what it calls touches objects other
///   than tables.
/// - What rules can reach is all streams of one chunk size, then without `drop` and `punt`, or no stream.
///
/// **Sizes**: the `MAX_…` constants of this module.
///
/// # Errors
///
/// The broken invariants, in order of the text form; the first 64 of them.
pub fn validate(module: &Module) -> Result<(), Vec<ValidateError>> {
    let mut errors = Errors::default();
    if item::check(module, &mut errors) {
        let lambdas = body::check(module, &mut errors);
        dispatch::check(module, &lambdas, &mut errors);
    }
    if errors.found.is_empty() {
        Ok(())
    } else {
        Err(errors.found)
    }
}

/// What was found so far, and where the search stands.
#[derive(Default)]
struct Errors {
    found: Vec<ValidateError>,
    site: String,
    loc: Loc,
}

impl Errors {
    /// Enters an item.
    fn enter(&mut self, site: impl Into<String>) {
        self.site = site.into();
        self.loc = Loc::default();
    }

    /// Notes a broken invariant.
    fn add(&mut self, message: impl Into<String>) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(ValidateError {
                site: self.site.clone(),
                loc: self.loc,
                message: message.into(),
            });
        }
    }

    /// Notes a broken invariant unless `holds`.
    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.add(message());
        }
    }

    /// Whether there is no use in going on.
    fn full(&self) -> bool {
        self.found.len() >= MAX_ERRORS
    }
}
