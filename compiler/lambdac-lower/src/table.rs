//! Declarations: objects with their keys, values and entries, and the small enums that HIR and MIR both have.

use std::sync::Arc;

use lambdac_hir::{self as hir, StateKind, Type, Value as Datum, Workload};
use lambdac_mir::{
    Data, EntryKey, KeyPart, MemoryRegion, Object, ObjectKind, PktField, ServiceOp, TableKind,
};

use crate::module::ModuleCx;

/// A `pkt` field.
pub(crate) fn pkt_field(field: hir::PktField) -> PktField {
    match field {
        hir::PktField::SrcIp => PktField::SrcIp,
        hir::PktField::SrcPort => PktField::SrcPort,
        hir::PktField::DstPort => PktField::DstPort,
        hir::PktField::Port => PktField::Port,
        hir::PktField::RequestId => PktField::RequestId,
    }
}

/// An operation of a service.
pub(crate) fn service_op(op: hir::ServiceOp) -> ServiceOp {
    match op {
        hir::ServiceOp::Get => ServiceOp::Get,
        hir::ServiceOp::Set => ServiceOp::Set,
        hir::ServiceOp::Delete => ServiceOp::Delete,
    }
}

/// A memory that the author asked for.
pub(crate) fn memory(region: Option<hir::MemoryRegion>) -> Option<MemoryRegion> {
    region.map(|region| match region {
        hir::MemoryRegion::Lmem => MemoryRegion::Lmem,
        hir::MemoryRegion::Cls => MemoryRegion::Cls,
        hir::MemoryRegion::Ctm => MemoryRegion::Ctm,
        hir::MemoryRegion::Imem => MemoryRegion::Imem,
        hir::MemoryRegion::Emem => MemoryRegion::Emem,
    })
}

/// The parts of a key, fields of structs one after the other.
fn key_parts(cx: &ModuleCx<'_>, ty: &Type, parts: &mut Vec<KeyPart>) {
    match ty {
        Type::Struct(id) => {
            for field in &cx.workload.strukt(*id).fields {
                key_parts(cx, &field.ty, parts);
            }
        }
        Type::Array(_, n) => parts.push(KeyPart::Bytes(*n)),
        ty => parts.push(KeyPart::Scalar(cx.width(ty))),
    }
}

fn key(cx: &ModuleCx<'_>, ty: &Type) -> Vec<KeyPart> {
    let mut parts = Vec::new();
    key_parts(cx, ty, &mut parts);
    parts
}

fn key_data(cx: &ModuleCx<'_>, ty: &Type, value: &Datum, parts: &mut Vec<Data>) {
    match (ty, value) {
        (Type::Struct(id), Datum::Struct(values)) => {
            for (field, value) in cx.workload.strukt(*id).fields.iter().zip(values) {
                key_data(cx, &field.ty, value, parts);
            }
        }
        _ => parts.push(cx.data(ty, value)),
    }
}

fn entry_key(cx: &ModuleCx<'_>, ty: &Type, key: &hir::EntryKey) -> EntryKey {
    let flat = |value: &Datum| {
        let mut parts = Vec::new();
        key_data(cx, ty, value, &mut parts);
        parts
    };
    match key {
        hir::EntryKey::Exact(value) => EntryKey::Exact(flat(value)),
        hir::EntryKey::Prefix(value, len) => EntryKey::Prefix(flat(value), *len),
        hir::EntryKey::Masked(value, mask) => EntryKey::Masked(flat(value), flat(mask)),
        hir::EntryKey::Any => EntryKey::Any,
    }
}

/// The declared type of a state as the language writes it, and what the structs in it are made of.
fn declared_type(workload: &Workload, kind: &StateKind) -> String {
    let name = |ty| workload.type_name(ty);
    match kind {
        StateKind::Value { ty, .. } => name(ty) + &structs_of(workload, &[ty]),
        StateKind::Counter { count: None } => "counter".into(),
        StateKind::Counter { count: Some(n) } => format!("counter[{n}]"),
        StateKind::Lru {
            key,
            value,
            capacity,
            ttl,
        } => {
            let ttl = ttl.map(|ttl| format!(", ttl = {ttl}")).unwrap_or_default();
            let structs = structs_of(workload, &[key, value]);
            format!("lru<{}, {}>({capacity}{ttl}){structs}", name(key), name(value))
        }
        StateKind::Map { key, value, capacity } => {
            let structs = structs_of(workload, &[key, value]);
            format!("map<{}, {}>({capacity}){structs}", name(key), name(value))
        }
    }
}

/// The longest list of structs that is written out; a longer one is hashed.
const MAX_STRUCTS_BYTES: usize = 1024;

/// ` where Pair { a: u32, b: u32 }`: the structs that types name, directly or in fields, each once. The name alone would
/// not tell that a struct has changed.
fn structs_of(workload: &Workload, types: &[&Type]) -> String {
    let mut found = Vec::new();
    for ty in types {
        note_struct(ty, &mut found);
    }
    let mut text = String::new();
    let mut at = 0;
    while let Some(&id) = found.get(at) {
        let item = workload.strukt(id);
        let field = |field: &hir::Field| {
            note_struct(&field.ty, &mut found);
            format!("{}: {}", field.name, workload.type_name(&field.ty))
        };
        let fields: Vec<_> = item.fields.iter().map(field).collect();
        let word = if at == 0 { " where" } else { "," };
        text.push_str(&format!("{word} {} {{ {} }}", item.name, fields.join(", ")));
        at += 1;
    }
    if text.len() <= MAX_STRUCTS_BYTES {
        return text;
    }
    // FNV-1a of 64 bits.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!(" where structs have hash {hash:016x}")
}

fn note_struct(mut ty: &Type, found: &mut Vec<hir::StructId>) {
    while let Type::Array(elem, _) = ty {
        ty = elem;
    }
    if let Type::Struct(id) = ty
        && !found.contains(id)
    {
        found.push(*id);
    }
}

/// A `state`.
pub(crate) fn state_object(cx: &ModuleCx<'_>, state: &hir::State) -> Object {
    let kind = match &state.kind {
        StateKind::Value { ty, init } => ObjectKind::Value {
            shape: cx.shape(ty),
            init: cx.data(ty, init),
        },
        StateKind::Counter { count } => ObjectKind::Counter {
            count: count.unwrap_or(1),
            array: count.is_some(),
        },
        StateKind::Lru {
            key: k,
            value,
            capacity,
            ttl,
        } => ObjectKind::Lru {
            key: key(cx, k),
            value: cx.shape(value),
            capacity: *capacity,
            ttl: *ttl,
        },
        StateKind::Map {
            key: k,
            value,
            capacity,
        } => ObjectKind::Map {
            key: key(cx, k),
            value: cx.shape(value),
            capacity: *capacity,
        },
    };
    Object {
        name: state.name.clone(),
        kind,
        memory: memory(state.memory),
        decl: declared_type(cx.workload, &state.kind).into(),
    }
}

/// A `table`.
pub(crate) fn table_object(cx: &ModuleCx<'_>, table: &hir::Table) -> Object {
    let (kind, word) = match table.kind {
        hir::TableKind::Exact => (TableKind::Exact, "exact"),
        hir::TableKind::Lpm => (TableKind::Lpm, "lpm"),
        hir::TableKind::Ternary => (TableKind::Ternary, "ternary"),
    };
    let entries = table.entries.iter().map(|entry| lambdac_mir::TableEntry {
        key: entry_key(cx, &table.key, &entry.key),
        value: cx.data(&table.value, &entry.value),
    });
    let (k, v) = (
        cx.workload.type_name(&table.key),
        cx.workload.type_name(&table.value),
    );
    let structs = structs_of(cx.workload, &[&table.key, &table.value]);
    let decl: Arc<str> = format!("{word}<{k}, {v}>({}){structs}", table.capacity).into();
    Object {
        name: table.name.clone(),
        kind: ObjectKind::Table {
            kind,
            key: key(cx, &table.key),
            value: cx.shape(&table.value),
            capacity: table.capacity,
            entries: entries.collect(),
        },
        memory: memory(table.memory),
        decl,
    }
}
