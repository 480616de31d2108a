//! Operations without regions: what each statement of MIR becomes.

use std::rc::Rc;

use lambdac_mir::{LogArg, Op, Place, RmwOp, Step, Stmt as MirStmt, Value};

use super::code::{Code, Spot};
use super::memory::{Cell, Home, Tree, constant, zero};
use super::scalar::{self, bit_of, bool_of, resized};
use super::unit;
use crate::ast::{Binary, Expr, For, Stmt, Trips};
use crate::legal::{CODE, Refusal};

impl<'m> Code<'_, 'm> {
    pub(super) fn op(&mut self, stmt: &'m MirStmt) -> Result<(), Refusal> {
        let first = stmt.results.first().copied();
        match &stmt.op {
            Op::Const(value) => self.set(first, |width| constant(width, *value)),
            Op::Bin(op, a, b) => {
                let (width, by) = (self.width(*a), self.width(*b));
                let (a, b) = (self.get(*a), self.get(*b));
                let expr = self.binary(*op, width, by, a, b);
                self.give(first, expr, true);
            }
            Op::Cmp(op, a, b) => {
                let width = self.width(*a);
                let (a, b) = (self.get(*a), self.get(*b));
                self.give(first, scalar::compare(*op, width, a, b), true);
            }
            Op::Cast(op, value) => {
                let (from, value) = (self.width(*value), self.get(*value));
                self.set(first, |to| scalar::cast(*op, from, to, value));
            }
            Op::Select(cond, a, b) => {
                let (cond, a, b) = (self.get(*cond), self.get(*a), self.get(*b));
                self.give(first, cond.select(a, b), true);
            }
            Op::Load(place) => {
                let (cell, index) = self.cell(place)?;
                let value = self.read(&cell, &index);
                self.give(first, value, false);
            }
            Op::Store(place, value) => {
                let value = self.get(*value);
                let (cell, index) = self.cell(place)?;
                self.write(&cell, &index, value);
            }
            Op::Zero(place) => {
                let spot = self.spot(place)?;
                self.zero(&spot);
            }
            Op::Copy { dst, src } => {
                let (to, from) = (self.spot(dst)?, self.spot(src)?);
                self.copy(&to, &from);
            }
            Op::Len(place) => {
                let len = self.len(place)?;
                self.give(first, len, false);
            }
            Op::SetLen(place, value) => {
                let value = self.get(*value);
                let spot = self.spot(place)?;
                if let Tree::Bytes { len, .. } = &*spot.tree {
                    self.write(len, &spot.index, value);
                }
            }
            Op::CopyBytes { dst, offset, src } => self.copy_bytes(dst, *offset, src)?,
            Op::EqBytes(a, b) => {
                let (a, b) = (self.view(a)?, self.view(b)?);
                let equal = self.equal(&a, &b);
                self.give(first, equal, false);
            }
            Op::LoadBits(place, at) => {
                let width = first.map_or(1, |value| self.width(value));
                let bits = self.load_bits(place, at, width)?;
                self.give(first, bits, false);
            }
            Op::StoreBits(place, at, value) => {
                let (width, value) = (self.width(*value), self.get(*value));
                self.store_bits(place, at, value, width)?;
            }
            Op::Hash(op, view) => {
                let bytes = self.view(view)?;
                let sum = self.crc(*op, &bytes);
                self.give(first, sum, false);
            }
            Op::Now => self.give(first, Expr::path("meta.now"), true),
            Op::Random => {
                let dice = self.random();
                self.give(first, dice, false);
            }
            Op::Pkt(field) => {
                let fact = self.unit.pkt(*field);
                self.give(first, fact, true);
            }
            Op::AtomicRmw(op, place, value) => {
                let by = self.atom(*value);
                let (cell, index) = self.cell(place)?;
                let old = self.read(&cell, &index);
                let new = self.modified(*op, cell.width, old.clone(), by);
                self.write(&cell, &index, new);
                self.give(first, old, false);
            }
            Op::AtomicCas { place, old, new } => {
                let (old, new) = (self.get(*old), self.get(*new));
                let (cell, index) = self.cell(place)?;
                let held = self.read(&cell, &index);
                let same = self.settled(held.binary(Binary::Eq, old), 1);
                let change = self.apart(|code| {
                    code.write(&cell, &index, new);
                    Ok(())
                })?;
                self.push(Stmt::If(same.clone(), change, Vec::new()));
                self.give(first, same, false);
            }
            Op::CounterAdd(object, index, by) => {
                let (cell, index) = self.counter(*object, *index)?;
                let by = self.get(*by);
                let old = self.read(&cell, &index);
                self.write(&cell, &index, old.binary(Binary::Add, by));
            }
            Op::CounterRead(object, index) => {
                let (cell, index) = self.counter(*object, *index)?;
                let value = self.read(&cell, &index);
                self.give(first, value, false);
            }
            Op::MapGet { object, key, dst } => self.map_get(*object, key, dst.as_ref(), stmt)?,
            Op::MapPut { object, key, value } => self.map_put(*object, key, value, stmt)?,
            Op::MapRemove { object, key } => self.map_remove(*object, key, stmt)?,
            Op::MapFetchAdd { object, key, value } => self.map_fetch_add(*object, key, *value, stmt)?,
            Op::TableGet { object, key, .. } | Op::TableHas { object, key } => {
                self.look_up(*object, key, stmt)?;
            }
            Op::Log(text, args) => self.log(text, args),
            Op::Call(..)
            | Op::Check(..)
            | Op::Await(_)
            | Op::If(..)
            | Op::Switch { .. }
            | Op::Block(..)
            | Op::Loop(_) => unreachable!("statements with regions are written elsewhere"),
        }
        Ok(())
    }

    fn set(&mut self, result: Option<Value>, expr: impl FnOnce(u32) -> Expr) {
        if let Some(value) = result {
            let expr = expr(self.width(value));
            self.define(value, expr, true);
        }
    }

    /// The result of a statement.
    pub(super) fn give(&mut self, result: Option<Value>, expr: Expr, pure: bool) {
        if let Some(value) = result {
            self.define(value, expr, pure);
        }
    }

    fn modified(&mut self, op: RmwOp, width: u32, old: Expr, by: Expr) -> Expr {
        let op = match op {
            RmwOp::Swap => return by,
            RmwOp::Add => lambdac_mir::BinOp::Add,
            RmwOp::Sub => lambdac_mir::BinOp::Sub,
        };
        self.binary(op, width, width, old, by)
    }

    fn counter(
        &mut self,
        object: lambdac_mir::ObjectId,
        index: Option<Value>,
    ) -> Result<(Cell, Expr), Refusal> {
        let name = self.unit.counter(object)?;
        let index = match index {
            Some(index) => self.index(index),
            None => Expr::bits(32, 0),
        };
        let cell = Cell {
            width: 64,
            count: self.unit.size(&name),
            home: Home::Register(name),
        };
        Ok((cell, index))
    }

    /// A value as an index: 32 bits.
    pub(super) fn index(&mut self, value: Value) -> Expr {
        let (width, expr) = (self.width(value), self.get(value));
        let expr = match width {
            1 => bit_of(expr),
            _ => expr,
        };
        resized(expr, width, 32)
    }

    /// The cells that a place names.
    pub(super) fn spot(&mut self, place: &Place) -> Result<Spot, Refusal> {
        let mut spot = self.base(place)?;
        for step in &place.path {
            spot = match (&*spot.tree, step) {
                (Tree::Struct(fields), Step::Field(field)) => Spot {
                    tree: Rc::new(fields[*field as usize].clone()),
                    index: spot.index,
                },
                (Tree::Array(inner, len), Step::Index(value)) => {
                    let index = element(spot.index, (*len).into(), self.index(*value));
                    Spot {
                        tree: inner.clone(),
                        index: self.settled(index, 32),
                    }
                }
                (Tree::Bytes { data, capacity, .. }, Step::Index(value)) => {
                    let index = element(spot.index, (*capacity).into(), self.index(*value));
                    Spot {
                        tree: Rc::new(Tree::Scalar(data.clone())),
                        index: self.settled(index, 32),
                    }
                }
                _ => return Err(Refusal::new(CODE, format!("a place of another shape: {place:?}"))),
            };
        }
        Ok(spot)
    }

    /// The cell of a scalar.
    fn cell(&mut self, place: &Place) -> Result<(Cell, Expr), Refusal> {
        if let Some((bytes, index)) = self.byte_of_view(place)? {
            let cell = Cell {
                width: 8,
                count: u64::MAX,
                home: bytes.home,
            };
            return Ok((cell, sum(bytes.start, index)));
        }
        let spot = self.spot(place)?;
        match &*spot.tree {
            Tree::Scalar(cell) => Ok((cell.clone(), spot.index)),
            _ => Err(Refusal::new(
                CODE,
                format!("a place that is no scalar: {place:?}"),
            )),
        }
    }

    /// An index that can't be out of range: bmv2 may crash where one is.
    fn guarded(&mut self, index: &Expr, size: u64) -> Expr {
        let limit = 1_u64 << 32;
        match index.number() {
            Some(_) => index.clone(),
            None if size >= limit => index.clone(),
            None => {
                let index = self.settled(index.clone(), 32);
                let within = index.clone().binary(Binary::Lt, Expr::bits(32, size));
                within.select(index, Expr::bits(32, 0))
            }
        }
    }

    /// A scalar.
    pub(super) fn read(&mut self, cell: &Cell, index: &Expr) -> Expr {
        match &cell.home {
            Home::Var(place) => {
                let copy = self.local("t", cell.width);
                self.assign(copy.clone(), place.clone());
                copy
            }
            Home::Known(value) => value.clone(),
            Home::Register(name) => {
                let to = self.wide("t", cell.width);
                let index = self.guarded(index, self.unit.size(name));
                self.push(unit::read(name, to.clone(), index));
                match cell.width {
                    1 => bool_of(to),
                    _ => to,
                }
            }
            Home::Words(name) => self.byte_in_words(name, index),
        }
    }

    /// Sets a scalar.
    pub(super) fn write(&mut self, cell: &Cell, index: &Expr, value: Expr) {
        match &cell.home {
            Home::Var(place) => self.assign(place.clone(), value),
            Home::Register(name) => {
                let value = match cell.width {
                    1 => bit_of(value),
                    _ => value,
                };
                let index = self.guarded(index, self.unit.size(name));
                self.push(unit::write(name, index, value));
            }
            // Nothing writes constants, parameters or the request.
            Home::Known(_) | Home::Words(_) => {}
        }
    }

    /// Fills cells with zeros.
    fn zero(&mut self, spot: &Spot) {
        match &*spot.tree {
            Tree::Scalar(cell) => self.write(cell, &spot.index, zero(cell.width)),
            Tree::Bytes { len, .. } => self.write(len, &spot.index, Expr::bits(32, 0)),
            Tree::Struct(fields) => {
                for field in fields.iter() {
                    self.zero(&Spot {
                        tree: Rc::new(field.clone()),
                        index: spot.index.clone(),
                    });
                }
            }
            Tree::Array(inner, len) => {
                let (inner, at) = (inner.clone(), spot.index.clone());
                self.count(Expr::bits(32, (*len).into()), |code, index| {
                    let index = element(at, (*len).into(), index);
                    let index = code.settled(index, 32);
                    code.zero(&Spot { tree: inner, index });
                });
            }
        }
    }

    /// Copies cells of one shape, or bytes into bytes.
    pub(super) fn copy(&mut self, to: &Spot, from: &Spot) {
        match (&*to.tree, &*from.tree) {
            (Tree::Scalar(dst), Tree::Scalar(src)) => {
                let value = self.read(src, &from.index);
                self.write(dst, &to.index, value);
            }
            (Tree::Struct(dst), Tree::Struct(src)) => {
                for (dst, src) in dst.iter().zip(src.iter()) {
                    let spot = |tree: &Tree, spot: &Spot| Spot {
                        tree: Rc::new(tree.clone()),
                        index: spot.index.clone(),
                    };
                    self.copy(&spot(dst, to), &spot(src, from));
                }
            }
            (Tree::Array(dst, len), Tree::Array(src, _)) => {
                let (dst, src) = (dst.clone(), src.clone());
                let (at, start) = (to.index.clone(), from.index.clone());
                self.count(Expr::bits(32, (*len).into()), |code, index| {
                    let to = code.settled(element(at, (*len).into(), index.clone()), 32);
                    let from = code.settled(element(start, (*len).into(), index), 32);
                    code.copy(
                        &Spot { tree: dst, index: to },
                        &Spot {
                            tree: src,
                            index: from,
                        },
                    );
                });
            }
            (Tree::Bytes { .. }, Tree::Bytes { .. }) => {
                let bytes = self.bytes_of(from);
                self.set_bytes(to, &bytes);
            }
            _ => {}
        }
    }

    /// A loop over 0..count, unrolled where it is short.
    pub(super) fn count(&mut self, count: Expr, body: impl FnOnce(&mut Self, Expr)) {
        if count.number() == Some(0) {
            return;
        }
        if count.number() == Some(1) {
            return body(self, Expr::bits(32, 0));
        }
        let count = self.settled(count, 32);
        let index = self.wide("i", 32);
        let inner = self.apart(|code| {
            body(code, index.clone());
            Ok(())
        });
        let next = index.clone().binary(Binary::Add, Expr::bits(32, 1));
        self.push(Stmt::For(Box::new(For {
            first: Some(Stmt::Assign(index.clone(), Expr::bits(32, 0))),
            cond: index.clone().binary(Binary::Lt, count),
            step: Some(Stmt::Assign(index, next)),
            body: inner.unwrap_or_default(),
            trips: Trips::Any,
        })));
    }

    /// splitmix64 in tests, where each draw gives the high half; else what the switch has.
    fn random(&mut self) -> Expr {
        let dice = self.wide("dice", 32);
        let args = vec![dice.clone(), Expr::bits(32, 0), Expr::bits(32, u64::MAX)];
        if !self.unit.test {
            self.push(Stmt::Call(Expr::name("random").call(args)));
            return dice;
        }
        let state = self.wide("state", 64);
        let dice_register = super::program::DICE;
        let zero = Expr::bits(32, 0);
        let mut roll = vec![unit::read(dice_register, state.clone(), zero.clone())];
        let mut set = |value: Expr| roll.push(Stmt::Assign(state.clone(), value));
        let constant = |value: u64| Expr::bits(64, value);
        let mixed = |by: u64| {
            let high = state.clone().binary(Binary::Shr, Expr::Number(by));
            state.clone().binary(Binary::Xor, high)
        };
        set(state.clone().binary(Binary::Add, constant(0x9e37_79b9_7f4a_7c15)));
        set(mixed(30).binary(Binary::Mul, constant(0xbf58_476d_1ce4_e5b9)));
        set(mixed(27).binary(Binary::Mul, constant(0x94d0_49bb_1331_11eb)));
        set(mixed(31));
        roll.insert(2, unit::write(dice_register, zero, state.clone()));
        roll.push(Stmt::Assign(dice.clone(), state.slice(63, 32)));
        let fixed = vec![Stmt::Assign(dice.clone(), Expr::path("hdr.test.random"))];
        let is_fixed = Expr::path("hdr.test.fixed").binary(Binary::Ne, Expr::bits(8, 0));
        self.push(Stmt::If(is_fixed, fixed, roll));
        dice
    }

    /// A line in the switch's log. Byte strings are told by their length.
    /// A line of the log. p4c does not resolve an extern function with two signatures inside a loop, so there a line is
    /// kept, and the last one of each place is written at the action's end: logs are limited in rate anyway.
    fn log(&mut self, text: &[u8], args: &'m [LogArg]) {
        let mut format = String::from_utf8_lossy(text).replace(['{', '}'], "_");
        format.retain(|c| !c.is_control() && c.is_ascii());
        let mut values = Vec::new();
        for arg in args {
            format.push_str(" {}");
            values.push(match arg {
                LogArg::Unsigned(value) | LogArg::Signed(value) | LogArg::Bool(value) => {
                    let width = self.width(*value);
                    let value = self.get(*value);
                    match width {
                        1 => (bit_of(value), 1),
                        _ => (value, width),
                    }
                }
                LogArg::Bytes(view) => (self.get(view.len), 32),
            });
        }
        if self.open.is_empty() {
            return self.push(line(format, values.into_iter().map(|(value, _)| value).collect()));
        }
        let said = self.local("said", 1);
        self.assign(said.clone(), Expr::Bool(true));
        let mut kept = Vec::new();
        for (value, width) in values {
            let place = self.wide("said", width);
            self.assign(place.clone(), value);
            kept.push(place);
        }
        self.said
            .push(Stmt::If(said, vec![line(format, kept)], Vec::new()));
    }

    /// The length of a byte string.
    fn len(&mut self, place: &Place) -> Result<Expr, Refusal> {
        if let Some(bytes) = self.whole_view(place) {
            return Ok(bytes.len);
        }
        let spot = self.spot(place)?;
        match &*spot.tree {
            Tree::Bytes { len, .. } => Ok(self.read(len, &spot.index)),
            _ => Err(Refusal::new(
                CODE,
                format!("a length of no byte string: {place:?}"),
            )),
        }
    }
}

/// The index of an element: `outer * len + inner`.
pub(super) fn element(outer: Expr, len: u64, inner: Expr) -> Expr {
    match outer.number() {
        Some(outer) => sum(Expr::bits(32, outer.wrapping_mul(len)), inner),
        None => sum(outer.binary(Binary::Mul, Expr::bits(32, len)), inner),
    }
}

/// A sum of two numbers of 32 bits.
pub(super) fn sum(a: Expr, b: Expr) -> Expr {
    match (a.number(), b.number()) {
        (Some(a), Some(b)) => Expr::bits(32, a.wrapping_add(b)),
        (Some(0), None) => b,
        (None, Some(0)) => a,
        _ => a.binary(Binary::Add, b),
    }
}

/// `log_msg(format, { values });`
fn line(format: String, values: Vec<Expr>) -> Stmt {
    let mut call = vec![Expr::Text(format)];
    if !values.is_empty() {
        call.push(Expr::List(values));
    }
    Stmt::Call(Expr::name("log_msg").call(call))
}
