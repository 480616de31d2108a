//! `test` items on the NIC's programs, by the kernel's test-run call.
//!
//! A workload is compiled and loaded once, with real maps; each test starts by emptying them. A step's request becomes
//! a frame, the program runs on it, and what it returns, the frame that it leaves and the events that it reports are
//! the step's outcome. Where the caller's address and port allow it, the frame goes through the dispatcher, as a packet
//! off the wire would; else straight to the workload's program.
//!
//! What the NIC hands up is done by the host's code here as in a worker: lambdas that the NIC doesn't have,
//! `punt name`, and messages of several packets. A test of which the NIC answers nothing is `skipped: host (CODE)`. A
//! program that the kernel refuses makes it fail.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lambdac_backend_ebpf::abi::{self, event};
use lambdac_backend_ebpf::{Options, Workload as NicWorkload, compile, layout};
use lambdac_driver::CheckedWorkload;
use lambdac_driver::nic::Places;
use lambdac_driver::testing::values::{answer, meta, param_values, read_place};
use lambdac_driver::testing::{Failure, HostInstance, HostOutcome, TestResult, TestTarget, TestTargets};
use lambdac_hir::{CallStep, Callee, PktField, StatePlace, Test, Value, Workload};
use lambdac_interp::{CallResult, Env, Givens, Target, run_test};
use lambdac_mir::{LambdaId, Module, TrapCause};
use lnic_engine::{Call, MessageFacts, Meta};
use lnic_wire::{DEFAULT_PORT, Header, MAX_FRAGMENT, Status};

use crate::error::{Error, Result};
use crate::frame::{self, Endpoint};
use crate::image::{Image, LoadOptions};
use crate::program::{Action, Program};
use crate::ring::RingBuffer;
use crate::{probe, state};

/// The name of the target.
pub const NAME: &str = "xdp";

/// The only workload of a test's image has the first dense index.
const INDEX: u16 = 1;
/// Where the programs think they are.
const WORKER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: Ipv4Addr::new(192, 0, 2, 1),
    port: DEFAULT_PORT,
};
/// Who asks, but for address and port.
const CALLER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Events of one run at most; a run reports its log lines and one end.
const EVENTS: usize = 4096;

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
        match XdpTarget::new(checked, module) {
            Ok(target) => Self::Ready(Box::new(target)),
            Err(error) => Self::Failed(error),
        }
    }
}

impl TestTarget for Loaded {
    fn run(&mut self, test: &Test) -> TestResult {
        match self {
            Self::Ready(target) => {
                target.left = None;
                let hir = target.hir.clone();
                target.answered = false;
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
    places: Places,
    id: u32,
    image: Image,
    events: RingBuffer,
    host: HostInstance,
    /// The test asked for a lambda that is the host's: the code of why.
    left: Option<String>,
    /// The NIC ended some call of the test.
    answered: bool,
}

/// What a program told while it ran.
#[derive(Default)]
struct Told {
    /// A punt: to which lambda, and the packet.
    punt: Option<(Option<u32>, Vec<u8>)>,
    /// A trap, in words.
    trap: String,
}

/// How one packet of a request ended.
enum Packet {
    Reply(Vec<u8>),
    /// The host's.
    Passed,
    Ended(CallResult),
}

impl XdpTarget {
    fn new(checked: &CheckedWorkload, module: &Arc<Module>) -> std::result::Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let id = lnic_wire::workload_id(INDEX, &module.name).ok_or("the workload has no id")?;
        let places = Places::of(checked, module);
        let workload = NicWorkload {
            id,
            module,
            native: places.native(),
        };
        let options = Options {
            test: true,
            ..Options::default()
        };
        let object = compile(&[workload], &options).map_err(|e| text(&e))?;
        let elf = object.to_elf().map_err(|e| text(&e))?;
        let image = load(&elf, module).map_err(|e| text(&e))?;
        let events = image.map(abi::EVENTS).cloned().and_then(RingBuffer::new);
        Ok(Self {
            hir: Arc::new(checked.0.clone()),
            module: module.clone(),
            places,
            id,
            image,
            events: events.map_err(|e| text(&e))?,
            host: HostInstance::new(module, 0).map_err(|e| text(&e))?,
            left: None,
            answered: false,
        })
    }

    /// Everything as at the start, but for the dice.
    fn reset(&mut self, seed: u64) -> Result<()> {
        self.image.reset()?;
        self.events.read(usize::MAX, &mut |_| {});
        state::fill_tables(&self.image, &self.module)?;
        let trusted = self.image.map(abi::TRUSTED)?;
        trusted.update(&abi::trusted_key(Ipv4Addr::UNSPECIFIED, 0), &1u32.to_ne_bytes())?;
        self.set_test(&Env::new(&self.hir), Some(seed))
    }

    /// What `now`, `random` and `pkt.port` are in the next call; the dice go on unless they are given.
    fn set_test(&self, env: &Env, dice: Option<u64>) -> Result<()> {
        let before = abi::Test::decode(&self.image.section(abi::TEST)?);
        let test = abi::Test {
            now: env.now,
            random: env.random,
            dice: dice.or(before.map(|test| test.dice)).unwrap_or(0),
            port: env.pkt.get(PktField::Port) as u16,
        };
        self.image.set_section(abi::TEST, &test.encode())
    }

    fn set_params(&self, env: &Env) -> Result<()> {
        let (offsets, bytes) = layout::params(&self.module.params);
        let mut section = vec![0; bytes as usize];
        let values = param_values(&self.module, env);
        for ((param, at), (_, data)) in self.module.params.iter().zip(offsets).zip(values) {
            let len = layout::value_bytes(&param.shape) as usize;
            layout::encode_value(&param.shape, &data, &mut section[at as usize..][..len]);
        }
        if self.module.params.is_empty() {
            return Ok(());
        }
        self.image
            .set_section(&layout::params_section(&self.module.name), &section)
    }

    fn call_nic(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> Result<CallResult> {
        self.set_test(env, None)?;
        self.set_params(env)?;
        let fragment = self.fragment(step.callee);
        let any = self.places.takes_any_length() && step.request.len() > usize::from(fragment);
        // As a worker does it with a message of several packets that nobody reads.
        let request = if any { &[] } else { &*step.request };
        let Some(packets) = lnic_wire::fragments(request, fragment) else {
            return Ok(CallResult::Error(
                "the request is longer than a message".to_owned(),
            ));
        };
        let mut whole = Vec::new();
        for packet in packets {
            let header = Header::request(
                self.id,
                env.pkt.get(PktField::RequestId),
                packet.index,
                packet.count,
                packet.payload.len() as u16,
            );
            match self.packet(step, env, &header, packet.payload, givens)? {
                Packet::Reply(bytes) => {
                    self.answered = true;
                    whole.extend(bytes);
                }
                Packet::Passed => return Ok(self.passed(step, env, header.fragments, givens)),
                Packet::Ended(result) => {
                    self.answered = true;
                    return Ok(result);
                }
            }
        }
        Ok(CallResult::Reply(whole))
    }

    /// Payload bytes of all packets of a message but the last.
    fn fragment(&self, callee: Callee) -> u16 {
        let size = match callee {
            Callee::Workload => MessageFacts::of(&self.module).fragment,
            Callee::Lambda(id) => {
                let lambda = &self.module.lambdas[id.index()];
                let reply = lambda.reply.max as usize;
                let chunk = lambda.request.max as usize;
                let chunks = lambda
                    .stream
                    .then(|| lnic_wire::stream_fragment_size(chunk, reply))
                    .flatten();
                chunks.map_or(MAX_FRAGMENT as u32, u32::from)
            }
        };
        u16::try_from(size).unwrap_or(MAX_FRAGMENT as u16)
    }

    fn packet(
        &mut self,
        step: &CallStep,
        env: &Env,
        header: &Header,
        payload: &[u8],
        givens: &mut Givens,
    ) -> Result<Packet> {
        let from = Endpoint {
            mac: CALLER_MAC,
            address: Ipv4Addr::from_bits(env.pkt.get(PktField::SrcIp) as u32),
            port: env.pkt.get(PktField::SrcPort) as u16,
        };
        let to = Endpoint {
            port: env.pkt.get(PktField::DstPort) as u16,
            ..WORKER
        };
        let sent = frame::request(from, to, header, payload, 0);
        let run = self.program(step.callee, from, to)?.run(&sent, 1)?;
        let told = self.told();
        let punted = told.punt.is_some();
        Ok(match run.action {
            Action::Tx => self.replied(&sent, &run.packet, told),
            Action::Pass if run.packet != sent => {
                wrong("the program changed a packet that it passed up".to_owned())
            }
            Action::Pass => Packet::Passed,
            Action::Drop if punted => self.punted(step, env, &sent, told, givens),
            Action::Drop => Packet::Ended(CallResult::Drop),
            other => wrong(format!("the program returned {other:?}")),
        })
    }

    /// The dispatcher where it would take such a packet, else the program itself.
    fn program(&self, callee: Callee, from: Endpoint, to: Endpoint) -> Result<&Arc<Program>> {
        let name = match callee {
            Callee::Lambda(id) => {
                abi::lambda_program(&self.module.name, &self.module.lambdas[id.index()].name)
            }
            Callee::Workload if may_come_by_wire(from) && to.port == WORKER.port => abi::DISPATCH.to_owned(),
            Callee::Workload => abi::workload_program(&self.module.name),
        };
        self.image.program(&name)
    }

    fn told(&mut self) -> Told {
        let mut told = Told::default();
        let module = &self.module;
        self.events
            .read(EVENTS, &mut |record| match event::Event::parse(record)
                .map(|event| (event.line, event.what))
            {
                Some((_, event::What::Punt { to, frame })) => told.punt = Some((to, frame.to_vec())),
                Some((line, event::What::Trap { cause })) => {
                    told.trap = format!("{} at line {line}", cause_name(cause));
                }
                Some((_, event::What::Log(_))) => {}
                None => told.trap = format!("an event of `{}` that cannot be read", module.name),
            });
        told
    }

    fn replied(&self, sent: &[u8], frame: &[u8], told: Told) -> Packet {
        match frame::reply(sent, frame) {
            Err(error) => wrong(error.to_string()),
            Ok((header, payload)) => match header.status {
                Status::Ok => Packet::Reply(payload.to_vec()),
                Status::BadRequest => Packet::Ended(CallResult::BadRequest),
                Status::Trap if told.trap.starts_with(cause_name(event::CAUSE_UNREACHABLE)) => {
                    wrong(told.trap)
                }
                Status::Trap => Packet::Ended(CallResult::Trap(told.trap)),
                other => wrong(format!("the status is {other}")),
            },
        }
    }

    fn punted(&mut self, step: &CallStep, env: &Env, sent: &[u8], told: Told, givens: &mut Givens) -> Packet {
        match told.punt {
            Some((_, frame)) if frame != sent => wrong("the punted packet is not the one sent".to_owned()),
            Some((Some(lambda), _)) => {
                Packet::Ended(self.call_host(Some(LambdaId(lambda)), step, env, givens))
            }
            _ => Packet::Ended(CallResult::Punt),
        }
    }

    /// A packet that went up the stack: rightly so if it is one of several, or its lambda is the host's.
    fn passed(&mut self, step: &CallStep, env: &Env, fragments: u16, givens: &mut Givens) -> CallResult {
        let asked: Vec<LambdaId> = match step.callee {
            Callee::Lambda(id) => vec![LambdaId(id.0)],
            Callee::Workload => self.host.workload().reachable().to_vec(),
        };
        let streams = asked.iter().any(|id| self.module.lambdas[id.index()].stream);
        let code = asked.iter().find_map(|id| self.places.host_code(id.index()));
        match code {
            Some(code) => self.left = Some(code.to_owned()),
            None if fragments > 1 && !streams => {}
            None => {
                let what = "the program passed the packet up, though its lambda is native";
                return CallResult::Error(what.to_owned());
            }
        }
        let lambda = match step.callee {
            Callee::Lambda(id) => Some(LambdaId(id.0)),
            Callee::Workload => None,
        };
        self.call_host(lambda, step, env, givens)
    }

    fn call_host(
        &mut self,
        lambda: Option<LambdaId>,
        step: &CallStep,
        env: &Env,
        givens: &mut Givens,
    ) -> CallResult {
        let params = match self.host.params(&param_values(&self.module, env)) {
            Ok(params) => params,
            Err(error) => return CallResult::Error(error.to_string()),
        };
        let meta = Meta {
            params: Some(&params),
            ..meta(env)
        };
        let mut services = |call: &Call<'_>| answer(call, givens);
        match self.host.call(lambda, &meta, &step.request, &mut services) {
            HostOutcome::Reply(bytes) => CallResult::Reply(bytes),
            HostOutcome::Drop => CallResult::Drop,
            HostOutcome::Punt => CallResult::Punt,
            HostOutcome::BadRequest => CallResult::BadRequest,
            HostOutcome::Trap(trap) => {
                CallResult::Trap(format!("{} at line {}", trap.cause.name(), trap.line))
            }
        }
    }

    /// Whether the NIC holds an object: a native lambda touches it.
    fn holds(&self, object: &str) -> bool {
        self.places.on_nic(object)
    }
}

fn wrong(reason: String) -> Packet {
    Packet::Ended(CallResult::Error(reason))
}

fn cause_name(cause: u32) -> &'static str {
    let known = TrapCause::ALL.get(cause as usize);
    known.map_or("a check for the verifier", |cause| cause.name())
}

/// Whether the dispatcher lets packets from such a source through (design, section 6).
fn may_come_by_wire(from: Endpoint) -> bool {
    let [first, ..] = from.address.octets();
    !matches!(first, 0 | 127 | 224..) && from.address != WORKER.address
}

fn load(elf: &[u8], module: &Module) -> Result<Image> {
    let config = abi::Config {
        on: true,
        mac: WORKER.mac,
        address: WORKER.address,
        port: WORKER.port,
        broadcast: None,
    };
    let options = LoadOptions {
        sections: [(abi::CONFIG.to_owned(), config.encode().to_vec())].into(),
        ..LoadOptions::default()
    };
    let image = Image::load(elf, &options)?;
    let program = image.program(&abi::workload_program(&module.name))?;
    image.map(abi::PROGRAMS)?.set_program(0, program)?;
    Ok(image)
}

impl Target for XdpTarget {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&mut self, _: &Test, seed: u64) -> std::result::Result<(), String> {
        self.host = self.host.fresh(seed).map_err(|error| error.to_string())?;
        self.reset(seed).map_err(|error| error.to_string())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        if let Callee::Lambda(id) = step.callee
            && let Some(code) = self.places.host_code(id.index())
        {
            self.left = Some(code.to_owned());
            return self.call_host(Some(LambdaId(id.0)), step, env, givens);
        }
        self.call_nic(step, env, givens)
            .unwrap_or_else(|error: Error| CallResult::Error(error.to_string()))
    }

    fn read(&mut self, place: &StatePlace) -> std::result::Result<Value, String> {
        let host = self.host.workload().state(0);
        read_place(&self.hir.clone(), place, &mut |name| {
            let object = self.module.objects.iter().find(|object| *object.name == *name);
            if let (Some(object), true) = (object, self.holds(name)) {
                let found = state::dump(&self.image, &self.module.name, object, 0);
                let found = found.map_err(|error| error.to_string())?;
                return found.ok_or_else(|| format!("`{name}` holds no value"));
            }
            let found = host.iter().find(|(other, _)| other == name);
            found
                .map(|(_, dump)| dump.clone())
                .ok_or_else(|| format!("there is no object `{name}`"))
        })
    }
}
