//! Requests to the card that the worker itself makes, for callers over HTTP whose lambda has its state there.
//!
//! They go out by the host's end of the card as any request would come in, from an address that nobody has
//! ([`NOBODY`]), and what comes of them comes back the same way: the reply; the request itself, where the card leaves it
//! to the host; or the request with a status, where a lambda dropped it (`lnic_plugin.h`). The host's own stack may see
//! the latter two as well; who runs requests knows them by their source and leaves them alone.
//!
//! That the card sends back what came in by the same virtual function is what its P4 says; not run on hardware.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::Ipv4Addr;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambdac_driver::nfp::Listen;
use lnic_ether::frame::{self, Endpoint};
use lnic_wire::{HEADER_LEN, Header, Kind};

use super::task::Task;
use super::{Port, Result};
use crate::machine::{MAX_PAYLOAD, NOBODY};

/// The port that requests come from; no reply gets to a socket.
const FROM: u16 = 9;
/// How long the reader waits at a time, and after an error.
const LOOK: Duration = Duration::from_millis(100);
/// Where the λ header has its status, and what it says there of a request that a lambda dropped.
const STATUS: usize = 22;
const DROPPED: u8 = 255;

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// A reply, from the λ header on.
    Reply(Vec<u8>),
    /// A lambda dropped it.
    Dropped,
    /// It is the host's.
    HandedUp,
}

/// Who waits for what, by the number of the request.
type Waiting = Mutex<BTreeMap<u64, SyncSender<Answered>>>;

/// What asks.
pub(super) struct Asks {
    port: Arc<dyn Port>,
    caller: Endpoint,
    worker: Endpoint,
    waiting: Arc<Waiting>,
    _reader: Task,
}

impl Asks {
    /// Reads what comes back from now on.
    pub(super) fn start(port: Arc<dyn Port>, listen: &Listen) -> Result<Self> {
        let end = |address, port| Endpoint {
            mac: listen.mac,
            address,
            port,
        };
        let caller = end(NOBODY, FROM);
        let worker = end(Ipv4Addr::from_bits(listen.address), listen.port);
        let waiting: Arc<Waiting> = Arc::default();
        let (from, who) = (port.clone(), waiting.clone());
        let reader = Task::start("lnic-nfp-asks", move || match from.receive(LOOK) {
            Ok(Some(frame)) => {
                if let Some((request, answered)) = read(&frame, caller, worker)
                    && let Some(asker) = lock(&who).remove(&request)
                {
                    // Nobody waits any more where it came too late.
                    let _ = asker.try_send(answered);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the card's end can't be read");
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self {
            port,
            caller,
            worker,
            waiting,
            _reader: reader,
        })
    }

    /// Asks for a client by its IPv4 address, 0 if it is not known; none if nothing came of it in time.
    pub(super) fn ask(
        &self,
        workload: u32,
        client: u32,
        request: &[u8],
        within: Duration,
    ) -> Option<Answered> {
        // As any caller's: nobody else can know it.
        let number = RandomState::new().build_hasher().finish();
        let header = Header::request(workload, number, 0, 1, u16::try_from(request.len()).ok()?);
        let mut datagram = header.encode().to_vec();
        datagram.extend_from_slice(request);
        datagram.resize(HEADER_LEN + MAX_PAYLOAD, 0);
        datagram.extend(client.to_be_bytes());
        let (sender, answer) = sync_channel(1);
        lock(&self.waiting).insert(number, sender);
        let sent = self.port.send(&frame::udp(self.caller, self.worker, &datagram));
        let answered = match sent {
            Ok(()) => answer.recv_timeout(within),
            Err(error) => {
                tracing::error!(%error, "a request can't be sent to the card");
                Err(RecvTimeoutError::Disconnected)
            }
        };
        lock(&self.waiting).remove(&number);
        answered.ok()
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, BTreeMap<u64, SyncSender<Answered>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the request that a frame is about, and what came of it.
fn read(frame: &[u8], caller: Endpoint, worker: Endpoint) -> Option<(u64, Answered)> {
    let (from, to, datagram) = frame::read_udp(frame::whole(frame)).ok()?;
    if (from, to) == (worker, caller) {
        let (header, _) = Header::decode(datagram, Kind::Reply).ok()?;
        return Some((header.request, Answered::Reply(datagram.to_vec())));
    }
    if (from, to) != (caller, worker) {
        return None;
    }
    let mut request = datagram.to_vec();
    let status = std::mem::take(request.get_mut(STATUS)?);
    let (header, _) = Header::decode(&request, Kind::Request).ok()?;
    let answered = match status {
        DROPPED => Answered::Dropped,
        _ => Answered::HandedUp,
    };
    Some((header.request, answered))
}

#[cfg(test)]
mod tests {
    use lnic_wire::Status;

    use super::*;

    fn end(last: u8) -> Endpoint {
        Endpoint {
            mac: [2, 0, 0, 0, 0, last],
            address: Ipv4Addr::new(192, 0, 2, last),
            port: last.into(),
        }
    }

    #[test]
    fn what_comes_back_is_read_and_strangers_are_not() {
        let (caller, worker) = (end(1), end(2));
        let request = Header::request(7, 99, 0, 1, 2);
        let asked = frame::request(caller, worker, &request, b"ab", 60);
        let up = read(&asked, caller, worker);
        assert_eq!(up, Some((99, Answered::HandedUp)));
        let mut dropped = asked.clone();
        dropped[frame::DATAGRAM + STATUS] = DROPPED;
        assert_eq!(read(&dropped, caller, worker), Some((99, Answered::Dropped)));
        // A reply has the length of its request on the wire, and more behind it.
        let reply = request.reply(Status::Ok, 0, 1, 3);
        let mut answer = frame::request(worker, caller, &reply, b"yes", 0);
        let datagram = answer[frame::DATAGRAM..].to_vec();
        answer.extend([0xee; 20]);
        assert_eq!(
            read(&answer, caller, worker),
            Some((99, Answered::Reply(datagram)))
        );
        assert_eq!(read(&answer, end(3), worker), None);
        assert_eq!(read(&asked, end(3), worker), None);
        for len in 0..asked.len() {
            assert_eq!(read(&asked[..len], caller, worker), None, "{len}");
        }
    }
}
