//! Passes from MIR to MIR.
//!
//! A validated [`lambdac_mir::Module`] goes in, the same module comes out smaller and faster, and a [`Report`] says
//! what each pass did. Who calls it: the driver, between lowering and the back ends.
//!
//! ```text
//! let report = lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
//! ```
//!
//! Invariants: a valid module stays valid; no pass panics on a valid module; every pass takes about linear time; what
//! a program does (replies, state, log, traps) never changes, and nothing moves across a trap or an access to state.

#![forbid(unsafe_code)]

mod bounds;
mod compact;
mod const_fold;
mod copy_forward;
mod cse;
mod dce;
mod defs;
mod dse;
mod eval;
mod func_dce;
mod inline;
mod licm;
mod mem2reg;
mod pass;
mod pipeline;
mod reply_in_place;
mod shapes;
mod simplify_cfg;
mod sroa;
mod stack_coloring;
#[cfg(test)]
mod testing;

mod visit;

pub use bounds::BOUNDS_CHECK_ELIM;
pub use compact::COMPACT;
pub use const_fold::CONST_FOLD;
pub use copy_forward::COPY_FORWARD;
pub use cse::CSE;
pub use dce::DCE;
pub use dse::DSE;
pub use func_dce::FUNC_DCE;
pub use inline::INLINE;
pub use licm::LICM;
pub use mem2reg::MEM2REG;
pub use pass::{
    Changed, Code, Context, Dump, Entry, LambdaOps, Options, Pass, PassReport, Report, Run, Signature,
    default_pipeline, optimize, passes, run_pass,
};
pub use reply_in_place::REPLY_IN_PLACE;
pub use simplify_cfg::SIMPLIFY_CFG;
pub use sroa::SROA;
pub use stack_coloring::STACK_COLORING;
