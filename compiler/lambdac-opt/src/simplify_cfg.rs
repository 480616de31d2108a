//! Simplifies structured control flow: decided branches, checks that always hold, blocks and loops without need.
//!
//! Inlining wraps each callee in a block, guards leave early, and `const-fold` decides conditions. Regions are
//! rewritten from the inside out, each statement once:
//!
//! - a decided `if`, `switch` or check is replaced by what it takes; where that leaves, the rest of the region goes;
//! - where one arm of an `if` leaves, the other continues after it instead of inside it, so that what the condition
//!   implies dominates the rest;
//! - small arms of arithmetic become selects;
//! - a block that only its own end breaks out of is opened, and one with a single early exit becomes an `if`;
//! - a loop without trips goes, a loop of one trip becomes a block.
//!
//! Each rule removes a region or empties one, and no rule makes a new non-empty region out of fewer, so the pass
//! ends. Splicing moves statements outwards only.

use lambdac_mir::{Label, Loc, Loop, LoopKind, Op, Region, Stmt, Term, Value};

use crate::defs::Defs;
use crate::pass::{Changed, Code, Context, Pass, Run, no_region};
use crate::visit::{Subst, is_arithmetic};

/// Decided branches, unneeded blocks and loops.
pub static SIMPLIFY_CFG: Pass = Pass {
    name: "simplify-cfg",
    summary: "Simplification of structured control flow",
    run: Run::Code(run),
};

/// Arms of at most so many operations (constants aside) become selects.
const MAX_SELECT_OPS: usize = 3;

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut changed = Changed::No;
    code.for_each_region(|body, region| {
        let mut exits = vec![Exits::default(); body.labels as usize];
        region.walk_regions(&mut |inner| match &inner.term {
            Term::Break(label, _) => exits[label.index()].breaks += 1,
            Term::Continue(label, _) => exits[label.index()].continues += 1,
            _ => {}
        });
        let values = body.values.len();
        let mut simplifier = Simplifier {
            body,
            defs: Defs::new(values),
            subst: Subst::new(values),
            exits,
            changed: false,
        };
        simplifier.region(region);
        changed = changed.or(Changed::from_bool(simplifier.changed));
    });
    changed
}

/// How often a label is left by, at most: code that is cut off is not taken away.
#[derive(Clone, Copy, Default)]
struct Exits {
    breaks: u32,
    continues: u32,
}

struct Simplifier<'a> {
    body: &'a mut lambdac_mir::Body,
    defs: Defs,
    subst: Subst,
    exits: Vec<Exits>,
    changed: bool,
}

/// What happens to the statements after one.
enum Next {
    /// They follow.
    On,
    /// They are never reached: the region ends so.
    Ends(Term),
}

impl Simplifier<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            self.subst.op(&mut stmt.op);
            for nested in stmt.op.regions_mut() {
                self.region(nested);
            }
            if let Next::Ends(term) = self.stmt(stmt, &mut out) {
                region.stmts = out;
                region.term = term;
                return;
            }
        }
        region.stmts = out;
        self.subst.term(&mut region.term);
    }

    fn stmt(&mut self, stmt: Stmt, out: &mut Vec<Stmt>) -> Next {
        let Stmt { results, op, loc } = stmt;
        let rest = match op {
            Op::Check(cond, cause) => match self.defs.constant(cond) {
                Some(1) => {
                    self.changed = true;
                    return Next::On;
                }
                Some(_) => {
                    self.changed = true;
                    return Next::Ends(Term::Trap(cause, loc));
                }
                None => Op::Check(cond, cause),
            },
            Op::If(cond, then, other) => return self.branch(results, (cond, then, other), loc, out),
            Op::Switch { on, arms, default } => return self.switch(results, (on, arms, default), loc, out),
            Op::Block(label, region) => return self.block(results, label, region, loc, out),
            Op::Loop(inner) => return self.loop_(results, inner, loc, out),
            op => op,
        };
        let stmt = Stmt {
            results,
            op: rest,
            loc,
        };
        self.defs.record(&stmt);
        out.push(stmt);
        Next::On
    }

    /// Puts a region in the place of the statement whose end its `yield` is.
    fn splice(&mut self, results: &[Value], region: Region, out: &mut Vec<Stmt>) -> Next {
        self.changed = true;
        self.splice_stmts(region.stmts, out);
        match region.term {
            Term::Yield(values) => {
                self.subst.set_all(results, &values);
                Next::On
            }
            term => Next::Ends(term),
        }
    }

    fn splice_stmts(&mut self, stmts: Vec<Stmt>, out: &mut Vec<Stmt>) {
        out.extend(stmts);
    }

    fn branch(
        &mut self,
        results: Vec<Value>,
        (cond, then, other): (Value, Region, Region),
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        if let Some(taken) = self.defs.constant(cond) {
            return self.splice(&results, if taken == 1 { then } else { other }, out);
        }
        if let Some(positive) = self.defs.negated(cond) {
            self.changed = true;
            return self.branch(results, (positive, other, then), loc, out);
        }
        match (&then.term, &other.term) {
            (Term::Yield(a), Term::Yield(b)) => {
                if then.stmts.is_empty() && other.stmts.is_empty() && a == b {
                    return self.splice(&results, then, out);
                }
                if is_selectable(&then, &other, results.len()) {
                    return self.select(&results, (cond, then, other), loc, out);
                }
            }
            (Term::Yield(_), _) if !is_nothing(&then) => {
                return self.hoist(results, (cond, then, other), loc, out);
            }
            (Term::Yield(_), _) => {}
            (_, _) if !is_nothing(&other) => return self.hoist(results, (cond, then, other), loc, out),
            _ => {}
        }
        out.push(Stmt {
            results,
            op: Op::If(cond, then, other),
            loc,
        });
        Next::On
    }

    /// Continues with one arm after the `if` whose other arm leaves.
    fn hoist(
        &mut self,
        results: Vec<Value>,
        (cond, then, other): (Value, Region, Region),
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        let (op, rest) = match then.term {
            Term::Yield(_) => (Op::If(cond, no_region(), other), then),
            _ => (Op::If(cond, then, no_region()), other),
        };
        out.push(Stmt {
            results: Vec::new(),
            op,
            loc,
        });
        self.splice(&results, rest, out)
    }

    /// Computes both arms and chooses.
    fn select(
        &mut self,
        results: &[Value],
        (cond, then, other): (Value, Region, Region),
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        self.changed = true;
        out.extend(then.stmts);
        out.extend(other.stmts);
        if let (Term::Yield(a), Term::Yield(b)) = (then.term, other.term) {
            for ((result, a), b) in results.iter().zip(a).zip(b) {
                out.push(Stmt {
                    results: vec![*result],
                    op: Op::Select(cond, a, b),
                    loc,
                });
            }
        }
        Next::On
    }

    fn switch(
        &mut self,
        results: Vec<Value>,
        (on, arms, default): Arms,
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        if let Some(value) = self.defs.constant(on) {
            let taken = arms.into_iter().find(|(ranges, _)| {
                ranges
                    .iter()
                    .any(|(from, to)| *from <= value && to.is_none_or(|to| value < to))
            });
            return self.splice(&results, taken.map_or(default, |(_, region)| region), out);
        }
        let all_nothing = arms
            .iter()
            .all(|(_, region)| region.stmts.is_empty() && region.term == default.term);
        if all_nothing && (arms.is_empty() || default.stmts.is_empty()) {
            return self.splice(&results, default, out);
        }
        let arms_leave = arms
            .iter()
            .all(|(_, region)| !matches!(region.term, Term::Yield(_)));
        if arms_leave && !is_nothing(&default) {
            out.push(Stmt {
                results: Vec::new(),
                op: Op::Switch {
                    on,
                    arms,
                    default: no_region(),
                },
                loc,
            });
            return self.splice(&results, default, out);
        }
        out.push(Stmt {
            results,
            op: Op::Switch { on, arms, default },
            loc,
        });
        Next::On
    }

    fn block(
        &mut self,
        results: Vec<Value>,
        label: Label,
        mut region: Region,
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        let breaks = self.exits[label.index()].breaks;
        match &region.term {
            Term::Break(target, _) if *target == label => {
                if breaks == 1 {
                    end_with_yield(&mut region);
                    return self.splice(&results, region, out);
                }
                if breaks == 2 && self.join_early_exit(&results, label, &mut region) {
                    end_with_yield(&mut region);
                    return self.splice(&results, region, out);
                }
            }
            _ if breaks == 0 => return self.splice(&results, region, out),
            _ => {}
        }
        out.push(Stmt {
            results,
            op: Op::Block(label, region),
            loc,
        });
        Next::On
    }

    /// `if c { A; break l x } B; break l y` is `r = if c { A; yield x } else { B; yield y }; break l r`, where these
    /// two are all that break out of `l`.
    fn join_early_exit(&mut self, results: &[Value], label: Label, region: &mut Region) -> bool {
        let leaves = |arm: &Region| matches!(&arm.term, Term::Break(target, _) if *target == label);
        let found = region.stmts.iter().rposition(|stmt| match &stmt.op {
            Op::If(_, then, other) => leaves(then) && is_nothing(other) || leaves(other) && is_nothing(then),
            _ => false,
        });
        let Some(at) = found else { return false };
        let rest = region.stmts.split_off(at + 1);
        let joined: Vec<Value> = results
            .iter()
            .map(|old| self.body.value(self.body.width(*old)))
            .collect();
        let term = std::mem::replace(&mut region.term, Term::Break(label, joined.clone()));
        if let Some(Stmt {
            results,
            op: Op::If(_, then, other),
            ..
        }) = region.stmts.last_mut()
        {
            *results = joined;
            let (early, late) = if leaves(then) {
                (then, other)
            } else {
                (other, then)
            };
            end_with_yield(early);
            *late = Region { stmts: rest, term };
            end_with_yield(late);
        }
        true
    }

    fn loop_(&mut self, results: Vec<Value>, mut inner: Box<Loop>, loc: Loc, out: &mut Vec<Stmt>) -> Next {
        let inits: Vec<Value> = inner.params.iter().map(|(_, init)| *init).collect();
        match &mut inner.kind {
            LoopKind::For {
                var,
                from,
                to,
                signed,
            } => {
                let trips = match (self.defs.constant(*from), self.defs.constant(*to)) {
                    (Some(from_c), Some(to_c)) => {
                        Some(trips(from_c, to_c, signed.then(|| self.body.width(*from))))
                    }
                    _ if from == to => Some(0),
                    _ => None,
                };
                if trips == Some(0) {
                    self.changed = true;
                    self.subst.set_all(&results, &inits);
                    return Next::On;
                }
                if trips == Some(1) && inner.max > 0 {
                    let var = (*var, *from);
                    return self.single_trip(results, *inner, var, loc, out);
                }
            }
            LoopKind::While(cond) => {
                if let Term::Yield(values) = &cond.term
                    && self.defs.constant(values[0]) == Some(0)
                {
                    let mut cond = std::mem::replace(cond, no_region());
                    self.rename(&mut cond, &inner.params);
                    self.subst.set_all(&results, &inits);
                    cond.term = Term::Yield(Vec::new());
                    return self.splice(&[], cond, out);
                }
            }
        }
        out.push(Stmt {
            results,
            op: Op::Loop(inner),
            loc,
        });
        Next::On
    }

    /// A loop of one trip is a block: the next trip's parameters are the results.
    fn single_trip(
        &mut self,
        results: Vec<Value>,
        inner: Loop,
        var: (Value, Value),
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Next {
        self.changed = true;
        let Loop {
            label,
            mut params,
            mut body,
            ..
        } = inner;
        params.push(var);
        self.rename(&mut body, &params);
        body.walk_regions_mut(&mut |region| {
            if let Term::Continue(target, values) = &mut region.term
                && *target == label
            {
                region.term = Term::Break(label, std::mem::take(values));
            }
        });
        let exits = &mut self.exits[label.index()];
        exits.breaks += std::mem::take(&mut exits.continues);
        self.block(results, label, body, loc, out)
    }

    /// Replaces parameters by what they stand for, in a region that was already simplified.
    fn rename(&mut self, region: &mut Region, params: &[(Value, Value)]) {
        for (param, init) in params {
            self.subst.set(*param, *init);
        }
        region.replace_uses(&mut |value| self.subst.get(value));
    }
}

type Arms = (Value, Vec<(Vec<(u64, Option<u64>)>, Region)>, Region);

/// How many trips a counting loop makes; `signed` is the width for a signed comparison.
fn trips(from: u64, to: u64, signed: Option<u8>) -> u64 {
    let below = match signed {
        None => from < to,
        Some(width) => lambdac_mir::sign_extend(from, width) < lambdac_mir::sign_extend(to, width),
    };
    if below {
        to.wrapping_sub(from) & signed.map_or(u64::MAX, lambdac_mir::mask)
    } else {
        0
    }
}

fn end_with_yield(region: &mut Region) {
    if let Term::Break(_, values) = &mut region.term {
        region.term = Term::Yield(std::mem::take(values));
    }
}

/// A region without statements or values.
fn is_nothing(region: &Region) -> bool {
    region.stmts.is_empty() && matches!(&region.term, Term::Yield(values) if values.is_empty())
}

/// Whether computing both arms costs no more than a branch.
fn is_selectable(then: &Region, other: &Region, results: usize) -> bool {
    let stmts = || then.stmts.iter().chain(&other.stmts);
    let ops = stmts().filter(|stmt| !matches!(stmt.op, Op::Const(_))).count();
    results > 0 && ops + results <= MAX_SELECT_OPS + 1 && stmts().all(|stmt| is_arithmetic(&stmt.op))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::SIMPLIFY_CFG;
    use crate::testing::run_pass;

    #[test]
    fn a_decided_branch_that_leaves_ends_the_region() {
        assert_snapshot!(run_pass(&SIMPLIFY_CFG, "
  part0() {
    v0: i1 = const 1
    if v0 {
      drop
    } else {
      yield
    }
    v1: i32 = const 0
    reply req[v1 +: v1]
  }
"), @"
        +   undefined v1: i32
            part0() {
              v0: i1 = const 1
        -     if v0 {
        -       drop
        -     } else {
        -       yield
        -     }
        -     v1: i32 = const 0
        -     reply req[v1 +: v1]
        +     drop
            }
        ");
    }

    #[test]
    fn a_check_that_fails_is_a_trap() {
        assert_snapshot!(run_pass(&SIMPLIFY_CFG, "
  part0() {
    v0: i1 = const 0
    check v0, pad @3
    drop
  }
"), @"
            part0() {
              v0: i1 = const 0
        -     check v0, pad @3
        -     drop
        +     trap pad @3
            }
        ");
    }

    #[test]
    fn what_follows_an_arm_that_leaves_stands_after_the_branch() {
        assert_snapshot!(run_pass(&SIMPLIFY_CFG, "
  part0() {
    v0: i1 = load_bits req, bit 0
    v1: i32 = if v0 {
      drop
    } else {
      v2: i32 = len req
      yield v2
    }
    v3: i32 = const 0
    reply req[v3 +: v1]
  }
"), @"
        +   undefined v1: i32
            part0() {
              v0: i1 = load_bits req, bit 0
        -     v1: i32 = if v0 {
        +     if v0 {
                drop
              } else {
        -       v2: i32 = len req
        -       yield v2
        +       yield
              }
        +     v2: i32 = len req
              v3: i32 = const 0
        -     reply req[v3 +: v1]
        +     reply req[v3 +: v2]
            }
        ");
    }

    #[test]
    fn a_block_with_one_early_exit_becomes_a_choice() {
        assert_snapshot!(run_pass(&SIMPLIFY_CFG, "
  labels 1
  part0() {
    v0: i1 = load_bits req, bit 0
    v1: i32 = const 0
    v2: i32 = block b0 {
      if v0 {
        break b0(v1)
      } else {
        yield
      }
      v3: i32 = random
      v4: i32 = const 15
      v5: i32 = and v3, v4
      break b0(v5)
    }
    v6: i32 = const 4
    v7: i32 = umin v2, v6
    reply req[v1 +: v7]
  }
"), @"
            labels 1
        +   undefined v2: i32
            part0() {
              v0: i1 = load_bits req, bit 0
              v1: i32 = const 0
        -     v2: i32 = block b0 {
        -       if v0 {
        -         break b0(v1)
        -       } else {
        -         yield
        -       }
        +     v8: i32 = if v0 {
        +       yield v1
        +     } else {
                v3: i32 = random
                v4: i32 = const 15
                v5: i32 = and v3, v4
        -       break b0(v5)
        +       yield v5
              }
              v6: i32 = const 4
        -     v7: i32 = umin v2, v6
        +     v7: i32 = umin v8, v6
              reply req[v1 +: v7]
            }
        ");
    }

    #[test]
    fn a_loop_of_one_trip_is_no_loop() {
        assert_snapshot!(run_pass(&SIMPLIFY_CFG, "
  labels 1
  part0() {
    v0: i32 = const 3
    v1: i32 = const 4
    v2: i32 = loop b0 for v3: i32 in v0..v1 max 9 checked (v4: i32 = v0) {
      v5: i32 = add v4, v3
      continue b0(v5)
    }
    v6: i1 = ult v2, v1
    check v6, index
    drop
  }
"), @"
            labels 1
        +   undefined v2: i32, v3: i32, v4: i32
            part0() {
              v0: i32 = const 3
              v1: i32 = const 4
        -     v2: i32 = loop b0 for v3: i32 in v0..v1 max 9 checked (v4: i32 = v0) {
        -       v5: i32 = add v4, v3
        -       continue b0(v5)
        -     }
        -     v6: i1 = ult v2, v1
        +     v5: i32 = add v0, v0
        +     v6: i1 = ult v5, v1
              check v6, index
              drop
            }
        ");
    }
}
