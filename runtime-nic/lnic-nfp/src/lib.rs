//! Runs emitted C off the card.
//!
//! A network processor's own compiler and the card itself are rarely at hand, so a unit of `lambdac-backend-c` is kept
//! honest by other means: gcc or clang compile it with every warning an error, and it runs in a process of its own with
//! the address and undefined-behaviour sanitizers, message by message.
//!
//! - [`Toolchain`] finds a compiler and runs it.
//! - [`Machine`] is an image in such a process: requests go in, endings come out, state can be read. It is to emitted C
//!   what [`ImageInterp`](lambdac_image::ImageInterp) is to an image, so that both can be held against each other.
//!
//! - [`testing`] runs `test` items so.
//! - [`card`] puts an image on a card and keeps it there, by the card's own tools.
//!
//! A process that says nothing for [`PATIENCE`] is stopped; what a sanitizer says is an error with its text.

#![forbid(unsafe_code)]

pub mod card;
mod elf;
mod machine;
mod process;
mod state;
pub mod testing;
mod toolchain;

pub use elf::Sizes;
pub use machine::{Code, HOST, Machine, TOO_LARGE, options};
pub use process::PATIENCE;
pub use toolchain::{Build, STRICT, Toolchain};

/// What goes wrong around emitted C.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or process could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The image can't be said in C.
    #[error("{0}")]
    Refused(String),
    /// The compiler did not take it.
    #[error("{compiler} refuses the unit:\n{text}")]
    Compiler {
        /// Which one.
        compiler: String,
        /// What it said.
        text: String,
    },
    /// The process ended, was stopped, or said something odd.
    #[error("the unit's process {what}\n{text}")]
    Process {
        /// What it did.
        what: String,
        /// What it said on its standard error.
        text: String,
    },
}

/// This crate's results.
pub type Result<T> = std::result::Result<T, Error>;

fn io(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}
