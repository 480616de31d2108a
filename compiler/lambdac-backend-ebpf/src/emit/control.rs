//! Regions, branches and terminators.

use std::rc::Rc;

use lambdac_mir::{LoopKind, Op, Region, Stmt, SwitchRange, Term, Value, View};

use super::leave::Leave;
use super::{Emitter, Target, Val};
use crate::asm::SourceLine;
use crate::insn::{Cond, Imm64};
use crate::vcode::{Inst, Mark, V};

/// Which values of a body are only branched on.
pub(super) fn branched(count: usize, regions: &[&Region]) -> Vec<bool> {
    let mut only = vec![true; count];
    for region in regions {
        region.walk_regions(&mut |region| {
            for stmt in &region.stmts {
                match &stmt.op {
                    Op::If(..) | Op::Check(..) => {}
                    Op::Select(_, a, b) => {
                        only[a.index()] = false;
                        only[b.index()] = false;
                    }
                    op => op.for_each_operand(|value| only[value.index()] = false),
                }
                if let Op::Loop(inner) = &stmt.op
                    && let LoopKind::While(cond) = &inner.kind
                    && let Term::Yield(values) = &cond.term
                {
                    // Branched on by the loop; other uses of the value are seen where they stand.
                    debug_assert!(values.len() == 1);
                }
            }
            if !is_condition(region) {
                region.term.for_each_operand(|value| only[value.index()] = false);
            }
        });
    }
    only
}

/// Whether a region may be a loop's condition: it yields one value.
fn is_condition(region: &Region) -> bool {
    matches!(&region.term, Term::Yield(values) if values.len() == 1)
}

impl<'m> Emitter<'m> {
    /// Emits statements; gives what the region yields, where it does.
    pub(super) fn region(&mut self, region: &'m Region) -> Option<Vec<Val>> {
        for stmt in &region.stmts {
            self.stmt(stmt);
        }
        match &region.term {
            Term::Yield(values) => Some(self.get_all(values)),
            term => {
                self.term(term);
                None
            }
        }
    }

    pub(super) fn get_all(&mut self, values: &[Value]) -> Vec<Val> {
        values.iter().map(|value| self.get(*value)).collect()
    }

    /// New registers for results, which are set to them.
    pub(super) fn result_regs(&mut self, results: &[Value]) -> Rc<[V]> {
        let regs: Rc<[V]> = results.iter().map(|_| self.new_reg()).collect();
        self.set_all(results, &regs);
        regs
    }

    pub(super) fn set_all(&mut self, results: &[Value], regs: &[V]) {
        for (result, reg) in results.iter().zip(regs) {
            let val = self.val(*reg);
            self.set(*result, val);
        }
    }

    fn stmt(&mut self, stmt: &'m Stmt) {
        self.at(stmt.loc);
        match &stmt.op {
            Op::If(cond, then, other) => self.if_op(&stmt.results, *cond, then, other),
            Op::Switch { on, arms, default } => self.switch(&stmt.results, *on, arms, default),
            Op::Block(label, region) => {
                let regs = self.result_regs(&stmt.results);
                let mark = self.mark();
                let target = Target::Join {
                    level: self.level(),
                    mark,
                    regs,
                };
                self.instance_mut().breaks.insert(*label, target);
                if self.region(region).is_some() {
                    self.invalid("a block that yields");
                }
                self.bind(mark);
            }
            Op::Loop(inner) => self.loop_op(&stmt.results, inner),
            _ => self.op(stmt),
        }
    }

    pub(super) fn at(&mut self, loc: lambdac_mir::Loc) {
        self.loc = loc;
        if loc.line > 0 {
            self.push(Inst::Line(SourceLine {
                file: self.shared.first_file + u32::from(loc.file),
                line: loc.line,
            }));
        }
    }

    fn if_op(&mut self, results: &[Value], cond: Value, then: &'m Region, other: &'m Region) {
        let cond = self.get(cond);
        if let Some(known) = cond.imm() {
            let values = self.region(if known != 0 { then } else { other });
            for (result, val) in results.iter().zip(values.unwrap_or_default()) {
                self.set(*result, val);
            }
            return;
        }
        let regs = self.new_regs(results.len());
        let (otherwise, done) = (self.mark(), self.mark());
        self.branch_if(&cond, false, otherwise);
        self.arm(then, &regs, done);
        self.bind(otherwise);
        self.arm(other, &regs, done);
        self.bind(done);
        self.set_all(results, &regs);
    }

    fn new_regs(&mut self, count: usize) -> Vec<V> {
        (0..count).map(|_| self.new_reg()).collect()
    }

    fn arm(&mut self, region: &'m Region, regs: &[V], done: Mark) {
        if let Some(values) = self.region(region) {
            self.move_all(regs, &values);
            self.jump(done);
        }
    }

    fn switch(
        &mut self,
        results: &[Value],
        on: Value,
        arms: &'m [(Vec<SwitchRange>, Region)],
        default: &'m Region,
    ) {
        let on = self.get(on);
        let on = self.settled(&on);
        let regs = self.new_regs(results.len());
        let done = self.mark();
        let on = self.reg(&on);
        for (ranges, region) in arms {
            let (taken, next) = (self.mark(), self.mark());
            for range in ranges {
                self.range(on, *range, taken);
            }
            self.jump(next);
            self.bind(taken);
            self.arm(region, &regs, done);
            self.bind(next);
        }
        self.arm(default, &regs, done);
        self.bind(done);
        self.set_all(results, &regs);
    }

    /// Goes to `taken` if the register is in a half-open range.
    pub(super) fn range(&mut self, on: V, (lo, hi): SwitchRange, taken: Mark) {
        if hi == lo.checked_add(1) {
            let lo = self.wide_operand(lo);
            return self.branch(Cond::Eq, on, lo, taken);
        }
        let outside = self.mark();
        if lo > 0 {
            let lo = self.wide_operand(lo);
            self.branch(Cond::Lt, on, lo, outside);
        }
        match hi {
            Some(hi) => {
                let hi = self.wide_operand(hi);
                self.branch(Cond::Lt, on, hi, taken);
            }
            None => self.jump(taken),
        }
        self.bind(outside);
    }

    fn wide_operand(&mut self, value: u64) -> crate::vcode::Operand {
        match i32::try_from(value.cast_signed()) {
            Ok(imm) => imm.into(),
            Err(_) => self.wide(Imm64::Const(value)).into(),
        }
    }

    /// Where the statement being emitted stands, for events.
    pub(super) fn place(&self) -> u64 {
        u64::from(self.loc.file) << 32 | u64::from(self.loc.line)
    }

    fn term(&mut self, term: &'m Term) {
        match term {
            Term::Yield(_) => self.invalid("a yield in the wrong place"),
            Term::Break(label, values) => {
                let target = self.instance().breaks.get(label).cloned();
                self.goto(target, values);
            }
            Term::Continue(label, values) => {
                let target = self.instance().continues.get(label).cloned();
                self.goto(target, values);
            }
            Term::Return(values) => {
                let target = self.instance().result.clone();
                self.goto(target, values);
            }
            Term::Reply(view) => self.reply_term(view),
            Term::Drop => self.leave(Leave::Drop),
            Term::Punt(to) => {
                let place = self.place();
                self.leave(Leave::Punt(*to, place));
            }
            Term::Trap(cause, loc) => {
                self.at(*loc);
                let mark = self.trap(*cause);
                self.jump(mark);
            }
            Term::Await { call, part, args } => self.await_term(call, *part, args),
            Term::Become { part, args } => {
                self.count_unsent(*part);
                let values = self.get_all(args);
                self.enter_part(*part, &values);
            }
        }
    }

    fn reply_term(&mut self, view: &View) {
        let bytes = self.view(view);
        self.leave(Leave::Reply(bytes));
    }

    fn goto(&mut self, target: Option<Target>, values: &[Value]) {
        let values = self.get_all(values);
        match target {
            Some(target) => self.leave(Leave::To(target, values)),
            None => self.invalid("a jump to nowhere"),
        }
    }
}
