//! Numbers of up to 2048 bits.

use std::cmp::Ordering;

/// A number of a width; limbs from the lowest, bits past the width are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    pub width: u32,
    limbs: Vec<u64>,
}

impl Bits {
    pub fn new(width: u32, value: u64) -> Self {
        let mut limbs = vec![0; width.div_ceil(64) as usize];
        if let Some(first) = limbs.first_mut() {
            *first = value;
        }
        Self { width, limbs }.cut()
    }

    /// From big-endian bytes; what is past the width goes.
    pub fn of(width: u32, bytes: &[u8]) -> Self {
        let mut bits = Self::new(width, 0);
        for (at, byte) in bytes.iter().rev().enumerate() {
            if let Some(limb) = bits.limbs.get_mut(at / 8) {
                *limb |= u64::from(*byte) << (at % 8 * 8);
            }
        }
        bits.cut()
    }

    /// Big-endian bytes of a width that is a multiple of 8.
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.width as usize / 8;
        let byte = |at: usize| (self.limbs[at / 8] >> (at % 8 * 8)) as u8;
        (0..count).rev().map(byte).collect()
    }

    fn cut(mut self) -> Self {
        let used = self.width % 64;
        if let (Some(last), 1..) = (self.limbs.last_mut(), used) {
            *last &= u64::MAX >> (64 - used);
        }
        self
    }

    pub fn low(&self) -> u64 {
        self.limbs.first().copied().unwrap_or(0)
    }

    fn limb(&self, at: usize) -> u64 {
        self.limbs.get(at).copied().unwrap_or(0)
    }

    /// The number at another width.
    pub fn resized(&self, width: u32) -> Self {
        let limbs = (0..width.div_ceil(64) as usize).map(|at| self.limb(at)).collect();
        Self { width, limbs }.cut()
    }

    pub fn is_negative(&self) -> bool {
        self.shr(u64::from(self.width) - 1).low() == 1
    }

    fn zipped(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let limbs = (0..self.limbs.len())
            .map(|at| f(self.limb(at), other.limb(at)))
            .collect();
        Self {
            width: self.width,
            limbs,
        }
        .cut()
    }

    pub fn and(&self, other: &Self) -> Self {
        self.zipped(other, |a, b| a & b)
    }

    pub fn or(&self, other: &Self) -> Self {
        self.zipped(other, |a, b| a | b)
    }

    pub fn xor(&self, other: &Self) -> Self {
        self.zipped(other, |a, b| a ^ b)
    }

    pub fn not(&self) -> Self {
        self.zipped(self, |a, _| !a)
    }

    pub fn add(&self, other: &Self) -> Self {
        let mut carry = 0_u128;
        let limbs = (0..self.limbs.len()).map(|at| {
            let sum = u128::from(self.limb(at)) + u128::from(other.limb(at)) + carry;
            carry = sum >> 64;
            sum as u64
        });
        let limbs = limbs.collect();
        Self {
            width: self.width,
            limbs,
        }
        .cut()
    }

    pub fn negated(&self) -> Self {
        self.not().add(&Self::new(self.width, 1))
    }

    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.resized(self.width).negated())
    }

    pub fn mul(&self, other: &Self) -> Self {
        let mut product = Self::new(self.width, 0);
        for at in 0..self.width {
            if other.shr(at.into()).low() & 1 == 1 {
                product = product.add(&self.shl(at.into()));
            }
        }
        product
    }

    pub fn shl(&self, by: u64) -> Self {
        let (limbs, bits) = ((by / 64) as usize, by % 64);
        let limb = |at: usize| {
            let Some(at) = at.checked_sub(limbs) else { return 0 };
            let below = if bits == 0 || at == 0 {
                0
            } else {
                self.limb(at - 1) >> (64 - bits)
            };
            self.limb(at) << bits | below
        };
        let limbs = (0..self.limbs.len()).map(limb).collect();
        Self {
            width: self.width,
            limbs,
        }
        .cut()
    }

    pub fn shr(&self, by: u64) -> Self {
        let (limbs, bits) = ((by / 64) as usize, by % 64);
        let limb = |at: usize| {
            let above = if bits == 0 {
                0
            } else {
                self.limb(at + limbs + 1) << (64 - bits)
            };
            self.limb(at + limbs) >> bits | above
        };
        let limbs = (0..self.limbs.len()).map(limb).collect();
        Self {
            width: self.width,
            limbs,
        }
    }

    /// With the sign in front.
    pub fn shr_signed(&self, by: u64) -> Self {
        let by = by.min(u64::from(self.width) - 1);
        let shifted = self.shr(by);
        if self.is_negative() {
            let ones = Self::new(self.width, 0).not();
            return shifted.or(&ones.shl(u64::from(self.width) - by));
        }
        shifted
    }

    pub fn concat(&self, low: &Self) -> Self {
        let width = self.width + low.width;
        self.resized(width).shl(low.width.into()).or(&low.resized(width))
    }

    pub fn slice(&self, high: u32, low: u32) -> Self {
        self.shr(low.into()).resized(high - low + 1)
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        self.limbs.iter().rev().cmp(other.limbs.iter().rev())
    }
}
