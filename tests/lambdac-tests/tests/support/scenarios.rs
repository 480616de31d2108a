//! What a worker with a NIC in front must do whatever the NIC is: the same packets to each of them.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use lambdac_tests::peers::netns::Side;
use lambdac_tests::peers::{PATIENCE, until};
use lnic_wire::{Header, Kind, Status};

use super::inside::inside;
use super::nic::{World, once};

/// Three workloads: one on the NIC, one on the host, one that hands what is too hard for it to the host.
pub const BOTH: [(&str, &str); 3] = [
    (
        "native",
        "workload native;
state seen: counter;
lambda native(req: bytes<16>) -> bytes<32> { seen.add(1); reply b\"nic\"; }
",
    ),
    (
        "hosted",
        "workload hosted;
state seen: counter;
@on(host)
lambda hosted(req: bytes<16>) -> bytes<32> { seen.add(1); reply b\"host\"; }
",
    ),
    (
        "punting",
        "workload punting;
state easy: counter;
state hard: counter;
lambda small(req: bytes<16>) -> bytes<32> {
    if req.len() > 4 { punt big; }
    if req == b\"none\" { punt; }
    if req == b\"drop\" { drop; }
    easy.add(1);
    reply b\"small\";
}
lambda big(req: bytes<16>) -> bytes<32> { hard.add(1); reply b\"big\"; }
match (req: bytes<16>) { _ => small, }
",
    ),
];

/// Writes sources into a folder; the folder, as an argument.
pub fn write_all(dir: &Path, sources: &[(&str, &str)]) -> String {
    for (name, text) in sources {
        std::fs::write(dir.join(format!("{name}.lnic")), text).expect("a temporary folder takes files");
    }
    dir.display().to_string()
}

/// Nic and host answer one socket from one address, and each is counted by who answered.
pub fn one_socket(target: &str, start: impl FnOnce(&str) -> Option<World>) {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH);
    let Some(world) = start(&sources) else { return };
    let names = ["native", "hosted", "punting"];
    let ids = names.map(|name| world.workload(name).id);
    let cases: [(usize, &[u8], Status, &[u8]); 6] = [
        (0, b"a", Status::Ok, b"nic"),
        (1, b"a", Status::Ok, b"host"),
        (2, b"a", Status::Ok, b"small"),
        (2, b"a longer one", Status::Ok, b"big"),
        (2, b"none", Status::Punted, b""),
        (0, b"more than sixteen bytes", Status::BadRequest, b""),
    ];
    let wire = world.worker.wire;
    world.at_client(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Replies from any other address or port would not arrive.
        socket.connect(wire).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for round in 0..20u64 {
            for (number, (workload, request, status, reply)) in (0u64..).zip(&cases) {
                let header = Header::request(ids[*workload], round << 8 | number, 0, 1, request.len() as u16);
                socket.send(&[&header.encode()[..], request].concat()).unwrap();
                let mut buffer = [0; 2048];
                let len = socket.recv(&mut buffer).unwrap();
                let (got, payload) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
                assert_eq!(
                    (got.request, got.status),
                    (header.request, *status),
                    "{request:?}"
                );
                assert_eq!(payload, *reply);
            }
        }
        let header = Header::request(ids[2], 1 << 40, 0, 1, 4);
        socket.send(&[&header.encode()[..], b"drop"].concat()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err(), "`drop` was answered");
    });
    let labels = format!("{{workload=\"punting\",target=\"{target}\"}}");
    until("what was dropped is counted", || {
        world.metric(&format!("lnic_dropped_requests_total{labels}")) == 1
    });
    let state = |name: &str| world.fetch("GET", &format!("/system/state/{name}"), b"").json();
    assert_eq!(state("native")["seen"], 20);
    assert_eq!(state("hosted")["seen"], 20);
    assert_eq!(
        (&state("punting")["easy"], &state("punting")["hard"]),
        (&20.into(), &20.into())
    );
    assert_eq!(
        (world.requests("native", target), world.requests("native", "host")),
        (40, 0)
    );
    assert_eq!(
        (world.requests("hosted", target), world.requests("hosted", "host")),
        (0, 20)
    );
    // Twenty small ones, forty punts, one drop; of these the host took the punts.
    assert_eq!(
        (
            world.requests("punting", target),
            world.requests("punting", "host")
        ),
        (61, 40)
    );
    assert_eq!(world.metric(&format!("lnic_punted_requests_total{labels}")), 40);
}

/// State on the NIC beside a lambda of the host's; requests say by their first byte whose they are.
const MIXED: &str = "workload mixed;
state seen: counter;
lambda native(req: [u8; 1]) -> bytes<8> { seen.add(1); reply b\"nic\"; }
@on(host)
lambda hosted(req: [u8; 1]) -> bytes<8> { reply b\"host\"; }
match (req: [u8; 1]) { req[0] == 0 => hosted, _ => native, }
";

/// What the NIC passes up it is not asked for again: each request is counted once on every side that it came to.
pub fn passed_once(target: &str, start: impl FnOnce(&str) -> Option<World>) {
    const EACH: u64 = 10;
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &[("mixed", MIXED)]);
    let Some(world) = start(&sources) else { return };
    for _ in 0..EACH {
        assert_eq!(world.ask("mixed", &[0]), b"host");
        assert_eq!(world.ask("mixed", &[1]), b"nic");
    }
    let passed = || {
        let labels = format!("{{workload=\"mixed\",target=\"{target}\"}}");
        world.metric(&format!("lnic_passed_requests_total{labels}"))
    };
    assert_eq!(passed(), EACH);
    let requests = || (world.requests("mixed", target), world.requests("mixed", "host"));
    assert_eq!(requests(), (EACH, EACH));
    // Over HTTP the host finds out whose it is, and passes nothing up.
    for (first, text, by) in [(0, "host", "host"), (1, "nic", target)] {
        let answer = world.fetch("POST", "/function/mixed", &[first]);
        assert_eq!(
            (&*answer.text(), answer.header("x-lambda-target")),
            (text, Some(by))
        );
    }
    assert_eq!(passed(), EACH);
    assert_eq!(requests(), (EACH + 1, EACH + 1));
    let state = world.fetch("GET", "/system/state/mixed", b"").json();
    assert_eq!(state["seen"], EACH + 1);
}

/// HTTP and the wire see one state.
pub fn one_state(target: &str, start: impl FnOnce(&str) -> Option<World>) {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH);
    let Some(world) = start(&sources) else { return };
    let call = |name: &str, body: &[u8]| {
        let answer = world.fetch("POST", &format!("/function/{name}"), body);
        let target = answer.header("x-lambda-target").unwrap_or_default().to_owned();
        (answer.status, answer.text(), target)
    };
    let said = |status, text: &str, target: &str| (status, text.to_owned(), target.to_owned());
    assert_eq!(world.ask("native", b"a"), b"nic");
    assert_eq!(call("native", b"a"), said(200, "nic", target));
    assert_eq!(call("hosted", b"a"), said(200, "host", "host"));
    assert_eq!(call("punting", b"a"), said(200, "small", target));
    assert_eq!(call("punting", b"a longer one"), said(200, "big", "host"));
    assert_eq!(call("punting", b"drop"), said(204, "", target));
    assert_eq!(call("native", b"more than sixteen bytes").0, 400);
    assert_eq!(call("punting", b"none").0, 502);
    // Each is counted once, by who ran it. The one of the wrong length got to nobody.
    assert_eq!(
        (world.requests("native", target), world.requests("native", "host")),
        (2, 1)
    );
    assert_eq!(
        (world.requests("hosted", target), world.requests("hosted", "host")),
        (0, 1)
    );
    let state = |name: &str| world.fetch("GET", &format!("/system/state/{name}"), b"").json();
    assert_eq!(state("native")["seen"], 2);
    assert_eq!(
        (&state("punting")["easy"], &state("punting")["hard"]),
        (&1.into(), &1.into())
    );
    // From the worker's own namespace the packets never meet the NIC; the state is still the NIC's.
    let wire = world.worker.wire;
    let workload = world.workload("native");
    let reply = inside(&world.net, Side::Worker, || {
        lnic_client::invoke(wire, &workload, b"a", &once()).map(|reply| reply.payload)
    });
    assert_eq!(reply.unwrap(), b"nic");
    assert_eq!(state("native")["seen"], 3);
}

const NUMBERS: &str = "workload numbers;
table words: exact<u8, u32>(16) { 1 => 10, 2 => 20, }
table nets: lpm<u32, u32>(16) { 10.0.0.0/8 => 1, }
lambda numbers(req: [u8; 1]) -> [u32; 1] {
    let word = words.get(req[0]) else { reply [0]; };
    let net = nets.get(10.77.0.1) else { reply [word]; };
    reply [word * 10 + net];
}
";

/// Tables are changed on both sides.
pub fn tables(start: impl FnOnce(&str) -> Option<World>) {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &[("numbers", NUMBERS)]);
    let Some(world) = start(&sources) else { return };
    let ask = |key: u8| u32::from_be_bytes(world.ask("numbers", &[key]).try_into().unwrap());
    assert_eq!([1, 2, 3].map(ask), [101, 201, 0]);
    let put = |table: &str, entries: &str| {
        let path = format!("/system/tables/numbers.{table}");
        let answer = world.fetch("PUT", &path, entries.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    put("words", r#"[{"key": 2, "value": 21}, {"key": 3, "value": 30}]"#);
    assert_eq!([1, 2, 3].map(ask), [0, 211, 301]);
    put(
        "nets",
        r#"[{"key": "10.77.0.0/16", "value": 7}, {"key": "0.0.0.0/0", "value": 9}]"#,
    );
    assert_eq!(ask(2), 217);
    let gone = world.fetch("DELETE", "/system/tables/numbers.words", b"[2]");
    assert_eq!((gone.status, ask(2), ask(3)), (204, 0, 307));
    let list = world.fetch("GET", "/system/tables/numbers.words", b"").json();
    assert_eq!(list, serde_json::json!([{"key": 3, "value": 30}]));
    let refused = world.fetch(
        "PUT",
        "/system/tables/numbers.words",
        br#"[{"key": 300, "value": 1}]"#,
    );
    assert_eq!((refused.status, ask(3)), (400, 307));
    assert_eq!(world.requests("numbers", "host"), 0);
}
