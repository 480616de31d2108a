//! What a test's scripted service makes of requests that the switch sends, and says in answer: memcached's text
//! protocol over UDP (memcached's doc/protocol.txt).

use lambdac_driver::testing::memcached::Command;

use crate::frame::{self, Endpoint, HEADERS};

/// Bytes of memcached's frame header.
const FRAME: usize = 8;

/// A request to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    from: Endpoint,
    to: Endpoint,
    /// The frame header, which the answer repeats.
    head: [u8; FRAME],
    /// What it asks.
    pub command: Command,
}

impl Asked {
    /// Reads a frame that goes to one of the services, all of which have a place of `services` but for the port; `from`
    /// is who sent it but for its port.
    ///
    /// # Errors
    /// In words, what is not as it must be.
    pub fn read(from: Endpoint, services: Endpoint, frame: &[u8]) -> Result<Self, String> {
        let datagram = frame
            .get(HEADERS..)
            .ok_or("a request to a service is too short")?;
        let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let from = Endpoint {
            port: port(HEADERS - 8),
            ..from
        };
        let to = Endpoint {
            port: port(HEADERS - 6),
            ..services
        };
        if frame[..HEADERS] != frame::udp(from, to, datagram)[..HEADERS] {
            return Err(format!(
                "headers of a request to a service: {:02x?}",
                &frame[..HEADERS]
            ));
        }
        let wrong = || format!("`{}` is no request to a service", datagram.escape_ascii());
        let (head, text) = datagram.split_first_chunk::<FRAME>().ok_or_else(wrong)?;
        if head[2..] != [0, 0, 0, 1, 0, 0] {
            return Err(wrong());
        }
        Ok(Self {
            from,
            to,
            head: *head,
            command: Command::read(text).ok_or_else(wrong)?,
        })
    }

    /// The service's port.
    pub fn port(&self) -> u16 {
        self.to.port
    }

    /// The frame of an answer, with a test's header behind memcached's; the lengths say nothing of that.
    pub fn answer(&self, between: &[u8], text: &[u8]) -> Vec<u8> {
        let datagram = [&self.head, text].concat();
        let mut frame = frame::udp(self.to, self.from, &datagram);
        let at = HEADERS + FRAME;
        frame.splice(at..at, between.iter().copied());
        frame
    }

    /// The slot that the request belongs to.
    pub fn slot(&self) -> u8 {
        self.head[1]
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SWITCH: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 2],
        address: Ipv4Addr::new(10, 0, 0, 2),
        port: 0xfc07,
    };
    const SERVICE: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 9],
        address: Ipv4Addr::new(10, 0, 0, 9),
        port: 11_212,
    };

    fn asked(text: &[u8]) -> Result<Asked, String> {
        let datagram = [&[0x5a, 7, 0, 0, 0, 1, 0, 0], text].concat();
        Asked::read(SWITCH, SERVICE, &frame::udp(SWITCH, SERVICE, &datagram))
    }

    #[test]
    fn a_request_goes_to_a_service_from_a_slot_and_holds_a_command() {
        let get = asked(b"get k\r\n").unwrap();
        assert_eq!(
            (&*get.command.key, get.port(), get.slot()),
            (&b"k"[..], 11_212, 7)
        );
        assert!(asked(b"touch k\r\n").is_err());
        let elsewhere = Endpoint {
            address: Ipv4Addr::new(0, 0, 0, 1),
            ..SERVICE
        };
        let strange = frame::udp(SWITCH, elsewhere, b"\0\0\0\0\0\x01\0\0get k\r\n");
        assert!(Asked::read(SWITCH, SERVICE, &strange).is_err());
    }

    #[test]
    fn an_answer_goes_back_to_the_port_that_asked_with_the_same_id() {
        let get = asked(b"get k\r\n").unwrap();
        let text = b"VALUE k 0 1\r\nv\r\nEND\r\n";
        let datagram = [&[0x5a, 7, 0, 0, 0, 1, 0, 0][..], text].concat();
        assert_eq!(get.answer(&[], text), frame::udp(SERVICE, SWITCH, &datagram));
        let tested = get.answer(b"##", text);
        assert_eq!(&tested[HEADERS + FRAME..][..4], b"##VA");
    }
}
