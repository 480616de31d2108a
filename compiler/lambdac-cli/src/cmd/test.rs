//! `lambdac test`

use std::sync::Arc;

use lambdac_driver::diag::Diagnostic;
use lambdac_driver::mir::Module;
use lambdac_driver::testing::{self, Failure, Ran, TestResult, TestTarget, TestTargets};
use lambdac_driver::{CheckedWorkload, Profile, Session, targets};

use crate::args::{Format, Test};
use crate::exit::{Exit, Result};
use crate::{compile, report};

/// Counts of a run.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs the tests of each file on each target, a line a test and target.
pub fn run(args: &Test, format: Format) -> Result {
    let targets: Vec<String> = match args.target.as_slice() {
        [] => default_targets(),
        given => given.to_vec(),
    };
    if let Some(unknown) = targets.iter().find(|name| targets::find(name).is_none()) {
        return Err(Exit::Usage(format!(
            "there is no target {unknown:?}; `lambdac targets` lists them"
        )));
    }
    let mut tally = Tally::default();
    let mut profile = args.profile.as_ref().map(|_| Profile::default());
    let wrong = compile::check_each(&args.sources, format, |session, checked| {
        match &checked.workload {
            Some(workload) => {
                let told = (&mut tally, profile.as_mut());
                run_file(args, format, &targets, session, workload, told)
            }
            None => Ok(()),
        }
    })?;
    if let (Some(path), Some(profile)) = (&args.profile, &profile) {
        let json = serde_json::to_string_pretty(profile).map_err(|e| Exit::Failed(e.to_string()))?;
        std::fs::write(path, json + "\n").map_err(Exit::environment(path.display()))?;
    }
    report::print(format!(
        "{} passed, {} failed, {} skipped\n",
        tally.passed, tally.failed, tally.skipped
    ))?;
    if wrong || tally.failed > 0 {
        Err(Exit::Reported)
    } else {
        Ok(())
    }
}

/// All that can run here: the built-in ones, and each of the others where what it needs is there.
fn default_targets() -> Vec<String> {
    let others = [
        (lnic_xdp::testing::NAME, lnic_xdp::probe::check().is_ok()),
        (lnic_nfp::testing::NAME, lnic_nfp::testing::toolchain().is_some()),
        (lnic_bmv2::testing::NAME, lnic_bmv2::tools::Tools::find().is_ok()),
    ];
    let others = others.into_iter().filter(|(_, can)| *can).map(|(name, _)| name);
    let all = testing::TARGETS.into_iter().chain(others);
    all.map(str::to_owned).collect()
}

fn run_file(
    args: &Test,
    format: Format,
    targets: &[String],
    session: &Session,
    workload: &CheckedWorkload,
    (tally, profile): (&mut Tally, Option<&mut Profile>),
) -> Result {
    let compiled = compile::compile_one(session, workload, &compile::options(&args.passes))?;
    if let Some(profile) = profile {
        testing::profile(workload, &compiled.module, args.filter.as_deref(), profile);
    }
    let mut result = Ok(());
    testing::run(
        workload,
        &compiled.module,
        targets,
        args.filter.as_deref(),
        &Nics,
        &mut |ran| {
            let line = line(&ran, tally);
            if let (TestResult::Failed(failures), Ok(())) = (&ran.result, &result) {
                report::diagnostics(format, session.map(), &diagnostics(&ran, failures));
            }
            if result.is_ok() {
                result = report::print(line);
            }
        },
    );
    result
}

/// The targets beside the built-in ones.
struct Nics;

impl TestTargets for Nics {
    fn load(
        &self,
        target: &str,
        checked: &CheckedWorkload,
        module: &Arc<Module>,
    ) -> Option<Box<dyn TestTarget>> {
        let all: [&dyn TestTargets; 3] = [
            &lnic_xdp::testing::XdpTests,
            &lnic_bmv2::testing::Bmv2Tests,
            &lnic_nfp::testing::NfpTests,
        ];
        all.into_iter().find_map(|one| one.load(target, checked, module))
    }
}

fn line(ran: &Ran, tally: &mut Tally) -> String {
    let (word, count, reason) = match &ran.result {
        TestResult::Passed => ("passed", &mut tally.passed, String::new()),
        TestResult::Failed(_) => ("failed", &mut tally.failed, String::new()),
        TestResult::Skipped(reason) => ("skipped", &mut tally.skipped, format!(": {reason}")),
    };
    *count += 1;
    format!(
        "{word:<7} {:<6} {}: {}{reason}\n",
        ran.target, ran.workload, ran.test
    )
}

/// A failure is shown like an error, at its step.
fn diagnostics(ran: &Ran, failures: &[Failure]) -> Vec<Diagnostic> {
    let one = |failure: &Failure| {
        // The short form shows the message alone.
        let message = format!(
            "test `{}` fails on {}: expected {}, got {}",
            ran.test, ran.target, failure.expected, failure.got
        );
        Diagnostic::error("E0850", message, failure.span, format!("got {}", failure.got))
    };
    failures.iter().map(one).collect()
}
