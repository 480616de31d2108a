//! Real programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lambdac_check::disk::{self, Disk};
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::Module;

/// A checked and optimised program.
pub struct Program {
    pub path: PathBuf,
    pub hir: Arc<Workload>,
    pub module: Arc<Module>,
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
    let checked = lambdac_check::check(&parsed, &mut map, &Disk::default(), &mut sink)?;
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
    let folders = ["lang-spec/conformance", "examples"].map(|folder| root.join(folder));
    let paths = disk::find(&folders).expect("there are programs");
    paths.into_iter().filter_map(program).collect()
}
