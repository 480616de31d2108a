//! Events: what programs tell the agent through the ring buffer.
//!
//! A record is a header of [`HEADER`] bytes, then data. A record may be longer than header and data: what follows is
//! not defined.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | kind: 1 punt, 2 log, 3 trap, 4 frame |
//! | 4 | 4 | position of the workload |
//! | 8 | 4 | lambda, an index of the workload's module; [`NOBODY`] for the match stage, and for a frame |
//! | 12 | 4 | punt: lambda it is handed to, or [`NOBODY`] for `punt;` · trap: cause · log, frame: 0 |
//! | 16 | 4 | file, an index of the workload's module |
//! | 20 | 4 | line, from 1; 0 where unknown |
//! | 24 | 4 | bytes of data |
//! | 28 | 4 | 0 |
//!
//! Data of a punt is the packet from its Ethernet header, untouched; that of a frame is a packet to be sent by the
//! interface, as it is, because the driver had no room for it; a trap has none; a log line is a row of
//! items, padded to 8 bytes each: u32 kind (0 text, 1 unsigned, 2 signed, 3 truth value, 4 bytes), u32 length, then so
//! many bytes. The length of kinds 1 to 3 is 8.

use crate::packet;

/// Bytes of the header.
pub const HEADER: u32 = 32;
/// Instead of the index of a lambda: none.
pub const NOBODY: u32 = u32::MAX;
/// Kind of a punt.
pub const PUNT: u32 = 1;
/// Kind of a log line.
pub const LOG: u32 = 2;
/// Kind of a trap.
pub const TRAP: u32 = 3;
/// Kind of a frame that the agent is to send.
pub const FRAME: u32 = 4;
/// Bytes of the record of a punt or a frame: the header and room for the longest request or reply, in whole words.
pub const PACKET_BYTES: u32 = (HEADER + packet::MAX_FRAME as u32).next_multiple_of(8);
/// Most data bytes of a log line; what is longer is cut off.
pub const LOG_MAX: u32 = 1024;
/// Cause of a trap by a check that is there for the verifier alone. Other causes are
/// `lambdac_mir::TrapCause::ALL`'s indexes.
pub const CAUSE_UNREACHABLE: u32 = lambdac_mir::TrapCause::ALL.len() as u32;

/// An argument of a log line, or the text before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogItem<'a> {
    /// Text of the program.
    Text(&'a [u8]),
    /// A number.
    Unsigned(u64),
    /// A number.
    Signed(i64),
    /// A truth value.
    Bool(bool),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl LogItem<'_> {
    /// Kind of [`LogItem::Text`] in a record.
    pub const TEXT: u32 = 0;
    /// Kind of [`LogItem::Unsigned`].
    pub const UNSIGNED: u32 = 1;
    /// Kind of [`LogItem::Signed`].
    pub const SIGNED: u32 = 2;
    /// Kind of [`LogItem::Bool`].
    pub const BOOL: u32 = 3;
    /// Kind of [`LogItem::Bytes`].
    pub const BYTES: u32 = 4;
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A request that a lambda handed up.
    Punt {
        /// Lambda of the same workload that it is for; `None`: the workload's fallback.
        to: Option<u32>,
        /// The packet, from its Ethernet header.
        frame: &'a [u8],
    },
    /// A log line.
    Log(Vec<LogItem<'a>>),
    /// A trap.
    Trap {
        /// Its cause: an index of `TrapCause::ALL`, or [`CAUSE_UNREACHABLE`].
        cause: u32,
    },
    /// A packet that the driver had no room for: a reply, or a request to a service. The agent sends it.
    Frame(&'a [u8]),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Position of the workload.
    pub workload: u32,
    /// Its lambda, unless the match stage punted.
    pub lambda: Option<u32>,
    /// File, an index of the workload's module.
    pub file: u32,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
    /// What happened.
    pub what: What<'a>,
}

impl<'a> Event<'a> {
    /// Reads a record; `None` if it is none of ours.
    pub fn parse(record: &'a [u8]) -> Option<Event<'a>> {
        let (head, rest) = record.split_at_checked(HEADER as usize)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let data = rest.get(..usize::try_from(word(24)).ok()?)?;
        let somebody = |lambda: u32| (lambda != NOBODY).then_some(lambda);
        let what = match word(0) {
            PUNT => What::Punt {
                to: somebody(word(12)),
                frame: data,
            },
            LOG => What::Log(log_items(data)?),
            TRAP => What::Trap { cause: word(12) },
            FRAME => What::Frame(data),
            _ => return None,
        };
        Some(Event {
            workload: word(4),
            lambda: somebody(word(8)),
            file: word(16),
            line: word(20),
            what,
        })
    }
}

fn log_items(mut data: &[u8]) -> Option<Vec<LogItem<'_>>> {
    let mut items = Vec::new();
    while let Some((head, rest)) = data.split_first_chunk::<8>() {
        let kind = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let len = usize::try_from(len).ok()?;
        let bytes = rest.get(..len)?;
        let number = || bytes.try_into().ok().map(u64::from_le_bytes);
        items.push(match kind {
            LogItem::TEXT => LogItem::Text(bytes),
            LogItem::UNSIGNED => LogItem::Unsigned(number()?),
            LogItem::SIGNED => LogItem::Signed(number()?.cast_signed()),
            LogItem::BOOL => LogItem::Bool(number()? != 0),
            LogItem::BYTES => LogItem::Bytes(bytes),
            _ => return None,
        });
        data = rest.get(len.next_multiple_of(8)..).unwrap_or(&[]);
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(words: [u32; 8], data: &[u8]) -> Vec<u8> {
        let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        record.extend_from_slice(data);
        record
    }

    #[test]
    fn a_punt_carries_the_packet() {
        let bytes = record([PUNT, 2, 1, NOBODY, 0, 9, 3, 0], b"abc and more");
        let event = Event::parse(&bytes).unwrap();
        let what = What::Punt {
            to: None,
            frame: b"abc",
        };
        assert_eq!((event.workload, event.lambda, event.line), (2, Some(1), 9));
        assert_eq!(event.what, what);
    }

    #[test]
    fn a_log_line_is_a_row_of_padded_items() {
        let mut data = vec![0, 0, 0, 0, 3, 0, 0, 0, b'h', b'e', b'y', 0, 0, 0, 0, 0];
        data.extend([2, 0, 0, 0, 8, 0, 0, 0]);
        data.extend((-5i64).to_le_bytes());
        let bytes = record([LOG, 0, 0, 0, 0, 1, data.len() as u32, 0], &data);
        let event = Event::parse(&bytes).unwrap();
        assert_eq!(
            event.what,
            What::Log(vec![LogItem::Text(b"hey"), LogItem::Signed(-5)])
        );
    }

    #[test]
    fn a_record_that_claims_more_than_it_has_is_refused() {
        assert_eq!(Event::parse(&record([PUNT, 0, 0, 0, 0, 0, 4, 0], b"abc")), None);
        assert_eq!(Event::parse(&record([9, 0, 0, 0, 0, 0, 0, 0], b"")), None);
        assert_eq!(Event::parse(b"short"), None);
        let data = [1, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(Event::parse(&record([LOG, 0, 0, 0, 0, 0, 12, 0], &data)), None);
    }
}
