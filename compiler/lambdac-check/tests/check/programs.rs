//! Whole programs that must be clean: the examples and the standard library.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Files;

fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            found.push(path);
        }
    }
}

/// All files that lie beside a source.
fn beside(path: &Path) -> Files {
    let mut files = Files::default();
    for entry in fs::read_dir(path.parent().unwrap_or(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(bytes) = fs::read(entry.path()) {
            files
                .0
                .insert(entry.file_name().to_string_lossy().into_owned(), bytes);
        }
    }
    files
}

fn all_clean(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut found = Vec::new();
    programs(&root, &mut found);
    assert!(!found.is_empty(), "no programs in {folder}");
    let mut complaints = String::new();
    for path in found {
        let source = fs::read_to_string(&path).expect("a program is text");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (_, diagnostics, map) = crate::support::check_file(&name, &source, &beside(&path));
        for d in diagnostics {
            use lambdac_diag::render::{MessageFormat, render};
            complaints += &render(MessageFormat::Human, false, &map, &d);
        }
    }
    assert_eq!(complaints, "");
}

#[test]
fn the_examples_are_clean() {
    all_clean("examples");
}

#[test]
fn the_conformance_programs_are_clean() {
    if Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../lang-spec/conformance")
        .exists()
    {
        all_clean("lang-spec/conformance");
    }
}

#[test]
fn the_standard_library_is_clean() {
    // A file may not take a standard library's name, so its fns are checked through their use.
    let source = "workload t;\nuse text;\nuse net;\n\
        lambda go(req: bytes<32>) -> bytes<64> {\n\
            let mut out: bytes<64> = text::dec(net::checksum(req) as u64);\n\
            let n = text::parse_dec(req) else { reply text::hex(7); };\n\
            let at = text::find(req, b\"x\") else { drop; };\n\
            if text::starts_with(req, b\"y\") { out.append(text::hex(n + at as u64)); }\n\
            reply out;\n\
        }\n";
    assert_eq!(crate::support::check(source), "");
    let (workload, ..) = crate::support::check_file("t.lnic", source, &Files::default());
    let workload = workload.expect("clean");
    let names: Vec<_> = workload.fns.iter().map(|f| f.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "text::dec",
            "net::checksum",
            "text::parse_dec",
            "text::hex",
            "text::find",
            "text::starts_with"
        ]
    );
}
