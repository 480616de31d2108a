//! `lambdac run --nic bmv2:…` with the real p4c and simple_switch_grpc, and real packets between network namespaces:
//! `client eth0 ── eth0 switch ── worker`, where the worker's interface is behind the switch's CPU port.
//!
//! The tools are found as everywhere: `P4C` and `SIMPLE_SWITCH_GRPC`, or the path. Where they aren't, each test says
//! `skipped: …`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering::SeqCst;

use super::inside::inside;
use super::nic::World;
use super::scenarios::{self, BOTH, write_all};
use super::service::{self, Service};
use lambdac_tests::peers::netns::{Net, Side};
use lambdac_tests::peers::until;
use lambdac_tests::random::lacks_ebpf;

/// Where the switch's P4Runtime server listens, in its namespace.
const GRPC: &str = "127.0.0.1:9559";

/// A tool, by the variable that says where it is, or on the path; none: then it says so.
fn tool(variable: &str, name: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = given
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)))
        .filter(|path| path.is_file());
    let found = found.next();
    if found.is_none() {
        println!("skipped: {name} not found");
    }
    found
}

/// A switch with one port, the client's.
struct Switch(Child);

impl Switch {
    fn start(net: &Net, program: &PathBuf) -> Self {
        let mut command = net.command(Side::Worker, program);
        command.args(["--no-p4", "-i", "1@eth0", "--"]);
        command.args(["--cpu-port", "510", "--grpc-server-addr", GRPC]);
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let switch = Self(silent.spawn().expect("the switch starts"));
        for port in [GRPC, "127.0.0.1:9090"] {
            until("the switch serves", || {
                inside(net, Side::Worker, || TcpStream::connect(port).is_ok())
            });
        }
        switch
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Namespaces and the switch's program; none with a word on what is missing.
fn net() -> Option<(Net, PathBuf)> {
    tool("P4C", "p4c-bm2-ss")?;
    let program = tool("SIMPLE_SWITCH_GRPC", "simple_switch_grpc")?;
    match Net::new() {
        Ok(net) => {
            // The worker's address is its own interface's; eth0 is the switch's.
            net.ip(Side::Worker, &["addr", "flush", "dev", "eth0"]).ok()?;
            // The kernel would tell callers eth0's hardware address for the worker's, and so get past the switch.
            net.ip(Side::Worker, &["link", "set", "dev", "eth0", "arp", "off"])
                .ok()?;
            Some((net, program))
        }
        Err(reason) => {
            lacks_ebpf(&format!("no network namespaces: {reason}"));
            None
        }
    }
}

/// A worker behind a switch.
fn start(source: &str) -> Option<World> {
    let (net, program) = net()?;
    let switch = Switch::start(&net, &program);
    let nic = format!("bmv2:{GRPC}");
    Some(World::with_front(net, &nic, Box::new(switch), (&[source], &[])))
}

#[test]
fn switch_and_host_answer_one_socket_from_one_address() {
    scenarios::one_socket("bmv2", start);
}

#[test]
fn http_and_the_wire_see_one_state() {
    scenarios::one_state("bmv2", start);
}

#[test]
fn what_the_switch_passes_up_it_is_not_asked_for_again() {
    scenarios::passed_once("bmv2", start);
}

#[test]
fn tables_are_changed_on_both_sides() {
    scenarios::tables(start);
}

#[test]
fn a_switch_that_starts_again_answers_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = write_all(dir.path(), &BOTH[..1]);
    let Some((net, program)) = net() else { return };
    let switch = Switch::start(&net, &program);
    let world = World::with_front(net, &format!("bmv2:{GRPC}"), Box::new(()), (&[&source], &[]));
    assert_eq!(world.ask("native", b"a"), b"nic");
    assert_eq!(world.requests("native", "bmv2"), 1);
    drop(switch);
    world.worker.until_log("the switch is away");
    let _switch = Switch::start(&world.net, &program);
    world.worker.until_log("the switch is back");
    assert_eq!(world.ask("native", b"a"), b"nic");
    assert_eq!(
        world.requests("native", "bmv2"),
        2,
        "what it had counted before is kept"
    );
    assert_eq!(world.requests("native", "host"), 0);
}

#[test]
fn a_lambda_waits_on_the_switch() {
    let Some((net, program)) = net() else { return };
    let service = Service::start(&net);
    let switch = Switch::start(&net, &program);
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("waits.lnic");
    std::fs::write(&source, service::source("2s", "failed")).unwrap();
    let (nic, source) = (format!("bmv2:{GRPC}"), source.display().to_string());
    let world = World::with_front(net, &nic, Box::new(switch), (&[&source], &[]));
    until("the switch knows the way to the service", || {
        world.ask("waits", b"abc") == b"abc/cba"
    });
    let http = world.fetch("POST", "/function/waits", b"over");
    assert_eq!((http.status, &*http.text()), (200, "over/revo"));
    assert_eq!(http.header("x-lambda-target"), Some("bmv2"));

    // An answer that does not come is a failure, which the control plane says; one that comes too late ends nothing.
    service.silent.store(true, SeqCst);
    assert_eq!(world.ask("waits", b"key"), b"key/failed");
    let http = world.fetch("POST", "/function/waits", b"over");
    assert_eq!((http.status, &*http.text()), (200, "over/failed"));
    service.silent.store(false, SeqCst);
    assert_eq!(world.ask("waits", b"key"), b"key/yek");
    let asked = service.asked.load(SeqCst);
    assert_eq!(world.ask("waits", b"a b"), b"a b/failed");
    assert_eq!(service.asked.load(SeqCst), asked, "such a key is never sent");
    assert_eq!(world.requests("waits", "host"), 0);
    let counted = world.fetch("GET", "/system/state/waits/asked", b"").text();
    let all = world.requests("waits", "bmv2");
    assert!(counted.contains(&all.to_string()), "{counted}: not {all}");
}
