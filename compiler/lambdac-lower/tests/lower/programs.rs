//! Every program of the repository: valid MIR, and the same behavior as the evaluator's.

use std::path::Path;

use lambdac_check::disk;

use crate::{common, differential};

fn check_folder(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let found = disk::find(&[root]).expect("there are programs");
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
