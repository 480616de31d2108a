//! What services answer in a test: the `given` steps, in order for each service.

use std::collections::VecDeque;
use std::sync::Arc;

use lambdac_hir::{GivenResult, GivenStep, ServiceId, ServiceOp, Workload};

use crate::runner::render_bytes;
use crate::service::ServiceOracle;

/// The answers that wait, by service.
#[derive(Debug)]
pub struct Givens {
    workload: Arc<Workload>,
    waiting: Vec<VecDeque<GivenStep>>,
    unexpected: Vec<Unexpected>,
}

/// A request that no `given` was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unexpected {
    /// The next `given` of the service, as a request; none if there was none.
    pub expected: Option<String>,
    /// The request.
    pub got: String,
}

impl Givens {
    /// Without answers.
    pub fn new(workload: &Arc<Workload>) -> Self {
        Self {
            workload: workload.clone(),
            waiting: vec![VecDeque::new(); workload.services.len()],
            unexpected: Vec::new(),
        }
    }

    /// Adds an answer behind those that wait.
    pub(crate) fn push(&mut self, step: &GivenStep) {
        self.waiting[step.service.index()].push_back(step.clone());
    }

    /// The requests since the last call of this that nothing was given for.
    pub(crate) fn take_unexpected(&mut self) -> Vec<Unexpected> {
        std::mem::take(&mut self.unexpected)
    }

    /// The answers that were not asked for, in source order.
    pub(crate) fn unused(&self) -> Vec<GivenStep> {
        let mut unused: Vec<_> = self.waiting.iter().flatten().cloned().collect();
        unused.sort_by_key(|step| step.span);
        unused
    }

    /// A request as the language writes it.
    pub(crate) fn render(
        &self,
        service: ServiceId,
        op: ServiceOp,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> String {
        let name = &self.workload.services[service.index()].name;
        let op = match op {
            ServiceOp::Get => "get",
            ServiceOp::Set => "set",
            ServiceOp::Delete => "delete",
        };
        let value = value
            .map(|value| format!(", {}", render_bytes(value)))
            .unwrap_or_default();
        format!("{name}.{op}({}{value})", render_bytes(key))
    }

    fn render_step(&self, step: &GivenStep) -> String {
        self.render(step.service, step.op, &step.key, step.value.as_deref())
    }
}

impl ServiceOracle for Givens {
    /// The next answer of the service, if it was given for this very request; else the request fails, and the test.
    fn request(
        &mut self,
        service: ServiceId,
        op: ServiceOp,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> GivenResult {
        let step = self.waiting[service.index()].pop_front();
        let wanted = step.as_ref().is_some_and(|step| {
            let any_value = step.value.is_none();
            step.op == op && step.key == key && (any_value || step.value.as_deref() == value)
        });
        match step {
            Some(step) if wanted => step.result,
            step => {
                self.unexpected.push(Unexpected {
                    expected: step.map(|step| self.render_step(&step)),
                    got: self.render(service, op, key, value),
                });
                GivenResult::Fail
            }
        }
    }
}
