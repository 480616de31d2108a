//! The host's code as a target of the test runner.

use std::sync::Arc;

use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_interp::{CallResult, Env, Givens, Target};
use lambdac_mir::{LambdaId, Module};
use lnic_engine::{Call, Meta};

use super::instance::{HostInstance, HostOutcome};
use super::values::{answer, meta, param_values, read_place};

/// Target `host`.
pub struct HostTarget {
    hir: Arc<Workload>,
    instance: HostInstance,
}

impl HostTarget {
    /// Compiles a module.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn new(hir: Arc<Workload>, module: Arc<Module>) -> Result<Self, lnic_engine::Error> {
        let instance = HostInstance::new(&module, 0)?;
        Ok(Self { hir, instance })
    }

    fn run(
        &mut self,
        step: &CallStep,
        env: &Env,
        givens: &mut Givens,
    ) -> Result<HostOutcome, lnic_engine::Error> {
        let module = self.instance.workload().module().clone();
        let params = self.instance.params(&param_values(&module, env))?;
        let meta = Meta {
            params: Some(&params),
            ..meta(env)
        };
        let lambda = match step.callee {
            Callee::Lambda(id) => Some(LambdaId(id.0)),
            Callee::Workload => None,
        };
        let mut services = |call: &Call<'_>| answer(call, givens);
        Ok(self.instance.call(lambda, &meta, &step.request, &mut services))
    }
}

impl Target for HostTarget {
    fn name(&self) -> &str {
        "host"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.instance = self.instance.fresh(seed).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        match self.run(step, env, givens) {
            Ok(HostOutcome::Reply(bytes)) => CallResult::Reply(bytes),
            Ok(HostOutcome::Drop) => CallResult::Drop,
            Ok(HostOutcome::Punt) => CallResult::Punt,
            Ok(HostOutcome::BadRequest) => CallResult::BadRequest,
            Ok(HostOutcome::Trap(trap)) => {
                CallResult::Trap(format!("{} at line {}", trap.cause.name(), trap.line))
            }
            Err(error) => CallResult::Error(error.to_string()),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let state = self.instance.workload().state(0);
        read_place(&self.hir, place, &mut |name| {
            let found = state.iter().find(|(other, _)| other == name);
            found
                .map(|(_, dump)| dump.clone())
                .ok_or_else(|| format!("the host has no object `{name}`"))
        })
    }
}
