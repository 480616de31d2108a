//! Cutting a message into the payloads of its packets.

use crate::{MAX_FRAGMENT, MAX_MESSAGE};

/// One packet's share of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'m> {
    /// Index in the message.
    pub index: u16,
    /// Packets in the message.
    pub count: u16,
    /// The payload.
    pub payload: &'m [u8],
}

/// The packets of a message, in order. Made by [`fragments`].
#[derive(Debug, Clone)]
pub struct Fragments<'m> {
    message: &'m [u8],
    fragment_size: usize,
    next: u16,
    count: u16,
}

/// Number of packets for `len` bytes at `fragment_size` bytes each; none if the message is over
/// [`MAX_MESSAGE`] or would need more packets than can be numbered.
pub fn fragment_count(len: usize, fragment_size: u16) -> Option<u16> {
    if len > MAX_MESSAGE || fragment_size == 0 {
        return None;
    }
    u16::try_from(len.div_ceil(usize::from(fragment_size)).max(1)).ok()
}

/// Cuts `message` into packets of `fragment_size` bytes, the last of which may be shorter.
/// An empty message is one empty packet. None where [`fragment_count`] says so.
pub fn fragments(message: &[u8], fragment_size: u16) -> Option<Fragments<'_>> {
    let count = fragment_count(message.len(), fragment_size)?;
    Some(Fragments {
        message,
        fragment_size: usize::from(fragment_size),
        next: 0,
        count,
    })
}

impl<'m> Iterator for Fragments<'m> {
    type Item = Fragment<'m>;

    fn next(&mut self) -> Option<Fragment<'m>> {
        if self.next == self.count {
            return None;
        }
        let (payload, rest) = self.message.split_at(self.fragment_size.min(self.message.len()));
        self.message = rest;
        let index = self.next;
        self.next += 1;
        Some(Fragment {
            index,
            count: self.count,
            payload,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.count - self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Fragments<'_> {}

/// The fragment size of a stream workload: the largest multiple of `chunk` bytes that fits a
/// packet and whose reply, at most `max_reply` bytes a chunk, also fits one.
///
/// None where a single chunk or its reply does not fit, which the compiler refuses.
pub fn stream_fragment_size(chunk: usize, max_reply: usize) -> Option<u16> {
    let chunks =
        (MAX_FRAGMENT.checked_div(chunk)?).min(MAX_FRAGMENT.checked_div(max_reply).unwrap_or(usize::MAX));
    (chunks > 0).then(|| (chunks * chunk) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(len: usize, fragment_size: u16) -> Vec<usize> {
        let message: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let parts: Vec<_> = fragments(&message, fragment_size).unwrap().collect();
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.payload).copied().collect();
        assert_eq!(joined, message);
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(
                (usize::from(part.index), usize::from(part.count)),
                (at, parts.len())
            );
        }
        parts.iter().map(|part| part.payload.len()).collect()
    }

    #[test]
    fn all_but_the_last_are_full() {
        assert_eq!(sizes(0, 1344), [0]);
        assert_eq!(sizes(1344, 1344), [1344]);
        assert_eq!(sizes(1345, 1344), [1344, 1]);
        assert_eq!(sizes(10, 4), [4, 4, 2]);
    }

    #[test]
    fn a_message_over_a_mebibyte_cannot_be_cut() {
        assert_eq!(fragment_count(MAX_MESSAGE, 1344), Some(781));
        assert_eq!(fragment_count(MAX_MESSAGE + 1, 1344), None);
        assert_eq!(fragment_count(MAX_MESSAGE, 1), None);
        assert_eq!(fragment_count(5, 0), None);
    }

    #[test]
    fn a_stream_packet_holds_as_many_chunks_as_request_and_reply_allow() {
        assert_eq!(stream_fragment_size(4, 1), Some(1344));
        assert_eq!(stream_fragment_size(1000, 10), Some(1000));
        assert_eq!(stream_fragment_size(10, 500), Some(20));
        assert_eq!(stream_fragment_size(100, 0), Some(1300));
        assert_eq!(stream_fragment_size(1345, 1), None);
        assert_eq!(stream_fragment_size(1, 1345), None);
        assert_eq!(stream_fragment_size(0, 1), None);
    }
}
