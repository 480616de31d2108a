//! `lambdac check`

use crate::args::{Check, Format};
use crate::compile;
use crate::exit::{Exit, Result};

/// Reports diagnostics, each file alone.
pub fn run(args: &Check, format: Format) -> Result {
    let checked = compile::check_each(&args.sources, format)?;
    if checked.iter().any(|file| file.failed) {
        Err(Exit::Reported)
    } else {
        Ok(())
    }
}
