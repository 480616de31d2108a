//! Callers against a worker that does what the test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZero;
use std::time::{Duration, Instant};

use lnic_client::{BenchConfig, Error, InvokeOptions, Load, Workload, bench, invoke, lookup};
use lnic_wire::{Header, Kind, Status, fragments};

const ID: u32 = 0x0102_0001;

fn workload() -> Workload {
    Workload {
        name: "web".into(),
        id: ID,
        request: "bytes".into(),
        reply: "bytes".into(),
        fragment: 1344,
    }
}

/// Runs `script` for every packet that comes, until the test ends; gives the address.
fn worker(mut script: impl FnMut(&UdpSocket, SocketAddr, Header, &[u8]) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let (header, payload) = Header::decode(&buffer[..len], Kind::Request).expect("a sound request");
            script(&socket, from, header, payload);
        }
    });
    address
}

fn send(socket: &UdpSocket, to: SocketAddr, header: Header, payload: &[u8]) {
    socket
        .send_to(&[&header.encode()[..], payload].concat(), to)
        .unwrap();
}

fn reply(socket: &UdpSocket, to: SocketAddr, request: Header, message: &[u8]) {
    for part in fragments(message, 1344).unwrap() {
        let header = request.reply(Status::Ok, part.index, part.count, part.payload.len() as u16);
        send(socket, to, header, part.payload);
    }
}

/// Longest wait for a reply that comes at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn hasty() -> InvokeOptions {
    InvokeOptions {
        timeout: PATIENCE,
        resend: Duration::from_millis(20),
    }
}

#[test]
fn a_lost_request_is_sent_again_under_its_number() {
    let mut seen = Vec::new();
    let worker = worker(move |socket, from, header, _| {
        seen.push(header.request);
        if seen.len() == 3 {
            assert!(seen.iter().all(|&number| number == seen[0]));
            reply(socket, from, header, b"at last");
        }
    });
    let reply = invoke(worker, &workload(), b"", &hasty()).unwrap();
    assert_eq!(reply.payload, b"at last");
    // More, where the reply took its time.
    assert!(reply.attempts >= 3, "{}", reply.attempts);
}

#[test]
fn only_a_reply_that_fits_is_taken() {
    let worker = worker(|socket, from, header, _| {
        socket.send_to(b"noise", from).unwrap();
        reply(
            socket,
            from,
            Header {
                request: header.request ^ 1,
                ..header
            },
            b"other number",
        );
        reply(
            socket,
            from,
            Header {
                workload: ID + 1,
                ..header
            },
            b"other workload",
        );
        send(socket, from, header, b"a request");
        UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"a stranger", from)
            .unwrap();
        reply(socket, from, header, b"right");
        reply(socket, from, header, b"too late");
    });
    assert_eq!(
        invoke(worker, &workload(), b"", &hasty()).unwrap().payload,
        b"right"
    );
}

#[test]
fn large_messages_go_both_ways_though_packets_are_lost_once() {
    let (mut parts, mut lost) = (std::collections::BTreeMap::new(), 0);
    let worker = worker(move |socket, from, header, payload| {
        if header.fragment == 7 && lost == 0 {
            lost = 1;
            return;
        }
        parts.insert(header.fragment, payload.to_vec());
        if parts.len() == usize::from(header.fragments) {
            let message: Vec<u8> = parts.values().flatten().rev().copied().collect();
            for part in fragments(&message, 1344).unwrap() {
                if part.index == 3 && lost == 1 {
                    lost = 2;
                    continue;
                }
                let header = header.reply(Status::Ok, part.index, part.count, part.payload.len() as u16);
                send(socket, from, header, part.payload);
            }
            parts.clear();
        }
    });
    let request: Vec<u8> = (0..60_000).map(|at| (at % 251) as u8).collect();
    let reply = invoke(worker, &workload(), &request, &hasty()).unwrap();
    assert!(reply.payload.iter().rev().eq(request.iter()));
    assert!(reply.attempts >= 2);
}

#[test]
fn a_stream_is_cut_by_its_chunks_and_joined_in_order() {
    let worker = worker(|socket, from, header, payload| {
        let half = &payload[..payload.len() / 2];
        send(
            socket,
            from,
            header.reply(Status::Ok, header.fragment, header.fragments, half.len() as u16),
            half,
        );
    });
    let stream = Workload {
        fragment: 1000,
        ..workload()
    };
    let request: Vec<u8> = (0..2500).map(|at| (at / 10) as u8).collect();
    let expected: Vec<u8> = request
        .chunks(1000)
        .flat_map(|part| &part[..part.len() / 2])
        .copied()
        .collect();
    assert_eq!(
        invoke(worker, &stream, &request, &hasty()).unwrap().payload,
        expected
    );
}

#[test]
fn errors_say_what_happened() {
    let trapping = worker(|socket, from, header, _| send(socket, from, header.error(Status::Trap), b""));
    let error = invoke(trapping, &workload(), b"", &hasty()).unwrap_err();
    assert_eq!(error.to_string(), "TRAP");
    let silent = worker(|_, _, _, _| {});
    let options = InvokeOptions {
        timeout: Duration::from_secs(1),
        ..hasty()
    };
    // After 0, 20, 60, 140, 300 and 620 ms, or fewer times where this thread had to wait.
    assert!(matches!(
        invoke(silent, &workload(), b"", &options),
        Err(Error::TimedOut { attempts: 2..=6, .. })
    ));
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(
        invoke(nobody, &workload(), b"", &options),
        Err(Error::TimedOut { .. })
    ));
    let huge = vec![0; (1 << 20) + 1];
    assert!(matches!(
        invoke(silent, &workload(), &huge, &options),
        Err(Error::TooLarge(_))
    ));
}

/// An HTTP server that gives one response.
fn web_server(response: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let len = stream.read(&mut buffer).unwrap();
        assert!(buffer[..len].starts_with(b"GET /system/workloads HTTP/1.1\r\n"));
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            response.len()
        );
        stream
            .write_all(&[head.as_bytes(), response.as_bytes()].concat())
            .unwrap();
    });
    address
}

const LIST: &str = r#"[{"name":"kv","id":7,"request":"R","reply":"S","fragment":1000},
    {"name":"web","id":16908289,"request":"bytes","reply":"bytes","fragment":1344,"new":"field"}]"#;

#[test]
fn names_are_looked_up() {
    assert_eq!(lookup(&web_server(LIST), "web").unwrap(), workload());
    let error = lookup(&web_server(LIST), "wbe").unwrap_err();
    assert_eq!(error.to_string(), "no workload `wbe` here; there is kv, web");
    assert!(matches!(
        lookup(&web_server("<html>"), "web"),
        Err(Error::List { .. })
    ));
    assert!(matches!(lookup("127.0.0.1:1", "web"), Err(Error::Lookup { .. })));
}

fn config(worker: SocketAddr, load: Load) -> BenchConfig {
    BenchConfig {
        warm_up: Duration::from_millis(50),
        timeout: PATIENCE,
        ..BenchConfig::new(worker, workload(), b"ping".to_vec(), load)
    }
}

fn closed(concurrency: usize) -> Load {
    Load::Closed {
        concurrency: NonZero::new(concurrency).unwrap(),
    }
}

#[test]
fn a_closed_loop_counts_every_request_once() {
    const REQUESTS: u64 = 2000;
    const EVERY: u64 = 200;
    let mut count = 0;
    let worker = worker(move |socket, from, header, payload| {
        assert_eq!(payload, b"ping");
        count += 1;
        match count % EVERY {
            1 => {}
            2 => send(socket, from, header.error(Status::Overloaded), b""),
            _ => reply(socket, from, header, payload),
        }
    });
    let config = BenchConfig {
        requests: Some(REQUESTS),
        duration: None,
        // Without it only what was sent is counted.
        warm_up: Duration::ZERO,
        // Far longer than a reply may take; the lost ones wait for it side by side.
        timeout: Duration::from_secs(3),
        ..config(worker, closed(16))
    };
    let (begun, mut told) = (Instant::now(), 0);
    let report = bench(&config, |_| told += 1).unwrap();
    let errors = report.errors.get("OVERLOADED").copied().unwrap_or(0);
    assert_eq!(
        (report.sent, report.replies + report.lost + errors),
        (REQUESTS, REQUESTS)
    );
    assert_eq!(errors, REQUESTS / EVERY, "{report:?}");
    assert!(report.lost >= REQUESTS / EVERY, "{report:?}");
    let latency = report.latency;
    assert!(
        latency.min > 0.0
            && latency.min <= latency.p50
            && latency.p50 <= latency.p99
            && latency.p99 <= latency.max
    );
    // Once a second at most, while the last ones are waited for as well.
    assert!(
        (1..=begun.elapsed().as_secs()).contains(&told),
        "told {told} times"
    );
}

#[test]
fn replies_of_several_packets_are_one_reply() {
    let worker = worker(|socket, from, header, _| reply(socket, from, header, &[0; 5000]));
    let config = BenchConfig {
        requests: Some(200),
        duration: None,
        ..config(worker, closed(4))
    };
    let report = bench(&config, |_| {}).unwrap();
    assert_eq!((report.replies, report.lost), (200, 0));
}

#[test]
fn an_open_loop_keeps_its_rate_and_owns_up_to_a_stall() {
    let mut stall_at = Some(Instant::now() + Duration::from_millis(300));
    let worker = worker(move |socket, from, header, payload| {
        if stall_at.is_some_and(|at| Instant::now() > at) {
            stall_at = None;
            std::thread::sleep(Duration::from_millis(100));
        }
        reply(socket, from, header, payload);
    });
    // So few that those of a whole second fit the socket's buffer.
    let (rate, duration) = (250.0, Some(Duration::from_millis(600)));
    let config = BenchConfig {
        duration,
        ..config(worker, Load::Open { rate })
    };
    let report = bench(&config, |_| {}).unwrap();
    // Whoever comes late to a request sends it all the same.
    assert!((148..=152).contains(&report.sent), "{report:?}");
    assert_eq!(report.lost, 0);
    // 100 ms of stall at 250 a second delay about 25 of 150 requests, so more than one in ten; a tool that waits for
    // replies would see one.
    assert!(report.latency.p90 > 10_000.0, "{report:?}");
    assert!(report.latency.max > 90_000.0, "{report:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let refuse = |config: BenchConfig| assert!(bench(&config, |_| {}).is_err(), "{config:?}");
    refuse(config(nobody, Load::Open { rate: 0.0 }));
    refuse(config(nobody, Load::Open { rate: f64::NAN }));
    refuse(BenchConfig {
        duration: None,
        ..config(nobody, closed(1))
    });
    refuse(BenchConfig {
        request: vec![0; (1 << 20) + 1],
        ..config(nobody, closed(1))
    });
}
