//! What a NIC counts, as the worker's `/metrics` shows it: the host's names, with the NIC's `target`.

use lnic_wire::Status;

/// A number that a NIC has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The metric: one of the host's where there is the same.
    pub metric: &'static str,
    /// What it counts, for a metric that the host doesn't have.
    pub help: &'static str,
    /// Its labels, `name="value"` with commas between.
    pub labels: String,
    /// The count.
    pub value: u64,
}

/// What a NIC in front of the worker counts.
pub trait NicMetrics: Send + Sync {
    /// All counts as they are now.
    fn samples(&self) -> Vec<Sample>;
}

/// Which NIC answers: its target and what else tells it from others, `name="value"` with commas between; 1, or 0 while
/// it is away.
pub fn nic_info(target: &str, labels: &str, is_up: bool) -> Sample {
    Sample {
        metric: "lnic_nic_info",
        help: "The NIC that answers in front of this worker: 1, or 0 while it is away.",
        labels: format!("target=\"{target}\",{labels}"),
        value: is_up.into(),
    }
}

/// Packets that a NIC dropped before any workload saw them.
pub fn dropped_packets(target: &str, reason: &str, value: u64) -> Sample {
    Sample {
        metric: "lnic_dropped_packets_total",
        help: "",
        labels: format!("target=\"{target}\",reason=\"{reason}\""),
        value,
    }
}

/// Packets that a NIC left to the host before any workload saw them.
pub fn passed_packets(target: &str, reason: &str, value: u64) -> Sample {
    Sample {
        metric: "lnic_passed_packets_total",
        help: "Packets that the NIC left to the host before any workload saw them, by reason.",
        ..dropped_packets(target, reason, value)
    }
}

/// How requests to a workload ended on a NIC.
#[derive(Debug)]
pub struct NicRequests<'a> {
    /// The NIC's target.
    pub target: &'a str,
    /// The workload's name.
    pub workload: &'a str,
    /// Replies, in the order of [`Status::ALL`].
    pub replies: &'a [u64],
    /// Requests that a lambda dropped.
    pub dropped: u64,
    /// Requests that a lambda handed to the host.
    pub handed_up: u64,
    /// Requests for a lambda of the host's, or of several packets.
    pub passed: u64,
}

impl NicRequests<'_> {
    /// A metric of the workload's; `more` are further labels, with their comma.
    pub fn sample(&self, metric: &'static str, help: &'static str, more: &str, value: u64) -> Sample {
        Sample {
            metric,
            help,
            labels: format!("workload=\"{}\",target=\"{}\"{more}", self.workload, self.target),
            value,
        }
    }

    /// Lambdas that trapped for this cause.
    pub fn traps(&self, cause: &str, value: u64) -> Sample {
        self.sample("lnic_traps_total", "", &format!(",cause=\"{cause}\""), value)
    }

    /// All of it. Requests are those that the NIC ended itself: all but what it passed.
    pub fn samples(&self) -> Vec<Sample> {
        let ends = self.replies.iter().chain([&self.dropped, &self.handed_up]);
        let own = ends.fold(0_u64, |sum, count| sum.wrapping_add(*count));
        let replies = Status::ALL.iter().zip(self.replies).map(|(status, count)| {
            let more = format!(",status=\"{status}\"");
            self.sample("lnic_replies_total", "", &more, *count)
        });
        let mut samples = vec![self.sample("lnic_requests_total", "", "", own)];
        samples.extend(replies);
        samples.extend([
            self.sample("lnic_dropped_requests_total", "", "", self.dropped),
            self.sample(
                "lnic_punted_requests_total",
                "Requests that a lambda on the NIC handed to the host.",
                "",
                self.handed_up,
            ),
            self.sample(
                "lnic_passed_requests_total",
                "Requests that the NIC left to the host: for a lambda of the host's, or of several packets.",
                "",
                self.passed,
            ),
        ]);
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workloads_requests_are_what_the_nic_ended_itself() {
        let mut replies = [0; Status::ALL.len()];
        replies[Status::Ok as usize] = 5;
        let counts = NicRequests {
            target: "xdp",
            workload: "web",
            replies: &replies,
            dropped: 1,
            handed_up: 2,
            passed: 9,
        };
        let samples = counts.samples();
        let value = |metric: &str| samples.iter().find(|sample| sample.metric == metric);
        let requests = value("lnic_requests_total").unwrap();
        assert_eq!(
            (requests.value, requests.labels.as_str()),
            (8, "workload=\"web\",target=\"xdp\"")
        );
        assert_eq!(value("lnic_passed_requests_total").unwrap().value, 9);
    }
}
