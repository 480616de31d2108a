//! `lambdac bench`

use std::io::{IsTerminal, Write};
use std::num::NonZero;

use lnic_client::{BenchConfig, Load, Progress};

use super::answered::{self, Answered};
use super::invoke::{failed, lookup, payload};
use crate::args::{Bench, Output};
use crate::exit::{Exit, Result};
use crate::report;

/// Loads a workload and prints what was measured.
pub fn run(args: &Bench) -> Result {
    let workload = lookup(&args.worker, &args.name)?;
    let concurrency = NonZero::new(args.connections as usize).unwrap_or(NonZero::<usize>::MIN);
    let load = match args.rate {
        Some(rate) => Load::Open { rate: rate as f64 },
        None => Load::Closed { concurrency },
    };
    let mut config = BenchConfig::new(args.worker.to, workload, payload(&args.payload)?, load);
    config.requests = args.requests;
    config.duration = args.requests.is_none().then_some(args.duration);
    let terminal = std::io::stderr().is_terminal();
    let before = answered::snapshot(&args.worker, &args.name);
    let measured = lnic_client::bench(&config, |progress| {
        if terminal {
            show(progress);
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    let measured = measured.map_err(|error| failed(&error))?;
    let answered = Answered::between(before, answered::snapshot(&args.worker, &args.name));
    let any = measured.replies > 0 || !measured.errors.is_empty();
    match args.format {
        Output::Table => {
            let rows = answered.map(|answered| answered.table()).unwrap_or_default();
            report::print(measured.table() + &rows)?;
        }
        Output::Json => {
            let failed = |e: serde_json::Error| Exit::Failed(e.to_string());
            let mut json = serde_json::to_value(&measured).map_err(failed)?;
            json["answered"] = answered.map(|answered| answered.json()).unwrap_or_default();
            report::print(serde_json::to_string_pretty(&json).map_err(failed)? + "\n")?;
        }
    }
    if any {
        Ok(())
    } else {
        Err(Exit::Failed(format!("{} answered no request", args.worker.to)))
    }
}

/// One line that is written over again.
fn show(progress: &Progress) {
    let time = progress
        .elapsed
        .map_or_else(|| "warm-up".to_owned(), |t| format!("{:.0} s", t.as_secs_f64()));
    eprint!(
        "\r\x1b[K{time}: {:.0} requests/s, {} replies, {} lost, {} errors",
        progress.per_second, progress.replies, progress.lost, progress.errors
    );
    // Progress that can't be shown is not missed.
    let _ = std::io::stderr().flush();
}
