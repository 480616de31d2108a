//! Which objects and constants code touches, and how often it is expected to.

use std::collections::BTreeMap;

use lambdac_cost::{BURST, Weights, field_of, fields};
use lambdac_mir::{
    Base, Func, Lambda, Loc, LoopKind, Module, ObjectId, ObjectKind, Op, Operand, Place, Region, Shape, Use,
    Value,
};

use crate::image::Entry;

/// Something in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Item {
    /// An object, by id.
    Object(u32),
    /// A constant, by id.
    Const(u32),
    /// A field of an object that could be divided, by the object's id: what is waited for it if it is.
    Field(u32, u32),
}

impl Item {
    /// What it is where an entry's code touches it.
    pub fn of(self, entry: &Entry) -> Self {
        let own = |id| entry.object(ObjectId(id)).0;
        match self {
            Self::Object(id) => Self::Object(own(id)),
            Self::Field(id, field) => Self::Field(own(id), field),
            Self::Const(_) => self,
        }
    }
}

/// Expected waits for memory by item: reads, and writes that wait.
pub(crate) type Touched = BTreeMap<Item, f64>;

/// Reads of an entry's key and value by an operation of a map, lru or table: a key is looked at in about one place.
const LOOKUP: f64 = 2.0;

/// What each function touches in one run, its branches weighed so.
pub(crate) fn of_funcs(module: &Module, weights: Weights<'_>) -> Vec<Touched> {
    let mut known: Vec<Touched> = Vec::with_capacity(module.funcs.len());
    for func in &module.funcs {
        let touched = of_func(module, func, &known, weights);
        known.push(touched);
    }
    known
}

pub(crate) fn of_func(module: &Module, func: &Func, known: &[Touched], weights: Weights<'_>) -> Touched {
    let mut walk = Walk::new(module, known, weights);
    walk.region(&func.region, 1.0);
    walk.touched
}

/// What a lambda touches in one run, all parts together.
pub(crate) fn of_lambda(
    module: &Module,
    lambda: &Lambda,
    known: &[Touched],
    weights: Weights<'_>,
) -> Touched {
    let mut walk = Walk::new(module, known, weights);
    for part in &lambda.parts {
        walk.region(&part.region, 1.0);
    }
    walk.touched
}

struct Walk<'m> {
    module: &'m Module,
    known: &'m [Touched],
    weights: Weights<'m>,
    touched: Touched,
    constants: BTreeMap<Value, u64>,
}

impl<'m> Walk<'m> {
    fn new(module: &'m Module, known: &'m [Touched], weights: Weights<'m>) -> Self {
        Self {
            module,
            known,
            weights,
            touched: Touched::new(),
            constants: BTreeMap::new(),
        }
    }

    fn add(&mut self, item: Item, times: f64) {
        *self.touched.entry(item).or_default() += times;
    }

    fn region(&mut self, region: &Region, times: f64) {
        for stmt in &region.stmts {
            if let (Op::Const(value), [result]) = (&stmt.op, &stmt.results[..]) {
                self.constants.insert(*result, *value);
            }
            self.op(&stmt.op, times);
            let inside = stmt.op.regions();
            match &stmt.op {
                Op::If(..) | Op::Switch { .. } => {
                    let shares = self.shares(stmt.loc, inside.len());
                    (inside.into_iter().zip(shares))
                        .for_each(|(side, share)| self.region(side, times * share));
                }
                Op::Loop(inner) => {
                    let trips = self.trips(&inner.kind, inner.max, stmt.loc);
                    inside
                        .into_iter()
                        .for_each(|region| self.region(region, times * trips));
                }
                _ => inside.into_iter().for_each(|region| self.region(region, times)),
            }
        }
        region.term.for_each_use(&mut |used| self.used(&used, times));
    }

    /// How often each side of a branch is taken: as in the profile, or evenly.
    fn shares(&self, loc: Loc, sides: usize) -> Vec<f64> {
        match self.weights.taken(self.module, loc, sides) {
            Some(taken) => {
                let total: f64 = taken.iter().map(|count| *count as f64).sum();
                taken.iter().map(|count| *count as f64 / total).collect()
            }
            None => vec![1.0 / sides as f64; sides],
        }
    }

    fn trips(&self, kind: &LoopKind, max: u64, loc: Loc) -> f64 {
        if let Some((entered, trips)) = self.weights.trips(self.module, loc) {
            return trips as f64 / entered as f64;
        }
        if let LoopKind::For { from, to, .. } = kind
            && let (Some(from), Some(to)) = (self.constants.get(from), self.constants.get(to))
        {
            return to.saturating_sub(*from).min(max) as f64;
        }
        max.div_ceil(2) as f64
    }

    fn op(&mut self, op: &Op, times: f64) {
        op.for_each_use(&mut |used| self.used(&used, times));
        match op {
            Op::CounterAdd(object, ..) | Op::CounterRead(object, _) => {
                self.add(Item::Object(object.0), times)
            }
            Op::MapGet { object, .. }
            | Op::MapPut { object, .. }
            | Op::MapRemove { object, .. }
            | Op::MapFetchAdd { object, .. }
            | Op::TableGet { object, .. }
            | Op::TableHas { object, .. } => self.add(Item::Object(object.0), times * LOOKUP),
            Op::Call(func, args) => {
                let inner = self.known.get(func.index()).cloned().unwrap_or_default();
                inner
                    .into_iter()
                    .for_each(|(item, count)| self.add(item, count * times));
                // What is passed by reference is read there.
                for arg in args {
                    if let Operand::View(view) = arg {
                        self.base(view.place.base, times);
                    }
                }
            }
            _ => {}
        }
    }

    fn used(&mut self, used: &Use<'_>, times: f64) {
        match used {
            Use::Place(place, _) => {
                // A scalar of it, or all of it.
                let whole = place.path.is_empty();
                let bursts = if whole { self.bursts(place.base) } else { 1.0 };
                self.base(place.base, times * bursts);
                if let Base::Object(id) = place.base {
                    self.fields(id, place, times);
                }
            }
            Use::View(view) => {
                let bursts = match self.constants.get(&view.len) {
                    Some(len) => len.div_ceil(BURST).max(1) as f64,
                    None => self.bursts(view.place.base),
                };
                self.base(view.place.base, times * bursts);
                if let (Base::Object(id), Some(field)) = (view.place.base, field_of(&view.place.path)) {
                    self.add(Item::Field(id.0, field as u32), times * bursts);
                }
            }
            Use::Value(_) | Use::Slot(_) => {}
        }
    }

    /// What a place touches of an object's fields.
    fn fields(&mut self, id: ObjectId, place: &Place, times: f64) {
        let Some((shapes, count)) = fields(&self.module.objects[id.index()].kind) else {
            return;
        };
        if let Some(field) = field_of(&place.path) {
            self.add(Item::Field(id.0, field as u32), times);
            return;
        }
        let count = if place.path.is_empty() { count } else { 1 };
        for (field, shape) in (0u32..).zip(shapes) {
            let bursts = shape.packed_size().saturating_mul(count).div_ceil(BURST).max(1);
            self.add(Item::Field(id.0, field), times * bursts as f64);
        }
    }

    fn base(&mut self, base: Base, times: f64) {
        match base {
            Base::Object(id) => self.add(Item::Object(id.0), times),
            Base::Const(id) => self.add(Item::Const(id.0), times),
            _ => {}
        }
    }

    /// Memory commands that bring all of it.
    fn bursts(&self, base: Base) -> f64 {
        let shape: Option<&Shape> = match base {
            Base::Object(id) => match &self.module.objects[id.index()].kind {
                ObjectKind::Value { shape, .. } => Some(shape),
                _ => None,
            },
            Base::Const(id) => Some(&self.module.consts[id.index()].shape),
            _ => None,
        };
        shape.map_or(1.0, |shape| shape.packed_size().div_ceil(BURST).max(1) as f64)
    }
}
