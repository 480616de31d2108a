//! The worker's [`Engine`] where a NIC stands in front of it: what is the NIC's goes to the NIC, the rest to the host.
//!
//! Most requests never come here: the NIC answers them. Those that do are requests over HTTP, and what reached the host
//! by another way than through the NIC. A lambda that lives on the NIC is then run there, by the kernel's test-run call,
//! so that both ways see one state; the host never touches that state. A request over the wire for a workload whose
//! native lambdas have no state to share is the host's to answer, which is quicker.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use lambdac_backend_ebpf::packet;
use lambdac_driver::testing::ServiceAnswer;
use lnic_engine::control::StateDump;
use lnic_host::{
    Answer, Continuation, ControlError, Engine, Io, LoadedImage, Outcome, Packet, Scratch, ServiceInfo,
    ServiceOp, WorkloadInfo,
};
use lnic_wire::{Header, Kind, MAX_FRAGMENT, Status};

use crate::error::Result;
use crate::events::{Events, Mark, now_ns};
use crate::frame::{self, Endpoint};
use crate::generation::Generation;
use crate::program::{Action, TestRun};
use crate::state;
use crate::wait::{self, Asked};

/// Who answers, in `X-Lambda-Target`.
const HOST: &str = "host";
const NIC: &str = "xdp";
/// First byte of the mark of a test run: a unicast address of local administration (IEEE 802).
const MARK: u8 = 0x06;
/// The Ethernet source of test runs; nothing is sent there.
const NOBODY: Mark = [MARK, 0, 0, 0, 0, 0];
/// Datagrams of test runs are padded to this, so that no reply is three times as long: the caller is the worker itself,
/// which applies the rule where it sends.
const DATAGRAM: usize = (lnic_wire::HEADER_LEN + MAX_FRAGMENT).div_ceil(3);

/// An image on the host and the same on the NIC.
pub struct NicEngine {
    host: Arc<LoadedImage>,
    nic: Arc<Generation>,
    events: Arc<Events>,
    marks: Arc<AtomicU64>,
    /// By workload: who answers.
    sides: Vec<Side>,
    /// Orders those who change tables: both sides must end with the same.
    tables: Mutex<()>,
}

/// Who answers requests to a workload that reach the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Host,
    /// The NIC where it doesn't pass the request up; over the wire only where that has state.
    Nic {
        stateful: bool,
        /// Whether a message of several packets is run as a request without payload.
        any_length: bool,
    },
}

/// What a thread uses again and again.
struct Memory {
    host: Scratch,
    answered_by: &'static str,
}

impl NicEngine {
    pub(crate) fn new(
        host: Arc<LoadedImage>,
        nic: Arc<Generation>,
        events: Arc<Events>,
        marks: Arc<AtomicU64>,
    ) -> Self {
        let side = |resident: &crate::contents::Resident| match resident.is_native() {
            true => Side::Nic {
                stateful: resident.is_stateful(),
                any_length: resident.places.takes_any_length(),
            },
            false => Side::Host,
        };
        Self {
            sides: nic.workloads().iter().map(side).collect(),
            host,
            nic,
            events,
            marks,
            tables: Mutex::new(()),
        }
    }

    fn memory<'s>(&self, scratch: &'s mut Scratch) -> &'s mut Memory {
        if !scratch.is::<Memory>() {
            *scratch = self.scratch();
        }
        match scratch.downcast_mut() {
            Some(memory) => memory,
            None => unreachable!("it was just made of this type"),
        }
    }

    /// The request that the NIC is asked first, if it is.
    fn for_nic<'r>(&self, workload: usize, packet: &Packet, request: &'r [u8]) -> Option<&'r [u8]> {
        let over_http = packet.dst_port == 0;
        match self.sides.get(workload)? {
            Side::Host => None,
            Side::Nic { stateful, .. } if !(*stateful || over_http) => None,
            Side::Nic { .. } if request.len() <= MAX_FRAGMENT => Some(request),
            Side::Nic { any_length, .. } => any_length.then_some(&[]),
        }
    }

    /// Runs a request on the NIC; none where it is the host's after all.
    fn run(&self, workload: usize, packet: &Packet, request: &[u8], io: &mut Io<'_>) -> Option<NicOutcome> {
        let (program, info) = (self.nic.program(workload)?, &self.host.workloads()[workload]);
        let count = self.marks.fetch_add(1, Relaxed).to_be_bytes();
        let mark = [MARK, count[3], count[4], count[5], count[6], count[7]];
        let header = Header::request(info.id, packet.request_id, 0, 1, request.len() as u16);
        let from = Endpoint {
            mac: NOBODY,
            address: Ipv4Addr::from_bits(packet.src_ip),
            port: packet.src_port,
        };
        let to = Endpoint {
            mac: mark,
            address: Ipv4Addr::UNSPECIFIED,
            port: packet.dst_port,
        };
        let sent = frame::request(from, to, &header, request, DATAGRAM);
        let asker = Asker {
            nic: self.nic.clone(),
            events: self.events.clone(),
            workload,
            first_service: self.first_service(&info.name),
            mark,
        };
        asker.ended(program.run(&sent, 1), io)
    }

    /// Index of a workload's first service among all; they stand in the order of its declarations.
    fn first_service(&self, workload: &str) -> usize {
        let mut services = self.host.services().iter();
        let own = |name: &str| {
            name.strip_prefix(workload)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        services.position(|service| own(&service.name)).unwrap_or(0)
    }

    /// Makes the NIC's table hold what the host's does.
    fn mirror(&self, workload: usize, table: &str) -> std::result::Result<(), ControlError> {
        let done = self.nic.set_table(workload, table);
        done.map_err(|error| ControlError::Invalid(format!("on the host only: {error}")))
    }

    fn dump(&self, workload: usize, object: &str) -> Option<StateDump> {
        if !self.nic.holds(workload, object) {
            return None;
        }
        let resident = self.nic.workloads().get(workload)?;
        let found = resident
            .module
            .objects
            .iter()
            .find(|item| *item.name == *object)?;
        match state::dump(self.nic.image(), resident.name(), found, now_ns()) {
            Ok(dump) => dump,
            Err(error) => {
                tracing::error!(%error, "state of the NIC could not be read");
                None
            }
        }
    }
}

/// Who asked for a test run.
#[derive(Clone)]
struct Asker {
    nic: Arc<Generation>,
    events: Arc<Events>,
    workload: usize,
    first_service: usize,
    mark: Mark,
}

/// A lambda of a test run that waits: the host's client asks the service for it.
struct Waiting {
    asker: Asker,
    asked: Asked,
}

impl Asker {
    /// What came of a run; none: it is the host's after all.
    fn ended(self, run: Result<TestRun>, io: &mut Io<'_>) -> Option<NicOutcome> {
        let name = self.nic.workloads().get(self.workload)?.name().to_owned();
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                tracing::error!(%error, workload = %name, "a request could not be run on the NIC");
                return Some(NicOutcome::Ended(Outcome::Refused(Status::Overloaded)));
            }
        };
        match run.action {
            Action::Pass => None,
            Action::Tx if self.nic.asks(&run.packet) => Some(NicOutcome::Ended(self.wait(&run.packet, io))),
            Action::Tx => Some(NicOutcome::Ended(replied(&run.packet, io.reply))),
            Action::Drop => Some(match self.events.punt_of(self.mark) {
                None => NicOutcome::Ended(Outcome::Drop),
                Some(None) => NicOutcome::Ended(Outcome::Punt),
                Some(Some(lambda)) => NicOutcome::Handed(lambda as usize),
            }),
            other => {
                tracing::error!(workload = %name, action = ?other, "a NIC program ended as none does");
                Some(NicOutcome::Ended(Outcome::Refused(Status::Trap)))
            }
        }
    }

    /// Has the host's client ask what a frame asks.
    fn wait(self, frame: &[u8], io: &mut Io<'_>) -> Outcome {
        let asked = match Asked::read(frame) {
            Ok(asked) => asked,
            Err(error) => {
                tracing::error!("a NIC program made a malformed request: {error}");
                return Outcome::Refused(Status::Trap);
            }
        };
        let services = &self.nic.workloads()[self.workload].services;
        let to = Some(asked.service());
        let own = services.iter().position(|service| service.address == to);
        io.call.service = self.first_service + own.unwrap_or(0);
        io.call.op = match asked.op {
            lambdac_mir::ServiceOp::Get => ServiceOp::Get,
            lambdac_mir::ServiceOp::Set => ServiceOp::Set,
            lambdac_mir::ServiceOp::Delete => ServiceOp::Delete,
        };
        io.call.key.clone_from(&asked.key);
        io.call.value.clone_from(&asked.value);
        Outcome::Await(Box::new(Waiting { asker: self, asked }))
    }
}

impl Waiting {
    /// Goes on with the answer, as if it had come to the NIC.
    fn resume(self, answer: Answer<'_>, io: &mut Io<'_>) -> Outcome {
        let answer = match answer {
            Answer::Value(value) => ServiceAnswer::Value(value.to_vec()),
            Answer::Done => ServiceAnswer::Done,
            Answer::Missing => ServiceAnswer::Missing,
            Answer::Failed => ServiceAnswer::Failed,
        };
        let image = self.asker.nic.image();
        let run = match self.asked.text(&answer) {
            Some(text) => wait::run_answer(image, &self.asked.answer(&text)),
            None => wait::run_expire(image, self.asked.id),
        };
        match self.asker.ended(run, io) {
            Some(NicOutcome::Ended(outcome)) => outcome,
            Some(NicOutcome::Handed(_)) | None => {
                tracing::error!("a lambda that waited ended as none does");
                Outcome::Refused(Status::Trap)
            }
        }
    }
}

/// How a run on the NIC ended.
enum NicOutcome {
    Ended(Outcome),
    /// The request goes on at this lambda of the host's.
    Handed(usize),
}

/// The outcome that a reply frame tells of.
fn replied(frame: &[u8], reply: &mut [u8]) -> Outcome {
    let datagram = frame.get(packet::LAMBDA as usize..).unwrap_or_default();
    let Ok((header, payload)) = Header::decode(datagram, Kind::Reply) else {
        tracing::error!("a NIC program made a malformed reply");
        return Outcome::Refused(Status::Trap);
    };
    match (header.status, reply.get_mut(..payload.len())) {
        (Status::Ok, Some(place)) => {
            place.copy_from_slice(payload);
            Outcome::Reply(payload.len())
        }
        (Status::Ok, None) => Outcome::Refused(Status::TooLarge),
        (Status::BadRequest, _) => Outcome::BadRequest,
        (status, _) => Outcome::Refused(status),
    }
}

impl Engine for NicEngine {
    fn workloads(&self) -> &[WorkloadInfo] {
        self.host.workloads()
    }

    fn services(&self) -> &[ServiceInfo] {
        self.host.services()
    }

    fn scratch(&self) -> Scratch {
        Box::new(Memory {
            host: self.host.scratch(),
            answered_by: HOST,
        })
    }

    fn invoke(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        let memory = self.memory(scratch);
        memory.answered_by = HOST;
        if let Some(sent) = self.for_nic(workload, packet, request) {
            match self.run(workload, packet, sent, io) {
                None => {}
                Some(NicOutcome::Ended(outcome)) => {
                    memory.answered_by = NIC;
                    return outcome;
                }
                Some(NicOutcome::Handed(lambda)) => {
                    return self.host.invoke_lambda(
                        &mut memory.host,
                        (workload, lambda),
                        packet,
                        request,
                        io,
                    );
                }
            }
        }
        self.host.invoke(&mut memory.host, workload, packet, request, io)
    }

    fn invoke_lambda(
        &self,
        scratch: &mut Scratch,
        target: (usize, usize),
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        let memory = self.memory(scratch);
        memory.answered_by = HOST;
        self.host
            .invoke_lambda(&mut memory.host, target, packet, request, io)
    }

    fn answered_by(&self, scratch: &Scratch) -> &'static str {
        scratch
            .downcast_ref::<Memory>()
            .map_or(HOST, |memory| memory.answered_by)
    }

    fn resume(
        &self,
        scratch: &mut Scratch,
        continuation: Continuation,
        answer: Answer<'_>,
        now: u64,
        io: &mut Io<'_>,
    ) -> Outcome {
        let memory = self.memory(scratch);
        match continuation.downcast::<Waiting>() {
            Ok(waiting) => {
                memory.answered_by = NIC;
                waiting.resume(answer, io)
            }
            Err(continuation) => {
                memory.answered_by = HOST;
                self.host.resume(&mut memory.host, continuation, answer, now, io)
            }
        }
    }

    fn state(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> std::result::Result<serde_json::Value, ControlError> {
        self.host
            .state_with(workload, object, index, &|name| self.dump(workload, name))
    }

    fn table(&self, workload: usize, table: &str) -> std::result::Result<serde_json::Value, ControlError> {
        self.host.table(workload, table)
    }

    fn set_table(
        &self,
        workload: usize,
        table: &str,
        entries: &serde_json::Value,
    ) -> std::result::Result<(), ControlError> {
        let _changing = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.set_table(workload, table, entries)?;
        self.mirror(workload, table)
    }

    fn delete_entries(
        &self,
        workload: usize,
        table: &str,
        keys: Option<&serde_json::Value>,
    ) -> std::result::Result<(), ControlError> {
        let _changing = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.delete_entries(workload, table, keys)?;
        self.mirror(workload, table)
    }
}
