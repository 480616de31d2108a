//! What a NIC may do with a packet, after the rules of the λ wire (design, section 6), read off the bytes one rule after
//! the other. It shares no code with the dispatcher, the host's parser or the compiler: a bug in one shows as a
//! difference.
//!
//! Where a packet breaks several rules, the first in the order below is its reason. The order is the outer headers from
//! the outside in, then the λ header.

use std::net::Ipv4Addr;

/// Who answers.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// UDP port.
    pub port: u16,
    /// Broadcast address of the subnet.
    pub broadcast: Ipv4Addr,
    /// Callers whose address starts with these bits may get long replies.
    pub trusted: Vec<(Ipv4Addr, u8)>,
    /// What it serves.
    pub workloads: Vec<Workload>,
}

/// A workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its id.
    pub id: u32,
    /// What it does.
    pub kind: Kind,
}

/// What a workload does with a request.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Replies with the request, of at most so many bytes.
    Echo(usize),
    /// Replies with this, whatever the request.
    Page(Vec<u8>),
    /// Replies to each chunk of so many bytes with the chunk.
    Chunks(usize),
    /// Runs on the host.
    Host,
}

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Up the stack untouched; the reason.
    Passed(&'static str),
    /// Gone; the reason.
    Dropped(&'static str),
    /// Up the stack, by the workload of this index.
    WorkloadPassed(usize),
    /// Answered by the workload of this index with this status and payload.
    Answered(usize, u8, Vec<u8>),
}

use Verdict::{Answered, Dropped, Passed, WorkloadPassed};

const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;
const LAMBDA: usize = 24;
/// Most payload bytes of a packet.
const MAX_PAYLOAD: usize = 1344;

const OK: u8 = 0;
const BAD_REQUEST: u8 = 2;
const TOO_LARGE: u8 = 7;

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | usize::from(*byte))
}

impl Worker {
    /// What has to happen to a frame.
    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        match self.outer(frame) {
            Ok(datagram) => self.datagram(frame, datagram),
            Err(verdict) => verdict,
        }
    }

    /// Ethernet, IPv4 and UDP; gives the bytes of UDP's payload.
    fn outer<'f>(&self, frame: &'f [u8]) -> Result<&'f [u8], Verdict> {
        if frame.len() < ETHERNET {
            return Err(Passed("truncated"));
        }
        if frame[..6] != self.mac {
            return Err(Passed("not_ours"));
        }
        match number(&frame[12..14]) {
            0x0800 => {}
            0x86dd => return Err(Passed("ipv6")),
            0x8100 | 0x88a8 => return Err(Passed("vlan")),
            _ => return Err(Passed("not_ipv4")),
        }
        let packet = &frame[ETHERNET..];
        if packet.len() < IP + UDP {
            return Err(Passed("truncated"));
        }
        if packet[0] >> 4 != 4 {
            return Err(Passed("not_ipv4"));
        }
        if packet[0] & 0xf != 5 {
            return Err(Passed("ip_options"));
        }
        if packet[9] != 17 || packet[16..20] != self.address.octets() {
            return Err(Passed("not_ours"));
        }
        let (more, offset) = (packet[6] & 0x20 != 0, number(&packet[6..8]) & 0x1fff);
        if more || offset != 0 {
            return Err(Passed("ip_fragment"));
        }
        if number(&packet[22..24]) != usize::from(self.port) {
            return Err(Passed("not_ours"));
        }
        let source = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        if !self.is_honest(source) {
            return Err(Dropped("source"));
        }
        let (total, udp) = (number(&packet[2..4]), number(&packet[24..26]));
        if total > packet.len() {
            return Err(Passed("truncated"));
        }
        if total != udp + IP {
            return Err(Passed("length"));
        }
        if !has_right_sum(&packet[..IP]) {
            return Err(Passed("ip_checksum"));
        }
        if udp < UDP {
            return Err(Passed("length"));
        }
        Ok(&packet[IP + UDP..total])
    }

    fn is_honest(&self, source: Ipv4Addr) -> bool {
        let this_network = source.octets()[0] == 0;
        !(this_network
            || source.is_loopback()
            || source.is_multicast()
            || source.is_broadcast()
            || source == self.broadcast
            || source == self.address)
    }

    fn trusts(&self, source: &[u8]) -> bool {
        let bits = number(source) as u32;
        self.trusted.iter().any(|(prefix, len)| {
            let unused = 32 - u32::from(*len);
            u64::from(bits) >> unused == u64::from(prefix.to_bits()) >> unused
        })
    }

    fn datagram(&self, frame: &[u8], datagram: &[u8]) -> Verdict {
        if datagram.len() < LAMBDA {
            return Dropped("short");
        }
        let (fragment, fragments) = (number(&datagram[16..18]), number(&datagram[18..20]));
        let length = number(&datagram[20..22]);
        let broken = [
            ("magic", datagram[..2] != [0xce, 0xbb]),
            ("version", datagram[2] != 1),
            ("kind", datagram[3] != 0),
            ("flag", datagram[23] != 0),
            ("no_fragments", fragments == 0),
            ("fragment_index", fragment >= fragments),
            ("length_beyond_datagram", length > datagram.len() - LAMBDA),
            ("length_over_fragment", length > MAX_PAYLOAD),
            ("empty_fragment", fragments > 1 && length == 0),
        ];
        if let Some((reason, _)) = broken.into_iter().find(|(_, broken)| *broken) {
            return Dropped(reason);
        }
        let id = number(&datagram[4..8]) as u32;
        let Some(index) = self.workloads.iter().position(|workload| workload.id == id) else {
            return Passed("no_workload");
        };
        let payload = &datagram[LAMBDA..][..length];
        let (status, reply) = match &self.workloads[index].kind {
            Kind::Chunks(chunk) => {
                // Chunk and reply have the same size, so as many as fit.
                let full = MAX_PAYLOAD / chunk * chunk;
                if length > full {
                    return Dropped("length_over_fragment");
                }
                if length < full && fragment + 1 < fragments {
                    return Dropped("short_middle");
                }
                if length == 0 || !length.is_multiple_of(*chunk) {
                    (BAD_REQUEST, &[][..])
                } else {
                    (OK, payload)
                }
            }
            _ if fragments > 1 => return WorkloadPassed(index),
            Kind::Host => return WorkloadPassed(index),
            Kind::Echo(most) if length > *most => (BAD_REQUEST, &[][..]),
            Kind::Echo(_) => (OK, payload),
            Kind::Page(page) => (OK, &page[..]),
        };
        let trusted = self.trusts(&frame[ETHERNET + 12..ETHERNET + 16]);
        if LAMBDA + reply.len() > 3 * datagram.len() && !trusted {
            return Answered(index, TOO_LARGE, Vec::new());
        }
        Answered(index, status, reply.to_vec())
    }
}

/// RFC 1071.
fn has_right_sum(header: &[u8]) -> bool {
    let mut sum: usize = header.chunks(2).map(number).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}
