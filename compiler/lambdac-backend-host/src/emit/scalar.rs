//! Operations on scalars.
//!
//! Every value is zero-extended. Besides the code, an upper bound and constants are tracked per value, so that shift
//! and division guards that cannot matter are left out.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{BinOp, CastOp, CmpOp, Value};

use super::branch::Bool;
use super::func::FnEmitter;
use super::walk::condition;
use crate::Result;
use crate::layout::mask;

/// A value as `scale * root + offset`, as whole numbers: nothing wrapped on the way. Addresses are made from the root, so
/// that those of neighbours differ in a constant only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) root: Value,
    pub(crate) scale: u64,
    pub(crate) offset: u64,
}

impl Linear {
    /// The value itself.
    pub(crate) fn of(root: Value) -> Self {
        Self {
            root,
            scale: 1,
            offset: 0,
        }
    }
}

/// One end of a range of a number, included.
enum RangeEnd {
    Most(Value, u64),
    Least(Value, u64),
}

/// The Cranelift type that holds a width.
pub(crate) fn ty(width: u8) -> ir::Type {
    match width {
        0..=8 => types::I8,
        9..=16 => types::I16,
        17..=32 => types::I32,
        _ => types::I64,
    }
}

/// An `iconst` immediate of a type: sign-extended, as Cranelift's verifier wants it canonical.
fn immediate(ty: ir::Type, value: u64) -> i64 {
    let unused = 64 - ty.bits();
    ((value << unused) >> unused) as i64
}

impl FnEmitter<'_, '_, '_> {
    pub(crate) fn constant(&mut self, ty: ir::Type, value: u64) -> ir::Value {
        self.b.ins().iconst(ty, immediate(ty, value))
    }

    /// Clears the bits above a width.
    pub(crate) fn mask_to(&mut self, value: ir::Value, width: u8) -> ir::Value {
        let ty = ty(width);
        if u32::from(width) == ty.bits() {
            return value;
        }
        let mask = self.constant(ty, mask(width));
        self.b.ins().band(value, mask)
    }

    /// Fills the bits above a width with its sign.
    pub(crate) fn signed(&mut self, value: ir::Value, width: u8) -> ir::Value {
        let unused = ty(width).bits() - u32::from(width);
        if unused == 0 {
            return value;
        }
        let up = self.b.ins().ishl_imm_u(value, i64::from(unused));
        self.b.ins().sshr_imm_u(up, i64::from(unused))
    }

    /// A value of any width at 64 bits.
    pub(crate) fn extend(&mut self, value: ir::Value) -> ir::Value {
        if self.b.func.dfg.value_type(value) == types::I64 {
            return value;
        }
        self.b.ins().uextend(types::I64, value)
    }

    /// A zero-extended value at another type; higher bits are cut off.
    pub(crate) fn resize(&mut self, value: ir::Value, to: ir::Type) -> ir::Value {
        let from = self.b.func.dfg.value_type(value);
        match from.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Less => self.b.ins().uextend(to, value),
            std::cmp::Ordering::Equal => value,
            std::cmp::Ordering::Greater => self.b.ins().ireduce(to, value),
        }
    }

    pub(super) fn constant_op(&mut self, result: Value, value: u64) {
        let width = self.width(result);
        let value = value & mask(width);
        self.known[result.index()] = Some(value);
        self.upper[result.index()] = value;
        let constant = self.constant(ty(width), value);
        self.define(result, constant);
    }

    pub(super) fn bin(&mut self, result: Value, op: BinOp, a: Value, b: Value) -> Result<()> {
        let width = self.width(a);
        let (x, y) = (self.value(a)?, self.value(b)?);
        let (bound_a, bound_b) = (self.upper[a.index()], self.upper[b.index()]);
        let value = match op {
            BinOp::Add => {
                let sum = self.b.ins().iadd(x, y);
                self.masked_unless(sum, width, bound_a.checked_add(bound_b))
            }
            BinOp::Sub => {
                let difference = self.b.ins().isub(x, y);
                self.mask_to(difference, width)
            }
            BinOp::Mul => {
                let product = self.product(x, y, self.known[b.index()]);
                self.masked_unless(product, width, bound_a.checked_mul(bound_b))
            }
            BinOp::UDiv => self.unsigned_division((x, bound_a), y, self.known[b.index()], true),
            BinOp::URem => self.unsigned_division((x, bound_a), y, self.known[b.index()], false),
            BinOp::SDiv => self.signed_division(x, y, width, true),
            BinOp::SRem => self.signed_division(x, y, width, false),
            BinOp::And | BinOp::Or if width == 1 => self.both_or_either(op, a, b)?,
            BinOp::And => self.b.ins().band(x, y),
            BinOp::Or => self.b.ins().bor(x, y),
            BinOp::Xor => self.b.ins().bxor(x, y),
            BinOp::Shl | BinOp::LShr => self.shift(op, x, y, width, bound_b),
            BinOp::AShr => self.arithmetic_shift(x, y, width, bound_b),
            BinOp::UMin => self.b.ins().umin(x, y),
            BinOp::UMax => self.b.ins().umax(x, y),
            BinOp::SMin | BinOp::SMax => self.signed_extreme(op, x, y, width),
        };
        self.upper[result.index()] = self.bound(op, width, (a, b));
        self.note_linear(result, op, (a, b), width);
        self.note_bool(result, op, (a, b), width);
        self.define(result, value);
        Ok(())
    }

    /// `x * y`; by a constant of the form `(2^a + 1) * 2^b` with shifts and a sum, which take less time than a product.
    fn product(&mut self, x: ir::Value, y: ir::Value, known: Option<u64>) -> ir::Value {
        let wide = self.b.func.dfg.value_type(x).bits() >= 32;
        let Some(factor) = known.filter(|factor| wide && *factor > 0) else {
            return self.b.ins().imul(x, y);
        };
        let twos = i64::from(factor.trailing_zeros());
        let shift = match factor >> twos {
            3 => 1,
            5 => 2,
            9 => 3,
            _ => return self.b.ins().imul(x, y),
        };
        let more = self.b.ins().ishl_imm_u(x, shift);
        let sum = self.b.ins().iadd(x, more);
        if twos == 0 {
            return sum;
        }
        self.b.ins().ishl_imm_u(sum, twos)
    }

    fn masked_unless(&mut self, value: ir::Value, width: u8, bound: Option<u64>) -> ir::Value {
        match bound {
            Some(bound) if bound <= mask(width) => value,
            _ => self.mask_to(value, width),
        }
    }

    /// An upper bound of a result.
    fn bound(&self, op: BinOp, width: u8, (a, b): (Value, Value)) -> u64 {
        let (x, y) = (self.upper[a.index()], self.upper[b.index()]);
        let known = self.known[b.index()];
        let bound = match op {
            BinOp::Add => x.checked_add(y),
            BinOp::Mul => x.checked_mul(y),
            BinOp::And | BinOp::UMin => Some(x.min(y)),
            BinOp::Or | BinOp::Xor => Some(mask(64 - (x | y).leading_zeros() as u8)),
            BinOp::UMax => Some(x.max(y)),
            BinOp::UDiv => Some(x / known.unwrap_or(1).max(1)),
            BinOp::URem => Some(known.filter(|n| *n > 0).map_or(x, |n| x.min(n - 1))),
            BinOp::Shl => known.and_then(|n| x.checked_mul(1u64.checked_shl(n.min(64) as u32)?)),
            BinOp::LShr => Some(known.map_or(x, |n| x.checked_shr(n.min(64) as u32).unwrap_or(0))),
            BinOp::Sub | BinOp::SDiv | BinOp::SRem | BinOp::AShr => None,
            BinOp::SMin | BinOp::SMax => None,
        };
        bound.unwrap_or(u64::MAX).min(mask(width))
    }

    /// Whether a shift amount of at most `bound` can reach `width`, as an `i1` value; none where it cannot.
    fn reaches(&mut self, amount: ir::Value, width: u8, bound: u64) -> Option<ir::Value> {
        if bound < u64::from(width) {
            return None;
        }
        let ty = self.b.func.dfg.value_type(amount);
        let limit = self.constant(ty, width.into());
        Some(
            self.b
                .ins()
                .icmp(IntCC::UnsignedGreaterThanOrEqual, amount, limit),
        )
    }

    fn shift(&mut self, op: BinOp, x: ir::Value, amount: ir::Value, width: u8, bound: u64) -> ir::Value {
        let result = match op {
            BinOp::Shl => {
                let shifted = self.b.ins().ishl(x, amount);
                self.mask_to(shifted, width)
            }
            _ => self.b.ins().ushr(x, amount),
        };
        match self.reaches(amount, width, bound) {
            None => result,
            Some(reaches) => {
                let zero = self.constant(ty(width), 0);
                self.b.ins().select(reaches, zero, result)
            }
        }
    }

    fn arithmetic_shift(&mut self, x: ir::Value, amount: ir::Value, width: u8, bound: u64) -> ir::Value {
        let x = self.signed(x, width);
        let amount = match self.reaches(amount, width, bound) {
            None => amount,
            Some(reaches) => {
                let ty = self.b.func.dfg.value_type(amount);
                let most = self.constant(ty, u64::from(width) - 1);
                self.b.ins().select(reaches, most, amount)
            }
        };
        let result = self.b.ins().sshr(x, amount);
        self.mask_to(result, width)
    }

    fn signed_extreme(&mut self, op: BinOp, x: ir::Value, y: ir::Value, width: u8) -> ir::Value {
        let (x, y) = (self.signed(x, width), self.signed(y, width));
        let result = match op {
            BinOp::SMin => self.b.ins().smin(x, y),
            _ => self.b.ins().smax(x, y),
        };
        self.mask_to(result, width)
    }

    /// A comparison as an `i8` of 0 or 1.
    pub(crate) fn compare(&mut self, op: CmpOp, x: ir::Value, y: ir::Value, width: u8) -> ir::Value {
        let (x, y) = match op {
            CmpOp::Slt | CmpOp::Sle => (self.signed(x, width), self.signed(y, width)),
            CmpOp::Eq | CmpOp::Ne | CmpOp::Ult | CmpOp::Ule => (x, y),
        };
        self.b.ins().icmp(condition(op), x, y)
    }

    pub(super) fn cmp(&mut self, result: Value, op: CmpOp, a: Value, b: Value) -> Result<()> {
        self.bools[result.index()] = Bool::Cmp(op, a, b);
        let (x, y) = (self.value(a)?, self.value(b)?);
        let value = match self.compare_raw(op, a, b) {
            Some(value) => value,
            None => self.compare(op, x, y, self.width(a)),
        };
        self.define(result, value);
        Ok(())
    }

    /// A bit field of whole bytes against a constant: the constant is turned around, not the bytes.
    fn compare_raw(&mut self, op: CmpOp, a: Value, b: Value) -> Option<ir::Value> {
        let (field, constant) = match (self.known[a.index()], self.known[b.index()]) {
            (None, Some(constant)) => (a, constant),
            (Some(constant), None) => (b, constant),
            _ => return None,
        };
        let code = match op {
            CmpOp::Eq => IntCC::Equal,
            CmpOp::Ne => IntCC::NotEqual,
            CmpOp::Ult | CmpOp::Ule | CmpOp::Slt | CmpOp::Sle => return None,
        };
        let raws = self.raws.get(&field)?.clone();
        let count = usize::from(self.width(field) / 8);
        let bytes = constant.to_be_bytes();
        Some(self.compare_pieces(code, &raws, &bytes[bytes.len() - count..]))
    }

    /// `a & b` or `a | b` of `i1`s; two comparisons of a number with constants become one where they are its ends.
    fn both_or_either(&mut self, op: BinOp, a: Value, b: Value) -> Result<ir::Value> {
        if let Some((number, lo, hi)) = self.range_of(op, a, b) {
            let width = self.width(number);
            let x = self.value(number)?;
            let first = self.constant(ty(width), lo);
            let above = self.b.ins().isub(x, first);
            let last = self.constant(ty(width), hi - lo);
            // Below `lo` the difference wraps, at an odd width to a number that is out of range as well.
            let code = match op {
                BinOp::And => IntCC::UnsignedLessThanOrEqual,
                _ => IntCC::UnsignedGreaterThan,
            };
            return Ok(self.b.ins().icmp(code, above, last));
        }
        let (x, y) = (self.value(a)?, self.value(b)?);
        Ok(match op {
            BinOp::And => self.b.ins().band(x, y),
            _ => self.b.ins().bor(x, y),
        })
    }

    /// The number and the range that `a & b` says it is in, or `a | b` that it is not in.
    fn range_of(&self, op: BinOp, a: Value, b: Value) -> Option<(Value, u64, u64)> {
        let (a, b) = (self.end_of(a)?, self.end_of(b)?);
        let ((number, most), (other, least)) = match (a, b) {
            (RangeEnd::Most(x, most), RangeEnd::Least(y, least))
            | (RangeEnd::Least(y, least), RangeEnd::Most(x, most)) => ((x, most), (y, least)),
            _ => return None,
        };
        let (lo, hi) = match op {
            BinOp::And => (least, most),
            _ => (most.checked_add(1)?, least.checked_sub(1)?),
        };
        (number == other && lo <= hi && hi <= mask(self.width(number))).then_some((number, lo, hi))
    }

    /// The end of a range that a comparison with a constant is.
    fn end_of(&self, cond: Value) -> Option<RangeEnd> {
        let Bool::Cmp(op, a, b) = self.bools[cond.index()] else {
            return None;
        };
        match (op, self.known[a.index()], self.known[b.index()]) {
            (CmpOp::Ult, None, Some(end)) => Some(RangeEnd::Most(a, end.checked_sub(1)?)),
            (CmpOp::Ule, None, Some(most)) => Some(RangeEnd::Most(a, most)),
            (CmpOp::Ult, Some(below), None) => Some(RangeEnd::Least(b, below.checked_add(1)?)),
            (CmpOp::Ule, Some(least), None) => Some(RangeEnd::Least(b, least)),
            _ => None,
        }
    }

    fn note_bool(&mut self, result: Value, op: BinOp, (a, b): (Value, Value), width: u8) {
        self.bools[result.index()] = match op {
            BinOp::Xor if width == 1 && self.known[b.index()] == Some(1) => Bool::Not(a),
            BinOp::And | BinOp::Or if width == 1 && self.range_of(op, a, b).is_some() => Bool::Opaque,
            BinOp::And if width == 1 => Bool::And(a, b),
            BinOp::Or if width == 1 => Bool::Or(a, b),
            _ => Bool::Opaque,
        };
    }

    /// Notes that a result is a multiple of another value and more, where that cannot wrap.
    fn note_linear(&mut self, result: Value, op: BinOp, (a, b): (Value, Value), width: u8) {
        let Some(by) = self.known[b.index()] else { return };
        let from = self.linear[a.index()];
        let bound = self.upper[a.index()];
        let fits = |bound: Option<u64>| bound.is_some_and(|bound| bound <= mask(width));
        let scaled = |factor: u64| {
            fits(bound.checked_mul(factor)).then_some(())?;
            Some(Linear {
                scale: from.scale.checked_mul(factor)?,
                offset: from.offset.checked_mul(factor)?,
                ..from
            })
        };
        let linear = match op {
            BinOp::Add if fits(bound.checked_add(by)) => from
                .offset
                .checked_add(by)
                .map(|offset| Linear { offset, ..from }),
            BinOp::Mul => scaled(by),
            BinOp::Shl => 1u64.checked_shl(by.min(64) as u32).and_then(scaled),
            _ => None,
        };
        if let Some(linear) = linear {
            self.linear[result.index()] = linear;
        }
    }

    pub(super) fn cast(&mut self, result: Value, op: CastOp, source: Value) -> Result<()> {
        let (from, to) = (self.width(source), self.width(result));
        let x = self.value(source)?;
        let bound = self.upper[source.index()];
        let value = match op {
            CastOp::ZExt => self.resize(x, ty(to)),
            CastOp::Trunc => {
                let cut = self.resize(x, ty(to));
                self.masked_unless(cut, to, Some(bound))
            }
            CastOp::SExt => {
                let x = self.signed(x, from);
                let wide = if ty(from) == ty(to) {
                    x
                } else {
                    self.b.ins().sextend(ty(to), x)
                };
                self.mask_to(wide, to)
            }
        };
        if op != CastOp::SExt {
            self.upper[result.index()] = bound.min(mask(to));
            self.known[result.index()] = self.known[source.index()].map(|n| n & mask(to));
            if op == CastOp::ZExt || bound <= mask(to) {
                self.linear[result.index()] = self.linear[source.index()];
            }
        }
        self.define(result, value);
        Ok(())
    }

    pub(super) fn select(&mut self, result: Value, cond: Value, yes: Value, no: Value) -> Result<()> {
        let (cond, a, b) = (self.value(cond)?, self.value(yes)?, self.value(no)?);
        let value = self.b.ins().select(cond, a, b);
        self.upper[result.index()] = self.upper[yes.index()].max(self.upper[no.index()]);
        self.define(result, value);
        Ok(())
    }
}
