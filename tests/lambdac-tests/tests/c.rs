//! Emitted C: images of the examples and of the conformance programs, as linked and after all passes, compile under
//! gcc and clang with every warning an error, and answer in a process with sanitizers as each workload alone does on
//! the evaluator. A compiler that is not there is a visible skip.

use std::sync::Arc;

use lambdac_backend_c::{Dialect, Options};
use lambdac_image::Image;
use lambdac_tests::images::{Member, compare_in_c, folder, image, linked, run_tests_in_c};
use lnic_nfp::{Build, Code, Machine, Toolchain};

/// Requests of a lambda.
const REQUESTS: u64 = 100;

/// The compilers that are here, each missing one said aloud.
fn compilers() -> Vec<Toolchain> {
    ["gcc", "clang"]
        .into_iter()
        .filter_map(|name| {
            let found = Toolchain::find(name);
            if found.is_none() {
                eprintln!("skipped: {name} not found");
            }
            found
        })
        .collect()
}

fn check(name: &str, image: Image, members: &[&Member]) {
    let image = Arc::new(image);
    let code =
        Code::new(&image, &Options::new(Dialect::Host)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let compilers = compilers();
    for compiler in &compilers {
        code.compile(compiler, &Build::Small)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let Some(compiler) = compilers.first() else {
        return;
    };
    let mut machine = Machine::new(image.clone(), Dialect::Host, compiler, 0)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut failures = Vec::new();
    let mut passed = 0;
    for member in members {
        match run_tests_in_c(&mut machine, &image, member) {
            Ok(tests) => passed += tests,
            Err(errors) => failures.extend(errors),
        }
    }
    assert!(
        failures.is_empty(),
        "{name}: {passed} passed\n{}",
        failures.join("\n")
    );
    assert!(passed > 0, "{name}: no tests");
    compare_in_c(&mut machine, &image, members).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn both(name: &str, members: &[Member]) {
    let members: Vec<&Member> = members.iter().collect();
    let naive = linked(&members).unwrap_or_else(|error| panic!("{name}: {error}"));
    check(&format!("{name}, as linked"), naive, &members);
    let optimised = image(&members, &["partition"]).unwrap_or_else(|error| panic!("{name}: {error}"));
    check(&format!("{name}, optimised"), optimised, &members);
}

#[test]
fn the_examples_in_c_answer_as_on_the_evaluator() {
    both("examples", &folder("examples", REQUESTS));
}

#[test]
fn the_conformance_programs_in_c_answer_as_on_the_evaluator() {
    both("conformance", &folder("lang-spec/conformance", REQUESTS));
}

#[test]
fn the_optimised_image_of_lambda_nic_is_smaller_in_c_too() {
    let members = folder("examples/lambda-nic-original", REQUESTS);
    let members: Vec<&Member> = members.iter().collect();
    let [naive, optimised] = [linked(&members), image(&members, &[])].map(|image| {
        let image = image.expect("it links");
        Code::new(&image, &Options::new(Dialect::Host)).expect("it can be said in C")
    });
    for compiler in compilers() {
        let [before, after] =
            [&naive, &optimised].map(|code| code.sizes(&compiler, &Build::Small).expect("it compiles"));
        assert!(before.text > 0 && before.rodata > 0, "{before:?}");
        assert!(
            after.total() * 4 <= before.total() * 3,
            "{}: {before:?}, {after:?}",
            compiler.name()
        );
    }
}
