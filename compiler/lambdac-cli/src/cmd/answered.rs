//! Who answered a load: what a worker's metrics say of a workload, before and after.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args::Worker;

/// Where HTTP is unless a worker was told otherwise.
const HTTP_PORT: u16 = 8081;
/// Longest wait for the metrics; a worker without them is measured all the same.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest text of metrics that is read.
const MAX_BYTES: u64 = 16 << 20;

/// What a worker's metrics say at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests by who took them.
    requests: BTreeMap<String, u64>,
    /// Interface and mode of the NIC in front, if there is one.
    nic: Option<(String, String)>,
}

/// What the metrics of a worker say now; none if it isn't known where they are, or they can't be read.
pub fn snapshot(worker: &Worker, workload: &str) -> Option<Snapshot> {
    // At another wire port, another worker may have the default HTTP port.
    let is_default = worker.to.port() == lnic_wire::DEFAULT_PORT;
    let http = worker
        .http
        .or_else(|| is_default.then(|| SocketAddr::new(worker.to.ip(), HTTP_PORT)))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    let mut response = agent.get(format!("http://{http}/metrics")).call().ok()?;
    let text = response
        .body_mut()
        .with_config()
        .limit(MAX_BYTES)
        .read_to_string()
        .ok()?;
    Some(read(&text, workload))
}

fn read(text: &str, workload: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = series.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        if series.starts_with("lnic_requests_total{") && label("workload").as_deref() == Some(workload) {
            if let (Some(target), Ok(count)) = (label("target"), value.parse()) {
                snapshot.requests.insert(target, count);
            }
        } else if series.starts_with("lnic_nic_info{") {
            snapshot.nic = label("interface").zip(label("mode"));
        }
    }
    snapshot
}

/// Who answered between two snapshots.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    requests: BTreeMap<String, u64>,
    nic: Option<(String, String)>,
}

impl Answered {
    /// The difference.
    pub fn between(before: Option<Snapshot>, after: Option<Snapshot>) -> Option<Self> {
        let (before, after) = (before?, after?);
        let grown = |(target, count): (String, u64)| {
            let old = before.requests.get(&target).copied().unwrap_or(0);
            (target, count.saturating_sub(old))
        };
        Some(Self {
            requests: after.requests.into_iter().map(grown).collect(),
            nic: after.nic,
        })
    }

    /// Rows of a table: requests by who took them, the NIC with its interface and mode.
    pub fn table(&self) -> String {
        let name = |target: &str| match (&self.nic, target) {
            (Some((interface, mode)), "xdp") => format!("by xdp ({interface}, {mode})"),
            _ => format!("by {target}"),
        };
        let row = |(target, count): (&String, &u64)| format!("{:<24}{count:>9}\n", name(target));
        let rows: String = self.requests.iter().map(row).collect();
        format!("answered, warm-up included\n{rows}")
    }

    /// The same as a JSON object.
    pub fn json(&self) -> Value {
        let nic = self
            .nic
            .as_ref()
            .map(|(interface, mode)| json!({"interface": interface, "mode": mode}));
        json!({"requests": self.requests, "nic": nic})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE lnic_requests_total counter
lnic_requests_total{workload=\"web\",target=\"host\"} 2
lnic_requests_total{workload=\"web\",target=\"xdp\"} 7
lnic_requests_total{workload=\"web2\",target=\"xdp\"} 9
lnic_nic_info{target=\"xdp\",interface=\"eth0\",mode=\"skb\"} 1
";

    #[test]
    fn a_load_is_told_by_who_answered_it() {
        let before = Some(read(TEXT, "web"));
        let after = Some(read(&TEXT.replace("} 7", "} 1007"), "web"));
        let answered = Answered::between(before, after).unwrap();
        let rows = answered.table();
        let words: Vec<Vec<&str>> = rows
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words,
            [
                vec!["answered,", "warm-up", "included"],
                vec!["by", "host", "0"],
                vec!["by", "xdp", "(eth0,", "skb)", "1000"]
            ]
        );
        let expected =
            json!({"requests": {"host": 0, "xdp": 1000}, "nic": {"interface": "eth0", "mode": "skb"}});
        assert_eq!(answered.json(), expected);
    }

    #[test]
    fn a_worker_without_metrics_is_told_nothing_of() {
        assert_eq!(Answered::between(None, Some(Snapshot::default())), None);
    }
}
