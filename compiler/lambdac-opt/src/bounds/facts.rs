//! What is known of values at a point: an unsigned interval each, and differences between them.
//!
//! A difference is `a <= b + k` over the values as whole numbers. Facts are added as the walk enters code that they hold
//! in and taken back as it leaves. A question is answered by a search along differences, cut off after a few steps.

use std::collections::HashMap;

use lambdac_mir::{BinOp, CmpOp, Value, mask, sign_extend};

use crate::defs::{Def, Defs};

/// Differences kept per value.
const MAX_DIFFERENCES: usize = 12;
/// Values visited to answer one question.
const MAX_VISITED: usize = 48;
/// Conjunctions looked through.
const MAX_CONDITION_DEPTH: u32 = 8;

/// An unsigned interval, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) lo: u64,
    pub(super) hi: u64,
}

impl Interval {
    /// Every value of a width.
    pub(super) fn all(width: u8) -> Self {
        Self {
            lo: 0,
            hi: mask(width),
        }
    }

    /// One value.
    pub(super) fn only(value: u64) -> Self {
        Self { lo: value, hi: value }
    }

    /// The one value, where it is one.
    pub(super) fn constant(self) -> Option<u64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// The smallest interval around both.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
        }
    }

    /// Whether `other` lies in it.
    pub(super) fn holds(self, other: Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }
}

/// `scale * value + offset`, without overflow
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub(super) scale: u64,
    pub(super) value: Value,
    pub(super) offset: u64,
}

enum Undo {
    Interval(Value, Interval),
    Difference(Value),
}

pub(super) struct Facts<'a> {
    widths: &'a [u8],
    intervals: Vec<Interval>,
    /// By `a`: every `(b, k)` with `a <= b + k`.
    differences: Vec<Vec<(Value, i128)>>,
    undo: Vec<Undo>,
    pub(super) defs: Defs,
    /// Sums and products that are known not to overflow.
    pub(super) linear: HashMap<Value, Linear>,
    /// `value = dividend / divisor`
    pub(super) quotients: HashMap<Value, (Value, u64)>,
    /// `value = if cond { yes } else { no }`, of `i1`s
    pub(super) choices: HashMap<Value, Choice>,
}

/// What the result of an `if` is.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) cond: Value,
    pub(super) yes: Value,
    pub(super) no: Value,
}

impl<'a> Facts<'a> {
    pub(super) fn new(widths: &'a [u8]) -> Self {
        Self {
            widths,
            intervals: widths.iter().map(|width| Interval::all(*width)).collect(),
            differences: vec![Vec::new(); widths.len()],
            undo: Vec::new(),
            defs: Defs::new(widths.len()),
            linear: HashMap::new(),
            quotients: HashMap::new(),
            choices: HashMap::new(),
        }
    }

    pub(super) fn width(&self, value: Value) -> u8 {
        self.widths[value.index()]
    }

    pub(super) fn get(&self, value: Value) -> Interval {
        self.intervals[value.index()]
    }

    pub(super) fn set(&mut self, value: Value, interval: Interval) {
        let old = std::mem::replace(&mut self.intervals[value.index()], interval);
        self.undo.push(Undo::Interval(value, old));
    }

    /// Cuts an interval down; contradictions (unreachable code) change nothing.
    pub(super) fn narrow(&mut self, value: Value, lo: u64, hi: u64) {
        let old = self.get(value);
        let new = Interval {
            lo: old.lo.max(lo),
            hi: old.hi.min(hi),
        };
        if new != old && new.lo <= new.hi {
            self.set(value, new);
        }
    }

    /// `a <= b + k`
    pub(super) fn add(&mut self, a: Value, b: Value, k: i128) {
        let list = &mut self.differences[a.index()];
        if a != b && list.len() < MAX_DIFFERENCES {
            list.push((b, k));
            self.undo.push(Undo::Difference(a));
        }
    }

    pub(super) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back everything since the mark.
    pub(super) fn restore(&mut self, mark: usize) {
        for undo in self.undo.drain(mark..).rev() {
            match undo {
                Undo::Interval(value, old) => self.intervals[value.index()] = old,
                Undo::Difference(value) => drop(self.differences[value.index()].pop()),
            }
        }
    }

    /// Whether `a <= b + k` certainly holds.
    pub(super) fn at_most(&self, a: Value, b: Value, k: i128) -> bool {
        let floor = i128::from(self.get(b).lo) + k;
        let mut seen: Vec<(Value, i128)> = vec![(a, 0)];
        let mut next = 0;
        while let Some(&(x, sum)) = seen.get(next) {
            next += 1;
            // a <= x + sum
            if x == b && sum <= k || i128::from(self.get(x).hi) + sum <= floor {
                return true;
            }
            let mut visit = |y: Value, sum: i128| {
                let known = seen.iter().any(|(z, less)| *z == y && *less <= sum);
                if !known && seen.len() < MAX_VISITED {
                    seen.push((y, sum));
                }
            };
            for (y, step) in &self.differences[x.index()] {
                visit(*y, sum + step);
            }
            for (y, step) in self.scaled(x) {
                visit(y, sum + step);
            }
        }
        false
    }

    /// `c * i + d <= n + (c * s + d)` where `i <= n / c + s`
    fn scaled(&self, x: Value) -> Vec<(Value, i128)> {
        let Some(Linear { scale, value, offset }) = self.linear.get(&x).copied() else {
            return Vec::new();
        };
        if scale < 2 {
            return Vec::new();
        }
        let mut found = Vec::new();
        let first = &self.differences[value.index()];
        let second = first.iter().flat_map(|(y, k)| {
            self.differences[y.index()]
                .iter()
                .map(move |(z, more)| (*z, k + more))
        });
        for (y, step) in first.iter().copied().chain(second) {
            if let Some((dividend, divisor)) = self.quotients.get(&y)
                && *divisor == scale
            {
                found.push((*dividend, i128::from(scale) * step + i128::from(offset)));
            }
        }
        found
    }

    /// What an `i1` certainly is.
    pub(super) fn decide(&self, cond: Value) -> Option<bool> {
        self.decide_at(cond, MAX_CONDITION_DEPTH)
    }

    fn decide_at(&self, cond: Value, depth: u32) -> Option<bool> {
        if let Some(value) = self.get(cond).constant() {
            return Some(value == 1);
        }
        let depth = depth.checked_sub(1)?;
        match *self.defs.get(cond) {
            Def::Cmp(op, a, b) => self.decide_cmp(op, a, b),
            Def::Bin(BinOp::And, a, b) => match (self.decide_at(a, depth), self.decide_at(b, depth)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Def::Bin(BinOp::Or, a, b) => match (self.decide_at(a, depth), self.decide_at(b, depth)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Def::Bin(BinOp::Xor, a, b) if self.get(b).constant() == Some(1) => {
                self.decide_at(a, depth).map(|value| !value)
            }
            _ => None,
        }
    }

    pub(super) fn decide_cmp(&self, op: CmpOp, a: Value, b: Value) -> Option<bool> {
        let apart = || self.at_most(a, b, -1) || self.at_most(b, a, -1);
        match op {
            CmpOp::Eq | CmpOp::Ne if apart() => Some(op == CmpOp::Ne),
            CmpOp::Eq | CmpOp::Ne if self.at_most(a, b, 0) && self.at_most(b, a, 0) => Some(op == CmpOp::Eq),
            CmpOp::Eq | CmpOp::Ne => None,
            CmpOp::Ult if self.at_most(a, b, -1) => Some(true),
            CmpOp::Ult if self.at_most(b, a, 0) => Some(false),
            CmpOp::Ule if self.at_most(a, b, 0) => Some(true),
            CmpOp::Ule if self.at_most(b, a, -1) => Some(false),
            CmpOp::Ult | CmpOp::Ule => None,
            CmpOp::Slt | CmpOp::Sle => self.decide_signed(op, a, b),
        }
    }

    fn decide_signed(&self, op: CmpOp, a: Value, b: Value) -> Option<bool> {
        if self.same_sign(a, b) {
            return self.decide_cmp(unsigned(op), a, b);
        }
        let (a_min, a_max) = self.signed_ends(a);
        let (b_min, b_max) = self.signed_ends(b);
        let equal_is = op == CmpOp::Sle;
        if a_max < b_min || (equal_is && a_max == b_min) {
            return Some(true);
        }
        (b_max < a_min || (!equal_is && b_max == a_min)).then_some(false)
    }

    fn signed_ends(&self, value: Value) -> (i64, i64) {
        let (width, Interval { lo, hi }) = (self.width(value), self.get(value));
        let (first, last) = (sign_extend(lo, width), sign_extend(hi, width));
        if first <= last {
            (first, last)
        } else {
            let top = (mask(width) >> 1) as i64;
            (-top - 1, top)
        }
    }

    /// Whether signed and unsigned order agree on the two: neither can be negative.
    fn same_sign(&self, a: Value, b: Value) -> bool {
        let top = mask(self.width(a)) >> 1;
        self.get(a).hi <= top && self.get(b).hi <= top
    }

    /// Adds what follows from a condition.
    pub(super) fn assume(&mut self, cond: Value, holds: bool) {
        self.assume_at(cond, holds, MAX_CONDITION_DEPTH);
    }

    fn assume_at(&mut self, cond: Value, holds: bool, depth: u32) {
        self.narrow(cond, u64::from(holds), u64::from(holds));
        let Some(depth) = depth.checked_sub(1) else { return };
        match *self.defs.get(cond) {
            Def::Cmp(op, a, b) => self.assume_cmp(op, a, b, holds),
            Def::Bin(BinOp::And, a, b) if holds && self.width(cond) == 1 => {
                self.assume_at(a, true, depth);
                self.assume_at(b, true, depth);
            }
            Def::Bin(BinOp::Or, a, b) if !holds => {
                self.assume_at(a, false, depth);
                self.assume_at(b, false, depth);
            }
            Def::Bin(BinOp::Xor, a, b) if self.get(b).constant() == Some(1) => {
                self.assume_at(a, !holds, depth)
            }
            _ => self.assume_choice(cond, holds, depth),
        }
    }

    /// Where one side of an `if` gives the opposite, the other one was taken, and gave what is assumed.
    fn assume_choice(&mut self, result: Value, holds: bool, depth: u32) {
        let Some(Choice { cond, yes, no }) = self.choices.get(&result).copied() else {
            return;
        };
        let opposite = Some(u64::from(!holds));
        if self.defs.constant(no) == opposite {
            self.assume_at(cond, true, depth);
            self.assume_at(yes, holds, depth);
        } else if self.defs.constant(yes) == opposite {
            self.assume_at(cond, false, depth);
            self.assume_at(no, holds, depth);
        }
    }

    fn assume_cmp(&mut self, op: CmpOp, a: Value, b: Value, holds: bool) {
        match (op, holds) {
            (CmpOp::Ult, true) => self.assume_less(a, b, 1),
            (CmpOp::Ult, false) => self.assume_less(b, a, 0),
            (CmpOp::Ule, true) => self.assume_less(a, b, 0),
            (CmpOp::Ule, false) => self.assume_less(b, a, 1),
            (CmpOp::Eq, true) | (CmpOp::Ne, false) => {
                self.assume_less(a, b, 0);
                self.assume_less(b, a, 0);
            }
            (CmpOp::Eq, false) | (CmpOp::Ne, true) => {
                self.assume_apart(a, b);
                self.assume_apart(b, a);
            }
            (CmpOp::Slt | CmpOp::Sle, _) if self.same_sign(a, b) => {
                self.assume_cmp(unsigned(op), a, b, holds)
            }
            // `0 <= x`: not negative.
            (CmpOp::Sle, true) | (CmpOp::Slt, true) if self.signed_ends(a).0 >= 0 => {
                let top = mask(self.width(b)) >> 1;
                self.narrow(b, 0, top);
                self.assume_cmp(unsigned(op), a, b, true);
            }
            (CmpOp::Slt | CmpOp::Sle, false) if self.signed_ends(b).0 >= 0 => {
                let top = mask(self.width(a)) >> 1;
                self.narrow(a, 0, top);
                self.assume_cmp(unsigned(op), a, b, false);
            }
            (CmpOp::Slt | CmpOp::Sle, _) => {}
        }
    }

    /// `a + gap <= b`
    fn assume_less(&mut self, a: Value, b: Value, gap: u64) {
        let (low, high) = (self.get(a).lo, self.get(b).hi);
        self.narrow(a, 0, high.saturating_sub(gap));
        self.narrow(b, low.saturating_add(gap), u64::MAX);
        self.add(a, b, -i128::from(gap));
    }

    /// `a != b`: where `b` is an end of `a`'s interval, that end moves.
    fn assume_apart(&mut self, a: Value, b: Value) {
        let Some(b) = self.get(b).constant() else { return };
        let Interval { lo, hi } = self.get(a);
        if lo == b && lo < hi {
            self.narrow(a, lo + 1, hi);
        } else if hi == b && lo < hi {
            self.narrow(a, lo, hi - 1);
        }
    }
}

fn unsigned(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Slt => CmpOp::Ult,
        CmpOp::Sle => CmpOp::Ule,
        other => other,
    }
}
