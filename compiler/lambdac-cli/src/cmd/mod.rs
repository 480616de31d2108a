//! The commands, one module each.

mod answered;
mod bench;
mod build;
mod check;
mod explain;
mod invoke;
mod new;
mod run;
mod shell;
mod size;
mod state;
mod targets;
mod test;

use crate::args::{Cli, Command};
use crate::exit::Result;

/// Does what the command line says.
pub fn run(cli: Cli) -> Result {
    let format = cli.message_format;
    match cli.command {
        Command::New(args) => new::run(&args),
        Command::Check(args) => check::run(&args, format),
        Command::Test(args) => test::run(&args, format),
        Command::Build(args) => build::run(&args, format),
        Command::Size(args) => size::run(&args, format),
        Command::Run(args) => run::run(args, format),
        Command::Invoke(args) => invoke::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::State(args) => state::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Targets(args) => targets::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}
