//! Benches printed as ratios of one run, each against something that is not ours.
//!
//! `host` sets compiled lambdas against `gcc -O2`, `udp` the packet threads against a bare echo in C, `http` the
//! functions' route against a bare axum route, `baseline` the worker against a Python socket server that answers from
//! a thread, `xdp` lambdas in the network driver against a bare XDP reflector in C; `p4` sets the way to P4
//! against p4c's way from there; `check` measures the compiler
//! against fixed limits. Each number is the median of 5 runs, in which ours and theirs take turns, so that whatever
//! else the machine does hits both. Without names all benches run. What can't run here is shown as skipped, never
//! left out.
//!
//! ```text
//! cargo xtask bench [NAMES] [--json] [--strict]
//! ```

mod baseline;
mod check;
mod cores;
mod host;
mod http;
mod http_load;
mod jit;
mod load;
mod p4;
mod process;
mod programs;
mod relink;
mod report;
mod size;
mod size_c;
mod size_original;
mod twin;
mod udp;
mod udp_load;
mod xdp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::report::Report;

/// Runs of which a bench takes the median.
const RUNS: usize = 5;

/// Prints how fast this project is, as ratios against what others wrote.
#[derive(Debug, Parser)]
#[command(name = "lambdac-bench")]
struct Args {
    /// Which benches (default: all).
    #[arg(value_enum)]
    names: Vec<Bench>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with status 1 where a target is missed.
    #[arg(long)]
    strict: bool,
    /// The `lambdac` to measure (default: the one beside this program).
    #[arg(long, value_name = "FILE")]
    lambdac: Option<PathBuf>,
    /// Serve the bare axum route with one thread a core; what `http` starts.
    #[arg(long, hide = true, value_name = "ADDR:PORT")]
    serve_axum: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Compiled lambdas against gcc -O2.
    Host,
    /// Packet threads against a bare echo in C.
    Udp,
    /// HTTP against a bare axum route.
    Http,
    /// The compiler's speed on many workloads, and how soon a worker is ready.
    Check,
    /// The worker against a Python socket server.
    Baseline,
    /// Lambdas in the network driver against a bare XDP reflector.
    Xdp,
    /// Instruction words of images after all passes against the same as linked.
    Size,
    /// lambdac's time for P4 against p4c's on it, and the size of λ-NIC's own workloads.
    P4,
}

/// What all benches share.
struct Setup {
    /// The `lambdac` to measure.
    lambdac: PathBuf,
    /// This crate's folder.
    folder: PathBuf,
    /// For what is built and generated; removed at the end.
    scratch: tempfile::TempDir,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(listen) = args.serve_axum {
        http::serve_axum(listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let beside = std::env::current_exe()?.with_file_name("lambdac");
    let setup = Setup {
        lambdac: args.lambdac.unwrap_or(beside),
        folder: PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        scratch: tempfile::tempdir()?,
    };
    anyhow::ensure!(
        setup.lambdac.is_file(),
        "no lambdac at {}: build it first (cargo build --release -p lambdac-cli)",
        setup.lambdac.display()
    );
    let mut report = Report::new(args.json);
    for &bench in Bench::value_variants() {
        if args.names.is_empty() || args.names.contains(&bench) {
            run(bench, &setup, &mut report).with_context(|| format!("bench {bench:?}"))?;
        }
    }
    report.finish()?;
    let missed = args.strict && report.missed() > 0;
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn run(bench: Bench, setup: &Setup, report: &mut Report) -> Result<()> {
    match bench {
        Bench::Host => host::run(setup, report),
        Bench::Udp => udp::run(setup, report),
        Bench::Http => http::run(setup, report),
        Bench::Check => check::run(setup, report),
        Bench::Baseline => baseline::run(setup, report),
        Bench::Xdp => xdp::run(setup, report),
        Bench::P4 => p4::run(setup, report),
        Bench::Size => {
            size_c::run(report)?;
            size::run(setup, report)
        }
    }
}
