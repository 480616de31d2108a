//! The agent's end of a switch: a thread that holds the P4Runtime stream and the worker's interface.
//!
//! ```text
//! switch ── packet-in ──▶ answers to what was injected │ punts ──▶ worker │ all else ──▶ interface
//!        ◀─ packet-out ── requests over HTTP (injected)                   │ ◀── interface
//! ```
//!
//! The thread outlives the switch: when the stream ends, it tries again and again, and has the switch hold what it
//! should ([`Plan`]) before anything else. Whoever asks for something meanwhile is told that the switch is away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{self as blocking, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lambdac_backend_p4::{CPU_PORT, INJECT};
use p4runtime_proto::config::P4Info;
use p4runtime_proto::v1::{Entity, PacketIn, PacketMetadata, PacketOut, Update};
use p4runtime_proto::{Controller, Event, Events, Options, bytestring, number};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::checksum;
use crate::device::Device;
use crate::entries;
use crate::error::{Error, Result};
use crate::tap;

/// Longest time for a call to the switch.
const CALL: Duration = Duration::from_secs(10);
/// Longest time that a caller waits for the thread, which may have calls to end before.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a switch that is away is tried again: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Commands that wait for the thread.
const QUEUE: usize = 1024;
/// Ethernet addresses whose ports are remembered.
const ADDRESSES: usize = 4096;
/// Ports from 0 on that may be there before anything came by them: P4Runtime does not tell which a switch has.
const USUAL: u16 = 16;
/// Requests that wait for what the switch makes of them.
const INJECTED: usize = 4096;
/// The longest frame from the interface.
const LONGEST: usize = 1 << 16;
/// Frames of the interface that are sent before others are looked at.
const FRAMES: usize = 64;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What a switch should hold.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The program's description.
    pub info: P4Info,
    /// The program.
    pub json: Vec<u8>,
    /// A number for both.
    pub cookie: u64,
    /// The entries of its tables, as inserts.
    pub entries: Vec<Update>,
}

/// A packet that the switch hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The port that it came by.
    pub port: u16,
    /// Why.
    pub reason: u16,
    /// The number of a lambda, if it was handed to one.
    pub lambda: u16,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Handed {
    /// Reads the header of `packet_in` (four numbers, see `lambdac_backend_p4`).
    fn read(packet: PacketIn) -> Option<Self> {
        let field = |id: u32| {
            let mut metadata = packet.metadata.iter();
            let found = metadata.find(|metadata| metadata.metadata_id == id)?;
            u16::try_from(number(&found.value)?).ok()
        };
        Some(Self {
            port: field(1)?,
            reason: field(2)?,
            lambda: field(4)?,
            frame: packet.payload,
        })
    }

    fn address(&self, at: usize) -> Option<Mac> {
        self.frame.get(at..)?.first_chunk().copied()
    }
}

/// Who deals with packets that the switch hands over for more than the interface.
pub trait Punts: Send + Sync {
    /// Takes the packet, if it is its own.
    fn take(&self, packet: &Handed) -> bool;
}

/// What the thread is asked for.
enum Command {
    Install(Box<Plan>, SyncSender<Result<()>>),
    Entries(Vec<Update>, SyncSender<Result<()>>),
    Read(Vec<Entity>, SyncSender<Result<Vec<Entity>>>),
    Send(PacketOut),
    Stop,
}

/// What the thread shares with its callers.
#[derive(Default)]
struct Shared {
    up: AtomicBool,
    pushes: AtomicU64,
    lost: AtomicU64,
    injected: Mutex<BTreeMap<Mac, SyncSender<Handed>>>,
    punts: Mutex<Option<Arc<dyn Punts>>>,
    ports: Mutex<Ports>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A switch, and the thread that speaks with it. Dropping it ends the thread.
pub struct Session {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// Connects to a switch and becomes its primary. Frames go in and out by `interface`, a descriptor that keeps their
    /// boundaries and does not block.
    ///
    /// # Errors
    /// If there is no switch, it is of another version, has no such device, or obeys another controller.
    pub fn open(device: &Device, interface: File) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (commands, receiver) = mpsc::channel(QUEUE);
        let (ready, connected) = blocking::sync_channel(1);
        let (device, its) = (device.clone(), shared.clone());
        let body = move || match Thread::start(device, interface, its, receiver) {
            // Whoever asked waits for either.
            Err(error) => _ = ready.send(Err(error)),
            Ok((runtime, thread, link)) => {
                _ = ready.send(Ok(()));
                runtime.block_on(thread.run(link));
            }
        };
        let thread = std::thread::Builder::new()
            .name("lnic-bmv2".to_owned())
            .spawn(body)
            .map_err(|source| Error::System {
                what: "start the thread that speaks with the switch",
                source,
            })?;
        connected
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(Error::Away("no answer".to_owned())))?;
        Ok(Self {
            shared,
            commands,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Whether the switch is there and holds what it should.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(SeqCst)
    }

    /// How often the switch was given a program, which starts its counters and registers anew.
    pub fn pushes(&self) -> u64 {
        self.shared.pushes.load(SeqCst)
    }

    /// Packets that were lost between switch and interface.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(SeqCst)
    }

    /// Has the switch hold a plan, now and whenever it comes back.
    ///
    /// # Errors
    /// If it refuses, or is away.
    pub fn install(&self, plan: Plan) -> Result<()> {
        self.ask(|reply| Command::Install(Box::new(plan), reply))
    }

    /// Has the tables hold other entries.
    ///
    /// # Errors
    /// As [`Session::install`].
    pub fn set_entries(&self, entries: Vec<Update>) -> Result<()> {
        self.ask(|reply| Command::Entries(entries, reply))
    }

    /// Reads entities.
    ///
    /// # Errors
    /// As [`Session::install`].
    pub fn read(&self, wishes: Vec<Entity>) -> Result<Vec<Entity>> {
        self.ask(|reply| Command::Read(wishes, reply))
    }

    /// Tells the program something: a packet-out that is all header. A switch that is away is not told.
    pub fn tell(&self, what: u16) {
        let packet = Command::Send(packet_out(what, Vec::new()));
        if self.is_up() && self.commands.try_send(packet).is_err() {
            self.shared.lost.fetch_add(1, SeqCst);
        }
    }

    /// The port that leads to an Ethernet address, if packets have shown it.
    pub fn port_of(&self, address: Mac) -> Option<u16> {
        lock(&self.shared.ports).by_address.get(&address).copied()
    }

    /// Has somebody deal with packets from now on, or nobody.
    pub fn set_punts(&self, punts: Option<Arc<dyn Punts>>) {
        *lock(&self.shared.punts) = punts;
    }

    /// Runs a frame through the switch as if it had come in; what came of it. `mark` is its Ethernet source, which no
    /// other has meanwhile.
    ///
    /// # Errors
    /// If the switch is away, or nothing comes back in time.
    pub fn inject(&self, mark: Mac, frame: Vec<u8>, within: Duration) -> Result<Handed> {
        if !self.is_up() {
            return Err(Error::Away("it is being waited for".to_owned()));
        }
        let (sender, receiver) = blocking::sync_channel(1);
        let mut injected = lock(&self.shared.injected);
        if injected.len() >= INJECTED {
            return Err(Error::Away("too many requests wait for it".to_owned()));
        }
        injected.insert(mark, sender);
        drop(injected);
        let sent = self.commands.try_send(Command::Send(packet_out(INJECT, frame)));
        let answer = match sent {
            Ok(()) => receiver.recv_timeout(within).ok(),
            Err(_) => None,
        };
        lock(&self.shared.injected).remove(&mark);
        answer.ok_or_else(|| Error::Away(format!("no answer in {within:?}")))
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = blocking::sync_channel(1);
        let away = |reason: &str| Error::Away(reason.to_owned());
        self.commands
            .try_send(command(reply))
            .map_err(|_| away("too much waits for it"))?;
        let answer = answer.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| Err(away("no answer")))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A full queue is emptied by the thread; one that is gone has ended.
        while let Err(mpsc::error::TrySendError::Full(_)) = self.commands.try_send(Command::Stop) {
            std::thread::sleep(RETRY.0);
        }
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that speaks with the switch panicked");
        }
    }
}

fn packet_out(port: u16, frame: Vec<u8>) -> PacketOut {
    PacketOut {
        payload: frame,
        metadata: vec![PacketMetadata {
            metadata_id: 1,
            value: bytestring(port.into()),
        }],
    }
}

/// Which port leads to whom, as packets have shown it.
#[derive(Debug, Default)]
struct Ports {
    by_address: BTreeMap<Mac, u16>,
    known: BTreeSet<u16>,
}

impl Ports {
    fn learn(&mut self, address: Mac, port: u16) {
        if self.by_address.len() >= ADDRESSES && !self.by_address.contains_key(&address) {
            self.by_address.clear();
        }
        self.by_address.insert(address, port);
        self.known.insert(port);
    }

    /// Where a frame to an address goes: its port, else all that may be there.
    fn of(&self, address: Mac) -> Vec<u16> {
        match self.by_address.get(&address) {
            Some(port) => vec![*port],
            None => {
                let all: BTreeSet<u16> = self.known.iter().copied().chain(0..USUAL).collect();
                all.into_iter().collect()
            }
        }
    }
}

type Link = (Controller, Events);

/// Why the stream is left.
enum Ended {
    Lost(String),
    Stopped,
}

/// The thread's own.
struct Thread {
    device: Device,
    shared: Arc<Shared>,
    interface: AsyncFd<File>,
    commands: mpsc::Receiver<Command>,
    plan: Option<Plan>,
}

async fn connect(device: &Device) -> Result<Link> {
    let options = Options {
        device: device.device,
        election: device.election,
        timeout: CALL,
    };
    Ok(Controller::connect(&device.address(), options).await?)
}

impl Thread {
    fn start(
        device: Device,
        interface: File,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(tokio::runtime::Runtime, Self, Link)> {
        let system = |source| Error::System {
            what: "start what speaks with the switch",
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system)?;
        let interface = {
            let _context = runtime.enter();
            tap::watched(interface).map_err(system)?
        };
        let link = runtime.block_on(connect(&device))?;
        let thread = Self {
            device,
            shared,
            interface,
            commands,
            plan: None,
        };
        Ok((runtime, thread, link))
    }

    async fn run(mut self, first: Link) {
        let mut link = first;
        loop {
            let ended = self.serve(&mut link).await;
            self.shared.up.store(false, SeqCst);
            drop(link);
            let Ended::Lost(reason) = ended else { return };
            tracing::error!(switch = %self.device, %reason, "the switch is away");
            match self.again().await {
                Some(next) => link = next,
                None => return,
            }
            tracing::info!(switch = %self.device, "the switch is back");
        }
    }

    async fn serve(&mut self, (controller, events): &mut Link) -> Ended {
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return Ended::Lost("the stream has ended".to_owned()),
                    Some(Event::Closed(reason)) => return Ended::Lost(reason),
                    Some(Event::Packet(packet)) => self.packet(packet),
                    Some(Event::Primary(primary)) => self.primary(controller, primary).await,
                    Some(Event::Refused(reason)) => tracing::warn!(%reason, "the switch refuses a packet"),
                    // Nothing asks for digests.
                    Some(Event::Digest(_)) => {}
                },
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => return Ended::Stopped,
                    Some(command) => self.command(controller, command).await,
                },
                ready = self.interface.readable() => {
                    let frames = match ready {
                        Ok(mut ready) => frames(&mut ready),
                        Err(error) => return Ended::Lost(format!("the interface: {error}")),
                    };
                    for frame in frames {
                        self.frame(controller, frame).await;
                    }
                },
            }
        }
    }

    /// Tries until the switch is there and holds what it should; none: it is to stop.
    async fn again(&mut self) -> Option<Link> {
        let (mut wait, most) = RETRY;
        let mut said = String::new();
        loop {
            let pause = tokio::time::sleep(wait);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    command = self.commands.recv() => match command {
                        None | Some(Command::Stop) => return None,
                        Some(command) => self.decline(command),
                    },
                }
            }
            wait = (wait * 2).min(most);
            let tried = match connect(&self.device).await {
                Ok(mut link) => self.reconcile(&mut link.0).await.map(|()| link),
                Err(error) => Err(error),
            };
            match tried {
                Ok(link) => return Some(link),
                Err(error) if error.to_string() == said => {}
                Err(error) => {
                    said = error.to_string();
                    tracing::warn!(switch = %self.device, reason = %said, "the switch is waited for");
                }
            }
        }
    }

    /// What is wanted stays wanted, for when the switch is back.
    fn decline(&mut self, command: Command) {
        let away = || Error::Away("it is being waited for".to_owned());
        // Who asked may have given up.
        match command {
            Command::Install(plan, reply) => {
                self.plan = Some(*plan);
                _ = reply.send(Err(away()));
            }
            Command::Entries(entries, reply) => {
                self.keep(entries);
                _ = reply.send(Err(away()));
            }
            Command::Read(_, reply) => _ = reply.send(Err(away())),
            Command::Send(_) | Command::Stop => {}
        }
    }

    fn keep(&mut self, entries: Vec<Update>) {
        if let Some(plan) = &mut self.plan {
            plan.entries = entries;
        }
    }

    async fn command(&mut self, controller: &mut Controller, command: Command) {
        // Who asked may have given up.
        match command {
            Command::Install(plan, reply) => {
                self.plan = Some(*plan);
                _ = reply.send(self.reconcile(controller).await);
            }
            Command::Entries(entries, reply) => {
                self.keep(entries);
                _ = reply.send(self.reconcile(controller).await);
            }
            Command::Read(wishes, reply) => {
                _ = reply.send(controller.read(wishes).await.map_err(Error::from));
            }
            Command::Send(packet) => self.send(controller, packet).await,
            Command::Stop => {}
        }
    }

    async fn primary(&mut self, controller: &mut Controller, primary: bool) {
        self.shared.up.store(false, SeqCst);
        if !primary {
            tracing::error!(switch = %self.device, "another controller is the switch's primary now");
            return;
        }
        match self.reconcile(controller).await {
            Ok(()) => tracing::info!(switch = %self.device, "the switch obeys this worker again"),
            Err(error) => tracing::error!(switch = %self.device, %error, "the switch refuses"),
        }
    }

    /// Has the switch hold the plan: the program, if it runs another, and just the plan's entries.
    async fn reconcile(&mut self, controller: &mut Controller) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let running = controller.pipeline().await?;
        let tables = entries::tables(&plan.info);
        let held = if running == Some(plan.cookie) {
            controller.read(entries::wishes(&tables)).await?
        } else {
            self.shared.up.store(false, SeqCst);
            controller
                .set_pipeline(plan.info.clone(), plan.json.clone(), plan.cookie)
                .await?;
            self.shared.pushes.fetch_add(1, SeqCst);
            Vec::new()
        };
        let updates = entries::difference(&tables, &plan.entries, &held);
        tracing::debug!(
            switch = %self.device,
            kept = running == Some(plan.cookie),
            updates = updates.len(),
            "the switch gets what it should hold"
        );
        controller.write(updates).await?;
        self.shared.up.store(true, SeqCst);
        Ok(())
    }

    async fn send(&self, controller: &Controller, packet: PacketOut) {
        if controller.send(packet).await.is_err() {
            // The stream's end is told as an event.
            self.shared.lost.fetch_add(1, SeqCst);
        }
    }

    /// A frame that the kernel sends.
    async fn frame(&self, controller: &Controller, frame: Vec<u8>) {
        let Some(to) = frame.first_chunk() else { return };
        let ports = lock(&self.shared.ports).of(*to);
        for port in ports {
            self.send(controller, packet_out(port, frame.clone())).await;
        }
    }

    /// A packet of the switch.
    fn packet(&mut self, packet: PacketIn) {
        let Some(mut handed) = Handed::read(packet) else {
            tracing::error!(switch = %self.device, "a packet of the switch says not why it comes");
            return;
        };
        if handed.port == CPU_PORT {
            self.returned(handed);
            return;
        }
        // The source is behind the destination.
        if let Some(source) = handed.address(6) {
            lock(&self.shared.ports).learn(source, handed.port);
        }
        let punts = lock(&self.shared.punts).clone();
        if punts.is_some_and(|punts| punts.take(&handed)) {
            return;
        }
        checksum::finish(&mut handed.frame);
        if (&mut self.interface.get_ref()).write(&handed.frame).is_err() {
            self.shared.lost.fetch_add(1, SeqCst);
        }
    }

    /// What came of a request that was injected: its mark is the source, or in a reply the destination.
    fn returned(&self, handed: Handed) {
        let mut injected = lock(&self.shared.injected);
        let marks = [handed.address(0), handed.address(6)];
        let waiting = marks.iter().flatten().find_map(|mark| injected.remove(mark));
        drop(injected);
        match waiting {
            // Who waited may have given up.
            Some(waiting) => _ = waiting.try_send(handed),
            None => tracing::debug!("what came of a request came too late"),
        }
    }
}

/// Frames that are there.
fn frames(ready: &mut tokio::io::unix::AsyncFdReadyGuard<'_, File>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        let mut frame = vec![0; LONGEST];
        match ready.try_io(|interface| interface.get_ref().read(&mut frame)) {
            Ok(Ok(len)) if len > 0 => {
                frame.truncate(len);
                frames.push(frame);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // There is no more, or the interface is down, which the kernel tells its owner.
            Err(_) | Ok(_) => break,
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_where_its_address_was_seen_else_everywhere() {
        let mut ports = Ports::default();
        let usual: Vec<u16> = (0..USUAL).collect();
        assert_eq!(ports.of([1; 6]), usual);
        ports.learn([1; 6], 3);
        ports.learn([9; 6], 99);
        ports.learn([2; 6], 1);
        assert_eq!(ports.of([1; 6]), [3]);
        assert_eq!(ports.of([0xff; 6]), [usual, vec![99]].concat());
        for number in 0..2 * ADDRESSES as u64 {
            let [_, _, mac @ ..] = number.to_be_bytes();
            ports.learn(mac, 2);
        }
        assert!(ports.by_address.len() <= ADDRESSES);
    }

    #[test]
    fn a_packet_without_its_header_is_none() {
        let packet = packet_out(7, vec![1]);
        let partial = PacketIn {
            payload: packet.payload.clone(),
            metadata: packet.metadata.clone(),
        };
        assert_eq!(Handed::read(partial), None);
        let field = |id: u32, value: u128| PacketMetadata {
            metadata_id: id,
            value: bytestring(value),
        };
        let whole = PacketIn {
            payload: vec![9],
            metadata: vec![field(1, 510), field(2, 3), field(3, 0), field(4, 5)],
        };
        let handed = Handed {
            port: 510,
            reason: 3,
            lambda: 5,
            frame: vec![9],
        };
        assert_eq!(Handed::read(whole), Some(handed));
        let wide = PacketIn {
            payload: vec![],
            metadata: vec![field(1, 1 << 16), field(2, 3), field(4, 5)],
        };
        assert_eq!(Handed::read(wide), None);
    }
}
