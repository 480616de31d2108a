//! What can go wrong outside an invocation.

/// Why an image was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A module breaks MIR's invariants.
    #[error("workload `{workload}` is invalid: {reason}")]
    Invalid {
        /// The workload.
        workload: String,
        /// The first broken invariant.
        reason: String,
    },
    /// Two workloads have one name.
    #[error("two workloads are called `{0}`")]
    Duplicate(String),
    /// The code generator refused a module.
    #[error("workload `{workload}`: {source}")]
    Compile {
        /// The workload.
        workload: String,
        /// Why.
        #[source]
        source: lambdac_backend_host::Error,
    },
    /// A parameter has neither a default nor a value.
    #[error("workload `{workload}`: parameter `{param}` needs a value")]
    MissingParam {
        /// The workload.
        workload: String,
        /// The parameter.
        param: String,
    },
    /// A value was given for a parameter that does not exist.
    #[error("workload `{workload}` has no parameter `{param}`")]
    UnknownParam {
        /// The workload.
        workload: String,
        /// The parameter.
        param: String,
    },
    /// A value does not fit its parameter.
    #[error("workload `{workload}`: parameter `{param}`: {reason}")]
    BadParam {
        /// The workload.
        workload: String,
        /// The parameter.
        param: String,
        /// Why not.
        reason: String,
    },
    /// An object cannot be made.
    #[error("workload `{workload}`: object `{object}`: {reason}")]
    Object {
        /// The workload.
        workload: String,
        /// The object.
        object: String,
        /// Why not.
        reason: String,
    },
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why the control plane was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No object of that name.
    #[error("no object is called `{0}`")]
    NoObject(String),
    /// The object is no table.
    #[error("`{0}` is no table")]
    NoTable(String),
    /// The object is a table; its entries are read as such.
    #[error("`{0}` is a table")]
    IsTable(String),
    /// The path leads nowhere.
    #[error("`{object}` has no element `{path}`")]
    NoElement {
        /// The object.
        object: String,
        /// What was asked for.
        path: String,
    },
    /// A key or value is not of the table's type.
    #[error("{what}: {reason}")]
    BadEntry {
        /// Which part of which entry.
        what: String,
        /// Why not.
        reason: String,
    },
    /// More entries than the table holds.
    #[error("{entries} entries do not fit a table of {capacity}")]
    TooMany {
        /// How many there would be.
        entries: usize,
        /// How many there can be.
        capacity: usize,
    },
    /// Two entries have one key.
    #[error("two entries have the key {0}")]
    DuplicateKey(String),
}
