//! The reference's examples: each `lnic` block of each page is one test.
//!
//! - `lnic`: a whole workload, whose test items must pass and which has no diagnostics.
//! - `lnic,error=E0203`: exactly this error is reported; `lnic,warns=W0050`: exactly this warning.
//! - `lnic,library=NAME`: a library that stands beside the blocks after it on the page.
//! - `text,file=NAME`: a file that stands there.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use lambdac_check::Sources;
use libtest_mimic::{Arguments, Failed, Trial};

/// A fenced block of a page.
struct Block {
    line: usize,
    heading: String,
    info: String,
    text: String,
}

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lang-spec/reference");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut pages: Vec<_> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    let mut trials = Vec::new();
    for path in pages {
        let page = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        trials.extend(page_trials(&page, &text));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn page_trials(page: &str, text: &str) -> Vec<Trial> {
    let mut beside = Beside::default();
    let mut trials = Vec::new();
    for block in blocks(text) {
        let (language, option) = block.info.split_once(',').unwrap_or((&block.info, ""));
        let (option, value) = option.split_once('=').unwrap_or((option, ""));
        match (language, option) {
            ("lnic", "library") => drop(beside.0.insert(format!("{value}.lnic"), block.text.into_bytes())),
            ("text", "file") => drop(beside.0.insert(value.to_owned(), block.text.into_bytes())),
            ("lnic", "" | "error" | "warns") => {
                let name = format!("{page}:{} {}", block.line, block.heading);
                let (beside, expected) = (beside.clone(), value.to_owned());
                trials.push(Trial::test(name, move || run(&block.text, &beside, &expected)));
            }
            ("lnic", _) => panic!("{page}:{}: `{}` is no kind of block", block.line, block.info),
            _ => {}
        }
    }
    trials
}

/// Checks a block, and runs its test items where it has no errors.
fn run(text: &str, beside: &Beside, expected: &str) -> Result<(), Failed> {
    let program = support::check("example.lnic", text.as_bytes(), beside);
    let expected: Vec<&str> = Some(expected)
        .filter(|code| !code.is_empty())
        .into_iter()
        .collect();
    program.expect_codes(&expected)?;
    let Some(workload) = &program.workload else {
        return Ok(());
    };
    if workload.tests.is_empty() {
        return Err("the example has no test items".into());
    }
    workload
        .tests
        .iter()
        .try_for_each(|test| program.run(workload, test))
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(info)) => {
                let (heading, info) = (heading.clone(), info.to_owned());
                open = Some(Block {
                    line: number + 1,
                    heading,
                    info,
                    text: String::new(),
                });
            }
            (None, None) => {
                if line.starts_with('#') {
                    heading = line.trim_start_matches(['#', ' ']).to_owned();
                }
            }
        }
    }
    blocks
}

/// Files that stand beside a source, in memory.
#[derive(Clone, Default)]
struct Beside(BTreeMap<String, Vec<u8>>);

impl Sources for Beside {
    fn library(&self, _: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let file = format!("{name}.lnic");
        Ok(self.0.get(&file).map(|bytes| (file, bytes.clone())))
    }

    fn include(&self, _: &str, relative: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(relative)
            .cloned()
            .ok_or_else(|| "no such file".to_owned())
    }
}
