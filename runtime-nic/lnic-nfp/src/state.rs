//! State as values, from an object's memory.

use lambdac_backend_c::layout::{self, Form, KEYED_HEAD, Keyed, Order};
use lambdac_mir::interp::StateDump;
use lambdac_mir::{Data, KeyPart, Object, ObjectKind, Shape};

/// What an object holds; none for tables, or where its memory makes no sense. Entries past their time at `now` are left
/// out.
pub(crate) fn dump(object: &Object, memory: &[u8], now: u64, order: Order) -> Option<StateDump> {
    let (form, _) = layout::form(object)?;
    match (&object.kind, form) {
        (ObjectKind::Value { shape, .. }, _) => layout::get(memory, shape, order).map(StateDump::Value),
        (_, Form::Counters(count)) => {
            let counter = |i| layout::get(memory.get(i * 8..)?, &Shape::Scalar(64), order)?.int();
            let counters: Option<Vec<u64>> = (0..count as usize).map(counter).collect();
            counters.map(StateDump::Counters)
        }
        (ObjectKind::Lru { key, value, .. } | ObjectKind::Map { key, value, .. }, Form::Keyed(form)) => {
            entries(key, value, &form, memory, now, order).map(StateDump::Entries)
        }
        _ => None,
    }
}

fn word(memory: &[u8], at: usize, order: Order) -> Option<u64> {
    layout::get(memory.get(at..)?, &Shape::Scalar(32), order)?.int()
}

type Entries = Vec<(Vec<Data>, Data)>;

fn entries(
    key: &[KeyPart],
    value: &Shape,
    form: &Keyed,
    memory: &[u8],
    now: u64,
    order: Order,
) -> Option<Entries> {
    let mut found = Vec::new();
    for slot in 0..form.slots as usize {
        let at = KEYED_HEAD as usize + slot * form.stride as usize;
        if word(memory, at, order)? != u64::from(layout::USED) {
            continue;
        }
        let written = layout::get(memory.get(at + 8..)?, &Shape::Scalar(64), order)?.int()?;
        if form.ttl > 0 && now.saturating_sub(written) >= form.ttl {
            continue;
        }
        let key_at = at + layout::ENTRY_HEAD as usize;
        let words = (0..form.key_words as usize)
            .map(|i| word(memory, key_at + i * 4, order).map(|word| word as u32))
            .collect::<Option<Vec<u32>>>()?;
        let value = layout::get(memory.get(at + form.value_at as usize..)?, value, order)?;
        let key = key_of(key, &words)?;
        found.push((words, key, value));
    }
    // Words compare as the parts of a key do.
    found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    Some(found.into_iter().map(|(_, key, value)| (key, value)).collect())
}

/// A key of words.
fn key_of(parts: &[KeyPart], words: &[u32]) -> Option<Vec<Data>> {
    let mut words = words.iter().copied();
    let part = |part: &KeyPart| match part {
        KeyPart::Scalar(width) => {
            let first = u64::from(words.next()?);
            Some(Data::Int(match width {
                33.. => first << 32 | u64::from(words.next()?),
                _ => first,
            }))
        }
        KeyPart::Bytes(len) => {
            let count = len.div_ceil(4) as usize;
            let mut bytes: Vec<u8> = words.by_ref().take(count).flat_map(u32::to_be_bytes).collect();
            bytes.truncate(*len as usize);
            Some(Data::Bytes(bytes.into()))
        }
    };
    parts.iter().map(part).collect()
}
