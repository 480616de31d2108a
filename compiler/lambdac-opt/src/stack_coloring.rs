//! Lets slots of one shape share memory where they are never needed at once, and removes copies between them.
//!
//! Every inlined function brings its own slots, and every expression its own temporary; an NPU's local memory and the
//! kernel's 512 bytes of stack hold few of them. A function's result is built in its own slot and then copied into the
//! caller's.
//!
//! Without loops the walk order of structured code is the order of execution, so a slot is needed from its first touch to its
//! last; touches in a loop count for all of the outermost loop around them. Two slots of one shape whose spans are apart share
//! one slot, as contents are undefined until written. Where the second span starts with the statement that copies the first
//! slot, at the end of its span, into the second, they share too and the copy goes. Slots that several parts touch, that are saved
//! across an await or that a service answers into are left alone.
//!
//! Spans are taken in order of their start, each getting the slot that has been free longest: one sort, linear otherwise.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use lambdac_mir::{Op, Place, Region, Shape, SlotId, Storage, Term};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{slot_of, term_touches, touches};

/// Shared slots.
pub static STACK_COLORING: Pass = Pass {
    name: "stack-coloring",
    summary: "Sharing of slots that are not needed at once",
    run: Run::Code(run),
};

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let spans = Spans::of(code);
    let shares = color(code, &spans);
    if shares.iter().enumerate().all(|(index, to)| to.index() == index) {
        return Changed::No;
    }
    for entry in &mut code.entries {
        entry.region.rename_slots(&mut |slot| shares[slot.index()]);
        entry.region.walk_regions_mut(&mut |region| {
            region
                .stmts
                .retain(|stmt| !matches!(&stmt.op, Op::Copy { dst, src } if dst == src));
        });
    }
    Changed::Yes
}

/// Where slots are needed, in walk order over all parts.
struct Spans {
    clock: usize,
    /// First and last position of each slot.
    of: Vec<Option<(usize, usize)>>,
    /// Slots that keep their own memory.
    fixed: Vec<bool>,
    /// Whole-slot copies by position: from, to.
    copies: HashMap<usize, (SlotId, SlotId)>,
    /// Slots touched in the outermost loop at hand.
    in_loop: Option<Vec<SlotId>>,
}

impl Spans {
    fn of(code: &Code<'_>) -> Self {
        let slots = &code.body.slots;
        let mut spans = Self {
            clock: 0,
            of: vec![None; slots.len()],
            fixed: slots.iter().map(|slot| slot.storage != Storage::Frame).collect(),
            copies: HashMap::new(),
            in_loop: None,
        };
        for entry in &code.entries {
            let start = spans.clock;
            spans.region(entry.region);
            entry
                .live_slots
                .iter()
                .for_each(|slot| spans.fixed[slot.index()] = true);
            // A span that began in an earlier part goes over both.
            for (fixed, span) in spans.fixed.iter_mut().zip(&spans.of) {
                *fixed |= span.is_some_and(|(first, last)| first < start && last >= start);
            }
        }
        spans
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            let at = self.clock;
            self.clock += 1;
            touches(&stmt.op, &mut |place, _| self.touch(place, at));
            if let Op::Copy { dst, src } = &stmt.op
                && let (Some(from), Some(to)) = (whole(src), whole(dst))
            {
                self.copies.insert(at, (from, to));
            }
            if let Op::Await(call) = &stmt.op {
                call.dst.iter().for_each(|slot| self.fixed[slot.index()] = true);
            }
            let outermost = matches!(stmt.op, Op::Loop(_)) && self.in_loop.is_none();
            if outermost {
                self.in_loop = Some(Vec::new());
            }
            for nested in stmt.op.regions() {
                self.region(nested);
            }
            if outermost {
                let end = self.clock;
                self.clock += 1;
                for slot in self.in_loop.take().into_iter().flatten() {
                    self.extend(slot, at);
                    self.extend(slot, end);
                }
            }
        }
        let at = self.clock;
        self.clock += 1;
        term_touches(&region.term, &mut |place, _| self.touch(place, at));
        if let Term::Await { call, .. } = &region.term {
            call.dst.iter().for_each(|slot| self.fixed[slot.index()] = true);
        }
    }

    fn touch(&mut self, place: &Place, at: usize) {
        let Some(slot) = slot_of(place) else { return };
        self.extend(slot, at);
        if let Some(touched) = &mut self.in_loop {
            touched.push(slot);
        }
    }

    fn extend(&mut self, slot: SlotId, at: usize) {
        let span = self.of[slot.index()].get_or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    }
}

/// The slot that a place is all of.
fn whole(place: &Place) -> Option<SlotId> {
    slot_of(place).filter(|_| place.path.is_empty())
}

/// For each slot the one whose memory it uses.
fn color(code: &Code<'_>, spans: &Spans) -> Vec<SlotId> {
    let slots = &code.body.slots;
    let mut shares: Vec<SlotId> = (0..slots.len() as u32).map(SlotId).collect();
    let mut order: Vec<(usize, usize, SlotId)> = (spans.of.iter().enumerate())
        .filter(|(index, _)| !spans.fixed[*index])
        .filter_map(|(index, span)| span.map(|(first, last)| (first, last, SlotId(index as u32))))
        .collect();
    order.sort_unstable();
    // When each shared slot is free again, and by shape the ones that are free first.
    let mut free_after: HashMap<SlotId, usize> = HashMap::new();
    let mut by_shape: HashMap<&Shape, BinaryHeap<Reverse<(usize, SlotId)>>> = HashMap::new();
    for (first, last, slot) in order {
        let shape = &slots[slot.index()].shape;
        let heap = by_shape.entry(shape).or_default();
        let copied = spans.copies.get(&first).filter(|(from, to)| {
            *to == slot && slots[from.index()].shape == *shape && !spans.fixed[from.index()]
        });
        let coalesced = copied
            .map(|(from, _)| shares[from.index()])
            .filter(|to| free_after.get(to) == Some(&first));
        let shared = coalesced.or_else(|| {
            while let Some(Reverse((end, to))) = heap.peek().copied() {
                if free_after.get(&to) == Some(&end) {
                    return (end < first).then(|| {
                        heap.pop();
                        to
                    });
                }
                heap.pop();
            }
            None
        });
        let to = shared.unwrap_or(slot);
        shares[slot.index()] = to;
        free_after.insert(to, last);
        heap.push(Reverse((last, to)));
    }
    shares
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::STACK_COLORING;
    use crate::testing::run_pass;

    #[test]
    fn slots_that_are_not_needed_at_once_share_memory() {
        assert_snapshot!(run_pass(&STACK_COLORING, r#"
  slot s0 "a": bytes<8>
  slot s1 "b": bytes<8>
  slot s2 "c": bytes<9>
  part0() {
    v0: i1 = load_bits req, bit 0
    v1: i32 = const 0
    zero s2
    if v0 {
      zero s0
      v2: i32 = len s0
      reply s0[v1 +: v2]
    } else {
      yield
    }
    zero s1
    v3: i32 = len s1
    reply s1[v1 +: v3]
  }
"#), @r#"
            slot s0 "a": bytes<8>
            slot s1 "b": bytes<8>
            slot s2 "c": bytes<9>
            part0() {
              v0: i1 = load_bits req, bit 0
              v1: i32 = const 0
              zero s2
              if v0 {
                zero s0
                v2: i32 = len s0
                reply s0[v1 +: v2]
              } else {
                yield
              }
        -     zero s1
        -     v3: i32 = len s1
        -     reply s1[v1 +: v3]
        +     zero s0
        +     v3: i32 = len s0
        +     reply s0[v1 +: v3]
            }
        "#);
    }

    #[test]
    fn a_copy_from_the_end_of_one_slot_to_the_start_of_another_goes() {
        assert_snapshot!(run_pass(&STACK_COLORING, r#"
  slot s0 "result": bytes<8>
  slot s1 "copy": bytes<8>
  part0() {
    zero s0
    copy s1, s0
    v0: i32 = const 0
    v1: i32 = len s1
    reply s1[v0 +: v1]
  }
"#), @r#"
            slot s0 "result": bytes<8>
            slot s1 "copy": bytes<8>
            part0() {
              zero s0
        -     copy s1, s0
              v0: i32 = const 0
        -     v1: i32 = len s1
        -     reply s1[v0 +: v1]
        +     v1: i32 = len s0
        +     reply s0[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn slots_of_one_loop_stay_apart() {
        assert_snapshot!(run_pass(&STACK_COLORING, r#"
  labels 1
  slot s0 "a": [i8 x 4]
  slot s1 "b": [i8 x 4]
  part0() {
    v0: i32 = const 0
    v1: i32 = const 4
    loop b0 for v2: i32 in v0..v1 max 4 () {
      zero s0
      copy s1, s0
      v3: i8 = load s1[v0]
      log b"x" (unsigned v3)
      continue b0()
    }
    drop
  }
"#), @"
        unchanged
        ");
    }
}
