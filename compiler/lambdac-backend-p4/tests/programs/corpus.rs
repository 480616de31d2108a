//! Real programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lambdac_check::Sources;
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::Module;

/// A checked and optimised program.
pub struct Program {
    pub path: PathBuf,
    pub hir: Arc<Workload>,
    pub module: Arc<Module>,
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            out.push(path);
        }
    }
}

/// Libraries and included files beside the source.
struct Beside;

impl Sources for Beside {
    fn library(&self, from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let path = Path::new(from).with_file_name(format!("{name}.lnic"));
        let text = std::fs::read(&path).ok();
        Ok(text.map(|bytes| (path.display().to_string(), bytes)))
    }

    fn include(&self, from: &str, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(Path::new(from).with_file_name(path)).map_err(|error| error.to_string())
    }
}

/// The program of a file; none for a library.
fn program(path: PathBuf) -> Option<Program> {
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut map, mut sink) = (SourceMap::new(), Sink::new());
    let file = map.add(path.display().to_string(), text.as_str());
    let parsed = lambdac_syntax::parse(file, &text, &mut sink)?;
    if parsed.kind == lambdac_syntax::ast::FileKind::Library {
        return None;
    }
    let checked = lambdac_check::check(&parsed, &mut map, &Beside, &mut sink)?;
    let mut module = lambdac_lower::lower(&checked, &map);
    lambdac_lower::split_awaits(&mut module);
    lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
    Some(Program {
        path,
        hir: Arc::new(checked),
        module: Arc::new(module),
    })
}

/// All programs of the conformance suite and the examples.
pub fn corpus() -> Vec<Program> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    for folder in ["lang-spec/conformance", "examples"] {
        files(&root.join(folder), &mut paths);
    }
    paths.into_iter().filter_map(program).collect()
}
