//! Waiting: for a signal, and with `--watch` for changes of the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
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
    watch: Option<Watch>,
}

/// The watched folders: editors replace files, so a file itself can't be watched.
struct Watch {
    watcher: notify::RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    /// Files whose changes count, beside all sources: what the last image was made of.
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Events {
    /// Listens for signals, and watches the sources if that was asked for.
    pub fn listen(args: &Run) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        on_signal(sender.clone())?;
        let watch = args.watch.then(|| Watch::new(&args.sources.files, sender));
        Ok(Self {
            receiver,
            watch: watch.transpose()?,
        })
    }

    /// Counts changes of these files too, from now on: libraries, and what is included, wherever links lead.
    pub fn follow(&mut self, wanted: &BTreeSet<PathBuf>) {
        if let Some(watch) = &mut self.watch {
            watch.follow(wanted);
        }
    }

    /// Reloads on changes until a signal comes.
    pub fn until_stopped(&mut self, loader: &mut Loader, running: &Running) {
        while let Ok(Event::Changed) = self.receiver.recv() {
            if settle(&self.receiver) {
                return;
            }
            loader.reload(running);
            self.follow(&loader.wanted);
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

impl Watch {
    /// Watches the folders of the sources.
    fn new(files: &[PathBuf], sender: Sender<Event>) -> Result<Self> {
        let cannot = |path: &Path| Exit::environment(format!("cannot watch {}", path.display()));
        let wanted: Arc<Mutex<BTreeSet<PathBuf>>> = Arc::default();
        let counted = wanted.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let wanted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| counts(&event, &wanted)) {
                // As above.
                let _ = sender.send(Event::Changed);
            }
        })
        .map_err(cannot(Path::new("files")))?;
        for path in files.iter().filter(|path| path.is_dir()) {
            watcher
                .watch(path, RecursiveMode::Recursive)
                .map_err(cannot(path))?;
        }
        let mut watch = Self {
            watcher,
            folders: BTreeSet::new(),
            wanted,
        };
        watch.follow(&files.iter().filter(|path| !path.is_dir()).cloned().collect());
        Ok(watch)
    }

    fn follow(&mut self, wanted: &BTreeSet<PathBuf>) {
        let places: BTreeSet<PathBuf> = wanted
            .iter()
            .flat_map(|path| [place(path), path.canonicalize().ok()])
            .flatten()
            .collect();
        for folder in places.iter().filter_map(|path| path.parent()) {
            // A folder that is not there yet has no files that could be read either.
            if !self.folders.contains(folder)
                && self.watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
            {
                self.folders.insert(folder.to_path_buf());
            }
        }
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}

/// Where a file is, or would be: its folder without links, and its name.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

/// Whether something happened to a source, or to a file that one needs.
fn counts(event: &notify::Event, wanted: &BTreeSet<PathBuf>) -> bool {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lnic");
    let is_wanted = |path: &PathBuf| place(path).is_some_and(|place| wanted.contains(&place));
    !matches!(event.kind, notify::EventKind::Access(_))
        && (event.need_rescan() || event.paths.iter().any(|path| is_source(path) || is_wanted(path)))
}
