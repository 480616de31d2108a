//! The kernel's own loaders and verifier against objects made by hand: what the dispatcher lets through, what replies
//! look like, and that `bpftool` and `ip` take the file.

mod support;

use std::net::Ipv4Addr;
use std::process::Command;

use support::arithmetic;
use support::kernel::{self, Kernel};
use support::missing;
use support::packet::{self, Request};
use support::{ECHO, IDS, PAGE, PUNT, TRAP, WEB, sample};

use lambdac_backend_ebpf::abi::{self, Ended, Wire, WireEnd};

const WORKLOADS: [&str; 4] = ["echo", "web", "punt", "trap"];
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

fn loaded() -> Option<Kernel> {
    if missing::missing().is_some() {
        return None;
    }
    let kernel = Kernel::load(&sample().to_elf().unwrap(), &WORKLOADS);
    kernel.configure();
    Some(kernel)
}

#[test]
fn requests_are_answered_by_their_workload() {
    let Some(kernel) = loaded() else { return };
    for len in [0, 1, 23, 1344] {
        let request = Request::to(ECHO, &vec![b'e'; len]);
        let run = kernel.run(abi::DISPATCH, &request.frame());
        assert_eq!(run.action, TX, "{:?}", kernel.counters(0));
        let reply = packet::reply(&run.frame, &request);
        assert_eq!((reply.status, reply.payload), (0, request.payload));
    }
    for len in [0, 40, 41, 1344] {
        let request = Request::to(WEB, &vec![b'w'; len]);
        let run = kernel.run(abi::DISPATCH, &request.frame());
        assert_eq!(run.action, TX);
        assert_eq!(packet::reply(&run.frame, &request).payload, PAGE);
    }
    assert_eq!(kernel.counters(abi::counter_key(0))[Ended::Ok.slot() as usize], 4);
    assert_eq!(kernel.counters(abi::counter_key(1))[Ended::Ok.slot() as usize], 4);
    assert_eq!(kernel.counters(0).iter().sum::<u64>(), 0);
}

#[test]
fn padding_past_the_payload_is_no_part_of_the_reply() {
    let Some(kernel) = loaded() else { return };
    let mut request = Request::to(ECHO, b"sevenpadding of UDP");
    request.length = Some(5);
    let mut frame = request.frame();
    frame.extend(b"and of Ethernet");
    let run = kernel.run(abi::DISPATCH, &frame);
    assert_eq!(run.action, TX);
    assert_eq!(packet::reply(&run.frame, &request).payload, b"seven");
}

#[test]
fn checksums_of_replies_are_right_whatever_the_addresses_sum_to() {
    let Some(kernel) = loaded() else { return };
    for low in 0..40u16 {
        let mut request = Request::to(ECHO, b"x");
        // Around the sum at which the carries ripple.
        let [third, fourth] = (0xffc0u16.wrapping_add(low * 3)).to_be_bytes();
        request.source = Ipv4Addr::new(200, 250, third, fourth);
        let run = kernel.run(abi::DISPATCH, &request.frame());
        assert_eq!(run.action, TX);
        packet::reply(&run.frame, &request);
    }
}

#[test]
fn fragments_of_a_stream_are_answered_each_as_itself() {
    let Some(kernel) = loaded() else { return };
    let mut request = Request::to(ECHO, b"chunk");
    (request.fragment, request.fragments) = (3, 9);
    let run = kernel.run(abi::DISPATCH, &request.frame());
    assert_eq!(run.action, TX);
    let reply = packet::reply(&run.frame, &request);
    assert_eq!((reply.fragment, reply.fragments), (3, 9));
}

#[test]
fn a_reply_over_three_times_the_request_is_for_trusted_callers() {
    if missing::missing().is_some() {
        return;
    }
    let mut object = sample();
    object.programs[2] = support::answer_of("_w_web", 1, 1000);
    let big = Kernel::load(&object.to_elf().unwrap(), &WORKLOADS);
    big.configure();
    for (len, fits) in [(317, false), (318, true)] {
        let request = Request::to(WEB, &vec![0; len]);
        let run = big.run(abi::DISPATCH, &request.frame());
        assert_eq!(run.action, TX);
        let reply = packet::reply(&run.frame, &request);
        let expected = if fits { (0, 1000) } else { (7, 0) };
        assert_eq!((reply.status, reply.payload.len()), expected, "{len}");
        assert_eq!((reply.fragment, reply.fragments), (0, 1));
    }
    big.set(
        abi::TRUSTED,
        &abi::trusted_key(Ipv4Addr::new(10, 9, 0, 0), 16),
        &[1, 0, 0, 0],
    );
    let request = Request::to(WEB, b"");
    let run = big.run(abi::DISPATCH, &request.frame());
    assert_eq!(packet::reply(&run.frame, &request).payload.len(), 1000);
    let own = big.counters(abi::counter_key(1));
    assert_eq!(
        (
            own[Ended::Ok.slot() as usize],
            own[Ended::TooLarge.slot() as usize]
        ),
        (2, 1)
    );
}

#[test]
fn punts_and_traps_are_reported_and_counted() {
    let Some(kernel) = loaded() else { return };
    let punt = Request::to(PUNT, b"for the host");
    assert_eq!(kernel.run(abi::DISPATCH, &punt.frame()).action, DROP);
    let own = kernel.counters(abi::counter_key(2));
    assert_eq!(own[Ended::HandedUp.slot() as usize], 1);
    let mut trap = Request::to(TRAP, b"oops");
    (trap.fragment, trap.fragments) = (1, 2);
    let run = kernel.run(abi::DISPATCH, &trap.frame());
    assert_eq!(run.action, TX);
    let reply = packet::reply(&run.frame, &trap);
    assert_eq!((reply.status, reply.fragment, reply.fragments), (3, 0, 1));
    assert_eq!(reply.payload, b"");
    let own = kernel.counters(abi::counter_key(3));
    assert_eq!(own[Ended::Trap.slot() as usize], 1);
    assert_eq!(own[Ended::TrapCapacity.slot() as usize], 1);
    assert_eq!(own[Ended::EventsLost.slot() as usize], 0);
}

#[test]
fn a_full_ring_answers_overloaded() {
    let Some(kernel) = loaded() else { return };
    let punt = Request::to(PUNT, b"for the host");
    let fits = abi::EVENTS_BYTES / (abi::event::PACKET_BYTES + 8);
    let frame = punt.frame();
    for _ in 0..fits {
        assert_eq!(kernel.run(abi::DISPATCH, &frame).action, DROP);
    }
    let run = kernel.run(abi::DISPATCH, &frame);
    assert_eq!(run.action, TX);
    assert_eq!(packet::reply(&run.frame, &punt).status, 4);
}

/// A change to a good frame, and why it then reaches no workload.
type Case = (&'static str, Wire, fn(&mut Vec<u8>));

const CASES: [Case; 32] = [
    ("another Ethernet address", Wire::NotOurs, |f| f[5] ^= 1),
    ("another address", Wire::NotOurs, |f| f[33] ^= 1),
    ("another port", Wire::NotOurs, |f| f[37] ^= 1),
    ("TCP", Wire::NotOurs, |f| f[23] = 6),
    ("IPv6", Wire::Ipv6, |f| f[12..14].copy_from_slice(&[0x86, 0xdd])),
    ("a VLAN tag", Wire::Vlan, |f| f[12] = 0x81),
    ("ARP", Wire::NotIpv4, |f| f[13] = 6),
    ("an IPv6 header where an IPv4 one should be", Wire::NotIpv4, |f| {
        f[14] = 0x65
    }),
    ("IPv4 options", Wire::IpOptions, |f| f[14] = 0x46),
    ("an IPv4 header of 16 bytes", Wire::IpOptions, |f| f[14] = 0x44),
    ("the first fragment of IPv4", Wire::IpFragment, |f| f[20] = 0x20),
    ("a later fragment of IPv4", Wire::IpFragment, |f| f[21] = 1),
    ("a frame cut off in the payload", Wire::Truncated, |f| {
        f.truncate(68)
    }),
    ("a frame cut off in the UDP header", Wire::Truncated, |f| {
        f.truncate(40)
    }),
    ("a UDP length over IPv4's", Wire::Length, |f| f[39] += 1),
    ("a UDP length under IPv4's", Wire::Length, |f| f[39] -= 1),
    ("a wrong header checksum", Wire::IpChecksum, |f| f[24] ^= 1),
    ("an unknown workload", Wire::NoWorkload, |f| f[49] = 0x77),
    ("a source in 0/8", Wire::Source, |f| f[26] = 0),
    ("a source in 127/8", Wire::Source, |f| f[26] = 127),
    ("a multicast source", Wire::Source, |f| f[26] = 224),
    ("the highest multicast source", Wire::Source, |f| f[26] = 239),
    ("the broadcast address", Wire::Source, |f| f[26..30].fill(255)),
    ("the subnet's broadcast address", Wire::Source, |f| f[29] = 255),
    ("our own address", Wire::Source, |f| f[29] = 1),
    ("a wrong magic", Wire::Magic, |f| f[43] = 0),
    ("a version to come", Wire::Version, |f| f[44] = 2),
    ("a reply", Wire::Kind, |f| f[45] = 1),
    ("a flag", Wire::Flag, |f| f[65] = 1),
    ("zero fragments", Wire::NoFragments, |f| f[61] = 0),
    ("a fragment past the last", Wire::FragmentIndex, |f| f[59] = 1),
    ("a length past the datagram", Wire::LengthBeyondDatagram, |f| {
        f[63] += 1
    }),
];

#[test]
fn whatever_is_no_request_to_us_is_passed_or_dropped_and_counted_by_reason() {
    let Some(kernel) = loaded() else { return };
    for (what, reason, change) in CASES {
        let mut frame = Request::to(ECHO, b"hello").frame();
        change(&mut frame);
        let keeps_checksum = matches!(reason, Wire::IpChecksum | Wire::Truncated | Wire::IpOptions);
        if !keeps_checksum {
            packet::fix_checksum(&mut frame);
        }
        ends(&kernel, what, reason, &frame);
    }
}

/// Runs the dispatcher, which must count this reason alone and leave the packet as it is.
fn ends(kernel: &Kernel, what: &str, reason: Wire, frame: &[u8]) {
    let before = kernel.counters(0);
    let run = kernel.run(abi::DISPATCH, frame);
    let mut expected = before;
    expected[reason.slot() as usize] += 1;
    assert_eq!(kernel.counters(0), expected, "{what}");
    let action = match reason.end() {
        WireEnd::Passed => PASS,
        WireEnd::Dropped => DROP,
    };
    assert_eq!(run.action, action, "{what}");
    assert_eq!(run.frame, frame, "{what}");
}

#[test]
fn packets_that_a_change_of_a_byte_does_not_make() {
    let Some(kernel) = loaded() else { return };
    let mut empty = Request::to(ECHO, b"");
    empty.fragments = 2;
    ends(&kernel, "an empty fragment", Wire::EmptyFragment, &empty.frame());
    let long = Request::to(ECHO, &[7; 1345]);
    ends(&kernel, "a long payload", Wire::LengthOverFragment, &long.frame());
    for len in [0, 1, 23] {
        let datagram = &Request::to(ECHO, b"").datagram()[..len];
        let frame = packet::frame(packet::CALLER, datagram);
        ends(&kernel, "a short datagram", Wire::Short, &frame);
        let mut padded = frame.clone();
        padded.resize(80, 0);
        ends(&kernel, "a short datagram with padding", Wire::Short, &padded);
    }
    let mut tagged = Request::to(ECHO, b"x").frame();
    tagged.splice(12..12, [0x88, 0xa8, 0, 7]);
    ends(&kernel, "a service tag", Wire::Vlan, &tagged);
    let mut reserved = Request::to(ECHO, b"x");
    reserved.source = Ipv4Addr::new(240, 0, 0, 1);
    let run = kernel.run(abi::DISPATCH, &reserved.frame());
    assert_eq!(run.action, TX, "240/4 is not on the list");
}

#[test]
fn an_object_that_nobody_configured_passes_everything() {
    if missing::missing().is_some() {
        return;
    }
    let kernel = Kernel::load(&sample().to_elf().unwrap(), &WORKLOADS);
    let mut frame = Request::to(ECHO, b"hello").frame();
    ends(&kernel, "a request", Wire::NotOurs, &frame);
    frame[..6].fill(0);
    frame[30..34].fill(0);
    frame[36..38].fill(0);
    packet::fix_checksum(&mut frame);
    ends(&kernel, "a request to all zeros", Wire::NotOurs, &frame);
}

#[test]
fn a_workload_without_a_program_is_the_hosts() {
    if missing::missing().is_some() {
        return;
    }
    let kernel = Kernel::load(&sample().to_elf().unwrap(), &WORKLOADS[..1]);
    kernel.configure();
    let frame = Request::to(WEB, b"hello").frame();
    ends(&kernel, "web", Wire::NoProgram, &frame);
}

#[test]
fn the_comparison_tree_finds_each_of_many_workloads() {
    if missing::missing().is_some() {
        return;
    }
    let ids: Vec<u32> = (0..100).map(|n| 0x0101_0000 | (n * 37 + 5)).collect();
    let mut object = sample();
    object.programs[0] = lambdac_backend_ebpf::dispatch::dispatch(&ids, false).unwrap();
    object.maps = lambdac_backend_ebpf::shared::maps(ids.len() as u32);
    let kernel = Kernel::load(&object.to_elf().unwrap(), &["echo"; 100]);
    kernel.configure();
    for id in ids {
        let run = kernel.run(abi::DISPATCH, &Request::to(id, b"x").frame());
        assert_eq!(run.action, TX, "{id:x}");
    }
    ends(&kernel, "none", Wire::NoWorkload, &Request::to(6, b"x").frame());
}

#[test]
fn bpftool_prints_types_and_source_lines() {
    let Some(kernel) = loaded() else { return };
    let object = kernel.path("image.bpf.o");
    let dump = kernel::run("bpftool", &["btf", "dump", "file", object.to_str().unwrap()]);
    let dump = String::from_utf8(dump.stdout).unwrap();
    for expected in [
        "DATASEC '.maps'",
        "FUNC 'dispatch'",
        "VAR 'config'",
        "STRUCT 'xdp_md'",
    ] {
        assert!(dump.contains(expected), "{expected}\n{dump}");
    }
    let program = kernel.path("fs/programs/_w_web");
    let args = [
        "prog",
        "dump",
        "xlated",
        "pinned",
        program.to_str().unwrap(),
        "linum",
    ];
    let code = String::from_utf8(kernel::run("bpftool", &args).stdout).unwrap();
    let line = "; lambda main() -> bytes<40> { reply PAGE; } [file:web.lnic line_num:2 line_col:0]";
    assert!(code.contains(line), "{code}");
}

#[test]
fn ip_link_attaches_the_object() {
    if missing::missing().is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let object = dir.path().join("image.bpf.o");
    std::fs::write(&object, sample().to_elf().unwrap()).unwrap();
    let namespace = Namespace::new();
    namespace.ip(&["link", "add", "x0", "type", "veth", "peer", "name", "x1"]);
    let object = object.to_str().unwrap();
    namespace.ip(&["link", "set", "dev", "x0", "xdp", "obj", object, "sec", "xdp"]);
    let shown = namespace.ip(&["-d", "link", "show", "dev", "x0"]);
    assert!(
        shown.contains("prog/xdp") && shown.contains("name dispatch"),
        "{shown}"
    );
}

#[test]
fn the_kernel_computes_what_the_names_of_instructions_say() {
    if missing::missing().is_some() {
        return;
    }
    let object = arithmetic::object();
    let kernel = Kernel::load(&object.to_elf().unwrap(), &[]);
    let run = kernel.run("arithmetic", &[0; 64]);
    assert_eq!(
        run.action,
        arithmetic::ALL_RIGHT,
        "number of the step that is wrong"
    );
}

/// A network namespace of the test's own, which goes with it.
struct Namespace(String);

impl Namespace {
    fn new() -> Namespace {
        let name = format!("lambdac-ebpf-{}", std::process::id());
        kernel::run("ip", &["netns", "add", &name]);
        Namespace(name)
    }

    fn ip(&self, args: &[&str]) -> String {
        let output = kernel::run("ip", &[&["-n", self.0.as_str()], args].concat());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn the_same_object_gives_the_same_bytes() {
    assert_eq!(sample().to_elf().unwrap(), sample().to_elf().unwrap());
    assert_eq!(IDS.len(), WORKLOADS.len());
}
