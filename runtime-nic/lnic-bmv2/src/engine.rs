//! The worker's [`Engine`] where a switch stands in front of it: what is the switch's goes to the switch, the rest to
//! the host.
//!
//! Most requests never come here: the switch answers them. Those that do are requests over HTTP, and what reached the
//! host by another way than through the switch. A lambda that lives on the switch is then run there, by a packet-out, so
//! that both ways see one state; the host never touches that state. A request over the wire for a workload whose native
//! lambdas have no state to share is the host's to answer, which is quicker.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lambdac_backend_p4::reason;
use lnic_host::{
    Answer, Continuation, ControlError, Engine, Io, LoadedImage, Outcome, Packet, Scratch, ServiceInfo,
    WorkloadInfo,
};
use lnic_wire::{Header, Kind, MAX_FRAGMENT, Status};

use crate::contents::{Contents, Resident};
use crate::frame;
use crate::front::Front;
use crate::session::Handed;

/// Who answers, in `X-Lambda-Target`.
const HOST: &str = "host";
const NIC: &str = lambdac_driver::bmv2::NAME;
/// Longest time for what needs no service.
const ANSWER: Duration = Duration::from_secs(2);

/// An image on the host and the same on the switch.
pub(crate) struct SwitchEngine {
    host: Arc<LoadedImage>,
    contents: Arc<Contents>,
    front: Arc<Front>,
    /// By workload: who answers.
    sides: Vec<Side>,
}

/// Who answers requests to a workload that reach the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Host,
    /// The switch where it doesn't pass the request up; over the wire only where that has state.
    Switch {
        stateful: bool,
        /// Whether a message of several packets is run as a request without payload.
        any_length: bool,
        /// How long an answer may take.
        within: Duration,
    },
}

impl Side {
    fn of(resident: &Resident) -> Self {
        if !resident.is_native() {
            return Self::Host;
        }
        let services = resident.module.services.iter();
        let longest = services.map(|service| service.timeout).max().unwrap_or(0);
        Self::Switch {
            stateful: resident.is_stateful(),
            any_length: resident.places.takes_any_length(),
            within: ANSWER + Duration::from_nanos(longest),
        }
    }
}

/// What a thread uses again and again.
struct Memory {
    host: Scratch,
    answered_by: &'static str,
}

/// How a run on the switch ended.
enum Ran {
    Ended(Outcome),
    /// The request goes on at this lambda of the host's.
    Handed(usize),
    /// It is the host's after all.
    Passed,
}

impl SwitchEngine {
    pub(crate) fn new(host: Arc<LoadedImage>, contents: Arc<Contents>, front: Arc<Front>) -> Self {
        Self {
            sides: contents.workloads.iter().map(Side::of).collect(),
            host,
            contents,
            front,
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

    /// The request that the switch is asked first, and how long; none if it is not.
    fn for_switch<'r>(
        &self,
        workload: usize,
        packet: &Packet,
        request: &'r [u8],
    ) -> Option<(&'r [u8], Duration)> {
        let over_http = packet.dst_port == 0;
        let Side::Switch {
            stateful,
            any_length,
            within,
        } = *self.sides.get(workload)?
        else {
            return None;
        };
        if !stateful && !over_http {
            return None;
        }
        match request.len() <= MAX_FRAGMENT {
            true => Some((request, within)),
            false => any_length.then_some((&[], within)),
        }
    }

    /// Runs a request on the switch.
    fn run(
        &self,
        workload: usize,
        packet: &Packet,
        (request, within): (&[u8], Duration),
        reply: &mut [u8],
    ) -> Ran {
        let info = &self.host.workloads()[workload];
        let header = Header::request(info.id, packet.request_id, 0, 1, request.len() as u16);
        let from = (packet.src_ip, packet.src_port);
        match self.front.inject(&header, from, request, within) {
            Ok(handed) => self.ended(workload, &handed, reply),
            Err(error) => {
                tracing::debug!(workload = %info.name, %error, "a request could not be run on the switch");
                let status = match self.front.session.is_up() {
                    true => Status::Timeout,
                    false => Status::Overloaded,
                };
                Ran::Ended(Outcome::Refused(status))
            }
        }
    }

    fn ended(&self, workload: usize, handed: &Handed, reply: &mut [u8]) -> Ran {
        match reason::ALL.get(usize::from(handed.reason)).copied() {
            Some(reason::REPLIED) => Ran::Ended(replied(&handed.frame, reply)),
            Some(reason::DROPPED) => Ran::Ended(Outcome::Drop),
            Some(reason::PUNTED) => Ran::Ended(Outcome::Punt),
            Some(reason::PUNTED_TO) => {
                let lambdas = &self.host.workloads()[workload].lambdas;
                let named = self.contents.lambda(handed.lambda);
                let named = named.filter(|(owner, _)| *owner == workload);
                let found = named.and_then(|(_, name)| lambdas.iter().position(|other| other == name));
                found.map_or(Ran::Ended(Outcome::Refused(Status::Punted)), Ran::Handed)
            }
            _ => Ran::Passed,
        }
    }
}

/// The outcome that a reply frame tells of.
fn replied(bytes: &[u8], reply: &mut [u8]) -> Outcome {
    let datagram = bytes.get(frame::HEADERS..).unwrap_or_default();
    let Ok((header, payload)) = Header::decode(datagram, Kind::Reply) else {
        tracing::error!("the switch made a malformed reply");
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

impl Engine for SwitchEngine {
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
        if let Some(asked) = self.for_switch(workload, packet, request) {
            match self.run(workload, packet, asked, io.reply) {
                Ran::Passed => {}
                Ran::Ended(outcome) => {
                    memory.answered_by = NIC;
                    return outcome;
                }
                Ran::Handed(lambda) => {
                    let target = (workload, lambda);
                    return self
                        .host
                        .invoke_lambda(&mut memory.host, target, packet, request, io);
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
        let memory = scratch.downcast_ref::<Memory>();
        memory.map_or(HOST, |memory| memory.answered_by)
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
        memory.answered_by = HOST;
        self.host.resume(&mut memory.host, continuation, answer, now, io)
    }

    fn state(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> Result<serde_json::Value, ControlError> {
        let on_switch = |name: &str| self.front.dump(&self.contents, workload, name);
        self.host.state_with(workload, object, index, &on_switch)
    }

    fn table(&self, workload: usize, table: &str) -> Result<serde_json::Value, ControlError> {
        self.host.table(workload, table)
    }

    fn set_table(
        &self,
        workload: usize,
        table: &str,
        entries: &serde_json::Value,
    ) -> Result<(), ControlError> {
        let _changing = self.front.tables.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.set_table(workload, table, entries)?;
        self.mirror()
    }

    fn delete_entries(
        &self,
        workload: usize,
        table: &str,
        keys: Option<&serde_json::Value>,
    ) -> Result<(), ControlError> {
        let _changing = self.front.tables.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.delete_entries(workload, table, keys)?;
        self.mirror()
    }
}

impl SwitchEngine {
    /// Makes the switch's tables hold what the host's do.
    fn mirror(&self) -> Result<(), ControlError> {
        let done = self.front.mirror(&self.contents, &self.host);
        done.map_err(|error| ControlError::Invalid(format!("on the host only: {error}")))
    }
}
