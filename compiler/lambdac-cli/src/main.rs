//! The `lambdac` command.
//!
//! `args` is the command line as data, `cmd` acts on it, one module a command. stdout is for results, stderr for
//! diagnostics. Exit status: 0 good (warnings included), 1 the program is wrong, 2 usage, 3 the environment.

#![forbid(unsafe_code)]

mod args;
mod cmd;
mod compile;
mod exit;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no failure, and there is nobody left to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cmd::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}
