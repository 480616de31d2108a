//! Traps and lambdas' `log` output on their way to the worker's log.
//!
//! Packet threads push into a bounded queue under a rate limit; a task drains it. So a lambda
//! that logs in every invocation costs a counter, not the packet path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use crate::engine_api::{Trap, TrapCause};
use crate::image::Image;

/// Most lines a second.
const LINES_PER_SECOND: u64 = 100;
/// Most lines that wait to be written.
const QUEUE: usize = 1024;

enum Event {
    Log {
        workload: String,
        text: String,
    },
    Trap {
        image: Arc<Image>,
        workload: usize,
        trap: Trap,
    },
    /// A trap on a NIC.
    NicTrap {
        workload: String,
        lambda: String,
        line: u32,
        cause: TrapCause,
    },
}

struct Shared {
    queue: ArrayQueue<Event>,
    /// The second (in nanoseconds / 10^9, high bits) and the lines let through in it.
    window: AtomicU64,
    suppressed: AtomicU64,
}

/// The worker's log. Clones are handles to the same log; the engine gets one at load.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

impl Default for EventLog {
    fn default() -> EventLog {
        EventLog::new()
    }
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog")
            .field("waiting", &self.shared.queue.len())
            .finish_non_exhaustive()
    }
}

impl EventLog {
    /// An empty log.
    pub fn new() -> EventLog {
        let shared = Shared {
            queue: ArrayQueue::new(QUEUE),
            window: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        };
        EventLog {
            shared: Arc::new(shared),
        }
    }

    /// Takes a line of a lambda's `log`, if the rate limit lets it through. The text is made
    /// only then. `now` is the clock of [`Packet::now`](crate::Packet::now).
    pub fn log(&self, now: u64, workload: &str, text: impl FnOnce() -> String) {
        if self.admit(now) {
            self.push(Event::Log {
                workload: workload.to_owned(),
                text: text(),
            });
        }
    }

    /// Takes the report of a trap on a NIC in front of the worker, under the same limit.
    pub fn trap_of(&self, now: u64, workload: &str, lambda: &str, line: u32, cause: TrapCause) {
        if self.admit(now) {
            self.push(Event::NicTrap {
                workload: workload.to_owned(),
                lambda: lambda.to_owned(),
                line,
                cause,
            });
        }
    }

    pub(crate) fn trap(&self, now: u64, image: &Arc<Image>, workload: usize, trap: Trap) {
        if self.admit(now) {
            self.push(Event::Trap {
                image: Arc::clone(image),
                workload,
                trap,
            });
        }
    }

    /// One of the lines of the second that `now` lies in. A thread that looked at the clock before another began a new
    /// second takes one of the new second's.
    fn admit(&self, now: u64) -> bool {
        const COUNT_BITS: u32 = 16;
        let second = now / 1_000_000_000;
        let admitted = self.shared.window.fetch_update(Relaxed, Relaxed, |window| {
            let begun = window >> COUNT_BITS;
            let used = if begun >= second { window & 0xffff } else { 0 };
            (used < LINES_PER_SECOND).then_some(begun.max(second) << COUNT_BITS | (used + 1))
        });
        if admitted.is_err() {
            self.shared.suppressed.fetch_add(1, Relaxed);
        }
        admitted.is_ok()
    }

    fn push(&self, event: Event) {
        if self.shared.queue.push(event).is_err() {
            self.shared.suppressed.fetch_add(1, Relaxed);
        }
    }

    /// Lines that the rate limit or a full queue has suppressed so far.
    pub fn suppressed(&self) -> u64 {
        self.shared.suppressed.load(Relaxed)
    }

    /// Writes what waits.
    pub(crate) fn drain(&self) {
        while let Some(event) = self.shared.queue.pop() {
            match event {
                Event::Log { workload, text } => tracing::info!(target: "lambda", %workload, "{text}"),
                Event::NicTrap {
                    workload,
                    lambda,
                    line,
                    cause,
                } => {
                    tracing::warn!(%workload, %lambda, line, cause = cause.name(), "{}", sentence(cause));
                }
                Event::Trap {
                    image,
                    workload,
                    trap,
                } => {
                    let info = &image.engine.workloads()[workload];
                    let lambda = info.lambdas.get(trap.lambda).map_or("?", String::as_str);
                    let Trap { line, cause, .. } = trap;
                    tracing::warn!(workload = %info.name, lambda, line, cause = cause.name(), "{}", sentence(cause));
                }
            }
        }
    }
}

/// What a trap's log line says.
fn sentence(cause: TrapCause) -> &'static str {
    match cause {
        TrapCause::Index => "trap: index outside the length",
        TrapCause::Slice => "trap: slice outside the length",
        TrapCause::Capacity => "trap: push or append past the capacity",
        TrapCause::Cast => "trap: byte string too long for its new type",
        TrapCause::Pad => "trap: byte string too long to pad",
        TrapCause::LoopBound => "trap: loop past its max",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_a_hundred_lines_through_and_counts_the_rest() {
        let log = EventLog::new();
        let second = 1_000_000_000;
        for _ in 0..150 {
            log.log(5 * second, "web", || "hello".to_owned());
        }
        assert_eq!((log.shared.queue.len(), log.suppressed()), (100, 50));
        log.log(6 * second, "web", || "hello".to_owned());
        assert_eq!(log.shared.queue.len(), 101);
        log.drain();
        assert!(log.shared.queue.is_empty());
    }

    #[test]
    fn threads_whose_clocks_differ_share_the_lines_of_a_second() {
        let log = EventLog::new();
        let second = 1_000_000_000;
        for at in 0..200 {
            log.log((5 + at % 2) * second, "web", String::new);
        }
        assert_eq!((log.shared.queue.len(), log.suppressed()), (101, 99));
    }

    #[test]
    fn a_suppressed_line_is_never_made() {
        let log = EventLog::new();
        let mut made = 0;
        for _ in 0..300 {
            log.log(1, "web", || {
                made += 1;
                String::new()
            });
        }
        assert_eq!(made, 100);
    }
}
