//! Moves what a loop computes anew each trip, and would be the same, in front of the loop.
//!
//! Only arithmetic, facts about the packet, the request's length, and bit fields of the request that lie
//! inside every request are moved, and only from the loop's own region: all of these are total and read nothing that
//! changes, so that computing them for a loop without trips does no harm. Checks and other loads stay.
//!
//! Regions are handled from the inside out, so what leaves an inner loop can leave the outer one too. Each statement moves
//! at most once a level.

use std::collections::HashSet;

use lambdac_mir::{Base, LoopKind, Op, Region, Stmt, Value};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::is_arithmetic;

/// Loop invariants.
pub static LICM: Pass = Pass {
    name: "licm",
    summary: "Loop-invariant code motion",
    run: Run::Code(run),
};

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut mover = Mover {
        widths: &code.body.values,
        request_bits: u64::from(code.request.min) * 8,
        changed: false,
    };
    for entry in &mut code.entries {
        mover.region(entry.region);
    }
    Changed::from_bool(mover.changed)
}

struct Mover<'a> {
    widths: &'a [u8],
    /// Bits that every request has.
    request_bits: u64,
    changed: bool,
}

impl Mover<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        region.stmts.reserve(stmts.len());
        for mut stmt in stmts {
            for nested in stmt.op.regions_mut() {
                self.region(nested);
            }
            if let Op::Loop(inner) = &mut stmt.op {
                let mut inside: HashSet<Value> = inner.params.iter().map(|(param, _)| *param).collect();
                if let LoopKind::For { var, .. } = &inner.kind {
                    inside.insert(*var);
                }
                self.hoist(&mut inner.body, inside, &mut region.stmts);
            }
            region.stmts.push(stmt);
        }
    }

    /// Moves what does not depend on the values defined `inside` to `before`. A constant alone is not worth a register
    /// through the loop: it moves only with what uses it.
    fn hoist(&mut self, body: &mut Region, mut inside: HashSet<Value>, before: &mut Vec<Stmt>) {
        let mut moves = vec![false; body.stmts.len()];
        let mut needed: HashSet<Value> = HashSet::new();
        for (stmt, moves) in body.stmts.iter().zip(&mut moves) {
            *moves = self.is_movable(stmt);
            stmt.op
                .for_each_operand(|value| *moves &= !inside.contains(&value));
            if !*moves {
                inside.extend(&stmt.results);
            } else if !matches!(stmt.op, Op::Const(_)) {
                stmt.op.for_each_operand(|value| {
                    needed.insert(value);
                });
            }
        }
        let stmts = std::mem::take(&mut body.stmts);
        body.stmts.reserve(stmts.len());
        for (stmt, moves) in stmts.into_iter().zip(moves) {
            let lone =
                matches!(stmt.op, Op::Const(_)) && !stmt.results.iter().any(|value| needed.contains(value));
            if moves && !lone {
                self.changed = true;
                before.push(stmt);
            } else {
                body.stmts.push(stmt);
            }
        }
    }

    fn is_movable(&self, stmt: &Stmt) -> bool {
        match &stmt.op {
            Op::Pkt(_) | Op::Now => true,
            Op::Len(place) => place.base == Base::Request,
            Op::LoadBits(place, pos) => {
                let end = |result: &Value| u64::from(pos.bit) + u64::from(self.widths[result.index()]);
                place.base == Base::Request
                    && pos.index.is_none()
                    && stmt.results.iter().all(|result| end(result) <= self.request_bits)
            }
            op => is_arithmetic(op),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::LICM;
    use crate::testing::run_pass;

    #[test]
    fn a_constant_moves_only_with_what_uses_it() {
        assert_snapshot!(run_pass(&LICM, r#"
  labels 1
  slot s0 "a": [i8 x 64]
  part0() {
    v0: i32 = const 0
    v1: i32 = const 64
    zero s0
    loop b0 for v2: i32 in v0..v1 max 64 () {
      v3: i8 = load_bits req, bit 8
      v4: i8 = const 3
      v5: i8 = mul v3, v4
      v6: i8 = const 9
      v7: i8 = trunc v2
      v8: i8 = add v7, v6
      v9: i8 = xor v8, v5
      store s0[v2], v9
      continue b0()
    }
    reply s0[v0 +: v1]
  }
"#), @r#"
            labels 1
            slot s0 "a": [i8 x 64]
            part0() {
              v0: i32 = const 0
              v1: i32 = const 64
              zero s0
        +     v3: i8 = load_bits req, bit 8
        +     v4: i8 = const 3
        +     v5: i8 = mul v3, v4
              loop b0 for v2: i32 in v0..v1 max 64 () {
        -       v3: i8 = load_bits req, bit 8
        -       v4: i8 = const 3
        -       v5: i8 = mul v3, v4
                v6: i8 = const 9
                v7: i8 = trunc v2
                v8: i8 = add v7, v6
                v9: i8 = xor v8, v5
                store s0[v2], v9
                continue b0()
              }
              reply s0[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn a_field_that_a_short_request_lacks_stays_in_the_loop() {
        assert_snapshot!(run_pass(&LICM, r#"
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    loop b0 for v2: i32 in v0..v1 max 64 () {
      v3: i32 = const 32
      v4: i1 = ule v3, v1
      check v4, index
      v5: i8 = load_bits req, bit 248
      log b"x" (unsigned v5)
      continue b0()
    }
    drop
  }
"#), @r#"
            labels 1
            part0() {
              v0: i32 = const 0
              v1: i32 = len req
        +     v3: i32 = const 32
        +     v4: i1 = ule v3, v1
              loop b0 for v2: i32 in v0..v1 max 64 () {
        -       v3: i32 = const 32
        -       v4: i1 = ule v3, v1
                check v4, index
                v5: i8 = load_bits req, bit 248
                log b"x" (unsigned v5)
                continue b0()
              }
              drop
            }
        "#);
    }
}
