//! Translation validation of images: what is linked and optimised together answers as each workload alone does on the
//! HIR evaluator.
//!
//! In a CI run (about two minutes of one core): 2,000 random images of 2 to 20 workloads with all passes, 200 with each
//! pass alone and 100 with each pass left out, 20 requests a lambda; the examples as one image and the conformance programs in
//! groups, with all passes and with each alone, their `test` items and 1,000 requests a lambda; lambdas that take long get fewer. `LAMBDAC_IMAGES` sets how many
//! random images are run (a tenth of it for each pass), `LAMBDAC_SEED` where the seeds begin. Programs are compiled and
//! run on the evaluator once each and drawn into many images, so that the time goes into images.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use lambdac_image::{Image, Key, Node};
use lambdac_tests::differential::Mismatch;
use lambdac_tests::fuzz::dice::Dice;
use lambdac_tests::generate::program;
use lambdac_tests::images::{
    Member, compare, device, image, linked, many_rules, modules, run_tests, variant,
};

/// Images of a CI run.
const IMAGES: usize = 2_000;
/// Programs that images are drawn from, without variants.
const PROGRAMS: u64 = 120;
/// Requests of a lambda of the conformance programs.
const CONFORMANCE_REQUESTS: u64 = 1_000;
/// Requests of a lambda of the examples.
const EXAMPLE_REQUESTS: u64 = 1_000;
/// Most workloads of an image.
const MOST: usize = 20;

fn env(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Programs, each with one under another name, and one with another constant where that still compiles.
fn members(first: u64) -> Vec<Member> {
    let mut members = Vec::new();
    for seed in first..first + PROGRAMS {
        let program = program(seed);
        let variants = [None, None, Some(seed as usize % 7)];
        for (number, nth) in variants.into_iter().enumerate() {
            let name = format!("w{seed}_{number}");
            let source = variant(&program.source, &name, nth);
            match Member::generated(&name, &source, program.requests.clone()) {
                Ok(member) => members.push(member),
                // A constant may have been a bound that others rely on.
                Err(_) if nth.is_some() => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    members
}

/// Draws neighbours more often than chance would, as they share code.
fn draw(members: &[Member], seed: u64) -> Vec<&Member> {
    let mut dice = Dice::new(seed);
    // Small images more often: most of what goes wrong needs two workloads.
    let count = 2 + dice.below(MOST - 1).min(dice.below(MOST - 1));
    let mut chosen = std::collections::BTreeSet::new();
    while chosen.len() < count {
        let at = dice.below(members.len());
        chosen.insert(at);
        if dice.chance(60) {
            chosen.insert((at + 1) % members.len());
        }
    }
    chosen.into_iter().take(count).map(|at| &members[at]).collect()
}

fn check(members: &[&Member], disabled: &[&str]) -> Result<(), Mismatch> {
    catch_unwind(AssertUnwindSafe(|| compare(image(members, disabled)?, members))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Mismatch(format!("panic: {}", text.unwrap_or("no text"))))
    })
}

/// Leaves out workloads as long as it still fails.
fn shrink<'m>(mut members: Vec<&'m Member>, disabled: &[&str]) -> (Vec<&'m Member>, Mismatch) {
    let mut why = check(&members, disabled).expect_err("it failed before");
    let mut at = 0;
    while at < members.len() && members.len() > 1 {
        let mut fewer = members.clone();
        fewer.remove(at);
        match check(&fewer, disabled) {
            Err(mismatch) => {
                members = fewer;
                why = mismatch;
            }
            Ok(()) => at += 1,
        }
    }
    (members, why)
}

/// Runs images on all cores; the first failures, shrunk.
fn run(members: &[Member], first: usize, count: usize, disabled: &[&str]) {
    let next = AtomicUsize::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn_scoped(scope, || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        let full = failures.lock().is_ok_and(|list| list.len() >= 2);
                        if seed >= first + count || full {
                            return;
                        }
                        let drawn = draw(members, seed as u64);
                        if check(&drawn, disabled).is_err() {
                            let (small, why) = shrink(drawn, disabled);
                            let names: Vec<_> = small.iter().map(|member| &*member.module.name).collect();
                            let modules: String =
                                small.iter().map(|member| member.module.to_string()).collect();
                            let text = format!("seed {seed}: {names:?}: {why}\n{modules}");
                            failures.lock().expect("nobody panics").push(text);
                        }
                    }
                })
                .expect("a thread starts");
        }
    });
    let failures = failures.into_inner().expect("nobody panics");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn random_images_answer_as_their_workloads_alone() {
    let first = env("LAMBDAC_SEED", 0);
    let count = env("LAMBDAC_IMAGES", IMAGES);
    let members = members(first as u64 * 1000);
    run(&members, first, count, &[]);
    let names: Vec<&str> = lambdac_image::passes().iter().map(|pass| pass.name).collect();
    for alone in &names {
        let others: Vec<&str> = names.iter().copied().filter(|name| name != alone).collect();
        run(&members, first, count / 10, &others);
        // And all the others.
        run(&members, first + count, count / 20, &[alone]);
    }
    // Linked alone, nothing is shared.
    for seed in 0..count / 100 {
        let drawn = draw(&members, seed as u64);
        linked(&drawn)
            .and_then(|image| compare(image, &drawn))
            .unwrap_or_else(|error| panic!("linked: {error}"));
    }
}

/// Images of the relinking test.
const RELINKED: usize = 60;

#[test]
fn relinking_after_a_change_gives_the_bytes_of_a_clean_build() {
    let first = env("LAMBDAC_SEED", 0);
    let members = members(first as u64 * 1000);
    let mut linker = lambdac_image::Linker::new(device());
    let options = lambdac_image::Options {
        validate: true,
        ..lambdac_image::Options::default()
    };
    let mut same = |drawn: &[&Member]| {
        let sources: Vec<_> = modules(drawn)
            .into_iter()
            .map(|(id, module)| lambdac_image::Source {
                asked: Vec::new(),
                id,
                module,
                on_host: Vec::new(),
            })
            .collect();
        let relinked = linker.run("image", &sources, &options);
        let (relinked, report) = relinked.expect("names are distinct");
        let mut clean = linked(drawn).unwrap_or_else(|error| panic!("{error}"));
        let clean_report = lambdac_image::optimize(&mut clean, &device(), &options);
        assert_eq!(relinked.module.to_string(), clean.module.to_string());
        assert!(relinked == clean, "the images differ");
        assert!(report == clean_report, "the reports differ");
    };
    for seed in first..first + RELINKED {
        let mut drawn = draw(&members, seed as u64);
        same(&drawn);
        // One goes, another comes.
        let mut dice = Dice::new(seed as u64);
        let at = dice.below(drawn.len());
        let new = &members[dice.below(members.len())];
        if drawn.iter().all(|member| member.module.name != new.module.name) {
            drawn[at] = new;
        }
        same(&drawn);
    }
}

/// Links workloads in groups as large as images of tests are, and runs their tests and their requests: as they are linked,
/// after all passes, and after each pass alone.
fn corpus(folder: &str, requests: u64) {
    let members = lambdac_tests::images::folder(folder, requests);
    assert!(!members.is_empty(), "{folder} has workloads");
    let mut tests = 0;
    for group in members.chunks(MOST) {
        let group: Vec<&Member> = group.iter().collect();
        let naive = linked(&group).unwrap_or_else(|error| panic!("{error}"));
        let mut images = vec![image(&group, &[])];
        images.extend(
            lambdac_image::passes()
                .iter()
                .map(|pass| image(&group, &others(pass))),
        );
        let images = images
            .into_iter()
            .map(|image| image.unwrap_or_else(|error| panic!("{error}")));
        // A pass that only says where things lie has changed nothing that can be run.
        let changed = images
            .filter(|image| !runs_alike(image, &naive))
            .collect::<Vec<_>>();
        for image in [naive.clone()].into_iter().chain(changed) {
            let shared = std::sync::Arc::new(image.clone());
            for member in &group {
                tests += run_tests(&shared, member).unwrap_or_else(|failures| panic!("{failures:#?}"));
            }
            compare(image, &group).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    println!(
        "{} workloads of {folder}: {tests} runs of tests pass on images",
        members.len()
    );
}

/// Whether two images differ in nothing but where objects lie and what is counted.
fn runs_alike(a: &Image, b: &Image) -> bool {
    (&a.module, &a.entries, &a.stage, &a.host) == (&b.module, &b.entries, &b.stage, &b.host)
}

/// The names of all passes but one.
fn others(pass: &lambdac_image::Pass) -> Vec<&'static str> {
    let all = lambdac_image::passes().iter().map(|other| other.name);
    all.filter(|name| *name != pass.name).collect()
}

#[test]
fn the_examples_share_an_image_and_pass_their_tests() {
    corpus("examples", EXAMPLE_REQUESTS);
}

#[test]
fn the_conformance_programs_share_images_and_pass_their_tests() {
    corpus("lang-spec/conformance", CONFORMANCE_REQUESTS);
}

#[test]
fn tables_of_workloads_that_look_at_one_field_are_joined_and_answer_alike() {
    let members = many_rules();
    let members: Vec<&Member> = members.iter().collect();
    let image = image(&members, &[]).unwrap_or_else(|error| panic!("{error}"));
    let joined = |node: &&Node| {
        matches!(
            node,
            Node::Table {
                key: Key::Both(_),
                ..
            }
        )
    };
    assert_eq!(
        image.stage.nodes.iter().filter(joined).count(),
        2,
        "one a least length"
    );
    compare(image, &members).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn state_that_nobody_reads_is_not_written() {
    // A `test` item looks at any state (`expect PLACE == VALUE`), and so does `lambdac state` of a running worker: what
    // no lambda reads is still read from outside, so dead-code leaves its writes.
    println!("skipped: state that no lambda reads is read from outside, and stays written");
}
