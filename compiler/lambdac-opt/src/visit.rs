//! Helpers on top of MIR's own visitors: how exactly a place is touched, and substitution of values.

use lambdac_mir::{Base, FuncId, Op, Operand, Place, SlotId, Term, Use, Value};

/// What an operation does with a place. Finer than [`lambdac_mir::Access`]: a byte string's length and its content
/// are followed apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Reads the whole: content, and a byte string's length.
    Read,
    /// Reads content only, not a byte string's length.
    ReadBytes,
    /// Reads a byte string's length only.
    Len,
    /// Writes all of the place (a byte string's length too).
    Write,
    /// Writes some of the content, never a length.
    WriteBytes,
    /// Sets a byte string's length.
    SetLen,
    /// Writes all of it, or nothing.
    MayWrite,
    /// Reads and writes in one step.
    Update,
    /// Passed by reference as this argument; the callee's signature says whether it is written.
    Arg(FuncId, usize),
}

impl Touch {
    /// Whether memory may differ afterwards; an argument counts as written.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::ReadBytes | Self::Len)
    }

    /// Whether what memory held before matters.
    pub(crate) fn reads(self) -> bool {
        matches!(
            self,
            Self::Read | Self::ReadBytes | Self::Len | Self::Update | Self::Arg(..)
        )
    }
}

fn operand(operand: &Operand, touch: Touch, f: &mut dyn FnMut(&Place, Touch)) {
    match operand {
        Operand::Value(_) => {}
        Operand::Place(place) => f(place, touch),
        Operand::View(view) => f(&view.place, Touch::ReadBytes),
    }
}

/// Calls `f` for each place that an operation itself touches, what it reads first.
pub(crate) fn touches(op: &Op, f: &mut dyn FnMut(&Place, Touch)) {
    match op {
        Op::Load(place) => f(place, Touch::Read),
        Op::LoadBits(place, _) => f(place, Touch::ReadBytes),
        Op::Store(place, _) | Op::Zero(place) => f(place, Touch::Write),
        Op::Copy { dst, src } => {
            f(src, Touch::Read);
            f(dst, Touch::Write);
        }
        Op::Len(place) => f(place, Touch::Len),
        Op::SetLen(place, _) => f(place, Touch::SetLen),
        Op::CopyBytes { dst, src, .. } => {
            f(&src.place, Touch::ReadBytes);
            f(dst, Touch::WriteBytes);
        }
        Op::StoreBits(place, ..) => f(place, Touch::WriteBytes),
        Op::AtomicRmw(_, place, _) | Op::AtomicCas { place, .. } => f(place, Touch::Update),
        Op::MapGet { key, dst, .. } | Op::TableGet { key, dst, .. } => {
            key.iter().for_each(|part| operand(part, Touch::Read, f));
            if let Some(place) = dst {
                f(place, Touch::MayWrite);
            }
        }
        Op::MapPut { key, value, .. } => {
            key.iter().for_each(|part| operand(part, Touch::Read, f));
            operand(value, Touch::Read, f);
        }
        Op::MapRemove { key, .. } | Op::TableHas { key, .. } | Op::MapFetchAdd { key, .. } => {
            key.iter().for_each(|part| operand(part, Touch::Read, f));
        }
        Op::Call(func, args) => {
            for (index, arg) in args.iter().enumerate() {
                operand(arg, Touch::Arg(*func, index), f);
            }
        }
        // What is left touches memory through views and the slot of a service's answer only.
        _ => op.for_each_use(&mut |used| view_or_slot(&used, f)),
    }
}

/// Calls `f` for each place that a terminator touches.
pub(crate) fn term_touches(term: &Term, f: &mut dyn FnMut(&Place, Touch)) {
    term.for_each_use(&mut |used| view_or_slot(&used, f));
}

fn view_or_slot(used: &Use<'_>, f: &mut dyn FnMut(&Place, Touch)) {
    match used {
        Use::View(view) => f(&view.place, Touch::ReadBytes),
        Use::Slot(slot) => f(&Place::of(Base::Slot(**slot)), Touch::MayWrite),
        Use::Value(_) | Use::Place(..) => {}
    }
}

/// The slot that a place lies in.
pub(crate) fn slot_of(place: &Place) -> Option<SlotId> {
    match place.base {
        Base::Slot(slot) => Some(slot),
        _ => None,
    }
}

/// Whether an operation only computes from its operands: no memory, no effect, total.
pub(crate) fn is_arithmetic(op: &Op) -> bool {
    matches!(
        op,
        Op::Const(_) | Op::Bin(..) | Op::Cmp(..) | Op::Cast(..) | Op::Select(..)
    )
}

/// What each value stands for now; values that were not replaced stand for themselves.
pub(crate) struct Subst {
    to: Vec<Value>,
}

impl Subst {
    /// Nothing replaced yet.
    pub(crate) fn new(values: usize) -> Self {
        Self {
            to: (0..values as u32).map(Value).collect(),
        }
    }

    /// The value to use for `value`.
    pub(crate) fn get(&self, value: Value) -> Value {
        self.to.get(value.index()).copied().unwrap_or(value)
    }

    /// From here on uses `new` for `old`.
    pub(crate) fn set(&mut self, old: Value, new: Value) {
        let new = self.get(new);
        while self.to.len() <= old.index() {
            self.to.push(Value(self.to.len() as u32));
        }
        self.to[old.index()] = new;
    }

    /// Replaces each of several.
    pub(crate) fn set_all(&mut self, old: &[Value], new: &[Value]) {
        for (old, new) in old.iter().zip(new) {
            self.set(*old, *new);
        }
    }

    /// Replaces what an operation itself uses.
    pub(crate) fn op(&self, op: &mut Op) {
        op.map_values(|value| self.get(value));
    }

    /// Replaces what a terminator uses.
    pub(crate) fn term(&self, term: &mut Term) {
        term.map_values(|value| self.get(value));
    }
}
