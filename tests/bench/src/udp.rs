//! The packet threads against a bare echo in C: as many threads and sockets, the same cores, the same load, replies
//! of the same length.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lnic_wire::{Header, Kind, Status};

use crate::cores::Cores;
use crate::load::Schedule;
use crate::process::{self, Server};
use crate::report::{Report, Row, Target};
use crate::udp_load::Load;
use crate::{RUNS, Setup};

const BENCH: &str = "udp";
const TARGET: Target = Target::AtLeast(0.85);
/// The same for the processor time of a request: it holds also where the load, not the server, was the limit.
pub const TIME_TARGET: Target = Target::AtMost(1.0 / 0.85);
/// With the wire's header 64 bytes.
pub const REQUEST: &[u8; 40] = b"GET / HTTP/1.1\r\nHost: lambda.example\r\n\r\n";
/// What the web lambda answers.
pub const PAGE: &[u8] =
    b"<!doctype html>\n<title>lambda-nic</title>\n<p>This page was answered by the network card.\n";

/// What one load on one server gave.
pub struct Measured {
    /// Replies a second.
    pub per_second: f64,
    /// Processor time of the server, in nanoseconds a request.
    pub cpu_ns: f64,
    /// Share of its cores' time that the server used, in per cent.
    pub busy: f64,
}

impl Measured {
    /// From replies a second and the processor time in seconds that the server used meanwhile.
    pub fn new(per_second: f64, used: f64, duration: Duration, cores: &Cores) -> Measured {
        let seconds = duration.as_secs_f64();
        Measured {
            per_second,
            cpu_ns: used * 1e9 / (per_second * seconds),
            busy: used * 100.0 / (seconds * cores.server.len() as f64),
        }
    }
}

/// Runs worker and echo in turns.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    if !process::exists("gcc") {
        report.add(Row::skipped(BENCH, "64-byte requests", "gcc not found").with_target(TARGET));
        return Ok(());
    }
    let echo = setup.scratch.path().join("echo");
    process::gcc(&setup.folder.join("c/echo.c"), &echo, &["-pthread"])?;
    let cores = Cores::split()?;
    let worker = Server::lambdac(
        &setup.lambdac,
        &[setup.folder.join("lambdas/web.lnic")],
        &cores.server,
    )?;
    let http = worker.address("http=")?.to_string();
    let id = lnic_client::lookup(&http, "web")?.id;
    let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, REQUEST.len() as u16);
    let request = [&header.encode(), &REQUEST[..]].concat();
    let reply = [&header.reply(Status::Ok, 0, 1, PAGE.len() as u16).encode(), PAGE].concat();
    debug_assert!(Header::decode(&reply, Kind::Reply).is_ok());
    let echo = start_echo(&echo, &cores, reply.len())?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let ours = measure(&worker, "wire=", &cores, &request, &reply).context("worker")?;
        let theirs = measure(&echo, "", &cores, &request, &reply).context("echo")?;
        runs.push((ours, theirs));
    }
    let pairs = |of: fn(&Measured) -> f64| -> Vec<(f64, f64)> {
        runs.iter().map(|(ours, theirs)| (of(ours), of(theirs))).collect()
    };
    report.add(Row::versus(BENCH, "64-byte requests", "/s", &pairs(|m| m.per_second)).with_target(TARGET));
    let row = Row::versus(BENCH, "processor time a request", "ns", &pairs(|m| m.cpu_ns));
    report.add(row.with_target(TIME_TARGET));
    report.add(Row::versus(BENCH, "server's cores busy", "%", &pairs(|m| m.busy)));
    Ok(())
}

fn start_echo(program: &Path, cores: &Cores, reply_bytes: usize) -> Result<Server> {
    Server::start(
        program,
        &[cores.server.len().to_string(), reply_bytes.to_string()],
        &cores.server,
    )
}

/// A second of load on a server whose `ready` line gives its address after `key`.
fn measure(server: &Server, key: &str, cores: &Cores, request: &[u8], reply: &[u8]) -> Result<Measured> {
    let load = Load {
        server: server.address(key)?,
        datagram: request,
        reply,
        compare: !key.is_empty(),
        schedule: Schedule {
            cores: &cores.load,
            warm_up: Duration::from_millis(200),
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
