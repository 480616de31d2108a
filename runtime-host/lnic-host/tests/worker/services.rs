//! Lambdas that await memcached: a scripted server that misbehaves, and the real one.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use lnic_host::Config;
use lnic_wire::Status;

use crate::fake::{
    ALL, Caller, Fake, PATIENCE, await_metric, config, http, id, metric, start, start_with, until,
};

/// A memcached that does what the test says.
struct Server(UdpSocket);

impl Server {
    fn new() -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Server(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next request: its sender, its frame header and its text.
    fn request(&self) -> (SocketAddr, [u8; 8], String) {
        let mut buffer = [0; 2048];
        let (len, from) = self.0.recv_from(&mut buffer).expect("a request");
        (
            from,
            buffer[..8].try_into().unwrap(),
            String::from_utf8_lossy(&buffer[8..len]).into_owned(),
        )
    }

    fn answer(&self, to: SocketAddr, frame: [u8; 8], text: &[u8]) {
        self.0.send_to(&[&frame[..], text].concat(), to).unwrap();
    }
}

fn with_service(address: SocketAddr) -> Config {
    let services = [("get.cache".to_owned(), address.to_string())].into();
    Config { services, ..config() }
}

fn series(event: &str) -> String {
    format!("lnic_service_answers_total{{event=\"{event}\"}}")
}

#[test]
fn an_answer_ends_the_wait() {
    let server = Server::new();
    let worker = start(with_service(server.address()));
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"key");
    let (from, frame, text) = server.request();
    assert_eq!(text, "get key\r\n");
    assert_eq!(frame[2..], [0, 0, 0, 1, 0, 0]);
    server.answer(from, frame, b"VALUE key 0 5\r\nvalue\r\nEND\r\n");
    assert_eq!(caller.packet().unwrap().1, b"value");
}

#[test]
fn strange_answers_are_counted_and_ignored() {
    let server = Server::new();
    let worker = start(with_service(server.address()));
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"key");
    let (from, frame, _) = server.request();
    let good = b"VALUE key 0 5\r\nvalue\r\nEND\r\n";
    Server::new().answer(from, frame, b"VALUE key 0 4\r\nevil\r\nEND\r\n");
    let mut other_id = frame;
    other_id[0] ^= 0x55;
    server.answer(from, other_id, b"END\r\n");
    server.answer(from, frame, b"VALUE other 0 4\r\nevil\r\nEND\r\n");
    server.answer(from, frame, b"nonsense");
    server.answer(
        from,
        [frame[0], frame[1], 0, 9, 0, 99, 0, 0],
        b"part of something huge",
    );
    server.answer(from, frame, good);
    server.answer(from, frame, good);
    assert_eq!(caller.packet().unwrap().1, b"value");
    for event in [
        "wrong_peer",
        "unasked",
        "wrong_key",
        "malformed",
        "oversized",
        "answered",
        "duplicate",
    ] {
        await_metric(&worker, &series(event), 1);
    }
    caller.assert_silent();
}

#[test]
fn without_an_answer_the_lambda_goes_on_after_its_timeout() {
    let server = Server::new();
    let hasty = Fake::with_timeout(ALL, Duration::from_millis(60));
    let worker = start_with(with_service(server.address()), hasty);
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"key");
    let (from, frame, _) = server.request();
    assert_eq!(caller.packet().unwrap().1, b"failed");
    server.answer(from, frame, b"END\r\n");
    await_metric(&worker, &series("late"), 1);
    assert_eq!(metric(&worker, &series("timed_out")), 1);
    caller.assert_silent();
}

#[test]
fn a_full_worker_answers_overloaded() {
    let server = Server::new();
    let one = std::num::NonZero::new(1);
    let worker = start(Config {
        max_waiting: 1,
        threads: one,
        ..with_service(server.address())
    });
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"a");
    let (from, frame, _) = server.request();
    assert_eq!(
        Caller::new(worker.wire_addr()).call(id("get"), b"b"),
        Err(Status::Overloaded)
    );
    let response = http(worker.http_addr(), "POST", "/function/get", "", b"b");
    assert_eq!(
        (response.status, response.header("retry-after")),
        (429, Some("1"))
    );
    server.answer(from, frame, b"END\r\n");
    assert_eq!(caller.packet().unwrap().1, b"missing");
    caller.send(id("get"), b"c");
    let (from, frame, text) = server.request();
    assert_eq!(text, "get c\r\n", "the slot is free again");
    server.answer(from, frame, b"END\r\n");
    assert_eq!(caller.packet().unwrap().1, b"missing");
}

#[test]
fn requests_come_from_many_ports_with_ids_of_their_own() {
    let server = Server::new();
    let one = std::num::NonZero::new(1);
    let worker = start(Config {
        threads: one,
        ..with_service(server.address())
    });
    let mut caller = Caller::new(worker.wire_addr());
    let mut seen: Vec<(SocketAddr, [u8; 8])> = Vec::new();
    for _ in 0..64 {
        caller.send(id("get"), b"k");
        let (from, frame, _) = server.request();
        seen.push((from, frame));
        server.answer(from, frame, b"END\r\n");
        caller.packet().unwrap();
    }
    let ports: std::collections::BTreeSet<u16> = seen.iter().map(|(from, _)| from.port()).collect();
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|(from, frame)| (from.port(), *frame)).collect();
    assert!(ports.len() >= 8, "{ports:?}");
    assert!(ids.len() > 60);
}

#[test]
fn code_stays_for_who_waits_in_it_through_a_swap() {
    let server = Server::new();
    let worker = start(with_service(server.address()));
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"key");
    let (from, frame, _) = server.request();
    worker.swap(Fake::new(ALL)).unwrap();
    server.answer(from, frame, b"END\r\n");
    assert_eq!(caller.packet().unwrap().1, b"missing");
}

#[test]
fn a_stop_waits_for_who_waits() {
    let server = Server::new();
    let worker = start(Config {
        drain_timeout: PATIENCE,
        ..with_service(server.address())
    });
    let mut caller = Caller::new(worker.wire_addr());
    caller.send(id("get"), b"key");
    let (from, frame, _) = server.request();
    let listening = worker.http_addr();
    let stopping = std::thread::spawn(move || worker.stop());
    until(
        || TcpStream::connect(listening).is_err(),
        || "a worker that stops listens on".to_owned(),
    );
    server.answer(from, frame, b"END\r\n");
    assert_eq!(caller.packet().unwrap().1, b"missing");
    stopping.join().unwrap();
}

#[test]
fn no_packet_thread_frees_an_image() {
    const SWAPS: usize = 20;
    let server = Server::new();
    let worker = start(with_service(server.address()));
    let (freed, threads) = mpsc::channel();
    // Two sources, of which one is likely to reach each thread.
    let mut callers = [0; 2].map(|_| Caller::new(worker.wire_addr()));
    for round in 0..SWAPS {
        worker.swap(Fake::watched(ALL, freed.clone())).unwrap();
        for caller in &mut callers {
            assert_eq!(caller.call(id("web"), b""), Ok(b"hello".to_vec()));
        }
        if round == SWAPS / 2 {
            callers[0].send(id("get"), b"key");
        }
    }
    worker.swap(Fake::new(ALL)).unwrap();
    let freed_by = || threads.recv_timeout(PATIENCE).expect("a replaced image is freed");
    let mut names: Vec<String> = (1..SWAPS).map(|_| freed_by()).collect();
    // One is waited in.
    assert!(threads.try_recv().is_err());
    let (from, frame, _) = server.request();
    server.answer(from, frame, b"END\r\n");
    assert_eq!(callers[0].packet().unwrap().1, b"missing");
    names.push(freed_by());
    assert!(
        names.iter().all(|name| !name.starts_with("lnic-wire")),
        "{names:?}"
    );
}

#[test]
fn http_requests_that_wait_are_answered_too() {
    let server = Server::new();
    let worker = start(with_service(server.address()));
    let address = worker.http_addr();
    let asking = std::thread::spawn(move || http(address, "POST", "/function/get", "", b"key"));
    let (from, frame, _) = server.request();
    server.answer(from, frame, b"VALUE key 0 2\r\nhi\r\nEND\r\n");
    let response = asking.join().unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"hi"[..]));
    let labels = "workload=\"get\",target=\"host\"";
    assert_eq!(metric(&worker, &format!("lnic_in_flight{{{labels}}}")), 0);
    assert_eq!(
        metric(&worker, &format!("lnic_replies_total{{{labels},status=\"OK\"}}")),
        1
    );
}

/// A real memcached on a free loopback port, ended with the test.
struct Memcached {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Memcached {
    /// None, said aloud, where it is not installed.
    fn start() -> Option<Memcached> {
        let folder = tempfile::tempdir().unwrap();
        // It takes a port that the kernel chooses, and writes down which.
        let ports = folder.path().join("ports");
        let arguments = "-U -1 -p 0 -l 127.0.0.1 -u root -m 16".split(' ');
        let spawned = Command::new("memcached")
            .args(arguments)
            .env("MEMCACHED_PORT_FILENAME", &ports)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = spawned else {
            println!("skipped: memcached not found");
            return None;
        };
        let mut server = Memcached {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            _folder: folder,
        };
        until(
            || {
                let text = std::fs::read_to_string(&ports).unwrap_or_default();
                let port = text.trim_end().strip_prefix("UDP INET: ");
                port.is_some_and(|port| {
                    server.address.set_port(port.parse().unwrap());
                    true
                })
            },
            || "memcached does not say its port".to_owned(),
        );
        Some(server)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_real_memcached_stores_finds_and_forgets() {
    let Some(server) = Memcached::start() else { return };
    let worker = start(with_service(server.address));
    let mut caller = Caller::new(worker.wire_addr());
    let mut call = |name, request: &[u8]| String::from_utf8(caller.call(id(name), request).unwrap()).unwrap();
    assert_eq!(call("get", b"hey"), "missing");
    assert_eq!(call("set", b"hey=dude"), "done");
    assert_eq!(call("get", b"hey"), "dude");
    assert_eq!(call("set", b"hey="), "done");
    assert_eq!(call("get", b"hey"), "");
    assert_eq!(call("set", b"hey=a\r\nb"), "done");
    assert_eq!(call("get", b"hey"), "a\r\nb");
    assert_eq!(call("delete", b"hey"), "missing", "deleted, then not found");
    assert_eq!(call("delete", b"hey"), "missing");
    let long = vec![b'k'; 250];
    assert_eq!(call("set", &[&long[..], b"=v"].concat()), "done");
    assert_eq!(call("get", &long), "v");
    assert_eq!(metric(&worker, &series("malformed")), 0);
}

#[test]
fn no_key_can_inject_a_command_into_a_real_memcached() {
    let Some(server) = Memcached::start() else { return };
    let worker = start(with_service(server.address));
    let mut caller = Caller::new(worker.wire_addr());
    let mut call = |name, request: &[u8]| String::from_utf8(caller.call(id(name), request).unwrap()).unwrap();
    assert_eq!(call("set", b"hey=safe"), "done");
    let attempts: [&[u8]; 8] = [
        b"x\r\nset hey 0 0 6\r\nhacked",
        b"x\r\nflush_all",
        b"x\nflush_all",
        b"x hey",
        b"x\0",
        b"x\x7f",
        b"",
        &[b'k'; 251],
    ];
    for attempt in attempts {
        assert_eq!(call("get", attempt), "failed");
        assert_eq!(call("delete", attempt), "failed");
        assert_eq!(call("set", &[attempt, b"=v"].concat()), "failed");
    }
    assert_eq!(call("get", b"hey"), "safe");
    assert_eq!(metric(&worker, &series("not_sent")), 24);
}

#[test]
fn a_value_over_the_limit_in_a_real_memcached_fails() {
    let Some(server) = Memcached::start() else { return };
    let raw = UdpSocket::bind("127.0.0.1:0").unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    // Two appends make a value that no single datagram of ours could set.
    let store = |command: &str, len: usize| {
        let text = format!("{command} big 0 0 {len}\r\n{}\r\n", "v".repeat(len));
        raw.send_to(
            &[b"\0\x07\0\0\0\x01\0\0", text.as_bytes()].concat(),
            server.address,
        )
        .unwrap();
        raw.recv(&mut [0; 64]).unwrap();
    };
    store("set", 1000);
    let worker = start(with_service(server.address));
    let mut caller = Caller::new(worker.wire_addr());
    assert_eq!(caller.call(id("get"), b"big").map(|value| value.len()), Ok(1000));
    for _ in 0..9 {
        store("append", 1000);
    }
    assert_eq!(caller.call(id("get"), b"big"), Ok(b"failed".to_vec()));
    assert_eq!(
        metric(&worker, &series("timed_out")),
        0,
        "the first datagram decides"
    );
}
