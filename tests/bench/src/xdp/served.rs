//! Servers in namespaces of their own, and clients beside them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lambdac_tests::peers::netns::{CLIENT, Net, Side, WORKER};
use lnic_wire::Header;

use super::{build, clang};
use crate::process::{self, Server};
use crate::{Setup, udp};

/// The core of servers, and of clients that have one request in flight: a packet that has to wake another core measures
/// the waking.
const CORE: usize = 0;
const PORT: u16 = 4369;
const MEMCACHED_PORT: u16 = 11211;
/// Request id, number, count and reserved bytes before a command over UDP (memcached, doc/protocol.txt).
const MEMCACHED_FRAME: [u8; 8] = [0, 1, 0, 0, 0, 1, 0, 0];
/// How long memcached may take to start.
const READY: Duration = Duration::from_secs(10);

/// A server, and the request that it answers.
pub struct Served {
    net: Arc<Net>,
    client: Side,
    address: &'static str,
    port: u16,
    request: Vec<u8>,
    _servers: Vec<Arc<Server>>,
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
        Self::lambdac(
            setup,
            net()?,
            source,
            udp::REQUEST,
            &[&["--nic", "xdp:eth0"], more].concat(),
        )
    }

    /// `lambdac run` without a NIC.
    pub fn on_host(setup: &Setup, source: &Path) -> Result<Self> {
        Self::lambdac(setup, net()?, source, udp::REQUEST, &[])
    }

    /// A lambda in the driver that asks a memcached beside the client, which holds `value` under `key`; and the same
    /// question to that memcached, asked by a client on the worker's side through the kernel's stack.
    pub fn memcached(
        setup: &Setup,
        source: &Path,
        clients: &Clients,
        key: &str,
        value: &str,
    ) -> Result<[Self; 2]> {
        let net = Arc::new(net()?);
        let cache = Arc::new(memcached(&net)?);
        let direct = |command: &str| Self {
            net: net.clone(),
            client: Side::Worker,
            address: CLIENT,
            port: MEMCACHED_PORT,
            request: [&MEMCACHED_FRAME[..], command.as_bytes()].concat(),
            _servers: vec![cache.clone()],
        };
        let stored = direct(&format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()));
        let begun = Instant::now();
        while stored.ask(&clients.ping, &["1"]).is_err() {
            ensure!(begun.elapsed() < READY, "memcached does not answer");
        }
        let workload = source
            .file_stem()
            .and_then(|name| name.to_str())
            .context("no name")?;
        let service = format!("{workload}.cache={CLIENT}:{MEMCACHED_PORT}");
        let more = ["--nic", "xdp:eth0", "--service", &service];
        let nic = Self::lambdac(setup, net.clone(), source, key.as_bytes(), &more)?;
        Ok([nic, direct(&format!("get {key}\r\n"))])
    }

    fn lambdac(
        setup: &Setup,
        net: impl Into<Arc<Net>>,
        source: &Path,
        request: &[u8],
        more: &[&str],
    ) -> Result<Self> {
        let net = net.into();
        let (_, manifest) = build(setup, &[source.to_owned()], "served")?;
        let id = manifest["workloads"][0]["id"].as_u64().context("no id")? as u32;
        attach(&net, Side::Client, &clang(setup, "pass")?)?;
        let (source, listen) = (source.display().to_string(), format!("{WORKER}:{PORT}"));
        let args = [
            &["run", &source, "--listen", &listen, "--http", "127.0.0.1:0"],
            more,
        ]
        .concat();
        let server = serve(&net, &setup.lambdac, &args)?;
        let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, request.len() as u16);
        Ok(Self {
            net,
            client: Side::Client,
            address: WORKER,
            port: PORT,
            request: [&header.encode(), request].concat(),
            _servers: vec![Arc::new(server)],
        })
    }

    /// The reflector in the driver.
    pub fn reflector(setup: &Setup) -> Result<Self> {
        let net = net()?;
        attach(&net, Side::Client, &clang(setup, "pass")?)?;
        attach(&net, Side::Worker, &clang(setup, "reflect")?)?;
        Ok(Self {
            net: net.into(),
            client: Side::Client,
            address: WORKER,
            port: PORT,
            request: vec![0; 64],
            _servers: Vec::new(),
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
            net: net.into(),
            client: Side::Client,
            address: WORKER,
            port,
            request: vec![0; 64],
            _servers: vec![Arc::new(server)],
        })
    }

    /// Runs a client with the address and port, and more arguments; gives the numbers that it prints.
    pub fn ask(&self, client: &Path, args: &[&str]) -> Result<Vec<f64>> {
        let mut child = self
            .net
            .command(self.client, "taskset")
            .args(["-c", &CORE.to_string()])
            .arg(client)
            .args([self.address, &self.port.to_string()])
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

/// Starts a memcached beside the client. It doesn't say when it is ready.
fn memcached(net: &Net) -> Result<Server> {
    let (namespace, port) = (net.namespace(Side::Client), MEMCACHED_PORT.to_string());
    let args = [
        "netns",
        "exec",
        &namespace,
        "memcached",
        "-u",
        "root",
        "-l",
        CLIENT,
        "-p",
        &port,
        "-U",
        &port,
        "-t",
        "1",
    ];
    Server::spawn(Path::new("ip"), &args, &[CORE])
}
