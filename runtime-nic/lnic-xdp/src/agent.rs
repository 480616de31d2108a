//! The agent: a worker's image on an interface, from its first load to its end.
//!
//! ```text
//! Agent::open ── load ── attach ──────────────── load ── commit ── … ── stop
//!                  │        │                      │        │
//!              programs   packets meet them     beside   packets meet the new ones
//! ```
//!
//! A new image is loaded beside the one that runs, whose unchanged state it shares. The worker takes the new engine
//! first, then the programs change places: whoever is passed up in between finds the new code behind.
//!
//! Events are read by a thread for each ring buffer ([`Listener`]); an image whose workloads stand in other places gets a
//! ring of its own, so that no record is taken for another workload's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lambdac_backend_ebpf::abi;
use lnic_ether::{Interface, Peer, PortRow, Wire};
use lnic_host::{Engine, EventLog, LoadedImage, Prefix, Running};

use crate::contents::{Contents, is_table};
use crate::engine::InKernel;
use crate::error::{Error, Missing, Result};
use crate::events::{Events, Worker};
use crate::generation::Generation;
use crate::interface::Device;
use crate::link::Link;
use crate::metrics::Counters;
use crate::probe;
use crate::ring::RingBuffer;
use crate::waiter::{self, Waiter};

/// Longest wait of a listener; what it checks besides its ring may be this late.
const TICK: Duration = Duration::from_millis(100);
/// How long a ring is read that no new program writes to. Programs run for microseconds; what a punt waits for does not
/// come through the ring.
const RETIREMENT: Duration = Duration::from_secs(10);

/// A worker's NIC.
pub struct Agent {
    device: Device,
    interface: Interface,
    address: Ipv4Addr,
    trusted: Vec<(Ipv4Addr, u8)>,
    log: EventLog,
    marks: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    /// The image that runs, or will once it is attached.
    current: Option<Loaded>,
    /// The image that takes over with [`Agent::commit`].
    next: Option<Loaded>,
    attached: Option<Attached>,
    /// Where services answer to, once a lambda waits for one.
    row: Option<Arc<PortRow>>,
}

/// An image with the reader of its events.
#[derive(Clone)]
struct Loaded {
    generation: Arc<Generation>,
    events: Arc<Events>,
}

/// What there is while packets are answered.
struct Attached {
    link: Link,
    worker: Worker,
    counters: Arc<Counters>,
    listeners: Vec<Listener>,
    waiters: Vec<Waiter>,
}

impl Agent {
    /// Looks whether this machine and interface can. `wire` is where the worker is to listen: on the interface's address,
    /// or on any.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(device: &Device, wire: Option<Ipv4Addr>, trusted: &[Prefix], log: EventLog) -> Result<Self> {
        probe::check()?;
        let interface = Interface::find(&device.interface)?;
        let address = match wire {
            Some(address) if !address.is_unspecified() => address,
            _ => interface.addresses[0].0,
        };
        if interface.broadcast_of(address).is_none() {
            let name = &interface.name;
            return Err(Missing(format!("`{name}` does not have the address {address}")).into());
        }
        let trusted: Vec<_> = trusted.iter().filter_map(Prefix::ipv4).collect();
        if trusted.len() > abi::TRUSTED_ENTRIES as usize {
            let most = abi::TRUSTED_ENTRIES;
            return Err(Missing(format!(
                "room for more than {most} trusted IPv4 prefixes on the NIC"
            ))
            .into());
        }
        Ok(Self {
            device: device.clone(),
            interface,
            address,
            trusted,
            log,
            marks: Arc::default(),
            refused: Arc::default(),
            current: None,
            next: None,
            attached: None,
            row: None,
        })
    }

    /// The address that the NIC answers at.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Loads an image: the first, or one that takes over from the running one with [`Agent::commit`]. `host` is the same
    /// image on the host. Gives the engine for the worker.
    ///
    /// # Errors
    /// What the kernel has against it; then all is as before.
    pub fn load(&mut self, contents: &Contents, host: &Arc<LoadedImage>) -> Result<Arc<dyn Engine>> {
        let previous = self.current.as_ref();
        let old = previous.map(|loaded| &*loaded.generation);
        if contents.waits && self.row.is_none() {
            self.row = Some(Arc::new(PortRow::bind(self.address)?));
        }
        let ports = self.row.as_deref().map_or_else(Default::default, waiter::ports);
        let generation = Arc::new(Generation::load(contents, host.image(), ports, old)?);
        let ring = generation.image().map(abi::EVENTS)?;
        let events = match previous.filter(|loaded| Arc::ptr_eq(loaded.events.ring(), ring)) {
            Some(loaded) => loaded.events.clone(),
            None => Arc::new(Events::new(
                ring.clone(),
                generation.clone(),
                self.log.clone(),
                self.refused.clone(),
            )?),
        };
        let engine = InKernel::engine(
            host.clone(),
            generation.clone(),
            events.clone(),
            self.marks.clone(),
        );
        let loaded = Loaded { generation, events };
        if self.current.is_none() {
            self.trust(&loaded.generation)?;
            self.current = Some(loaded);
        } else {
            self.next = Some(loaded);
        }
        Ok(Arc::new(engine))
    }

    fn trust(&self, generation: &Generation) -> Result<()> {
        let map = generation.image().map(abi::TRUSTED)?;
        let keys = self
            .trusted
            .iter()
            .map(|(address, len)| abi::trusted_key(*address, *len));
        keys.into_iter()
            .try_for_each(|key| map.update(&key, &1u32.to_ne_bytes()))
    }

    /// Answers packets from now on, with `running` behind, and says so in the log.
    ///
    /// # Errors
    /// If the program can't be attached, or no image was loaded.
    pub fn attach(&mut self, running: &Arc<Running>) -> Result<()> {
        let Some(current) = self.current.clone() else {
            return Err(Error::Absent {
                what: "program",
                name: abi::DISPATCH.to_owned(),
            });
        };
        let port = running.wire_addr().port();
        let config = abi::Config {
            on: true,
            mac: self.interface.mac,
            address: self.address,
            port,
            broadcast: self.interface.broadcast_of(self.address).flatten(),
        };
        current
            .generation
            .image()
            .set_section(abi::CONFIG, &config.encode())?;
        let worker = Worker {
            running: running.clone(),
            mac: self.interface.mac,
            address: self.address,
            wire: Arc::new(Wire::open(&self.device.interface)?),
        };
        current.events.set_worker(Some(worker.clone()));
        let counters = Arc::new(Counters::new(
            &self.device,
            current.generation.clone(),
            self.refused.clone(),
        ));
        let link = Link::attach(
            &self.device.interface,
            self.device.mode,
            current.generation.dispatcher()?,
        )?;
        running.set_nic(counters.clone());
        let waiter = self.waiter(&current.generation, &worker.wire, None)?;
        self.attached = Some(Attached {
            link,
            worker,
            counters,
            waiters: waiter.into_iter().collect(),
            listeners: vec![Listener::start(current.events)?],
        });
        self.announce(SocketAddr::new(self.address.into(), port));
        Ok(())
    }

    /// The thread that ends waits in an image.
    fn waiter(
        &self,
        generation: &Arc<Generation>,
        wire: &Arc<Wire>,
        older: Option<&Waiter>,
    ) -> Result<Option<Waiter>> {
        match &self.row {
            Some(row) => Waiter::start(generation, row, &self.device.interface, wire, older),
            None => Ok(None),
        }
    }

    fn announce(&self, wire: SocketAddr) {
        let (interface, mode) = (&self.device.interface, self.device.mode);
        tracing::info!(%interface, %mode, %wire, "the NIC answers");
        if let Some(current) = &self.current {
            for resident in current.generation.workloads() {
                self.announce_workload(resident);
            }
        }
        if self.interface.peer == Peer::NoProgram {
            tracing::warn!(
                %interface,
                "it is an end of a veth pair whose other end has no XDP program: the kernel throws away the replies \
                 that are sent to it; attach one there, such as one that passes all packets"
            );
        }
    }

    fn announce_workload(&self, resident: &crate::contents::Resident) {
        use lambdac_driver::nic::Place as Side;
        let lambdas = resident.module.lambdas.iter().zip(resident.places.lambdas());
        for (lambda, side) in lambdas {
            let workload = resident.name();
            match side {
                Side::Native => tracing::debug!(%workload, lambda = %lambda.name, "on the NIC"),
                Side::Host { code, reason } => {
                    tracing::info!(%workload, lambda = %lambda.name, %code, "on the host: {reason}");
                }
            }
        }
    }

    /// Has the image that was loaded last take over. The worker already has its engine.
    ///
    /// # Errors
    /// If the kernel refuses; packets may then meet old and new programs, all of them whole.
    pub fn commit(&mut self) -> Result<()> {
        let (Some(next), Some(current)) = (self.next.take(), self.current.take()) else {
            return Ok(());
        };
        let Some(mut attached) = self.attached.take() else {
            self.current = Some(next);
            return Ok(());
        };
        let taken_over = self.take_over(&mut attached, &next, &current);
        self.attached = Some(attached);
        self.current = Some(next);
        taken_over
    }

    fn take_over(&self, attached: &mut Attached, next: &Loaded, current: &Loaded) -> Result<()> {
        announce_moves(&current.generation, &next.generation);
        attached.waiters.retain(|waiter| !waiter.has_ended());
        let waiter = self.waiter(&next.generation, &attached.worker.wire, attached.waiters.last())?;
        crate::wait::link(next.generation.image(), current.generation.image())?;
        let same_ring = Arc::ptr_eq(&next.events, &current.events);
        if !same_ring {
            next.events.set_worker(Some(attached.worker.clone()));
            attached.listeners.push(Listener::start(next.events.clone())?);
        }
        next.generation.activate(&current.generation)?;
        let dispatcher = next.generation.dispatcher()?;
        if !Arc::ptr_eq(dispatcher, current.generation.dispatcher()?) {
            attached.link.replace(dispatcher)?;
        }
        attached.waiters.iter().for_each(Waiter::retire);
        attached.waiters.extend(waiter);
        attached.counters.set_generation(next.generation.clone())?;
        match same_ring {
            true => next.events.set_generation(next.generation.clone()),
            false => attached.retire(),
        }
        Ok(())
    }

    /// Forgets the image that was loaded last and shall not take over.
    pub fn discard(&mut self) {
        self.next = None;
    }

    /// Takes the programs off the interface and deals with what they reported until then. The worker still runs.
    pub fn stop(mut self) {
        if let Some(Attached {
            link,
            listeners,
            waiters,
            ..
        }) = self.attached.take()
        {
            drop(link);
            drop(waiters);
            listeners.into_iter().for_each(Listener::stop);
        }
        tracing::debug!(interface = %self.device.interface, "the NIC answers no more");
    }
}

/// Says which state changes sides, and so starts anew.
fn announce_moves(from: &Generation, to: &Generation) {
    for resident in to.workloads() {
        let workload = resident.name();
        let Some(old) = from.workloads().iter().find(|old| old.name() == workload) else {
            continue;
        };
        for object in resident.module.objects.iter().filter(|object| !is_table(object)) {
            let name = &*object.name;
            if !old.module.objects.iter().any(|object| *object.name == *name) {
                continue;
            }
            match (old.places.on_nic(name), resident.places.on_nic(name)) {
                (true, false) => {
                    tracing::warn!(%workload, state = name, "moves from the NIC to the host and starts anew");
                }
                (false, true) => {
                    tracing::warn!(%workload, state = name, "moves from the host to the NIC and starts anew");
                }
                _ => {}
            }
        }
    }
}

impl Attached {
    /// Lets all but the newest listener end in a while, and forgets those that have ended.
    fn retire(&mut self) {
        self.listeners.retain(|listener| !listener.has_ended());
        let until = Instant::now() + RETIREMENT;
        let older = self.listeners.len().saturating_sub(1);
        self.listeners[..older]
            .iter()
            .for_each(|listener| listener.retire(until));
    }
}

/// The thread that reads a ring buffer.
struct Listener {
    events: Arc<Events>,
    stopping: Arc<AtomicBool>,
    retires: Arc<std::sync::OnceLock<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(events: Arc<Events>) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let retires = Arc::new(std::sync::OnceLock::new());
        let turn = Turn {
            events: events.clone(),
            stopping: stopping.clone(),
            retires: retires.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("lnic-xdp".to_owned())
            .spawn(move || turn.run())
            .map_err(|source| Error::System {
                what: "cannot start the thread that reads the NIC's events",
                source,
            })?;
        Ok(Self {
            events,
            stopping,
            retires,
            thread: Some(thread),
        })
    }

    fn retire(&self, until: Instant) {
        // The first time stands.
        let _ = self.retires.set(until);
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn stop(mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads the NIC's events panicked");
        }
        self.events.drain();
        self.events.set_worker(None);
    }
}

/// A listener's loop.
struct Turn {
    events: Arc<Events>,
    stopping: Arc<AtomicBool>,
    retires: Arc<std::sync::OnceLock<Instant>>,
}

impl Turn {
    fn run(self) {
        while !self.stopping.load(Ordering::SeqCst) {
            if let Err(error) = RingBuffer::wait_for(self.events.ring(), self.due()) {
                tracing::error!(%error, "the NIC's events are not read any more");
                return;
            }
            self.events.drain();
            if self.retires.get().is_some_and(|until| Instant::now() >= *until) {
                self.events.set_worker(None);
                return;
            }
        }
    }

    /// Does what is due besides the ring; how long until something may be again.
    fn due(&self) -> Duration {
        TICK
    }
}
