//! Images to the P4_16 of Netronome's NFP: what stands around a plugin in Micro-C.
//!
//! P4 parses, applies the rules of the wire, looks whether the card has the workload, and calls the plugin
//! ([`EXTERN`], `lnic_plugin.h` of `lambdac-backend-c`), which picks and runs a lambda and rewrites the headers; the
//! deparser puts the reply together. What nobody answers goes on as it came, from the wire to the host and back.
//!
//! The dialect is a conservative v1model, so that p4c takes it too (with `--emit-externs`, as p4c knows no extern
//! function but the architecture's own). What sets it apart from what is printed for bmv2:
//!
//! | the card's tools | so |
//! | --- | --- |
//! | ports have 16 bits; p4c's have 9 | a `typedef` in an `#ifdef`; ports stand in rules, not in the program |
//! | `mark_to_drop` has another signature | a packet is dropped by a port that there is none of |
//! | fields across words have names that depend on the version | no field crosses a word |
//! | `isValid` in tests only, `NoAction` fails, metadata is not zeroed | tests, actions of our own, each field set first |
//! | narrowing that overflows is undefined | it is masked first |
//! | whether entries may stand in the program is not known | rules stand in a file of their own ([`config()`]) |
//!
//! Not run on hardware.

mod config;
mod control;
mod program;
mod sums;

pub use config::{Match, Rule, config};
pub use control::SERVICE_PORTS;
pub use program::{EXTERN, GROWTH, HOST_PORT, Options, Output, Resident, WIRE_PORT, program};
