//! The bundle: what `lambdac build` writes and a worker loads.
//!
//! A directory, or the same as a tar: `manifest.json`, `workloads/NAME.mir` (portable, what a worker links) and a folder
//! of artifacts per target. The manifest lists every file with its sha256. `lang-spec/bundle.md` describes it.
//!
//! Writing takes the files as data and gives the same bytes for the same input. Reading treats a bundle as hostile:
//! names, sizes, counts and hashes are checked before anything is used, and a refusal says why.

#![forbid(unsafe_code)]

mod archive;
mod manifest;
mod read;
mod write;

pub use archive::from_tar;
pub use manifest::{Lambda, Manifest, Message, Object, Param, Placement, SCHEMA, Service, Side, Workload};
pub use read::{Bundle, Error, Limits, from_files, read};
pub use write::{to_tar, with_hashes, write_dir};

/// Files of a bundle by relative path, `/` between folders.
pub type Files = std::collections::BTreeMap<String, Vec<u8>>;

/// Path of the manifest.
pub const MANIFEST: &str = "manifest.json";
