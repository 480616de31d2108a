//! Which slots lie in local memory.
//!
//! A core's local memory is divided evenly among its threads, and constants that lie in it have what slots leave. A thread
//! is in one chain of calls at a time, and no function calls itself: callees have their slots first, a caller what they
//! leave of the thread's share, in the order in which its code names them. What finds no room lies in the nearest memory
//! of the whole device, as what outlives a part of its lambda does: a waiting request may go on with another thread. Reply
//! buffers are the packet's. The C printer places slots by the same rule.

use std::collections::BTreeSet;

use lambdac_mir::{Base, Body, FuncId, Op, Region, Shape, SlotId, Storage, Use};
use lambdac_target::{Device, Sharing};

/// Bytes of a thread's share where a description has neither local memory nor a stack: 64 words (NFP notes, 2.6).
const DEFAULT_SHARE: u64 = 256;

/// The memory that each core has for itself, by its number in the description.
pub fn local_memory(device: &Device) -> Option<usize> {
    let mut memories = device.memory.iter();
    memories.position(|memory| memory.shared == Sharing::Core)
}

/// Bytes of local memory, or of a stack, that each thread has.
pub fn local_share(device: &Device) -> u64 {
    let threads = u64::from(device.core.threads).max(1);
    match (local_memory(device), device.limits.stack) {
        (Some(local), _) => device.memory[local].bytes / threads,
        (None, Some(stack)) => stack.into(),
        (None, None) => DEFAULT_SHARE,
    }
}

/// A thread's local memory, as slots share it.
pub struct Share<'s> {
    /// Its bytes.
    pub bytes: u64,
    /// What a shape takes of them.
    pub size: fn(&Shape) -> u64,
    /// By function: what the deepest chain of calls from it takes.
    pub below: &'s dyn Fn(FuncId) -> u64,
    /// Slots that lie elsewhere: those that outlive a part of their lambda.
    pub elsewhere: &'s BTreeSet<SlotId>,
}

/// Where the slots of a body lie.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    local: Vec<bool>,
    /// Bytes of local memory of the deepest chain of calls from here.
    pub bytes: u64,
}

impl Locals {
    /// Gives slots their places.
    pub fn of(share: &Share<'_>, body: &Body, regions: &[&Region]) -> Self {
        let (named, mut bytes) = used(share, body, regions);
        let mut local = vec![false; body.slots.len()];
        for slot in named {
            let of = &body.slots[slot.index()];
            let size = (share.size)(&of.shape).next_multiple_of(4);
            let taken = match of.storage {
                Storage::Frame => bytes,
                Storage::ReplyBuffer => 0,
            };
            let here = !share.elsewhere.contains(&slot);
            local[slot.index()] = here && taken.saturating_add(size) <= share.bytes;
            if of.storage == Storage::Frame && local[slot.index()] {
                bytes += size;
            }
        }
        Self { local, bytes }
    }

    /// Whether a slot lies in local memory.
    pub fn is_local(&self, slot: SlotId) -> bool {
        self.local.get(slot.index()).copied().unwrap_or(false)
    }
}

/// Slots in the order in which code names them, and the most bytes that a function which it calls takes.
fn used(share: &Share<'_>, body: &Body, regions: &[&Region]) -> (Vec<SlotId>, u64) {
    let mut named = Vec::new();
    let mut seen = vec![false; body.slots.len()];
    let mut below = 0;
    let mut name = |used: Use<'_>| {
        let base = match used {
            Use::Place(place, _) => place.base,
            Use::View(view) => view.place.base,
            Use::Slot(slot) => Base::Slot(*slot),
            Use::Value(_) => return,
        };
        if let Base::Slot(slot) = base
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
                    below = below.max((share.below)(*callee));
                }
            }
            inner.term.for_each_use(&mut name);
        });
    }
    (named, below)
}
