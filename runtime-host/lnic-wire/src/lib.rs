//! The λ wire, version 1: what a packet holds and how packets make a message.
//!
//! Goes in: datagrams as they came off a socket. Comes out: a checked [`Header`] with its
//! payload, or the [`Malformed`] rule that the datagram broke; whole messages from a
//! [`Reassembler`]; packets of a message from [`fragments`].
//!
//! Callers are the host worker (`lnic-host`), the clients (`lnic-client`) and the NIC loaders.
//! Nothing here does I/O or reads a clock: time is a number of nanoseconds given by the caller,
//! so every rule can be tested without a socket.
//!
//! ```
//! use lnic_wire::{Header, Kind, Status};
//!
//! let request = Header::request(0x5eed_0001, 42, 0, 1, 3);
//! let mut datagram = request.encode().to_vec();
//! datagram.extend_from_slice(b"hey and some padding");
//! let (header, payload) = Header::decode(&datagram, Kind::Request).unwrap();
//! assert_eq!(payload, b"hey");
//! assert_eq!(header.reply(Status::Ok, 0, 1, 0).request, 42);
//! ```
#![forbid(unsafe_code)]

mod fragment;
mod header;
mod id;
mod reassembly;
mod slab;

pub use fragment::{Fragment, Fragments, fragment_count, fragments, stream_fragment_size};
pub use header::{Header, Kind, Malformed, Status};
pub use id::{id_index, name_tag, workload_id};
pub use reassembly::{Limits, Offer, Reassembler, ReassemblyStats};

/// First two bytes of every packet.
pub const MAGIC: u16 = 0xCEBB;
/// The version this crate speaks.
pub const VERSION: u8 = 1;
/// Bytes of the header in front of every payload.
pub const HEADER_LEN: usize = 24;
/// Most payload bytes in a packet, so that it fits overlay networks unfragmented.
pub const MAX_FRAGMENT: usize = 1344;
/// Most bytes in a message.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The UDP port a worker listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4369;
