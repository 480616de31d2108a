//! The evaluator as a target.

use std::sync::Arc;

use lambdac_hir::{CallStep, StatePlace, Test, Value, Workload};

use crate::interpreter::{Env, Interpreter, Outcome};
use crate::runner::{CallResult, Givens, Target};

/// Target `interp`.
#[derive(Clone, Debug)]
pub struct InterpTarget {
    interpreter: Interpreter,
}

impl InterpTarget {
    /// For a workload.
    pub fn new(workload: Arc<Workload>) -> Self {
        Self {
            interpreter: Interpreter::new(workload),
        }
    }

    /// The evaluator with the state that the last test left.
    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }
}

impl Target for InterpTarget {
    fn name(&self) -> &str {
        "interp"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.interpreter = Interpreter::new(self.interpreter.workload().clone());
        self.interpreter.seed(seed);
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        match self.interpreter.call(step.callee, &step.request, env, givens) {
            Outcome::Reply(bytes) => CallResult::Reply(bytes),
            Outcome::Drop => CallResult::Drop,
            Outcome::Punt => CallResult::Punt,
            Outcome::Trap(trap) => CallResult::Trap(trap.cause.describe().to_owned()),
            Outcome::BadRequest => CallResult::BadRequest,
            Outcome::OutOfSteps => CallResult::Error("the step budget ran out".to_owned()),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        self.interpreter
            .read(place)
            .ok_or_else(|| "the index is out of bounds".to_owned())
    }
}
