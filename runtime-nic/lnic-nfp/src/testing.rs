//! `test` items on emitted Micro-C: the unit that a card would get, compiled by gcc or clang against the shim, with
//! sanitizers.
//!
//! Each workload is an image of its own, through all passes but the cut. A test of which the core answers nothing is
//! `skipped: host (CODE)`; without a compiler all are skipped. Not run on hardware.

use std::sync::Arc;

use lambdac_backend_c::{Dialect, legal};
use lambdac_driver::nic::{Place, Places};
use lambdac_driver::testing::values::{answer, meta, param_values, read_place};
use lambdac_driver::testing::{
    HostInstance, HostOutcome, NicTarget, OnNic, ServiceAnswer, Sides, TestTarget, TestTargets,
};
use lambdac_driver::{CheckedWorkload, nfp};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_image::{Ending, Image, Packet};
use lambdac_interp::{CallResult, Env, Givens, Target};
use lambdac_mir::interp::{self, Outcome};
use lambdac_mir::{Data, LambdaId, Module, ServiceOp};
use lnic_engine::control::StateDump;
use lnic_engine::{Call, Meta};
use lnic_wire::MAX_FRAGMENT;

use crate::machine::{HOST, Machine};
use crate::toolchain::Toolchain;

/// The name of the target.
pub const NAME: &str = "nfp";
/// The only workload of an image has the first dense index.
const INDEX: u16 = 1;
/// The compilers that are looked for, the first that is found is taken.
const COMPILERS: [&str; 2] = ["gcc", "clang"];

/// The target that this crate adds to a test run.
#[derive(Clone, Copy, Debug)]
pub struct NfpTests;

impl TestTargets for NfpTests {
    fn load(
        &self,
        target: &str,
        checked: &CheckedWorkload,
        module: &Arc<Module>,
    ) -> Option<Box<dyn TestTarget>> {
        (target == NAME).then(|| -> Box<dyn TestTarget> { Box::new(load(checked, module)) })
    }
}

/// The compiler that units are compiled with, if there is one.
pub fn toolchain() -> Option<Toolchain> {
    COMPILERS.into_iter().find_map(Toolchain::find)
}

fn load(checked: &CheckedWorkload, module: &Arc<Module>) -> OnNic<OnShim> {
    let Some(toolchain) = toolchain() else {
        return OnNic::Missing("gcc or clang not found".to_owned());
    };
    match OnShim::new(&toolchain, checked, module) {
        Ok(ready) => OnNic::Ready(Box::new(ready)),
        Err(reason) => OnNic::Failed {
            expected: "a unit that compiles and starts",
            reason,
        },
    }
}

/// An image for a core, and the places of its lambdas.
#[derive(Debug)]
pub struct Compiled {
    /// The image, through all passes but the cut; what is the host's is said to be.
    pub image: Image,
    /// Where the lambdas are.
    pub places: Places,
    /// The workload's id.
    pub id: u32,
}

/// Makes an image of a workload.
///
/// # Errors
/// If it can't be linked.
pub fn compile(checked: &CheckedWorkload, module: &Arc<Module>) -> Result<Compiled, String> {
    let id = lnic_wire::workload_id(INDEX, &module.name).ok_or("the workload has no id")?;
    let linked = lambdac_image::link(&module.name, &[(id, module.clone())]);
    let mut image = linked.map_err(|error| error.to_string())?;
    // What a test gives for a service is in everybody's reach.
    let places = nfp::places(checked, module, &|_| None).map_err(|error| error.to_string())?;
    for (entry, place) in image.entries.iter_mut().zip(places.lambdas()) {
        if let Place::Host { reason, .. } = place {
            entry.on_host = Some(reason.as_str().into());
        }
    }
    let device = lambdac_target::builtin(NAME).ok_or("the device is not built in")?;
    let options = lambdac_image::Options {
        disabled: std::iter::once("partition".to_owned()).collect(),
        ..lambdac_image::Options::default()
    };
    lambdac_image::optimize(&mut image, &device, &options);
    Ok(Compiled { image, places, id })
}

/// A workload that runs on the shim, and on the host behind it.
struct OnShim {
    hir: Arc<Workload>,
    module: Arc<Module>,
    places: Places,
    id: u32,
    machine: Machine,
    host: HostInstance,
    sides: Sides,
}

/// What a call asks.
struct Asked<'a> {
    meta: Meta<'a>,
    packet: Packet,
    params: &'a [(&'a str, Data)],
    request: &'a [u8],
}

impl OnShim {
    fn new(toolchain: &Toolchain, checked: &CheckedWorkload, module: &Arc<Module>) -> Result<Self, String> {
        let compiled = compile(checked, module)?;
        let image = Arc::new(compiled.image);
        let machine =
            Machine::new(image, Dialect::MicroC, toolchain, 0).map_err(|error| error.to_string())?;
        Ok(Self {
            hir: Arc::new(checked.0.clone()),
            module: module.clone(),
            places: compiled.places,
            id: compiled.id,
            machine,
            host: HostInstance::new(module, 0).map_err(|error| error.to_string())?,
            sides: Sides::default(),
        })
    }

    fn on_host(&mut self, lambda: Option<LambdaId>, call: &Asked<'_>, givens: &mut Givens) -> CallResult {
        let params = match self.host.params(call.params) {
            Ok(params) => params,
            Err(error) => return CallResult::Error(error.to_string()),
        };
        let meta = Meta {
            params: Some(&params),
            ..call.meta
        };
        // One stream of `random`, whoever throws.
        self.host.set_dice(self.machine.dice(0));
        let mut services = |call: &Call<'_>| answer(call, givens);
        let outcome = self.host.call(lambda, &meta, call.request, &mut services);
        self.machine.set_dice(0, self.host.dice());
        match outcome {
            HostOutcome::Reply(bytes) => CallResult::Reply(bytes),
            HostOutcome::Drop => CallResult::Drop,
            HostOutcome::Punt => CallResult::Punt,
            HostOutcome::BadRequest => CallResult::BadRequest,
            HostOutcome::Trap(trap) => {
                CallResult::Trap(format!("{} at line {}", trap.cause.name(), trap.line))
            }
        }
    }

    /// Notes why the host answers.
    fn leave(&mut self, lambda: Option<LambdaId>) {
        let all = 0..self.module.lambdas.len();
        let asked = lambda.and_then(|id| self.places.host_code(id.index()));
        let code = asked.or_else(|| all.into_iter().find_map(|id| self.places.host_code(id)));
        let code = code.unwrap_or(legal::REQUEST).to_owned();
        self.sides.left.get_or_insert(code);
    }

    fn ask(&mut self, lambda: Option<LambdaId>, call: &Asked<'_>, givens: &mut Givens) -> CallResult {
        let name = self.module.name.clone();
        for (param, value) in call.params {
            if let Err(error) = self.machine.set_param(&format!("{name}.{param}"), value) {
                return CallResult::Error(error.to_string());
            }
        }
        // As a worker does it with a message of several packets that nobody reads.
        let any = self.places.takes_any_length() && call.request.len() > MAX_FRAGMENT;
        let request = if any { &[] } else { call.request };
        let module = self.module.clone();
        let mut services = |service: &lambdac_mir::Service, op, key: &[u8], value: Option<&[u8]>| {
            given(&module, service, op, key, value, givens)
        };
        let ended = match lambda {
            Some(id) => self
                .machine
                .enter(id.index(), request, &call.packet, &mut services),
            None => self.machine.call(self.id, request, &call.packet, &mut services),
        };
        let outcome = match ended {
            Ok(Ending::Of(outcome)) => outcome,
            Ok(Ending::NoWorkload) => return CallResult::Error("nobody has the workload's id".to_owned()),
            Err(error) => return CallResult::Error(error.to_string()),
        };
        self.sides.answered |= outcome != Outcome::Invalid(HOST.to_owned());
        match outcome {
            Outcome::Reply(bytes) => CallResult::Reply(bytes),
            Outcome::Drop => CallResult::Drop,
            Outcome::Punt => CallResult::Punt,
            Outcome::BadRequest => CallResult::BadRequest,
            Outcome::Trap(cause, loc) => CallResult::Trap(format!("{} at line {}", cause.name(), loc.line)),
            Outcome::OutOfSteps => CallResult::Error("out of steps".to_owned()),
            Outcome::Invalid(why) if why == HOST => match self.machine.punted() {
                Some(entry) => {
                    self.sides.answered = true;
                    self.on_host(Some(LambdaId(entry as u32)), call, givens)
                }
                None => {
                    self.leave(lambda);
                    self.on_host(lambda, call, givens)
                }
            },
            Outcome::Invalid(why) => CallResult::Error(why),
        }
    }

    fn dump(&mut self, name: &str) -> Result<StateDump, String> {
        if !self.places.on_nic(name) {
            let host = self.host.workload().state(0);
            let found = host.into_iter().find(|(other, _)| other == name);
            return found
                .map(|(_, dump)| dump)
                .ok_or_else(|| format!("the host has no object `{name}`"));
        }
        let full = format!("{}.{name}", self.module.name);
        let state = self.machine.state(0).map_err(|error| error.to_string())?;
        match state.into_iter().find(|(other, _)| **other == *full) {
            Some((_, interp::StateDump::Value(data))) => Ok(StateDump::Value(data)),
            Some((_, interp::StateDump::Counters(counts))) => Ok(StateDump::Counters(counts)),
            Some((_, interp::StateDump::Entries(_))) => Err(format!("`{name}` has no places")),
            None => Err(format!("the core has no object `{name}`")),
        }
    }
}

/// What a test gives for a request of an image's service.
fn given(
    module: &Module,
    service: &lambdac_mir::Service,
    op: ServiceOp,
    key: &[u8],
    value: Option<&[u8]>,
    givens: &mut Givens,
) -> interp::Answer {
    let own = |other: &lambdac_mir::Service| format!("{}.{}", module.name, other.name) == *service.name;
    let call = Call {
        service: module.services.iter().position(own).unwrap_or_default(),
        op,
        key,
        value: value.unwrap_or_default(),
        limit: usize::MAX,
    };
    match answer(&call, givens) {
        ServiceAnswer::Value(value) => interp::Answer::Value(value),
        ServiceAnswer::Done => interp::Answer::Done,
        ServiceAnswer::Missing => interp::Answer::Missing,
        ServiceAnswer::Failed => interp::Answer::Failed,
    }
}

impl NicTarget for OnShim {
    fn workload(&self) -> Arc<Workload> {
        self.hir.clone()
    }

    fn sides(&mut self) -> &mut Sides {
        &mut self.sides
    }
}

impl Target for OnShim {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.host = self.host.fresh(seed).map_err(|error| error.to_string())?;
        self.machine.reset(seed).map_err(|error| error.to_string())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let module = self.module.clone();
        let facts = meta(env);
        let call = Asked {
            packet: Packet {
                pkt: [
                    facts.src_ip.into(),
                    facts.src_port.into(),
                    facts.dst_port.into(),
                    facts.port.into(),
                    facts.request_id,
                ],
                now: facts.now,
                random: facts.random,
            },
            meta: facts,
            params: &param_values(&module, env),
            request: &step.request,
        };
        let lambda = match step.callee {
            Callee::Lambda(id) => Some(LambdaId(id.0)),
            Callee::Workload => None,
        };
        self.ask(lambda, &call, givens)
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let hir = self.hir.clone();
        read_place(&hir, place, &mut |name| self.dump(name))
    }
}
