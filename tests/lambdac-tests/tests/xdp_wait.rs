//! Lambdas that wait on the NIC, with real packets between network namespaces: many at once, lost answers, answers that
//! come twice and late, requests that a driver has no room for, and code that is swapped under a wait.

mod support {
    pub mod inside;
    pub mod nic;
    pub mod service;
}

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use lambdac_tests::peers::netns::CLIENT;
use lambdac_tests::peers::{PATIENCE, until};
use lnic_wire::{Header, Kind, Status};
use support::nic::{World, net};
use support::service::{Service, source};

struct Waits {
    world: World,
    service: Service,
}

/// A worker with the workload; none where the machine can't.
fn start(timeout: &str, flags: &[&str]) -> Option<Waits> {
    start_with(&source(timeout, "failed"), flags)
}

fn start_with(source: &str, flags: &[&str]) -> Option<Waits> {
    let net = net()?;
    let service = Service::start(&net);
    let dir = tempfile::tempdir().expect("there are temporary folders");
    std::fs::write(dir.path().join("waits.lnic"), source).unwrap();
    let mut world = World::start_in(net, &[&dir.path().display().to_string()], flags)?;
    world.dir = dir;
    Some(Waits { world, service })
}

impl Waits {
    /// A value of the metrics about the NIC's requests to services.
    fn events(&self, event: &str) -> u64 {
        let labels = format!("workload=\"waits\",target=\"xdp\",event=\"{event}\"");
        self.world
            .metric(&format!("lnic_service_answers_total{{{labels}}}"))
    }

    fn dropped(&self, reason: &str) -> u64 {
        let labels = format!("target=\"xdp\",reason=\"{reason}\"");
        self.world
            .metric(&format!("lnic_dropped_packets_total{{{labels}}}"))
    }
}

#[test]
fn many_wait_at_once_and_each_gets_its_own_answer() {
    const REQUESTS: u64 = 400;
    let Some(waits) = start("60s", &[]) else { return };
    let world = &waits.world;
    let id = world.workload("waits").id;
    let wire = world.worker.wire;
    world.at_client(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(wire).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut missing = BTreeSet::new();
        for round in 0..8 {
            for number in round * REQUESTS / 8..(round + 1) * REQUESTS / 8 {
                let key = format!("key{number}");
                let header = Header::request(id, number, 0, 1, key.len() as u16);
                socket
                    .send(&[&header.encode()[..], key.as_bytes()].concat())
                    .unwrap();
                missing.insert(number);
            }
            while !missing.is_empty() {
                let mut buffer = [0; 2048];
                let len = socket.recv(&mut buffer).unwrap();
                let (header, payload) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
                assert_eq!(header.status, Status::Ok);
                let key = format!("key{}", header.request);
                let value: String = key.chars().rev().collect();
                assert_eq!(payload, format!("{key}/{value}").as_bytes());
                assert!(missing.remove(&header.request), "{} twice", header.request);
            }
        }
    });
    assert_eq!(
        (waits.events("sent"), waits.events("answered")),
        (REQUESTS, REQUESTS)
    );
    assert_eq!(waits.events("timed_out"), 0);
    until("the second answers were dropped", || {
        waits.dropped("answer_unasked") == REQUESTS
    });
    assert_eq!(world.requests("waits", "xdp"), REQUESTS);
    assert_eq!(world.requests("waits", "host"), 0);
}

#[test]
fn a_lost_answer_is_a_failure_after_the_timeout() {
    let Some(waits) = start("1s", &[]) else { return };
    let world = &waits.world;
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    waits.service.silent.store(true, SeqCst);
    for round in 1..=2 {
        let begin = Instant::now();
        assert_eq!(world.ask("waits", b"key"), b"key/failed");
        assert!(begin.elapsed() >= Duration::from_secs(1));
        assert_eq!(waits.events("timed_out"), round);
    }
    waits.service.silent.store(false, SeqCst);
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    // Nobody is asked for a key that is no key.
    let asked = waits.service.asked.load(SeqCst);
    assert_eq!(world.ask("waits", b"k y"), b"k y/failed");
    assert_eq!(waits.service.asked.load(SeqCst), asked);
    // By HTTP, the worker's own client asks for the NIC's lambda.
    let call = |key: &[u8]| {
        let answer = world.fetch("POST", "/function/waits", key);
        let target = answer.header("x-lambda-target").unwrap_or_default().to_owned();
        (answer.text(), target)
    };
    assert_eq!(call(b"abc"), ("abc/cba".to_owned(), "xdp".to_owned()));
    waits.service.silent.store(true, SeqCst);
    assert_eq!(call(b"abc"), ("abc/failed".to_owned(), "xdp".to_owned()));
    let state = world.fetch("GET", "/system/state/waits", b"").json();
    assert_eq!(state["asked"], 7);
}

/// A short request with which much is stored.
fn stores() -> String {
    format!(
        "workload waits;
service cache = memcached(\"{CLIENT}:11211\", timeout = 60s);
state asked: counter;
lambda waits(req: [u8; 1]) -> bytes<8> {{
    asked.add(1);
    let mut value: bytes<256>;
    for i in 0..req[0] max 255 {{
        value.push(i as u8);
    }}
    let stored = await cache.set(b\"key\", value) else {{
        reply b\"failed\";
    }};
    reply if stored {{ b\"stored\" }} else {{ b\"not\" }};
}}
"
    )
}

#[test]
fn requests_that_the_driver_has_no_room_for_leave_all_the_same() {
    let Some(waits) = start_with(&stores(), &[]) else {
        return;
    };
    let lens = [0, 1, 100, 140, 180, 220, 255];
    for len in lens {
        assert_eq!(waits.world.ask("waits", &[len]), b"stored", "{len}");
    }
    let lens = lens.len() as u64;
    assert_eq!((waits.events("sent"), waits.events("answered")), (lens, lens));
    assert_eq!(waits.world.requests("waits", "host"), 0);
    let asked = waits.world.fetch("GET", "/system/state/waits/asked", b"").json();
    assert_eq!(asked, lens);
}

#[test]
fn an_answer_after_a_swap_finds_what_waits_for_it() {
    let Some(waits) = start("60s", &["--watch"]) else {
        return;
    };
    let world = &waits.world;
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    waits.service.silent.store(true, SeqCst);
    let before = waits.service.asked.load(SeqCst);
    std::thread::scope(|scope| {
        let old = scope.spawn(|| world.ask("waits", b"old"));
        until("the service was asked", || {
            waits.service.asked.load(SeqCst) > before
        });
        for (round, failed) in ["changed", "again"].into_iter().enumerate() {
            let file = world.dir.path().join("waits.lnic");
            std::fs::write(file, source("100ms", failed)).unwrap();
            until("the image was swapped", || {
                world.worker.log().matches("swapped").count() > round
            });
            assert_eq!(world.ask("waits", b"new"), format!("new/{failed}").as_bytes());
        }
        waits.service.silent.store(false, SeqCst);
        assert_eq!(old.join().unwrap(), b"old/dlo");
    });
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
}

#[test]
fn what_waits_ends_in_the_code_that_it_began_in() {
    // It has to wait through a swap, and then for what is left.
    let Some(waits) = start("10s", &["--watch"]) else {
        return;
    };
    let world = &waits.world;
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    waits.service.silent.store(true, SeqCst);
    let before = waits.service.asked.load(SeqCst);
    std::thread::scope(|scope| {
        let old = scope.spawn(|| world.ask("waits", b"old"));
        until("the service was asked", || {
            waits.service.asked.load(SeqCst) > before
        });
        let file = world.dir.path().join("waits.lnic");
        std::fs::write(file, source("100ms", "changed")).unwrap();
        world.worker.until_log("swapped");
        assert_eq!(world.ask("waits", b"new"), b"new/changed");
        assert!(!old.is_finished(), "the new code came too late for this test");
        assert_eq!(old.join().unwrap(), b"old/failed");
    });
    waits.service.silent.store(false, SeqCst);
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    let state = world.fetch("GET", "/system/state/waits", b"").json();
    assert!(state["asked"].as_u64() >= Some(4), "{state}");
}
