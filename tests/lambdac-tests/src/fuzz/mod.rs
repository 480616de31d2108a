//! What hostile input may do: one function for each way in, and the mutators that feed it.
//!
//! Every function takes bytes that nobody vouches for and **panics where a promise is broken**: that is how a fuzzer,
//! and the test around it, learn of it. The cargo-fuzz targets in `tests/fuzz` call them with what libFuzzer invents;
//! `tests/fuzz.rs` calls them with a bounded, seeded, repeatable run of the mutators here; both replay the files of
//! `regressions/`.
//!
//! | module | way in | promises |
//! | --- | --- | --- |
//! | [`source`] | program text | errors that name a place, or a program that compiles to valid MIR |
//! | [`mir_text`] | MIR text of a bundle | what validates prints, optimises and runs |
//! | [`wire`] | datagrams | every packet is counted once, memory stays under the caps |
//! | [`bundle`] | files of a bundle | what is taken is whole |
//! | [`archive`] | a bundle as a tar | no more is taken than the limits allow |
//! | [`memcached`] | a service's answers | every datagram is taken once or counted |

pub mod archive;
pub mod bundle;
pub mod corpus;
pub mod dice;
pub mod guard;
pub mod memcached;
pub mod mir_text;
pub mod mutate;
pub mod source;
pub mod wire;
