//! What tests skip, made visible: libtest knows no skip at run time and keeps what passing tests print to itself.
//!
//! A test that can't run here prints a line that starts with `skipped: ` and returns. The tests run with
//! `--show-output`; [`Filter`] takes the blocks of output that libtest then prints away again, all but those lines, and
//! counts them.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a skip's line starts with.
const SKIPPED: &str = "skipped: ";

/// Runs `cargo test` with what was skipped visible, and says in the end how many tests ran.
pub fn run(mut cargo_test: Command) -> Result<()> {
    let color = if std::io::stdout().is_terminal() {
        "always"
    } else {
        "never"
    };
    cargo_test.args(["--", "--show-output", "--color", color]);
    let mut child = cargo_test.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut filter = Filter::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if filter.keeps(&line) {
            writeln!(out, "{line}")?;
        }
    }
    let status = child.wait()?;
    let Filter {
        passed,
        failed,
        skipped,
        ..
    } = filter;
    let passed = passed.saturating_sub(skipped);
    writeln!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
    if !status.success() {
        bail!("`cargo test`: {status}");
    }
    Ok(())
}

/// Which lines of libtest's output are shown, and what they count. A test that says that it skips, all or a part, counts as
/// skipped and not as passed.
#[derive(Debug, Default)]
struct Filter {
    /// Between `successes:` and what ends it.
    in_successes: bool,
    /// Whether the test whose output is read has said that it skips.
    test_skips: bool,
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Filter {
    fn keeps(&mut self, line: &str) -> bool {
        if line == "successes:" {
            self.in_successes = true;
        } else if line == "failures:" {
            self.in_successes = false;
        } else if let Some((passed, failed)) = totals(line) {
            self.in_successes = false;
            self.passed += passed;
            self.failed += failed;
        }
        if line.starts_with("---- ") {
            self.test_skips = false;
        }
        let skip = line.starts_with(SKIPPED);
        if skip && self.in_successes && !self.test_skips {
            self.test_skips = true;
            self.skipped += 1;
        }
        skip || !self.in_successes
    }
}

/// Passed and failed, of the line that closes a binary's tests.
fn totals(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let mut next = |what: &str| counts.next()?.strip_suffix(what)?.trim().parse().ok();
    Some((next("passed")?, next("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests
test a ... ok
test b ... FAILED

successes:

---- a stdout ----
100 programs
skipped: memcached not found
skipped: curl not found


successes:
    a
    c

failures:

---- b stdout ----
skipped: half of it
panicked

failures:
    b

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 1 test
test d ... ok

test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn of_what_passing_tests_print_the_skips_alone_are_shown() {
        let mut filter = Filter::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| filter.keeps(line)).collect();
        assert!(!shown.contains(&"100 programs"));
        assert!(!shown.contains(&"    a"));
        for line in [
            "skipped: memcached not found",
            "panicked",
            "    b",
            "test d ... ok",
        ] {
            assert!(shown.contains(&line), "{line}");
        }
        assert_eq!((filter.passed, filter.failed, filter.skipped), (3, 1, 1));
    }
}
