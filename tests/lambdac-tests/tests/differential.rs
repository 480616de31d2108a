//! Random programs on every engine: the HIR evaluator, MIR as lowered, split and optimised, and the host's code.
//!
//! A disagreement is shrunk and written to `regressions/differential/` as the choices that make the program, with the
//! program beside them for reading; the files there are replayed first. `LAMBDAC_PROGRAMS` sets how many programs are
//! run, `LAMBDAC_SEED` where the seeds begin.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use lambdac_tests::differential::{Mismatch, compare};
use lambdac_tests::generate::{Program, Seen, UseCounts, program, replay, shrink};

/// Programs of a CI run.
const PROGRAMS: u64 = 5_000;
/// Tries that shrinking may take.
const SHRINK_TRIES: u32 = 1_500;

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn regressions() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("regressions/differential")
}

/// Compares, and takes a panic for a mismatch.
fn check(program: &Program) -> Result<Seen, Mismatch> {
    catch_unwind(AssertUnwindSafe(|| compare(&program.source, &program.requests))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(Mismatch(format!("panic: {text}")))
    })
}

/// What kind of failure it is, so that shrinking does not slip from one to another.
fn kind(mismatch: &Mismatch) -> String {
    let text = &mismatch.0;
    let start = |n| text.chars().take(n).collect::<String>();
    match text.split_once(':').map(|(head, _)| head) {
        Some("it does not compile") => start(60),
        Some("panic") => start(80),
        Some(head) if head.starts_with("request") => {
            let engine = text
                .lines()
                .nth(2)
                .and_then(|line| line.split(':').next())
                .unwrap_or_default();
            format!("outcome {engine}")
        }
        Some(head) if head.starts_with("state") => "state".to_owned(),
        _ => start(30),
    }
}

/// Shrinks a failing program and writes it to the corpus; gives what to tell.
fn report(seed: u64, failing: &Program, mismatch: &Mismatch) -> String {
    let wanted = kind(mismatch);
    let choices = shrink(&failing.choices, SHRINK_TRIES, |choices| {
        check(&replay(choices)).is_err_and(|mismatch| kind(&mismatch) == wanted)
    });
    let small = replay(&choices);
    let why = check(&small)
        .err()
        .map_or_else(|| mismatch.to_string(), |mismatch| mismatch.to_string());
    let dir = regressions();
    let numbers: Vec<String> = choices.iter().map(u32::to_string).collect();
    let comment: String = why.lines().take(6).map(|line| format!("// {line}\n")).collect();
    let written = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(dir.join(format!("{seed}.choices")), numbers.join(" ") + "\n"))
        .and_then(|()| {
            std::fs::write(
                dir.join(format!("{seed}.lnic")),
                format!("{comment}{}", small.source),
            )
        });
    let place = match written {
        Ok(()) => format!("written to {}", dir.display()),
        Err(error) => format!("not written: {error}"),
    };
    format!("seed {seed}: {why}\n{}\n{place}", small.source)
}

#[test]
fn the_regression_corpus_agrees() {
    let mut replayed = 0;
    let entries = std::fs::read_dir(regressions()).into_iter().flatten();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let text = std::fs::read_to_string(&path).expect("the corpus is readable");
        if path.extension().is_some_and(|ext| ext == "choices") {
            let choices: Vec<u32> = text
                .split_whitespace()
                .map(|n| n.parse().expect("a number"))
                .collect();
            check(&replay(&choices)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            replayed += 1;
        } else if path.extension().is_some_and(|ext| ext == "lnic") {
            // Choices mean another program after the generator has changed; the program itself stays.
            let program = Program {
                source: text,
                requests: standard_requests(),
                ..replay(&[])
            };
            check(&program).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            replayed += 1;
        }
    }
    println!("{replayed} files of the regression corpus agree");
}

/// Requests of many lengths and contents, for programs whose own are not known.
fn standard_requests() -> Vec<lambdac_tests::generate::Request> {
    (0..12).flat_map(|seed| program(seed).requests).collect()
}

fn run(first: u64, count: u64) -> (UseCounts, Vec<String>) {
    let mut counts = UseCounts::default();
    let mut failures = Vec::new();
    for seed in first..first + count {
        let program = program(seed);
        match check(&program) {
            Ok(seen) => counts.add(&program, &seen),
            Err(mismatch) if failures.len() < 3 => failures.push(report(seed, &program, &mismatch)),
            Err(_) => break,
        }
    }
    (counts, failures)
}

#[test]
fn random_programs_agree_on_every_engine() {
    let (first, programs) = (env("LAMBDAC_SEED", 0), env("LAMBDAC_PROGRAMS", PROGRAMS));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let share = programs.div_ceil(threads);
    std::panic::set_hook(Box::new(|_| {}));
    let results: Vec<_> = std::thread::scope(|scope| {
        let start = |thread: u64| {
            let begin = first + thread * share;
            let count = share.min((first + programs).saturating_sub(begin));
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn_scoped(scope, move || run(begin, count))
        };
        let handles: Vec<_> = (0..threads)
            .map(|thread| start(thread).expect("a thread starts"))
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("run() catches panics"))
            .collect()
    });
    let _ = std::panic::take_hook();
    let mut counts = UseCounts::default();
    let mut failures = Vec::new();
    for (each, failed) in results {
        counts.merge(&each);
        failures.extend(failed);
    }
    println!("{counts}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(
        counts.unlisted().is_empty(),
        "uses that no feature lists: {:?}",
        counts.unlisted()
    );
    assert!(
        counts.fitting_percent() >= 80,
        "only {} % of requests fit T",
        counts.fitting_percent()
    );
    if programs >= 1000 {
        assert!(
            counts.rare().is_empty(),
            "in less than 1 % of programs: {:?}",
            counts.rare()
        );
        assert!(
            counts.rules_never_hit().is_empty(),
            "rules that no request met: {:?}",
            counts.rules_never_hit()
        );
        assert!(
            counts.places_never_hit().is_empty(),
            "rules never reached: {:?}",
            counts.places_never_hit()
        );
    }
}
