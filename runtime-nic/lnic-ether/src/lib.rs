//! Ethernet around a NIC, as the kernel knows it: what agents need that put lambdas in front of a worker. (Ways to services
//! are `lnic_host::route`.)
//!
//! - [`Interface`]: addresses of an interface.
//! - [`PortRow`]: ports of the worker's address that services answer the NIC at.
//! - [`Wire`]: whole frames out of an interface, and into this process; [`frame`] writes and reads them.
//!
//! All unsafe code is in the modules `interface` (a name's index) and `wire` (the address of a packet socket).

pub mod frame;
mod interface;
mod netlink;
mod ports;
mod wire;

use std::io;

pub use interface::{Interface, Peer, interface_index};
pub use ports::PortRow;
pub use wire::Wire;

/// What goes wrong around an interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine lacks something.
    #[error("{0}")]
    Missing(String),
    /// The kernel refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { what, source }
}
