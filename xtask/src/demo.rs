//! `cargo xtask demo`: the four λ-NIC workloads, answering real requests, on a machine that has only Rust.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{setup, shell};

const EXAMPLES: &str = "examples/lambda-nic";

/// A process that is ended with the demo.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds, serves, asks each workload once over UDP and one over HTTP too, and stops.
pub fn run() -> Result<()> {
    setup::install(&[setup::MEMCACHED, setup::GCC])?;
    shell::run("cargo", &["build", "--release", "-p", "lambdac-cli"])?;
    let memcached = start_memcached()?;
    let worker = Worker::start(memcached.as_ref().map(|(_, port)| *port))?;
    println!(
        "\nserving {EXAMPLES}: wire {} (UDP), http {}\n",
        worker.wire, worker.http
    );

    worker.invoke("web", &["--data", "GET /"])?;
    if memcached.is_some() {
        worker.invoke("kv_set", &["--data", "hey=dude"])?;
        worker.invoke("kv_get", &["--data", "hey"])?;
    } else {
        println!("kv_set, kv_get: skipped: memcached not found\n");
    }
    let image = Image::write()?;
    let file = image.0.to_string_lossy();
    worker.invoke("grayscale", &["--file", &file])?;
    worker.invoke("grayscale_stream", &["--file", &file])?;
    worker.http("web", b"GET /")?;

    println!("Go on with:");
    println!("    cargo run --release -p lambdac-cli -- run {EXAMPLES}        serve them yourself");
    println!(
        "    cargo run --release -p lambdac-cli -- test {EXAMPLES}       run their tests on every target"
    );
    println!("    cargo run --release -p lambdac-cli -- new hello             a workload of your own");
    println!("    lang-spec/reference/                                        the language");
    Ok(())
}

/// The binary that the demos build.
pub fn lambdac() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    // Cargo was started in the root, which is where a relative path begins.
    shell::root().join(target).join("release/lambdac")
}

/// A memcached of our own on a free UDP port of loopback; `None` where it isn't installed.
fn start_memcached() -> Result<Option<(Process, u16)>> {
    let Some(program) = shell::find("memcached") else {
        return Ok(None);
    };
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let text = port.to_string();
    let mut command = Command::new(program);
    command
        .args(["-l", "127.0.0.1", "-U", &text, "-p", &text, "-m", "16"])
        .stderr(Stdio::null());
    if shell::is_root() {
        command.args(["-u", "root"]);
    }
    let child = Process(command.spawn().context("cannot start memcached")?);
    let end = Instant::now() + Duration::from_secs(5);
    while TcpListener::bind(("127.0.0.1", port)).is_ok() {
        if Instant::now() > end {
            bail!("memcached did not come up within 5 s");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Some((child, port)))
}

struct Worker {
    _process: Process,
    wire: String,
    http: String,
}

impl Worker {
    fn start(memcached: Option<u16>) -> Result<Self> {
        let mut command = Command::new(lambdac());
        command.args([
            "run",
            EXAMPLES,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ]);
        if let Some(port) = memcached {
            command.args(["--service", &format!("kv_get.cache=127.0.0.1:{port}")]);
            command.args(["--service", &format!("kv_set.cache=127.0.0.1:{port}")]);
        }
        command.current_dir(shell::root()).stdout(Stdio::piped());
        let mut child = Process(command.spawn().context("cannot start lambdac run")?);
        let stdout = child.0.stdout.take().context("no output of lambdac run")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let part = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key))
                .map(str::to_owned)
        };
        let (Some(wire), Some(http)) = (part("wire="), part("http=")) else {
            bail!("lambdac run did not get ready: it said `{}`", line.trim());
        };
        Ok(Self {
            _process: child,
            wire,
            http,
        })
    }

    /// One request over the λ wire, with what came back and how long the whole command took.
    fn invoke(&self, name: &str, data: &[&str]) -> Result<()> {
        let mut command = Command::new(lambdac());
        command
            .args([
                "invoke", name, "--to", &self.wire, "--http", &self.http, "--timing",
            ])
            .args(data);
        let output = command
            .current_dir(shell::root())
            .output()
            .context("cannot start lambdac invoke")?;
        let timing = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        println!("$ lambdac invoke {name} {}", data.join(" "));
        println!("  {}", preview(&output.stdout));
        println!("  {timing}\n");
        if !output.status.success() {
            bail!("{name} was not answered OK");
        }
        Ok(())
    }

    /// One request over HTTP.
    fn http(&self, name: &str, body: &[u8]) -> Result<()> {
        let start = Instant::now();
        let reply = crate::shell::http_post(&self.http, &format!("/function/{name}"), body)?;
        let micros = start.elapsed().as_micros();
        println!(
            "$ curl -d '{}' http://{}/function/{name}",
            String::from_utf8_lossy(body),
            self.http
        );
        println!("  {}\n  {micros} µs, connection included\n", preview(&reply));
        Ok(())
    }
}

/// The start of a reply: text as it is, other bytes in hex.
fn preview(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(48)];
    let text = match std::str::from_utf8(shown) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{} bytes: {text}{more}", bytes.len())
}

/// A file with the pixels of an image, removed with the demo.
struct Image(PathBuf);

impl Image {
    /// A 256×256 RGBA image: a gradient.
    fn write() -> Result<Self> {
        let file = std::env::temp_dir().join(format!("lambdac-demo-{}.rgba", std::process::id()));
        let pixel = |i: u32| {
            [
                (i % 256) as u8,
                (i / 256) as u8,
                ((i % 256 + i / 256) / 2) as u8,
                255,
            ]
        };
        let data: Vec<u8> = (0..256 * 256).flat_map(pixel).collect();
        std::fs::write(&file, data).context("cannot write the image")?;
        Ok(Self(file))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // It lies in the folder for temporary files, which is emptied anyway.
        let _ = std::fs::remove_file(&self.0);
    }
}
