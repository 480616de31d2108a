//! An image to a program.

mod bytes;
mod chunks;
mod code;
mod control;
mod fold;
mod headers;
mod initial;
mod keyed;
mod keys;
mod lambda;
mod lookup;
mod loops;
mod memory;
mod op;
pub mod outcome;
mod parser;
mod pick;
mod program;
mod room;
mod routine;
mod scalar;
mod stage;
mod state;
mod stream;
mod unit;
mod wait;
mod wire;

pub(crate) use lambda::MAX_PAYLOAD;
pub use lambda::reason;
pub use program::{BY_MATCH, CPU_PORT, Facts, INGRESS, INJECT, Options, Output, PEEK, program};
pub use state::State;
pub use unit::ParamDatum;
pub use wait::{ASKED, EXPIRE, FIRST_PORT, Reach, SLOTS, ServicePlace, services_entry};
pub(crate) use wire::MARTIANS;
pub use wire::{Listen, TRUSTED, TRUSTED_ENTRIES, places};
