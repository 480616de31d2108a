//! How values lie in memory: shared by generated code and by the agent that reads and fills maps.
//!
//! All numbers are little-endian.
//!
//! **Values** (slots, constants, parameters, values of maps and tables): a scalar of w bits takes the fewest of 1, 2, 4
//! or 8 bytes that hold it, zero-extended; arrays and structs lie as in C; `bytes<n>` is its length (u32), 4 bytes of
//! padding, then n bytes, rounded up to 8.
//!
//! **Cells** (state): each scalar of a state object has 32 bits, or 64 where it is wider, and lies left-justified in
//! them: so an atomic addition wraps where the language says so, at every width. Counters are cells of 64 bits.
//!
//! **Keys** of `lru`, `map` and `exact`: the parts one after the other without padding, scalars as values, then zeros up
//! to a multiple of 8. A key of `lpm` is the number of significant bits (u32), then the parts' bits, highest first,
//! without gaps. A key or mask of `ternary` is as one of `map`.
//!
//! **Elements** of `lru`, `map` and `exact` hold a stamp at both ends: the kernel reuses the memory of an element at
//! once, so a reader that finds two different stamps, or the copy of another key, reads again. A scalar value is a cell
//! of 64 bits, so that it can be added to.
//!
//! | offset | field |
//! | --- | --- |
//! | 0 | stamp u64, unique to the write |
//! | 8 | when it was last put, nanoseconds (u64) |
//! | 16 | the key |
//! | then | the value, rounded up to 8 |
//! | last | the stamp again |
//!
//! A `ternary` table is a data section: stamp u64, number of entries u64, then for each place by falling priority key,
//! mask and value (each rounded up to 8), then the stamp again. Who changes it writes the first stamp, the rest, and
//! the last stamp, in this order.

use lambdac_mir::{Data, KeyPart, Object, ObjectKind, Param, Shape, TableKind, mask};

use crate::names;
use crate::object::{DataSection, Field, Map, MapKind, NO_PREALLOC, Struct, Type, Variable};

/// Bytes before the data of a `bytes<n>`.
pub const BYTES_HEADER: u32 = 8;
/// Offset of an element's time.
pub const ELEMENT_TIME: u32 = 8;
/// Offset of an element's key.
pub const ELEMENT_KEY: u32 = 16;
/// Offset of a ternary table's number of entries.
pub const TERNARY_COUNT: u32 = 8;
/// Offset of a ternary table's first place.
pub const TERNARY_PLACES: u32 = 16;
/// Bytes of zeros after the constants and parameters, so that a copy whose start and length are both bounded by the
/// value's size stays inside for the verifier, which does not relate the two.
pub(crate) const SLACK: u32 = 1344;

/// Bytes of a scalar in a value.
pub(crate) fn scalar_bytes(width: u8) -> u32 {
    lambdac_mir::scalar_bytes(width)
}

/// Size and alignment of a value of a shape; a view has none.
pub(crate) fn size_align(shape: &Shape) -> (u32, u32) {
    match shape {
        Shape::Scalar(width) => (scalar_bytes(*width), scalar_bytes(*width)),
        Shape::Array(element, count) => {
            let (size, align) = size_align(element);
            (size.saturating_mul(*count), align)
        }
        Shape::Bytes(capacity) => (BYTES_HEADER.saturating_add(capacity.saturating_add(7) & !7), 8),
        Shape::Struct(fields) => {
            let (end, align) = fields_end(fields, fields.len(), size_align);
            (round_up(end, align), align)
        }
        Shape::View => (0, 1),
    }
}

/// Bytes of a value of a shape.
pub fn value_bytes(shape: &Shape) -> u32 {
    size_align(shape).0
}

/// Offset of a field of a struct in a value.
pub(crate) fn field_offset(fields: &[Shape], index: u32) -> u32 {
    field_at(fields, index, size_align)
}

/// Size and alignment in cells.
pub(crate) fn cells_size_align(shape: &Shape) -> (u32, u32) {
    match shape {
        Shape::Scalar(width) => {
            let bytes = cell_bits(*width) / 8;
            (bytes, bytes)
        }
        Shape::Array(element, count) => {
            let (size, align) = cells_size_align(element);
            (size.saturating_mul(*count), align)
        }
        Shape::Struct(fields) => {
            let (end, align) = fields_end(fields, fields.len(), cells_size_align);
            (round_up(end, align), align)
        }
        // State holds no byte strings.
        Shape::Bytes(_) | Shape::View => (0, 1),
    }
}

/// Offset of a field of a struct in cells.
pub(crate) fn cells_field_offset(fields: &[Shape], index: u32) -> u32 {
    field_at(fields, index, cells_size_align)
}

/// Bits of the cell of a scalar.
pub(crate) fn cell_bits(width: u8) -> u32 {
    if width <= 32 { 32 } else { 64 }
}

fn round_up(size: u32, align: u32) -> u32 {
    size.checked_next_multiple_of(align).unwrap_or(u32::MAX)
}

fn fields_end(fields: &[Shape], count: usize, layout: fn(&Shape) -> (u32, u32)) -> (u32, u32) {
    fields[..count].iter().fold((0, 1), |(end, most), field| {
        let (size, align) = layout(field);
        (round_up(end, align).saturating_add(size), most.max(align))
    })
}

fn field_at(fields: &[Shape], index: u32, layout: fn(&Shape) -> (u32, u32)) -> u32 {
    let index = index as usize;
    let (end, _) = fields_end(fields, index.min(fields.len()), layout);
    fields
        .get(index)
        .map_or(end, |field| round_up(end, layout(field).1))
}

/// Writes a value; `out` has the shape's bytes and is zeroed. What does not fit the shape is left out.
pub fn encode_value(shape: &Shape, data: &Data, out: &mut [u8]) {
    match (shape, data) {
        (Shape::Scalar(width), Data::Int(value)) => {
            let bytes = scalar_bytes(*width) as usize;
            out[..bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
        (Shape::Bytes(capacity), Data::Bytes(bytes)) => {
            let bytes = &bytes[..bytes.len().min(*capacity as usize)];
            out[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            out[BYTES_HEADER as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        (Shape::Array(..), Data::Bytes(bytes)) => {
            let len = bytes.len().min(out.len());
            out[..len].copy_from_slice(&bytes[..len]);
        }
        (Shape::Array(element, _), Data::List(items)) => {
            let step = value_bytes(element) as usize;
            for (item, out) in items.iter().zip(out.chunks_mut(step.max(1))) {
                encode_value(element, item, out);
            }
        }
        (Shape::Struct(fields), Data::List(items)) => {
            for (index, (field, item)) in fields.iter().zip(items.iter()).enumerate() {
                let at = field_offset(fields, index as u32) as usize;
                encode_value(field, item, &mut out[at..][..value_bytes(field) as usize]);
            }
        }
        _ => {}
    }
}

/// A value's bytes.
pub fn encoded(shape: &Shape, data: &Data) -> Vec<u8> {
    let mut out = vec![0; value_bytes(shape) as usize];
    encode_value(shape, data, &mut out);
    out
}

/// Reads a value; `None` where there are too few bytes or the shape has no values.
pub fn decode_value(shape: &Shape, bytes: &[u8]) -> Option<Data> {
    let bytes = bytes.get(..value_bytes(shape) as usize)?;
    Some(match shape {
        Shape::Scalar(width) => Data::Int(little(bytes) & mask(*width)),
        Shape::Bytes(capacity) => {
            let len = (little(&bytes[..4]) as usize).min(*capacity as usize);
            Data::Bytes(bytes[BYTES_HEADER as usize..][..len].into())
        }
        Shape::Array(element, count) => {
            if **element == Shape::Scalar(8) {
                return Some(Data::Bytes(bytes.into()));
            }
            let step = value_bytes(element) as usize;
            let items = (0..*count as usize).map(|index| decode_value(element, &bytes[index * step..]));
            Data::List(items.collect::<Option<_>>()?)
        }
        Shape::Struct(fields) => {
            let items = fields.iter().enumerate().map(|(index, field)| {
                decode_value(field, &bytes[field_offset(fields, index as u32) as usize..])
            });
            Data::List(items.collect::<Option<_>>()?)
        }
        Shape::View => return None,
    })
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Bytes of an object of kind value.
pub fn cells_bytes(shape: &Shape) -> u32 {
    cells_size_align(shape).0
}

/// Writes a value into cells; `out` has [`cells_bytes`] and is zeroed.
pub fn encode_cells(shape: &Shape, data: &Data, out: &mut [u8]) {
    match (shape, data) {
        (Shape::Scalar(width), Data::Int(value)) => {
            let bits = cell_bits(*width);
            let bytes = bits as usize / 8;
            let cell = value << (bits - u32::from(*width));
            out[..bytes].copy_from_slice(&cell.to_le_bytes()[..bytes]);
        }
        (Shape::Array(element, _), Data::Bytes(bytes)) => {
            for (byte, out) in bytes.iter().zip(out.chunks_mut(4)) {
                encode_cells(element, &Data::Int((*byte).into()), out);
            }
        }
        (Shape::Array(element, _), Data::List(items)) => {
            let step = cells_bytes(element) as usize;
            for (item, out) in items.iter().zip(out.chunks_mut(step.max(1))) {
                encode_cells(element, item, out);
            }
        }
        (Shape::Struct(fields), Data::List(items)) => {
            for (index, (field, item)) in fields.iter().zip(items.iter()).enumerate() {
                let at = cells_field_offset(fields, index as u32) as usize;
                encode_cells(field, item, &mut out[at..][..cells_bytes(field) as usize]);
            }
        }
        _ => {}
    }
}

/// Reads a value from cells; `None` where there are too few bytes or the shape has none.
pub fn decode_cells(shape: &Shape, bytes: &[u8]) -> Option<Data> {
    let bytes = bytes.get(..cells_bytes(shape) as usize)?;
    Some(match shape {
        Shape::Scalar(width) => Data::Int(little(bytes) >> (cell_bits(*width) - u32::from(*width))),
        Shape::Array(element, count) => {
            let step = cells_bytes(element) as usize;
            let items = (0..*count as usize).map(|index| decode_cells(element, &bytes[index * step..]));
            let items: Vec<Data> = items.collect::<Option<_>>()?;
            if **element == Shape::Scalar(8) {
                let byte = |item: &Data| item.int().unwrap_or(0) as u8;
                return Some(Data::Bytes(items.iter().map(byte).collect()));
            }
            Data::List(items.into())
        }
        Shape::Struct(fields) => {
            let items = fields.iter().enumerate().map(|(index, field)| {
                decode_cells(field, &bytes[cells_field_offset(fields, index as u32) as usize..])
            });
            Data::List(items.collect::<Option<_>>()?)
        }
        Shape::Bytes(_) | Shape::View => return None,
    })
}

/// Bytes of a key part.
pub(crate) fn part_bytes(part: KeyPart) -> u32 {
    match part {
        KeyPart::Scalar(width) => scalar_bytes(width),
        KeyPart::Bytes(len) => len,
    }
}

/// Bytes of a key of `lru`, `map`, `exact` or `ternary`; never 0.
pub fn key_bytes(parts: &[KeyPart]) -> u32 {
    let bytes: u32 = parts.iter().map(|part| part_bytes(*part)).sum();
    round_up(bytes.max(1), 8)
}

/// A key (or mask), of one [`Data`] a part.
pub fn encode_key(parts: &[KeyPart], key: &[Data]) -> Vec<u8> {
    let mut out = Vec::new();
    for (part, data) in parts.iter().zip(key) {
        match (part, data) {
            (KeyPart::Scalar(width), Data::Int(value)) => {
                out.extend_from_slice(&value.to_le_bytes()[..scalar_bytes(*width) as usize]);
            }
            (_, Data::Bytes(bytes)) => out.extend_from_slice(bytes),
            _ => {}
        }
    }
    out.resize(key_bytes(parts) as usize, 0);
    out
}

/// Splits a key into its parts; `None` where it is too short.
pub fn decode_key(parts: &[KeyPart], key: &[u8]) -> Option<Vec<Data>> {
    let mut at = 0;
    let mut part = |part: &KeyPart| {
        let bytes = key.get(at..at + part_bytes(*part) as usize)?;
        at += bytes.len();
        Some(match part {
            KeyPart::Scalar(width) => Data::Int(little(bytes) & mask(*width)),
            KeyPart::Bytes(_) => Data::Bytes(bytes.into()),
        })
    };
    parts.iter().map(&mut part).collect()
}

/// Bits of a key of `lpm`.
pub fn prefix_bits(parts: &[KeyPart]) -> u32 {
    parts.iter().fold(0, |bits: u32, part| {
        bits.saturating_add(match part {
            KeyPart::Scalar(width) => u32::from(*width),
            KeyPart::Bytes(len) => len.saturating_mul(8),
        })
    })
}

/// A key of `lpm` of which the first `len` bits count.
pub fn encode_prefix(parts: &[KeyPart], key: &[Data], len: u32) -> Vec<u8> {
    let mut bits = Vec::new();
    for (part, data) in parts.iter().zip(key) {
        match (part, data) {
            (KeyPart::Scalar(width), Data::Int(value)) => {
                bits.extend((0..*width).rev().map(|bit| value >> bit & 1 == 1));
            }
            (_, Data::Bytes(bytes)) => {
                bits.extend(
                    bytes
                        .iter()
                        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)),
                );
            }
            _ => {}
        }
    }
    let mut out = len.to_le_bytes().to_vec();
    out.resize(prefix_key_bytes(parts) as usize, 0);
    for (index, bit) in bits.into_iter().enumerate() {
        out[4 + index / 8] |= u8::from(bit) << (7 - index % 8);
    }
    out
}

/// Bytes of a key of `lpm`.
pub fn prefix_key_bytes(parts: &[KeyPart]) -> u32 {
    4 + prefix_bits(parts).div_ceil(8).max(1)
}

/// Where the parts of an element of `lru`, `map` or `exact` lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Bytes of the key.
    pub key: u32,
    /// Offset of the value.
    pub value_at: u32,
    /// Bytes of the value, rounded up to 8.
    pub value: u32,
    /// Bytes of the element.
    pub bytes: u32,
}

/// The element of a key and value.
pub fn element(key: &[KeyPart], value: &Shape) -> Element {
    let key = key_bytes(key);
    let value = rounded_value(value);
    let value_at = ELEMENT_KEY + key;
    Element {
        key,
        value_at,
        value,
        bytes: value_at + value + 8,
    }
}

fn rounded_value(value: &Shape) -> u32 {
    round_up(value_bytes(value).max(1), 8)
}

/// An element's bytes.
pub fn encode_element(
    parts: &[KeyPart],
    shape: &Shape,
    key: &[Data],
    value: &Data,
    time: u64,
    stamp: u64,
) -> Vec<u8> {
    let element = element(parts, shape);
    let mut out = vec![0; element.bytes as usize];
    out[..8].copy_from_slice(&stamp.to_le_bytes());
    out[8..16].copy_from_slice(&time.to_le_bytes());
    out[16..16 + element.key as usize].copy_from_slice(&encode_key(parts, key));
    let at = element.value_at as usize;
    match (shape, value) {
        (Shape::Scalar(width), Data::Int(value)) => {
            out[at..at + 8].copy_from_slice(&(value << (64 - u32::from(*width))).to_le_bytes());
        }
        _ => encode_value(shape, value, &mut out[at..at + value_bytes(shape) as usize]),
    }
    let end = out.len() - 8;
    out[end..].copy_from_slice(&stamp.to_le_bytes());
    out
}

/// Time and value of an element; `None` where it is being written or too short.
pub fn decode_element(parts: &[KeyPart], shape: &Shape, bytes: &[u8]) -> Option<(u64, Data)> {
    let element = element(parts, shape);
    let bytes = bytes.get(..element.bytes as usize)?;
    if bytes[..8] != bytes[bytes.len() - 8..] {
        return None;
    }
    let at = element.value_at as usize;
    let value = match shape {
        Shape::Scalar(width) => Data::Int(little(&bytes[at..at + 8]) >> (64 - u32::from(*width))),
        _ => decode_value(shape, &bytes[at..])?,
    };
    Some((little(&bytes[8..16]), value))
}

/// Where a ternary table's places lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ternary {
    /// Bytes of a key, and of a mask.
    pub key: u32,
    /// Bytes of a value, rounded up to 8.
    pub value: u32,
    /// Bytes from place to place.
    pub step: u32,
    /// Places.
    pub places: u32,
    /// Bytes of the section.
    pub bytes: u32,
}

/// The layout of a ternary table.
pub fn ternary(key: &[KeyPart], value: &Shape, capacity: u32) -> Ternary {
    let key = key_bytes(key);
    let value = rounded_value(value);
    let step = (2 * key).saturating_add(value);
    Ternary {
        key,
        value,
        step,
        places: capacity,
        bytes: step
            .saturating_mul(capacity.max(1))
            .saturating_add(TERNARY_PLACES + 8),
    }
}

/// A ternary table's bytes: places of key, mask and value by falling priority.
pub fn encode_ternary(
    parts: &[KeyPart],
    shape: &Shape,
    capacity: u32,
    places: &[(Vec<u8>, Vec<u8>, Data)],
    stamp: u64,
) -> Vec<u8> {
    let layout = ternary(parts, shape, capacity);
    let mut out = vec![0; layout.bytes as usize];
    out[..8].copy_from_slice(&stamp.to_le_bytes());
    let count = places.len().min(capacity as usize);
    out[8..16].copy_from_slice(&(count as u64).to_le_bytes());
    let all = out[TERNARY_PLACES as usize..].chunks_mut(layout.step as usize);
    for (out, (key, mask, value)) in all.zip(&places[..count]) {
        let (head, rest) = out.split_at_mut(layout.key as usize);
        head.copy_from_slice(key);
        rest[..layout.key as usize].copy_from_slice(mask);
        encode_value(
            shape,
            value,
            &mut rest[layout.key as usize..][..value_bytes(shape) as usize],
        );
    }
    let end = out.len() - 8;
    out[end..].copy_from_slice(&stamp.to_le_bytes());
    out
}

/// Where an object's content lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a data section of this name.
    Section(String),
    /// In a map of this name.
    Map(String),
}

/// Where the content of a workload's object lies.
pub fn storage(workload: &str, object: &Object) -> Storage {
    match object.kind {
        ObjectKind::Value { .. }
        | ObjectKind::Counter { .. }
        | ObjectKind::Table {
            kind: TableKind::Ternary,
            ..
        } => Storage::Section(format!(".data.{}", names::declared(workload, &object.name))),
        ObjectKind::Lru { .. } | ObjectKind::Map { .. } | ObjectKind::Table { .. } => {
            Storage::Map(names::declared(workload, &object.name))
        }
    }
}

/// Name of the section of a workload's parameters.
pub fn params_section(workload: &str) -> String {
    format!(".data.{}", names::made("params", workload))
}

/// Name of the section of a workload's constants.
pub fn consts_section(workload: &str) -> String {
    format!(".rodata.{workload}")
}

/// Offset of each parameter in the section of parameters, and the section's bytes.
pub fn params(params: &[Param]) -> (Vec<u32>, u32) {
    packed(params.iter().map(|param| value_bytes(&param.shape)))
}

/// Offsets of values one after the other, each at a multiple of 8, and the bytes with the slack after them.
pub(crate) fn packed(sizes: impl Iterator<Item = u32>) -> (Vec<u32>, u32) {
    let mut end = 0u32;
    let mut largest = 0;
    let mut offsets = Vec::new();
    for size in sizes {
        offsets.push(end);
        end = end.saturating_add(round_up(size.max(1), 8));
        largest = largest.max(size);
    }
    (offsets, end.saturating_add(round_up(largest.min(SLACK), 8)))
}

/// The key of a trie, which must be a structure (trie_check_btf of Linux kernel/bpf/lpm_trie.c).
fn prefix_key(bytes: u32) -> Struct {
    Struct {
        name: format!("prefix_{bytes}"),
        size: bytes,
        fields: vec![
            Field::new("prefixlen", 0, Type::U32),
            Field::new("bytes", 4, Type::bytes(bytes - 4)),
        ],
    }
}

/// The section or map of an object.
pub(crate) enum Made {
    Section(DataSection),
    Map(Map),
}

/// Makes the section or map of an object.
pub(crate) fn make(workload: &str, object: &Object) -> Made {
    let variable = names::declared(workload, &object.name);
    let section = |name: String, bytes: Vec<u8>, ty: Type| {
        Made::Section(DataSection {
            name,
            bytes,
            variables: vec![Variable {
                name: variable.clone(),
                offset: 0,
                ty,
            }],
        })
    };
    let map = |name: String, kind: MapKind, key: u32, value: u32, max_entries: u32| {
        Made::Map(Map {
            name,
            kind,
            key: Some(match kind {
                MapKind::LpmTrie => Type::Struct(prefix_key(key)),
                _ => Type::bytes(key),
            }),
            value: Some(Type::bytes(value)),
            max_entries: max_entries.max(1),
            flags: if kind == MapKind::LpmTrie { NO_PREALLOC } else { 0 },
        })
    };
    match (&object.kind, storage(workload, object)) {
        (ObjectKind::Value { shape, init }, Storage::Section(name)) => {
            let mut bytes = vec![0; round_up(cells_bytes(shape).max(1), 8) as usize];
            encode_cells(shape, init, &mut bytes);
            let ty = Type::bytes(bytes.len() as u32);
            section(name, bytes, ty)
        }
        (ObjectKind::Counter { count, .. }, Storage::Section(name)) => {
            let count = (*count).max(1);
            section(name, vec![0; count as usize * 8], Type::U64.array(count))
        }
        (
            ObjectKind::Table {
                kind: TableKind::Ternary,
                key,
                value,
                capacity,
                entries,
            },
            Storage::Section(name),
        ) => {
            let places: Vec<_> = entries.iter().map(|entry| ternary_place(key, entry)).collect();
            let bytes = encode_ternary(key, value, *capacity, &places, 0);
            let ty = Type::bytes(bytes.len() as u32);
            section(name, bytes, ty)
        }
        (
            ObjectKind::Lru {
                key, value, capacity, ..
            },
            Storage::Map(name),
        ) => {
            let element = element(key, value);
            map(name, MapKind::LruHash, element.key, element.bytes, *capacity)
        }
        (
            ObjectKind::Table {
                kind: TableKind::Lpm,
                key,
                value,
                capacity,
                ..
            },
            Storage::Map(name),
        ) => map(
            name,
            MapKind::LpmTrie,
            prefix_key_bytes(key),
            rounded_value(value),
            *capacity,
        ),
        (
            ObjectKind::Map { key, value, capacity }
            | ObjectKind::Table {
                key, value, capacity, ..
            },
            Storage::Map(name),
        ) => {
            let element = element(key, value);
            map(name, MapKind::Hash, element.key, element.bytes, *capacity)
        }
        (_, Storage::Section(name) | Storage::Map(name)) => section(name, vec![0; 8], Type::U64),
    }
}

/// Key, mask and value of an inline entry of a ternary table.
pub fn ternary_place(parts: &[KeyPart], entry: &lambdac_mir::TableEntry) -> (Vec<u8>, Vec<u8>, Data) {
    use lambdac_mir::EntryKey;
    let zeros = vec![0; key_bytes(parts) as usize];
    let value = entry.value.clone();
    match &entry.key {
        EntryKey::Masked(key, masks) => {
            let masks = encode_key(parts, masks);
            let key = encode_key(parts, key);
            (
                key.iter().zip(&masks).map(|(key, mask)| key & mask).collect(),
                masks,
                value,
            )
        }
        EntryKey::Exact(key) | EntryKey::Prefix(key, _) => {
            let ones: Vec<Data> = parts.iter().map(|part| all_ones(*part)).collect();
            (encode_key(parts, key), encode_key(parts, &ones), value)
        }
        EntryKey::Any => (zeros.clone(), zeros, value),
    }
}

fn all_ones(part: KeyPart) -> Data {
    match part {
        KeyPart::Scalar(width) => Data::Int(mask(width)),
        KeyPart::Bytes(len) => Data::Bytes(vec![0xff; len as usize].into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_values_and_cells() {
        let shape = Shape::Struct([Shape::Scalar(3), Shape::byte_array(3), Shape::Scalar(33)].into());
        let data = Data::List([Data::Int(5), Data::Bytes((*b"abc").into()), Data::Int(1 << 32)].into());
        assert_eq!(decode_value(&shape, &encoded(&shape, &data)), Some(data.clone()));
        let mut cells = vec![0; cells_bytes(&shape) as usize];
        encode_cells(&shape, &data, &mut cells);
        assert_eq!(cells[..4], (5u32 << 29).to_le_bytes());
        assert_eq!(decode_cells(&shape, &cells), Some(data));
    }

    #[test]
    fn elements_that_are_being_written_are_not_read() {
        let parts = [KeyPart::Scalar(16), KeyPart::Bytes(3)];
        let key = [Data::Int(7), Data::Bytes((*b"key").into())];
        assert_eq!(
            decode_key(&parts, &encode_key(&parts, &key)).as_deref(),
            Some(&key[..])
        );
        let mut bytes = encode_element(&parts, &Shape::Scalar(9), &key, &Data::Int(300), 5, 77);
        assert_eq!(
            decode_element(&parts, &Shape::Scalar(9), &bytes),
            Some((5, Data::Int(300)))
        );
        bytes[0] += 1;
        assert_eq!(decode_element(&parts, &Shape::Scalar(9), &bytes), None);
    }

    #[test]
    fn a_prefix_key_has_no_gaps() {
        let parts = [KeyPart::Scalar(4), KeyPart::Scalar(12)];
        let key = [Data::Int(0xa), Data::Int(0xbcd)];
        assert_eq!(encode_prefix(&parts, &key, 8), [8, 0, 0, 0, 0xab, 0xcd]);
    }
}
