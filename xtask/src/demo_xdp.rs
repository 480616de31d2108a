//! `cargo xtask demo-xdp`: the λ-NIC workloads answered in a network driver, with the worker's own counters still.
//!
//! Two network namespaces, joined by a veth pair, stand for two machines: in one runs `lambdac run --nic xdp:eth0`, in the
//! other are its callers and a memcached. Both go away with the demo, and what runs in them.
//!
//! A veth pair delivers what a program sends through it only to an end with an XDP program of its own. A real NIC needs
//! nothing of the kind. Here the callers' end gets an image of ours that nobody has configured: it passes all packets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::demo::lambdac;
use crate::{setup, shell};

const EXAMPLES: &str = "examples/lambda-nic";
/// The callers' address, and memcached's.
const CLIENT: &str = "10.77.0.1";
/// The worker's.
const WORKER: &str = "10.77.0.2";
const WIRE: &str = "10.77.0.2:4369";
const HTTP: &str = "10.77.0.2:8081";
/// A worker without a NIC, to compare with.
const PLAIN_WIRE: &str = "10.77.0.2:4370";
const PLAIN_HTTP: &str = "10.77.0.2:8082";

/// A process that is ended with the demo.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A namespace; removed with what runs in it.
struct Namespace(String);

impl Namespace {
    fn add(role: &str) -> Result<Self> {
        let name = format!("lambdac-demo-{}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        Ok(Self(name))
    }

    /// A command in it.
    fn command(&self, program: &Path) -> Command {
        let mut command = shell::command("ip", &["netns", "exec", &self.0]);
        command.arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Links go with it; there is nobody left to tell if it doesn't work.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// A folder for a bundle, removed with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = shell::command("ip", args).output().context("cannot run ip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", args.join(" "), said.trim());
    }
    Ok(())
}

/// Builds, serves in one namespace, asks from the other, and removes both.
pub fn run() -> Result<()> {
    setup::install(&[setup::IP, setup::MEMCACHED])?;
    if !shell::is_root() || !shell::has("ip") {
        println!("skipped: network namespaces and XDP programs need root and `ip`");
        return Ok(());
    }
    shell::run("cargo", &["build", "--release", "-p", "lambdac-cli"])?;
    let (client, worker) = (Namespace::add("client")?, Namespace::add("worker")?);
    join(&client, &worker)?;
    open_end(&client)?;
    let _memcached = memcached(&client)?;
    let service = format!("{CLIENT}:11211");
    let services = ["kv_get", "kv_set"].map(|name| format!("{name}.cache={service}"));
    let common = [
        "run",
        EXAMPLES,
        "--service",
        &services[0],
        "--service",
        &services[1],
    ];
    let _nic = serve(
        &worker,
        &[&common[..], &["--nic", "xdp:eth0", "--http", "0.0.0.0:8081"]].concat(),
    )?;
    let _plain = serve(
        &worker,
        &[&common[..], &["--listen", PLAIN_WIRE, "--http", "0.0.0.0:8082"]].concat(),
    )?;
    let own = std::env::current_exe().context("cannot find this program")?;
    let status = client.command(&own).args(["demo-xdp", "ask"]).status()?;
    if !status.success() {
        bail!("a request was not answered as it should be");
    }
    Ok(())
}

fn join(client: &Namespace, worker: &Namespace) -> Result<()> {
    let (a, b) = (client.0.as_str(), worker.0.as_str());
    ip(&[
        "link", "add", "name", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b,
    ])?;
    for (namespace, address) in [(a, CLIENT), (b, WORKER)] {
        ip(&[
            "-n",
            namespace,
            "addr",
            "add",
            &format!("{address}/24"),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", namespace, "link", "set", "eth0", "up"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
    }
    Ok(())
}

/// Puts a program that passes all packets on the callers' end.
fn open_end(client: &Namespace) -> Result<()> {
    let folder = Folder(std::env::temp_dir().join(format!("lambdac-demo-{}", std::process::id())));
    let out = folder.0.to_string_lossy();
    let source = format!("{EXAMPLES}/web.lnic");
    let build = ["build", &source, "--target", "xdp", "-o", &out];
    let status = Command::new(lambdac())
        .args(build)
        .current_dir(shell::root())
        .status()?;
    if !status.success() {
        bail!("lambdac build failed: {status}");
    }
    let object = format!("{out}/xdp/image.bpf.o");
    let args = ["link", "set", "dev", "eth0", "xdp", "obj", &object, "sec", "xdp"];
    let output = client.command(Path::new("ip")).args(args).output()?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A memcached where the callers are; `None` where it isn't installed.
fn memcached(client: &Namespace) -> Result<Option<Process>> {
    let Some(program) = shell::find("memcached") else {
        return Ok(None);
    };
    let mut command = client.command(&program);
    command.args([
        "-l", CLIENT, "-U", "11211", "-p", "11211", "-m", "16", "-u", "root",
    ]);
    let child = command
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start memcached")?;
    Ok(Some(Process(child)))
}

/// A worker that is ready.
fn serve(worker: &Namespace, args: &[&str]) -> Result<Process> {
    let mut command = worker.command(&lambdac());
    command
        .args(args)
        .current_dir(shell::root())
        .stdout(Stdio::piped());
    let mut child = Process(command.spawn().context("cannot start lambdac run")?);
    let stdout = child.0.stdout.take().context("no output of lambdac run")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if !line.starts_with("ready ") {
        bail!("lambdac run did not get ready: it said `{}`", line.trim());
    }
    Ok(child)
}

/// The callers' part, in their namespace.
pub fn ask() -> Result<()> {
    let memcached = wait_for(&format!("{CLIENT}:11211"));
    println!("\nserving {EXAMPLES} at {WIRE}: in the driver of eth0, the worker behind it\n");
    println!("{:<18} {:<26} {:>8} {:>8}", "request", "reply", "NIC", "host");
    let row: String = "1e".repeat(1024);
    let requests: [(&str, &[&str]); 5] = [
        ("web", &["--data", "GET /"]),
        ("web", &["--data", "GET /nothing"]),
        ("kv_set", &["--data", "hey=dude"]),
        ("kv_get", &["--data", "hey"]),
        ("grayscale_stream", &["--hex", &row]),
    ];
    for (name, data) in requests {
        if name.starts_with("kv") && !memcached {
            println!("{name:<18} skipped: memcached not found");
            continue;
        }
        show(name, data)?;
    }
    println!("\nThe numbers are requests taken so far, by side: the host's stand still.\n");
    println!("One request in flight, 20000 times, as `lambdac bench` sees it:");
    for (what, wire, http) in [("NIC", WIRE, HTTP), ("host", PLAIN_WIRE, PLAIN_HTTP)] {
        let args = [
            "bench", "web", "--to", wire, "--http", http, "--data", "GET /", "-c", "1", "-n", "20000",
        ];
        let output = Command::new(lambdac()).args(args).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = |key: &str| {
            let found = text.lines().find(|line| line.starts_with(key));
            found
                .and_then(|line| line.strip_prefix(key))
                .unwrap_or("?")
                .trim()
                .to_owned()
        };
        println!(
            "  {what:<5} p50 {:>10}   p99 {:>10}   {} lost",
            line("p50 "),
            line("p99 "),
            line("lost ")
        );
    }
    Ok(())
}

/// One request, what came back, and who has taken how many.
fn show(name: &str, data: &[&str]) -> Result<()> {
    let args = ["invoke", name, "--to", WIRE, "--http", HTTP];
    let output = Command::new(lambdac()).args(args).args(data).output()?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let reply = String::from_utf8_lossy(&output.stdout);
    let start: String = reply
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .take(22)
        .collect();
    let metrics = get(HTTP, "/metrics")?;
    let count = |target: &str| {
        let series = format!("lnic_requests_total{{workload=\"{name}\",target=\"{target}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or("0").to_owned()
    };
    let bytes = output.stdout.len();
    println!(
        "{name:<18} {:<26} {:>8} {:>8}",
        format!("{bytes}: {start}"),
        count("xdp"),
        count("host")
    );
    Ok(())
}

/// Whether something listens within a while.
fn wait_for(address: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// The body of a small HTTP/1.0 GET.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}
