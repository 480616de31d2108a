//! The evaluator over typed HIR, which is the meaning of the language, and the runner of test items.
//!
//! In goes a checked [`Workload`](lambdac_hir::Workload) and one request; out comes its [`Outcome`]. The evaluator is
//! written to be read beside the language reference: a value is a tree, a state object is a map, a rule of the
//! language is a line here. Nothing is compiled, cached or reordered, and it shares nothing with the lowering that
//! all targets go through, so that a mistake there shows as a difference.
//!
//! What the language leaves open is fixed: `lru` forgets exactly the least recently used entry of a full object,
//! `now` is one value for the whole call, `random` is one seeded stream, and the chunks of a stream run in order.
//!
//! - [`Interpreter`] holds one workload with its state and runs calls.
//! - [`Target`] is anything that can run a workload's tests; [`run_test`] runs one test on one target.
//! - [`InterpTarget`] is the evaluator as such a target.

#![forbid(unsafe_code)]

mod arith;
mod expr;
mod hash;
mod interpreter;
mod place;
mod random;
mod runner;
mod service;
mod state;
mod stmt;
mod table;

pub use interpreter::{Env, Interpreter, Outcome, PktValues, Trap, TrapCause};
pub use random::{Random, test_seed};
pub use runner::{
    CallResult, Failure, Givens, InterpTarget, Target, TestResult, render_bytes, render_value, run_test,
};
pub use service::{NoServices, ServiceOracle, key_may_be_sent};
pub use state::StateDump;
