//! What can be said of a loop's parameters, and of its trips.
//!
//! A loop's parameters are first assumed to be what they start with. Where a trip gives them something else, a constant
//! step up or down is followed for as many trips as there can be; anything else is widened to the end of its width, and the
//! body is walked again, three times at most, within a budget that is linear in the body; after that they may be anything.
//! So the pass ends, and takes about linear time.
//!
//! A `while` keeps within its bound if each trip raises a parameter that the condition holds below a limit, or divides one
//! that it holds above 0.

use lambdac_mir::{BinOp, Label, Loop, LoopKind, Stmt, Term, Value, mask};

use super::facts::Interval;
use super::{Analysis, join_into};
use crate::defs::Def;

/// Merges of branches looked through for a loop's step.
const MAX_MERGES: u32 = 4;

/// Walks of a loop's body that look for its parameters' intervals.
const MAX_ROUNDS: u32 = 4;

/// What comes together at a label.
pub(super) struct Joined {
    pub(super) breaks: Option<Vec<Interval>>,
    pub(super) continues: Option<Vec<Interval>>,
    params: Vec<Value>,
    /// For each parameter: the largest step of any continue, where all are steps up.
    steps: Vec<Option<u64>>,
    /// As well, where all are steps down.
    downs: Vec<Option<u64>>,
    /// For each parameter: whether every continue gives it more.
    grows: Vec<bool>,
    /// For each parameter: the least that any continue divides it by, where all do.
    divisors: Vec<Option<u64>>,
    /// What the parameters can be where the body begins.
    entered: Vec<Interval>,
}

/// What is assumed of a loop's parameter.
#[derive(Clone, Copy)]
struct Assumed {
    interval: Interval,
    /// The step up that gave the interval's end.
    step: Option<u64>,
    /// The step down that gave its start.
    down: Option<u64>,
    /// The least it can be in the body, of whose trips there are fewer than of the condition's.
    floor: u64,
}

impl Assumed {
    fn plain(interval: Interval) -> Self {
        Self {
            interval,
            step: None,
            down: None,
            floor: interval.lo,
        }
    }
}

impl Analysis<'_> {
    pub(super) fn next_trip(&mut self, label: Label, values: &[Value]) {
        let intervals = self.intervals(values);
        let Some(mut joined) = self.labels.remove(&label) else {
            return;
        };
        join_into(&mut joined.continues, &intervals);
        for ((value, param), step) in values.iter().zip(&joined.params).zip(&mut joined.steps) {
            let by = self.step(*value, *param, MAX_MERGES);
            *step = step.zip(by).map(|(a, b)| a.max(b));
        }
        for (at, &value) in values.iter().enumerate().take(joined.params.len()) {
            let param = joined.params[at];
            let down = self.down(value, param);
            joined.downs[at] = joined.downs[at].zip(down).map(|(a, b)| a.max(b));
            joined.grows[at] &= self.facts.at_most(param, value, -1);
            let divisor = match self.facts.quotients.get(&value) {
                Some((dividend, divisor)) if *dividend == param => Some(*divisor),
                _ => None,
            };
            joined.divisors[at] = joined.divisors[at].zip(divisor).map(|(a, b)| a.min(b));
        }
        self.labels.insert(label, joined);
    }

    /// How much more than the parameter a value is, at most, where it is the parameter and a constant on every path.
    fn step(&self, value: Value, param: Value, merges: u32) -> Option<u64> {
        if value == param {
            return Some(0);
        }
        if let Some(linear) = self.facts.linear.get(&value) {
            return (linear.value == param && linear.scale == 1).then_some(linear.offset);
        }
        let merges = merges.checked_sub(1)?;
        let of = |value: &Value| self.step(*value, param, merges);
        match self.facts.defs.get(value) {
            Def::Select(_, a, b) => Some(of(a)?.max(of(b)?)),
            _ => self
                .merged
                .get(&value)?
                .iter()
                .try_fold(0, |most, from| Some(of(from)?.max(most))),
        }
    }

    /// How much less than the parameter a value is, where it is the parameter minus a constant, without wrapping.
    fn down(&self, value: Value, param: Value) -> Option<u64> {
        if value == param {
            return Some(0);
        }
        match *self.facts.defs.get(value) {
            Def::Bin(BinOp::Sub, a, b) if a == param => {
                let by = self.facts.get(b).constant()?;
                (by <= self.facts.get(param).lo).then_some(by)
            }
            _ => None,
        }
    }

    pub(super) fn loop_(&mut self, number: usize, stmt: &Stmt, inner: &Loop) {
        let first_inside = self.cursor;
        let (params, inits): (Vec<Value>, Vec<Value>) = inner.params.iter().copied().unzip();
        let starts = self.intervals(&inits);
        let trips = self.most_trips(inner);
        if let Some(trips) = trips
            && self.scratch == 0
        {
            self.decisions.unchecked.insert(number, trips);
        }
        let trips = trips.unwrap_or(inner.max);
        // How often a parameter has grown when it is looked at last: by the last trip's body, but the condition of a
        // `while` sees what that trip left too.
        let growths = match inner.kind {
            LoopKind::For { .. } => trips.saturating_sub(1),
            LoopKind::While(_) => trips,
        };
        let widths: Vec<Interval> = params
            .iter()
            .map(|param| Interval::all(self.facts.width(*param)))
            .collect();
        let mut assumed: Vec<Assumed> = starts.iter().map(|start| Assumed::plain(*start)).collect();
        let mut settled = params.is_empty();
        for round in 0..MAX_ROUNDS {
            if settled || self.budget == 0 {
                break;
            }
            self.cursor = first_inside;
            self.scratch += 1;
            let mark = self.facts.mark();
            let joined = self.trip(inner, &params, &assumed);
            self.facts.restore(mark);
            self.scratch -= 1;
            settled = true;
            let Some(next) = joined.continues.clone() else {
                break;
            };
            for at in 0..params.len() {
                if still_holds(&assumed[at], &joined, at, next[at]) {
                    continue;
                }
                settled = false;
                let followed = (round == 0).then(|| {
                    follow(
                        (joined.steps[at], joined.downs[at]),
                        starts[at],
                        growths,
                        widths[at].hi,
                    )
                });
                assumed[at] = followed.flatten().unwrap_or_else(|| {
                    let seen = assumed[at].interval.join(next[at]);
                    Assumed::plain(widen(seen, starts[at], widths[at]))
                });
            }
        }
        if !settled {
            assumed = widths.into_iter().map(Assumed::plain).collect();
        }
        self.cursor = first_inside;
        let mark = self.facts.mark();
        let joined = self.trip(inner, &params, &assumed);
        self.facts.restore(mark);
        if inner.checked && self.scratch == 0 && while_trips(inner, &joined, &starts).is_some() {
            self.decisions.unchecked.insert(number, inner.max);
        }
        let mut ends = Some(starts);
        for more in [joined.continues, joined.breaks].into_iter().flatten() {
            join_into(&mut ends, &more);
        }
        self.define_all(&stmt.results, ends);
    }

    /// Walks a trip, given what its parameters are assumed to be.
    fn trip(&mut self, inner: &Loop, params: &[Value], assumed: &[Assumed]) -> Joined {
        for (param, assumed) in params.iter().zip(assumed) {
            self.facts.set(*param, assumed.interval);
        }
        match &inner.kind {
            LoopKind::For {
                var,
                from,
                to,
                signed,
            } => {
                self.head(inner, (*var, *from, *to), *signed);
                for ((param, init), assumed) in inner.params.iter().zip(assumed) {
                    // At most one more each trip, as the variable: the distance between them never grows.
                    if assumed.step.is_some_and(|step| step <= 1) {
                        let gap = i128::from(self.facts.get(*init).hi) - i128::from(self.facts.get(*from).lo);
                        self.facts.add(*param, *var, gap);
                    }
                }
            }
            LoopKind::While(cond) => {
                let _ = self.region(cond);
                if let Term::Yield(values) = &cond.term {
                    self.facts.assume(values[0], true);
                }
                for (param, assumed) in params.iter().zip(assumed) {
                    self.facts.narrow(*param, assumed.floor, u64::MAX);
                }
            }
        }
        let entered = self.intervals(params);
        let joined = Joined {
            entered,
            ..Joined::new(params)
        };
        self.labels.insert(inner.label, joined);
        self.region(&inner.body);
        self.labels
            .remove(&inner.label)
            .unwrap_or_else(|| Joined::new(params))
    }

    /// What a counting loop's head says of its variable.
    fn head(&mut self, inner: &Loop, (var, from, to): (Value, Value, Value), signed: bool) {
        let (first, end) = (self.facts.get(from), self.facts.get(to));
        let top = mask(self.facts.width(var));
        self.facts.set(var, Interval::all(self.facts.width(var)));
        if signed && (first.hi > top >> 1 || end.hi > top >> 1) {
            return;
        }
        let by_bound = first.hi.saturating_add(inner.max.saturating_sub(1));
        self.facts
            .narrow(var, first.lo, end.hi.saturating_sub(1).min(by_bound));
        self.facts.add(var, to, -1);
        self.facts.add(from, var, 0);
    }

    /// The most trips that a counting loop makes, where that is surely within its bound.
    fn most_trips(&self, inner: &Loop) -> Option<u64> {
        let LoopKind::For { from, to, signed, .. } = inner.kind else {
            return None;
        };
        let (first, end) = (self.facts.get(from), self.facts.get(to));
        let top = mask(self.facts.width(from)) >> 1;
        if signed && (first.hi > top || end.hi > top) {
            return None;
        }
        let trips = end.hi.saturating_sub(first.lo);
        if trips <= inner.max {
            return Some(trips);
        }
        self.facts
            .at_most(to, from, i128::from(inner.max))
            .then_some(inner.max)
    }
}

impl Joined {
    pub(super) fn new(params: &[Value]) -> Self {
        Self {
            breaks: None,
            continues: None,
            params: params.to_vec(),
            steps: vec![Some(0); params.len()],
            downs: vec![Some(0); params.len()],
            grows: vec![true; params.len()],
            divisors: vec![Some(u64::MAX); params.len()],
            entered: Vec::new(),
        }
    }
}

/// Whether what a trip gave a parameter is what was assumed.
fn still_holds(assumed: &Assumed, joined: &Joined, at: usize, next: Interval) -> bool {
    let within = |found: Option<u64>, most: u64| found.is_some_and(|found| found <= most);
    match (assumed.step, assumed.down) {
        (Some(step), _) => within(joined.steps[at], step),
        (None, Some(down)) => within(joined.downs[at], down),
        (None, None) => assumed.interval.holds(next),
    }
}

/// Where constant steps, up or else down, lead in so many trips, if not past an end of the width.
fn follow(
    (step, down): (Option<u64>, Option<u64>),
    start: Interval,
    trips: u64,
    top: u64,
) -> Option<Assumed> {
    let up = step.and_then(|step| {
        let most = step.checked_mul(trips)?.checked_add(start.hi)?;
        // One step past the last trip is computed too.
        (most.checked_add(step)? <= top).then_some(Assumed {
            step: Some(step),
            ..Assumed::plain(Interval {
                lo: start.lo,
                hi: most,
            })
        })
    });
    up.or_else(|| {
        let down = down?;
        let least = start.lo.checked_sub(down.checked_mul(trips)?)?;
        Some(Assumed {
            down: Some(down),
            floor: if trips == 0 { least } else { least + down },
            ..Assumed::plain(Interval {
                lo: least,
                hi: start.hi,
            })
        })
    })
}

/// The most trips of a `while`, where that is surely within its bound, given what a trip does.
fn while_trips(inner: &Loop, joined: &Joined, starts: &[Interval]) -> Option<u64> {
    let LoopKind::While(_) = inner.kind else {
        return None;
    };
    let of = |at: usize| {
        let (start, entered) = (starts[at], *joined.entered.get(at)?);
        if joined.grows[at] && entered.hi >= start.lo {
            let trips = (entered.hi - start.lo).checked_add(1)?;
            return (trips <= inner.max).then_some(trips);
        }
        let divisor = joined.divisors[at].filter(|divisor| *divisor >= 2 && entered.lo > 0)?;
        let (mut left, mut trips) = (start.hi, 0);
        while left > 0 {
            left /= divisor;
            trips += 1;
        }
        (trips <= inner.max).then_some(trips)
    };
    (0..starts.len()).find_map(of)
}

/// Moves the ends that moved all the way.
fn widen(seen: Interval, start: Interval, all: Interval) -> Interval {
    Interval {
        lo: if seen.lo < start.lo { all.lo } else { start.lo },
        hi: if seen.hi > start.hi { all.hi } else { start.hi },
    }
}
