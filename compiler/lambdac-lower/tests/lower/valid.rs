//! Every program of the repository lowers to valid MIR, before and after the await split.

use crate::common;

use std::path::{Path, PathBuf};

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
    let mut lowered = 0;
    for path in found {
        println!("{}", path.display());
        if let Some((workload, map)) = common::compile_file(&path) {
            lowered += 1;
            let (_, split) = common::lower(&workload, &map);
            let mut again = split.clone();
            lambdac_lower::split_awaits(&mut again);
            assert_eq!(
                again,
                split,
                "{}: the split changes nothing the second time",
                path.display()
            );
        }
    }
    assert!(
        lowered >= 5,
        "{folder} holds programs, {lowered} of them without errors"
    );
}

#[test]
fn examples_lower_to_valid_mir() {
    check_folder("examples");
}

#[test]
fn conformance_programs_lower_to_valid_mir() {
    check_folder("lang-spec/conformance");
}
