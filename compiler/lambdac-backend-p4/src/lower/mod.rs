//! An image to a program.

mod bytes;
mod code;
mod control;
mod fold;
mod headers;
mod keyed;
mod lambda;
mod lookup;
mod memory;
mod op;
mod parser;
mod program;
mod scalar;
mod stage;
mod state;
mod stream;
mod unit;
mod wire;

pub(crate) use lambda::MAX_PAYLOAD;
pub use program::{BY_MATCH, CPU_PORT, Facts, INGRESS, INJECT, Options, Output, program};
pub use state::State;
pub use unit::ParamDatum;
pub use wire::Listen;
pub(crate) use wire::MARTIANS;
