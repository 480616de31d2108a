//! Removes bounds checks that can't fail, and decides comparisons, by ranges and differences of values.
//!
//! Every index and slice is lowered with a check, every counted loop with a bound on its trips. Most hold by what
//! stands around them: a loop's head, a condition on the length, the width of a field, the shortest request.
//!
//! The walk goes over each region with what is known at that point ([`facts`]): an interval for each value, and
//! differences `a <= b + k`. Operations add facts about their results ([`transfer`]); a check, a branch and a loop head
//! add what they imply, for as long as it holds. `i < n / c` gives `c * i + d < n` for `d < c`, which covers streams of
//! records.
//!
//! A loop's parameters are first assumed to be what they start with. Where a trip gives them something else, a constant
//! step is followed for as many trips as there can be; anything else is widened to the end of its width, and the body is
//! walked again, three times at most, within a budget that is linear in the body; after that they may be anything. So the
//! pass ends, and takes about linear time.
//!
//! The walk only decides. Afterwards checks are deleted, decided comparisons become constants, and `simplify-cfg` does the
//! rest.

mod facts;
mod rewrite;
mod transfer;

use std::collections::{HashMap, HashSet};

use lambdac_mir::{
    Base, BinOp, Label, Loop, LoopKind, MessageSize, Op, Place, Region, Shape, Stmt, Term, Value, mask,
};

use crate::defs::Def;
use crate::pass::{Changed, Code, Context, MAX_MESSAGE, Pass, Run};
use crate::shapes::shape_of;
use crate::visit::is_arithmetic;
use facts::{Facts, Interval};

/// Checks that can't fail.
pub static BOUNDS_CHECK_ELIM: Pass = Pass {
    name: "bounds-check-elim",
    summary: "Range analysis and redundant check elimination",
    run: Run::Code(run),
};

/// Merges of branches looked through for a loop's step.
const MAX_MERGES: u32 = 4;

/// Walks of a loop's body that look for its parameters' intervals.
const MAX_ROUNDS: u32 = 4;

fn run(code: &mut Code<'_>, cx: &Context) -> Changed {
    let mut changed = Changed::No;
    for at in 0..code.entries.len() {
        let widths = code.body.values.clone();
        let region = &*code.entries[at].region;
        let mut analysis = Analysis {
            code,
            cx,
            request: code.request,
            facts: Facts::new(&widths),
            decisions: Decisions::default(),
            cursor: 0,
            scratch: 0,
            budget: 8 * region.op_count() + 1000,
            labels: HashMap::new(),
            merged: HashMap::new(),
        };
        analysis.region(region);
        let decisions = analysis.decisions;
        changed = changed.or(rewrite::apply(code.body, code.entries[at].region, &decisions));
    }
    changed
}

/// What the walk found out. Statements go by number, in walk order.
#[derive(Default)]
struct Decisions {
    /// Checks that always hold.
    checks: HashSet<usize>,
    /// Branches whose condition is decided.
    branches: HashMap<usize, bool>,
    /// Loops that stay within their bound.
    unchecked: HashSet<usize>,
    /// Results that are constants.
    constants: HashMap<Value, u64>,
    /// Results that are one of their operands.
    copies: HashMap<Value, Value>,
}

/// What comes together at a label.
struct Joined {
    breaks: Option<Vec<Interval>>,
    continues: Option<Vec<Interval>>,
    /// For each parameter: the largest step of any continue, where all are steps.
    params: Vec<Value>,
    steps: Vec<Option<u64>>,
}

struct Analysis<'a> {
    code: &'a Code<'a>,
    cx: &'a Context,
    request: MessageSize,
    facts: Facts<'a>,
    decisions: Decisions,
    /// The next statement's number.
    cursor: usize,
    /// Walks under way whose findings don't count yet.
    scratch: u32,
    /// Statements that such walks may still visit.
    budget: usize,
    labels: HashMap<Label, Joined>,
    /// What each result of an `if` or `switch` may be.
    merged: HashMap<Value, Vec<Value>>,
}

impl Analysis<'_> {
    /// Walks a region; intervals of what it yields, if it does.
    fn region(&mut self, region: &Region) -> Option<Vec<Interval>> {
        for stmt in &region.stmts {
            let number = self.cursor;
            self.cursor += 1;
            if self.scratch > 0 {
                self.budget = self.budget.saturating_sub(1);
            }
            self.stmt(number, stmt);
        }
        match &region.term {
            Term::Yield(values) => return Some(self.intervals(values)),
            Term::Break(label, values) => {
                let values = self.intervals(values);
                if let Some(joined) = self.labels.get_mut(label) {
                    join_into(&mut joined.breaks, &values);
                }
            }
            Term::Continue(label, values) => self.next_trip(*label, values),
            _ => {}
        }
        None
    }

    fn intervals(&self, values: &[Value]) -> Vec<Interval> {
        values.iter().map(|value| self.facts.get(*value)).collect()
    }

    fn next_trip(&mut self, label: Label, values: &[Value]) {
        let intervals = self.intervals(values);
        let Some(mut joined) = self.labels.remove(&label) else {
            return;
        };
        join_into(&mut joined.continues, &intervals);
        for ((value, param), step) in values.iter().zip(&joined.params).zip(&mut joined.steps) {
            let by = self.step(*value, *param, MAX_MERGES);
            *step = step.zip(by).map(|(a, b)| a.max(b));
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

    fn stmt(&mut self, number: usize, stmt: &Stmt) {
        match &stmt.op {
            Op::Check(cond, _) => {
                if self.facts.decide(*cond) == Some(true) && self.scratch == 0 {
                    self.decisions.checks.insert(number);
                }
                self.facts.assume(*cond, true);
            }
            Op::If(cond, then, other) => self.branch(number, stmt, (*cond, then, other)),
            Op::Switch { on, arms, default } => {
                let mut yields = None;
                self.forget_merges(&stmt.results);
                for (ranges, region) in arms {
                    let mark = self.facts.mark();
                    let lo = ranges.iter().map(|(lo, _)| *lo).min().unwrap_or(0);
                    let hi = ranges
                        .iter()
                        .map(|(_, hi)| hi.map_or(u64::MAX, |hi| hi - 1))
                        .max();
                    self.facts.narrow(*on, lo, hi.unwrap_or(u64::MAX));
                    self.arm(region, &stmt.results, &mut yields);
                    self.facts.restore(mark);
                }
                self.arm(default, &stmt.results, &mut yields);
                self.define_all(&stmt.results, yields);
            }
            Op::Block(label, region) => {
                self.labels.insert(*label, Joined::new(&[]));
                let mark = self.facts.mark();
                self.region(region);
                self.facts.restore(mark);
                let joined = self.labels.remove(label);
                self.define_all(&stmt.results, joined.and_then(|joined| joined.breaks));
            }
            Op::Loop(inner) => self.loop_(number, stmt, inner),
            op => self.plain(stmt, op),
        }
    }

    fn arm(&mut self, region: &Region, results: &[Value], yields: &mut Option<Vec<Interval>>) {
        let mark = self.facts.mark();
        if let Some(values) = self.region(region) {
            join_into(yields, &values);
        }
        self.facts.restore(mark);
        if let Term::Yield(values) = &region.term {
            for (result, value) in results.iter().zip(values) {
                self.merged.entry(*result).or_default().push(*value);
            }
        }
    }

    fn forget_merges(&mut self, results: &[Value]) {
        for result in results {
            self.merged.remove(result);
        }
    }

    fn define_all(&mut self, results: &[Value], intervals: Option<Vec<Interval>>) {
        for (result, interval) in results.iter().zip(intervals.into_iter().flatten()) {
            self.facts.set(*result, interval);
        }
    }

    fn branch(&mut self, number: usize, stmt: &Stmt, (cond, then, other): (Value, &Region, &Region)) {
        if let Some(holds) = self.facts.decide(cond)
            && self.facts.defs.constant(cond).is_none()
            && self.scratch == 0
        {
            self.decisions.branches.insert(number, holds);
        }
        let mut yields = None;
        self.forget_merges(&stmt.results);
        for (region, holds) in [(then, true), (other, false)] {
            let mark = self.facts.mark();
            self.facts.assume(cond, holds);
            self.arm(region, &stmt.results, &mut yields);
            self.facts.restore(mark);
        }
        self.define_all(&stmt.results, yields);
        let goes_on = |region: &Region| matches!(region.term, Term::Yield(_));
        match (goes_on(then), goes_on(other)) {
            (true, false) => self.facts.assume(cond, true),
            (false, true) => self.facts.assume(cond, false),
            _ => {}
        }
    }

    fn plain(&mut self, stmt: &Stmt, op: &Op) {
        let [result] = stmt.results[..] else {
            stmt.results.iter().for_each(|result| self.anything(*result));
            return;
        };
        self.facts.defs.record(stmt);
        match op {
            Op::Const(c) => self.facts.set(result, Interval::only(*c)),
            Op::Bin(op, a, b) => {
                self.facts.define_bin(result, *op, *a, *b);
                self.find_copy(result, *op, *a, *b);
            }
            Op::Cast(op, a) => self.facts.define_cast(result, *op, *a),
            Op::Select(c, a, b) => {
                let (a, b) = match self.facts.decide(*c) {
                    Some(true) => (a, a),
                    Some(false) => (b, b),
                    None => (a, b),
                };
                self.facts
                    .set(result, self.facts.get(*a).join(self.facts.get(*b)));
            }
            Op::Cmp(op, a, b) => {
                let decided = self.facts.decide_cmp(*op, *a, *b);
                self.facts.set(
                    result,
                    decided.map_or(Interval::all(1), |holds| Interval::only(holds.into())),
                );
            }
            Op::Len(place) => self.facts.set(result, self.len(place)),
            _ => self.anything(result),
        }
        if let Some(c) = self.facts.get(result).constant()
            && is_arithmetic(op)
            && !matches!(op, Op::Const(_))
            && self.scratch == 0
        {
            self.decisions.constants.insert(result, c);
        }
    }

    fn anything(&mut self, value: Value) {
        self.facts.set(value, Interval::all(self.facts.width(value)));
    }

    /// Operations whose result is their left operand, given its range.
    fn find_copy(&mut self, result: Value, op: BinOp, a: Value, b: Value) {
        if self.scratch > 0 {
            return;
        }
        let by = self.facts.get(b);
        let copied = match op {
            // A mask of low bits that covers the range.
            BinOp::And if by.constant().is_some_and(|c| c & (c.wrapping_add(1)) == 0) => {
                (self.facts.get(a).hi <= by.lo).then_some(a)
            }
            BinOp::URem if self.facts.at_most(a, b, -1) => Some(a),
            BinOp::UMin | BinOp::UMax if self.facts.at_most(a, b, 0) => {
                Some(if op == BinOp::UMin { a } else { b })
            }
            BinOp::UMin | BinOp::UMax if self.facts.at_most(b, a, 0) => {
                Some(if op == BinOp::UMin { b } else { a })
            }
            _ => None,
        };
        if let Some(copied) = copied {
            self.decisions.copies.insert(result, copied);
        }
    }

    /// What a length can be.
    fn len(&self, place: &Place) -> Interval {
        let (lo, hi) = match shape_of(self.code, self.cx, place) {
            Some(Shape::Bytes(capacity)) => (0, capacity),
            _ if place.base == Base::Request && place.path.is_empty() => (self.request.min, self.request.max),
            _ => (0, MAX_MESSAGE),
        };
        Interval {
            lo: lo.into(),
            hi: hi.into(),
        }
    }

    fn loop_(&mut self, number: usize, stmt: &Stmt, inner: &Loop) {
        let first_inside = self.cursor;
        let (params, inits): (Vec<Value>, Vec<Value>) = inner.params.iter().copied().unzip();
        let starts = self.intervals(&inits);
        let trips = self.most_trips(inner);
        if inner.checked && trips.is_some() && self.scratch == 0 {
            self.decisions.unchecked.insert(number);
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
        let mut assumed = starts.clone();
        let mut steps: Vec<Option<u64>> = vec![None; params.len()];
        let mut settled = params.is_empty();
        for round in 0..MAX_ROUNDS {
            if settled || self.budget == 0 {
                break;
            }
            self.cursor = first_inside;
            self.scratch += 1;
            let mark = self.facts.mark();
            let joined = self.trip(inner, &params, &assumed, &steps);
            self.facts.restore(mark);
            self.scratch -= 1;
            settled = true;
            let Some(next) = joined.continues else { break };
            for at in 0..params.len() {
                if steps[at].is_some() && joined.steps[at] <= steps[at] && joined.steps[at].is_some() {
                    continue;
                }
                if steps[at].is_none() && assumed[at].holds(next[at]) {
                    continue;
                }
                settled = false;
                let reach = joined.steps[at].filter(|_| round == 0).and_then(|step| {
                    let most = step.checked_mul(growths)?.checked_add(starts[at].hi)?;
                    // One step past the last trip is computed too.
                    (most.checked_add(step)? <= widths[at].hi).then_some((step, most))
                });
                (steps[at], assumed[at]) = match reach {
                    Some((step, most)) => (
                        Some(step),
                        Interval {
                            lo: starts[at].lo,
                            hi: most,
                        },
                    ),
                    None => (None, widen(assumed[at].join(next[at]), starts[at], widths[at])),
                };
            }
        }
        if !settled {
            assumed = widths;
            steps = vec![None; params.len()];
        }
        self.cursor = first_inside;
        let mark = self.facts.mark();
        let joined = self.trip(inner, &params, &assumed, &steps);
        self.facts.restore(mark);
        let mut ends = Some(starts);
        for more in [joined.continues, joined.breaks].into_iter().flatten() {
            join_into(&mut ends, &more);
        }
        self.define_all(&stmt.results, ends);
    }

    /// Walks a trip, given what its parameters are assumed to be.
    fn trip(
        &mut self,
        inner: &Loop,
        params: &[Value],
        assumed: &[Interval],
        steps: &[Option<u64>],
    ) -> Joined {
        for (param, interval) in params.iter().zip(assumed) {
            self.facts.set(*param, *interval);
        }
        match &inner.kind {
            LoopKind::For {
                var,
                from,
                to,
                signed,
            } => {
                self.head(inner, (*var, *from, *to), *signed);
                for ((param, init), step) in inner.params.iter().zip(steps) {
                    // At most one more each trip, as the variable: the distance between them never grows.
                    if step.is_some_and(|step| step <= 1) {
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
            }
        }
        self.labels.insert(inner.label, Joined::new(params));
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
    fn new(params: &[Value]) -> Self {
        Self {
            breaks: None,
            continues: None,
            params: params.to_vec(),
            steps: vec![Some(0); params.len()],
        }
    }
}

fn join_into(to: &mut Option<Vec<Interval>>, values: &[Interval]) {
    match to {
        None => *to = Some(values.to_vec()),
        Some(to) => to
            .iter_mut()
            .zip(values)
            .for_each(|(to, value)| *to = to.join(*value)),
    }
}

/// Moves the ends that moved all the way.
fn widen(seen: Interval, start: Interval, all: Interval) -> Interval {
    Interval {
        lo: if seen.lo < start.lo { all.lo } else { start.lo },
        hi: if seen.hi > start.hi { all.hi } else { start.hi },
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::BOUNDS_CHECK_ELIM;
    use crate::testing::run_pass;

    #[test]
    fn a_loop_head_bounds_its_variable() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    loop b0 for v2: i32 in v0..v1 max 64 checked () {
      v3: i1 = ult v2, v1
      check v3, index
      v4: i8 = load req[v2]
      log b"x" (unsigned v4)
      continue b0()
    }
    drop
  }
"#), @r#"
            labels 1
            part0() {
              v0: i32 = const 0
              v1: i32 = len req
        -     loop b0 for v2: i32 in v0..v1 max 64 checked () {
        -       v3: i1 = ult v2, v1
        -       check v3, index
        +     loop b0 for v2: i32 in v0..v1 max 64 () {
        +       v3: i1 = const 1
                v4: i8 = load req[v2]
                log b"x" (unsigned v4)
                continue b0()
              }
              drop
            }
        "#);
    }

    #[test]
    fn an_index_past_the_head_keeps_its_check() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32 = const 1
    loop b0 for v3: i32 in v0..v1 max 63 checked () {
      v4: i32 = add v3, v2
      v5: i1 = ult v4, v1
      check v5, index
      v6: i8 = load req[v4]
      log b"x" (unsigned v6)
      continue b0()
    }
    drop
  }
"#), @"
        unchanged
        ");
    }

    #[test]
    fn records_that_fit_the_length_need_no_check() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32 = const 2
    v3: i32 = lshr v1, v2
    loop b0 for v4: i32 in v0..v3 max 16 checked () {
      v5: i32 = shl v4, v2
      v6: i32 = const 3
      v7: i32 = add v5, v6
      v8: i1 = ult v7, v1
      check v8, index
      v9: i8 = load req[v7]
      log b"x" (unsigned v9)
      continue b0()
    }
    drop
  }
"#), @r#"
            labels 1
            part0() {
              v0: i32 = const 0
              v1: i32 = len req
              v2: i32 = const 2
              v3: i32 = lshr v1, v2
        -     loop b0 for v4: i32 in v0..v3 max 16 checked () {
        +     loop b0 for v4: i32 in v0..v3 max 16 () {
                v5: i32 = shl v4, v2
                v6: i32 = const 3
                v7: i32 = add v5, v6
        -       v8: i1 = ult v7, v1
        -       check v8, index
        +       v8: i1 = const 1
                v9: i8 = load req[v7]
                log b"x" (unsigned v9)
                continue b0()
              }
              drop
            }
        "#);
    }

    #[test]
    fn what_wraps_around_keeps_its_check() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, "
  part0() {
    v0: i8 = load_bits req, bit 0
    v1: i8 = const 200
    v2: i8 = add v0, v1
    v3: i1 = ule v1, v2
    check v3, index
    v4: i8 = const 100
    v5: i1 = ult v0, v4
    check v5, index
    v6: i8 = const 55
    v7: i8 = add v0, v6
    v8: i1 = ule v6, v7
    check v8, index
    drop
  }
"), @"
            part0() {
              v0: i8 = load_bits req, bit 0
              v1: i8 = const 200
              v2: i8 = add v0, v1
              v3: i1 = ule v1, v2
              check v3, index
              v4: i8 = const 100
              v5: i1 = ult v0, v4
              check v5, index
              v6: i8 = const 55
              v7: i8 = add v0, v6
        -     v8: i1 = ule v6, v7
        -     check v8, index
        +     v8: i1 = const 1
              drop
            }
        ");
    }

    #[test]
    fn a_counter_that_is_reset_each_trip_is_not_bounded_by_the_trips() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, "
  labels 1
  part0() {
    v0: i8 = const 0
    v1: i8 = const 10
    v2: i8 = loop b0 for v3: i8 in v0..v1 max 10 (v4: i8 = v0) {
      v5: i8 = const 3
      v6: i8 = mul v4, v5
      v7: i8 = const 1
      v8: i8 = add v6, v7
      v9: i1 = ult v4, v1
      check v9, index
      continue b0(v8)
    }
    drop
  }
"), @"
        unchanged
        ");
    }

    #[test]
    fn a_counter_that_sometimes_grows_stays_at_or_below_the_variable() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, "
  labels 1
  part0() {
    v0: i8 = const 0
    v1: i8 = load_bits req, bit 0
    v2: i8 = loop b0 for v3: i8 in v0..v1 max 255 (v4: i8 = v0) {
      v5: i1 = load_bits req, bit 9
      v6: i8 = const 1
      v7: i8 = add v4, v6
      v8: i8 = select v5, v7, v4
      v9: i1 = ult v4, v1
      check v9, capacity
      continue b0(v8)
    }
    drop
  }
"), @"
            labels 1
            part0() {
              v0: i8 = const 0
              v1: i8 = load_bits req, bit 0
              v2: i8 = loop b0 for v3: i8 in v0..v1 max 255 (v4: i8 = v0) {
                v5: i1 = load_bits req, bit 9
                v6: i8 = const 1
                v7: i8 = add v4, v6
                v8: i8 = select v5, v7, v4
        -       v9: i1 = ult v4, v1
        -       check v9, capacity
        +       v9: i1 = const 1
                continue b0(v8)
              }
              drop
            }
        ");
    }

    #[test]
    fn a_condition_that_leaves_is_known_not_to_hold_afterwards() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, "
  part0() {
    v0: i32 = len req
    v1: i32 = const 20
    v2: i1 = ult v0, v1
    if v2 {
      drop
    } else {
      yield
    }
    v3: i32 = const 19
    v4: i1 = ult v3, v0
    check v4, index
    drop
  }
"), @"
            part0() {
              v0: i32 = len req
              v1: i32 = const 20
              v2: i1 = ult v0, v1
              if v2 {
                drop
              } else {
                yield
              }
              v3: i32 = const 19
        -     v4: i1 = ult v3, v0
        -     check v4, index
        +     v4: i1 = const 1
              drop
            }
        ");
    }
}
