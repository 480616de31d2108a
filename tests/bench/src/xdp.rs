//! Lambdas in the network driver against a bare XDP reflector in C.
//!
//! [`test_run`] compares the programs by the kernel's test-run call, without any interface: nanoseconds a packet.
//! [`trips`] compares whole round trips over a pair of virtual interfaces, [`processor`] the processor time that a
//! request takes, and [`swap`] measures how soon a change is live.

mod processor;
mod served;
mod swap;
mod test_run;
mod trips;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use std::process::Command;

use crate::Setup;
use crate::process;
use crate::report::{Report, Row};

const BENCH: &str = "xdp";

/// Runs all.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    if let Some(reason) = missing() {
        report.add(Row::skipped(BENCH, "all", &reason));
        return Ok(());
    }
    test_run::run(setup, report).context("test run")?;
    let clients = served::Clients::compile(setup)?;
    trips::run(setup, &clients, report).context("round trips")?;
    trips::get(setup, &clients, report).context("memcached")?;
    processor::run(setup, &clients, report).context("processor time")?;
    swap::run(setup, &clients, report).context("swap")
}

/// What this machine lacks.
fn missing() -> Option<String> {
    if let Err(missing) = lnic_xdp::probe::check() {
        return Some(missing.to_string());
    }
    ["clang", "gcc"]
        .into_iter()
        .find(|program| !process::exists(program))
        .map(|program| format!("{program} not found"))
}

/// The λ-NIC workloads.
fn lambda_nic(setup: &Setup) -> Result<PathBuf> {
    let root = setup.folder.ancestors().nth(2).context("no root")?;
    Ok(root.join("examples/lambda-nic"))
}

/// The web lambda.
fn web(setup: &Setup) -> PathBuf {
    setup.folder.join("lambdas/web.lnic")
}

/// Compiles a program of `c/xdp` for the kernel.
fn clang(setup: &Setup, name: &str) -> Result<PathBuf> {
    let source = setup.folder.join(format!("c/xdp/{name}.bpf.c"));
    let object = setup.scratch.path().join(format!("{name}.bpf.o"));
    let mut command = Command::new("clang");
    command.args(["-O2", "-g", "-Wall", "-Wextra", "-target", "bpf"]);
    // Where Debian keeps headers of one architecture, which this target's search path lacks.
    let multiarch = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    command.arg("-I").arg(multiarch).arg("-c");
    let done = command.arg(&source).arg("-o").arg(&object).output()?;
    ensure!(
        done.status.success(),
        "clang {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(object)
}

/// Builds workloads for the NIC; gives the object and the manifest.
fn build(setup: &Setup, sources: &[PathBuf], name: &str) -> Result<(Vec<u8>, serde_json::Value)> {
    let folder = setup.scratch.path().join(name);
    let done = Command::new(&setup.lambdac)
        .arg("build")
        .args(sources)
        .args(["--target", "xdp", "-o"])
        .arg(&folder)
        .output()?;
    ensure!(
        done.status.success(),
        "lambdac build:\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let read = |file: &Path| std::fs::read(file).with_context(|| file.display().to_string());
    let object = read(&folder.join("xdp/image.bpf.o"))?;
    let manifest = serde_json::from_slice(&read(&folder.join("manifest.json"))?)?;
    Ok((object, manifest))
}
