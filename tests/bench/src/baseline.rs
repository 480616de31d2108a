//! The worker against what λ-NIC compares itself with: a Python socket server that answers from a thread.
//!
//! Both get the same requests from the same client: one at a time for latency, many for throughput.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnic_client::{BenchConfig, Load, Workload, bench, lookup};

use crate::cores::{self, Cores};
use crate::process::{self, Server};
use crate::report::{Report, Row};
use crate::udp::REQUEST;
use crate::{RUNS, Setup};

const BENCH: &str = "baseline";
/// Requests on their way for throughput.
const MANY: usize = 32;

/// What one server reached.
struct Measured {
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

/// Runs worker and Python server in turns.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    if !process::exists("python3") {
        report.add(Row::skipped(BENCH, "web", "python3 not found"));
        return Ok(());
    }
    let cores = Cores::split()?;
    let worker = Server::lambdac(
        &setup.lambdac,
        &[setup.folder.join("lambdas/web.lnic")],
        &cores.server,
    )?;
    let script = setup.folder.join("baseline.py");
    let python = Server::start(Path::new("python3"), &[script.as_os_str()], &cores.server)?;
    let web = lookup(&worker.address("http=")?.to_string(), "web")?;
    let (ours, theirs) = (worker.address("wire=")?, python.address("")?);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let pair = (
            on_cores(&cores.load, || measure(ours, &web)).context("worker")?,
            on_cores(&cores.load, || measure(theirs, &web)).context("baseline.py")?,
        );
        runs.push(pair);
    }
    let pairs = |of: fn(&Measured) -> f64| -> Vec<(f64, f64)> {
        runs.iter().map(|(ours, theirs)| (of(ours), of(theirs))).collect()
    };
    report.add(Row::versus(BENCH, "latency p50", "us", &pairs(|m| m.p50_us)));
    report.add(Row::versus(BENCH, "latency p99", "us", &pairs(|m| m.p99_us)));
    report.add(Row::versus(BENCH, "throughput", "/s", &pairs(|m| m.per_second)));
    Ok(())
}

/// Runs something that starts threads, all of them bound to cores.
fn on_cores<T: Send>(on: &[usize], run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cores::bind(on)?;
            run()
        });
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?
    })
}

fn measure(server: SocketAddr, web: &Workload) -> Result<Measured> {
    let load = |concurrency: NonZero<usize>| {
        let mut config = BenchConfig::new(
            server,
            web.clone(),
            REQUEST.to_vec(),
            Load::Closed { concurrency },
        );
        config.warm_up = Duration::from_millis(200);
        config.duration = Some(Duration::from_millis(800));
        let report = bench(&config, |_| ())?;
        ensure!(
            report.replies > 0 && report.errors.is_empty(),
            "{}",
            report.table()
        );
        Ok(report)
    };
    let one = load(NonZero::<usize>::MIN)?;
    let many = load(NonZero::new(MANY).unwrap_or(NonZero::<usize>::MIN))?;
    Ok(Measured {
        p50_us: one.latency.p50,
        p99_us: one.latency.p99,
        per_second: many.throughput,
    })
}
