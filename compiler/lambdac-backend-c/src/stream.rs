//! How messages of stream workloads are cut (`lang-spec/wire.md`, "Sizes").

use lambdac_image::Image;
use lambdac_mir::MessageSize;

use crate::legal::MAX_PAYLOAD;

/// What is known of the streams of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The size of a chunk.
    pub chunk: MessageSize,
    /// The most bytes of a chunk's reply.
    pub reply: u32,
    /// Bytes of all packets of a message but the last.
    pub fragment: u32,
}

impl Stream {
    /// For chunks of a size, with replies of at most so many bytes.
    pub fn new(chunk: MessageSize, reply: u32) -> Self {
        let most = |size: u32| MAX_PAYLOAD.checked_div(size).unwrap_or(u32::MAX);
        let count = most(chunk.max).min(most(reply));
        Self {
            chunk,
            reply,
            fragment: count.saturating_mul(chunk.max).min(MAX_PAYLOAD),
        }
    }

    /// The streams of a workload, if it is one: the largest reply of all its lambdas counts.
    pub fn of(image: &Image, workload: usize) -> Option<Self> {
        let chunk = image.workloads[workload].chunk?;
        let entries = image.entries.iter().filter(|entry| entry.workload == workload);
        let replies = entries
            .map(|entry| &image.module.lambdas[entry.lambda.index()])
            .filter(|lambda| lambda.stream)
            .map(|lambda| lambda.reply.max);
        Some(Self::new(chunk, replies.max().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;
    use lambdac_mir::MessageSize;

    #[test]
    fn a_packet_holds_whole_chunks_whose_replies_fit_one_too() {
        let fragment =
            |chunk: u32, reply: u32| Stream::new(MessageSize { min: 0, max: chunk }, reply).fragment;
        assert_eq!(fragment(4, 1), 1344);
        assert_eq!(fragment(1, 4), 336);
        assert_eq!(fragment(1000, 0), 1000);
        assert_eq!(fragment(1344, 1344), 1344);
    }
}
