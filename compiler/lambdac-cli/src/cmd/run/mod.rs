//! `lambdac run`: compile, load, serve, and with `--watch` do it again.

mod nic;
mod settings;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use lambdac_driver::Image;
use lambdac_driver::disk::Disk;
use lnic_engine::ParamOverride;
use lnic_host::{Engine, Error, EventLog, LoadedImage, Running, Server};

use crate::args::{Format, Run};
use crate::exit::{Exit, Result};
use crate::{compile, report};

/// Serves until SIGINT or SIGTERM.
pub fn run(args: Run, format: Format) -> Result {
    start_log();
    let mut config = settings::config(&args)?;
    let events = EventLog::new();
    let nic = nic::open(&args, &mut config, &events)?;
    let mut loader = Loader {
        args,
        format,
        ids: Ids::default(),
        events: events.clone(),
        loaded: None,
        nic,
        services: config.services.clone(),
        wanted: BTreeSet::new(),
    };
    let paths = compile::paths(&loader.args.sources)?;
    let mut changes = watch::Events::listen(&loader.args)?;
    let engine = loader.load(&paths)?;
    changes.follow(&loader.wanted);
    let running = Server::start(config, engine, events).map_err(|error| match &error {
        Error::NoService(_) | Error::NoWorkload(_) | Error::Fallback { .. } => Exit::Usage(error.to_string()),
        _ => Exit::Environment(settings::with_sources(&error)),
    })?;
    let running = Arc::new(running);
    if let Some(nic) = &mut loader.nic {
        nic.attach(&running)?;
    }
    report::print(format!(
        "ready wire={} http={}\n",
        running.wire_addr(),
        running.http_addr()
    ))?;
    changes.until_stopped(&mut loader, &running);
    if let Some(nic) = loader.nic.take() {
        nic.stop();
    }
    // The last handle stops the worker when it goes; there is no other once the NIC has stopped.
    drop(running);
    Ok(())
}

/// What is logged unless RUST_LOG says otherwise. Cranelift tells of each function that it defines.
const LOGGED: &str = "info,cranelift_jit=warn,cranelift_codegen=warn";

/// The worker's log goes to stderr; RUST_LOG says how much of it.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(LOGGED));
    let color = report::color(&std::io::stderr());
    // A log that is already there stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Workload ids that stay the same from image to image, and are not given to another name.
#[derive(Default)]
struct Ids {
    by_name: BTreeMap<String, u32>,
}

impl Ids {
    /// The id of a name: its own, or the next free one. None when all are used.
    fn of(&mut self, name: &str) -> Option<u32> {
        if let Some(id) = self.by_name.get(name) {
            return Some(*id);
        }
        let index = u16::try_from(self.by_name.len() + 1).ok()?;
        let id = lnic_wire::workload_id(index, name)?;
        self.by_name.insert(name.to_owned(), id);
        Some(id)
    }
}

/// Compiles and loads images one after the other.
struct Loader {
    args: Run,
    format: Format,
    ids: Ids,
    events: EventLog,
    loaded: Option<Arc<LoadedImage>>,
    nic: Option<nic::Agent>,
    /// Addresses of services, instead of the sources'.
    services: BTreeMap<String, String>,
    /// The files that the last image was made of, found or not.
    wanted: BTreeSet<PathBuf>,
}

impl Loader {
    /// Compiles the files and loads them over the last image, whose state goes on where its type is unchanged.
    fn load(&mut self, paths: &[PathBuf]) -> Result<Arc<dyn Engine>> {
        let disk = Disk::default();
        let wanted = disk.wanted.clone();
        let image = compile::image_from(disk, paths, &self.args.passes, self.format);
        self.wanted = std::mem::take(&mut *wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.wanted.extend(paths.iter().cloned());
        let mut image = image?;
        for linked in &mut image.workloads {
            let id = self.ids.of(&linked.compiled.module.name);
            linked.id =
                id.ok_or_else(|| Exit::Failed("all workload ids are used; start the worker anew".into()))?;
        }
        let overrides = settings::params(&self.args, &image, self.loaded.is_none())?;
        let behind = match &self.nic {
            Some(nic) => nic.behind(&image, &self.services)?,
            None => None,
        };
        let host = self.host(behind.as_ref().unwrap_or(&image), &overrides)?;
        let engine: Arc<dyn Engine> = match &mut self.nic {
            Some(nic) => nic.load(&image, &host, &self.services)?,
            None => host.clone(),
        };
        self.loaded = Some(host);
        Ok(engine)
    }

    fn host(&self, image: &Image, overrides: &[ParamOverride]) -> Result<Arc<LoadedImage>> {
        let previous = self.loaded.as_ref().map(|loaded| loaded.image());
        let loaded = lnic_engine::Image::load(&image.modules(), overrides, previous)
            .map_err(|error| Exit::Failed(settings::with_sources(&error)))?;
        let ids: Vec<u32> = image.workloads.iter().map(|linked| linked.id).collect();
        Ok(Arc::new(LoadedImage::new(loaded, &ids, self.events.clone())))
    }

    /// Compiles again and swaps; what is wrong is reported, and the old image goes on.
    fn reload(&mut self, running: &Running) {
        let start = std::time::Instant::now();
        let before = self.loaded.clone();
        let swapped = compile::paths(&self.args.sources)
            .and_then(|paths| self.load(&paths))
            .and_then(|engine| {
                running
                    .swap(engine)
                    .map_err(|error| Exit::Failed(settings::with_sources(&error)))
            })
            .and_then(|()| match &mut self.nic {
                Some(nic) => nic.commit(),
                None => Ok(()),
            });
        match swapped {
            Ok(()) => tracing::info!(ms = start.elapsed().as_millis() as u64, "swapped"),
            Err(exit) => {
                self.loaded = before;
                if let Some(nic) = &mut self.nic {
                    nic.discard();
                }
                exit.report();
                tracing::warn!("the image before goes on");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn a_name_keeps_its_id_and_no_other_name_gets_it() {
        let mut ids = Ids::default();
        let a = ids.of("a");
        let b = ids.of("b");
        assert_ne!(a, b);
        assert_eq!(ids.of("a"), a);
        assert!(
            ids.of("c")
                .is_some_and(|c| Some(c) != a && Some(c) != b && c & 0xffff == 3)
        );
    }
}
