//! How the command ends when it doesn't end well.

use std::fmt::Display;
use std::process::ExitCode;

/// A bad end, by exit status.
#[derive(Debug)]
pub enum Exit {
    /// 1: the program is wrong, which was already reported.
    Reported,
    /// 1: the answer is no, and this says why.
    Failed(String),
    /// 2: the command line is wrong.
    Usage(String),
    /// 3: something outside is missing or refuses.
    Environment(String),
}

/// What commands return.
pub type Result<T = ()> = std::result::Result<T, Exit>;

impl Exit {
    /// For `map_err`: the environment's fault, with what was being done.
    pub fn environment<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Environment(format!("{what}: {error}"))
    }

    /// Says why on stderr, and gives the status.
    pub fn report(self) -> ExitCode {
        let (status, message) = match self {
            Self::Reported => (1, None),
            Self::Failed(message) => (1, Some(message)),
            Self::Usage(message) => (2, Some(message)),
            Self::Environment(message) => (3, Some(message)),
        };
        if let Some(message) = message {
            eprintln!("lambdac: {message}");
        }
        ExitCode::from(status)
    }
}
