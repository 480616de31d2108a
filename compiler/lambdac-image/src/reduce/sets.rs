//! Sets of integers as ranges: what a condition says of a field.

use lambdac_mir::{CmpOp, Cond, Field, mask};

/// Most ranges of a set; a set that would need more is not represented.
const MAX_RANGES: usize = 16;

/// A set of unsigned integers: ranges, both ends included, ascending, with gaps between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<(u64, u64)>);

impl Set {
    /// All values of a field.
    pub fn all(field: Field) -> Self {
        let top = match field {
            Field::Rest { max, .. } => u64::from(max),
            _ => mask(field.width()),
        };
        Self(vec![(0, top)])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges that are in both.
    pub fn and(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        for &(lo, hi) in &self.0 {
            for &(low, high) in &other.0 {
                let (lo, hi) = (lo.max(low), hi.min(high));
                if lo <= hi {
                    out.push((lo, hi));
                }
            }
        }
        out.sort_unstable();
        Self(out)
    }

    /// What is in either.
    pub fn or(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut out: Vec<(u64, u64)> = Vec::new();
        for (lo, hi) in all {
            match out.last_mut() {
                // Touching ranges are one.
                Some(last) if lo <= last.1.saturating_add(1) => last.1 = last.1.max(hi),
                _ => out.push((lo, hi)),
            }
        }
        Self(out)
    }

    /// What of `all` is not in it.
    pub fn without(all: &Self, minus: &Self) -> Self {
        let mut out = Vec::new();
        for &(lo, hi) in &all.0 {
            let mut from = Some(lo);
            for &(low, high) in &minus.0 {
                let Some(at) = from else { break };
                if high < at || low > hi {
                    continue;
                }
                if low > at {
                    out.push((at, low - 1));
                }
                from = high.checked_add(1).filter(|next| *next <= hi);
            }
            if let Some(at) = from {
                out.push((at, hi));
            }
        }
        Self(out)
    }

    /// Whether it can be remembered.
    pub fn is_small(&self) -> bool {
        self.0.len() <= MAX_RANGES
    }

    /// The one condition over the field that says it, for values that are in `among`; none where it takes several.
    pub fn cond(&self, field: Field, among: &Self) -> Option<Cond> {
        let inside = among.and(self);
        let [(lo, hi)] = inside.0[..] else {
            // All but one value.
            let rest = Self::without(among, self);
            let [(lo, hi)] = rest.0[..] else { return None };
            return (lo == hi).then_some(Cond::Cmp {
                field,
                op: CmpOp::Ne,
                swapped: false,
                value: lo,
            });
        };
        let (least, most) = (among.0.first()?.0, among.0.last()?.1);
        let cmp = |op, swapped, value| {
            Some(Cond::Cmp {
                field,
                op,
                swapped,
                value,
            })
        };
        if lo == hi {
            return cmp(CmpOp::Eq, false, lo);
        }
        if lo <= least {
            return cmp(CmpOp::Ule, false, hi);
        }
        if hi >= most {
            return cmp(CmpOp::Ule, true, lo);
        }
        None
    }
}

/// The values of a field for which an atomic condition holds; none where it is no set of ranges.
pub(super) fn set_of(cond: &Cond) -> Option<(Field, Set)> {
    let (field, set) = match cond {
        Cond::Cmp {
            field,
            op,
            swapped,
            value,
        } => (*field, compared(*field, *op, *swapped, *value)),
        Cond::Range { field, lo, hi } if lo < hi => (*field, Set(vec![(*lo, *hi - 1)])),
        Cond::Range { field, .. } => (*field, Set(Vec::new())),
        Cond::Masked {
            field,
            mask: bits,
            value,
        } => {
            let top = mask(field.width());
            if value & !bits != 0 {
                return Some((*field, Set(Vec::new())));
            }
            let low = top & !bits;
            // A prefix: the bits that do not count are the lowest.
            if low & low.wrapping_add(1) != 0 {
                return None;
            }
            (*field, Set(vec![(*value, value | low)]))
        }
        _ => return None,
    };
    let set = set.and(&Set::all(field));
    set.is_small().then_some((field, set))
}

fn compared(field: Field, op: CmpOp, swapped: bool, value: u64) -> Set {
    let width = field.width();
    let top = mask(width);
    let sign = 1u64 << (width - 1);
    let below = |end: u64| {
        end.checked_sub(1)
            .map_or(Set(Vec::new()), |last| Set(vec![(0, last)]))
    };
    let above = |last: u64| match last.checked_add(1) {
        Some(from) if from <= top => Set(vec![(from, top)]),
        _ => Set(Vec::new()),
    };
    // Signed order is unsigned order with the sign flipped: a range there is one or two ranges here.
    let signed = |least: bool, bound: u64, included: bool| {
        let bound = bound ^ sign;
        let flipped = match (least, included) {
            (true, true) => Set(vec![(bound, top)]),
            (true, false) => above(bound),
            (false, true) => Set(vec![(0, bound)]),
            (false, false) => below(bound),
        };
        let mut out = Set(Vec::new());
        for (lo, hi) in flipped.0 {
            for (low, high) in [(0, sign - 1), (sign, top)] {
                let (lo, hi) = (lo.max(low), hi.min(high));
                if lo <= hi {
                    out = out.or(&Set(vec![(lo ^ sign, hi ^ sign)]));
                }
            }
        }
        out
    };
    match (op, swapped) {
        (CmpOp::Eq, _) => Set(vec![(value, value)]),
        (CmpOp::Ne, _) => Set::without(&Set(vec![(0, top)]), &Set(vec![(value, value)])),
        (CmpOp::Ult, false) => below(value),
        (CmpOp::Ult, true) => above(value),
        (CmpOp::Ule, false) => Set(vec![(0, value)]),
        (CmpOp::Ule, true) => Set(vec![(value, top)]),
        (CmpOp::Slt, false) => signed(false, value, false),
        (CmpOp::Slt, true) => signed(true, value, false),
        (CmpOp::Sle, false) => signed(false, value, true),
        (CmpOp::Sle, true) => signed(true, value, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every condition over every value of a field of four bits: the set says what the comparison does.
    #[test]
    fn sets_hold_what_conditions_do() {
        let field = Field::Bits { bit: 0, width: 4 };
        let signed = |v: u64| (v as i64) << 60 >> 60;
        let ops = [
            CmpOp::Eq,
            CmpOp::Ne,
            CmpOp::Ult,
            CmpOp::Ule,
            CmpOp::Slt,
            CmpOp::Sle,
        ];
        for op in ops {
            for (swapped, value) in [false, true]
                .into_iter()
                .flat_map(|s| (0..16).map(move |v| (s, v)))
            {
                let cond = Cond::Cmp {
                    field,
                    op,
                    swapped,
                    value,
                };
                let (_, set) = set_of(&cond).expect("a comparison is a set");
                for found in 0..16u64 {
                    let (a, b) = if swapped { (value, found) } else { (found, value) };
                    let holds = match op {
                        CmpOp::Eq => a == b,
                        CmpOp::Ne => a != b,
                        CmpOp::Ult => a < b,
                        CmpOp::Ule => a <= b,
                        CmpOp::Slt => signed(a) < signed(b),
                        CmpOp::Sle => signed(a) <= signed(b),
                    };
                    let inside = set.0.iter().any(|(lo, hi)| (*lo..=*hi).contains(&found));
                    assert_eq!(inside, holds, "{cond:?} of {found}: {set:?}");
                }
            }
        }
    }

    #[test]
    fn a_set_that_is_one_condition_is_found_again() {
        let field = Field::Bits { bit: 0, width: 4 };
        let all = Set::all(field);
        for lo in 0..16u64 {
            for hi in lo..16 {
                let set = Set(vec![(lo, hi)]);
                if let Some(cond) = set.cond(field, &all) {
                    assert_eq!(set_of(&cond), Some((field, set.clone())), "{cond:?}");
                }
                let rest = Set::without(&all, &set);
                assert_eq!(rest.or(&set), all);
                assert!(rest.and(&set).is_empty());
            }
        }
    }
}
