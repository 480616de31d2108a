//! `test` items on the NFP's shim, as `lambdac test --target nfp` runs them: every one of the conformance programs and
//! examples passes, or is the host's with a code. Without gcc and clang all are visibly skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use lambdac_driver::testing::{Ran, TestResult, run};
use lambdac_driver::{Input, Options, Session, Sources};
use lnic_nfp::testing::{NAME, NfpTests};

/// Compilers that run at a time.
const THREADS: usize = 2;

/// Files beside a source.
struct Beside(PathBuf);

impl Sources for Beside {
    fn library(&self, _: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let path = self.0.with_file_name(format!("{name}.lnic"));
        let found = std::fs::read(&path).ok();
        Ok(found.map(|bytes| (path.display().to_string(), bytes)))
    }

    fn include(&self, _: &str, relative: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.with_file_name(relative)).map_err(|error| error.to_string())
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            found.push(path);
        }
    }
}

/// How each test of a file ends.
fn tested(file: &Path) -> Vec<Ran> {
    let bytes = std::fs::read(file).expect("sources can be read");
    let mut session = Session::new(Box::new(Beside(file.to_path_buf())));
    let input = Input {
        name: file.display().to_string(),
        bytes,
    };
    let Some(workload) = session.check(&input).workload else {
        return Vec::new();
    };
    let compiled = session
        .compile(&workload, &Options::default())
        .expect("all passes exist");
    let mut ended = Vec::new();
    let targets = [NAME.to_owned()];
    run(
        &workload,
        &compiled.module,
        &targets,
        None,
        &NfpTests,
        &mut |ran| {
            ended.push(ran);
        },
    );
    ended
}

#[test]
fn every_test_item_passes_on_the_shim_or_is_the_hosts_with_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["lang-spec/conformance", "examples"] {
        sources(&root.join(folder), &mut files);
    }
    files.sort();
    let (queue, all) = (Mutex::new(files), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = { queue.lock().expect("no panic holds it").pop() } {
                    let ended = tested(&file);
                    all.lock().expect("no panic holds it").extend(ended);
                }
            });
        }
    });
    let all = all.into_inner().expect("no panic holds it");
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut passed = 0;
    for ran in &all {
        match &ran.result {
            TestResult::Passed => passed += 1,
            TestResult::Skipped(reason) => *skipped.entry(reason.clone()).or_default() += 1,
            TestResult::Failed(failures) => {
                failed.push(format!("{}: {}: {failures:?}", ran.workload, ran.test));
            }
        }
    }
    eprintln!("{passed} passed, skipped: {skipped:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if skipped.keys().any(|reason| reason.contains("not found")) {
        return;
    }
    assert!(passed > 100, "most of {} tests run there", all.len());
    let odd: Vec<&String> = skipped
        .keys()
        .filter(|reason| !reason.starts_with("host (E07"))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}
