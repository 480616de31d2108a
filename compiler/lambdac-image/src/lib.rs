//! Images: many workloads in one module, and the passes that make them fit one NPU core.
//!
//! [`link`] puts workloads' modules together as a naive emission would hold them; [`optimize`] runs the passes of
//! [`passes`] by a device's cost model; [`ImageCost`] counts what an image takes; [`ImageInterp`] runs it, which is how
//! each pass is validated. [`Linker`] does both again and again, and looks only at what changed. No I/O.
//!
//! ```text
//! let mut image = lambdac_image::link("image", &workloads)?;
//! let report = lambdac_image::optimize(&mut image, &device, &Options::default());
//! ```
//!
//! Invariants: an image's module is a valid module; nodes of the stage lead to nodes of lower numbers; what a request
//! gets (reply, drop, status) and does to state is the same after each pass as before it; state stays its workload's.

#![forbid(unsafe_code)]

mod canon;
mod coalesce;
mod cost;
mod facts;
mod hand_up;
mod hash;
mod image;
mod interp;
mod legal;
mod link;
mod linker;
mod on_nic;
mod partition;
mod pass;
mod positions;
mod price;
mod reduce;
mod rename;
mod shape;
mod stratify;
mod sweep;
mod touch;
mod validate;

pub use cost::{EntryCost, ImageCost, REPLY_WORDS};
pub use image::{
    Binding, Bound, Call, Entry, Header, Image, Instance, Key, Leaf, Node, NodeId, Plumbing, Reply, Role,
    Route, Stage, Way, Workload,
};
pub use interp::{Ending, ImageInterp, Packet};
pub use link::{LinkError, link};
pub use linker::{Linker, Source};
pub use on_nic::OnNic;
pub use pass::{Options, Pass, Report, Step, optimize, passes};
