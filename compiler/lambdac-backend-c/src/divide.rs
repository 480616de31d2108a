//! Values whose fields lie in several memories, as memory-stratification placed them ([`Placement::fields`]): each field
//! becomes an object of its own, with all elements of it in one piece, before anything is lowered.
//!
//! Code reaches into a field, or copies or zeroes a whole element, which becomes that for each field. A value that code
//! touches in any other way as a whole stays whole, where its placement says for this case.
//!
//! [`Placement::fields`]: lambdac_cost::Placement::fields

use std::collections::{BTreeMap, BTreeSet};

use lambdac_cost::fields;
use lambdac_image::{Image, Instance};
use lambdac_mir::{Base, Data, Object, ObjectId, ObjectKind, Op, Place, Region, Shape, Step, Stmt, UseMut};

/// What an object of a divided image was: an object, and the field that it holds of it.
pub(crate) type Origin = (usize, Option<usize>);

/// Parts by what was divided.
type Parts = BTreeMap<ObjectId, Vec<ObjectId>>;

/// The image with its divided values in parts, and what each object was; none if there are none.
pub(crate) fn divide(image: &Image) -> Option<(Image, Vec<Origin>)> {
    let candidates = image.placed.as_ref()?.fields.keys().copied().collect();
    let divided = divisible(image, candidates);
    if divided.is_empty() {
        return None;
    }
    let mut image = image.clone();
    let mut origins: Vec<Origin> = (0..image.module.objects.len())
        .map(|index| (index, None))
        .collect();
    let parts: Parts = divided
        .into_iter()
        .map(|id| (id, part_objects(&mut image, id, &mut origins)))
        .collect();
    for entry in &mut image.entries {
        let mut of_parts = Vec::new();
        for Instance { named, own } in &entry.instances {
            if let (Some(named), Some(own)) = (parts.get(named), parts.get(own)) {
                let pairs = named.iter().zip(own);
                of_parts.extend(pairs.map(|(&named, &own)| Instance { named, own }));
            }
        }
        entry.instances.extend(of_parts);
    }
    image
        .module
        .for_each_region_mut(&mut |region| rewrite(region, &parts));
    Some((image, origins))
}

/// Those of the candidates that no code touches as a whole in a way that can't be divided; what stands under one name in
/// shared code is divided together or not at all.
fn divisible(image: &Image, mut candidates: BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
    let mut whole = BTreeSet::new();
    let mut look = |region: &Region| {
        for stmt in &region.stmts {
            stmt.op.for_each_use(&mut |used| {
                if let Some(place) = used.place()
                    && let Base::Object(id) = place.base
                    && !is_divisible(image, &stmt.op, place)
                {
                    whole.insert(id);
                }
            });
        }
        region.term.for_each_use(&mut |used| {
            if let Some(place) = used.place()
                && let Base::Object(id) = place.base
                && field_at(&place.path).is_none()
            {
                whole.insert(id);
            }
        });
    };
    image
        .module
        .for_each_region(&mut |region| region.walk_regions(&mut look));
    candidates.retain(|id| !whole.contains(id));
    loop {
        let instances = image.entries.iter().flat_map(|entry| &entry.instances);
        let alone =
            |instance: &&Instance| candidates.contains(&instance.named) != candidates.contains(&instance.own);
        let Some(found) = instances.into_iter().find(alone) else {
            return candidates;
        };
        candidates.remove(&found.named);
        candidates.remove(&found.own);
    }
}

/// Where in a path the field stands that it leads into.
fn field_at(path: &[Step]) -> Option<usize> {
    path.iter().position(|step| matches!(step, Step::Field(_)))
}

fn is_divisible(image: &Image, op: &Op, place: &Place) -> bool {
    if field_at(&place.path).is_some() {
        return true;
    }
    match op {
        Op::Zero(_) => true,
        Op::Copy { dst, src } => is_element(image, dst) && is_element(image, src),
        _ => false,
    }
}

/// Whether a place is one structure, not all of an array of them.
fn is_element(image: &Image, place: &Place) -> bool {
    match (place.base, &place.path[..]) {
        (Base::Object(id), []) => matches!(
            &image.module.objects[id.index()].kind,
            ObjectKind::Value {
                shape: Shape::Struct(_),
                ..
            }
        ),
        _ => true,
    }
}

/// Adds a part for each field.
fn part_objects(image: &mut Image, id: ObjectId, origins: &mut Vec<Origin>) -> Vec<ObjectId> {
    let whole = image.module.objects[id.index()].clone();
    let memories = image.placed.as_mut().and_then(|placed| placed.fields.remove(&id));
    let (Some(memories), Some((shapes, _)), ObjectKind::Value { shape, init }) =
        (memories, fields(&whole.kind), &whole.kind)
    else {
        return Vec::new();
    };
    let part = |(field, (own, memory)): (usize, (&Shape, usize))| {
        let object = Object {
            name: format!("{}.{field}", whole.name).into(),
            kind: ObjectKind::Value {
                shape: match shape {
                    Shape::Array(_, count) => Shape::Array(own.clone().into(), *count),
                    _ => own.clone(),
                },
                init: part_of(shape, own, init, field),
            },
            memory: whole.memory,
            decl: format!("{}: field {field}", whole.decl).into(),
        };
        let part = ObjectId(image.module.objects.len() as u32);
        image.module.objects.push(object);
        origins.push((id.index(), Some(field)));
        if let Some(placed) = &mut image.placed {
            placed.objects.push(memory);
        }
        part
    };
    shapes.iter().zip(memories).enumerate().map(part).collect()
}

/// A field's part of what a value starts with.
fn part_of(shape: &Shape, field: &Shape, init: &Data, index: usize) -> Data {
    let own = |element: &Data| match element {
        Data::List(fields) => fields.get(index).cloned(),
        _ => None,
    };
    let (Shape::Array(..), Data::List(elements)) = (shape, init) else {
        return own(init).unwrap_or(Data::Int(0));
    };
    let parts = elements.iter().filter_map(own);
    match field {
        Shape::Scalar(8) => Data::Bytes(parts.filter_map(byte).collect()),
        _ => Data::List(parts.collect()),
    }
}

fn byte(data: Data) -> Option<u8> {
    match data {
        Data::Int(value) => u8::try_from(value).ok(),
        _ => None,
    }
}

fn rewrite(region: &mut Region, parts: &Parts) {
    region.walk_regions_mut(&mut |inner| {
        let stmts = std::mem::take(&mut inner.stmts);
        inner.stmts = stmts.into_iter().flat_map(|stmt| by_field(stmt, parts)).collect();
        for stmt in &mut inner.stmts {
            stmt.op.for_each_use_mut(&mut |used| rename(used, parts));
        }
        inner.term.for_each_use_mut(&mut |used| rename(used, parts));
    });
}

/// What goes over a whole element, for each of its fields.
fn by_field(stmt: Stmt, parts: &Parts) -> Vec<Stmt> {
    let count = |place: &Place| match place.base {
        Base::Object(id) if field_at(&place.path).is_none() => parts.get(&id).map(Vec::len),
        _ => None,
    };
    let fields = match &stmt.op {
        Op::Zero(place) => count(place),
        Op::Copy { dst, src } => count(dst).or(count(src)),
        _ => None,
    };
    let Some(fields) = fields else {
        return vec![stmt];
    };
    let part = |field| {
        let mut part = stmt.clone();
        match &mut part.op {
            Op::Zero(place) => place.path.push(Step::Field(field)),
            Op::Copy { dst, src } => [dst, src]
                .into_iter()
                .for_each(|place| place.path.push(Step::Field(field))),
            _ => {}
        }
        part
    };
    (0..fields as u32).map(part).collect()
}

/// What leads into a field of a divided value leads into its part.
fn rename(used: UseMut<'_>, parts: &Parts) {
    let Some(place) = used.into_place() else { return };
    if let Base::Object(id) = place.base
        && let Some(parts) = parts.get(&id)
        && let Some(at) = field_at(&place.path)
        && let Step::Field(field) = place.path[at]
    {
        place.base = Base::Object(parts[field as usize]);
        place.path.remove(at);
    }
}
