//! `test` items on the P4 reference switch.
//!
//! Each workload is compiled once, by p4c too; each test has a switch of its own.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use lambdac_backend_p4::{
    self as p4, BY_MATCH, CPU_PORT, EXPIRE, Facts, Listen, Options, Output, PEEK, ServicePlace,
};
use lambdac_driver::CheckedWorkload;
use lambdac_driver::bmv2;
use lambdac_driver::nic::Places;
use lambdac_driver::testing::values::{answer, meta, param_values, read_place};
use lambdac_driver::testing::{HostInstance, HostOutcome, NicTarget, OnNic, Sides, TestTarget, TestTargets};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value, Workload};
use lambdac_image::Image;
use lambdac_interp::{CallResult, Env, Givens, Target};
use lambdac_mir::{Data, LambdaId, Module, ObjectId, Service};
use lnic_engine::control::StateDump;
use lnic_engine::{Call, Meta};
use lnic_wire::{DEFAULT_PORT, Fragment, HEADER_LEN, Header, MAX_FRAGMENT, Status};
use tempfile::TempDir;

use crate::frame::{self, Endpoint};
use crate::recording::Recorder;
use crate::switch::{LARGEST, PACKET_IN, PORT, Switch};
use crate::tools::Tools;
use crate::{memcached, state};

/// The name of the target.
pub const NAME: &str = bmv2::NAME;
/// The only workload of an image has the first dense index.
const INDEX: u16 = 1;
/// The switch, for tests.
pub(crate) const WORKER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: Ipv4Addr::new(10, 0, 0, 2),
    port: DEFAULT_PORT,
};
/// Who asks it.
pub(crate) const CALLER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 1],
    address: Ipv4Addr::new(10, 0, 0, 1),
    port: 40_000,
};
/// The services, one a port from the first on.
const SERVICES: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 9],
    address: Ipv4Addr::new(10, 0, 0, 9),
    port: 11_211,
};
/// The longest value that is taken (language, section 7).
const MAX_VALUE: usize = 1024;
/// Reasons why a packet goes to the host.
pub(crate) const PUNTED: u16 = 2;
const PUNTED_TO: u16 = 3;

/// The target that this crate adds to a test run.
#[derive(Clone, Copy, Debug)]
pub struct Bmv2Tests;

impl TestTargets for Bmv2Tests {
    fn load(
        &self,
        target: &str,
        checked: &CheckedWorkload,
        module: &Arc<Module>,
    ) -> Option<Box<dyn TestTarget>> {
        (target == NAME).then(|| -> Box<dyn TestTarget> { Box::new(load(checked, module)) })
    }
}

fn load(checked: &CheckedWorkload, module: &Arc<Module>) -> OnNic<OnSwitch> {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => return OnNic::Missing(missing),
    };
    match OnSwitch::new(tools, checked, module) {
        Ok(ready) => OnNic::Ready(Box::new(ready)),
        Err(reason) => OnNic::Failed {
            expected: "a program that p4c takes",
            reason,
        },
    }
}

/// A program, and the places of its lambdas.
#[derive(Debug)]
pub struct Compiled {
    /// The program and what is known of it.
    pub output: Output,
    /// Where the lambdas are.
    pub places: Places,
    /// The workload's id.
    pub id: u32,
}

/// Makes a test program of a workload.
///
/// # Errors
/// If its match stage has no code.
pub fn compile(checked: &CheckedWorkload, module: &Arc<Module>) -> Result<Compiled, String> {
    let id = lnic_wire::workload_id(INDEX, &module.name).ok_or("the workload has no id")?;
    let mut image =
        lambdac_image::link(&module.name, &[(id, module.clone())]).map_err(|error| error.to_string())?;
    let options = Options {
        test: true,
        listen: Some(Listen {
            mac: WORKER.mac,
            address: WORKER.address.into(),
            port: WORKER.port,
            broadcast: u32::from(WORKER.address) | 0xff,
        }),
        constant_entries: true,
        params: Vec::new(),
        services: (0..module.services.len())
            .map(|number| Ok(service(number)))
            .collect(),
    };
    let reach = |_: &Module, _: &Service| Ok(service(0));
    let places = bmv2::places_with(checked, module, &reach).map_err(|error| error.to_string())?;
    keep(&mut image, &places);
    let output = p4::program(&image, &options).map_err(|refusal| refusal.to_string())?;
    Ok(Compiled { output, places, id })
}

/// Where a service is.
fn service(number: usize) -> ServicePlace {
    ServicePlace {
        mac: SERVICES.mac,
        address: SERVICES.address.into(),
        port: SERVICES.port + number as u16,
        egress: PORT,
    }
}

/// Tells an image which lambdas are the host's.
fn keep(image: &mut Image, places: &Places) {
    for (entry, native) in image.entries.iter_mut().zip(places.native()) {
        if !native {
            entry.on_host = Some("it runs on the host".into());
        }
    }
}

/// A compiled workload and the switch of the test that runs.
struct OnSwitch {
    tools: Tools,
    hir: Arc<Workload>,
    module: Arc<Module>,
    compiled: Compiled,
    json: PathBuf,
    folder: TempDir,
    host: HostInstance,
    switch: Option<Switch>,
    /// Where the dice start, until a packet has said so.
    seed: Option<u64>,
    sides: Sides,
    recorder: Option<Recorder>,
}

impl OnSwitch {
    fn new(tools: Tools, checked: &CheckedWorkload, module: &Arc<Module>) -> Result<Self, String> {
        let compiled = compile(checked, module)?;
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let text = p4::print::print(&compiled.output.program);
        let json = tools
            .compile(&text, folder.path())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            recorder: Recorder::asked(&tools, &module.name),
            tools,
            hir: Arc::new(checked.0.clone()),
            module: module.clone(),
            compiled,
            json,
            folder,
            host: HostInstance::new(module, 0).map_err(|error| error.to_string())?,
            switch: None,
            seed: None,
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
        let mut services = |call: &Call<'_>| answer(call, givens);
        match self.host.call(lambda, &meta, call.request, &mut services) {
            HostOutcome::Reply(bytes) => CallResult::Reply(bytes),
            HostOutcome::Drop => CallResult::Drop,
            HostOutcome::Punt => CallResult::Punt,
            HostOutcome::BadRequest => CallResult::BadRequest,
            HostOutcome::Trap(trap) => {
                CallResult::Trap(format!("{} at line {}", trap.cause.name(), trap.line))
            }
        }
    }

    /// One packet of a call through the switch, and what came of it.
    fn ask(
        &mut self,
        entry: u16,
        call: &Asked<'_>,
        packet: &Fragment<'_>,
        givens: &mut Givens,
    ) -> io::Result<Answer> {
        let facts = Facts {
            entry,
            src_ip: call.meta.src_ip,
            src_port: call.meta.src_port,
            dst_port: call.meta.dst_port,
            port: call.meta.port,
            now: call.meta.now,
            random: call.meta.random,
            seed: self.seed.take(),
        };
        let params = self.module.params.iter().map(|param| {
            let given = call.params.iter().find(|(name, _)| *name == &*param.name);
            given
                .map(|(_, data)| data.clone())
                .or_else(|| param.default.clone())
        });
        let params: Vec<Option<Data>> = params.collect();
        let output = &self.compiled.output;
        let between = output.test_header(&facts, &params);
        let again = output.test_header(&Facts { seed: None, ..facts }, &params);
        let sent = self.request(&between, call.meta.request_id, packet);
        let mut frames = vec![(PORT, sent.1.clone())];
        loop {
            let came = self.exchange(&frames)?;
            self.note(&frames, &came)?;
            let [(PORT, frame)] = &came[..] else {
                return Ok(ended(&sent, between.len(), &came));
            };
            if !frame.starts_with(&SERVICES.mac) {
                return Ok(ended(&sent, between.len(), &came));
            }
            frames = match memcached::Asked::read(WORKER, SERVICES, frame) {
                Ok(asked) => vec![answered(&asked, &again, givens)],
                Err(reason) => return Ok(Answer::Wrong(reason)),
            };
        }
    }

    /// The frame of a packet with a test's header, and its λ header.
    fn request(&self, between: &[u8], number: u64, packet: &Fragment<'_>) -> (Header, Vec<u8>) {
        let length = packet.payload.len() as u16;
        let header = Header::request(self.compiled.id, number, packet.index, packet.count, length);
        let frame = frame::request(CALLER, WORKER, &header, between, packet.payload);
        (header, frame)
    }

    fn exchange(&mut self, frames: &[(u16, Vec<u8>)]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let switch = self.switch.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        switch.exchange(frames)
    }

    /// Puts frames into the recording, if there is one.
    fn note(&mut self, sent: &[(u16, Vec<u8>)], came: &[(u16, Vec<u8>)]) -> io::Result<()> {
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        let handed_up = match came {
            [(CPU_PORT, frame)] => !matches!(to_host(frame), Answer::ToHost(PUNTED, _)),
            _ => false,
        };
        let frames = sent.iter().chain(came).map(|(_, frame)| &**frame);
        recorder.add(frames, handed_up)
    }

    /// A whole message through the switch.
    fn on_switch(&mut self, callee: Option<LambdaId>, call: &Asked<'_>, givens: &mut Givens) -> CallResult {
        // As a worker does it with a message of several packets that nobody reads.
        let any = self.compiled.places.takes_any_length() && call.request.len() > MAX_FRAGMENT;
        let request = if any { &[] } else { call.request };
        let size = self.fragment();
        let Some(packets) = lnic_wire::fragments(request, size) else {
            return CallResult::Error("the request is longer than a message".to_owned());
        };
        let entry = callee.map_or(BY_MATCH, |id| id.0 as u16);
        let mut whole = Vec::new();
        for packet in packets {
            match self.ask(entry, call, &packet, givens) {
                Err(error) => return CallResult::Error(format!("the switch: {error}")),
                Ok(Answer::Reply(Status::Ok, bytes)) => whole.extend(bytes),
                Ok(Answer::ToHost(reason, lambda)) => {
                    return self.passed_up(callee, call, (reason, lambda), givens);
                }
                Ok(answer) => {
                    self.sides.answered = true;
                    return answer.result();
                }
            }
        }
        self.sides.answered = true;
        CallResult::Reply(whole)
    }

    /// Payload bytes of all packets of a message but the last; of streams, the largest reply of all counts.
    fn fragment(&self) -> u16 {
        let streams = self.module.lambdas.iter().filter(|lambda| lambda.stream);
        let sizes = streams.map(|lambda| (lambda.request.max, lambda.reply.max));
        let size = sizes.reduce(|(chunk, a), (_, b)| (chunk, a.max(b)));
        size.and_then(|(chunk, reply)| lnic_wire::stream_fragment_size(chunk as usize, reply as usize))
            .unwrap_or(MAX_FRAGMENT as u16)
    }

    /// What the switch did not end.
    fn passed_up(
        &mut self,
        callee: Option<LambdaId>,
        call: &Asked<'_>,
        (reason, lambda): (u16, u16),
        givens: &mut Givens,
    ) -> CallResult {
        match reason {
            PUNTED_TO => {
                self.sides.answered = true;
                self.on_host(Some(LambdaId(lambda.into())), call, givens)
            }
            PUNTED => {
                self.sides.answered = true;
                CallResult::Punt
            }
            _ => {
                let all = 0..self.module.lambdas.len();
                let mut codes = all.filter_map(|id| self.compiled.places.host_code(id));
                let code = codes.next().map(str::to_owned);
                self.sides.left = self.sides.left.take().or(code);
                self.on_host(callee, call, givens)
            }
        }
    }

    /// All elements of a register.
    fn register(&mut self, name: &str) -> Result<Vec<u64>, String> {
        let text = |error: io::Error| error.to_string();
        let switch = self.switch.as_ref().ok_or("no switch runs")?;
        let mut elements = switch.register(name).map_err(text)?;
        let wide = self.compiled.output.wide.iter().position(|wide| wide == name);
        if let Some(number) = wide {
            let past = elements
                .iter()
                .enumerate()
                .filter(|(_, element)| **element == LARGEST);
            let past: Vec<usize> = past.map(|(index, _)| index).collect();
            for index in past {
                elements[index] = self.peek(number, index).map_err(text)?;
            }
        }
        Ok(elements)
    }

    /// An element of a register of 64 bits.
    fn peek(&mut self, number: usize, index: usize) -> io::Result<u64> {
        let facts = Facts {
            entry: PEEK,
            src_ip: number as u32,
            src_port: 0,
            dst_port: 0,
            port: 0,
            now: index as u64,
            random: None,
            seed: None,
        };
        let between = self.compiled.output.test_header(&facts, &[]);
        let packet = Fragment {
            index: 0,
            count: 1,
            payload: &[],
        };
        let sent = self.request(&between, 0, &packet);
        let came = self.exchange(&[(PORT, sent.1.clone())])?;
        match ended(&sent, between.len(), &came) {
            Answer::Reply(Status::Ok, bytes) if bytes.len() == 8 => {
                Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            }
            _ => Err(io::Error::other(
                "an element of a register was asked for, and did not come",
            )),
        }
    }

    fn dump(&mut self, name: &str) -> Result<StateDump, String> {
        let found = self
            .module
            .objects
            .iter()
            .position(|object| *object.name == *name);
        let index = found.ok_or_else(|| format!("there is no object `{name}`"))?;
        if !self.compiled.places.on_nic(name) {
            let host = self.host.workload().state(0);
            let found = host.into_iter().find(|(other, _)| other == name);
            return found
                .map(|(_, dump)| dump)
                .ok_or_else(|| format!("the host has no object `{name}`"));
        }
        let (module, id) = (self.module.clone(), ObjectId(index as u32));
        let places = self.compiled.output.state.clone();
        let switch = RefCell::new(self);
        let read = |name: &str| switch.borrow_mut().register(name).map_err(io::Error::other);
        let dump = state::dump(&module.objects[index].kind, &places, id, &read);
        let dump = dump.map_err(|error| error.to_string())?;
        dump.ok_or_else(|| format!("`{name}` holds no value"))
    }
}

/// What a call asks.
struct Asked<'a> {
    meta: Meta<'a>,
    params: &'a [(&'a str, Data)],
    request: &'a [u8],
}

/// What came of a packet.
enum Answer {
    Nothing,
    Reply(Status, Vec<u8>),
    /// With the reason, and a lambda.
    ToHost(u16, u16),
    Wrong(String),
}

impl Answer {
    fn result(self) -> CallResult {
        match self {
            Self::Nothing => CallResult::Drop,
            Self::Reply(Status::Ok, bytes) => CallResult::Reply(bytes),
            Self::Reply(Status::BadRequest, _) => CallResult::BadRequest,
            Self::Reply(Status::Trap, _) => CallResult::Trap(String::new()),
            Self::Reply(status, _) => CallResult::Error(format!("status {status:?}")),
            Self::ToHost(reason, _) => CallResult::Error(format!("to the host for {reason}")),
            Self::Wrong(reason) => CallResult::Error(reason),
        }
    }
}

/// What came of a request, whose test's header has so many bytes.
fn ended(sent: &(Header, Vec<u8>), between: usize, came: &[(u16, Vec<u8>)]) -> Answer {
    let [(port, frame)] = came else {
        return match came.len() {
            0 => Answer::Nothing,
            count => Answer::Wrong(format!("{count} packets for one")),
        };
    };
    match *port {
        CPU_PORT => match frame.get(PACKET_IN..) {
            Some(inner) if inner == without(&sent.1, between) => to_host(frame),
            _ => Answer::Wrong("the packet to the host was changed".to_owned()),
        },
        _ => match frame::reply(CALLER, WORKER, &sent.0, frame) {
            Ok((status, payload)) => Answer::Reply(status, payload.to_vec()),
            Err(reason) => Answer::Wrong(reason),
        },
    }
}

/// What the switch gets after a request to a service: the answer, or word that its time is up; and by which port.
fn answered(asked: &memcached::Asked, between: &[u8], givens: &mut Givens) -> (u16, Vec<u8>) {
    let call = Call {
        service: usize::from(asked.port().wrapping_sub(SERVICES.port)),
        op: asked.command.op,
        key: &asked.command.key,
        value: &asked.command.value,
        limit: MAX_VALUE,
    };
    match asked.command.answer(&answer(&call, givens)) {
        Some(text) => (PORT, asked.answer(between, &text)),
        None => {
            let expiry = (EXPIRE | u16::from(asked.slot())).to_be_bytes();
            (CPU_PORT, [&expiry[..], between].concat())
        }
    }
}

/// A frame without a test's header, which does not leave the switch.
fn without(frame: &[u8], between: usize) -> Vec<u8> {
    let at = frame::HEADERS + HEADER_LEN;
    [&frame[..at], &frame[at + between..]].concat()
}

/// Reason and lambda of a packet to the host.
fn to_host(frame: &[u8]) -> Answer {
    let number = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    Answer::ToHost(number(2), number(6))
}

impl NicTarget for OnSwitch {
    fn workload(&self) -> Arc<Workload> {
        self.hir.clone()
    }

    fn sides(&mut self) -> &mut Sides {
        &mut self.sides
    }
}

impl Target for OnSwitch {
    fn name(&self) -> &str {
        NAME
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        let text = |error: io::Error| format!("the switch: {error}");
        self.switch = None;
        self.host = self.host.fresh(seed).map_err(|error| error.to_string())?;
        self.switch = Some(Switch::start(&self.tools, &self.json, self.folder.path()).map_err(text)?);
        self.seed = Some(seed);
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let module = self.module.clone();
        let params = param_values(&module, env);
        let call = Asked {
            meta: meta(env),
            params: &params,
            request: &step.request,
        };
        let callee = match step.callee {
            Callee::Lambda(id) => Some(LambdaId(id.0)),
            Callee::Workload => None,
        };
        let left = callee.and_then(|id| self.compiled.places.host_code(id.index()).map(str::to_owned));
        if left.is_some() {
            self.sides.left = left;
            return self.on_host(callee, &call, givens);
        }
        self.on_switch(callee, &call, givens)
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let hir = self.hir.clone();
        read_place(&hir, place, &mut |name| self.dump(name))
    }
}
