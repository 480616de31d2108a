//! Requests and replies as whole Ethernet frames, for programs that are asked without a caller's network stack.
//!
//! [`request`] writes what a caller's stack would send. [`reply`] believes nothing: addresses and ports swapped,
//! lengths, the IPv4 header checksum, time to live and the λ header are all compared with what they must be, so that
//! each run of a program is also a test of its packet.

use std::net::Ipv4Addr;

use lnic_wire::{Header, Kind, Status};

/// One end of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// UDP port.
    pub port: u16,
}

/// Where things stand: Ethernet (IEEE 802.3), IPv4 without options (RFC 791), UDP (RFC 768).
const ETH_DESTINATION: usize = 0;
const ETH_SOURCE: usize = 6;
const ETH_TYPE: usize = 12;
const IP: usize = 14;
const IP_LENGTH: usize = 16;
const IP_FRAGMENT: usize = 20;
const IP_TTL: usize = 22;
const IP_PROTOCOL: usize = 23;
/// Offset of the header checksum.
const IP_CHECKSUM: usize = 24;
const IP_SOURCE: usize = 26;
const IP_DESTINATION: usize = 30;
const UDP: usize = 34;
const UDP_DESTINATION: usize = 36;
const UDP_LENGTH: usize = 38;
/// Offset of the UDP checksum.
const UDP_CHECKSUM: usize = 40;
/// Where a datagram starts in its frame.
pub const DATAGRAM: usize = 42;
/// The λ header, and what is behind it.
const LAMBDA: usize = DATAGRAM;
const PAYLOAD: usize = LAMBDA + lnic_wire::HEADER_LEN;

const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
/// Version 4, five words of header.
const VERSION_AND_LEN: u8 = 0x45;
/// Time to live of what is sent (RFC 1700).
const TTL: u8 = 64;
/// Flag `don't fragment`.
const DONT_FRAGMENT: u16 = 0x4000;

fn put16(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn get16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// The frame of one packet of a request. The datagram is followed by zeros up to `datagram` bytes, as a caller may pad
/// it; 0: not at all.
pub fn request(from: Endpoint, to: Endpoint, header: &Header, payload: &[u8], datagram: usize) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(payload);
    if bytes.len() < datagram {
        bytes.resize(datagram, 0);
    }
    udp(from, to, &bytes)
}

/// The frame of a datagram.
pub fn udp(from: Endpoint, to: Endpoint, datagram: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; LAMBDA];
    frame.extend_from_slice(datagram);
    let len = frame.len() as u16;
    frame[ETH_DESTINATION..][..6].copy_from_slice(&to.mac);
    frame[ETH_SOURCE..][..6].copy_from_slice(&from.mac);
    put16(&mut frame, ETH_TYPE, ETHERTYPE_IPV4);
    frame[IP] = VERSION_AND_LEN;
    put16(&mut frame, IP_LENGTH, len - IP as u16);
    put16(&mut frame, IP_FRAGMENT, DONT_FRAGMENT);
    frame[IP_TTL] = TTL;
    frame[IP_PROTOCOL] = PROTOCOL_UDP;
    frame[IP_SOURCE..][..4].copy_from_slice(&from.address.octets());
    frame[IP_DESTINATION..][..4].copy_from_slice(&to.address.octets());
    let checksum = !sum(0, &frame[IP..UDP]);
    put16(&mut frame, IP_CHECKSUM, checksum);
    put16(&mut frame, UDP, from.port);
    put16(&mut frame, UDP_DESTINATION, to.port);
    put16(&mut frame, UDP_LENGTH, len - UDP as u16);
    frame
}

/// A frame without what follows its IPv4 packet: hardware pads short frames, and a NIC may leave bytes behind a packet
/// that became shorter.
pub fn whole(frame: &[u8]) -> &[u8] {
    let Some(len) = frame.get(IP_LENGTH..IP_FRAGMENT).map(|_| get16(frame, IP_LENGTH)) else {
        return frame;
    };
    frame.get(..IP + usize::from(len)).unwrap_or(frame)
}

/// Both ends and the payload of a datagram's frame.
///
/// # Errors
/// The first thing in it that is not as it must be in what a program sends.
pub fn read_udp(frame: &[u8]) -> Result<(Endpoint, Endpoint, &[u8]), BadReply> {
    if frame.len() < LAMBDA {
        return Err(BadReply(format!("frame has {} bytes", frame.len())));
    }
    check_lengths(frame)?;
    check_udp_checksum(frame)?;
    let end = |mac: usize, address: usize, port: usize| {
        let mut end = Endpoint {
            mac: [0; 6],
            address: Ipv4Addr::UNSPECIFIED,
            port: get16(frame, port),
        };
        end.mac.copy_from_slice(&frame[mac..][..6]);
        let mut octets = [0; 4];
        octets.copy_from_slice(&frame[address..][..4]);
        end.address = octets.into();
        end
    };
    let from = end(ETH_SOURCE, IP_SOURCE, UDP);
    let to = end(ETH_DESTINATION, IP_DESTINATION, UDP_DESTINATION);
    Ok((from, to, &frame[LAMBDA..]))
}

/// The one's complement sum of RFC 1071, from `start` on.
pub fn sum(start: u32, bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    // A frame has at most 2^15 words of 16 bits, so that 32 bits hold their sum.
    let mut sum: u32 = words.sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Why a frame is no reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply's {0}")]
pub struct BadReply(String);

/// The λ header and payload of the reply to a request frame.
///
/// # Errors
/// The first thing in it that is not as it must be.
pub fn reply<'f>(request: &[u8], frame: &'f [u8]) -> Result<(Header, &'f [u8]), BadReply> {
    if frame.len() < PAYLOAD {
        return Err(BadReply(format!("frame has {} bytes", frame.len())));
    }
    let swapped = [
        ("Ethernet addresses", ETH_DESTINATION, ETH_SOURCE, 6),
        ("IPv4 addresses", IP_SOURCE, IP_DESTINATION, 4),
        ("ports", UDP, UDP_DESTINATION, 2),
    ];
    for (what, one, other, len) in swapped {
        let right =
            frame[one..][..len] == request[other..][..len] && frame[other..][..len] == request[one..][..len];
        if !right {
            return Err(BadReply(format!("{what} are not the request's, swapped")));
        }
    }
    check_lengths(frame)?;
    check_udp_checksum(frame)?;
    let (asked, _) = Header::decode(&request[LAMBDA..], Kind::Request)
        .map_err(|rule| BadReply(format!("request is malformed: {}", rule.name())))?;
    answers(&asked, &frame[LAMBDA..])
}

/// λ header and payload of a reply's datagram.
///
/// # Errors
/// What in it does not answer the request.
pub fn answers<'d>(asked: &Header, datagram: &'d [u8]) -> Result<(Header, &'d [u8]), BadReply> {
    let (header, payload) = Header::decode(datagram, Kind::Reply)
        .map_err(|rule| BadReply(format!("λ header is malformed: {}", rule.name())))?;
    if payload.len() + lnic_wire::HEADER_LEN != datagram.len() {
        return Err(BadReply("payload is shorter than its datagram".to_owned()));
    }
    let place = match header.status {
        Status::Ok => (asked.fragment, asked.fragments),
        _ => (0, 1),
    };
    let echoed = (header.workload, header.request, header.fragment, header.fragments);
    if echoed != (asked.workload, asked.request, place.0, place.1) {
        return Err(BadReply("λ header does not answer the request's".to_owned()));
    }
    Ok((header, payload))
}

/// Lengths and constant fields up to UDP's header, and the IPv4 header's checksum.
fn check_lengths(frame: &[u8]) -> Result<(), BadReply> {
    let ip = frame.len() - IP;
    let udp = frame.len() - UDP;
    let expected: [(&str, u64, u64); 6] = [
        ("EtherType", get16(frame, ETH_TYPE).into(), ETHERTYPE_IPV4.into()),
        ("IPv4 version", frame[IP].into(), VERSION_AND_LEN.into()),
        ("IPv4 length", get16(frame, IP_LENGTH).into(), ip as u64),
        ("time to live", frame[IP_TTL].into(), TTL.into()),
        ("UDP length", get16(frame, UDP_LENGTH).into(), udp as u64),
        ("IPv4 header's sum", sum(0, &frame[IP..UDP]).into(), 0xffff),
    ];
    if let Some((what, is, should)) = expected.iter().find(|(_, is, should)| is != should) {
        return Err(BadReply(format!("{what} is {is:#x}, not {should:#x}")));
    }
    Ok(())
}

/// 0 is none (RFC 768); any other must be right.
fn check_udp_checksum(frame: &[u8]) -> Result<(), BadReply> {
    if get16(frame, UDP_CHECKSUM) == 0 {
        return Ok(());
    }
    let mut covered = frame[IP_SOURCE..UDP].to_vec();
    covered.extend_from_slice(&[0, PROTOCOL_UDP]);
    covered.extend_from_slice(&frame[UDP_LENGTH..][..2]);
    covered.extend_from_slice(&frame[UDP..]);
    match sum(0, &covered) {
        0xffff => Ok(()),
        _ => Err(BadReply("UDP checksum is wrong".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 1],
        address: Ipv4Addr::new(10, 0, 0, 1),
        port: 999,
    };
    const WORKER: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 2],
        address: Ipv4Addr::new(10, 0, 0, 2),
        port: 4369,
    };

    fn asked() -> Vec<u8> {
        request(
            CALLER,
            WORKER,
            &Header::request(0x0005_0001, 7, 0, 1, 3),
            b"abc",
            0,
        )
    }

    /// What a program should make of the request, built by the other direction's code.
    fn answered() -> Vec<u8> {
        let header = Header::request(0x0005_0001, 7, 0, 1, 3).reply(Status::Ok, 0, 1, 2);
        request(WORKER, CALLER, &header, b"ok", 0)
    }

    #[test]
    fn a_right_reply_gives_its_payload() {
        let (request, frame) = (asked(), answered());
        let (header, payload) = reply(&request, &frame).unwrap();
        assert_eq!((header.status, payload), (Status::Ok, &b"ok"[..]));
    }

    #[test]
    fn every_wrong_byte_of_the_headers_is_seen() {
        // The type of service, the identification, and the flags are in the checksum; so is everything else of IPv4.
        let request = asked();
        for at in 0..PAYLOAD {
            let mut frame = answered();
            frame[at] ^= 0x10;
            assert!(reply(&request, &frame).is_err(), "byte {at}");
        }
    }

    #[test]
    fn padding_counts_as_datagram_and_not_as_payload() {
        let frame = request(CALLER, WORKER, &Header::request(1, 7, 0, 1, 3), b"abc", 100);
        assert_eq!(frame.len(), LAMBDA + 100);
        let decoded = Header::decode(&frame[LAMBDA..], Kind::Request);
        assert_eq!(decoded.unwrap().1, b"abc");
    }
}
