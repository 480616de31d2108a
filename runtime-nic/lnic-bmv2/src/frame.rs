//! Requests and replies as whole Ethernet frames.
//!
//! [`request`] writes what a caller's stack would send. [`reply`] believes nothing of what comes back: each header is
//! compared, byte by byte, with the one that it must be.

pub use lnic_ether::frame::{DATAGRAM as HEADERS, Endpoint, udp};

use lnic_ether::frame::answers;
use lnic_wire::{Header, Status};

/// A request's frame; `between` stands between header and payload, for tests.
pub fn request(from: Endpoint, to: Endpoint, header: &Header, between: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut datagram = header.encode().to_vec();
    datagram.extend_from_slice(between);
    datagram.extend_from_slice(payload);
    udp(from, to, &datagram)
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
    let (header, payload) = answers(asked, datagram).map_err(|error| error.to_string())?;
    Ok((header.status, payload))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{Endpoint, HEADERS, reply, request};
    use lnic_wire::{Header, Status};

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
