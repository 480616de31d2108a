//! Where state lies in a program: for whoever reads it back from the switch.

use std::collections::BTreeMap;
use std::rc::Rc;

use lambdac_mir::{Data, ObjectId};

use super::memory::{Cell, Home, Tree};

/// The registers of a program's state.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) values: BTreeMap<ObjectId, Rc<Tree>>,
    pub(super) counters: BTreeMap<ObjectId, String>,
}

impl State {
    /// The register of a counter, if anything in the program touches it.
    pub fn counter(&self, id: ObjectId) -> Option<&str> {
        self.counters.get(&id).map(String::as_str)
    }

    /// The registers of an object of kind value; none if nothing in the program touches it.
    pub fn registers(&self, id: ObjectId) -> Vec<&str> {
        let mut names = Vec::new();
        if let Some(tree) = self.values.get(&id) {
            cells(tree, &mut |cell| {
                if let Home::Register(name) = &cell.home {
                    names.push(name.as_str());
                }
            });
        }
        names
    }

    /// What an object of kind value holds, by what its registers hold; none if nothing in the program touches it.
    pub fn value(&self, id: ObjectId, element: &dyn Fn(&str, u64) -> u64) -> Option<Data> {
        self.values.get(&id).map(|tree| data(tree, 0, element))
    }
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
