//! A worker with a NIC in front of it: what is the NIC's goes to the NIC, the rest to the host.
//!
//! - `engine`: [`NicEngine`], the worker's [`Engine`](crate::Engine) over a host image and a [`Nic`].
//! - `samples`: what a NIC counts, in the host's names.

mod engine;
mod samples;

pub use engine::{Nic, NicEngine, Ran, Side, replied};
pub use samples::{NicMetrics, NicRequests, Sample, dropped_packets, nic_info, passed_packets};
