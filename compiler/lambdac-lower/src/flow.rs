//! `match` statements: arms become disjoint ranges of raw bits.

use std::collections::BTreeMap;

use lambdac_hir::{Block, Expr, IntType, LocalId, MatchArm, Value as Datum};
use lambdac_mir::Op;

use crate::body::BodyCx;
use crate::options::Want;

/// Half-open ranges of raw bits; the end `None` is past the top of 64 bits.
type Ranges = Vec<(u64, Option<u64>)>;

/// The raw values that earlier arms took, as disjoint half-open intervals by their start.
#[derive(Debug, Default)]
struct Taken(BTreeMap<u128, u128>);

impl Taken {
    /// Takes an interval; gives the parts of it that were free.
    fn take(&mut self, lo: u128, hi: u128) -> Vec<(u128, u128)> {
        let mut free = Vec::new();
        let mut at = lo;
        let before = self.0.range(..lo).next_back().map(|(_, &end)| end);
        at = at.max(before.unwrap_or(lo));
        let inside: Vec<(u128, u128)> = self.0.range(lo..hi).map(|(&s, &e)| (s, e)).collect();
        for (start, end) in inside {
            if at < start {
                free.push((at, start));
            }
            at = at.max(end);
            self.0.remove(&start);
        }
        if at < hi {
            free.push((at, hi));
        }
        // One interval stands for all that it met.
        let (mut start, mut end) = (lo, hi.max(at));
        if let Some((&s, &e)) = self.0.range(..lo).next_back()
            && e >= lo
        {
            self.0.remove(&s);
            start = s;
            end = end.max(e);
        }
        if start < end {
            self.0.insert(start, end);
        }
        free
    }

    fn is_all(&self, int: IntType) -> bool {
        self.0.get(&0).is_some_and(|&end| end > u128::from(int.mask()))
    }
}

/// The intervals of raw bits of `lo..hi` as the type orders its values.
fn raw_intervals(int: IntType, lo: &Datum, hi: &Datum) -> Vec<(u128, u128)> {
    let (lo, hi) = (u128::from(lo.as_int()), u128::from(hi.as_int()));
    let sign = 1u128 << (int.bits - 1);
    if !int.signed || (lo < sign) == (hi < sign) {
        return if lo < hi { vec![(lo, hi)] } else { Vec::new() };
    }
    if lo < sign {
        // From a positive value up to a negative one: empty.
        return Vec::new();
    }
    let mut intervals = vec![(lo, sign * 2)];
    if hi > 0 {
        intervals.push((0, hi));
    }
    intervals
}

fn to_ranges(free: Vec<(u128, u128)>) -> Ranges {
    free.into_iter()
        .map(|(lo, hi)| (lo as u64, u64::try_from(hi).ok()))
        .collect()
}

impl BodyCx<'_, '_> {
    /// The first arm that has the value; without one nothing happens.
    pub(crate) fn match_value(&mut self, scrutinee: &Expr, arms: &[MatchArm]) {
        let int = self.int_type(&scrutinee.ty);
        let on = self.scalar(scrutinee);
        let (mut taken, default) = split_arms(int, arms);
        // Where the arms take every value, the last one needs no test.
        let default = match default {
            Default::Block(block) => Some(block),
            Default::Unreachable => taken.pop().map(|(_, block)| block),
            Default::Nothing => None,
        };
        let mut assigned: Vec<LocalId> = taken
            .iter()
            .map(|(_, block)| *block)
            .chain(default)
            .flat_map(|block| self.facts.assigned_in(block).to_vec())
            .collect();
        assigned.sort_unstable();
        assigned.dedup();
        let assigned = self.visible(&assigned);
        if taken.is_empty() {
            if let Some(block) = default {
                self.block(block, &Want::Nothing);
            }
            return;
        }
        let mut lowered = Vec::new();
        let mut ranges = Vec::new();
        for (arm_ranges, block) in taken {
            ranges.push(arm_ranges);
            lowered.push(self.arm(&assigned, |cx| cx.block(block, &Want::Nothing)));
        }
        lowered.push(self.arm(&assigned, |cx| {
            default.map_or_else(Vec::new, |block| cx.block(block, &Want::Nothing))
        }));
        self.join(&assigned, lowered, |mut regions| {
            let default = regions
                .pop()
                .unwrap_or_else(|| unreachable!("there is always a default"));
            Op::Switch {
                on,
                arms: ranges.into_iter().zip(regions).collect(),
                default,
            }
        });
    }
}

enum Default<'b> {
    Block(&'b Block),
    Nothing,
    Unreachable,
}

/// The arms that can be reached, with the values that only they take.
fn split_arms(int: IntType, arms: &[MatchArm]) -> (Vec<(Ranges, &Block)>, Default<'_>) {
    let mut taken = Taken::default();
    let mut reachable = Vec::new();
    for arm in arms {
        if taken.is_all(int) {
            return (reachable, Default::Unreachable);
        }
        if arm.any {
            return (reachable, Default::Block(&arm.body));
        }
        let mut free = Vec::new();
        for value in &arm.values {
            let value = u128::from(value.as_int());
            free.extend(taken.take(value, value + 1));
        }
        for (lo, hi) in &arm.ranges {
            for (lo, hi) in raw_intervals(int, lo, hi) {
                free.extend(taken.take(lo, hi));
            }
        }
        if !free.is_empty() {
            reachable.push((to_ranges(free), &arm.body));
        }
    }
    let default = if taken.is_all(int) {
        Default::Unreachable
    } else {
        Default::Nothing
    };
    (reachable, default)
}
