//! `lambdac completions` and `lambdac man`: both are generated from the command line's definition.

use clap::CommandFactory;

use crate::args::{Cli, Completions, Man};
use crate::exit::{Exit, Result};
use crate::report;

/// Prints a completion script.
pub fn completions(args: &Completions) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lambdac", &mut script);
    report::print(script)
}

/// Writes a page for the command and one for each of its subcommands.
pub fn man(args: &Man) -> Result {
    let dir = &args.output;
    std::fs::create_dir_all(dir).map_err(Exit::environment(dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(Exit::environment(dir.display()))
}
