//! What the tests share: from source text or a file to checked HIR.

use std::path::Path;

use lambdac_check::disk::Disk;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::{Module, validate};
use lambdac_syntax::ast::FileKind;

fn check(name: &str, text: &str) -> Option<(Workload, SourceMap)> {
    let (workload, errors, map) = try_check(name, text);
    assert!(errors.is_empty(), "{name} has errors\n{errors}");
    workload.map(|workload| (workload, map))
}

/// The workload, the errors as text, the sources.
fn try_check(name: &str, text: &str) -> (Option<Workload>, String, SourceMap) {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add(name, text);
    let parsed = lambdac_syntax::parse(file, text, &mut sink);
    let library = parsed.as_ref().is_some_and(|file| file.kind == FileKind::Library);
    let workload = match &parsed {
        Some(_) if library => None,
        Some(parsed) => lambdac_check::check(parsed, &mut map, &Disk::default(), &mut sink),
        None => None,
    };
    let errors = match &workload {
        None if !library => sink.into_sorted(),
        _ => Vec::new(),
    };
    let errors: Vec<String> = errors
        .iter()
        .map(|d| render(MessageFormat::Human, false, &map, d))
        .collect();
    (workload, errors.join("\n"), map)
}

/// Checks a program that stands in a test.
pub fn compile(text: &str) -> (Workload, SourceMap) {
    check("test.lnic", text).expect("a test's program is a workload")
}

/// Checks a file; `None` for a library, and for a program with errors, which has no HIR.
pub fn compile_file(path: &Path) -> Option<(Workload, SourceMap)> {
    let text = std::fs::read_to_string(path).expect("the file is readable");
    let (workload, _, map) = try_check(&path.display().to_string(), &text);
    workload.map(|workload| (workload, map))
}

/// Lowers a workload, as it is and split, both of them valid.
pub fn lower(workload: &Workload, map: &SourceMap) -> (Module, Module) {
    let whole = lambdac_lower::lower(workload, map);
    assert_valid(&whole);
    let mut split = whole.clone();
    lambdac_lower::split_awaits(&mut split);
    assert_valid(&split);
    (whole, split)
}

fn assert_valid(module: &Module) {
    if let Err(errors) = validate(module) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}\n\n{module}", errors.join("\n"));
    }
}
