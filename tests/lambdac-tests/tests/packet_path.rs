//! The packet path after warm-up: no call of the allocator, no lock, no system call but those that move packets.
//!
//! The real worker serves the examples on one packet thread, from a bundle as a daemon would load it. The engine is
//! wrapped so that the packet thread, when it first runs a lambda, asks to be watched: its calls of the allocator are
//! counted, and its system calls are seen from outside. While requests of every kind come in, other threads read
//! metrics, state and tables and write tables, so that a lock shared with them would be met.

mod support {
    pub mod programs;
    pub mod system_calls;
    pub mod watched_alloc;
}

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use lambdac_tests::peers::{Mute, PATIENCE, run, until};
use lnic_client::{InvokeOptions, Workload, invoke, workloads};
use lnic_host::{
    Answer, Config, Continuation, ControlError, Engine, EventLog, Io, LoadedImage, Outcome, Packet, Running,
    Scratch, Server, ServiceInfo, WorkloadInfo,
};
use lnic_wire::{Header, Kind, Status};
use serde_json::Value;
use support::programs::Programs;
use support::{system_calls, watched_alloc};

/// Requests sent at once, so that batches are received and sent.
const BURST: usize = 32;
/// Bursts of each kind of request in a round.
const BURSTS: usize = 40;
/// Messages of many packets in a round.
const LARGE: usize = 4;

/// What moves packets, waits for them, and draws the numbers of service requests. The rest ends a thread or a signal, or
/// gives way to a thread that the kernel stopped between two steps on a bounded queue (crossbeam's `ArrayQueue` yields).
const EXPECTED: &[libc::c_long] = &[
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendto,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_read,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
];

thread_local! {
    /// Whether this thread has asked to be watched, or is not to be.
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// The engine, and how often the packet thread has run it.
struct Probe {
    engine: LoadedImage,
    runs: AtomicU64,
}

impl Probe {
    /// Called on the way into the engine.
    fn enter(&self) {
        if !KNOWN.replace(true) && std::thread::current().name() == Some("lnic-wire-0") {
            watched_alloc::watch_this_thread();
            system_calls::watch_this_thread(EXPECTED);
        }
        self.runs.fetch_add(1, SeqCst);
    }
}

impl Engine for Probe {
    fn workloads(&self) -> &[WorkloadInfo] {
        self.engine.workloads()
    }

    fn services(&self) -> &[ServiceInfo] {
        self.engine.services()
    }

    fn scratch(&self) -> Scratch {
        self.engine.scratch()
    }

    fn invoke(
        &self,
        scratch: &mut Scratch,
        at: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        self.enter();
        self.engine.invoke(scratch, at, packet, request, io)
    }

    fn resume(
        &self,
        scratch: &mut Scratch,
        waiting: Continuation,
        answer: Answer<'_>,
        now: u64,
        io: &mut Io<'_>,
    ) -> Outcome {
        self.enter();
        self.engine.resume(scratch, waiting, answer, now, io)
    }

    fn state(&self, at: usize, object: Option<&str>, index: Option<&str>) -> Result<Value, ControlError> {
        self.engine.state(at, object, index)
    }

    fn table(&self, at: usize, table: &str) -> Result<Value, ControlError> {
        self.engine.table(at, table)
    }

    fn set_table(&self, at: usize, table: &str, entries: &Value) -> Result<(), ControlError> {
        self.engine.set_table(at, table, entries)
    }

    fn delete_entries(&self, at: usize, table: &str, keys: Option<&Value>) -> Result<(), ControlError> {
        self.engine.delete_entries(at, table, keys)
    }
}

/// The engine of the examples and of the small workloads that trap, punt and log.
fn engine(events: &EventLog) -> Arc<Probe> {
    let dir = tempfile::tempdir().unwrap();
    let (programs, out) = (Programs::new(), dir.path().display().to_string());
    run(&["build", "examples", &programs.all(), "-o", &out]).good();
    let bundle = lnic_bundle::read(dir.path(), lnic_bundle::Limits::default()).unwrap();
    let workloads = &bundle.manifest.workloads;
    let module = |workload: &lnic_bundle::Workload| {
        let text = &bundle.files[&format!("workloads/{}.mir", workload.name)];
        Arc::new(lambdac_mir::parse(std::str::from_utf8(text).unwrap()).unwrap())
    };
    let modules: Vec<_> = workloads.iter().map(module).collect();
    let image = lnic_engine::Image::load(&modules, &[], None).unwrap();
    let ids: Vec<u32> = workloads.iter().map(|workload| workload.id).collect();
    Arc::new(Probe {
        engine: LoadedImage::new(image, &ids, events.clone()),
        runs: AtomicU64::new(0),
    })
}

/// Starts a worker with one packet thread whose services are all at `memcached`.
fn serve(engine: Arc<Probe>, events: EventLog, memcached: SocketAddr) -> Running {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let services = ["kv_get", "kv_set", "cache_aside", "patient"];
    let config = Config {
        wire: local,
        http: local,
        threads: NonZero::new(1),
        http_threads: NonZero::new(2),
        pin: false,
        services: services
            .map(|name| (format!("{name}.cache"), memcached.to_string()))
            .into(),
        ..Config::default()
    };
    Server::start(config, engine, events).unwrap()
}

/// A caller, and what it knows of the worker.
struct Caller {
    socket: UdpSocket,
    wire: SocketAddr,
    workloads: Vec<Workload>,
    next: Cell<u64>,
}

impl Caller {
    fn new(worker: &Running) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(worker.wire_addr()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            wire: worker.wire_addr(),
            workloads: workloads(&worker.http_addr().to_string()).unwrap(),
            next: Cell::new(1),
        }
    }

    fn workload(&self, name: &str) -> &Workload {
        let found = self.workloads.iter().find(|workload| workload.name == name);
        found.unwrap_or_else(|| panic!("{name} is not served"))
    }

    fn packet(&self, id: u32, payload: &[u8]) -> Vec<u8> {
        let number = self.next.replace(self.next.get() + 1);
        let header = Header::request(id, number, 0, 1, payload.len() as u16);
        [&header.encode()[..], payload].concat()
    }

    fn send(&self, id: u32, payload: &[u8], count: usize) {
        for _ in 0..count {
            self.socket.send(&self.packet(id, payload)).unwrap();
        }
    }

    /// Waits for so many replies of a workload, all with this status.
    fn collect(&self, id: u32, count: usize, status: Status) {
        let mut left = count;
        let mut buffer = [0; 2048];
        while left > 0 {
            let len = self.socket.recv(&mut buffer).expect("every request is answered");
            let (reply, _) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
            // A request that is dropped only most of the time leaves replies behind.
            if reply.workload == id {
                assert_eq!(reply.status, status, "{id:#x}");
                left -= 1;
            }
        }
    }

    fn burst(&self, id: u32, payload: &[u8], status: Option<Status>) {
        self.send(id, payload, BURST);
        if let Some(status) = status {
            self.collect(id, BURST, status);
        }
    }

    /// More requests at a time than any round has, all of which wait until their service has failed to answer.
    fn tide(&self) {
        for (name, payload) in [
            ("kv_get", &b"hey"[..]),
            ("kv_set", b"hey=dude"),
            ("cache_aside", b"make 9"),
        ] {
            let id = self.workload(name).id;
            self.send(id, payload, 4 * BURST);
            self.collect(id, 4 * BURST, Status::Ok);
        }
    }

    /// Every kind of request and of end many times; no status where nothing, or not always something, is answered. Gives how many packets were sent at least.
    fn round(&self) -> u64 {
        let page = b"GET /".as_slice();
        let mut set = b"\x01hey-hey-hey-hey!".to_vec();
        let get = [b"\x00", &set[1..]].concat();
        set.extend_from_slice(b"dude");
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01".as_slice();
        let ok = Some(Status::Ok);
        let kinds: [(&str, &[u8], Option<Status>); 17] = [
            ("web", page, ok),
            ("web", b"GET /nowhere", ok),
            ("kv", &set, ok),
            ("kv", &get, ok),
            ("kv", b"short", Some(Status::BadRequest)),
            ("kv", b"\x09drop-drop-drop-drop", None),
            ("counter", b"7", ok),
            ("url_shortener", b"+http://example.org/", ok),
            ("dns_static", query, ok),
            ("rate_limit", b"once too often", None),
            ("grayscale_stream", &[7; 1024], ok),
            ("kv_get", b"hey", ok),
            ("kv_set", b"hey=dude", ok),
            ("kv_set", b"no key that may be sent=1", ok),
            ("cache_aside", b"make 9", ok),
            ("slicer", b"\x09", Some(Status::Trap)),
            ("upward", b"nobody takes it", Some(Status::Punted)),
        ];
        for _ in 0..BURSTS {
            for (name, payload, status) in kinds {
                self.burst(self.workload(name).id, payload, status);
            }
            self.burst(0x7777_7777, b"", Some(Status::NoWorkload));
            for _ in 0..BURST {
                self.socket.send(b"this is no packet of the wire").unwrap();
            }
        }
        for _ in 0..LARGE {
            self.large("grayscale", 256 * 256 * 4);
            self.large("grayscale_stream", 256 * 256 * 4);
        }
        (BURSTS * BURST * (kinds.len() + 2)) as u64
    }

    /// A message of many packets.
    fn large(&self, name: &str, len: usize) {
        let options = InvokeOptions {
            timeout: PATIENCE,
            ..InvokeOptions::default()
        };
        let reply = invoke(self.wire, self.workload(name), &vec![9; len], &options).unwrap();
        assert_eq!(reply.payload.len(), len / 4);
    }
}

/// Answers as memcached would, and goes on with other things at HTTP, until `stop`.
fn surroundings<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    memcached: &'s Mute,
    http: SocketAddr,
    stop: &'s AtomicBool,
) {
    scope.spawn(move || {
        while !stop.load(SeqCst) {
            if let Some(asked) = memcached.take_within(Duration::from_millis(20)) {
                let get = asked.command.starts_with(b"get ");
                memcached.answer(
                    &asked,
                    if get {
                        b"VALUE hey 0 4\r\ndude\r\nEND\r\n"
                    } else {
                        b"STORED\r\n"
                    },
                );
            }
        }
    });
    scope.spawn(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let url = |path: &str| format!("http://{http}{path}");
        let table = url("/system/tables/dns_static.names");
        let entries = agent
            .get(&table)
            .call()
            .unwrap()
            .body_mut()
            .read_to_vec()
            .unwrap();
        while !stop.load(SeqCst) {
            for path in [
                "/metrics",
                "/system/state/kv",
                "/system/state/counter/sum",
                "/system/workloads",
            ] {
                agent.get(url(path)).call().unwrap();
            }
            agent.put(&table).send(&entries).unwrap();
            agent.post(url("/function/counter")).send("1").unwrap();
        }
    });
}

#[test]
fn a_warm_packet_thread_takes_no_memory_and_no_lock() {
    let memcached = Mute::start();
    let events = EventLog::new();
    let engine = engine(&events);
    system_calls::listen();
    let worker = serve(engine.clone(), events, memcached.address());
    let caller = Caller::new(&worker);
    caller.tide();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        surroundings(scope, &memcached, worker.http_addr(), &stop);
        let _ended = StopOnDrop(&stop);
        caller.round();

        let before = engine.runs.load(SeqCst);
        let mut packets = 0;
        let mut allocator_calls = 0;
        let calls = system_calls::during(|| {
            allocator_calls = watched_alloc::calls_during(|| packets = caller.round());
        });
        let runs = engine.runs.load(SeqCst) - before;
        println!(
            "{packets} packets, {runs} runs of lambdas: {allocator_calls} calls of the allocator, other system calls by number: {calls:?}"
        );
        assert!(runs > packets / 2, "the lambdas are run in the watched engine");
        assert_eq!(allocator_calls, 0);
        match system_calls::refusal() {
            Some(error) => println!("skipped: system calls are not seen: {error}"),
            None => assert!(calls.is_empty(), "{calls:?}"),
        }

        // A line of the log is made in the lambda's thread: so the watch itself is seen to work. What trapped before has
        // had all lines of its second.
        until("a line of the log takes memory", || {
            watched_alloc::calls_during(|| {
                caller.burst(caller.workload("talker").id, b"x", Some(Status::Ok));
            }) > 0
        });
    });
    // So does a thread that ends, which takes its socket out of what it waits for.
    let calls = system_calls::during(|| worker.stop());
    assert!(!calls.is_empty() || system_calls::refusal().is_some());
}

/// Ends the threads around the test, also where it fails.
struct StopOnDrop<'s>(&'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
