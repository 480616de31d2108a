//! The machine that code is made for.

use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};

use crate::{Error, Result};

/// Whether code runs here at once, or anywhere on this kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// In this process: with every instruction that this machine has.
    Jit,
    /// From an object file: position-independent, with the architecture's base instructions.
    Object,
}

pub(crate) fn isa(purpose: Use) -> Result<OwnedTargetIsa> {
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    let pic = if purpose == Use::Object { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", "speed"),
        ("enable_verifier", verify),
        ("use_colocated_libcalls", "false"),
        ("is_pic", pic),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("unwind_info", "false"),
    ] {
        flags
            .set(name, value)
            .map_err(|error| Error::Host(error.to_string()))?;
    }
    let flags = Flags::new(flags);
    match purpose {
        Use::Jit => cranelift_native::builder().map_err(|error| Error::Host(error.into()))?,
        Use::Object => isa::lookup(target_lexicon::Triple::host()).map_err(|e| Error::Host(e.to_string()))?,
    }
    .finish(flags)
    .map_err(|error| Error::Host(error.to_string()))
}
