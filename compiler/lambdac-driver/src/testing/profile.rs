//! Branch weights from `test` items: they run on the interpreter of MIR, which counts.

use std::sync::Arc;

use lambdac_cost::Profile;
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_interp::{CallResult, Env, Givens, Target, run_test};
use lambdac_mir::interp::{self, Counts, MirInterp};
use lambdac_mir::{LambdaId, Module, Service};

use super::values::{param_values, read_place};
use super::{chosen, mir};
use crate::session::CheckedWorkload;

/// Steps that a call may take: a test that takes more tells no more about its branches.
const MAX_STEPS: u64 = 50_000_000;

/// Runs the tests of a workload whose `workload: name` contains `filter`, and adds what they went through to a profile. How they end is the
/// business of the targets.
///
/// # Panics
/// If the module is none that the validator accepts: a bug of the compiler.
pub fn profile(checked: &CheckedWorkload, module: &Arc<Module>, filter: Option<&str>, into: &mut Profile) {
    let workload = Arc::new(checked.0.clone());
    let mut target = MirTarget {
        interp: fresh(module, 0),
        hir: Arc::clone(&workload),
        module: Arc::clone(module),
    };
    for test in chosen(&workload, filter) {
        run_test(&workload, test, &mut target);
        into.add(module, &target.counted());
    }
}

/// The interpreter of MIR as a target of tests.
struct MirTarget {
    hir: Arc<Workload>,
    module: Arc<Module>,
    interp: MirInterp,
}

fn fresh(module: &Arc<Module>, seed: u64) -> MirInterp {
    let mut interp = MirInterp::new(Arc::clone(module)).expect("a compiled module is valid");
    interp.seed(seed);
    interp.limit_steps(MAX_STEPS);
    interp.count();
    interp
}

impl MirTarget {
    fn counted(&mut self) -> Counts {
        self.interp.take_counts()
    }
}

impl Target for MirTarget {
    fn name(&self) -> &str {
        "mir"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.interp = fresh(&self.module, seed);
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let module = Arc::clone(&self.module);
        let params = param_values(&module, env);
        let seen = interp::Env {
            pkt: mir::pkt(env),
            now: env.now,
            random: env.random,
            params: params.into_iter().map(|(_, value)| value).collect(),
        };
        let callee = match step.callee {
            Callee::Lambda(id) => interp::Callee::Lambda(LambdaId(id.0)),
            Callee::Workload => interp::Callee::Dispatch,
        };
        let mut services = |service: &Service, op, key: &[u8], value: Option<&[u8]>| {
            let own = module.services.iter().position(|other| other == service);
            mir::answer(own.unwrap_or_default(), (op, key, value), givens)
        };
        let outcome = self.interp.call(callee, &step.request, &seen, &mut services);
        mir::call_result(outcome)
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let state = self.interp.state(0);
        read_place(&self.hir, place, &mut |name| {
            mir::object(name, state.iter().map(|(name, dump)| (&**name, dump)))
        })
    }
}
