//! Tables: snapshots that lambdas read and the control plane replaces.
//!
//! A lookup loads the current snapshot, and neither waits, allocates nor frees: what a writer has replaced, a writer frees,
//! once no lookup uses it any more. `exact` is a hash table, `lpm` a sorted list per prefix length (longest first),
//! `ternary` a list in order of precedence.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lambdac_backend_host::layout;
use lambdac_mir::{Data, EntryKey, KeyPart, Shape, TableEntry, TableKind};

use crate::error::ControlError;
use crate::sign::Signs;

/// An entry as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is matched, one [`Data`] a key part.
    pub key: EntryKey,
    /// What `get` gives.
    pub value: Data,
    /// Where ternary entries overlap the higher one wins, at equal priority the one that is listed first. Inline
    /// entries have 0.
    pub priority: u32,
}

/// A table.
pub struct Table {
    kind: TableKind,
    key: Vec<KeyPart>,
    value: Shape,
    signs: Signs,
    capacity: usize,
    current: ArcSwap<Snapshot>,
    /// What was replaced while a lookup used it. The lock orders writers, who build on what is there.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
}

/// The entries at one time.
struct Snapshot {
    rows: Vec<Row>,
    /// By row: the value in its layout, and how many bytes of it are in use.
    values: Vec<(Box<[u8]>, usize)>,
    index: Index,
}

/// Rows by key in its encoding.
type ByKey = HashMap<Box<[u8]>, usize>;
/// The mask of a prefix length, and the rows in order of their keys, which are masked.
type Length = (Box<[u8]>, Vec<(Box<[u8]>, usize)>);
/// Value, mask and row.
type Masked = (Box<[u8]>, Box<[u8]>, usize);

enum Index {
    Exact(ByKey),
    /// Longest first.
    Lpm(Vec<Length>),
    /// Value, mask and row, in order of precedence.
    Ternary(Vec<Masked>),
}

impl Table {
    /// A table with inline entries.
    pub(crate) fn new(
        kind: TableKind,
        key: &[KeyPart],
        value: &Shape,
        capacity: u32,
        entries: &[TableEntry],
        signs: &Signs,
    ) -> Result<Self, ControlError> {
        let table = Self {
            kind,
            key: key.to_vec(),
            value: value.clone(),
            signs: signs.clone(),
            capacity: capacity as usize,
            current: ArcSwap::from_pointee(Snapshot {
                rows: Vec::new(),
                values: Vec::new(),
                index: Index::Ternary(Vec::new()),
            }),
            replaced: Mutex::default(),
        };
        let rows = entries.iter().map(|entry| Row {
            key: entry.key.clone(),
            value: entry.value.clone(),
            priority: 0,
        });
        table.replace(rows.collect())?;
        Ok(table)
    }

    /// How keys are matched.
    pub fn kind(&self) -> TableKind {
        self.kind
    }

    /// The parts of a key.
    pub fn key(&self) -> &[KeyPart] {
        &self.key
    }

    /// The value's structure.
    pub fn value(&self) -> &Shape {
        &self.value
    }

    /// The signs of its integers.
    pub(crate) fn signs(&self) -> &Signs {
        &self.signs
    }

    /// How many entries it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// All entries, in order of listing.
    pub fn rows(&self) -> Vec<Row> {
        self.current.load().rows.clone()
    }

    /// The entries by falling priority, as inline entries stand.
    pub fn entries(&self) -> Vec<TableEntry> {
        let mut rows = self.rows();
        // Stable: of equal priority the first goes first.
        rows.sort_by_key(|row| std::cmp::Reverse(row.priority));
        let entry = |row: Row| TableEntry {
            key: row.key,
            value: row.value,
        };
        rows.into_iter().map(entry).collect()
    }

    /// Replaces all entries at once.
    ///
    /// # Errors
    /// The first entry that does not fit; then the table is unchanged.
    pub fn replace(&self, rows: Vec<Row>) -> Result<(), ControlError> {
        self.publish(&mut self.lock(), rows)
    }

    /// Adds entries, or replaces those with the same key (for ternary: key, mask and priority).
    ///
    /// # Errors
    /// As [`Table::replace`].
    pub fn upsert(&self, rows: Vec<Row>) -> Result<(), ControlError> {
        let mut replaced = self.lock();
        let mut all = self.rows();
        for row in rows {
            let same = |old: &&mut Row| {
                old.key == row.key && (self.kind != TableKind::Ternary || old.priority == row.priority)
            };
            match all.iter_mut().find(same) {
                Some(old) => *old = row,
                None => all.push(row),
            }
        }
        self.publish(&mut replaced, all)
    }

    /// Removes the entries with these keys; gives how many there were.
    ///
    /// # Errors
    /// None today; the result is one because a snapshot is built.
    pub fn delete(&self, keys: &[EntryKey]) -> Result<usize, ControlError> {
        let mut replaced = self.lock();
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|row| !keys.contains(&row.key));
        let removed = before - rows.len();
        self.publish(&mut replaced, rows)?;
        Ok(removed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, replaced: &mut Vec<Arc<Snapshot>>, rows: Vec<Row>) -> Result<(), ControlError> {
        if rows.len() > self.capacity {
            return Err(ControlError::TooMany {
                entries: rows.len(),
                capacity: self.capacity,
            });
        }
        let snapshot = Snapshot::build(self, rows)?;
        replaced.push(self.current.swap(snapshot.into()));
        // A new lookup takes the new snapshot: where this list has the last reference, no lookup has one again.
        replaced.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        Ok(())
    }

    /// Gives a key's value, in its layout and as far as it is in use, to `take`.
    pub(crate) fn find<R>(&self, key: &[u8], take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let snapshot = self.current.load();
        let row = snapshot.index.find(key)?;
        let (value, used) = &snapshot.values[row];
        Some(take(&value[..*used]))
    }

    /// Bytes of a key.
    pub(crate) fn key_bytes(&self) -> usize {
        layout::key_bytes(&self.key).map_or(0, |bytes| bytes as usize)
    }
}

impl Index {
    fn find(&self, key: &[u8]) -> Option<usize> {
        match self {
            Self::Exact(rows) => rows.get(key).copied(),
            Self::Lpm(lengths) => lengths.iter().find_map(|(mask, rows)| {
                let masked = || key.iter().zip(mask).map(|(key, mask)| key & mask);
                let at = rows.binary_search_by(|(prefix, _)| prefix.iter().copied().cmp(masked()));
                at.ok().map(|at| rows[at].1)
            }),
            Self::Ternary(rows) => rows
                .iter()
                .find(|(value, mask, _)| {
                    key.iter()
                        .zip(mask.iter())
                        .zip(value.iter())
                        .all(|((k, m), v)| k & m == *v)
                })
                .map(|(_, _, row)| *row),
        }
    }
}

fn bad(index: usize, part: &str, reason: impl Into<String>) -> ControlError {
    ControlError::BadEntry {
        what: format!("entry {index}: {part}"),
        reason: reason.into(),
    }
}

impl Snapshot {
    fn build(table: &Table, rows: Vec<Row>) -> Result<Self, ControlError> {
        let mut values = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let value = layout::encoded(&table.value, &row.value)
                .map_err(|_| bad(index, "value", "not of the table's value type"))?;
            let used = match (&table.value, &row.value) {
                (Shape::Bytes(_), Data::Bytes(bytes)) => bytes.len() + layout::BYTES_HEADER as usize,
                _ => value.len(),
            };
            values.push((value.into_boxed_slice(), used));
        }
        let index = match table.kind {
            TableKind::Exact => Index::Exact(exact(table, &rows)?),
            TableKind::Lpm => Index::Lpm(lpm(table, &rows)?),
            TableKind::Ternary => Index::Ternary(ternary(table, &rows)?),
        };
        Ok(Self { rows, values, index })
    }
}

fn encode(table: &Table, index: usize, part: &str, data: &[Data]) -> Result<Box<[u8]>, ControlError> {
    if data.len() != table.key.len() {
        return Err(bad(
            index,
            part,
            "the number of key parts differs from the table's",
        ));
    }
    let mut out = Vec::new();
    for (kind, data) in table.key.iter().zip(data) {
        let fits = match (kind, data) {
            (KeyPart::Scalar(width), Data::Int(value)) => *value <= layout::mask(*width),
            _ => true,
        };
        let encoded = layout::encode_key_part(*kind, data, &mut out);
        if !fits || encoded.is_err() {
            return Err(bad(index, part, "not of the table's key type"));
        }
    }
    Ok(out.into())
}

/// A key as it is written in an entry: parts with a comma between, bytes in hexadecimal.
fn shown(key: &[Data]) -> String {
    let part = |data: &Data| match data {
        Data::Int(value) => value.to_string(),
        Data::Bytes(bytes) => bytes
            .iter()
            .fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        Data::List(parts) => format!("[{}]", shown(parts)),
    };
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn exact(table: &Table, rows: &[Row]) -> Result<ByKey, ControlError> {
    let mut out = HashMap::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let EntryKey::Exact(data) = &row.key else {
            return Err(bad(index, "key", "an exact table takes whole keys"));
        };
        if out.insert(encode(table, index, "key", data)?, index).is_some() {
            return Err(ControlError::DuplicateKey(shown(data)));
        }
    }
    Ok(out)
}

/// The mask of a prefix: the first `len` bits of the parts, without the bits that pad odd widths.
fn prefix_mask(parts: &[KeyPart], mut len: u32) -> Box<[u8]> {
    let mut out = Vec::new();
    for part in parts {
        let (bits, bytes) = match part {
            KeyPart::Scalar(width) => (u32::from(*width), layout::cell_bytes(*width) as usize),
            KeyPart::Bytes(count) => (count * 8, *count as usize),
        };
        let taken = len.min(bits);
        len -= taken;
        let unused = bytes as u32 * 8 - bits;
        for byte in 0..bytes as u32 {
            // The padding in front counts as matched: it is 0 in every key.
            let ones = (unused + taken).saturating_sub(byte * 8).min(8);
            out.push(!(0xffu16 >> ones) as u8);
        }
    }
    out.into()
}

fn lpm(table: &Table, rows: &[Row]) -> Result<Vec<Length>, ControlError> {
    let bits: u32 = table
        .key
        .iter()
        .map(|part| match part {
            KeyPart::Scalar(width) => u32::from(*width),
            KeyPart::Bytes(count) => count * 8,
        })
        .sum();
    let mut lengths: BTreeMap<u32, BTreeMap<Box<[u8]>, usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let (data, len) = match &row.key {
            EntryKey::Prefix(data, len) => (data, *len),
            EntryKey::Exact(data) => (data, bits),
            EntryKey::Masked(..) | EntryKey::Any => {
                return Err(bad(index, "key", "an lpm table takes prefixes"));
            }
        };
        if len > bits {
            return Err(bad(
                index,
                "key",
                format!("a prefix of {len} bits of a key of {bits}"),
            ));
        }
        let key = encode(table, index, "key", data)?;
        let mask = prefix_mask(&table.key, len);
        if key.iter().zip(mask.iter()).any(|(key, mask)| key & !mask != 0) {
            return Err(bad(index, "key", "bits below the prefix are set"));
        }
        if lengths.entry(len).or_default().insert(key, index).is_some() {
            return Err(ControlError::DuplicateKey(format!("{}/{len}", shown(data))));
        }
    }
    let longest_first = lengths.into_iter().rev();
    Ok(longest_first
        .map(|(len, rows)| (prefix_mask(&table.key, len), rows.into_iter().collect()))
        .collect())
}

fn ternary(table: &Table, rows: &[Row]) -> Result<Vec<Masked>, ControlError> {
    let mut out: Vec<Masked> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let (value, mask) = match &row.key {
            EntryKey::Masked(value, mask) => (
                encode(table, index, "key", value)?,
                encode(table, index, "mask", mask)?,
            ),
            EntryKey::Exact(value) => {
                let key = encode(table, index, "key", value)?;
                let all = vec![0xff; key.len()].into();
                (key, all)
            }
            EntryKey::Any => {
                let bytes = table.key_bytes();
                (vec![0; bytes].into(), vec![0; bytes].into())
            }
            EntryKey::Prefix(..) => return Err(bad(index, "key", "a ternary table takes masks")),
        };
        let value = value
            .iter()
            .zip(mask.iter())
            .map(|(value, mask)| value & mask)
            .collect();
        out.push((value, mask, index));
    }
    out.sort_by_key(|(_, _, row)| (std::cmp::Reverse(rows[*row].priority), *row));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: TableKind, rows: &[(EntryKey, u64)]) -> Table {
        let table = Table::new(
            kind,
            &[KeyPart::Scalar(12), KeyPart::Scalar(32)],
            &Shape::Scalar(8),
            8,
            &[],
            &Signs::none(),
        )
        .unwrap();
        let rows = rows.iter().map(|(key, value)| Row {
            key: key.clone(),
            value: Data::Int(*value),
            priority: 0,
        });
        table.replace(rows.collect()).unwrap();
        table
    }

    fn parts(a: u64, b: u64) -> Vec<Data> {
        vec![Data::Int(a), Data::Int(b)]
    }

    fn find(table: &Table, a: u64, b: u64) -> Option<u8> {
        let key = encode(table, 0, "key", &parts(a, b)).unwrap();
        table.find(&key, |value| value[0])
    }

    #[test]
    fn the_longest_prefix_wins_across_parts_of_odd_width() {
        let table = table(
            TableKind::Lpm,
            &[
                (EntryKey::Prefix(parts(0xab0, 0), 8), 1),
                (EntryKey::Prefix(parts(0xabc, 0), 12), 2),
                (EntryKey::Prefix(parts(0xabc, 0x0a00_0000), 20), 3),
                (EntryKey::Prefix(parts(0, 0), 0), 4),
            ],
        );
        assert_eq!(find(&table, 0xabd, 7), Some(1));
        assert_eq!(find(&table, 0xabc, 0x0b00_0000), Some(2));
        assert_eq!(find(&table, 0xabc, 0x0a01_0203), Some(3));
        assert_eq!(find(&table, 0x123, 0), Some(4));
    }

    #[test]
    fn what_a_lookup_still_uses_is_freed_by_a_later_writer() {
        let table = table(TableKind::Exact, &[(EntryKey::Exact(parts(1, 2)), 7)]);
        let used = Arc::downgrade(&table.current.load_full());
        let key = encode(&table, 0, "key", &parts(1, 2)).unwrap();
        let value = table.find(&key, |value| {
            table.replace(Vec::new()).unwrap();
            value[0]
        });
        assert_eq!(value, Some(7));
        assert!(used.upgrade().is_some(), "the lookup's end has freed it");
        table.replace(Vec::new()).unwrap();
        assert!(used.upgrade().is_none(), "nobody has freed it");
    }

    #[test]
    fn the_first_ternary_entry_wins_unless_another_has_priority() {
        let table = table(
            TableKind::Ternary,
            &[
                (EntryKey::Masked(parts(1, 0), parts(0xf, 0)), 1),
                (EntryKey::Any, 2),
            ],
        );
        assert_eq!(find(&table, 0x121, 9), Some(1));
        assert_eq!(find(&table, 0x122, 9), Some(2));
        let urgent = Row {
            key: EntryKey::Exact(parts(0x121, 9)),
            value: Data::Int(3),
            priority: 5,
        };
        table.upsert(vec![urgent]).unwrap();
        assert_eq!(find(&table, 0x121, 9), Some(3));
        assert_eq!(find(&table, 0x121, 8), Some(1));
    }

    #[test]
    fn a_refused_change_leaves_the_table_as_it_was() {
        let table = table(TableKind::Exact, &[(EntryKey::Exact(parts(1, 2)), 7)]);
        let row = |key, value| Row {
            key,
            value,
            priority: 0,
        };
        let too_wide = row(EntryKey::Exact(parts(0x1000, 0)), Data::Int(1));
        let twice = row(EntryKey::Exact(parts(1, 2)), Data::Int(1));
        let many = (0..9).map(|n| row(EntryKey::Exact(parts(n, 0)), Data::Int(0)));
        assert!(matches!(
            table.replace(vec![too_wide]),
            Err(ControlError::BadEntry { .. })
        ));
        assert!(matches!(
            table.replace(vec![twice.clone(), twice]),
            Err(ControlError::DuplicateKey(_))
        ));
        assert!(matches!(
            table.replace(many.collect()),
            Err(ControlError::TooMany {
                entries: 9,
                capacity: 8
            })
        ));
        assert_eq!(find(&table, 1, 2), Some(7));
        assert_eq!(table.delete(&[EntryKey::Exact(parts(1, 2))]), Ok(1));
        assert_eq!(find(&table, 1, 2), None);
    }
}
