//! State objects: what outlives an invocation.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lambdac_hir::{State, StateId, StateKind, TableEntry, TableId, Value, Workload};

/// All state of one workload, and the live entries of its tables.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Vec<Object>,
    tables: Vec<Vec<TableEntry>>,
}

/// One `state`.
#[derive(Clone, Debug)]
pub enum Object {
    /// A value.
    Value(Value),
    /// A counter (one) or an array of them.
    Counters(Vec<u64>),
    /// `lru`
    Lru(Lru),
    /// `map`
    Map(Map),
}

/// The content of a state object in a canonical form, for comparing targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateDump {
    /// A value.
    Value(Value),
    /// A counter (one) or an array of them.
    Counters(Vec<u64>),
    /// The entries of an `lru` or `map`, sorted by key; those past their ttl are left out.
    Entries(Vec<(Value, Value)>),
}

impl Store {
    /// Fresh state: zeroed, empty, or as given.
    pub fn new(workload: &Workload) -> Self {
        Self {
            objects: workload.states.iter().map(Object::new).collect(),
            tables: workload
                .tables
                .iter()
                .map(|table| table.entries.clone())
                .collect(),
        }
    }

    /// The object of an id.
    pub fn object(&self, id: StateId) -> &Object {
        &self.objects[id.index()]
    }

    /// The object of an id, to change.
    pub fn object_mut(&mut self, id: StateId) -> &mut Object {
        &mut self.objects[id.index()]
    }

    /// The live entries of a table.
    pub fn table(&self, id: TableId) -> &[TableEntry] {
        &self.tables[id.index()]
    }

    /// Replaces the live entries of a table.
    pub fn set_table(&mut self, id: TableId, entries: Vec<TableEntry>) {
        self.tables[id.index()] = entries;
    }

    /// The content of all objects at a time.
    pub fn dump(&self, workload: &Workload, now: u64) -> Vec<(Arc<str>, StateDump)> {
        let named = workload.states.iter().zip(&self.objects);
        named
            .map(|(state, object)| (state.name.clone(), object.dump(now)))
            .collect()
    }
}

impl Object {
    fn new(state: &State) -> Self {
        match &state.kind {
            StateKind::Value { init, .. } => Self::Value(init.clone()),
            StateKind::Counter { count } => Self::Counters(vec![0; count.unwrap_or(1) as usize]),
            StateKind::Lru { capacity, ttl, .. } => Self::Lru(Lru::new(*capacity as usize, *ttl)),
            StateKind::Map { capacity, .. } => Self::Map(Map::new(*capacity as usize)),
        }
    }

    fn dump(&self, now: u64) -> StateDump {
        match self {
            Self::Value(value) => StateDump::Value(value.clone()),
            Self::Counters(counters) => StateDump::Counters(counters.clone()),
            Self::Lru(lru) => StateDump::Entries(sorted(lru.live(now))),
            Self::Map(map) => {
                StateDump::Entries(sorted(map.entries.iter().map(|(k, v)| (k.clone(), v.clone()))))
            }
        }
    }
}

fn sorted(entries: impl Iterator<Item = (Value, Value)>) -> Vec<(Value, Value)> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|(a, _), (b, _)| compare_keys(a, b));
    entries
}

/// Order of two keys of one type.
fn compare_keys(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) | (Value::Struct(a), Value::Struct(b)) => {
            let mut parts = a.iter().zip(b).map(|(a, b)| compare_keys(a, b));
            parts
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        _ => a.as_int().cmp(&b.as_int()),
    }
}

/// An `lru` that forgets exactly the entry whose last `get`, `put` or `fetch_add` is longest ago.
#[derive(Clone, Debug)]
pub struct Lru {
    capacity: usize,
    ttl: Option<u64>,
    entries: HashMap<Value, LruEntry>,
    /// Keys by their last use.
    by_use: BTreeMap<u64, Value>,
    uses: u64,
}

#[derive(Clone, Debug)]
struct LruEntry {
    value: Value,
    /// When it was last put, or stored as new by a `fetch_add`: its life counts from here.
    written: u64,
    last_use: u64,
}

impl Lru {
    fn new(capacity: usize, ttl: Option<u64>) -> Self {
        Self {
            capacity,
            ttl,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Whether an entry written then is gone now: it lives for ttl nanoseconds.
    fn expired(&self, written: u64, now: u64) -> bool {
        self.ttl.is_some_and(|ttl| now.saturating_sub(written) >= ttl)
    }

    /// The value of a key; counts as a use.
    pub fn get(&mut self, key: &Value, now: u64) -> Option<Value> {
        let entry = self.entries.get(key)?;
        if self.expired(entry.written, now) {
            self.remove(key);
            return None;
        }
        let value = entry.value.clone();
        self.touch(key);
        Some(value)
    }

    /// Stores a value; a new key pushes the least recently used one out of a full object.
    pub fn put(&mut self, key: Value, value: Value, now: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            entry.written = now;
            self.touch(&key);
            return;
        }
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(
            key,
            LruEntry {
                value,
                written: now,
                last_use: self.uses,
            },
        );
    }

    /// Changes the value of a key that is there, which does not prolong its life; counts as a use.
    pub fn update(&mut self, key: &Value, value: Value) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
            self.touch(key);
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &Value) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.last_use);
        }
    }

    fn touch(&mut self, key: &Value) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.uses += 1;
            self.by_use.remove(&entry.last_use);
            self.by_use.insert(self.uses, key.clone());
            entry.last_use = self.uses;
        }
    }

    fn live(&self, now: u64) -> impl Iterator<Item = (Value, Value)> {
        let live = self
            .entries
            .iter()
            .filter(move |(_, entry)| !self.expired(entry.written, now));
        live.map(|(key, entry)| (key.clone(), entry.value.clone()))
    }
}

/// A `map`, which never forgets.
#[derive(Clone, Debug)]
pub struct Map {
    capacity: usize,
    entries: HashMap<Value, Value>,
}

impl Map {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<Value> {
        self.entries.get(key).cloned()
    }

    /// Adds or replaces; false when the key is new and the map full.
    pub fn insert(&mut self, key: Value, value: Value) -> bool {
        let fits = self.entries.len() < self.capacity || self.entries.contains_key(&key);
        if fits {
            self.entries.insert(key, value);
        }
        fits
    }

    /// Forgets a key; whether it was there.
    pub fn remove(&mut self, key: &Value) -> bool {
        self.entries.remove(key).is_some()
    }
}
