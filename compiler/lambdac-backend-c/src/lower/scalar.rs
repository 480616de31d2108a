//! Scalar operations as expressions.
//!
//! A value of up to 32 bits is a `uint32_t`, of more a `uint64_t`, always within its width. Signed operations work on
//! unsigned types: a comparison flips both sign bits, and an extension flips the sign bit and takes it off again.

use lambdac_mir::{BinOp, CastOp, CmpOp, Value, mask};

use super::code::Code;
use super::state::wrapped;
use crate::ast::{Binary, Expr, Type};
use crate::dialect::Dialect;

fn number(value: u64, width: u8) -> Expr {
    Expr::Int(value, Type::of_width(width))
}

/// The sign bit of a width.
fn sign(width: u8) -> u64 {
    1 << (width - 1)
}

/// A value extended by its sign to all bits of a type.
fn extended(value: Expr, width: u8, ty: Type) -> Expr {
    if (ty == Type::U32 && width == 32) || width == 64 {
        return value;
    }
    let bit = Expr::Int(sign(width), ty);
    let flipped = value.cast_if(width, ty).binary(Binary::Xor, bit.clone());
    flipped.binary(Binary::Sub, bit)
}

impl Expr {
    /// Widened to a type, where a value of the width is not of it.
    fn cast_if(self, width: u8, ty: Type) -> Self {
        if Type::of_width(width) == ty {
            self
        } else {
            self.cast(ty)
        }
    }
}

impl Code<'_, '_> {
    /// `a op b`
    pub fn binary(&mut self, op: BinOp, a: Value, b: Value) -> Expr {
        let width = self.body.width(a);
        let (wide, ty) = (width > 32, Type::of_width(width));
        let by_width = self.body.width(b);
        let (a, b) = (self.value(a), self.value(b));
        let simple = |op| a.clone().binary(op, b.clone());
        let helper = |name: &str, a: Expr, b: Expr| {
            Expr::call(format!("lnic_{name}{}", if wide { 64 } else { 32 }), vec![a, b])
        };
        let signed = |name| {
            let (a, b) = (extended(a.clone(), width, ty), extended(b.clone(), width, ty));
            wrapped(helper(name, a, b), width)
        };
        match op {
            BinOp::Add => wrapped(simple(Binary::Add), width),
            BinOp::Sub => wrapped(simple(Binary::Sub), width),
            BinOp::Mul => wrapped(simple(Binary::Mul), width),
            BinOp::And => simple(Binary::And),
            BinOp::Or => simple(Binary::Or),
            BinOp::Xor => simple(Binary::Xor),
            BinOp::UDiv | BinOp::URem => self.divided(op, a, b, wide),
            BinOp::SDiv => signed("sdiv"),
            BinOp::SRem => signed("srem"),
            BinOp::Shl | BinOp::LShr | BinOp::AShr => shifted(op, a, b, width, by_width),
            BinOp::UMin | BinOp::UMax | BinOp::SMin | BinOp::SMax => {
                let cmp = match op {
                    BinOp::UMin | BinOp::UMax => CmpOp::Ult,
                    _ => CmpOp::Slt,
                };
                let less = compared(cmp, a.clone(), b.clone(), width);
                let (then, other) = match op {
                    BinOp::UMin | BinOp::SMin => (a, b),
                    _ => (b, a),
                };
                choice(less, then, other)
            }
        }
    }

    /// Division by 0 gives 0, the remainder the dividend.
    fn divided(&self, op: BinOp, a: Expr, b: Expr, wide: bool) -> Expr {
        match (op, b.as_int()) {
            (BinOp::UDiv, Some(0)) => Expr::Int(0, if wide { Type::U64 } else { Type::U32 }),
            (_, Some(0)) => a,
            (BinOp::UDiv, Some(by)) if by.is_power_of_two() => match by.trailing_zeros() {
                0 => a,
                by => a.binary(Binary::Shr, Expr::int(by)),
            },
            (_, Some(by)) if by.is_power_of_two() => {
                let low = Expr::Int(by - 1, if wide { Type::U64 } else { Type::U32 });
                a.binary(Binary::And, low)
            }
            (op, Some(by)) if self.unit.dialect == Dialect::MicroC && !wide => {
                let quotient = quotient(a.clone(), by as u32);
                match op {
                    BinOp::UDiv => quotient,
                    _ => a.binary(Binary::Sub, quotient.binary(Binary::Mul, b)),
                }
            }
            (BinOp::UDiv, Some(_)) if self.unit.dialect == Dialect::Host => a.binary(Binary::Div, b),
            (_, Some(_)) if self.unit.dialect == Dialect::Host => a.binary(Binary::Rem, b),
            (op, _) => {
                let name = if op == BinOp::UDiv { "udiv" } else { "urem" };
                Expr::call(format!("lnic_{name}{}", if wide { 64 } else { 32 }), vec![a, b])
            }
        }
    }

    /// `a op b`, 0 or 1.
    pub fn compare(&mut self, op: CmpOp, a: Value, b: Value) -> Expr {
        let width = self.body.width(a);
        if a == b {
            return Expr::int(matches!(op, CmpOp::Eq | CmpOp::Ule | CmpOp::Sle).into());
        }
        let (a, b) = (self.value(a), self.value(b));
        compared(op, a, b, width)
    }

    /// A value at another width.
    pub fn cast(&mut self, op: CastOp, value: Value, to: u8) -> Expr {
        let from = self.body.width(value);
        let ty = Type::of_width(to);
        let value = self.value(value);
        match op {
            CastOp::ZExt => value.cast_if(from, ty),
            CastOp::SExt => wrapped(extended(value, from, ty), to),
            CastOp::Trunc => {
                let cut = wrapped(value.clone().cast_if(from, ty), to);
                match value.as_int() {
                    Some(known) => number(known & mask(to), to),
                    None => cut,
                }
            }
        }
    }

    /// Whether a value of one bit is 1, as a condition.
    pub fn condition(&mut self, value: Value) -> Expr {
        truth(self.value(value))
    }
}

/// An expression of one bit as a condition.
pub(super) fn truth(expr: Expr) -> Expr {
    match expr {
        Expr::Binary(
            Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne | Binary::LogicalAnd | Binary::LogicalOr,
            ..,
        )
        | Expr::Not(_) => expr,
        other => other.binary(Binary::Ne, Expr::int(0)),
    }
}

/// The opposite of a condition.
pub(super) fn negated(cond: Expr) -> Expr {
    match cond {
        Expr::Binary(Binary::Eq, a, b) => Expr::Binary(Binary::Ne, a, b),
        Expr::Binary(Binary::Ne, a, b) => Expr::Binary(Binary::Eq, a, b),
        Expr::Binary(Binary::Lt, a, b) => Expr::Binary(Binary::Le, b, a),
        Expr::Binary(Binary::Le, a, b) => Expr::Binary(Binary::Lt, b, a),
        Expr::Not(inner) => *inner,
        other => Expr::Not(Box::new(other)),
    }
}

/// `c ? a : b`
pub(super) fn choice(cond: Expr, then: Expr, other: Expr) -> Expr {
    match cond.as_int() {
        Some(0) => other,
        Some(_) => then,
        None => Expr::Cond(Box::new(truth(cond)), Box::new(then), Box::new(other)),
    }
}

/// A number of 32 bits divided by one that is known and no power of two: the high half of a product, by Granlund and
/// Montgomery, "Division by Invariant Integers using Multiplication" (PLDI 1994), figure 4.1.
fn quotient(a: Expr, by: u32) -> Expr {
    let bits = 32 - (by - 1).leading_zeros();
    let exact = ((1_u64 << 32) * ((1_u64 << bits) - u64::from(by))) / u64::from(by) + 1;
    let high = Expr::call("lnic_mulhi32", vec![a.clone(), Expr::int(exact as u32)]);
    let half = a
        .binary(Binary::Sub, high.clone())
        .binary(Binary::Shr, Expr::int(1));
    high.binary(Binary::Add, half)
        .binary(Binary::Shr, Expr::int(bits - 1))
}

/// A comparison; what is always or never so is said as a number, since compilers warn of it.
pub(super) fn compared(op: CmpOp, a: Expr, b: Expr, width: u8) -> Expr {
    let flip = |expr: Expr| match expr.as_int() {
        Some(known) => number(known ^ sign(width), width),
        None => expr.binary(Binary::Xor, number(sign(width), width)),
    };
    match op {
        CmpOp::Slt => return compared(CmpOp::Ult, flip(a), flip(b), width),
        CmpOp::Sle => return compared(CmpOp::Ule, flip(a), flip(b), width),
        _ => {}
    }
    let most = mask(width);
    match (op, a.as_int(), b.as_int()) {
        (CmpOp::Eq, Some(a), Some(b)) => Expr::int((a == b).into()),
        (CmpOp::Ne, Some(a), Some(b)) => Expr::int((a != b).into()),
        (CmpOp::Ult, Some(a), Some(b)) => Expr::int((a < b).into()),
        (CmpOp::Ule, Some(a), Some(b)) => Expr::int((a <= b).into()),
        (CmpOp::Ult, _, Some(0)) => Expr::int(0),
        (CmpOp::Ult, Some(known), _) if known == most => Expr::int(0),
        (CmpOp::Ule, Some(0), _) => Expr::int(1),
        (CmpOp::Ule, _, Some(known)) if known == most => Expr::int(1),
        (CmpOp::Ne, _, Some(0)) if width == 1 => a,
        (CmpOp::Eq, _, Some(1)) if width == 1 => a,
        (CmpOp::Eq, ..) => a.binary(Binary::Eq, b),
        (CmpOp::Ne, ..) => a.binary(Binary::Ne, b),
        (CmpOp::Ult, ..) => a.binary(Binary::Lt, b),
        _ => a.binary(Binary::Le, b),
    }
}

/// By the width or more gives 0, or the sign.
fn shifted(op: BinOp, a: Expr, b: Expr, width: u8, by_width: u8) -> Expr {
    let ty = Type::of_width(width);
    let limit = u64::from(width);
    let known = b.as_int();
    if let Some(0) = known {
        return a;
    }
    match (op, known) {
        (BinOp::AShr, _) => {
            let size = if ty == Type::U64 { 64 } else { 32 };
            let by = match known {
                Some(known) => Expr::int(known.min(size - 1) as u32),
                None if by_width > 32 => {
                    let most = Expr::Int(size - 1, Type::U64);
                    choice(
                        b.clone().binary(Binary::Lt, most),
                        b.cast(Type::U32),
                        Expr::int(size as u32 - 1),
                    )
                }
                None => b,
            };
            let wide = extended(a, width, ty);
            wrapped(Expr::call(format!("lnic_ashr{size}"), vec![wide, by]), width)
        }
        (_, Some(known)) if known >= limit => number(0, width),
        (BinOp::Shl, Some(known)) => wrapped(a.binary(Binary::Shl, Expr::int(known as u32)), width),
        (_, Some(known)) => a.binary(Binary::Shr, Expr::int(known as u32)),
        (op, None) => {
            let moved = match op {
                BinOp::Shl => wrapped(a.binary(Binary::Shl, b.clone()), width),
                _ => a.binary(Binary::Shr, b.clone()),
            };
            // A narrow amount can't reach the width.
            if mask(by_width) < limit {
                return moved;
            }
            let fits = b.binary(Binary::Lt, number(limit, by_width));
            choice(fits, moved, number(0, width))
        }
    }
}
