//! Datagrams: the header's rules and the reassembler, as a packet thread uses them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lnic_wire::{Header, Kind, Limits, MAX_FRAGMENT, MAX_MESSAGE, Malformed, Offer, Reassembler, Status};

use super::dice::Dice;

/// What became of packets; each is in exactly one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets in.
    pub packets: u64,
    /// By the rule they broke, in the order of [`Malformed::ALL`].
    pub malformed: [u64; Malformed::ALL.len()],
    /// Whole messages of one packet.
    pub single: u64,
    /// Of a message over 1 MiB.
    pub too_large: u64,
    /// Kept for a message that is not whole.
    pub stored: u64,
    /// Made a message whole.
    pub complete: u64,
    /// Here already.
    pub duplicate: u64,
    /// Against what came before.
    pub disagrees: u64,
    /// No room.
    pub refused: u64,
}

impl Counts {
    /// All that is counted but `packets`.
    pub fn sum(&self) -> u64 {
        let kept = self.single + self.too_large + self.stored + self.complete;
        self.malformed.iter().sum::<u64>() + kept + self.duplicate + self.disagrees + self.refused
    }
}

/// A receiver of packets, and what it has counted.
#[derive(Debug)]
pub struct Receiver {
    limits: Limits,
    reassembler: Reassembler,
    whole: Vec<u8>,
    counts: Counts,
}

impl Receiver {
    /// One that has seen nothing, with caps on memory.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            reassembler: Reassembler::new(limits),
            whole: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a datagram.
    ///
    /// # Panics
    /// Where a completed message has a length that its packets can't have.
    pub fn take(&mut self, now_ns: u64, source: SocketAddr, datagram: &[u8]) {
        self.counts.packets += 1;
        let decoded = Header::decode(datagram, Kind::Request);
        let checked = decoded.and_then(|(header, payload)| {
            header.check_fragment_size(MAX_FRAGMENT as u16)?;
            Ok((header, payload))
        });
        let (header, payload) = match checked {
            Ok(checked) => checked,
            Err(rule) => {
                self.counts.malformed[rule as usize] += 1;
                return;
            }
        };
        assert_eq!(payload.len(), usize::from(header.length));
        let (least, most) = header.message_len_bounds(MAX_FRAGMENT as u16);
        if least > MAX_MESSAGE {
            self.counts.too_large += 1;
        } else if header.fragments == 1 {
            self.counts.single += 1;
        } else {
            let offer = self
                .reassembler
                .offer(now_ns, source, &header, payload, &mut self.whole);
            self.count(offer);
            if offer == Offer::Complete {
                assert!(
                    (least..=most).contains(&self.whole.len()),
                    "{} bytes of {header:?}",
                    self.whole.len()
                );
            }
        }
        assert!(self.reassembler.bytes() <= self.limits.total, "over the cap");
    }

    fn count(&mut self, offer: Offer) {
        match offer {
            Offer::Stored => self.counts.stored += 1,
            Offer::Complete => self.counts.complete += 1,
            Offer::Duplicate => self.counts.duplicate += 1,
            Offer::Disagrees => self.counts.disagrees += 1,
            Offer::Refused => self.counts.refused += 1,
        }
    }

    /// Checks that the counters add up, and gives them.
    ///
    /// # Panics
    /// Where they do not.
    pub fn audit(&self) -> Counts {
        let (counts, stats) = (self.counts, self.reassembler.stats());
        assert_eq!(counts.packets, counts.sum(), "{counts:?}");
        let offers = (
            counts.stored + counts.complete,
            counts.duplicate,
            counts.disagrees,
            counts.refused,
        );
        assert_eq!(
            offers,
            (stats.stored, stats.duplicates, stats.disagreeing, stats.refused)
        );
        let ended = stats.completed + stats.disagreements + stats.evicted + stats.expired;
        assert_eq!(
            stats.started,
            ended + self.reassembler.waiting() as u64,
            "{stats:?}"
        );
        assert!(self.reassembler.fragments_held() * MAX_FRAGMENT <= self.reassembler.bytes());
        counts
    }

    /// Checks that giving up all that is half here leaves nothing behind.
    ///
    /// # Panics
    /// Where it does.
    pub fn end(mut self) -> Counts {
        self.reassembler.expire(u64::MAX);
        let left = (
            self.reassembler.bytes(),
            self.reassembler.waiting(),
            self.reassembler.fragments_held(),
        );
        assert_eq!(left, (0, 0, 0), "bytes, messages, fragments");
        self.audit()
    }
}

/// Decodes a datagram as a request and as a reply.
///
/// # Panics
/// Where a header that was taken does not encode to the bytes it came from.
pub fn run_header(datagram: &[u8]) {
    for kind in [Kind::Request, Kind::Reply] {
        if let Ok((header, payload)) = Header::decode(datagram, kind) {
            let mut encoded = header.encode();
            if kind == Kind::Request {
                // A request's status means nothing.
                encoded[22] = datagram[22];
            }
            assert_eq!(encoded, datagram[..encoded.len()]);
            assert!(datagram[encoded.len()..].starts_with(payload));
            assert!(header.fragment < header.fragments && payload.len() <= MAX_FRAGMENT);
            assert_eq!(header.error(Status::Trap).length, 0);
            // A caller's packet of an error holds nothing.
            assert!(header.status == Status::Ok || payload.is_empty());
        }
    }
}

/// Takes a sequence of datagrams: each a byte for its source, a byte for the time since the last, two bytes for its
/// length, then its bytes.
///
/// # Panics
/// As [`Receiver`] does.
pub fn run_packets(mut bytes: &[u8]) -> Counts {
    let mut receiver = Receiver::new(SMALL);
    let mut now = 0;
    while let Some((&[source, pause, high, low], rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low]) % 1500).min(rest.len());
        now += u64::from(pause) * 10_000_000;
        receiver.take(now, address(usize::from(source)), &rest[..len]);
        bytes = &rest[len..];
    }
    receiver.end()
}

/// Caps so small that they are often met.
pub const SMALL: Limits = Limits {
    total: 1 << 20,
    per_address: 256 << 10,
    per_network: 512 << 10,
    timeout_ns: 1_000_000_000,
};

/// One of a few hundred callers in a few networks.
fn address(number: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 0, (number % 3) as u8, (number / 3 % 64) as u8);
    SocketAddr::new(IpAddr::V4(ip), 4000 + (number % 2) as u16)
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
struct Sending {
    source: usize,
    header: Header,
    last: u16,
}

/// Invents packets: messages of one and many packets from many callers, interleaved, a part of them mutated.
#[derive(Debug)]
pub struct Packets {
    dice: Dice,
    sending: Vec<Sending>,
    workloads: Vec<u32>,
    payload: Vec<u8>,
    now_ns: u64,
}

impl Packets {
    /// The packets of a seed, most for one of these workloads.
    pub fn new(seed: u64, workloads: &[u32]) -> Self {
        let mut dice = Dice::new(seed);
        let payload = (0..2 * MAX_FRAGMENT).map(|_| dice.roll() as u8).collect();
        let mut packets = Self {
            dice,
            sending: Vec::new(),
            workloads: workloads.to_vec(),
            payload,
            now_ns: 1_000_000_000,
        };
        packets.sending = (0..48).map(|_| packets.message()).collect();
        packets
    }

    /// The clock at the last packet.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn message(&mut self) -> Sending {
        let dice = &mut self.dice;
        let len = match dice.below(100) {
            0..60 => dice.below(200),
            60..97 => dice.below(12 * MAX_FRAGMENT),
            97 => dice.below(MAX_MESSAGE + MAX_FRAGMENT),
            _ => MAX_FRAGMENT * (1 + dice.below(3)),
        };
        let fragments = len.div_ceil(MAX_FRAGMENT).max(1) as u16;
        let workload = *dice.pick(&self.workloads);
        let header = Header::request(workload, dice.roll(), 0, fragments, 0);
        let last = (len - usize::from(fragments - 1) * MAX_FRAGMENT) as u16;
        Sending {
            source: dice.below(400),
            header,
            last,
        }
    }

    /// Writes the next datagram, and gives where it comes from.
    pub fn next(&mut self, datagram: &mut Vec<u8>) -> SocketAddr {
        self.now_ns += self.dice.below(200_000) as u64;
        let at = self.dice.below(self.sending.len());
        let Sending {
            source,
            mut header,
            last,
        } = self.sending[at];
        header.length = if header.fragment + 1 == header.fragments {
            last
        } else {
            MAX_FRAGMENT as u16
        };
        datagram.clear();
        datagram.extend_from_slice(&header.encode());
        // The payload follows from the fragment, so that one sent again is a duplicate.
        let from = (header.request as usize + usize::from(header.fragment)) % MAX_FRAGMENT;
        datagram.extend_from_slice(&self.payload[from..from + usize::from(header.length)]);
        let again = self.dice.chance(3);
        if !again && header.fragment + 1 < header.fragments {
            self.sending[at].header.fragment += 1;
        } else if !again {
            self.sending[at] = self.message();
        }
        if self.dice.chance(40) {
            self.mutate(datagram);
        }
        address(source)
    }

    fn mutate(&mut self, datagram: &mut Vec<u8>) {
        let dice = &mut self.dice;
        // The fields of the header by offset and size; numbers in them are mostly at some edge.
        const FIELDS: [(usize, usize); 9] = [
            (0, 2),
            (2, 1),
            (3, 1),
            (4, 4),
            (8, 8),
            (16, 2),
            (18, 2),
            (20, 2),
            (22, 2),
        ];
        const EDGES: [u64; 12] = [0, 1, 2, 3, 255, 256, 780, 781, 1343, 1344, 1345, u64::MAX];
        for _ in 0..=dice.below(2) {
            match dice.below(8) {
                0..3 if datagram.len() >= 24 => {
                    let (at, len) = *dice.pick(&FIELDS);
                    let value = if dice.chance(70) {
                        *dice.pick(&EDGES)
                    } else {
                        dice.roll()
                    };
                    datagram[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
                }
                3 => datagram.truncate(dice.below(datagram.len() + 1)),
                4 => datagram.extend_from_slice(&self.payload[..dice.below(64)]),
                5 => {
                    let len = dice.below(64);
                    datagram.clear();
                    datagram.extend((0..len).map(|_| dice.roll() as u8));
                }
                _ if !datagram.is_empty() => {
                    let within = if dice.chance(70) {
                        datagram.len().min(24)
                    } else {
                        datagram.len()
                    };
                    let at = dice.below(within);
                    datagram[at] ^= 1 << dice.below(8);
                }
                _ => {}
            }
        }
    }
}
