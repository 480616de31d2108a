//! What the switch has counted, as the worker's `/metrics` shows it: the host's names, with `target="bmv2"`.
//!
//! A switch that is given a program starts to count anew; what it had counted before, as it was last seen, is kept here
//! by workload.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambdac_backend_p4::outcome::{self, SLOTS, Wire};
use lambdac_driver::bmv2::NAME;
use lambdac_mir::TrapCause as MirCause;
use lnic_host::{NicMetrics, NicRequests, Sample, TrapCause, dropped_packets, nic_info, passed_packets};
use lnic_wire::{Status, id_index};
use p4runtime_proto::v1::{CounterEntry, Entity, entity};

use crate::contents::Contents;
use crate::error::{Error, Result};
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

/// Tries to read counters while the switch is given no program.
const TRIES: usize = 3;

struct Now {
    contents: Arc<Contents>,
    sums: Sums,
}

/// Counts over programs, each of which begins at 0.
#[derive(Default)]
struct Sums {
    /// How often the switch had been given a program when `last` was read.
    pushes: u64,
    last: Totals,
    before: Totals,
}

impl Sums {
    /// Takes what was read while the switch had been given so many programs.
    fn take(&mut self, pushes: u64, read: Totals) {
        if pushes != self.pushes {
            self.before.add(&self.last);
            self.pushes = pushes;
        }
        self.last = read;
    }

    fn totals(&self) -> Totals {
        let mut totals = self.before.clone();
        totals.add(&self.last);
        totals
    }
}

impl Counters {
    pub(crate) fn new(front: Arc<Front>, contents: Arc<Contents>) -> Self {
        let now = Now {
            contents,
            sums: Sums {
                pushes: front.session.pushes(),
                ..Sums::default()
            },
        };
        Self {
            front,
            now: Mutex::new(now),
        }
    }

    /// Goes on with another image, which `install` has the switch run. What the one of before has counted is read until
    /// then, and by nobody in between: the rows of the one have no meaning in the other.
    pub(crate) fn change(&self, contents: Arc<Contents>, install: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut now = self.lock();
        // What can't be read is as it was.
        let _ = self.refresh(&mut now);
        now.contents = contents;
        install()
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> Result<Totals> {
        let mut now = self.lock();
        self.refresh(&mut now)?;
        Ok(now.sums.totals())
    }

    /// Reads the counters of one program, not of one before and of the next.
    fn refresh(&self, now: &mut Now) -> Result<()> {
        for _ in 0..TRIES {
            let pushes = self.front.session.pushes();
            let read = self.read(&now.contents)?;
            if self.front.session.pushes() == pushes {
                now.sums.take(pushes, read);
                return Ok(());
            }
        }
        Err(Error::Away("it is given programs all the time".to_owned()))
    }

    fn read(&self, contents: &Contents) -> Result<Totals> {
        let Some(counter) = contents.counter(outcome::COUNTER) else {
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
        let labels = format!("switch=\"{}\",device=\"{}\"", device.address(), device.device);
        let info = nic_info(NAME, &labels, self.front.session.is_up());
        let lost = dropped_packets(NAME, "send_failed", self.front.session.lost());
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
        let value = counts[*reason as usize];
        match reason.drops() {
            true => dropped_packets(NAME, reason.name(), value),
            false => passed_packets(NAME, reason.name(), value),
        }
    };
    Wire::ALL.iter().map(one).collect()
}

fn workloads(all: &BTreeMap<String, Counts>) -> Vec<Sample> {
    let of = |(name, counts): (&String, &Counts)| {
        let at = |slot: u32| counts[slot as usize];
        let requests = NicRequests {
            target: NAME,
            workload: name,
            replies: &counts[..Status::ALL.len()],
            dropped: at(outcome::DROPPED),
            handed_up: at(outcome::HANDED_UP),
            passed: at(outcome::PASSED),
        };
        let causes = MirCause::ALL.iter().zip(outcome::TRAPS..);
        let traps = causes.map(|(cause, slot)| requests.traps(cause_of(*cause).name(), at(slot)));
        requests.samples().into_iter().chain(traps).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
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
    fn what_a_program_had_counted_before_the_next_is_kept() {
        let counted = |count: u64| Totals {
            wire: [count; SLOTS as usize],
            workloads: [("w".to_owned(), [count; SLOTS as usize])].into(),
        };
        let mut sums = Sums::default();
        for (pushes, read, all) in [
            (0, 5, 5),
            (0, 7, 7),
            (1, 2, 9),
            (1, 3, 10),
            (4, 0, 10),
            (4, 1, 11),
        ] {
            sums.take(pushes, counted(read));
            assert_eq!(sums.totals(), counted(all), "{read} after {pushes} programs");
        }
    }

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
}
