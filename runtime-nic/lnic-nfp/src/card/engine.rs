//! The worker's [`Engine`] where a card stands in front of it.
//!
//! Requests that the card answers never come here. What it leaves to the host comes as it came to the card, so that the
//! host can't see which lambda was meant: it runs the match again. Therefore its copy of lambdas whose state is on the
//! card only punts (`lambdac_driver::nfp::behind_card`): such a request either was punted by the card, or came by a way
//! that has no part in that state, as HTTP has none here.
//!
//! Tables are on both sides. While one changes, the card leaves its workload to the host, who has the new entries first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lambdac_backend_c::SymbolKind;
use lambdac_backend_c::layout::{self, Order};
use lambdac_driver::nfp::{Emitted, Rule};
use lambdac_mir::interp;
use lambdac_mir::{Object, ObjectKind, TableEntry};
use lnic_engine::control::StateDump;
use lnic_host::{
    Answer, Continuation, ControlError, Engine, Io, LoadedImage, Outcome, Packet, Scratch, ServiceInfo,
    WorkloadInfo,
};

use super::{Card, CardError};
use crate::state;

/// The largest object that is read for who asks.
const MAX_READ: u64 = 4 << 20;
/// The clock of entries: the card's own is not the host's, so that none is too old.
const NO_AGE: u64 = 0;

/// An image on a card and the same on the host.
pub struct CardEngine {
    host: Arc<LoadedImage>,
    emitted: Arc<Emitted>,
    card: Arc<dyn Card>,
    /// By symbol: what a table on the card holds, where that is known. Locked by who changes one.
    known: Mutex<BTreeMap<Arc<str>, Vec<u8>>>,
}

/// An object in the card's memory.
struct OnCard<'e> {
    symbol: &'e str,
    size: u64,
    object: &'e Object,
}

impl CardEngine {
    pub(super) fn new(host: Arc<LoadedImage>, emitted: Arc<Emitted>, card: Arc<dyn Card>) -> Self {
        Self {
            host,
            emitted,
            card,
            known: Mutex::default(),
        }
    }

    fn object(&self, workload: usize, name: &str) -> Option<OnCard<'_>> {
        let workload = &*self.emitted.image.workloads.get(workload)?.name;
        let item = format!("{workload}.{name}");
        let symbol = self
            .emitted
            .c
            .symbols
            .iter()
            .find(|symbol| *symbol.item == *item)?;
        let SymbolKind::Object(index) = symbol.kind else {
            return None;
        };
        Some(OnCard {
            symbol: &symbol.name,
            size: symbol.size,
            object: self.emitted.image.module.objects.get(index)?,
        })
    }

    /// What an object holds, if it is the card's.
    fn dump(&self, workload: usize, name: &str) -> Option<StateDump> {
        if !self.emitted.places.get(workload)?.on_nic(name) {
            return None;
        }
        let found = self.object(workload, name)?;
        if found.size > MAX_READ {
            tracing::warn!(
                object = name,
                bytes = found.size,
                "too large to be read from the card"
            );
            return None;
        }
        match self.card.read(found.symbol, 0, found.size.next_multiple_of(4)) {
            Ok(bytes) => state::dump(found.object, &bytes, NO_AGE, Order::Big).map(told),
            Err(error) => {
                tracing::error!(%error, object = name, "state of the card could not be read");
                None
            }
        }
    }

    /// Makes the card's table hold what the host's does.
    fn mirror(&self, workload: usize, name: &str, known: &mut Known) -> Result<(), ControlError> {
        let Some(found) = self.object(workload, name) else {
            return Ok(());
        };
        let host = self.host.image().workloads().get(workload);
        let Some(rows) = host
            .and_then(|host| host.table(name).ok())
            .map(lnic_engine::Table::rows)
        else {
            return Ok(());
        };
        let after = contents(found.object, entries(rows));
        let before = known.remove(found.symbol);
        let written = self.write(workload, &found, before.as_deref(), &after);
        match written {
            Ok(()) => {
                known.insert(found.symbol.into(), after);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, table = name, "a table could not be written to the card");
                Err(ControlError::Invalid(format!("on the host only: {error}")))
            }
        }
    }

    /// Writes what is different while no core looks at it.
    fn write(
        &self,
        workload: usize,
        found: &OnCard<'_>,
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

type Known = BTreeMap<Arc<str>, Vec<u8>>;

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

impl Engine for CardEngine {
    fn workloads(&self) -> &[WorkloadInfo] {
        self.host.workloads()
    }

    fn services(&self) -> &[ServiceInfo] {
        self.host.services()
    }

    fn scratch(&self) -> Scratch {
        self.host.scratch()
    }

    fn invoke(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        self.host.invoke(scratch, workload, packet, request, io)
    }

    fn invoke_lambda(
        &self,
        scratch: &mut Scratch,
        target: (usize, usize),
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        self.host.invoke_lambda(scratch, target, packet, request, io)
    }

    fn resume(
        &self,
        scratch: &mut Scratch,
        continuation: Continuation,
        answer: Answer<'_>,
        now: u64,
        io: &mut Io<'_>,
    ) -> Outcome {
        self.host.resume(scratch, continuation, answer, now, io)
    }

    fn state(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> Result<serde_json::Value, ControlError> {
        self.host
            .state_with(workload, object, index, &|name| self.dump(workload, name))
    }

    fn table(&self, workload: usize, table: &str) -> Result<serde_json::Value, ControlError> {
        self.host.table(workload, table)
    }

    fn set_table(
        &self,
        workload: usize,
        table: &str,
        entries: &serde_json::Value,
    ) -> Result<(), ControlError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.set_table(workload, table, entries)?;
        self.mirror(workload, table, &mut known)
    }

    fn delete_entries(
        &self,
        workload: usize,
        table: &str,
        keys: Option<&serde_json::Value>,
    ) -> Result<(), ControlError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.delete_entries(workload, table, keys)?;
        self.mirror(workload, table, &mut known)
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
