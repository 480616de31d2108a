//! From source text or a file to MIR.

use std::path::{Path, PathBuf};

use lambdac_check::Sources;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::Module;
use lambdac_syntax::ast::FileKind;

/// Files of one folder.
struct Folder(PathBuf);

impl Sources for Folder {
    fn library(&self, _from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let name = format!("{name}.lnic");
        Ok(std::fs::read(self.0.join(&name)).ok().map(|bytes| (name, bytes)))
    }

    fn include(&self, _from: &str, relative: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(relative)).map_err(|error| error.to_string())
    }
}

/// A program before the passes.
pub struct Program {
    pub workload: Workload,
    pub module: Module,
}

/// Compiles a text; `None` for a library.
///
/// # Panics
///
/// If it has errors.
pub fn compile(name: &str, text: &str, folder: &Path) -> Option<Program> {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add(name, text);
    let parsed = lambdac_syntax::parse(file, text, &mut sink);
    if parsed.as_ref().is_some_and(|file| file.kind == FileKind::Library) {
        return None;
    }
    let workload =
        parsed.and_then(|file| lambdac_check::check(&file, &mut map, &Folder(folder.into()), &mut sink));
    let Some(workload) = workload else {
        let errors = sink.into_sorted();
        let errors: Vec<String> = errors
            .iter()
            .map(|error| render(MessageFormat::Human, false, &map, error))
            .collect();
        panic!("{name} has errors\n{}", errors.join("\n"));
    };
    let mut module = lambdac_lower::lower(&workload, &map);
    lambdac_lower::split_awaits(&mut module);
    Some(Program { workload, module })
}

/// Compiles a file; `None` for a library.
pub fn compile_file(path: &Path) -> Option<Program> {
    let text = std::fs::read_to_string(path).expect("the file is readable");
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("names are UTF-8");
    compile(name, &text, path.parent().expect("a file lies in a folder"))
}

/// Compiles a program that stands in a test, and optimises it with all checks on.
pub fn optimized(text: &str) -> Module {
    let mut module = compile("test.lnic", text, Path::new("."))
        .expect("a test's program is a workload")
        .module;
    let options = lambdac_opt::Options {
        validate: true,
        ..lambdac_opt::Options::default()
    };
    lambdac_opt::optimize(&mut module, &options);
    module
}

/// All programs below a folder of the repository, sorted.
pub fn programs(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder),
        &mut found,
    );
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            found.push(path);
        }
    }
}
