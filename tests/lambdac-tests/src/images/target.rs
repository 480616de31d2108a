//! `test` items on an image: a workload's tests, while it shares the image with others.

use std::sync::Arc;

use lambdac_driver::testing::values::{param_values, read_place};
use lambdac_hir::{CallStep, Callee, GivenResult, PktField, ServiceOp, StatePlace, Test, Value};
use lambdac_image::{Ending, Image, ImageInterp, Packet};
use lambdac_interp::{CallResult, Env, Givens, ServiceOracle, Target, TestResult, run_test};
use lambdac_mir::interp::{Answer, Outcome, StateDump};

use super::Member;

/// Runs the tests of a member of an image there.
///
/// # Errors
/// The tests that do not pass, with why.
pub fn run_tests(image: &Arc<Image>, member: &Member) -> Result<usize, Vec<String>> {
    let hir = Arc::new(member.checked.0.clone());
    let mut failures = Vec::new();
    for test in &hir.tests {
        let mut target = ImageTarget {
            image: Arc::clone(image),
            member,
            interp: None,
            id: 0,
            first_entry: 0,
        };
        let result = run_test(&hir, test, &mut target);
        if !matches!(result, TestResult::Passed) {
            failures.push(format!("{}: {}: {result:?}", hir.name, test.name));
        }
    }
    if failures.is_empty() {
        Ok(hir.tests.len())
    } else {
        Err(failures)
    }
}

struct ImageTarget<'m> {
    image: Arc<Image>,
    member: &'m Member,
    interp: Option<ImageInterp>,
    id: u32,
    first_entry: usize,
}

impl Target for ImageTarget<'_> {
    fn name(&self) -> &str {
        "image"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        let name = &self.member.module.name;
        let workload = self
            .image
            .workloads
            .iter()
            .find(|workload| workload.name == *name);
        let workload = workload.ok_or("the workload is not in the image")?;
        self.id = workload.id;
        self.first_entry = workload.first_entry;
        let interp = ImageInterp::new(Arc::clone(&self.image), seed).map_err(|e| format!("{e:?}"))?;
        self.interp = Some(interp);
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let Some(interp) = &mut self.interp else {
            return CallResult::Error("the test did not begin".to_owned());
        };
        for (name, value) in param_values(&self.member.module, env) {
            let name = format!("{}.{name}", self.member.module.name);
            // A parameter that nothing reads may be gone.
            let _ = interp.set_param(&name, value);
        }
        let pkt = [
            PktField::SrcIp,
            PktField::SrcPort,
            PktField::DstPort,
            PktField::Port,
            PktField::RequestId,
        ];
        let packet = Packet {
            pkt: pkt.map(|field| env.pkt.get(field)),
            now: env.now,
            random: env.random,
        };
        let module = &self.member.module;
        let mut services = |service: &lambdac_mir::Service, op, key: &[u8], value: Option<&[u8]>| {
            let own =
                |other: &lambdac_mir::Service| format!("{}.{}", module.name, other.name) == *service.name;
            let index = module.services.iter().position(own).unwrap_or_default();
            let op = match op {
                lambdac_mir::ServiceOp::Get => ServiceOp::Get,
                lambdac_mir::ServiceOp::Set => ServiceOp::Set,
                lambdac_mir::ServiceOp::Delete => ServiceOp::Delete,
            };
            match givens.request(lambdac_hir::ServiceId(index as u32), op, key, value) {
                GivenResult::Value(value) => Answer::Value(value),
                GivenResult::Done => Answer::Done,
                GivenResult::None => Answer::Missing,
                GivenResult::Fail => Answer::Failed,
            }
        };
        let ending = match step.callee {
            Callee::Lambda(id) => interp.enter(
                self.first_entry + id.0 as usize,
                &step.request,
                &packet,
                &mut services,
            ),
            Callee::Workload => interp.call(self.id, &step.request, &packet, &mut services),
        };
        match ending {
            Ending::NoWorkload => CallResult::Error("no workload".to_owned()),
            Ending::Of(Outcome::Reply(bytes)) => CallResult::Reply(bytes),
            Ending::Of(Outcome::Drop) => CallResult::Drop,
            Ending::Of(Outcome::Punt) => CallResult::Punt,
            Ending::Of(Outcome::BadRequest) => CallResult::BadRequest,
            Ending::Of(Outcome::Trap(cause, loc)) => {
                CallResult::Trap(format!("{} at line {}", cause.name(), loc.line))
            }
            Ending::Of(Outcome::OutOfSteps) => CallResult::Error("out of steps".to_owned()),
            Ending::Of(Outcome::Invalid(why)) => CallResult::Error(why),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let interp = self.interp.as_ref().ok_or("the test did not begin")?;
        let state = interp.state(0);
        read_place(&self.member.checked.0, place, &mut |name| {
            let name = format!("{}.{name}", self.member.module.name);
            let found = state.iter().find(|(other, _)| **other == *name);
            match found.map(|(_, dump)| dump) {
                Some(StateDump::Value(data)) => Ok(lnic_engine::control::StateDump::Value(data.clone())),
                Some(StateDump::Counters(counts)) => {
                    Ok(lnic_engine::control::StateDump::Counters(counts.clone()))
                }
                Some(StateDump::Entries(_)) => Err(format!("`{name}` has no places")),
                None => Err(format!("the image has no object `{name}`")),
            }
        })
    }
}
