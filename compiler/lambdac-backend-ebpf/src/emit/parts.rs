//! Lambdas of several parts: where awaits lead to, and how parts enter each other.
//!
//! All parts that a program can enter are emitted once, in an order in which jumps go forward; a part's parameters are
//! registers that whoever enters it sets.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lambdac_mir::{Lambda, LambdaId, Module, PartId, Region, ServiceOp, SlotId, Term};

use super::{Emitter, Val};
use crate::abi::{Ended, wait as abi};
use crate::layout;
use crate::packet;
use crate::vcode::{Mark, V};

/// Where a part is entered: the registers of its parameters, and its start.
pub(super) type Entrance = (Mark, Rc<[V]>);

/// A part that an await leads to, and what its slot holds.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(super) lambda: LambdaId,
    pub(super) part: PartId,
    pub(super) op: ServiceOp,
    /// Where a value goes.
    pub(super) dst: Option<SlotId>,
    /// Offsets of the saved slots. Scalars lie before them, one a word.
    pub(super) slots: Vec<(SlotId, u32)>,
    /// Offset of the request's payload, if a part from here on reads it.
    pub(super) payload: Option<u32>,
    /// Bytes of the slot that are used.
    pub(crate) bytes: u32,
}

/// All sites of a workload's native lambdas; their places here are the entries of its continuation program.
pub(crate) fn sites(module: &Module, native: &[bool]) -> Vec<Site> {
    let mut sites = Vec::new();
    for (index, lambda) in module.lambdas.iter().enumerate() {
        if native.get(index) != Some(&true) {
            continue;
        }
        let mut targets: BTreeMap<PartId, (ServiceOp, Option<SlotId>)> = BTreeMap::new();
        for part in &lambda.parts {
            part.region.walk_regions(&mut |region| {
                if let Term::Await { call, part, .. } = &region.term {
                    targets.insert(*part, (call.op, call.dst));
                }
            });
        }
        for (part, answer) in targets {
            sites.push(site(LambdaId(index as u32), lambda, part, answer));
        }
    }
    sites
}

fn site(id: LambdaId, lambda: &Lambda, part: PartId, (op, dst): (ServiceOp, Option<SlotId>)) -> Site {
    let target = &lambda.parts[part.index()];
    let mut end = abi::SAVED + 8 * target.params.len().saturating_sub(2) as u32;
    let mut slots = Vec::new();
    for slot in &target.live_slots {
        slots.push((*slot, end));
        let bytes = layout::value_bytes(&lambda.body.slots[slot.index()].shape);
        end = end.saturating_add(bytes).saturating_add(7) & !7;
    }
    let payload = lambda.reads_request(part).then_some(end);
    if payload.is_some() {
        end = end.saturating_add(packet::MAX_PAYLOAD as u32);
    }
    Site {
        lambda: id,
        part,
        op,
        dst,
        slots,
        payload,
        bytes: end,
    }
}

/// The parts that a region leads to.
fn leads_to(region: &Region) -> BTreeSet<PartId> {
    let mut parts = BTreeSet::new();
    region.walk_regions(&mut |region| {
        if let Term::Await { part, .. } | Term::Become { part, .. } = &region.term {
            parts.insert(*part);
        }
    });
    parts
}

/// The parts that can run from some on, each before those that it leads to.
pub(super) fn order(lambda: &Lambda, from: &[PartId]) -> Vec<PartId> {
    let mut seen = BTreeSet::new();
    let mut reversed = Vec::new();
    // Parts lead to each other without cycles. What is left of a part's successors, and the part.
    let mut stack: Vec<(Option<PartId>, Vec<PartId>)> = vec![(None, from.to_vec())];
    while let Some((part, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) => {
                if seen.insert(next) && next.index() < lambda.parts.len() {
                    let after = leads_to(&lambda.parts[next.index()].region);
                    stack.push((Some(next), after.into_iter().collect()));
                }
            }
            None => {
                reversed.extend(*part);
                stack.pop();
            }
        }
    }
    reversed.reverse();
    reversed
}

impl<'m> Emitter<'m> {
    /// Emits the parts of a lambda that can run from some on; its body was entered. Part 0 starts here.
    pub(super) fn parts(&mut self, lambda: &'m Lambda, order: &[PartId]) {
        for id in order {
            let part = &lambda.parts[id.index()];
            if let Some((mark, regs)) = self.parts.get(id).cloned() {
                self.bind(mark);
                self.set_all(&part.params, &regs);
            }
            if self.region(&part.region).is_some() {
                self.invalid("a part that yields");
            }
        }
    }

    /// Entrances for parts, but for part 0.
    pub(super) fn entrances(&mut self, lambda: &Lambda, order: &[PartId]) {
        let mut parts = BTreeMap::new();
        for id in order.iter().filter(|id| id.index() > 0) {
            let params = &lambda.parts[id.index()].params;
            let regs: Rc<[V]> = params.iter().map(|_| self.new_reg()).collect();
            parts.insert(*id, (self.mark(), regs));
        }
        self.parts = parts;
    }

    pub(super) fn enter_part(&mut self, part: PartId, values: &[Val]) {
        match self.parts.get(&part).cloned() {
            Some((mark, regs)) if self.level() == 0 && regs.len() == values.len() => {
                self.move_all(&regs, values);
                self.jump(mark);
            }
            _ => self.invalid("a part that cannot be entered"),
        }
    }

    /// A part that waits is only entered at once where the request may not be sent.
    pub(super) fn count_unsent(&mut self, part: PartId) {
        let lambda = self.lambda;
        let mut sites = self.shared.sites.iter();
        if sites.any(|site| Some(site.lambda) == lambda && site.part == part) {
            self.count(Ended::UnsentKey);
        }
    }
}
