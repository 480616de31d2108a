//! A worker as a whole: start, swap, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, cores};
use crate::engine_api::Engine;
use crate::events::EventLog;
use crate::fallback;
use crate::http;
use crate::image::{Image, Retired};
use crate::metrics::Metrics;
use crate::nic::NicMetrics;
use crate::sys::{Peer, wire_sockets};
use crate::worker::{self, Handle, NicPunt, Setup};

/// How often waiting log lines are written and replaced images freed.
const CARE_INTERVAL: Duration = Duration::from_millis(50);
/// Punted requests that wait for a connection to their fallback.
const FALLBACK_QUEUE: usize = 1024;

/// Why a worker can't start, or take an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The λ wire's address can't be bound.
    #[error("cannot listen on udp {address}")]
    Wire {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The HTTP address can't be bound.
    #[error("cannot listen on tcp {address}")]
    Http {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A thread, a queue or the runtime can't be made.
    #[error("cannot start the worker's threads")]
    Threads(#[source] io::Error),
    /// The address of a service means nothing.
    #[error("service {name}: cannot resolve `{address}`")]
    Service {
        /// `WORKLOAD.SERVICE`.
        name: String,
        /// The address as given.
        address: String,
        /// The resolver's reason.
        #[source]
        source: io::Error,
    },
    /// An address was given for a service that no workload has.
    #[error("no workload has a service `{0}`")]
    NoService(String),
    /// A fallback was given for a workload that is not there.
    #[error("there is no workload `{0}` to have a fallback")]
    NoWorkload(String),
    /// A fallback that can't be called.
    #[error("workload {workload}: `{url}` is no URL of a fallback: http://HOST[:PORT]/PATH is expected")]
    Fallback {
        /// The workload.
        workload: String,
        /// The URL as given.
        url: String,
    },
    /// A workload whose id, fragment size or chunk size is wrong, or whose name or index is taken.
    #[error("workload `{0}` has an id, name or size that this worker cannot serve")]
    Workload(String),
}

/// What the HTTP server and the swap share with the packet threads.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) image: Arc<ArcSwap<Image>>,
    pub(crate) retired: Retired,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: EventLog,
    pub(crate) workers: Vec<Arc<Handle>>,
    pub(crate) fallbacks: mpsc::Sender<worker::FallbackJob>,
}

/// Starts workers.
#[derive(Debug)]
pub struct Server;

/// What the configuration names must be there when the worker starts. Later images may lack it.
fn check_names(config: &Config, engine: &dyn Engine) -> Result<(), Error> {
    let mut services = config.services.keys();
    if let Some(name) = services.find(|name| !engine.services().iter().any(|service| service.name == **name))
    {
        return Err(Error::NoService(name.clone()));
    }
    for (workload, url) in &config.fallbacks {
        if !engine.workloads().iter().any(|info| info.name == *workload) {
            return Err(Error::NoWorkload(workload.clone()));
        }
        if !fallback::is_callable(url) {
            return Err(Error::Fallback {
                workload: workload.clone(),
                url: url.clone(),
            });
        }
    }
    Ok(())
}

impl Server {
    /// Starts a worker that answers once this returns. `events` is the log that the engine writes
    /// to as well.
    ///
    /// # Errors
    ///
    /// An address that can't be had, a service that can't be resolved, a workload that can't be
    /// served.
    pub fn start(config: Config, engine: Arc<dyn Engine>, events: EventLog) -> Result<Running, Error> {
        let threads = config.threads.unwrap_or_else(cores).get();
        let metrics = Arc::new(Metrics::new(threads));
        check_names(&config, &*engine)?;
        let image = Arc::new(ArcSwap::from_pointee(Image::new(engine, &config, &metrics)?));
        let (wire_addr, sockets) = wire_sockets(config.wire, threads).map_err(|source| Error::Wire {
            address: config.wire,
            source,
        })?;
        let address = config.http;
        let http_error = |source| Error::Http { address, source };
        let listener = std::net::TcpListener::bind(config.http).map_err(http_error)?;
        listener.set_nonblocking(true).map_err(http_error)?;
        let http_addr = listener.local_addr().map_err(http_error)?;

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.http_threads.unwrap_or_else(cores).get())
            .thread_name("lnic-http")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        let (fallbacks, jobs) = mpsc::channel(FALLBACK_QUEUE);
        let workers = (0..threads)
            .map(|_| Handle::new(config.max_queued).map(Arc::new))
            .collect::<io::Result<Vec<_>>>()
            .map_err(Error::Threads)?;
        let shared = Arc::new(Shared {
            config,
            image,
            retired: Retired::default(),
            metrics,
            events,
            workers,
            fallbacks,
        });

        let mut joins = Vec::with_capacity(threads);
        for (index, socket) in sockets.into_iter().enumerate() {
            joins.push(spawn_worker(&shared, index, socket, wire_addr.port(), threads)?);
        }
        let (stop_http, stopped) = watch::channel(false);
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener).map_err(http_error)?
        };
        if let Some(names) = names_listener(&runtime, wire_addr) {
            runtime.spawn(http::serve(
                names,
                Arc::clone(&shared),
                http::Door::Names,
                stopped.clone(),
            ));
        }
        let http = runtime.spawn(http::serve(
            listener,
            Arc::clone(&shared),
            http::Door::All,
            stopped,
        ));
        let timeout = shared.config.fallback_timeout;
        runtime.spawn(fallback::serve(jobs, timeout, shared.metrics.http_shard()));
        runtime.spawn(take_care(Arc::clone(&shared)));
        Ok(Running {
            wire_addr,
            http_addr,
            parts: Some(Parts {
                shared,
                runtime,
                joins,
                http,
                stop_http,
            }),
        })
    }
}

/// TCP on the wire's own port, where names are looked up by callers that know only the wire. Another program may have
/// the port; then callers need the HTTP address.
fn names_listener(runtime: &tokio::runtime::Runtime, wire: SocketAddr) -> Option<TcpListener> {
    let listener = std::net::TcpListener::bind(wire).ok()?;
    listener.set_nonblocking(true).ok()?;
    let _context = runtime.enter();
    TcpListener::from_std(listener).ok()
}

fn spawn_worker(
    shared: &Arc<Shared>,
    index: usize,
    socket: socket2::Socket,
    port: u16,
    threads: usize,
) -> Result<JoinHandle<()>, Error> {
    let config = &shared.config;
    let setup = Setup {
        index,
        pin: config.pin,
        socket,
        port,
        handle: Arc::clone(&shared.workers[index]),
        image: Arc::clone(&shared.image),
        metrics: Arc::clone(&shared.metrics),
        events: shared.events.clone(),
        trusted: Arc::from(config.trusted.as_slice()),
        reassembly: config.reassembly.split(threads),
        max_waiting: config.max_waiting.clamp(1, u32::MAX as usize),
        service_ports: config.service_ports,
        fallbacks: shared.fallbacks.clone(),
        drain_timeout: config.drain_timeout,
    };
    let body = move || {
        if let Err(error) = worker::run(setup) {
            tracing::error!(%error, thread = index, "packet thread ended");
        }
    };
    let name = format!("lnic-wire-{index}");
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(Error::Threads)
}

/// Writes log lines as they come and frees replaced images, for as long as the runtime lives.
async fn take_care(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(CARE_INTERVAL);
    let mut reported = 0;
    loop {
        interval.tick().await;
        shared.events.drain();
        shared.retired.free();
        let suppressed = shared.events.suppressed();
        if suppressed >= reported + 1000 || (suppressed > reported && reported == 0) {
            tracing::warn!(suppressed, "log lines over the rate limit are suppressed");
            reported = suppressed;
        }
    }
}

struct Parts {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    joins: Vec<JoinHandle<()>>,
    http: tokio::task::JoinHandle<()>,
    stop_http: watch::Sender<bool>,
}

/// A worker that runs. Dropping it stops it, as [`Running::stop`] does.
pub struct Running {
    wire_addr: SocketAddr,
    http_addr: SocketAddr,
    parts: Option<Parts>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("wire_addr", &self.wire_addr)
            .field("http_addr", &self.http_addr)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Where the λ wire is answered.
    pub fn wire_addr(&self) -> SocketAddr {
        self.wire_addr
    }

    /// Where HTTP is answered.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Serves `engine` from now on. Requests that were begun end in the image they began in;
    /// none is lost.
    ///
    /// # Errors
    ///
    /// A service that can't be resolved or a workload that can't be served; then the old image
    /// goes on.
    pub fn swap(&self, engine: Arc<dyn Engine>) -> Result<(), Error> {
        let Some(Parts { shared, .. }) = &self.parts else {
            return Ok(());
        };
        let image = Image::new(engine, &shared.config, &shared.metrics)?;
        shared.retired.add(shared.image.swap(Arc::new(image)));
        for worker in &shared.workers {
            worker.wake();
        }
        Ok(())
    }

    /// Serves a request that a NIC in front of this worker handed up, as if it had come over the wire: whole, to a
    /// workload's lambda or (none) its fallback. `local` is the address that it was sent to. False where it is unknown
    /// here, or there is no room.
    pub fn punted(
        &self,
        (workload, lambda): (&str, Option<&str>),
        from: SocketAddr,
        local: std::net::Ipv4Addr,
        datagram: Vec<u8>,
    ) -> bool {
        let Some(Parts { shared, .. }) = &self.parts else {
            return false;
        };
        let image = shared.image.load_full();
        let Some(at) = image.by_name(workload) else {
            return false;
        };
        let lambdas = &image.info(at).lambdas;
        let lambda = match lambda.map(|name| lambdas.iter().position(|other| other == name)) {
            None => None,
            Some(None) => return false,
            Some(found) => found,
        };
        let mut punt = NicPunt {
            image,
            workload: at,
            lambda,
            peer: Peer::answered_from(from, local),
            datagram,
        };
        let first = usize::from(from.port());
        for step in 0..shared.workers.len() {
            match shared.workers[(first + step) % shared.workers.len()].submit_punt(punt) {
                Ok(()) => return true,
                Err(back) => punt = back,
            }
        }
        false
    }

    /// Shows what a NIC in front of this worker counts among its metrics.
    pub fn set_nic(&self, nic: Arc<dyn NicMetrics>) {
        if let Some(Parts { shared, .. }) = &self.parts {
            shared.metrics.set_nic(nic);
        }
    }

    /// Stops listening, finishes what is in flight for at most the drain time, and ends all
    /// threads.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(Parts {
            shared,
            runtime,
            joins,
            http,
            stop_http,
        }) = self.parts.take()
        else {
            return;
        };
        let limit = shared.config.drain_timeout;
        // HTTP first: its requests may still need the packet threads.
        _ = stop_http.send(true);
        runtime.block_on(async {
            if tokio::time::timeout(limit, http).await.is_err() {
                tracing::warn!("HTTP requests were cut off at stop");
            }
        });
        for worker in &shared.workers {
            worker.stop();
        }
        for join in joins {
            if join.join().is_err() {
                tracing::error!("a packet thread panicked");
            }
        }
        shared.events.drain();
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shut_down();
    }
}
