//! `lambdac build`

use std::path::Path;

use lambdac_driver::{bundle, emit, targets};

use crate::args::{Build, Format, Stage};
use crate::exit::{Exit, Result};
use crate::{compile, report};

/// Writes a bundle, or prints stages.
pub fn run(args: &Build, format: Format) -> Result {
    for name in &args.target {
        if !targets::find(name).is_some_and(|target| target.builds) {
            let known: Vec<_> = targets::all()
                .iter()
                .filter(|t| t.builds)
                .map(|t| t.name)
                .collect();
            return Err(Exit::Usage(format!(
                "nothing is built for target {name:?}; there is: {}",
                known.join(", ")
            )));
        }
    }
    if !args.emit.is_empty() {
        print_stages(args, format)?;
    }
    match &args.output {
        Some(output) => write_bundle(args, format, output),
        None => Ok(()),
    }
}

fn write_bundle(args: &Build, format: Format, output: &Path) -> Result {
    let image = compile::image(&compile::paths(&args.sources)?, &args.passes, format)?;
    let files = bundle::build(&image, &args.target, &lnic_bmv2::tools::translate);
    let files = files.map_err(|error| match error {
        bundle::Error::P4c(_) => Exit::Environment(error.to_string()),
        error => Exit::Failed(error.to_string()),
    })?;
    let wrong = |e| Exit::environment(output.display())(e);
    if output.extension().is_some_and(|ext| ext == "tar") {
        let tar = lnic_bundle::to_tar(&files).map_err(wrong)?;
        std::fs::write(output, tar).map_err(wrong)
    } else {
        lnic_bundle::write_dir(&files, output).map_err(wrong)
    }
}

fn print_stages(args: &Build, format: Format) -> Result {
    let options = compile::options(&args.passes);
    let failed = compile::check_each(&args.sources, format, |session, checked| {
        for stage in &args.emit {
            let text = match (stage, &checked.ast, &checked.workload) {
                (Stage::Ast, Some(ast), _) => emit::ast(ast),
                (Stage::Hir, _, Some(workload)) => emit::hir(&workload.0),
                (Stage::Mir, _, Some(workload)) => {
                    emit::mir(&compile::compile_one(session, workload, &options)?.module)
                }
                (Stage::Clif, _, Some(workload)) => {
                    let compiled = compile::compile_one(session, workload, &options)?;
                    emit::clif(&compiled.module).map_err(|e| Exit::Failed(e.to_string()))?
                }
                (Stage::Bpf, _, Some(workload)) => {
                    let compiled = compile::compile_one(session, workload, &options)?;
                    emit::bpf(compiled).map_err(|e| Exit::Failed(e.to_string()))?
                }
                (Stage::P4, _, Some(workload)) => {
                    let compiled = compile::compile_one(session, workload, &options)?;
                    emit::p4(compiled).map_err(|e| Exit::Failed(e.to_string()))?
                }
                (Stage::Microc, _, Some(workload)) => {
                    let compiled = compile::compile_one(session, workload, &options)?;
                    emit::microc(compiled).map_err(|e| Exit::Failed(e.to_string()))?
                }
                _ => continue,
            };
            report::print(text)?;
        }
        Ok(())
    })?;
    if failed { Err(Exit::Reported) } else { Ok(()) }
}
