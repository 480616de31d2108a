//! What runs tests.

use lambdac_hir::{CallStep, StatePlace, Test, Value};

use crate::interpreter::Env;
use crate::runner::Givens;

/// How a call ended on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// Status OK with these bytes.
    Reply(Vec<u8>),
    /// No answer.
    Drop,
    /// `punt;` to the configured fallback.
    Punt,
    /// Status TRAP, with what the target knows of the cause; may be empty.
    Trap(String),
    /// Status BAD_REQUEST.
    BadRequest,
    /// The target could not run the call: why. Fails the test.
    Error(String),
}

/// Something that runs one workload: the evaluator, host code, a NIC.
///
/// All calls between two `begin`s belong to one test and see one state.
pub trait Target {
    /// Its name on the command line: `interp`, `host`, …
    fn name(&self) -> &str;

    /// Starts a test: fresh state, inline tables, the stream of `random()` at its seed.
    ///
    /// # Errors
    /// With the reason, if the test can't run here; it is then skipped.
    fn begin(&mut self, test: &Test, seed: u64) -> Result<(), String>;

    /// Runs the call of a step. `env` is what the step's `with` and the defaults make; `givens` answers services.
    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult;

    /// What a place of state holds: a counter is an integer.
    ///
    /// # Errors
    /// With the reason, if it can't be read. Fails the test.
    fn read(&mut self, place: &StatePlace) -> Result<Value, String>;
}
