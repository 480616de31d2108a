//! Network namespaces joined by veth pairs: a client, a worker, and a service behind the worker.
//!
//! ```text
//! client 10.77.0.1 eth0 ── eth0 10.77.0.2 worker 10.78.0.1 eth1 ── eth0 10.78.0.2 service
//! ```
//!
//! All are removed when the handle is dropped, with whatever runs in them. Nothing leaves the machine: the namespaces
//! have no other interface than these and their own loopback.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The client's address.
pub const CLIENT: &str = "10.77.0.1";
/// The worker's address towards the client.
pub const WORKER: &str = "10.77.0.2";
/// The service's address.
pub const SERVICE: &str = "10.78.0.2";

/// One of the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where requests come from.
    Client,
    /// Where the worker runs; `eth0` leads to the client, `eth1` to the service.
    Worker,
    /// Where memcached runs.
    Service,
}

impl Side {
    const ALL: [Self; 3] = [Self::Client, Self::Worker, Self::Service];

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Worker => "worker",
            Self::Service => "service",
        }
    }
}

/// Three namespaces and the links between them.
#[derive(Debug)]
pub struct Net {
    prefix: String,
}

impl Net {
    /// Makes them.
    ///
    /// # Errors
    ///
    /// Why this machine can't: no privilege, no `ip` command, no veth.
    pub fn new() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Dropped on an early return too, with what was made until then.
        let net = Self {
            prefix: format!("lambdac-{}-{number}", std::process::id()),
        };
        for side in Side::ALL {
            let name = net.namespace(side);
            // A test that was killed, of a process with our number, may have left one.
            _ = ip(&["netns", "del", &name]);
            ip(&["netns", "add", &name])?;
        }
        net.join((Side::Client, "eth0", CLIENT), (Side::Worker, "eth0", WORKER))?;
        net.join(
            (Side::Worker, "eth1", "10.78.0.1"),
            (Side::Service, "eth0", SERVICE),
        )?;
        for side in Side::ALL {
            ip(&["-n", &net.namespace(side), "link", "set", "lo", "up"])?;
        }
        let service = net.namespace(Side::Service);
        ip(&["-n", &service, "route", "add", "default", "via", "10.78.0.1"])?;
        Ok(net)
    }

    fn join(&self, a: (Side, &str, &str), b: (Side, &str, &str)) -> Result<(), String> {
        let (left, right) = (self.namespace(a.0), self.namespace(b.0));
        ip(&[
            "link", "add", "name", a.1, "netns", &left, "type", "veth", "peer", "name", b.1, "netns", &right,
        ])?;
        for ((_, interface, address), namespace) in [(a, &left), (b, &right)] {
            ip(&[
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                interface,
            ])?;
            ip(&["-n", namespace, "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    /// The name of a side's namespace.
    pub fn namespace(&self, side: Side) -> String {
        format!("{}-{}", self.prefix, side.name())
    }

    /// A program to be run on a side.
    pub fn command(&self, side: Side, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(side)])
            .arg(program);
        command
    }

    /// Runs `ip` on a side.
    ///
    /// # Errors
    ///
    /// What it said.
    pub fn ip(&self, side: Side, args: &[&str]) -> Result<(), String> {
        let namespace = self.namespace(side);
        ip(&[&["-n", &namespace], args].concat())
    }

    /// The hardware address of a side's interface.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn hardware_address(&self, side: Side, interface: &str) -> Result<[u8; 6], String> {
        let file = format!("/sys/class/net/{interface}/address");
        let output = self
            .command(side, "cat")
            .arg(&file)
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let bytes: Option<Vec<u8>> = text
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("{file} of {} says {text:?}", side.name()))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for side in Side::ALL {
            let namespace = self.namespace(side);
            let pids = Command::new("ip").args(["netns", "pids", &namespace]).output();
            let pids = pids.map(|output| output.stdout).unwrap_or_default();
            for pid in String::from_utf8_lossy(&pids).split_whitespace() {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .map_err(|error| format!("cannot run ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", args.join(" "), said.trim()))
}
