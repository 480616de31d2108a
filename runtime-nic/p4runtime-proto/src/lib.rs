//! P4Runtime, version 1: what controllers of P4 switches speak.
//!
//! The messages are generated from our own definitions in `proto/`, which hold of the specification what a controller of
//! lambdas uses; on the wire and in text files they are the specification's. [`text`] reads and writes text files
//! (`image.p4info.txtpb`, `entries.txtpb`). [`Controller`] is a controller's end of the service: connection, arbitration,
//! pipeline, entries, counters, packets.
//!
//! Nothing a switch says is believed unseen: messages have a largest size, lists a largest length, calls a timeout.

#![forbid(unsafe_code)]

mod controller;
pub mod text;

pub use controller::{Controller, Error, Event, Events, Options, Refused};

/// The messages of the specification, by its packages.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod generated {
    pub mod google {
        pub mod rpc {
            include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
        }
    }
    pub mod p4 {
        pub mod config {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/p4.config.v1.rs"));
            }
        }
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/p4.v1.rs"));
        }
    }
}

pub use generated::google::rpc;
pub use generated::p4::config::v1 as config;
pub use generated::p4::v1;

/// A number as the specification writes it on the wire: big-endian, without leading zero bytes, but at least a byte.
pub fn bytestring(number: u128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros.min(bytes.len() - 1)..].to_vec()
}

/// The number that a bytestring of at most 16 bytes, not counting leading zero bytes, stands for.
pub fn number(bytestring: &[u8]) -> Option<u128> {
    let zeros = bytestring.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytestring[zeros..];
    let mut bytes = [0; 16];
    let start = bytes.len().checked_sub(digits.len())?;
    bytes[start..].copy_from_slice(digits);
    Some(u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytestrings_are_the_shortest_and_any_is_read() {
        for (value, bytes) in [
            (0, &[0][..]),
            (1, &[1]),
            (0x100, &[1, 0]),
            (u128::MAX, &[255; 16]),
        ] {
            assert_eq!(bytestring(value), bytes);
            assert_eq!(number(bytes), Some(value));
            assert_eq!(number(&[&[0; 20], bytes].concat()), Some(value));
        }
        assert_eq!(number(&[]), Some(0));
        assert_eq!(number(&[1; 17]), None);
    }
}
