//! The host worker: everything between a socket and a lambda.
//!
//! Goes in: a [`Config`] and an [`Engine`], one loaded image of workloads. Comes out: a worker
//! that answers the λ wire over UDP and `/function/NAME` over HTTP, calls memcached for lambdas
//! that await, serves state, tables and metrics, and takes a new image without losing a request.
//!
//! Callers are the command `lambdac run` and the daemon. The crate knows nothing of how lambdas
//! are compiled: it sees them through [`Engine`].
//!
//! - `worker`: the packet threads (see its first lines for the loop).
//! - `sys`: the kernel interface; all unsafe code.
//! - `memcached`: the service client, a pure state machine.
//! - `http`: the HTTP server on tokio.
//! - `fallback`: punted requests on their way to an upstream function.
//! - `nic`: the engine over a host image and a NIC in front of it.
//! - [`route`]: ways from that NIC to services.
//!
//! Invariants: a packet thread never blocks but in its one wait, takes no lock, and allocates
//! nothing per packet once its buffers have grown; every queue has a bound and every wait a
//! time-out; a request that was begun ends exactly once in the counters.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use lnic_host::{Config, Engine, Error, EventLog, Server};
//!
//! fn serve(engine: Arc<dyn Engine>, newer: Arc<dyn Engine>) -> Result<(), Error> {
//!     let running = Server::start(Config::default(), engine, EventLog::new())?;
//!     println!("ready wire={} http={}", running.wire_addr(), running.http_addr());
//!     running.swap(newer)?;
//!     running.stop();
//!     Ok(())
//! }
//! ```

mod config;
mod engine_api;
mod events;
mod fallback;
mod http;
mod image;
mod loaded;
mod memcached;
mod metrics;
mod nic;
mod prefix;
pub mod route;
mod server;
mod sys;
#[doc(hidden)]
pub mod testing;
mod worker;

pub use config::Config;
pub use engine_api::{
    Answer, Continuation, ControlError, Engine, Io, Outcome, Packet, Scratch, ServiceCall, ServiceInfo,
    ServiceOp, Trap, TrapCause, WorkloadInfo,
};
pub use events::EventLog;
pub use loaded::LoadedImage;
pub use nic::{
    Nic, NicEngine, NicMetrics, NicRequests, Ran, Sample, Side, dropped_packets, nic_info, passed_packets,
    replied,
};
pub use prefix::{Prefix, PrefixError};
pub use server::{Error, Running, Server};
