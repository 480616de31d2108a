//! `test` items on the NIC's programs, by the kernel's test-run call.
//!
//! Each workload is an [`Instance`]; each test starts by emptying its maps. A test of which the NIC answers nothing is
//! `skipped: host (CODE)`. A program that the kernel refuses makes it fail.

use std::sync::Arc;

use lambdac_driver::CheckedWorkload;
use lambdac_driver::testing::values::{answer, meta, param_values, read_place};
use lambdac_driver::testing::{NicTarget, OnNic, Sides, TestTarget, TestTargets};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_interp::{CallResult, Env, Givens, Target};
use lambdac_mir::{LambdaId, Module};
use lnic_engine::Call;

use crate::instance::{Instance, Message, Outcome};
use crate::probe;

/// The name of the target.
pub const NAME: &str = "xdp";

/// The targets that this crate adds to a test run.
#[derive(Clone, Copy, Debug)]
pub struct XdpTests;

impl TestTargets for XdpTests {
    fn load(
        &self,
        target: &str,
        checked: &CheckedWorkload,
        module: &Arc<Module>,
    ) -> Option<Box<dyn TestTarget>> {
        (target == NAME).then(|| -> Box<dyn TestTarget> { Box::new(load(checked, module)) })
    }
}

fn load(checked: &CheckedWorkload, module: &Arc<Module>) -> OnNic<XdpTarget> {
    if let Err(missing) = probe::check() {
        return OnNic::Missing(missing.to_string());
    }
    match Instance::new(checked, module) {
        Ok(instance) => OnNic::Ready(Box::new(XdpTarget {
            hir: Arc::new(checked.0.clone()),
            module: module.clone(),
            instance,
            sides: Sides::default(),
        })),
        Err(reason) => OnNic::Failed {
            expected: "programs that the kernel takes",
            reason,
        },
    }
}

/// A loaded workload.
struct XdpTarget {
    hir: Arc<Workload>,
    module: Arc<Module>,
    instance: Instance,
    sides: Sides,
}

impl NicTarget for XdpTarget {
    fn workload(&self) -> Arc<Workload> {
        self.hir.clone()
    }

    fn sides(&mut self) -> &mut Sides {
        &mut self.sides
    }
}

impl Target for XdpTarget {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.instance.reset(seed)
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let message = Message {
            lambda: match step.callee {
                Callee::Lambda(id) => Some(LambdaId(id.0)),
                Callee::Workload => None,
            },
            meta: meta(env),
            params: &param_values(&self.module, env),
            request: &step.request,
        };
        let mut services = |call: &Call<'_>| answer(call, givens);
        let ended = self.instance.call(&message, &mut services);
        self.sides.answered |= ended.by_nic;
        if ended.left.is_some() {
            self.sides.left = ended.left;
        }
        match ended.outcome {
            Outcome::Reply(bytes) => CallResult::Reply(bytes),
            Outcome::Drop => CallResult::Drop,
            Outcome::Punt => CallResult::Punt,
            Outcome::BadRequest => CallResult::BadRequest,
            Outcome::Trap { cause, line } => CallResult::Trap(format!("{cause} at line {line}")),
            Outcome::Wrong(reason) => CallResult::Error(reason),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let instance = &self.instance;
        read_place(&self.hir, place, &mut |name| instance.dump(name, 0))
    }
}
