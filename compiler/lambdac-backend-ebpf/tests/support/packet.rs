//! Requests as frames, and replies taken apart, written from the tables of the RFCs and not from the crate's constants.

use std::net::Ipv4Addr;

/// Own Ethernet address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The caller's.
pub const CALLER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Own address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The caller's.
pub const CALLER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Broadcast address of the subnet.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 255);
/// Own port.
pub const PORT: u16 = 4369;
/// The caller's.
pub const CALLER_PORT: u16 = 40001;

/// A request, field by field.
#[derive(Clone)]
pub struct Request {
    pub source: Ipv4Addr,
    pub workload: u32,
    pub fragment: u16,
    pub fragments: u16,
    /// `None`: the payload's.
    pub length: Option<u16>,
    pub payload: Vec<u8>,
}

impl Request {
    pub fn to(workload: u32, payload: &[u8]) -> Request {
        Request {
            source: CALLER,
            workload,
            fragment: 0,
            fragments: 1,
            length: None,
            payload: payload.to_vec(),
        }
    }

    /// The λ datagram.
    pub fn datagram(&self) -> Vec<u8> {
        let mut out = vec![0xce, 0xbb, 1, 0];
        out.extend(self.workload.to_be_bytes());
        out.extend(0x0123_4567_89ab_cdef_u64.to_be_bytes());
        out.extend(self.fragment.to_be_bytes());
        out.extend(self.fragments.to_be_bytes());
        out.extend(self.length.unwrap_or(self.payload.len() as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.payload);
        out
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        frame(self.source, &self.datagram())
    }
}

/// A frame from the caller to us that carries a datagram.
pub fn frame(source: Ipv4Addr, datagram: &[u8]) -> Vec<u8> {
    let mut out = MAC.to_vec();
    out.extend(CALLER_MAC);
    out.extend([0x08, 0x00]);
    let total = 28 + datagram.len() as u16;
    out.extend([0x45, 0x10]);
    out.extend(total.to_be_bytes());
    out.extend([0xbe, 0xef, 0x40, 0x00, 61, 17, 0, 0]);
    out.extend(source.octets());
    out.extend(ADDRESS.octets());
    out.extend(CALLER_PORT.to_be_bytes());
    out.extend(PORT.to_be_bytes());
    out.extend((total - 20).to_be_bytes());
    out.extend([0xab, 0xcd]);
    out.extend(datagram);
    fix_checksum(&mut out);
    out
}

/// Sets the IPv4 header checksum.
pub fn fix_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = !header_sum(frame);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071 over the IPv4 header; 0xffff where its checksum is right.
pub fn header_sum(frame: &[u8]) -> u16 {
    let len = usize::from(frame[14] & 0x0f) * 4;
    let halves = frame[14..14 + len].chunks_exact(2);
    let mut sum: u32 = halves.map(|h| u32::from(u16::from_be_bytes([h[0], h[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A reply, as far as it isn't fixed by the request.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u8,
    pub fragment: u16,
    pub fragments: u16,
    pub payload: Vec<u8>,
}

/// Checks every byte of the reply to a request from the caller, and takes out what is free.
pub fn reply(frame: &[u8], to: &Request) -> Reply {
    let u16_at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    assert!(frame.len() >= 66, "{} bytes", frame.len());
    let len = frame.len() - 66;
    assert_eq!(frame[..6], CALLER_MAC);
    assert_eq!(frame[6..12], MAC);
    assert_eq!(frame[12..15], [0x08, 0x00, 0x45]);
    assert_eq!(usize::from(u16_at(16)), len + 52);
    assert_eq!(frame[18..24], [0, 0, 0x40, 0, 64, 17]);
    assert_eq!(header_sum(frame), 0xffff, "IPv4 checksum");
    assert_eq!(frame[26..30], ADDRESS.octets());
    assert_eq!(frame[30..34], to.source.octets());
    assert_eq!((u16_at(34), u16_at(36)), (PORT, CALLER_PORT));
    assert_eq!(usize::from(u16_at(38)), len + 32);
    assert_eq!(u16_at(40), 0, "UDP checksum");
    assert_eq!(frame[42..46], [0xce, 0xbb, 1, 1]);
    assert_eq!(frame[46..50], to.workload.to_be_bytes());
    assert_eq!(frame[50..58], 0x0123_4567_89ab_cdef_u64.to_be_bytes());
    assert_eq!(usize::from(u16_at(62)), len);
    assert_eq!(frame[65], 0);
    Reply {
        status: frame[64],
        fragment: u16_at(58),
        fragments: u16_at(60),
        payload: frame[66..].to_vec(),
    }
}
