//! The loader against stand-ins of the card's tools: programs that write down what they are asked and answer as far as the
//! project's notes on the NFP know (sections 2.7 and 3.7). The tools themselves, and a card, were not at hand.

#[path = "support/port.rs"]
mod port;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambdac_driver::nfp::Listen;
use lambdac_driver::{Image, Input, compile, link};
use lnic_engine::ParamOverride;
use lnic_host::{Config, EventLog, LoadedImage, Running, Server};
use lnic_nfp::card::{Agent, Card, CardError, Device, Tools};
use lnic_wire::{Header, Status};
use port::{OnCard, StandInPort};
use tempfile::TempDir;

const SOURCE: &str = "workload w;
table names: exact<u32, u32>(4) { 1 => 10 }
param bonus: u32 = 1;
state seen: u32;
lambda look(req: [u8; 4]) -> [u32; 2] {
    let key = req[3] as u32;
    let found = names.get(key) else { reply [0, bonus]; };
    reply [found, bonus];
}
lambda count(req: [u8; 4]) -> [u32; 1] { reply [seen.fetch_add(req[3] as u32)]; }
match (req: [u8; 4]) { req[0] == 0 => look, req[0] == 1 => count, _ => drop }
";
/// A lambda that waits, and one that waits for a service of the host's.
const WAITING: &str = "workload w;
param bonus: u32 = 1;
service far = memcached(\"198.51.100.7:11211\", timeout = 50ms);
service near = memcached(\"127.0.0.1:11211\", timeout = 50ms);
lambda ask(req: [u8; 4]) -> bytes<1024> {
    let value = await far.get(b\"key\") else { reply b\"none\"; };
    reply value;
}
lambda own(req: [u8; 4]) -> [u32; 1] {
    let value = await near.get(b\"key\") else { reply [bonus]; };
    reply [value.len()];
}
match (req: [u8; 4]) { req[0] == 0 => ask, _ => own }
";
const LISTEN: Listen = Listen {
    mac: [2, 0, 0, 0, 0, 1],
    address: 0xc000_0201,
    port: 4369,
    broadcast: 0xc000_02ff,
};
const PATIENCE: Duration = Duration::from_secs(60);

/// Notes its arguments, each in brackets, on a line of `log`, which it writes at once.
const NOTE: &str = r#"#!/bin/sh
here=$(dirname "$0")
line=$(basename "$0")
for a in "$@"; do line="$line [$a]"; done
printf '%s\n' "$line" >> "$here/log"
[ -e "$here/fail-$(basename "$0")" ] && { echo 'no card' >&2; exit 1; }
"#;
/// Answers counters with a file's content.
const RTECLI: &str = r#"case "$*" in *"counters list") cat "$here/counters";; esac
exit 0
"#;
/// Reads give words that all are 7.
const RTSYM: &str = r#"[ $# -gt 3 ] && exit 0
at=0
while [ "$at" -lt "$2" ]; do printf '0x%010x: 0x00000007\n' "$at"; at=$((at + 4)); done
"#;
/// Makes what the SDK would make.
const BUILD: &str = r#"while [ $# -gt 0 ]; do
  [ "$1" = --output-nffw-filename ] && : > "$2"
  [ "$1" = --pif-output-dir ] && : > "$2/pif_design.json"
  shift
done
"#;

/// A folder with the three tools.
struct StandIn {
    folder: TempDir,
    /// How much of their log was looked at.
    seen: Cell<usize>,
}

/// Writes a program. A process of its own does it: were the file open here, a child that another test starts meanwhile
/// could still hold it when the program is run ("text file busy").
fn write_program(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success());
}

impl StandIn {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for (name, script) in [("rtecli", RTECLI), ("nfp-rtsym", RTSYM), ("nfp4build", BUILD)] {
            write_program(&folder.path().join(name), &format!("{NOTE}{script}"));
        }
        let standin = Self {
            folder,
            seen: Cell::new(0),
        };
        standin.answers("counters", r#"[{"name": "ingress::requests", "values": [5]}]"#);
        standin
    }

    fn answers(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn works(&self, tool: &str, yes: bool) {
        let marker = self.folder.path().join(format!("fail-{tool}"));
        match yes {
            true => std::fs::remove_file(marker).unwrap(),
            false => std::fs::write(marker, "").unwrap(),
        }
    }

    fn tools(&self) -> Tools {
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.folder.path().to_path_buf()];
        let folders = own.into_iter().chain(std::env::split_paths(&usual));
        let path = std::env::join_paths(folders).unwrap();
        Tools::find_in("0".parse().unwrap(), &path).unwrap()
    }

    /// What the tools were asked since the last time.
    fn log(&self) -> Vec<String> {
        // Tools may run meanwhile: what they write later is for the next time.
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let new = &text[self.seen.replace(text.len())..];
        new.lines().map(str::to_owned).collect()
    }
}

fn image(source: &str) -> Image {
    let compiled = compile(&Input::new("w.lnic", source)).unwrap_or_else(|error| panic!("{error}"));
    link(vec![compiled]).unwrap()
}

/// A worker behind a card of stand-ins.
struct Fixture {
    standin: StandIn,
    port: Arc<StandInPort>,
    agent: Agent,
    running: Arc<Running>,
}

impl Fixture {
    fn new() -> Self {
        Self::of(SOURCE)
    }

    fn of(source: &str) -> Self {
        let standin = StandIn::new();
        let image = image(source);
        let bonus = ParamOverride {
            workload: "w".to_owned(),
            param: "bonus".to_owned(),
            value: lambdac_mir::Data::Int(9),
        };
        let events = EventLog::new();
        let port = Arc::new(StandInPort::new(LISTEN));
        let trusted = ["10.0.0.0/8", "127.0.0.0/8"].map(|text| text.parse().unwrap());
        let card: Arc<dyn Card> = Arc::new(standin.tools());
        let mut agent = Agent::open("0".parse().unwrap(), card, port.clone(), LISTEN, &trusted).unwrap();
        let services = BTreeMap::new();
        let behind = agent.behind(&image, &services).unwrap();
        let loaded = lnic_engine::Image::load(&behind.modules(), &[bonus], None).unwrap();
        let ids: Vec<u32> = image.workloads.iter().map(|linked| linked.id).collect();
        let host = Arc::new(LoadedImage::new(loaded, &ids, events.clone()));
        let engine = agent.load(&image, &host, &services).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            wire: any,
            http: any,
            ..Config::default()
        };
        let running = Arc::new(Server::start(config, engine, events).unwrap());
        agent.attach(&running).unwrap();
        Self {
            standin,
            port,
            agent,
            running,
        }
    }

    /// The log of tools, once a line of it is wanted.
    fn log_with(&self, wanted: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut log = Vec::new();
        while !log.iter().any(|line: &String| line.starts_with(wanted)) {
            assert!(Instant::now() < end, "{wanted}: {log:#?}");
            std::thread::sleep(Duration::from_millis(5));
            log.extend(self.standin.log());
        }
        log
    }

    /// Status and body of a request.
    fn fetch(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        let url = format!("http://{}{path}", self.running.http_addr());
        let request = ureq::http::Request::builder().method(method).uri(url);
        let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), text)
    }
}

#[test]
fn an_image_is_built_loaded_and_given_the_workers_address_and_parameters() {
    let Fixture { standin, agent, .. } = Fixture::new();
    let log = standin.log();
    assert!(
        log[0].starts_with("nfp4build [--output-nffw-filename]"),
        "{log:?}"
    );
    let load = &log[1];
    assert!(
        load.starts_with("rtecli [-p] [20206] [design-load] [-f] ["),
        "{load}"
    );
    for part in [
        "/out/lambdas.nffw] [-p] [",
        "/out/pif/pif_design.json] [-c] [",
        "/image.p4cfg]",
    ] {
        assert!(load.contains(part), "{load}");
    }
    let trusted =
        "nfp-rtsym [-vl] [64] [_lnic_trusted:0] [0x0a000000] [0xff000000] [0x00000001] [0x00000000]";
    assert!(log[2].starts_with(trusted), "{}", log[2]);
    agent.stop();
    let stopped = "rtecli [-p] [20206] [tables] [-t] [ingress::listen] [-r] [worker_192.0.2.1] [-m] \
        [{\"ethernet.dst_hi\":{\"value\":\"0x2000000\"},\"ethernet.dst_lo\":{\"value\":\"0x1\"},\
        \"ipv4.dst\":{\"value\":\"0xc0000201\"}}] [-a] \
        [{\"type\":\"ingress::here\",\"data\":{\"broadcast\":{\"value\":\"0xc00002ff\"}}}] [delete]";
    assert_eq!(standin.log(), [stopped]);
}

#[test]
fn a_table_changes_on_both_sides_while_the_workload_is_the_hosts() {
    let fixture = Fixture::new();
    fixture.standin.log();
    let (status, text) = fixture.fetch("PUT", "/system/tables/w.names", r#"[{"key": 2, "value": 77}]"#);
    assert_eq!(status, 204, "{text}");
    let log = fixture.standin.log();
    let rule = "rtecli [-p] [20206] [tables] [-t] [ingress::workloads] [-r] [w] [-m] ";
    let (first, last) = (log.first().unwrap(), log.last().unwrap());
    assert!(first.starts_with(rule) && first.ends_with("[delete]"), "{log:#?}");
    assert!(last.starts_with(rule) && last.ends_with("[add]"), "{log:#?}");
    let written = &log[1..log.len() - 1];
    assert!(!written.is_empty());
    for line in written {
        assert!(
            line.starts_with("nfp-rtsym [-vl] [") && line.contains("[_w_w_names:"),
            "{line}"
        );
    }
    assert!(
        written.iter().any(|line| line.contains("[0x0000004d]")),
        "{log:#?}"
    );
    let (status, text) = fixture.fetch("GET", "/system/tables/w.names", "");
    assert!(status == 200 && text.contains("77"), "{text}");
    // The same again changes no word.
    fixture.fetch("PUT", "/system/tables/w.names", r#"[{"key": 2, "value": 77}]"#);
    assert_eq!(fixture.standin.log().len(), 2);
    let (status, _) = fixture.fetch("DELETE", "/system/tables/w.names", "");
    assert_eq!(status, 204);
    assert!(fixture.standin.log().len() > 2);
}

#[test]
fn a_table_that_the_card_does_not_take_is_the_hosts_and_said_to_be() {
    let fixture = Fixture::new();
    fixture.standin.works("nfp-rtsym", false);
    fixture.standin.log();
    let put = || fixture.fetch("PUT", "/system/tables/w.names", r#"[{"key": 3, "value": 5}]"#);
    let (status, text) = put();
    assert!(
        status == 400 && text.contains("on the host only") && text.contains("no card"),
        "{status} {text}"
    );
    // The card answers no more for the workload, whose table it has in part.
    let log = fixture.standin.log();
    assert!(!log.iter().any(|line| line.ends_with("[add]")), "{log:#?}");
    fixture.standin.works("nfp-rtsym", true);
    let (status, text) = put();
    assert_eq!(status, 204, "{text}");
    let log = fixture.standin.log();
    assert!(log.last().is_some_and(|line| line.ends_with("[add]")), "{log:#?}");
}

#[test]
fn state_and_counters_are_read_from_the_card() {
    let fixture = Fixture::new();
    fixture.standin.log();
    let (status, text) = fixture.fetch("GET", "/system/state/w/seen", "");
    assert!(status == 200 && text.trim() == "7", "{status} {text}");
    assert_eq!(fixture.standin.log(), ["nfp-rtsym [-vl] [4] [_w_w_seen:0]"]);
    let (_, text) = fixture.fetch("GET", "/metrics", "");
    assert!(
        text.contains("lnic_requests_total{workload=\"w\",target=\"nfp\"} 5\n"),
        "{text}"
    );
    assert_eq!(
        fixture.standin.log(),
        ["rtecli [-p] [20206] [--json] [counters] [list]"]
    );
    for hostile in [
        "",
        "{\"name\": ",
        "\u{1b}[2J",
        "[{\"name\": \"requests\", \"values\": [-5]}]",
    ] {
        fixture.standin.answers("counters", hostile);
        let (status, text) = fixture.fetch("GET", "/metrics", "");
        assert!(
            status == 200 && text.contains("lnic_nic_info{target=\"nfp\",card=\"0\"} 1\n"),
            "{text}"
        );
    }
}

#[test]
fn a_request_over_http_for_state_on_the_card_is_answered_there() {
    let fixture = Fixture::new();
    fixture
        .port
        .answer(|asked: &Header, payload: &[u8], client: u32| {
            assert_eq!((asked.fragment, asked.fragments, client), (0, 1, 0x7f00_0001));
            match payload[3] {
                1 => OnCard::Reply(Status::Ok, b"four".to_vec()),
                2 => OnCard::Reply(Status::Trap, Vec::new()),
                3 => OnCard::Drop,
                _ => OnCard::HandUp,
            }
        });
    let count = |last: u8| {
        fixture.fetch(
            "POST",
            "/function/w",
            &String::from_utf8(vec![1, 0, 0, last]).unwrap(),
        )
    };
    assert_eq!(count(1), (200, "four".to_owned()));
    assert_eq!(count(2).0, 500);
    assert_eq!(count(3), (204, String::new()));
    // The host's copy has none of that state.
    assert_eq!(count(4).0, 502);
    // What has no state comes from the same place.
    let (status, text) = fixture.fetch("POST", "/function/w", "\0\0\0\u{1}");
    assert_eq!((status, text.as_str()), (200, "four"));
}

#[test]
fn a_card_that_says_nothing_is_waited_for_and_no_longer() {
    let fixture = Fixture::new();
    fixture.port.answer(|_: &Header, _: &[u8], _: u32| OnCard::Silent);
    let (status, _) = fixture.fetch("POST", "/function/w", "\u{1}\0\0\0");
    assert_eq!(status, 504);
}

#[test]
fn the_card_is_told_ways_to_services_and_that_time_goes_by() {
    let fixture = Fixture::of(WAITING);
    let way = "nfp-rtsym [-vl] [12] [_lnic_services:8] [0x02000000] [0x00000007] [0x00000000]";
    let known = "nfp-rtsym [-vl] [4] [_lnic_services:20] [0x00000001]";
    let log = fixture.log_with(known);
    let at = |line: &str| log.iter().position(|other| other == line);
    assert!(at(way).is_some() && at(way) < at(known), "{log:#?}");
    // The service of the host is not asked by the card.
    assert!(
        !log.iter().any(|line| line.contains("_lnic_services:40")),
        "{log:#?}"
    );
    fixture.port.ticks(100, PATIENCE);
    // The next hop becomes another.
    fixture.port.hop([2, 0, 0, 0, 0, 9]);
    let log = fixture.log_with(known);
    let changed = [
        "nfp-rtsym [-vl] [4] [_lnic_services:20] [0x00000000]",
        &way.replace("7]", "9]"),
        known,
    ];
    let written: Vec<&String> = log
        .iter()
        .filter(|line| line.contains("_lnic_services"))
        .collect();
    assert_eq!(written, changed);
    // Nobody on this host gets a port that services answer to.
    for number in [32704, 32767] {
        assert!(
            std::net::UdpSocket::bind((fixture.port.loopback(), number)).is_err(),
            "{number}"
        );
    }
    fixture.agent.stop();
}

#[test]
fn tools_that_are_missing_are_named() {
    let device: Device = "0".parse().unwrap();
    let empty = TempDir::new().unwrap();
    let path = empty.path().as_os_str().to_owned();
    if Path::new("/opt/netronome").exists() {
        println!("skipped: there may be a card here");
        return;
    }
    let error = Tools::find_in(device, &path).unwrap_err();
    assert!(
        matches!(&error, CardError::Missing(what) if what.starts_with("rtecli, of")),
        "{error}"
    );
}

#[test]
fn registers_are_read_as_asked() {
    let standin = StandIn::new();
    let error = standin.tools().register("r", 2, 3).unwrap_err();
    assert!(matches!(error, CardError::Odd { .. }), "{error}");
    let asked = "rtecli [-p] [20206] [--json] [registers] [-r] [r] [-i] [2] [-c] [3] [get]";
    assert_eq!(standin.log(), [asked]);
}
