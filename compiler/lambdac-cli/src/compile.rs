//! From paths on the command line to checked, compiled and linked workloads, with diagnostics written on the way.

use std::path::PathBuf;

use lambdac_driver::diag::Severity;
use lambdac_driver::disk::{self, Disk};
use lambdac_driver::{Checked, Compiled, Image, Input, Options, Session, link};

use crate::args::{Format, Passes, Sources};
use crate::exit::{Exit, Result};
use crate::report;

/// Checks the files one after another, each alone, writes their diagnostics and hands each to `then`; whether any was
/// wrong.
pub fn check_each(
    sources: &Sources,
    format: Format,
    mut then: impl FnMut(&Session, &Checked) -> Result,
) -> Result<bool> {
    let mut session = Session::new(Box::new(Disk::default()));
    let mut wrong = false;
    for path in paths(sources)? {
        let input = Input::read(&path).map_err(Exit::Environment)?;
        let checked = session.check(&input);
        report::diagnostics(format, session.map(), &checked.diagnostics);
        wrong |= checked.failed();
        then(&session, &checked)?;
    }
    Ok(wrong)
}

/// The files that the arguments name.
pub fn paths(sources: &Sources) -> Result<Vec<PathBuf>> {
    disk::find(&sources.files).map_err(Exit::Environment)
}

/// Checks all files in one session, compiles and links them. Libraries among them are only checked.
pub fn image(paths: &[PathBuf], passes: &Passes, format: Format) -> Result<Image> {
    image_from(Disk::default(), paths, passes, format)
}

/// As [`image`], from a disk that notes what was looked for.
pub fn image_from(disk: Disk, paths: &[PathBuf], passes: &Passes, format: Format) -> Result<Image> {
    let mut session = Session::new(Box::new(disk));
    let options = options(passes);
    let mut compiled = Vec::new();
    let mut failed = false;
    for path in paths {
        let input = Input::read(path).map_err(Exit::Environment)?;
        let checked = session.check(&input);
        report::diagnostics(format, session.map(), &checked.diagnostics);
        failed |= checked.diagnostics.iter().any(|d| d.severity == Severity::Error);
        if let Some(workload) = &checked.workload {
            compiled.push(compile_one(&session, workload, &options)?);
        }
    }
    if failed {
        return Err(Exit::Reported);
    }
    if compiled.is_empty() {
        return Err(Exit::Failed("there is no workload in these files".into()));
    }
    match link(compiled) {
        Ok(image) => Ok(image),
        Err(errors) => {
            report::diagnostics(format, session.map(), &errors);
            Err(Exit::Reported)
        }
    }
}

/// Compiles one workload, and writes the dumps that were asked for to stderr.
pub fn compile_one(
    session: &Session,
    workload: &lambdac_driver::CheckedWorkload,
    options: &Options,
) -> Result<Compiled> {
    let compiled = session
        .compile(workload, options)
        .map_err(|e| Exit::Usage(e.to_string()))?;
    for pass in &compiled.report.passes {
        if let Some(text) = &pass.dump {
            eprintln!("// {} after {}\n{text}", compiled.module.name, pass.name);
        }
    }
    Ok(compiled)
}

/// What the flags mean for the driver.
pub fn options(passes: &Passes) -> Options {
    Options {
        disabled: passes.no_pass.clone(),
        dump_after: passes.dump_after.clone(),
        validate: false,
    }
}
