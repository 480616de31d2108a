//! Table lookups, by going through all entries.

use std::cmp::Ordering;

use lambdac_hir::{EntryKey, TableEntry, TableKind, Type, Value, Workload};

/// The value of the entry that a key finds: the only one that is equal (exact), the one with the longest prefix
/// (lpm), the first listed (ternary).
pub fn lookup<'t>(
    workload: &Workload,
    kind: TableKind,
    key_type: &Type,
    entries: &'t [TableEntry],
    key: &Value,
) -> Option<&'t Value> {
    let mut hits = entries
        .iter()
        .filter(|entry| matches(workload, key_type, &entry.key, key));
    let found = match kind {
        TableKind::Exact | TableKind::Ternary => hits.next(),
        TableKind::Lpm => hits.reduce(|best, entry| match specificity(entry).cmp(&specificity(best)) {
            Ordering::Greater => entry,
            Ordering::Less | Ordering::Equal => best,
        }),
    };
    found.map(|entry| &entry.value)
}

fn specificity(entry: &TableEntry) -> u32 {
    match entry.key {
        EntryKey::Prefix(_, len) => len,
        EntryKey::Exact(_) => u32::MAX,
        EntryKey::Masked(..) | EntryKey::Any => 0,
    }
}

fn matches(workload: &Workload, key_type: &Type, entry: &EntryKey, key: &Value) -> bool {
    match entry {
        EntryKey::Exact(value) => value == key,
        EntryKey::Prefix(value, len) => {
            let (mut value_bits, mut key_bits) = (Vec::new(), Vec::new());
            bits(workload, key_type, value, &mut value_bits);
            bits(workload, key_type, key, &mut key_bits);
            let len = (*len as usize).min(key_bits.len());
            value_bits[..len] == key_bits[..len]
        }
        EntryKey::Masked(value, mask) => masked_equal(key, value, mask),
        EntryKey::Any => true,
    }
}

/// The bits of a key, most significant first.
fn bits(workload: &Workload, ty: &Type, value: &Value, out: &mut Vec<bool>) {
    match (ty, value) {
        (Type::Array(elem, _), Value::Array(values)) => {
            values.iter().for_each(|value| bits(workload, elem, value, out));
        }
        (Type::Struct(id), Value::Struct(values)) => {
            let fields = &workload.strukt(*id).fields;
            fields
                .iter()
                .zip(values)
                .for_each(|(field, value)| bits(workload, &field.ty, value, out));
        }
        _ => {
            let width = workload.scalar_int(ty).map_or(0, |int| int.bits);
            let value = value.as_int();
            out.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
        }
    }
}

/// Whether the key has the value's bits wherever the mask has a one.
fn masked_equal(key: &Value, value: &Value, mask: &Value) -> bool {
    match (key, value, mask) {
        (Value::Array(keys), Value::Array(values), Value::Array(masks))
        | (Value::Struct(keys), Value::Struct(values), Value::Struct(masks)) => {
            let mut parts = keys.iter().zip(values).zip(masks);
            parts.all(|((key, value), mask)| masked_equal(key, value, mask))
        }
        _ => (key.as_int() ^ value.as_int()) & mask.as_int() == 0,
    }
}
