//! The host's end of a card, `lnic_nfp::card::VirtualFunction`, on a veth pair whose other end stands in for the card:
//! frames go out past the host's own stack and come back, and what the kernel knows of the network is found.
//!
//! An interface belongs to the namespace of a process, so the worker's part of the test is this program once more, started
//! there.

mod support {
    pub mod inside;
}

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use lambdac_tests::peers::netns::{CLIENT, Net, SERVICE, Side, WORKER};
use lambdac_tests::peers::until;
use lambdac_tests::random::lacks_ebpf;
use lnic_ether::Wire;
use lnic_ether::frame::{self, Endpoint};
use lnic_nfp::card::{Port as _, VirtualFunction};
use support::inside::inside;

/// Says that this is the worker's part.
const PART: &str = "LNIC_TEST_PART";
/// Who asks for the worker itself: the dummy address of RFC 7600, which no packet of the wire may have.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const PORT: u16 = 4369;
/// The card's ports towards services.
const FIRST: u16 = 40_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn a_virtual_function_reaches_the_card_and_knows_the_ways_to_services() {
    if std::env::var_os(PART).is_some() {
        return worker();
    }
    let net = match Net::new() {
        Ok(net) => net,
        Err(reason) => return lacks_ebpf(&format!("no network namespaces: {reason}")),
    };
    // Opened before anybody asks, so that no question is lost.
    let card = inside(&net, Side::Client, || Wire::listen("eth0", NOBODY)).unwrap();
    let program = std::env::current_exe().unwrap();
    let mut worker = net.command(Side::Worker, program);
    let worker = worker
        .env(PART, "worker")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let worker = worker.spawn().unwrap();
    let asked = card.receive(PATIENCE).unwrap();
    if let Some(asked) = asked {
        let (from, to, datagram) = frame::read_udp(&asked).unwrap();
        assert_eq!(
            (from.address, to.address, to.port),
            (NOBODY, address(WORKER), PORT)
        );
        assert_eq!(datagram, b"asked");
        // Not the worker's own business: a caller's, which the card would answer itself.
        let caller = Endpoint {
            address: address(CLIENT),
            ..from
        };
        card.send(&frame::udp(caller, to, b"of a caller")).unwrap();
        card.send(&frame::udp(to, from, b"answered")).unwrap();
    }
    let ended = worker.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

fn worker() {
    let own = address(WORKER);
    let function = VirtualFunction::open(own).unwrap();
    let listen = function.listen(PORT);
    assert_eq!((listen.address, listen.port), (own.to_bits(), PORT));
    let shown = std::fs::read_to_string("/sys/class/net/eth0/address").unwrap();
    let mac: Vec<String> = listen.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(mac.join(":"), shown.trim());
    assert!(
        VirtualFunction::open(address(CLIENT)).is_err(),
        "that is not here"
    );

    let asker = Endpoint {
        mac: [2, 0, 0, 0, 0, 7],
        address: NOBODY,
        port: 7,
    };
    let worker = Endpoint {
        mac: listen.mac,
        address: own,
        port: PORT,
    };
    function.send(&frame::udp(asker, worker, b"asked")).unwrap();
    let answer = function.receive(PATIENCE).unwrap().expect("it is answered");
    let (from, to, datagram) = frame::read_udp(&answer).unwrap();
    assert_eq!((from, to, datagram), (worker, asker, &b"answered"[..]));
    assert_eq!(function.receive(Duration::from_millis(1)).unwrap(), None);

    let service = SocketAddrV4::new(address(CLIENT), 11_211);
    assert_eq!(function.reach(&service.to_string()), Ok(service));
    let here = function.reach(&format!("{WORKER}:11211")).unwrap_err();
    assert!(here.contains("is on this host"), "{here}");
    let behind = function.reach(&format!("{SERVICE}:11211")).unwrap_err();
    assert!(behind.contains("another interface"), "{behind}");
    // Whoever sends there makes the kernel ask for the next hop.
    let other = UdpSocket::bind((own, 0)).unwrap();
    until("the next hop is known", || {
        other.send_to(b"", service).unwrap();
        function.hop(*service.ip()).is_some()
    });
    assert_eq!(function.hop(address(SERVICE)), None, "the way leads elsewhere");

    let held = function.reserve(FIRST).unwrap();
    assert_eq!(held.first(), FIRST);
    assert!(function.reserve(FIRST).is_err(), "somebody has them");
    drop(held);
    assert!(function.reserve(FIRST).is_ok());
}
