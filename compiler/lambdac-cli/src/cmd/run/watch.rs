//! Waiting: for a signal, and with `--watch` for changes of the sources.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use lnic_host::Running;
use notify::{RecursiveMode, Watcher};

use super::Loader;
use crate::args::Run;
use crate::exit::{Exit, Result};

/// Editors write in several steps; a change counts when nothing more has come for this long.
const SETTLE: Duration = Duration::from_millis(30);

/// What wakes the command.
enum Event {
    Stop,
    Changed,
}

/// Signals and changes, from before the sources are first read: none that follows is missed.
pub struct Events {
    receiver: Receiver<Event>,
    /// Tells as long as it lives.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Events {
    /// Listens for signals, and watches the sources if that was asked for.
    pub fn listen(args: &Run) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        on_signal(sender.clone())?;
        let watcher = args.watch.then(|| watch(&args.sources.files, sender));
        Ok(Self {
            receiver,
            _watcher: watcher.transpose()?,
        })
    }

    /// Reloads on changes until a signal comes.
    pub fn until_stopped(&self, loader: &mut Loader, running: &Running) {
        while let Ok(Event::Changed) = self.receiver.recv() {
            if settle(&self.receiver) {
                return;
            }
            loader.reload(running);
        }
    }
}

/// Takes events until none has come for a while; whether a stop was among them.
fn settle(events: &Receiver<Event>) -> bool {
    loop {
        match events.recv_timeout(SETTLE) {
            Ok(Event::Changed) => {}
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// Tells of SIGINT and SIGTERM.
fn on_signal(sender: Sender<Event>) -> Result {
    ctrlc::set_handler(move || {
        // Nobody listens only when the command is already ending.
        let _ = sender.send(Event::Stop);
    })
    .map_err(Exit::environment("cannot listen for signals"))
}

/// Watches the folders of the sources: editors replace files, so a file itself can't be watched.
fn watch(files: &[PathBuf], sender: Sender<Event>) -> Result<notify::RecommendedWatcher> {
    let cannot = |path: &Path| Exit::environment(format!("cannot watch {}", path.display()));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let changes = event.is_ok_and(|event| !matches!(event.kind, notify::EventKind::Access(_)));
        if changes {
            // As above.
            let _ = sender.send(Event::Changed);
        }
    })
    .map_err(cannot(Path::new("files")))?;
    for path in files {
        let (folder, mode) = match path.parent() {
            _ if path.is_dir() => (path.as_path(), RecursiveMode::Recursive),
            Some(parent) if parent != Path::new("") => (parent, RecursiveMode::NonRecursive),
            _ => (Path::new("."), RecursiveMode::NonRecursive),
        };
        watcher.watch(folder, mode).map_err(cannot(folder))?;
    }
    Ok(watcher)
}
