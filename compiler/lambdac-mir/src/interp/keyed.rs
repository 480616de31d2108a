//! Operations on counters, lrus, maps and tables.

use super::run::{Run, Stop};
use super::state::{Keyed, Object};
use crate::{
    Data, EntryKey, KeyPart, ObjectId, ObjectKind, Op, Operand, Place, Shape, TableEntry, TableKind, Value,
    mask,
};

fn invalid<T>(message: String) -> Result<T, Stop> {
    Err(Stop::Invalid(message))
}

impl<'m> Run<'m, '_> {
    pub(super) fn object_op(&mut self, op: &Op) -> Result<Vec<u64>, Stop> {
        let now = self.env.now;
        match op {
            Op::CounterAdd(object, index, by) => {
                let by = self.get(*by);
                let counter = self.counter(*object, *index)?;
                *counter = counter.wrapping_add(by);
                Ok(Vec::new())
            }
            Op::CounterRead(object, index) => Ok(vec![*self.counter(*object, *index)?]),
            Op::MapGet { object, key, dst } => {
                let key = self.key(*object, key)?;
                let found = self.keyed(*object)?.get(&key, now);
                self.found(*object, found, dst.as_ref())
            }
            Op::MapPut { object, key, value } => {
                let key = self.key(*object, key)?;
                let value = self.operand(*object, value)?;
                Ok(vec![self.keyed(*object)?.put(key, value, now).into()])
            }
            Op::MapRemove { object, key } => {
                let key = self.key(*object, key)?;
                Ok(vec![self.keyed(*object)?.remove(&key, now).into()])
            }
            Op::MapFetchAdd { object, key, value } => {
                let (key, by) = (self.key(*object, key)?, self.get(*value));
                let width = self.value_shape(*object).scalar().unwrap_or(64);
                let keyed = self.keyed(*object)?;
                let old = keyed.get(&key, now).and_then(|old| old.int());
                match old {
                    Some(old) => keyed.update(&key, Data::Int(old.wrapping_add(by) & mask(width))),
                    None => {
                        keyed.put(key, Data::Int(by), now);
                    }
                }
                Ok(vec![old.is_some().into(), old.unwrap_or(0)])
            }
            Op::TableGet { object, key, dst } => {
                let key = self.key(*object, key)?;
                let found = self.lookup(*object, &key).cloned();
                self.found(*object, found, dst.as_ref())
            }
            Op::TableHas { object, key } => {
                let key = self.key(*object, key)?;
                Ok(vec![self.lookup(*object, &key).is_some().into()])
            }
            _ => invalid("not an operation on an object".to_owned()),
        }
    }

    fn counter(&mut self, object: ObjectId, index: Option<Value>) -> Result<&mut u64, Stop> {
        let index = index.map_or(0, |index| self.get(index));
        let own = self.object(object);
        let Object::Counters(counters) = &mut self.state.objects[own.index()] else {
            return invalid(format!("{object} is no counter"));
        };
        match counters.get_mut(index as usize) {
            Some(counter) => Ok(counter),
            None => invalid(format!("{object}[{index}] is out of bounds")),
        }
    }

    fn keyed(&mut self, object: ObjectId) -> Result<&mut Keyed, Stop> {
        let own = self.object(object);
        match &mut self.state.objects[own.index()] {
            Object::Keyed(keyed) => Ok(keyed),
            _ => invalid(format!("{object} is no lru or map")),
        }
    }

    fn value_shape(&self, object: ObjectId) -> &'m Shape {
        match &self.module.objects[object.index()].kind {
            ObjectKind::Value { shape, .. } => shape,
            ObjectKind::Counter { .. } => &Shape::Scalar(64),
            ObjectKind::Lru { value, .. }
            | ObjectKind::Map { value, .. }
            | ObjectKind::Table { value, .. } => value,
        }
    }

    fn key_parts(&self, object: ObjectId) -> &'m [KeyPart] {
        match &self.module.objects[object.index()].kind {
            ObjectKind::Lru { key, .. } | ObjectKind::Map { key, .. } | ObjectKind::Table { key, .. } => key,
            ObjectKind::Value { .. } | ObjectKind::Counter { .. } => &[],
        }
    }

    fn key(&self, object: ObjectId, operands: &[Operand]) -> Result<Vec<Data>, Stop> {
        let parts = self.key_parts(object).iter().zip(operands);
        let part = |(part, operand): (&KeyPart, &Operand)| match (part, operand) {
            (KeyPart::Scalar(_), Operand::Value(value)) => Ok(Data::Int(self.get(*value))),
            (KeyPart::Bytes(len), Operand::View(view)) => {
                let bytes = self.bytes(view)?;
                if bytes.len() as u64 != u64::from(*len) {
                    return invalid(format!("a key part of {} bytes, not {len}", bytes.len()));
                }
                Ok(Data::Bytes(bytes.into()))
            }
            _ => invalid(format!("{operand} is no key part")),
        };
        parts.map(part).collect()
    }

    /// What is put into an lru or map.
    fn operand(&self, object: ObjectId, operand: &Operand) -> Result<Data, Stop> {
        match operand {
            Operand::Value(value) => Ok(Data::Int(self.get(*value))),
            Operand::View(view) => {
                let data = Data::Bytes(self.bytes(view)?.into());
                if !data.fits(self.value_shape(object)) {
                    return invalid(format!("{view} is too long for {object}"));
                }
                Ok(data)
            }
            Operand::Place(place) => {
                let spot = self.spot(place)?;
                let data = self.memory(spot.owner).data(spot.at, spot.shape);
                data.or_else(|_| invalid(format!("{place} is read before it is written")))
            }
        }
    }

    /// Results of a `get`, and where an aggregate goes.
    fn found(
        &mut self,
        object: ObjectId,
        found: Option<Data>,
        dst: Option<&Place>,
    ) -> Result<Vec<u64>, Stop> {
        let there = u64::from(found.is_some());
        let Some(dst) = dst else {
            return Ok(vec![there, found.and_then(|data| data.int()).unwrap_or(0)]);
        };
        if let Some(data) = found {
            let spot = self.spot(dst)?;
            let shape = self.value_shape(object);
            self.memory_mut(spot.owner)?.put_data(spot.at, shape, &data);
        }
        Ok(vec![there])
    }

    /// The value of the entry that a key finds: the first that matches, or for lpm the one with the longest prefix.
    pub(super) fn lookup(&self, object: ObjectId, key: &[Data]) -> Option<&'m Data> {
        let ObjectKind::Table {
            kind,
            key: parts,
            entries,
            ..
        } = &self.module.objects[self.object(object).index()].kind
        else {
            return None;
        };
        let mut matching = entries.iter().filter(|entry| matches(parts, entry, key));
        let found = match kind {
            TableKind::Exact | TableKind::Ternary => matching.next(),
            TableKind::Lpm => matching.max_by_key(|entry| match entry.key {
                EntryKey::Prefix(_, len) => len,
                _ => 0,
            }),
        };
        found.map(|entry| &entry.value)
    }
}

fn matches(parts: &[KeyPart], entry: &TableEntry, key: &[Data]) -> bool {
    match &entry.key {
        EntryKey::Any => true,
        EntryKey::Exact(wanted) => wanted == key,
        EntryKey::Masked(wanted, masks) => {
            let (key, wanted, masks) = (
                key_bytes(parts, key),
                key_bytes(parts, wanted),
                key_bytes(parts, masks),
            );
            key.iter()
                .zip(&wanted)
                .zip(&masks)
                .all(|((key, wanted), mask)| (key ^ wanted) & mask == 0)
        }
        EntryKey::Prefix(wanted, len) => {
            let (key, wanted) = (key_bits(parts, key), key_bits(parts, wanted));
            key.iter()
                .zip(&wanted)
                .take(*len as usize)
                .all(|(key, wanted)| key == wanted)
        }
    }
}

/// Each part in whole bytes, big-endian.
fn key_bytes(parts: &[KeyPart], key: &[Data]) -> Vec<u8> {
    let mut out = Vec::new();
    for (part, data) in parts.iter().zip(key) {
        match (part, data) {
            (KeyPart::Bytes(_), Data::Bytes(bytes)) => out.extend_from_slice(bytes),
            (_, data) => out.extend(data.int().unwrap_or(0).to_be_bytes()),
        }
    }
    out
}

/// The bits of the parts, most significant first, without those that a part's width leaves out.
fn key_bits(parts: &[KeyPart], key: &[Data]) -> Vec<bool> {
    let mut out = Vec::new();
    for (part, data) in parts.iter().zip(key) {
        match (part, data) {
            (KeyPart::Bytes(_), Data::Bytes(bytes)) => {
                out.extend(
                    bytes
                        .iter()
                        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)),
                );
            }
            (KeyPart::Scalar(width), Data::Int(value)) => {
                out.extend((0..*width).rev().map(|bit| value >> bit & 1 == 1));
            }
            _ => {}
        }
    }
    out
}
