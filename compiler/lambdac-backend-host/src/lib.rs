//! MIR to Cranelift IR: code for the host, in memory or as an object file.
//!
//! In goes a validated [`lambdac_mir::Module`] after the await split; out comes [`JitCode`] (callers: the engine), an
//! [`Object`] with its C header (callers: `build --target host`), or text ([`clif_text`], for `--emit clif`).
//! Code keeps no state: everything it reads and writes is reached through a [`context::Context`]; how values lie in
//! memory is [`layout`]'s. The same module gives the same bytes.
//!
//! A module that the validator accepts never makes this crate panic; the worst is an [`Error`].

pub mod context;
mod emit;
mod error;
mod header;
mod isa;
mod jit;
pub mod layout;
mod object;
pub mod support;

pub use emit::EntryNeeds;
pub use error::{Error, Result};
pub use jit::{JitCode, compile_jit};
pub use object::{Object, clif_text, compile_object};
