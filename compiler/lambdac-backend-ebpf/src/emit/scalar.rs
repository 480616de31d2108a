//! Scalar operations, at every width.
//!
//! A value is held zero-extended. Up to 32 bits operations use the 32-bit forms, which clear the upper half; what could
//! set bits above the width is masked. eBPF's division by zero is the language's (RFC 9669); signed division is made of
//! the unsigned one, since the signed instruction is of cpu v4.

use std::rc::Rc;

use lambdac_mir::{BinOp, CastOp, CmpOp, Value, mask, sign_extend};

use super::value::Compare;
use super::{Emitter, Val};
use crate::insn::{AluOp, Bits, Cond};
use crate::vcode::{Inst, Operand, V};

impl Emitter<'_> {
    /// Clears the bits above a width.
    pub(super) fn mask(&mut self, reg: V, width: u8) {
        match width {
            64 => {}
            32 => self.push(Inst::Mov {
                bits: Bits::B32,
                dst: reg,
                src: Operand::Reg(reg),
            }),
            0..=31 => self.alu(AluOp::And, reg, mask(width) as i32),
            _ => {
                let unused = 64 - i32::from(width);
                self.alu(AluOp::Lsh, reg, unused);
                self.alu(AluOp::Rsh, reg, unused);
            }
        }
    }

    /// An operation in the form that fits the width: 32-bit forms clear the upper half themselves.
    fn sized(&mut self, op: AluOp, width: u8, dst: V, src: &Val) {
        if width <= 32 {
            let src = self.operand32(src);
            self.alu32(op, dst, src);
        } else {
            let src = self.operand(src);
            self.alu(op, dst, src);
        }
    }

    pub(super) fn bin(&mut self, op: BinOp, width: u8, a: &Val, b: &Val) -> Val {
        let result = match op {
            BinOp::Add | BinOp::Sub | BinOp::Mul => {
                let alu = match op {
                    BinOp::Add => AluOp::Add,
                    BinOp::Sub => AluOp::Sub,
                    _ => AluOp::Mul,
                };
                let (a, b) = match (a, op) {
                    (Val::Imm(_), BinOp::Add | BinOp::Mul) => (b, a),
                    _ => (a, b),
                };
                let result = self.copy_of(a);
                self.sized(alu, width, result, b);
                if width != 32 {
                    self.mask(result, width);
                }
                result
            }
            BinOp::And | BinOp::Or | BinOp::Xor | BinOp::UDiv | BinOp::URem => {
                let alu = match op {
                    BinOp::And => AluOp::And,
                    BinOp::Or => AluOp::Or,
                    BinOp::Xor => AluOp::Xor,
                    BinOp::UDiv => AluOp::Div,
                    _ => AluOp::Mod,
                };
                if let (BinOp::UDiv | BinOp::URem, Some(0)) = (op, b.imm()) {
                    // The verifier refuses a constant divisor of 0.
                    return if op == BinOp::UDiv { Val::Imm(0) } else { a.clone() };
                }
                let result = self.copy_of(a);
                self.sized(alu, width, result, b);
                result
            }
            BinOp::SDiv | BinOp::SRem => self.signed_division(op, width, a, b),
            BinOp::Shl | BinOp::LShr | BinOp::AShr => self.shift(op, width, a, b),
            BinOp::UMin | BinOp::UMax | BinOp::SMin | BinOp::SMax => {
                let (a, b) = (self.settled(a), self.settled(b));
                let result = self.copy_of(&a);
                let done = self.mark();
                let compare = match op {
                    BinOp::UMin | BinOp::UMax => CmpOp::Ule,
                    _ => CmpOp::Sle,
                };
                let least = matches!(op, BinOp::UMin | BinOp::SMin);
                let (left, right) = if least { (&a, &b) } else { (&b, &a) };
                self.branch_compare(compare, width, (left, right), true, done);
                self.load_into(result, &b);
                self.bind(done);
                result
            }
        };
        self.val(result)
    }

    fn shift(&mut self, op: BinOp, width: u8, a: &Val, b: &Val) -> V {
        let signed = op == BinOp::AShr;
        let alu = match op {
            BinOp::Shl => AluOp::Lsh,
            BinOp::LShr => AluOp::Rsh,
            _ => AluOp::Arsh,
        };
        if let Some(count) = b.imm() {
            if count >= width.into() && !signed {
                let zero = self.new_reg();
                self.constant(zero, 0);
                return zero;
            }
            let count = count.min(u64::from(width) - u64::from(signed)) as i32;
            let result = self.shifted(signed, width, a);
            if count > 0 {
                self.alu(alu, result, count);
            }
            if op != BinOp::LShr {
                self.mask(result, width);
            }
            return result;
        }
        let count = self.settled(b);
        let count = self.reg(&count);
        let result = self.shifted(signed, width, a);
        let (near, done) = (self.mark(), self.mark());
        self.branch(Cond::Lt, count, i32::from(width), near);
        if signed {
            self.alu(AluOp::Arsh, result, 63);
        } else {
            self.constant(result, 0);
        }
        self.jump(done);
        self.bind(near);
        self.alu(alu, result, count);
        self.bind(done);
        if op != BinOp::LShr {
            self.mask(result, width);
        }
        result
    }

    /// A new register with what is shifted.
    fn shifted(&mut self, signed: bool, width: u8, val: &Val) -> V {
        if signed {
            self.sign_extended(val, width)
        } else {
            self.copy_of(val)
        }
    }

    fn signed_division(&mut self, op: BinOp, width: u8, a: &Val, b: &Val) -> V {
        let dividend = self.sign_extended(a, width);
        let divisor = self.sign_extended(b, width);
        let sign = self.new_reg();
        self.mov(sign, dividend);
        if op == BinOp::SDiv {
            self.alu(AluOp::Xor, sign, divisor);
        }
        for reg in [dividend, divisor] {
            self.negate_unless(Cond::SGe, reg, reg);
        }
        let alu = if op == BinOp::SDiv { AluOp::Div } else { AluOp::Mod };
        self.alu(alu, dividend, divisor);
        self.negate_unless(Cond::SGe, sign, dividend);
        self.mask(dividend, width);
        dividend
    }

    /// Negates `reg` unless `test cond 0`.
    fn negate_unless(&mut self, cond: Cond, test: V, reg: V) {
        let done = self.mark();
        self.branch(cond, test, 0, done);
        self.push(Inst::Neg {
            bits: Bits::B64,
            dst: reg,
        });
        self.bind(done);
    }

    /// A comparison: as it is where it will be branched on, else 0 or 1.
    pub(super) fn compare(&mut self, result: Value, op: CmpOp, width: u8, a: Val, b: Val) -> Val {
        if let (Some(a), Some(b)) = (a.imm(), b.imm()) {
            let (sa, sb) = (sign_extend(a, width), sign_extend(b, width));
            return Val::Imm(u64::from(match op {
                CmpOp::Eq => a == b,
                CmpOp::Ne => a != b,
                CmpOp::Ult => a < b,
                CmpOp::Ule => a <= b,
                CmpOp::Slt => sa < sb,
                CmpOp::Sle => sa <= sb,
            }));
        }
        let compare = Val::Cmp(Rc::new(Compare { op, width, a, b }));
        if self.instance().branched[result.index()] {
            return compare;
        }
        self.settled(&compare)
    }

    pub(super) fn cast(&mut self, op: CastOp, from: u8, to: u8, val: &Val) -> Val {
        if let Some(value) = val.imm() {
            return Val::Imm(match op {
                CastOp::ZExt => value,
                CastOp::SExt => sign_extend(value, from).cast_unsigned() & mask(to),
                CastOp::Trunc => value & mask(to),
            });
        }
        match op {
            CastOp::ZExt => val.clone(),
            CastOp::SExt => {
                let reg = self.sign_extended(val, from);
                self.mask(reg, to);
                self.val(reg)
            }
            CastOp::Trunc => {
                let reg = self.copy_of(val);
                self.mask(reg, to);
                self.val(reg)
            }
        }
    }

    pub(super) fn select(&mut self, cond: &Val, a: &Val, b: &Val) -> Val {
        match cond.imm() {
            Some(0) => return b.clone(),
            Some(_) => return a.clone(),
            None => {}
        }
        let cond = match cond {
            Val::Cmp(_) => cond.clone(),
            _ => self.settled(cond),
        };
        let b = self.settled(b);
        let result = self.copy_of(a);
        let done = self.mark();
        self.branch_if(&cond, true, done);
        self.load_into(result, &b);
        self.bind(done);
        self.val(result)
    }
}
