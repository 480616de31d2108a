//! Runs host code: state objects, invocations, traps, waiting lambdas, code swap.
//!
//! An [`Image`] is a set of [`Workload`]s. A workload is code (from `lambdac-backend-host`), parameters and
//! [`objects::Objects`]. Code holds no state: [`Image::load`] with the image before it keeps every object whose
//! declaration did not change, and code that is not changed is not compiled again. Whoever runs or waits in an old
//! workload keeps it alive by its `Arc`.
//!
//! Everything is safe under many threads. There is no lock over a workload or an object: values are atomic cells,
//! entries have a lock per hash bucket that is held for one copy, tables are read from a snapshot. An invocation
//! allocates nothing after its thread's [`Scratch`] has warmed up.
//!
//! ```
//! # fn main() -> Result<(), lnic_engine::Error> {
//! let module = lambdac_mir::Module {
//!     name: "empty".into(),
//!     files: vec![],
//!     consts: vec![],
//!     params: vec![],
//!     objects: vec![],
//!     services: vec![],
//!     funcs: vec![],
//!     lambdas: vec![],
//!     dispatch: lambdac_mir::Dispatch::Unreachable,
//! };
//! let image = lnic_engine::Image::load(&[module.into()], &[], None)?;
//! let mut scratch = lnic_engine::Scratch::new(1);
//! let meta = lnic_engine::Meta::default();
//! let outcome = image.workloads()[0].invoke(&mut scratch, &meta, b"", &mut []);
//! assert!(matches!(outcome, lnic_engine::Outcome::BadRequest));
//! # Ok(())
//! # }
//! ```

pub mod control;
mod entries;
mod error;
mod facts;
mod image;
mod invoke;
mod log;
pub mod objects;
mod params;
mod runtime;
mod scratch;
mod sign;
mod stream;
mod table;
mod words;

pub use error::{ControlError, Error, Result};
pub use facts::MessageFacts;
pub use image::{Image, ParamOverride, Workload};
pub use invoke::{Answer, Call, Continuation, Meta, Outcome, TrapInfo};
pub use log::LogSink;
pub use params::{Params, parse_param};
pub use scratch::Scratch;
pub use table::{Row, Table};
