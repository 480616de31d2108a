//! Copies from where bytes came from, not from a copy of them.
//!
//! `out.append(text::hex(n))` copies digits to a temporary, and the temporary to `out`. Where bytes are copied from a slot that
//! holds a copy of exactly these bytes, the second copy reads what the first one read. Often nothing reads the temporary
//! then, and `dce` deletes it.
//!
//! The walk goes along the statements of one region with the copies that still hold: as long as neither side is written. A
//! statement with regions, and a call, ends all of them. Where it was copied from is a slot, constant data, a parameter or the
//! request: nothing else can't change unseen. A copy onto its own source is left alone, as copies may not overlap.

use lambdac_mir::{Base, Op, Place, Region, SlotId, Stmt, Value, View};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{slot_of, touches};

/// Copies of copies.
pub static COPY_FORWARD: Pass = Pass {
    name: "copy-forward",
    summary: "Removal of copies by way of a temporary",
    run: Run::Code(run),
};

/// Copies that are remembered at a time, so that the walk stays linear.
const MAX_COPIES: usize = 8;

fn run(code: &mut Code<'_>, _: &Context) -> Changed {
    let mut changed = false;
    code.for_each_region(|_, region| {
        region.walk_regions_mut(&mut |region| changed |= forward(region));
    });
    Changed::from_bool(changed)
}

/// A slot holds, from a byte on, what was read from elsewhere.
struct Copied {
    slot: SlotId,
    offset: Value,
    from: View,
}

fn forward(region: &mut Region) -> bool {
    let mut changed = false;
    let mut known: Vec<Copied> = Vec::new();
    for stmt in &mut region.stmts {
        changed |= redirect(stmt, &known);
        forget(stmt, &mut known);
        note(stmt, &mut known);
    }
    changed
}

/// Reads from the source of a copy where a statement copies from the copy.
fn redirect(stmt: &mut Stmt, known: &[Copied]) -> bool {
    let Op::CopyBytes { dst, src, .. } = &mut stmt.op else {
        return false;
    };
    let Some(slot) = whole_slot(&src.place) else {
        return false;
    };
    let found = known
        .iter()
        .find(|copied| copied.slot == slot && copied.offset == src.offset && copied.from.len == src.len);
    match found {
        Some(copied) if copied.from.place.base != dst.base => {
            *src = copied.from.clone();
            true
        }
        _ => false,
    }
}

/// Drops what a statement may have changed.
fn forget(stmt: &Stmt, known: &mut Vec<Copied>) {
    if !stmt.op.regions().is_empty() || matches!(stmt.op, Op::Call(..) | Op::Await(_)) {
        known.clear();
        return;
    }
    touches(&stmt.op, &mut |place, touch| {
        if touch.writes() {
            known
                .retain(|copied| slot_of(place) != Some(copied.slot) && place.base != copied.from.place.base);
        }
    });
}

fn note(stmt: &Stmt, known: &mut Vec<Copied>) {
    let Op::CopyBytes { dst, offset, src } = &stmt.op else {
        return;
    };
    let lasting = matches!(
        src.place.base,
        Base::Slot(_) | Base::Const(_) | Base::Param(_) | Base::Request
    );
    let Some(slot) = whole_slot(dst).filter(|_| lasting) else {
        return;
    };
    if src.place.base == Base::Slot(slot) {
        return;
    }
    if known.len() == MAX_COPIES {
        known.remove(0);
    }
    known.push(Copied {
        slot,
        offset: *offset,
        from: src.clone(),
    });
}

fn whole_slot(place: &Place) -> Option<SlotId> {
    slot_of(place).filter(|_| place.path.is_empty())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::COPY_FORWARD;
    use crate::testing::run_pass;

    #[test]
    fn a_copy_of_a_copy_reads_what_the_first_one_read() {
        assert_snapshot!(run_pass(&COPY_FORWARD, r#"
  slot s0 "out": bytes<64>
  slot s1 "tmp": bytes<16>
  part0() {
    v0: i32 = const 0
    v1: i32 = const 3
    v2: i32 = const 7
    copy_bytes s1, v0, req[v1 +: v1]
    copy_bytes s0, v2, s1[v0 +: v1]
    drop
  }
"#), @r#"
            slot s0 "out": bytes<64>
            slot s1 "tmp": bytes<16>
            part0() {
              v0: i32 = const 0
              v1: i32 = const 3
              v2: i32 = const 7
              copy_bytes s1, v0, req[v1 +: v1]
        -     copy_bytes s0, v2, s1[v0 +: v1]
        +     copy_bytes s0, v2, req[v1 +: v1]
              drop
            }
        "#);
    }

    #[test]
    fn another_length_or_a_write_between_forbids_it() {
        assert_snapshot!(run_pass(&COPY_FORWARD, r#"
  slot s0 "out": bytes<64>
  slot s1 "tmp": bytes<16>
  slot s2 "digits": [i8 x 16]
  part0() {
    v0: i32 = const 0
    v1: i32 = const 3
    v2: i32 = const 2
    v3: i8 = const 7
    zero s2
    copy_bytes s1, v0, s2[v0 +: v1]
    copy_bytes s0, v0, s1[v0 +: v2]
    store s2[v0], v3
    copy_bytes s0, v0, s1[v0 +: v1]
    drop
  }
"#), @"
        unchanged
        ");
    }

    #[test]
    fn a_copy_back_to_where_it_came_from_stays() {
        assert_snapshot!(run_pass(&COPY_FORWARD, r#"
  slot s0 "out": [i8 x 16]
  slot s1 "tmp": bytes<16>
  part0() {
    v0: i32 = const 0
    v1: i32 = const 3
    v2: i32 = const 2
    zero s0
    copy_bytes s1, v0, s0[v0 +: v1]
    copy_bytes s0, v2, s1[v0 +: v1]
    drop
  }
"#), @"
        unchanged
        ");
    }
}
