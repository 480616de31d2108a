//! Integers: MIR's operations, all of them total, in P4's, which are not.
//!
//! P4 says nothing of a shift by more than the width, bmv2 takes shift amounts of 8 bits at most, and p4c refuses
//! division by anything but a constant power of two. Values of one bit are `bool`s.

use lambdac_mir::{BinOp, CastOp, CmpOp, SwitchRange};

use super::code::Code;
use super::memory::{constant, zero};
use crate::ast::{Binary, Bits, Expr, For, Stmt, Trips, Type, Unary};

/// A `bool` as one bit.
pub(super) fn bit_of(expr: Expr) -> Expr {
    match expr {
        Expr::Bool(value) => Expr::bits(1, value.into()),
        other => other.cast(Type::Bit(1)),
    }
}

/// One bit as a `bool`.
pub(super) fn bool_of(expr: Expr) -> Expr {
    expr.binary(Binary::Eq, Expr::bits(1, 1))
}

/// A number as a signed one.
pub(super) fn signed(expr: Expr, width: u32) -> Expr {
    expr.cast(Type::Int(width))
}

/// A number at another width, zero-extended or cut off.
pub(super) fn resized(expr: Expr, from: u32, to: u32) -> Expr {
    if from == to {
        return expr;
    }
    match expr.number() {
        Some(value) => Expr::bits(to, value),
        None => expr.cast(Type::Bit(to)),
    }
}

/// Whether a number lies in a half-open range.
pub(super) fn in_range(on: &Expr, width: u32, &(low, high): &SwitchRange) -> Expr {
    if width == 1 {
        let holds = |value: u64| low <= value && high.is_none_or(|high| value < high);
        return match (holds(0), holds(1)) {
            (true, true) => Expr::Bool(true),
            (false, true) => on.clone(),
            (true, false) => on.clone().negated(),
            (false, false) => Expr::Bool(false),
        };
    }
    let against = |op, value| on.clone().binary(op, Expr::bits(width, value));
    match (low, high) {
        (0, None) => Expr::Bool(true),
        (low, None) => against(Binary::Ge, low),
        (low, Some(high)) if high == low + 1 => against(Binary::Eq, low),
        (0, Some(high)) => against(Binary::Lt, high),
        (low, Some(high)) => against(Binary::Ge, low).binary(Binary::AndAnd, against(Binary::Lt, high)),
    }
}

/// A comparison.
pub(super) fn compare(op: CmpOp, width: u32, a: Expr, b: Expr) -> Expr {
    if width == 1 {
        return match op {
            CmpOp::Eq => a.binary(Binary::Eq, b),
            CmpOp::Ne => a.binary(Binary::Ne, b),
            CmpOp::Ult => a.negated().binary(Binary::AndAnd, b),
            CmpOp::Ule => a.negated().binary(Binary::OrOr, b),
            // The one that is set is -1.
            CmpOp::Slt => a.binary(Binary::AndAnd, b.negated()),
            CmpOp::Sle => a.binary(Binary::OrOr, b.negated()),
        };
    }
    let (op, a, b) = match op {
        CmpOp::Eq => (Binary::Eq, a, b),
        CmpOp::Ne => (Binary::Ne, a, b),
        CmpOp::Ult => (Binary::Lt, a, b),
        CmpOp::Ule => (Binary::Le, a, b),
        CmpOp::Slt => (Binary::Lt, signed(a, width), signed(b, width)),
        CmpOp::Sle => (Binary::Le, signed(a, width), signed(b, width)),
    };
    a.binary(op, b)
}

/// A change of width.
pub(super) fn cast(op: CastOp, from: u32, to: u32, value: Expr) -> Expr {
    if from == to {
        return value;
    }
    match (op, from, to) {
        (CastOp::ZExt, 1, _) => resized(bit_of(value), 1, to),
        (CastOp::SExt, 1, _) => value.select(Expr::bits(to, u64::MAX), zero(to)),
        (CastOp::Trunc, _, 1) => bool_of(value.cast(Type::Bit(1))),
        (CastOp::ZExt | CastOp::Trunc, ..) => resized(value, from, to),
        (CastOp::SExt, ..) => match value.number() {
            Some(value) => Expr::bits(to, lambdac_mir::sign_extend(value, from as u8) as u64),
            None => signed(value, from).cast(Type::Int(to)).cast(Type::Bit(to)),
        },
    }
}

/// An operation on two values of one bit.
fn one_bit(op: BinOp, a: Expr, b: Expr) -> Expr {
    match op {
        BinOp::Add | BinOp::Sub | BinOp::Xor => a.binary(Binary::Ne, b),
        BinOp::Mul | BinOp::And | BinOp::UDiv | BinOp::SDiv | BinOp::UMin | BinOp::SMax => {
            a.binary(Binary::AndAnd, b)
        }
        BinOp::Or | BinOp::UMax | BinOp::SMin => a.binary(Binary::OrOr, b),
        BinOp::URem | BinOp::SRem => a.binary(Binary::AndAnd, b.negated()),
        BinOp::Shl | BinOp::LShr | BinOp::AShr => a,
    }
}

impl Code<'_, '_> {
    /// An operation on two values of a width; `by` is the width of a shift's right side.
    pub(super) fn binary(&mut self, op: BinOp, width: u32, by: u32, a: Expr, b: Expr) -> Expr {
        if matches!(op, BinOp::Shl | BinOp::LShr | BinOp::AShr) {
            return self.shift(op, width, by, a, b);
        }
        if width == 1 {
            return one_bit(op, a, b);
        }
        let simple = |op| a.clone().binary(op, b.clone());
        match op {
            BinOp::Add => simple(Binary::Add),
            BinOp::Sub => simple(Binary::Sub),
            BinOp::Mul => simple(Binary::Mul),
            BinOp::And => simple(Binary::And),
            BinOp::Or => simple(Binary::Or),
            BinOp::Xor => simple(Binary::Xor),
            BinOp::UMin | BinOp::UMax | BinOp::SMin | BinOp::SMax => {
                let (a, b) = (self.settled(a, width), self.settled(b, width));
                let less = match op {
                    BinOp::UMin | BinOp::UMax => CmpOp::Ult,
                    _ => CmpOp::Slt,
                };
                let less = compare(less, width, a.clone(), b.clone());
                match op {
                    BinOp::UMin | BinOp::SMin => less.select(a, b),
                    _ => less.select(b, a),
                }
            }
            BinOp::UDiv => self.divide(width, a, b).0,
            BinOp::URem => self.divide(width, a, b).1,
            BinOp::SDiv | BinOp::SRem => self.divide_signed(op, width, a, b),
            BinOp::Shl | BinOp::LShr | BinOp::AShr => unreachable!("done above"),
        }
    }

    fn shift(&mut self, op: BinOp, width: u32, by: u32, a: Expr, b: Expr) -> Expr {
        if width == 1 {
            let zero = match by {
                1 => b.negated(),
                _ => b.binary(Binary::Eq, Expr::bits(by, 0)),
            };
            return match op {
                BinOp::AShr => a,
                _ => a.binary(Binary::AndAnd, zero),
            };
        }
        let b = match by {
            1 => bit_of(b),
            _ => b,
        };
        if let Some(amount) = b.number() {
            return shifted(op, width, a, amount);
        }
        // Whether the amount can be the width or more.
        let over = by >= 32 || u64::from(width) < 1 << by;
        let b = self.settled_bits(b, by);
        let amount = resized(b.clone(), by, 8);
        let within = b.binary(Binary::Lt, Expr::bits(by, width.into()));
        match (op, over) {
            (BinOp::AShr, true) => {
                let amount = within.select(amount, Expr::bits(8, u64::from(width) - 1));
                signed(a, width)
                    .binary(Binary::Shr, amount)
                    .cast(Type::Bit(width))
            }
            (BinOp::AShr, false) => signed(a, width)
                .binary(Binary::Shr, amount)
                .cast(Type::Bit(width)),
            (BinOp::Shl, true) => within.select(a.binary(Binary::Shl, amount), zero(width)),
            (BinOp::Shl, false) => a.binary(Binary::Shl, amount),
            (_, true) => within.select(a.binary(Binary::Shr, amount), zero(width)),
            (_, false) => a.binary(Binary::Shr, amount),
        }
    }

    /// Quotient and remainder.
    fn divide(&mut self, width: u32, a: Expr, b: Expr) -> (Expr, Expr) {
        let a = self.settled(a, width);
        match b.number() {
            Some(by) => self.divide_by(width, a, by),
            None => {
                let b = self.settled(b, width);
                self.divide_slowly(width, a, b)
            }
        }
    }

    /// By a constant: a multiplication whose high half is the quotient (Granlund and Montgomery, "Division by
    /// Invariant Integers using Multiplication", 1994, theorem 4.2, with l = ceil(log2 d) and the multiplier
    /// floor(2^(N+l) / d) + 1, which is at most 2^(N+l)/d · (1 + 2^-N)).
    fn divide_by(&mut self, width: u32, a: Expr, by: u64) -> (Expr, Expr) {
        if by == 0 {
            return (zero(width), a);
        }
        if by.is_power_of_two() {
            let quotient = shifted(BinOp::LShr, width, a.clone(), by.trailing_zeros().into());
            return (quotient, a.binary(Binary::And, Expr::bits(width, by - 1)));
        }
        let log = 64 - by.leading_zeros();
        // d does not divide 2^(N+l), so this is right where 2^(N+l) itself is no u128.
        let multiplier = match 1_u128.checked_shl(width + log) {
            Some(power) => power / u128::from(by) + 1,
            None => u128::MAX / u128::from(by) + 1,
        };
        let wide = 2 * width + 2;
        let multiplier = Expr::Bits(Bits::new(wide, &multiplier.to_be_bytes()));
        let product = a.clone().cast(Type::Bit(wide)).binary(Binary::Mul, multiplier);
        let high = product.binary(Binary::Shr, Expr::Number((width + log).into()));
        let quotient = self.settled(high.cast(Type::Bit(width)), width);
        let rest = a.binary(
            Binary::Sub,
            quotient.clone().binary(Binary::Mul, Expr::bits(width, by)),
        );
        (quotient, rest)
    }

    /// By a variable: bit for bit.
    fn divide_slowly(&mut self, width: u32, a: Expr, b: Expr) -> (Expr, Expr) {
        let quotient = self.local("quotient", width);
        // One bit more than a remainder has, before something is taken from it.
        let rest = self.wide("rest", width + 1);
        let bit = self.wide("bit", 8);
        let wide = |expr: Expr| expr.cast(Type::Bit(width + 1));
        let one = |width| Expr::bits(width, 1);
        let less = bit.clone().binary(Binary::Sub, one(8));
        let next = wide(
            a.clone()
                .binary(Binary::Shr, less.clone())
                .binary(Binary::And, one(width)),
        );
        let taken = vec![
            Stmt::Assign(rest.clone(), rest.clone().binary(Binary::Sub, wide(b.clone()))),
            Stmt::Assign(quotient.clone(), quotient.clone().binary(Binary::Or, one(width))),
        ];
        let doubled = |expr: &Expr| expr.clone().binary(Binary::Shl, Expr::Number(1));
        let body = vec![
            Stmt::Assign(rest.clone(), doubled(&rest).binary(Binary::Or, next)),
            Stmt::Assign(quotient.clone(), doubled(&quotient)),
            Stmt::If(
                rest.clone().binary(Binary::Ge, wide(b.clone())),
                taken,
                Vec::new(),
            ),
        ];
        self.assign(quotient.clone(), zero(width));
        self.assign(rest.clone(), Expr::bits(width + 1, 0));
        let divide = Stmt::For(Box::new(For {
            first: Some(Stmt::Assign(bit.clone(), Expr::bits(8, width.into()))),
            cond: bit.clone().binary(Binary::Ne, Expr::bits(8, 0)),
            step: Some(Stmt::Assign(bit, less)),
            body,
            trips: Trips::Most(width.into()),
        }));
        let nothing = b.binary(Binary::Eq, zero(width));
        self.push(Stmt::If(nothing.clone().negated(), vec![divide], Vec::new()));
        let rest = nothing.select(a, rest.cast(Type::Bit(width)));
        (quotient, rest)
    }

    fn divide_signed(&mut self, op: BinOp, width: u32, a: Expr, b: Expr) -> Expr {
        let negative =
            |expr: &Expr| signed(expr.clone(), width).binary(Binary::Lt, signed(zero(width), width));
        let negated = |expr: Expr| Expr::Unary(Unary::Negate, Box::new(expr));
        let a = self.settled(a, width);
        let b = self.settled(b, width);
        let below = self.settled(negative(&a), 1);
        let size = below.clone().select(negated(a.clone()), a);
        let size = self.settled(size, width);
        let (by, differ) = match b.number() {
            Some(value) => {
                let value = lambdac_mir::sign_extend(value, width as u8);
                let differ = if value < 0 {
                    below.clone().negated()
                } else {
                    below.clone()
                };
                (constant(width, value.unsigned_abs()), differ)
            }
            None => {
                let other = self.settled(negative(&b), 1);
                let by = other.clone().select(negated(b.clone()), b);
                (self.settled(by, width), below.clone().binary(Binary::Ne, other))
            }
        };
        let (quotient, rest) = self.divide(width, size, by);
        match op {
            BinOp::SDiv => differ.select(negated(quotient.clone()), quotient),
            _ => {
                let rest = self.settled(rest, width);
                below.select(negated(rest.clone()), rest)
            }
        }
    }
}

/// A shift by a constant.
fn shifted(op: BinOp, width: u32, a: Expr, amount: u64) -> Expr {
    match op {
        _ if amount == 0 => a,
        BinOp::AShr => {
            let amount = amount.min(u64::from(width) - 1);
            signed(a, width)
                .binary(Binary::Shr, Expr::Number(amount))
                .cast(Type::Bit(width))
        }
        _ if amount >= width.into() => zero(width),
        BinOp::Shl => a.binary(Binary::Shl, Expr::Number(amount)),
        _ => a.binary(Binary::Shr, Expr::Number(amount)),
    }
}
