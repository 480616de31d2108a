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
//! What is assumed of loops is in [`loops`].
//!
//! The walk only decides. Afterwards checks are deleted, decided comparisons become constants, and `simplify-cfg` does the
//! rest.

mod facts;
mod loops;
mod rewrite;
mod transfer;

use std::collections::{HashMap, HashSet};

use lambdac_mir::{Base, BinOp, Label, MessageSize, Op, Place, Region, Shape, Stmt, Term, Value};

use crate::pass::{Changed, Code, Context, MAX_MESSAGE, Pass, Run};
use crate::shapes::shape_of;
use crate::visit::is_arithmetic;
use facts::{Choice, Facts, Interval};
use loops::Joined;

/// Checks that can't fail.
pub static BOUNDS_CHECK_ELIM: Pass = Pass {
    name: "bounds-check-elim",
    summary: "Range analysis and redundant check elimination",
    run: Run::Code(run),
};

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
    /// Loops that stay within their bound, and the most trips that they make.
    unchecked: HashMap<usize, u64>,
    /// Results that are constants.
    constants: HashMap<Value, u64>,
    /// Results that are one of their operands.
    copies: HashMap<Value, Value>,
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
        self.note_choice(stmt, cond, (then, other));
        let goes_on = |region: &Region| matches!(region.term, Term::Yield(_));
        match (goes_on(then), goes_on(other)) {
            (true, false) => self.facts.assume(cond, true),
            (false, true) => self.facts.assume(cond, false),
            _ => {}
        }
    }

    fn note_choice(&mut self, stmt: &Stmt, cond: Value, (then, other): (&Region, &Region)) {
        let [result] = stmt.results[..] else { return };
        self.facts.choices.remove(&result);
        if let (Term::Yield(yes), Term::Yield(no)) = (&then.term, &other.term)
            && let ([yes], [no]) = (&yes[..], &no[..])
            && self.facts.width(result) == 1
        {
            let (yes, no) = (*yes, *no);
            self.facts.choices.insert(result, Choice { cond, yes, no });
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

    #[test]
    fn what_a_short_circuit_condition_says_holds_in_the_loop() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32 = loop b0 while max 64 checked (v3: i32 = v0) {
      v4: i1 = ult v3, v1
      v5: i1 = if v4 {
        v6: i8 = load req[v3]
        v7: i8 = const 32
        v8: i1 = ne v6, v7
        yield v8
      } else {
        v9: i1 = const 0
        yield v9
      }
      yield v5
    } do {
      v10: i1 = ult v3, v1
      check v10, index
      v11: i32 = const 1
      v12: i32 = add v3, v11
      continue b0(v12)
    }
    drop
  }
"#), @"
            labels 1
            part0() {
              v0: i32 = const 0
              v1: i32 = len req
        -     v2: i32 = loop b0 while max 64 checked (v3: i32 = v0) {
        +     v2: i32 = loop b0 while max 64 (v3: i32 = v0) {
                v4: i1 = ult v3, v1
                v5: i1 = if v4 {
                  v6: i8 = load req[v3]
                  v7: i8 = const 32
                  v8: i1 = ne v6, v7
                  yield v8
                } else {
                  v9: i1 = const 0
                  yield v9
                }
                yield v5
              } do {
        -       v10: i1 = ult v3, v1
        -       check v10, index
        +       v10: i1 = const 1
                v11: i32 = const 1
                v12: i32 = add v3, v11
                continue b0(v12)
              }
              drop
            }
        ");
    }

    #[test]
    fn a_condition_that_either_side_may_have_given_says_nothing() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  part0() {
    v0: i32 = const 8
    v1: i32 = len req
    v2: i1 = ult v0, v1
    v3: i1 = load_bits req, bit 0
    v4: i1 = if v2 {
      yield v3
    } else {
      v5: i1 = const 1
      yield v5
    }
    if v4 {
      check v2, index
      drop
    } else {
      yield
    }
    drop
  }
"#), @"
        unchanged
        ");
    }

    #[test]
    fn digits_written_from_the_end_stay_in_their_array() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i64 = now
    v1: i32 = const 20
    v2: i64 = const 0
    v3: i64 = const 10
    v4: i32 = const 1
    v5: i32, v6: i64 = loop b0 while max 20 checked (v7: i32 = v1, v8: i64 = v0) {
      v9: i1 = ne v8, v2
      yield v9
    } do {
      v10: i32 = sub v7, v4
      v11: i1 = ult v10, v1
      check v11, index
      v12: i64 = udiv v8, v3
      continue b0(v10, v12)
    }
    drop
  }
"#), @"
            labels 1
            part0() {
              v0: i64 = now
              v1: i32 = const 20
              v2: i64 = const 0
              v3: i64 = const 10
              v4: i32 = const 1
        -     v5: i32, v6: i64 = loop b0 while max 20 checked (v7: i32 = v1, v8: i64 = v0) {
        +     v5: i32, v6: i64 = loop b0 while max 20 (v7: i32 = v1, v8: i64 = v0) {
                v9: i1 = ne v8, v2
                yield v9
              } do {
                v10: i32 = sub v7, v4
        -       v11: i1 = ult v10, v1
        -       check v11, index
        +       v11: i1 = const 1
                v12: i64 = udiv v8, v3
                continue b0(v10, v12)
              }
              drop
            }
        ");
    }

    #[test]
    fn one_trip_less_than_the_digits_and_the_bound_stays() {
        assert_snapshot!(run_pass(&BOUNDS_CHECK_ELIM, r#"
  labels 1
  part0() {
    v0: i64 = now
    v1: i32 = const 18
    v2: i64 = const 0
    v3: i64 = const 10
    v4: i32 = const 1
    v5: i32, v6: i64 = loop b0 while max 19 checked (v7: i32 = v1, v8: i64 = v0) {
      v9: i1 = ne v8, v2
      yield v9
    } do {
      v10: i32 = sub v7, v4
      v11: i1 = ult v10, v1
      check v11, index
      v12: i64 = udiv v8, v3
      continue b0(v10, v12)
    }
    drop
  }
"#), @"
        unchanged
        ");
    }
}
