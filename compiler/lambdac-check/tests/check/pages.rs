//! Every error page's example reports the page's code, and its mend reports nothing.

use crate::support::Files;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lambdac_diag::Severity;

/// Codes of stages after this one: analysis, the limits, targets and the driver. Their own tests run their pages.
fn is_of_another_stage(code: &str) -> bool {
    let (block, number) = code.split_at(3);
    matches!(block, "E05" | "E07" | "E10")
        || (code.starts_with('E') && number >= "50")
        || code.starts_with("E091")
        || code.starts_with("W00")
}

/// The two programs of a page.
fn programs(page: &str) -> [&str; 2] {
    let mut parts = page
        .split("```lnic\n")
        .skip(1)
        .map(|part| part.split("```").next().unwrap_or_default());
    [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()]
}

/// The codes that a program reports; the file lies where its own `use` would find it.
fn codes(source: &str) -> Vec<(&'static str, Severity)> {
    let name = source
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .trim_end_matches(';');
    let file = format!("{name}.lnic");
    let (_, diagnostics, _) = crate::support::check_file(&file, source, &Files::of(&[(&file, source)]));
    diagnostics.iter().map(|d| (d.code, d.severity)).collect()
}

#[test]
fn an_example_reports_its_code_and_its_mend_nothing() {
    let mut wrong = String::new();
    for code in lang_spec::error_codes().filter(|code| !is_of_another_stage(code)) {
        let page = lang_spec::error_page(code).expect("listed");
        let [example, mend] = programs(page);
        let found = codes(example);
        if found.is_empty() || found.iter().any(|(found, _)| *found != code) {
            wrong += &format!("{code}: the example reports {found:?}\n");
        }
        let left = codes(mend);
        if !left.is_empty() {
            wrong += &format!("{code}: the mend reports {left:?}\n");
        }
    }
    assert_eq!(wrong, "");
}

/// All Rust files under a folder.
fn rust_files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else {
            found.push(fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

#[test]
fn every_code_of_this_crate_has_a_page() {
    let mut sources = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    let is_code = |word: &str| {
        word.len() == 5 && word.starts_with(['E', 'W']) && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    let codes: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(|word| is_code(word))
        .collect();
    assert!(codes.len() > 60, "{codes:?}");
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| lang_spec::error_page(code).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
