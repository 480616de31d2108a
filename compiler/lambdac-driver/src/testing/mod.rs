//! `test` items on every target that works here.

mod host;
mod instance;

use std::sync::Arc;

use lambdac_interp::{InterpTarget, run_test};
use lambdac_mir::Module;

pub use host::HostTarget;
pub use instance::{HostInstance, HostOutcome, ServiceAnswer};
pub use lambdac_interp::{Failure, TestResult};

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

/// Targets that run tests, in the order in which they are run by default.
pub const TARGETS: [&str; 2] = ["interp", "host"];

/// Runs the tests of a workload whose `workload: name` contains `filter` on the targets, and tells of each as it ends.
/// A target that is unknown here is skipped, and says so.
pub fn run(
    checked: &CheckedWorkload,
    module: &Arc<Module>,
    targets: &[String],
    filter: Option<&str>,
    ended: &mut dyn FnMut(Ran),
) {
    let workload = Arc::new(checked.0.clone());
    for test in &workload.tests {
        let full = format!("{}: {}", workload.name, test.name);
        if filter.is_some_and(|filter| !full.contains(filter)) {
            continue;
        }
        for target in targets {
            let result = match target.as_str() {
                "interp" => run_test(&workload, test, &mut InterpTarget::new(workload.clone())),
                "host" => match HostTarget::new(workload.clone(), module.clone()) {
                    Ok(mut host) => run_test(&workload, test, &mut host),
                    Err(error) => TestResult::Skipped(error.to_string()),
                },
                other => TestResult::Skipped(format!("target {other} does not run here")),
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
