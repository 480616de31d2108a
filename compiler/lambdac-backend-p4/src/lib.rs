//! Images to P4_16: a v1model program for bmv2, the P4 reference switch, and one for the NFP ([`nfp`]).
//!
//! [`program`] makes the program of an image as data ([`ast`]); [`print::print`] writes it. No I/O, and the same image
//! gives the same bytes.
//!
//! | MIR | P4 |
//! | --- | --- |
//! | a lambda | an action of the table `lambdas` (loops run right in actions only), or several that `apply` calls |
//! | a function | code where it is called |
//! | a value | a variable of the action, or a part of the expression that uses it |
//! | an aggregate, state | registers, one for each scalar of its shape |
//! | request, reply, constant bytes | registers of words of 256 bits |
//! | `lru` | registers indexed by a hash of the key; `map` is refused |
//! | a loop, a block | `for` and `break`; further out by a variable that says where to |
//! | the match stage | tables with constant entries, and tests |
//! | a lookup in a table | a table of its own, applied between the actions that the lambda becomes; loops around it are unrolled |
//! | a stream | a loop over the chunks of a packet, and what its match decides for each in it |
//! | await | the service's request; what is live waits in registers, by slot |
//!
//! A lambda that has no code here is refused with a code and a reason ([`legal`]), and runs on the host.

#![forbid(unsafe_code)]

pub mod ast;
pub mod legal;
mod lower;
mod names;
pub mod nfp;
pub mod p4info;
pub mod print;

pub use legal::Refusal;
pub use lower::{
    ASKED, BY_MATCH, CPU_PORT, EXPIRE, FIRST_PORT, Facts, INGRESS, INJECT, Listen, Options, Output, PEEK,
    ParamDatum, Reach, SLOTS, ServicePlace, State, TRUSTED, TRUSTED_ENTRIES, outcome, places, program,
    reason, services_entry,
};
