//! What can go wrong between an image and a switch.

use std::io;

use lambdac_driver::bmv2;
use p4runtime_proto::text;

use crate::tools::CompileError;

/// Results of the agent.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image does not run on a switch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine can't.
    #[error("{0}")]
    Missing(String),
    /// The switch can't be reached, obeys somebody else, or refuses.
    #[error(transparent)]
    Switch(#[from] p4runtime_proto::Error),
    /// The workloads have no program.
    #[error(transparent)]
    Image(#[from] bmv2::Error),
    /// p4c gave none.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// What the program is described by can't be read back: a bug.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A table's contents would change the program: a bug.
    #[error("the entries of the tables do not fit the program")]
    Entries,
    /// A system call failed.
    #[error("cannot {what}")]
    System {
        /// What it was for.
        what: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The switch is away, or obeys another controller for now.
    #[error("the switch is not at hand: {0}")]
    Away(String),
}
