//! Items outside bodies: names, shapes, data, objects, table entries, message sizes, counts.

use std::collections::HashSet;
use std::sync::Arc;

use super::{
    Errors, MAX_CHUNK_BYTES, MAX_DATA_BYTES, MAX_ITEMS, MAX_LABELS, MAX_NAME_BYTES, MAX_OBJECT_BYTES,
    MAX_SLOT_BYTES, MAX_STATE_VALUE_BYTES, MAX_VALUE_BYTES, MAX_VALUES,
};
use crate::{
    Body, Data, EntryKey, Func, FuncParam, KeyPart, Lambda, MAX_SHAPE_DEPTH, MessageSize, Module, Object,
    ObjectKind, Shape, Storage, TableEntry, TableKind, mask,
};

/// Checks what stands outside regions. False where bodies cannot be looked at: a shape or count is broken.
pub(super) fn check(module: &Module, errors: &mut Errors) -> bool {
    errors.enter(format!("module {:?}", module.name));
    name(&module.name, errors);
    counts(module, errors);
    if !errors.found.is_empty() {
        return false;
    }
    names(module, errors);
    for (i, item) in module.consts.iter().enumerate() {
        errors.enter(format!("const c{i} {:?}", item.name));
        if shape(&item.shape, MAX_DATA_BYTES, errors) {
            errors.require(item.data.fits(&item.shape), || {
                "its data does not fit its shape".into()
            });
        }
    }
    for (i, param) in module.params.iter().enumerate() {
        errors.enter(format!("param p{i} {:?}", param.name));
        if shape(&param.shape, MAX_DATA_BYTES, errors)
            && let Some(default) = &param.default
        {
            errors.require(default.fits(&param.shape), || {
                "its default does not fit its shape".into()
            });
        }
    }
    for (i, object) in module.objects.iter().enumerate() {
        errors.enter(format!("object o{i} {:?}", object.name));
        check_object(object, errors);
    }
    for (i, service) in module.services.iter().enumerate() {
        errors.enter(format!("service svc{i} {:?}", service.name));
        name(&service.address, errors);
    }
    for (i, func) in module.funcs.iter().enumerate() {
        errors.enter(format!("func f{i} {:?}", func.name));
        func_head(func, errors);
    }
    for (i, lambda) in module.lambdas.iter().enumerate() {
        errors.enter(format!("lambda l{i} {:?}", lambda.name));
        lambda_head(lambda, errors);
    }
    errors.found.is_empty()
}

fn counts(module: &Module, errors: &mut Errors) {
    let groups = [
        ("files", module.files.len()),
        ("constants", module.consts.len()),
        ("parameters", module.params.len()),
        ("objects", module.objects.len()),
        ("services", module.services.len()),
        ("functions", module.funcs.len()),
        ("lambdas", module.lambdas.len()),
    ];
    for (what, count) in groups {
        errors.require(count <= MAX_ITEMS, || {
            format!("{count} {what}, at most {MAX_ITEMS} are allowed")
        });
    }
}

fn name(text: &str, errors: &mut Errors) {
    errors.require(text.len() <= MAX_NAME_BYTES, || {
        format!(
            "a name or text of {} bytes, at most {MAX_NAME_BYTES} are allowed",
            text.len()
        )
    });
}

fn names(module: &Module, errors: &mut Errors) {
    distinct("object", module.objects.iter().map(|item| &item.name), errors);
    distinct("lambda", module.lambdas.iter().map(|item| &item.name), errors);
    distinct("parameter", module.params.iter().map(|item| &item.name), errors);
    distinct("service", module.services.iter().map(|item| &item.name), errors);
    for item in &module.consts {
        name(&item.name, errors);
    }
    for file in &module.files {
        name(file, errors);
    }
    for object in &module.objects {
        name(&object.decl, errors);
    }
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a Arc<str>>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for item in names {
        name(item, errors);
        errors.require(seen.insert(item), || format!("two {what}s of the name {item:?}"));
    }
}

/// Checks a shape of something stored, and that it is within a size. False where it is broken.
fn shape(shape: &Shape, limit: u64, errors: &mut Errors) -> bool {
    if let Err(message) = well_formed(shape, 0) {
        errors.add(message);
        return false;
    }
    let size = shape.packed_size();
    errors.require(size <= limit, || {
        format!("{size} bytes, at most {limit} are allowed")
    });
    size <= limit
}

fn well_formed(shape: &Shape, depth: u32) -> Result<(), &'static str> {
    if depth > MAX_SHAPE_DEPTH {
        return Err("a shape nests too deep");
    }
    match shape {
        Shape::Scalar(1..=64) | Shape::Bytes(_) => Ok(()),
        Shape::Scalar(_) => Err("a scalar has 1 to 64 bits"),
        Shape::Array(element, _) => well_formed(element, depth + 1),
        Shape::Struct(fields) => fields.iter().try_for_each(|field| well_formed(field, depth + 1)),
        Shape::View => Err("a view is no shape of something stored"),
    }
}

fn check_object(object: &Object, errors: &mut Errors) {
    match &object.kind {
        ObjectKind::Value { shape: of, init } => {
            if shape(of, MAX_STATE_VALUE_BYTES, errors) {
                errors.require(!of.has_bytes(), || "a state value holds no byte strings".into());
                errors.require(init.fits(of), || "its start value does not fit its shape".into());
            }
        }
        ObjectKind::Counter { count, array } => {
            errors.require(*count >= 1, || "no counters".into());
            errors.require(*array || *count == 1, || {
                "several counters that are no array".into()
            });
            object_bytes(u64::from(*count), 8, errors);
        }
        ObjectKind::Lru {
            key, value, capacity, ..
        }
        | ObjectKind::Map { key, value, capacity } => {
            keyed(key, value, *capacity, errors);
        }
        ObjectKind::Table {
            kind,
            key,
            value,
            capacity,
            entries,
        } => {
            if keyed(key, value, *capacity, errors) {
                table(*kind, key, value, entries, errors);
                errors.require(entries.len() as u64 <= u64::from(*capacity), || {
                    format!("{} entries in a table of {capacity}", entries.len())
                });
            }
        }
    }
}

fn object_bytes(count: u64, each: u64, errors: &mut Errors) {
    let size = count.saturating_mul(each);
    errors.require(size <= MAX_OBJECT_BYTES, || {
        format!("{size} bytes, an object has at most {MAX_OBJECT_BYTES}")
    });
}

/// Checks key, value and capacity. False where entries cannot be looked at.
fn keyed(key: &[KeyPart], value: &Shape, capacity: u32, errors: &mut Errors) -> bool {
    let before = errors.found.len();
    errors.require(capacity >= 1, || "a capacity of 0".into());
    errors.require(!key.is_empty(), || "a key without parts".into());
    let mut key_bytes = 0_u64;
    for part in key {
        match part {
            KeyPart::Scalar(width) => {
                errors.require((1..=64).contains(width), || "a scalar has 1 to 64 bits".into());
                key_bytes += 8;
            }
            KeyPart::Bytes(len) => key_bytes += u64::from(*len),
        }
    }
    errors.require(key_bytes <= MAX_VALUE_BYTES, || {
        format!("a key of {key_bytes} bytes")
    });
    if shape(value, MAX_DATA_BYTES, errors) {
        let bytes_inside = !matches!(value, Shape::Bytes(_)) && value.has_bytes();
        errors.require(!bytes_inside, || {
            "a stored value holds byte strings inside".into()
        });
        object_bytes(
            u64::from(capacity),
            key_bytes.saturating_add(value.packed_size()),
            errors,
        );
    }
    errors.found.len() == before
}

fn table(kind: TableKind, key: &[KeyPart], value: &Shape, entries: &[TableEntry], errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, entry) in entries.iter().enumerate() {
        if errors.full() {
            return;
        }
        errors.require(entry.value.fits(value), || {
            format!("the value of entry {i} does not fit")
        });
        let fits =
            |parts: &[Data]| parts.len() == key.len() && key.iter().zip(parts).all(|(k, d)| part_fits(*k, d));
        let (ok, one) = match (&entry.key, kind) {
            (EntryKey::Exact(parts), TableKind::Exact) => (fits(parts), seen.insert((parts, u32::MAX))),
            (EntryKey::Prefix(parts, len), TableKind::Lpm) => (
                fits(parts) && prefix_ok(key, parts, *len),
                seen.insert((parts, *len)),
            ),
            (EntryKey::Masked(parts, masks), TableKind::Ternary) => (fits(parts) && fits(masks), true),
            (EntryKey::Any, TableKind::Ternary) => (true, true),
            _ => (false, true),
        };
        errors.require(ok, || format!("the key of entry {i} does not fit"));
        errors.require(one, || format!("the key of entry {i} was given before"));
    }
}

/// Whether a datum is a value of a key part; a byte part has exactly its length.
fn part_fits(part: KeyPart, data: &Data) -> bool {
    match (part, data) {
        (KeyPart::Scalar(width), Data::Int(value)) => *value <= mask(width),
        (KeyPart::Bytes(len), Data::Bytes(bytes)) => bytes.len() as u64 == u64::from(len),
        _ => false,
    }
}

/// Whether a prefix is within the key and has only zeros behind it. The parts fit the key.
fn prefix_ok(key: &[KeyPart], parts: &[Data], len: u32) -> bool {
    let mut left = u64::from(len);
    for (part, data) in key.iter().zip(parts) {
        match (part, data) {
            (KeyPart::Scalar(width), Data::Int(value)) => {
                let bits = left.min(u64::from(*width));
                left -= bits;
                let behind = u64::from(*width) - bits;
                if behind > 0 && *value & mask(behind as u8) != 0 {
                    return false;
                }
            }
            (KeyPart::Bytes(_), Data::Bytes(bytes)) => {
                for byte in bytes.iter() {
                    let bits = left.min(8);
                    left -= bits;
                    if u32::from(*byte) & (0xff >> bits) != 0 {
                        return false;
                    }
                }
            }
            _ => return false,
        }
    }
    left == 0
}

fn func_head(func: &Func, errors: &mut Errors) {
    name(&func.name, errors);
    let widths = func.results.iter().all(|width| (1..=64).contains(width));
    errors.require(widths, || "a scalar has 1 to 64 bits".into());
    errors.require(func.params.len() <= MAX_ITEMS, || "too many parameters".into());
    errors.require(func.results.len() <= MAX_ITEMS, || "too many results".into());
    for param in &func.params {
        if let FuncParam::Ref { shape: of, .. } = param {
            shape(of, MAX_SLOT_BYTES, errors);
        }
    }
    body_head(&func.body, errors);
    let reply = func
        .body
        .slots
        .iter()
        .any(|slot| slot.storage == Storage::ReplyBuffer);
    errors.require(!reply, || "a function has no reply buffer".into());
}

/// Checks a body's tables: values, slots, labels.
pub(super) fn body_head(body: &Body, errors: &mut Errors) {
    errors.require(body.values.len() <= MAX_VALUES, || {
        format!("{} values", body.values.len())
    });
    errors.require(body.slots.len() <= MAX_ITEMS, || {
        format!("{} slots", body.slots.len())
    });
    errors.require(body.labels <= MAX_LABELS, || format!("{} labels", body.labels));
    let widths = body.values.iter().all(|width| (1..=64).contains(width));
    errors.require(widths, || "a scalar has 1 to 64 bits".into());
    let mut total = 0_u64;
    for slot in &body.slots {
        name(&slot.name, errors);
        if shape(&slot.shape, MAX_SLOT_BYTES, errors) {
            total = total.saturating_add(slot.shape.packed_size());
        }
    }
    errors.require(total <= MAX_SLOT_BYTES, || {
        format!("slots of {total} bytes, a body has at most {MAX_SLOT_BYTES}")
    });
}

fn lambda_head(lambda: &Lambda, errors: &mut Errors) {
    name(&lambda.request_type, errors);
    name(&lambda.reply_type, errors);
    message("request", lambda.request, lambda.stream, errors);
    message("reply", lambda.reply, lambda.stream, errors);
    let empty_chunks = lambda.stream && lambda.request.max == 0;
    errors.require(!empty_chunks, || "a stream's chunk has at least one byte".into());
    body_head(&lambda.body, errors);
    errors.require((1..=MAX_ITEMS).contains(&lambda.parts.len()), || {
        format!("{} parts", lambda.parts.len())
    });
    let mut buffers = lambda
        .body
        .slots
        .iter()
        .filter(|slot| slot.storage == Storage::ReplyBuffer);
    if let Some(slot) = buffers.next() {
        let fits = match &slot.shape {
            Shape::Bytes(n) => *n <= lambda.reply.max,
            Shape::Array(element, n) => **element == Shape::Scalar(8) && *n <= lambda.reply.max,
            _ => false,
        };
        errors.require(fits, || {
            "the reply buffer is no bytes<n> or [i8 x n] within the largest reply".into()
        });
        errors.require(buffers.next().is_none(), || "two reply buffers".into());
    }
}

fn message(what: &str, size: MessageSize, stream: bool, errors: &mut Errors) {
    let limit = if stream {
        u64::from(MAX_CHUNK_BYTES)
    } else {
        MAX_VALUE_BYTES
    };
    errors.require(size.min <= size.max && u64::from(size.max) <= limit, || {
        format!(
            "a {what} of {} to {} bytes, at most {limit} are allowed",
            size.min, size.max
        )
    });
}
