//! The cost model: what MIR takes on a device that counts instruction words.
//!
//! [`Model::module`] walks a module's structure and prices each operation by the device's table
//! ([`lambdac_target::Ops`]). Per function, lambda and match stage it gives
//!
//! - **words**: instruction words in the code store, each callee once in the module, not in its callers;
//! - **worst**: cycles of the dearest path, callees and waits for memory included, those for services not. Loops are
//!   bounded, so it is a sum over the tree: a branch costs its dearer side, a loop its most trips, an await what follows;
//! - **expected**: cycles of an average run. With a [`Profile`], branches and loops weigh as they went in its runs; what
//!   it does not know is taken evenly, and a loop whose bounds are not constant makes half its trips;
//! - **lines**: words of each source line, and its cycles on the dearest path.
//!
//! How it prices: scalars live in registers, slots in the core's local memory as long as a thread's share
//! lasts and in the device's memory beyond, objects where a [`Placement`] puts them. A read waits for the memory's latency, a
//! write is posted. The first [`BURST`] bytes of a request are read once at a lambda's start. Numbers of an image
//! are estimates for comparing and budgeting; what is guessed is marked in the device's description.
//!
//! Costs of a whole image around the lambdas (headers, tables, actions) are counted by [`Shape::words`].

#![forbid(unsafe_code)]

mod access;
mod image;
mod locals;
mod model;
mod ops;
mod placement;
mod profile;
mod walk;
mod weights;

pub use image::Shape;
pub use locals::{Locals, Share, local_memory, local_share};
pub use model::{CodeCost, LineCost, Model, ModuleCost};
pub use placement::{Placement, field_of, fields, object_bytes};
pub use profile::{LineProfile, Profile, SCHEMA as PROFILE_SCHEMA, WorkloadProfile};
pub use weights::{Blend, Weights};

/// Most bytes of one memory command: 32 transfer registers of 4 bytes.
pub const BURST: u64 = 128;
