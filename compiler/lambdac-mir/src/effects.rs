//! What operations do besides computing: the facts that passes need to delete, merge or move them.

use crate::{Access, Base, Func, Module, Op, Operand, Region, Term, Use};

/// What running something may do or depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Reads a slot, or memory passed by reference.
    pub reads_memory: bool,
    /// Writes a slot, or memory passed by reference.
    pub writes_memory: bool,
    /// Reads an object that lambdas can change.
    pub reads_state: bool,
    /// Changes an object; an lru's `get` counts, as it moves the entry.
    pub writes_state: bool,
    /// Reads a table, which the control plane can change between invocations.
    pub reads_table: bool,
    /// May end the invocation with a trap.
    pub traps: bool,
    /// Depends on the clock, which stands still between two awaits.
    pub reads_clock: bool,
    /// Throws the dice: the next throw differs.
    pub throws_dice: bool,
    /// Writes a log line.
    pub logs: bool,
    /// Waits for a service, while other invocations run.
    pub awaits: bool,
    /// Control may go elsewhere than to the next statement, traps aside.
    pub leaves: bool,
}

impl Effects {
    /// Everything but `awaits` and `leaves`: what is known of a function that was not looked at.
    pub const UNKNOWN_CALL: Self = Self {
        reads_memory: true,
        writes_memory: true,
        reads_state: true,
        writes_state: true,
        reads_table: true,
        traps: true,
        reads_clock: true,
        throws_dice: true,
        logs: true,
        awaits: false,
        leaves: false,
    };

    /// Whatever either does.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            reads_memory: self.reads_memory | other.reads_memory,
            writes_memory: self.writes_memory | other.writes_memory,
            reads_state: self.reads_state | other.reads_state,
            writes_state: self.writes_state | other.writes_state,
            reads_table: self.reads_table | other.reads_table,
            traps: self.traps | other.traps,
            reads_clock: self.reads_clock | other.reads_clock,
            throws_dice: self.throws_dice | other.throws_dice,
            logs: self.logs | other.logs,
            awaits: self.awaits | other.awaits,
            leaves: self.leaves | other.leaves,
        }
    }

    /// Whether the result depends on the operands alone and nothing else happens: two of them with the same operands
    /// are one, and it can stand anywhere that its operands are visible.
    pub fn is_pure(self) -> bool {
        self == Self::default()
    }

    /// Whether it can be deleted when nobody uses its results.
    pub fn is_removable(self) -> bool {
        !(self.writes_memory
            || self.writes_state
            || self.traps
            || self.throws_dice
            || self.logs
            || self.awaits
            || self.leaves)
    }

    /// Adds what an access to a base does.
    fn touch(&mut self, base: Base, access: Access) {
        match base {
            Base::Slot(_) | Base::Arg(_) => {
                self.reads_memory |= access.reads();
                self.writes_memory |= access.writes();
            }
            Base::Object(_) => {
                self.reads_state |= access.reads();
                self.writes_state |= access.writes();
            }
            Base::Const(_) | Base::Param(_) | Base::Request => {}
        }
    }
}

impl Op {
    /// What it does, nested regions included; a call may do anything.
    pub fn effects(&self) -> Effects {
        self.effects_with(&[])
    }

    /// What it does, nested regions included, with what functions do (see [`func_effects`]); a call of a function that
    /// `funcs` does not reach may do anything.
    pub fn effects_with(&self, funcs: &[Effects]) -> Effects {
        let mut effects = self.own_effects(funcs);
        for region in self.regions() {
            effects = effects.union(region_effects(region, funcs));
        }
        // A break or continue inside names this label or one further out; only the latter leaves.
        if !self.regions().is_empty() {
            effects.leaves = self.escapes();
        }
        effects
    }

    /// Whether it neither touches memory or state nor traps, leaves, logs, waits, or depends on clock or dice.
    pub fn is_pure(&self) -> bool {
        self.effects().is_pure()
    }

    /// Without nested regions.
    fn own_effects(&self, funcs: &[Effects]) -> Effects {
        let mut effects = Effects::default();
        if let Op::Call(callee, args) = self {
            return call_effects(funcs.get(callee.index()).copied(), args);
        }
        self.for_each_use(&mut |used| match used {
            Use::Place(place, access) => effects.touch(place.base, access),
            Use::View(view) => effects.touch(view.place.base, Access::Read),
            Use::Slot(_) => effects.writes_memory = true,
            Use::Value(_) => {}
        });
        match self {
            Op::Now => effects.reads_clock = true,
            Op::Random => effects.throws_dice = true,
            Op::Check(..) => effects.traps = true,
            Op::CounterAdd(..)
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::MapGet { .. } => {
                effects.reads_state = true;
                effects.writes_state = true;
                effects.reads_clock |= !matches!(self, Op::CounterAdd(..));
            }
            Op::CounterRead(..) => effects.reads_state = true,
            Op::TableGet { .. } | Op::TableHas { .. } => effects.reads_table = true,
            Op::Log(..) => effects.logs = true,
            Op::Await(_) => {
                effects.awaits = true;
                effects.reads_state = true;
                effects.writes_state = true;
            }
            Op::Loop(inner) => effects.traps |= inner.checked,
            Op::Const(_)
            | Op::Bin(..)
            | Op::Cmp(..)
            | Op::Cast(..)
            | Op::Select(..)
            | Op::Load(_)
            | Op::Store(..)
            | Op::Zero(_)
            | Op::Copy { .. }
            | Op::Len(_)
            | Op::SetLen(..)
            | Op::CopyBytes { .. }
            | Op::EqBytes(..)
            | Op::LoadBits(..)
            | Op::StoreBits(..)
            | Op::Hash(..)
            | Op::Pkt(_)
            | Op::AtomicRmw(..)
            | Op::AtomicCas { .. }
            | Op::Call(..)
            | Op::If(..)
            | Op::Switch { .. }
            | Op::Block(..) => {}
        }
        effects
    }

    /// Whether control can leave a region-holding operation other than to its end.
    fn escapes(&self) -> bool {
        let mut given = std::collections::HashSet::new();
        given.extend(self.label());
        let regions = self.regions();
        for region in &regions {
            region.walk(&mut |stmt| given.extend(stmt.op.label()));
        }
        let mut escapes = false;
        for region in regions {
            region.walk_regions(&mut |inner| {
                escapes |= match &inner.term {
                    Term::Yield(_) | Term::Trap(..) => false,
                    Term::Break(label, _) | Term::Continue(label, _) => !given.contains(label),
                    Term::Return(_)
                    | Term::Reply(_)
                    | Term::Drop
                    | Term::Punt(_)
                    | Term::Await { .. }
                    | Term::Become { .. } => true,
                };
            });
        }
        escapes
    }
}

/// What a region's statements and terminators do. Linear: every statement is looked at once, as `leaves` is not asked
/// of nested operations.
fn region_effects(region: &Region, funcs: &[Effects]) -> Effects {
    let mut effects = Effects::default();
    region.walk_regions(&mut |inner| {
        for stmt in &inner.stmts {
            effects = effects.union(stmt.op.own_effects(funcs));
        }
        match &inner.term {
            Term::Trap(..) => effects.traps = true,
            Term::Reply(view) => effects.touch(view.place.base, Access::Read),
            Term::Await { .. } => effects.awaits = true,
            _ => {}
        }
    });
    effects
}

/// What a call does to the caller: what its callee does to state, and reads and writes through the arguments.
fn call_effects(callee: Option<Effects>, args: &[Operand]) -> Effects {
    let callee = callee.unwrap_or(Effects::UNKNOWN_CALL);
    let mut effects = Effects {
        reads_memory: false,
        writes_memory: false,
        ..callee
    };
    for arg in args {
        match arg {
            Operand::Value(_) => {}
            Operand::View(view) if callee.reads_memory => effects.touch(view.place.base, Access::Read),
            Operand::View(_) => {}
            Operand::Place(place) => {
                if callee.reads_memory {
                    effects.touch(place.base, Access::Read);
                }
                if callee.writes_memory {
                    effects.touch(place.base, Access::Write);
                }
            }
        }
    }
    effects
}

/// What each function of a module does, by id. `reads_memory` and `writes_memory` speak of its parameters and its own
/// slots alike.
pub fn func_effects(module: &Module) -> Vec<Effects> {
    let mut known: Vec<Effects> = Vec::with_capacity(module.funcs.len());
    for func in &module.funcs {
        known.push(one_func(func, &known));
    }
    known
}

fn one_func(func: &Func, known: &[Effects]) -> Effects {
    let mut effects = region_effects(&func.region, known);
    effects.leaves = false;
    effects
}
