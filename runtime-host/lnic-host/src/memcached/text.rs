//! memcached's ASCII commands and answers, and the 8-byte header of its UDP frames.
//!
//! Source: memcached's `doc/protocol.txt`, sections "UDP protocol", "Storage commands",
//! "Retrieval command", "Deletion" and "Error strings".

use super::MAX_VALUE;
use crate::engine_api::ServiceOp;

/// Bytes of the frame header.
pub(crate) const FRAME_LEN: usize = 8;
/// Longest key that memcached takes.
pub(crate) const MAX_KEY: usize = 250;

/// Whether a key may be sent. Anything that could end the word or the line, and so start another
/// command, may not.
pub(crate) fn key_is_sendable(key: &[u8]) -> bool {
    (1..=MAX_KEY).contains(&key.len()) && key.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// Writes a request's datagram.
pub(crate) fn write_request(out: &mut Vec<u8>, id: u16, op: ServiceOp, key: &[u8], value: &[u8]) {
    out.clear();
    out.extend_from_slice(&id.to_be_bytes());
    // Sequence 0 of 1, and two reserved bytes.
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0]);
    let word: &[u8] = match op {
        ServiceOp::Get => b"get ",
        ServiceOp::Set => b"set ",
        ServiceOp::Delete => b"delete ",
    };
    out.extend_from_slice(word);
    out.extend_from_slice(key);
    if op == ServiceOp::Set {
        // Flags 0, never expires.
        out.extend_from_slice(b" 0 0 ");
        write_decimal(out, value.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number without allocating.
fn write_decimal(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Header of a UDP frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The request's id, echoed.
    pub(crate) id: u16,
    /// This datagram's place in the answer.
    pub(crate) sequence: u16,
    /// Datagrams in the answer.
    pub(crate) total: u16,
}

/// Splits a datagram; none if it can't be a frame.
pub(crate) fn read_frame(datagram: &[u8]) -> Option<(Frame, &[u8])> {
    let (head, text) = datagram.split_first_chunk::<FRAME_LEN>()?;
    let number = |at| u16::from_be_bytes([head[at], head[at + 1]]);
    let frame = Frame {
        id: number(0),
        sequence: number(2),
        total: number(4),
    };
    (frame.sequence < frame.total).then_some((frame, text))
}

/// What an answer's text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// A value of at most [`MAX_VALUE`] bytes, for this key.
    Value {
        /// The key that the server names.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// A value over the limit, for this key. Its bytes need not be there.
    Oversized {
        /// The key that the server names.
        key: &'a [u8],
    },
    /// Stored or deleted.
    Done,
    /// No such key, or not stored.
    Missing,
    /// The server refused the command.
    Error,
    /// None of the answers that the operation has.
    Malformed,
}

/// Reads an answer to `op`.
pub(crate) fn read_answer(op: ServiceOp, text: &[u8]) -> Text<'_> {
    let is_error = |text: &[u8]| {
        text.ends_with(b"\r\n")
            && [&b"ERROR\r\n"[..], b"CLIENT_ERROR ", b"SERVER_ERROR "]
                .iter()
                .any(|e| text.starts_with(e))
    };
    match (op, text) {
        (ServiceOp::Get, b"END\r\n") => Text::Missing,
        (ServiceOp::Get, _) if text.starts_with(b"VALUE ") => {
            read_value(&text[6..]).unwrap_or(Text::Malformed)
        }
        (ServiceOp::Set, b"STORED\r\n") | (ServiceOp::Delete, b"DELETED\r\n") => Text::Done,
        (ServiceOp::Set, b"NOT_STORED\r\n" | b"EXISTS\r\n" | b"NOT_FOUND\r\n") => Text::Missing,
        (ServiceOp::Delete, b"NOT_FOUND\r\n") => Text::Missing,
        _ if is_error(text) => Text::Error,
        _ => Text::Malformed,
    }
}

/// `KEY FLAGS BYTES [CAS]\r\n…data…\r\nEND\r\n`
fn read_value(text: &[u8]) -> Option<Text<'_>> {
    let line_end = text.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, data) = (&text[..line_end], &text[line_end + 2..]);
    let mut words = line.split(|&byte| byte == b' ');
    let (key, _flags, len) = (words.next()?, words.next()?, words.next()?);
    let digits = (1..=10).contains(&len.len()) && len.iter().all(u8::is_ascii_digit);
    if !digits {
        return None;
    }
    let len = len
        .iter()
        .fold(0usize, |n, digit| n * 10 + usize::from(digit - b'0'));
    if len > MAX_VALUE {
        return Some(Text::Oversized { key });
    }
    let (value, end) = data.split_at_checked(len)?;
    (end == b"\r\nEND\r\n").then_some(Text::Value { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_frame_and_one_command() {
        let mut out = Vec::new();
        write_request(&mut out, 0x1234, ServiceOp::Get, b"hey", b"");
        assert_eq!(out, b"\x12\x34\0\0\0\x01\0\0get hey\r\n");
        write_request(&mut out, 1, ServiceOp::Set, b"hey", b"a\r\nb");
        assert_eq!(&out[8..], b"set hey 0 0 4\r\na\r\nb\r\n");
        write_request(&mut out, 1, ServiceOp::Set, b"hey", b"");
        assert_eq!(&out[8..], b"set hey 0 0 0\r\n\r\n");
        write_request(&mut out, 1, ServiceOp::Delete, b"hey", b"");
        assert_eq!(&out[8..], b"delete hey\r\n");
    }

    #[test]
    fn keys_that_could_inject_a_command_are_not_sendable() {
        for bad in [
            &b""[..],
            b"a b",
            b"a\r\nflush_all",
            b"a\0",
            b"\t",
            b"a\x7f",
            &[b'k'; 251],
        ] {
            assert!(!key_is_sendable(bad), "{bad:?}");
        }
        for good in [&b"k"[..], b"\x80\xff", b"a/b?c=d", &[b'k'; 250]] {
            assert!(key_is_sendable(good), "{good:?}");
        }
    }

    #[test]
    fn answers_are_read_to_the_letter() {
        use ServiceOp::{Delete, Get, Set};
        let value = |key, value| Text::Value { key, value };
        let cases: &[(ServiceOp, &[u8], Text<'_>)] = &[
            (Get, b"END\r\n", Text::Missing),
            (Get, b"VALUE k 0 3\r\nabc\r\nEND\r\n", value(b"k", b"abc")),
            (Get, b"VALUE k 0 0\r\n\r\nEND\r\n", value(b"k", b"")),
            (Get, b"VALUE k 0 5\r\nEND\r\n\r\nEND\r\n", value(b"k", b"END\r\n")),
            (Get, b"VALUE k 0 3 77\r\nabc\r\nEND\r\n", value(b"k", b"abc")),
            (Get, b"VALUE k 0 3\r\nab\r\nEND\r\n", Text::Malformed),
            (Get, b"VALUE k 0 3\r\nabc\r\n", Text::Malformed),
            (Get, b"VALUE k 0 3\r\nabc\r\nEND\r\nx", Text::Malformed),
            (Get, b"VALUE k 0 -1\r\n", Text::Malformed),
            (Get, b"VALUE k 0 99999999999\r\n", Text::Malformed),
            (Get, b"VALUE k 0\r\n", Text::Malformed),
            (Get, b"VALUE k 0 1025\r\nabc", Text::Oversized { key: b"k" }),
            (Get, b"STORED\r\n", Text::Malformed),
            (Get, b"SERVER_ERROR out of memory\r\n", Text::Error),
            (Get, b"", Text::Malformed),
            (Set, b"STORED\r\n", Text::Done),
            (Set, b"NOT_STORED\r\n", Text::Missing),
            (Set, b"ERROR\r\n", Text::Error),
            (Set, b"END\r\n", Text::Malformed),
            (Delete, b"DELETED\r\n", Text::Done),
            (Delete, b"NOT_FOUND\r\n", Text::Missing),
        ];
        for (op, text, expected) in cases {
            assert_eq!(
                read_answer(*op, text),
                *expected,
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn a_frame_needs_eight_bytes_and_a_place_in_its_answer() {
        assert_eq!(read_frame(&[0; 7]), None);
        assert_eq!(read_frame(&[0, 1, 0, 1, 0, 1, 0, 0]), None);
        assert_eq!(read_frame(&[0; 8]), None);
        let (frame, text) = read_frame(b"\x01\x02\0\x01\0\x02\0\0rest").unwrap();
        assert_eq!(
            (frame.id, frame.sequence, frame.total, text),
            (0x0102, 1, 2, &b"rest"[..])
        );
    }
}
