//! Memory of threads, values that are changed atomically, and counters.

use std::collections::BTreeSet;

use lambdac_mir::{Base, MemoryRegion, ObjectId, Op, Place, RmwOp, Value, mask, scalar_bytes};

use super::code::Code;
use super::memory::{Addr, Spot, scaled};
use super::{Lowerer, Object};
use crate::ast::{Binary, Data, Expr, Item, Name, Stmt, Type};
use crate::dialect::{Dialect, Region, Scope, Space};

/// Bytes that a lock is aligned to (NFP notes, 2.3).
const LOCK_ALIGN: u32 = 64;

/// Where locks lie.
pub(super) const LOCK_REGION: Region = Region {
    memory: MemoryRegion::Imem,
    scope: Scope::Shared,
};

/// Whether a device has an atomic command for an operation at a width. Memory units add, subtract and swap 32 bits and
/// give the old value, and swap 64 (NFP notes, 1.5).
fn has_command(op: RmwOp, width: u8) -> bool {
    match op {
        RmwOp::Add | RmwOp::Sub => width == 32,
        RmwOp::Swap => width == 32 || width == 64,
    }
}

impl Lowerer<'_> {
    /// A lock for a value of which some access has no command of its own.
    pub fn lock(&mut self, id: ObjectId) -> Option<Addr> {
        if self.dialect != Dialect::MicroC || !self.needs_lock(id) {
            return None;
        }
        let name = &self.image.module.objects[id.index()].name;
        let name = self.names.fresh(&format!("{name}_lock"));
        self.items.push(Item::Data(Data {
            comment: String::new(),
            name: name.clone(),
            region: LOCK_REGION,
            bytes: Vec::new(),
            size: 4,
            align: LOCK_ALIGN,
        }));
        Some(self.array(&name, LOCK_REGION))
    }

    /// Whether it is a name that shared code has for several objects.
    pub fn is_name(&self, id: ObjectId) -> bool {
        let mut instances = self.image.entries.iter().flat_map(|entry| &entry.instances);
        instances.any(|instance| instance.named == id)
    }

    /// What shared code calls an object; itself, where that does not reach it.
    fn name_of(&self, id: ObjectId) -> ObjectId {
        let mut instances = self.image.entries.iter().flat_map(|entry| &entry.instances);
        let found = instances.find(|instance| instance.own == id);
        found.map_or(id, |instance| instance.named)
    }

    fn needs_lock(&self, id: ObjectId) -> bool {
        let name = self.name_of(id);
        let is = |base: Base| matches!(base, Base::Object(other) if self.name_of(other) == name);
        let mut needs = false;
        let module = &self.image.module;
        let funcs = module.funcs.iter().map(|func| (&func.body, vec![&func.region]));
        let lambdas = module.lambdas.iter().map(|lambda| {
            let regions = lambda.parts.iter().map(|part| &part.region).collect();
            (&lambda.body, regions)
        });
        for (body, regions) in funcs.chain(lambdas) {
            for region in regions {
                region.walk(&mut |stmt| {
                    needs |= match &stmt.op {
                        Op::AtomicCas { place, .. } => is(place.base),
                        Op::AtomicRmw(op, place, by) => is(place.base) && !has_command(*op, body.width(*by)),
                        _ => false,
                    };
                });
            }
        }
        needs
    }

    /// Memory that each thread has its own of.
    pub fn thread_memory(&mut self, like: &str, region: Region, size: u32) -> Name {
        let name = self.names.fresh(like);
        self.threads.push(Item::Data(Data {
            comment: String::new(),
            name: name.clone(),
            region,
            bytes: Vec::new(),
            size,
            align: 8,
        }));
        name
    }
}

impl Code<'_, '_> {
    /// Locks of the objects that an operation touches, in the order of the numbers of what shared code calls them, so that
    /// nobody waits in a circle.
    pub fn locks(&self, op: &Op) -> Vec<Addr> {
        let mut touched = BTreeSet::new();
        let mut note = |base: Base| {
            if let Base::Object(id) = base {
                touched.insert((self.unit.name_of(id), id));
            }
        };
        op.for_each_use(&mut |used| used.place().into_iter().for_each(|place| note(place.base)));
        let locks = touched
            .into_iter()
            .filter_map(|(_, id)| self.unit.objects[id.index()].as_ref());
        let space = self.unit.dialect.space(LOCK_REGION);
        let lock = |object: &Object| match &object.reached {
            Some((_, lock)) => lock.clone().map(|lock| Addr::new(space, Expr::Var(lock))),
            None => object.lock.clone(),
        };
        locks.filter_map(lock).collect()
    }

    /// Replaces an integer and gives the old one.
    pub fn rmw(&mut self, op: RmwOp, place: &Place, by: Value, result: Option<Value>) {
        let width = self.body.width(by);
        let spot = self.spot(place);
        if spot.addr.space == Space::Unit && !self.is_locked(place) {
            return self.command(op, &spot, by, result);
        }
        let by = self.value(by);
        let old = self.old(result, &spot);
        let new = match op {
            RmwOp::Add => wrapped(old.clone().binary(Binary::Add, by), width),
            RmwOp::Sub => wrapped(old.clone().binary(Binary::Sub, by), width),
            RmwOp::Swap => by,
        };
        self.push(spot.addr.store(size(&spot), new));
    }

    fn is_locked(&self, place: &Place) -> bool {
        let Base::Object(id) = place.base else {
            return false;
        };
        let object = self.unit.objects[id.index()].as_ref();
        object.is_some_and(|object| object.lock.is_some())
    }

    /// One command that gives the old value.
    fn command(&mut self, op: RmwOp, spot: &Spot, by: Value, result: Option<Value>) {
        let verb = match (op, self.body.width(by)) {
            (RmwOp::Add, _) => "fetch_add32",
            (RmwOp::Sub, _) => "fetch_sub32",
            (RmwOp::Swap, 64) => "swap64",
            (RmwOp::Swap, _) => "swap32",
        };
        let by = self.value(by);
        let old = spot.addr.call(verb, vec![by]);
        match result.filter(|result| self.needed.is_needed(*result)) {
            Some(result) => self.define(result, old),
            None => self.push(Stmt::Expr(Expr::Cast(Type::Void, Box::new(old)))),
        }
    }

    /// The old value in a variable: the result's, or one that is read at once.
    fn old(&mut self, result: Option<Value>, spot: &Spot) -> Expr {
        let load = spot.addr.load(size(spot));
        match result.filter(|result| self.needed.is_needed(*result)) {
            Some(result) => {
                self.define(result, load);
                self.value(result)
            }
            None => load,
        }
    }

    /// Replaces an integer if it is what it should be.
    pub fn cas(&mut self, place: &Place, old: Value, new: Value, result: Option<Value>) {
        let spot = self.spot(place);
        let (old, new) = (self.value(old), self.value(new));
        let same = spot.addr.load(size(&spot)).binary(Binary::Eq, old);
        let store = spot.addr.store(size(&spot), new);
        match result.filter(|result| self.needed.is_needed(*result)) {
            Some(result) => {
                self.define(result, same);
                let held = self.value(result).binary(Binary::Ne, Expr::int(0));
                self.push(Stmt::If(held, vec![store], Vec::new()));
            }
            None => self.push(Stmt::If(same, vec![store], Vec::new())),
        }
    }

    fn counter(&mut self, id: ObjectId, index: Option<Value>) -> Option<Addr> {
        let index = index.map_or(Expr::int(0), |index| self.narrow(index));
        let (_, addr) = self.unit.object(id)?;
        Some(addr.plus_expr(scaled(index, 8)))
    }

    pub fn counter_add(&mut self, id: ObjectId, index: Option<Value>, by: Value) {
        let by = self.value(by);
        if let Some(addr) = self.counter(id, index) {
            let count = match (addr.space, by.as_int()) {
                (Space::Unit, Some(1)) => addr.call("count_one", Vec::new()),
                _ => addr.call("count", vec![by]),
            };
            self.push(Stmt::Expr(count));
        }
    }

    pub fn counter_read(&mut self, id: ObjectId, index: Option<Value>) -> Expr {
        match self.counter(id, index) {
            Some(addr) => addr.load(8),
            None => Expr::Int(0, Type::U64),
        }
    }
}

fn size(spot: &Spot) -> u32 {
    scalar_bytes(spot.shape.scalar().unwrap_or(64))
}

/// An expression cut to a width that its type may exceed.
pub(super) fn wrapped(expr: Expr, width: u8) -> Expr {
    match width {
        32 | 64 => expr,
        width => expr.binary(Binary::And, Expr::Int(mask(width), Type::of_width(width))),
    }
}
