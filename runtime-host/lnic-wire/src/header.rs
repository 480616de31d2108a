//! The 24-byte header: decode, encode, and the rules a packet must obey.

use crate::{HEADER_LEN, MAGIC, MAX_FRAGMENT, VERSION};

/// Whether a packet asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// From a caller to a worker.
    Request,
    /// From a worker to a caller.
    Reply,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// The payload is the reply.
    Ok = 0,
    /// The worker has no workload of that id.
    NoWorkload = 1,
    /// The request does not fit what the workload accepts.
    BadRequest = 2,
    /// The lambda trapped.
    Trap = 3,
    /// The worker had no room to hold the request.
    Overloaded = 4,
    /// A deadline ran out in the worker.
    Timeout = 5,
    /// The lambda handed the request up and nobody was there to take it.
    Punted = 6,
    /// Request or reply is larger than may be carried.
    TooLarge = 7,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Status; 8] = [
        Status::Ok,
        Status::NoWorkload,
        Status::BadRequest,
        Status::Trap,
        Status::Overloaded,
        Status::Timeout,
        Status::Punted,
        Status::TooLarge,
    ];

    /// The status with this number on the wire.
    pub fn from_wire(byte: u8) -> Option<Status> {
        Status::ALL.get(usize::from(byte)).copied()
    }

    /// The name used in messages and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::NoWorkload => "NO_WORKLOAD",
            Status::BadRequest => "BAD_REQUEST",
            Status::Trap => "TRAP",
            Status::Overloaded => "OVERLOADED",
            Status::Timeout => "TIMEOUT",
            Status::Punted => "PUNTED",
            Status::TooLarge => "TOO_LARGE",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The rule that a datagram broke. Such a datagram is dropped and counted, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Malformed {
    /// Fewer bytes than a header.
    Short,
    /// The first two bytes are not the magic number.
    Magic,
    /// A version that is not ours.
    Version,
    /// A kind that does not exist, or a reply where requests are expected (and the reverse).
    Kind,
    /// A flag that is not known.
    Flag,
    /// A message of zero fragments.
    NoFragments,
    /// A fragment index at or past the fragment count.
    FragmentIndex,
    /// A length beyond the end of the datagram.
    LengthBeyondDatagram,
    /// A length over the workload's fragment size.
    LengthOverFragment,
    /// An empty fragment of a message that has several.
    EmptyFragment,
    /// A fragment before the last that is not full.
    ShortMiddle,
    /// A reply with a status that does not exist.
    Status,
    /// An error reply that carries a payload or is not fragment 0 of 1.
    ErrorShape,
}

impl Malformed {
    /// Every rule, in declaration order: `ALL[m as usize] == m`.
    pub const ALL: [Malformed; 13] = [
        Malformed::Short,
        Malformed::Magic,
        Malformed::Version,
        Malformed::Kind,
        Malformed::Flag,
        Malformed::NoFragments,
        Malformed::FragmentIndex,
        Malformed::LengthBeyondDatagram,
        Malformed::LengthOverFragment,
        Malformed::EmptyFragment,
        Malformed::ShortMiddle,
        Malformed::Status,
        Malformed::ErrorShape,
    ];

    /// The name used as a metric label.
    pub fn name(self) -> &'static str {
        match self {
            Malformed::Short => "short",
            Malformed::Magic => "magic",
            Malformed::Version => "version",
            Malformed::Kind => "kind",
            Malformed::Flag => "flag",
            Malformed::NoFragments => "no_fragments",
            Malformed::FragmentIndex => "fragment_index",
            Malformed::LengthBeyondDatagram => "length_beyond_datagram",
            Malformed::LengthOverFragment => "length_over_fragment",
            Malformed::EmptyFragment => "empty_fragment",
            Malformed::ShortMiddle => "short_middle",
            Malformed::Status => "status",
            Malformed::ErrorShape => "error_shape",
        }
    }
}

/// A packet's header. All fields are in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Request or reply.
    pub kind: Kind,
    /// Id given by the worker.
    pub workload: u32,
    /// Number chosen by the caller, echoed in replies.
    pub request: u64,
    /// Index of this packet in its message.
    pub fragment: u16,
    /// Packets in the message, at least 1.
    pub fragments: u16,
    /// Payload bytes in this packet.
    pub length: u16,
    /// How the request ended; [`Status::Ok`] in requests.
    pub status: Status,
}

impl Header {
    /// The header of one packet of a request.
    pub fn request(workload: u32, request: u64, fragment: u16, fragments: u16, length: u16) -> Header {
        Header {
            kind: Kind::Request,
            workload,
            request,
            fragment,
            fragments,
            length,
            status: Status::Ok,
        }
    }

    /// The header of one packet of the reply to `self`.
    pub fn reply(&self, status: Status, fragment: u16, fragments: u16, length: u16) -> Header {
        Header {
            kind: Kind::Reply,
            fragment,
            fragments,
            length,
            status,
            ..*self
        }
    }

    /// The header of an error reply to `self`: fragment 0 of 1, no payload.
    pub fn error(&self, status: Status) -> Header {
        self.reply(status, 0, 1, 0)
    }

    /// Checks `datagram` by every rule that needs no knowledge of the workload, and returns the
    /// header and the payload. Bytes past the header's length are padding and are left out.
    ///
    /// A request's status is ignored. A reply may have empty fragments: a stream workload answers
    /// each fragment with any length.
    ///
    /// # Errors
    ///
    /// The first rule that the datagram breaks.
    #[inline]
    pub fn decode(datagram: &[u8], expected: Kind) -> Result<(Header, &[u8]), Malformed> {
        let (head, rest) = datagram
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Short)?;
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if u16_at(0) != MAGIC {
            return Err(Malformed::Magic);
        }
        if head[2] != VERSION {
            return Err(Malformed::Version);
        }
        if head[3] != expected as u8 {
            return Err(Malformed::Kind);
        }
        if head[23] != 0 {
            return Err(Malformed::Flag);
        }
        let mut header = Header {
            kind: expected,
            workload: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            request: u64::from_be_bytes([
                head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15],
            ]),
            fragment: u16_at(16),
            fragments: u16_at(18),
            length: u16_at(20),
            status: Status::Ok,
        };
        if expected == Kind::Reply {
            header.status = Status::from_wire(head[22]).ok_or(Malformed::Status)?;
        }
        header.check_shape(rest.len())?;
        Ok((header, &rest[..usize::from(header.length)]))
    }

    #[inline]
    fn check_shape(&self, available: usize) -> Result<(), Malformed> {
        if self.fragments == 0 {
            return Err(Malformed::NoFragments);
        }
        if self.fragment >= self.fragments {
            return Err(Malformed::FragmentIndex);
        }
        if usize::from(self.length) > available {
            return Err(Malformed::LengthBeyondDatagram);
        }
        if usize::from(self.length) > MAX_FRAGMENT {
            return Err(Malformed::LengthOverFragment);
        }
        if self.kind == Kind::Request && self.length == 0 && self.fragments > 1 {
            return Err(Malformed::EmptyFragment);
        }
        if self.status != Status::Ok && (self.fragments != 1 || self.length != 0) {
            return Err(Malformed::ErrorShape);
        }
        Ok(())
    }

    /// Checks the length against `fragment_size`, the workload's F.
    ///
    /// # Errors
    ///
    /// [`Malformed::LengthOverFragment`] or [`Malformed::ShortMiddle`].
    #[inline]
    pub fn check_fragment_size(&self, fragment_size: u16) -> Result<(), Malformed> {
        if self.length > fragment_size {
            return Err(Malformed::LengthOverFragment);
        }
        if self.length < fragment_size && self.fragment + 1 < self.fragments {
            return Err(Malformed::ShortMiddle);
        }
        Ok(())
    }

    /// Smallest and largest size in bytes that the message of this packet can have.
    ///
    /// They are equal when this packet is the last, since only the last may be short.
    #[inline]
    pub fn message_len_bounds(&self, fragment_size: u16) -> (usize, usize) {
        let before_last = usize::from(self.fragments - 1) * usize::from(fragment_size);
        if self.fragment + 1 == self.fragments {
            let len = before_last + usize::from(self.length);
            (len, len)
        } else {
            (before_last + 1, before_last + usize::from(fragment_size))
        }
    }

    /// The header as it stands on the wire.
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..2].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[2] = VERSION;
        bytes[3] = self.kind as u8;
        bytes[4..8].copy_from_slice(&self.workload.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.request.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.fragment.to_be_bytes());
        bytes[18..20].copy_from_slice(&self.fragments.to_be_bytes());
        bytes[20..22].copy_from_slice(&self.length.to_be_bytes());
        bytes[22] = self.status as u8;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Vec<u8> {
        let mut bytes = Header::request(0x0102_0304, 0x1122_3344_5566_7788, 0, 1, 3)
            .encode()
            .to_vec();
        bytes.extend_from_slice(b"abc");
        bytes
    }

    fn decode(edit: impl FnOnce(&mut Vec<u8>)) -> Result<Header, Malformed> {
        let mut bytes = good();
        edit(&mut bytes);
        Header::decode(&bytes, Kind::Request).map(|(header, _)| header)
    }

    #[test]
    fn a_request_stands_on_the_wire_as_the_table_says() {
        let expected = [
            0xCE, 0xBB, 1, 0, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 1, 0, 3,
            0, 0, b'a', b'b', b'c',
        ];
        assert_eq!(good(), expected);
    }

    #[test]
    fn bytes_past_the_length_are_padding() {
        let mut bytes = good();
        bytes.extend_from_slice(&[9; 50]);
        let (header, payload) = Header::decode(&bytes, Kind::Request).unwrap();
        assert_eq!((header.length, payload), (3, &b"abc"[..]));
    }

    #[test]
    fn each_broken_rule_has_its_own_reason() {
        type Edit = fn(&mut Vec<u8>);
        let cases: [(Malformed, Edit); 11] = [
            (Malformed::Short, |b| b.truncate(23)),
            (Malformed::Magic, |b| b[0] = 0),
            (Malformed::Version, |b| b[2] = 2),
            (Malformed::Kind, |b| b[3] = 1),
            (Malformed::Kind, |b| b[3] = 2),
            (Malformed::Flag, |b| b[23] = 0x80),
            (Malformed::NoFragments, |b| b[19] = 0),
            (Malformed::FragmentIndex, |b| b[17] = 1),
            (Malformed::LengthBeyondDatagram, |b| b[21] = 4),
            (Malformed::LengthOverFragment, |b| {
                b.resize(24 + 1345, 0);
                b[20..22].copy_from_slice(&1345u16.to_be_bytes());
            }),
            (Malformed::EmptyFragment, |b| (b[19], b[21]) = (2, 0)),
        ];
        for (reason, edit) in cases {
            assert_eq!(decode(edit), Err(reason));
        }
    }

    #[test]
    fn an_empty_datagram_and_an_empty_single_fragment_differ() {
        assert_eq!(Header::decode(&[], Kind::Request), Err(Malformed::Short));
        assert_eq!(decode(|b| b[21] = 0).unwrap().length, 0);
    }

    #[test]
    fn the_status_of_a_request_is_ignored() {
        assert_eq!(decode(|b| b[22] = 200).unwrap().status, Status::Ok);
    }

    #[test]
    fn the_fragment_size_of_the_workload_binds_middle_and_last() {
        let header = |fragment, length| Header::request(1, 1, fragment, 3, length);
        assert_eq!(header(0, 100).check_fragment_size(100), Ok(()));
        assert_eq!(
            header(1, 99).check_fragment_size(100),
            Err(Malformed::ShortMiddle)
        );
        assert_eq!(header(2, 99).check_fragment_size(100), Ok(()));
        assert_eq!(
            header(2, 101).check_fragment_size(100),
            Err(Malformed::LengthOverFragment)
        );
        assert_eq!(header(0, 100).message_len_bounds(100), (201, 300));
        assert_eq!(header(2, 7).message_len_bounds(100), (207, 207));
    }

    #[test]
    fn replies_are_checked_as_replies() {
        let decode = |header: Header, edit: fn(&mut [u8])| {
            let mut bytes = header.encode();
            edit(&mut bytes);
            Header::decode(&bytes, Kind::Reply).map(|(h, _)| h.status)
        };
        let request = Header::request(1, 2, 0, 1, 0);
        assert_eq!(decode(request.error(Status::Trap), |_| {}), Ok(Status::Trap));
        assert_eq!(
            decode(request.error(Status::Trap), |b| b[22] = 8),
            Err(Malformed::Status)
        );
        assert_eq!(
            decode(request.reply(Status::Trap, 0, 2, 0), |_| {}),
            Err(Malformed::ErrorShape)
        );
        assert_eq!(decode(request.reply(Status::Ok, 1, 2, 0), |_| {}), Ok(Status::Ok));
        assert_eq!(decode(request, |_| {}), Err(Malformed::Kind));
    }

    #[test]
    fn labels_are_in_order_and_distinct() {
        for (at, rule) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, at);
        }
        for (at, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(Status::from_wire(at as u8), Some(status));
        }
        let mut names: Vec<_> = Malformed::ALL.iter().map(|rule| rule.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Malformed::ALL.len());
    }
}
