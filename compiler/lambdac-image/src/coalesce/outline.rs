//! Sequences of statements that lambdas have in common become functions.
//!
//! Windows of statements of one region are looked at by length, longest first. Windows of one length that look alike are
//! brought into a normal form: values defined inside and outside, slots and labels are numbered as they come, constants
//! from outside are taken along. Windows of one form become one function if the model says that the calls and the
//! function take fewer words than the copies; if the image as a whole did not become smaller, the length is taken back.
//!
//! **Why nothing changes.** A window runs from its first statement to its last, or ends in a trap: one that control can
//! leave otherwise is not taken, nor is one that waits. The function gets what the window reads: scalars by value, slots
//! by reference, the request as a view of the whole; and returns what the rest of the lambda reads. Statements keep
//! their order. Constants between a window's statements stay behind the call; nothing that they do can be seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use lambdac_mir::{
    Access, Base, Body, Effects, Func, FuncId, FuncParam, Label, Lambda, Loc, Module, Op, Operand, Place,
    Region, SlotId, Stmt, Term, Use, UseMut, Value, View, func_effects,
};

use super::skeleton::hash;
use crate::canon::erase_locs;
use crate::cost::{ImageCost, sharers};
use crate::image::Image;
use crate::pass::Context;

/// Lengths of windows, in statements that are no constants.
const LENGTHS: [usize; 10] = [64, 32, 16, 12, 8, 6, 4, 3, 2, 1];
/// Most windows of one length that are brought into normal form.
const MAX_WINDOWS: usize = 8_192;
/// Most parameters and results of a function that is made.
const MAX_PASSED: usize = 12;

/// Runs all lengths.
pub(super) fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let mut made = 0;
    let mut sites = 0;
    let mut words = ImageCost::of(image, context.device, &context.model).words();
    let before = words;
    for length in LENGTHS {
        let windows = Windows::new(image, length);
        let accepted = windows.accepted(image, context);
        if accepted.is_empty() {
            continue;
        }
        let old = image.module.clone();
        let places: usize = accepted.iter().map(|group| group.sites.len()).sum();
        let functions = accepted.len();
        apply(&mut image.module, accepted);
        let now = ImageCost::of(image, context.device, &context.model).words();
        if now < words && lambdac_mir::validate(&image.module).is_ok() {
            words = now;
            made += functions;
            sites += places;
        } else {
            image.module = old;
        }
    }
    if made == 0 {
        return Vec::new();
    }
    vec![format!(
        "sequences that stood at {sites} places became functions: {made}, {} words fewer",
        before - words
    )]
}

/// A region of a lambda.
struct Flat<'m> {
    lambda: usize,
    part: usize,
    /// Its number in the walk over the part.
    number: usize,
    region: &'m Region,
    /// Statements that are no constants.
    real: Vec<usize>,
    /// What they look like; none for those that no window may hold.
    looks: Vec<Option<u64>>,
    /// The region and statement that hold it.
    parent: Option<(usize, usize)>,
}

/// All windows of a length.
struct Windows {
    lambdas: Vec<Lambda>,
    effects: Vec<Effects>,
    length: usize,
    counted: Vec<bool>,
}

/// A place that a function replaces.
struct Site {
    lambda: usize,
    part: usize,
    number: usize,
    /// Statements that go, the first of which becomes the call.
    stmts: Vec<usize>,
    /// References in order; `None` is the request.
    references: Vec<Option<SlotId>>,
    scalars: Vec<Value>,
    results: Vec<Value>,
}

/// A function and the places that it stands for.
struct Group {
    func: Func,
    sites: Vec<Site>,
}

impl Windows {
    fn new(image: &Image, length: usize) -> Self {
        Self {
            lambdas: image.module.lambdas.clone(),
            effects: func_effects(&image.module),
            length,
            counted: sharers(image).iter().map(|count| *count > 0).collect(),
        }
    }

    fn flats(&self) -> Vec<Flat<'_>> {
        let mut flats = Vec::new();
        for (lambda, code) in self
            .lambdas
            .iter()
            .enumerate()
            .filter(|(index, _)| self.counted[*index])
        {
            for (part, code) in code.parts.iter().enumerate() {
                let mut number = 0;
                self.flatten(&code.region, (lambda, part), None, &mut number, &mut flats);
            }
        }
        flats
    }

    fn flatten<'m>(
        &self,
        region: &'m Region,
        (lambda, part): (usize, usize),
        parent: Option<(usize, usize)>,
        number: &mut usize,
        flats: &mut Vec<Flat<'m>>,
    ) {
        let real: Vec<usize> = (0..region.stmts.len())
            .filter(|index| !matches!(region.stmts[*index].op, Op::Const(_)))
            .collect();
        let looks = real
            .iter()
            .map(|index| self.look(&region.stmts[*index]))
            .collect();
        let own = flats.len();
        flats.push(Flat {
            lambda,
            part,
            number: *number,
            region,
            real,
            looks,
            parent,
        });
        *number += 1;
        for (index, stmt) in region.stmts.iter().enumerate() {
            for inner in stmt.op.regions() {
                self.flatten(inner, (lambda, part), Some((own, index)), number, flats);
            }
        }
    }

    /// What a statement looks like without its values, slots and labels.
    fn look(&self, stmt: &Stmt) -> Option<u64> {
        let effects = stmt.op.effects_with(&self.effects);
        if effects.leaves || effects.awaits {
            return None;
        }
        let mut region = wrap(vec![stmt.clone()]);
        erase_locs(&mut region);
        region.rename_values(&mut |_| Value(0));
        region.rename_labels(&mut |_| Label(0));
        region.rename_slots(&mut |_| SlotId(0));
        Some(hash(&region.stmts))
    }

    /// Groups that pay, no two of whose places overlap.
    fn accepted(&self, image: &Image, context: &Context<'_>) -> Vec<Group> {
        let flats = self.flats();
        let mut alike: BTreeMap<u64, Vec<(usize, usize)>> = BTreeMap::new();
        for (flat, region) in flats.iter().enumerate() {
            for (start, looks) in region.looks.windows(self.length).enumerate() {
                let whole: Option<Vec<u64>> = looks.iter().copied().collect();
                if let Some(whole) = whole {
                    alike.entry(hash(&whole)).or_default().push((flat, start));
                }
            }
        }
        let uses: Vec<HashMap<Value, u32>> = self.lambdas.iter().map(uses).collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut by_form: HashMap<u64, usize> = HashMap::new();
        let mut normalised = 0;
        for places in alike.values().filter(|places| places.len() > 1) {
            for (flat, start) in places {
                normalised += 1;
                if normalised > MAX_WINDOWS {
                    break;
                }
                let lambda = flats[*flat].lambda;
                let Some((func, site)) = self.normal(&flats[*flat], *start, &uses[lambda]) else {
                    continue;
                };
                let form = hash(&(&func.params, &func.results, &func.body.values, &func.region));
                match by_form.get(&form) {
                    Some(group) if groups[*group].func.region == func.region => {
                        groups[*group].sites.push(site);
                    }
                    Some(_) => {}
                    None => {
                        by_form.insert(form, groups.len());
                        groups.push(Group {
                            func,
                            sites: vec![site],
                        });
                    }
                }
            }
        }
        groups.retain(|group| group.sites.len() > 1);
        self.choose(groups, &flats, image, context)
    }

    /// The groups that pay most first, without the places that others have taken.
    fn choose(
        &self,
        groups: Vec<Group>,
        flats: &[Flat<'_>],
        image: &Image,
        context: &Context<'_>,
    ) -> Vec<Group> {
        let words = price(&groups, image, context);
        let mut ranked: Vec<(i64, usize)> = (0..groups.len())
            .map(|index| (gain(&groups[index], words[index], context), index))
            .filter(|(gain, _)| *gain > 0)
            .collect();
        ranked.sort_by_key(|(gain, index)| (std::cmp::Reverse(*gain), *index));
        let by_place: HashMap<(usize, usize, usize), usize> = flats
            .iter()
            .enumerate()
            .map(|(index, flat)| ((flat.lambda, flat.part, flat.number), index))
            .collect();
        let mut taken = Taken::default();
        let mut groups: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
        let mut accepted = Vec::new();
        for (_, index) in ranked {
            let Some(mut group) = groups[index].take() else {
                continue;
            };
            let mut trial = taken.clone();
            group.sites.retain(|site| {
                let flat = by_place[&(site.lambda, site.part, site.number)];
                trial.take(flats, flat, &site.stmts)
            });
            if group.sites.len() > 1 && gain(&group, words[index], context) > 0 {
                taken = trial;
                accepted.push(group);
            }
        }
        accepted
    }

    /// A window as a function, and what its place passes to it.
    fn normal(&self, flat: &Flat<'_>, start: usize, uses: &HashMap<Value, u32>) -> Option<(Func, Site)> {
        let lambda = &self.lambdas[flat.lambda];
        let indexes = &flat.real[start..start + self.length];
        let stmts: Vec<Stmt> = indexes
            .iter()
            .map(|index| flat.region.stmts[*index].clone())
            .collect();
        let mut region = wrap(stmts);
        erase_locs(&mut region);
        let (defined, inside) = defs_and_uses(&region);
        let top: Vec<Value> = region
            .stmts
            .iter()
            .flat_map(|stmt| stmt.results.iter().copied())
            .collect();
        let results: Vec<Value> = top
            .into_iter()
            .filter(|value| uses.get(value).copied().unwrap_or(0) > inside.get(value).copied().unwrap_or(0))
            .collect();
        let mut form = Form::new(lambda, &defined);
        region.rename_values(&mut |value| form.value(value));
        let returned: Vec<Value> = results.iter().map(|value| form.value(*value)).collect();
        let mut labels: HashMap<Label, Label> = HashMap::new();
        region.rename_labels(&mut |label| {
            let next = Label(labels.len() as u32);
            *labels.entry(label).or_insert(next)
        });
        form.body.labels = labels.len() as u32;
        let references = references(&mut region);
        let mut params: Vec<FuncParam> = Vec::new();
        for (slot, writable) in &references.slots {
            params.push(match slot {
                Some(slot) => FuncParam::Ref {
                    shape: lambda.body.slots[slot.index()].shape.clone(),
                    writable: *writable,
                },
                None => FuncParam::View,
            });
        }
        params.extend(form.scalars.iter().map(|(_, inner)| FuncParam::Scalar(*inner)));
        if params.len() > MAX_PASSED || results.len() > MAX_PASSED || references.unfit {
            return None;
        }
        let mut code = form.constants;
        code.append(&mut region.stmts);
        let func = Func {
            name: "image.sequence".into(),
            params,
            results: results.iter().map(|value| lambda.body.width(*value)).collect(),
            body: form.body,
            region: Region {
                stmts: code,
                term: Term::Return(returned),
            },
            inline: false,
        };
        let site = Site {
            lambda: flat.lambda,
            part: flat.part,
            number: flat.number,
            stmts: indexes.to_vec(),
            references: references.slots.iter().map(|(slot, _)| *slot).collect(),
            scalars: form.scalars.iter().map(|(outer, _)| *outer).collect(),
            results,
        };
        Some((func, site))
    }
}

fn wrap(stmts: Vec<Stmt>) -> Region {
    Region {
        stmts,
        term: Term::Yield(Vec::new()),
    }
}

/// How often each value of a lambda is used.
fn uses(lambda: &Lambda) -> HashMap<Value, u32> {
    let mut uses = HashMap::new();
    for part in &lambda.parts {
        count_uses(&part.region, &mut uses);
    }
    uses
}

fn count_uses(region: &Region, uses: &mut HashMap<Value, u32>) {
    region.walk_regions(&mut |inner| {
        for stmt in &inner.stmts {
            stmt.op
                .for_each_operand(|value| *uses.entry(value).or_default() += 1);
        }
        inner
            .term
            .for_each_operand(|value| *uses.entry(value).or_default() += 1);
    });
}

fn defs_and_uses(region: &Region) -> (HashSet<Value>, HashMap<Value, u32>) {
    let mut defined = HashSet::new();
    region.walk(&mut |stmt| {
        defined.extend(stmt.results.iter().copied());
        stmt.op.for_each_inner_def(|value| defined.extend([value]));
    });
    let mut inside = HashMap::new();
    count_uses(region, &mut inside);
    (defined, inside)
}

/// The values of a function that is being made.
struct Form<'m> {
    outer: &'m Body,
    defined: &'m HashSet<Value>,
    known: HashMap<Value, u64>,
    numbers: HashMap<Value, Value>,
    body: Body,
    /// Constants from outside, which the function has itself.
    constants: Vec<Stmt>,
    /// Values from outside and what they are inside.
    scalars: Vec<(Value, Value)>,
}

impl<'m> Form<'m> {
    fn new(lambda: &'m Lambda, defined: &'m HashSet<Value>) -> Self {
        let mut known = HashMap::new();
        for part in &lambda.parts {
            part.region.walk(&mut |stmt| {
                if let (Op::Const(value), [result]) = (&stmt.op, &stmt.results[..]) {
                    known.insert(*result, *value);
                }
            });
        }
        Self {
            outer: &lambda.body,
            defined,
            known,
            numbers: HashMap::new(),
            body: Body::default(),
            constants: Vec::new(),
            scalars: Vec::new(),
        }
    }

    fn value(&mut self, value: Value) -> Value {
        if let Some(inner) = self.numbers.get(&value) {
            return *inner;
        }
        let inner = self.body.value(self.outer.width(value));
        self.numbers.insert(value, inner);
        if self.defined.contains(&value) {
            return inner;
        }
        match self.known.get(&value) {
            Some(constant) => self.constants.push(Stmt {
                results: vec![inner],
                op: Op::Const(*constant),
                loc: Loc::default(),
            }),
            None => self.scalars.push((value, inner)),
        }
        inner
    }
}

/// What memory from outside a window reaches, in order; `None` is the request.
#[derive(Default)]
struct References {
    slots: Vec<(Option<SlotId>, bool)>,
    unfit: bool,
}

/// Turns slots and the request into parameters.
fn references(region: &mut Region) -> References {
    let mut found = References::default();
    region.walk(&mut |stmt| {
        stmt.op.for_each_use(&mut |used| {
            let (place, access) = match used {
                Use::Place(place, access) => (place, access),
                Use::View(view) => (&view.place, Access::Read),
                Use::Slot(_) => {
                    found.unfit = true;
                    return;
                }
                Use::Value(_) => return,
            };
            let key = match place.base {
                Base::Slot(slot) => Some(slot),
                Base::Request => None,
                Base::Arg(_) => {
                    found.unfit = true;
                    return;
                }
                Base::Object(_) | Base::Const(_) | Base::Param(_) => return,
            };
            match found.slots.iter_mut().find(|(other, _)| *other == key) {
                Some((_, writable)) => *writable |= access.writes(),
                None => found.slots.push((key, access.writes())),
            }
        });
    });
    let number = |key: Option<SlotId>| {
        let at = found.slots.iter().position(|(other, _)| *other == key);
        Base::Arg(at.unwrap_or_default() as u32)
    };
    region.walk_mut(&mut |stmt| {
        stmt.op.for_each_use_mut(&mut |used| {
            let place = match used {
                UseMut::Place(place, _) => place,
                UseMut::View(view) => &mut view.place,
                UseMut::Value(_) | UseMut::Slot(_) => return,
            };
            match place.base {
                Base::Slot(slot) => place.base = number(Some(slot)),
                Base::Request => place.base = number(None),
                _ => {}
            }
        });
    });
    found
}

/// Words of each group's function.
fn price(groups: &[Group], image: &Image, context: &Context<'_>) -> Vec<u64> {
    let module = Module {
        funcs: groups.iter().map(|group| group.func.clone()).collect(),
        lambdas: Vec::new(),
        dispatch: lambdac_mir::Dispatch::Unreachable,
        ..image.module.clone()
    };
    let cost = context.model.module(&module, &image.placement(context.device));
    cost.funcs.iter().map(|code| code.words).collect()
}

/// Words that a group saves.
fn gain(group: &Group, words: u64, context: &Context<'_>) -> i64 {
    let Some(ops) = &context.device.ops else { return 0 };
    let moved = |widths: &mut dyn Iterator<Item = u8>| {
        let words = widths.map(|width| {
            if width <= 32 {
                ops.alu32.words
            } else {
                ops.alu64.words
            }
        });
        words.sum::<u64>() as i64
    };
    let returned = moved(&mut group.func.results.iter().copied()) + ops.jump.words as i64;
    let inline = words as i64 - returned;
    let passed: i64 = (group.func.params.iter())
        .map(|param| match param {
            FuncParam::Scalar(value) => moved(&mut std::iter::once(group.func.body.width(*value))),
            FuncParam::Ref { .. } => ops.alu32.words as i64,
            // The view's length is asked for too.
            FuncParam::View => (2 * ops.alu32.words + ops.move_word.words + ops.field.words) as i64,
        })
        .sum();
    let call = ops.call.words as i64 + passed;
    group.sites.len() as i64 * (inline - call) - words as i64
}

/// What is in a function already.
#[derive(Clone, Default)]
struct Taken {
    /// Statements, by region.
    stmts: HashSet<(usize, usize)>,
    /// Whole regions.
    regions: HashSet<usize>,
}

impl Taken {
    /// Takes statements of a region, unless some are taken or lie in or around some that are.
    fn take(&mut self, flats: &[Flat<'_>], flat: usize, stmts: &[usize]) -> bool {
        let mut at = flat;
        if self.regions.contains(&flat) {
            return false;
        }
        while let Some((parent, stmt)) = flats[at].parent {
            if self.regions.contains(&at) || self.stmts.contains(&(parent, stmt)) {
                return false;
            }
            at = parent;
        }
        if stmts.iter().any(|stmt| self.stmts.contains(&(flat, *stmt))) {
            return false;
        }
        // Statements that hold the region are no longer what they were.
        let mut at = flat;
        while let Some((parent, stmt)) = flats[at].parent {
            self.stmts.insert((parent, stmt));
            at = parent;
        }
        self.stmts.extend(stmts.iter().map(|stmt| (flat, *stmt)));
        for (index, other) in flats.iter().enumerate().skip(flat + 1) {
            match other.parent {
                Some((parent, stmt)) if parent == flat && stmts.contains(&stmt) => {
                    self.regions.insert(index);
                }
                Some((parent, _)) if self.regions.contains(&parent) => {
                    self.regions.insert(index);
                }
                _ => {}
            }
            if (other.lambda, other.part) != (flats[flat].lambda, flats[flat].part) {
                break;
            }
        }
        true
    }
}

/// A lambda, a part, and a region's number: those with higher numbers first.
type Spot = (usize, usize, std::cmp::Reverse<usize>);

/// Puts functions and calls in.
fn apply(module: &mut Module, groups: Vec<Group>) {
    let mut by_region: BTreeMap<Spot, Vec<(FuncId, Site)>> = BTreeMap::new();
    for group in groups {
        let id = FuncId(module.funcs.len() as u32);
        module.funcs.push(group.func);
        for site in group.sites {
            let key = (site.lambda, site.part, std::cmp::Reverse(site.number));
            by_region.entry(key).or_default().push((id, site));
        }
    }
    // Regions further in have higher numbers and come first, so that numbers stay right.
    for ((lambda, part, std::cmp::Reverse(number)), mut sites) in by_region {
        sites.sort_by_key(|(_, site)| std::cmp::Reverse(site.stmts[0]));
        let code = &mut module.lambdas[lambda];
        let (body, parts) = (&mut code.body, &mut code.parts);
        let mut at = 0;
        parts[part].region.walk_regions_mut(&mut |region| {
            if at == number {
                sites
                    .iter()
                    .for_each(|(id, site)| replace(body, region, *id, site));
            }
            at += 1;
        });
    }
}

fn replace(body: &mut Body, region: &mut Region, id: FuncId, site: &Site) {
    let first = site.stmts[0];
    let last = site.stmts[site.stmts.len() - 1];
    let loc = region.stmts[first].loc;
    let stmt = |results: Vec<Value>, op: Op| Stmt { results, op, loc };
    let mut new = Vec::new();
    let mut args = Vec::new();
    for reference in &site.references {
        args.push(match reference {
            Some(slot) => Operand::Place(Place::of(Base::Slot(*slot))),
            None => {
                let (zero, len) = (body.value(32), body.value(32));
                new.push(stmt(vec![zero], Op::Const(0)));
                new.push(stmt(vec![len], Op::Len(Place::of(Base::Request))));
                Operand::View(View {
                    place: Place::of(Base::Request),
                    offset: zero,
                    len,
                })
            }
        });
    }
    args.extend(site.scalars.iter().map(|value| Operand::Value(*value)));
    new.push(stmt(site.results.clone(), Op::Call(id, args)));
    let old: Vec<Stmt> = region.stmts.splice(first..=last, []).collect();
    let gone: HashSet<usize> = site.stmts.iter().map(|index| index - first).collect();
    let kept = old
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !gone.contains(index))
        .map(|(_, stmt)| stmt);
    new.extend(kept);
    region.stmts.splice(first..first, new);
}
