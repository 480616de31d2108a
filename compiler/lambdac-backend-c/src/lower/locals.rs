//! Which slots lie in a core's local memory: the cost model's rule ([`lambdac_cost::Locals`]), with sizes as they are
//! laid out here. A function has what those that it calls leave of its thread's share.

use std::collections::BTreeSet;

use lambdac_cost::{Locals, Share};
use lambdac_mir::{Body, Module, Region, SlotId};

use super::Lowerer;
use crate::layout;

/// By function: bytes of local memory of the deepest chain of calls from it; they call only those of lower numbers.
pub(super) fn chains(module: &Module, share: u64) -> Vec<u64> {
    let mut chains: Vec<u64> = Vec::with_capacity(module.funcs.len());
    for func in &module.funcs {
        let locals = place(share, &chains, &BTreeSet::new(), &func.body, &[&func.region]);
        chains.push(locals.bytes);
    }
    chains
}

impl Lowerer<'_> {
    /// Where the slots of a body lie, but for those that are elsewhere.
    pub fn locals(&self, body: &Body, regions: &[&Region], elsewhere: &BTreeSet<SlotId>) -> Locals {
        place(self.options.local, &self.chains, elsewhere, body, regions)
    }
}

fn place(
    bytes: u64,
    chains: &[u64],
    elsewhere: &BTreeSet<SlotId>,
    body: &Body,
    regions: &[&Region],
) -> Locals {
    let share = Share {
        bytes,
        size: layout::size,
        below: &|callee| chains.get(callee.index()).copied().unwrap_or(0),
        elsewhere,
    };
    Locals::of(&share, body, regions)
}
