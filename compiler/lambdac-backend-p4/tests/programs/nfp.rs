//! What stands around the NFP's plugin, run: which packets the plugin gets, which are dropped, and where the others go.
//! The plugin itself is C, and tested as such; here it does nothing but be counted. Metadata that is read before it is
//! set ends the test, as the card doesn't zero it.

use lambdac_backend_p4::{Listen, nfp, print};

use crate::execution::{ADDRESS, MAC, WIRE, frame};
use crate::machine::Machine;
use crate::tree::{Entry, Expr, Item, Kind, Local};
use crate::{corpus, parser};

const ID: u32 = 0x1234_0001;
const INGRESS: &str = "LambdaIngress";
/// The tools' names of ports, as numbers.
const FROM_WIRE: u16 = 1;
const HOST: u16 = 3;

fn number(text: &str) -> u64 {
    let hex = |hex: &str| u64::from_str_radix(hex, 16).expect("it is a number");
    match text {
        nfp::WIRE_PORT => FROM_WIRE.into(),
        nfp::HOST_PORT => HOST.into(),
        _ => text
            .strip_prefix("0x")
            .map_or_else(|| text.parse().expect("it is a number"), hex),
    }
}

fn literal(width: u32, text: &str) -> Expr {
    Expr {
        kind: Kind::Number(Some(width), number(text).to_be_bytes().to_vec()),
        line: 0,
    }
}

/// Bits of what keys and data are, as the program declares them.
fn width(name: &str) -> u32 {
    match name {
        "standard_metadata.ingress_port" | "port" => 9,
        "ethernet.dst_lo" => 16,
        _ => 32,
    }
}

/// A program with its rules, for a workload that is a lambda of so many bytes.
fn machine() -> Machine {
    let corpus = corpus::corpus();
    let module = &corpus
        .iter()
        .find(|program| &*program.module.name == "counter")
        .expect("it is an example")
        .module;
    let image = lambdac_image::link(&module.name, &[(ID, module.clone())]).unwrap();
    let output = nfp::program(&image, nfp::Options { port: WIRE });
    let items = parser::parse(&print::print(&output.program)).unwrap();
    assert!(
        items
            .iter()
            .any(|item| matches!(item, Item::Control(name, _, locals, _)
        if name == INGRESS && locals.iter().any(|local| matches!(local, Local::Table(_)))))
    );
    let mut machine = Machine::new(&items);
    let listen = nfp::Rule::listen(&Listen {
        mac: MAC,
        address: ADDRESS,
        port: WIRE,
        broadcast: 0x0a00_00ff,
    });
    for rule in output.rules.iter().chain([&listen]) {
        let keys = rule
            .keys
            .iter()
            .map(|(name, wanted)| literal(width(name), &wanted.value));
        let data = rule.data.iter().map(|(name, value)| literal(width(name), value));
        let entry: Entry = (keys.collect(), rule.action.to_owned(), data.collect());
        machine.add(INGRESS, rule.table, &entry);
    }
    machine
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Plugin,
    Dropped,
    Out(u16),
}

/// The end of a packet that is not changed, unless the plugin gets it.
fn end(machine: &mut Machine, port: u16, frame: &[u8]) -> End {
    let before = machine.counts.clone();
    let out = machine.run(port, frame);
    let asked = |counts: &std::collections::BTreeMap<String, u64>| {
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        (count(nfp::EXTERN), count("requests[0]"), count("dropped[0]"))
    };
    let (then, now) = (asked(&before), asked(&machine.counts));
    match out {
        Some((_, bytes)) if now.0 > then.0 => {
            assert_eq!((bytes.as_slice(), now.1), (frame, then.1 + 1));
            End::Plugin
        }
        Some((port, bytes)) => {
            assert_eq!((bytes.as_slice(), now), (frame, then));
            End::Out(port)
        }
        None => {
            assert_eq!(now.2, then.2 + 1);
            End::Dropped
        }
    }
}

/// Offsets of headers.
const IPV4: usize = 14;
const UDP: usize = IPV4 + 20;
const LAMBDA: usize = UDP + 8;

fn good() -> Vec<u8> {
    frame(&[], 7, (0, 1), b"abc")
}

/// A good request with bytes changed, and the IPv4 checksum right again.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = good();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame[IPV4 + 10..IPV4 + 12].copy_from_slice(&[0, 0]);
    let pairs = frame[IPV4..UDP].as_chunks::<2>().0;
    let mut sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[IPV4 + 10..IPV4 + 12].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame
}

#[test]
fn the_plugin_gets_requests_to_the_worker_and_what_is_none_goes_by() {
    let mut machine = machine();
    assert_eq!(end(&mut machine, FROM_WIRE, &good()), End::Plugin);
    assert_eq!(end(&mut machine, HOST, &good()), End::Plugin);
    let by: [(&str, Vec<u8>); 10] = [
        ("another MAC", changed(5, &[9])),
        ("another address", changed(IPV4 + 19, &[9])),
        ("another port", changed(UDP + 3, &[0x12])),
        ("no IPv4", changed(12, &[0x86, 0xdd])),
        ("a VLAN", changed(12, &[0x81, 0x00])),
        ("no UDP", changed(IPV4 + 9, &[6])),
        ("options", changed(IPV4, &[0x46])),
        ("a first fragment", changed(IPV4 + 6, &[0x20])),
        ("a later fragment", changed(IPV4 + 7, &[1])),
        ("another workload", changed(LAMBDA + 7, &[9])),
    ];
    for (what, frame) in by {
        assert_eq!(end(&mut machine, FROM_WIRE, &frame), End::Out(HOST), "{what}");
        assert_eq!(end(&mut machine, HOST, &frame), End::Out(FROM_WIRE), "{what}");
    }
    let mut wrong_sum = good();
    wrong_sum[IPV4 + 10] ^= 1;
    assert_eq!(end(&mut machine, FROM_WIRE, &wrong_sum), End::Out(HOST));
    assert_eq!(end(&mut machine, FROM_WIRE, &good()[..30]), End::Out(HOST));
    let long = changed(IPV4 + 2, &[4]);
    assert_eq!(
        end(&mut machine, FROM_WIRE, &long),
        End::Out(HOST),
        "an IPv4 length past the frame"
    );
}

#[test]
fn what_is_malformed_or_comes_from_nobody_is_dropped() {
    let mut machine = machine();
    let source = |address: [u8; 4]| changed(IPV4 + 12, &address);
    let lambda = |at: usize, bytes: &[u8]| changed(LAMBDA + at, bytes);
    let dropped: [(&str, Vec<u8>); 16] = [
        ("0/8", source([0, 0, 0, 9])),
        ("127/8", source([127, 0, 0, 9])),
        ("multicast", source([224, 0, 0, 9])),
        ("multicast's end", source([239, 255, 0, 9])),
        ("everybody", source([255; 4])),
        ("ourselves", source(ADDRESS.to_be_bytes())),
        ("our network's broadcast address", source([10, 0, 0, 255])),
        ("magic", lambda(0, &[0])),
        ("version", lambda(2, &[2])),
        ("a reply", lambda(3, &[1])),
        ("past the last fragment", lambda(17, &[1])),
        ("no fragments", lambda(19, &[0])),
        ("a length past the datagram", lambda(21, &[4])),
        ("a flag", lambda(23, &[1])),
        ("an empty fragment of two", lambda(19, &[2, 0, 0])),
        ("a length past a packet", lambda(20, &[5, 65])),
    ];
    for (what, frame) in dropped {
        assert_eq!(end(&mut machine, FROM_WIRE, &frame), End::Dropped, "{what}");
    }
    let mut short = changed(UDP + 4, &[0, 31]);
    short[IPV4 + 3] = 20 + 31;
    let sum = changed(IPV4 + 2, &[0, 20 + 31]);
    short[IPV4 + 10..IPV4 + 12].copy_from_slice(&sum[IPV4 + 10..IPV4 + 12]);
    assert_eq!(
        end(&mut machine, FROM_WIRE, &short),
        End::Dropped,
        "too short for the header"
    );
}

#[test]
fn ports_that_there_are_no_rules_for_go_nowhere() {
    let mut machine = machine();
    assert_eq!(machine.run(7, &changed(5, &[9])), None);
}
