//! What fixture tests of passes share: MIR text in, line diff out.

use lambdac_mir::{Module, parse, validate};

use crate::pass::{Changed, Pass, run_checked};

/// What stands around the lambdas that most tests are about.
const HEAD: &str =
    "module \"test\"\n\nlambda l0 \"l\" request \"bytes<64>\" 4..64 reply \"bytes<64>\" 0..64 {\n";
const TAIL: &str = "}\n\ndispatch only l0\n";

/// Parses and validates a module (or what stands inside the braces of a lambda), runs a pass, validates again, asserts
/// that the pass told the truth about changes, and returns the difference line by line (` ` kept, `-` gone, `+` new);
/// `unchanged` where there is none. A second run must find nothing new to say `Changed` about without cause either.
pub(crate) fn run_pass(pass: &Pass, text: &str) -> String {
    let text = text.trim_start_matches('\n');
    let whole = if text.starts_with("module") {
        text.to_owned()
    } else {
        format!("{HEAD}{text}{TAIL}")
    };
    let mut module = module(&whole);
    let before = module.to_string();
    let changed = run_checked(pass, &mut module);
    let after = module.to_string();
    run_checked(pass, &mut module);
    match changed {
        Changed::No => "unchanged".to_owned(),
        Changed::Yes => diff(inner(&before), inner(&after)),
    }
}

/// Without what stands around a lambda in every test.
fn inner(text: &str) -> &str {
    let text = text.strip_prefix(HEAD).unwrap_or(text);
    text.strip_suffix(TAIL).unwrap_or(text)
}

/// A valid module from its text.
fn module(text: &str) -> Module {
    let module = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    validate(&module).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    module
}

/// The difference by line, by the longest common subsequence.
fn diff(before: &str, after: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut common = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(format!("  {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("- {}", a[i]));
            i += 1;
        } else {
            out.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    out.iter()
        .map(|line| line.trim_end())
        .collect::<Vec<_>>()
        .join("\n")
}
