//! The host's code as a runner.

use std::sync::Arc;

use lambdac_driver::testing::{HostInstance, HostOutcome};
use lambdac_mir::Module;

use super::{SEED, answer, by_name, dump_lines, meta};
use crate::differential::{Mismatch, Outcome, Runner, State};
use crate::generate::Request;

/// Host code.
pub struct HostRunner {
    instance: HostInstance,
}

impl HostRunner {
    /// Compiles a module; fresh state.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn new(module: Arc<Module>) -> Result<Self, Mismatch> {
        let instance = HostInstance::new(&module, SEED).map_err(|e| Mismatch(format!("host: {e}")))?;
        Ok(Self { instance })
    }
}

impl Runner for HostRunner {
    fn name(&self) -> &'static str {
        "host"
    }

    fn call(&mut self, request: &Request) -> Outcome {
        let meta = meta(request);
        match self
            .instance
            .call(None, &meta, &request.bytes, &mut |call| answer(call))
        {
            HostOutcome::Reply(bytes) => Outcome::Reply(bytes),
            HostOutcome::Drop => Outcome::Drop,
            HostOutcome::Punt => Outcome::Punt,
            HostOutcome::BadRequest => Outcome::BadRequest,
            HostOutcome::Trap(trap) => Outcome::Trap(trap.cause.name(), trap.line),
        }
    }

    fn state(&mut self, now: u64) -> State {
        let state = self.instance.workload().state(now);
        let module = self.instance.workload().module();
        by_name(
            state
                .iter()
                .map(|(name, dump)| (name.clone(), dump_lines(module, name, dump))),
        )
    }
}
