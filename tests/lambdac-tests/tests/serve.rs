//! Workers as their users see them: real requests over the λ wire and HTTP, with a real memcached behind them.

#[path = "support"]
mod support {
    pub mod picture;
    pub mod programs;
}

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use lambdac_tests::peers::{
    Memcached, Mute, Options, PATIENCE, Ran, Upstream, Worker, has, path, patient_lambda_nic, run, until,
};
use lnic_wire::{HEADER_LEN, Header, Kind, Status};
use serde_json::{Value, json};
use support::picture;
use support::programs::Programs;

const LAMBDA_NIC: &str = "examples/lambda-nic";

/// A worker with these sources before this memcached.
fn with_memcached(sources: &str, memcached: SocketAddr) -> Worker {
    let (get, set) = (
        format!("kv_get.cache={memcached}"),
        format!("kv_set.cache={memcached}"),
    );
    Worker::start(&[sources], &["--service", &get, "--service", &set])
}

fn page() -> String {
    std::fs::read_to_string(path("examples/lambda-nic/index.html")).unwrap()
}

#[test]
fn the_web_and_cache_workloads_answer_over_the_wire() {
    let Some(memcached) = Memcached::start() else {
        return;
    };
    let sources = patient_lambda_nic();
    let worker = with_memcached(&sources.path().display().to_string(), memcached.address);
    assert_eq!(worker.ask("web", "GET /"), page());
    assert_eq!(worker.ask("web", "GET /nowhere"), "not found\n");
    assert_eq!(worker.ask("kv_get", "hey"), "Not Found");
    assert_eq!(worker.ask("kv_set", "hey=dude"), "STORED");
    assert_eq!(worker.ask("kv_get", "hey"), "dude");
    assert_eq!(memcached.ask("get hey"), "VALUE hey 0 4");
    let missing = worker.invoke("nobody", &["--data", "x"]);
    assert!(
        missing.status == 1 && missing.stderr.contains("nobody"),
        "{}",
        missing.stderr
    );
}

#[test]
fn the_web_and_cache_workloads_answer_to_curl() {
    let Some(memcached) = Memcached::start() else {
        return;
    };
    if !has("curl") {
        println!("skipped: curl not found");
        return;
    }
    let sources = patient_lambda_nic();
    let worker = with_memcached(&sources.path().display().to_string(), memcached.address);
    let curl = |name: &str, data: &str| {
        let url = format!("http://{}/function/{name}", worker.http);
        let output = Command::new("curl")
            .args(["-sS", "--fail", "-d", data, &url])
            .output();
        Ran::from(output.unwrap()).good()
    };
    assert_eq!(curl("web", "GET /"), page());
    assert_eq!(curl("kv_get", "hey"), "Not Found");
    assert_eq!(curl("kv_set", "hey=dude"), "STORED");
    assert_eq!(curl("kv_get", "hey"), "dude");
}

#[test]
fn a_pictures_pixels_come_back_gray_over_the_wire_and_http() {
    let worker = Worker::start(
        &[
            "examples/lambda-nic/grayscale.lnic",
            "examples/lambda-nic/grayscale_stream.lnic",
        ],
        &[],
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("picture.png");
    std::fs::write(&file, picture::png()).unwrap();
    let pixels = picture::pixels(&file);
    let raw = dir.path().join("picture.rgba");
    std::fs::write(&raw, &pixels).unwrap();
    let expected = picture::gray(&pixels);
    for name in ["grayscale", "grayscale_stream"] {
        let ran = worker.invoke(name, &["--file", &raw.display().to_string()]);
        assert!(
            ran.status == 0 && ran.stdout == expected,
            "{name} by invoke: {}",
            ran.stderr
        );
        let response = worker.call(name, &pixels);
        assert!(
            response.status == 200 && response.body == expected,
            "{name} by HTTP"
        );
    }
    assert_eq!(worker.call("grayscale", &pixels[1..]).status, 400);
    let short = worker.invoke("grayscale", &["--data", "too short"]);
    assert!(
        short.status == 1 && short.stderr.contains("BAD_REQUEST"),
        "{}",
        short.stderr
    );
}

#[test]
fn no_key_reaches_memcached_as_a_command() {
    let Some(memcached) = Memcached::start() else {
        return;
    };
    let sources = patient_lambda_nic();
    let worker = with_memcached(&sources.path().display().to_string(), memcached.address);
    assert_eq!(worker.ask("kv_set", "hey=dude"), "STORED");
    let sent = "lnic_service_answers_total{event=\"sent\"}";
    let before = worker.metric(sent);
    let attempts: [&[u8]; 7] = [
        b"hey\r\nflush_all",
        b"x\r\nset evil 0 0 1\r\n1",
        b"hey evil",
        b"hey\0",
        b"hey\x7f",
        b"hey\n",
        b"",
    ];
    for key in attempts {
        assert_eq!(worker.call("kv_get", key).text(), "ERROR", "{key:?}");
        let mut request = key.to_vec();
        request.extend_from_slice(b"=1");
        let reply = worker.send(&worker.workload("kv_set"), &request).unwrap();
        assert_eq!(reply, b"ERROR", "{key:?}");
    }
    assert_eq!(worker.metric(sent), before);
    assert_eq!(
        worker.metric("lnic_service_answers_total{event=\"not_sent\"}"),
        14
    );
    assert_eq!(memcached.ask("get hey"), "VALUE hey 0 4");
    assert_eq!(memcached.ask("get evil"), "END");
    // A value may hold what a key may not.
    let value = b"hey=\r\nflush_all\r\n";
    assert_eq!(worker.send(&worker.workload("kv_set"), value).unwrap(), b"STORED");
    assert_eq!(worker.call("kv_get", b"hey").body, &value[4..]);
}

#[test]
fn the_metrics_add_up() {
    let programs = Programs::new();
    let worker = Worker::start(
        &["examples/lambda-nic/web.lnic", "examples/kv", &programs.all()],
        &[],
    );
    let web = worker.workload("web");
    for _ in 0..5 {
        worker.send(&web, b"GET /").unwrap();
        worker.call("web", b"GET /");
    }
    let short = worker.send(&worker.workload("kv"), b"short").unwrap_err();
    assert!(
        matches!(short, lnic_client::Error::Status(Status::BadRequest)),
        "{short}"
    );
    assert_eq!(worker.call("kv", &[9; 17]).status, 204);
    assert_eq!(worker.call("slicer", b"\x09").status, 500);
    let series = |metric: &str, workload: &str, more: &str| {
        worker.metric(&format!(
            "lnic_{metric}{{workload=\"{workload}\",target=\"host\"{more}}}"
        ))
    };
    until("the counters are there", || {
        series("requests_total", "web", "") == 10
    });
    assert_eq!(series("replies_total", "web", ",status=\"OK\""), 10);
    assert_eq!(series("replies_total", "kv", ",status=\"BAD_REQUEST\""), 1);
    assert_eq!(series("dropped_requests_total", "kv", ""), 1);
    assert_eq!(series("requests_total", "kv", ""), 2);
    assert_eq!(series("replies_total", "slicer", ",status=\"TRAP\""), 1);
    assert_eq!(series("traps_total", "slicer", ",cause=\"slice\""), 1);
    assert_eq!(series("traps_total", "slicer", ",cause=\"index\""), 0);
    for name in ["web", "kv", "slicer"] {
        let replies = Status::ALL
            .iter()
            .map(|s| series("replies_total", name, &format!(",status=\"{s}\"")));
        let ended = replies.sum::<u64>() + series("dropped_requests_total", name, "");
        assert_eq!(ended, series("requests_total", name, ""), "{name}");
        assert_eq!(
            series("request_duration_seconds_count", name, ""),
            ended,
            "{name}"
        );
        assert_eq!(
            series("request_duration_seconds_bucket", name, ",le=\"+Inf\""),
            ended,
            "{name}"
        );
        assert_eq!(series("in_flight", name, ""), 0, "{name}");
    }
    assert_eq!(worker.metric("lnic_received_packets_total"), 6);
    assert_eq!(worker.metric("lnic_sent_packets_total"), 6);
}

#[test]
fn malformed_packets_are_counted_by_rule_and_not_answered() {
    let worker = Worker::start(&["examples/lambda-nic/web.lnic"], &[]);
    let id = worker.workload("web").id;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(worker.wire).unwrap();
    let good = Header::request(id, 7, 0, 1, 0).encode();
    let broken = |at: usize, value: u8| {
        let mut packet = good;
        packet[at] = value;
        packet
    };
    for packet in [
        broken(0, 0),
        broken(2, 9),
        broken(3, 1),
        broken(23, 1),
        broken(19, 0),
    ] {
        socket.send(&packet).unwrap();
    }
    socket.send(&good[..HEADER_LEN - 1]).unwrap();
    // Its status says nothing in a request, and what lies beyond its length is ignored.
    let mut padded = broken(22, 3).to_vec();
    padded.extend_from_slice(b"padding");
    socket.send(&padded).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).unwrap();
    let (reply, payload) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
    assert_eq!(
        (reply.request, reply.workload, payload),
        (7, id, &b"not found\n"[..])
    );
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(socket.recv(&mut buffer).is_err(), "only one packet has an answer");
    for reason in ["short", "magic", "version", "kind", "flag", "no_fragments"] {
        let name = format!("lnic_dropped_packets_total{{reason=\"{reason}\"}}");
        assert_eq!(worker.metric(&name), 1, "{reason}");
    }
}

#[test]
fn a_trap_is_logged_with_its_lambda_line_and_cause() {
    let programs = Programs::new();
    let worker = Worker::start(&[&programs.all()], &[]);
    assert_eq!(worker.invoke("slicer", &["--hex", "00"]).good(), "\0");
    let trapped = worker.invoke("slicer", &["--hex", "09"]);
    assert_eq!((trapped.status, trapped.stdout.as_slice()), (1, &b""[..]));
    assert!(trapped.stderr.contains("TRAP"), "{}", trapped.stderr);
    worker.until_log("trap: ");
    let log = worker.log();
    let line = log.lines().find(|line| line.contains("trap: ")).unwrap();
    for part in ["slicer", "lambda=\"cut\"", "line=6", "cause=\"slice\""] {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

#[test]
fn a_lambda_writes_to_the_log_at_a_limited_rate() {
    let programs = Programs::new();
    let worker = Worker::start(&[&programs.all()], &[]);
    let talker = worker.workload("talker");
    let said = || worker.log().matches("said 7").count() as u64;
    let suppressed = || worker.metric("lnic_log_suppressed_total");
    let mut sent = 0;
    // More within a second than it lets through.
    until("lines are suppressed", || {
        for _ in 0..200 {
            worker.send(&talker, b"\x07").unwrap();
        }
        sent += 200;
        suppressed() > 0
    });
    until("each line is said or suppressed", || {
        said() + suppressed() == sent
    });
    assert!(said() >= 100, "{} lines", said());
}

#[test]
fn state_is_read_from_outside() {
    let worker = Worker::start(
        &["examples/counter", "examples/url_shortener", "examples/kv"],
        &[],
    );
    assert_eq!(worker.ask("counter", "40"), "40");
    assert_eq!(worker.ask("counter", "2"), "42");
    assert_eq!(worker.ask("url_shortener", "+123456789"), "cbf43926");
    let http = worker.http.to_string();
    let state = |command: &str, place: &str| run(&["state", command, place, "--http", &http]);
    assert_eq!(state("get", "counter.sum").good(), "42\n");
    assert_eq!(state("dump", "counter").good(), "sum = 42\n");
    assert_eq!(state("get", "kv.seen[1]").good(), "0\n");
    assert_eq!(state("get", "kv.seen").good(), "[0,0]\n");
    assert_eq!(
        state("get", "url_shortener.urls[3421780262]").good(),
        "123456789\n"
    );
    assert_eq!(
        worker.fetch("GET", "/system/state/counter", b"").json(),
        json!({"sum": 42})
    );
    assert_eq!(
        worker.fetch("GET", "/system/state/kv/seen/0", b"").json(),
        json!(0)
    );
    for (command, place, status) in [
        ("get", "counter", 2),
        ("get", "counter.none", 1),
        ("get", "nobody.none", 1),
        ("get", "kv.seen[2]", 1),
        ("dump", "nobody", 1),
    ] {
        let ran = state(command, place);
        assert_eq!(ran.status, status, "{command} {place}: {}", ran.stderr);
    }
    assert_eq!(worker.fetch("DELETE", "/system/state/counter", b"").status, 405);
}

const SIGNED: &str = "workload signed;
struct Pair { a: i8, b: u16 }
state n: i32 = -5;
state pair: [Pair; 2];
state last: map<i16, i64>(8);
table offsets: exact<i32, i16>(4);
lambda signed(req: [u8; 1]) -> [u8; 1] {
    pair[1].a = -2;
    let stored = last.insert(-9, -10);
    let offset = offsets.get(-5) else { reply [0]; };
    if !stored || offset != -3 || n != -5 { reply [1]; }
    reply [2];
}
";

#[test]
fn signed_integers_have_their_sign_in_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signed.lnic");
    std::fs::write(&file, SIGNED).unwrap();
    let worker = Worker::start(&[&file.display().to_string()], &[]);
    let path = "/system/tables/signed.offsets";
    let rows = json!([{"key": -5, "value": -3}, {"key": "-2147483648", "value": 7}]);
    assert_eq!(worker.fetch("PUT", path, rows.to_string().as_bytes()).status, 204);
    let wide = json!([{"key": 4_294_967_291_u64, "value": 1}]);
    assert_eq!(worker.fetch("PUT", path, wide.to_string().as_bytes()).status, 400);
    let rows = worker.fetch("GET", path, b"").json();
    assert_eq!(
        rows,
        json!([{"key": -5, "value": -3}, {"key": -2_147_483_648_i64, "value": 7}])
    );
    assert_eq!(worker.call("signed", b"x").body, [2]);
    let state = worker.fetch("GET", "/system/state/signed", b"").json();
    let expected = json!({"n": -5, "pair": [[0, 0], [-2, 0]], "last": [{"key": -9, "value": -10}]});
    assert_eq!(state, expected);
    for (place, value) in [("last/-9", -10), ("pair/1.0", -2)] {
        let answer = worker.fetch("GET", &format!("/system/state/signed/{place}"), b"");
        assert_eq!(answer.json(), json!(value), "{place}");
    }
}

/// A question for the address of a name, and the address in the answer.
fn resolve(worker: &Worker, name: &str) -> Option<[u8; 4]> {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    query.extend(picture::labels(name));
    query.extend_from_slice(b"\x00\x00\x01\x00\x01");
    let answer = worker.send(&worker.workload("dns_static"), &query).unwrap();
    (answer[3] == 0).then(|| *answer.last_chunk().unwrap())
}

#[test]
fn a_table_is_filled_while_it_is_served() {
    let worker = Worker::start(&["examples/dns_static"], &[]);
    let path = "/system/tables/dns_static.names";
    let inline = worker.fetch("GET", path, b"").json();
    assert_eq!(inline.as_array().map(Vec::len), Some(2));
    assert_eq!(resolve(&worker, "www.example.org"), Some([192, 0, 2, 80]));
    assert_eq!(resolve(&worker, "ftp.example.org"), None);
    let entry = |name: &str, address: u32| json!({"key": picture::key(name), "value": address});
    let entries = json!([
        entry("ftp.example.org", 0x0a00_0001),
        entry("www.example.org", 0x0a00_0002)
    ]);
    assert_eq!(
        worker.fetch("PUT", path, entries.to_string().as_bytes()).status,
        204
    );
    assert_eq!(resolve(&worker, "ftp.example.org"), Some([10, 0, 0, 1]));
    assert_eq!(resolve(&worker, "www.example.org"), Some([10, 0, 0, 2]));
    assert_eq!(resolve(&worker, "mail.example.org"), None);
    assert_eq!(worker.fetch("GET", path, b"").json(), entries);
    let one = json!([{"key": picture::key("ftp.example.org")}]);
    assert_eq!(
        worker.fetch("DELETE", path, one.to_string().as_bytes()).status,
        204
    );
    assert_eq!(resolve(&worker, "ftp.example.org"), None);
    assert_eq!(resolve(&worker, "www.example.org"), Some([10, 0, 0, 2]));
    // What was listed can be put back.
    assert_eq!(
        worker.fetch("PUT", path, inline.to_string().as_bytes()).status,
        204
    );
    assert_eq!(worker.fetch("GET", path, b"").json(), inline);
    assert_eq!(resolve(&worker, "mail.example.org"), Some([192, 0, 2, 25]));
    assert_eq!(worker.fetch("DELETE", path, b"").status, 204);
    assert_eq!(worker.fetch("GET", path, b"").json(), json!([]));
}

#[test]
fn wrong_entries_leave_a_table_as_it_was() {
    let worker = Worker::start(&["examples/dns_static"], &[]);
    let path = "/system/tables/dns_static.names";
    let before = worker.fetch("GET", path, b"").json();
    let twice = json!({"key": picture::key("a"), "value": 1});
    let wrong: [Value; 6] = [
        json!({"key": "a"}),
        json!([{"key": picture::key("a")}]),
        json!([{"key": format!("0x{}", "00".repeat(33)), "value": 1}]),
        json!([{"key": picture::key("a"), "value": "x"}]),
        json!([{"key": picture::key("a"), "value": 4_294_967_296_u64}]),
        json!([twice, twice]),
    ];
    for entries in wrong {
        let response = worker.fetch("PUT", path, entries.to_string().as_bytes());
        assert_eq!(response.status, 400, "{entries}: {}", response.text());
    }
    for (body, status) in [(&b""[..], 400), (b"[", 400)] {
        assert_eq!(worker.fetch("PUT", path, body).status, status);
    }
    assert_eq!(worker.fetch("GET", path, b"").json(), before);
    assert_eq!(
        worker.fetch("GET", "/system/tables/dns_static.none", b"").status,
        404
    );
    assert_eq!(
        worker.fetch("GET", "/system/tables/nobody.names", b"").status,
        404
    );
    assert_eq!(worker.fetch("POST", path, b"[]").status, 405);
}

/// Requests to `rate_limit` until one is dropped.
fn admitted(worker: &Worker) -> usize {
    let limited = (0..20).position(|_| worker.call("rate_limit", b"a").status == 204);
    limited.expect("a limit is reached")
}

#[test]
fn a_param_comes_from_the_flag_the_environment_or_the_source() {
    let limits = |flags: &[&str], env: &[(&str, &str)]| {
        let options = Options {
            flags,
            env,
            ..Options::default()
        };
        admitted(&Worker::try_start(&["examples/rate_limit"], &options).unwrap())
    };
    let flag = ["--param", "rate_limit.limit=1"];
    let env = [("LNIC_PARAM_RATE_LIMIT_LIMIT", "2")];
    assert_eq!(limits(&[], &[]), 3);
    assert_eq!(limits(&[], &env), 2);
    assert_eq!(limits(&flag, &env), 1);
    for wrong in [
        "rate_limit.limit=x",
        "rate_limit.limit=4294967296",
        "rate_limit.none=1",
        "nobody.limit=1",
    ] {
        let options = Options {
            flags: &["--param", wrong],
            ..Options::default()
        };
        let error = Worker::try_start(&["examples/rate_limit"], &options).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn a_punted_request_goes_to_the_fallback_or_nowhere() {
    let programs = Programs::new();
    let nowhere = Worker::start(&[&programs.all()], &[]);
    assert_eq!(nowhere.call("upward", b"x").status, 502);
    let refused = nowhere.invoke("upward", &["--data", "x"]);
    assert!(
        refused.status == 1 && refused.stderr.contains("PUNTED"),
        "{}",
        refused.stderr
    );
    let upstream = Upstream::start();
    let fallback = format!("upward=http://{}/anything", upstream.address);
    let worker = Worker::start(&[&programs.all()], &["--fallback", &fallback]);
    assert_eq!(
        worker.ask("upward", "over the wire"),
        "upstream got over the wire"
    );
    let response = worker.call("upward", b"over HTTP");
    assert_eq!(
        (response.status, response.text()),
        (200, "upstream got over HTTP".to_owned())
    );
}

#[test]
fn an_answer_says_who_gave_it_and_how_long_it_took() {
    let worker = Worker::start(&["examples/counter"], &[]);
    let response = worker.call("counter", b"1");
    assert_eq!(response.header("x-lambda-target"), Some("host"));
    let seconds: f64 = response.header("x-duration-seconds").unwrap().parse().unwrap();
    assert!(seconds > 0.0 && seconds < PATIENCE.as_secs_f64(), "{seconds}");
}

#[test]
fn every_wrong_http_request_has_its_status() {
    let programs = Programs::new();
    let worker = Worker::start(&["examples/kv", &programs.all()], &[]);
    let large = vec![0; (1 << 20) + 1];
    for (method, path, body, status) in [
        ("POST", "/function/nobody", &b"x"[..], 404),
        ("POST", "/function/", b"x", 400),
        ("POST", "/function/kv", b"short", 400),
        ("POST", "/function/upward", &large, 413),
        ("POST", "/function/slicer", b"\x09", 500),
        ("TRACE", "/function/kv", b"", 405),
        ("POST", "/metrics", b"", 405),
        ("PUT", "/healthz", b"", 405),
        ("DELETE", "/system/workloads", b"", 405),
        ("GET", "/nowhere", b"", 404),
        ("GET", "/system/state/nobody", b"", 404),
        ("GET", "/healthz", b"", 200),
        ("HEAD", "/healthz", b"", 200),
    ] {
        let response = worker.fetch(method, path, body);
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
    }
    assert_eq!(worker.fetch("GET", "/healthz", b"").text(), "");
    // Any method, and any path and query behind the name.
    let mut request = vec![0];
    request.extend_from_slice(&[b'k'; 16]);
    for (method, path) in [("PUT", "/function/kv"), ("POST", "/function/kv/a/b?c=d")] {
        assert_eq!(worker.fetch(method, path, &request).text(), "Not Found");
    }
}

#[test]
fn a_full_worker_answers_overloaded() {
    let mute = Mute::start();
    let programs = Programs::new();
    let service = format!("patient.cache={}", mute.address());
    let worker = Worker::start(&[&programs.all()], &["--threads", "1", "--service", &service]);
    let id = worker.workload("patient").id;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(worker.wire).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut overloaded = 0;
    let mut buffer = [0; 2048];
    for number in 1..20_000 {
        let mut packet = Header::request(id, number, 0, 1, 1).encode().to_vec();
        packet.push(b'k');
        let _ = socket.send(&packet);
        // Pauses, so that the receive buffers overflow on neither side.
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            let (reply, payload) = Header::decode(&buffer[..len], Kind::Reply).unwrap();
            assert_eq!((reply.status, payload.len()), (Status::Overloaded, 0));
            overloaded += 1;
        }
        if overloaded >= 10 {
            break;
        }
    }
    assert!(overloaded >= 10, "{overloaded} answers");
    let response = worker.call("patient", b"k");
    assert_eq!(response.status, 429);
    let seconds = response
        .header("retry-after")
        .and_then(|value| value.parse::<u32>().ok());
    assert!(seconds.is_some(), "{:?}", response.headers);
    assert!(worker.metric("lnic_in_flight{workload=\"patient\",target=\"host\"}") >= 1000);
    // Others are served all the same.
    assert_eq!(worker.call("slicer", b"\0").status, 200);
}

#[test]
fn a_stopped_worker_finishes_what_is_in_flight() {
    let mute = Mute::start();
    let programs = Programs::new();
    let service = format!("patient.cache={}", mute.address());
    let worker = Worker::start(&[&programs.all()], &["--service", &service]);
    let workload = worker.workload("patient");
    std::thread::scope(|scope| {
        let on_wire = scope.spawn(|| worker.send(&workload, b"wire"));
        let first = mute.take();
        let on_http = scope.spawn(|| worker.call("patient", b"http"));
        let second = mute.take();
        worker.terminate();
        until("it listens no more", || TcpStream::connect(worker.http).is_err());
        for asked in [first, second] {
            let key = asked
                .command
                .strip_prefix(b"get ")
                .unwrap()
                .strip_suffix(b"\r\n")
                .unwrap();
            let answer = [b"VALUE ", key, b" 0 2\r\nok\r\nEND\r\n"].concat();
            mute.answer(&asked, &answer);
        }
        assert_eq!(on_wire.join().unwrap().unwrap(), b"ok");
        assert_eq!(on_http.join().unwrap().text(), "ok");
    });
    let (status, log) = worker.wait();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn an_idle_worker_stops_and_frees_its_ports() {
    let worker = Worker::start(&["examples/counter"], &[]);
    let (wire, http) = (worker.wire, worker.http);
    worker.terminate();
    let (status, log) = worker.wait();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("cut off"), "{log}");
    // Another test's worker may be given a port for a while.
    until("the wire's port is free", || UdpSocket::bind(wire).is_ok());
    // The HTTP port may still hold connections that were closed, so it is only known that nobody listens.
    until("nobody listens", || TcpStream::connect(http).is_err());
}

#[test]
fn a_missing_answer_is_a_failure_after_its_timeout() {
    let mute = Mute::start();
    let worker = with_memcached(LAMBDA_NIC, mute.address());
    assert_eq!(worker.ask("kv_get", "hey"), "ERROR");
    let asked = mute.take();
    assert_eq!(asked.command, b"get hey\r\n");
    // It comes too late, and again.
    mute.answer(&asked, b"VALUE hey 0 4\r\ndude\r\nEND\r\n");
    let event = |event: &str| worker.metric(&format!("lnic_service_answers_total{{event=\"{event}\"}}"));
    until("the answer is counted", || {
        event("late") + event("duplicate") + event("unasked") >= 1
    });
    assert!(event("timed_out") >= 1);
    assert_eq!(event("answered"), 0);
}

#[test]
fn the_wire_is_served_over_ipv6() {
    if UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no ::1");
        return;
    }
    let options = Options {
        wire: Some("[::1]:0"),
        http: Some("[::1]:0"),
        ..Options::default()
    };
    let worker = Worker::try_start(&["examples/counter"], &options).unwrap();
    assert!(worker.wire.is_ipv6() && worker.http.is_ipv6());
    assert_eq!(worker.ask("counter", "7"), "7");
    assert_eq!(worker.call("counter", b"1").text(), "8");
}

#[test]
fn a_caller_who_knows_only_the_wire_finds_names_there() {
    let worker = Worker::start_with_names(&["examples/lambda-nic/web.lnic"]);
    let wire = worker.wire.to_string();
    let invoke = |more: &[&str]| {
        let known = ["invoke", "web", "--to", &wire, "--timeout", "60s"];
        run(&[&known[..], more].concat())
    };
    assert_eq!(invoke(&["--data", "GET /"]).good(), page());
    let timed = invoke(&["--data", "GET /", "--timing"]);
    assert!(
        timed.good() == page() && timed.stderr.contains("µs"),
        "{}",
        timed.stderr
    );
    assert_eq!(invoke(&["--hex", "47 45 54 20 2f"]).good(), page());
}

#[test]
fn a_measurement_is_printed_as_json_or_as_a_table() {
    let worker = Worker::start(&["examples/lambda-nic/web.lnic"], &[]);
    let (wire, http) = (worker.wire.to_string(), worker.http.to_string());
    let bench = |more: &[&str]| {
        let mut args = vec!["bench", "web", "--to", &wire, "--http", &http, "--data", "GET /"];
        args.extend(more);
        run(&args).good()
    };
    let closed: Value = serde_json::from_str(&bench(&["-n", "1000", "-c", "4", "--format", "json"])).unwrap();
    let count = |value: &Value, key: &str| value[key].as_u64().unwrap_or_else(|| panic!("no {key}: {value}"));
    assert_eq!(count(&closed, "replies") + count(&closed, "lost"), 1000);
    assert_eq!(closed["errors"], json!({}));
    let open = ["--rate", "2000", "-n", "500", "--format", "json"];
    let open: Value = serde_json::from_str(&bench(&open)).unwrap();
    assert_eq!(count(&open, "replies") + count(&open, "lost"), 500);
    let table = bench(&["-n", "100"]);
    for word in ["p50", "p90", "p99", "p99.9", "max", "lost", "errors"] {
        assert!(table.contains(word), "no {word} in {table}");
    }
}

#[test]
fn a_worker_refuses_a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let options = Options {
        http: Some(&taken),
        ..Options::default()
    };
    let error = Worker::try_start(&["examples/counter"], &options).unwrap_err();
    assert!(error.contains("cannot listen"), "{error}");
}
