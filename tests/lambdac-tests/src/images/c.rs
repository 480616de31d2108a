//! Images as emitted C: `test` items and requests on a process that gcc or clang made, with sanitizers.

use std::sync::Arc;

use lambdac_backend_c::Dialect;
use lambdac_driver::testing::mir;
use lambdac_driver::testing::values::{param_values, read_place};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value};
use lambdac_image::{Ending, Image, Packet};
use lambdac_interp::{CallResult, Env, Givens, Target, TestResult, run_test};
use lambdac_mir::interp::Outcome;
use lnic_nfp::Machine;

use super::{Member, answers, ending, packet};
use crate::differential::{Mismatch, Outcome as Ended, State, agree};
use crate::runners::{SEED, by_name, dump_text};

/// Says of the lambdas that the program itself keeps on the host, or Micro-C can't say, that they are there.
pub fn keep_on_host(image: &mut Image, members: &[&Member]) {
    for (member, workload) in members.iter().zip(image.workloads.clone()) {
        for (lambda, info) in member.checked.1.lambdas.iter().enumerate() {
            if let lambdac_analysis::Placement::Host(_) = info.placement {
                image.entries[workload.first_entry + lambda].on_host = Some("the program says so".into());
            }
        }
    }
    for refusal in lambdac_backend_c::legal::refusals(image, Dialect::MicroC) {
        if let Some(entry) = refusal.entry {
            image.entries[entry].on_host = Some(refusal.reason.into());
        }
    }
}

/// Runs the tests of a member of an image that a machine runs; gives how many passed, without those that are the host's.
///
/// # Errors
/// The tests that do not pass, with why.
pub fn run_tests_in_c(machine: &mut Machine, image: &Image, member: &Member) -> Result<usize, Vec<String>> {
    let hir = Arc::new(member.checked.0.clone());
    let workload = image
        .workloads
        .iter()
        .find(|workload| workload.name == member.module.name);
    let Some(workload) = workload else {
        return Err(vec![format!("{} is not in the image", member.module.name)]);
    };
    let (mut failures, mut left) = (Vec::new(), 0);
    for test in &hir.tests {
        let mut target = CTarget {
            machine,
            member,
            id: workload.id,
            first_entry: workload.first_entry,
            left: false,
        };
        let result = run_test(&hir, test, &mut target);
        if target.left {
            left += 1;
        } else if !matches!(result, TestResult::Passed) {
            failures.push(format!("{}: {}: {result:?}", hir.name, test.name));
        }
    }
    if failures.is_empty() {
        Ok(hir.tests.len() - left)
    } else {
        Err(failures)
    }
}

/// A member's tests on a machine.
struct CTarget<'m> {
    machine: &'m mut Machine,
    member: &'m Member,
    id: u32,
    first_entry: usize,
    /// Some call was the host's.
    left: bool,
}

impl CTarget<'_> {
    fn run(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> lnic_nfp::Result<Ending> {
        let module = &self.member.module;
        for (name, value) in param_values(module, env) {
            self.machine
                .set_param(&format!("{}.{name}", module.name), &value)?;
        }
        let packet = Packet {
            pkt: mir::pkt(env),
            now: env.now,
            random: env.random,
        };
        let mut services = |service: &lambdac_mir::Service, op, key: &[u8], value: Option<&[u8]>| {
            let own =
                |other: &lambdac_mir::Service| format!("{}.{}", module.name, other.name) == *service.name;
            let index = module.services.iter().position(own);
            let index = index.expect("a workload asks its own services");
            mir::answer(index, (op, key, value), givens)
        };
        match step.callee {
            Callee::Lambda(id) => {
                let entry = self.first_entry + id.0 as usize;
                self.machine.enter(entry, &step.request, &packet, &mut services)
            }
            Callee::Workload => self.machine.call(self.id, &step.request, &packet, &mut services),
        }
    }
}

impl Target for CTarget<'_> {
    fn name(&self) -> &str {
        "c"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.machine.reset(seed).map_err(|error| error.to_string())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        match self.run(step, env, givens) {
            Ok(Ending::NoWorkload) => CallResult::Error("no workload".to_owned()),
            Ok(Ending::Of(outcome)) => {
                self.left |= matches!(&outcome, Outcome::Invalid(why) if why == lnic_nfp::HOST);
                mir::call_result(outcome)
            }
            Err(error) => CallResult::Error(error.to_string()),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let state = self.machine.state(0).map_err(|error| error.to_string())?;
        let module = &self.member.module;
        read_place(&self.member.checked.0, place, &mut |name| {
            let name = format!("{}.{name}", module.name);
            mir::object(&name, state.iter().map(|(name, dump)| (&**name, dump)))
        })
    }
}

/// Runs all members' requests on a machine and compares with what the evaluator gave.
///
/// # Errors
/// The first difference, or what a sanitizer says.
pub fn compare_in_c(machine: &mut Machine, image: &Image, members: &[&Member]) -> Result<(), Mismatch> {
    let failed = |error: lnic_nfp::Error| Mismatch(error.to_string());
    machine.reset(SEED).map_err(failed)?;
    let longest = members.iter().map(|member| member.requests.len()).max();
    for number in 0..longest.unwrap_or(0) {
        for (member, workload) in members.iter().zip(&image.workloads) {
            let (Some(request), Some(expected)) = (member.requests.get(number), member.outcomes.get(number))
            else {
                continue;
            };
            let got = machine
                .call(
                    workload.id,
                    &request.bytes,
                    &packet(request),
                    &mut answers(member),
                )
                .map_err(|error| {
                    Mismatch(format!(
                        "request {number} of {}: {request:?}: {error}",
                        member.module.name
                    ))
                })?;
            let got: Ended = ending(got);
            if !agree(expected, &got) {
                return Err(Mismatch(format!(
                    "request {number} of {}: {request:?}\n  interp: {expected:?}\n  c: {got:?}",
                    member.module.name
                )));
            }
        }
    }
    for member in members {
        let now = member.requests.last().map_or(0, |request| request.now);
        let all = machine.state(now).map_err(failed)?;
        let prefix = format!("{}.", member.module.name);
        let own = all.iter().filter_map(|(name, dump)| {
            let name = name.strip_prefix(&prefix)?;
            Some((name.to_owned(), dump_text(&member.module, name, dump)))
        });
        let got: State = by_name(own);
        for (name, lines) in &member.state {
            let found = got.iter().find(|(other, _)| other == name);
            if found.is_none_or(|(_, found)| found != lines) {
                return Err(Mismatch(format!(
                    "state `{name}` of {}\n  interp: {lines:?}\n  c: {found:?}",
                    member.module.name
                )));
            }
        }
    }
    Ok(())
}
