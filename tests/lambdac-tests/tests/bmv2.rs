//! The P4 reference switch: what it once answered to the tests of the conformance programs and examples, held against
//! what the evaluator and the host's code answer now; and, where p4c is found, whether it takes every program.
//!
//! `recordings/bmv2` holds the recordings (see `lnic_bmv2::recording`), `versions.txt` who made them, and `manifest.txt`
//! how many exchanges each has. Where a test changes, its workload is recorded anew:
//! `LAMBDAC_RECORD=tests/lambdac-tests/recordings/bmv2 lambdac test FILES --target bmv2`, then `cargo xtask bless`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;
use std::vec::IntoIter;

use lambdac_backend_p4::BY_MATCH;
use lambdac_driver::disk::{self, Disk};
use lambdac_driver::testing::{HostTarget, TestResult};
use lambdac_driver::{Compiled, Input, Options, Session, bmv2, link};
use lambdac_hir::{CallStep, Callee, StatePlace, Test, Value};
use lambdac_interp::{CallResult, Env, Givens, InterpTarget, Target, run_test};
use lnic_bmv2::recording::{Exchange, Outcome, read};
use lnic_bmv2::tools::Tools;
use lnic_wire::Status;

/// The workloads of folders, by name.
fn workloads(folders: &[&str]) -> BTreeMap<String, Compiled> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let files = disk::find(&folders).expect("there are programs");
    let compiled = files.iter().filter_map(|file| {
        let mut session = Session::new(Box::new(Disk::default()));
        let input = Input {
            name: file.display().to_string(),
            bytes: std::fs::read(file).expect("sources can be read"),
        };
        let workload = session.check(&input).workload?;
        let compiled = session.compile(&workload, &Options::default());
        let compiled = compiled.expect("all passes exist");
        Some((compiled.module.name.to_string(), compiled))
    });
    compiled.collect()
}

/// A target whose answers are compared with those of a recording.
struct Replayed<T> {
    target: T,
    recorded: Peekable<IntoIter<Exchange>>,
    compared: usize,
}

impl<T: Target> Replayed<T> {
    /// The recorded exchange of a call; none if the switch was not asked, since the lambda is the host's.
    fn recorded(&mut self, step: &CallStep) -> Option<Exchange> {
        let entry = match step.callee {
            Callee::Lambda(id) => id.0 as u16,
            Callee::Workload => BY_MATCH,
        };
        self.recorded
            .next_if(|next| next.entry == entry && is_request(next, &step.request))
    }
}

/// Whether a recorded request is this one. Of a message of several packets that nobody reads the switch got none, and of
/// one that it handed to the host with the first packet no more.
fn is_request(recorded: &Exchange, request: &[u8]) -> bool {
    let several = request.len() > lnic_wire::MAX_FRAGMENT;
    let first = recorded.outcome == Outcome::HandedUp && request.starts_with(&recorded.request);
    recorded.request == request || several && (first || recorded.request.is_empty())
}

fn agrees(recorded: &Outcome, now: &CallResult) -> bool {
    match (recorded, now) {
        (Outcome::HandedUp, _)
        | (Outcome::Dropped, CallResult::Drop)
        | (Outcome::Punted, CallResult::Punt) => true,
        (Outcome::Replied(Status::Ok, then), CallResult::Reply(now)) => then == now,
        (Outcome::Replied(Status::Trap, _), CallResult::Trap(_))
        | (Outcome::Replied(Status::BadRequest, _), CallResult::BadRequest) => true,
        _ => false,
    }
}

impl<T: Target> Target for Replayed<T> {
    fn name(&self) -> &str {
        self.target.name()
    }

    fn begin(&mut self, test: &Test, seed: u64) -> Result<(), String> {
        self.target.begin(test, seed)
    }

    fn call(&mut self, step: &CallStep, env: &Env, givens: &mut Givens) -> CallResult {
        let now = self.target.call(step, env, givens);
        let Some(exchange) = self.recorded(step) else {
            return now;
        };
        // What the host ended says nothing of the switch.
        self.compared += usize::from(exchange.outcome != Outcome::HandedUp);
        match agrees(&exchange.outcome, &now) {
            true => now,
            false => CallResult::Error(format!("{now:?}; but bmv2: {:?}", exchange.outcome)),
        }
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        self.target.read(place)
    }
}

/// Replays a recording; gives how many exchanges were compared.
fn replay<T: Target>(target: T, compiled: &Compiled, recorded: Vec<Exchange>) -> usize {
    let workload = &compiled.checked.0;
    let mut replayed = Replayed {
        target,
        recorded: recorded.into_iter().peekable(),
        compared: 0,
    };
    for test in &workload.tests {
        let result = run_test(&Arc::new(workload.clone()), test, &mut replayed);
        let what = format!("{}: {} on {}", workload.name, test.name, replayed.name());
        assert!(matches!(result, TestResult::Passed), "{what}: {result:?}");
    }
    let left = replayed.recorded.next();
    assert_eq!(
        left, None,
        "{}: no test asks so any more: record it anew",
        workload.name
    );
    replayed.compared
}

/// The recordings, by workload.
fn recordings(folder: &Path) -> BTreeMap<String, Vec<Exchange>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the recordings are there") {
        let path = entry.expect("a folder can be listed").path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(name) = name.strip_suffix(".pcap") {
            let bytes = std::fs::read(&path).expect("a recording can be read");
            let recorded = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.insert(name.to_owned(), recorded);
        }
    }
    found
}

#[test]
fn what_the_switch_answered_is_what_the_evaluator_and_the_host_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/bmv2");
    let workloads = workloads(&["lang-spec/conformance", "examples"]);
    let mut counts = String::new();
    for (name, recorded) in recordings(&folder) {
        let compiled = workloads.get(&name);
        let compiled = compiled.unwrap_or_else(|| panic!("{name}: there is no such workload"));
        let hir = Arc::new(compiled.checked.0.clone());
        let host = HostTarget::new(hir.clone(), compiled.module.clone()).expect("the host takes it");
        let by_interp = replay(InterpTarget::new(hir), compiled, recorded.clone());
        let by_host = replay(host, compiled, recorded);
        assert_eq!(by_interp, by_host, "{name}");
        assert!(by_host > 0, "{name}: a recording of nothing");
        counts.push_str(&format!("{name} {by_host}\n"));
    }
    let manifest = folder.join("manifest.txt");
    if std::env::var_os("LAMBDAC_BLESS").is_some() {
        std::fs::write(&manifest, &counts).expect("the manifest can be written");
    }
    let expected = std::fs::read_to_string(&manifest).expect("the manifest is there");
    assert_eq!(
        counts,
        expected,
        "what was compared is not what {} says; `cargo xtask bless` sets it",
        manifest.display()
    );
    assert!(!counts.is_empty());
    let versions = std::fs::read_to_string(folder.join("versions.txt")).expect("it is there");
    assert!(versions.contains("simple_switch 1."), "{versions}");
}

#[test]
fn p4c_takes_the_examples_as_one_image_without_a_warning() {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => return println!("skipped: {missing}"),
    };
    let image = link(workloads(&["examples"]).into_values().collect()).expect("they are one image");
    let files = bmv2::files(&image).expect("there is a program");
    let folder = tempfile::tempdir().expect("a folder");
    let json = tools
        .compile(&files[0].1, folder.path())
        .unwrap_or_else(|error| panic!("{error}"));
    let json = std::fs::read_to_string(json).expect("p4c wrote it");
    let place = folder.path().display().to_string();
    assert!(
        !json.contains(&place),
        "the same program gives the same file elsewhere"
    );
}
