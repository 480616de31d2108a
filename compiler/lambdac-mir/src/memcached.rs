//! What every target that asks memcached itself must know: its limits, and how its answers are read.
//!
//! The reader is MIR, so that a target emits it like any other function and all of them read alike; the host has one of
//! its own, and tests hold both to the same answers. Formats are those of memcached's `doc/protocol.txt`.

use std::sync::LazyLock;

use crate::{Module, ServiceOp, parse};

/// Longest key that is sent ("Keys").
pub const MAX_KEY: u32 = 250;
/// Longest value that is sent or taken (language, section 7).
pub const MAX_VALUE: u32 = 1024;

/// Kinds of the reader's result; those from [`FAILED`](kind::FAILED) on end a wait.
pub mod kind {
    /// None of the operation's answers.
    pub const MALFORMED: u8 = 0;
    /// A value for another key.
    pub const WRONG_KEY: u8 = 1;
    /// An error.
    pub const FAILED: u8 = 2;
    /// Missing, or not stored.
    pub const MISSING: u8 = 3;
    /// Stored or deleted.
    pub const DONE: u8 = 4;
    /// A value.
    pub const VALUE: u8 = 5;
    /// A value over the limit.
    pub const OVERSIZED: u8 = 6;
}

static READER: LazyLock<Module> =
    LazyLock::new(|| parse(include_str!("memcached.mir")).expect("the text is tested"));

/// The reader of answers: its last function takes an operation ([`op_number`]), a text and a key, and gives
/// kind << 32 | offset << 16 | length; the others are what it calls.
pub fn reader() -> &'static Module {
    &READER
}

/// An operation, as the reader numbers it.
pub fn op_number(op: ServiceOp) -> u8 {
    match op {
        ServiceOp::Get => 0,
        ServiceOp::Set => 1,
        ServiceOp::Delete => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_is_valid_and_ends_in_the_function_that_is_called() {
        crate::validate(reader()).unwrap();
        let last = reader().funcs.last().unwrap();
        assert_eq!((last.params.len(), last.results.len()), (3, 1));
    }
}
