//! The runner of `test` items, on any target.
//!
//! A [`Target`] knows how to start from fresh state, run a call and read state; everything else about tests is here:
//! what a call sees, what services answer, what is compared, and how a difference is told.

mod givens;
mod interp;
mod render;
mod run;
mod target;

pub use givens::Givens;
pub use interp::InterpTarget;
pub use render::{render_bytes, render_value};
pub use run::{Failure, TestResult, run_test};
pub use target::{CallResult, Target};
