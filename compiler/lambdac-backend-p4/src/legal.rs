//! What of a program P4 for bmv2 can't do: by lambda, with a code, a reason and a line.
//!
//! There is no list of rules beside the emitter that could disagree with it: a lambda is refused exactly where its
//! code can't be written, by whoever finds out. See [`crate::Legaliser`].

use std::fmt;

use lambdac_mir::Loc;

/// It waits for a service.
pub const AWAIT: &str = "E0700";
/// A reply beyond a packet.
pub const REPLY: &str = "E0701";
/// Requests beyond a packet.
pub const REQUEST: &str = "E0702";
/// `@on(host)`
pub const ASKED: &str = "E0705";
/// Somebody punts to it.
pub const PUNTED: &str = "E0706";
/// Too much code.
pub const CODE: &str = "E0707";
/// State of a kind that the target doesn't have.
pub const STATE: &str = "E0710";

/// Why a lambda is the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of its page.
    pub code: &'static str,
    /// A clause that can follow "runs on the host:".
    pub reason: String,
    /// The line that it is about; none: the lambda as a whole.
    pub loc: Option<Loc>,
}

impl Refusal {
    /// A refusal of the lambda as a whole.
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            loc: None,
        }
    }

    /// With the line, unless there is one.
    #[must_use]
    pub fn at(mut self, loc: Loc) -> Self {
        if self.loc.is_none() && loc.line > 0 {
            self.loc = Some(loc);
        }
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bmv2: {}", self.code, self.reason)
    }
}

impl std::error::Error for Refusal {}
