//! What callers of a workload must know about its messages.

use std::collections::BTreeSet;

use lambdac_mir::{LambdaId, MessageSize, Module, Term};

/// The most payload bytes of a packet (design, section 6).
const PACKET: u32 = 1344;

/// Sizes of a workload's messages, as a caller sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// Fewest and most bytes that some lambda which the match can reach accepts; for a stream, of a chunk, and the fewest
    /// that all of them accept.
    pub request: MessageSize,
    /// Fewest and most bytes of a reply, those of `punt name` targets included; for a stream, to one chunk.
    pub reply: MessageSize,
    /// Bytes of a chunk, where the workload takes streams.
    pub chunk: Option<u32>,
    /// Payload bytes of all packets of a message but the last: for a stream the most whole chunks that fit a packet and
    /// whose replies do.
    pub fragment: u32,
    /// Whether an invocation can wait for a service.
    pub awaits: bool,
}

impl MessageFacts {
    /// The facts of a workload. One whose lambdas no request can reach takes and gives nothing.
    pub fn of(module: &Module) -> Self {
        let reached = module.dispatch.lambdas();
        let answering = with_punts(module, &reached);
        let stream = module.chunk();
        let request =
            stream.unwrap_or_else(|| span(reached.iter().map(|id| module.lambdas[id.index()].request)));
        let reply = span(answering.iter().map(|id| module.lambdas[id.index()].reply));
        let chunk = stream.map(|size| size.max.max(1));
        let fragment = match chunk {
            None => PACKET,
            Some(chunk) => chunk * (PACKET / chunk).min(PACKET / reply.max.max(1)).max(1),
        };
        let awaits = answering.iter().any(|id| waits(module, *id));
        Self {
            request,
            reply,
            chunk,
            fragment: fragment.min(PACKET),
            awaits,
        }
    }
}

fn span(sizes: impl Iterator<Item = MessageSize>) -> MessageSize {
    let both = |a: MessageSize, b: MessageSize| MessageSize {
        min: a.min.min(b.min),
        max: a.max.max(b.max),
    };
    sizes.reduce(both).unwrap_or(MessageSize { min: 0, max: 0 })
}

/// Adds those that `punt name` leads to.
fn with_punts(module: &Module, reached: &BTreeSet<LambdaId>) -> Vec<LambdaId> {
    let mut out: Vec<LambdaId> = reached.iter().copied().collect();
    let mut next = 0;
    while let Some(id) = out.get(next).copied() {
        next += 1;
        for_each_term(module, id, &mut |term| {
            if let Term::Punt(Some(target)) = term
                && !out.contains(target)
            {
                out.push(*target);
            }
        });
    }
    out
}

fn waits(module: &Module, id: LambdaId) -> bool {
    let mut any = false;
    for_each_term(module, id, &mut |term| any |= matches!(term, Term::Await { .. }));
    any
}

fn for_each_term(module: &Module, id: LambdaId, f: &mut dyn FnMut(&Term)) {
    let mut todo: Vec<_> = module.lambdas[id.index()]
        .parts
        .iter()
        .map(|part| &part.region)
        .collect();
    while let Some(region) = todo.pop() {
        f(&region.term);
        todo.extend(region.stmts.iter().flat_map(|stmt| stmt.op.regions()));
    }
}
