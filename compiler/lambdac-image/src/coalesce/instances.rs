//! Objects of one structure that several workloads have: code that differs in nothing else stands once.
//!
//! Objects are of one family that have one structure (kind, shapes, capacity, `@memory`) and stand at the same place among
//! those of that structure in their workloads. All code names the first of a family, so that what was alike but for its
//! objects is equal, and is shared by whatever finds equal code. Then each piece is looked at ([`Families::settle`]): one that only
//! one workload reaches names that one's own objects again; one that several reach keeps the name, and each way into it says
//! which object it stands for there ([`crate::Instance`]). Objects themselves stay where and what they are.
//!
//! **Why nothing changes.** A family has at most one object of each workload, so that in code that a workload reaches, a name
//! stands for one object, the one that was written there. What is entered without a way that could say so names what it
//! named: objects that conditions of the stage ask, and those of lambdas that punt or are punted to, are in no family. A
//! structure is all that code knows of an object; what it holds at first is the object's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lambdac_mir::{FuncId, Object, ObjectId, ObjectKind, Region};

use crate::facts::Unit;
use crate::image::{Image, Instance};
use crate::pass::Context;
use crate::rename::{IdMut, op_ids, term_ids};
use crate::shape::{Id, Pulled};
use crate::touch::Item;

/// What code names in an object's stead, and what that stands for.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// By object: the first of its family.
    named: Vec<u32>,
    /// By the first of a family: each workload's own.
    own: BTreeMap<u32, BTreeMap<usize, u32>>,
}

impl Families {
    /// Finds them; none on a device that does not reach objects by address.
    pub fn of(image: &Image, units: &[Unit<'_>], context: &Context<'_>) -> Self {
        if image.workloads.len() < 2 || !context.device.limits.object_addresses {
            return Self::default();
        }
        let objects = &image.module.objects;
        let apart = apart(objects.len(), units);
        let owners: HashMap<&str, usize> = (image.workloads.iter().enumerate())
            .map(|(number, workload)| (&*workload.name, number))
            .collect();
        let mut new = Self {
            named: (0..objects.len() as u32).collect(),
            own: BTreeMap::new(),
        };
        let mut counts: HashMap<_, usize> = HashMap::new();
        let mut firsts: HashMap<_, u32> = HashMap::new();
        for (id, object) in (0u32..).zip(objects) {
            let prefix = object.name.split_once('.').map(|(prefix, _)| prefix);
            let Some(owner) = prefix.and_then(|prefix| owners.get(prefix)) else {
                continue;
            };
            let structure = (structure(object), object.memory);
            let count = counts.entry((*owner, structure.clone())).or_default();
            let place = std::mem::replace(count, *count + 1);
            if apart[id as usize] {
                continue;
            }
            let first = *firsts.entry((structure, place)).or_insert(id);
            new.named[id as usize] = first;
            new.own.entry(first).or_default().insert(*owner, id);
        }
        new.own.retain(|_, own| own.len() > 1);
        new
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.own.is_empty()
    }

    /// By object: what code names in its stead.
    pub fn named(&self) -> &[u32] {
        &self.named
    }

    /// Whether several workloads have an object that goes by this name.
    pub fn is_name(&self, id: ObjectId) -> bool {
        self.own.contains_key(&id.0)
    }

    /// How many names of families are among what code touches.
    pub fn names(&self, touched: impl IntoIterator<Item = ObjectId>) -> u64 {
        let names = touched.into_iter().filter(|id| self.is_name(*id));
        names.collect::<BTreeSet<_>>().len() as u64
    }

    /// Gives code that one workload reaches its own objects back, and tells the ways into all other code what it names;
    /// how many names then stand for several objects.
    pub fn settle(&self, image: &mut Image) -> usize {
        image.entries.iter_mut().for_each(|entry| entry.instances.clear());
        if self.own.is_empty() {
            return 0;
        }
        let mut pieces = Pieces::of(image, self);
        let mut stands: BTreeMap<(usize, u32), BTreeSet<u32>> = BTreeMap::new();
        let reached: Vec<Vec<usize>> = (image.entries.iter())
            .map(|entry| pieces.reached(entry.lambda.index()))
            .collect();
        for (entry, reached) in image.entries.iter().zip(&reached) {
            for piece in reached {
                for name in &pieces.names[*piece] {
                    let own = self.stands_for(*name, entry.workload);
                    stands.entry((*piece, *name)).or_default().insert(own);
                }
            }
        }
        let mut bound: BTreeSet<u32> = BTreeSet::new();
        let mut given: BTreeMap<usize, BTreeMap<u32, u32>> = BTreeMap::new();
        for ((piece, name), own) in stands {
            match own.first() {
                Some(only) if own.len() == 1 => {
                    if *only != name {
                        given.entry(piece).or_default().insert(name, *only);
                        pieces.names[piece].remove(&name);
                    }
                }
                _ => drop(bound.insert(name)),
            }
        }
        for (piece, objects) in &given {
            rename(image, *piece, objects);
        }
        for (entry, reached) in image.entries.iter_mut().zip(reached) {
            let names = reached.iter().flat_map(|piece| &pieces.names[*piece]);
            let names: BTreeSet<u32> = names.copied().filter(|name| bound.contains(name)).collect();
            let instances = names.into_iter().map(|name| Instance {
                named: ObjectId(name),
                own: ObjectId(self.stands_for(name, entry.workload)),
            });
            entry.instances = instances.collect();
        }
        bound.len()
    }

    fn stands_for(&self, name: u32, workload: usize) -> u32 {
        let own = self.own.get(&name).and_then(|own| own.get(&workload));
        own.copied().unwrap_or(name)
    }
}

/// What code can know of an object: everything but what it holds at first.
pub(crate) fn structure(object: &Object) -> ObjectKind {
    match &object.kind {
        ObjectKind::Value { shape, .. } => ObjectKind::Value {
            shape: shape.clone(),
            init: lambdac_mir::Data::Int(0),
        },
        ObjectKind::Table {
            kind,
            key,
            value,
            capacity,
            ..
        } => ObjectKind::Table {
            kind: *kind,
            key: key.clone(),
            value: value.clone(),
            capacity: *capacity,
            entries: Vec::new(),
        },
        kind => kind.clone(),
    }
}

/// By object: whether it is touched where no way in could say what it is.
fn apart(count: usize, units: &[Unit<'_>]) -> Vec<bool> {
    let mut apart = vec![false; count];
    for unit in units {
        let facts = &unit.facts;
        let mut punts = vec![false; facts.lambdas.len()];
        for (lambda, shaped) in facts.lambdas.iter().enumerate() {
            for pulled in &shaped.pulled {
                if let Pulled::Id(Id::Lambda(to)) = pulled {
                    punts[lambda] = true;
                    punts[to.index()] = true;
                }
            }
        }
        let punting = facts.touched.iter().zip(punts).filter(|(_, punts)| *punts);
        let items = facts.asked.iter().chain(punting.map(|(items, _)| items));
        for item in items.flatten() {
            if let Item::Object(id) = item {
                apart[unit.rename.object(ObjectId(*id)).index()] = true;
            }
        }
    }
    apart
}

/// Functions and then lambdas of an image, by number.
struct Pieces {
    funcs: usize,
    /// The names of families that each mentions itself.
    names: Vec<BTreeSet<u32>>,
    calls: Vec<BTreeSet<usize>>,
    /// By lambda: what was found to be reached from there.
    known: BTreeMap<usize, Vec<usize>>,
}

impl Pieces {
    fn of(image: &mut Image, families: &Families) -> Self {
        let module = &mut image.module;
        let funcs = module.funcs.iter_mut().map(|func| vec![&mut func.region]);
        let funcs = funcs.collect::<Vec<_>>();
        let lambdas = module.lambdas.iter_mut();
        let lambdas = lambdas.map(|lambda| lambda.parts.iter_mut().map(|part| &mut part.region).collect());
        let mut new = Self {
            funcs: funcs.len(),
            names: Vec::new(),
            calls: Vec::new(),
            known: BTreeMap::new(),
        };
        for regions in funcs.into_iter().chain(lambdas) {
            let (mut names, mut calls) = (BTreeSet::new(), BTreeSet::new());
            for region in regions {
                for_each_id(region, &mut |id| match id {
                    IdMut::Object(id) if families.is_name(*id) => drop(names.insert(id.0)),
                    IdMut::Func(FuncId(func)) => drop(calls.insert(*func as usize)),
                    _ => {}
                });
            }
            new.names.push(names);
            new.calls.push(calls);
        }
        new
    }

    /// A lambda and what it calls.
    fn reached(&mut self, lambda: usize) -> Vec<usize> {
        if let Some(reached) = self.known.get(&lambda) {
            return reached.clone();
        }
        let mut seen = BTreeSet::new();
        let mut todo = vec![self.funcs + lambda];
        while let Some(piece) = todo.pop() {
            if seen.insert(piece) {
                todo.extend(&self.calls[piece]);
            }
        }
        let reached: Vec<usize> = seen.into_iter().collect();
        self.known.insert(lambda, reached.clone());
        reached
    }
}

/// Gives a piece other objects.
fn rename(image: &mut Image, piece: usize, objects: &BTreeMap<u32, u32>) {
    let module = &mut image.module;
    let mut give = |id: IdMut<'_>| {
        if let IdMut::Object(id) = id
            && let Some(new) = objects.get(&id.0)
        {
            *id = ObjectId(*new);
        }
    };
    match piece.checked_sub(module.funcs.len()) {
        None => for_each_id(&mut module.funcs[piece].region, &mut give),
        Some(lambda) => {
            let parts = &mut module.lambdas[lambda].parts;
            parts
                .iter_mut()
                .for_each(|part| for_each_id(&mut part.region, &mut give));
        }
    }
}

fn for_each_id(region: &mut Region, f: &mut dyn FnMut(IdMut<'_>)) {
    region.walk_regions_mut(&mut |inner| {
        inner.stmts.iter_mut().for_each(|stmt| op_ids(&mut stmt.op, f));
        term_ids(&mut inner.term, f);
    });
}
