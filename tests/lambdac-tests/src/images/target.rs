//! `test` items on an image: a workload's tests, while it shares the image with others.

use std::sync::Arc;

use lambdac_driver::testing::mir;
use lambdac_driver::testing::values::{param_values, read_place};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value};
use lambdac_image::{Ending, Image, ImageInterp, Packet};
use lambdac_interp::{CallResult, Env, Givens, Target, TestResult, run_test};

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
        let packet = Packet {
            pkt: mir::pkt(env),
            now: env.now,
            random: env.random,
        };
        let module = &self.member.module;
        let mut services = |service: &lambdac_mir::Service, op, key: &[u8], value: Option<&[u8]>| {
            let own =
                |other: &lambdac_mir::Service| format!("{}.{}", module.name, other.name) == *service.name;
            let index = module.services.iter().position(own);
            let index = index.expect("a workload asks its own services");
            mir::answer(index, (op, key, value), givens)
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
            Ending::Of(outcome) => mir::call_result(outcome),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let interp = self.interp.as_ref().ok_or("the test did not begin")?;
        let state = interp.state(0);
        read_place(&self.member.checked.0, place, &mut |name| {
            let name = format!("{}.{name}", self.member.module.name);
            mir::object(&name, state.iter().map(|(name, dump)| (&**name, dump)))
        })
    }
}
