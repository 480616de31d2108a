//! From source text to a workload and its tests' results.

use std::sync::Arc;

use lambdac_check::NoSources;
use lambdac_diag::{Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_interp::{InterpTarget, TestResult, run_test};

/// Parses and checks; errors fail the test that calls this.
pub fn compile(source: &str) -> Arc<Workload> {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add("test.lnic", source);
    let ast = lambdac_syntax::parse(file, source, &mut sink);
    let workload = ast.and_then(|ast| lambdac_check::check(&ast, &mut map, &NoSources, &mut sink));
    match workload {
        Some(workload) => Arc::new(workload),
        None => panic!("{source}\n{:#?}", sink.into_sorted()),
    }
}

/// The results of all tests of a source.
pub fn run(source: &str) -> Vec<TestResult> {
    let workload = compile(source);
    let mut target = InterpTarget::new(workload.clone());
    workload
        .tests
        .iter()
        .map(|test| run_test(&workload, test, &mut target))
        .collect()
}
