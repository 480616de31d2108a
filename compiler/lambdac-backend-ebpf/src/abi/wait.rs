//! Waiting for a service: what lies in the maps of it.
//!
//! A lambda that awaits leaves its continuation in a slot of [`WAITS`], and the request packet becomes the service's
//! request. Its source port is one of a row that the agent holds ([`Ports`]); the low bits of memcached's request id are
//! the slot's index, the rest is random. The dispatcher hands what comes to these ports to [`ANSWER`], which finds the
//! slot, compares, and goes on in the workload's continuation program. [`EXPIRE`] does so without an answer.
//!
//! A slot:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | state in the low byte ([`FREE`] …), a generation above it that grows when the slot is claimed |
//! | 8 | 8 | deadline, nanoseconds of the monotonic clock |
//! | 16 | 4 | the service's address, network order |
//! | 20 | 2 | the service's port, network order |
//! | 22 | 2 | own port, network order |
//! | 24 | 2 | memcached's request id, network order |
//! | 26 | 1 | operation: 0 get, 1 set, 2 delete |
//! | 28 | 4 | interface that the request came in by |
//! | 32 | 4 | index of the continuation program in [`RESUMES`] |
//! | 36 | 4 | where it goes on: a number of that program |
//! | 40 | 4 | bytes of the key |
//! | 44 | 4 | 0 |
//! | 48 | 66 | the request's headers |
//! | 114 | 6 | the next hop's Ethernet address, as the section of services has it |
//! | 120 | 256 | the key, of a get |
//! | 376 | 64 | route look-up (`struct bpf_fib_lookup`) |
//! | 440 | | saved values, then the payload if it is read again |
//!
//! The word changes by compare-exchange, or by whoever claimed or runs the slot: free → claimed → waiting → running →
//! free. Of an answer and a timeout only one gets from waiting to running; the generation keeps one that was looked up
//! before from winning a later wait.

pub use lambdac_mir::memcached::{MAX_KEY, MAX_VALUE};

use std::net::SocketAddrV4;

use crate::names;

/// Map of the slots, an array that user space may map into its memory. Only in objects with lambdas that await.
pub const WAITS: &str = "waits";
/// Map of programs: [`ANSWER`] at 0, the one of the image before at [`PREVIOUS`], then the workloads' continuation
/// programs, by position.
pub const RESUMES: &str = "resumes";
/// Index in [`RESUMES`] of the program that gets answers which nothing in this image waits for.
pub const PREVIOUS: u32 = 1;
/// Index in [`RESUMES`] of the first workload.
pub const FIRST_RESUME: u32 = 2;
/// Section of the [`Ports`].
pub const PORTS: &str = ".data.ports";
/// Name of the program for packets that come to one of the ports.
pub const ANSWER: &str = "answer";
/// Name of the program that ends a wait: only for test runs, on an [`expire_frame`].
pub const EXPIRE: &str = "expire";

/// State: nobody's.
pub const FREE: u8 = 0;
/// State: being filled.
pub const CLAIMED: u8 = 1;
/// State: complete, and the request on its way.
pub const WAITING: u8 = 2;
/// State: taken by an answer or a timeout.
pub const RUNNING: u8 = 3;

/// Slots of an image whose slots have at most [`SMALL_SLOT`] bytes.
pub const MANY_SLOTS: u32 = 1024;
/// Slots of an image with larger ones.
pub const FEW_SLOTS: u32 = 64;
/// Bytes up to which there are many slots.
pub const SMALL_SLOT: u32 = 16 << 10;
/// Slots are of a multiple of this, so that most images have the same: then a new image keeps the waits of the old.
pub const SLOT_STEP: u32 = 4096;

/// Offset of the deadline.
pub const DEADLINE: i16 = 8;
/// Offset of the service's address.
pub const PEER: i16 = 16;
/// Offset of the service's port, and after it of the own port.
pub const PEER_PORT: i16 = 20;
/// Offset of the own port.
pub const OWN_PORT: i16 = 22;
/// Offset of memcached's request id.
pub const ID: i16 = 24;
/// Offset of the operation.
pub const OP: i16 = 26;
/// Offset of the interface.
pub const IFINDEX: i16 = 28;
/// The interface of a test run (LOOPBACK_IFINDEX of Linux include/net/flow.h): no route is looked up.
pub const NO_WIRE: u32 = 1;
/// Offset of the index of the continuation program.
pub const RESUME: i16 = 32;
/// Offset of where it goes on.
pub const ENTRY: i16 = 36;
/// Offset of the key's length.
pub const KEY_LEN: i16 = 40;
/// Offset of the request's headers.
pub const HEADERS: i16 = 48;
/// Offset of the next hop.
pub const HOP: i16 = 114;
/// Offset of the key.
pub const KEY: i16 = 120;
/// Bytes for the key.
pub const KEY_ROOM: u32 = 256;
/// Offset of the route look-up.
pub const ROUTE: i16 = 376;
/// Offset of the saved values.
pub const SAVED: u32 = 440;

/// Longest text of a request: `set KEY 0 0 1024`, the value, and two line ends.
pub const MAX_REQUEST: u32 = 4 + MAX_KEY + 5 + 4 + 2 + MAX_VALUE + 2;
/// Longest text of an answer that is read; memcached's datagrams have at most 1,400 bytes (UDP_MAX_PAYLOAD_SIZE of its
/// memcached.h).
pub const MAX_ANSWER: u32 = 1536;
/// Bytes of memcached's frame header (doc/protocol.txt, "UDP protocol").
pub const FRAME_LEN: i32 = 8;

/// Name of a workload's continuation program.
pub fn resume_program(workload: &str) -> String {
    names::made("c", workload)
}

/// Name of the section of a workload's [`Service`]s, in the order of its declarations.
pub fn services_section(workload: &str) -> String {
    format!(".data.{}", names::made("services", workload))
}

/// A row of UDP ports on the listen address that the agent holds, so that nobody else gets them.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 2 | first port |
/// | 2 | 2 | how many: a power of two, or 0: awaits fail |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The first port.
    pub first: u16,
    /// How many.
    pub count: u16,
}

impl Ports {
    /// Bytes of the section.
    pub const BYTES: usize = 4;
    /// Offset of the first port.
    pub const FIRST: u32 = 0;
    /// Offset of the count.
    pub const COUNT: u32 = 2;

    /// As the section holds it.
    pub fn encode(&self) -> [u8; Ports::BYTES] {
        let mut bytes = [0; Ports::BYTES];
        bytes[..2].copy_from_slice(&self.first.to_le_bytes());
        bytes[2..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }
}

/// Where a service is.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 4 | IPv4 address, network order; 0: none, awaits fail |
/// | 4 | 2 | port, network order |
/// | 6 | 2 | 0 |
/// | 8 | 6 | Ethernet address of the next hop, for where the kernel looks no route up (forwarding is off); 0: not known |
/// | 14 | 2 | 0 |
/// | 16 | 8 | timeout, nanoseconds |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its address; `None`: it has no IPv4 address.
    pub address: Option<SocketAddrV4>,
    /// The next hop's Ethernet address.
    pub hop: Option<[u8; 6]>,
    /// How long an answer is waited for, in nanoseconds.
    pub timeout: u64,
}

impl Service {
    /// Bytes of one.
    pub const BYTES: usize = 24;
    /// Offset of the next hop.
    pub(crate) const HOP: u32 = 8;
    /// Offset of the timeout.
    pub(crate) const TIMEOUT: u32 = 16;

    /// As the section holds it.
    pub fn encode(&self) -> [u8; Service::BYTES] {
        let mut bytes = [0; Service::BYTES];
        if let Some(address) = self.address {
            bytes[..4].copy_from_slice(&address.ip().octets());
            bytes[4..6].copy_from_slice(&address.port().to_be_bytes());
        }
        if let Some(hop) = self.hop {
            bytes[8..14].copy_from_slice(&hop);
        }
        bytes[16..].copy_from_slice(&self.timeout.to_le_bytes());
        bytes
    }
}

/// Offset of the slot's index in an [`expire_frame`].
pub(crate) const EXPIRE_SLOT: i16 = 16;
/// Offset of the slot's word in it.
pub(crate) const EXPIRE_WORD: i16 = 24;
/// Bytes of an [`expire_frame`].
pub const EXPIRE_BYTES: usize = 66;

/// What [`EXPIRE`] runs on: the slot, and the word that it must hold still.
pub fn expire_frame(slot: u32, word: u64) -> [u8; EXPIRE_BYTES] {
    let mut frame = [0; EXPIRE_BYTES];
    frame[EXPIRE_SLOT as usize..][..4].copy_from_slice(&slot.to_le_bytes());
    frame[EXPIRE_WORD as usize..][..8].copy_from_slice(&word.to_le_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_service_lies_as_its_table_says() {
        let service = Service {
            address: Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 11211)),
            hop: Some([2, 0, 0, 0, 0, 9]),
            timeout: 5_000_000,
        };
        let expected = [
            10, 0, 0, 9, 0x2b, 0xcb, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0x40, 0x4b, 0x4c, 0, 0, 0, 0, 0,
        ];
        assert_eq!(service.encode(), expected);
        let ports = Ports {
            first: 0x1234,
            count: 64,
        };
        assert_eq!(ports.encode(), [0x34, 0x12, 64, 0]);
    }

    #[test]
    fn an_expire_frame_names_slot_and_word() {
        let frame = expire_frame(7, 0x0102);
        assert_eq!((frame[16], frame[24], frame[25]), (7, 2, 1));
        assert_eq!(frame.iter().map(|&byte| u32::from(byte)).sum::<u32>(), 10);
    }

    #[test]
    fn the_longest_request_and_its_headers_fit_the_smallest_mtu_of_overlays() {
        // Version 1 of the λ wire fits 1,420 bytes (WireGuard): so does this, without the Ethernet header.
        const { assert!(20 + 8 + 8 + MAX_REQUEST <= 1420) };
    }
}
