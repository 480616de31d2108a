//! `lambdac check`
//!
//! Files do not concern each other, so several threads check them, each with a session of its own. What they report is
//! written in the order of the files all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lambdac_driver::disk::Disk;
use lambdac_driver::{Input, Session};

use crate::args::{Check, Format};
use crate::exit::{Exit, Result};
use crate::{compile, report};

/// Threads, at most.
const MAX_THREADS: usize = 16;
/// Files a thread, at least: starting one and parsing the standard library again is not worth fewer.
const FILES_A_THREAD: usize = 16;
/// The stack of a thread: that of a process's first one on Linux.
const STACK_BYTES: usize = 8 << 20;
/// Results that may wait to be written.
const MAX_WAITING: usize = 1_024;

/// What checking a file gave.
struct Outcome {
    /// Its diagnostics, as they are to be written.
    text: String,
    /// Whether it is wrong.
    failed: bool,
}

/// Reports diagnostics, each file alone.
pub fn run(args: &Check, format: Format) -> Result {
    let paths = compile::paths(&args.sources)?;
    let color = report::color(&std::io::stderr());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MAX_THREADS).min(paths.len().div_ceil(FILES_A_THREAD));
    let next = AtomicUsize::new(0);
    let wrong = std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        for _ in 0..threads {
            let (sender, paths, next) = (sender.clone(), &paths, &next);
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || check_files(paths, next, format, color, &sender))
                .map_err(Exit::environment("no thread to check with"))?;
        }
        drop(sender);
        write_in_order(&receiver)
    })?;
    if wrong { Err(Exit::Reported) } else { Ok(()) }
}

/// Checks file after file, each the `next` that no thread has taken, until none is left or nobody wants to know.
fn check_files(
    paths: &[PathBuf],
    next: &AtomicUsize,
    format: Format,
    color: bool,
    results: &SyncSender<(usize, Result<Outcome>)>,
) {
    let mut session = Session::new(Box::new(Disk::default()));
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = paths.get(index) else { return };
        let outcome = check_file(&mut session, path, format, color);
        if results.send((index, outcome)).is_err() {
            return;
        }
    }
}

fn check_file(session: &mut Session, path: &Path, format: Format, color: bool) -> Result<Outcome> {
    let input = Input::read(path).map_err(Exit::Environment)?;
    let checked = session.check(&input);
    Ok(Outcome {
        text: report::rendered(format, color, session.map(), &checked.diagnostics),
        failed: checked.failed(),
    })
}

/// Writes results in the order of their files, up to the first that could not be read; whether one was wrong.
fn write_in_order(results: &Receiver<(usize, Result<Outcome>)>) -> Result<bool> {
    let mut waiting = BTreeMap::new();
    let mut wrong = false;
    let mut written = 0;
    for (index, outcome) in results {
        waiting.insert(index, outcome);
        while let Some(outcome) = waiting.remove(&written) {
            let outcome = outcome?;
            report::write_rendered(&outcome.text);
            wrong |= outcome.failed;
            written += 1;
        }
    }
    Ok(wrong)
}
