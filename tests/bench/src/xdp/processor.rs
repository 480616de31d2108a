//! Processor time a request, of the whole machine: client, kernel and server together, the web lambda in the driver
//! against the same worker without a NIC. Throughput alone would show the client, which shares the cores.

use anyhow::{Context, Result, anyhow, ensure};

use super::served::{Clients, Served};
use super::{BENCH, web};
use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup};

/// Milliseconds of a run: many ticks of the kernel's accounting, of 10 ms each.
const MILLISECONDS: u64 = 1500;
/// Ticks a second, as `/proc/stat` counts (USER_HZ, proc(5)).
const HZ: f64 = 100.0;

/// Both in turns.
pub fn run(setup: &Setup, clients: &Clients, report: &mut Report) -> Result<()> {
    let nic = Served::on_nic(setup, &web(setup), false)?;
    let host = Served::on_host(setup, &web(setup))?;
    let mut times = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        // What the machine does besides.
        let others = busy(|| {
            std::thread::sleep(std::time::Duration::from_millis(MILLISECONDS));
            Ok(())
        })?;
        let side = |served: &Served| -> Result<(f64, f64)> {
            let mut answered = 0.0;
            let busy = busy(|| {
                answered = flood(served, clients)?;
                Ok(())
            })?;
            Ok(((busy - others) * 1e9 / answered, answered))
        };
        let (nic, host) = (side(&nic)?, side(&host)?);
        times.push((nic.0, host.0));
        let rate = |answered: f64| answered * 1e3 / MILLISECONDS as f64;
        rates.push((rate(nic.1), rate(host.1)));
    }
    let row = Row::versus(BENCH, "processor time a request, NIC to host", "ns", &times);
    report.add(row.with_target(Target::AtMost(0.5)));
    report.add(Row::versus(BENCH, "throughput, NIC to host", "/s", &rates));
    Ok(())
}

/// How many requests were answered.
fn flood(served: &Served, clients: &Clients) -> Result<f64> {
    let numbers = served.ask(&clients.flood, &[&MILLISECONDS.to_string()])?;
    let [answered, lost] = numbers[..] else {
        return Err(anyhow!("flood printed {numbers:?}"));
    };
    ensure!(
        lost * 100.0 <= answered,
        "{lost} requests were lost, {answered} answered"
    );
    Ok(answered)
}

/// Seconds that the processors were not idle while something ran.
fn busy(what: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = busy_ticks()?;
    what()?;
    Ok((busy_ticks()? - before) / HZ)
}

/// Ticks of all processors since boot but for idling (fields 4 and 5) and guests, which the first two hold already.
fn busy_ticks() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> = text
        .lines()
        .next()
        .context("/proc/stat is empty")?
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    ensure!(fields.len() >= 8, "/proc/stat has {} times", fields.len());
    Ok(fields[..3].iter().chain(&fields[5..8]).sum())
}
