//! Servers in namespaces of their own, and clients beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use lambdac_tests::peers::netns::{Net, Side, WORKER};
use lnic_wire::Header;

use super::{build, clang};
use crate::process::{self, Server};
use crate::{Setup, udp};

/// The core of servers, and of clients that have one request in flight: a packet that has to wake another core measures
/// the waking.
const CORE: usize = 0;
const PORT: u16 = 4369;

/// A server, and the request that it answers.
pub struct Served {
    net: Net,
    port: u16,
    request: Vec<u8>,
    _server: Option<Server>,
}

/// The client programs in C, compiled.
pub struct Clients {
    /// One request in flight.
    pub ping: PathBuf,
    /// Many.
    pub flood: PathBuf,
    /// Until the answer changes.
    pub until: PathBuf,
}

impl Clients {
    pub fn compile(setup: &Setup) -> Result<Self> {
        let compile = |name: &str| {
            let output = setup.scratch.path().join(name);
            process::gcc(&setup.folder.join(format!("c/{name}.c")), &output, &[]).map(|()| output)
        };
        Ok(Self {
            ping: compile("ping")?,
            flood: compile("flood")?,
            until: compile("until")?,
        })
    }
}

impl Served {
    /// `lambdac run` in front of whose worker the NIC answers; with `--watch` if so asked.
    pub fn on_nic(setup: &Setup, source: &Path, watch: bool) -> Result<Self> {
        let more: &[&str] = if watch { &["--watch"] } else { &[] };
        Self::lambdac(setup, source, &[&["--nic", "xdp:eth0"], more].concat())
    }

    /// `lambdac run` without a NIC.
    pub fn on_host(setup: &Setup, source: &Path) -> Result<Self> {
        Self::lambdac(setup, source, &[])
    }

    fn lambdac(setup: &Setup, source: &Path, more: &[&str]) -> Result<Self> {
        let (_, manifest) = build(setup, &[source.to_owned()], "served")?;
        let id = manifest["workloads"][0]["id"].as_u64().context("no id")? as u32;
        let net = net()?;
        attach(&net, Side::Client, &clang(setup, "pass")?)?;
        let (source, listen) = (source.display().to_string(), format!("{WORKER}:{PORT}"));
        let args = [
            &["run", &source, "--listen", &listen, "--http", "127.0.0.1:0"],
            more,
        ]
        .concat();
        let server = serve(&net, &setup.lambdac, &args)?;
        let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, udp::REQUEST.len() as u16);
        Ok(Self {
            net,
            port: PORT,
            request: [&header.encode(), &udp::REQUEST[..]].concat(),
            _server: Some(server),
        })
    }

    /// The reflector in the driver.
    pub fn reflector(setup: &Setup) -> Result<Self> {
        let net = net()?;
        attach(&net, Side::Client, &clang(setup, "pass")?)?;
        attach(&net, Side::Worker, &clang(setup, "reflect")?)?;
        Ok(Self {
            net,
            port: PORT,
            request: vec![0; 64],
            _server: None,
        })
    }

    /// A bare UDP echo behind the kernel's stack.
    pub fn echo(setup: &Setup) -> Result<Self> {
        let program = setup.scratch.path().join("veth-echo");
        process::gcc(&setup.folder.join("c/echo.c"), &program, &["-pthread"])?;
        let net = net()?;
        let server = serve(&net, &program, &["1", "64", WORKER])?;
        let port = server.address("")?.port();
        Ok(Self {
            net,
            port,
            request: vec![0; 64],
            _server: Some(server),
        })
    }

    /// Runs a client with the address and port, and more arguments; gives the numbers that it prints.
    pub fn ask(&self, client: &Path, args: &[&str]) -> Result<Vec<f64>> {
        let mut child = self
            .net
            .command(Side::Client, "taskset")
            .args(["-c", &CORE.to_string()])
            .arg(client)
            .args([WORKER, &self.port.to_string()])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no stdin")?.write_all(&self.request)?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{} ended with {}",
            client.display(),
            output.status
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = text.split_whitespace().map(|word| word.parse::<f64>());
        numbers
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} said {text:?}", client.display()))
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
fn serve(net: &Net, program: &Path, args: &[&str]) -> Result<Server> {
    let (namespace, program) = (net.namespace(Side::Worker), program.display().to_string());
    let all = [&["netns", "exec", &namespace, &program], args].concat();
    Server::start(Path::new("ip"), &all, &[CORE])
}
