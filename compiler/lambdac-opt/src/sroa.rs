//! Splits structs and short arrays whose parts are only ever named one by one into a slot for each part.
//!
//! A struct local, or the key and value records that library functions pass around, is one slot; a store to a field
//! makes everything known of the others uncertain, and one dynamic use keeps all of it in memory. After the split a scalar
//! part is a scalar slot, which `mem2reg` turns into a value, and a part that nobody reads goes by `dce`.
//!
//! A slot can be split if every place in it starts with a field or a constant index, or is the whole slot being
//! zeroed or copied, which is done part by part (loads and stores for scalars). Anything else (a view, bit fields, a call, a
//! map's value, being saved across an await) keeps it whole. Each round splits one level; shapes nest finitely, so it ends.

use lambdac_mir::{Base, Loc, Op, Place, Region, Shape, Slot, SlotId, Step, Stmt, Storage, UseMut, Value};

use lambdac_mir::validate::MAX_SLOT_BYTES;

use crate::defs::Defs;
use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{slot_of, term_touches, touches};

/// Aggregates split into their parts.
pub static SROA: Pass = Pass {
    name: "sroa",
    summary: "Scalar replacement of aggregates",
    run: Run::Code(run),
};

/// The most parts of a slot that is split.
const MAX_PARTS: u32 = 16;
/// Levels of nesting that one run takes apart.
const MAX_ROUNDS: u32 = 4;
/// A body has at most so many slots afterwards.
const MAX_SLOTS: usize = 10_000;

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut changed = Changed::No;
    for _ in 0..MAX_ROUNDS {
        if round(code) == Changed::No {
            break;
        }
        changed = Changed::Yes;
    }
    changed
}

fn round(code: &mut Code<'_>) -> Changed {
    if !code.body.slots.iter().any(|slot| parts(&slot.shape).is_some()) {
        return Changed::No;
    }
    let mut defs = Defs::new(code.body.values.len());
    for entry in &code.entries {
        entry.region.walk(&mut |stmt| {
            if let Op::Const(_) = stmt.op {
                defs.record(stmt);
            }
        });
    }
    let splits = split_slots(code, &defs);
    if splits.iter().all(Option::is_none) {
        return Changed::No;
    }
    for entry in &mut code.entries {
        let mut splitter = Splitter {
            body: code.body,
            splits: &splits,
            defs: &defs,
        };
        splitter.region(entry.region);
    }
    Changed::Yes
}

/// What an aggregate is made of, if that is few parts.
fn parts(shape: &Shape) -> Option<Vec<Shape>> {
    match shape {
        Shape::Struct(fields) if fields.len() as u64 <= u64::from(MAX_PARTS) => Some(fields.to_vec()),
        Shape::Array(element, len) if (1..=MAX_PARTS).contains(len) => {
            Some(vec![(**element).clone(); *len as usize])
        }
        _ => None,
    }
}

/// The number of the part that a step goes into.
fn part_of(step: Step, defs: &Defs) -> Option<u64> {
    match step {
        Step::Field(field) => Some(field.into()),
        Step::Index(index) => defs.constant(index),
    }
}

/// Slots that may be split.
struct Candidates {
    /// Shapes of the parts of those that may.
    parts: Vec<Option<Vec<Shape>>>,
    /// Slots that anything names.
    mentioned: Vec<bool>,
}

impl Candidates {
    fn of(code: &Code<'_>, defs: &Defs) -> Self {
        let by_shape = |slot: &Slot| {
            if slot.storage == Storage::Frame {
                parts(&slot.shape)
            } else {
                None
            }
        };
        let mut found = Self {
            parts: code.body.slots.iter().map(by_shape).collect(),
            mentioned: vec![false; code.body.slots.len()],
        };
        for entry in &code.entries {
            entry
                .live_slots
                .iter()
                .for_each(|slot| found.parts[slot.index()] = None);
            entry.region.walk_regions(&mut |region| {
                for stmt in &region.stmts {
                    let splittable = matches!(stmt.op, Op::Zero(_) | Op::Copy { .. });
                    touches(&stmt.op, &mut |place, _| found.see(place, splittable, defs));
                }
                term_touches(&region.term, &mut |place, _| found.see(place, false, defs));
            });
        }
        found
    }

    /// Takes note of a place; `splittable` says whether what is done to it can be done part by part.
    fn see(&mut self, place: &Place, splittable: bool, defs: &Defs) {
        let Some(slot) = slot_of(place) else { return };
        self.mentioned[slot.index()] = true;
        let Some(parts) = &self.parts[slot.index()] else {
            return;
        };
        let keeps = match place.path.first() {
            None => !splittable,
            Some(step) => part_of(*step, defs).is_none_or(|part| part >= parts.len() as u64),
        };
        if keeps {
            self.parts[slot.index()] = None;
        }
    }
}

/// Decides which slots to split and makes slots for their parts.
fn split_slots(code: &mut Code<'_>, defs: &Defs) -> Vec<Option<Vec<SlotId>>> {
    let candidates = Candidates::of(code, defs);
    let mut bytes: u64 = code.body.slots.iter().map(|slot| slot.shape.packed_size()).sum();
    let mut splits = vec![None; candidates.parts.len()];
    for (index, parts) in candidates.parts.into_iter().enumerate() {
        let Some(parts) = parts.filter(|_| candidates.mentioned[index]) else {
            continue;
        };
        bytes += code.body.slots[index].shape.packed_size();
        if code.body.slots.len() + parts.len() > MAX_SLOTS || bytes > MAX_SLOT_BYTES / 2 {
            break;
        }
        let name = code.body.slots[index].name.clone();
        let make = |(part, shape)| code.body.slot(format!("{name}.{part}"), shape);
        splits[index] = Some(parts.into_iter().enumerate().map(make).collect());
    }
    splits
}

struct Splitter<'a> {
    body: &'a mut lambdac_mir::Body,
    splits: &'a [Option<Vec<SlotId>>],
    defs: &'a Defs,
}

impl Splitter<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            for nested in stmt.op.regions_mut() {
                self.region(nested);
            }
            self.stmt(stmt, &mut out);
        }
        region.stmts = out;
        region.term.for_each_use_mut(&mut |used| self.rename(used));
    }

    fn stmt(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        stmt.op.for_each_use_mut(&mut |used| self.rename(used));
        match &stmt.op {
            Op::Zero(place) => {
                if let Some(parts) = self.split(place) {
                    for part in parts {
                        let op = Op::Zero(Place::of(Base::Slot(part)));
                        out.push(Stmt {
                            results: Vec::new(),
                            op,
                            loc: stmt.loc,
                        });
                    }
                    return;
                }
            }
            Op::Copy { dst, src } => {
                let parts = self.split(dst).or_else(|| self.split(src));
                if let Some(parts) = parts {
                    let (dst, src) = (dst.clone(), src.clone());
                    return self.copy(&parts, (&dst, &src), stmt.loc, out);
                }
            }
            _ => {}
        }
        out.push(stmt);
    }

    /// The parts of a slot that is split, for a place that is all of it.
    fn split(&self, place: &Place) -> Option<Vec<SlotId>> {
        if !place.path.is_empty() {
            return None;
        }
        self.splits.get(slot_of(place)?.index())?.clone()
    }

    /// Leads a place into the slot of its part.
    fn rename(&self, used: UseMut<'_>) {
        let Some(place) = used.into_place() else { return };
        let part = slot_of(place).and_then(|slot| {
            let parts = self.splits.get(slot.index())?.as_ref()?;
            parts.get(part_of(*place.path.first()?, self.defs)? as usize)
        });
        if let Some(part) = part {
            place.base = Base::Slot(*part);
            place.path.remove(0);
        }
    }

    /// Copies part by part; `parts` are the slots of one side.
    fn copy(&mut self, parts: &[SlotId], (dst, src): (&Place, &Place), loc: Loc, out: &mut Vec<Stmt>) {
        for (number, slot) in parts.iter().enumerate() {
            let Slot { shape, .. } = self.body.slots[slot.index()].clone();
            let is_array = self.is_array(dst).or_else(|| self.is_array(src)).unwrap_or(false);
            let step = if is_array {
                Step::Index(self.define(Op::Const(number as u64), 32, loc, out))
            } else {
                Step::Field(number as u32)
            };
            let side = |place: &Place| match self.split(place) {
                Some(parts) => Place::of(Base::Slot(parts[number])),
                None => place.clone().step(step),
            };
            let (dst, src) = (side(dst), side(src));
            let op = match shape {
                Shape::Scalar(width) => {
                    let value = self.define(Op::Load(src), width, loc, out);
                    Op::Store(dst, value)
                }
                _ => Op::Copy { dst, src },
            };
            out.push(Stmt {
                results: Vec::new(),
                op,
                loc,
            });
        }
    }

    /// Whether the slot that a place is all of holds an array.
    fn is_array(&self, place: &Place) -> Option<bool> {
        self.split(place)?;
        let slot = slot_of(place)?;
        Some(matches!(self.body.slots[slot.index()].shape, Shape::Array(..)))
    }

    fn define(&mut self, op: Op, width: u8, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let value = self.body.value(width);
        out.push(Stmt {
            results: vec![value],
            op,
            loc,
        });
        value
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::SROA;
    use crate::testing::run_pass;

    #[test]
    fn a_struct_of_named_fields_is_split() {
        assert_snapshot!(run_pass(&SROA, r#"
  slot s0 "p": {i32, [i8 x 32]}
  slot s1 "q": {i32, [i8 x 32]}
  part0() {
    zero s0
    v0: i32 = const 2
    store s0.0, v0
    copy s1, s0
    v1: i32 = load s1.0
    reply s1.1[v0 +: v1]
  }
"#), @r#"
            slot s0 "p": {i32, [i8 x 32]}
            slot s1 "q": {i32, [i8 x 32]}
        +   slot s2 "p.0": i32
        +   slot s3 "p.1": [i8 x 32]
        +   slot s4 "q.0": i32
        +   slot s5 "q.1": [i8 x 32]
            part0() {
        -     zero s0
        +     zero s2
        +     zero s3
              v0: i32 = const 2
        -     store s0.0, v0
        -     copy s1, s0
        -     v1: i32 = load s1.0
        -     reply s1.1[v0 +: v1]
        +     store s2, v0
        +     v2: i32 = load s2
        +     store s4, v2
        +     copy s5, s3
        +     v1: i32 = load s4
        +     reply s5[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn an_array_with_a_variable_index_stays_whole() {
        assert_snapshot!(run_pass(&SROA, r#"
  slot s0 "a": [i32 x 4]
  part0() {
    zero s0
    v0: i2 = load_bits req, bit 0
    v1: i32 = load s0[v0]
    v2: i32 = const 3
    v3: i32 = load s0[v2]
    reply req[v1 +: v3]
  }
"#), @"
        unchanged
        ");
    }
}
