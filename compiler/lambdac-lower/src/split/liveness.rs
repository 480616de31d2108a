//! Which slots a part needs as they were.
//!
//! A slot is saved for a part if the part, or one that it leads to, may read what was written before (a search backwards
//! over the regions), and something was written before at all (a search forwards). Sets only grow and parts enter each
//! other without cycles, so both searches settle after at most as many rounds as the longest chain of parts.

use std::collections::BTreeSet;

use lambdac_mir::{
    Access, Base, Func, FuncParam, Lambda, Op, Operand, Part, PartId, Place, Region, ServiceCall, SlotId,
    Stmt, Term, Use,
};

type Slots = BTreeSet<SlotId>;

/// Sets the live slots of all parts.
pub(super) fn set_live_slots(lambda: &mut Lambda, funcs: &[Func]) {
    let answers = answer_slots(&lambda.parts);
    let live = solve(&lambda.parts, |known, id, part| {
        let mut live = Backward { known, funcs }.region(&part.region, &Slots::new());
        // The answer is written when it comes.
        live.retain(|slot| !answers[id.index()].contains(slot));
        vec![(id, live)]
    });
    let written = solve(&lambda.parts, |known, id, part| {
        let mut forward = Forward {
            funcs,
            entered: Vec::new(),
        };
        forward.region(&part.region, known[id.index()].clone());
        forward.entered
    });
    for (part, (live, written)) in lambda.parts.iter_mut().zip(live.iter().zip(&written)) {
        part.live_slots = live.intersection(written).copied().collect();
    }
}

/// Grows a set a part until nothing changes.
fn solve(parts: &[Part], step: impl Fn(&[Slots], PartId, &Part) -> Vec<(PartId, Slots)>) -> Vec<Slots> {
    let mut known = vec![Slots::new(); parts.len()];
    let mut settled = false;
    while !settled {
        settled = true;
        for (i, part) in parts.iter().enumerate().rev() {
            for (id, new) in step(&known, PartId(i as u32), part) {
                let set = &mut known[id.index()];
                let before = set.len();
                set.extend(new);
                settled &= set.len() == before;
            }
        }
    }
    known
}

/// By part: the slots that answers come in.
fn answer_slots(parts: &[Part]) -> Vec<Slots> {
    let mut answers = vec![Slots::new(); parts.len()];
    for part in parts {
        part.region.walk_regions(&mut |region| {
            if let Term::Await { call, part, .. } = &region.term {
                answers[part.index()].extend(call.dst);
            }
        });
    }
    answers
}

fn slot_of(place: &Place) -> Option<SlotId> {
    match place.base {
        Base::Slot(slot) => Some(slot),
        _ => None,
    }
}

/// The slots that an operation reads, and those that it overwrites whole, without its regions.
fn touched(op: &Op, funcs: &[Func], reads: &mut dyn FnMut(SlotId), overwrites: &mut dyn FnMut(SlotId)) {
    if let Op::Zero(dst) | Op::Copy { dst, .. } = op
        && dst.path.is_empty()
        && let Some(slot) = slot_of(dst)
    {
        overwrites(slot);
    }
    if let Op::Call(callee, args) = op {
        for (param, arg) in funcs[callee.index()].params.iter().zip(args) {
            let place = match (param, arg) {
                // A callee writes it before it reads it.
                (FuncParam::Ref { writable: true, .. }, _) | (_, Operand::Value(_)) => continue,
                (_, Operand::Place(place)) => place,
                (_, Operand::View(view)) => &view.place,
            };
            slot_of(place).into_iter().for_each(&mut *reads);
        }
        return;
    }
    op.for_each_place(|place, access| {
        if access.reads() {
            slot_of(place).into_iter().for_each(&mut *reads);
        }
    });
}

fn call_reads(call: &ServiceCall, live: &mut Slots) {
    let views = [Some(&call.key), call.value.as_ref()];
    live.extend(
        views
            .into_iter()
            .flatten()
            .filter_map(|view| slot_of(&view.place)),
    );
}

/// What may be read from here on.
struct Backward<'a> {
    /// At the entries of parts.
    known: &'a [Slots],
    funcs: &'a [Func],
}

impl Backward<'_> {
    /// At the start of a region, given what is live where it yields to.
    fn region(&self, region: &Region, after: &Slots) -> Slots {
        let mut live = self.term(&region.term, after);
        for stmt in region.stmts.iter().rev() {
            self.stmt(stmt, &mut live);
        }
        live
    }

    fn term(&self, term: &Term, after: &Slots) -> Slots {
        match term {
            Term::Yield(_) => after.clone(),
            Term::Await { call, part, .. } => {
                let mut live = self.known[part.index()].clone();
                call_reads(call, &mut live);
                live
            }
            Term::Become { part, .. } => self.known[part.index()].clone(),
            Term::Reply(view) => slot_of(&view.place).into_iter().collect(),
            // Where a loop goes on or ends, all that it reads and what is live after it are live; see `stmt`.
            Term::Break(..)
            | Term::Continue(..)
            | Term::Return(_)
            | Term::Drop
            | Term::Punt(_)
            | Term::Trap(..) => Slots::new(),
        }
    }

    fn stmt(&self, stmt: &Stmt, live: &mut Slots) {
        match &stmt.op {
            Op::If(..) | Op::Switch { .. } => {
                let after = std::mem::take(live);
                for region in stmt.op.regions() {
                    live.extend(self.region(region, &after));
                }
            }
            Op::Loop(_) | Op::Block(..) => {
                for region in stmt.op.regions() {
                    self.anything_read(region, live);
                }
            }
            op => {
                let mut reads = Slots::new();
                let mut overwrites = |slot| {
                    live.remove(&slot);
                };
                touched(op, self.funcs, &mut |slot| reads.extend([slot]), &mut overwrites);
                live.extend(reads);
            }
        }
    }

    fn anything_read(&self, region: &Region, live: &mut Slots) {
        region.walk_regions(&mut |inner| {
            for stmt in &inner.stmts {
                touched(&stmt.op, self.funcs, &mut |slot| live.extend([slot]), &mut |_| {});
            }
            live.extend(self.term(&inner.term, &Slots::new()));
        });
    }
}

/// What may have been written up to here.
struct Forward<'a> {
    funcs: &'a [Func],
    /// The parts that are entered, with what was written before.
    entered: Vec<(PartId, Slots)>,
}

impl Forward<'_> {
    /// What was written where the region yields; `None` if it always leaves.
    fn region(&mut self, region: &Region, mut written: Slots) -> Option<Slots> {
        for stmt in &region.stmts {
            match &stmt.op {
                Op::If(..) | Op::Switch { .. } => {
                    let mut after = Slots::new();
                    for arm in stmt.op.regions() {
                        after.extend(self.region(arm, written.clone()).into_iter().flatten());
                    }
                    written = after;
                }
                Op::Loop(_) | Op::Block(..) => {
                    for inner in stmt.op.regions() {
                        inner.walk(&mut |stmt| self.writes(&stmt.op, &mut written));
                    }
                }
                op => self.writes(op, &mut written),
            }
        }
        match &region.term {
            Term::Await { call, part, .. } => {
                written.extend(call.dst);
                self.entered.push((*part, written));
                None
            }
            Term::Become { part, .. } => {
                self.entered.push((*part, written));
                None
            }
            Term::Yield(_) => Some(written),
            _ => None,
        }
    }

    fn writes(&self, op: &Op, written: &mut Slots) {
        op.for_each_use(&mut |used| match used {
            Use::Place(place, access) if access.writes() && !self.is_read_only(op, access) => {
                written.extend(slot_of(place));
            }
            Use::Slot(slot) => written.extend([*slot]),
            _ => {}
        });
    }

    /// A call counts as writing what it is passed; without a writable parameter it writes nothing.
    fn is_read_only(&self, op: &Op, access: Access) -> bool {
        let Op::Call(callee, _) = op else { return false };
        let writable = |param: &FuncParam| matches!(param, FuncParam::Ref { writable: true, .. });
        access == Access::ReadWrite && !self.funcs[callee.index()].params.iter().any(writable)
    }
}
