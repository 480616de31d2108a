//! Round trips over a pair of virtual interfaces between namespaces: the web lambda in the driver, the reflector in
//! the driver, and a bare UDP echo through the kernel's stack. Each has namespaces of its own and waits while another
//! is measured. Client and server share a core: a packet that has to wake another one measures the waking.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, ensure};
use lambdac_tests::peers::netns::{Net, Side, WORKER};
use lnic_wire::Header;

use super::{BENCH, build, clang};
use crate::process::{self, Server};
use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup, udp};

/// Round trips of a run.
const COUNT: u32 = 20_000;
/// The core of client and server.
const CORE: usize = 0;
const PORT: u16 = 4369;

/// A server in namespaces of its own.
struct Served {
    net: Net,
    port: u16,
    request: Vec<u8>,
    _server: Option<Server>,
}

/// Median and 99th percentile of the round trips of a run, in nanoseconds.
#[derive(Clone, Copy)]
struct Trip {
    p50: f64,
    p99: f64,
}

/// All three in turns.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let ping = setup.scratch.path().join("ping");
    process::gcc(&setup.folder.join("c/ping.c"), &ping, &[])?;
    let pass = clang(setup, "pass")?;
    let nic = on_nic(setup, &pass)?;
    let reflector = reflector(setup, &pass)?;
    let echo = echo(setup)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push([&nic, &reflector, &echo].map(|served| served.measure(&ping)));
    }
    let runs: Vec<[Trip; 3]> = runs
        .into_iter()
        .map(|[nic, reflector, echo]| Ok([nic?, reflector?, echo?]))
        .collect::<Result<_>>()?;
    let against = |other: usize, of: fn(&Trip) -> f64| -> Vec<(f64, f64)> {
        runs.iter().map(|run| (of(&run[0]), of(&run[other]))).collect()
    };
    let (p50, p99) = (|trip: &Trip| trip.p50, |trip: &Trip| trip.p99);
    for (other, name, most) in [(1, "reflector", 1.2), (2, "echo", 0.5)] {
        let target = Target::AtMost(most);
        let name = |percentile: &str| format!("veth {percentile} to the {name}");
        report.add(Row::versus(BENCH, &name("p50"), "ns", &against(other, p50)).with_target(target));
        report.add(Row::versus(BENCH, &name("p99"), "ns", &against(other, p99)).with_target(target));
    }
    Ok(())
}

impl Served {
    fn measure(&self, ping: &Path) -> Result<Trip> {
        let mut child = self
            .net
            .command(Side::Client, "taskset")
            .args(["-c", &CORE.to_string()])
            .arg(ping)
            .args([WORKER, &self.port.to_string(), &COUNT.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no stdin")?.write_all(&self.request)?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [p50, p99, lost] = numbers[..] else {
            return Err(anyhow!("ping ended with {} and said {text:?}", output.status));
        };
        ensure!(
            lost <= f64::from(COUNT) / 100.0,
            "{lost} of {COUNT} requests were lost"
        );
        Ok(Trip { p50, p99 })
    }
}

fn net() -> Result<Net> {
    Net::new().map_err(anyhow::Error::msg)
}

/// Attaches a program to an interface, with the `ip` command.
fn attach(net: &Net, side: Side, object: &Path) -> Result<()> {
    let object = object.to_str().context("a path that is no text")?;
    net.ip(
        side,
        &[
            "link", "set", "dev", "eth0", "xdpdrv", "obj", object, "sec", "xdp",
        ],
    )
    .map_err(anyhow::Error::msg)
}

/// Starts a server on the worker's side.
fn serve(net: &Net, program: &Path, args: &[String]) -> Result<Server> {
    let namespace = net.namespace(Side::Worker);
    let mut all = vec![
        "netns".to_owned(),
        "exec".to_owned(),
        namespace,
        program.display().to_string(),
    ];
    all.extend_from_slice(args);
    Server::start(Path::new("ip"), &all, &[CORE])
}

fn on_nic(setup: &Setup, pass: &Path) -> Result<Served> {
    let source: PathBuf = setup.folder.join("lambdas/web.lnic");
    let (_, manifest) = build(setup, std::slice::from_ref(&source), "veth")?;
    let id = manifest["workloads"][0]["id"].as_u64().context("no id")? as u32;
    let net = net()?;
    attach(&net, Side::Client, pass)?;
    let args = [
        "run",
        &source.display().to_string(),
        "--nic",
        "xdp:eth0",
        "--listen",
        &format!("{WORKER}:{PORT}"),
        "--http",
        "127.0.0.1:0",
    ];
    let server = serve(&net, &setup.lambdac, &args.map(str::to_owned))?;
    let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, udp::REQUEST.len() as u16);
    Ok(Served {
        net,
        port: PORT,
        request: [&header.encode(), &udp::REQUEST[..]].concat(),
        _server: Some(server),
    })
}

fn reflector(setup: &Setup, pass: &Path) -> Result<Served> {
    let net = net()?;
    attach(&net, Side::Client, pass)?;
    attach(&net, Side::Worker, &clang(setup, "reflect")?)?;
    Ok(Served {
        net,
        port: PORT,
        request: vec![0; 64],
        _server: None,
    })
}

fn echo(setup: &Setup) -> Result<Served> {
    let program = setup.scratch.path().join("veth-echo");
    process::gcc(&setup.folder.join("c/echo.c"), &program, &["-pthread"])?;
    let net = net()?;
    let server = serve(&net, &program, &["1", "64", WORKER].map(str::to_owned))?;
    let port = server.address("")?.port();
    Ok(Served {
        net,
        port,
        request: vec![0; 64],
        _server: Some(server),
    })
}
