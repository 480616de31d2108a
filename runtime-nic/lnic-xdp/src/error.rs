//! What can go wrong between an object and the kernel.

use std::io;

use crate::link::Mode;
use crate::verifier::Rejection;

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A thing that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// Why an object can't be loaded, run or attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine can't.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The file is no eBPF object.
    #[error("the object cannot be read")]
    Object(#[from] aya_obj::ParseError),
    /// Its type information is wrong.
    #[error("the object's type information cannot be read")]
    Btf(#[from] aya_obj::btf::BtfError),
    /// A reference in it leads nowhere.
    #[error("the object cannot be linked")]
    Relocation(#[from] aya_obj::relocation::EbpfRelocationError),
    /// The kernel refused the type information.
    #[error("the kernel refuses the type information: {log}")]
    BtfRefused {
        /// The last lines of its log.
        log: String,
        /// Its error.
        #[source]
        source: io::Error,
    },
    /// The kernel refused an operation on a map.
    #[error("cannot {what} map `{map}`: {source}")]
    Map {
        /// The map.
        map: String,
        /// The operation.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A key or value has the wrong size.
    #[error("map `{map}` has a {part} of {expected} bytes, not {given}")]
    Size {
        /// The map.
        map: String,
        /// `key` or `value`.
        part: &'static str,
        /// What the map says.
        expected: usize,
        /// What was given.
        given: usize,
    },
    /// A map of a kind that this crate doesn't know.
    #[error("map `{map}` is of kind {kind}, which is unknown here")]
    Kind {
        /// The map.
        map: String,
        /// `enum bpf_map_type`.
        kind: u32,
    },
    /// The verifier refused a program: a mistake of the compiler.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// The object has no such program or map.
    #[error("the object has no {what} `{name}`")]
    Absent {
        /// `program`, `map` or `section`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The test-run call failed.
    #[error("cannot run program `{program}` on a packet of {len} bytes: {source}")]
    TestRun {
        /// The program.
        program: String,
        /// Bytes of the packet.
        len: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The program can't be attached.
    #[error("cannot attach to {interface} in {mode} mode: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// How.
        mode: Mode,
        /// What to do about it, or the kernel's reason.
        reason: String,
    },
    /// The interface, or what is around it.
    #[error(transparent)]
    Ether(#[from] lnic_ether::Error),
    /// A system call about memory or waiting.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}
