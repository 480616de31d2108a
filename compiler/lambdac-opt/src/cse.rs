//! Reuses what was already computed, loaded or checked.
//!
//! The language reads a field or a length wherever it is named, so the same load, widening and bounds check stand
//! many times in a body. In structured code what was computed before, in this region or one around it, is available:
//! a scoped table from operation to value, left as each region is left, is all it takes.
//!
//! A load is the same as an earlier one while memory did not change. Each slot has a version that every write
//! replaces by a fresh one and that is part of a load's key; before a loop all slots written in it get fresh
//! versions, as the body comes after itself. A store leaves its value under the new version. The request, read-only data
//! and parameters never change. A load from state is never reused, as another invocation may write between; memory
//! passed by reference may be state and is treated the same unless the function alone can write it.
//!
//! One walk; each statement costs the hash of its operands, each loop the number of writes in it.

use std::collections::HashMap;

use lambdac_mir::{
    Base, BinOp, BitPos, CastOp, CmpOp, FuncParam, HashOp, Op, PktField, Place, Region, Stmt, Value, View,
};

use crate::const_fold::is_commutative;
use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{Subst, Touch, touches};

/// Common subexpressions, loads and checks.
pub static CSE: Pass = Pass {
    name: "cse",
    summary: "Common subexpression elimination",
    run: Run::Code(run),
};

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut changed = false;
    for entry in &mut code.entries {
        let mut cse = Cse {
            widths: &code.body.values,
            args: &code.args,
            subst: Subst::new(code.body.values.len()),
            table: HashMap::new(),
            added: Vec::new(),
            versions: HashMap::new(),
            next_version: 1,
            waited: 0,
            writes: Writes::of(entry.region),
            next_loop: 0,
            changed: false,
        };
        cse.region(entry.region);
        changed |= cse.changed;
    }
    Changed::from_bool(changed)
}

type Version = u32;

/// An operation with everything that its result depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Const(u64, u8),
    Bin(BinOp, Value, Value),
    Cmp(CmpOp, Value, Value),
    Cast(CastOp, Value, u8),
    Select(Value, Value, Value),
    Load(Place, Version),
    Len(Place, Version),
    Bits(Place, BitPos, u8, Version),
    Eq(View, View, Version, Version),
    Hash(HashOp, View, Version),
    Now(Version),
    Pkt(PktField),
    Checked(Value),
}

struct Cse<'a> {
    widths: &'a [u8],
    args: &'a [FuncParam],
    subst: Subst,
    table: HashMap<Key, Value>,
    /// Keys in the order they came, to leave a scope.
    added: Vec<Key>,
    versions: HashMap<Base, Version>,
    next_version: Version,
    /// Awaits so far: the clock stands still only between two.
    waited: Version,
    writes: Writes,
    next_loop: usize,
    changed: bool,
}

impl Cse<'_> {
    fn region(&mut self, region: &mut Region) {
        let scope = self.added.len();
        let stmts = std::mem::take(&mut region.stmts);
        region.stmts.reserve(stmts.len());
        for mut stmt in stmts {
            self.subst.op(&mut stmt.op);
            if self.stmt(&mut stmt) {
                region.stmts.push(stmt);
            } else {
                self.changed = true;
            }
        }
        self.subst.term(&mut region.term);
        for key in self.added.drain(scope..) {
            self.table.remove(&key);
        }
    }

    /// Whether the statement stays.
    fn stmt(&mut self, stmt: &mut Stmt) -> bool {
        if let Op::Loop(_) = &stmt.op {
            let written = self.writes.loops[self.next_loop].clone();
            self.next_loop += 1;
            for at in written {
                self.write(self.writes.bases[at]);
            }
        }
        for nested in stmt.op.regions_mut() {
            self.region(nested);
        }
        if let Op::Check(cond, _) = &stmt.op {
            return self.add(Key::Checked(*cond), *cond).is_none();
        }
        if let [result] = stmt.results[..]
            && let Some(key) = self.key(&stmt.op, self.widths[result.index()])
        {
            if let Some(known) = self.add(key, result) {
                self.subst.set(result, known);
                return false;
            }
            return true;
        }
        let mut written = Vec::new();
        touches(&stmt.op, &mut |place, touch| {
            if touch.writes() {
                written.push(place.base);
            }
        });
        written.into_iter().for_each(|base| self.write(base));
        if matches!(stmt.op, Op::Await(_)) {
            self.waited += 1;
        }
        self.after(&stmt.op);
        true
    }

    /// What a write leaves behind.
    fn after(&mut self, op: &Op) {
        match op {
            Op::Store(place, value) => {
                if let Some(version) = self.version(place) {
                    self.add(Key::Load(place.clone(), version), *value);
                }
            }
            Op::SetLen(place, value) => {
                if let Some(version) = self.version(place) {
                    self.add(Key::Len(place.clone(), version), *value);
                }
            }
            _ => {}
        }
    }

    /// The value that a key already has; else it has `value` until the region ends.
    fn add(&mut self, key: Key, value: Value) -> Option<Value> {
        if let Some(known) = self.table.get(&key) {
            return Some(*known);
        }
        self.table.insert(key.clone(), value);
        self.added.push(key);
        None
    }

    fn write(&mut self, base: Base) {
        self.versions.insert(base, self.next_version);
        self.next_version += 1;
    }

    /// The version of the memory that a place lies in; `None` where others may write it.
    fn version(&self, place: &Place) -> Option<Version> {
        match place.base {
            Base::Object(_) => None,
            Base::Arg(arg) => match self.args.get(arg as usize)? {
                FuncParam::Ref { writable: true, .. } => {
                    Some(self.versions.get(&place.base).copied().unwrap_or(0))
                }
                // What may be written aliases nothing else, and no reference leads into state.
                FuncParam::Ref { .. } => Some(0),
                FuncParam::View | FuncParam::Scalar(_) => None,
            },
            Base::Slot(_) => Some(self.versions.get(&place.base).copied().unwrap_or(0)),
            Base::Const(_) | Base::Param(_) | Base::Request => Some(0),
        }
    }

    fn key(&self, op: &Op, width: u8) -> Option<Key> {
        Some(match op {
            Op::Const(c) => Key::Const(*c, width),
            Op::Bin(op, a, b) => {
                let (a, b) = if is_commutative(*op) {
                    (*a.min(b), *a.max(b))
                } else {
                    (*a, *b)
                };
                Key::Bin(*op, a, b)
            }
            Op::Cmp(op @ (CmpOp::Eq | CmpOp::Ne), a, b) => Key::Cmp(*op, *a.min(b), *a.max(b)),
            Op::Cmp(op, a, b) => Key::Cmp(*op, *a, *b),
            Op::Cast(op, a) => Key::Cast(*op, *a, width),
            Op::Select(c, a, b) => Key::Select(*c, *a, *b),
            Op::Load(place) => Key::Load(place.clone(), self.version(place)?),
            Op::Len(place) if self.is_view_param(place) => Key::Len(place.clone(), 0),
            Op::Len(place) => Key::Len(place.clone(), self.version(place)?),
            Op::LoadBits(place, pos) => Key::Bits(place.clone(), *pos, width, self.version(place)?),
            Op::EqBytes(a, b) => Key::Eq(
                a.clone(),
                b.clone(),
                self.version(&a.place)?,
                self.version(&b.place)?,
            ),
            Op::Hash(op, view) => Key::Hash(*op, view.clone(), self.version(&view.place)?),
            Op::Now => Key::Now(self.waited),
            Op::Pkt(field) => Key::Pkt(*field),
            _ => return None,
        })
    }

    fn is_view_param(&self, place: &Place) -> bool {
        match place.base {
            Base::Arg(arg) => place.path.is_empty() && self.args.get(arg as usize) == Some(&FuncParam::View),
            _ => false,
        }
    }
}

/// What is written where, in walk order.
struct Writes {
    bases: Vec<Base>,
    /// For each loop in walk order its part of `bases`.
    loops: Vec<std::ops::Range<usize>>,
}

impl Writes {
    fn of(region: &Region) -> Self {
        let mut writes = Self {
            bases: Vec::new(),
            loops: Vec::new(),
        };
        writes.region(region);
        writes
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            let this = matches!(stmt.op, Op::Loop(_)).then(|| {
                self.loops.push(0..0);
                self.loops.len() - 1
            });
            let from = self.bases.len();
            touches(&stmt.op, &mut |place, touch: Touch| {
                if touch.writes() {
                    self.bases.push(place.base);
                }
            });
            for nested in stmt.op.regions() {
                self.region(nested);
            }
            if let Some(this) = this {
                self.loops[this] = from..self.bases.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::CSE;
    use crate::testing::run_pass;

    #[test]
    fn a_second_check_of_the_same_condition_goes() {
        assert_snapshot!(run_pass(&CSE, "
  part0() {
    v0: i32 = len req
    v1: i32 = const 9
    v2: i1 = ult v1, v0
    check v2, index
    v3: i32 = const 9
    v4: i32 = len req
    v5: i1 = ult v3, v4
    check v5, index
    v6: i8 = load_bits req, bit 72
    drop
  }
"), @"
        +   undefined v3: i32, v4: i32, v5: i1
            part0() {
              v0: i32 = len req
              v1: i32 = const 9
              v2: i1 = ult v1, v0
              check v2, index
        -     v3: i32 = const 9
        -     v4: i32 = len req
        -     v5: i1 = ult v3, v4
        -     check v5, index
              v6: i8 = load_bits req, bit 72
              drop
            }
        ");
    }

    #[test]
    fn a_load_after_a_write_is_another_load() {
        assert_snapshot!(run_pass(&CSE, r#"
  slot s0 "a": [i8 x 4]
  part0() {
    zero s0
    v0: i32 = const 1
    v1: i32 = const 2
    v2: i8 = load s0[v0]
    v3: i8 = load s0[v0]
    store s0[v1], v3
    v4: i8 = load s0[v0]
    v5: i8 = load s0[v1]
    v6: i8 = add v4, v5
    store s0[v0], v6
    reply s0[v0 +: v1]
  }
"#), @r#"
        +   undefined v3: i8, v5: i8
            slot s0 "a": [i8 x 4]
            part0() {
              zero s0
              v0: i32 = const 1
              v1: i32 = const 2
              v2: i8 = load s0[v0]
        -     v3: i8 = load s0[v0]
        -     store s0[v1], v3
        +     store s0[v1], v2
              v4: i8 = load s0[v0]
        -     v5: i8 = load s0[v1]
        -     v6: i8 = add v4, v5
        +     v6: i8 = add v4, v2
              store s0[v0], v6
              reply s0[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn a_loop_does_not_reuse_what_its_own_next_trip_changes() {
        assert_snapshot!(run_pass(&CSE, r#"
  labels 1
  slot s0 "a": [i8 x 4]
  part0() {
    zero s0
    v0: i32 = const 0
    v1: i32 = const 4
    v2: i8 = load s0[v0]
    loop b0 for v3: i32 in v0..v1 max 4 () {
      v4: i8 = load s0[v0]
      v5: i8 = add v4, v2
      store s0[v0], v5
      continue b0()
    }
    reply s0[v0 +: v1]
  }
"#), @"
        unchanged
        ");
    }

    #[test]
    fn state_is_read_each_time() {
        assert_snapshot!(run_pass(&CSE, r#"
module "m"
object o0 "n" "u32" = value i32 = 0

lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
  part0() {
    v0: i32 = load o0
    v1: i32 = load o0
    v2: i1 = eq v0, v1
    check v2, index
    drop
  }
}

dispatch only l0
"#), @"
        unchanged
        ");
    }
}
