//! The card's side of an image, for the worker's [`NicEngine`].
//!
//! Requests that the card answers never come here. What it leaves to the host comes as it came to the card, so that the
//! host can't see which lambda was meant: it runs the match again. Therefore its copy of lambdas whose state is on the
//! card only punts (`lambdac_driver::nfp::behind_card`): such a request was punted by the card. What comes over HTTP for
//! a workload with state on the card is sent there ([`super::ask`]).
//!
//! Tables are on both sides. While one changes, the card leaves its workload to the host, who has the new entries first.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lambdac_backend_c::layout::{self, Order};
use lambdac_driver::nfp::{Emitted, Rule};
use lambdac_driver::nic::Places;
use lambdac_mir::interp;
use lambdac_mir::{Object, ObjectKind, TableEntry};
use lnic_engine::control::StateDump;
use lnic_host::{Answer, Io, LoadedImage, Nic, NicEngine, Outcome, Packet, Ran, Side, replied};
use lnic_wire::Status;

use super::ask::{Answered, Asks};
use super::{Card, CardError};
use crate::machine::NOBODY;
use crate::state;

/// The largest object that is read for who asks.
const MAX_READ: u64 = 4 << 20;
/// The clock of entries: the card's own is not the host's, so that none is too old.
const NO_AGE: u64 = 0;
/// Longest time of an answer that needs no service.
const ANSWER: Duration = Duration::from_secs(2);

/// An image on a card.
pub(super) struct OnCard {
    emitted: Arc<Emitted>,
    card: Arc<dyn Card>,
    asks: Arc<Asks>,
    /// How long an answer may take.
    within: Duration,
    /// By symbol: what a table on the card holds, where that is known.
    known: Mutex<BTreeMap<Arc<str>, Vec<u8>>>,
}

/// A table in the card's memory.
struct Found<'e> {
    symbol: &'e str,
    object: &'e Object,
}

impl OnCard {
    /// The worker's engine, with the same image on the host.
    pub(super) fn engine(
        host: Arc<LoadedImage>,
        emitted: Arc<Emitted>,
        card: Arc<dyn Card>,
        asks: Arc<Asks>,
    ) -> NicEngine<Self> {
        // A workload without state the host answers as well, and sooner.
        let side = |places: &Places| match places.holds_state() {
            true => Side {
                native: places.native(),
                stateful: true,
                any_length: places.takes_any_length(),
            },
            false => Side::default(),
        };
        let sides = emitted.places.iter().map(side).collect();
        let services = emitted.image.module.services.iter();
        let longest = services.map(|service| service.timeout).max().unwrap_or(0);
        let nic = Self {
            emitted,
            card,
            asks,
            within: ANSWER + Duration::from_nanos(longest),
            known: Mutex::default(),
        };
        NicEngine::new(host, nic, sides)
    }

    /// An object of the image, with its number.
    fn object(&self, workload: usize, name: &str) -> Option<(usize, &Object)> {
        let workload = &*self.emitted.image.workloads.get(workload)?.name;
        let item = format!("{workload}.{name}");
        let mut objects = self.emitted.image.module.objects.iter().enumerate();
        objects.find(|(_, object)| *object.name == *item)
    }

    /// What an object's memory on the card holds; none if no code there reaches it, or it is too much to be read.
    fn memory(&self, index: usize, object: &Object) -> Result<Option<Vec<u8>>, CardError> {
        let symbols = &self.emitted.c.symbols;
        let pieces = self.emitted.c.pieces(index);
        let bytes: u64 = pieces.iter().map(|(number, _)| symbols[*number].size).sum();
        if bytes > MAX_READ {
            tracing::warn!(
                object = &*object.name,
                bytes,
                "too large to be read from the card"
            );
        }
        if pieces.is_empty() || bytes > MAX_READ {
            return Ok(None);
        }
        let read = |(number, field): (usize, Option<usize>)| {
            let symbol = &symbols[number];
            let bytes = self.card.read(&symbol.name, 0, symbol.size.next_multiple_of(4))?;
            Ok((field, bytes))
        };
        let pieces = pieces
            .into_iter()
            .map(read)
            .collect::<Result<Vec<_>, CardError>>()?;
        Ok(Some(layout::assembled(object, &pieces, Order::Big)))
    }

    /// A table of the card; none if no code reaches it.
    fn table(&self, workload: usize, name: &str) -> Option<Found<'_>> {
        let (index, object) = self.object(workload, name)?;
        let (symbol, _) = *self.emitted.c.pieces(index).first()?;
        Some(Found {
            symbol: &self.emitted.c.symbols[symbol].name,
            object,
        })
    }

    /// Writes what is different while no core looks at it.
    fn write(
        &self,
        workload: usize,
        found: &Found<'_>,
        before: Option<&[u8]>,
        after: &[u8],
    ) -> Result<(), CardError> {
        let rule = self.rule(workload);
        if let Some(rule) = &rule {
            self.card.delete_rule(rule)?;
        }
        for (offset, bytes) in changed(before, after) {
            // Where this fails the workload stays the host's, who has the whole table.
            self.card.write(found.symbol, offset, bytes)?;
        }
        match &rule {
            Some(rule) => self.card.add_rule(rule),
            None => Ok(()),
        }
    }

    /// The rule by which the card answers for a workload.
    fn rule(&self, workload: usize) -> Option<Rule> {
        let name = &*self.emitted.image.workloads.get(workload)?.name;
        let residents = self.emitted.p4.workloads.iter().enumerate();
        let mut own = residents.filter(|(_, resident)| *resident.name == *name);
        own.next()
            .map(|(number, resident)| Rule::workload(resident, number))
    }
}

/// A dump in the engine's words.
fn told(dump: interp::StateDump) -> StateDump {
    match dump {
        interp::StateDump::Value(data) => StateDump::Value(data),
        interp::StateDump::Counters(counts) => StateDump::Counters(counts),
        interp::StateDump::Entries(entries) => StateDump::Entries(entries),
    }
}

/// Entries by falling priority, as inline entries stand.
fn entries(mut rows: Vec<lnic_engine::Row>) -> Vec<TableEntry> {
    // Stable: of equal priority the first goes first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.priority));
    let entry = |row: lnic_engine::Row| TableEntry {
        key: row.key,
        value: row.value,
    };
    rows.into_iter().map(entry).collect()
}

/// A table's memory with these entries.
fn contents(object: &Object, rows: Vec<TableEntry>) -> Vec<u8> {
    let mut object = object.clone();
    if let ObjectKind::Table { entries, .. } = &mut object.kind {
        *entries = rows;
    }
    let mut bytes = layout::contents(&object, Order::Big);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Runs of words that differ, with their offsets; all, where nothing is known.
fn changed<'a>(before: Option<&[u8]>, after: &'a [u8]) -> Vec<(u64, &'a [u8])> {
    let Some(before) = before.filter(|before| before.len() == after.len()) else {
        return vec![(0, after)];
    };
    let words = after.len() / 4;
    let differs = |word: usize| after[word * 4..word * 4 + 4] != before[word * 4..word * 4 + 4];
    let mut runs = Vec::new();
    let mut at = 0;
    while at < words {
        let end = (at..words).find(|word| !differs(*word)).unwrap_or(words);
        if end > at {
            runs.push((at as u64 * 4, &after[at * 4..end * 4]));
        }
        at = end.max(at) + 1;
    }
    runs
}

impl Nic for OnCard {
    /// The card waits for services itself.
    type Waiting = Infallible;

    const NAME: &'static str = lambdac_driver::nfp::NAME;

    const IS_FAR: bool = true;

    /// What came by the wire the card had already, but for messages of several packets, which it takes without payload.
    fn run(&self, workload: usize, packet: &Packet, request: &[u8], io: &mut Io<'_>) -> Ran {
        if packet.src_ip == NOBODY.to_bits() {
            // Our own, which the card left to the host: who asked knows.
            return Ran::Ended(Outcome::Drop);
        }
        let over_http = packet.dst_port == 0;
        let of_several = self.emitted.places[workload].takes_any_length() && request.is_empty();
        if !(over_http || of_several) {
            return Ran::Passed;
        }
        let id = self.emitted.image.workloads[workload].id;
        match self.asks.ask(id, packet.src_ip, request, self.within) {
            Some(Answered::Reply(datagram)) => Ran::Ended(replied(&datagram, io.reply)),
            Some(Answered::Dropped) => Ran::Ended(Outcome::Drop),
            Some(Answered::HandedUp) => Ran::Passed,
            None => Ran::Ended(Outcome::Refused(Status::Timeout)),
        }
    }

    fn resume(waiting: Infallible, _: Answer<'_>, _: &mut Io<'_>) -> Outcome {
        match waiting {}
    }

    fn dump(&self, workload: usize, name: &str) -> Option<StateDump> {
        if !self.emitted.places.get(workload)?.on_nic(name) {
            return None;
        }
        let (index, object) = self.object(workload, name)?;
        match self.memory(index, object) {
            Ok(Some(bytes)) => state::dump(object, &bytes, NO_AGE, Order::Big).map(told),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, object = name, "state of the card could not be read");
                None
            }
        }
    }

    fn mirror(&self, host: &LoadedImage, workload: usize, name: &str) -> Result<(), String> {
        let Some(found) = self.table(workload, name) else {
            return Ok(());
        };
        let workloads = host.image().workloads();
        let table = workloads.get(workload).and_then(|own| own.table(name).ok());
        let Some(rows) = table.map(lnic_engine::Table::rows) else {
            return Ok(());
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let after = contents(found.object, entries(rows));
        let before = known.remove(found.symbol);
        match self.write(workload, &found, before.as_deref(), &after) {
            Ok(()) => {
                known.insert(found.symbol.into(), after);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, table = name, "a table could not be written to the card");
                Err(error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn only_words_that_differ_are_written() {
        let before = [0u8; 20];
        let mut after = before;
        after[5] = 1;
        after[8] = 1;
        after[19] = 1;
        assert_eq!(
            changed(Some(&before), &after),
            [(4, &after[4..12]), (16, &after[16..20])]
        );
        assert!(changed(Some(&after), &after).is_empty());
        assert_eq!(changed(None, &after), [(0, &after[..])]);
        assert_eq!(changed(Some(&before[..4]), &after), [(0, &after[..])]);
    }
}
