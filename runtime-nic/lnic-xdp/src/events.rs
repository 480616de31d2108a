//! What programs report through the ring buffer, and where it goes: punts to the worker, log lines and traps to its log,
//! packets that the driver had no room for to the wire.
//!
//! The ring is read under a lock, by the agent's thread and by whoever just ran a program himself and must know whether
//! it punted: a program says so nowhere else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambdac_backend_ebpf::abi::event::{CAUSE_UNREACHABLE, Event, LogItem, What};
use lambdac_backend_ebpf::packet;
use lambdac_mir::TrapCause as MirCause;
use lnic_ether::Wire;
use lnic_host::{EventLog, Running, TrapCause};

use crate::error::Result;
use crate::generation::Generation;
use crate::map::Map;
use crate::ring::RingBuffer;

/// Records taken at a time, so that others get at the ring in between.
const BATCH: usize = 256;
/// Batches that one look for a punt reads at most: more than the ring holds.
const MAX_BATCHES: usize = 256;
/// Longest line of a log.
const MAX_LINE: usize = 1024;

/// A packet's destination address that no wire brings: the mark of a test run.
pub(crate) type Mark = [u8; 6];

/// The reader of an image's events.
pub(crate) struct Events {
    inner: Mutex<Inner>,
    ring: Arc<Map>,
    log: EventLog,
    /// Punts that the worker had no room for.
    refused: Arc<AtomicU64>,
}

struct Inner {
    ring: RingBuffer,
    /// Whose positions the records have.
    generation: Arc<Generation>,
    /// Where punts go, once there is a worker.
    worker: Option<Worker>,
    /// Punts of test runs that nobody has asked for yet.
    marked: BTreeMap<Mark, Option<u32>>,
}

/// The worker behind the NIC.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) running: Arc<Running>,
    /// Own Ethernet and IPv4 address.
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
    /// Where frames leave.
    pub(crate) wire: Arc<Wire>,
}

/// Sends a frame as if a program had. One that can't be sent is lost, as on any wire.
pub(crate) fn send(wire: &Wire, frame: &[u8]) {
    if let Err(error) = wire.send(frame) {
        tracing::warn!(%error, "what a lambda sends could not be sent");
    }
}

impl Events {
    pub(crate) fn new(
        ring: Arc<Map>,
        generation: Arc<Generation>,
        log: EventLog,
        refused: Arc<AtomicU64>,
    ) -> Result<Self> {
        let inner = Inner {
            ring: RingBuffer::new(ring.clone())?,
            generation,
            worker: None,
            marked: BTreeMap::new(),
        };
        Ok(Self {
            inner: Mutex::new(inner),
            ring,
            log,
            refused,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The map that tells of records.
    pub(crate) fn ring(&self) -> &Arc<Map> {
        &self.ring
    }

    /// Hands punts to a worker from now on, or to none.
    pub(crate) fn set_worker(&self, worker: Option<Worker>) {
        self.lock().worker = worker;
    }

    /// Records from now on are another image's; those before are dealt with first.
    pub(crate) fn set_generation(&self, generation: Arc<Generation>) {
        self.drain();
        self.lock().generation = generation;
    }

    /// Deals with what is there.
    pub(crate) fn drain(&self) {
        for _ in 0..MAX_BATCHES {
            if self.lock().read(&self.log, &self.refused) < BATCH {
                return;
            }
        }
    }

    /// Whether the test run with this mark punted, and to which lambda. It has ended, so its record is there.
    pub(crate) fn punt_of(&self, mark: Mark) -> Option<Option<u32>> {
        for _ in 0..MAX_BATCHES {
            let mut inner = self.lock();
            let taken = inner.read(&self.log, &self.refused);
            let found = inner.marked.remove(&mark);
            if found.is_some() || taken < BATCH {
                return found;
            }
        }
        None
    }
}

impl Inner {
    /// Deals with a batch of records; how many there were.
    fn read(&mut self, log: &EventLog, refused: &AtomicU64) -> usize {
        let Self {
            ring,
            generation,
            worker,
            marked,
        } = self;
        let reader = Reader {
            generation,
            worker: worker.as_ref(),
            log,
        };
        ring.read(BATCH, &mut |record| match Event::parse(record) {
            None => tracing::error!(bytes = record.len(), "a NIC program reported what cannot be read"),
            Some(event) => match reader.take(&event) {
                Taken::Done => {}
                Taken::Refused => _ = refused.fetch_add(1, Relaxed),
                Taken::Marked(mark, to) => {
                    marked.insert(mark, to);
                }
            },
        })
    }
}

/// What became of a record.
enum Taken {
    Done,
    Refused,
    Marked(Mark, Option<u32>),
}

struct Reader<'a> {
    generation: &'a Generation,
    worker: Option<&'a Worker>,
    log: &'a EventLog,
}

impl Reader<'_> {
    fn take(&self, event: &Event<'_>) -> Taken {
        let Some(resident) = self.generation.workloads().get(event.workload as usize) else {
            tracing::error!(
                position = event.workload,
                "a NIC program reported for no workload"
            );
            return Taken::Done;
        };
        let lambda = |index: u32| resident.module.lambdas.get(index as usize).map(|l| &*l.name);
        match &event.what {
            What::Punt { to, frame } => {
                return self.punt(resident.name(), to.map(|to| (to, lambda(to))), frame);
            }
            What::Frame(frame) => match self.worker {
                Some(worker) => send(&worker.wire, frame),
                None => tracing::error!("a NIC program sends a packet, and there is no interface"),
            },
            What::Log(items) => self.log.log(now_ns(), resident.name(), || line(items)),
            What::Trap { cause } => {
                let name = event.lambda.and_then(lambda).unwrap_or("?");
                match trap_cause(*cause) {
                    Some(cause) => self
                        .log
                        .trap_of(now_ns(), resident.name(), name, event.line, cause),
                    None => tracing::error!(
                        workload = resident.name(),
                        lambda = name,
                        line = event.line,
                        "a check of the compiler's own failed on the NIC"
                    ),
                }
            }
        }
        Taken::Done
    }

    fn punt(&self, workload: &str, to: Option<(u32, Option<&str>)>, frame: &[u8]) -> Taken {
        let Some((from, mark, datagram)) = parts(frame) else {
            return Taken::Done;
        };
        let Some(worker) = self.worker.filter(|worker| worker.mac == mark) else {
            return Taken::Marked(mark, to.map(|(index, _)| index));
        };
        let lambda = match to {
            Some((_, None)) => return Taken::Refused,
            Some((_, name)) => name,
            None => None,
        };
        let target = (workload, lambda);
        match worker
            .running
            .punted(target, from.into(), worker.address, datagram.to_vec())
        {
            true => Taken::Done,
            false => Taken::Refused,
        }
    }
}

/// Sender, destination address and datagram of a frame that the dispatcher let through.
fn parts(frame: &[u8]) -> Option<(SocketAddrV4, Mark, &[u8])> {
    let (head, _) = frame.split_first_chunk::<{ packet::LAMBDA as usize }>()?;
    let at = |offset: i16| offset as usize;
    let mark = *head[at(packet::ETH_DESTINATION)..].first_chunk::<6>()?;
    let source = *head[at(packet::IP_SOURCE)..].first_chunk::<4>()?;
    let port = u16::from_be_bytes(*head[at(packet::UDP)..].first_chunk::<2>()?);
    let length = u16::from_be_bytes(*head[at(packet::UDP_LENGTH)..].first_chunk::<2>()?);
    let end = at(packet::UDP) + usize::from(length);
    let datagram = frame.get(at(packet::LAMBDA)..end)?;
    Some((SocketAddrV4::new(source.into(), port), mark, datagram))
}

/// A record's cause as the worker names it; none for a check of the compiler's own.
fn trap_cause(cause: u32) -> Option<TrapCause> {
    if cause == CAUSE_UNREACHABLE {
        return None;
    }
    Some(match MirCause::ALL.get(cause as usize)? {
        MirCause::Index => TrapCause::Index,
        MirCause::Slice => TrapCause::Slice,
        MirCause::Capacity => TrapCause::Capacity,
        MirCause::Narrow => TrapCause::Cast,
        MirCause::Pad => TrapCause::Pad,
        MirCause::LoopMax => TrapCause::LoopBound,
    })
}

/// A log line as the host writes it.
fn line(items: &[LogItem<'_>]) -> String {
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        // Writing to a string can't fail.
        let _ = match item {
            LogItem::Text(bytes) | LogItem::Bytes(bytes) => {
                escape(&mut out, bytes);
                Ok(())
            }
            LogItem::Unsigned(value) => write!(out, "{value}"),
            LogItem::Signed(value) => write!(out, "{value}"),
            LogItem::Bool(value) => write!(out, "{value}"),
        };
        if out.len() >= MAX_LINE {
            break;
        }
    }
    out.truncate(MAX_LINE);
    out
}

/// Appends bytes as printable ASCII, others as the language's escapes.
fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\\' => out.push_str("\\\\"),
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => {
                // As above.
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

/// The clock of programs, and of the worker's log.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result, and CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_on_the_host() {
        let items = [
            LogItem::Text(b"a\n\xff"),
            LogItem::Signed(-5),
            LogItem::Bool(true),
            LogItem::Bytes(b"k\\y"),
        ];
        assert_eq!(line(&items), "a\\n\\xff -5 true k\\\\y");
    }

    #[test]
    fn every_cause_but_the_compilers_own_has_a_name() {
        let known = (0..CAUSE_UNREACHABLE).filter_map(trap_cause).count();
        assert_eq!(known, MirCause::ALL.len());
        assert_eq!(trap_cause(CAUSE_UNREACHABLE), None);
    }

    #[test]
    fn a_frame_shorter_than_it_says_has_no_datagram() {
        let mut frame = vec![0; packet::LAMBDA as usize + 4];
        frame[packet::UDP_LENGTH as usize + 1] = 12;
        assert_eq!(parts(&frame).map(|(_, _, datagram)| datagram.len()), Some(4));
        frame[packet::UDP_LENGTH as usize + 1] = 13;
        assert_eq!(parts(&frame), None);
    }
}
