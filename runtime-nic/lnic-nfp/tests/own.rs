//! Requests that the worker itself sends to the card, on the shim: what the plugin makes of them.

use std::sync::Arc;

use lambdac_backend_c::Dialect;
use lambdac_driver::Input;
use lambdac_image::{Ending, Packet};
use lambdac_mir::interp::{Answer, Outcome};
use lnic_nfp::Machine;
use lnic_nfp::testing::{compile, toolchain};

/// A lambda that tells what it knows of its packet.
const SOURCE: &str = "workload w;
lambda facts(req: [u8; 2]) -> [u32; 5] {
    reply [pkt.src_ip, pkt.src_port as u32, pkt.dst_port as u32, pkt.port as u32, pkt.request_id as u32];
}
match (req: [u8; 2]) { req[0] == 9 => drop, _ => facts }
";
/// From whom, from and to which ports, by which of the card's, and the request's number.
const OWN: [u64; 5] = [0xc000_0008, 9, 4369, 0x300, 77];
/// What the shim has in padding, where the client's address is.
const PADDING: [u8; 4] = [0xee; 4];

/// A lambda that asks a service and drops what that does not have.
const ASKS: &str = "workload w;
service cache = memcached(\"192.0.2.9:11211\", timeout = 5ms);
state dropped: u32;
lambda asks(key: bytes<8>) -> bytes<64> {
    let value = await cache.get(key) else {
        dropped.fetch_add(1);
        drop;
    };
    reply value as bytes<64>;
}
";

fn packet(pkt: [u64; 5]) -> Packet {
    Packet {
        pkt,
        now: 0,
        random: None,
    }
}

/// A source on the shim, with its id; none without compilers.
fn started(source: &str) -> Option<(Machine, u32)> {
    let Some(toolchain) = toolchain() else {
        eprintln!("skipped: gcc or clang not found");
        return None;
    };
    let made =
        lambdac_driver::compile(&Input::new("w.lnic", source)).unwrap_or_else(|error| panic!("{error}"));
    let compiled = compile(&made.checked, &made.module).expect("it can be linked");
    let machine = Machine::new(Arc::new(compiled.image), Dialect::MicroC, &toolchain, 0);
    Some((machine.unwrap_or_else(|error| panic!("{error}")), compiled.id))
}

#[test]
fn a_request_of_the_workers_own_shows_the_client_and_nothing_else() {
    let Some((mut machine, id)) = started(SOURCE) else {
        return;
    };
    let mut call = |pkt: [u64; 5], request: &[u8]| {
        let mut nobody = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| Answer::Failed;
        let ended = machine.call(id, request, &packet(pkt), &mut nobody);
        match ended.unwrap_or_else(|error| panic!("{error}")) {
            Ending::Of(outcome) => outcome,
            Ending::NoWorkload => panic!("it is there"),
        }
    };
    let client = [&PADDING[..], &[0; 16]].concat();
    assert_eq!(call(OWN, &[0, 1]), Outcome::Reply(client));
    // The harness sees to it that the worker is told.
    assert_eq!(call(OWN, &[9, 1]), Outcome::Drop);
    // By the wire nobody is the worker.
    let [address, from, to, _, number] = OWN;
    let facts = [address as u32, from as u32, to as u32, 0, number as u32];
    let facts: Vec<u8> = facts.into_iter().flat_map(u32::to_be_bytes).collect();
    assert_eq!(
        call([address, from, to, 0, number], &[0, 1]),
        Outcome::Reply(facts)
    );
}

/// Where a service fails, the harness ends waits with keys of even length by a sweep and others by an answer.
#[test]
fn the_worker_is_told_of_a_request_that_is_dropped_behind_a_services_answer() {
    let Some((mut machine, id)) = started(ASKS) else {
        return;
    };
    let keys: [(&[u8], Answer); 4] = [
        (b"missing", Answer::Missing),
        (b"fails", Answer::Failed),
        (b"no", Answer::Failed),
        (b"there", Answer::Value(b"value".to_vec())),
    ];
    for pkt in [OWN, [0x0a00_0001, 9, 4369, 0x300, 78]] {
        for (key, answer) in &keys {
            let mut service = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| answer.clone();
            let ended = machine.call(id, key, &packet(pkt), &mut service);
            let Ending::Of(outcome) = ended.unwrap_or_else(|error| panic!("{error}")) else {
                panic!("it is there");
            };
            let wanted = match answer {
                Answer::Value(value) => Outcome::Reply(value.clone()),
                _ => Outcome::Drop,
            };
            assert_eq!(outcome, wanted, "{}", key.escape_ascii());
        }
    }
}
