//! A worker with a NIC in front, in network namespaces: `client eth0 ── eth0 worker eth1 ── eth0 service`.
//!
//! The client's end of its veth pair has a program that passes all packets, since the kernel delivers what a program
//! sends through a veth pair only to an end with a program of its own. That is an image of ours that nobody configured.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;

use super::inside::inside;
use lambdac_tests::peers::netns::{Net, Side, WORKER};
use lambdac_tests::peers::{Options, Response, Worker, path, run};
use lambdac_tests::random::{lacks_ebpf, no_xdp};
use lnic_client::{InvokeOptions, Workload};
use lnic_xdp::{Image, Link, LoadOptions, Mode};

/// Where the worker's wire is.
pub const WIRE: &str = "10.77.0.2:4369";
/// And its HTTP.
const HTTP: &str = "0.0.0.0:8081";

/// Namespaces, or none with a word on what this machine lacks for them.
///
/// # Panics
/// If the machine should be able to and isn't.
pub fn net() -> Option<Net> {
    if no_xdp() {
        return None;
    }
    match Net::new() {
        Ok(net) => Some(net),
        Err(reason) => {
            lacks_ebpf(&format!("no network namespaces: {reason}"));
            None
        }
    }
}

/// An object file of a workload that does nothing, built as any other.
pub fn object(dir: &Path) -> Vec<u8> {
    let source = dir.join("idle.lnic");
    let text = "workload idle;\nlambda idle(req: bytes<8>) -> bytes<8> { reply req; }\n";
    std::fs::write(&source, text).expect("a temporary folder takes files");
    build(&[&source.display().to_string()], dir)
}

/// Builds sources for xdp; the object file.
pub fn build(sources: &[&str], dir: &Path) -> Vec<u8> {
    let out = dir.join("out").display().to_string();
    run(&[&["build"], sources, &["--target", "xdp", "-o", &out]].concat()).good();
    std::fs::read(format!("{out}/xdp/image.bpf.o")).expect("the bundle has an object")
}

/// Has an end of a veth pair take what the other end's program sends.
pub fn open_end(net: &Net, side: Side, object: &[u8]) -> Link {
    inside(net, side, || {
        let image = Image::load(object, &LoadOptions::default()).expect("the kernel takes the object");
        let dispatch = image.program("dispatch").expect("there is a dispatcher");
        Link::attach("eth0", Mode::Native, dispatch).expect("veth has XDP")
    })
}

/// A worker behind a NIC, and a client in front.
pub struct World {
    pub net: Net,
    pub worker: Worker,
    _front: Box<dyn Any + Send + Sync>,
    /// For a test's files; it goes with the world.
    pub dir: tempfile::TempDir,
}

impl World {
    /// Serves sources: paths in the workspace, or absolute ones.
    ///
    /// # Panics
    /// If the worker doesn't get ready.
    pub fn start_in(net: Net, sources: &[&str], flags: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("there are temporary folders");
        let client = open_end(&net, Side::Client, &object(dir.path()));
        Some(Self::with_front(
            net,
            "xdp:eth0",
            Box::new(client),
            (sources, flags),
        ))
    }

    /// As [`World::start_in`], with something else than eth0's driver as `nic`; it goes with the world.
    pub fn with_front(
        net: Net,
        nic: &str,
        front: Box<dyn Any + Send + Sync>,
        (sources, flags): (&[&str], &[&str]),
    ) -> Self {
        Self {
            worker: Self::serve_on(&net, nic, sources, flags),
            _front: front,
            dir: tempfile::tempdir().expect("there are temporary folders"),
            net,
        }
    }

    /// A worker on a NIC.
    pub fn serve_on(net: &Net, nic: &str, sources: &[&str], flags: &[&str]) -> Worker {
        let sources: Vec<String> = sources.iter().map(|source| path(source)).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let flags = [flags, &["--nic", nic]].concat();
        let options = Options {
            flags: &flags,
            wire: Some(WIRE),
            http: Some(HTTP),
            inside: Some((net, Side::Worker)),
            ..Options::default()
        };
        let mut worker = Worker::try_start(&sources, &options)
            .unwrap_or_else(|log| panic!("the worker is not ready: {log}"));
        worker.http = SocketAddr::new(WORKER.parse().expect("an address"), worker.http.port());
        worker
    }

    /// Runs something where the client is.
    pub fn at_client<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.net, Side::Client, run)
    }

    /// What a caller must know of a workload.
    pub fn workload(&self, name: &str) -> Workload {
        self.at_client(|| self.worker.workload(name))
    }

    /// One request over the wire that is sent once, from a socket of its own.
    pub fn ask(&self, name: &str, request: &[u8]) -> Vec<u8> {
        let workload = self.workload(name);
        let reply = self.at_client(|| lnic_client::invoke(self.worker.wire, &workload, request, &once()));
        reply.unwrap_or_else(|error| panic!("{name}: {error}")).payload
    }

    /// One HTTP request.
    pub fn fetch(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.at_client(|| self.worker.fetch(method, path, body))
    }

    /// A value of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        self.at_client(|| self.worker.metric(name))
    }

    /// How many requests for a workload a side has taken.
    pub fn requests(&self, workload: &str, target: &str) -> u64 {
        self.metric(&format!(
            "lnic_requests_total{{workload=\"{workload}\",target=\"{target}\"}}"
        ))
    }
}

/// A request that is sent again only after the test has given up: a lost packet is seen.
pub fn once() -> InvokeOptions {
    InvokeOptions {
        timeout: lambdac_tests::peers::PATIENCE,
        resend: lambdac_tests::peers::PATIENCE,
    }
}
