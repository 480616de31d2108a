//! Random and mutated packets: nothing panics, and every packet is counted exactly once.

use std::net::SocketAddr;

use lnic_wire::{Header, Kind, Limits, MAX_FRAGMENT, MAX_MESSAGE, Malformed, Offer, Reassembler};

/// splitmix64: the same packets in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A well-formed packet of one of a few messages, so that fragments meet each other.
fn packet(dice: &mut Dice) -> Vec<u8> {
    let fragments = 1 + dice.below(6) as u16;
    let fragment = dice.below(u64::from(fragments)) as u16;
    let len = if fragment + 1 == fragments {
        1 + dice.below(40) as usize
    } else {
        MAX_FRAGMENT
    };
    let header = Header::request(1, dice.below(50), fragment, fragments, len as u16);
    let mut bytes = header.encode().to_vec();
    bytes.resize(24 + len, dice.below(3) as u8);
    bytes
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    match dice.below(5) {
        0 => {
            let at = dice.below(24) as usize;
            bytes[at] = dice.next() as u8;
        }
        1 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
        2 => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        3 => bytes[18..20].copy_from_slice(&(dice.next() as u16).to_be_bytes()),
        _ => bytes.resize(bytes.len() + dice.below(64) as usize, 0xAA),
    }
}

#[test]
fn counters_add_up_over_a_hundred_thousand_mutated_packets() {
    let mut dice = Dice(1);
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
        if dice.below(4) == 0 {
            mutate(&mut dice, &mut bytes);
        }
        now += dice.below(40);
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
            let source = SocketAddr::from(([10, 0, dice.below(2) as u8, dice.below(4) as u8], 1));
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
    let mut dice = Dice(2);
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = (0..dice.below(64)).map(|_| dice.next() as u8).collect();
        if bytes.len() >= 4 && dice.below(2) == 0 {
            bytes[..4].copy_from_slice(&[0xCE, 0xBB, 1, dice.below(2) as u8]);
        }
        for kind in [Kind::Request, Kind::Reply] {
            if let Ok((header, _)) = Header::decode(&bytes, kind) {
                let again = header.encode();
                assert_eq!(again[..22], bytes[..22]);
            }
        }
    }
}
