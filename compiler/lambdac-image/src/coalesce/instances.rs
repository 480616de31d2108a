//! Objects of one structure, and services of one protocol, that several lambdas have each its own of: code that differs in
//! nothing else stands once.
//!
//! A family has at most one object for each way into the image. Objects of one structure (kind, shapes, capacity,
//! `@memory`) join the first family none of whose objects a lambda reaches that reaches them; so do services of one protocol.
//! All code names the first of a family, so that what was alike but for its objects is equal, and is shared by whatever
//! finds equal code. Then each piece is looked at ([`Families::settle`]): one that finds the same object from wherever it is
//! entered names that again; one that finds several keeps the name, and each way into it says which it stands for there
//! ([`crate::Instance`]). Objects themselves stay where and what they are, and whose.
//!
//! **Why nothing changes.** In code that a way in reaches, a name stands for one object, the one that was written there: no
//! two of a family are reached from one way in. A structure is all that code knows of an object; what it holds at first is
//! the object's own. A protocol is all that code knows of a service: address and time-out stand in the service's own row.
//!
//! **What is in no family.** What is entered without a way that could say so names what it named: objects that conditions of
//! the stage ask, as those run before there is an entry (and a name is one of the objects, so a condition that asks it would
//! ask what the last entry set); and what lambdas reach that punt or are punted to, as a punt goes to a lambda by its number
//! and sets nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lambdac_mir::{MemoryRegion, Object, ObjectId, ObjectKind, Protocol, Region};

use super::units::Units;
use crate::cost::{ADDRESS_WORDS, SERVICE_WORDS};
use crate::facts::Unit;
use crate::image::{Image, Instance};
use crate::pass::Context;
use crate::rename::{IdMut, Rename, op_ids, term_ids};
use crate::shape::{Id, Pulled, id_of};
use crate::touch::Item;

/// Most families of one structure: an object that none of them can take is a name of its own.
const MAX_FAMILIES: usize = 32;

/// What code names in the stead of an object or a service, and what that stands for.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// By object, and by service: the first of its family.
    objects: Vec<u32>,
    services: Vec<u32>,
    /// By the first of a family: what it is for each entry.
    own: BTreeMap<Id, BTreeMap<usize, Id>>,
}

/// What code knows of an object or a service.
#[derive(PartialEq, Eq, Hash)]
enum Kind {
    Object(ObjectKind, Option<MemoryRegion>),
    Service(Protocol),
}

impl Families {
    /// Finds them; none on a device that does not reach objects by address.
    pub fn of(image: &Image, units: &[Unit<'_>], context: &Context<'_>) -> Self {
        if !context.device.limits.object_addresses {
            return Self::default();
        }
        let module = &image.module;
        let apart = apart(units);
        let mut by_kind: HashMap<Kind, Vec<Id>> = HashMap::new();
        let mut new = Self {
            objects: (0..module.objects.len() as u32).collect(),
            services: (0..module.services.len() as u32).collect(),
            own: BTreeMap::new(),
        };
        let users = users(image, units).into_iter();
        for (id, entries) in users.filter(|(id, _)| !apart.contains(id)) {
            let kind = match id {
                Id::Object(object) => {
                    let object = &module.objects[object.index()];
                    Kind::Object(structure(object), object.memory)
                }
                Id::Service(service) => Kind::Service(module.services[service.index()].protocol),
                _ => continue,
            };
            let names = by_kind.entry(kind).or_default();
            let takes = |name: &&Id| entries.iter().all(|entry| !new.own[*name].contains_key(entry));
            let name = match names.iter().find(takes) {
                Some(name) => *name,
                None if names.len() < MAX_FAMILIES => {
                    names.push(id);
                    id
                }
                None => continue,
            };
            let own = new.own.entry(name).or_default();
            own.extend(entries.into_iter().map(|entry| (entry, id)));
        }
        new.own.retain(|name, own| own.values().any(|id| id != name));
        for (name, own) in &new.own {
            for id in own.values() {
                match (name, id) {
                    (Id::Object(name), Id::Object(id)) => new.objects[id.index()] = name.0,
                    (Id::Service(name), Id::Service(id)) => new.services[id.index()] = name.0,
                    _ => {}
                }
            }
        }
        new
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.own.is_empty()
    }

    /// Code names those of families.
    pub fn rename(&self, rename: &mut Rename) {
        rename.share_objects(&self.objects);
        rename.share_services(&self.services);
    }

    /// Whether it stands for several.
    fn is_name(&self, id: Id) -> bool {
        self.own.contains_key(&id)
    }

    /// Words of setting, for one entry, what names stand for that are not the same for all of some entries.
    pub fn words(
        &self,
        names: impl IntoIterator<Item = Id>,
        entries: impl Iterator<Item = usize> + Clone,
    ) -> u64 {
        let names = names.into_iter().filter(|name| self.is_name(*name));
        let names: BTreeSet<Id> = names.collect();
        let differs = |name: &Id| {
            let mut own = entries.clone().map(|entry| self.stands_for(*name, entry));
            let first = own.next();
            own.any(|other| Some(other) != first)
        };
        let words = |name: Id| match name {
            Id::Service(_) => SERVICE_WORDS,
            _ => ADDRESS_WORDS,
        };
        names.into_iter().filter(differs).map(words).sum()
    }

    /// Gives code its own objects and services back that is the same from everywhere, and tells the ways into all other code
    /// what it names; how many names of objects and of services then stand for several.
    pub fn settle(&self, image: &mut Image) -> (usize, usize) {
        for entry in &mut image.entries {
            entry.instances.clear();
            entry.services.clear();
        }
        if self.own.is_empty() {
            return (0, 0);
        }
        let mut pieces = Pieces::of(image, self);
        let mut stands: BTreeMap<(usize, Id), BTreeSet<Id>> = BTreeMap::new();
        let reached: Vec<Vec<usize>> = (image.entries.iter())
            .map(|entry| pieces.reached(entry.lambda.index()))
            .collect();
        for (entry, reached) in reached.iter().enumerate() {
            for piece in reached {
                for name in &pieces.names[*piece] {
                    let own = self.stands_for(*name, entry);
                    stands.entry((*piece, *name)).or_default().insert(own);
                }
            }
        }
        let mut bound: BTreeSet<Id> = BTreeSet::new();
        let mut given: BTreeMap<usize, BTreeMap<Id, Id>> = BTreeMap::new();
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
        for (piece, ids) in &given {
            rename(image, *piece, ids);
        }
        for (number, reached) in reached.into_iter().enumerate() {
            let names = reached.iter().flat_map(|piece| &pieces.names[*piece]);
            let names: BTreeSet<Id> = names.copied().filter(|name| bound.contains(name)).collect();
            let entry = &mut image.entries[number];
            for name in names {
                match (name, self.stands_for(name, number)) {
                    (Id::Object(named), Id::Object(own)) => entry.instances.push(Instance { named, own }),
                    (Id::Service(named), Id::Service(own)) => entry.services.push(Instance { named, own }),
                    _ => {}
                }
            }
        }
        let objects = bound.iter().filter(|name| matches!(name, Id::Object(_))).count();
        (objects, bound.len() - objects)
    }

    fn stands_for(&self, name: Id, entry: usize) -> Id {
        let own = self.own.get(&name).and_then(|own| own.get(&entry));
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

/// By object and service: the entries whose code reaches it.
fn users(image: &Image, units: &[Unit<'_>]) -> BTreeMap<Id, Vec<usize>> {
    let units = Units::new(units);
    let mut users: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
    for (number, entry) in image.entries.iter().enumerate() {
        for id in units.names(entry.lambda.index()) {
            let entries = users.entry(id).or_default();
            // A lambda mentions a service as often as it asks it.
            if entries.last() != Some(&number) {
                entries.push(number);
            }
        }
    }
    users
}

/// What is reached where no way in could say what it is.
fn apart(units: &[Unit<'_>]) -> BTreeSet<Id> {
    let mut apart = BTreeSet::new();
    let all = Units::new(units);
    let mut lambda = 0;
    for unit in units {
        for item in unit.facts.asked.iter().flatten() {
            if let Item::Object(id) = item {
                apart.insert(Id::Object(unit.rename.object(ObjectId(*id))));
            }
        }
        let first = lambda;
        let mut punts = vec![false; unit.lambdas.len()];
        for (number, shaped) in unit.facts.lambdas.iter().enumerate() {
            for pulled in &shaped.pulled {
                if let Pulled::Id(Id::Lambda(to)) = pulled {
                    punts[number] = true;
                    punts[to.index()] = true;
                }
            }
            lambda += 1;
        }
        let punting = punts.iter().enumerate().filter(|(_, punts)| **punts);
        punting.for_each(|(number, _)| apart.extend(all.names(first + number)));
    }
    apart
}

/// Functions and then lambdas of an image, by number.
struct Pieces {
    funcs: usize,
    /// The names of families that each mentions itself.
    names: Vec<BTreeSet<Id>>,
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
                for_each_id(region, &mut |id| match id_of(id) {
                    Id::Func(func) => {
                        calls.insert(func.index());
                    }
                    id if families.is_name(id) => {
                        names.insert(id);
                    }
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

/// Gives a piece other objects and services.
fn rename(image: &mut Image, piece: usize, ids: &BTreeMap<Id, Id>) {
    let module = &mut image.module;
    let mut give = |id: IdMut<'_>| match id {
        IdMut::Object(id) => {
            if let Some(Id::Object(new)) = ids.get(&Id::Object(*id)) {
                *id = *new;
            }
        }
        IdMut::Service(id) => {
            if let Some(Id::Service(new)) = ids.get(&Id::Service(*id)) {
                *id = *new;
            }
        }
        _ => {}
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
