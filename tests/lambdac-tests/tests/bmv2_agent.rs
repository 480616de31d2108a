//! `lambdac run --nic bmv2:…` against a P4Runtime server that is not ours: the Python package finsy's, which holds program
//! and entries but forwards nothing. What a real switch does with packets is in
//! `support/bmv2.rs`, which `xdp_run` runs.
//!
//! p4c is not needed: what it would make is not looked at.

mod support {
    pub mod inside;
}

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use lambdac_tests::peers::netns::{Net, Side};
use lambdac_tests::peers::{Options, Response, Worker, finsy, until, write_program};
use lambdac_tests::random::lacks_ebpf;
use serde_json::{Value, json};
use support::inside::inside;

/// The port of the server in its namespace.
const PORT: u16 = 9559;
/// Where the worker is.
const WIRE: &str = "10.77.0.2:4369";

const SOURCE: &str = "workload numbers;
table words: exact<u8, u32>(4) { 1 => 10, 2 => 20, }
table nets: lpm<u32, u32>(4) { 10.0.0.0/8 => 1, }
lambda numbers(req: bytes<8>) -> bytes<32> {
    let word = words.get(req.len() as u8) else { drop; };
    let net = nets.get(10.77.0.1) else { drop; };
    if word == net { reply b\"equal\"; }
    reply b\"from the host\";
}
";

/// The server.
struct Switch {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Switch {
    fn start(net: &Net, python: &str, primary: u64) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/p4runtime_switch.py");
        let mut process = net
            .command(Side::Worker, python)
            .args([script, &PORT.to_string(), &primary.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut switch = Self {
            commands: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        assert_eq!(switch.line(), "ready\n");
        switch
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }

    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    /// How often it was given a program.
    fn pushes(&mut self) -> u64 {
        self.ask("dump")["pushes"].as_u64().unwrap()
    }

    /// Patterns and arguments of the entries of tables whose name begins so.
    fn entries(&mut self, table: &str) -> Vec<Value> {
        let dump = self.ask("dump");
        let all = dump["entries"].as_array().unwrap().clone();
        let own = all
            .into_iter()
            .filter(|entry| entry[0].as_str().unwrap().starts_with(table));
        own.map(|entry| json!([entry[1][0], entry[2][0]])).collect()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Namespaces, sources, and something in place of p4c.
struct World {
    net: Net,
    python: String,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        let python = finsy()?;
        let net = match Net::new() {
            Ok(net) => net,
            Err(reason) => {
                lacks_ebpf(&format!("no network namespaces: {reason}"));
                return None;
            }
        };
        // The worker's address is to be its own interface's.
        net.ip(Side::Worker, &["addr", "flush", "dev", "eth0"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("numbers.lnic"), SOURCE).unwrap();
        let script = "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\necho '{}' > \"$2\"\n";
        write_program(&dir.path().join("p4c"), script);
        Some(Self { net, python, dir })
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn serve(&self, nic: &str, p4c: &str) -> Result<Worker, String> {
        let flags = ["--nic", nic];
        let options = Options {
            flags: &flags,
            env: &[("P4C", p4c)],
            wire: Some(WIRE),
            inside: Some((&self.net, Side::Worker)),
            ..Options::default()
        };
        Worker::try_start(&[&self.file("numbers.lnic")], &options)
    }

    fn worker(&self) -> Worker {
        self.serve(&format!("bmv2:127.0.0.1:{PORT}"), &self.file("p4c"))
            .unwrap_or_else(|log| panic!("the worker is not ready: {log}"))
    }

    /// Why no worker serves there.
    fn refusal(&self, nic: &str) -> String {
        match self.serve(nic, &self.file("p4c")) {
            Ok(_) => panic!("{nic} is served"),
            Err(log) => log,
        }
    }

    fn fetch(&self, worker: &Worker, method: &str, path: &str, body: &[u8]) -> Response {
        inside(&self.net, Side::Worker, || worker.fetch(method, path, body))
    }

    fn put(&self, worker: &Worker, table: &str, entries: &str) {
        let path = format!("/system/tables/numbers.{table}");
        let answer = self.fetch(worker, "PUT", &path, entries.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

#[test]
fn a_switch_gets_program_and_entries_and_what_tables_come_to_hold() {
    let Some(world) = World::new() else { return };
    let mut switch = Switch::start(&world.net, &world.python, 0);
    let worker = world.worker();
    assert_eq!(switch.pushes(), 1);
    // Loopback and the private ranges.
    assert_eq!(switch.entries("trusted").len(), 4);
    assert_eq!(switch.entries("listen").len(), 1);
    assert_eq!(
        switch.entries("numbers_words"),
        [json!(["01", "0a"]), json!(["02", "14"])]
    );
    assert_eq!(switch.entries("numbers_nets"), [json!(["0a000000/8", "01"])]);
    world.put(
        &worker,
        "words",
        r#"[{"key": 2, "value": 21}, {"key": 3, "value": 30}, {"key": 4, "value": 40}]"#,
    );
    let words = [json!(["02", "15"]), json!(["03", "1e"]), json!(["04", "28"])];
    assert_eq!(switch.entries("numbers_words"), words);
    // The table is full: nothing fits beside what it holds.
    world.put(
        &worker,
        "words",
        r#"[{"key": 5, "value": 1}, {"key": 6, "value": 1}, {"key": 7, "value": 1}, {"key": 2, "value": 0}]"#,
    );
    assert_eq!(switch.entries("numbers_words").len(), 4);
    let gone = world.fetch(&worker, "DELETE", "/system/tables/numbers.words", b"[5]");
    assert_eq!((gone.status, switch.entries("numbers_words").len()), (204, 3));
    world.put(
        &worker,
        "nets",
        r#"[{"key": "10.77.0.0/16", "value": 7}, {"key": "0.0.0.0/0", "value": 9}]"#,
    );
    assert_eq!(switch.entries("numbers_nets").len(), 2);
    assert_eq!(switch.pushes(), 1, "the program stays");

    let call = |body: &[u8]| {
        let answer = world.fetch(&worker, "POST", "/function/numbers", body);
        let target = answer.header("x-lambda-target").unwrap_or_default().to_owned();
        (answer.status, answer.text(), target)
    };
    let said = |status, text: &str, target: &str| (status, text.to_owned(), target.to_owned());
    assert_eq!(call(b"it"), said(200, "from the switch", "bmv2"));
    assert_eq!(call(b"drop"), said(204, "", "bmv2"));
    // The switch leaves it to the host, whose tables hold the same: there is no word of four.
    assert_eq!(call(b"host"), said(204, "", "host"));
    let metric = |name: &str, more: &str| {
        let name = format!("{name}{{workload=\"numbers\",target=\"bmv2\"{more}}}");
        inside(&world.net, Side::Worker, || worker.metric(&name))
    };
    assert_eq!(metric("lnic_requests_total", ""), 2);
    assert_eq!(metric("lnic_replies_total", ",status=\"OK\""), 1);
    assert_eq!(metric("lnic_dropped_requests_total", ""), 1);
    assert_eq!(metric("lnic_passed_requests_total", ""), 1);
    let stopped = switch.entries("");
    assert!(!stopped.is_empty());
    worker.terminate();
    until("the switch answers no more", || switch.entries("").is_empty());
}

#[test]
fn whichever_side_starts_again_both_hold_the_same() {
    let Some(world) = World::new() else { return };
    let mut switch = Switch::start(&world.net, &world.python, 0);
    let worker = world.worker();
    world.put(&worker, "words", r#"[{"key": 9, "value": 9}]"#);
    let words = [json!(["09", "09"])];
    assert_eq!(switch.entries("numbers_words"), words);

    // The switch starts again: it gets the program, and what the tables hold now.
    drop(switch);
    worker.until_log("the switch is away");
    let away = world.fetch(&worker, "POST", "/function/numbers", b"it");
    assert_eq!(away.status, 429, "{}", worker.log());
    let put = world.fetch(
        &worker,
        "PUT",
        "/system/tables/numbers.nets",
        br#"[{"key": "0.0.0.0/0", "value": 5}]"#,
    );
    assert_eq!(put.status, 400);
    let mut switch = Switch::start(&world.net, &world.python, 0);
    worker.until_log("the switch is back");
    assert_eq!(
        (switch.pushes(), switch.entries("numbers_words")),
        (1, words.to_vec())
    );
    assert_eq!(
        switch.entries("numbers_nets").len(),
        1,
        "what was changed meanwhile is there"
    );
    let answer = world.fetch(&worker, "POST", "/function/numbers", b"it");
    assert_eq!((answer.status, &*answer.text()), (200, "from the switch"));

    // The worker is killed and starts again: the switch goes on with its program, and no entry of before stays.
    drop(worker);
    assert_eq!(switch.entries("numbers_words"), words);
    let worker = world.worker();
    assert_eq!(switch.pushes(), 1, "{}", worker.log());
    assert_eq!(
        switch.entries("numbers_words"),
        [json!(["01", "0a"]), json!(["02", "14"])]
    );
    assert_eq!(switch.entries("numbers_nets"), [json!(["0a000000/8", "01"])]);

    // Another controller takes over.
    switch.ask("lose");
    worker.until_log("another controller is the switch's primary now");
    let refused = world.fetch(&worker, "POST", "/function/numbers", b"it");
    assert_eq!(refused.status, 429);
}

#[test]
fn what_is_missing_or_in_the_way_is_said() {
    let Some(world) = World::new() else { return };
    let nic = format!("bmv2:127.0.0.1:{PORT}");
    let nobody = world.refusal(&nic);
    assert!(
        nobody.contains(&format!("no P4Runtime switch at 127.0.0.1:{PORT}: ")),
        "{nobody}"
    );
    let _switch = Switch::start(&world.net, &world.python, 6);
    let conflict = world.refusal(&nic);
    let said = "another controller is the primary of device 0, with election number 6";
    assert!(conflict.contains(said), "{conflict}");
    let device = world.refusal(&format!("{nic},device=3"));
    assert!(device.contains("refuses arbitration: no device 3"), "{device}");
    let missing = Path::new("/nowhere/p4c").display().to_string();
    let Err(no_p4c) = world.serve(&format!("{nic},election=7"), &missing) else {
        panic!("it is served without p4c");
    };
    assert!(
        no_p4c.contains("P4C says /nowhere/p4c, which is no file"),
        "{no_p4c}"
    );
    let wins = world.serve(&format!("{nic},election=7"), &world.file("p4c"));
    assert!(wins.is_ok(), "{wins:?}");
}
