//! Requests and replies as whole Ethernet frames.
//!
//! [`request`] writes what a caller's stack would send. [`reply`] believes nothing of what comes back: each header is
//! compared, byte by byte, with the one that it must be.

use lnic_wire::{Header, Kind, Status};

/// One end of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub address: u32,
    /// UDP port.
    pub port: u16,
}

/// Bytes of Ethernet, IPv4 and UDP headers.
pub const HEADERS: usize = 14 + 20 + 8;

/// A datagram's frame, with no UDP checksum (RFC 768).
pub fn udp(from: Endpoint, to: Endpoint, datagram: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to.mac);
    frame.extend(from.mac);
    frame.extend([0x08, 0x00]);
    let length = (20 + 8 + datagram.len()) as u16;
    let mut ip = vec![0x45, 0];
    ip.extend(length.to_be_bytes());
    // No identification, "don't fragment", time to live 64, UDP, and the checksum's place.
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(from.address.to_be_bytes());
    ip.extend(to.address.to_be_bytes());
    let checksum = !sum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    frame.extend(from.port.to_be_bytes());
    frame.extend(to.port.to_be_bytes());
    frame.extend((8 + datagram.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend_from_slice(datagram);
    frame
}

/// A request's frame; `between` stands between header and payload, for tests.
pub fn request(from: Endpoint, to: Endpoint, header: &Header, between: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut datagram = header.encode().to_vec();
    datagram.extend_from_slice(between);
    datagram.extend_from_slice(payload);
    udp(from, to, &datagram)
}

/// The one's complement sum of RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Status and payload of the reply to a request.
///
/// # Errors
/// The first thing in the frame that is not as it must be.
pub fn reply<'f>(
    from: Endpoint,
    to: Endpoint,
    asked: &Header,
    frame: &'f [u8],
) -> Result<(Status, &'f [u8]), String> {
    let datagram = frame.get(HEADERS..).ok_or("the reply is too short")?;
    let right = udp(to, from, datagram);
    if let Some(at) = (0..HEADERS).find(|at| frame[*at] != right[*at]) {
        return Err(format!(
            "byte {at} of the reply's headers is {:#04x}, not {:#04x}",
            frame[at], right[at]
        ));
    }
    let (header, payload) = Header::decode(datagram, Kind::Reply)
        .map_err(|rule| format!("the reply's λ header is malformed: {}", rule.name()))?;
    if payload.len() + lnic_wire::HEADER_LEN != datagram.len() {
        return Err("the reply's datagram is longer than its payload".to_owned());
    }
    let place = match header.status {
        Status::Ok => (asked.fragment, asked.fragments),
        _ => (0, 1),
    };
    let echoed = (header.workload, header.request, header.fragment, header.fragments);
    if echoed != (asked.workload, asked.request, place.0, place.1) {
        return Err("the reply's λ header does not answer the request's".to_owned());
    }
    Ok((header.status, payload))
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, HEADERS, reply, request};
    use lnic_wire::{Header, Status};

    const CALLER: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 1],
        address: 0x0a00_0001,
        port: 999,
    };
    const WORKER: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 2],
        address: 0x0a00_0002,
        port: 4369,
    };

    #[test]
    fn a_right_reply_gives_its_payload_and_every_wrong_byte_of_its_headers_is_seen() {
        let asked = Header::request(7, 42, 0, 1, 3);
        let header = asked.reply(Status::Ok, 0, 1, 2);
        let frame = request(WORKER, CALLER, &header, &[], b"ok");
        assert_eq!(
            reply(CALLER, WORKER, &asked, &frame),
            Ok((Status::Ok, &b"ok"[..]))
        );
        for at in 0..HEADERS + lnic_wire::HEADER_LEN {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x10;
            assert!(reply(CALLER, WORKER, &asked, &wrong).is_err(), "byte {at}");
        }
    }
}
