//! Runs inputs one by one so that the one that breaks a promise is known, made small and kept.
//!
//! - A **panic** is caught; the input is made smaller as long as it still panics, and written to the regressions.
//! - A **hang** is seen by a second thread, which says where the input is and ends the process.
//! - A **stack overflow** ends the process by itself; the input in work always stands in a file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::corpus::regression_folder;

/// No input takes a hundredth of this on a slow and busy machine.
const HANG: Duration = Duration::from_secs(120);

/// Tries to make a failing input smaller, at most.
const TRIES: usize = 3_000;

/// Runs one check over many inputs.
#[derive(Debug)]
pub struct Guard {
    kind: &'static str,
    in_work: PathBuf,
    started: Instant,
    /// When the input in work began, in milliseconds since `started`; `IDLE` between inputs.
    since: Arc<AtomicU64>,
    slowest: Duration,
}

const IDLE: u64 = u64::MAX;

impl Guard {
    /// For inputs of a kind, which names the folder of its regressions.
    pub fn new(kind: &'static str) -> Self {
        let in_work = std::env::temp_dir().join(format!("lambdac-fuzz-{kind}-{}", std::process::id()));
        eprintln!("fuzz: the {kind} input in work stands in {}", in_work.display());
        let guard = Self {
            kind,
            in_work,
            started: Instant::now(),
            since: Arc::new(AtomicU64::new(IDLE)),
            slowest: Duration::ZERO,
        };
        guard.watch();
        guard
    }

    fn watch(&self) {
        let (since, started, in_work) = (Arc::downgrade(&self.since), self.started, self.in_work.clone());
        std::thread::spawn(move || {
            while let Some(since) = since.upgrade() {
                let began = since.load(Ordering::Relaxed);
                if began != IDLE && started.elapsed() > Duration::from_millis(began) + HANG {
                    eprintln!("fuzz: {} hangs", in_work.display());
                    std::process::abort();
                }
                drop(since);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
    }

    /// Runs `check` on an input.
    ///
    /// # Panics
    /// Where `check` does; the message says where the smallest input that was found is kept.
    pub fn run<T>(&mut self, input: &[u8], check: impl Fn(&[u8]) -> T) -> T {
        std::fs::write(&self.in_work, input).expect("the folder for temporary files is writable");
        let began = self.started.elapsed();
        self.since.store(began.as_millis() as u64, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| check(input)));
        self.since.store(IDLE, Ordering::Relaxed);
        self.slowest = self.slowest.max(self.started.elapsed() - began);
        result.unwrap_or_else(|_| {
            let small = minimise(input, |input| {
                catch_unwind(AssertUnwindSafe(|| check(input))).is_err()
            });
            panic!(
                "{} input broke a promise; it is kept in {}",
                self.kind,
                self.keep(&small).display()
            )
        })
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        let folder = regression_folder(self.kind);
        let name = input.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let path = folder.join(format!("{name:016x}"));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, input))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// The longest that one input took.
    pub fn slowest(&self) -> Duration {
        self.slowest
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.in_work);
    }
}

/// Removes ever smaller pieces as long as the rest still fails.
fn minimise(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut tries = 0;
    let mut size = input.len().div_ceil(2);
    while size > 0 && tries < TRIES {
        let mut at = 0;
        while at < input.len() && tries < TRIES {
            let mut smaller = input.clone();
            smaller.drain(at..input.len().min(at + size));
            tries += 1;
            if fails(&smaller) {
                input = smaller;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::minimise;

    #[test]
    fn a_failing_input_is_made_as_small_as_it_goes() {
        let input: Vec<u8> = (0..200).collect();
        let small = minimise(&input, |bytes| bytes.contains(&7) && bytes.contains(&150));
        assert_eq!(small, [7, 150]);
    }
}
