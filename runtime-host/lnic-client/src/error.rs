//! What can go wrong for a caller.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lnic_wire::{MAX_MESSAGE, Status};

/// Why a call or a load test failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The worker's list of workloads can't be had.
    #[error("cannot read the workloads from http://{http}/system/workloads")]
    Lookup {
        /// The worker's HTTP address.
        http: String,
        /// The HTTP client's reason.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The worker's list of workloads is not one.
    #[error("http://{http}/system/workloads is not a list of workloads")]
    List {
        /// The worker's HTTP address.
        http: String,
        /// Where it stops to make sense.
        #[source]
        source: serde_json::Error,
    },
    /// The worker has no workload of that name.
    #[error("no workload `{name}` here; there is {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    NoSuchWorkload {
        /// The name asked for.
        name: String,
        /// The names that the worker has.
        known: Vec<String>,
    },
    /// The network failed.
    #[error("cannot speak to {worker}")]
    Network {
        /// The worker's address.
        worker: SocketAddr,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A thread of a load test can't be started.
    #[error("cannot start a load thread")]
    Thread(#[source] io::Error),
    /// No reply came.
    #[error("no reply from {worker} in {} s ({attempts} attempts)", timeout.as_secs_f64())]
    TimedOut {
        /// The worker's address.
        worker: SocketAddr,
        /// How long was waited.
        timeout: Duration,
        /// How often the request was sent.
        attempts: u32,
    },
    /// The reply is an error status.
    #[error("{0}")]
    Status(Status),
    /// The request is larger than a message may be.
    #[error("a request of {0} bytes is over the {MAX_MESSAGE} bytes of a message")]
    TooLarge(usize),
    /// Settings of a load test that contradict themselves.
    #[error("{0}")]
    Settings(&'static str),
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
