//! Where state lies in a program: for whoever reads it back from the switch.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lambdac_mir::{Data, KeyPart, ObjectId};

use super::keyed::HashedTables;
use super::keys::part_bits;
use super::memory::{Cell, Home, Tree};
use crate::ast::{Control, Local};

/// The registers of a program's state.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) values: BTreeMap<ObjectId, Rc<Tree>>,
    pub(super) counters: BTreeMap<ObjectId, String>,
    pub(super) hashed: HashedTables,
    /// The registers that the program has: those that something in it touches.
    pub(super) declared: BTreeSet<String>,
}

/// Keys of an lru, part by part, with their values.
pub type Entries = Vec<(Vec<Data>, Data)>;

/// The registers of a control. What else objects consist of is never written, and not with first values either, which are
/// zeros there.
pub(super) fn declared(control: &Control) -> BTreeSet<String> {
    let instances = control.locals.iter().filter_map(|local| match local {
        Local::Instance { name, .. } => Some(name.clone()),
        _ => None,
    });
    instances.collect()
}

impl State {
    fn is_declared(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    /// The register of a counter, if anything in the program touches it.
    pub fn counter(&self, id: ObjectId) -> Option<&str> {
        let name = self.counters.get(&id).map(String::as_str);
        name.filter(|name| self.is_declared(name))
    }

    /// The registers of an object of kind value, or of an lru, that the program touches. All elements of others are 0.
    pub fn registers(&self, id: ObjectId) -> Vec<&str> {
        let mut names = Vec::new();
        let hashed = self.hashed.get(&id);
        names.extend(hashed.iter().flat_map(|hashed| [&*hashed.used, &*hashed.key]));
        let tree = self.values.get(&id).or(hashed.map(|hashed| &hashed.value));
        if let Some(tree) = tree {
            cells(tree, &mut |cell| {
                if let Home::Register(name) = &cell.home {
                    names.push(name.as_str());
                }
            });
        }
        names.retain(|name| self.is_declared(name));
        names
    }

    /// What an object of kind value holds, by what its registers hold; none if nothing in the program touches it. An
    /// element of a register that the program has not is 0.
    pub fn value(&self, id: ObjectId, element: &dyn Fn(&str, u64) -> u64) -> Option<Data> {
        self.values.get(&id).map(|tree| data(tree, 0, element))
    }

    /// What an lru holds, sorted by key, entries past their time included: the clock is the switch's. None if its keys
    /// are wider than an element of a register is read.
    pub fn entries(&self, id: ObjectId, element: &dyn Fn(&str, u64) -> u64) -> Option<Entries> {
        let Some(hashed) = self.hashed.get(&id) else {
            return Some(Entries::new());
        };
        if hashed.key_bits > u64::BITS {
            return None;
        }
        let places = (0..hashed.places).filter(|at| element(&hashed.used, *at) != 0);
        let mut keys: Vec<(u64, u64)> = places.map(|at| (element(&hashed.key, at), at)).collect();
        keys.sort_unstable();
        let entry = |(key, at): (u64, u64)| {
            let parts = parts(&hashed.parts, hashed.key_bits, key);
            (parts, data(&hashed.value, at, element))
        };
        Some(keys.into_iter().map(entry).collect())
    }
}

/// The parts of a key, the first in the highest bits.
fn parts(parts: &[KeyPart], width: u32, key: u64) -> Vec<Data> {
    let mut left = width;
    let part = |part: &KeyPart| {
        let bits = part_bits(*part);
        left -= bits;
        let mask = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
        let value = key.checked_shr(left).unwrap_or(0) & mask;
        match part {
            KeyPart::Scalar(_) => Data::Int(value),
            KeyPart::Bytes(len) => {
                let bytes = value.to_be_bytes();
                Data::Bytes(bytes[bytes.len() - *len as usize..].iter().copied().collect())
            }
        }
    };
    parts.iter().map(part).collect()
}

fn cells<'t>(tree: &'t Tree, f: &mut dyn FnMut(&'t Cell)) {
    match tree {
        Tree::Scalar(cell) => f(cell),
        Tree::Bytes { len, data, .. } => {
            f(len);
            f(data);
        }
        Tree::Array(inner, _) => cells(inner, f),
        Tree::Struct(fields) => fields.iter().for_each(|field| cells(field, f)),
    }
}

fn data(tree: &Tree, at: u64, element: &dyn Fn(&str, u64) -> u64) -> Data {
    let scalar = |cell: &Cell, at: u64| match &cell.home {
        Home::Register(name) => element(name, at),
        Home::Var(_) | Home::Known(_) | Home::Words(_) => 0,
    };
    match tree {
        Tree::Scalar(cell) => Data::Int(scalar(cell, at)),
        Tree::Bytes {
            len,
            data: bytes,
            capacity,
        } => {
            let count = scalar(len, at).min((*capacity).into());
            let start = at * u64::from(*capacity);
            Data::Bytes((start..start + count).map(|at| scalar(bytes, at) as u8).collect())
        }
        Tree::Array(inner, len) => {
            let places = (0..u64::from(*len)).map(|index| at * u64::from(*len) + index);
            match &**inner {
                Tree::Scalar(cell) if cell.width == 8 => {
                    Data::Bytes(places.map(|at| scalar(cell, at) as u8).collect())
                }
                inner => Data::List(places.map(|at| self::data(inner, at, element)).collect()),
            }
        }
        Tree::Struct(fields) => Data::List(
            fields
                .iter()
                .map(|field| self::data(field, at, element))
                .collect(),
        ),
    }
}
