//! A C program links the host code of a bundle and calls its lambdas.

use std::path::Path;
use std::process::Command;

use lambdac_tests::peers::{Ran, has, path, run};

/// Builds a bundle of two workloads into a folder.
fn bundle(dir: &Path) {
    let out = dir.display().to_string();
    let args = [
        "build",
        "examples/lambda-nic/web.lnic",
        "examples/kv",
        "--target",
        "host",
        "-o",
        &out,
    ];
    run(&args).good();
}

#[test]
fn a_c_program_links_the_bundle_and_gets_the_replies() {
    if !has("gcc") {
        println!("skipped: gcc not found");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    bundle(dir.path());
    let mut gcc = Command::new("gcc");
    gcc.args([
        "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-I.", "-o", "main",
    ]);
    gcc.arg(path("tests/lambdac-tests/c/main.c")).arg("host/image.o");
    let built = Ran::from(gcc.current_dir(dir.path()).output().unwrap());
    assert_eq!(built.status, 0, "{}", built.stderr);
    let ran = Ran::from(Command::new(dir.path().join("main")).output().unwrap());
    let page = std::fs::read_to_string(path("examples/lambda-nic/index.html")).unwrap();
    let expected = format!(
        "{page}not found\n{page}hits 2\n\
         get goes to 0\nset goes to 1\nan empty set is dropped: 1\na short one is refused: 1\n"
    );
    assert_eq!(ran.good(), expected);
}

#[test]
fn the_object_offers_an_entry_for_each_lambda_and_match() {
    if !has("nm") {
        println!("skipped: nm not found");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    bundle(dir.path());
    let object = dir.path().join("host/image.o");
    let symbols = Ran::from(
        Command::new("nm")
            .arg("--defined-only")
            .arg("-g")
            .arg(object)
            .output()
            .unwrap(),
    );
    let symbols = symbols.good();
    let mut found: Vec<_> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    found.sort_unstable();
    let expected = [
        "lnic_kv__dispatch",
        "lnic_kv_get",
        "lnic_kv_set",
        "lnic_web__dispatch",
        "lnic_web_not_found",
        "lnic_web_page",
    ];
    assert_eq!(found, expected);
}
