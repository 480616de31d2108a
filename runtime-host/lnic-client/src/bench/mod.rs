//! Load on a workload, and what it measured.
//!
//! Closed loop: so many requests are always on their way, each reply sends the next. It finds the
//! throughput, and hides how a stall would have hurt requests that came meanwhile.
//!
//! Open loop: requests leave at a fixed rate, whatever the replies do, and latency counts from
//! the time a request *should* have left. So a stall shows in all requests it delayed.

mod lane;
mod report;

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lnic_wire::fragment_count;

use self::lane::{Lane, Tally};
pub use self::report::{Latency, Report};
use crate::{Error, Result, Workload};

/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);
/// Requests that one thread can have on their way: the numbers hold 16 bits of it.
const LANE_SLOTS: usize = 1 << 16;

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// So many are always on their way.
    Closed {
        /// Requests on their way.
        concurrency: NonZero<usize>,
    },
    /// So many leave each second.
    Open {
        /// Requests a second.
        rate: f64,
    },
}

/// Settings of a load test.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchConfig {
    /// The worker's address on the wire.
    pub worker: SocketAddr,
    /// The workload under load.
    pub workload: Workload,
    /// The request, the same every time.
    pub request: Vec<u8>,
    /// Closed or open loop.
    pub load: Load,
    /// End after this many requests.
    pub requests: Option<u64>,
    /// End after this time.
    pub duration: Option<Duration>,
    /// Load before anything is counted.
    pub warm_up: Duration,
    /// After this a request without a reply is lost.
    pub timeout: Duration,
    /// Threads; as the cores and the load allow unless given.
    pub threads: Option<NonZero<usize>>,
}

impl BenchConfig {
    /// Ten seconds of load with a second of warm-up, and two seconds until a request is lost.
    pub fn new(worker: SocketAddr, workload: Workload, request: Vec<u8>, load: Load) -> BenchConfig {
        BenchConfig {
            worker,
            workload,
            request,
            load,
            requests: None,
            duration: Some(Duration::from_secs(10)),
            warm_up: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            threads: None,
        }
    }
}

/// How a load test stands, told once a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Since counting began; none during warm-up.
    pub elapsed: Option<Duration>,
    /// Replies so far, warm-up included.
    pub replies: u64,
    /// Replies a second since the last progress.
    pub per_second: f64,
    /// Requests lost so far, warm-up included.
    pub lost: u64,
    /// Error replies so far, warm-up included.
    pub errors: u64,
}

/// What the threads of a load test share.
struct Shared<'c> {
    config: &'c BenchConfig,
    /// When counting begins.
    begin: Instant,
    /// When sending ends.
    end: Option<Instant>,
    /// Counted requests not sent yet.
    budget: AtomicU64,
    stop: AtomicBool,
    replies: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
}

impl Shared<'_> {
    /// Whether a request that is due at `time` may be sent.
    fn may_send(&self, time: Instant) -> bool {
        if self.stop.load(Relaxed) || self.end.is_some_and(|end| time >= end) {
            return false;
        }
        time < self.begin
            || self
                .budget
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }
}

/// Runs a load test. `progress` is called about once a second.
///
/// # Errors
///
/// Settings that contradict themselves, a request that is too large, a network or threads that
/// can't be had. Lost requests and error replies are results, not errors.
pub fn bench(config: &BenchConfig, mut progress: impl FnMut(&Progress)) -> Result<Report> {
    check(config)?;
    let begin = Instant::now() + config.warm_up;
    let shared = Shared {
        config,
        begin,
        end: config.duration.map(|duration| begin + duration),
        budget: AtomicU64::new(config.requests.unwrap_or(u64::MAX)),
        stop: AtomicBool::new(false),
        replies: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        errors: AtomicU64::new(0),
    };
    let count = threads(config);
    let lanes = (0..count)
        .map(|at| Lane::new(&shared, at, count))
        .collect::<Result<Vec<_>>>()?;
    let tallies = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(count);
        for lane in lanes {
            let tallies = &tallies;
            let body = move || {
                let tally = lane.run();
                tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
            };
            match std::thread::Builder::new()
                .name("lnic-load".to_owned())
                .spawn_scoped(scope, body)
            {
                Ok(thread) => running.push(thread),
                Err(error) => {
                    shared.stop.store(true, Relaxed);
                    return Err(Error::Thread(error));
                }
            }
        }
        watch(&shared, &mut progress, || {
            running.iter().all(|thread| thread.is_finished())
        });
        Ok(())
    })?;
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    let merged = tallies.into_iter().reduce(Tally::merge).unwrap_or_default();
    merged.check(config.worker)?;
    Ok(Report::new(config, count, merged, begin))
}

fn check(config: &BenchConfig) -> Result<()> {
    if fragment_count(config.request.len(), config.workload.fragment).is_none() {
        return Err(Error::TooLarge(config.request.len()));
    }
    if config.requests.is_none() && config.duration.is_none() {
        return Err(Error::Settings(
            "a load test needs a number of requests or a duration",
        ));
    }
    match config.load {
        Load::Open { rate } if !(rate.is_finite() && rate > 0.0) => {
            Err(Error::Settings("the rate must be a number above 0"))
        }
        Load::Closed { concurrency } if concurrency.get() > LANE_SLOTS => {
            Err(Error::Settings("at most 65536 requests can be on their way"))
        }
        _ => Ok(()),
    }
}

/// How many threads send.
fn threads(config: &BenchConfig) -> usize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let wanted = config.threads.unwrap_or_else(cores).get();
    match config.load {
        Load::Closed { concurrency } => wanted.min(concurrency.get()),
        Load::Open { .. } => wanted,
    }
}

/// Tells progress once a second until all threads are done.
fn watch(shared: &Shared<'_>, progress: &mut impl FnMut(&Progress), done: impl Fn() -> bool) {
    let (mut last, mut last_replies) = (Instant::now(), 0);
    while !done() {
        std::thread::sleep(Duration::from_millis(10));
        let since = last.elapsed();
        if since < TICK {
            continue;
        }
        let replies = shared.replies.load(Relaxed);
        progress(&Progress {
            elapsed: Instant::now().checked_duration_since(shared.begin),
            replies,
            per_second: (replies - last_replies) as f64 / since.as_secs_f64(),
            lost: shared.lost.load(Relaxed),
            errors: shared.errors.load(Relaxed),
        });
        (last, last_replies) = (Instant::now(), replies);
    }
}
