//! The worker's [`Engine`] where a NIC stands in front of it.
//!
//! Most requests never come here: the NIC answers them. Those that do are requests over HTTP, and what reached the host
//! by another way than through the NIC. A lambda that lives on the NIC is then run there, so that both ways see one
//! state; the host never touches that state. A request over the wire for a workload whose native lambdas have no state
//! to share is the host's to answer, which is quicker. A request for a lambda of the host's is no business of the NIC's:
//! the match says so here as well as there, and the NIC, which may have passed that very request up, isn't asked (again).
//!
//! Tables are on both sides: the host's change first, the NIC's follow.

use std::sync::{Arc, Mutex, PoisonError};

use lnic_engine::control::StateDump;
use lnic_wire::{Header, Kind, MAX_FRAGMENT, Status};

use crate::LoadedImage;
use crate::engine_api::{
    Answer, Continuation, ControlError, Engine, HOST, Io, Outcome, Packet, Scratch, ServiceInfo, WorkloadInfo,
};

/// What of a workload is the NIC's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// By lambda: whether the NIC runs it.
    pub native: Vec<bool>,
    /// Whether native lambdas have state, so that requests for them that come over the wire are the NIC's as well.
    pub stateful: bool,
    /// Whether a message of several packets is run as a request without payload.
    pub any_length: bool,
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

    /// Whether it is asked by messages that are waited for.
    const IS_FAR: bool;

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
    /// `sides` says by workload what is the NIC's.
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
    fn for_nic<'r>(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &'r [u8],
    ) -> Option<&'r [u8]> {
        let side = self.sides.get(workload)?;
        let over_http = packet.dst_port == 0;
        if !side.native.contains(&true) || !(side.stateful || over_http) {
            return None;
        }
        if request.len() > MAX_FRAGMENT {
            return side.any_length.then_some(&[]);
        }
        let host = &mut self.memory(scratch).host;
        // Where all are the NIC's, there is nothing to find out.
        let is_hosts = side.native.contains(&false)
            && (self.host.picked(host, workload, packet, request))
                .is_some_and(|lambda| side.native.get(lambda) == Some(&false));
        (!is_hosts).then_some(request)
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

    fn may_wait(&self) -> bool {
        N::IS_FAR
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
        if let Some(sent) = self.for_nic(scratch, workload, packet, request) {
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
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use lnic_engine::Image;

    use super::*;
    use crate::engine_api::ServiceCall;
    use crate::events::EventLog;

    /// Replies with one byte and counts how often it is asked.
    struct Counting(Arc<AtomicUsize>);

    impl Nic for Counting {
        type Waiting = Infallible;

        const NAME: &'static str = "counting";

        const IS_FAR: bool = false;

        fn run(&self, _: usize, _: &Packet, _: &[u8], io: &mut Io<'_>) -> Ran {
            self.0.fetch_add(1, Relaxed);
            io.reply[0] = b'n';
            Ran::Ended(Outcome::Reply(1))
        }

        fn resume(waiting: Infallible, _: Answer<'_>, _: &mut Io<'_>) -> Outcome {
            match waiting {}
        }

        fn dump(&self, _: usize, _: &str) -> Option<StateDump> {
            None
        }

        fn mirror(&self, _: &LoadedImage, _: usize, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    /// The first byte says which lambda: 0 that of the host, 1 that of the NIC.
    const MIXED: &str = r#"module "mixed"
lambda l0 "hosted" request "[u8; 1]" 1..1 reply "bytes<1>" 0..1 {
  slot s0 "out": bytes<1>
  part0() {
    zero s0
    v0: i32 = const 0
    reply s0[v0 +: v0]
  }
}
lambda l1 "native" request "[u8; 1]" 1..1 reply "bytes<1>" 0..1 {
  part0() {
    drop
  }
}
dispatch match min 1 {
  bits(0, i8) eq 0 => l0
  bits(0, i8) eq 1 => l1
  true => drop
}
"#;

    #[test]
    fn the_nic_is_asked_for_its_own_lambdas_and_for_what_none_takes() {
        let module = lambdac_mir::parse(MIXED).unwrap_or_else(|error| panic!("{error}"));
        let image = Image::load(&[module.into()], &[], None).unwrap();
        let host = Arc::new(LoadedImage::new(image, &[7], EventLog::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let engine = |native: [bool; 2], stateful: bool| {
            let side = Side {
                native: native.into(),
                stateful,
                any_length: false,
            };
            NicEngine::new(host.clone(), Counting(asked.clone()), vec![side])
        };
        let ask = |engine: &NicEngine<Counting>, first: u8, dst_port: u16| {
            let mut scratch = engine.scratch();
            let packet = Packet {
                dst_port,
                ..Packet::default()
            };
            let mut call = ServiceCall::default();
            let mut io = Io {
                reply: &mut [0; 1],
                call: &mut call,
            };
            let before = asked.load(Relaxed);
            _ = engine.invoke(&mut scratch, 0, &packet, &[first], &mut io);
            (asked.load(Relaxed) - before, engine.answered_by(&scratch))
        };
        let (http, wire) = (0, 4369);
        let mixed = engine([false, true], true);
        for over in [http, wire] {
            assert_eq!(ask(&mixed, 0, over), (0, HOST));
            assert_eq!(ask(&mixed, 1, over), (1, Counting::NAME));
            assert_eq!(ask(&mixed, 2, over), (1, Counting::NAME));
        }
        let stateless = engine([false, true], false);
        assert_eq!(ask(&stateless, 1, wire), (0, HOST));
        assert_eq!(ask(&stateless, 1, http), (1, Counting::NAME));
        let hosted = engine([false, false], true);
        assert_eq!(ask(&hosted, 1, http), (0, HOST));
    }

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
