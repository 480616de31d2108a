//! A workload on a NIC of some kind, of which lambdas may be the host's.

use std::sync::Arc;

use lambdac_hir::{Test, Workload};
use lambdac_interp::{Failure, Target, TestResult, run_test};

use super::TestTarget;

/// Who ended the calls of a test.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    /// The test asked for a lambda that is the host's: the code of why.
    pub left: Option<String>,
    /// The NIC ended some call of the test.
    pub answered: bool,
}

/// A target whose calls end on the NIC or on the host behind it.
pub trait NicTarget: Target {
    /// The workload.
    fn workload(&self) -> Arc<Workload>;

    /// Who ended the calls so far.
    fn sides(&mut self) -> &mut Sides;
}

/// A workload on such a target, or why not.
#[derive(Debug)]
pub enum OnNic<T> {
    /// It is there.
    Ready(Box<T>),
    /// The machine can't: its tests are skipped, with the reason.
    Missing(String),
    /// It should have worked: its tests fail.
    Failed {
        /// What was expected of it.
        expected: &'static str,
        /// What happened instead.
        reason: String,
    },
}

impl<T: NicTarget> TestTarget for OnNic<T> {
    /// A test of which the NIC ended nothing is `skipped: host (CODE)`.
    fn run(&mut self, test: &Test) -> TestResult {
        match self {
            Self::Ready(ready) => {
                *ready.sides() = Sides::default();
                let result = run_test(&ready.workload(), test, &mut **ready);
                match ready.sides() {
                    Sides {
                        left: Some(code),
                        answered: false,
                    } => TestResult::Skipped(format!("host ({code})")),
                    _ => result,
                }
            }
            Self::Missing(reason) => TestResult::Skipped(reason.clone()),
            Self::Failed { expected, reason } => TestResult::Failed(vec![Failure {
                span: test.span,
                expected: (*expected).to_owned(),
                got: reason.clone(),
            }]),
        }
    }
}
