//! What the card has counted, as the worker's `/metrics` shows it: the host's names, with `target="nfp"`.

use std::sync::{Arc, Mutex, PoisonError};

use lambdac_driver::nfp::{Emitted, NAME};
use lnic_host::{NicMetrics, Sample, dropped_packets, nic_info};

use super::{Card, Count, Device};

/// The counters of `image.p4`.
const REQUESTS: &str = "requests";
const DROPPED: &str = "dropped";

/// The counters of whatever image is on the card.
pub(super) struct Counters {
    device: Device,
    card: Arc<dyn Card>,
    emitted: Mutex<Arc<Emitted>>,
}

impl Counters {
    pub(super) fn new(device: Device, card: Arc<dyn Card>, emitted: Arc<Emitted>) -> Self {
        Self {
            device,
            card,
            emitted: Mutex::new(emitted),
        }
    }

    /// Goes on with another image.
    pub(super) fn set(&self, emitted: Arc<Emitted>) {
        *self.emitted.lock().unwrap_or_else(PoisonError::into_inner) = emitted;
    }
}

impl NicMetrics for Counters {
    fn samples(&self) -> Vec<Sample> {
        let mut samples = vec![nic_info(NAME, &format!("card=\"{}\"", self.device), true)];
        let emitted = self
            .emitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match self.card.counters() {
            Ok(counts) => samples.extend(told(&counts, &emitted)),
            Err(error) => tracing::error!(%error, "the card's counters could not be read"),
        }
        samples
    }
}

/// Only what the image declares: the rest of what a tool says is nobody's.
fn told(counts: &[Count], emitted: &Emitted) -> Vec<Sample> {
    let value = |name: &str, index: usize| {
        let mut counts = counts.iter();
        let found = counts.find(|count| count.name == name && count.index == index);
        found.map_or(0, |count| count.value)
    };
    let residents = emitted.p4.workloads.iter().enumerate();
    let requests = residents.map(|(number, resident)| Sample {
        metric: "lnic_requests_total",
        help: "",
        labels: format!("workload=\"{}\",target=\"{NAME}\"", resident.name),
        value: value(REQUESTS, number),
    });
    let dropped = dropped_packets(NAME, "malformed", value(DROPPED, 0));
    requests.chain([dropped]).collect()
}
