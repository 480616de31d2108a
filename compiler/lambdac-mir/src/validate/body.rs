//! Bodies: the state of a check, calls' depth and frames, parts.

use super::graph::has_cycle;
use super::{Errors, MAX_DEPTH, MAX_SLOT_BYTES, MAX_STATEMENTS};
use crate::{
    Body, Func, FuncParam, Label, Lambda, LambdaId, Module, Part, PartId, Region, SlotId, Storage, Value,
};

/// What a caller must know of a function.
#[derive(Clone, Copy)]
pub(super) struct FuncFacts {
    /// Depth of its regions, counted through calls.
    depth: u32,
    /// Packed bytes of its slots and those of its deepest call chain.
    slot_bytes: u64,
    /// Whether it or what it calls touches objects other than tables.
    pub(super) touches_state: bool,
}

/// Where a body stands.
#[derive(Clone, Copy)]
pub(super) enum Owner<'m> {
    /// A function and its id; callees have smaller ones.
    Func(&'m Func, u32),
    /// A function of the match stage.
    Cond(&'m Func),
    /// A lambda.
    Lambda(&'m Lambda),
}

/// How far a value has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Undefined,
    Visible,
    Gone,
}

/// How far a label has come.
#[derive(Clone)]
pub(super) enum LabelState {
    Unused,
    /// Its region is being checked.
    Open {
        /// Widths that a break carries.
        results: Vec<u8>,
        /// Widths that a continue carries; `None` for a block.
        params: Option<Vec<u8>>,
    },
    /// Its region has ended, or it cannot be named here.
    Closed,
}

/// A body under check.
pub(super) struct Checker<'m, 'e> {
    pub(super) module: &'m Module,
    pub(super) owner: Owner<'m>,
    pub(super) body: &'m Body,
    pub(super) params: &'m [FuncParam],
    pub(super) funcs: &'e [FuncFacts],
    pub(super) errors: &'e mut Errors,
    pub(super) life: Vec<Life>,
    /// Values that are constant zeros.
    pub(super) zero: Vec<bool>,
    pub(super) labels: Vec<LabelState>,
    /// Values in definition order, so that a region's can be ended.
    pub(super) visible: Vec<Value>,
    pub(super) depth: u32,
    /// Loops and blocks around.
    pub(super) labelled_depth: u32,
    pub(super) statements: usize,
    pub(super) facts: FuncFacts,
    /// The part under check, and where parts lead to.
    pub(super) part: u32,
    pub(super) part_edges: Vec<(u32, u32)>,
    /// Lambdas that this one punts to.
    pub(super) punts: Vec<LambdaId>,
}

impl<'m, 'e> Checker<'m, 'e> {
    fn new(module: &'m Module, owner: Owner<'m>, funcs: &'e [FuncFacts], errors: &'e mut Errors) -> Self {
        let (body, params): (&Body, &[FuncParam]) = match owner {
            Owner::Func(func, _) | Owner::Cond(func) => (&func.body, &func.params),
            Owner::Lambda(lambda) => (&lambda.body, &[]),
        };
        let slot_bytes = body.slots.iter().map(|slot| slot.shape.packed_size()).sum();
        Self {
            module,
            owner,
            body,
            params,
            funcs,
            errors,
            life: vec![Life::Undefined; body.values.len()],
            zero: vec![false; body.values.len()],
            labels: vec![LabelState::Unused; body.labels as usize],
            visible: Vec::new(),
            depth: 0,
            labelled_depth: 0,
            statements: 0,
            facts: FuncFacts {
                depth: 0,
                slot_bytes,
                touches_state: false,
            },
            part: 0,
            part_edges: Vec::new(),
            punts: Vec::new(),
        }
    }

    /// A value's width; 0 where there is no such value, which is reported elsewhere.
    pub(super) fn width(&self, value: Value) -> u8 {
        self.body.values.get(value.index()).copied().unwrap_or(0)
    }

    /// Notes an error.
    pub(super) fn error(&mut self, message: impl Into<String>) {
        self.errors.add(message);
    }

    /// Notes an error unless `holds`.
    pub(super) fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        self.errors.require(holds, message);
    }

    /// Makes a value visible until the region under check ends.
    pub(super) fn define(&mut self, value: Value) {
        match self.life.get_mut(value.index()) {
            None => self.error(format!("{value} is out of range")),
            Some(life @ Life::Undefined) => {
                *life = Life::Visible;
                self.visible.push(value);
            }
            Some(_) => self.error(format!("{value} is defined twice")),
        }
    }

    /// Ends the visibility of everything defined since `mark`.
    pub(super) fn end_scope(&mut self, mark: usize) {
        for value in self.visible.drain(mark..) {
            self.life[value.index()] = Life::Gone;
        }
    }

    /// Checks that a value is visible.
    pub(super) fn used(&mut self, value: Value) -> bool {
        match self.life.get(value.index()) {
            Some(Life::Visible) => return true,
            None => self.error(format!("{value} is out of range")),
            Some(Life::Undefined) => self.error(format!("{value} is used before it is defined")),
            Some(Life::Gone) => self.error(format!("{value} is used outside the region that defines it")),
        }
        false
    }

    /// Takes in what a callee needs at this depth.
    pub(super) fn enter_call(&mut self, callee: FuncFacts) {
        self.reach_depth(self.depth + 1 + callee.depth);
        let own: u64 = self.body.slots.iter().map(|slot| slot.shape.packed_size()).sum();
        self.facts.slot_bytes = self.facts.slot_bytes.max(own.saturating_add(callee.slot_bytes));
        self.facts.touches_state |= callee.touches_state;
        let bytes = self.facts.slot_bytes;
        self.require(bytes <= 4 * MAX_SLOT_BYTES, || {
            format!("a call chain with slots of {bytes} bytes")
        });
    }

    /// Notes how deep regions go. False where it is too deep to go on.
    pub(super) fn reach_depth(&mut self, depth: u32) -> bool {
        self.facts.depth = self.facts.depth.max(depth);
        self.require(depth <= MAX_DEPTH, || {
            format!("regions nest deeper than {MAX_DEPTH}")
        });
        depth <= MAX_DEPTH
    }

    /// Counts a statement. False where there are too many to go on.
    pub(super) fn count_statement(&mut self) -> bool {
        self.statements += 1;
        if self.statements == MAX_STATEMENTS + 1 {
            self.error(format!("more than {MAX_STATEMENTS} statements"));
        }
        self.statements <= MAX_STATEMENTS && !self.errors.full()
    }

    /// Whether a slot lies in the reply buffer.
    pub(super) fn is_reply_buffer(&self, slot: SlotId) -> bool {
        self.body
            .slots
            .get(slot.index())
            .is_some_and(|slot| slot.storage == Storage::ReplyBuffer)
    }

    /// An open label's widths.
    pub(super) fn label(&self, label: Label) -> Option<(&[u8], Option<&[u8]>)> {
        match self.labels.get(label.index())? {
            LabelState::Open { results, params } => Some((results, params.as_deref())),
            _ => None,
        }
    }

    fn run_region(&mut self, region: &'m Region) {
        let mark = self.visible.len();
        self.region(region, None);
        self.end_scope(mark);
    }

    fn run_part(&mut self, number: u32, part: &'m Part) {
        self.part = number;
        for &param in &part.params {
            self.define(param);
        }
        if number == 0 {
            let bare = part.params.is_empty() && part.live_slots.is_empty();
            self.require(bare, || {
                "the first part has no parameters and no live slots".into()
            });
        }
        let mut live = std::collections::HashSet::new();
        for &slot in &part.live_slots {
            let frame = slot.index() < self.body.slots.len() && !self.is_reply_buffer(slot);
            self.require(frame, || {
                format!("{slot} is no slot that can live across an await")
            });
            self.require(live.insert(slot), || format!("{slot} is live twice"));
        }
        self.run_region(&part.region);
        self.end_scope(0);
    }
}

/// Checks all functions and lambdas; gives what conditions' functions may call.
pub(super) fn check(module: &Module, errors: &mut Errors) -> Vec<FuncFacts> {
    let mut facts: Vec<FuncFacts> = Vec::with_capacity(module.funcs.len());
    for (i, func) in module.funcs.iter().enumerate() {
        errors.enter(format!("func f{i} {:?}", func.name));
        let found = check_func(module, Owner::Func(func, i as u32), &facts, errors);
        facts.push(found);
    }
    let mut punts = Vec::new();
    for (i, lambda) in module.lambdas.iter().enumerate() {
        if errors.full() {
            return facts;
        }
        let targets = check_lambda(module, i, lambda, &facts, errors);
        punts.extend(targets.into_iter().map(|to| (i as u32, to.0)));
    }
    errors.enter(format!("module {:?}", module.name));
    errors.require(!has_cycle(module.lambdas.len(), &punts), || {
        "punts form a cycle".into()
    });
    facts
}

/// Checks a function's region, and gives what its callers must know.
pub(super) fn check_func(
    module: &Module,
    owner: Owner<'_>,
    facts: &[FuncFacts],
    errors: &mut Errors,
) -> FuncFacts {
    let (Owner::Func(func, _) | Owner::Cond(func)) = owner else {
        unreachable!("lambdas are checked part by part");
    };
    let mut checker = Checker::new(module, owner, facts, errors);
    for param in &func.params {
        if let FuncParam::Scalar(value) = param {
            checker.define(*value);
        }
    }
    checker.run_region(&func.region);
    checker.facts
}

fn check_lambda(
    module: &Module,
    i: usize,
    lambda: &Lambda,
    facts: &[FuncFacts],
    errors: &mut Errors,
) -> Vec<LambdaId> {
    errors.enter(format!("lambda l{i} {:?}", lambda.name));
    let mut checker = Checker::new(module, Owner::Lambda(lambda), facts, errors);
    for (number, part) in lambda.parts.iter().enumerate() {
        let number = number as u32;
        checker
            .errors
            .enter(format!("lambda l{i} {:?} {}", lambda.name, PartId(number)));
        checker.run_part(number, part);
    }
    let cycle = has_cycle(lambda.parts.len(), &checker.part_edges);
    checker.require(!cycle, || "parts enter each other in a cycle".into());
    checker.punts
}
