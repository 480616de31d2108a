//! Stage order, linking, bundles, and tests on each target.
//!
//! In go sources as bytes (and a [`Sources`] for what they `use` and `include`); out come diagnostics, stages as text,
//! linked images, bundles as files in memory, and test results. No I/O, no environment, no global state: the command,
//! the daemon and an editor can all hold a [`Session`].
//!
//! ```
//! use lambdac_driver::{Input, NoSources, Options, Session};
//!
//! let mut session = Session::new(Box::new(NoSources));
//! let source = b"workload hi; lambda hi() -> bytes<2> { reply b\"hi\"; }".to_vec();
//! let checked = session.check(&Input { name: "hi.lnic".into(), bytes: source });
//! let workload = checked.workload.expect("it is a right program");
//! let compiled = session.compile(&workload, &Options::default()).expect("all passes exist");
//! assert_eq!(&*compiled.module.name, "hi");
//! ```

#![forbid(unsafe_code)]

pub mod bmv2;
pub mod bundle;
mod deadline;
pub mod emit;
mod image;
mod manifest;
pub mod nfp;
pub mod nic;
mod session;
pub mod size;
pub mod targets;
pub mod testing;
#[cfg(test)]
mod tests;
pub mod xdp;

pub use image::{Image, Linked, link};
pub use lambdac_check::{NoSources, Sources, disk};
pub use lambdac_cost::{PROFILE_SCHEMA, Profile};
pub use lambdac_diag as diag;
pub use lambdac_mir as mir;
pub use lambdac_target as target;
pub use session::{Checked, CheckedWorkload, Compiled, Input, Options, Session, UnknownPass, compile};
