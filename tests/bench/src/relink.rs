//! Linking many workloads in one process: at first, and after one of them changed.
//!
//! Workloads are compiled first; what is measured is what comes then: linking them for an NPU core and all passes. The
//! cut is left out, so that everything stays on the NIC. A relinked image must be what a clean build makes of the same
//! workloads.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lambdac_driver::target::builtin;
use lambdac_driver::{Input, compile};
use lambdac_image::{Linker, Source};

use crate::RUNS;
use crate::report::{Report, Row, Target};

/// Seconds that linking all of them may take, and milliseconds after a change of one.
const LIMITS: (f64, f64) = (2.0, 50.0);

/// Links so many workloads, whose sources are made by their numbers and a variant.
pub fn run(report: &mut Report, count: usize, source: &dyn Fn(usize, usize) -> String) -> Result<()> {
    let device = builtin("nfp").context("there is a target nfp")?;
    let options = lambdac_image::Options {
        disabled: vec!["partition".to_owned()],
        ..lambdac_image::Options::default()
    };
    let sources: Result<Vec<Source>> = (0..count)
        .map(|index| compiled(index, &source(index, 0)))
        .collect();
    let mut sources = sources?;
    let (mut linked, mut relinked) = (Vec::new(), Vec::new());
    for variant in 1..=RUNS {
        let mut linker = Linker::new(device.clone());
        let started = Instant::now();
        let first = linker.run("image", &sources, &options)?;
        linked.push(started.elapsed().as_secs_f64());
        drop(first);
        let changed = variant * 37 % count;
        sources[changed] = compiled(changed, &source(changed, variant))?;
        let started = Instant::now();
        let again = linker.run("image", &sources, &options)?;
        relinked.push(started.elapsed().as_secs_f64() * 1e3);
        let clean = Linker::new(device.clone()).run("image", &sources, &options)?;
        ensure!(again == clean, "the relinked image is not that of a clean build");
    }
    let row = Row::value(
        "size",
        &format!("{count} workloads: link and all passes"),
        "s",
        &linked,
    );
    report.add(row.with_target(Target::AtMost(LIMITS.0)));
    let row = Row::value(
        "size",
        &format!("{count} workloads: after one changed"),
        "ms",
        &relinked,
    );
    report.add(row.with_target(Target::AtMost(LIMITS.1)));
    Ok(())
}

/// A workload for the linker.
fn compiled(index: usize, source: &str) -> Result<Source> {
    let compiled = compile(&Input::new(format!("s{index:04}.lnic"), source)).map_err(anyhow::Error::msg)?;
    Ok(Source {
        asked: Vec::new(),
        id: index as u32 + 1,
        module: Arc::clone(&compiled.module),
        on_host: Vec::new(),
    })
}
