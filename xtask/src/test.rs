//! `cargo xtask test`: what CI runs, and what a developer runs before a commit.

use anyhow::Result;

use crate::{setup, shell, skips, tidy};

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// The tests alone.
    Quick,
}

/// Set-up, then tidy, fmt, clippy with warnings denied, and all tests.
pub fn run(scope: Scope) -> Result<()> {
    if scope == Scope::All {
        setup::install(&[
            setup::MEMCACHED,
            setup::GCC,
            setup::CURL,
            setup::PYTHON,
            setup::IP,
            setup::BPFTOOL,
            setup::TSHARK,
            setup::CHROMIUM,
        ])?;
        tidy::run()?;
        shell::run("cargo", &["fmt", "--all", "--check"])?;
        shell::run(
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        )?;
    }
    // The end-to-end tests start the command itself, which `cargo test` alone does not build.
    shell::run("cargo", &["build", "--workspace", "--bin", "lambdac"])?;
    let mut test = shell::command("cargo", &["test", "--workspace", "--no-fail-fast"]);
    test.env("INSTA_UPDATE", "no");
    if let Some(python) = setup::finsy() {
        test.env("LNIC_FINSY_PYTHON", python);
    }
    skips::run(test)
}

/// The bounded fuzz run, longer than the one that the tests hold.
pub fn fuzz(thousands: &str) -> Result<()> {
    let mut test = shell::command(
        "cargo",
        &[
            "test",
            "--release",
            "-p",
            "lambdac-tests",
            "--test",
            "fuzz",
            "--",
            "--nocapture",
        ],
    );
    test.env("LAMBDAC_FUZZ_THOUSANDS", thousands);
    shell::run_command(&mut test)
}
