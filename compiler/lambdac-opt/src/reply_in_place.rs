//! Puts the byte string or byte array that a lambda replies with into the reply buffer.
//!
//! A reply of a slot copies its bytes into the packet. Where the slot's bytes are the reply buffer from the start, nothing is
//! copied. That is legal for one `bytes<n>` or `[i8 x n]` slot of a lambda, no larger than its largest reply, if every reply either is of
//! this slot from its first byte, or does not read it, and if nothing must outlive a wait: the buffer is not saved with a
//! continuation. Other ways out (drop, punt, trap) leave the buffer unused, whatever it holds.
//!
//! Of several candidates the one with the most replies is taken, the larger one where these are equal.

use lambdac_mir::{Base, Lambda, Module, Op, Place, Shape, SlotId, Storage, Term, Value};

use crate::pass::{Changed, Pass, Run};

/// Replies without a copy.
pub static REPLY_IN_PLACE: Pass = Pass {
    name: "reply-in-place",
    summary: "Placement of replies in the reply buffer",
    run: Run::Module(run),
};

fn run(module: &mut Module) -> Changed {
    let mut changed = false;
    for lambda in &mut module.lambdas {
        if lambda
            .body
            .slots
            .iter()
            .any(|slot| slot.storage == Storage::ReplyBuffer)
        {
            continue;
        }
        if let Some(slot) = candidate(lambda) {
            lambda.body.slots[slot.index()].storage = Storage::ReplyBuffer;
            changed = true;
        }
    }
    Changed::from_bool(changed)
}

/// Replies of a slot.
#[derive(Clone, Copy, Default)]
struct Replies {
    whole: u32,
    other: u32,
}

fn candidate(lambda: &Lambda) -> Option<SlotId> {
    let mut zero = vec![false; lambda.body.values.len()];
    let mut replies = vec![Replies::default(); lambda.body.slots.len()];
    for part in &lambda.parts {
        part.region.walk(&mut |stmt| {
            if let (Op::Const(0), [result]) = (&stmt.op, &stmt.results[..]) {
                zero[result.index()] = true;
            }
        });
        part.region.walk_regions(&mut |region| {
            if let Term::Reply(view) = &region.term {
                count(&view.place, view.offset, &zero, &mut replies);
            }
        });
    }
    let saved = lambda.outliving_slots();
    let candidates = (0..lambda.body.slots.len()).filter_map(|index| {
        let slot = SlotId(index as u32);
        let capacity = match &lambda.body.slots[index].shape {
            Shape::Bytes(capacity) => *capacity,
            Shape::Array(element, count) if **element == Shape::Scalar(8) => *count,
            _ => return None,
        };
        let Replies { whole, other } = replies[index];
        let fits = whole > 0 && other == 0 && capacity <= lambda.reply.max;
        (fits && !saved.contains(&slot)).then_some((whole, capacity, std::cmp::Reverse(index)))
    });
    candidates
        .max()
        .map(|(_, _, std::cmp::Reverse(index))| SlotId(index as u32))
}

fn count(place: &Place, offset: Value, zero: &[bool], replies: &mut [Replies]) {
    if let Base::Slot(slot) = place.base {
        let replies = &mut replies[slot.index()];
        if place.path.is_empty() && zero[offset.index()] {
            replies.whole += 1;
        } else {
            replies.other += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::REPLY_IN_PLACE;
    use crate::testing::run_pass;

    #[test]
    fn a_byte_string_that_every_reply_is_or_leaves_alone_is_placed() {
        assert_snapshot!(run_pass(&REPLY_IN_PLACE, r#"
  slot s0 "out": bytes<64>
  part0() {
    v0: i32 = const 0
    zero s0
    v1: i32 = len s0
    v2: i1 = load_bits req, bit 0
    if v2 {
      reply s0[v0 +: v1]
    } else {
      yield
    }
    reply req[v0 +: v1]
  }
"#), @r#"
        -   slot s0 "out": bytes<64>
        +   slot s0 "out": bytes<64> reply_buffer
            part0() {
              v0: i32 = const 0
              zero s0
              v1: i32 = len s0
              v2: i1 = load_bits req, bit 0
              if v2 {
                reply s0[v0 +: v1]
              } else {
                yield
              }
              reply req[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn an_array_of_bytes_is_placed() {
        assert_snapshot!(run_pass(&REPLY_IN_PLACE, r#"
  slot s0 "out": [i8 x 4]
  part0() {
    v0: i32 = const 0
    v1: i32 = const 4
    zero s0
    reply s0[v0 +: v1]
  }
"#), @r#"
        -   slot s0 "out": [i8 x 4]
        +   slot s0 "out": [i8 x 4] reply_buffer
            part0() {
              v0: i32 = const 0
              v1: i32 = const 4
              zero s0
              reply s0[v0 +: v1]
            }
        "#);
    }

    #[test]
    fn a_reply_of_its_middle_forbids_it() {
        assert_snapshot!(run_pass(&REPLY_IN_PLACE, r#"
  slot s0 "out": bytes<64>
  part0() {
    v0: i32 = const 0
    v1: i32 = const 1
    v2: i32 = const 2
    zero s0
    copy_bytes s0, v0, req[v0 +: v2]
    set_len s0, v2
    reply s0[v1 +: v1]
  }
"#), @"
        unchanged
        ");
    }
}
