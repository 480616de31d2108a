//! Runs of random programs: many at once, each failure shrunk and kept.
//!
//! A disagreement is written to a corpus as the choices that make the program, with the program beside them for
//! reading; the files there are replayed first. `LAMBDAC_PROGRAMS` sets how many programs are run, `LAMBDAC_SEED` where
//! the seeds begin.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::differential::Mismatch;
use crate::generate::{Program, Request, program, replay, shrink};

/// Tries that shrinking may take.
const SHRINK_TRIES: u32 = 1_500;
/// Failures that a thread shrinks and reports.
const FAILURES: usize = 3;
/// Stack of a thread: the evaluator recurses.
const STACK: usize = 64 << 20;

/// What a comparison of one program finds out besides that all agree.
pub type Check<T> = fn(&str, &[Request]) -> Result<T, Mismatch>;

/// A number from the environment.
pub fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Whether this machine can't run XDP programs by the kernel's test-run call; then it says so.
///
/// # Panics
///
/// If `LAMBDAC_REQUIRE` has `ebpf` in its list.
pub fn no_xdp() -> bool {
    let Err(missing) = lnic_xdp::probe::check() else {
        return false;
    };
    lacks_ebpf(&missing.to_string());
    true
}

/// Says what a test of the NIC path misses here.
///
/// # Panics
///
/// If `LAMBDAC_REQUIRE` has `ebpf` in its list.
pub fn lacks_ebpf(missing: &str) {
    let required = std::env::var("LAMBDAC_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == "ebpf"), "{missing}");
    println!("skipped: {missing}");
}

/// A kind of run, with its corpus.
pub struct Runs<T> {
    /// The folder in `regressions/`.
    pub corpus: &'static str,
    /// Runs a program.
    pub check: Check<T>,
}

impl<T: Send> Runs<T> {
    fn corpus(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("regressions")
            .join(self.corpus)
    }

    /// Compares, and takes a panic for a mismatch.
    fn check(&self, program: &Program) -> Result<T, Mismatch> {
        let check = self.check;
        catch_unwind(AssertUnwindSafe(|| check(&program.source, &program.requests))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            Err(Mismatch(format!("panic: {text}")))
        })
    }

    /// Shrinks a failing program and writes it to the corpus; gives what to tell.
    fn report(&self, seed: u64, failing: &Program, mismatch: &Mismatch) -> String {
        let wanted = kind(mismatch);
        let choices = shrink(&failing.choices, SHRINK_TRIES, |choices| {
            self.check(&replay(choices))
                .is_err_and(|mismatch| kind(&mismatch) == wanted)
        });
        let small = replay(&choices);
        let why = self
            .check(&small)
            .err()
            .map_or_else(|| mismatch.to_string(), |mismatch| mismatch.to_string());
        let dir = self.corpus();
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

    /// Replays the corpus; gives how many files agree.
    ///
    /// # Panics
    ///
    /// If one doesn't, or can't be read.
    pub fn replay(&self) -> usize {
        let mut replayed = 0;
        let entries = std::fs::read_dir(self.corpus()).into_iter().flatten();
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let text = std::fs::read_to_string(&path).expect("the corpus is readable");
            let program = match path.extension().and_then(|ext| ext.to_str()) {
                Some("choices") => {
                    let numbers = text.split_whitespace();
                    replay(
                        &numbers
                            .map(|n| n.parse().expect("a number"))
                            .collect::<Vec<u32>>(),
                    )
                }
                // Choices mean another program after the generator has changed; the program itself stays.
                Some("lnic") => Program {
                    source: text,
                    requests: standard_requests(),
                    ..replay(&[])
                },
                _ => continue,
            };
            if let Err(mismatch) = self.check(&program) {
                panic!("{}: {mismatch}", path.display());
            }
            replayed += 1;
        }
        assert!(replayed > 0, "the corpus {} is empty", self.corpus);
        replayed
    }

    /// Runs the programs of so many seeds on all cores; gives what `each` made of those that agree, and what to tell
    /// of those that don't.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub fn run<S: Default + Send>(
        &self,
        programs: u64,
        each: fn(&mut S, &Program, &T),
    ) -> (Vec<S>, Vec<String>) {
        let first = env("LAMBDAC_SEED", 0);
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let share = programs.div_ceil(threads);
        std::panic::set_hook(Box::new(|_| {}));
        let results: Vec<_> = std::thread::scope(|scope| {
            let start = |thread: u64| {
                let begin = first + thread * share;
                let count = share.min((first + programs).saturating_sub(begin));
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, move || self.share(begin, count, each))
            };
            let handles: Vec<_> = (0..threads)
                .map(|thread| start(thread).expect("a thread starts"))
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().expect("a share catches panics"))
                .collect()
        });
        let _ = std::panic::take_hook();
        let (seen, failures): (Vec<S>, Vec<Vec<String>>) = results.into_iter().unzip();
        (seen, failures.concat())
    }

    fn share<S: Default>(&self, first: u64, count: u64, each: fn(&mut S, &Program, &T)) -> (S, Vec<String>) {
        let mut seen = S::default();
        let mut failures = Vec::new();
        for seed in first..first + count {
            let program = program(seed);
            match self.check(&program) {
                Ok(found) => each(&mut seen, &program, &found),
                Err(mismatch) if failures.len() < FAILURES => {
                    failures.push(self.report(seed, &program, &mismatch));
                }
                Err(_) => break,
            }
        }
        (seen, failures)
    }
}

/// Requests of many lengths and contents, for programs whose own are not known.
fn standard_requests() -> Vec<Request> {
    (0..12).flat_map(|seed| program(seed).requests).collect()
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
