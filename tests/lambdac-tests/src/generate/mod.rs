//! Random well-typed programs over the whole language, with requests for them.
//!
//! A program is made from a sequence of **choices**, small numbers that are drawn one by one. The same choices give the
//! same program, and fewer or smaller choices give a smaller one, so shrinking knows nothing of the language: it
//! deletes and lowers choices and keeps what still fails. In every list of alternatives the plainest stands first.
//!
//! Programs are well typed by construction: an expression is generated *for* a type from what is in scope. What may trap
//! does so now and then; loops are short, so that thousands of programs run in seconds.

mod bodies;
mod choices;
mod expressions;
mod features;
mod items;
mod messages;
mod optional;
mod scope;
mod shrink;
mod statements;
mod types;

pub use choices::Choices;
pub use features::{ENDINGS, FEATURES, Seen, UseCounts};
pub use shrink::shrink;

use std::collections::BTreeSet;

/// A request and the packet that it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The message.
    pub bytes: Vec<u8>,
    /// Whether its length fits what the workload takes.
    pub fits: bool,
    /// `pkt.src_ip`
    pub src_ip: u32,
    /// `pkt.src_port`
    pub src_port: u16,
    /// `pkt.dst_port`
    pub dst_port: u16,
    /// `pkt.port`
    pub port: u16,
    /// `pkt.request_id`
    pub request_id: u64,
    /// Nanoseconds.
    pub now: u64,
    /// What every `random()` gives; else the seeded stream.
    pub random: Option<u32>,
}

/// A program with requests.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its source.
    pub source: String,
    /// The requests in order, of one instance.
    pub requests: Vec<Request>,
    /// The constructs it uses.
    pub features: BTreeSet<&'static str>,
    /// The kinds of condition in each rule of its `match`.
    pub rules: Vec<Vec<&'static str>>,
    /// What it was made from.
    pub choices: Vec<u32>,
}

/// The program of a seed.
pub fn program(seed: u64) -> Program {
    from_choices(Choices::random(seed))
}

/// The program of recorded choices; where they end, the plainest alternative is taken.
pub fn replay(choices: &[u32]) -> Program {
    from_choices(Choices::replay(choices.to_vec()))
}

fn from_choices(choices: Choices) -> Program {
    let mut generator = items::Generator::new(choices);
    generator.program()
}
