//! Loops.
//!
//! Up to a number of trips (nested loops multiplied) a loop stays one, which the verifier walks trip by trip; above,
//! its body becomes a callback of `bpf_loop`, which it walks once. There the values that the loop carries lie in homes.

use std::rc::Rc;

use lambdac_mir::{BinOp, CmpOp, Loop, LoopKind, Module, Op, Region, TrapCause, Value};

use super::leave::{FIRST_WAY, GOES_ON, Leave, TRAPPED};
use super::{Emitter, HOME, STACK_ENV, Target, Unit, Val};
use crate::asm::ParamType;
use crate::insn::{AluOp, Cond, Helper, Imm64};
use crate::legalise::MAX_LOOPS;
use crate::names;
use crate::regalloc::MEMORY_SLOT;
use crate::vcode::{Arg, Inst, Operand, V};

/// Statements times trips that the verifier may have to walk for one loop.
const INLINE_STEPS: u64 = 4096;
/// Trips up to which a loop stays one though its body forks: the verifier may walk every combination of turns.
const FORKING_TRIPS: u64 = 4;

/// What a callback left behind.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) code_home: u32,
    pub(super) ways: Vec<Leave>,
    pub(super) traps: bool,
}

impl<'m> Emitter<'m> {
    pub(super) fn loop_op(&mut self, results: &[Value], inner: &'m Loop) {
        let trips = self.most_trips(inner);
        let nested = self.trips.saturating_mul(trips);
        let steps = trips.saturating_mul(inner.body.op_count() as u64);
        let most = if forks(self.shared.module, inner) {
            FORKING_TRIPS
        } else {
            self.shared.inline_trips
        };
        if nested <= most && steps <= INLINE_STEPS {
            let before = std::mem::replace(&mut self.trips, nested.max(1));
            self.inline_loop(results, inner);
            self.trips = before;
        } else {
            let before = std::mem::replace(&mut self.trips, 1);
            self.called_loop(results, inner, trips);
            self.trips = before;
        }
    }

    fn most_trips(&mut self, inner: &Loop) -> u64 {
        let LoopKind::For {
            from,
            to,
            signed,
            var,
        } = inner.kind
        else {
            return inner.max;
        };
        let width = self.width(var);
        match (self.get(from).imm(), self.get(to).imm()) {
            (Some(from), Some(to)) if signed => {
                let sign = |value| lambdac_mir::sign_extend(value, width);
                inner.max.min(sign(to).saturating_sub(sign(from)).max(0) as u64)
            }
            (Some(from), Some(to)) => inner.max.min(to.saturating_sub(from)),
            _ => inner.max,
        }
    }

    fn inline_loop(&mut self, results: &[Value], inner: &'m Loop) {
        let params: Vec<Value> = inner.params.iter().map(|(param, _)| *param).collect();
        let inits: Vec<Value> = inner.params.iter().map(|(_, init)| *init).collect();
        let inits = self.get_all(&inits);
        let regs: Rc<[V]> = params.iter().map(|_| self.new_reg()).collect();
        self.move_all(&regs, &inits);
        let (head, again, done) = (self.mark(), self.mark(), self.mark());
        let (level, loc) = (self.level(), self.loc);
        let target = |mark| Target::Join {
            level,
            mark,
            regs: regs.clone(),
        };
        self.instance_mut().breaks.insert(inner.label, target(done));
        self.instance_mut().continues.insert(inner.label, target(again));
        let counter = match inner.kind {
            LoopKind::For { from, .. } => {
                let from = self.get(from);
                Some(self.copy_of(&from))
            }
            LoopKind::While(_) => None,
        };
        let end = match inner.kind {
            LoopKind::For { to, .. } => {
                let to = self.get(to);
                Some(self.settled(&to))
            }
            LoopKind::While(_) => None,
        };
        // Trips, for the verifier, unless it sees them in the counter.
        let counts_itself = match (&inner.kind, &end) {
            (LoopKind::For { from, .. }, Some(end)) => self.get(*from).imm().is_some() && end.imm().is_some(),
            _ => false,
        };
        if let Some(counter) = counter {
            self.unit.code.pin(counter);
        }
        let needs_max = inner.checked || !counts_itself;
        let trip = needs_max.then(|| self.copy_of(&Val::Imm(0)));
        self.bind(head);
        self.set_all(&params, &regs);
        match (&inner.kind, counter, &end) {
            (LoopKind::For { var, signed, .. }, Some(counter), Some(end)) => {
                let val = self.val(counter);
                self.set(*var, val.clone());
                let op = if *signed { CmpOp::Slt } else { CmpOp::Ult };
                let width = self.width(*var);
                self.branch_compare(op, width, (&val, end), false, done);
            }
            (LoopKind::While(cond), ..) => {
                if let Some(values) = self.region(cond) {
                    self.branch_if(&values[0], false, done);
                }
            }
            _ => {}
        }
        self.at(loc);
        if let Some(trip) = trip {
            let mark = self.past_max(inner);
            self.branch(Cond::Ge, trip, i32::try_from(inner.max).unwrap_or(i32::MAX), mark);
        }
        self.body(&inner.body);
        self.bind(again);
        if let Some(trip) = trip {
            self.alu(AluOp::Add, trip, 1);
        }
        if let (LoopKind::For { var, .. }, Some(counter)) = (&inner.kind, counter) {
            self.alu(AluOp::Add, counter, 1);
            let width = self.width(*var);
            self.mask(counter, width);
        }
        self.jump(head);
        self.bind(done);
        self.set_all(results, &regs);
    }

    fn past_max(&mut self, inner: &Loop) -> crate::vcode::Mark {
        if inner.checked {
            self.trap(TrapCause::LoopMax)
        } else {
            self.unreachable()
        }
    }

    fn body(&mut self, body: &'m Region) {
        if self.region(body).is_some() {
            self.invalid("a loop's body that yields");
        }
    }

    fn called_loop(&mut self, results: &[Value], inner: &'m Loop, most: u64) {
        let loc = self.loc;
        let params: Vec<Value> = inner.params.iter().map(|(param, _)| *param).collect();
        let homes: Rc<[u32]> = params.iter().map(|_| self.home()).collect();
        for ((_, init), home) in inner.params.iter().zip(homes.iter()) {
            let init = self.get(*init);
            self.store_home(*home, &init);
        }
        let (from, wanted) = match inner.kind {
            LoopKind::For {
                from,
                to,
                signed,
                var,
            } => {
                let (from, to) = (self.get(from), self.get(to));
                let (from, to) = (self.settled(&from), self.settled(&to));
                let width = self.width(var);
                let wanted = self.trips_of(&from, &to, signed, width);
                (Some(from), Some(wanted))
            }
            LoopKind::While(_) => (None, None),
        };
        let index = self.enter_callback();
        let level = self.level();
        for (again, map) in [(true, true), (false, false)] {
            let target = Target::Trip {
                level,
                homes: homes.clone(),
                again,
            };
            let instance = self.instance_mut();
            let map = if map {
                &mut instance.continues
            } else {
                &mut instance.breaks
            };
            map.insert(inner.label, target);
        }
        for (param, home) in params.iter().zip(homes.iter()) {
            let reg = self.copy_of(&Val::Home(*home));
            let val = self.val(reg);
            self.set(*param, val);
        }
        self.trip(inner, index, from.as_ref());
        let ended = self.leave_callback();
        // One more than the max, where that trip traps or a condition ends the loop.
        let extra = u64::from(inner.checked || wanted.is_none());
        let trips = match &wanted {
            Some(wanted) => self.limited(wanted, inner.max.saturating_add(extra)),
            None => Val::Imm(inner.max.saturating_add(extra)),
        };
        if most >= MAX_LOOPS {
            self.invalid("a loop of more trips than the kernel allows");
        }
        self.at(loc);
        self.call_loop(&trips, ended);
        for (result, home) in results.iter().zip(homes.iter()) {
            let reg = self.copy_of(&Val::Home(*home));
            let val = self.val(reg);
            self.set(*result, val);
        }
    }

    /// Trips of a counting loop, without its max.
    fn trips_of(&mut self, from: &Val, to: &Val, signed: bool, width: u8) -> Val {
        if let (Some(from), Some(to)) = (from.imm(), to.imm()) {
            return Val::Imm(if signed {
                let sign = |value| lambdac_mir::sign_extend(value, width);
                sign(to).saturating_sub(sign(from)).max(0).cast_unsigned()
            } else {
                to.saturating_sub(from)
            });
        }
        let (a, b) = if signed {
            let sign = |emitter: &mut Self, val: &Val| match val.imm() {
                Some(value) => Val::Imm(lambdac_mir::sign_extend(value, width).cast_unsigned()),
                None => {
                    let reg = emitter.sign_extended(val, width);
                    emitter.val(reg)
                }
            };
            (sign(self, from), sign(self, to))
        } else {
            (from.clone(), to.clone())
        };
        let op = if signed { CmpOp::Slt } else { CmpOp::Ult };
        let some = self.mark();
        let count = self.copy_of(&b);
        let operand = self.operand(&a);
        self.alu(AluOp::Sub, count, operand);
        self.branch_compare(op, 64, (&a, &b), true, some);
        self.constant(count, 0);
        self.bind(some);
        self.val(count)
    }

    fn limited(&mut self, wanted: &Val, most: u64) -> Val {
        if let Some(wanted) = wanted.imm() {
            return Val::Imm(wanted.min(most));
        }
        let count = self.copy_of(wanted);
        let done = self.mark();
        let most = self.copy_of(&Val::Imm(most));
        self.branch(Cond::Le, count, most, done);
        self.mov(count, most);
        self.bind(done);
        self.val(count)
    }

    /// One trip, in its callback.
    fn trip(&mut self, inner: &'m Loop, index: V, from: Option<&Val>) {
        let loc = self.loc;
        match (&inner.kind, from) {
            (LoopKind::For { var, .. }, Some(from)) => {
                let index = self.val(index);
                let counter = self.binary(AluOp::Add, from, &index);
                let width = self.width(*var);
                let counter = self.copy_of(&counter);
                self.mask(counter, width);
                let counter = self.val(counter);
                self.set(*var, counter);
                if inner.checked {
                    let Val::Reg { reg, .. } = index else { return };
                    let mark = self.past_max(inner);
                    self.branch(Cond::Ge, reg, i32::try_from(inner.max).unwrap_or(i32::MAX), mark);
                }
            }
            (LoopKind::While(cond), _) => {
                let goes_on = self.mark();
                if let Some(values) = self.region(cond) {
                    self.branch_if(&values[0], true, goes_on);
                }
                self.push(Inst::Exit(Operand::Imm(1)));
                self.bind(goes_on);
                self.at(loc);
                let mark = self.past_max(inner);
                self.branch(
                    Cond::Ge,
                    index,
                    i32::try_from(inner.max).unwrap_or(i32::MAX),
                    mark,
                );
            }
            _ => {}
        }
        self.body(&inner.body);
    }

    /// Starts a callback; gives the register of its trip's number.
    pub(super) fn enter_callback(&mut self) -> V {
        let code_home = self.home();
        if self.trap_home == 0 {
            self.trap_home = self.home();
        }
        self.started += 1;
        let name = names::made(&format!("t{}", self.started), &self.name);
        let mut unit = Unit::new(name);
        unit.code_home = code_home;
        let (index, env) = (unit.code.reg(), unit.code.reg());
        unit.code.params = vec![(index, "index", ParamType::U64), (env, "env", ParamType::Pointer)];
        unit.env = Some(env);
        if self.deep {
            unit.code.reserved = MEMORY_SLOT.unsigned_abs();
            unit.scratch = Some(unit.code.reg());
        }
        let outer = std::mem::replace(&mut self.unit, unit);
        self.outer.push(outer);
        self.depth = self.depth.max(self.outer.len() as u32 + 1);
        index
    }

    /// Ends a callback, back to its outer unit, which then holds what the callback captures.
    pub(super) fn leave_callback(&mut self) -> Ended {
        let loc = self.loc;
        let traps = self.callback_traps();
        self.loc = loc;
        let entry = self.callback_entry();
        let Some(outer) = self.outer.pop() else {
            self.invalid("a callback without an outer unit");
            return Ended {
                name: String::new(),
                code_home: HOME,
                ways: Vec::new(),
                traps,
            };
        };
        let mut unit = std::mem::replace(&mut self.unit, outer);
        unit.code.insts.splice(0..0, entry);
        let name = unit.code.name.clone();
        self.callbacks.push(unit.code);
        let level = self.level();
        for (from, reg, home) in unit.captures {
            if from == level {
                let val = self.val(reg);
                self.store_home(home, &val);
            } else if !self.unit.captures.contains(&(from, reg, home)) {
                // The outer one of this unit fills it.
                self.unit.captures.push((from, reg, home));
            }
        }
        Ended {
            name,
            code_home: unit.code_home,
            ways: unit.ways,
            traps: traps || unit.traps_inside,
        }
    }

    /// Calls `bpf_loop` and does what its trips could not.
    ///
    /// A call that the verifier sees to make no trips leaves the callback unvisited: it removes the callback as dead
    /// code, and then misses it for the call. So such a call must be unreachable.
    pub(super) fn call_loop(&mut self, trips: &Val, ended: Ended) {
        const { assert!(GOES_ON < TRAPPED && TRAPPED < FIRST_WAY) };
        if trips.imm() == Some(0) {
            return;
        }
        if ended.traps {
            self.unit.traps_inside |= self.level() > 0;
        }
        let none = self.mark();
        let trips = match trips.imm().and_then(|trips| i32::try_from(trips).ok()) {
            Some(trips) => Arg::Imm(trips),
            None => {
                let reg = self.reg(trips);
                self.branch(Cond::Eq, reg, 0, none);
                Arg::Reg(reg)
            }
        };
        if !ended.ways.is_empty() || ended.traps {
            self.store_home(ended.code_home, &Val::Imm(GOES_ON));
        }
        let env = match self.unit.env {
            Some(env) => Arg::Reg(env),
            None => {
                self.unit.shares = true;
                self.scratch();
                Arg::Stack(STACK_ENV)
            }
        };
        let callback = Arg::Wide(Imm64::Func(ended.name));
        self.call(Helper::Loop, vec![trips, callback, env, Arg::Imm(0)]);
        self.take_ways(ended.code_home, ended.ways, ended.traps);
        self.bind(none);
    }
}

/// Whether more than one path leads through a trip. (A path that ends the invocation is none.)
fn forks(module: &Module, inner: &Loop) -> bool {
    let condition = match &inner.kind {
        LoopKind::For { .. } => false,
        LoopKind::While(cond) => region_forks(module, cond),
    };
    condition || region_forks(module, &inner.body)
}

fn region_forks(module: &Module, region: &Region) -> bool {
    let mut found = false;
    region.walk(&mut |stmt| {
        found |= match &stmt.op {
            Op::If(..)
            | Op::Switch { .. }
            | Op::Block(..)
            | Op::Loop(_)
            | Op::Select(..)
            | Op::EqBytes(..)
            | Op::AtomicCas { .. }
            | Op::MapGet { .. }
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::TableGet { .. }
            | Op::TableHas { .. }
            | Op::Log(..)
            | Op::Copy { .. }
            | Op::CopyBytes { .. } => true,
            Op::Bin(op, ..) => !matches!(
                op,
                BinOp::Add
                    | BinOp::Sub
                    | BinOp::Mul
                    | BinOp::UDiv
                    | BinOp::URem
                    | BinOp::And
                    | BinOp::Or
                    | BinOp::Xor
            ),
            Op::LoadBits(_, pos) | Op::StoreBits(_, pos, _) => {
                pos.index.is_some_and(|(_, stride)| stride % 8 != 0)
            }
            // A callee's number is below its caller's.
            Op::Call(callee, _) => region_forks(module, &module.funcs[callee.index()].region),
            _ => false,
        };
    });
    found
}
