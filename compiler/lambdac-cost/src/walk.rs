//! The walk over a body: prices of operations, and their sum over the structure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lambdac_mir::{
    Base, BinOp, BitPos, Body, FuncParam, Loc, LoopKind, Module, Op, Operand, PartId, Place, Region, Shape,
    Step, Stmt, Term, Value, View,
};

use crate::access::Home;
use crate::locals::Locals;
use crate::model::line_of;
use crate::ops::{Known, Price};
use crate::profile::average;
use crate::{CodeCost, LineCost, Model, Placement, field_of, fields};

/// What all walks of a module share.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a, 'd> {
    pub model: Model<'d>,
    pub module: &'a Module,
    pub placement: &'a Placement,
}

/// A walk over one body.
pub(crate) struct Walk<'a, 'd> {
    model: Model<'d>,
    module: &'a Module,
    placement: &'a Placement,
    params: &'a [FuncParam],
    body: &'a Body,
    locals: &'a Locals,
    /// What is known of each value.
    consts: Vec<Known>,
    /// Comparisons that are only asked by one branch and cost just that.
    fused: Vec<bool>,
    /// Costs of functions.
    known: &'a [CodeCost],
    /// Parts that it goes on with, and what they take from there on.
    after: Option<&'a BTreeMap<PartId, Price>>,
    /// Routines that the device has once an image.
    once: BTreeMap<&'static str, u64>,
    /// Prices of regions that were walked, by address.
    regions: HashMap<*const Region, Price>,
}

impl<'a, 'd> Walk<'a, 'd> {
    pub fn new(
        scope: Scope<'a, 'd>,
        params: &'a [FuncParam],
        (body, locals): (&'a Body, &'a Locals),
        region: &Region,
        known: &'a [CodeCost],
    ) -> Self {
        let (consts, fused) = facts(body, region);
        Self {
            model: scope.model,
            module: scope.module,
            placement: scope.placement,
            params,
            body,
            locals,
            consts,
            fused,
            known,
            after: None,
            once: BTreeMap::new(),
            regions: HashMap::new(),
        }
    }

    /// Paths go on with what follows an await.
    pub fn followed_by(self, after: &'a BTreeMap<PartId, Price>) -> Self {
        Self {
            after: Some(after),
            ..self
        }
    }

    /// What a part takes that this one goes on with.
    fn part(&self, part: PartId) -> Price {
        let known = self.after.and_then(|after| after.get(&part));
        known.copied().unwrap_or_default()
    }

    /// What the code takes, with each line's share.
    pub fn finish(mut self, name: &Arc<str>, region: &Region, price: Price) -> CodeCost {
        let mut lines = BTreeMap::new();
        if self.model.lines {
            self.attribute(region, 1, &mut lines);
        }
        lines.remove(&(0, 0));
        CodeCost {
            name: name.clone(),
            words: price.words,
            worst: price.worst,
            expected: price.expected,
            stretch: price.worst,
            local: self.locals.bytes,
            lines,
            once: self.once,
        }
    }

    /// A region's price, with everything in it.
    pub fn region(&mut self, region: &Region) -> Price {
        let key = std::ptr::from_ref(region);
        if let Some(price) = self.regions.get(&key) {
            return *price;
        }
        let mut price = Price::default();
        for stmt in &region.stmts {
            let nested = self.nested(stmt);
            price = price.then(self.own(stmt)).then(nested);
        }
        price = price.then(self.term(&region.term));
        self.regions.insert(key, price);
        price
    }

    /// The price of what is inside a statement.
    fn nested(&mut self, stmt: &Stmt) -> Price {
        match &stmt.op {
            Op::If(..) | Op::Switch { .. } => {
                let sides: Vec<Price> = stmt
                    .op
                    .regions()
                    .into_iter()
                    .map(|region| self.region(region))
                    .collect();
                let expected: Vec<u64> = sides.iter().map(|side| side.expected).collect();
                let weights = self.model.weights;
                let taken = weights.taken(self.module, stmt.loc, sides.len());
                Price {
                    words: sides.iter().map(|side| side.words).sum(),
                    worst: sides.iter().map(|side| side.worst).max().unwrap_or(0),
                    expected: average(&expected, taken),
                }
            }
            Op::Block(_, region) => self.region(region),
            Op::Loop(inner) => {
                let (most, expected) = self.trips(&inner.kind, inner.max, stmt.loc);
                let count = self.model.alu(32).then(self.model.branch(32));
                let each = stmt
                    .op
                    .regions()
                    .into_iter()
                    .fold(count, |sum, region| sum.then(self.region(region)));
                each.trips(most, expected)
            }
            _ => Price::default(),
        }
    }

    /// Trips of a loop: at most, and on average.
    fn trips(&self, kind: &LoopKind, max: u64, loc: Loc) -> (u64, u64) {
        let exact = match kind {
            LoopKind::For { from, to, .. } => match (self.constant(*from), self.constant(*to)) {
                (Some(from), Some(to)) => Some(to.saturating_sub(from)),
                _ => None,
            },
            LoopKind::While(_) => None,
        };
        let most = exact.map_or(max, |trips| trips.min(max));
        let counted = self.model.weights.trips(self.module, loc);
        let expected = match (counted, exact) {
            (Some((entered, trips)), _) => trips.div_ceil(entered).min(most),
            (None, Some(_)) => most,
            (None, None) => max.div_ceil(2),
        };
        (most, expected)
    }

    fn constant(&self, value: Value) -> Known {
        self.consts.get(value.index()).copied().flatten()
    }

    fn width(&self, value: Value) -> u8 {
        self.body.width(value)
    }

    /// A statement's price without what is inside it.
    fn own(&mut self, stmt: &Stmt) -> Price {
        let model = self.model;
        let ops = model.ops;
        let result = stmt.results.first().copied();
        let width = result.map_or(32, |value| self.width(value));
        match &stmt.op {
            // Where a constant is used, it is paid for there.
            Op::Const(_) => Price::default(),
            Op::Bin(op, a, b) => self.binary(*op, width, *a, *b),
            Op::Cmp(_, a, b) => self.compare(result, *a, *b),
            Op::Cast(op, from) => model.cast(*op, self.width(*from), width),
            Op::Select(..) => model.price(ops.branch_bit).then(model.alu(width).times(2)),
            Op::Load(place) => self.scalar(place, width, false),
            Op::Store(place, value) => self.scalar(place, self.width(*value), true),
            Op::Zero(place) => match self.parts(place) {
                Some(parts) => parts.iter().fold(Price::default(), |sum, (home, size)| {
                    sum.then(model.fixed(&[*home], *size))
                }),
                None => model.fixed(&[self.home(place)], self.size(place)),
            },
            Op::Copy { dst, src } => self.copy(dst, src).then(self.indexes(dst)),
            Op::Len(place) => self.scalar(
                &Place {
                    base: place.base,
                    path: Vec::new(),
                },
                32,
                false,
            ),
            Op::SetLen(..) => model.price(ops.lmem_word),
            Op::CopyBytes { dst, src, .. } => {
                let homes = [self.home(dst), self.home(&src.place)];
                self.bytes(&homes, src, self.size(dst), Price::default())
            }
            Op::EqBytes(a, b) => {
                let homes = [self.home(&a.place), self.home(&b.place)];
                let most = self.size(&a.place).min(self.size(&b.place));
                self.bytes(&homes, a, most, model.branch(32))
            }
            Op::LoadBits(place, pos) => self.bits(place, *pos, width),
            Op::StoreBits(place, pos, value) => self.bits(place, *pos, self.width(*value)),
            Op::Hash(_, view) => {
                let each = model.price(ops.crc_word);
                let bytes = self.bytes(&[self.home(&view.place)], view, self.size(&view.place), each);
                model.price(ops.crc_seed).then(bytes)
            }
            Op::Now => model.price(ops.clock),
            Op::Random => model.price(ops.random),
            Op::Pkt(_) => model.price(ops.lmem_word),
            Op::Check(cond, _) => self.test(*cond),
            Op::AtomicRmw(_, place, _) => {
                let fetch = result.is_some();
                model.atomic(self.home(place), !place.path.is_empty(), fetch)
            }
            Op::AtomicCas { place, old, .. } => model.compare_and_swap(self.home(place), self.width(*old)),
            Op::CounterAdd(object, index, _) => {
                model.atomic(self.object_home(*object), index.is_some(), false)
            }
            Op::CounterRead(object, index) => {
                model.scalar(self.object_home(*object), 64, index.is_some(), false)
            }
            Op::MapGet { object, .. } | Op::TableGet { object, .. } | Op::TableHas { object, .. } => {
                self.lookup(*object)
            }
            Op::MapPut { object, .. } | Op::MapRemove { object, .. } | Op::MapFetchAdd { object, .. } => {
                // The entry changes under a lock of its bucket.
                let home = self.object_home(*object);
                self.lookup(*object)
                    .then(model.price(ops.lock))
                    .then(model.scalar(home, 64, true, true))
            }
            Op::Log(text, args) => {
                let words = (text.len() as u64).div_ceil(4) + args.len() as u64;
                model
                    .price(ops.command)
                    .then(model.price(ops.move_word).times(words))
            }
            Op::Call(callee, args) => {
                let callee = self.known.get(callee.index());
                let (worst, expected) = callee.map_or((0, 0), |code| (code.worst, code.expected));
                let run = Price {
                    words: 0,
                    worst,
                    expected,
                };
                model.price(ops.call).then(self.operands(args)).then(run)
            }
            // Only before the await split; afterwards it is a terminator.
            Op::Await(call) => self.await_request(call.value.is_some()),
            Op::If(cond, ..) => self.test(*cond),
            Op::Switch { on, arms, .. } => {
                let ranges = arms.iter().flat_map(|(ranges, _)| ranges);
                ranges.fold(Price::default(), |sum, (lo, hi)| {
                    let single = *hi == lo.checked_add(1);
                    let ends = if single { 1 } else { 2 };
                    sum.then(model.compare_constant(self.width(*on), *lo).times(ends))
                })
            }
            Op::Block(..) => Price::default(),
            Op::Loop(inner) => {
                let check = if inner.checked {
                    model.branch(32)
                } else {
                    Price::default()
                };
                self.moves(inner.params.iter().map(|(param, _)| *param))
                    .then(check)
            }
        }
    }

    fn term(&mut self, term: &Term) -> Price {
        let model = self.model;
        let jump = model.price(model.ops.jump);
        match term {
            Term::Yield(values) => self.moves(values.iter().copied()),
            Term::Break(_, values) | Term::Continue(_, values) | Term::Return(values) => {
                self.moves(values.iter().copied()).then(jump)
            }
            Term::Become { part, args } => self.moves(args.iter().copied()).then(jump).then(self.part(*part)),
            // Where the reply lies and how long it is, for the code that sends it.
            Term::Reply(view) => {
                let in_place = matches!(view.place.base, Base::Slot(slot)
                    if self.body.slots[slot.index()].storage == lambdac_mir::Storage::ReplyBuffer);
                let copy = if in_place {
                    Price::default()
                } else {
                    let homes = [self.home(&view.place), Home::Packet];
                    self.bytes(&homes, view, self.size(&view.place), Price::default())
                };
                copy.then(model.alu(32).times(2)).then(jump)
            }
            Term::Drop | Term::Punt(_) | Term::Trap(..) => model.alu(32).then(jump),
            Term::Await { call, part, args } => {
                let saved = model.fixed(&[Home::Packet], 8 * args.len() as u64);
                self.await_request(call.value.is_some())
                    .then(saved)
                    .then(jump)
                    .then(self.part(*part))
            }
        }
    }

    /// Turning the request into a service's: a frame, and another for a value.
    fn await_request(&mut self, value: bool) -> Price {
        let model = self.model;
        let frame = model.fixed(&[Home::Packet], 32);
        let frames = if value { frame.then(frame) } else { frame };
        if !model.shared_requests {
            return frames;
        }
        // One piece of code, which asks whether there is a value. It gets the operation, the key and the value.
        let asked = model.price(model.ops.branch_bit);
        let all = frame.then(frame).then(asked).words + model.ops.jump.words;
        self.once.insert("service request", all);
        let run = Price {
            words: 0,
            ..frames.then(asked)
        };
        let passed = if value { 5 } else { 3 };
        model
            .price(model.ops.call)
            .then(model.alu(32).times(passed))
            .then(run)
    }

    fn moves(&self, values: impl Iterator<Item = Value>) -> Price {
        values.fold(Price::default(), |sum, value| {
            let load = match self.constant(value) {
                Some(constant) => self.model.constant(self.width(value), constant),
                None => Price::default(),
            };
            sum.then(load).then(self.model.alu(self.width(value)))
        })
    }

    fn operands(&self, args: &[Operand]) -> Price {
        args.iter().fold(Price::default(), |sum, arg| {
            sum.then(match arg {
                Operand::Value(value) => self.model.alu(self.width(*value)),
                Operand::Place(_) => self.model.alu(32),
                Operand::View(_) => self.model.alu(32).times(2),
            })
        })
    }

    fn binary(&mut self, op: BinOp, width: u8, a: Value, b: Value) -> Price {
        let known = [self.constant(a), self.constant(b)];
        let once = &mut self.once;
        self.model.binary(op, width, known, &mut |name, words| {
            once.insert(name, words);
        })
    }

    fn compare(&self, result: Option<Value>, a: Value, b: Value) -> Price {
        let width = self.width(a);
        let branch = match self.constant(b).or(self.constant(a)) {
            Some(value) => self.model.compare_constant(width, value),
            None => self.model.branch(width),
        };
        let fused = result.is_some_and(|value| self.fused[value.index()]);
        if fused {
            branch
        } else {
            branch.then(self.model.price(self.model.ops.bool))
        }
    }

    /// Branching on a bool.
    fn test(&self, cond: Value) -> Price {
        if self.fused[cond.index()] {
            Price::default()
        } else {
            self.model.price(self.model.ops.branch_bit)
        }
    }

    fn bits(&self, place: &Place, pos: BitPos, width: u8) -> Price {
        let model = self.model;
        let indexed = pos.index.is_some() || is_indexed(place);
        let index = if pos.index.is_some() {
            model.index()
        } else {
            Price::default()
        };
        // A field that is no whole word is shifted and masked out of one.
        let part = if width.is_multiple_of(32) && pos.bit.is_multiple_of(32) {
            Price::default()
        } else {
            model.price(model.ops.field)
        };
        index
            .then(model.scalar(self.home(place), width.div_ceil(32) * 32, indexed, false))
            .then(part)
    }

    fn scalar(&self, place: &Place, width: u8, write: bool) -> Price {
        let home = self.home(place);
        self.indexes(place)
            .then(self.model.scalar(home, width, is_indexed(place), write))
    }

    /// What the variable indexes of a place cost.
    fn indexes(&self, place: &Place) -> Price {
        let variable = place
            .path
            .iter()
            .filter(|step| matches!(step, Step::Index(_)))
            .count();
        self.model.index().times(variable as u64)
    }

    /// Going over a view's bytes, at most `cap`.
    fn bytes(&self, homes: &[Home<'d>], view: &View, cap: u64, each: Price) -> Price {
        match self.constant(view.len) {
            Some(len) if len <= crate::BURST => {
                let words = len.div_ceil(4);
                self.model.fixed(homes, len).then(each.times(words))
            }
            Some(len) => self.model.stream(homes, len, len, each),
            None => self.model.stream(homes, cap, cap / 2, each),
        }
    }

    fn lookup(&self, object: lambdac_mir::ObjectId) -> Price {
        let memory = self.placement.object(self.model.device, object);
        self.model
            .lookup(&self.module.objects[object.index()].kind, memory)
    }

    fn object_home(&self, object: lambdac_mir::ObjectId) -> Home<'d> {
        self.placement
            .object(self.model.device, object)
            .map_or(Home::Local, Home::Memory)
    }

    fn home(&self, place: &Place) -> Home<'d> {
        match place.base {
            Base::Slot(slot) if self.locals.is_local(slot) => Home::Local,
            Base::Slot(slot) => self.model.spilled_home(&self.body.slots[slot.index()].shape),
            Base::Arg(arg) => match self.params.get(arg as usize) {
                Some(FuncParam::Ref { shape, .. }) => self.model.passed_home(shape),
                _ => Home::Packet,
            },
            Base::Object(object) => (self.placement)
                .place(self.model.device, object, &place.path)
                .map_or_else(|| self.object_home(object), Home::Memory),
            Base::Const(id) => self
                .placement
                .constant(self.model.device, id)
                .map_or(Home::Local, Home::Memory),
            Base::Param(_) => Home::Local,
            Base::Request => Home::Packet,
        }
    }

    /// The memories and bytes of all fields, where a place is all of a divided object, or of an element.
    fn parts(&self, place: &Place) -> Option<Vec<(Home<'d>, u64)>> {
        let Base::Object(id) = place.base else { return None };
        let memories = self.placement.fields.get(&id)?;
        let (shapes, count) = fields(&self.module.objects[id.index()].kind)?;
        if field_of(&place.path).is_some() {
            return None;
        }
        let count = if place.path.is_empty() { count } else { 1 };
        let part = |(memory, shape): (&usize, &Shape)| {
            let home = self
                .model
                .device
                .memory
                .get(*memory)
                .map_or(Home::Local, Home::Memory);
            (home, shape.packed_size().saturating_mul(count))
        };
        Some(memories.iter().zip(shapes).map(part).collect())
    }

    /// Copying an aggregate; one that is divided, part by part.
    fn copy(&self, dst: &Place, src: &Place) -> Price {
        let (to, from) = (self.parts(dst), self.parts(src));
        let fixed = |to: Home<'d>, from: Home<'d>, size: u64| self.model.fixed(&[to, from], size);
        match (to, from) {
            (None, None) => fixed(self.home(dst), self.home(src), self.size(dst).min(self.size(src))),
            (Some(parts), None) => (parts.iter()).fold(Price::default(), |sum, (to, size)| {
                sum.then(fixed(*to, self.home(src), *size))
            }),
            (None, Some(parts)) => (parts.iter()).fold(Price::default(), |sum, (from, size)| {
                sum.then(fixed(self.home(dst), *from, *size))
            }),
            (Some(to), Some(from)) => (to.iter().zip(&from)).fold(Price::default(), |sum, (to, from)| {
                sum.then(fixed(to.0, from.0, to.1))
            }),
        }
    }

    /// Bytes of what a place holds; of a view, the longest packet's.
    fn size(&self, place: &Place) -> u64 {
        let shape = lambdac_mir::place_shape(self.module, self.params, self.body, place);
        match shape {
            Some(Shape::View) | None => u64::from(self.model.device.limits.payload),
            Some(Shape::Bytes(len)) => u64::from(*len),
            Some(shape) => shape.packed_size(),
        }
    }

    /// Gives each line its words, and the cycles that it has on the dearest path.
    fn attribute(&mut self, region: &Region, trips: u64, lines: &mut BTreeMap<(u16, u32), LineCost>) {
        let mut last = Loc::default();
        for stmt in &region.stmts {
            last = stmt.loc;
            let own = self.own(stmt);
            add(lines, stmt.loc, own, trips);
            match &stmt.op {
                Op::If(..) | Op::Switch { .. } => {
                    let sides = stmt.op.regions();
                    let prices: Vec<u64> = sides.iter().map(|side| self.region(side).worst).collect();
                    let dearest = (0..sides.len()).max_by_key(|&side| (prices[side], sides.len() - side));
                    for (index, side) in sides.into_iter().enumerate() {
                        let taken = if Some(index) == dearest { trips } else { 0 };
                        self.attribute(side, taken, lines);
                    }
                }
                Op::Loop(inner) => {
                    let (most, _) = self.trips(&inner.kind, inner.max, stmt.loc);
                    let inside = trips.saturating_mul(most);
                    let count = self.model.alu(32).then(self.model.branch(32));
                    add(lines, stmt.loc, count, inside);
                    for region in stmt.op.regions() {
                        self.attribute(region, inside, lines);
                    }
                }
                _ => {
                    for region in stmt.op.regions() {
                        self.attribute(region, trips, lines);
                    }
                }
            }
        }
        let term = self.term(&region.term);
        add(lines, last, term, trips);
    }
}

fn add(lines: &mut BTreeMap<(u16, u32), LineCost>, loc: Loc, price: Price, trips: u64) {
    if price == Price::default() {
        return;
    }
    let line = lines.entry(line_of(loc)).or_default();
    line.words += price.words;
    line.cycles = line.cycles.saturating_add(price.worst.saturating_mul(trips));
}

fn is_indexed(place: &Place) -> bool {
    place.path.iter().any(|step| matches!(step, Step::Index(_)))
}

/// Constants among a body's values, and the comparisons that just one branch asks.
fn facts(body: &Body, region: &Region) -> (Vec<Known>, Vec<bool>) {
    let mut consts = vec![None; body.values.len()];
    let mut uses = vec![0u32; body.values.len()];
    let mut asked = vec![false; body.values.len()];
    region.walk_regions(&mut |inner| {
        for stmt in &inner.stmts {
            if let (Op::Const(value), Some(result)) = (&stmt.op, stmt.results.first()) {
                consts[result.index()] = Some(*value);
            }
            stmt.op.for_each_operand(|value| uses[value.index()] += 1);
            if let Op::If(cond, ..) | Op::Check(cond, _) = &stmt.op {
                asked[cond.index()] = true;
            }
        }
        inner.term.for_each_operand(|value| uses[value.index()] += 1);
    });
    let mut fused = vec![false; body.values.len()];
    region.walk(&mut |stmt| {
        if let (Op::Cmp(..), Some(result)) = (&stmt.op, stmt.results.first()) {
            fused[result.index()] = asked[result.index()] && uses[result.index()] == 1;
        }
    });
    (consts, fused)
}
