//! State: cells, counters, and which operation on an object goes where.

use lambdac_mir::{ObjectId, Op, Place, RmwOp, Stmt, Value};

use super::{Emitter, Mem, Ref, Val};
use crate::insn::{Bits, Cond, Size};
use crate::layout;
use crate::vcode::{Inst, V};

impl<'m> Emitter<'m> {
    pub(super) fn state_op(&mut self, stmt: &'m Stmt) {
        match &stmt.op {
            Op::AtomicRmw(op, place, value) => {
                let old = self.rmw(*op, place, *value);
                self.define(stmt, &[old]);
            }
            Op::AtomicCas { place, old, new } => {
                let done = self.cas(place, *old, *new);
                self.define(stmt, &[done]);
            }
            Op::CounterAdd(object, index, value) => {
                let value = self.get(*value);
                let src = self.copy_of(&value);
                let (base, off) = self.counter(*object, *index);
                self.push(Inst::AtomicAdd {
                    bits: Bits::B64,
                    base,
                    off,
                    src,
                });
            }
            Op::CounterRead(object, index) => {
                let (base, off) = self.counter(*object, *index);
                let reg = self.load(Size::D, base, off);
                let val = self.val(reg);
                self.define(stmt, &[val]);
            }
            Op::MapGet { object, key, dst } => {
                let results = self.map_get(*object, key, dst.as_ref());
                self.define(stmt, &results);
            }
            Op::MapPut { object, key, value } => {
                let stored = self.map_put(*object, key, value);
                self.define(stmt, &[stored]);
            }
            Op::MapRemove { object, key } => {
                let there = self.map_remove(*object, key);
                self.define(stmt, &[there]);
            }
            Op::MapFetchAdd { object, key, value } => {
                let results = self.map_fetch_add(*object, key, *value);
                self.define(stmt, &results);
            }
            Op::TableGet { object, key, dst } => {
                let key = self.key_operands(*object, key);
                let results = self.table_get(*object, &key, dst.as_ref(), true);
                self.define(stmt, &results);
            }
            Op::TableHas { object, key } => {
                let key = self.key_operands(*object, key);
                let results = self.table_get(*object, &key, None, false);
                self.define(stmt, &results);
            }
            _ => self.invalid("an operation that was to be expanded"),
        }
    }

    fn define(&mut self, stmt: &Stmt, vals: &[Val]) {
        for (result, val) in stmt.results.iter().zip(vals) {
            self.set(*result, val.clone());
        }
    }

    fn counter(&mut self, object: ObjectId, index: Option<Value>) -> (V, i16) {
        let mut at = Ref::new(Mem::Object(object.0), 0);
        if let Some(index) = index {
            let index = self.get(index);
            let by = self.binary(crate::insn::AluOp::Mul, &index, &Val::Imm(8));
            at = self.moved(at, &by);
        }
        self.pointer(&at, 8)
    }

    /// The cell of a place, its width and the bits of its cell.
    fn cell(&mut self, place: &Place) -> (V, i16, u8, u32) {
        let spot = self.spot(place);
        let width = spot.shape.scalar().unwrap_or(64);
        let bits = layout::cell_bits(width);
        let (base, off) = self.pointer(&spot.at, bits / 8);
        (base, off, width, bits)
    }

    fn rmw(&mut self, op: RmwOp, place: &Place, value: Value) -> Val {
        let val = self.get(value);
        let val = self.settled(&val);
        let (base, off, width, bits) = self.cell(place);
        let src = self.justified(&val, width, bits);
        let src = self.copy_of(&src);
        let cell = if bits == 32 { Bits::B32 } else { Bits::B64 };
        match op {
            RmwOp::Swap => self.push(Inst::Exchange {
                bits: cell,
                base,
                off,
                src,
            }),
            RmwOp::Add | RmwOp::Sub => {
                if op == RmwOp::Sub {
                    self.push(Inst::Neg { bits: cell, dst: src });
                }
                self.push(Inst::FetchAdd {
                    bits: cell,
                    base,
                    off,
                    src,
                });
            }
        }
        self.unjustify(src, width, bits);
        self.val(src)
    }

    fn cas(&mut self, place: &Place, old: Value, new: Value) -> Val {
        let (old, new) = (self.get(old), self.get(new));
        let (old, new) = (self.settled(&old), self.settled(&new));
        let (base, off, width, bits) = self.cell(place);
        let expected = self.justified(&old, width, bits);
        let expected = self.reg(&expected);
        let new = self.justified(&new, width, bits);
        let new = self.reg(&new);
        let found = self.new_reg();
        self.push(Inst::CompareExchange {
            bits: if bits == 32 { Bits::B32 } else { Bits::B64 },
            base,
            off,
            expected,
            new,
            dst: found,
        });
        let (result, done) = (self.copy_of(&Val::Imm(1)), self.mark());
        self.branch(Cond::Eq, found, expected, done);
        self.constant(result, 0);
        self.bind(done);
        self.val(result)
    }
}
