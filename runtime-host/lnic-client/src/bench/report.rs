//! The results of a load test, as data and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::lane::Tally;
use super::{BenchConfig, Load};

/// What a load test measured. Warm-up is not in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The workload's name.
    pub workload: String,
    /// `closed` or `open`.
    pub load: &'static str,
    /// Requests on their way, in a closed loop.
    pub concurrency: Option<usize>,
    /// Requests a second asked for, in an open loop.
    pub rate: Option<f64>,
    /// Threads that sent.
    pub threads: usize,
    /// Bytes in a request.
    pub request_bytes: usize,
    /// Seconds from the end of the warm-up to the last reply.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Replies that were OK.
    pub replies: u64,
    /// OK replies a second.
    pub throughput: f64,
    /// Latency of the OK replies; in an open loop from when the request was due.
    pub latency: Latency,
    /// Requests without a reply.
    pub lost: u64,
    /// Error replies, by status.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The fastest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// Half are faster.
    pub p50: f64,
    /// Nine of ten are faster.
    pub p90: f64,
    /// 99 of 100 are faster.
    pub p99: f64,
    /// 999 of 1,000 are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    fn new(histogram: &Histogram<u64>) -> Latency {
        if histogram.is_empty() {
            return Latency::default();
        }
        let us = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |percentile| us(histogram.value_at_percentile(percentile));
        Latency {
            min: us(histogram.min()),
            mean: histogram.mean() / 1000.0,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: us(histogram.max()),
        }
    }
}

impl Report {
    pub(super) fn new(config: &BenchConfig, threads: usize, tally: Tally, begin: Instant) -> Report {
        let (load, concurrency, rate) = match config.load {
            Load::Closed { concurrency } => ("closed", Some(concurrency.get()), None),
            Load::Open { rate } => ("open", None, Some(rate)),
        };
        let seconds = tally
            .last_reply
            .map_or(0.0, |last| last.saturating_duration_since(begin).as_secs_f64());
        let replies = tally.latency.len();
        Report {
            workload: config.workload.name.clone(),
            load,
            concurrency,
            rate,
            threads,
            request_bytes: config.request.len(),
            seconds,
            sent: tally.sent,
            replies,
            throughput: if seconds > 0.0 {
                replies as f64 / seconds
            } else {
                0.0
            },
            latency: Latency::new(&tally.latency),
            lost: tally.lost,
            errors: tally
                .errors
                .into_iter()
                .map(|(status, count)| (status.name(), count))
                .collect(),
        }
    }

    /// The results for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let how = match (self.concurrency, self.rate) {
            (Some(concurrency), _) => format!("closed loop, {concurrency} on their way"),
            (_, Some(rate)) => format!("open loop, {rate} a second"),
            _ => self.load.to_owned(),
        };
        let mut row = |name: &str, value: String| _ = writeln!(out, "{name:<12}{value:>16}");
        row("requests", self.sent.to_string());
        row("replies", self.replies.to_string());
        row("lost", self.lost.to_string());
        row("errors", self.errors.values().sum::<u64>().to_string());
        for (status, count) in &self.errors {
            row(status, count.to_string());
        }
        row("seconds", format!("{:.2}", self.seconds));
        row("per second", format!("{:.0}", self.throughput));
        let latency = &self.latency;
        let percentiles = [
            ("min", latency.min),
            ("mean", latency.mean),
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p99.9", latency.p999),
            ("max", latency.max),
        ];
        for (name, us) in percentiles {
            row(name, format!("{us:.1} µs"));
        }
        let bytes = self.request_bytes;
        format!(
            "{}: {how}, requests of {bytes} bytes, threads: {}\n{out}",
            self.workload, self.threads
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_result() {
        let report = Report {
            workload: "web".to_owned(),
            load: "closed",
            concurrency: Some(8),
            rate: None,
            threads: 2,
            request_bytes: 64,
            seconds: 2.0,
            sent: 103,
            replies: 100,
            throughput: 50.0,
            latency: Latency {
                min: 1.0,
                mean: 2.5,
                p50: 2.0,
                p90: 3.0,
                p99: 4.0,
                p999: 5.0,
                max: 6.25,
            },
            lost: 1,
            errors: [("TRAP", 2)].into(),
        };
        let expected = "\
web: closed loop, 8 on their way, requests of 64 bytes, threads: 2
requests                 103
replies                  100
lost                       1
errors                     2
TRAP                       2
seconds                 2.00
per second                50
min                   1.0 µs
mean                  2.5 µs
p50                   2.0 µs
p90                   3.0 µs
p99                   4.0 µs
p99.9                 5.0 µs
max                   6.2 µs
";
        assert_eq!(report.table(), expected);
        assert_eq!(serde_json::to_value(&report).unwrap()["latency"]["p999"], 5.0);
    }
}
