//! The memcached service, over its UDP protocol: no connection, no thread, no lock.
//!
//! [`text`] reads and writes the bytes; [`Client`] is the state machine of one packet thread. The
//! thread owns the sockets and the clock.

mod client;
pub(crate) mod text;

pub(crate) use client::{Accepted, Client, Event};

/// Longest value that is stored or accepted, as in `get(key) -> bytes<1024>?`.
pub(crate) const MAX_VALUE: usize = 1024;
