//! HTTP: functions, state, tables, and what is refused.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::sync::mpsc;
use std::time::Duration;

use lnic_host::Config;

use crate::fake::{Caller, Does, Fake, PATIENCE, config, http, id, metric, start, start_with};

#[test]
fn a_body_goes_in_and_the_reply_comes_out() {
    let worker = start(config());
    let at = worker.http_addr();
    let response = http(at, "POST", "/function/echo", "", b"data");
    assert_eq!((response.status, &response.body[..]), (200, &b"data"[..]));
    assert_eq!(response.header("x-lambda-target"), Some("host"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    let duration = response.header("x-duration-seconds").unwrap();
    assert!(duration.starts_with("0.") && duration.len() == 8, "{duration}");
    let paths = [
        "/function/echo/",
        "/function/echo/a/b?c=d",
        "/function/echo?x",
        "/function/echo.openfaas-fn",
    ];
    for path in paths {
        assert_eq!(http(at, "PUT", path, "", b"x").body, b"x", "{path}");
    }
    for method in ["GET", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
        assert_eq!(http(at, method, "/function/web", "", b"").status, 200, "{method}");
    }
    assert_eq!(http(at, "TRACE", "/function/web", "", b"").status, 405);
    let typed = http(at, "POST", "/function/echo", "content-type: image/png\r\n", b"x");
    assert_eq!(typed.header("content-type"), Some("image/png"));
    assert_eq!(
        metric(&worker, "lnic_requests_total{workload=\"web\",target=\"host\"}"),
        5
    );
}

#[test]
fn large_bodies_and_streams_are_whole_messages() {
    let worker = start(config());
    let at = worker.http_addr();
    let body: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
    assert!(http(at, "POST", "/function/echo", "", &body).body == body);
    let body = &body[..8000];
    let expected: Vec<u8> = body
        .chunks(4)
        .flat_map(|chunk| chunk.iter().rev())
        .copied()
        .collect();
    assert_eq!(http(at, "POST", "/function/reverse", "", body).body, expected);
    assert_eq!(http(at, "POST", "/function/reverse", "", b"").status, 400);
    assert_eq!(http(at, "POST", "/function/reverse", "", b"12345").status, 400);
}

#[test]
fn a_chunked_body_is_a_body() {
    let worker = start(config());
    let mut stream = TcpStream::connect(worker.http_addr()).unwrap();
    let request = "POST /function/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.ends_with("\r\n\r\nabcde"), "{all}");
}

#[test]
fn every_end_has_its_status() {
    let worker = start(config());
    let at = worker.http_addr();
    let cases: [(&str, &[u8], u16); 5] = [
        ("drop", b"", 204),
        ("trap", b"", 500),
        ("punt", b"", 502),
        ("web", &[0; 1201], 400),
        ("echo", &[0; (1 << 20) + 1], 413),
    ];
    for (name, body, status) in cases {
        assert_eq!(
            http(at, "POST", &format!("/function/{name}"), "", body).status,
            status,
            "{name}"
        );
    }
    let internal = |path| {
        http(at, "GET", path, "", b"")
            .header("x-openfaas-internal")
            .map(str::to_owned)
    };
    assert_eq!(internal("/function/punt").as_deref(), Some("proxy"));
    assert_eq!(internal("/function/nobody").as_deref(), Some("proxy"));
    assert_eq!(internal("/function/").as_deref(), Some("proxy"));
    assert_eq!(internal("/function/trap"), None);
    let status = |path| http(at, "GET", path, "", b"").status;
    assert_eq!(status("/function/nobody"), 404);
    assert_eq!(status("/function/.openfaas-fn"), 404);
    assert_eq!(status("/function/web.other"), 404);
    assert_eq!(status("/function/"), 400);
    assert_eq!(status("/nowhere"), 404);
    assert_eq!(http(at, "POST", "/healthz", "", b"").status, 405);
    assert_eq!(http(at, "DELETE", "/system/workloads", "", b"").status, 405);
    let healthy = http(at, "GET", "/healthz", "", b"");
    assert_eq!((healthy.status, healthy.body.len()), (200, 0));
    assert_eq!(http(at, "HEAD", "/healthz", "", b"").status, 200);
}

#[test]
fn a_refusal_is_read_by_a_caller_that_sends_on() {
    let worker = start(config());
    let body = vec![0; 16 << 20];
    for path in ["/function/echo", "/function/nobody", "/nowhere"] {
        let response = http(worker.http_addr(), "POST", path, "", &body);
        assert_eq!(response.status, if path == "/function/echo" { 413 } else { 404 });
    }
}

#[test]
fn names_are_looked_up_with_all_that_a_caller_needs() {
    let worker = start(config());
    let response = http(worker.http_addr(), "GET", "/system/workloads", "", b"");
    let list: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    let web = list
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "web")
        .unwrap();
    let expected = serde_json::json!({"name": "web", "id": id("web"), "request": "bytes", "reply": "bytes", "fragment": 1344});
    assert_eq!(*web, expected);
}

#[test]
fn state_and_tables_are_served_as_json() {
    let worker = start(config());
    let at = worker.http_addr();
    let body = |path: &str| String::from_utf8(http(at, "GET", path, "", b"").body).unwrap();
    assert_eq!(body("/system/state/web"), "{\"hits\":[1,2]}");
    assert_eq!(body("/system/state/web/hits"), "[1,2]");
    assert_eq!(body("/system/state/web/hits/1"), "2");
    assert_eq!(body("/system/tables/web.routes"), "[]");
    let status = |method, path: &str, body: &[u8]| http(at, method, path, "", body).status;
    assert_eq!(status("GET", "/system/state/nobody", b""), 404);
    assert_eq!(status("GET", "/system/state/web/misses", b""), 404);
    assert_eq!(status("GET", "/system/tables/web.none", b""), 404);
    assert_eq!(status("GET", "/system/tables/web", b""), 400);
    assert_eq!(status("PUT", "/system/tables/web.routes", b"[]"), 204);
    assert_eq!(status("PUT", "/system/tables/web.routes", b"{}"), 400);
    assert_eq!(status("PUT", "/system/tables/web.routes", b"no json"), 400);
    assert_eq!(status("PUT", "/system/tables/web.routes", b""), 400);
    assert_eq!(status("DELETE", "/system/tables/web.routes", b""), 204);
    assert_eq!(status("POST", "/system/tables/web.routes", b""), 405);
}

#[test]
fn the_client_behind_a_trusted_proxy_is_the_source() {
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let worker = start(Config {
        trusted_proxies: proxies,
        ..config()
    });
    let facts = |extra| http(worker.http_addr(), "GET", "/function/facts", extra, b"").body;
    assert_eq!(facts("x-forwarded-for: 192.0.2.7:99\r\n"), b"192.0.2.7 0 0 0");
    assert_eq!(facts(""), b"127.0.0.1 0 0 0");
    let worker = start(config());
    let response = http(
        worker.http_addr(),
        "GET",
        "/function/facts",
        "x-forwarded-for: 192.0.2.7\r\n",
        b"",
    );
    assert_eq!(response.body, b"127.0.0.1 0 0 0");
}

#[test]
fn an_unfinished_request_is_cut_off() {
    let worker = start(Config {
        http_timeout: Duration::from_millis(300),
        ..config()
    });
    for request in [
        "POST /function/echo HTTP/1.1\r\nhost:",
        "POST /function/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let mut stream = TcpStream::connect(worker.http_addr()).unwrap();
        // Less than the limit that is usual.
        stream
            .set_read_timeout(Some(Config::default().http_timeout / 2))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the connection ends");
        assert!(!all.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn what_waits_for_a_nic_holds_up_nobody_else() {
    let (reached, reaches) = mpsc::channel();
    let (open, opened) = mpsc::channel();
    let workloads = [("stall", Does::Stalls), ("web", Does::Says("hello"))];
    let worker = start_with(
        Config {
            http_threads: NonZero::new(1),
            ..config()
        },
        Fake::gated(&workloads, reached, opened),
    );
    let at = worker.http_addr();
    let waiting = std::thread::spawn(move || http(at, "POST", "/function/stall", "", b"").body);
    reaches.recv_timeout(PATIENCE).expect("it is run");
    assert_eq!(http(at, "GET", "/healthz", "", b"").status, 200);
    assert_eq!(http(at, "POST", "/function/web", "", b"").body, b"hello");
    assert_eq!(http(at, "GET", "/system/state/web", "", b"").status, 200);
    open.send(()).unwrap();
    assert_eq!(waiting.join().unwrap(), b"opened");
}

/// A fallback that answers each request once, in turn, with what is given.
fn fallback(answers: Vec<Option<&'static str>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/up", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"why") {
                let mut buffer = [0; 512];
                let len = stream.read(&mut buffer).unwrap();
                assert_ne!(len, 0);
                request.extend_from_slice(&buffer[..len]);
            }
            assert!(request.starts_with(b"POST /up HTTP/1.1\r\n"));
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Until who asked has given up.
                None => _ = stream.read(&mut [0]),
            }
        }
    });
    url
}

const IN_FLIGHT: &str = "lnic_in_flight{workload=\"punt\",target=\"host\"}";

#[test]
fn a_punted_request_goes_to_its_fallback_and_its_reply_comes_back() {
    let ok = Some("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nbecause");
    let failed = Some("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let url = fallback(vec![ok, ok, failed, failed]);
    let worker = start(Config {
        fallbacks: [("punt".to_owned(), url)].into(),
        fallback_timeout: PATIENCE,
        ..config()
    });
    let mut caller = Caller::new(worker.wire_addr());
    assert_eq!(caller.call(id("punt"), b"why"), Ok(b"because".to_vec()));
    assert_eq!(
        http(worker.http_addr(), "POST", "/function/punt", "", b"why").body,
        b"because"
    );
    assert_eq!(caller.call(id("punt"), b"why"), Err(lnic_wire::Status::Punted));
    assert_eq!(
        http(worker.http_addr(), "POST", "/function/punt", "", b"why").status,
        502
    );
    assert_eq!(metric(&worker, IN_FLIGHT), 0);
}

#[test]
fn a_fallback_that_does_not_answer_is_given_up() {
    let fallbacks = [("punt".to_owned(), fallback(vec![None]))].into();
    let worker = start(Config {
        fallbacks,
        fallback_timeout: Duration::from_millis(300),
        ..config()
    });
    let mut caller = Caller::new(worker.wire_addr());
    assert_eq!(caller.call(id("punt"), b"why"), Err(lnic_wire::Status::Timeout));
    assert_eq!(metric(&worker, IN_FLIGHT), 0);
}
