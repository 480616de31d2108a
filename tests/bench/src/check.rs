//! How fast `lambdac check` is on many workloads, whether its time a workload stays the same, and how soon
//! `lambdac run` answers. There is nothing of others to compare with: the limits are fixed times.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cores::Cores;
use crate::process::Server;
use crate::report::{Report, Row, Target, median};
use crate::{RUNS, Setup, programs};

const BENCH: &str = "check";
/// Numbers of workloads, ascending.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// The number whose whole time is limited, and the limit in seconds.
const LIMITED: (usize, f64) = (1_000, 2.0);
/// How much more a workload may take among the most than among the fewest.
const FLAT: f64 = 1.25;
/// No more runs of one size once they took this long together.
const BUDGET: Duration = Duration::from_secs(30);
/// Milliseconds until a worker is ready.
const READY_MS: f64 = 50.0;

/// Runs all of it.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let mut each = Vec::new();
    for count in SIZES {
        let folder = setup.scratch.path().join(format!("workloads-{count}"));
        programs::write(&folder, count)?;
        let runs = check_runs(&setup.lambdac, &folder)?;
        let wall: Vec<f64> = runs.iter().map(|run| run.wall).collect();
        let cpu: Vec<f64> = runs.iter().map(|run| run.cpu * 1e6 / count as f64).collect();
        each.push(median(cpu.iter().copied()));
        let row = Row::value(BENCH, &format!("{count} workloads"), "s", &wall);
        let limited = count == LIMITED.0;
        report.add(if limited {
            row.with_target(Target::AtMost(LIMITED.1))
        } else {
            row
        });
        report.add(Row::value(
            BENCH,
            &format!("processor time a workload of {count}"),
            "us",
            &cpu,
        ));
    }
    let flat = each[each.len() - 1] / each[0];
    let name = format!("a workload of {} to one of {}", SIZES[SIZES.len() - 1], SIZES[0]);
    report.add(Row::ratio(BENCH, &name, flat).with_target(Target::AtMost(FLAT)));
    ready(setup, report)
}

/// What a run took, in seconds: by the clock, and of the processor.
struct Took {
    wall: f64,
    cpu: f64,
}

fn check_runs(lambdac: &Path, folder: &Path) -> Result<Vec<Took>> {
    let mut runs = Vec::new();
    let begin = Instant::now();
    while runs.len() < RUNS && (runs.is_empty() || begin.elapsed() < BUDGET) {
        let (started, used) = (Instant::now(), children_seconds());
        let done = Command::new(lambdac)
            .arg("check")
            .arg(folder)
            .stdin(Stdio::null())
            .output()?;
        runs.push(Took {
            wall: started.elapsed().as_secs_f64(),
            cpu: children_seconds() - used,
        });
        ensure!(
            done.status.success(),
            "lambdac check: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(runs)
}

/// Processor time of the children that have ended, in seconds.
fn children_seconds() -> f64 {
    // SAFETY: the structure is integers, for which all zeros is valid; it lives through the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn ready(setup: &Setup, report: &mut Report) -> Result<()> {
    let cores = Cores::split()?;
    let all: Vec<usize> = cores.server.iter().chain(&cores.load).copied().collect();
    let example: PathBuf = setup.folder.join("../../examples/lambda-nic");
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        let worker = Server::lambdac(&setup.lambdac, std::slice::from_ref(&example), &all)?;
        runs.push(started.elapsed().as_secs_f64() * 1e3);
        drop(worker);
    }
    let row = Row::value(BENCH, "lambdac run examples/lambda-nic ready", "ms", &runs);
    report.add(row.with_target(Target::AtMost(READY_MS)));
    Ok(())
}
