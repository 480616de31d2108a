//! Deletes zeros that a loop overwrites before anything reads them.
//!
//! An array without an initial value is filled with zeros. Where a loop then gives every element a value, that is work for
//! nothing: a second pass over a large reply. The pattern is a `zero` of a whole slot of scalars, then statements that
//! don't touch the slot, then a loop that counts from 0 to the number of elements, stores to the element of its variable on
//! every trip, and touches the slot in no other way. Neither those statements nor the loop's body hold regions, so nothing
//! leaves early but a trap, after which nobody looks at the slot.
//!
//! The zeros are found by one walk along each region; from each the way to its loop is walked once.

use std::collections::HashMap;

use lambdac_mir::{Base, Loop, LoopKind, Op, Place, Region, Shape, SlotId, Step, Stmt, Term, Value};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{slot_of, touches};

/// Zeros for nothing.
pub static DSE: Pass = Pass {
    name: "dse",
    summary: "Removal of zeros that a loop overwrites",
    run: Run::Code(run),
};

/// Statements between a zero and its loop, so that the walk stays linear.
const MAX_BETWEEN: usize = 32;

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut changed = false;
    code.for_each_region(|body, region| {
        let shapes: Vec<Shape> = body.slots.iter().map(|slot| slot.shape.clone()).collect();
        let mut constants = HashMap::new();
        region.walk(&mut |stmt| {
            if let (Op::Const(value), [result]) = (&stmt.op, &stmt.results[..]) {
                constants.insert(*result, *value);
            }
        });
        let finder = Finder { shapes, constants };
        region.walk_regions_mut(&mut |region| changed |= finder.delete(region));
    });
    Changed::from_bool(changed)
}

struct Finder {
    shapes: Vec<Shape>,
    constants: HashMap<Value, u64>,
}

impl Finder {
    fn delete(&self, region: &mut Region) -> bool {
        let dead: Vec<usize> = (0..region.stmts.len())
            .filter(|at| self.is_dead(&region.stmts[*at], &region.stmts[at + 1..]))
            .collect();
        for at in dead.iter().rev() {
            region.stmts.remove(*at);
        }
        !dead.is_empty()
    }

    fn is_dead(&self, zero: &Stmt, rest: &[Stmt]) -> bool {
        let Op::Zero(place) = &zero.op else { return false };
        let Some(slot) = slot_of(place).filter(|_| place.path.is_empty()) else {
            return false;
        };
        let Some(Shape::Array(element, count)) = self.shapes.get(slot.index()) else {
            return false;
        };
        if !matches!(**element, Shape::Scalar(_)) {
            return false;
        }
        let leaves_alone = |stmt: &&Stmt| stmt.op.regions().is_empty() && !touches_slot(&stmt.op, slot);
        let between = rest.iter().take(MAX_BETWEEN).take_while(leaves_alone).count();
        match rest.get(between).map(|stmt| &stmt.op) {
            Some(Op::Loop(inner)) => self.fills(inner, slot, *count),
            _ => false,
        }
    }

    /// Whether a loop stores to each of `count` elements of a slot, and does nothing else with it.
    fn fills(&self, inner: &Loop, slot: SlotId, count: u32) -> bool {
        let LoopKind::For {
            var,
            from,
            to,
            signed: false,
        } = inner.kind
        else {
            return false;
        };
        let constant = |value: Value| self.constants.get(&value).copied();
        let ends = constant(from) == Some(0) && constant(to) == Some(count.into());
        let again = matches!(inner.body.term, Term::Continue(label, _) if label == inner.label);
        let element = Place::of(Base::Slot(slot)).step(Step::Index(var));
        let (mut stores, mut others) = (0, 0);
        for stmt in &inner.body.stmts {
            match &stmt.op {
                Op::Store(place, _) if *place == element => stores += 1,
                op => others += usize::from(!op.regions().is_empty() || touches_slot(op, slot)),
            }
        }
        ends && again && stores > 0 && others == 0
    }
}

fn touches_slot(op: &Op, slot: SlotId) -> bool {
    let mut found = false;
    touches(op, &mut |place, _| found |= slot_of(place) == Some(slot));
    found
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::DSE;
    use crate::testing::run_pass;

    #[test]
    fn zeros_of_an_array_that_a_loop_fills_are_deleted() {
        assert_snapshot!(run_pass(&DSE, r#"
  labels 1
  slot s0 "out": [i8 x 8]
  part0() {
    zero s0
    v0: i32 = const 0
    v1: i32 = const 8
    loop b0 for v2: i32 in v0..v1 max 8 () {
      v3: i8 = trunc v2
      store s0[v2], v3
      continue b0()
    }
    reply s0[v0 +: v1]
  }
"#), @r#"
            labels 1
            slot s0 "out": [i8 x 8]
            part0() {
        -     zero s0
              v0: i32 = const 0
              v1: i32 = const 8
              loop b0 for v2: i32 in v0..v1 max 8 () {
                v3: i8 = trunc v2
                store s0[v2], v3
                continue b0()
              }
              reply s0[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn a_loop_that_ends_before_the_array_leaves_them() {
        assert_snapshot!(run_pass(&DSE, r#"
  labels 1
  slot s0 "out": [i8 x 9]
  part0() {
    zero s0
    v0: i32 = const 0
    v1: i32 = const 8
    loop b0 for v2: i32 in v0..v1 max 8 () {
      v3: i8 = trunc v2
      store s0[v2], v3
      continue b0()
    }
    drop
  }
"#), @"unchanged");
    }

    #[test]
    fn a_loop_that_reads_the_array_or_leaves_early_leaves_them() {
        assert_snapshot!(run_pass(&DSE, r#"
  labels 2
  slot s0 "sums": [i8 x 8]
  slot s1 "out": [i8 x 8]
  part0() {
    zero s0
    v0: i32 = const 0
    v1: i32 = const 8
    loop b0 for v2: i32 in v0..v1 max 8 () {
      v3: i8 = load s0[v0]
      store s0[v2], v3
      continue b0()
    }
    zero s1
    loop b1 for v4: i32 in v0..v1 max 8 () {
      v5: i8 = trunc v4
      store s1[v4], v5
      break b1()
    }
    drop
  }
"#), @"unchanged");
    }
}
