//! Running a request that needs no waiting: what the packet threads and HTTP have in common.

use std::sync::Arc;

use lnic_wire::Status;

use crate::engine_api::{Io, Outcome, Packet, Scratch, Trap};
use crate::events::EventLog;
use crate::image::Image;
use crate::metrics::Writer;

/// How the chunks of one stream fragment ended.
pub(crate) enum StreamEnd {
    /// So many bytes of the buffer are the reply.
    Reply(usize),
    /// The fragment is answered with an error.
    Error(Status),
    /// A chunk trapped.
    Trap(Trap),
}

/// Runs the chunks of one fragment of a stream, replies side by side in `io.reply`, which has room
/// for all of them ([`lnic_wire::stream_fragment_size`]).
pub(crate) fn run_stream(
    image: &Image,
    scratch: &mut Scratch,
    workload: usize,
    packet: &Packet,
    fragment: &[u8],
    io: &mut Io<'_>,
) -> StreamEnd {
    let info = image.info(workload);
    let Some(chunk_len) = info.chunk else {
        return StreamEnd::Error(Status::BadRequest);
    };
    if fragment.is_empty() {
        // Only `bytes<N>` can be empty.
        return if info.min_request == 0 {
            StreamEnd::Reply(0)
        } else {
            StreamEnd::Error(Status::BadRequest)
        };
    }
    let mut len = 0;
    for chunk in fragment.chunks(chunk_len) {
        let Some(rest) = io
            .reply
            .get_mut(len..)
            .filter(|rest| rest.len() >= info.max_reply)
        else {
            return StreamEnd::Error(Status::TooLarge);
        };
        let mut io = Io {
            reply: rest,
            call: io.call,
        };
        match image.engine.invoke(scratch, workload, packet, chunk, &mut io) {
            Outcome::Reply(bytes) => len += bytes,
            Outcome::Trap(trap) => return StreamEnd::Trap(trap),
            Outcome::Refused(status) => return StreamEnd::Error(status),
            // A stream lambda can neither drop, punt nor await: the compiler refuses it.
            Outcome::BadRequest | Outcome::Drop | Outcome::Punt | Outcome::Await(_) => {
                return StreamEnd::Error(Status::BadRequest);
            }
        }
    }
    StreamEnd::Reply(len)
}

/// Counts and reports a trap.
pub(crate) fn report_trap(
    events: &EventLog,
    image: &Arc<Image>,
    workload: usize,
    trap: Trap,
    (shard, writer): (usize, Writer),
    now: u64,
) {
    image.metrics(workload).shard(shard).trap(trap.cause, writer);
    events.trap(now, image, workload, trap);
}
