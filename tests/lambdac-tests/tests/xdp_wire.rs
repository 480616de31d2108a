//! The rules of the wire on the NIC, with packets that break them: what goes up the stack untouched, what is dropped, and
//! the counter of each reason. That replies are right to the last byte of their headers. And that a path which loses,
//! repeats and reorders packets is made up for: every caller that asks again gets its reply, a request runs at least once,
//! and no reply belongs to another request.

mod support {
    pub mod impaired;
    pub mod inside;
    pub mod nic;
    pub mod raw;
}

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use lambdac_tests::peers::netns::{CLIENT, Side, WORKER};
use lambdac_tests::peers::{PATIENCE, has, until};
use lnic_client::{InvokeOptions, Workload};
use lnic_wire::{Header, Kind, Status};
use lnic_xdp::frame::{self, Endpoint};
use support::impaired::Relay;
use support::nic::{World, net};
use support::raw::{Raw, capture, sum};

const IP: usize = 14;
const UDP: usize = 34;
const LAMBDA: usize = 42;

/// Two workloads: one takes a packet, one a stream.
const SOURCES: [(&str, &str); 2] = [
    (
        "short",
        "workload short;\nlambda short(req: bytes<600>) -> bytes<1344> { reply req; }\n",
    ),
    (
        "rows",
        "workload rows;\nstream lambda rows(row: [u8; 8]) -> [u8; 8] { reply row; }\n",
    ),
];

/// Replies with as many bytes as the request says.
const GROWS: &str = "workload grows;
state seen: counter;
lambda grows(req: [u16; 1]) -> bytes<1344> {
    seen.add(1);
    let mut out: bytes<1344>;
    for i in 0..req[0] max 1344 {
        out.push(i as u8);
    }
    reply out;
}
";

/// A client with a socket for whole frames.
struct Lab {
    world: World,
    raw: Raw,
    caller: Endpoint,
    worker: Endpoint,
    short: u32,
    rows: u32,
}

impl Lab {
    fn open() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in SOURCES {
            std::fs::write(dir.path().join(format!("{name}.lnic")), text).unwrap();
        }
        let world = net().and_then(|net| World::start_in(net, &[&dir.path().display().to_string()], &[]))?;
        let mac = |side| world.net.hardware_address(side, "eth0").unwrap();
        let caller = Endpoint {
            mac: mac(Side::Client),
            address: CLIENT.parse().unwrap(),
            port: 5000,
        };
        let worker = Endpoint {
            mac: mac(Side::Worker),
            address: WORKER.parse().unwrap(),
            port: world.worker.wire.port(),
        };
        let raw = world.at_client(|| Raw::open("eth0")).unwrap();
        Some(Self {
            short: world.workload("short").id,
            rows: world.workload("rows").id,
            world,
            raw,
            caller,
            worker,
        })
    }

    fn request(&self, header: &Header, payload: &[u8]) -> Vec<u8> {
        frame::request(self.caller, self.worker, header, payload, 0)
    }

    /// A right request.
    fn right(&self) -> Vec<u8> {
        self.request(&Header::request(self.short, 1, 0, 1, 3), b"abc")
    }

    /// The reply to a request, by its number.
    fn reply(&self, request: u64) -> Option<Vec<u8>> {
        self.raw.find(PATIENCE, |frame| {
            let header = frame
                .get(LAMBDA..)
                .map(|datagram| Header::decode(datagram, Kind::Reply));
            frame[..6] == self.caller.mac
                && matches!(header, Some(Ok((header, _))) if header.request == request)
        })
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let text = self.world.fetch("GET", "/metrics", b"").text();
        let lines = text
            .lines()
            .filter(|line| line.contains("target=\"xdp\",reason="));
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            let reason = name.split("reason=\"").nth(1)?.split('"').next()?;
            let end = if name.starts_with("lnic_dropped") {
                "dropped"
            } else {
                "passed"
            };
            Some((format!("{end} {reason}"), value.parse().ok()?))
        };
        lines.filter_map(pair).collect()
    }
}

/// Reasons that other packets have too: the test's own TCP, address resolution, neighbour discovery.
const NOISE: [&str; 3] = ["passed not_ours", "passed not_ipv4", "passed ipv6"];

fn put16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Makes the IPv4 header's checksum right again.
fn sign(frame: &mut [u8]) {
    let len = usize::from(frame[IP] & 15) * 4;
    put16(frame, IP + 10, 0);
    let checksum = !sum(&frame[IP..IP + len]);
    put16(frame, IP + 10, checksum);
}

/// A right request, changed, with a checksum that fits.
fn changed(lab: &Lab, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = lab.right();
    change(&mut frame);
    sign(&mut frame);
    frame
}

fn from(lab: &Lab, source: [u8; 4]) -> Vec<u8> {
    changed(lab, |frame| frame[IP + 12..IP + 16].copy_from_slice(&source))
}

/// Packets that no program answers, with the counter that each belongs to.
fn broken(lab: &Lab) -> Vec<(&'static str, Vec<u8>)> {
    let lambda = |at: usize, value: u8| changed(lab, |frame| frame[LAMBDA + at] = value);
    let of = |header: Header, payload: &[u8]| lab.request(&header, payload);
    vec![
        ("passed not_ours", changed(lab, |frame| frame[5] ^= 1)),
        ("passed not_ours", changed(lab, |frame| frame[IP + 19] ^= 1)),
        ("passed not_ours", changed(lab, |frame| frame[UDP + 3] ^= 1)),
        ("passed not_ours", changed(lab, |frame| frame[IP + 9] = 6)),
        ("passed ipv6", changed(lab, |frame| put16(frame, 12, 0x86dd))),
        ("passed not_ipv4", changed(lab, |frame| put16(frame, 12, 0x1234))),
        ("passed vlan", {
            let mut frame = lab.right();
            frame.splice(12..12, [0x81, 0, 0, 5]);
            frame
        }),
        (
            "passed truncated",
            changed(lab, |frame| put16(frame, IP + 2, 200)),
        ),
        ("passed truncated", lab.right()[..40].to_vec()),
        ("passed length", changed(lab, |frame| put16(frame, UDP + 4, 200))),
        ("passed ip_checksum", {
            let mut frame = lab.right();
            frame[IP + 10] ^= 1;
            frame
        }),
        ("dropped source", from(lab, [0, 1, 2, 3])),
        ("dropped source", from(lab, [127, 0, 0, 1])),
        ("dropped source", from(lab, [224, 0, 0, 1])),
        ("dropped source", from(lab, [255, 255, 255, 255])),
        ("dropped source", from(lab, [10, 77, 0, 255])),
        ("dropped source", from(lab, lab.worker.address.octets())),
        ("dropped short", {
            let mut frame = lab.right();
            frame.truncate(LAMBDA + 23);
            put16(&mut frame, IP + 2, 20 + 8 + 23);
            put16(&mut frame, UDP + 4, 8 + 23);
            sign(&mut frame);
            frame
        }),
        ("dropped magic", lambda(0, 0xcc)),
        ("dropped version", lambda(2, 2)),
        ("dropped kind", lambda(3, 1)),
        ("dropped kind", lambda(3, 7)),
        ("dropped flag", lambda(23, 0x80)),
        ("dropped no_fragments", lambda(19, 0)),
        ("dropped fragment_index", lambda(17, 1)),
        ("dropped length_beyond_datagram", lambda(21, 4)),
        (
            "dropped length_over_fragment",
            of(Header::request(lab.short, 1, 0, 1, 1345), &[0; 1345]),
        ),
        (
            "dropped empty_fragment",
            of(Header::request(lab.short, 1, 0, 2, 0), b""),
        ),
        (
            "dropped short_middle",
            of(Header::request(lab.rows, 1, 0, 2, 8), &[0; 8]),
        ),
    ]
}

#[test]
fn every_rule_of_the_wire_has_its_counter() {
    let Some(lab) = Lab::open() else { return };
    for (at, (reason, frame)) in broken(&lab).into_iter().enumerate() {
        let before = lab.counters();
        lab.raw.send(&frame).unwrap();
        let value = |counters: &[(String, u64)]| counters.iter().find(|(name, _)| name == reason).unwrap().1;
        let mut after = lab.counters();
        until(&format!("packet {at} is counted as {reason}"), || {
            after = lab.counters();
            value(&after) > value(&before)
        });
        for ((name, old), (_, new)) in before.iter().zip(&after) {
            if !NOISE.contains(&name.as_str()) {
                let expected = old + u64::from(name == reason);
                assert_eq!(*new, expected, "packet {at} of {reason} counted as {name}");
            }
        }
    }
    assert_eq!(
        (
            lab.world.requests("short", "xdp"),
            lab.world.requests("short", "host")
        ),
        (0, 0)
    );
}

/// Cuts the IPv4 packet of a frame into two fragments.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let cut = UDP + 16;
    let (mut first, mut second) = (frame[..cut].to_vec(), frame[..UDP].to_vec());
    second.extend_from_slice(&frame[cut..]);
    for (part, field) in [(&mut first, 0x2000), (&mut second, 2)] {
        let len = (part.len() - IP) as u16;
        put16(part, IP + 2, len);
        put16(part, IP + 4, 0x4242);
        put16(part, IP + 6, field);
        sign(part);
    }
    [first, second]
}

#[test]
fn what_the_nic_may_not_answer_the_host_answers() {
    let Some(lab) = Lab::open() else { return };
    let numbered = |request: u64| lab.request(&Header::request(lab.short, request, 0, 1, 3), b"abc");
    let status = |request: u64| {
        let frame = lab
            .reply(request)
            .unwrap_or_else(|| panic!("request {request} is not answered"));
        Header::decode(&frame[LAMBDA..], Kind::Reply).unwrap().0.status
    };
    let taken = |target: &str| lab.world.requests("short", target);
    lab.raw.send(&numbered(1)).unwrap();
    assert_eq!((status(1), taken("xdp"), taken("host")), (Status::Ok, 1, 0));

    let mut options = numbered(2);
    // Four times "no operation" (RFC 791).
    options.splice(UDP..UDP, [1, 1, 1, 1]);
    options[IP] = 0x46;
    let len = (options.len() - IP) as u16;
    put16(&mut options, IP + 2, len);
    sign(&mut options);
    lab.raw.send(&options).unwrap();
    assert_eq!((status(2), taken("xdp"), taken("host")), (Status::Ok, 1, 1));

    for part in fragments(&numbered(3)) {
        lab.raw.send(&part).unwrap();
    }
    assert_eq!((status(3), taken("xdp"), taken("host")), (Status::Ok, 1, 2));

    let unknown = Header::request(0x7777_0077, 4, 0, 1, 0);
    lab.raw.send(&lab.request(&unknown, b"")).unwrap();
    assert_eq!(status(4), Status::NoWorkload);
    let other_tag = Header::request(lab.short ^ 0x1_0000, 5, 0, 1, 0);
    lab.raw.send(&lab.request(&other_tag, b"")).unwrap();
    assert_eq!(status(5), Status::NoWorkload);
    let counters = lab.counters();
    for (reason, count) in [
        ("passed ip_options", 1),
        ("passed ip_fragment", 2),
        ("passed no_workload", 2),
    ] {
        assert!(
            counters.contains(&(reason.to_owned(), count)),
            "{reason}: {counters:?}"
        );
    }
}

#[test]
fn replies_of_every_length_have_right_headers() {
    let Some(lab) = Lab::open() else { return };
    let mut frames = Vec::new();
    let mut requests = 100;
    let mut ask = |header: &dyn Fn(u64) -> Header, payload: &[u8], pad: usize| {
        requests += 1;
        let request = frame::request(lab.caller, lab.worker, &header(requests), payload, pad);
        lab.raw.send(&request).unwrap();
        let reply = lab
            .reply(requests)
            .unwrap_or_else(|| panic!("{} bytes are not answered", payload.len()));
        let (header, _) = frame::reply(&request, &reply).unwrap();
        frames.extend([request, reply]);
        header.status
    };
    for len in [0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 255, 511, 512, 599, 600] {
        let payload = vec![0xa5; len];
        let header = |request| Header::request(lab.short, request, 0, 1, len as u16);
        assert_eq!(ask(&header, &payload, 0), Status::Ok);
        // What a caller pads goes away in the reply.
        assert_eq!(ask(&header, &payload, len + 300), Status::Ok);
    }
    let long = vec![0; 601];
    let header = |request| Header::request(lab.short, request, 0, 1, 601);
    assert_eq!(ask(&header, &long, 0), Status::BadRequest);
    let header = |request| Header::request(lab.rows, request, 1, 3, 1344);
    assert_eq!(ask(&header, &[7; 1344], 0), Status::Ok);
    assert_eq!(lab.world.ask("rows", &[7; 8]), [7; 8]);
    assert_eq!(
        lab.world.requests("short", "host") + lab.world.requests("rows", "host"),
        0
    );
    if !has("tshark") {
        println!("skipped: tshark not found");
        return;
    }
    let file = lab.world.dir.path().join("replies.pcap");
    std::fs::write(&file, capture(&frames)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark
        .args([
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "udp.check_checksum:TRUE",
            "-r",
        ])
        .arg(&file);
    let fields = [
        "-T",
        "fields",
        "-e",
        "ip.checksum.status",
        "-e",
        "udp.checksum.status",
        "-e",
        "_ws.malformed",
    ];
    let output = tshark.args(fields).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.lines().count(),
        frames.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (line, frame) in text.lines().zip(&frames) {
        let mut columns = line.split('\t');
        // 1: good. UDP: 1, or 3 for "not present".
        assert_eq!(columns.next(), Some("1"), "IPv4 checksum of {frame:02x?}");
        assert!(
            matches!(columns.next(), Some("1" | "3")),
            "UDP checksum of {frame:02x?}"
        );
        assert_eq!(columns.next().unwrap_or_default(), "", "{frame:02x?}");
    }
}

#[test]
fn replies_that_the_driver_has_no_room_for_leave_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("grows.lnic"), GROWS).unwrap();
    let Some(world) = net().and_then(|net| World::start_in(net, &[&dir.path().display().to_string()], &[]))
    else {
        return;
    };
    let lens = [0u16, 10, 60, 100, 150, 200, 250, 300, 600, 1000, 1344];
    for len in lens {
        let reply = world.ask("grows", &len.to_be_bytes());
        assert_eq!(reply, (0..len).map(|at| at as u8).collect::<Vec<_>>());
    }
    assert_eq!(world.requests("grows", "xdp"), lens.len() as u64);
    assert_eq!(world.requests("grows", "host"), 0);
    let passed = world.metric("lnic_passed_requests_total{workload=\"grows\",target=\"xdp\"}");
    assert_eq!(passed, 0);
    // Each ran once.
    let seen = world.fetch("GET", "/system/state/grows/seen", b"").json();
    assert_eq!(seen, lens.len() as u64);
}

/// Requests of each kind.
const REQUESTS: u32 = 200;

/// On the NIC, on the host, and of several packets.
const KINDS: [(&str, &str); 3] = [
    (
        "native",
        "workload native;
state seen: counter;
lambda native(req: [u8; 4]) -> [u8; 4] { seen.add(1); reply req; }
",
    ),
    (
        "hosted",
        "workload hosted;
state seen: counter;
@on(host)
lambda hosted(req: [u8; 4]) -> [u8; 4] { seen.add(1); reply req; }
",
    ),
    (
        "rows",
        "workload rows;
stream lambda rows(row: [u8; 64]) -> [u8; 64] { reply row; }
",
    ),
];

fn serve_kinds() -> Option<World> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in KINDS {
        std::fs::write(dir.path().join(format!("{name}.lnic")), text).unwrap();
    }
    net().and_then(|net| World::start_in(net, &[&dir.path().display().to_string()], &[]))
}

/// Asks all workloads many times; how often requests were sent.
fn ask_all(to: SocketAddr, [native, hosted, rows]: &[Workload; 3]) -> u32 {
    let options = InvokeOptions {
        timeout: PATIENCE,
        resend: Duration::from_millis(20),
    };
    let mut sent = 0;
    let mut ask = |workload: &Workload, request: &[u8]| {
        let reply = lnic_client::invoke(to, workload, request, &options);
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        assert_eq!(reply.payload, request, "{}", workload.name);
        sent += reply.attempts;
    };
    for number in 0..REQUESTS {
        ask(native, &number.to_be_bytes());
        ask(hosted, &number.to_be_bytes());
        if number.is_multiple_of(20) {
            // Several packets, each answered on its own.
            let image: Vec<u8> = (0..64 * 40).map(|at| (at as u32 ^ number) as u8).collect();
            ask(rows, &image);
        }
    }
    sent
}

fn check_kinds(world: &World, workloads: &[Workload; 3]) {
    for workload in &workloads[..2] {
        let state = world.fetch("GET", &format!("/system/state/{}", workload.name), b"");
        let seen = state.json()["seen"].as_u64().unwrap();
        assert!(seen >= REQUESTS.into(), "{} ran {seen} times", workload.name);
    }
    assert_eq!(
        world.requests("native", "host") + world.requests("rows", "host"),
        0
    );
    assert_eq!(world.requests("hosted", "xdp"), 0);
}

#[test]
fn lost_repeated_and_reordered_datagrams_are_made_up_for() {
    let Some(world) = serve_kinds() else { return };
    let workloads = ["native", "hosted", "rows"].map(|name| world.workload(name));
    let (sent, impaired) = world.at_client(|| {
        let relay = Relay::start(world.worker.wire);
        let sent = ask_all(relay.address, &workloads);
        (sent, relay.impaired())
    });
    println!("{sent} requests sent, {impaired} datagrams impaired");
    assert!(
        sent > 2 * REQUESTS + 50 && impaired > 200,
        "the path was too good: {sent}, {impaired}"
    );
    check_kinds(&world, &workloads);
}

#[test]
fn a_link_with_netem_is_made_up_for() {
    let Some(world) = serve_kinds() else { return };
    let mut tc = world.net.command(Side::Client, "tc");
    tc.args(["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms"]);
    let output = tc
        .args(["loss", "10%", "duplicate", "10%", "reorder", "25%"])
        .output();
    let reason = match output {
        Err(error) => Some(error.to_string()),
        Ok(output) if !output.status.success() => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Ok(_) => None,
    };
    if let Some(reason) = reason {
        println!("skipped: no netem here: {}", reason.trim());
        return;
    }
    let workloads = ["native", "hosted", "rows"].map(|name| world.workload(name));
    let sent = world.at_client(|| ask_all(world.worker.wire, &workloads));
    println!("{sent} requests sent");
    check_kinds(&world, &workloads);
}
