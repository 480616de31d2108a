//! `lambdac run --watch`: code is swapped under load, and state whose type did not change goes on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use lambdac_tests::peers::{Mute, Worker, until};
use tempfile::TempDir;

/// A source that is rewritten while a worker serves it.
struct Source {
    dir: TempDir,
    name: &'static str,
}

impl Source {
    fn new(name: &'static str, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Self { dir, name };
        std::fs::write(source.path(), text).unwrap();
        source
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.lnic", self.name))
    }

    fn serve(&self, flags: &[&str]) -> Worker {
        let mut all = vec!["--watch"];
        all.extend(flags);
        Worker::start(&[&self.path().display().to_string()], &all)
    }

    /// Writes a new text as most editors do, beside the old one and over it, and waits for what the worker says of it.
    fn rewrite(&self, worker: &Worker, text: &str, says: &str) {
        let count = |log: String| log.matches(says).count();
        let before = count(worker.log());
        let new = self.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.path()).unwrap();
        until(&format!("the worker says {says:?}"), || {
            count(worker.log()) > before
        });
    }
}

/// Answers with a word and counts, in a counter and in a map.
fn counting(word: &str) -> String {
    format!(
        "workload counting;
state seen: counter;
state by_caller: map<u8, u32>(16);
lambda counting(req: [u8; 1]) -> bytes<16> {{
    seen.add(1);
    let before = by_caller.fetch_add(req[0], 1) else {{ reply b\"new {word}\"; }};
    if before > 1000000 {{ reply b\"many\"; }}
    reply b\"{word}\";
}}
"
    )
}

#[test]
fn swaps_under_load_lose_no_request_and_no_count() {
    let source = Source::new("counting", &counting("zero"));
    let worker = source.serve(&[]);
    let workload = worker.workload("counting");
    let stop = AtomicBool::new(false);
    let answered = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        for (caller, answered) in answered.iter().enumerate() {
            let (worker, workload, stop) = (&worker, &workload, &stop);
            scope.spawn(move || {
                let options = lnic_client::InvokeOptions {
                    timeout: lambdac_tests::peers::PATIENCE,
                    // Longer than any swap: a request that had to be sent again would be a lost one.
                    resend: lambdac_tests::peers::PATIENCE,
                };
                while !stop.load(Relaxed) {
                    let reply = if caller == 0 {
                        let response = worker.call("counting", &[caller as u8]);
                        assert_eq!(response.status, 200);
                        response.body
                    } else {
                        lnic_client::invoke(worker.wire, workload, &[caller as u8], &options)
                            .unwrap()
                            .payload
                    };
                    assert!(!reply.is_empty());
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        let enough = |more: u64| {
            let before: Vec<_> = answered.iter().map(|count| count.load(Relaxed)).collect();
            until("requests go on", || {
                answered
                    .iter()
                    .zip(&before)
                    .all(|(now, before)| now.load(Relaxed) >= before + more)
            });
        };
        for word in ["one", "two", "three", "four", "five"] {
            enough(20);
            source.rewrite(&worker, &counting(word), "swapped");
            assert_eq!(worker.call("counting", &[200]).status, 200);
        }
        enough(20);
        stop.store(true, Relaxed);
    });
    assert_eq!(worker.ask("counting", "\x01"), "five");
    let sent = answered.iter().map(|count| count.load(Relaxed)).sum::<u64>() + 5 + 1;
    let state = worker.fetch("GET", "/system/state/counting", b"").json();
    assert_eq!(state["seen"], sent);
    let entry = |key: u64| {
        let entries = state["by_caller"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["key"] == key)
            .map(|entry| entry["value"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(entry(0), answered[0].load(Relaxed));
    assert_eq!(entry(1), answered[1].load(Relaxed) + 1);
    assert_eq!(entry(2), answered[2].load(Relaxed));
    assert_eq!(entry(200), 5);
    assert_eq!(
        worker.metric("lnic_requests_total{workload=\"counting\",target=\"host\"}"),
        sent
    );
    assert_eq!(worker.workload("counting").id, workload.id);
}

/// Objects of a type each, and a lambda that changes them all.
fn objects(kept: &str, changed: &str) -> String {
    format!(
        "workload objects;
{changed}
state kept: {kept};
lambda objects(req: [u8; 1]) -> [u8; 1] {{
    kept.fetch_add(1);
    change();
    reply req;
}}
"
    )
}

/// Serves `first`, has it change its state once, and gives the state of `changed` after `second` is swapped in.
fn changed_after_swap(first: &str, second: &str) -> (serde_json::Value, serde_json::Value) {
    let source = Source::new("objects", &objects("u32", first));
    let worker = source.serve(&[]);
    assert_eq!(worker.call("objects", &[0]).status, 200);
    let read = || worker.fetch("GET", "/system/state/objects/changed", b"").json();
    let before = read();
    source.rewrite(&worker, &objects("u32", second), "swapped");
    assert_eq!(worker.fetch("GET", "/system/state/objects/kept", b"").json(), 1);
    (before, read())
}

const SCALAR: &str = "state changed: u32;\nfn change() { changed.fetch_add(7); }";

#[test]
fn a_scalar_that_changes_its_width_starts_anew() {
    let wider = "state changed: u64;\nfn change() { changed.fetch_add(7); }";
    assert_eq!(changed_after_swap(SCALAR, wider), (7.into(), 0.into()));
}

#[test]
fn a_scalar_that_becomes_a_counter_starts_anew() {
    let counter = "state changed: counter;\nfn change() { changed.add(7); }";
    assert_eq!(changed_after_swap(SCALAR, counter), (7.into(), 0.into()));
}

#[test]
fn a_new_first_value_matters_only_to_state_that_starts() {
    let five = "state changed: u32 = 5;\nfn change() { changed.fetch_add(7); }";
    assert_eq!(changed_after_swap(SCALAR, five), (7.into(), 7.into()));
}

fn pair(fields: &str) -> String {
    format!(
        "struct Pair {{ {fields} }}\nstate changed: Pair;\nfn change() {{ changed.a = 7; changed.b = 8; }}"
    )
}

#[test]
fn a_struct_of_the_same_fields_goes_on() {
    let same = pair("a: u32, b: u32") + "\n// only this comment is new";
    let expected = serde_json::json!([7, 8]);
    assert_eq!(
        changed_after_swap(&pair("a: u32, b: u32"), &same),
        (expected.clone(), expected)
    );
}

#[test]
fn a_struct_that_changes_a_fields_type_starts_anew() {
    let (before, after) = changed_after_swap(&pair("a: u32, b: u32"), &pair("a: u32, b: u64"));
    assert_eq!(
        (before, after),
        (serde_json::json!([7, 8]), serde_json::json!([0, 0]))
    );
}

#[test]
fn a_struct_that_swaps_its_fields_starts_anew() {
    let (before, after) = changed_after_swap(&pair("a: u32, b: u32"), &pair("b: u32, a: u32"));
    assert_eq!(
        (before, after),
        (serde_json::json!([7, 8]), serde_json::json!([0, 0]))
    );
}

#[test]
fn a_struct_in_a_map_that_swaps_its_fields_starts_anew() {
    let map = |fields: &str| {
        format!(
            "struct Pair {{ {fields} }}
state changed: map<u8, Pair>(4);
fn change() {{ let stored = changed.insert(1, Pair {{ a: 7, b: 8 }}); if !stored {{ return; }} }}"
        )
    };
    let (before, after) = changed_after_swap(&map("a: u32, b: u32"), &map("b: u32, a: u32"));
    assert_eq!(before, serde_json::json!([{"key": 1, "value": [7, 8]}]));
    assert_eq!(after, serde_json::json!([]));
}

#[test]
fn a_broken_source_leaves_the_old_image_in_place() {
    let source = Source::new("counting", &counting("zero"));
    let worker = source.serve(&[]);
    assert_eq!(worker.ask("counting", "a"), "new zero");
    source.rewrite(
        &worker,
        "workload counting;\nlambda counting(",
        "the image before goes on",
    );
    assert!(worker.log().contains("counting.lnic:2"), "{}", worker.log());
    assert_eq!(worker.ask("counting", "a"), "zero");
    source.rewrite(&worker, &counting("one"), "swapped");
    assert_eq!(worker.ask("counting", "a"), "one");
    let seen = worker.fetch("GET", "/system/state/counting/seen", b"").json();
    assert_eq!(seen, 3);
}

#[test]
fn a_new_file_is_served_and_a_removed_one_is_not() {
    let source = Source::new("counting", &counting("zero"));
    let folder = source.dir.path().display().to_string();
    let worker = Worker::start(&[&folder], &["--watch"]);
    let other = source.dir.path().join("other.lnic");
    std::fs::write(
        &other,
        "workload other;\nlambda other(req: bytes<8>) -> bytes<8> { reply req; }\n",
    )
    .unwrap();
    until("the new workload answers", || {
        worker.call("other", b"hey").text() == "hey"
    });
    std::fs::remove_file(&other).unwrap();
    until("it is gone", || worker.call("other", b"hey").status == 404);
    assert_eq!(worker.ask("counting", "a"), "new zero");
}

#[test]
fn what_waits_for_a_service_survives_a_swap() {
    let waiting = |word: &str| {
        format!(
            "workload waiting;
service cache = memcached(\"127.0.0.1:11211\", timeout = 60s);
lambda waiting(key: bytes<8>) -> bytes<1040> {{
    let value = await cache.get(key) else {{ reply b\"nothing\"; }};
    let mut out: bytes<1040> = b\"{word} \";
    out.append(key);
    out.append(b\" \");
    out.append(value);
    reply out;
}}
"
        )
    };
    let source = Source::new("waiting", &waiting("old"));
    let mute = Mute::start();
    let service = format!("waiting.cache={}", mute.address());
    let worker = source.serve(&["--service", &service]);
    let workload = worker.workload("waiting");
    std::thread::scope(|scope| {
        let before = scope.spawn(|| worker.send(&workload, b"before"));
        let first = mute.take();
        source.rewrite(&worker, &waiting("new"), "swapped");
        let after = scope.spawn(|| worker.send(&workload, b"after"));
        let second = mute.take();
        assert_eq!(second.command, b"get after\r\n");
        mute.answer(&second, b"VALUE after 0 1\r\n2\r\nEND\r\n");
        mute.answer(&first, b"VALUE before 0 1\r\n1\r\nEND\r\n");
        assert_eq!(after.join().unwrap().unwrap(), b"new after 2");
        assert_eq!(before.join().unwrap().unwrap(), b"old before 1");
    });
}

/// How often the worker has swapped.
fn swaps(worker: &Worker) -> usize {
    worker.log().matches("swapped").count()
}

#[test]
fn what_is_no_source_changes_nothing_and_what_a_source_needs_does() {
    let dir = tempfile::tempdir().unwrap();
    let (text, page) = (dir.path().join("pages.lnic"), dir.path().join("assets/page.txt"));
    std::fs::create_dir(dir.path().join("assets")).unwrap();
    std::fs::write(&page, "one").unwrap();
    let source =
        "workload pages;\nlambda pages(req: bytes<8>) -> bytes<8> { reply include(\"assets/page.txt\"); }\n";
    std::fs::write(&text, source).unwrap();
    // A source that is a link to elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let linked = |word: &str| {
        format!("workload linked;\nlambda linked(req: bytes<8>) -> bytes<8> {{ reply b\"{word}\"; }}\n")
    };
    std::fs::write(elsewhere.path().join("target"), linked("one")).unwrap();
    let link = dir.path().join("linked.lnic");
    std::os::unix::fs::symlink(elsewhere.path().join("target"), &link).unwrap();
    let files = [&text, &link].map(|path| path.display().to_string());
    let worker = Worker::start(&[&files[0], &files[1]], &["--watch"]);
    assert_eq!(
        (worker.ask("pages", ""), worker.ask("linked", "")),
        ("one".to_owned(), "one".to_owned())
    );
    for number in 0..20 {
        std::fs::write(dir.path().join("log"), format!("line {number}")).unwrap();
        std::fs::write(elsewhere.path().join("notes.txt"), "nothing").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(swaps(&worker), 0);
    std::fs::write(&page, "two").unwrap();
    until("the included file is read again", || {
        worker.ask("pages", "") == "two"
    });
    std::fs::write(elsewhere.path().join("target"), linked("two")).unwrap();
    until("the link's target is read again", || {
        worker.ask("linked", "") == "two"
    });
}

#[test]
fn a_param_outlives_its_workload() {
    let dir = tempfile::tempdir().unwrap();
    let source = |name: &str| {
        format!(
            "workload {name};\nparam n: u8 = 1;\nlambda {name}(req: bytes<1>) -> bytes<1> {{ let mut out: bytes<1>; out.push(n); reply out; }}\n"
        )
    };
    for name in ["here", "gone"] {
        std::fs::write(dir.path().join(format!("{name}.lnic")), source(name)).unwrap();
    }
    let folder = dir.path().display().to_string();
    let worker = Worker::start(
        &[&folder],
        &["--watch", "--param", "gone.n=65", "--param", "here.n=66"],
    );
    assert_eq!(
        (worker.ask("gone", ""), worker.ask("here", "")),
        ("A".to_owned(), "B".to_owned())
    );
    std::fs::remove_file(dir.path().join("gone.lnic")).unwrap();
    worker.until_log("no workload's any more");
    worker.until_log("swapped");
    assert_eq!(worker.ask("here", ""), "B");
}
