//! What a test's scripted service makes of requests that the switch sends, and says in answer: memcached's text
//! protocol over UDP (memcached's doc/protocol.txt).

use lambdac_driver::testing::ServiceAnswer;
use lambdac_mir::ServiceOp;

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
    /// The operation.
    pub op: ServiceOp,
    /// The key.
    pub key: Vec<u8>,
    /// The value of a set.
    pub value: Vec<u8>,
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
        let (op, key, value) = command(text).ok_or_else(wrong)?;
        Ok(Self {
            from,
            to,
            head: *head,
            op,
            key: key.to_vec(),
            value: value.to_vec(),
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

    /// What memcached says; none if it says nothing.
    pub fn text(&self, answer: &ServiceAnswer) -> Option<Vec<u8>> {
        Some(match (answer, self.op) {
            (ServiceAnswer::Value(value), _) => {
                let line = format!(" 0 {}\r\n", value.len());
                [b"VALUE ", &self.key[..], line.as_bytes(), value, b"\r\nEND\r\n"].concat()
            }
            (ServiceAnswer::Done, ServiceOp::Set) => b"STORED\r\n".to_vec(),
            (ServiceAnswer::Done, _) => b"DELETED\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Get) => b"END\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Set) => b"NOT_STORED\r\n".to_vec(),
            (ServiceAnswer::Missing, ServiceOp::Delete) => b"NOT_FOUND\r\n".to_vec(),
            (ServiceAnswer::Failed, _) => return None,
        })
    }
}

/// Operation, key and value of a whole command.
fn command(text: &[u8]) -> Option<(ServiceOp, &[u8], &[u8])> {
    let text = text.strip_suffix(b"\r\n")?;
    let is_key = |key: &[u8]| !key.is_empty() && key.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if let Some(key) = text.strip_prefix(b"get ") {
        return is_key(key).then_some((ServiceOp::Get, key, &[]));
    }
    if let Some(key) = text.strip_prefix(b"delete ") {
        return is_key(key).then_some((ServiceOp::Delete, key, &[]));
    }
    let rest = text.strip_prefix(b"set ")?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, value) = (&rest[..end], &rest[end + 2..]);
    let key_end = line.iter().position(|&byte| byte == b' ')?;
    let (key, numbers) = line.split_at(key_end);
    let expected = format!(" 0 0 {}", value.len());
    (is_key(key) && numbers == expected.as_bytes()).then_some((ServiceOp::Set, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 2],
        address: 0x0a00_0002,
        port: 0xfc07,
    };
    const SERVICE: Endpoint = Endpoint {
        mac: [2, 0, 0, 0, 0, 9],
        address: 0x0a00_0009,
        port: 11_212,
    };

    fn asked(text: &[u8]) -> Result<Asked, String> {
        let datagram = [&[0x5a, 7, 0, 0, 0, 1, 0, 0], text].concat();
        Asked::read(SWITCH, SERVICE, &frame::udp(SWITCH, SERVICE, &datagram))
    }

    #[test]
    fn commands_are_read_and_anything_else_is_wrong() {
        let get = asked(b"get k\r\n").unwrap();
        assert_eq!(
            (get.op, &*get.key, get.port(), get.slot()),
            (ServiceOp::Get, &b"k"[..], 11_212, 7)
        );
        let set = asked(b"set k 0 0 3\r\na\r\n\r\n").unwrap();
        assert_eq!(
            (set.op, &*set.key, &*set.value),
            (ServiceOp::Set, &b"k"[..], &b"a\r\n"[..])
        );
        assert_eq!(asked(b"delete k\r\n").unwrap().op, ServiceOp::Delete);
        for wrong in [
            &b"get k"[..],
            b"get \r\n",
            b"get a b\r\n",
            b"set k 0 0 4\r\nabc\r\n",
            b"set k 1 0 3\r\nabc\r\n",
            b"touch k\r\n",
        ] {
            assert!(asked(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        let elsewhere = Endpoint {
            address: 1,
            ..SERVICE
        };
        let strange = frame::udp(SWITCH, elsewhere, b"\0\0\0\0\0\x01\0\0get k\r\n");
        assert!(Asked::read(SWITCH, SERVICE, &strange).is_err());
    }

    #[test]
    fn an_answer_goes_back_to_the_port_that_asked_with_the_same_id() {
        let get = asked(b"get k\r\n").unwrap();
        let text = get.text(&ServiceAnswer::Value(b"v".to_vec())).unwrap();
        assert_eq!(text, b"VALUE k 0 1\r\nv\r\nEND\r\n");
        let datagram = [&[0x5a, 7, 0, 0, 0, 1, 0, 0][..], &text].concat();
        assert_eq!(get.answer(&[], &text), frame::udp(SERVICE, SWITCH, &datagram));
        let tested = get.answer(b"##", &text);
        assert_eq!(&tested[HEADERS + FRAME..][..4], b"##VA");
        assert_eq!(get.text(&ServiceAnswer::Failed), None);
    }
}
