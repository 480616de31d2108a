//! Forgets values, slots and labels that nothing mentions any more, and numbers the rest in order.
//!
//! Passes add values and never take them back, as each would have to renumber. Back ends make tables by value and lay out
//! every slot, so what is left over costs time and frame bytes. Runs once, at the end.

use lambdac_mir::{Body, Dispatch, Func, FuncParam, Label, Module, Part, Region, SlotId, Use, Value};

use crate::pass::{Changed, Pass, Run};

/// Dense numbers.
pub static COMPACT: Pass = Pass {
    name: "compact",
    summary: "Removal of unused values, slots and labels",
    run: Run::Module(run),
};

fn run(module: &mut Module) -> Changed {
    let mut changed = false;
    for func in &mut module.funcs {
        changed |= compact_func(func);
    }
    for lambda in &mut module.lambdas {
        changed |= compact_lambda(&mut lambda.body, &mut lambda.parts);
    }
    if let Dispatch::Match(stage) = &mut module.dispatch {
        for rule in &mut stage.rules {
            rule.cond
                .for_each_func_mut(&mut |func| changed |= compact_func(func));
        }
    }
    Changed::from_bool(changed)
}

/// New numbers by old ones, in the order of definition.
#[derive(Default)]
struct Numbers {
    values: Vec<Option<u32>>,
    order: Vec<Value>,
    slots: Vec<bool>,
    labels: Vec<Option<u32>>,
    next_label: u32,
}

impl Numbers {
    fn new(body: &Body) -> Self {
        Self {
            values: vec![None; body.values.len()],
            slots: vec![false; body.slots.len()],
            labels: vec![None; body.labels as usize],
            ..Self::default()
        }
    }

    fn define(&mut self, value: Value) {
        let number = self.order.len() as u32;
        if self.values[value.index()].is_none() {
            self.values[value.index()] = Some(number);
            self.order.push(value);
        }
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            stmt.op.for_each_use(&mut |used| self.slot(&used));
            stmt.op.for_each_inner_def(|value| self.define(value));
            if let Some(label) = stmt.op.label() {
                self.labels[label.index()] = Some(self.next_label);
                self.next_label += 1;
            }
            for nested in stmt.op.regions() {
                self.region(nested);
            }
            stmt.results.iter().for_each(|result| self.define(*result));
        }
        region.term.for_each_use(&mut |used| self.slot(&used));
    }

    fn slot(&mut self, used: &Use<'_>) {
        let slot = match used {
            Use::Place(place, _) => crate::visit::slot_of(place),
            Use::View(view) => crate::visit::slot_of(&view.place),
            Use::Slot(slot) => Some(**slot),
            Use::Value(_) => None,
        };
        if let Some(slot) = slot {
            self.slots[slot.index()] = true;
        }
    }

    fn is_identity(&self, body: &Body) -> bool {
        self.order.len() == body.values.len()
            && self
                .order
                .iter()
                .enumerate()
                .all(|(at, value)| at == value.index())
            && self.slots.iter().all(|used| *used)
            && self
                .labels
                .iter()
                .enumerate()
                .all(|(at, label)| *label == Some(at as u32))
    }

    /// Rewrites the body; returns how to rewrite what uses it.
    fn apply(self, body: &mut Body) -> Renaming {
        body.values = self
            .order
            .iter()
            .map(|value| body.values[value.index()])
            .collect();
        let mut slots = Vec::with_capacity(self.slots.len());
        let mut kept = Vec::new();
        for (slot, used) in std::mem::take(&mut body.slots).into_iter().zip(&self.slots) {
            slots.push(kept.len() as u32);
            if *used {
                kept.push(slot);
            }
        }
        body.slots = kept;
        body.labels = self.next_label;
        Renaming {
            values: self.values,
            slots,
            labels: self.labels,
        }
    }
}

struct Renaming {
    values: Vec<Option<u32>>,
    slots: Vec<u32>,
    labels: Vec<Option<u32>>,
}

impl Renaming {
    fn value(&self, value: Value) -> Value {
        self.values[value.index()].map_or(value, Value)
    }

    fn region(&self, region: &mut Region) {
        region.rename_values(&mut |value| self.value(value));
        region.rename_slots(&mut |slot| SlotId(self.slots[slot.index()]));
        region.rename_labels(&mut |label| self.labels[label.index()].map_or(label, Label));
    }
}

fn compact_func(func: &mut Func) -> bool {
    let mut numbers = Numbers::new(&func.body);
    for param in &func.params {
        if let FuncParam::Scalar(value) = param {
            numbers.define(*value);
        }
    }
    numbers.region(&func.region);
    if numbers.is_identity(&func.body) {
        return false;
    }
    let renaming = numbers.apply(&mut func.body);
    for param in &mut func.params {
        if let FuncParam::Scalar(value) = param {
            *value = renaming.value(*value);
        }
    }
    renaming.region(&mut func.region);
    true
}

fn compact_lambda(body: &mut Body, parts: &mut [Part]) -> bool {
    let mut numbers = Numbers::new(body);
    for part in parts.iter() {
        part.params.iter().for_each(|param| numbers.define(*param));
        part.live_slots
            .iter()
            .for_each(|slot| numbers.slots[slot.index()] = true);
        numbers.region(&part.region);
    }
    if numbers.is_identity(body) {
        return false;
    }
    let renaming = numbers.apply(body);
    for part in parts {
        part.params
            .iter_mut()
            .for_each(|param| *param = renaming.value(*param));
        part.live_slots
            .iter_mut()
            .for_each(|slot| *slot = SlotId(renaming.slots[slot.index()]));
        renaming.region(&mut part.region);
    }
    true
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::COMPACT;
    use crate::testing::run_pass;

    #[test]
    fn numbers_close_up() {
        assert_snapshot!(run_pass(&COMPACT, r#"
  labels 3
  undefined v0: i8, v2: i64
  slot s0 "a": i32
  slot s1 "b": i32
  part0() {
    v1: i32 = random
    store s1, v1
    block b2 {
      break b2()
    }
    drop
  }
"#), @r#"
        -   labels 3
        -   undefined v0: i8, v2: i64
        -   slot s0 "a": i32
        -   slot s1 "b": i32
        +   labels 1
        +   slot s0 "b": i32
            part0() {
        -     v1: i32 = random
        -     store s1, v1
        -     block b2 {
        -       break b2()
        +     v0: i32 = random
        +     store s0, v0
        +     block b0 {
        +       break b0()
              }
              drop
            }
        "#);
    }
}
