//! Who calls, and what follows from it: the facts that a lambda sees, which proxies are believed, how much an unknown
//! source is sent, and what becomes of its messages that are too large or never whole.

#[path = "support"]
mod support {
    pub mod programs;
}

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lambdac_tests::peers::{PATIENCE, Worker, path, until};
use lnic_wire::{HEADER_LEN, Header, Kind, MAX_FRAGMENT, MAX_MESSAGE, Status};
use support::programs::Programs;

/// A socket that is connected to the worker's wire.
fn caller(worker: &Worker) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(worker.wire).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a packet, padded to so many bytes; gives the reply's header and payload.
fn exchange(socket: &UdpSocket, header: Header, payload: &[u8], padded_to: usize) -> (Header, Vec<u8>) {
    let mut packet = [&header.encode()[..], payload].concat();
    packet.resize(packet.len().max(padded_to), 0);
    socket.send(&packet).unwrap();
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).unwrap();
    let (reply, payload) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
    assert_eq!((reply.workload, reply.request), (header.workload, header.request));
    (reply, payload.to_vec())
}

/// `src_ip` in what `whoami` replies over HTTP; all other facts have to be 0.
fn source(worker: &Worker, forwarded: &[&str]) -> Ipv4Addr {
    let headers: Vec<(&str, &str)> = forwarded
        .iter()
        .map(|value| ("X-Forwarded-For", *value))
        .collect();
    let response = worker.call_with("whoami", &headers, b"");
    assert_eq!(
        (response.status, response.body.len()),
        (200, 18),
        "{}",
        response.text()
    );
    let (ip, others) = response.body.split_first_chunk().unwrap();
    assert_eq!(others, [0; 14]);
    Ipv4Addr::from(*ip)
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_proxies_are_trusted() {
    let programs = Programs::new();
    let flags = ["--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "10.0.0.0/8"];
    let worker = Worker::start(&[&programs.all()], &flags);
    let client = Ipv4Addr::new(198, 51, 100, 7);
    assert_eq!(source(&worker, &["198.51.100.7"]), client);
    assert_eq!(source(&worker, &["198.51.100.7:5678"]), client);
    // What stands before the first address that is no proxy's may be anyone's invention.
    assert_eq!(source(&worker, &["6.6.6.6, 198.51.100.7, 10.1.2.3"]), client);
    assert_eq!(source(&worker, &["6.6.6.6", "198.51.100.7"]), client);
    assert_eq!(source(&worker, &[]), Ipv4Addr::LOCALHOST);
    for unknown in ["unknown", "[2001:db8::1]:80", "2001:db8::1", ""] {
        assert_eq!(source(&worker, &[unknown]), Ipv4Addr::UNSPECIFIED, "{unknown:?}");
    }
}

#[test]
fn who_is_no_trusted_proxy_speaks_for_nobody_but_itself() {
    let programs = Programs::new();
    for flags in [&[][..], &["--trusted-proxy", "10.0.0.0/8"]] {
        let worker = Worker::start(&[&programs.all()], flags);
        for forwarded in [
            &["198.51.100.7"][..],
            &["10.1.2.3"],
            &["198.51.100.7", "10.1.2.3"],
            &[],
        ] {
            assert_eq!(
                source(&worker, forwarded),
                Ipv4Addr::LOCALHOST,
                "{flags:?} {forwarded:?}"
            );
        }
    }
}

#[test]
fn a_lambda_sees_the_facts_of_the_packet_on_the_wire() {
    let programs = Programs::new();
    let worker = Worker::start(&[&programs.all()], &[]);
    let socket = caller(&worker);
    let request = 0x0102_0304_0506_0708;
    let header = Header::request(worker.workload("whoami").id, request, 0, 1, 1);
    let (_, facts) = exchange(&socket, header, b"?", 0);
    let SocketAddr::V4(own) = socket.local_addr().unwrap() else {
        panic!("the socket is IPv4");
    };
    let expected = [
        &own.ip().octets()[..],
        &own.port().to_be_bytes(),
        &worker.wire.port().to_be_bytes(),
        &[0, 0],
        &request.to_be_bytes(),
    ];
    assert_eq!(facts, expected.concat());
}

#[test]
fn an_unknown_source_gets_at_most_three_times_what_it_sent_and_one_packet() {
    let flags = ["--trusted", "192.0.2.0/24"];
    let worker = Worker::start(&["examples/lambda-nic"], &flags);
    let socket = caller(&worker);
    let page = std::fs::read(path("examples/lambda-nic/index.html")).unwrap();
    let ask = |padded_to: usize| {
        let header = Header::request(worker.workload("web").id, padded_to as u64, 0, 1, 5);
        exchange(&socket, header, b"GET /", padded_to)
    };
    let enough = (HEADER_LEN + page.len()).div_ceil(3);
    for padded_to in [0, enough - 1] {
        let (reply, payload) = ask(padded_to);
        assert_eq!(
            (reply.status, payload.len(), reply.fragments),
            (Status::TooLarge, 0, 1)
        );
    }
    let (reply, payload) = ask(enough);
    assert_eq!((reply.status, payload), (Status::Ok, page));
    // A quarter of the bytes, but many packets.
    let whole = worker.send(&worker.workload("grayscale"), &vec![1; 256 * 256 * 4]);
    assert!(
        matches!(whole, Err(lnic_client::Error::Status(Status::TooLarge))),
        "{whole:?}"
    );
    // A stream is answered packet by packet.
    let rows = worker.send(&worker.workload("grayscale_stream"), &vec![1; 3 * 1024]);
    assert_eq!(rows.unwrap(), vec![1; 3 * 256]);
    // HTTP has connections, so its callers are who they say.
    assert_eq!(worker.call("web", b"GET /").status, 200);
}

#[test]
fn a_message_over_a_mebibyte_is_too_large_at_its_first_packet() {
    let worker = Worker::start(&["examples/lambda-nic"], &[]);
    let socket = caller(&worker);
    let most = MAX_MESSAGE.div_ceil(MAX_FRAGMENT) as u16;
    for (name, fragments, status) in [
        ("web", most + 1, Status::TooLarge),
        // This one has the right size for nobody: known from its number of packets.
        ("web", most, Status::BadRequest),
        ("grayscale", 2, Status::BadRequest),
    ] {
        let header = Header::request(worker.workload(name).id, 9, 0, fragments, MAX_FRAGMENT as u16);
        let (reply, payload) = exchange(&socket, header, &[0; MAX_FRAGMENT], 0);
        assert_eq!(
            (reply.status, payload.len()),
            (status, 0),
            "{fragments} packets to {name}"
        );
    }
    assert_eq!(worker.metric("lnic_stored_fragments_total"), 0);
}

#[test]
fn a_message_that_is_never_whole_is_given_up_after_a_second_without_a_word() {
    let worker = Worker::start(&["examples/lambda-nic/grayscale.lnic"], &[]);
    let socket = caller(&worker);
    let packets = (256 * 256 * 4_usize).div_ceil(MAX_FRAGMENT) as u16;
    let header = Header::request(
        worker.workload("grayscale").id,
        9,
        0,
        packets,
        MAX_FRAGMENT as u16,
    );
    let sent = Instant::now();
    socket
        .send(&[&header.encode()[..], &[0; MAX_FRAGMENT]].concat())
        .unwrap();
    until("the packet is kept", || {
        worker.metric("lnic_stored_fragments_total") == 1
    });
    until("the message is given up", || {
        worker.metric("lnic_reassembly_total{end=\"expired\"}") == 1
    });
    assert!(sent.elapsed() >= Duration::from_secs(1), "{:?}", sent.elapsed());
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err(), "it is not answered");
}
