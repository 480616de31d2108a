//! Lowering: typed HIR to MIR, and the await split.
//!
//! [`lower`] turns one checked workload into one MIR module. It is total: HIR exists only for programs without errors.
//! [`split_awaits`] then cuts lambdas at their awaits into parts with saved values.
//!
//! How the language becomes MIR:
//!
//! - **Scalars** are SSA values. The values of mutable locals merge as results of `if` and `switch` and as parameters
//!   of loops; which locals merge where comes from one scan of the body ([`facts`]).
//! - **Arms that leave merge nothing.** Where at most one arm of a branch falls through, that arm's code goes behind the
//!   branch instead of into it, so early exits become flat guards and no region needs an unreachable end.
//! - **Aggregates** live in slots. An expression is lowered *into* its destination; what can be read where it lies
//!   (locals, state, constants, the request) is a [`source::Source`] and is copied only if something evaluated later
//!   could change it first.
//! - **Traps** are checks, each at the point of evaluation that the language gives it.
//!
//! ```text
//! lambda get(req: Request) -> bytes<64> {          v0 = load_bits request[0..8]
//!     if req.op != 1 { drop; }                =>   …; if v2 { drop } else { yield }
//!     reply req.value;                             …; reply request[v5; v6]
//! }
//! ```

#![forbid(unsafe_code)]

mod aggregate;
mod body;
mod bytes;
mod call;
mod dispatch;
mod facts;
mod flow;
mod fold;
mod loops;
mod message;
mod module;
mod objects;
mod options;
mod scalar;
mod source;
mod split;
mod stmt;
mod table;

pub use module::lower;
pub use split::split_awaits;
