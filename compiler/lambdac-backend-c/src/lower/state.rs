//! Memory of threads, values that are changed atomically, and counters.

use lambdac_mir::{ObjectId, Place, RmwOp, Value, mask, scalar_bytes};

use super::Lowerer;
use super::code::Code;
use super::memory::{Addr, Spot, scaled};
use crate::ast::{Binary, Data, Expr, Item, Name, Stmt, Type};
use crate::dialect::Region;

impl Lowerer<'_> {
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
    /// Reads a scalar at a place.
    pub fn read_scalar(&mut self, _place: &Place, spot: &Spot) -> Expr {
        spot.addr.load(size(spot))
    }

    /// Writes a scalar at a place.
    pub fn write_scalar(&mut self, _place: &Place, spot: &Spot, value: Expr) {
        let store = spot.addr.store(size(spot), value);
        self.push(store);
    }

    /// Replaces an integer and gives the old one.
    pub fn rmw(&mut self, op: RmwOp, place: &Place, by: Value, result: Option<Value>) {
        let width = self.body.width(by);
        let spot = self.spot(place);
        let by = self.value(by);
        let old = self.old(result, &spot);
        let new = match op {
            RmwOp::Add => wrapped(old.clone().binary(Binary::Add, by), width),
            RmwOp::Sub => wrapped(old.clone().binary(Binary::Sub, by), width),
            RmwOp::Swap => by,
        };
        self.push(spot.addr.store(size(&spot), new));
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
            self.push(Stmt::Expr(addr.call("count", vec![by])));
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
