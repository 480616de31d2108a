//! The worker's [`Engine`] where a NIC stands in front of it.
//!
//! Most requests never come here: the NIC answers them. Those that do are requests over HTTP, and what reached the host
//! by another way than through the NIC. A lambda that lives on the NIC is then run there, so that both ways see one
//! state; the host never touches that state. A request over the wire for a workload whose native lambdas have no state
//! to share is the host's to answer, which is quicker.
//!
//! Tables are on both sides: the host's change first, the NIC's follow.

use std::sync::{Arc, Mutex, PoisonError};

use lnic_engine::control::StateDump;
use lnic_wire::{Header, Kind, MAX_FRAGMENT, Status};

use crate::LoadedImage;
use crate::engine_api::{
    Answer, Continuation, ControlError, Engine, HOST, Io, Outcome, Packet, Scratch, ServiceInfo, WorkloadInfo,
};

/// Who answers requests to a workload that reach the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The host.
    Host,
    /// The NIC where it doesn't pass the request up; over the wire only where that has state.
    Nic {
        /// Whether native lambdas have state.
        stateful: bool,
        /// Whether a message of several packets is run as a request without payload.
        any_length: bool,
    },
}

impl Side {
    /// Of a workload that has native lambdas or none, with state on the NIC or none.
    pub fn of(is_native: bool, stateful: bool, any_length: bool) -> Self {
        match is_native {
            true => Self::Nic { stateful, any_length },
            false => Self::Host,
        }
    }
}

/// How a run on a NIC ended.
pub enum Ran {
    /// As this.
    Ended(Outcome),
    /// The request goes on at this lambda of the host's, by [`WorkloadInfo::lambdas`].
    Handed(usize),
    /// It is the host's after all.
    Passed,
}

/// The NIC's side of an image.
pub trait Nic: Send + Sync + 'static {
    /// A lambda that waits for a service which the worker asks in the NIC's stead.
    type Waiting: Send + 'static;

    /// Its target, as `X-Lambda-Target` names it.
    const NAME: &'static str;

    /// Runs a request of one packet.
    fn run(&self, workload: usize, packet: &Packet, request: &[u8], io: &mut Io<'_>) -> Ran;

    /// Goes on with a service's answer, on the image that the lambda began to wait in.
    fn resume(waiting: Self::Waiting, answer: Answer<'_>, io: &mut Io<'_>) -> Outcome;

    /// What an object holds, if it is on the NIC and can be read.
    fn dump(&self, workload: usize, object: &str) -> Option<StateDump>;

    /// Makes the NIC's table hold what the host's does.
    ///
    /// # Errors
    /// Why it doesn't.
    fn mirror(&self, host: &LoadedImage, workload: usize, table: &str) -> Result<(), String>;
}

/// An image on the host and the same on a NIC.
pub struct NicEngine<N> {
    host: Arc<LoadedImage>,
    nic: N,
    /// By workload.
    sides: Vec<Side>,
    /// Orders those who change tables: both sides must end with the same.
    tables: Mutex<()>,
}

/// What a thread uses again and again.
struct Memory {
    host: Scratch,
    answered_by: &'static str,
}

impl<N: Nic> NicEngine<N> {
    /// `sides` says by workload who answers.
    pub fn new(host: Arc<LoadedImage>, nic: N, sides: Vec<Side>) -> Self {
        Self {
            host,
            nic,
            sides,
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

    /// Changes a table of the host's, then the NIC's.
    fn change(
        &self,
        workload: usize,
        table: &str,
        change: impl FnOnce(&LoadedImage) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let _changing = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        change(&self.host)?;
        let mirrored = self.nic.mirror(&self.host, workload, table);
        mirrored.map_err(|error| ControlError::Invalid(format!("on the host only: {error}")))
    }
}

impl<N: Nic> Engine for NicEngine<N> {
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
        if let Some(sent) = self.for_nic(workload, packet, request) {
            match self.nic.run(workload, packet, sent, io) {
                Ran::Passed => {}
                Ran::Ended(outcome) => {
                    self.memory(scratch).answered_by = N::NAME;
                    return outcome;
                }
                Ran::Handed(lambda) => {
                    return self.invoke_lambda(scratch, (workload, lambda), packet, request, io);
                }
            }
        }
        let memory = self.memory(scratch);
        memory.answered_by = HOST;
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
        match continuation.downcast::<N::Waiting>() {
            Ok(waiting) => {
                memory.answered_by = N::NAME;
                N::resume(*waiting, answer, io)
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
    ) -> Result<serde_json::Value, ControlError> {
        let on_nic = |name: &str| self.nic.dump(workload, name);
        self.host.state_with(workload, object, index, &on_nic)
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
        let set = |host: &LoadedImage| host.set_table(workload, table, entries);
        self.change(workload, table, set)
    }

    fn delete_entries(
        &self,
        workload: usize,
        table: &str,
        keys: Option<&serde_json::Value>,
    ) -> Result<(), ControlError> {
        let delete = |host: &LoadedImage| host.delete_entries(workload, table, keys);
        self.change(workload, table, delete)
    }
}

/// The outcome that a NIC's reply tells of, from the λ header on. Nothing of it is believed.
pub fn replied(datagram: &[u8], reply: &mut [u8]) -> Outcome {
    let Ok((header, payload)) = Header::decode(datagram, Kind::Reply) else {
        tracing::error!("the NIC made a malformed reply");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: Status, payload: &[u8]) -> Vec<u8> {
        let request = Header::request(0, 7, 0, 1, 0);
        let header = request.reply(status, 0, 1, payload.len() as u16);
        [&header.encode()[..], payload].concat()
    }

    #[test]
    fn a_reply_is_an_outcome() {
        let mut place = [0; 4];
        let outcome = replied(&reply(Status::Ok, b"abc"), &mut place);
        assert!(matches!(outcome, Outcome::Reply(3)));
        assert_eq!(&place, b"abc\0");
        let outcome = |bytes: &[u8]| replied(bytes, &mut [0; 4]);
        assert!(matches!(
            outcome(&reply(Status::BadRequest, b"")),
            Outcome::BadRequest
        ));
        assert!(matches!(
            outcome(&reply(Status::Punted, b"")),
            Outcome::Refused(Status::Punted)
        ));
        assert!(matches!(
            outcome(&reply(Status::Ok, b"five!")),
            Outcome::Refused(Status::TooLarge)
        ));
        assert!(matches!(outcome(b"short"), Outcome::Refused(Status::Trap)));
        assert!(matches!(outcome(b""), Outcome::Refused(Status::Trap)));
    }
}
