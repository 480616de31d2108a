//! The λ wire.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lnic_host::{Config, EventLog, Server};
use lnic_wire::{Header, Malformed, Status};

use crate::fake::{ALL, Caller, Does, Fake, await_metric, config, id, metric, start, until};

const UNTRUSTED: &str = "203.0.113.0/24";

fn untrusting() -> Config {
    Config {
        trusted: vec![UNTRUSTED.parse().unwrap()],
        ..config()
    }
}

#[test]
fn a_request_is_answered_with_its_reply_and_its_number() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    assert_eq!(caller.call(id("web"), b""), Ok(b"hello".to_vec()));
    assert_eq!(caller.call(id("echo"), b"to and fro"), Ok(b"to and fro".to_vec()));
    let request = caller.send(id("web"), b"");
    assert_eq!(caller.packet().unwrap().0.request, request);
    worker.stop();
}

#[test]
fn a_lambda_sees_where_a_packet_came_from() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let (from, to) = (
        caller.socket.local_addr().unwrap().port(),
        worker.wire_addr().port(),
    );
    let facts = caller.call(id("facts"), b"").unwrap();
    assert_eq!(
        String::from_utf8(facts).unwrap(),
        format!("127.0.0.1 {from} {to} 1")
    );
}

#[test]
fn ipv6_callers_are_answered_with_source_zero() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 on loopback");
        return;
    }
    let worker = start(Config {
        wire: "[::]:0".parse().unwrap(),
        ..config()
    });
    let port = worker.wire_addr().port();
    let v6 = Caller::new(format!("[::1]:{port}").parse().unwrap())
        .call(id("facts"), b"")
        .unwrap();
    assert!(v6.starts_with(b"0.0.0.0 "));
    let v4 = Caller::new(format!("127.0.0.1:{port}").parse().unwrap())
        .call(id("facts"), b"")
        .unwrap();
    assert!(v4.starts_with(b"127.0.0.1 "));
}

#[test]
fn what_no_workload_takes_is_refused_with_a_status() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    assert_eq!(
        caller.call(id("web") ^ 0x1_0000, b""),
        Err(Status::NoWorkload),
        "a stale tag"
    );
    assert_eq!(caller.call(id("web") + 100, b""), Err(Status::NoWorkload));
    assert_eq!(caller.call(0, b""), Err(Status::NoWorkload));
    assert_eq!(caller.call(id("web"), &[0; 1201]), Err(Status::BadRequest));
    assert_eq!(caller.call(id("trap"), b""), Err(Status::Trap));
    assert_eq!(caller.call(id("punt"), b""), Err(Status::Punted));
    caller.send(id("drop"), b"");
    caller.assert_silent();
    let labels = "workload=\"trap\",target=\"host\"";
    assert_eq!(
        metric(&worker, &format!("lnic_traps_total{{{labels},cause=\"index\"}}")),
        1
    );
    assert_eq!(
        metric(
            &worker,
            &format!("lnic_replies_total{{{labels},status=\"TRAP\"}}")
        ),
        1
    );
    await_metric(
        &worker,
        "lnic_dropped_requests_total{workload=\"drop\",target=\"host\"}",
        1,
    );
    assert_eq!(metric(&worker, "lnic_no_workload_total"), 3);
}

#[test]
fn malformed_packets_are_dropped_and_counted_by_rule() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let header = |fragment, fragments, length| Header::request(id("echo"), 1, fragment, fragments, length);
    let mut wrong_magic = header(0, 1, 0).encode();
    wrong_magic[0] = 0;
    let mut flagged = header(0, 1, 0).encode();
    flagged[23] = 1;
    let short_middle = [&header(0, 2, 3).encode()[..], b"abc"].concat();
    caller.send_raw(b"short");
    caller.send_raw(b"");
    caller.send_raw(&wrong_magic);
    caller.send_raw(&flagged);
    caller.send_raw(&header(0, 1, 9).encode());
    caller.send_raw(&header(2, 2, 0).encode());
    caller.send_raw(&header(0, 0, 0).encode());
    caller.send_raw(&header(1, 2, 0).encode());
    caller.send_raw(&header(0, 1, 0).error(Status::Trap).encode());
    caller.send_raw(&short_middle);
    await_metric(&worker, "lnic_received_packets_total", 10);
    caller.send(id("echo"), b"still there");
    let (_, first) = caller.packet().unwrap();
    assert_eq!(first, b"still there", "nothing else is answered");
    for rule in Malformed::ALL {
        let expected = match rule {
            Malformed::Short => 2,
            Malformed::Version
            | Malformed::LengthOverFragment
            | Malformed::Status
            | Malformed::ErrorShape => 0,
            _ => 1,
        };
        assert_eq!(
            metric(
                &worker,
                &format!("lnic_dropped_packets_total{{reason=\"{}\"}}", rule.name())
            ),
            expected
        );
    }
}

#[test]
fn messages_of_many_packets_go_both_ways() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    for len in [1344, 1345, 100_000] {
        let message: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        assert_eq!(
            caller.call(id("echo"), &message).map(|reply| reply == message),
            Ok(true),
            "{len} bytes"
        );
    }
    assert_eq!(caller.call(id("large"), b""), Ok(vec![7; 5000]));
    assert_eq!(metric(&worker, "lnic_reassembly_total{end=\"completed\"}"), 2);
}

#[test]
fn a_message_that_cannot_fit_is_refused_at_its_first_fragment() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let mut first_of = |workload, fragments| {
        let header = Header::request(workload, 5, 0, fragments, 1344);
        caller.send_raw(&[&header.encode()[..], &[0; 1344]].concat());
        caller.packet().unwrap().0.status
    };
    assert_eq!(first_of(id("web"), 2), Status::BadRequest);
    assert_eq!(first_of(id("echo"), 782), Status::TooLarge);
    assert_eq!(first_of(id("echo"), 65535), Status::TooLarge);
}

#[test]
fn a_half_arrived_message_is_given_up_after_a_second() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let header = Header::request(id("echo"), 5, 0, 2, 1344);
    caller.send_raw(&[&header.encode()[..], &[0; 1344]].concat());
    await_metric(&worker, "lnic_reassembly_total{end=\"expired\"}", 1);
    caller.assert_silent();
}

#[test]
fn a_stream_is_answered_fragment_by_fragment() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let message: Vec<u8> = (0..4000).map(|at| (at % 256) as u8).collect();
    let expected: Vec<u8> = message
        .chunks(4)
        .flat_map(|chunk| chunk.iter().rev())
        .copied()
        .collect();
    assert_eq!(caller.call(id("reverse"), &message), Ok(expected));
    // One fragment alone has its answer at once; the last one here holds half a chunk.
    let header = Header::request(id("reverse"), 77, 1, 3, 1344);
    caller.send_raw(&[&header.encode()[..], &[1; 1344]].concat());
    let (reply, payload) = caller.packet().unwrap();
    assert_eq!((reply.fragment, reply.fragments, payload.len()), (1, 3, 1344));
    let header = Header::request(id("reverse"), 77, 2, 3, 6);
    caller.send_raw(&[&header.encode()[..], &[1; 6]].concat());
    let (reply, _) = caller.packet().unwrap();
    assert_eq!(
        (reply.status, reply.fragment, reply.fragments),
        (Status::BadRequest, 0, 1)
    );
    assert_eq!(
        caller.call(id("reverse"), b""),
        Err(Status::BadRequest),
        "its chunk is not bytes<N>"
    );
}

#[test]
fn an_unvalidated_caller_gets_at_most_three_times_what_it_sent() {
    let worker = start(untrusting());
    let mut caller = Caller::new(worker.wire_addr());
    // 24 + 200 bytes against 3 × 24.
    assert_eq!(caller.call(id("fill"), b""), Err(Status::TooLarge));
    assert_eq!(caller.call(id("fill"), &[0; 50]), Err(Status::TooLarge));
    assert_eq!(caller.call(id("fill"), &[0; 51]), Ok(vec![7; 200]));
    // Padding counts as sent.
    let header = Header::request(id("fill"), 9, 0, 1, 0);
    caller.send_raw(&[&header.encode()[..], &[0; 51]].concat());
    assert_eq!(caller.packet().unwrap().0.status, Status::Ok);
    // A reply of several packets never goes out, whatever the request's size.
    assert_eq!(caller.call(id("echo"), &[1; 3000]), Err(Status::TooLarge));
}

#[test]
fn a_swap_under_load_loses_nothing() {
    let worker = start(config());
    let (address, stop, calls) = (worker.wire_addr(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut caller = Caller::new(address);
                while !stop.load(Ordering::Relaxed) {
                    let reply = caller.call(id("web"), b"").unwrap();
                    assert!(reply == b"hello" || reply == b"again");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut other = ALL.to_vec();
        other[0].1 = Does::Says("again");
        for round in 0..30 {
            let before = calls.load(Ordering::Relaxed);
            until(
                || calls.load(Ordering::Relaxed) >= before + 5,
                || "no calls".to_owned(),
            );
            worker
                .swap(Fake::new(if round % 2 == 0 { &other } else { ALL }))
                .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        metric(&worker, "lnic_requests_total{workload=\"web\",target=\"host\"}"),
        calls.into_inner()
    );
    let mut caller = Caller::new(address);
    assert_eq!(caller.call(id("web"), b""), Ok(b"hello".to_vec()));
}

#[test]
fn a_workload_that_cannot_be_served_is_refused_and_the_old_image_goes_on() {
    let worker = start(config());
    let twice = Fake::new(&[("web", Does::Echo), ("web", Does::Echo)]);
    assert!(worker.swap(twice).is_err());
    assert_eq!(
        Caller::new(worker.wire_addr()).call(id("web"), b""),
        Ok(b"hello".to_vec())
    );
}

#[test]
fn a_taken_port_is_an_error_and_not_shared() {
    let worker = start(config());
    let again = Config {
        wire: worker.wire_addr(),
        ..config()
    };
    let error = Server::start(again, Fake::new(ALL), EventLog::new()).unwrap_err();
    assert!(
        error.to_string().contains(&worker.wire_addr().to_string()),
        "{error}"
    );
    let again = Config {
        http: worker.http_addr(),
        ..config()
    };
    assert!(Server::start(again, Fake::new(ALL), EventLog::new()).is_err());
}

#[test]
fn counters_add_up_over_mutated_packets() {
    let worker = start(config());
    let mut caller = Caller::new(worker.wire_addr());
    let mut state = 42u64;
    let mut dice = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    const PACKETS: u64 = 5000;
    for round in 0..PACKETS {
        let name = ALL[dice() % 9].0;
        let fragments = 1 + (dice() % 3 == 0) as u16;
        let mut bytes = Header::request(id(name), 1 << 32 | round, 0, fragments, 8)
            .encode()
            .to_vec();
        bytes.extend_from_slice(b"12345678");
        if dice() % 2 == 0 {
            let at = dice() % bytes.len();
            bytes[at] = dice() as u8;
        }
        caller.send_raw(&bytes);
        // No more than the socket's buffer has room for.
        if round % 100 == 99 {
            await_metric(&worker, "lnic_received_packets_total", round + 1);
            caller.forget();
        }
    }
    // The thread that has these packets has ended what came before.
    assert_eq!(caller.call(id("web"), b""), Ok(b"hello".to_vec()));
    let malformed: u64 = Malformed::ALL
        .iter()
        .map(|rule| {
            metric(
                &worker,
                &format!("lnic_dropped_packets_total{{reason=\"{}\"}}", rule.name()),
            )
        })
        .sum();
    let reached: u64 = ALL
        .iter()
        .map(|(name, _)| {
            let labels = format!("workload=\"{name}\",target=\"host\"");
            let ends: u64 = Status::ALL
                .iter()
                .map(|status| {
                    metric(
                        &worker,
                        &format!("lnic_replies_total{{{labels},status=\"{status}\"}}"),
                    )
                })
                .sum();
            let dropped = metric(&worker, &format!("lnic_dropped_requests_total{{{labels}}}"));
            let started = metric(&worker, &format!("lnic_requests_total{{{labels}}}"));
            assert_eq!(
                started,
                ends + dropped + metric(&worker, &format!("lnic_in_flight{{{labels}}}"))
            );
            started
        })
        .sum();
    assert!(malformed > 0 && reached > 0);
    assert_eq!(
        malformed + reached + metric(&worker, "lnic_no_workload_total"),
        PACKETS + 1
    );
}
