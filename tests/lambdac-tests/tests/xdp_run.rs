//! `lambdac run --nic xdp:…` with real packets between network namespaces: who answers, and what both sides share.
//!
//! Each test makes its namespaces and removes them. Where the machine or its privileges don't allow that, it says
//! `skipped: …`.

mod support {
    mod bmv2;
    pub mod inside;
    pub mod nic;
    pub mod scenarios;
    mod service;
}

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lambdac_tests::peers::netns::{CLIENT, Net, SERVICE, Side};
use lambdac_tests::peers::{PATIENCE, Worker, has, patient_lambda_nic, run, until};
use lnic_bundle::Placement;
use support::inside::inside;
use support::nic::{World, net, object, once, open_end};
use support::scenarios::{self, BOTH, write_all};

/// A memcached on a side; killed with its namespace.
struct Service(Child);

impl Service {
    fn start(net: &Net, side: Side, address: &str) -> Option<Self> {
        if !has("memcached") {
            println!("skipped: memcached not found");
            return None;
        }
        let mut command = net.command(side, "memcached");
        command.args([
            "-l", address, "-p", "11211", "-U", "11211", "-m", "16", "-t", "1", "-u", "nobody",
        ]);
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let service = Self(silent.spawn().expect("memcached starts"));
        until("memcached serves", || {
            inside(net, side, || {
                std::net::TcpStream::connect((address, 11211)).is_ok()
            })
        });
        Some(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks the four λ-NIC workloads, with memcached on a side; `kv` is who answers those that ask it.
fn the_four_workloads(side: Side, address: &str, kv: &str) {
    let Some(net) = net() else { return };
    let Some(_service) = Service::start(&net, side, address) else {
        return;
    };
    let services = ["kv_get", "kv_set"].map(|name| format!("{name}.cache={address}:11211"));
    let flags = ["--service", &services[0], "--service", &services[1]];
    let sources = patient_lambda_nic();
    let Some(world) = World::start_in(net, &[&sources.path().display().to_string()], &flags) else {
        return;
    };
    let row = [30u8; 1024];
    let image: Vec<u8> = (0..256 * 256 * 4).map(|at| at as u8).collect();
    let gray: Vec<u8> = image
        .chunks(4)
        .map(|pixel| (pixel[..3].iter().map(|byte| u16::from(*byte)).sum::<u16>() / 3) as u8)
        .collect();
    let text = |name: &str, request: &[u8]| String::from_utf8_lossy(&world.ask(name, request)).into_owned();
    assert!(text("web", b"GET /").starts_with("<!doctype html>"));
    assert_eq!(text("web", b"GET /nothing"), "not found\n");
    assert_eq!(text("kv_set", b"hey=dude"), "STORED", "{}", world.worker.log());
    assert_eq!(text("kv_get", b"hey"), "dude");
    assert_eq!(text("kv_get", b"nobody"), "Not Found");
    assert_eq!(world.ask("grayscale_stream", &row), [30; 256]);
    assert_eq!(world.ask("grayscale", &image), gray);

    let asked = [
        ("web", "xdp", 2),
        ("kv_set", kv, 1),
        ("kv_get", kv, 2),
        ("grayscale_stream", "xdp", 1),
        // Its reply is longer than a packet.
        ("grayscale", "host", 1),
    ];
    for (name, target, requests) in asked {
        let other = if target == "xdp" { "host" } else { "xdp" };
        let counted = [target, other].map(|target| world.requests(name, target));
        assert_eq!(counted, [requests, 0], "{name} on {target}");
    }
    // Over HTTP the lambda still runs where it lives.
    let answer = world.fetch("POST", "/function/kv_get", b"hey");
    assert_eq!((answer.status, answer.text().as_str()), (200, "dude"));
    assert_eq!(answer.header("x-lambda-target"), Some(kv));
    let info = "lnic_nic_info{target=\"xdp\",interface=\"eth0\",mode=\"native\"}";
    assert_eq!(world.metric(info), 1);
}

#[test]
fn the_four_workloads_are_answered_on_the_nic() {
    the_four_workloads(Side::Client, CLIENT, "xdp");
}

#[test]
fn a_service_behind_another_interface_is_asked_by_the_host() {
    the_four_workloads(Side::Service, SERVICE, "host");
}

#[test]
fn nic_and_host_answer_one_socket_from_one_address() {
    scenarios::one_socket("xdp", |sources| {
        net().and_then(|net| World::start_in(net, &[sources], &[]))
    });
}

#[test]
fn http_and_the_wire_see_one_state() {
    scenarios::one_state("xdp", |sources| {
        net().and_then(|net| World::start_in(net, &[sources], &[]))
    });
}

#[test]
fn what_the_nic_passes_up_it_is_not_asked_for_again() {
    scenarios::passed_once("xdp", |sources| {
        net().and_then(|net| World::start_in(net, &[sources], &[]))
    });
}

#[test]
fn tables_are_changed_on_both_sides() {
    scenarios::tables(|sources| net().and_then(|net| World::start_in(net, &[sources], &[])));
}

/// Whether an XDP program is on the worker's end of the client's link.
fn is_attached(net: &Net) -> bool {
    let output = net
        .command(Side::Worker, "ip")
        .args(["link", "show", "dev", "eth0"])
        .output();
    String::from_utf8_lossy(&output.expect("ip runs").stdout).contains("xdp")
}

#[test]
fn a_killed_worker_leaves_nothing_attached() {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH[..1]);
    let Some(mut world) = net().and_then(|net| World::start_in(net, &[&sources], &[])) else {
        return;
    };
    assert_eq!(world.ask("native", b"a"), b"nic");
    assert!(is_attached(&world.net));
    world.worker.kill();
    until("the program is off the interface", || !is_attached(&world.net));
    // And another worker finds all as the first did.
    world.worker = World::serve_on(&world.net, "xdp:eth0", &[&sources], &[]);
    assert_eq!(world.ask("native", b"a"), b"nic");
    world.worker.terminate();
    until("the program is off the interface", || !is_attached(&world.net));
}

fn counting(word: &str) -> String {
    format!(
        "workload counting;
state seen: counter;
state by_caller: map<u8, u32>(16);
lambda counting(req: [u8; 1]) -> bytes<16> {{
    seen.add(1);
    let before = by_caller.fetch_add(req[0], 1) else {{ reply b\"{word}\"; }};
    if before > 1000000 {{ reply b\"many\"; }}
    reply b\"{word}\";
}}
"
    )
}

/// Writes beside and over it, as editors do.
fn rewrite(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("a temporary folder takes files");
    std::fs::rename(&new, file).expect("and renames them");
}

#[test]
fn an_image_swap_under_load_loses_no_packet_and_no_count() {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &[("counting", &counting("zero")), BOTH[0]]);
    let Some(mut world) = net().and_then(|net| World::start_in(net, &[&sources], &["--watch"])) else {
        return;
    };
    world.dir = dir;
    let file = world.dir.path().join("counting.lnic");
    let workload = world.workload("counting");
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let newest = std::sync::Mutex::new(Vec::new());
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        for caller in 0..2u8 {
            let (world, workload, stop) = (&world, &workload, &stop);
            let (answered, newest) = (&answered, &newest);
            scope.spawn(move || {
                world.at_client(|| {
                    while !stop.load(Relaxed) {
                        let reply = lnic_client::invoke(world.worker.wire, workload, &[caller], &once());
                        let word = reply.expect("no packet is lost").payload;
                        answered.fetch_add(1, Relaxed);
                        *newest.lock().unwrap() = word;
                    }
                });
            });
        }
        for word in ["one", "two", "three", "four", "five"] {
            let before = answered.load(Relaxed);
            until("requests go on", || answered.load(Relaxed) > before + 50);
            let start = Instant::now();
            rewrite(&file, &counting(word));
            while *newest.lock().unwrap() != word.as_bytes() {
                assert!(
                    start.elapsed() < PATIENCE,
                    "no reply of the new code: {}",
                    world.worker.log()
                );
                std::thread::sleep(Duration::from_micros(100));
            }
            times.push(start.elapsed());
        }
        stop.store(true, Relaxed);
    });
    times.sort_unstable();
    println!("from the changed file to the first reply of the new code: {times:?}");
    let sent = answered.load(Relaxed);
    let state = world.fetch("GET", "/system/state/counting", b"").json();
    assert_eq!(state["seen"], sent);
    let entries = state["by_caller"].as_array().unwrap().iter();
    let counted: u64 = entries.map(|entry| entry["value"].as_u64().unwrap()).sum();
    assert_eq!(counted, sent);
    assert_eq!(
        (
            world.requests("counting", "xdp"),
            world.requests("counting", "host")
        ),
        (sent, 0)
    );
}

#[test]
fn workloads_come_and_go_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH[..1]);
    let Some(world) = net().and_then(|net| World::start_in(net, &[&sources], &["--watch"])) else {
        return;
    };
    assert_eq!(world.ask("native", b"a"), b"nic");
    // It stands before the other, whose position changes.
    write_all(dir.path(), &[("counting", &counting("here"))]);
    until("the new workload is listed", || {
        world
            .fetch("GET", "/system/workloads", b"")
            .text()
            .contains("counting")
    });
    until("the NIC has it", || {
        world.ask("counting", &[1]) == b"here" && world.requests("counting", "xdp") > 0
    });
    assert_eq!(world.ask("native", b"a"), b"nic");
    let state = world.fetch("GET", "/system/state/native", b"").json();
    assert_eq!(state["seen"], 2);
    assert_eq!(
        (world.requests("native", "xdp"), world.requests("native", "host")),
        (2, 0)
    );
    std::fs::remove_file(dir.path().join("counting.lnic")).unwrap();
    until("the workload is gone", || {
        !world
            .fetch("GET", "/system/workloads", b"")
            .text()
            .contains("counting")
    });
    assert_eq!(world.ask("native", b"a"), b"nic");
    // A source that is wrong changes nothing.
    write_all(dir.path(), &[("native", "workload native; lambda")]);
    world.worker.until_log("the image before goes on");
    assert_eq!(world.ask("native", b"a"), b"nic");
}

#[test]
fn log_lines_and_traps_of_the_nic_reach_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let text = "workload noisy;
lambda noisy(req: bytes<4>) -> [u8; 1] {
    log(b\"asked with\", req.len());
    reply [req[req.len() - 1]];
}
";
    let sources = write_all(dir.path(), &[("noisy", text)]);
    let Some(world) = net().and_then(|net| World::start_in(net, &[&sources], &[])) else {
        return;
    };
    assert_eq!(world.ask("noisy", b"abc"), b"c");
    let workload = world.workload("noisy");
    let error = world.at_client(|| lnic_client::invoke(world.worker.wire, &workload, b"", &once()));
    assert!(error.is_err_and(|error| error.to_string().contains("TRAP")));
    world.worker.until_log("asked with 3");
    world.worker.until_log("trap: index outside the length");
    let labels = "{workload=\"noisy\",target=\"xdp\",cause=\"index\"}";
    assert_eq!(world.metric(&format!("lnic_traps_total{labels}")), 1);
}

#[test]
fn what_is_missing_is_named_and_ends_with_status_3() {
    let Some(net) = net() else { return };
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH[..1]);
    let try_nic = |nic: &str, more: &[&str]| {
        let mut command = net.command(Side::Worker, lambdac_tests::peers::lambdac());
        command
            .args(["run", &sources, "--nic", nic, "--http", "127.0.0.1:0"])
            .args(more);
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let cases: [(&str, &[&str], i32, &str); 5] = [
        ("xdp:eth9", &[], 3, "there is no network interface `eth9`"),
        ("xdp:lo", &[], 3, "`lo` has no Ethernet address"),
        (
            "xdp:eth0",
            &["--listen", "10.9.9.9:4369"],
            3,
            "`eth0` does not have the address 10.9.9.9",
        ),
        ("xdp:eth0,fast", &[], 2, "is not of the form IFACE or IFACE,skb"),
        (
            "eth0",
            &[],
            2,
            "the form is xdp:IFACE, xdp:IFACE,skb, bmv2:HOST:PORT",
        ),
    ];
    for (nic, more, status, text) in cases {
        let (code, stderr) = try_nic(nic, more);
        assert_eq!(code, Some(status), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
    }
    let _other = inside(&net, Side::Worker, || {
        let image = lnic_xdp::Image::load(&object(dir.path()), &lnic_xdp::LoadOptions::default()).unwrap();
        let dispatch = image.program("dispatch").unwrap();
        lnic_xdp::Link::attach("eth0", lnic_xdp::Mode::Native, dispatch).unwrap()
    });
    let (code, stderr) = try_nic("xdp:eth0", &[]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("another XDP program is attached"), "{stderr}");
}

#[test]
fn a_veth_pair_with_a_deaf_end_is_warned_of_and_skb_mode_is_named() {
    let Some(net) = net() else { return };
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH[..1]);
    let worker = World::serve_on(&net, "xdp:eth0", &[&sources], &[]);
    worker.until_log("whose other end has no XDP program");
    drop(worker);
    let client = open_end(&net, Side::Client, &object(dir.path()));
    let worker = World::serve_on(&net, "xdp:eth0", &[&sources], &[]);
    worker.until_log("the NIC answers");
    assert!(worker.log().contains("mode=native"), "{}", worker.log());
    assert!(!worker.log().contains("no XDP program"), "{}", worker.log());
    drop((worker, client));
    let options = lambdac_tests::peers::Options {
        flags: &["--nic", "xdp:eth0,skb"],
        wire: Some(support::nic::WIRE),
        http: Some("0.0.0.0:8081"),
        inside: Some((&net, Side::Worker)),
        ..Default::default()
    };
    let worker = Worker::try_start(&[&sources], &options).expect("any interface has the generic hook");
    worker.until_log("mode=skb");
    let workload = inside(&net, Side::Client, || {
        lnic_client::lookup("10.77.0.2:8081", "native").expect("it is listed")
    });
    let reply = inside(&net, Side::Client, || {
        lnic_client::invoke(worker.wire, &workload, b"a", &once()).map(|reply| reply.payload)
    });
    assert_eq!(reply.unwrap(), b"nic");
}

#[test]
fn other_loaders_take_the_built_object() {
    let Some(net) = net() else { return };
    let dir = tempfile::tempdir().unwrap();
    support::nic::build(&["examples"], dir.path());
    let file = dir.path().join("out/xdp/image.bpf.o").display().to_string();
    let link = |args: &[&str]| {
        let output = net
            .command(Side::Client, "ip")
            .args(["link", "set", "dev", "eth0"])
            .args(args)
            .output();
        let output = output.expect("ip runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (done, stderr) = link(&["xdp", "obj", &file, "sec", "xdp"]);
    if stderr.contains("No ELF library support") {
        println!("skipped: ip loads no objects here: {}", stderr.trim());
    } else {
        assert!(done, "{stderr}");
        assert!(link(&["xdp", "off"]).0);
    }
    if !has("bpftool") {
        println!("skipped: bpftool not found");
        return;
    }
    // A file system of its own, which goes with the process.
    let script =
        "mount -t bpf bpf /sys/fs/bpf && bpftool prog loadall \"$1\" /sys/fs/bpf/all && ls /sys/fs/bpf/all";
    let mut command = std::process::Command::new("unshare");
    let output = command
        .args(["--mount", "sh", "-c", script, "sh", &file])
        .output()
        .expect("unshare runs");
    let (listed, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let _ = std::io::stderr().write_all(stderr.as_bytes());
    assert!(output.status.success(), "{stderr}");
    assert!(
        listed.contains("dispatch") && listed.contains("_w_web"),
        "{listed}"
    );
}

#[test]
fn a_bundle_says_who_runs_and_holds_what() {
    let dir = tempfile::tempdir().unwrap();
    let sources = write_all(dir.path(), &BOTH);
    let out = dir.path().join("out").display().to_string();
    run(&["build", &sources, "--target", "xdp,host", "-o", &out]).good();
    let bundle =
        lnic_bundle::read(out.as_ref(), lnic_bundle::Limits::default()).expect("the bundle is whole");
    assert!(bundle.files.contains_key("xdp/image.bpf.o"));
    let mut said = Vec::new();
    for workload in &bundle.manifest.workloads {
        for lambda in &workload.lambdas {
            let side = match &lambda.placement["xdp"] {
                Placement::Native => "NIC".to_owned(),
                Placement::Host { code, .. } => format!("host, {code}"),
            };
            assert_eq!(lambda.placement["host"], Placement::Native);
            said.push(format!("{}.{}: {side}", workload.name, lambda.name));
        }
        for object in &workload.state {
            said.push(format!(
                "{}.{}: {:?}",
                workload.name, object.name, object.side["xdp"]
            ));
        }
    }
    let expected = [
        "hosted.hosted: host, E0705",
        "hosted.seen: Host",
        "native.native: NIC",
        "native.seen: Native",
        "punting.small: NIC",
        "punting.big: host, E0706",
        "punting.easy: Native",
        "punting.hard: Host",
    ];
    assert_eq!(said, expected);
    let again = dir.path().join("again").display().to_string();
    run(&["build", &sources, "--target", "xdp,host", "-o", &again]).good();
    let same = |file: &str| {
        std::fs::read(format!("{out}/{file}")).unwrap() == std::fs::read(format!("{again}/{file}")).unwrap()
    };
    assert!(same("xdp/image.bpf.o") && same("manifest.json"));
    let file = dir.path().join("native.lnic").display().to_string();
    let text = run(&["build", &file, "--emit", "bpf"]).good();
    // The line that counts, by name and quoted, over the instruction that does.
    assert!(text.contains("native.lnic:3: lambda native"), "{text}");
    assert!(text.contains("section .data.native_seen: 8 bytes"), "{text}");
    assert!(
        text.contains("\ndispatch:\n") && text.contains("\n_w_native:\n"),
        "{text}"
    );
}
