//! Objects: what outlives calls.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::memory::Memory;
use crate::{Data, Module, ObjectKind};

/// The content of an object in a canonical form, for comparing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateDump {
    /// A value.
    Value(Data),
    /// A counter (one) or an array of them.
    Counters(Vec<u64>),
    /// The entries of an lru or map: keys part by part, and values, sorted by key.
    Entries(Vec<(Vec<Data>, Data)>),
}

/// All objects, by id.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) objects: Vec<Object>,
}

#[derive(Clone, Debug)]
pub(super) enum Object {
    Value(Memory),
    Counters(Vec<u64>),
    Keyed(Keyed),
    /// Tables are read from the module.
    Table,
}

/// An lru or map.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    capacity: usize,
    forgets: bool,
    ttl: Option<u64>,
    entries: HashMap<Vec<Data>, Entry>,
    /// Keys by their last use; kept only where it forgets.
    by_use: BTreeMap<u64, Vec<Data>>,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Data,
    written: u64,
    last_use: u64,
}

impl State {
    pub(super) fn new(module: &Module) -> Self {
        let object = |object: &crate::Object| match &object.kind {
            ObjectKind::Value { shape, init } => Object::Value(Memory::of_data(shape, init)),
            ObjectKind::Counter { count, .. } => Object::Counters(vec![0; *count as usize]),
            ObjectKind::Lru { capacity, ttl, .. } => Object::Keyed(Keyed::new(*capacity, true, *ttl)),
            ObjectKind::Map { capacity, .. } => Object::Keyed(Keyed::new(*capacity, false, None)),
            ObjectKind::Table { .. } => Object::Table,
        };
        Self {
            objects: module.objects.iter().map(object).collect(),
        }
    }

    pub(super) fn dump(&self, module: &Module, now: u64) -> Vec<(Arc<str>, StateDump)> {
        let pairs = module.objects.iter().zip(&self.objects);
        pairs
            .filter_map(|(object, state)| Some((Arc::clone(&object.name), dump(&object.kind, state, now)?)))
            .collect()
    }
}

fn dump(kind: &ObjectKind, object: &Object, now: u64) -> Option<StateDump> {
    match (kind, object) {
        (ObjectKind::Value { shape, .. }, Object::Value(memory)) => {
            // State starts written, and is written by whole scalars only.
            memory.data(0, shape).ok().map(StateDump::Value)
        }
        (_, Object::Counters(counters)) => Some(StateDump::Counters(counters.clone())),
        (_, Object::Keyed(keyed)) => Some(StateDump::Entries(keyed.dump(now))),
        _ => None,
    }
}

impl Keyed {
    fn new(capacity: u32, forgets: bool, ttl: Option<u64>) -> Self {
        Self {
            capacity: capacity as usize,
            forgets,
            ttl,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// An entry lives for ttl nanoseconds from when it was last put, or stored as new by a `fetch_add`.
    fn expired(&self, entry: &Entry, now: u64) -> bool {
        self.ttl
            .is_some_and(|ttl| now.saturating_sub(entry.written) >= ttl)
    }

    /// The value of a key; counts as a use.
    pub(super) fn get(&mut self, key: &[Data], now: u64) -> Option<Data> {
        let entry = self.entries.get(key)?;
        if self.expired(entry, now) {
            self.remove(key, now);
            return None;
        }
        let value = entry.value.clone();
        self.touch(key);
        Some(value)
    }

    /// Stores a value; false where the key is new and a map is full.
    pub(super) fn put(&mut self, key: Vec<Data>, value: Data, now: u64) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            entry.written = now;
            self.touch(&key);
            return true;
        }
        if self.entries.len() >= self.capacity {
            if !self.forgets {
                return false;
            }
            if let Some((_, oldest)) = self.by_use.pop_first() {
                self.entries.remove(&oldest);
            }
        }
        self.uses += 1;
        if self.forgets {
            self.by_use.insert(self.uses, key.clone());
        }
        self.entries.insert(
            key,
            Entry {
                value,
                written: now,
                last_use: self.uses,
            },
        );
        true
    }

    /// Changes the value of a key that is there, which does not prolong its life; counts as a use.
    pub(super) fn update(&mut self, key: &[Data], value: Data) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
            self.touch(key);
        }
    }

    /// Forgets a key; whether it was there.
    pub(super) fn remove(&mut self, key: &[Data], now: u64) -> bool {
        match self.entries.remove(key) {
            Some(entry) => {
                self.by_use.remove(&entry.last_use);
                !self.expired(&entry, now)
            }
            None => false,
        }
    }

    fn touch(&mut self, key: &[Data]) {
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(key) = self.by_use.remove(&entry.last_use)
        {
            self.uses += 1;
            entry.last_use = self.uses;
            self.by_use.insert(self.uses, key);
        }
    }

    fn dump(&self, now: u64) -> Vec<(Vec<Data>, Data)> {
        let live = self.entries.iter().filter(|(_, entry)| !self.expired(entry, now));
        let mut entries: Vec<_> = live
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect();
        entries.sort_by(|(a, _), (b, _)| compare_keys(a, b));
        entries
    }
}

/// Part by part; all keys of an object have the same parts.
fn compare_keys(a: &[Data], b: &[Data]) -> Ordering {
    let part = |(a, b): (&Data, &Data)| match (a, b) {
        (Data::Int(a), Data::Int(b)) => a.cmp(b),
        (Data::Bytes(a), Data::Bytes(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    a.iter()
        .zip(b)
        .map(part)
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}
