//! The packet threads: one socket of the λ wire, one core, everything run to completion.
//!
//! A thread takes a batch of datagrams, answers each in place in its send batch, and sends the
//! batch. A lambda that awaits leaves a slot behind; the service's answer, or its deadline, comes
//! back through the same loop. Nothing is locked and, once buffers have grown, nothing allocated
//! per packet. Other threads reach a packet thread through the bounded queues of its [`Handle`].

mod core;
mod invocation;
mod outlet;
mod services;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use lnic_wire::{Limits, Status};
use socket2::Socket;
use tokio::sync::{mpsc, oneshot};

use self::core::Core;
pub(crate) use self::invocation::{StreamEnd, report_trap, run_stream};
pub(crate) use self::outlet::WireOrigin;
use crate::engine_api::Packet;
use crate::events::EventLog;
use crate::image::Image;
use crate::metrics::{Ended, Metrics};
use crate::prefix::Prefix;
use crate::sys::{Epoll, EventFd, Peer, RxBatch, Token, now_ns, pin_to_core};

/// Datagrams taken or sent by one system call at most.
const BATCH: usize = 64;
/// Hand-overs from other threads taken between two batches at most.
const HANDOVERS: usize = 64;
/// Batches after which a busy thread looks at its other sources of events.
const BUSY_BATCHES: u32 = 16;
/// Batches after which a thread tries anew whether the socket has more right after a batch.
const RETRY_SPECULATION: u32 = 64;
/// Punted requests that one packet thread may have out at a time.
const FALLBACKS: usize = 256;

/// Who waits for an invocation's end.
pub(crate) enum Origin {
    /// A caller on the λ wire.
    Wire(WireOrigin),
    /// An HTTP request.
    Http(oneshot::Sender<Answered>),
}

/// The end of an invocation, for HTTP.
pub(crate) struct Answered {
    pub(crate) ended: Ended,
    pub(crate) body: Bytes,
    /// Who ran it.
    pub(crate) target: &'static str,
}

/// A request that a NIC handed up.
pub(crate) struct NicPunt {
    pub(crate) image: Arc<Image>,
    pub(crate) workload: usize,
    /// The lambda that it is for; none: the fallback.
    pub(crate) lambda: Option<usize>,
    pub(crate) peer: Peer,
    pub(crate) datagram: Vec<u8>,
}

/// An HTTP request for a workload that may wait.
pub(crate) struct HttpJob {
    pub(crate) image: Arc<Image>,
    pub(crate) workload: usize,
    pub(crate) packet: Packet,
    pub(crate) request: Bytes,
    pub(crate) answer: oneshot::Sender<Answered>,
}

/// A punted request on its way to its fallback.
pub(crate) struct FallbackJob {
    pub(crate) url: Arc<str>,
    pub(crate) body: Bytes,
    pub(crate) image: Arc<Image>,
    pub(crate) workload: usize,
    pub(crate) started: u64,
    pub(crate) reply_to: ReplyTo,
}

/// Who gets a fallback's answer.
pub(crate) enum ReplyTo {
    /// A packet thread, for a caller on the wire.
    Worker(Arc<Handle>, WireOrigin),
    /// An HTTP request.
    Http(oneshot::Sender<Answered>),
}

/// A fallback's answer to a caller on the wire.
pub(crate) struct FallbackDone {
    pub(crate) origin: WireOrigin,
    pub(crate) image: Arc<Image>,
    pub(crate) workload: usize,
    pub(crate) started: u64,
    pub(crate) result: Result<Bytes, Status>,
}

/// How other threads reach a packet thread.
pub(crate) struct Handle {
    jobs: ArrayQueue<HttpJob>,
    punts: ArrayQueue<NicPunt>,
    fallbacks_done: ArrayQueue<FallbackDone>,
    wake: EventFd,
    /// Set while the thread waits or is about to.
    asleep: AtomicBool,
    stopping: AtomicBool,
}

impl Handle {
    pub(crate) fn new(max_queued: usize) -> io::Result<Handle> {
        Ok(Handle {
            jobs: ArrayQueue::new(max_queued.max(1)),
            punts: ArrayQueue::new(max_queued.max(1)),
            fallbacks_done: ArrayQueue::new(FALLBACKS),
            wake: EventFd::new()?,
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Hands over a request; gives it back where the queue is full.
    pub(crate) fn submit(&self, job: HttpJob) -> Result<(), HttpJob> {
        self.jobs.push(job)?;
        self.wake_if_asleep();
        Ok(())
    }

    /// Hands over a request that a NIC handed up; gives it back where the queue is full.
    pub(crate) fn submit_punt(&self, punt: NicPunt) -> Result<(), NicPunt> {
        self.punts.push(punt)?;
        self.wake_if_asleep();
        Ok(())
    }

    /// Hands back a fallback's answer. There is room: a thread has at most as many out.
    pub(crate) fn fallback_done(&self, done: FallbackDone) {
        if self.fallbacks_done.push(done).is_err() {
            debug_assert!(false, "more fallbacks came back than went out");
        }
        self.wake_if_asleep();
    }

    fn wake_if_asleep(&self) {
        if self.asleep.swap(false, SeqCst) {
            self.wake.notify();
        }
    }

    /// Has the thread look around, for a new image.
    pub(crate) fn wake(&self) {
        self.wake.notify();
    }

    /// Has the thread finish what it holds and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.wake.notify();
    }

    fn has_handover(&self) -> bool {
        !self.jobs.is_empty() || !self.punts.is_empty() || !self.fallbacks_done.is_empty()
    }
}

/// What a packet thread is made of.
pub(crate) struct Setup {
    pub(crate) index: usize,
    pub(crate) pin: bool,
    pub(crate) socket: Socket,
    pub(crate) port: u16,
    pub(crate) handle: Arc<Handle>,
    pub(crate) image: Arc<ArcSwap<Image>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: EventLog,
    pub(crate) trusted: Arc<[Prefix]>,
    pub(crate) reassembly: Limits,
    pub(crate) max_waiting: usize,
    pub(crate) service_ports: usize,
    pub(crate) fallbacks: mpsc::Sender<FallbackJob>,
    pub(crate) drain_timeout: Duration,
}

/// A packet thread's loop and what only the loop needs.
struct Worker {
    handle: Arc<Handle>,
    images: Cache<Arc<ArcSwap<Image>>, Arc<Image>>,
    image: Arc<Image>,
    epoll: Epoll,
    rx: RxBatch,
    core: Core,
    drain_timeout: Duration,
    /// Whether the socket holds datagrams.
    wire_ready: bool,
    /// Whether to look into the socket without having waited for it.
    speculative: bool,
    /// How often of late the socket had more right after a batch; above 0 it is tried first.
    speculation: i32,
    batches: u32,
}

/// Runs a packet thread until it is stopped.
pub(crate) fn run(setup: Setup) -> io::Result<()> {
    if setup.pin
        && let Err(error) = pin_to_core(setup.index)
    {
        tracing::warn!(%error, thread = setup.index, "packet thread is not bound to a core");
    }
    let epoll = Epoll::new()?;
    epoll.add(&setup.socket, Token::Wire)?;
    epoll.add(&setup.handle.wake, Token::Wake)?;
    let image = setup.image.load_full();
    let mut worker = Worker {
        handle: Arc::clone(&setup.handle),
        images: Cache::new(Arc::clone(&setup.image)),
        epoll,
        rx: RxBatch::new(BATCH),
        drain_timeout: setup.drain_timeout,
        core: Core::new(setup, &image)?,
        image,
        wire_ready: false,
        speculative: false,
        speculation: 0,
        batches: 0,
    };
    while !worker.handle.stopping.load(SeqCst) {
        worker.turn()?;
    }
    worker.drain()
}

impl Worker {
    /// One round: a batch off the wire, what others handed over, what is due; then maybe a wait.
    fn turn(&mut self) -> io::Result<()> {
        self.adopt_image();
        let received = if self.wire_ready || self.speculative {
            self.receive_batch()
        } else {
            0
        };
        if self.speculative {
            let change = if received > 0 { 1 } else { -4 };
            self.speculation = (self.speculation + change).clamp(-4, 16);
        }
        self.take_handovers();
        self.core.run_timers(&self.epoll);
        self.core.flush();
        self.batches = self.batches.wrapping_add(1);
        let speculate = self.speculation > 0 || self.batches.is_multiple_of(RETRY_SPECULATION);
        if received == BATCH || (received > 0 && speculate) {
            if self.core.is_waiting() || self.batches.is_multiple_of(BUSY_BATCHES) {
                self.poll(0)?;
            }
            self.speculative = true;
            return Ok(());
        }
        (self.wire_ready, self.speculative) = (false, false);
        self.sleep(None)
    }

    /// Waits for any event, at most until the next timer or `limit`.
    fn sleep(&mut self, limit: Option<u64>) -> io::Result<()> {
        self.handle.asleep.store(true, SeqCst);
        // Whatever was pushed before `asleep` was set wakes nobody, so it is looked for here.
        let stopping = limit.is_none() && self.handle.stopping.load(SeqCst);
        let image_changed = !Arc::ptr_eq(self.images.load(), &self.image);
        let timeout = if stopping || image_changed || self.handle.has_handover() {
            0
        } else {
            timeout_ms(self.core.next_timer().into_iter().chain(limit).min())
        };
        let result = self.poll(timeout);
        self.handle.asleep.store(false, SeqCst);
        result
    }

    fn poll(&mut self, timeout_ms: i32) -> io::Result<()> {
        let count = self.epoll.wait(timeout_ms)?;
        self.core.tick();
        for at in 0..count {
            match self.epoll.event(at) {
                Token::Wire => self.wire_ready = true,
                Token::Wake => self.handle.wake.clear(),
                Token::Service { client, socket } => {
                    self.core.on_service(client, socket, &mut self.rx, &self.epoll);
                }
            }
        }
        Ok(())
    }

    fn adopt_image(&mut self) {
        let newest = self.images.load();
        if !Arc::ptr_eq(newest, &self.image) {
            self.image = Arc::clone(newest);
            self.core.adopt(&self.image);
        }
    }

    /// Takes and answers one batch; gives its size.
    fn receive_batch(&mut self) -> usize {
        let received = self.rx.receive(&self.core.outlet);
        if received > 0 {
            self.core.tick();
            self.core.count_received(received);
            for at in 0..received {
                let peer = self.rx.peer(at);
                self.core
                    .on_datagram(&self.image, peer, self.rx.datagram(at), &self.epoll);
            }
        }
        received
    }

    fn take_handovers(&mut self) {
        for _ in 0..HANDOVERS {
            let Some(job) = self.handle.jobs.pop() else { break };
            self.core.tick();
            self.core.on_job(job, &self.epoll);
        }
        for _ in 0..HANDOVERS {
            let Some(punt) = self.handle.punts.pop() else {
                break;
            };
            self.core.tick();
            self.core.on_punt(&punt, &self.epoll);
        }
        for _ in 0..HANDOVERS {
            let Some(done) = self.handle.fallbacks_done.pop() else {
                break;
            };
            self.core.tick();
            self.core.on_fallback_done(done);
        }
    }

    /// Answers what has arrived and waits for what was begun, at most for the drain time.
    fn drain(&mut self) -> io::Result<()> {
        let deadline =
            now_ns().saturating_add(u64::try_from(self.drain_timeout.as_nanos()).unwrap_or(u64::MAX));
        self.adopt_image();
        while self.receive_batch() > 0 && now_ns() < deadline {
            self.core.flush();
        }
        self.epoll.remove(&self.core.outlet)?;
        loop {
            self.take_handovers();
            self.core.run_timers(&self.epoll);
            self.core.flush();
            let idle = !self.core.is_busy() && !self.handle.has_handover();
            if idle || now_ns() >= deadline {
                return Ok(());
            }
            self.sleep(Some(deadline))?;
        }
    }
}

/// Milliseconds until `time`, rounded up; -1 for never.
fn timeout_ms(time: Option<u64>) -> i32 {
    time.map_or(-1, |time| {
        i32::try_from(time.saturating_sub(now_ns()).div_ceil(1_000_000)).unwrap_or(i32::MAX)
    })
}
