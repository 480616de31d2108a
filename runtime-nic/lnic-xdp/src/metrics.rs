//! What programs have counted, as the worker's `/metrics` shows it: the host's names, with `target="xdp"`.
//!
//! Counts of an image whose counters could not go on in the next are kept here, by workload.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use lambdac_backend_ebpf::abi::{self, COUNTER_SLOTS, Ended, Wire, WireEnd};
use lnic_host::{NicMetrics, NicRequests, Sample, TrapCause, dropped_packets, nic_info, passed_packets};
use lnic_wire::Status;

use crate::error::Result;
use crate::generation::Generation;
use crate::interface::Device;

/// The target, as labels name it.
const NAME: &str = "xdp";

/// The numbers of one key, all CPUs together.
type Counts = [u64; COUNTER_SLOTS as usize];

/// Sums by what they count.
#[derive(Clone, Debug, Default)]
struct Totals {
    wire: Counts,
    workloads: BTreeMap<String, Counts>,
}

impl Totals {
    fn add(&mut self, generation: &Generation) -> Result<()> {
        let map = generation.image().map(abi::COUNTERS)?;
        let read =
            |key: u32| -> Result<Counts> { Ok(sum(&map.lookup(&key.to_ne_bytes())?.unwrap_or_default())) };
        accumulate(&mut self.wire, &read(0)?);
        for (position, resident) in (0..).zip(generation.workloads()) {
            let counts = read(abi::counter_key(position))?;
            accumulate(
                self.workloads.entry(resident.name().to_owned()).or_default(),
                &counts,
            );
        }
        Ok(())
    }
}

/// Sums values of all CPUs.
fn sum(values: &[u8]) -> Counts {
    let mut counts = Counts::default();
    for cpu in values.chunks_exact(8 * counts.len()) {
        for (count, bytes) in counts.iter_mut().zip(cpu.as_chunks::<8>().0) {
            *count = count.wrapping_add(u64::from_ne_bytes(*bytes));
        }
    }
    counts
}

fn accumulate(to: &mut Counts, from: &Counts) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.wrapping_add(*from);
    }
}

/// The counters of whatever image runs.
pub(crate) struct Counters {
    device: Device,
    refused: Arc<AtomicU64>,
    now: Mutex<Now>,
}

struct Now {
    generation: Arc<Generation>,
    before: Totals,
}

impl Counters {
    /// `refused` counts punts that the worker had no room for.
    pub(crate) fn new(device: &Device, generation: Arc<Generation>, refused: Arc<AtomicU64>) -> Self {
        Self {
            device: device.clone(),
            refused,
            now: Mutex::new(Now {
                generation,
                before: Totals::default(),
            }),
        }
    }

    /// Goes on with another image, whose counters may be the same ones.
    pub(crate) fn set_generation(&self, generation: Arc<Generation>) -> Result<()> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let old = now.generation.image().map(abi::COUNTERS)?;
        if !Arc::ptr_eq(old, generation.image().map(abi::COUNTERS)?) {
            let ended = now.generation.clone();
            now.before.add(&ended)?;
        }
        now.generation = generation;
        Ok(())
    }

    fn totals(&self) -> Result<Totals> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = now.before.clone();
        totals.add(&now.generation)?;
        Ok(totals)
    }
}

impl NicMetrics for Counters {
    fn samples(&self) -> Vec<Sample> {
        let (interface, mode) = (&self.device.interface, self.device.mode);
        let labels = format!("interface=\"{interface}\",mode=\"{mode}\"");
        let info = nic_info(NAME, &labels, true);
        let refused = dropped_packets(NAME, "punt_queue_full", self.refused.load(Relaxed));
        match self.totals() {
            Ok(totals) => [
                vec![info, refused],
                wire(&totals.wire),
                workloads(&totals.workloads),
            ]
            .concat(),
            Err(error) => {
                tracing::error!(%error, "the NIC's counters could not be read");
                vec![info]
            }
        }
    }
}

fn wire(counts: &Counts) -> Vec<Sample> {
    let one = |reason: &Wire| {
        let value = counts[reason.slot() as usize];
        match reason.end() {
            WireEnd::Dropped => dropped_packets(NAME, reason.name(), value),
            WireEnd::Passed => passed_packets(NAME, reason.name(), value),
        }
    };
    Wire::ALL.iter().map(one).collect()
}

fn workloads(all: &BTreeMap<String, Counts>) -> Vec<Sample> {
    all.iter()
        .flat_map(|(name, counts)| workload(name, counts))
        .collect()
}

fn workload(name: &str, counts: &Counts) -> Vec<Sample> {
    let at = |end: Ended| counts[end.slot() as usize];
    let requests = NicRequests {
        target: NAME,
        workload: name,
        // The first places are the statuses of the λ wire.
        replies: &counts[..Status::ALL.len()],
        dropped: at(Ended::Dropped),
        handed_up: at(Ended::HandedUp),
        passed: at(Ended::Passed),
    };
    let mut samples = requests.samples();
    samples.extend(
        CAUSES.map(|(cause, end)| requests.traps(cause.map_or("unreachable", TrapCause::name), at(end))),
    );
    samples.extend(SERVICE_EVENTS.map(|(event, end)| {
        let more = format!(",event=\"{event}\"");
        requests.sample("lnic_service_answers_total", "", &more, at(end))
    }));
    samples.extend(UNSENT.map(|(reason, end)| {
        requests.sample(
            "lnic_unsent_service_requests_total",
            "Requests to services that the NIC could not send, by reason.",
            &format!(",reason=\"{reason}\""),
            at(end),
        )
    }));
    samples.push(requests.sample(
        "lnic_lost_events_total",
        "Log lines and trap reports that found no room on their way from the NIC.",
        "",
        at(Ended::EventsLost),
    ));
    samples
}

/// What became of requests to services.
const SERVICE_EVENTS: [(&str, Ended); 3] = [
    ("sent", Ended::ServiceSent),
    ("answered", Ended::ServiceAnswered),
    ("timed_out", Ended::ServiceTimedOut),
];

/// Why requests to services were not sent.
const UNSENT: [(&str, Ended); 5] = [
    ("key", Ended::UnsentKey),
    ("no_slot", Ended::UnsentSlots),
    ("no_ports", Ended::UnsentPorts),
    ("no_route", Ended::UnsentRoute),
    ("no_neighbour", Ended::UnsentNeighbour),
];

/// Traps by cause; the last is a failed check of the compiler's own.
const CAUSES: [(Option<TrapCause>, Ended); 7] = [
    (Some(TrapCause::Index), Ended::TrapIndex),
    (Some(TrapCause::Slice), Ended::TrapSlice),
    (Some(TrapCause::Capacity), Ended::TrapCapacity),
    (Some(TrapCause::Cast), Ended::TrapNarrow),
    (Some(TrapCause::Pad), Ended::TrapPad),
    (Some(TrapCause::LoopBound), Ended::TrapLoopMax),
    (None, Ended::TrapUnreachable),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_cpus_are_summed() {
        let mut values = vec![0; 2 * 8 * COUNTER_SLOTS as usize];
        values[8] = 3;
        values[8 * COUNTER_SLOTS as usize + 8] = 4;
        assert_eq!(sum(&values)[1], 7);
        assert_eq!(sum(&[]), Counts::default());
    }
}
