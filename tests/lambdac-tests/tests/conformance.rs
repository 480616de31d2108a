//! The conformance programs and the examples: each test item of each is one test, run on the evaluator and on the
//! host's code.
//!
//! A program may not have a diagnostic, except those of a line `// warns W0050 W0055`.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use lambdac_check::disk::{self, Disk};
use libtest_mimic::{Arguments, Trial};
use support::Program;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut trials = Vec::new();
    let folders = ["lang-spec/conformance", "examples"].map(|folder| root.join(folder));
    let files = disk::find(&folders).expect("there are programs");
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files {
        let shown = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        if String::from_utf8_lossy(&text).contains("\nlibrary ") {
            continue;
        }
        let program = support::check(&path.display().to_string(), &text, &Disk::default());
        if let Some(workload) = &program.workload {
            names
                .entry(workload.name.to_string())
                .or_default()
                .push(shown.clone());
        }
        trials.extend(program_trials(&shown, program, warnings(&text)));
    }
    trials.push(Trial::test("names are unique", move || {
        let twice: Vec<_> = names.iter().filter(|(_, files)| files.len() > 1).collect();
        if twice.is_empty() {
            Ok(())
        } else {
            Err(format!("{twice:?}").into())
        }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The codes of the lines `// warns CODE …`.
fn warnings(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| line.strip_prefix("// warns "));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// A trial for the diagnostics of a program and one for each of its test items.
fn program_trials(name: &str, program: Program, expected: Vec<String>) -> Vec<Trial> {
    let program = Arc::new(program);
    let mut trials = Vec::new();
    if let Some(workload) = &program.workload {
        for (number, test) in workload.tests.iter().enumerate() {
            let (program, workload) = (program.clone(), workload.clone());
            trials.push(Trial::test(format!("{name}: {}", test.name), move || {
                program.run(&workload, &workload.tests[number])
            }));
        }
    }
    trials.push(Trial::test(format!("{name}: diagnostics"), move || {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        program.expect_codes(&expected)
    }));
    trials
}
