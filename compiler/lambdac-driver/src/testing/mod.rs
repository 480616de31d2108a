//! `test` items on every target that works here.

mod host;
mod instance;
pub mod memcached;
pub mod mir;
mod nic;
mod profile;
pub mod values;

use std::sync::Arc;

use lambdac_hir::{Test, Workload};
use lambdac_interp::{InterpTarget, run_test};
use lambdac_mir::Module;

pub use host::HostTarget;
pub use instance::{HostInstance, HostOutcome, ServiceAnswer};
pub use lambdac_interp::{Failure, TestResult};
pub use nic::{NicTarget, OnNic, Sides};
pub use profile::profile;

use crate::session::CheckedWorkload;

/// One test on one target.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The workload.
    pub workload: Arc<str>,
    /// The test.
    pub test: String,
    /// The target.
    pub target: String,
    /// How it ended.
    pub result: TestResult,
}

/// Targets that run tests anywhere, in the order in which they are run by default.
pub const TARGETS: [&str; 2] = ["interp", "host"];

/// One workload on a target that is not built in.
pub trait TestTarget {
    /// Runs one of its tests.
    fn run(&mut self, test: &Test) -> TestResult;
}

/// Makes targets that are not built in: a NIC's loader knows the kernel, this crate does not.
pub trait TestTargets {
    /// Loads a workload on a target; none if the target is unknown.
    fn load(
        &self,
        target: &str,
        checked: &CheckedWorkload,
        module: &Arc<Module>,
    ) -> Option<Box<dyn TestTarget>>;
}

/// No other targets than the built-in ones.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn;

impl TestTargets for BuiltIn {
    fn load(&self, _: &str, _: &CheckedWorkload, _: &Arc<Module>) -> Option<Box<dyn TestTarget>> {
        None
    }
}

/// A target with a workload on it.
enum Loaded {
    Interp,
    Host,
    Other(Box<dyn TestTarget>),
    Unknown,
}

/// The tests of a workload whose `workload: name` contains `filter`.
fn chosen<'w>(workload: &'w Workload, filter: Option<&str>) -> impl Iterator<Item = &'w Test> {
    workload.tests.iter().filter(move |test| {
        let full = format!("{}: {}", workload.name, test.name);
        filter.is_none_or(|filter| full.contains(filter))
    })
}

/// Runs the tests of a workload whose `workload: name` contains `filter` on the targets, and tells of each as it ends.
/// A target that neither this crate nor `others` knows is skipped, and says so.
pub fn run(
    checked: &CheckedWorkload,
    module: &Arc<Module>,
    targets: &[String],
    filter: Option<&str>,
    others: &dyn TestTargets,
    ended: &mut dyn FnMut(Ran),
) {
    let workload = Arc::new(checked.0.clone());
    let tests: Vec<&Test> = chosen(&workload, filter).collect();
    if tests.is_empty() {
        return;
    }
    let load = |target: &String| match target.as_str() {
        "interp" => Loaded::Interp,
        "host" => Loaded::Host,
        other => others
            .load(other, checked, module)
            .map_or(Loaded::Unknown, Loaded::Other),
    };
    let mut loaded: Vec<Loaded> = targets.iter().map(load).collect();
    for test in tests {
        for (target, loaded) in targets.iter().zip(&mut loaded) {
            let result = match loaded {
                Loaded::Interp => run_test(&workload, test, &mut InterpTarget::new(workload.clone())),
                Loaded::Host => match HostTarget::new(workload.clone(), module.clone()) {
                    Ok(mut host) => run_test(&workload, test, &mut host),
                    Err(error) => TestResult::Skipped(error.to_string()),
                },
                Loaded::Other(other) => other.run(test),
                Loaded::Unknown => TestResult::Skipped(format!("target {target} does not run here")),
            };
            let name = workload.name.clone();
            ended(Ran {
                workload: name,
                test: test.name.clone(),
                target: target.clone(),
                result,
            });
        }
    }
}
