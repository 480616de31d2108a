//! `test` items on the NIC's programs, by the kernel's test-run call.
//!
//! Each workload is an [`Instance`]; each test starts by emptying its maps. A test of which the NIC answers nothing is
//! `skipped: host (CODE)`. A program that the kernel refuses makes it fail.

use std::sync::Arc;

use lambdac_driver::CheckedWorkload;
use lambdac_driver::testing::values::{answer, meta, param_values, read_place};
use lambdac_driver::testing::{Failure, TestResult, TestTarget, TestTargets};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_interp::{CallResult, Env, Givens, Target, run_test};
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
        (target == NAME).then(|| -> Box<dyn TestTarget> { Box::new(Loaded::new(checked, module)) })
    }
}

/// A workload on the NIC, or why not.
enum Loaded {
    Ready(Box<XdpTarget>),
    /// The machine can't.
    Missing(String),
    /// It should have worked.
    Failed(String),
}

impl Loaded {
    fn new(checked: &CheckedWorkload, module: &Arc<Module>) -> Self {
        if let Err(missing) = probe::check() {
            return Self::Missing(missing.to_string());
        }
        match Instance::new(checked, module) {
            Ok(instance) => Self::Ready(Box::new(XdpTarget {
                hir: Arc::new(checked.0.clone()),
                module: module.clone(),
                instance,
                left: None,
                answered: false,
            })),
            Err(error) => Self::Failed(error),
        }
    }
}

impl TestTarget for Loaded {
    fn run(&mut self, test: &Test) -> TestResult {
        match self {
            Self::Ready(target) => {
                (target.left, target.answered) = (None, false);
                let hir = target.hir.clone();
                let result = run_test(&hir, test, &mut **target);
                match (&target.left, target.answered) {
                    (Some(code), false) => TestResult::Skipped(format!("host ({code})")),
                    _ => result,
                }
            }
            Self::Missing(reason) => TestResult::Skipped(reason.clone()),
            Self::Failed(reason) => TestResult::Failed(vec![Failure {
                span: test.span,
                expected: "programs that the kernel takes".to_owned(),
                got: reason.clone(),
            }]),
        }
    }
}

/// A loaded workload.
struct XdpTarget {
    hir: Arc<Workload>,
    module: Arc<Module>,
    instance: Instance,
    /// The test asked for a lambda that is the host's: the code of why.
    left: Option<String>,
    /// The NIC ended some call of the test.
    answered: bool,
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
        self.answered |= ended.by_nic;
        if ended.left.is_some() {
            self.left = ended.left;
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
