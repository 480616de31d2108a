//! How many replies threads of a load generator take in a stretch of time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cores;

/// Where load comes from, and for how long.
pub struct Schedule<'a> {
    /// A thread runs on each.
    pub cores: &'a [usize],
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
}

/// The time that is counted.
#[derive(Clone, Copy)]
pub struct Window {
    /// When it begins.
    pub begin: Instant,
    /// When threads stop.
    pub end: Instant,
}

impl Schedule<'_> {
    /// Replies a second, and what `sample` gave when counting began and ended. `thread` gives its replies in the window.
    pub fn run<T>(
        &self,
        thread: impl Fn(Window) -> Result<u64> + Sync,
        mut sample: impl FnMut() -> Result<T>,
    ) -> Result<(f64, T, T)> {
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.duration;
        let on_core = |core: usize| {
            cores::bind(&[core])?;
            thread(Window { begin, end })
        };
        std::thread::scope(|scope| {
            let on_core = &on_core;
            let start = |core: &usize| {
                let core = *core;
                scope.spawn(move || on_core(core))
            };
            let threads: Vec<_> = self.cores.iter().map(start).collect();
            let mut sample_at = |time: Instant| {
                std::thread::sleep(time.saturating_duration_since(Instant::now()));
                sample()
            };
            let samples = (sample_at(begin), sample_at(end));
            let mut replies = 0;
            for thread in threads {
                replies += thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??;
            }
            ensure!(replies > 0, "no reply at all");
            Ok((
                replies as f64 / self.duration.as_secs_f64(),
                samples.0?,
                samples.1?,
            ))
        })
    }
}
