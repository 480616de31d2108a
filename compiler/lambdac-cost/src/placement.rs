//! Which memory an object lies in.

use std::collections::BTreeMap;

use lambdac_mir::{ConstId, KeyPart, Module, ObjectId, ObjectKind, Shape, Step};
use lambdac_target::{Device, Memory, Sharing};

/// The memory of each object and constant of a module, as indexes into [`Device::memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// By [`ObjectId`].
    pub objects: Vec<usize>,
    /// By [`ConstId`].
    pub consts: Vec<usize>,
    /// Values that are divided: the memory of each field of the structure, or of the array's elements. A field lies in one
    /// piece. Whoever does not divide them finds room for the whole where `objects` says.
    pub fields: BTreeMap<ObjectId, Vec<usize>>,
}

impl Placement {
    /// What a programmer without a placement pass gets: everything in the largest memory that all cores share.
    pub fn far(module: &Module, device: &Device) -> Self {
        let far = Self::largest(device);
        Self {
            objects: vec![far; module.objects.len()],
            consts: vec![far; module.consts.len()],
            fields: BTreeMap::new(),
        }
    }

    /// The largest memory that all cores share, by its number; the last one where none is shared.
    pub fn largest(device: &Device) -> usize {
        let shared = device.memory.iter().enumerate();
        shared
            .filter(|(_, memory)| memory.shared == Sharing::Device)
            .max_by_key(|(_, memory)| memory.bytes)
            .map_or(device.memory.len().saturating_sub(1), |(index, _)| index)
    }

    /// The memory that a place of an object lies in: that of the field which it leads into, where the object is divided;
    /// none where it is all of a divided object, or of an element.
    pub fn place<'d>(&self, device: &'d Device, id: ObjectId, path: &[Step]) -> Option<&'d Memory> {
        let Some(fields) = self.fields.get(&id) else {
            return self.object(device, id);
        };
        device.memory.get(*fields.get(field_of(path)?)?)
    }

    /// The memory of an object.
    pub fn object<'d>(&self, device: &'d Device, id: ObjectId) -> Option<&'d Memory> {
        device.memory.get(*self.objects.get(id.index())?)
    }

    /// The memory of a constant.
    pub fn constant<'d>(&self, device: &'d Device, id: ConstId) -> Option<&'d Memory> {
        device.memory.get(*self.consts.get(id.index())?)
    }
}

/// The field of a divided object that a path leads into.
pub fn field_of(path: &[Step]) -> Option<usize> {
    path.iter().find_map(|step| match step {
        Step::Field(field) => Some(*field as usize),
        Step::Index(_) => None,
    })
}

/// The fields that an object can be divided into, and how many elements have them: a structure, or an array of structures.
pub fn fields(kind: &ObjectKind) -> Option<(&[Shape], u64)> {
    let ObjectKind::Value { shape, .. } = kind else {
        return None;
    };
    let (shape, count) = match shape {
        Shape::Array(element, count) => (&**element, u64::from(*count)),
        shape => (shape, 1),
    };
    match shape {
        Shape::Struct(fields) if fields.len() > 1 => Some((fields, count)),
        _ => None,
    }
}

/// Bytes of a key, part by part.
pub(crate) fn key_bytes(key: &[KeyPart]) -> u64 {
    let part = |part: &KeyPart| match part {
        KeyPart::Scalar(width) => u64::from(lambdac_mir::scalar_bytes(*width)),
        KeyPart::Bytes(len) => u64::from(*len),
    };
    key.iter().map(part).sum()
}

/// Bytes that an object takes, without what a target's own tables add. Saturates.
pub fn object_bytes(kind: &ObjectKind) -> u64 {
    match kind {
        ObjectKind::Value { shape, .. } => shape.packed_size(),
        ObjectKind::Counter { count, .. } => u64::from(*count) * 8,
        ObjectKind::Lru {
            key, value, capacity, ..
        }
        | ObjectKind::Map { key, value, capacity }
        | ObjectKind::Table {
            key, value, capacity, ..
        } => {
            // A time or a tag beside each entry.
            let entry = key_bytes(key)
                .saturating_add(value.packed_size())
                .saturating_add(8);
            entry.saturating_mul(u64::from(*capacity))
        }
    }
}
