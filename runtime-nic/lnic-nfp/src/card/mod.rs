//! The card: loading an image onto it, and looking at what runs there, by its own command-line tools.
//!
//! ```text
//! Agent::open ── load ── attach ──────────────── load ── commit ── … ── stop
//!                  │        │                      │        │
//!           P4 and Micro-C  design-load         built    design-load anew
//!           through the SDK, rules for the worker's address
//! ```
//!
//! - [`Card`] is what the tools can do; [`Tools`] calls them: `rtecli`, `nfp-rtsym`, and the SDK's `nfp4build`.
//! - [`Port`] is what the host does by its end of the card, a [`VirtualFunction`]: frames to it and from it, and what the
//!   kernel knows of services there.
//! - [`Agent`] keeps an image on a card in front of a worker; `engine` has the worker's engine behind it.
//!
//! The interface of the tools is not public, so that they are driven as users do it in the open. No tool is trusted: each
//! call has a timeout, its output a bound, and what it says is read as if a stranger had written it. Tested with stand-ins
//! built from the project's notes on the NFP (section 3.7); not run on hardware.

mod agent;
mod ask;
mod device;
mod engine;
mod metrics;
mod output;
mod port;
mod process;
mod services;
mod task;
mod tools;

use std::path::Path;
use std::time::Duration;

use lambdac_driver::nfp::{self, Rule};

pub use agent::Agent;
pub use device::{Device, DeviceError};
pub use output::Count;
pub use port::{Port, VirtualFunction};
pub use tools::Tools;

/// What goes wrong around a card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Something that is needed is not there.
    #[error("missing: {0}")]
    Missing(String),
    /// A tool was not started.
    #[error("{tool} can't be started")]
    Start {
        /// Which one.
        tool: String,
        /// Why.
        source: std::io::Error,
    },
    /// A tool did not end in time, and was stopped.
    #[error("{tool} has not ended after {after:?}")]
    TimedOut {
        /// Which one.
        tool: String,
        /// How long it had.
        after: Duration,
    },
    /// A tool said more than anybody reads.
    #[error("{tool} says more than {most} bytes")]
    TooLong {
        /// Which one.
        tool: String,
        /// What is read.
        most: usize,
    },
    /// A tool failed.
    #[error("{tool} failed ({status}): {text}")]
    Failed {
        /// Which one.
        tool: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        text: String,
    },
    /// A tool's output is none that it should have.
    #[error("{tool} says what nobody understands: {what}")]
    Odd {
        /// Which one.
        tool: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no image.
    #[error("the image has no code for the card")]
    Image(#[from] nfp::Error),
    /// The host's end of the card is not as it must be.
    #[error(transparent)]
    Port(#[from] lnic_ether::Error),
    /// A file can't be written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// This module's results.
pub type Result<T, E = CardError> = std::result::Result<T, E>;

/// What a loader asks of a card.
pub trait Card: Send + Sync {
    /// Builds the firmware of a bundle's folder with the SDK, by its script.
    ///
    /// # Errors
    /// What the script says; it names what is missing.
    fn build(&self, folder: &Path) -> Result<()>;
    /// Loads firmware with its rules, in place of what ran before.
    ///
    /// # Errors
    /// What the tool says.
    fn load(&self, firmware: &Path, design: &Path, config: &Path) -> Result<()>;
    /// Adds a rule to a table.
    ///
    /// # Errors
    /// What the tool says.
    fn add_rule(&self, rule: &Rule) -> Result<()>;
    /// Takes a rule away.
    ///
    /// # Errors
    /// What the tool says.
    fn delete_rule(&self, rule: &Rule) -> Result<()>;
    /// Values of a P4 register, so many from an index on.
    ///
    /// # Errors
    /// What the tool says.
    fn register(&self, name: &str, index: u32, count: u32) -> Result<Vec<u64>>;
    /// All P4 counters.
    ///
    /// # Errors
    /// What the tool says.
    fn counters(&self) -> Result<Vec<Count>>;
    /// Bytes of a symbol of the plugin's, big-endian words as they lie there. Offset and length are whole words.
    ///
    /// # Errors
    /// What the tool says.
    fn read(&self, symbol: &str, offset: u64, len: u64) -> Result<Vec<u8>>;
    /// Writes whole words into a symbol.
    ///
    /// # Errors
    /// What the tool says.
    fn write(&self, symbol: &str, offset: u64, bytes: &[u8]) -> Result<()>;
}
