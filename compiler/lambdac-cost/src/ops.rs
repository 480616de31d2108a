//! Prices of single operations on scalars.

use lambdac_mir::{BinOp, CastOp};
use lambdac_target::Cost;

use crate::Model;

/// Words and cycles of a piece of code. Cycles saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    pub words: u64,
    pub worst: u64,
    pub expected: u64,
}

impl Price {
    /// This and then that.
    pub fn then(self, next: Self) -> Self {
        Self {
            words: self.words + next.words,
            worst: self.worst.saturating_add(next.worst),
            expected: self.expected.saturating_add(next.expected),
        }
    }

    /// The same code so many times in a row.
    pub fn times(self, count: u64) -> Self {
        Self {
            words: self.words.saturating_mul(count),
            worst: self.worst.saturating_mul(count),
            expected: self.expected.saturating_mul(count),
        }
    }

    /// The same code run so many times: at most, and on average.
    pub fn trips(self, most: u64, expected: u64) -> Self {
        Self {
            words: self.words,
            worst: self.worst.saturating_mul(most),
            expected: self.expected.saturating_mul(expected),
        }
    }

    /// Waiting.
    pub fn wait(self, cycles: u64) -> Self {
        Self {
            words: self.words,
            worst: self.worst.saturating_add(cycles),
            expected: self.expected.saturating_add(cycles),
        }
    }
}

/// An operand: its value where it is constant.
pub(crate) type Known = Option<u64>;

impl Model<'_> {
    /// A table entry as a price.
    pub(crate) fn price(&self, cost: Cost) -> Price {
        Price {
            words: cost.words,
            worst: cost.cycles(),
            expected: cost.cycles(),
        }
    }

    /// A move, addition or logic operation.
    pub(crate) fn alu(&self, width: u8) -> Price {
        self.price(if width <= 32 {
            self.ops.alu32
        } else {
            self.ops.alu64
        })
    }

    /// Having a constant as an operand: small ones stand in the instruction.
    pub(crate) fn constant(&self, width: u8, value: u64) -> Price {
        const INLINE: u64 = 0xff;
        let fits16 = |value: u64| {
            [0, 8, 16]
                .iter()
                .any(|shift| value >> shift << shift == value && value >> shift <= 0xffff)
        };
        if value <= INLINE {
            return Price::default();
        }
        let complement = !value & u64::from(u32::MAX);
        self.price(if width > 32 && value > u64::from(u32::MAX) {
            self.ops.load_const64
        } else if fits16(value) || fits16(complement) {
            self.ops.load_const16
        } else {
            self.ops.load_const32
        })
    }

    /// Comparing with a constant and branching.
    pub(crate) fn compare_constant(&self, width: u8, value: u64) -> Price {
        self.constant(width, value).then(self.branch(width))
    }

    /// Comparing two values and branching.
    pub(crate) fn branch(&self, width: u8) -> Price {
        self.price(if width <= 32 {
            self.ops.branch32
        } else {
            self.ops.branch64
        })
    }

    /// Cutting a result to a width that is not a register's.
    fn cut(&self, width: u8) -> Price {
        if matches!(width, 32 | 64) {
            Price::default()
        } else {
            self.alu(width)
        }
    }

    /// A binary operation; `once` is told of a routine that the image has once.
    pub(crate) fn binary(
        &self,
        op: BinOp,
        width: u8,
        [left, right]: [Known; 2],
        once: &mut dyn FnMut(&'static str, u64),
    ) -> Price {
        let operands = [left, right]
            .into_iter()
            .flatten()
            .fold(Price::default(), |sum, value| {
                sum.then(self.constant(width, value))
            });
        match op {
            BinOp::And | BinOp::Or | BinOp::Xor => operands.then(self.alu(width)),
            BinOp::Add | BinOp::Sub => operands.then(self.alu(width)).then(self.cut(width)),
            BinOp::Mul => match (left, right) {
                (_, Some(value)) | (Some(value), _) if value.is_power_of_two() => {
                    self.shift(BinOp::Shl, width, Some(u64::from(value.trailing_zeros())))
                }
                _ => {
                    let cost = match width {
                        0..=16 => self.ops.mul16,
                        17..=32 => self.ops.mul32,
                        _ => self.ops.mul64,
                    };
                    operands.then(self.price(cost)).then(self.cut(width))
                }
            },
            BinOp::UDiv | BinOp::SDiv | BinOp::URem | BinOp::SRem => {
                let signs = if matches!(op, BinOp::SDiv | BinOp::SRem) {
                    // The signs go off before and come back after.
                    self.branch(width).then(self.alu(width)).times(3)
                } else {
                    Price::default()
                };
                self.divide(op, width, right, once).then(signs)
            }
            BinOp::Shl | BinOp::LShr | BinOp::AShr => {
                let shift = self.shift(op, width, right);
                if op == BinOp::Shl {
                    shift.then(self.cut(width))
                } else {
                    shift
                }
            }
            BinOp::UMin | BinOp::UMax | BinOp::SMin | BinOp::SMax => {
                operands.then(self.branch(width)).then(self.alu(width))
            }
        }
    }

    fn divide(&self, op: BinOp, width: u8, by: Known, once: &mut dyn FnMut(&'static str, u64)) -> Price {
        let remainder = matches!(op, BinOp::URem | BinOp::SRem);
        match by {
            Some(0) => Price::default(),
            Some(value) if value.is_power_of_two() && width <= 32 => self.price(self.ops.div32_pow2),
            Some(value) if value.is_power_of_two() => {
                self.shift(BinOp::LShr, width, Some(u64::from(value.trailing_zeros())))
            }
            Some(value) if width <= 32 => {
                let ops = self.ops;
                let division = match value {
                    large if large > 1 << 31 => ops.div32_const_large,
                    value if has_wide_reciprocal(value) => ops.div32_const_wide,
                    _ => ops.div32_const,
                };
                // A remainder is multiplied back and subtracted.
                let back = |all: u64, division: u64| {
                    if remainder {
                        all.saturating_sub(division)
                    } else {
                        0
                    }
                };
                let words = back(ops.rem32_const.words, ops.div32_const.words);
                let cycles = back(ops.rem32_const.cycles(), ops.div32_const.cycles());
                self.price(division).then(Price {
                    words,
                    worst: cycles,
                    expected: cycles,
                })
            }
            _ => {
                let (name, cost) = if width <= 32 {
                    ("divide 32", self.ops.div32_var)
                } else {
                    ("divide 64", self.ops.div64_var)
                };
                once(name, cost.once);
                // By 0 gives 0 or the dividend: one more branch.
                let zero = if by.is_none() {
                    self.branch(width)
                } else {
                    Price::default()
                };
                self.price(cost).then(zero)
            }
        }
    }

    fn shift(&self, op: BinOp, width: u8, by: Known) -> Price {
        let ops = self.ops;
        let signed = op == BinOp::AShr;
        match by {
            Some(amount) if amount >= u64::from(width) => self.alu(width),
            Some(_) => self.price(match (width <= 32, signed) {
                (true, false) => ops.shift32_const,
                (true, true) => ops.asr32_const,
                (false, false) => ops.shift64_const,
                (false, true) => ops.asr64_const,
            }),
            // By the width or more is a case of its own.
            None => self.branch(32).then(self.price(match (width <= 32, signed) {
                (true, false) => ops.shift32_var,
                (true, true) => ops.asr32_var,
                (false, _) => ops.shift64_var,
            })),
        }
    }

    /// A change of width.
    pub(crate) fn cast(&self, op: CastOp, from: u8, to: u8) -> Price {
        let wide = |width: u8| width > 32;
        match op {
            // Values are kept zero-extended; a high word is set to 0.
            CastOp::ZExt if wide(to) && !wide(from) => self.alu(32),
            CastOp::ZExt => Price::default(),
            CastOp::SExt => {
                let extend = self
                    .shift(BinOp::Shl, 32, Some(1))
                    .then(self.shift(BinOp::AShr, 32, Some(1)));
                let high = if wide(to) {
                    self.shift(BinOp::AShr, 32, Some(31))
                } else {
                    self.cut(to)
                };
                let own = if from == 32 { Price::default() } else { extend };
                own.then(high)
            }
            CastOp::Trunc => self.cut(to),
        }
    }
}

/// Whether a divisor of 32 bits needs a factor of 33 bits to be a multiplication: where no shift gives a shorter factor that
/// is exact for all dividends (Granlund and Montgomery, "Division by invariant integers using multiplication"). Of an even
/// divisor the twos are shifted out of both first, and then it does not.
fn has_wide_reciprocal(divisor: u64) -> bool {
    let shift = 64 - (divisor - 1).leading_zeros();
    let exact = |shift: u32| {
        let (power, divisor) = (1_u128 << (32 + shift), u128::from(divisor));
        let factor = power.div_ceil(divisor);
        factor < 1 << 32 && factor * divisor - power <= 1 << shift
    };
    !divisor.is_multiple_of(2) && !(0..=shift).any(exact)
}
