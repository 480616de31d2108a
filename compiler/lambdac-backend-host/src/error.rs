//! What can keep a valid module from becoming code.

/// Why a module could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something needs more memory than the host gives an invocation or an object.
    #[error("{what} needs {bytes} bytes, the host gives at most {limit}")]
    TooLarge {
        /// What needs it.
        what: String,
        /// How much it needs, saturated.
        bytes: u64,
        /// The most there is.
        limit: u64,
    },
    /// Regions or calls are nested too deeply.
    #[error("{what} nests {depth} deep, the host compiles at most {limit}")]
    TooDeep {
        /// What nests.
        what: String,
        /// How deep.
        depth: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The module breaks an invariant that the validator checks, or holds an await that was not split.
    #[error("invalid MIR in {at}: {reason}")]
    Invalid {
        /// The function or lambda.
        at: String,
        /// Which invariant.
        reason: &'static str,
    },
    /// This machine cannot run host code.
    #[error("the host is not supported: {0}")]
    Host(String),
    /// Cranelift refused the code, or memory for it could not be had.
    #[error("code generation for {at} failed: {reason}")]
    Codegen {
        /// The function, lambda or stage.
        at: String,
        /// In Cranelift's words.
        reason: String,
    },
}

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
