//! `cargo xtask bench`: the benches of `tests/bench`, optimised.

use anyhow::Result;

use crate::{setup, shell};

/// Runs the named benches, or all.
pub fn run(names: &[&str]) -> Result<()> {
    setup::install(&[
        setup::GCC,
        setup::PYTHON,
        setup::CLANG,
        setup::IP,
        setup::MEMCACHED,
    ])?;
    shell::run(
        "cargo",
        &[
            "build",
            "--quiet",
            "--release",
            "-p",
            "lambdac-cli",
            "-p",
            "lambdac-bench",
        ],
    )?;
    let mut args = vec!["run", "--quiet", "--release", "-p", "lambdac-bench", "--"];
    args.extend(names);
    shell::run("cargo", &args)
}
