//! What the tests over whole programs share: where files come from, checking a source, running a test item.

use std::sync::Arc;

use lambdac_analysis::analyze;
use lambdac_check::Sources;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_driver::testing::HostTarget;
use lambdac_hir::{Test, Workload};
use lambdac_interp::{InterpTarget, Target, TestResult, run_test};
use libtest_mimic::Failed;

/// A checked source.
pub struct Program {
    /// The workload where there were no errors.
    pub workload: Option<Arc<Workload>>,
    /// Errors and warnings by position.
    pub diagnostics: Vec<Diagnostic>,
    map: SourceMap,
}

/// Parses, checks and analyses a workload.
pub fn check(name: &str, text: &[u8], sources: &dyn Sources) -> Program {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add(name, String::from_utf8_lossy(text).as_ref());
    let parsed = lambdac_syntax::parse_bytes(file, text, &mut sink);
    let workload = parsed.and_then(|parsed| lambdac_check::check(&parsed, &mut map, sources, &mut sink));
    if let Some(workload) = &workload {
        analyze(workload, &mut sink);
    }
    let workload = workload.filter(|_| !sink.has_errors()).map(Arc::new);
    Program {
        workload,
        diagnostics: sink.into_sorted(),
        map,
    }
}

impl Program {
    /// All diagnostics as a person sees them.
    pub fn rendered(&self) -> String {
        let human = |d| render(MessageFormat::Human, false, &self.map, d);
        self.diagnostics.iter().map(human).collect()
    }

    /// Fails unless exactly these errors and warnings were reported, in any order.
    pub fn expect_codes(&self, expected: &[&str]) -> Result<(), Failed> {
        let mut expected = expected.to_vec();
        let mut found: Vec<_> = self.diagnostics.iter().map(|d| d.code).collect();
        expected.sort_unstable();
        found.sort_unstable();
        if found == expected {
            return Ok(());
        }
        Err(format!("expected {expected:?}, found {found:?}\n{}", self.rendered()).into())
    }

    /// Runs one of the test items on the evaluator and on the host's code after all passes.
    pub fn run(&self, workload: &Arc<Workload>, test: &Test) -> Result<(), Failed> {
        self.run_on(workload, test, &mut InterpTarget::new(workload.clone()))?;
        let mut module = lambdac_lower::lower(workload, &self.map);
        lambdac_lower::split_awaits(&mut module);
        lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
        let mut host = HostTarget::new(workload.clone(), module.into()).map_err(|e| format!("host: {e}"))?;
        self.run_on(workload, test, &mut host)
    }

    fn run_on(&self, workload: &Arc<Workload>, test: &Test, target: &mut dyn Target) -> Result<(), Failed> {
        let name = target.name().to_owned();
        match run_test(workload, test, target) {
            TestResult::Passed => Ok(()),
            TestResult::Skipped(reason) => Err(format!("{name}: skipped: {reason}").into()),
            TestResult::Failed(failures) => {
                let told = failures.iter().map(|failure| {
                    let (line, _) = self.map.line_column(failure.span.file, failure.span.start);
                    let (expected, got) = (&failure.expected, &failure.got);
                    let step = self.map.slice(failure.span);
                    format!("{name}, line {line}: {step}\n  expected {expected}\n  got      {got}\n")
                });
                Err(told.collect::<String>().into())
            }
        }
    }
}
