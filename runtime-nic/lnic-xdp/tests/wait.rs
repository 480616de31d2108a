//! Lambdas that wait for services, on programs in the kernel: hostile answers, lost ones, too many, and answers that
//! race with their timeouts.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Barrier};

use lambdac_backend_ebpf::abi::{self, Ended, Wire, wait};
use lambdac_backend_ebpf::{Options, Workload, compile, packet};
use lambdac_driver::{Input, compile as compile_workload};
use lnic_wire::{Header, Status};
use lnic_xdp::frame::{self, Endpoint};
use lnic_xdp::wait::{Asked, fill, run_answer, run_expire};
use lnic_xdp::{Action, Image, LoadOptions, TestRun, probe};

const WORKER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: Ipv4Addr::new(192, 0, 2, 1),
    port: 4369,
};
const CALLER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 1],
    address: Ipv4Addr::new(10, 0, 0, 7),
    port: 999,
};
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 11211);
const PORTS: wait::Ports = wait::Ports {
    first: 40_000,
    count: 64,
};
const ID: u32 = 0x0007_0001;

/// Replies with the value and what was there before it was asked for, so that a mix-up shows.
const SOURCE: &str = "workload w;
service cache = memcached(\"192.0.2.9:11211\", timeout = 5ms);
state asked: u64;
lambda get(key: bytes<16>) -> bytes<1100> {
    let number = asked.fetch_add(1);
    let mut out: bytes<1100>;
    out.append(key);
    out.push(b'/');
    let value = await cache.get(key) else {
        out.append(if cache.failed() { b\"failed\" } else { b\"missing\" });
        reply out;
    };
    out.append(value);
    if number > 1_000_000 { drop; }
    reply out;
}";

/// The workload, loaded; none where the machine can't.
fn load() -> Option<Image> {
    if let Err(missing) = probe::check() {
        eprintln!("skipped: {missing}");
        return None;
    }
    let compiled = compile_workload(&Input::new("w.lnic", SOURCE)).unwrap_or_else(|error| panic!("{error}"));
    let workload = Workload {
        id: ID,
        module: &compiled.module,
        native: vec![true],
    };
    let object = compile(&[workload], &Options::default()).expect("there is code for all of it");
    let config = abi::Config {
        on: true,
        mac: WORKER.mac,
        address: WORKER.address,
        port: WORKER.port,
        broadcast: None,
    };
    let options = LoadOptions {
        sections: [
            (abi::CONFIG.to_owned(), config.encode().to_vec()),
            (wait::PORTS.to_owned(), PORTS.encode().to_vec()),
        ]
        .into(),
        ..LoadOptions::default()
    };
    let elf = object.to_elf().expect("the object can be written");
    let image = Image::load(&elf, &options).unwrap_or_else(|error| panic!("{error}"));
    let program = image.program(&abi::workload_program("w")).expect("it has one");
    let programs = image.map(abi::PROGRAMS).expect("every image has it");
    programs.set_program(0, program).expect("it fits");
    let trusted = image.map(abi::TRUSTED).expect("every image has it");
    let all = abi::trusted_key(Ipv4Addr::UNSPECIFIED, 0);
    trusted.update(&all, &1u32.to_ne_bytes()).expect("there is room");
    fill(&image, &["w"]).expect("they fit");
    Some(image)
}

/// A request's frame.
fn request(number: u64, key: &[u8]) -> Vec<u8> {
    let header = Header::request(ID, number, 0, 1, key.len() as u16);
    frame::request(CALLER, WORKER, &header, key, 0)
}

fn run(image: &Image, sent: &[u8]) -> TestRun {
    run_answer(image, sent).expect("the kernel runs it")
}

/// Sends a request that must wait; gives what it asked.
fn ask(image: &Image, number: u64, key: &[u8]) -> Asked {
    let run = run(image, &request(number, key));
    assert_eq!(run.action, Action::Tx);
    let asked = Asked::read(&run.packet).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((asked.service(), &asked.command.key[..]), (SERVICE, key));
    assert!((PORTS.first..PORTS.first + PORTS.count).contains(&asked.from.port));
    asked
}

fn value(key: &[u8], value: &[u8]) -> Vec<u8> {
    let head = format!("VALUE {} 0 {}\r\n", key.escape_ascii(), value.len());
    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

/// The payload of the reply to a request.
fn reply(number: u64, key: &[u8], run: &TestRun) -> Vec<u8> {
    assert_eq!(run.action, Action::Tx);
    let reply = frame::reply(&request(number, key), &run.packet);
    let (header, payload) = reply.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(header.status, Status::Ok);
    payload.to_vec()
}

fn count(image: &Image, key: u32, slot: u32) -> u64 {
    let counters = image.map(abi::COUNTERS).expect("every image has it");
    let bytes = counters.lookup(&key.to_ne_bytes()).expect("it can be read");
    let bytes = bytes.expect("an array has all keys");
    let words = bytes.chunks_exact(8).skip(slot as usize);
    words
        .step_by(abi::COUNTER_SLOTS as usize)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")))
        .sum()
}

fn dropped(image: &Image, why: Wire) -> u64 {
    count(image, 0, why.slot())
}

fn own(image: &Image, what: Ended) -> u64 {
    count(image, abi::counter_key(0), what.slot())
}

/// An answer that is not ours to take: how it differs from the right one.
type Hostile = (&'static str, Wire, fn(&Asked) -> Vec<u8>);

const HOSTILE: &[Hostile] = &[
    ("another address", Wire::AnswerWrongPeer, |asked| {
        let mut from = asked.to;
        from.address = Ipv4Addr::new(192, 0, 2, 10);
        frame::udp(from, asked.from, &datagram(asked.id, 0, 1, &right(asked)))
    }),
    ("another port of the service's", Wire::AnswerWrongPeer, |asked| {
        let mut from = asked.to;
        from.port ^= 1;
        frame::udp(from, asked.from, &datagram(asked.id, 0, 1, &right(asked)))
    }),
    ("another port of ours", Wire::AnswerUnasked, |asked| {
        let mut to = asked.from;
        to.port = PORTS.first + (to.port - PORTS.first + 1) % PORTS.count;
        frame::udp(asked.to, to, &datagram(asked.id, 0, 1, &right(asked)))
    }),
    ("another id of the same slot", Wire::AnswerUnasked, |asked| {
        asked.answer_as(asked.id ^ 0x8000, &right(asked))
    }),
    ("another slot", Wire::AnswerUnasked, |asked| {
        asked.answer_as(asked.id ^ 1, &right(asked))
    }),
    ("another key", Wire::AnswerWrongKey, |asked| {
        asked.answer(&value(b"kez", b"evil"))
    }),
    ("a longer key", Wire::AnswerWrongKey, |asked| {
        asked.answer(&value(b"keyy", b"evil"))
    }),
    ("another command's answer", Wire::AnswerMalformed, |asked| {
        asked.answer(b"STORED\r\n")
    }),
    ("no text", Wire::AnswerMalformed, |asked| asked.answer(b"")),
    ("half a value", Wire::AnswerMalformed, |asked| {
        asked.answer(b"VALUE key 0 5\r\nev")
    }),
    ("more than a value", Wire::AnswerMalformed, |asked| {
        asked.answer(&[&right(asked)[..], b"x"].concat())
    }),
    ("a text that is too long", Wire::AnswerMalformed, |asked| {
        asked.answer(&[b'x'; 1537])
    }),
    ("half a frame header", Wire::AnswerMalformed, |asked| {
        frame::udp(asked.to, asked.from, &[0; 7])
    }),
    ("a datagram past the last", Wire::AnswerMalformed, |asked| {
        frame::udp(asked.to, asked.from, &datagram(asked.id, 1, 1, &right(asked)))
    }),
    ("the first of two datagrams", Wire::AnswerPart, |asked| {
        frame::udp(asked.to, asked.from, &datagram(asked.id, 0, 2, &right(asked)))
    }),
    ("the second of two datagrams", Wire::AnswerPart, |asked| {
        frame::udp(asked.to, asked.from, &datagram(asked.id, 1, 2, b"END\r\n"))
    }),
];

fn right(asked: &Asked) -> Vec<u8> {
    value(&asked.command.key, b"value")
}

fn datagram(id: u16, sequence: u16, total: u16, text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, sequence, total, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(text);
    bytes
}

#[test]
fn only_the_right_answer_is_taken_and_only_once() {
    let Some(image) = load() else { return };
    let asked = ask(&image, 1, b"key");
    for (what, why, make) in HOSTILE {
        let before = dropped(&image, *why);
        let run = run(&image, &make(&asked));
        assert_eq!(run.action, Action::Drop, "{what}");
        assert_eq!(dropped(&image, *why), before + 1, "{what}: {why:?}");
    }
    let answer = asked.answer(&right(&asked));
    assert_eq!(reply(1, b"key", &run(&image, &answer)), b"key/value");
    let before = dropped(&image, Wire::AnswerUnasked);
    assert_eq!(run(&image, &answer).action, Action::Drop, "again");
    assert_eq!(dropped(&image, Wire::AnswerUnasked), before + 1);
    let late = run_expire(&image, asked.id).expect("the kernel runs it");
    assert_eq!(late.action, Action::Drop, "a timeout after the answer");
    assert_eq!(own(&image, Ended::ServiceAnswered), 1);
    assert_eq!(own(&image, Ended::ServiceTimedOut), 0);
}

#[test]
fn every_kind_of_answer_ends_the_wait() {
    let Some(image) = load() else { return };
    let long = [b'x'; 1024];
    let cases: &[(&[u8], &[u8])] = &[
        (&value(b"key", b""), b""),
        (&value(b"key", &long), &long),
        (
            b"VALUE key 4294967295 5 12345678901234567890\r\nEND\r\n\r\nEND\r\n",
            b"END\r\n",
        ),
        (b"VALUE key 0 1025\r\n", b"failed"),
        (b"END\r\n", b"missing"),
        (b"ERROR\r\n", b"failed"),
        (b"SERVER_ERROR out of memory\r\n", b"failed"),
        (b"CLIENT_ERROR bad\r\n", b"failed"),
    ];
    for (number, (text, expected)) in (1..).zip(cases) {
        let asked = ask(&image, number, b"key");
        let got = reply(number, b"key", &run(&image, &asked.answer(text)));
        assert_eq!(got, [b"key/", *expected].concat(), "{}", text.escape_ascii());
    }
    // The first datagram of a value over the limit proves it.
    let asked = ask(&image, 100, b"key");
    let first = datagram(asked.id, 0, 3, b"VALUE key 0 4000\r\nxxx");
    let run = run(&image, &frame::udp(asked.to, asked.from, &first));
    assert_eq!(reply(100, b"key", &run), b"key/failed");
}

#[test]
fn a_timeout_ends_the_wait_and_then_an_answer_is_late() {
    let Some(image) = load() else { return };
    let asked = ask(&image, 1, b"key");
    let ended = run_expire(&image, asked.id).expect("the kernel runs it");
    assert_eq!(reply(1, b"key", &ended), b"key/failed");
    let again = run_expire(&image, asked.id).expect("the kernel runs it");
    assert_eq!(again.action, Action::Drop, "a second timeout");
    let late = run(&image, &asked.answer(&right(&asked)));
    assert_eq!(late.action, Action::Drop);
    assert_eq!(own(&image, Ended::ServiceTimedOut), 1);
}

#[test]
fn where_no_slot_is_free_the_await_fails_and_the_others_go_on() {
    let Some(image) = load() else { return };
    let slots = image.map(wait::WAITS).expect("it waits").def().max_entries as usize;
    let mut waiting = Vec::new();
    let mut failed = 0;
    for number in 0..3 * slots as u64 {
        let key = format!("k{number}");
        let run = run(&image, &request(number, key.as_bytes()));
        assert_eq!(run.action, Action::Tx);
        if run.packet[packet::IP_DESTINATION as usize..].starts_with(&SERVICE.ip().octets()) {
            let asked = Asked::read(&run.packet).unwrap_or_else(|error| panic!("{error}"));
            waiting.push((number, asked));
        } else {
            let payload = reply(number, key.as_bytes(), &run);
            assert_eq!(payload, [key.as_bytes(), b"/failed"].concat());
            failed += 1;
        }
    }
    assert!(waiting.len() <= slots);
    // 16 tries miss the last free tenth of the slots less than once in five.
    assert!(waiting.len() > slots * 9 / 10, "{} wait", waiting.len());
    assert_eq!(own(&image, Ended::UnsentSlots), failed);
    for (number, asked) in &waiting {
        let run = run(&image, &asked.answer(&right(asked)));
        assert_eq!(
            reply(*number, &asked.command.key, &run),
            [&asked.command.key[..], b"/value"].concat()
        );
    }
    ask(&image, u64::MAX, b"free-again");
}

#[test]
fn of_an_answer_and_a_timeout_at_once_one_wins() {
    const ROUNDS: u64 = 500;
    let Some(image) = load() else { return };
    let image = Arc::new(image);
    let mut answered = 0;
    for number in 0..ROUNDS {
        let asked = ask(&image, number, b"key");
        let start = Arc::new(Barrier::new(2));
        let (other, asks, begin) = (image.clone(), asked.clone(), start.clone());
        let timeout = std::thread::spawn(move || {
            begin.wait();
            run_expire(&other, asks.id).expect("the kernel runs it")
        });
        start.wait();
        let answer = run(&image, &asked.answer(&right(&asked)));
        let timeout = timeout.join().expect("it does not panic");
        let (won, payload) = match (answer.action, timeout.action) {
            (Action::Tx, Action::Drop) => (answer, &b"key/value"[..]),
            (Action::Drop, Action::Tx) => (timeout, &b"key/failed"[..]),
            both => panic!("round {number}: {both:?}"),
        };
        assert_eq!(reply(number, b"key", &won), payload);
        answered += u64::from(payload == b"key/value");
    }
    assert_eq!(own(&image, Ended::ServiceAnswered), answered);
    assert_eq!(own(&image, Ended::ServiceTimedOut), ROUNDS - answered);
}

#[test]
fn keys_that_may_not_be_sent_are_not() {
    let Some(image) = load() else { return };
    for key in [
        &b""[..],
        b"a b",
        b"x\r\nflush_all",
        b"12345678\x7f",
        b"1234567\x20",
        b"\x80\x01",
    ] {
        let run = run(&image, &request(1, key));
        assert_eq!(
            reply(1, key, &run),
            [key, b"/failed"].concat(),
            "{}",
            key.escape_ascii()
        );
    }
    assert_eq!(own(&image, Ended::UnsentKey), 6);
    assert_eq!(own(&image, Ended::ServiceSent), 0);
    for key in [&b"\x80\xff!~"[..], b"1234567\x80", b"12345678\x21\x7e"] {
        ask(&image, 1, key);
    }
}
