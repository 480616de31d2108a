//! Waits of lambdas on the NIC, from user space: the ports that services answer to, timeouts, next hops.
//!
//! A thread for each image looks at its slots. One whose time is over it ends by running [`wait::EXPIRE`], which wins
//! against an answer or doesn't; what the continuation then sends, a reply or another request, leaves by the interface
//! as if the program had sent it. The slots are looked at again when the next one's time is over, or when that of one
//! that begins to wait now could be.
//!
//! Once a second each service gets an empty datagram, which memcached ignores: so the kernel knows the next hop's Ethernet
//! address before a program needs it. Where the kernel forwards nothing it looks up no routes for programs; then the
//! thread reads the next hop from the kernel's tables and leaves it in the services' section.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lambdac_backend_ebpf::abi::wait::{self, Service};
use lnic_ether::{PortRow, Wire};
use lnic_host::route;

use crate::error::{Error, Result};
use crate::events::{self, now_ns};
use crate::generation::Generation;
use crate::map::Map;
use crate::program::{Action, Program};
use crate::ring::Mapping;

/// Longest pause of a thread, which then sees that it shall stop.
const LONGEST: Duration = Duration::from_millis(50);
/// Shortest pause: timeouts are no more exact.
const SHORTEST: Duration = Duration::from_millis(1);
/// Waits of test runs are ended by who made the run; this long after their time they count as forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// How often next hops are asked after.
const HOPS: Duration = Duration::from_secs(1);
/// How long an image waits at most for next hops before packets meet it.
const SOON: Duration = Duration::from_millis(500);

/// The row of ports that services answer to, as programs read it.
pub(crate) fn ports(row: &PortRow) -> wait::Ports {
    wait::Ports {
        first: row.first(),
        count: PortRow::PORTS,
    }
}

/// The slots in this process's memory.
struct Slots {
    memory: Mapping,
    bytes: usize,
    count: usize,
}

impl Slots {
    fn new(map: &Map) -> Result<Self> {
        let (bytes, count) = (map.def().value_size as usize, map.def().max_entries as usize);
        let memory = Mapping::new(map, libc::PROT_READ, 0, bytes * count)?;
        Ok(Self { memory, bytes, count })
    }

    /// Slots that wait.
    fn waiting(&self) -> impl Iterator<Item = Waiting> {
        (0..self.count).filter_map(|slot| {
            let at = slot * self.bytes;
            let word = self.memory.word64(at).load(Ordering::Acquire);
            if word as u8 != wait::WAITING {
                return None;
            }
            let load = |off: i16| self.memory.word64(at + off as usize).load(Ordering::Acquire);
            // The interface is the upper half of its word.
            let by_wire = (load(wait::ID) >> 32) as u32 != wait::NO_WIRE;
            let grace = if by_wire { 0 } else { FORGOTTEN.as_nanos() as u64 };
            Some(Waiting {
                slot: slot as u32,
                word,
                deadline: load(wait::DEADLINE).saturating_add(grace),
                by_wire,
            })
        })
    }
}

/// A slot that waits.
struct Waiting {
    slot: u32,
    word: u64,
    deadline: u64,
    /// Whether what it sends belongs on the wire.
    by_wire: bool,
}

/// The thread of an image.
pub(crate) struct Waiter {
    stopping: Arc<AtomicBool>,
    retiring: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Waiter {
    /// Starts the thread of an image, if lambdas wait in it; `older` is the one of the image before.
    pub(crate) fn start(
        generation: &Arc<Generation>,
        row: &Arc<PortRow>,
        interface: &str,
        wire: &Arc<Wire>,
        older: Option<&Self>,
    ) -> Result<Option<Self>> {
        let Some(map) = generation.image().maps().get(wait::WAITS) else {
            return Ok(None);
        };
        let timeouts = generation
            .workloads()
            .iter()
            .flat_map(|resident| &resident.services)
            .map(|service| Duration::from_nanos(service.timeout));
        let [stopping, retiring, ended] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let mut watch = Watch {
            slots: Slots::new(map)?,
            expire: generation.image().program(wait::EXPIRE)?.clone(),
            generation: generation.clone(),
            row: row.clone(),
            interface: interface.to_owned(),
            wire: wire.clone(),
            least: timeouts.min().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST),
            hops: None,
            stopping: stopping.clone(),
            retiring: retiring.clone(),
            ended: ended.clone(),
            older: older.map(|older| older.ended.clone()),
        };
        watch.find_hops();
        let thread = std::thread::Builder::new()
            .name("lnic-xdp-wait".to_owned())
            .spawn(move || watch.run())
            .map_err(|source| Error::System {
                what: "cannot start the thread that ends waits",
                source,
            })?;
        Ok(Some(Self {
            stopping,
            retiring,
            ended,
            thread: Some(thread),
        }))
    }

    /// Lets the thread end once nothing waits in its image, nor in an older one, whose answers come through it.
    pub(crate) fn retire(&self) {
        self.retiring.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that ends waits on the NIC panicked");
        }
    }
}

/// What the thread works with.
struct Watch {
    slots: Slots,
    expire: Arc<Program>,
    generation: Arc<Generation>,
    row: Arc<PortRow>,
    interface: String,
    wire: Arc<Wire>,
    /// The shortest timeout.
    least: Duration,
    /// When next hops were looked after last.
    hops: Option<Instant>,
    stopping: Arc<AtomicBool>,
    retiring: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    /// Whether the thread of the image before has ended.
    older: Option<Arc<AtomicBool>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Watch {
    fn run(mut self) {
        // A program that ran when its image was replaced may begin to wait a moment later: one look more.
        let mut last = false;
        while !self.stopping.load(Ordering::SeqCst) {
            let retiring = self.retiring.load(Ordering::SeqCst);
            let (any, pause) = self.turn();
            let alone = self
                .older
                .as_ref()
                .is_none_or(|older| older.load(Ordering::SeqCst));
            let done = retiring && !any && alone;
            if done && last {
                return;
            }
            last = done;
            if !retiring && self.hops.is_none_or(|last| last.elapsed() >= HOPS) {
                self.look_after_hops();
            }
            std::thread::sleep(pause);
        }
    }

    /// Ends waits whose time is over; whether there are others, and how long nothing is to be done.
    fn turn(&self) -> (bool, Duration) {
        let now = now_ns();
        let mut next = now + self.least.as_nanos() as u64;
        let mut any = false;
        for waiting in self.slots.waiting() {
            if waiting.deadline <= now {
                self.end(&waiting);
            } else {
                any |= waiting.by_wire;
                next = next.min(waiting.deadline);
            }
        }
        let pause = Duration::from_nanos(next.saturating_sub(now_ns()));
        (any, pause.clamp(SHORTEST, LONGEST))
    }

    fn end(&self, waiting: &Waiting) {
        let frame = wait::expire_frame(waiting.slot, waiting.word);
        match self.expire.run(&frame, 1) {
            Ok(run) if run.action == Action::Tx && waiting.by_wire => events::send(&self.wire, &run.packet),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a wait on the NIC could not be ended"),
        }
    }

    /// Looks after next hops until all are known, but not for long: a lambda that asks a service before fails at once.
    fn find_hops(&mut self) {
        let end = Instant::now() + SOON;
        while !self.look_after_hops() && Instant::now() < end {
            std::thread::sleep(SHORTEST);
        }
    }

    /// Tells programs the next hops that the kernel knows, and has it look for the others; whether it knows all.
    fn look_after_hops(&mut self) -> bool {
        self.hops = Some(Instant::now());
        let forwards = self.forwards();
        let mut all = true;
        for resident in self.generation.workloads() {
            if resident.services.is_empty() {
                continue;
            }
            let services = resident.services.iter().map(|service| {
                service.address.inspect(|address| self.row.nudge(*address));
                let to = service.address.filter(|_| !forwards);
                let hop = to.and_then(|to| route::hop(&self.interface, *to.ip()));
                all &= to.is_none() || hop.is_some();
                Service { hop, ..*service }
            });
            let bytes: Vec<u8> = services.flat_map(|service| service.encode()).collect();
            let section = wait::services_section(resident.name());
            let image = self.generation.image();
            if image.section(&section).is_ok_and(|held| held != bytes)
                && let Err(error) = image.set_section(&section, &bytes)
            {
                tracing::error!(%error, "the next hop to a service could not be told to the NIC");
            }
        }
        all
    }

    /// Whether the kernel looks up routes for programs on the interface.
    fn forwards(&self) -> bool {
        let path = format!("/proc/sys/net/ipv4/conf/{}/forwarding", self.interface);
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    }
}
