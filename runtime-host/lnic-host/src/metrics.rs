//! Counters and their Prometheus text.
//!
//! Every packet thread has counters of its own, which it alone writes, with plain relaxed loads
//! and stores; a scrape sums them. The HTTP threads share one set and add atomically.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use lnic_wire::{Malformed, ReassemblyStats, Status};

use crate::engine_api::TrapCause;
use crate::memcached::Event;
use crate::nic::{NicMetrics, Sample};

/// Latency buckets: 1 µs, 2 µs, … 2^24 µs (17 s), and one for all above.
const BUCKETS: usize = 26;

/// Who else may write a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Nobody: a plain store will do.
    Sole,
    /// Other threads.
    Shared,
}

/// A number that only grows, unless it is set.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, n: u64, writer: Writer) {
        match writer {
            Writer::Sole => self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed),
            Writer::Shared => _ = self.0.fetch_add(n, Relaxed),
        }
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How a request ended, as metrics see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Answered with a status.
    Status(Status),
    /// The lambda said `drop`.
    Dropped,
}

/// One workload's counters on one thread. Aligned so that threads share no cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkloadShard {
    started: Counter,
    /// Those that began here and were answered by the NIC, which has counted them.
    handed_over: Counter,
    statuses: [Counter; Status::ALL.len()],
    dropped: Counter,
    traps: [Counter; TrapCause::ALL.len()],
    buckets: [Counter; BUCKETS],
    nanoseconds: Counter,
}

impl WorkloadShard {
    /// A request begins.
    #[inline]
    pub(crate) fn start(&self, writer: Writer) {
        self.started.add(1, writer);
    }

    /// A request that began is the NIC's, which has run and counted it.
    pub(crate) fn hand_over(&self, writer: Writer) {
        self.handed_over.add(1, writer);
    }

    /// A request that began has ended.
    #[inline]
    pub(crate) fn end(&self, ended: Ended, nanoseconds: u64, writer: Writer) {
        match ended {
            Ended::Status(status) => self.statuses[status as usize].add(1, writer),
            Ended::Dropped => self.dropped.add(1, writer),
        }
        let bucket = match nanoseconds.div_ceil(1000) {
            0 | 1 => 0,
            us => (64 - (us - 1).leading_zeros()) as usize,
        };
        self.buckets[bucket.min(BUCKETS - 1)].add(1, writer);
        self.nanoseconds.add(nanoseconds, writer);
    }

    pub(crate) fn trap(&self, cause: TrapCause, writer: Writer) {
        self.traps[cause as usize].add(1, writer);
    }
}

/// One workload's counters: a shard for each packet thread, then the one of HTTP.
#[derive(Debug)]
pub(crate) struct WorkloadMetrics {
    shards: Box<[WorkloadShard]>,
}

impl WorkloadMetrics {
    #[inline]
    pub(crate) fn shard(&self, thread: usize) -> &WorkloadShard {
        &self.shards[thread]
    }

    fn sum(&self, pick: impl Fn(&WorkloadShard) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| pick(shard).get()).sum()
    }

    /// Requests that this side has taken.
    fn requests(&self) -> u64 {
        let handed_over = self.sum(|shard| &shard.handed_over);
        self.sum(|shard| &shard.started).saturating_sub(handed_over)
    }
}

/// What one packet thread counts beside its workloads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadMetrics {
    /// Datagrams received.
    pub(crate) received: Counter,
    /// Datagrams sent.
    pub(crate) sent: Counter,
    /// Datagrams that the kernel did not take.
    pub(crate) send_failed: Counter,
    /// Malformed datagrams, by rule.
    pub(crate) malformed: [Counter; Malformed::ALL.len()],
    /// Requests for an id that no workload has.
    pub(crate) no_workload: Counter,
    /// What became of service answers.
    pub(crate) services: [Counter; Event::ALL.len()],
    stored: Counter,
    duplicates: Counter,
    disagreements: Counter,
    refused: Counter,
    evicted: Counter,
    expired: Counter,
    reassembled: Counter,
}

impl ThreadMetrics {
    pub(crate) fn set_reassembly(&self, stats: ReassemblyStats) {
        self.stored.set(stats.stored);
        self.duplicates.set(stats.duplicates);
        self.disagreements.set(stats.disagreeing);
        self.refused.set(stats.refused);
        self.evicted.set(stats.evicted);
        self.expired.set(stats.expired);
        self.reassembled.set(stats.completed);
    }
}

/// All counters of a worker. Workloads keep theirs through swaps, by name.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) threads: Box<[ThreadMetrics]>,
    /// Lines of lambdas' logs that were suppressed.
    pub(crate) log_suppressed: Counter,
    workloads: Mutex<BTreeMap<String, Arc<WorkloadMetrics>>>,
    nic: Mutex<Option<Nic>>,
}

#[derive(Clone)]
struct Nic(Arc<dyn NicMetrics>);

impl std::fmt::Debug for Nic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nic")
    }
}

impl Metrics {
    /// Shows a NIC's counts from now on.
    pub(crate) fn set_nic(&self, nic: Arc<dyn NicMetrics>) {
        *self.nic.lock().unwrap_or_else(PoisonError::into_inner) = Some(Nic(nic));
    }

    /// Counters for so many packet threads.
    pub(crate) fn new(threads: usize) -> Metrics {
        Metrics {
            threads: (0..threads).map(|_| ThreadMetrics::default()).collect(),
            log_suppressed: Counter::default(),
            workloads: Mutex::default(),
            nic: Mutex::default(),
        }
    }

    /// The shard that HTTP threads write.
    pub(crate) fn http_shard(&self) -> usize {
        self.threads.len()
    }

    /// The counters of a workload, made if it is new.
    pub(crate) fn workload(&self, name: &str) -> Arc<WorkloadMetrics> {
        let mut workloads = self.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = self.threads.len() + 1;
        let fresh = || {
            Arc::new(WorkloadMetrics {
                shards: (0..shards).map(|_| WorkloadShard::default()).collect(),
            })
        };
        Arc::clone(workloads.entry(name.to_owned()).or_insert_with(fresh))
    }

    /// Everything in the Prometheus text format.
    pub(crate) fn render(&self) -> String {
        let mut out = String::with_capacity(8192);
        self.render_packets(&mut out);
        let workloads = self
            .workloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        render_requests(&mut out, &workloads);
        render_latency(&mut out, &workloads);
        let nic = self.nic.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match nic {
            Some(Nic(nic)) => with_samples(&out, &nic.samples()),
            None => out,
        }
    }

    fn sum(&self, pick: impl Fn(&ThreadMetrics) -> &Counter) -> u64 {
        self.threads.iter().map(|thread| pick(thread).get()).sum()
    }

    fn render_packets(&self, out: &mut String) {
        head(
            out,
            "lnic_received_packets_total",
            "counter",
            "Datagrams received on the wire.",
        );
        line(out, "lnic_received_packets_total", "", self.sum(|t| &t.received));
        head(
            out,
            "lnic_sent_packets_total",
            "counter",
            "Datagrams sent on the wire.",
        );
        line(out, "lnic_sent_packets_total", "", self.sum(|t| &t.sent));
        head(
            out,
            "lnic_dropped_packets_total",
            "counter",
            "Datagrams dropped, by reason.",
        );
        for rule in Malformed::ALL {
            let count = self.sum(|t| &t.malformed[rule as usize]);
            line(
                out,
                "lnic_dropped_packets_total",
                &format!("reason=\"{}\"", rule.name()),
                count,
            );
        }
        let others: [(&str, u64); 4] = [
            ("fragment_duplicate", self.sum(|t| &t.duplicates)),
            ("fragment_disagrees", self.sum(|t| &t.disagreements)),
            ("reassembly_full", self.sum(|t| &t.refused)),
            ("send_failed", self.sum(|t| &t.send_failed)),
        ];
        for (reason, count) in others {
            line(
                out,
                "lnic_dropped_packets_total",
                &format!("reason=\"{reason}\""),
                count,
            );
        }
        head(
            out,
            "lnic_stored_fragments_total",
            "counter",
            "Fragments kept for messages of several packets.",
        );
        line(out, "lnic_stored_fragments_total", "", self.sum(|t| &t.stored));
        head(
            out,
            "lnic_reassembly_total",
            "counter",
            "Messages of several packets, by how they ended.",
        );
        let ends: [(&str, u64); 3] = [
            ("completed", self.sum(|t| &t.reassembled)),
            ("evicted", self.sum(|t| &t.evicted)),
            ("expired", self.sum(|t| &t.expired)),
        ];
        for (end, count) in ends {
            line(out, "lnic_reassembly_total", &format!("end=\"{end}\""), count);
        }
        head(
            out,
            "lnic_no_workload_total",
            "counter",
            "Requests for an id that no workload has.",
        );
        line(out, "lnic_no_workload_total", "", self.sum(|t| &t.no_workload));
        head(
            out,
            "lnic_service_answers_total",
            "counter",
            "Service requests and answers, by what became of them.",
        );
        for event in Event::ALL {
            let count = self.sum(|t| &t.services[event as usize]);
            line(
                out,
                "lnic_service_answers_total",
                &format!("event=\"{}\"", event.name()),
                count,
            );
        }
        head(
            out,
            "lnic_log_suppressed_total",
            "counter",
            "Log lines and trap reports over the rate limit.",
        );
        line(out, "lnic_log_suppressed_total", "", self.log_suppressed.get());
    }
}

/// Puts samples at the end of their metric's lines, which must stand together, or at the end of all.
fn with_samples(text: &str, samples: &[Sample]) -> String {
    let mut added: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for sample in samples {
        let (_, lines) = added.entry(sample.metric).or_insert((sample.help, String::new()));
        line(lines, sample.metric, &sample.labels, sample.value);
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut current = "";
    for row in text.split_inclusive('\n') {
        if let Some(rest) = row.strip_prefix("# HELP ") {
            if let Some((_, lines)) = added.remove(current) {
                out.push_str(&lines);
            }
            current = rest.split(' ').next().unwrap_or_default();
        }
        out.push_str(row);
    }
    if let Some((_, lines)) = added.remove(current) {
        out.push_str(&lines);
    }
    for (metric, (help, lines)) in added {
        head(&mut out, metric, "counter", help);
        out.push_str(&lines);
    }
    out
}

type Workloads = BTreeMap<String, Arc<WorkloadMetrics>>;

fn render_requests(out: &mut String, workloads: &Workloads) {
    head(
        out,
        "lnic_requests_total",
        "counter",
        "Requests that reached a workload.",
    );
    for (name, w) in workloads {
        line(out, "lnic_requests_total", &labels(name), w.requests());
    }
    head(
        out,
        "lnic_replies_total",
        "counter",
        "Requests answered, by status.",
    );
    for (name, w) in workloads {
        for status in Status::ALL {
            let labels = format!("{},status=\"{status}\"", labels(name));
            line(
                out,
                "lnic_replies_total",
                &labels,
                w.sum(|s| &s.statuses[status as usize]),
            );
        }
    }
    head(
        out,
        "lnic_dropped_requests_total",
        "counter",
        "Requests that a lambda dropped.",
    );
    for (name, w) in workloads {
        line(
            out,
            "lnic_dropped_requests_total",
            &labels(name),
            w.sum(|s| &s.dropped),
        );
    }
    head(out, "lnic_traps_total", "counter", "Traps, by cause.");
    for (name, w) in workloads {
        for cause in TrapCause::ALL {
            let labels = format!("{},cause=\"{}\"", labels(name), cause.name());
            line(
                out,
                "lnic_traps_total",
                &labels,
                w.sum(|s| &s.traps[cause as usize]),
            );
        }
    }
    head(out, "lnic_in_flight", "gauge", "Requests begun and not ended.");
    for (name, w) in workloads {
        // Ends first: a request that ends in between then shows as in flight, never as less than none.
        let ended: u64 = (0..BUCKETS).map(|at| w.sum(|s| &s.buckets[at])).sum();
        line(
            out,
            "lnic_in_flight",
            &labels(name),
            w.requests().saturating_sub(ended),
        );
    }
}

fn render_latency(out: &mut String, workloads: &Workloads) {
    const NAME: &str = "lnic_request_duration_seconds";
    head(out, NAME, "histogram", "From a request's arrival to its end.");
    for (name, w) in workloads {
        let mut count = 0;
        for at in 0..BUCKETS {
            count += w.sum(|s| &s.buckets[at]);
            let bound = if at + 1 == BUCKETS {
                "+Inf".to_owned()
            } else {
                seconds(1000 << at)
            };
            line(
                out,
                &format!("{NAME}_bucket"),
                &format!("{},le=\"{bound}\"", labels(name)),
                count,
            );
        }
        _ = writeln!(
            out,
            "{NAME}_sum{{{}}} {}",
            labels(name),
            seconds(w.sum(|s| &s.nanoseconds))
        );
        line(out, &format!("{NAME}_count"), &labels(name), count);
    }
}

/// Nanoseconds as decimal seconds, without trailing zeros.
pub(crate) fn seconds(nanoseconds: u64) -> String {
    let text = format!(
        "{}.{:09}",
        nanoseconds / 1_000_000_000,
        nanoseconds % 1_000_000_000
    );
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The labels of a workload. Names are identifiers, so nothing needs escaping.
fn labels(workload: &str) -> String {
    format!("workload=\"{workload}\",target=\"host\"")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    _ = if labels.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{labels}}} {value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> u64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(series))
            .unwrap_or_else(|| panic!("no {series}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn shards_are_summed_and_latencies_fall_into_their_buckets() {
        let metrics = Metrics::new(2);
        let web = metrics.workload("web");
        for (shard, ns) in [(0, 900), (1, 1000), (2, 1001), (0, 5_000_000), (0, u64::MAX / 8)] {
            web.shard(shard).start(Writer::Sole);
            web.shard(shard).end(Ended::Status(Status::Ok), ns, Writer::Sole);
        }
        web.shard(1).start(Writer::Shared);
        let text = metrics.render();
        let labels = "workload=\"web\",target=\"host\"";
        assert_eq!(value(&text, &format!("lnic_requests_total{{{labels}}}")), 6);
        assert_eq!(
            value(&text, &format!("lnic_replies_total{{{labels},status=\"OK\"}}")),
            5
        );
        assert_eq!(value(&text, &format!("lnic_in_flight{{{labels}}}")), 1);
        let bucket = |le| {
            value(
                &text,
                &format!("lnic_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}"),
            )
        };
        assert_eq!(
            (bucket("0.000001"), bucket("0.000002"), bucket("0.004096")),
            (2, 3, 3)
        );
        assert_eq!(
            (bucket("0.008192"), bucket("16.777216"), bucket("+Inf")),
            (4, 4, 5)
        );
    }

    #[test]
    fn what_the_nic_answered_is_no_request_of_the_hosts() {
        let metrics = Metrics::new(1);
        let web = metrics.workload("web");
        for shard in [0, 1, 1] {
            web.shard(shard).start(Writer::Shared);
        }
        web.shard(1).hand_over(Writer::Shared);
        web.shard(0).end(Ended::Status(Status::Ok), 5, Writer::Sole);
        let text = metrics.render();
        let labels = "{workload=\"web\",target=\"host\"}";
        assert_eq!(value(&text, &format!("lnic_requests_total{labels}")), 2);
        assert_eq!(value(&text, &format!("lnic_in_flight{labels}")), 1);
    }

    #[test]
    fn seconds_keep_every_digit_that_counts() {
        assert_eq!(seconds(0), "0");
        assert_eq!(seconds(1_500_000_000), "1.5");
        assert_eq!(seconds(1), "0.000000001");
    }
}
