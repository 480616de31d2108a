//! One workload on the NIC, with the host's code behind it, called directly: what tests and comparisons need.
//!
//! A workload is compiled and loaded once, with real maps. A request becomes frames, the program runs on them by the
//! kernel's test-run call, and what it returns, the frame that it leaves and the events that it reports are the
//! outcome. Where the caller's address and port allow it, the frame goes through the dispatcher, as a packet off the
//! wire would; else straight to the workload's program.
//!
//! What the NIC hands up is done by the host's code here as in a worker: lambdas that the NIC doesn't have, `punt name`,
//! and messages of several packets. Clock and dice are the caller's, the same on both sides.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use lambdac_backend_ebpf::abi::{self, event, wait};
use lambdac_backend_ebpf::{Options, Workload as NicWorkload, compile, layout, packet};
use lambdac_driver::CheckedWorkload;
use lambdac_driver::nic::Places;
use lambdac_driver::testing::{HostInstance, HostOutcome, ServiceAnswer};
use lambdac_mir::{Data, LambdaId, Module, TrapCause};
use lnic_engine::control::StateDump;
use lnic_engine::{Call, MessageFacts, Meta};
use lnic_wire::{DEFAULT_PORT, Header, MAX_FRAGMENT, Status};

use crate::error::Result;
use crate::image::{Image, LoadOptions};
use crate::program::{Action, Program, TestRun};
use crate::ring::RingBuffer;
use crate::state;
use crate::wait::{self as waits, Asked};
use lnic_ether::frame::{self, Endpoint};

/// The only workload of the image has the first dense index.
const INDEX: u16 = 1;
/// Where the programs think they are.
const WORKER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: Ipv4Addr::new(192, 0, 2, 1),
    port: DEFAULT_PORT,
};
/// Who asks, but for address and port.
const CALLER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Where the services of a test are, whatever their addresses: one port each from this on.
const SERVICES: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 11211);
/// The ports that services are asked from.
const PORTS: wait::Ports = wait::Ports {
    first: 40_000,
    count: 64,
};
/// Events of one run at most; a run reports its log lines and one end.
const EVENTS: usize = 4096;

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With these bytes.
    Reply(Vec<u8>),
    /// Without an answer.
    Drop,
    /// At the fallback.
    Punt,
    /// The request does not fit.
    BadRequest,
    /// With a trap.
    Trap {
        /// Why.
        cause: &'static str,
        /// The line of the source; 0: unknown.
        line: u32,
    },
    /// A promise was broken.
    Wrong(String),
}

/// A message's end, and who brought it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the NIC's program answered, or at least handed it to the host by its own decision.
    pub by_nic: bool,
    /// The code of why a lambda that was asked for is the host's.
    pub left: Option<String>,
}

/// Who answers the services of lambdas that the host runs.
pub type Services<'s> = &'s mut dyn FnMut(&Call<'_>) -> ServiceAnswer;

/// A message and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// The lambda; none: through the match.
    pub lambda: Option<LambdaId>,
    /// Facts about the packet, clock and dice. Parameters in it are not looked at.
    pub meta: Meta<'m>,
    /// Values of parameters; others are the module's defaults.
    pub params: &'m [(&'m str, Data)],
    /// Its bytes.
    pub request: &'m [u8],
}

/// A loaded workload.
pub struct Instance {
    module: Arc<Module>,
    places: Places,
    id: u32,
    image: Image,
    events: RingBuffer,
    host: HostInstance,
}

/// What a program told while it ran.
#[derive(Default)]
struct Told {
    /// A punt: to which lambda, and the packet.
    punt: Option<(Option<u32>, Vec<u8>)>,
    /// A trap: cause and line.
    trap: Option<(u32, u32)>,
    unreadable: bool,
}

/// How one packet of a message ended.
enum Packet {
    Reply(Vec<u8>),
    /// The host's.
    Passed,
    Ended(Outcome),
}

impl Instance {
    /// Compiles and loads a workload.
    ///
    /// # Errors
    /// In words, if it has no code or the kernel refuses it.
    pub fn new(checked: &CheckedWorkload, module: &Arc<Module>) -> std::result::Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let id = lnic_wire::workload_id(INDEX, &module.name).ok_or("the workload has no id")?;
        // A service's address plays no part under test (language, section 10).
        let places = Places::with_services(checked, module, &|_| None);
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
        let waits = object.maps.iter().any(|map| map.name == wait::WAITS);
        let image = load(&elf, module, waits).map_err(|e| text(&e))?;
        let events = image.map(abi::EVENTS).cloned().and_then(RingBuffer::new);
        Ok(Self {
            module: module.clone(),
            places,
            id,
            image,
            events: events.map_err(|e| text(&e))?,
            host: HostInstance::new(module, 0).map_err(|e| text(&e))?,
        })
    }

    /// Where the lambdas are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The maps and programs.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Everything as at the start, with `random()` seeded.
    ///
    /// # Errors
    /// If the kernel or the engine refuses.
    pub fn reset(&mut self, seed: u64) -> std::result::Result<(), String> {
        self.host = self.host.fresh(seed).map_err(|error| error.to_string())?;
        self.reset_nic(seed).map_err(|error| error.to_string())
    }

    fn reset_nic(&mut self, seed: u64) -> Result<()> {
        self.image.reset()?;
        self.events.read(usize::MAX, &mut |_| {});
        state::fill_tables(&self.image, &self.module)?;
        let trusted = self.image.map(abi::TRUSTED)?;
        trusted.update(&abi::trusted_key(Ipv4Addr::UNSPECIFIED, 0), &1u32.to_ne_bytes())?;
        self.set_test(&Meta::default(), Some(seed))
    }

    /// What an object holds; the NIC's copy where a native lambda touches it. Entries past their time to live at `now`
    /// are left out.
    ///
    /// # Errors
    /// If there is no such object or the kernel refuses.
    pub fn dump(&self, name: &str, now: u64) -> std::result::Result<StateDump, String> {
        let object = self.module.objects.iter().find(|object| *object.name == *name);
        if let (Some(object), true) = (object, self.places.on_nic(name)) {
            let found = state::dump(&self.image, &self.module.name, object, now);
            let found = found.map_err(|error| error.to_string())?;
            return found.ok_or_else(|| format!("`{name}` holds no value"));
        }
        let host = self.host.workload().state(now);
        let found = host.into_iter().find(|(other, _)| other == name);
        found
            .map(|(_, dump)| dump)
            .ok_or_else(|| format!("there is no object `{name}`"))
    }

    /// What `now`, `random` and `pkt.port` are in the next run; the dice go on unless they are given.
    fn set_test(&self, meta: &Meta<'_>, dice: Option<u64>) -> Result<()> {
        let test = abi::Test {
            now: meta.now,
            random: meta.random,
            dice: match dice {
                Some(dice) => dice,
                None => self.dice()?,
            },
            port: meta.port,
        };
        self.image.set_section(abi::TEST, &test.encode())
    }

    fn dice(&self) -> Result<u64> {
        let test = abi::Test::decode(&self.image.section(abi::TEST)?);
        Ok(test.map_or(0, |test| test.dice))
    }

    fn set_params(&self, values: &[(&str, Data)]) -> Result<()> {
        if self.module.params.is_empty() {
            return Ok(());
        }
        let (offsets, bytes) = layout::params(&self.module.params);
        let mut section = vec![0; bytes as usize];
        for (param, at) in self.module.params.iter().zip(offsets) {
            let given = values.iter().find(|(name, _)| *name == &*param.name);
            if let Some(data) = given.map(|(_, data)| data).or(param.default.as_ref()) {
                let len = layout::value_bytes(&param.shape) as usize;
                layout::encode_value(&param.shape, data, &mut section[at as usize..][..len]);
            }
        }
        self.image
            .set_section(&layout::params_section(&self.module.name), &section)
    }

    /// Runs a message.
    pub fn call(&mut self, message: &Message<'_>, services: Services<'_>) -> Ended {
        let code = |id: &LambdaId| self.places.host_code(id.index()).map(str::to_owned);
        if let Some(left) = message.lambda.as_ref().and_then(code) {
            return Ended {
                outcome: self.call_host(message.lambda, message, services),
                by_nic: false,
                left: Some(left),
            };
        }
        self.call_nic(message, services).unwrap_or_else(|error| Ended {
            outcome: Outcome::Wrong(error.to_string()),
            by_nic: true,
            left: None,
        })
    }

    fn call_nic(&mut self, message: &Message<'_>, services: Services<'_>) -> Result<Ended> {
        self.set_test(&message.meta, None)?;
        self.set_params(message.params)?;
        let fragment = self.fragment(message.lambda);
        let any = self.places.takes_any_length() && message.request.len() > usize::from(fragment);
        // As a worker does it with a message of several packets that nobody reads.
        let request = if any { &[] } else { message.request };
        let by_nic = |outcome| Ended {
            outcome,
            by_nic: true,
            left: None,
        };
        let Some(packets) = lnic_wire::fragments(request, fragment) else {
            let what = "the request is longer than a message".to_owned();
            return Ok(by_nic(Outcome::Wrong(what)));
        };
        let mut whole = Vec::new();
        for packet in packets {
            let header = Header::request(
                self.id,
                message.meta.request_id,
                packet.index,
                packet.count,
                packet.payload.len() as u16,
            );
            match self.packet(message, &header, packet.payload, services)? {
                Packet::Reply(bytes) => whole.extend(bytes),
                Packet::Passed => return Ok(self.passed(message, header.fragments, services)),
                Packet::Ended(outcome) => return Ok(by_nic(outcome)),
            }
        }
        Ok(by_nic(Outcome::Reply(whole)))
    }

    /// Payload bytes of all packets of a message but the last.
    fn fragment(&self, lambda: Option<LambdaId>) -> u16 {
        let size = match lambda {
            None => MessageFacts::of(&self.module).fragment,
            Some(id) => {
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
        message: &Message<'_>,
        header: &Header,
        payload: &[u8],
        services: Services<'_>,
    ) -> Result<Packet> {
        let from = Endpoint {
            mac: CALLER_MAC,
            address: Ipv4Addr::from_bits(message.meta.src_ip),
            port: message.meta.src_port,
        };
        let to = Endpoint {
            port: message.meta.dst_port,
            ..WORKER
        };
        let sent = frame::request(from, to, header, payload, 0);
        let mut run = self.program(message.lambda, from, to)?.run(&sent, 1)?;
        while run.action == Action::Tx && self.asks(&run.packet) {
            run = match Asked::read(&run.packet) {
                Ok(asked) => self.answer(&asked, services)?,
                Err(error) => return Ok(wrong(error)),
            };
        }
        let told = self.told();
        if told.unreadable {
            return Ok(wrong("an event that cannot be read".to_owned()));
        }
        Ok(match run.action {
            Action::Tx => replied(&sent, &run.packet, &told),
            Action::Pass if run.packet != sent => {
                wrong("the program changed a packet that it passed up".to_owned())
            }
            Action::Pass => Packet::Passed,
            Action::Drop => match told.punt {
                Some((_, frame)) if frame != sent => {
                    wrong("the punted packet is not the one sent".to_owned())
                }
                Some((Some(lambda), _)) => {
                    Packet::Ended(self.call_host(Some(LambdaId(lambda)), message, services))
                }
                Some((None, _)) => Packet::Ended(Outcome::Punt),
                None => Packet::Ended(Outcome::Drop),
            },
            other => wrong(format!("the program returned {other:?}")),
        })
    }

    /// Whether a frame goes to a service.
    fn asks(&self, frame: &[u8]) -> bool {
        self.image.maps().contains_key(wait::WAITS)
            && waits::is_from(frame, PORTS)
            && frame
                .get(packet::IP_DESTINATION as usize..)
                .is_some_and(|rest| rest.starts_with(&SERVICES.ip().octets()))
    }

    /// Answers a service's request, or lets its time run out.
    fn answer(&mut self, asked: &Asked, services: Services<'_>) -> Result<TestRun> {
        let answer = services(&Call {
            service: usize::from(asked.to.port.wrapping_sub(SERVICES.port())),
            op: asked.command.op,
            key: &asked.command.key,
            value: &asked.command.value,
            limit: wait::MAX_VALUE as usize,
        });
        match asked.command.answer(&answer) {
            Some(text) => waits::run_answer(&self.image, &asked.answer(&text)),
            None => waits::run_expire(&self.image, asked.id),
        }
    }

    /// The dispatcher where it would take such a packet, else the program itself.
    fn program(&self, lambda: Option<LambdaId>, from: Endpoint, to: Endpoint) -> Result<&Arc<Program>> {
        let name = match lambda {
            Some(id) => abi::lambda_program(&self.module.name, &self.module.lambdas[id.index()].name),
            None if may_come_by_wire(from) && to.port == WORKER.port => abi::DISPATCH.to_owned(),
            None => abi::workload_program(&self.module.name),
        };
        self.image.program(&name)
    }

    fn told(&mut self) -> Told {
        let mut told = Told::default();
        self.events.read(EVENTS, &mut |record| {
            let Some(event) = event::Event::parse(record) else {
                told.unreadable = true;
                return;
            };
            match event.what {
                event::What::Punt { to, frame } => told.punt = Some((to, frame.to_vec())),
                event::What::Trap { cause } => told.trap = Some((cause, event.line)),
                event::What::Log(_) => {}
                // Test runs have room for any reply.
                event::What::Frame(_) => told.unreadable = true,
            }
        });
        told
    }

    /// A packet that went up the stack: rightly so if it is one of several, or its lambda is the host's.
    fn passed(&mut self, message: &Message<'_>, fragments: u16, services: Services<'_>) -> Ended {
        let asked: Vec<LambdaId> = match message.lambda {
            Some(id) => vec![id],
            None => self.host.workload().reachable().to_vec(),
        };
        let streams = asked.iter().any(|id| self.module.lambdas[id.index()].stream);
        let code = asked.iter().find_map(|id| self.places.host_code(id.index()));
        let left = code.map(str::to_owned);
        let rightly = left.is_some() || (fragments > 1 && !streams);
        let outcome = if rightly {
            self.call_host(message.lambda, message, services)
        } else {
            Outcome::Wrong("the program passed the packet up, though its lambda is native".to_owned())
        };
        Ended {
            outcome,
            by_nic: left.is_none(),
            left,
        }
    }

    /// The host's code, which goes on with the NIC's dice.
    fn call_host(
        &mut self,
        lambda: Option<LambdaId>,
        message: &Message<'_>,
        services: Services<'_>,
    ) -> Outcome {
        let params = match self.host.params(message.params) {
            Ok(params) => params,
            Err(error) => return Outcome::Wrong(error.to_string()),
        };
        let meta = Meta {
            params: Some(&params),
            ..message.meta
        };
        match self.dice() {
            Ok(dice) => self.host.set_dice(dice),
            Err(error) => return Outcome::Wrong(error.to_string()),
        }
        let ended = self.host.call(lambda, &meta, message.request, services);
        if let Err(error) = self.set_test(&message.meta, Some(self.host.dice())) {
            return Outcome::Wrong(error.to_string());
        }
        match ended {
            HostOutcome::Reply(bytes) => Outcome::Reply(bytes),
            HostOutcome::Drop => Outcome::Drop,
            HostOutcome::Punt => Outcome::Punt,
            HostOutcome::BadRequest => Outcome::BadRequest,
            HostOutcome::Trap(trap) => Outcome::Trap {
                cause: trap.cause.name(),
                line: trap.line,
            },
        }
    }
}

fn replied(sent: &[u8], frame: &[u8], told: &Told) -> Packet {
    match frame::reply(sent, frame) {
        Err(error) => wrong(error.to_string()),
        Ok((header, payload)) => match (header.status, told.trap) {
            (Status::Ok, _) => Packet::Reply(payload.to_vec()),
            (Status::BadRequest, _) => Packet::Ended(Outcome::BadRequest),
            (Status::Trap, Some((cause, line))) => match TrapCause::ALL.get(cause as usize) {
                Some(cause) => Packet::Ended(Outcome::Trap {
                    cause: cause.name(),
                    line,
                }),
                None => wrong(format!("a check for the verifier failed at line {line}")),
            },
            (Status::Trap, None) => wrong("a trap that tells nothing".to_owned()),
            (other, _) => wrong(format!("the status is {other}")),
        },
    }
}

fn wrong(reason: String) -> Packet {
    Packet::Ended(Outcome::Wrong(reason))
}

/// Whether the dispatcher lets packets from such a source through (design, section 6).
fn may_come_by_wire(from: Endpoint) -> bool {
    let [first, ..] = from.address.octets();
    !matches!(first, 0 | 127 | 224..) && from.address != WORKER.address
}

fn load(elf: &[u8], module: &Module, waits: bool) -> Result<Image> {
    let config = abi::Config {
        on: true,
        mac: WORKER.mac,
        address: WORKER.address,
        port: WORKER.port,
        broadcast: None,
    };
    let mut sections: BTreeMap<String, Vec<u8>> = [(abi::CONFIG.to_owned(), config.encode().to_vec())].into();
    if waits {
        let services = (SERVICES.port()..).zip(&module.services);
        let services = services.flat_map(|(port, service)| {
            let service = wait::Service {
                address: Some(SocketAddrV4::new(*SERVICES.ip(), port)),
                hop: None,
                timeout: service.timeout,
            };
            service.encode()
        });
        sections.insert(wait::services_section(&module.name), services.collect());
        sections.insert(wait::PORTS.to_owned(), PORTS.encode().to_vec());
    }
    let options = LoadOptions {
        sections,
        ..LoadOptions::default()
    };
    let image = Image::load(elf, &options)?;
    waits::fill(&image, &[&module.name])?;
    let program = image.program(&abi::workload_program(&module.name))?;
    image.map(abi::PROGRAMS)?.set_program(0, program)?;
    Ok(image)
}
