//! From source text or a file to MIR.

use std::path::{Path, PathBuf};

use lambdac_check::disk::{self, Disk};
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::Module;
use lambdac_syntax::ast::FileKind;

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
pub fn compile(name: &str, text: &str) -> Option<Program> {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add(name, text);
    let parsed = lambdac_syntax::parse(file, text, &mut sink);
    if parsed.as_ref().is_some_and(|file| file.kind == FileKind::Library) {
        return None;
    }
    let workload = parsed.and_then(|file| lambdac_check::check(&file, &mut map, &Disk::default(), &mut sink));
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
    compile(&path.display().to_string(), &text)
}

/// Compiles a program that stands in a test, and optimises it with all checks on.
pub fn optimized(text: &str) -> Module {
    let mut module = compile("test.lnic", text)
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    disk::find(&[folder]).expect("there are programs")
}
