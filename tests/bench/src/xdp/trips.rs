//! Round trips over a pair of virtual interfaces between namespaces, one request in flight: the web lambda in the driver,
//! the reflector in the driver, and a bare UDP echo through the kernel's stack. Each waits while another is measured.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::served::{Clients, Served};
use super::{BENCH, lambda_nic, web};
use crate::process;
use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup};

/// Round trips of a run.
const COUNT: u32 = 20_000;

/// Median and 99th percentile of the round trips of a run, in nanoseconds.
#[derive(Clone, Copy)]
struct Trip {
    p50: f64,
    p99: f64,
}

/// All three in turns.
pub fn run(setup: &Setup, clients: &Clients, report: &mut Report) -> Result<()> {
    let nic = Served::on_nic(setup, &web(setup), false)?;
    let reflector = Served::reflector(setup)?;
    let echo = Served::echo(setup)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let trip = |served| measure(served, &clients.ping);
        runs.push([trip(&nic)?, trip(&reflector)?, trip(&echo)?]);
    }
    let against = |other: usize, of: fn(&Trip) -> f64| -> Vec<(f64, f64)> {
        runs.iter().map(|run| (of(&run[0]), of(&run[other]))).collect()
    };
    for (other, name, most) in [(1, "reflector", 1.2), (2, "echo", 0.5)] {
        let p50 = Row::versus(
            BENCH,
            &format!("veth p50 to the {name}"),
            "ns",
            &against(other, |trip| trip.p50),
        );
        let p99 = Row::versus(
            BENCH,
            &format!("veth p99 to the {name}"),
            "ns",
            &against(other, |trip| trip.p99),
        );
        report.add(p50.with_target(Target::AtMost(most)));
        report.add(p99.with_target(Target::AtMost(most)));
    }
    Ok(())
}

/// A memcached GET lambda in the driver against asking the same memcached through the kernel's stack. The lambda's trip
/// is two, and memcached's work is in both.
pub fn get(setup: &Setup, clients: &Clients, report: &mut Report) -> Result<()> {
    if !process::exists("memcached") {
        report.add(Row::skipped(BENCH, "veth memcached GET", "memcached not found"));
        return Ok(());
    }
    let source = lambda_nic(setup)?.join("kv_get.lnic");
    let [nic, direct] = Served::memcached(setup, &source, clients, "hey", "dude")?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push((measure(&nic, &clients.ping)?, measure(&direct, &clients.ping)?));
    }
    for (name, of) in [
        ("p50", (|trip| trip.p50) as fn(&Trip) -> f64),
        ("p99", |trip| trip.p99),
    ] {
        let runs: Vec<_> = runs.iter().map(|(nic, direct)| (of(nic), of(direct))).collect();
        report.add(Row::versus(
            BENCH,
            &format!("veth memcached GET {name}"),
            "ns",
            &runs,
        ));
    }
    Ok(())
}

fn measure(served: &Served, ping: &Path) -> Result<Trip> {
    let numbers = served.ask(ping, &[&COUNT.to_string()])?;
    let [p50, p99, lost] = numbers[..] else {
        return Err(anyhow!("ping printed {numbers:?}"));
    };
    ensure!(
        lost <= f64::from(COUNT) / 100.0,
        "{lost} of {COUNT} requests were lost"
    );
    Ok(Trip { p50, p99 })
}
