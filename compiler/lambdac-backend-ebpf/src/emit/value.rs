//! Values: constants, registers, homes, and comparisons that wait for a branch.

use std::rc::Rc;

use lambdac_mir::{CmpOp, Value, sign_extend};

use super::{Emitter, Error, HOME};
use crate::insn::{AluOp, Bits, Cond, Imm64, Size};
use crate::vcode::{Arg, Base, Callee, Inst, Mark, Operand, V};

/// A scalar, zero-extended.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    Imm(u64),
    /// A register of the unit at this level.
    Reg {
        level: usize,
        reg: V,
    },
    /// A word of the invocation's memory.
    Home(u32),
    /// A comparison at a width.
    Cmp(Rc<Compare>),
}

#[derive(Debug)]
pub(crate) struct Compare {
    pub(crate) op: CmpOp,
    pub(crate) width: u8,
    pub(crate) a: Val,
    pub(crate) b: Val,
}

impl Val {
    pub(super) fn imm(&self) -> Option<u64> {
        match self {
            Self::Imm(value) => Some(*value),
            _ => None,
        }
    }
}

/// A constant that an instruction can hold and that sign-extends to the value.
fn small(value: u64) -> Option<i32> {
    i32::try_from(value.cast_signed()).ok()
}

impl Emitter<'_> {
    pub(super) fn push(&mut self, inst: Inst) {
        self.unit.code.push(inst);
    }

    pub(super) fn new_reg(&mut self) -> V {
        self.unit.code.reg()
    }

    pub(super) fn mark(&mut self) -> Mark {
        self.unit.code.mark()
    }

    pub(super) fn bind(&mut self, mark: Mark) {
        self.push(Inst::Bind(mark));
    }

    pub(super) fn jump(&mut self, mark: Mark) {
        self.push(Inst::Jump(mark));
    }

    pub(super) fn val(&self, reg: V) -> Val {
        Val::Reg {
            level: self.level(),
            reg,
        }
    }

    /// What a value of the instance is.
    pub(super) fn get(&mut self, value: Value) -> Val {
        match self.instance().values.get(value.index()) {
            Some(Some(val)) => val.clone(),
            // Code that is never reached may use what was never emitted.
            _ => Val::Imm(0),
        }
    }

    pub(super) fn set(&mut self, value: Value, val: Val) {
        // The message's length is checked once and for all.
        if let Val::Reg { level, reg } = val
            && level == self.level()
            && !matches!(self.len, Val::Reg { reg: len, level: at } if len == reg && at == level)
        {
            self.unit.code.loosen(reg);
        }
        if let Some(slot) = self.instance_mut().values.get_mut(value.index()) {
            *slot = Some(val);
        }
    }

    pub(super) fn width(&self, value: Value) -> u8 {
        self.instance().body.width(value)
    }

    /// A register of this unit that holds the value; not to be written.
    pub(super) fn reg(&mut self, val: &Val) -> V {
        match val {
            Val::Reg { level, reg } if *level == self.level() => *reg,
            _ => {
                let reg = self.new_reg();
                self.load_into(reg, val);
                reg
            }
        }
    }

    /// A new register with the value, to be written.
    pub(super) fn copy_of(&mut self, val: &Val) -> V {
        let reg = self.new_reg();
        self.load_into(reg, val);
        reg
    }

    pub(super) fn load_into(&mut self, dst: V, val: &Val) {
        match val {
            Val::Imm(value) => self.constant(dst, *value),
            Val::Reg { level, reg } if *level == self.level() => self.mov(dst, *reg),
            Val::Reg { level, reg } => {
                let home = self.capture(*level, *reg);
                self.load_home(dst, home);
            }
            Val::Home(home) => self.load_home(dst, *home),
            Val::Cmp(compare) => {
                let (one, done) = (compare.clone(), self.mark());
                // The operands may lie in `dst`.
                let (a, b) = (self.settled(&one.a), self.settled(&one.b));
                let result = self.new_reg();
                self.push(Inst::Mov {
                    bits: Bits::B64,
                    dst: result,
                    src: Operand::Imm(1),
                });
                self.branch_compare(one.op, one.width, (&a, &b), true, done);
                self.push(Inst::Mov {
                    bits: Bits::B64,
                    dst: result,
                    src: Operand::Imm(0),
                });
                self.bind(done);
                self.mov(dst, result);
            }
        }
    }

    /// The value in a register of this unit, or a constant.
    pub(super) fn settled(&mut self, val: &Val) -> Val {
        match val {
            Val::Imm(_) => val.clone(),
            _ => {
                let reg = self.reg(val);
                self.val(reg)
            }
        }
    }

    pub(super) fn constant(&mut self, dst: V, value: u64) {
        let (bits, imm) = match (small(value), u32::try_from(value)) {
            (Some(imm), _) => (Bits::B64, imm),
            (None, Ok(low)) => (Bits::B32, low.cast_signed()),
            (None, Err(_)) => {
                let value = Imm64::Const(value);
                return self.push(Inst::LdImm64 { dst, value });
            }
        };
        self.push(Inst::Mov {
            bits,
            dst,
            src: Operand::Imm(imm),
        });
    }

    pub(super) fn mov(&mut self, dst: V, src: V) {
        if dst != src {
            self.push(Inst::Mov {
                bits: Bits::B64,
                dst,
                src: Operand::Reg(src),
            });
        }
    }

    /// An operand of a 64-bit operation.
    pub(super) fn operand(&mut self, val: &Val) -> Operand {
        match val.imm().and_then(small) {
            Some(imm) => Operand::Imm(imm),
            None => Operand::Reg(self.reg(val)),
        }
    }

    /// An operand of a 32-bit operation.
    pub(super) fn operand32(&mut self, val: &Val) -> Operand {
        match val.imm().and_then(|value| u32::try_from(value).ok()) {
            Some(low) => Operand::Imm(low.cast_signed()),
            None => Operand::Reg(self.reg(val)),
        }
    }

    pub(super) fn alu(&mut self, op: AluOp, dst: V, src: impl Into<Operand>) {
        self.push(Inst::Alu {
            op,
            bits: Bits::B64,
            dst,
            src: src.into(),
        });
    }

    pub(super) fn alu32(&mut self, op: AluOp, dst: V, src: impl Into<Operand>) {
        self.push(Inst::Alu {
            op,
            bits: Bits::B32,
            dst,
            src: src.into(),
        });
    }

    /// `a op b` on 64 bits, folded where both are constants.
    pub(super) fn binary(&mut self, op: AluOp, a: &Val, b: &Val) -> Val {
        match (op, a.imm(), b.imm()) {
            (AluOp::Add, Some(a), Some(b)) => return Val::Imm(a.wrapping_add(b)),
            (AluOp::Mul, Some(a), Some(b)) => return Val::Imm(a.wrapping_mul(b)),
            (AluOp::Sub, Some(a), Some(b)) => return Val::Imm(a.wrapping_sub(b)),
            (AluOp::Add, Some(0), _) => return b.clone(),
            (AluOp::Add | AluOp::Sub, _, Some(0)) | (AluOp::Mul, _, Some(1)) => return a.clone(),
            _ => {}
        }
        let (a, b) = match (op, a) {
            (AluOp::Add | AluOp::Mul, Val::Imm(_)) => (b, a),
            _ => (a, b),
        };
        let result = self.copy_of(a);
        match b.imm() {
            Some(value) if op == AluOp::Mul && value.is_power_of_two() => {
                self.alu(AluOp::Lsh, result, value.trailing_zeros() as i32);
            }
            _ => {
                let b = self.operand(b);
                self.alu(op, result, b);
            }
        }
        self.val(result)
    }

    pub(super) fn branch(&mut self, cond: Cond, a: V, b: impl Into<Operand>, to: Mark) {
        self.push(Inst::Branch {
            cond,
            bits: Bits::B64,
            a,
            b: b.into(),
            to,
        });
    }

    /// Goes to `to` if the value is true (or false).
    pub(super) fn branch_if(&mut self, val: &Val, when: bool, to: Mark) {
        match val {
            Val::Imm(value) => {
                if (*value != 0) == when {
                    self.jump(to);
                }
            }
            Val::Cmp(compare) => {
                let compare = compare.clone();
                self.branch_compare(compare.op, compare.width, (&compare.a, &compare.b), when, to);
            }
            _ => {
                let reg = self.reg(val);
                let cond = if when { Cond::Ne } else { Cond::Eq };
                self.branch(cond, reg, 0, to);
            }
        }
    }

    pub(super) fn branch_compare(
        &mut self,
        op: CmpOp,
        width: u8,
        (a, b): (&Val, &Val),
        when: bool,
        to: Mark,
    ) {
        let (mut cond, signed) = match op {
            CmpOp::Eq => (Cond::Eq, false),
            CmpOp::Ne => (Cond::Ne, false),
            CmpOp::Ult => (Cond::Lt, false),
            CmpOp::Ule => (Cond::Le, false),
            CmpOp::Slt => (Cond::SLt, true),
            CmpOp::Sle => (Cond::SLe, true),
        };
        let (mut a, mut b) = (a, b);
        if a.imm().is_some() && b.imm().is_none() {
            (a, b) = (b, a);
            cond = match cond {
                Cond::Lt => Cond::Gt,
                Cond::Le => Cond::Ge,
                Cond::SLt => Cond::SGt,
                Cond::SLe => Cond::SGe,
                same => same,
            };
        }
        if !when {
            cond = cond.negated().unwrap_or(cond);
        }
        let fits = |val: &Val| val.imm().is_none_or(|value| small(value).is_some());
        let (bits, a, b) = if signed && width != 32 && width != 64 {
            let left = self.sign_extended(a, width);
            let right = match b.imm() {
                Some(value) => Val::Imm(sign_extend(value, width).cast_unsigned()),
                None => {
                    let reg = self.sign_extended(b, width);
                    self.val(reg)
                }
            };
            (Bits::B64, left, self.operand(&right))
        } else if width <= 32 && (signed || !fits(b)) {
            (Bits::B32, self.reg(a), self.operand32(b))
        } else {
            (Bits::B64, self.reg(a), self.operand(b))
        };
        self.push(Inst::Branch { cond, bits, a, b, to });
    }

    /// A new register with the value sign-extended to 64 bits.
    pub(super) fn sign_extended(&mut self, val: &Val, width: u8) -> V {
        let reg = self.copy_of(val);
        let unused = 64 - i32::from(width);
        if unused > 0 {
            self.alu(AluOp::Lsh, reg, unused);
            self.alu(AluOp::Arsh, reg, unused);
        }
        reg
    }

    /// The home of a register of an outer unit, which that unit fills.
    fn capture(&mut self, level: usize, reg: V) -> u32 {
        let home = match self.homes.get(&(level, reg)) {
            Some(home) => *home,
            None => {
                let home = self.home();
                self.homes.insert((level, reg), home);
                home
            }
        };
        let wanted = (level, reg, home);
        if !self.unit.captures.contains(&wanted) {
            self.unit.captures.push(wanted);
        }
        home
    }

    pub(super) fn load_home(&mut self, dst: V, home: u32) {
        let base = self.scratch();
        match i16::try_from(home) {
            Ok(off) => self.push(Inst::Load {
                size: Size::D,
                dst,
                base: Base::Reg(base),
                off,
            }),
            Err(_) => self.fail(Error::Homes(u32::MAX / HOME)),
        }
    }

    pub(super) fn store_home(&mut self, home: u32, val: &Val) {
        let src = self.operand(val);
        let base = self.scratch();
        match i16::try_from(home) {
            Ok(off) => self.push(Inst::Store {
                size: Size::D,
                base: Base::Reg(base),
                off,
                src,
            }),
            Err(_) => self.fail(Error::Homes(u32::MAX / HOME)),
        }
    }

    /// The base of the invocation's memory; loaded where the unit, or the piece of a program, starts.
    pub(super) fn scratch(&mut self) -> V {
        if let Some(reg) = self.unit.scratch {
            return reg;
        }
        let reg = self.new_reg();
        self.unit.scratch = Some(reg);
        reg
    }

    /// The context.
    pub(super) fn ctx(&mut self) -> V {
        if let Some(reg) = self.unit.ctx {
            return reg;
        }
        let reg = self.new_reg();
        self.unit.ctx = Some(reg);
        reg
    }

    pub(super) fn call(&mut self, helper: crate::insn::Helper, args: Vec<Arg>) -> V {
        let result = self.new_reg();
        self.push(Inst::Call {
            callee: Callee::Helper(helper),
            args,
            result: Some(result),
        });
        result
    }

    pub(super) fn load(&mut self, size: Size, base: V, off: i16) -> V {
        let dst = self.new_reg();
        self.push(Inst::Load {
            size,
            dst,
            base: Base::Reg(base),
            off,
        });
        dst
    }

    pub(super) fn store(&mut self, size: Size, base: V, off: i16, src: impl Into<Operand>) {
        self.push(Inst::Store {
            size,
            base: Base::Reg(base),
            off,
            src: src.into(),
        });
    }

    pub(super) fn wide(&mut self, value: Imm64) -> V {
        let dst = self.new_reg();
        self.push(Inst::LdImm64 { dst, value });
        dst
    }
}
