//! What the switch has counted, as the worker's `/metrics` shows it: the host's names, with `target="bmv2"`.
//!
//! A switch that is given a program starts to count anew; what it had counted before, as it was last seen, is kept here
//! by workload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lambdac_backend_p4::outcome::{self, SLOTS, Wire};
use lambdac_mir::TrapCause as MirCause;
use lnic_host::{NicMetrics, Sample, TrapCause};
use lnic_wire::{Status, id_index};
use p4runtime_proto::v1::{CounterEntry, Entity, entity};

use crate::contents::Contents;
use crate::error::Result;
use crate::front::Front;

/// The numbers of a row.
type Counts = [u64; SLOTS as usize];

/// Sums by what they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Totals {
    wire: Counts,
    workloads: BTreeMap<String, Counts>,
}

impl Totals {
    /// The rows of a program's counter, by what they are of.
    fn of(contents: &Contents, rows: &BTreeMap<u64, Counts>) -> Self {
        let row = |index: u64| rows.get(&index).copied().unwrap_or_default();
        let workloads = contents.workloads.iter();
        Self {
            wire: row(0),
            workloads: workloads
                .map(|resident| (resident.name().to_owned(), row(id_index(resident.id).into())))
                .collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        let accumulate = |to: &mut Counts, from: &Counts| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = to.wrapping_add(*from);
            }
        };
        accumulate(&mut self.wire, &other.wire);
        for (name, counts) in &other.workloads {
            accumulate(self.workloads.entry(name.clone()).or_default(), counts);
        }
    }
}

/// A counter's elements as rows.
fn rows(entities: &[Entity]) -> BTreeMap<u64, Counts> {
    let mut rows: BTreeMap<u64, Counts> = BTreeMap::new();
    for entity in entities {
        let Some(entity::Entity::CounterEntry(entry)) = &entity.entity else {
            continue;
        };
        let index = entry.index.as_ref().and_then(|index| index.index.try_into().ok());
        let count = entry.data.as_ref().map_or(0, |data| data.packet_count);
        let (Some(index), Ok(count)) = (index, u64::try_from(count)) else {
            continue;
        };
        let index: u64 = index;
        let row = rows.entry(index / u64::from(SLOTS)).or_default();
        row[(index % u64::from(SLOTS)) as usize] = count;
    }
    rows
}

/// The counters of whatever image runs.
pub(crate) struct Counters {
    front: Arc<Front>,
    now: Mutex<Now>,
}

struct Now {
    contents: Arc<Contents>,
    /// How often the switch had been given a program when it was read last.
    pushes: u64,
    last: Totals,
    before: Totals,
}

impl Counters {
    pub(crate) fn new(front: Arc<Front>, contents: Arc<Contents>) -> Self {
        let now = Now {
            pushes: front.session.pushes(),
            contents,
            last: Totals::default(),
            before: Totals::default(),
        };
        Self {
            front,
            now: Mutex::new(now),
        }
    }

    /// Reads what there is before another image takes over.
    pub(crate) fn settle(&self) {
        // What can't be read is as it was.
        let _ = self.totals();
    }

    /// Goes on with another image.
    pub(crate) fn set_contents(&self, contents: Arc<Contents>) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).contents = contents;
    }

    fn totals(&self) -> Result<Totals> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let pushes = self.front.session.pushes();
        let read = self.read(&now.contents);
        if pushes != now.pushes {
            let last = std::mem::take(&mut now.last);
            now.before.add(&last);
            now.pushes = pushes;
        }
        if let Ok(read) = &read {
            now.last = read.clone();
        }
        let mut totals = now.before.clone();
        totals.add(&now.last);
        read.map(|_| totals)
    }

    fn read(&self, contents: &Contents) -> Result<Totals> {
        let Some(counter) = contents.counter() else {
            return Ok(Totals::default());
        };
        let wish = Entity {
            entity: Some(entity::Entity::CounterEntry(CounterEntry {
                counter_id: counter,
                ..CounterEntry::default()
            })),
        };
        let entities = self.front.session.read(vec![wish])?;
        Ok(Totals::of(contents, &rows(&entities)))
    }
}

impl NicMetrics for Counters {
    fn samples(&self) -> Vec<Sample> {
        let device = &self.front.device;
        let totals = self.totals();
        let info = Sample {
            metric: "lnic_nic_info",
            help: "The NIC that answers in front of this worker: 1, or 0 while it is away.",
            labels: format!(
                "target=\"bmv2\",switch=\"{}\",device=\"{}\"",
                device.address(),
                device.device
            ),
            value: u64::from(self.front.session.is_up()),
        };
        let lost = Sample {
            metric: "lnic_dropped_packets_total",
            help: "",
            labels: "target=\"bmv2\",reason=\"send_failed\"".to_owned(),
            value: self.front.session.lost(),
        };
        match totals {
            Ok(totals) => [vec![info, lost], wire(&totals.wire), workloads(&totals.workloads)].concat(),
            Err(error) => {
                tracing::error!(switch = %device, %error, "the switch's counters could not be read");
                vec![info]
            }
        }
    }
}

fn wire(counts: &Counts) -> Vec<Sample> {
    let one = |reason: &Wire| {
        let (metric, help) = match reason.drops() {
            true => ("lnic_dropped_packets_total", ""),
            false => (
                "lnic_passed_packets_total",
                "Packets that the NIC left to the host before any workload saw them, by reason.",
            ),
        };
        Sample {
            metric,
            help,
            labels: format!("target=\"bmv2\",reason=\"{}\"", reason.name()),
            value: counts[*reason as usize],
        }
    };
    Wire::ALL.iter().map(one).collect()
}

fn workloads(all: &BTreeMap<String, Counts>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (name, counts) in all {
        let at = |slot: u32| counts[slot as usize];
        let mut add = |metric, help, more: String, value| {
            samples.push(Sample {
                metric,
                help,
                labels: format!("workload=\"{name}\",target=\"bmv2\"{more}"),
                value,
            });
        };
        let own = (0..outcome::PASSED).fold(0_u64, |sum, slot| sum.wrapping_add(at(slot)));
        add("lnic_requests_total", "", String::new(), own);
        for status in Status::ALL {
            let more = format!(",status=\"{status}\"");
            add("lnic_replies_total", "", more, at(status as u32));
        }
        add(
            "lnic_dropped_requests_total",
            "",
            String::new(),
            at(outcome::DROPPED),
        );
        add(
            "lnic_punted_requests_total",
            "Requests that a lambda on the NIC handed to the host.",
            String::new(),
            at(outcome::HANDED_UP),
        );
        add(
            "lnic_passed_requests_total",
            "Requests that the NIC left to the host: for a lambda of the host's, or of several packets.",
            String::new(),
            at(outcome::PASSED),
        );
        for (cause, slot) in MirCause::ALL.iter().zip(outcome::TRAPS..) {
            let more = format!(",cause=\"{}\"", cause_of(*cause).name());
            add("lnic_traps_total", "", more, at(slot));
        }
    }
    samples
}

/// A cause as the worker names it.
fn cause_of(cause: MirCause) -> TrapCause {
    match cause {
        MirCause::Index => TrapCause::Index,
        MirCause::Slice => TrapCause::Slice,
        MirCause::Capacity => TrapCause::Capacity,
        MirCause::Narrow => TrapCause::Cast,
        MirCause::Pad => TrapCause::Pad,
        MirCause::LoopMax => TrapCause::LoopBound,
    }
}

#[cfg(test)]
mod tests {
    use p4runtime_proto::v1::{CounterData, Index};

    use super::*;

    #[test]
    fn elements_are_rows_of_slots() {
        let element = |index: i64, count: i64| Entity {
            entity: Some(entity::Entity::CounterEntry(CounterEntry {
                counter_id: 1,
                index: Some(Index { index }),
                data: Some(CounterData {
                    byte_count: 0,
                    packet_count: count,
                }),
            })),
        };
        let read = rows(&[
            element(0, 7),
            element(33, 5),
            element(-1, 9),
            element(34, -2),
            Entity::default(),
        ]);
        assert_eq!((read[&0][0], read[&1][1], read[&1][2]), (7, 5, 0));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_workloads_requests_are_what_the_switch_ended_itself() {
        let mut counts = Counts::default();
        counts[Status::Ok as usize] = 5;
        counts[outcome::HANDED_UP as usize] = 2;
        counts[outcome::PASSED as usize] = 9;
        let samples = workloads(&[("web".to_owned(), counts)].into());
        let requests = samples
            .iter()
            .find(|sample| sample.metric == "lnic_requests_total")
            .unwrap();
        assert_eq!(
            (requests.value, requests.labels.as_str()),
            (7, "workload=\"web\",target=\"bmv2\"")
        );
    }
}
