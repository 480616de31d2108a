//! Callers of a worker: one request, or load.
//!
//! Goes in: a workload's name, where its worker is, and a request. Comes out: the reply
//! ([`invoke`]), or throughput and latency under many requests ([`bench`]). The commands
//! `lambdac invoke` and `lambdac bench` are thin shells around this crate.
//!
//! Delivery is at least once: a request without a reply is sent again under the same number, and
//! the first reply that fits wins. A load test never sends twice; what gets no reply is a loss.
//!
//! ```no_run
//! use lnic_client::{InvokeOptions, invoke, lookup};
//!
//! let web = lookup("127.0.0.1:8081", "web")?;
//! let reply = invoke("127.0.0.1:4369".parse().unwrap(), &web, b"", &InvokeOptions::default())?;
//! println!("{} bytes in {:?}", reply.payload.len(), reply.latency);
//! # Ok::<(), lnic_client::Error>(())
//! ```

mod batch;
mod bench;
mod error;
mod invoke;
mod lookup;
mod random;

pub use bench::{BenchConfig, Latency, Load, Progress, Report, bench};
pub use error::{Error, Result};
pub use invoke::{InvokeOptions, Reply, invoke};
pub use lookup::{Workload, lookup, workloads};
