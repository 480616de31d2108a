//! Division.
//!
//! All of it is total: `x / 0 == 0`, `x % 0 == x`, `MIN / -1 == MIN`, `MIN % -1 == 0`.
//!
//! A dividend below `2^n` is divided by a constant `d` with one multiplication: `x / d == x * m >> k` where
//! `k = n + ceil(log2 d)` and `m = ceil(2^k / d)` (Granlund and Montgomery, "Division by Invariant Integers using
//! Multiplication", 1994, theorem 4.2). `m` takes at most `n + 1` bits, so that up to [`NARROW`] bits the product fits 64.
//! Cranelift does the same for wider ones, which need the upper half of a product.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};

use super::func::FnEmitter;
use super::scalar::ty;
use crate::layout::mask;

/// Bits of a dividend whose product with a multiplier stays below `2^63`.
const NARROW: u32 = 31;

impl FnEmitter<'_, '_, '_> {
    /// `x / y` or `x % y` of unsigned numbers, `x` at most `bound`.
    pub(super) fn unsigned_division(
        &mut self,
        (x, bound): (ir::Value, u64),
        y: ir::Value,
        known: Option<u64>,
        quotient: bool,
    ) -> ir::Value {
        let ty = self.b.func.dfg.value_type(x);
        let bits = u64::BITS - bound.leading_zeros();
        if let Some(divisor) = known.filter(|divisor| *divisor != 0) {
            return match (divisor.is_power_of_two(), quotient) {
                (true, true) => self.b.ins().ushr_imm_u(x, i64::from(divisor.trailing_zeros())),
                (true, false) => {
                    let low = self.constant(ty, divisor - 1);
                    self.b.ins().band(x, low)
                }
                (false, _) if bits <= NARROW => self.narrow_division(x, bits, divisor, quotient),
                (false, true) => self.b.ins().udiv(x, y),
                (false, false) => self.b.ins().urem(x, y),
            };
        }
        let one = self.constant(ty, 1);
        let zero = self.constant(ty, 0);
        let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
        let divisor = self.b.ins().select(is_zero, one, y);
        if quotient {
            let result = self.b.ins().udiv(x, divisor);
            self.b.ins().select(is_zero, zero, result)
        } else {
            let result = self.b.ins().urem(x, divisor);
            self.b.ins().select(is_zero, x, result)
        }
    }

    /// Division of a number of `bits` bits by one that is neither 0 nor a power of two.
    fn narrow_division(&mut self, x: ir::Value, bits: u32, divisor: u64, quotient: bool) -> ir::Value {
        let ty = self.b.func.dfg.value_type(x);
        let Some((multiplier, shift)) = multiplier(bits, divisor) else {
            return if quotient { self.constant(ty, 0) } else { x };
        };
        let wide = self.extend(x);
        let factor = self.constant(types::I64, multiplier);
        let product = self.b.ins().imul(wide, factor);
        let result = self.b.ins().ushr_imm_u(product, i64::from(shift));
        let result = self.resize(result, ty);
        if quotient {
            return result;
        }
        let divisor = self.constant(ty, divisor);
        let below = self.b.ins().imul(result, divisor);
        self.b.ins().isub(x, below)
    }

    /// `x / y` or `x % y` of signed numbers.
    pub(super) fn signed_division(
        &mut self,
        x: ir::Value,
        y: ir::Value,
        width: u8,
        quotient: bool,
    ) -> ir::Value {
        let ty = ty(width);
        let (x, y) = (self.signed(x, width), self.signed(y, width));
        let (one, zero) = (self.constant(ty, 1), self.constant(ty, 0));
        let minus_one = self.constant(ty, mask(ty.bits() as u8));
        let is_zero = self.b.ins().icmp(IntCC::Equal, y, zero);
        let is_minus_one = self.b.ins().icmp(IntCC::Equal, y, minus_one);
        let special = self.b.ins().bor(is_zero, is_minus_one);
        let divisor = self.b.ins().select(special, one, y);
        let result = if quotient {
            let result = self.b.ins().sdiv(x, divisor);
            let negated = self.b.ins().ineg(x);
            let result = self.b.ins().select(is_minus_one, negated, result);
            self.b.ins().select(is_zero, zero, result)
        } else {
            let result = self.b.ins().srem(x, divisor);
            self.b.ins().select(is_zero, x, result)
        };
        self.mask_to(result, width)
    }
}

/// What to multiply a number of at most [`NARROW`] bits with, and how far to shift the product down, to divide it; none where
/// it is always below the divisor, which is neither 0 nor a power of two.
fn multiplier(bits: u32, divisor: u64) -> Option<(u64, u32)> {
    let divisor_bits = u64::BITS - divisor.leading_zeros();
    if bits < divisor_bits {
        return None;
    }
    let shift = bits + divisor_bits;
    Some(((1u64 << shift).div_ceil(divisor), shift))
}

#[cfg(test)]
mod tests {
    use super::{NARROW, multiplier};

    fn divides(bits: u32, divisor: u64, x: u64) -> bool {
        match multiplier(bits, divisor) {
            Some((factor, shift)) => {
                x.checked_mul(factor).map(|product| product >> shift) == Some(x / divisor)
            }
            None => x < divisor,
        }
    }

    #[test]
    fn every_quotient_of_ten_bits_is_exact() {
        for divisor in (3..1100u64).filter(|divisor| !divisor.is_power_of_two()) {
            assert!((0..1 << 10).all(|x| divides(10, divisor, x)), "by {divisor}");
        }
    }

    #[test]
    fn quotients_at_the_ends_of_each_width_are_exact() {
        for bits in 2..=NARROW {
            let top = (1u64 << bits) - 1;
            for divisor in [3, 5, 7, 10, 100, 641, 1000, 65_537, top / 2 + 2, top - 1, top] {
                let whole = top / divisor * divisor;
                let near = [
                    0,
                    1,
                    divisor - 1,
                    divisor,
                    whole.saturating_sub(1),
                    whole,
                    top - 1,
                    top,
                ];
                let exact = near
                    .iter()
                    .filter(|x| **x <= top)
                    .all(|x| divides(bits, divisor, *x));
                assert!(divisor.is_power_of_two() || exact, "{bits} bits by {divisor}");
            }
        }
    }
}
