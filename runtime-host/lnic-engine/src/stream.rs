//! Streams: a payload of whole chunks, each handled on its own.

use std::sync::Arc;

use crate::image::Workload;
use crate::invoke::{Meta, Outcome};
use crate::scratch::Scratch;

impl Workload {
    /// Runs match and lambda on each chunk of a payload (a message, or a fragment of one: some whole chunks) and puts the
    /// replies one after the other. The first chunk that does not end in a reply ends it. An empty payload is answered
    /// empty where the chunk's type may be, else it is a bad request.
    ///
    /// # Panics
    /// If the workload takes no streams, or the replies do not fit `reply`.
    pub fn invoke_stream(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        meta: &Meta<'_>,
        payload: &[u8],
        reply: &mut [u8],
    ) -> Outcome {
        let Some(chunk) = self.facts.chunk else {
            panic!("workload `{}` takes no streams", self.name());
        };
        if payload.is_empty() {
            return if self.facts.request.min == 0 {
                Outcome::Reply(0)
            } else {
                Outcome::BadRequest
            };
        }
        let mut filled = 0;
        for chunk in payload.chunks(chunk as usize) {
            let rest = &mut reply[filled..];
            let outcome = if rest.len() >= self.max_reply() {
                self.invoke(scratch, meta, chunk, rest)
            } else {
                self.invoke_bounced(scratch, meta, chunk, rest)
            };
            match outcome {
                Outcome::Reply(len) => filled += len,
                other => return other,
            }
        }
        Outcome::Reply(filled)
    }

    /// An invocation whose largest reply might not fit, though the reply does.
    fn invoke_bounced(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        meta: &Meta<'_>,
        chunk: &[u8],
        rest: &mut [u8],
    ) -> Outcome {
        let mut bounce = std::mem::take(&mut scratch.bounce);
        bounce.resize(bounce.len().max(self.max_reply()), 0);
        let outcome = self.invoke(scratch, meta, chunk, &mut bounce);
        if let Outcome::Reply(len) = outcome {
            rest[..len].copy_from_slice(&bounce[..len]);
        }
        scratch.bounce = bounce;
        outcome
    }
}
