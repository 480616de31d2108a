//! Chores of the repository: `cargo xtask COMMAND`.
//!
//! `test` and `demo` do all their own set-up, so that a new machine with Rust alone can run them.

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod demo_xdp;
mod golden;
mod setup;
mod shell;
mod skips;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo            build, serve examples/lambda-nic, send a request to each workload, stop
  demo-xdp        the same answered in a network driver, between two network namespaces (root)
  test [--quick]  set-up, tidy, fmt, clippy and all tests (--quick: no set-up, no clippy)
  bench [NAME]    ratios against code that is not ours: host, udp, http, check, baseline, xdp, size
                  (default: all)
  bless           run the golden tests and accept what they print; review the diff as code
  fuzz [N]        mutated sources and packets, N thousand packets (default 1000)
  tidy            rules of the repository that no compiler checks
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo"] => demo::run(),
        ["demo-xdp"] => demo_xdp::run(),
        // Its callers' part, in a namespace of their own.
        ["demo-xdp", "ask"] => demo_xdp::ask(),
        ["test"] => test::run(test::Scope::All),
        ["test", "--quick"] => test::run(test::Scope::Quick),
        ["bench", names @ ..] => bench::run(names),
        ["bless"] => golden::bless(),
        ["fuzz"] => test::fuzz("1000"),
        ["fuzz", thousands] => test::fuzz(thousands),
        ["tidy"] => tidy::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
