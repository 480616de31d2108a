//! Which slots lie in local memory.
//!
//! A core's local memory is divided evenly among its threads, and constants that lie in it have what slots leave. A thread
//! is in one chain of calls at a time, and no function calls itself: callees have their slots first, a caller what they
//! leave of the thread's share, in the order in which its code names them. What finds no room lies in the next memory.
//! Reply buffers are the packet's.

use lambdac_mir::{Base, Body, Op, Region, SlotId, Storage, Use};
use lambdac_target::{Device, Sharing};

use crate::CodeCost;

/// Bytes of a thread's share where a description has neither local memory nor a stack: 64 words (NFP notes, 2.6).
const DEFAULT_SHARE: u64 = 256;

/// The memory that each core has for itself, by its number in the description.
pub fn local_memory(device: &Device) -> Option<usize> {
    let mut memories = device.memory.iter();
    memories.position(|memory| memory.shared == Sharing::Core)
}

/// Bytes of local memory, or of a stack, that each thread has.
pub(crate) fn local_share(device: &Device) -> u64 {
    let threads = u64::from(device.core.threads).max(1);
    match (local_memory(device), device.limits.stack) {
        (Some(local), _) => device.memory[local].bytes / threads,
        (None, Some(stack)) => stack.into(),
        (None, None) => DEFAULT_SHARE,
    }
}

/// Where the slots of a body lie.
pub(crate) struct Locals {
    local: Vec<bool>,
    /// Bytes of local memory of the deepest chain of calls from here.
    pub bytes: u64,
}

impl Locals {
    /// Gives slots their places, when functions take what is `known`, by their ids.
    pub fn of(device: &Device, body: &Body, regions: &[&Region], known: &[CodeCost]) -> Self {
        let share = local_share(device);
        let mut named: Vec<SlotId> = Vec::new();
        let mut seen = vec![false; body.slots.len()];
        let mut below = 0;
        let mut name = |used: Use<'_>| {
            let slot = match used {
                Use::Place(place, _) => place.base,
                Use::View(view) => view.place.base,
                Use::Slot(slot) => Base::Slot(*slot),
                Use::Value(_) => return,
            };
            if let Base::Slot(slot) = slot
                && !std::mem::replace(&mut seen[slot.index()], true)
            {
                named.push(slot);
            }
        };
        for region in regions {
            region.walk_regions(&mut |inner| {
                for stmt in &inner.stmts {
                    stmt.op.for_each_use(&mut name);
                    if let Op::Call(callee, _) = &stmt.op {
                        below = below.max(known.get(callee.index()).map_or(0, |code| code.local));
                    }
                }
                inner.term.for_each_use(&mut name);
            });
        }
        let mut local = vec![false; body.slots.len()];
        let mut bytes = below;
        for slot in named {
            let of = &body.slots[slot.index()];
            let size = of.shape.packed_size().next_multiple_of(4);
            let taken = match of.storage {
                Storage::Frame => bytes,
                Storage::ReplyBuffer => 0,
            };
            local[slot.index()] = taken.saturating_add(size) <= share;
            if of.storage == Storage::Frame && local[slot.index()] {
                bytes += size;
            }
        }
        Self { local, bytes }
    }

    /// Whether a slot lies in local memory.
    pub fn is_local(&self, slot: SlotId) -> bool {
        self.local[slot.index()]
    }
}
