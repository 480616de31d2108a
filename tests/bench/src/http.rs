//! `/function/web` against a bare axum route that reads the body and returns the same bytes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

use crate::cores::Cores;
use crate::http_load::Load;
use crate::load::Schedule;
use crate::process::Server;
use crate::report::{Report, Row, Target};
use crate::udp::{Measured, PAGE, REQUEST, TIME_TARGET};
use crate::{RUNS, Setup};

const BENCH: &str = "http";
const PATH: &str = "/function/web";

/// Runs worker and bare route in turns.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let cores = Cores::split()?;
    let worker = Server::lambdac(
        &setup.lambdac,
        &[setup.folder.join("lambdas/web.lnic")],
        &cores.server,
    )?;
    let bare = Server::start(
        &std::env::current_exe()?,
        &["--serve-axum", "127.0.0.1:0"],
        &cores.server,
    )?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let ours = measure(&worker, &cores).context("worker")?;
        let theirs = measure(&bare, &cores).context("bare route")?;
        runs.push((ours, theirs));
    }
    let pairs = |of: fn(&Measured) -> f64| -> Vec<(f64, f64)> {
        runs.iter().map(|(ours, theirs)| (of(ours), of(theirs))).collect()
    };
    let row = Row::versus(BENCH, "POST /function/web", "/s", &pairs(|m| m.per_second));
    report.add(row.with_target(Target::AtLeast(0.85)));
    let row = Row::versus(BENCH, "processor time a request", "ns", &pairs(|m| m.cpu_ns));
    report.add(row.with_target(TIME_TARGET));
    report.add(Row::versus(BENCH, "server's cores busy", "%", &pairs(|m| m.busy)));
    Ok(())
}

/// A second of load on a server.
fn measure(server: &Server, cores: &Cores) -> Result<Measured> {
    let load = Load {
        server: server.address("http=")?,
        path: PATH,
        body: REQUEST,
        reply: PAGE,
        schedule: Schedule {
            cores: &cores.load,
            warm_up: Duration::from_millis(300),
            duration: Duration::from_millis(1000),
        },
    };
    let (per_second, before, after) = load.run(|| server.cpu_seconds())?;
    Ok(Measured::new(
        per_second,
        after - before,
        load.schedule.duration,
        cores,
    ))
}

/// Serves the bare route until killed, with a thread for each core that this process may use.
pub fn serve_axum(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        println!("ready http={}", listener.local_addr()?);
        let route = post(|_body: Bytes| async { PAGE });
        axum::serve(listener, Router::new().route(PATH, route)).await?;
        Ok(())
    })
}
