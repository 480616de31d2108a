//! Replaces loads of scalar slots, and lengths of byte strings, by the values that were stored.
//!
//! A variable that changes is a slot when lowering is done with it, and the length of a `bytes<n>` lies beside its
//! bytes; every use goes through memory, and ranges are not known behind it. This pass walks each region with the
//! value that each such cell holds. What an `if`, `switch`, `block` or `loop` changes becomes one more result of it:
//! arms yield what the cell holds at their end, breaks carry it, a loop takes it as a parameter.
//!
//! Memory is kept up to date: stores stay where they are. So a cell may be unknown at any point (before its first store,
//! after a call that writes it, when a part is entered) and its loads just stay there too. Once no load is left, `dce`
//! removes the stores, and the results that nobody asks for. Cells of slots that are only touched inside a statement are not
//! carried out of it.
//!
//! One walk; a statement with regions costs the cells written in it, so the work is linear times the nesting. A body in
//! which that product would exceed a bound keeps its cells of the highest numbers in memory.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use lambdac_mir::{
    Base, Body, Label, Loc, Loop, LoopKind, Op, Place, Region, Shape, SlotId, Stmt, Term, Value,
};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{Subst, Touch, slot_of, term_touches, touches};

/// Values in the place of loads.
pub static MEM2REG: Pass = Pass {
    name: "mem2reg",
    summary: "Promotion of scalar slots and lengths to values",
    run: Run::Code(run),
};

/// Results that may be added to the statements of one body.
const MAX_ADDED: usize = 50_000;

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let cells = Cells::of(code);
    if cells.widths.is_empty() {
        return Changed::No;
    }
    let mut changed = false;
    for entry in &mut code.entries {
        let mut events = Events::default();
        events.region(entry.region, &cells);
        events.close(entry.region);
        let mut promoter = Promoter {
            subst: Subst::new(code.body.values.len()),
            body: code.body,
            cells: &cells,
            events: &events,
            next: 0,
            current: Current::default(),
            targets: HashMap::new(),
            room: MAX_ADDED,
            changed: false,
        };
        promoter.region(entry.region, None);
        changed |= promoter.changed;
    }
    Changed::from_bool(changed)
}

/// A piece of memory that one value describes.
type Cell = u32;

/// The cells of a body: a scalar slot's content, a byte string slot's length.
struct Cells {
    of_slot: Vec<Option<Cell>>,
    slots: Vec<SlotId>,
    widths: Vec<u8>,
    is_len: Vec<bool>,
}

impl Cells {
    /// Cells that are loaded somewhere.
    fn of(code: &Code<'_>) -> Self {
        let body = &*code.body;
        let mut loaded = vec![false; body.slots.len()];
        for entry in &code.entries {
            entry.region.walk(&mut |stmt| {
                if let Op::Load(place) | Op::Len(place) = &stmt.op
                    && let Some(slot) = slot_of(place)
                {
                    loaded[slot.index()] = true;
                }
            });
        }
        let mut cells = Self {
            of_slot: Vec::new(),
            slots: Vec::new(),
            widths: Vec::new(),
            is_len: Vec::new(),
        };
        for (index, slot) in body.slots.iter().enumerate() {
            let (width, is_len) = match slot.shape {
                Shape::Scalar(width) if loaded[index] => (width, false),
                Shape::Bytes(_) if loaded[index] => (32, true),
                _ => {
                    cells.of_slot.push(None);
                    continue;
                }
            };
            cells.of_slot.push(Some(cells.slots.len() as Cell));
            cells.slots.push(SlotId(index as u32));
            cells.widths.push(width);
            cells.is_len.push(is_len);
        }
        cells
    }

    /// The cell of the slot that a place lies in.
    fn at(&self, place: &Place) -> Option<Cell> {
        self.of_slot.get(slot_of(place)?.index()).copied().flatten()
    }

    /// Whether such a touch changes the cell.
    fn is_written(&self, cell: Cell, touch: Touch) -> bool {
        touch.writes() && !(self.is_len[cell as usize] && touch == Touch::WriteBytes)
    }

    /// Reads the cell from memory.
    fn load(&self, cell: Cell) -> Op {
        let place = Place::of(Base::Slot(self.slots[cell as usize]));
        if self.is_len[cell as usize] {
            Op::Len(place)
        } else {
            Op::Load(place)
        }
    }
}

/// Where cells are touched and written, in walk order.
#[derive(Default)]
struct Events {
    /// Cells written.
    writes: Vec<Cell>,
    /// Touches seen so far.
    clock: usize,
    /// First and last touch of each cell.
    spans: HashMap<Cell, (usize, usize)>,
    /// For each statement with regions: its writes, its touches, and whether it is a loop.
    stmts: Vec<(Range<usize>, Range<usize>)>,
    /// For each of them the cells that change in it and matter after it.
    changing: Vec<Vec<Cell>>,
    /// For each loop with a condition: whether the condition writes.
    cond_writes: Vec<Range<usize>>,
}

impl Events {
    fn region(&mut self, region: &Region, cells: &Cells) {
        for stmt in &region.stmts {
            touches(&stmt.op, &mut |place, touch| self.touch(place, touch, cells));
            let nested = stmt.op.regions();
            if nested.is_empty() {
                continue;
            }
            let this = self.stmts.len();
            self.stmts.push((0..0, 0..0));
            self.cond_writes.push(0..0);
            let (writes, clock) = (self.writes.len(), self.clock);
            let is_while = nested.len() == 2 && matches!(stmt.op, Op::Loop(_));
            for (index, inner) in nested.into_iter().enumerate() {
                self.region(inner, cells);
                if is_while && index == 0 {
                    self.cond_writes[this] = writes..self.writes.len();
                }
            }
            self.stmts[this] = (writes..self.writes.len(), clock..self.clock);
        }
        term_touches(&region.term, &mut |place, touch| self.touch(place, touch, cells));
    }

    fn touch(&mut self, place: &Place, touch: Touch, cells: &Cells) {
        let Some(cell) = cells.at(place) else { return };
        let clock = self.clock;
        self.clock += 1;
        self.spans.entry(cell).or_insert((clock, clock)).1 = clock;
        if cells.is_written(cell, touch) {
            self.writes.push(cell);
        }
    }

    /// Works out which cells each statement changes. A loop carries its own cells too, from trip to trip.
    fn close(&mut self, region: &Region) {
        let mut loops = Vec::with_capacity(self.stmts.len());
        region.walk(&mut |stmt| {
            if !stmt.op.regions().is_empty() {
                loops.push(matches!(stmt.op, Op::Loop(_)));
            }
        });
        for ((writes, touches), is_loop) in self.stmts.iter().zip(loops) {
            let mut changing = BTreeSet::new();
            for cell in &self.writes[writes.clone()] {
                let (first, last) = self.spans[cell];
                let inside = touches.start <= first && last < touches.end;
                if is_loop || !inside {
                    changing.insert(*cell);
                }
            }
            self.changing.push(changing.into_iter().collect());
        }
    }
}

/// What each cell holds, where that is known; changes can be taken back.
#[derive(Default)]
struct Current {
    values: HashMap<Cell, Value>,
    /// What was there before each change.
    log: Vec<(Cell, Option<Value>)>,
}

impl Current {
    fn get(&self, cell: Cell) -> Option<Value> {
        self.values.get(&cell).copied()
    }

    fn set(&mut self, cell: Cell, value: Value) {
        let old = self.values.insert(cell, value);
        self.log.push((cell, old));
    }

    fn forget(&mut self, cell: Cell) {
        if let Some(old) = self.values.remove(&cell) {
            self.log.push((cell, Some(old)));
        }
    }

    fn mark(&self) -> usize {
        self.log.len()
    }

    /// Takes back everything since the mark.
    fn restore(&mut self, mark: usize) {
        for (cell, old) in self.log.drain(mark..).rev() {
            match old {
                Some(value) => self.values.insert(cell, value),
                None => self.values.remove(&cell),
            };
        }
    }
}

/// What a label's breaks and continues carry besides their own values.
struct Carried {
    cells: Vec<Cell>,
    /// Cells that were unknown at some break.
    unknown: BTreeSet<Cell>,
}

/// Where a region's `yield` goes.
struct Merge {
    cells: Vec<Cell>,
    unknown: BTreeSet<Cell>,
}

struct Promoter<'a> {
    body: &'a mut Body,
    cells: &'a Cells,
    events: &'a Events,
    subst: Subst,
    /// Number of the next statement with regions.
    next: usize,
    current: Current,
    targets: HashMap<Label, (Carried, bool)>,
    room: usize,
    changed: bool,
}

impl Promoter<'_> {
    /// Walks a region; `merge` collects what its `yield` adds.
    fn region(&mut self, region: &mut Region, merge: Option<&mut Merge>) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            self.subst.op(&mut stmt.op);
            if stmt.op.regions().is_empty() {
                self.plain(stmt, &mut out);
            } else {
                self.structured(stmt, &mut out);
            }
        }
        self.subst.term(&mut region.term);
        self.leave(&mut region.term, merge, &mut out);
        region.stmts = out;
    }

    fn plain(&mut self, stmt: Stmt, out: &mut Vec<Stmt>) {
        if let Op::Load(place) | Op::Len(place) = &stmt.op
            && place.path.is_empty()
            && let Some(cell) = self.cells.at(place)
        {
            let result = stmt.results[0];
            if let Some(value) = self.current.get(cell) {
                self.subst.set(result, value);
                self.changed = true;
                return;
            }
            self.current.set(cell, result);
            out.push(stmt);
            return;
        }
        self.forget_written(&stmt.op);
        let known = self.known_after(&stmt, out);
        out.push(stmt);
        if let Some((cell, value)) = known {
            self.current.set(cell, value);
        }
    }

    fn forget_written(&mut self, op: &Op) {
        let (cells, current) = (self.cells, &mut self.current);
        touches(op, &mut |place, touch| {
            if let Some(cell) = cells.at(place)
                && cells.is_written(cell, touch)
            {
                current.forget(cell);
            }
        });
    }

    /// What a cell holds after a statement that writes it.
    fn known_after(&mut self, stmt: &Stmt, out: &mut Vec<Stmt>) -> Option<(Cell, Value)> {
        match &stmt.op {
            Op::Store(place, value) | Op::SetLen(place, value) if place.path.is_empty() => {
                Some((self.cells.at(place)?, *value))
            }
            Op::Zero(place) if place.path.is_empty() => {
                let cell = self.cells.at(place)?;
                Some((
                    cell,
                    self.define(Op::Const(0), self.cells.widths[cell as usize], stmt.loc, out),
                ))
            }
            Op::Copy { dst, src } if dst.path.is_empty() => {
                let cell = self.cells.at(dst)?;
                if !self.cells.is_len[cell as usize] {
                    return None;
                }
                // A byte string slot's length may be known; any other is asked for.
                let known = self.cells.at(src).filter(|_| src.path.is_empty());
                let value = match known.and_then(|cell| self.current.get(cell)) {
                    Some(value) => value,
                    None => self.define(Op::Len(src.clone()), 32, stmt.loc, out),
                };
                Some((cell, value))
            }
            _ => None,
        }
    }

    fn define(&mut self, op: Op, width: u8, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let value = self.body.value(width);
        out.push(Stmt {
            results: vec![value],
            op,
            loc,
        });
        self.changed = true;
        value
    }

    fn structured(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        let this = self.next;
        self.next += 1;
        let events = self.events;
        let changing = &events.changing[this];
        let cells = match &stmt.op {
            Op::Loop(_) => self.carried_by_loop(this),
            _ if changing.len() > self.room => Vec::new(),
            _ => changing.clone(),
        };
        self.room -= cells.len().min(self.room);
        let mark = self.current.mark();
        let unknown = match &mut stmt.op {
            Op::Loop(inner) => {
                self.loop_(inner, &cells);
                BTreeSet::new()
            }
            Op::Block(label, region) => {
                let carried = Carried {
                    cells: cells.clone(),
                    unknown: BTreeSet::new(),
                };
                self.targets.insert(*label, (carried, false));
                self.region(region, None);
                self.targets
                    .remove(label)
                    .map(|(carried, _)| carried.unknown)
                    .unwrap_or_default()
            }
            op => self.arms(op, &cells),
        };
        self.current.restore(mark);
        for cell in &events.writes[events.stmts[this].0.clone()] {
            self.current.forget(*cell);
        }
        for cell in cells {
            let result = self.body.value(self.cells.widths[cell as usize]);
            stmt.results.push(result);
            self.changed = true;
            if !unknown.contains(&cell) {
                self.current.set(cell, result);
            }
        }
        out.push(stmt);
    }

    /// The cells that a loop takes as parameters: what is known before the first trip. A condition can carry nothing
    /// out, so what it writes is not carried either. All others are unknown from here on.
    fn carried_by_loop(&mut self, this: usize) -> Vec<Cell> {
        let events = self.events;
        let changing = &events.changing[this];
        let cond: BTreeSet<Cell> = events.writes[events.cond_writes[this].clone()]
            .iter()
            .copied()
            .collect();
        let room = changing.len() <= self.room;
        let (carried, rest): (Vec<Cell>, Vec<Cell>) = (changing.iter())
            .partition(|cell| room && !cond.contains(cell) && self.current.get(**cell).is_some());
        rest.into_iter().for_each(|cell| self.current.forget(cell));
        carried
    }

    /// The arms of an `if` or `switch`: each starts with what was known before.
    fn arms(&mut self, op: &mut Op, cells: &[Cell]) -> BTreeSet<Cell> {
        let mark = self.current.mark();
        let mut merge = Merge {
            cells: cells.to_vec(),
            unknown: BTreeSet::new(),
        };
        for region in op.regions_mut() {
            self.region(region, Some(&mut merge));
            self.current.restore(mark);
        }
        merge.unknown
    }

    fn loop_(&mut self, inner: &mut Loop, cells: &[Cell]) {
        for cell in cells {
            let param = self.body.value(self.cells.widths[*cell as usize]);
            // Carried cells are known.
            let Some(init) = self.current.get(*cell) else {
                continue;
            };
            inner.params.push((param, init));
            self.current.set(*cell, param);
            self.changed = true;
        }
        let mark = self.current.mark();
        if let LoopKind::While(cond) = &mut inner.kind {
            self.region(cond, None);
            self.current.restore(mark);
        }
        let carried = Carried {
            cells: cells.to_vec(),
            unknown: BTreeSet::new(),
        };
        self.targets.insert(inner.label, (carried, true));
        self.region(&mut inner.body, None);
        self.targets.remove(&inner.label);
    }

    /// Adds to a terminator what its target carries.
    fn leave(&mut self, term: &mut Term, merge: Option<&mut Merge>, out: &mut Vec<Stmt>) {
        match term {
            Term::Yield(values) => {
                if let Some(merge) = merge {
                    for cell in merge.cells.clone() {
                        let value = self.current_or_zero(cell, &mut merge.unknown, out);
                        values.push(value);
                    }
                }
            }
            Term::Break(label, values) | Term::Continue(label, values) => {
                let Some((mut carried, is_loop)) = self.targets.remove(label) else {
                    return;
                };
                for cell in carried.cells.clone() {
                    // A loop's cells were written before the loop, so memory holds something.
                    let value = match self.current.get(cell) {
                        Some(value) => value,
                        None if is_loop => {
                            let op = self.cells.load(cell);
                            self.define(op, self.cells.widths[cell as usize], Loc::default(), out)
                        }
                        None => self.current_or_zero(cell, &mut carried.unknown, out),
                    };
                    values.push(value);
                }
                self.targets.insert(*label, (carried, is_loop));
            }
            _ => {}
        }
    }

    /// A cell that is unknown here is unknown after the merge: what is carried for it does not matter.
    fn current_or_zero(&mut self, cell: Cell, unknown: &mut BTreeSet<Cell>, out: &mut Vec<Stmt>) -> Value {
        if let Some(value) = self.current.get(cell) {
            return value;
        }
        unknown.insert(cell);
        self.define(
            Op::Const(0),
            self.cells.widths[cell as usize],
            Loc::default(),
            out,
        )
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::MEM2REG;
    use crate::testing::run_pass;

    #[test]
    fn a_length_is_followed_through_a_loop() {
        assert_snapshot!(run_pass(&MEM2REG, r#"
  labels 1
  slot s0 "out": bytes<64>
  part0() {
    zero s0
    v0: i32 = const 0
    v1: i32 = len req
    loop b0 for v2: i32 in v0..v1 max 64 () {
      v3: i8 = load req[v2]
      v4: i32 = len s0
      v5: i32 = const 64
      v6: i1 = ult v4, v5
      check v6, capacity
      store s0[v4], v3
      v7: i32 = const 1
      v8: i32 = add v4, v7
      set_len s0, v8
      continue b0()
    }
    v9: i32 = len s0
    reply s0[v0 +: v9]
  }
"#), @r#"
            labels 1
        +   undefined v4: i32, v9: i32
            slot s0 "out": bytes<64>
            part0() {
        +     v10: i32 = const 0
              zero s0
              v0: i32 = const 0
              v1: i32 = len req
        -     loop b0 for v2: i32 in v0..v1 max 64 () {
        +     v12: i32 = loop b0 for v2: i32 in v0..v1 max 64 (v11: i32 = v10) {
                v3: i8 = load req[v2]
        -       v4: i32 = len s0
                v5: i32 = const 64
        -       v6: i1 = ult v4, v5
        +       v6: i1 = ult v11, v5
                check v6, capacity
        -       store s0[v4], v3
        +       store s0[v11], v3
                v7: i32 = const 1
        -       v8: i32 = add v4, v7
        +       v8: i32 = add v11, v7
                set_len s0, v8
        -       continue b0()
        +       continue b0(v8)
              }
        -     v9: i32 = len s0
        -     reply s0[v0 +: v9]
        +     reply s0[v0 +: v12]
            }
        "#);
    }

    #[test]
    fn a_scalar_slot_merges_after_a_branch() {
        assert_snapshot!(run_pass(&MEM2REG, r#"
  slot s0 "x": i32
  part0() {
    v0: i32 = const 1
    store s0, v0
    v1: i1 = load_bits req, bit 0
    if v1 {
      v2: i32 = const 2
      store s0, v2
      yield
    } else {
      yield
    }
    v3: i32 = load s0
    v4: i32 = const 0
    reply req[v4 +: v3]
  }
"#), @r#"
        +   undefined v3: i32
            slot s0 "x": i32
            part0() {
              v0: i32 = const 1
              store s0, v0
              v1: i1 = load_bits req, bit 0
        -     if v1 {
        +     v5: i32 = if v1 {
                v2: i32 = const 2
                store s0, v2
        -       yield
        +       yield v2
              } else {
        -       yield
        +       yield v0
              }
        -     v3: i32 = load s0
              v4: i32 = const 0
        -     reply req[v4 +: v3]
        +     reply req[v4 +: v5]
            }
        "#);
    }

    #[test]
    fn what_only_one_arm_writes_first_stays_in_memory() {
        assert_snapshot!(run_pass(&MEM2REG, r#"
  slot s0 "x": i32
  part0() {
    v0: i1 = load_bits req, bit 0
    v1: i32 = const 2
    if v0 {
      store s0, v1
      yield
    } else {
      yield
    }
    if v0 {
      v2: i32 = load s0
      reply req[v2 +: v2]
    } else {
      drop
    }
    drop
  }
"#), @r#"
            slot s0 "x": i32
            part0() {
              v0: i1 = load_bits req, bit 0
              v1: i32 = const 2
        -     if v0 {
        +     v4: i32 = if v0 {
                store s0, v1
        -       yield
        +       yield v1
              } else {
        -       yield
        +       v3: i32 = const 0
        +       yield v3
              }
              if v0 {
                v2: i32 = load s0
                reply req[v2 +: v2]
              } else {
                drop
              }
              drop
            }
        "#);
    }
}
