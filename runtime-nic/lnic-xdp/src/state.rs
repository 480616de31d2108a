//! What a workload's objects hold on the NIC, read and written through maps.
//!
//! Where an object lies and how is `lambdac_backend_ebpf::layout`'s business; here are the system calls around it, and
//! the care that two writers need: an entry that a program is writing has two different stamps, so it is read again.

use std::sync::atomic::{AtomicU64, Ordering};

use lambdac_backend_ebpf::layout::{self, Storage};
use lambdac_mir::{Data, EntryKey, KeyPart, Module, Object, ObjectKind, Shape, TableEntry, TableKind};
use lnic_engine::control::StateDump;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::map::Map;

/// How often an entry that is being written is read again.
const RETRIES: usize = 16;

/// Stamps of entries that this process writes. Programs make theirs from the clock, so these start far above.
static STAMP: AtomicU64 = AtomicU64::new(1 << 63);

fn stamp() -> u64 {
    STAMP.fetch_add(1, Ordering::Relaxed)
}

/// What an object of a workload holds; none for a table. Entries past their time to live at `now` are left out.
///
/// # Errors
/// If the kernel refuses, or the object is not on the NIC.
pub fn dump(image: &Image, workload: &str, object: &Object, now: u64) -> Result<Option<StateDump>> {
    let mangled = || Error::Absent {
        what: "value in",
        name: format!("{workload}.{}", object.name),
    };
    match (&object.kind, layout::storage(workload, object)) {
        (ObjectKind::Value { shape, .. }, Storage::Section(name)) => {
            let data = layout::decode_cells(shape, &image.section(&name)?);
            Ok(Some(StateDump::Value(data.ok_or_else(mangled)?)))
        }
        (ObjectKind::Counter { count, .. }, Storage::Section(name)) => {
            let bytes = image.section(&name)?;
            let counts = bytes.chunks_exact(8).take(*count as usize).map(little);
            Ok(Some(StateDump::Counters(counts.collect())))
        }
        (ObjectKind::Lru { key, value, ttl, .. }, Storage::Map(name)) => {
            Ok(Some(entries(image.map(&name)?, key, value, *ttl, now)?))
        }
        (ObjectKind::Map { key, value, .. }, Storage::Map(name)) => {
            Ok(Some(entries(image.map(&name)?, key, value, None, now)?))
        }
        _ => Ok(None),
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn entries(map: &Map, key: &[KeyPart], value: &Shape, ttl: Option<u64>, now: u64) -> Result<StateDump> {
    let mut found = Vec::new();
    for bytes in map.keys()? {
        let Some((time, data)) = entry(map, &bytes, key, value)? else {
            continue;
        };
        let alive = ttl.is_none_or(|ttl| now.saturating_sub(time) < ttl);
        if let (true, Some(parts)) = (alive, layout::decode_key(key, &bytes)) {
            found.push((bytes, parts, data));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|a, b| a.0 == b.0);
    let pairs = found.into_iter().map(|(_, key, data)| (key, data));
    Ok(StateDump::Entries(pairs.collect()))
}

fn entry(map: &Map, bytes: &[u8], key: &[KeyPart], value: &Shape) -> Result<Option<(u64, Data)>> {
    for _ in 0..RETRIES {
        let Some(element) = map.lookup(bytes)? else {
            return Ok(None);
        };
        if let Some(read) = layout::decode_element(key, value, &element) {
            return Ok(Some(read));
        }
    }
    Ok(None)
}

/// Puts the inline entries of a module's tables where they start.
///
/// # Errors
/// If the kernel refuses.
pub fn fill_tables(image: &Image, module: &Module) -> Result<()> {
    for object in &module.objects {
        if let ObjectKind::Table { entries, .. } = &object.kind {
            set_table(image, &module.name, object, entries)?;
        }
    }
    Ok(())
}

/// Replaces all entries of a table. A program that looks meanwhile finds each entry as it was or as it will be; of a
/// ternary table, all as they were or all as they will be.
///
/// # Errors
/// If the kernel refuses.
pub fn set_table(image: &Image, workload: &str, object: &Object, entries: &[TableEntry]) -> Result<()> {
    let ObjectKind::Table {
        kind,
        key,
        value,
        capacity,
        ..
    } = &object.kind
    else {
        return Ok(());
    };
    match layout::storage(workload, object) {
        Storage::Section(name) => {
            let places: Vec<_> = entries
                .iter()
                .map(|entry| layout::ternary_place(key, entry))
                .collect();
            let bytes = layout::encode_ternary(key, value, *capacity, &places, stamp());
            image.set_section(&name, &bytes)
        }
        Storage::Map(name) => {
            let wanted = entries.iter().map(|entry| element(*kind, key, value, entry));
            replace(image.map(&name)?, wanted.collect())
        }
    }
}

/// Key and value of an entry of an exact or lpm table, as its map has them.
fn element(kind: TableKind, key: &[KeyPart], value: &Shape, entry: &TableEntry) -> (Vec<u8>, Vec<u8>) {
    let all = layout::prefix_bits(key);
    let empty = Vec::new();
    let (parts, len) = match &entry.key {
        EntryKey::Exact(parts) | EntryKey::Masked(parts, _) => (parts, all),
        EntryKey::Prefix(parts, len) => (parts, *len),
        EntryKey::Any => (&empty, 0),
    };
    if kind == TableKind::Lpm {
        let mut bytes = layout::encoded(value, &entry.value);
        bytes.resize(bytes.len().max(1).next_multiple_of(8), 0);
        return (layout::encode_prefix(key, parts, len), bytes);
    }
    let bytes = layout::encode_element(key, value, parts, &entry.value, 0, stamp());
    (layout::encode_key(key, parts), bytes)
}

/// Makes a map hold just these entries: new ones first, so that a key in both is never missing. Where the map is too
/// full for that, old ones go first.
fn replace(map: &Map, wanted: Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
    let old = map.keys()?;
    let gone: Vec<&Vec<u8>> = old
        .iter()
        .filter(|key| !wanted.iter().any(|(other, _)| other == *key))
        .collect();
    let remove = || gone.iter().try_for_each(|key| map.delete(key).map(drop));
    if old.len() + wanted.len() > map.def().max_entries as usize {
        remove()?;
    }
    for (key, value) in &wanted {
        map.update(key, value)?;
    }
    remove()
}
