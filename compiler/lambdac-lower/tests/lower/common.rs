//! What the tests share: from source text or a file to checked HIR.

use std::path::{Path, PathBuf};

use lambdac_check::Sources;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::{Module, validate};
use lambdac_syntax::ast::FileKind;

/// Files of one folder.
struct Folder(PathBuf);

impl Sources for Folder {
    fn library(&self, _from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let path = self.0.join(format!("{name}.lnic"));
        Ok(std::fs::read(path)
            .ok()
            .map(|bytes| (format!("{name}.lnic"), bytes)))
    }

    fn include(&self, _from: &str, relative: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(relative)).map_err(|e| e.to_string())
    }
}

fn check(name: &str, text: &str, folder: &Path) -> Option<(Workload, SourceMap)> {
    let (workload, errors, map) = try_check(name, text, folder);
    assert!(errors.is_empty(), "{name} has errors\n{errors}");
    workload.map(|workload| (workload, map))
}

/// The workload, the errors as text, the sources.
fn try_check(name: &str, text: &str, folder: &Path) -> (Option<Workload>, String, SourceMap) {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add(name, text);
    let parsed = lambdac_syntax::parse(file, text, &mut sink);
    let library = parsed.as_ref().is_some_and(|file| file.kind == FileKind::Library);
    let workload = match &parsed {
        Some(_) if library => None,
        Some(parsed) => lambdac_check::check(parsed, &mut map, &Folder(folder.into()), &mut sink),
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
    check("test.lnic", text, Path::new(".")).expect("a test's program is a workload")
}

/// Checks a file; `None` for a library, and for a program with errors, which has no HIR.
pub fn compile_file(path: &Path) -> Option<(Workload, SourceMap)> {
    let text = std::fs::read_to_string(path).expect("the file is readable");
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("names are UTF-8");
    let (workload, _, map) = try_check(name, &text, path.parent().expect("a file lies in a folder"));
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
