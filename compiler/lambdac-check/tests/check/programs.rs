//! Whole programs that must be clean: the examples and the standard library.

use std::fs;
use std::path::Path;

use lambdac_check::disk::{self, Disk};

use crate::support::Files;

fn all_clean(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let found = disk::find(&[root]).expect("there are programs");
    let mut complaints = String::new();
    for path in found {
        let source = fs::read_to_string(&path).expect("a program is text");
        let (_, diagnostics, map) =
            crate::support::check_file(&path.display().to_string(), &source, &Disk::default());
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
