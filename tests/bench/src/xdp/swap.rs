//! From a changed source to the first answer of the new code in the driver, with `lambdac run --watch`.

use anyhow::{Context, Result};

use super::served::{Clients, Served};
use super::{BENCH, web};
use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup};

/// Milliseconds at most.
const LIMIT: f64 = 100.0;

/// Changes the page of the web lambda again and again.
pub fn run(setup: &Setup, clients: &Clients, report: &mut Report) -> Result<()> {
    let folder = setup.scratch.path().join("swap");
    std::fs::create_dir_all(&folder)?;
    let text = std::fs::read_to_string(web(setup))?;
    let (live, next) = (folder.join("web.lnic"), folder.join("web.next"));
    std::fs::write(&live, &text)?;
    let served = Served::on_nic(setup, &live, true)?;
    let mut times = Vec::new();
    for run in 0..RUNS {
        let title = format!("revision {run}");
        std::fs::write(
            &next,
            text.replace("<title>lambda-nic", &format!("<title>{title}")),
        )?;
        let paths = [&next, &live].map(|path| path.display().to_string());
        let numbers = served.ask(&clients.until, &[&paths[0], &paths[1], &title])?;
        times.push(*numbers.first().context("until printed nothing")? / 1e6);
    }
    let row = Row::value(BENCH, "from a changed source to its first answer", "ms", &times);
    report.add(row.with_target(Target::AtMost(LIMIT)));
    Ok(())
}
