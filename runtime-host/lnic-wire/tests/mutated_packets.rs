//! Random and mutated packets: nothing panics, and every packet is counted exactly once.

use std::net::SocketAddr;

use fastrand::Rng;
use lnic_wire::{Header, Kind, Limits, MAX_FRAGMENT, MAX_MESSAGE, Malformed, Offer, Reassembler};

/// A well-formed packet of one of a few messages, so that fragments meet each other.
fn packet(dice: &mut Rng) -> Vec<u8> {
    let fragments = 1 + dice.u16(..6);
    let fragment = dice.u16(..fragments);
    let len = if fragment + 1 == fragments {
        1 + dice.usize(..40)
    } else {
        MAX_FRAGMENT
    };
    let header = Header::request(1, dice.u64(..50), fragment, fragments, len as u16);
    let mut bytes = header.encode().to_vec();
    bytes.resize(24 + len, dice.u8(..3));
    bytes
}

fn mutate(dice: &mut Rng, bytes: &mut Vec<u8>) {
    match dice.u64(..5) {
        0 => {
            let at = dice.usize(..24);
            bytes[at] = dice.u8(..);
        }
        1 => bytes.truncate(dice.usize(..=bytes.len())),
        2 => {
            let at = dice.usize(..bytes.len());
            bytes[at] ^= 1 << dice.u64(..8);
        }
        3 => bytes[18..20].copy_from_slice(&dice.u16(..).to_be_bytes()),
        _ => bytes.resize(bytes.len() + dice.usize(..64), 0xAA),
    }
}

#[test]
fn counters_add_up_over_a_hundred_thousand_mutated_packets() {
    let mut dice = Rng::with_seed(1);
    let limits = Limits {
        total: 120_000,
        per_address: 40_000,
        per_network: 80_000,
        timeout_ns: 5_000,
    };
    let mut reassembler = Reassembler::new(limits);
    let (mut whole, mut now) = (Vec::new(), 0);
    let mut malformed = [0u64; Malformed::ALL.len()];
    let (mut single, mut too_large, mut offered, mut complete) = (0u64, 0u64, 0u64, 0u64);
    const PACKETS: u64 = 100_000;
    for _ in 0..PACKETS {
        let mut bytes = packet(&mut dice);
        if dice.u64(..4) == 0 {
            mutate(&mut dice, &mut bytes);
        }
        now += dice.u64(..40);
        let checked = Header::decode(&bytes, Kind::Request)
            .and_then(|(header, payload)| header.check_fragment_size(1344).map(|()| (header, payload)));
        let (header, payload) = match checked {
            Ok(checked) => checked,
            Err(rule) => {
                malformed[rule as usize] += 1;
                continue;
            }
        };
        assert_eq!(payload.len(), usize::from(header.length));
        if header.fragments == 1 {
            single += 1;
        } else if header.message_len_bounds(1344).0 > MAX_MESSAGE {
            too_large += 1;
        } else {
            offered += 1;
            let source = SocketAddr::from(([10, 0, dice.u8(..2), dice.u8(..4)], 1));
            if reassembler.offer(now, source, &header, payload, &mut whole) == Offer::Complete {
                complete += 1;
                assert!(whole.len() > usize::from(header.fragments - 1) * 1344);
            }
        }
        assert!(reassembler.bytes() <= limits.total);
    }
    assert_eq!(
        malformed.iter().sum::<u64>() + single + too_large + offered,
        PACKETS
    );
    let stats = reassembler.stats();
    assert_eq!(
        stats.stored + stats.duplicates + stats.disagreeing + stats.refused,
        offered
    );
    assert_eq!(stats.completed, complete);
    let ended = stats.completed + stats.disagreements + stats.evicted + stats.expired;
    assert_eq!(stats.started, ended + reassembler.waiting() as u64);
    for count in [
        complete,
        stats.evicted,
        stats.expired,
        stats.disagreeing,
        stats.duplicates,
        too_large,
    ] {
        assert!(count > 0, "the dice never reached a case: {stats:?}");
    }
    reassembler.expire(u64::MAX);
    assert_eq!(
        (
            reassembler.bytes(),
            reassembler.waiting(),
            reassembler.fragments_held()
        ),
        (0, 0, 0)
    );
}

#[test]
fn random_bytes_are_refused_or_decoded_and_encode_back() {
    let mut dice = Rng::with_seed(2);
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = (0..dice.u64(..64)).map(|_| dice.u8(..)).collect();
        if bytes.len() >= 4 && dice.u64(..2) == 0 {
            bytes[..4].copy_from_slice(&[0xCE, 0xBB, 1, dice.u8(..2)]);
        }
        for kind in [Kind::Request, Kind::Reply] {
            if let Ok((header, _)) = Header::decode(&bytes, kind) {
                let again = header.encode();
                assert_eq!(again[..22], bytes[..22]);
            }
        }
    }
}
