//! Every program of the repository: valid MIR, and the same behavior as the evaluator's.

use std::path::{Path, PathBuf};

use crate::{common, differential};

fn programs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            programs(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            found.push(path);
        }
    }
}

fn check_folder(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut found = Vec::new();
    programs(&root, &mut found);
    found.sort();
    let mut run = 0;
    for path in found {
        println!("{}", path.display());
        run += u32::from(differential::agree_on_file(&path));
    }
    assert!(run >= 5, "{folder} holds programs, {run} of them without errors");
}

#[test]
fn examples_agree() {
    check_folder("examples");
}

#[test]
fn conformance_programs_agree() {
    check_folder("lang-spec/conformance");
}

#[test]
fn a_second_split_changes_nothing() {
    let text = "workload w;
service s = memcached(\"127.0.0.1:11211\", timeout = 5ms);
lambda l(key: bytes<9>) -> bytes<1024> { let v = await s.get(key) else { drop; }; reply v; }";
    let (workload, map) = common::compile(text);
    let (whole, split) = common::lower(&workload, &map);
    assert_ne!(whole, split);
    let mut again = split.clone();
    lambdac_lower::split_awaits(&mut again);
    assert_eq!(again, split);
}
