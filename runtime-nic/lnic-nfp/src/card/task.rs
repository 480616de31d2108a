//! Threads that do something again and again until they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{CardError, Result};

/// Such a thread; dropping it waits until what it does now is done.
#[derive(Debug)]
pub(super) struct Task {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    /// Starts one. `turn` waits a little itself.
    pub(super) fn start(name: &str, mut turn: impl FnMut() + Send + 'static) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                turn();
            }
        });
        let thread = thread.map_err(|source| CardError::Io {
            what: "a thread can't be started",
            source,
        })?;
        Ok(Self {
            stopping,
            thread: Some(thread),
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that looks after the card panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_task_ends_when_it_is_dropped() {
        let turns = Arc::new(AtomicU32::new(0));
        let count = turns.clone();
        let task = Task::start("test", move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        });
        while turns.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        drop(task.expect("it starts"));
        let ended = turns.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(turns.load(Ordering::SeqCst), ended);
    }
}
