//! How memory is laid out: the same bytes for both dialects, but for the order within a scalar.
//!
//! A scalar takes 1, 2, 4 or 8 bytes and lies at a multiple of them, so that none crosses a word needlessly and atomic
//! commands find theirs aligned. An aggregate lies at a multiple of 4 (8 where it holds an 8-byte scalar), so that it
//! starts on a word. A byte string is a 4-byte length and its bytes.
//!
//! `lru`, `map` and `exact` tables are hash tables with linear probing (`lnic_keyed.h` is their code); `lpm` and
//! `ternary` tables are lists of values and masks, the first that matches wins. Keys are words: an integer of up to 32
//! bits one, of more two (high first), bytes four a word (the first highest), the last word filled with zeros.

use lambdac_mir::{
    Data, EntryKey, KeyPart, Object, ObjectKind, Shape, TableEntry, TableKind, mask, scalar_bytes,
};

/// Bytes in front of an object's entries: lock, count, uses, and one to spare.
pub const KEYED_HEAD: u64 = 16;
/// Bytes in front of an entry's key: state, last use, when it was written (8 bytes).
pub const ENTRY_HEAD: u64 = 16;
/// The state of an entry that is there.
pub const USED: u32 = 1;
/// Entries of an lru that a key may be in where nothing else is asked for.
pub const LRU_WINDOW: u32 = 8;
/// The largest object.
pub const MAX_OBJECT: u64 = 1 << 31;

/// The order of bytes in a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Lowest first.
    Little,
    /// Highest first.
    Big,
}

fn round(size: u64, align: u64) -> u64 {
    size.next_multiple_of(align)
}

/// The alignment of a shape.
pub fn align(shape: &Shape) -> u64 {
    match shape {
        Shape::Scalar(width) => scalar_bytes(*width).into(),
        Shape::Array(element, _) => align(element).max(4),
        Shape::Struct(fields) => fields.iter().map(align).fold(4, u64::max),
        Shape::Bytes(_) | Shape::View => 4,
    }
}

/// Bytes of a shape.
pub fn size(shape: &Shape) -> u64 {
    match shape {
        Shape::Scalar(width) => scalar_bytes(*width).into(),
        Shape::Array(element, len) => stride(element).saturating_mul(u64::from(*len)),
        Shape::Bytes(capacity) => 4 + round(u64::from(*capacity), 4),
        Shape::Struct(fields) => {
            let end = fields
                .iter()
                .fold(0, |at, field| round(at, align(field)) + size(field));
            round(end, align(shape))
        }
        Shape::View => 0,
    }
}

/// Whether something in it is less than a word.
pub fn has_parts(shape: &Shape) -> bool {
    match shape {
        Shape::Scalar(width) => *width <= 16,
        Shape::Array(element, _) => has_parts(element),
        Shape::Bytes(_) | Shape::View => true,
        Shape::Struct(fields) => fields.iter().any(has_parts),
    }
}

/// Bytes from one element of an array to the next.
pub fn stride(element: &Shape) -> u64 {
    round(size(element), align(element))
}

/// The first byte of a field.
pub fn field(fields: &[Shape], index: usize) -> u64 {
    let end = fields[..index]
        .iter()
        .fold(0, |at, field| round(at, align(field)) + size(field));
    round(end, align(&fields[index]))
}

/// Writes a value into zeroed memory.
pub fn put(memory: &mut [u8], shape: &Shape, data: &Data, order: Order) {
    match (shape, data) {
        (Shape::Scalar(width), Data::Int(value)) => {
            put_int(memory, scalar_bytes(*width) as usize, *value, order);
        }
        (Shape::Bytes(_), Data::Bytes(bytes)) => {
            put_int(memory, 4, bytes.len() as u64, order);
            memory[4..4 + bytes.len()].copy_from_slice(bytes);
        }
        (Shape::Array(..), Data::Bytes(bytes)) => memory[..bytes.len()].copy_from_slice(bytes),
        (Shape::Array(element, _), Data::List(items)) => {
            let stride = stride(element) as usize;
            for (i, item) in items.iter().enumerate() {
                put(&mut memory[i * stride..], element, item, order);
            }
        }
        (Shape::Struct(fields), Data::List(items)) => {
            for (i, item) in items.iter().enumerate() {
                put(&mut memory[field(fields, i) as usize..], &fields[i], item, order);
            }
        }
        _ => {}
    }
}

fn put_int(memory: &mut [u8], size: usize, value: u64, order: Order) {
    match order {
        Order::Little => memory[..size].copy_from_slice(&value.to_le_bytes()[..size]),
        Order::Big => memory[..size].copy_from_slice(&value.to_be_bytes()[8 - size..]),
    }
}

fn int(memory: &[u8], size: usize, order: Order) -> Option<u64> {
    let bytes = memory.get(..size)?;
    let mut whole = [0; 8];
    Some(match order {
        Order::Little => {
            whole[..size].copy_from_slice(bytes);
            u64::from_le_bytes(whole)
        }
        Order::Big => {
            whole[8 - size..].copy_from_slice(bytes);
            u64::from_be_bytes(whole)
        }
    })
}

/// Reads a value; `None` where memory ends too early or a length is past its capacity.
pub fn get(memory: &[u8], shape: &Shape, order: Order) -> Option<Data> {
    Some(match shape {
        Shape::Scalar(width) => Data::Int(int(memory, scalar_bytes(*width) as usize, order)?),
        Shape::Bytes(capacity) => {
            let len = int(memory, 4, order)?;
            if len > u64::from(*capacity) {
                return None;
            }
            Data::Bytes(memory.get(4..4 + len as usize)?.into())
        }
        Shape::Array(element, len) => match shape.byte_array_len() {
            Some(len) => Data::Bytes(memory.get(..len as usize)?.into()),
            None => {
                let stride = stride(element) as usize;
                let items = (0..*len as usize).map(|i| get(memory.get(i * stride..)?, element, order));
                Data::List(items.collect::<Option<Vec<_>>>()?.into())
            }
        },
        Shape::Struct(fields) => {
            let items = fields
                .iter()
                .enumerate()
                .map(|(i, shape)| get(memory.get(field(fields, i) as usize..)?, shape, order));
            Data::List(items.collect::<Option<Vec<_>>>()?.into())
        }
        Shape::View => return None,
    })
}

/// The numbers of a keyed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Entries that memory is there for.
    pub slots: u32,
    /// Entries that a key is looked for in.
    pub window: u32,
    /// Entries that it holds at most.
    pub capacity: u32,
    /// Bytes from one entry to the next.
    pub stride: u32,
    /// Words of a key.
    pub key_words: u32,
    /// From an entry to its value.
    pub value_at: u32,
    /// Nanoseconds an entry lives; 0: for ever.
    pub ttl: u64,
}

/// The numbers of a list of values and masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Entries that memory is there for.
    pub capacity: u32,
    /// Bytes from one entry to the next.
    pub stride: u32,
    /// Words of a key; as many of a mask follow.
    pub key_words: u32,
    /// From an entry to its value.
    pub value_at: u32,
}

/// What an object is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A value.
    Value,
    /// 64-bit counters.
    Counters(u32),
    /// A hash table.
    Keyed(Keyed),
    /// A list.
    Listed(Listed),
}

/// Words of a key part.
fn part_words(part: KeyPart) -> u64 {
    match part {
        KeyPart::Scalar(width) => u64::from(width).div_ceil(32),
        KeyPart::Bytes(len) => u64::from(len).div_ceil(4),
    }
}

/// Words of a key.
pub fn key_words(key: &[KeyPart]) -> u64 {
    key.iter().copied().map(part_words).sum()
}

/// The form of an object and its bytes; `None` where it is larger than [`MAX_OBJECT`].
pub fn form(object: &Object) -> Option<(Form, u64)> {
    let (form, bytes) = match &object.kind {
        ObjectKind::Value { shape, .. } => (Form::Value, size(shape)),
        ObjectKind::Counter { count, .. } => (Form::Counters(*count), u64::from(*count) * 8),
        ObjectKind::Lru {
            key,
            value,
            capacity,
            ttl,
        } => keyed(key, value, *capacity, *capacity, *capacity, ttl.unwrap_or(0))?,
        ObjectKind::Map { key, value, capacity } => {
            let slots = probed(*capacity);
            keyed(key, value, *capacity, slots, slots, 0)?
        }
        ObjectKind::Table {
            kind: TableKind::Exact,
            key,
            value,
            capacity,
            ..
        } => {
            let slots = probed(*capacity);
            keyed(key, value, *capacity, slots, slots, 0)?
        }
        ObjectKind::Table {
            key, value, capacity, ..
        } => listed(key, value, *capacity)?,
    };
    (bytes <= MAX_OBJECT).then_some((form, bytes))
}

/// Slots of a table that holds so many: a quarter stays free.
fn probed(capacity: u32) -> u32 {
    capacity.saturating_add(capacity / 3).saturating_add(1)
}

fn keyed(
    key: &[KeyPart],
    value: &Shape,
    capacity: u32,
    slots: u32,
    window: u32,
    ttl: u64,
) -> Option<(Form, u64)> {
    let words = key_words(key);
    let value_at = round(ENTRY_HEAD + words * 4, 8);
    let stride = round(value_at + size(value), 8);
    let bytes = stride.checked_mul(slots.into())?.checked_add(KEYED_HEAD)?;
    let form = Keyed {
        slots,
        window,
        capacity,
        stride: u32::try_from(stride).ok()?,
        key_words: u32::try_from(words).ok()?,
        value_at: u32::try_from(value_at).ok()?,
        ttl,
    };
    Some((Form::Keyed(form), bytes))
}

fn listed(key: &[KeyPart], value: &Shape, capacity: u32) -> Option<(Form, u64)> {
    let words = key_words(key);
    let value_at = round(words * 8, 8);
    let stride = round(value_at + size(value), 8);
    let bytes = stride.checked_mul(capacity.into())?.checked_add(KEYED_HEAD)?;
    let form = Listed {
        capacity,
        stride: u32::try_from(stride).ok()?,
        key_words: u32::try_from(words).ok()?,
        value_at: u32::try_from(value_at).ok()?,
    };
    Some((Form::Listed(form), bytes))
}

/// All of an object's memory as it is at first.
pub fn initial(object: &Object, order: Order) -> Vec<u8> {
    let mut memory = contents(object, order);
    let size = form(object).map_or(0, |(_, size)| size);
    memory.resize(size as usize, 0);
    memory
}

/// An object's memory, from that of its pieces: all of it, or fields that lie apart. What no piece has is as at first.
pub fn assembled(object: &Object, pieces: &[(Option<usize>, Vec<u8>)], order: Order) -> Vec<u8> {
    if let [(None, whole)] = pieces {
        return whole.clone();
    }
    let mut memory = initial(object, order);
    let ObjectKind::Value { shape, .. } = &object.kind else {
        return memory;
    };
    let (element, count) = match shape {
        Shape::Array(element, count) => (&**element, *count as usize),
        shape => (shape, 1),
    };
    let Shape::Struct(fields) = element else {
        return memory;
    };
    for (index, piece) in pieces {
        let Some(index) = index.filter(|index| *index < fields.len()) else {
            continue;
        };
        let (from, to) = (stride(&fields[index]) as usize, stride(element) as usize);
        let len = size(&fields[index]) as usize;
        for i in 0..count {
            let at = i * to + field(fields, index) as usize;
            if let (Some(own), Some(place)) =
                (piece.get(i * from..i * from + len), memory.get_mut(at..at + len))
            {
                place.copy_from_slice(own);
            }
        }
    }
    memory
}

/// What an object's memory holds at first, its trailing zeros left out.
pub fn contents(object: &Object, order: Order) -> Vec<u8> {
    let Some((form, bytes)) = form(object) else {
        return Vec::new();
    };
    match (&object.kind, form) {
        (ObjectKind::Value { shape, init }, _) => {
            let mut memory = vec![0; bytes as usize];
            put(&mut memory, shape, init, order);
            memory
        }
        (
            ObjectKind::Table {
                key, value, entries, ..
            },
            Form::Keyed(keyed),
        ) => hashed(key, value, entries, &keyed, order),
        (
            ObjectKind::Table {
                kind,
                key,
                value,
                entries,
                ..
            },
            Form::Listed(listed),
        ) => {
            let mut sorted: Vec<&TableEntry> = entries.iter().collect();
            if *kind == TableKind::Lpm {
                sorted.sort_by_key(|entry| std::cmp::Reverse(prefix(entry)));
            }
            list(key, value, &sorted, &listed, order)
        }
        _ => Vec::new(),
    }
}

fn prefix(entry: &TableEntry) -> u32 {
    match entry.key {
        EntryKey::Prefix(_, len) => len,
        EntryKey::Exact(_) | EntryKey::Masked(..) | EntryKey::Any => 0,
    }
}

/// A key as words.
pub fn words(parts: &[KeyPart], key: &[Data]) -> Vec<u32> {
    let mut out = Vec::new();
    for (part, data) in parts.iter().zip(key) {
        match (part, data) {
            (KeyPart::Bytes(_), Data::Bytes(bytes)) => out.extend(bytes.chunks(4).map(|chunk| {
                let mut word = [0; 4];
                word[..chunk.len()].copy_from_slice(chunk);
                u32::from_be_bytes(word)
            })),
            (KeyPart::Scalar(width), data) => {
                let value = data.int().unwrap_or(0);
                if *width > 32 {
                    out.push((value >> 32) as u32);
                }
                out.push(value as u32);
            }
            (KeyPart::Bytes(_), _) => {}
        }
    }
    out
}

/// The hash of a key: as `lnic_key_hash` has it.
pub fn hash(words: &[u32]) -> u32 {
    words.iter().fold(0x9E37_79B9, |hash: u32, word| {
        let mixed = (hash ^ word).wrapping_mul(0x85EB_CA6B);
        mixed ^ mixed >> 15
    })
}

fn hashed(key: &[KeyPart], value: &Shape, entries: &[TableEntry], form: &Keyed, order: Order) -> Vec<u8> {
    let mut memory = vec![0; KEYED_HEAD as usize + form.stride as usize * form.slots as usize];
    let mut count = 0;
    for entry in entries {
        let EntryKey::Exact(data) = &entry.key else {
            continue;
        };
        let words = words(key, data);
        let home = ((u64::from(hash(&words)) * u64::from(form.slots)) >> 32) as u32;
        let free = (0..form.slots).map(|i| {
            let slot = (home + i) % form.slots;
            KEYED_HEAD as usize + slot as usize * form.stride as usize
        });
        let state = |at: usize| int(&memory[at..], 4, order).unwrap_or(0);
        let Some(at) = free.into_iter().find(|at| state(*at) == 0) else {
            break;
        };
        put_int(&mut memory[at..], 4, USED.into(), order);
        for (i, word) in words.iter().enumerate() {
            put_int(
                &mut memory[at + ENTRY_HEAD as usize + i * 4..],
                4,
                u64::from(*word),
                order,
            );
        }
        put(
            &mut memory[at + form.value_at as usize..],
            value,
            &entry.value,
            order,
        );
        count += 1;
    }
    put_int(&mut memory[4..], 4, count, order);
    memory
}

fn list(key: &[KeyPart], value: &Shape, entries: &[&TableEntry], form: &Listed, order: Order) -> Vec<u8> {
    let mut memory = vec![0; KEYED_HEAD as usize + form.stride as usize * form.capacity as usize];
    let fits = entries.iter().take(form.capacity as usize);
    for (i, entry) in fits.clone().enumerate() {
        let at = KEYED_HEAD as usize + i * form.stride as usize;
        let (values, masks) = masked(key, &entry.key);
        for (j, word) in values.iter().chain(&masks).enumerate() {
            put_int(&mut memory[at + j * 4..], 4, u64::from(*word), order);
        }
        put(
            &mut memory[at + form.value_at as usize..],
            value,
            &entry.value,
            order,
        );
    }
    put_int(&mut memory[4..], 4, fits.count() as u64, order);
    memory
}

/// An entry's key as values and masks; the values have no bits outside their masks.
pub fn masked(parts: &[KeyPart], key: &EntryKey) -> (Vec<u32>, Vec<u32>) {
    let (data, masks) = match key {
        EntryKey::Exact(data) => (data.clone(), prefix_masks(parts, u32::MAX)),
        EntryKey::Prefix(data, len) => (data.clone(), prefix_masks(parts, *len)),
        EntryKey::Masked(data, masks) => (data.clone(), masks.clone()),
        EntryKey::Any => {
            let none = prefix_masks(parts, 0);
            (none.clone(), none)
        }
    };
    let (values, masks) = (words(parts, &data), words(parts, &masks));
    let values = values.iter().zip(&masks).map(|(value, mask)| value & mask);
    (values.collect(), masks)
}

/// Masks of a key's first bits, part by part, highest first.
fn prefix_masks(parts: &[KeyPart], len: u32) -> Vec<Data> {
    let mut left = u64::from(len);
    let mut take = |bits: u64| {
        let taken = left.min(bits);
        left -= taken;
        taken
    };
    let part = |part: &KeyPart| match part {
        KeyPart::Scalar(width) => {
            let taken = take(u64::from(*width));
            let rest = u64::from(*width) - taken;
            let below = if rest == 0 { 0 } else { mask(rest as u8) };
            Data::Int(mask(*width) & !below)
        }
        KeyPart::Bytes(count) => {
            let byte = |_| {
                let taken = take(8) as u32;
                !(0xff_u32 >> taken) as u8
            };
            Data::Bytes((0..*count).map(byte).collect::<Vec<u8>>().into())
        }
    };
    parts.iter().map(part).collect()
}
