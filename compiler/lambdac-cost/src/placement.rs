//! Which memory an object lies in.

use lambdac_mir::{ConstId, KeyPart, Module, ObjectId, ObjectKind};
use lambdac_target::{Device, Memory, Sharing};

/// The memory of each object and constant of a module, as indexes into [`Device::memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// By [`ObjectId`].
    pub objects: Vec<usize>,
    /// By [`ConstId`].
    pub consts: Vec<usize>,
}

impl Placement {
    /// What a programmer without a placement pass gets: everything in the largest memory that all cores share.
    pub fn far(module: &Module, device: &Device) -> Self {
        let shared = device.memory.iter().enumerate();
        let far = shared
            .filter(|(_, memory)| memory.shared == Sharing::Device)
            .max_by_key(|(_, memory)| memory.bytes)
            .map_or(device.memory.len().saturating_sub(1), |(index, _)| index);
        Self {
            objects: vec![far; module.objects.len()],
            consts: vec![far; module.consts.len()],
        }
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
