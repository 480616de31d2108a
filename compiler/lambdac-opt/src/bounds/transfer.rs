//! What follows for the result of an operation from what is known of its operands.

use lambdac_mir::{BinOp, CastOp, Value, mask};

use super::facts::{Facts, Interval, Linear};
use crate::eval;

impl Facts<'_> {
    /// Interval and differences of a binary operation's result.
    pub(super) fn define_bin(&mut self, result: Value, op: BinOp, a: Value, b: Value) {
        self.forget(result);
        let width = self.width(result);
        let (x, y) = (self.get(a), self.get(b));
        self.set(result, self.bin_interval(op, (a, x), (b, y), width));
        let (a_max, a_min) = (i128::from(x.hi), i128::from(x.lo));
        let (b_max, b_min) = (i128::from(y.hi), i128::from(y.lo));
        match op {
            BinOp::Add if a_max + b_max <= i128::from(mask(width)) => {
                self.add(result, a, b_max);
                self.add(a, result, -b_min);
                self.add(result, b, a_max);
                self.add(b, result, -a_min);
                if let Some(offset) = y.constant() {
                    self.define_linear(result, a, 1, offset);
                }
            }
            BinOp::Sub if self.at_most(b, a, 0) => {
                self.add(result, a, -b_min);
                self.add(a, result, b_max);
            }
            BinOp::And => {
                self.add(result, a, 0);
                self.add(result, b, 0);
            }
            BinOp::UMin => {
                self.add(result, a, 0);
                self.add(result, b, 0);
            }
            BinOp::UMax | BinOp::Or => {
                self.add(a, result, 0);
                self.add(b, result, 0);
            }
            BinOp::UDiv | BinOp::LShr => {
                self.add(result, a, 0);
                let divisor = match op {
                    BinOp::LShr => y
                        .constant()
                        .and_then(|shift| 1u64.checked_shl(u32::try_from(shift).ok()?)),
                    _ => y.constant(),
                };
                if let Some(divisor) = divisor {
                    self.quotients.insert(result, (a, divisor));
                }
            }
            BinOp::URem => {
                self.add(result, a, 0);
                if y.lo > 0 {
                    self.add(result, b, -1);
                }
            }
            BinOp::Mul | BinOp::Shl => {
                if let Some(scale) = scale_of(op, y)
                    && u128::from(x.hi) * u128::from(scale) <= u128::from(mask(width))
                {
                    self.define_linear(result, a, scale, 0);
                }
            }
            _ => {}
        }
    }

    /// `result = scale * a + offset`, which does not overflow.
    fn define_linear(&mut self, result: Value, a: Value, scale: u64, offset: u64) {
        let inner = self.linear.get(&a).copied().unwrap_or(Linear {
            scale: 1,
            value: a,
            offset: 0,
        });
        let all = (scale.checked_mul(inner.scale)).zip(
            scale
                .checked_mul(inner.offset)
                .and_then(|scaled| scaled.checked_add(offset)),
        );
        if let Some((scale, offset)) = all {
            self.linear.insert(
                result,
                Linear {
                    scale,
                    value: inner.value,
                    offset,
                },
            );
        }
    }

    /// Drops what an earlier walk, with other assumptions, knew of a result.
    fn forget(&mut self, result: Value) {
        self.linear.remove(&result);
        self.quotients.remove(&result);
    }

    fn bin_interval(
        &self,
        op: BinOp,
        (a, x): (Value, Interval),
        (b, y): (Value, Interval),
        width: u8,
    ) -> Interval {
        let all = Interval::all(width);
        let max = mask(width);
        if let (Some(x), Some(y)) = (x.constant(), y.constant()) {
            return Interval::only(eval::bin(op, x, y, width));
        }
        match op {
            BinOp::Add => match x.hi.checked_add(y.hi) {
                Some(hi) if hi <= max => Interval { lo: x.lo + y.lo, hi },
                _ => all,
            },
            BinOp::Sub if self.at_most(b, a, 0) => Interval {
                lo: x.lo.saturating_sub(y.hi),
                hi: x.hi.saturating_sub(y.lo),
            },
            BinOp::Mul => match x.hi.checked_mul(y.hi) {
                Some(hi) if hi <= max => Interval { lo: x.lo * y.lo, hi },
                _ => all,
            },
            BinOp::UDiv if y.lo > 0 => Interval {
                lo: x.lo / y.hi,
                hi: x.hi / y.lo,
            },
            BinOp::UDiv => Interval { lo: 0, hi: x.hi },
            BinOp::URem if y.lo > 0 => Interval {
                lo: 0,
                hi: x.hi.min(y.hi - 1),
            },
            BinOp::URem => Interval { lo: 0, hi: x.hi },
            BinOp::And => Interval {
                lo: 0,
                hi: x.hi.min(y.hi),
            },
            BinOp::Or | BinOp::Xor => Interval {
                lo: if op == BinOp::Or { x.lo.max(y.lo) } else { 0 },
                hi: up_to_power(x.hi | y.hi),
            },
            BinOp::Shl => match scale_of(op, y).and_then(|scale| x.hi.checked_mul(scale).zip(Some(scale))) {
                Some((hi, scale)) if hi <= max => Interval { lo: x.lo * scale, hi },
                _ => all,
            },
            BinOp::LShr => {
                let by = |value: u64, shift: u64| eval::bin(BinOp::LShr, value, shift, width);
                Interval {
                    lo: by(x.lo, y.hi),
                    hi: by(x.hi, y.lo),
                }
            }
            BinOp::AShr if x.hi <= max >> 1 => Interval { lo: 0, hi: x.hi },
            BinOp::UMin => Interval {
                lo: x.lo.min(y.lo),
                hi: x.hi.min(y.hi),
            },
            BinOp::UMax => Interval {
                lo: x.lo.max(y.lo),
                hi: x.hi.max(y.hi),
            },
            BinOp::SMin | BinOp::SMax => x.join(y),
            BinOp::Sub | BinOp::SDiv | BinOp::SRem | BinOp::AShr => all,
        }
    }

    /// Interval and differences of a width change's result.
    pub(super) fn define_cast(&mut self, result: Value, op: CastOp, a: Value) {
        self.forget(result);
        let (from, to) = (self.width(a), self.width(result));
        let x = self.get(a);
        let keeps = match op {
            CastOp::ZExt => true,
            CastOp::Trunc => x.hi <= mask(to),
            CastOp::SExt => x.hi <= mask(from) >> 1,
        };
        if !keeps {
            self.set(result, Interval::all(to));
            return;
        }
        self.set(result, x);
        self.add(result, a, 0);
        self.add(a, result, 0);
        if let Some(linear) = self.linear.get(&a).copied() {
            self.linear.insert(result, linear);
        }
        if let Some(quotient) = self.quotients.get(&a).copied() {
            self.quotients.insert(result, quotient);
        }
    }
}

/// The factor of a product with a constant.
fn scale_of(op: BinOp, by: Interval) -> Option<u64> {
    let by = by.constant()?;
    match op {
        BinOp::Shl => 1u64.checked_shl(u32::try_from(by).ok()?),
        _ => Some(by),
    }
}

/// All bits up to the highest one set.
fn up_to_power(bits: u64) -> u64 {
    u64::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
}
