//! Golden files: they change only here, and the diff is reviewed as code.

use anyhow::Result;

use crate::shell;

/// Runs the tests that hold golden files and accepts what they print.
pub fn bless() -> Result<()> {
    shell::run("cargo", &["build", "--workspace", "--bin", "lambdac"])?;
    let mut test = shell::command("cargo", &["test", "--workspace", "--no-fail-fast", "--quiet"]);
    test.env("INSTA_UPDATE", "always")
        .env("INSTA_FORCE_PASS", "1")
        .env("LAMBDAC_BLESS", "1");
    shell::run_command(&mut test)?;
    shell::run("git", &["status", "--short"])
}
