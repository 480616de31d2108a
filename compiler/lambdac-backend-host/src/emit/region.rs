//! Regions, branches and loops.
//!
//! A counted loop tests at its end. Where its `max` is not proved, the end it counts to is lowered to `from + max`
//! before the first trip, and only where the count runs out is it seen whether that was the true end: so a trip costs
//! nothing more.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{BinOp, CmpOp, Label, Loop, LoopKind, Op, Region, Stmt, Term, TrapCause, Value};

use super::branch::Yield;
use super::func::FnEmitter;
use super::scalar::ty;
use crate::Result;
use crate::layout::mask;

/// Where `break` and `continue` of a label go.
#[derive(Clone)]
pub(crate) struct LabelTarget {
    exit: ir::Block,
    next: Option<ir::Block>,
}

/// The largest `while` condition, in statements, that is made twice so that the loop tests at its end.
const SMALL_CONDITION: usize = 12;

/// Half-open ranges of a switch, and what they lead to.
type Arm = (Vec<(u64, Option<u64>)>, Region);

/// Blocks of a `while` loop.
#[derive(Clone, Copy)]
struct While {
    trip: ir::Block,
    exit: ir::Block,
}

impl FnEmitter<'_, '_, '_> {
    /// Emits a region without a yield. Leaves the current block filled.
    pub(crate) fn region(&mut self, region: &Region) -> Result<()> {
        self.region_to(region, Yield::Nowhere)
    }

    /// Emits a region whose yield goes somewhere. Leaves the current block filled.
    pub(super) fn region_to(&mut self, region: &Region, to: Yield) -> Result<()> {
        let mut stmts = region.stmts.as_slice();
        while let [stmt, rest @ ..] = stmts {
            let Some(chain) = self.chain(stmts, &region.term, to) else {
                self.stmt(stmt)?;
                stmts = rest;
                continue;
            };
            if self.emit_chain(&chain)? {
                return Ok(());
            }
            stmts = &stmts[chain.count..];
        }
        match (&region.term, to) {
            (Term::Yield(values), Yield::Join(join)) => {
                let values = self.values_of(values)?;
                self.jump(join, &values);
                Ok(())
            }
            (Term::Yield(values), Yield::Branch(way)) => match values[..] {
                [cond] => self.branch_on(cond, way),
                _ => self.invalid("a condition that is not one value"),
            },
            (Term::Yield(_), Yield::Nowhere) => self.invalid("a yield outside a branch"),
            (term, _) => self.term(term),
        }
    }

    fn term(&mut self, term: &Term) -> Result<()> {
        match term {
            Term::Yield(_) => self.invalid("a yield outside a branch"),
            Term::Break(label, values) => {
                let target = self.label(*label)?.exit;
                let values = self.values_of(values)?;
                self.jump(target, &values);
                Ok(())
            }
            Term::Continue(label, values) => match self.label(*label)?.next {
                Some(next) => {
                    let values = self.values_of(values)?;
                    self.jump(next, &values);
                    Ok(())
                }
                None => self.invalid("continue of a block"),
            },
            Term::Return(values) => self.return_results(values),
            Term::Reply(view) => self.reply(view),
            Term::Drop => {
                self.leave(crate::context::status::DROP);
                Ok(())
            }
            Term::Punt(target) => {
                self.punt(*target);
                Ok(())
            }
            Term::Trap(cause, loc) => {
                self.trap(*cause, *loc);
                Ok(())
            }
            Term::Await { call, part, args } => self.await_(call, *part, args),
            Term::Become { part, args } => self.become_(*part, args),
        }
    }

    fn label(&self, label: Label) -> Result<LabelTarget> {
        match self.labels.get(label.index()) {
            Some(Some(target)) => Ok(target.clone()),
            _ => self.invalid("a label that encloses nothing"),
        }
    }

    pub(super) fn stmt(&mut self, stmt: &Stmt) -> Result<()> {
        self.loc = stmt.loc;
        let results = stmt.results.as_slice();
        match (&stmt.op, results) {
            (Op::If(cond, yes, no), _) => self.if_(results, *cond, yes, no),
            (Op::Switch { on, arms, default }, _) => self.switch(results, *on, arms, default),
            (Op::Block(label, region), _) => self.block(results, *label, region),
            (Op::Loop(inner), _) => self.loop_(results, inner),
            (Op::Call(func, args), _) => self.call(results, *func, args),
            (Op::Const(value), [result]) => {
                self.constant_op(*result, *value);
                Ok(())
            }
            (Op::Bin(op, a, b), [result]) => self.bin(*result, *op, *a, *b),
            (Op::Cmp(op, a, b), [result]) => self.cmp(*result, *op, *a, *b),
            (Op::Cast(op, source), [result]) => self.cast(*result, *op, *source),
            (Op::Select(cond, yes, no), [result]) => self.select(*result, *cond, *yes, *no),
            (Op::Check(cond, cause), []) => {
                let way = self.new_way();
                self.branch_on(*cond, way)?;
                self.check_way(way, *cause);
                Ok(())
            }
            (Op::Await(_), _) => self.invalid("an await that was not split"),
            _ => self.memory_op(results, &stmt.op),
        }
    }

    fn if_(&mut self, results: &[Value], cond: Value, yes: &Region, no: &Region) -> Result<()> {
        let way = self.new_way();
        self.branch_on(cond, way)?;
        self.arms(results, way, (yes, no))
    }

    fn switch(&mut self, results: &[Value], on: Value, arms: &[Arm], default: &Region) -> Result<()> {
        let join = self.block_for(results);
        let blocks: Vec<ir::Block> = arms.iter().map(|_| self.b.create_block()).collect();
        let otherwise = self.b.create_block();
        let mut table = cranelift_frontend::Switch::new();
        let mut single = 0;
        for ((ranges, _), block) in arms.iter().zip(&blocks) {
            for (lo, hi) in ranges.iter().filter(|(lo, hi)| is_single(*lo, *hi)) {
                debug_assert!(hi.is_none_or(|hi| hi == lo + 1));
                table.set_entry(u128::from(*lo), *block);
                single += 1;
            }
        }
        let value = self.value(on)?;
        for ((ranges, _), block) in arms.iter().zip(&blocks) {
            for (lo, hi) in ranges.iter().filter(|(lo, hi)| !is_single(*lo, *hi)) {
                self.range_branch(value, self.width(on), (*lo, *hi), *block);
            }
        }
        if single > 0 {
            table.emit(&mut self.b, value, otherwise);
        } else {
            self.jump(otherwise, &[]);
        }
        let regions = arms.iter().map(|(_, region)| region).chain([default]);
        for (block, region) in blocks.into_iter().chain([otherwise]).zip(regions) {
            self.b.seal_block(block);
            self.b.switch_to_block(block);
            self.region_to(region, Yield::Join(join))?;
        }
        self.b.seal_block(join);
        self.enter_defining(join, results);
        Ok(())
    }

    /// Goes to `block` where `lo <= value < hi`, else on.
    fn range_branch(&mut self, value: ir::Value, width: u8, (lo, hi): (u64, Option<u64>), block: ir::Block) {
        let ty = ty(width);
        if lo > mask(width) || hi.is_some_and(|hi| hi <= lo) {
            return;
        }
        let base = self.constant(ty, lo);
        let inside = match hi {
            None => self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, value, base),
            Some(hi) => {
                let above = self.b.ins().isub(value, base);
                let last = self.constant(ty, (hi - 1).min(mask(width)) - lo);
                self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, above, last)
            }
        };
        let next = self.b.create_block();
        self.b.ins().brif(inside, block, &[], next, &[]);
        self.b.seal_block(next);
        self.b.switch_to_block(next);
    }

    fn block(&mut self, results: &[Value], label: Label, region: &Region) -> Result<()> {
        let exit = self.block_for(results);
        self.labels[label.index()] = Some(LabelTarget { exit, next: None });
        self.region(region)?;
        self.b.seal_block(exit);
        self.enter_defining(exit, results);
        Ok(())
    }

    fn loop_(&mut self, results: &[Value], inner: &Loop) -> Result<()> {
        match &inner.kind {
            LoopKind::For { .. } => self.for_(results, inner),
            LoopKind::While(cond) => self.while_(results, inner, cond),
        }
    }

    fn for_(&mut self, results: &[Value], inner: &Loop) -> Result<()> {
        let LoopKind::For {
            var,
            from,
            to,
            signed,
        } = &inner.kind
        else {
            return self.invalid("not a counted loop");
        };
        let loc = self.loc;
        let width = self.width(*var);
        let less = if *signed { CmpOp::Slt } else { CmpOp::Ult };
        let (first, end) = (self.value(*from)?, self.value(*to)?);
        let proved = !inner.checked || self.trips_fit(inner, *from, *to, *signed);
        let limit = if proved {
            end
        } else {
            self.limit(first, end, (width, less), inner.max)
        };
        let params: Vec<Value> = inner.params.iter().map(|(param, _)| *param).collect();
        let initial: Vec<Value> = inner.params.iter().map(|(_, initial)| *initial).collect();
        let mut entering = vec![first];
        entering.extend(self.values_of(&initial)?);

        let body = self.block_for(&[*var]);
        for param in &params {
            let width = self.width(*param);
            self.b.append_block_param(body, ty(width));
        }
        let next = self.block_for(&params);
        let done = self.block_for(&params);
        let exit = self.block_for(results);
        self.labels[inner.label.index()] = Some(LabelTarget {
            exit,
            next: Some(next),
        });

        let any = self.compare(less, first, limit, width);
        self.branch(any, (body, &entering), (done, &entering[1..]));
        let mut defined = vec![*var];
        defined.extend(&params);
        self.enter_defining(body, &defined);
        if !*signed {
            let by_end = self.upper[to.index()].saturating_sub(1);
            let by_trips = self.upper[from.index()].saturating_add(inner.max.saturating_sub(1));
            self.upper[var.index()] = by_end.min(by_trips);
        }
        self.region(&inner.body)?;

        self.b.seal_block(next);
        self.b.switch_to_block(next);
        let one = self.constant(ty(width), 1);
        let current = self.value(*var)?;
        let following = self.b.ins().iadd(current, one);
        let carried = self.b.block_params(next).to_vec();
        // The count passes every number up to the limit, so equality ends it, whatever the sign. Only a signed one can
        // pass through the top of an odd width. An unsigned one is ordered instead: Cranelift makes a test of the count
        // before the sum of an equality with a constant, so that both stay in registers.
        let (following, code) = if *signed {
            (self.mask_to(following, width), IntCC::NotEqual)
        } else {
            (following, IntCC::UnsignedLessThan)
        };
        let more = self.b.ins().icmp(code, following, limit);
        let mut again = vec![following];
        again.extend(&carried);
        self.branch(more, (body, &again), (done, &carried));
        self.b.seal_block(body);
        self.b.seal_block(done);

        self.b.switch_to_block(done);
        let last = self.b.block_params(done).to_vec();
        if !proved {
            // No trip at all is a true end as well, and then the limit is the end.
            self.loc = loc;
            let ended = self.b.ins().icmp(IntCC::Equal, limit, end);
            self.check(ended, TrapCause::LoopMax);
        }
        self.jump(exit, &last);
        self.b.seal_block(exit);
        self.enter_defining(exit, results);
        Ok(())
    }

    /// Whether constants show that a counted loop stays within its `max`.
    fn trips_fit(&self, inner: &Loop, from: Value, to: Value, signed: bool) -> bool {
        if signed {
            return false;
        }
        let first = self.known[from.index()].unwrap_or(0);
        self.upper[to.index()].saturating_sub(first) <= inner.max
    }

    /// The end to count to: `end`, or `first + max` if that comes first.
    fn limit(&mut self, first: ir::Value, end: ir::Value, (width, less): (u8, CmpOp), max: u64) -> ir::Value {
        if max > mask(width) {
            return end;
        }
        let ty = ty(width);
        let span = self.b.ins().isub(end, first);
        let bits = self.constant(ty, mask(width));
        let span = self.b.ins().band(span, bits);
        let most = self.constant(ty, max);
        let over = self.b.ins().icmp(IntCC::UnsignedGreaterThan, span, most);
        let any = self.compare(less, first, end, width);
        let over = self.b.ins().band(over, any);
        let capped = self.b.ins().iadd(first, most);
        let capped = self.b.ins().band(capped, bits);
        self.b.ins().select(over, capped, end)
    }

    fn branch(&mut self, cond: ir::Value, yes: (ir::Block, &[ir::Value]), no: (ir::Block, &[ir::Value])) {
        let args = |values: &[ir::Value]| values.iter().map(|v| (*v).into()).collect::<Vec<ir::BlockArg>>();
        self.b.ins().brif(cond, yes.0, &args(yes.1), no.0, &args(no.1));
    }

    /// A loop with a condition. Where `max` is not proved, the trips that are left travel as the last parameter.
    fn while_(&mut self, results: &[Value], inner: &Loop, cond: &Region) -> Result<()> {
        let loc = self.loc;
        let params: Vec<Value> = inner.params.iter().map(|(param, _)| *param).collect();
        let initial: Vec<Value> = inner.params.iter().map(|(_, initial)| *initial).collect();
        let mut entering = self.values_of(&initial)?;
        if inner.checked {
            entering.push(self.constant(types::I64, inner.max));
        }
        let head = self.counted_block(&params, inner.checked);
        let next = self.block_for(&params);
        let blocks = While {
            trip: self.counted_block(&params, inner.checked),
            exit: self.block_for(results),
        };
        self.labels[inner.label.index()] = Some(LabelTarget {
            exit: blocks.exit,
            next: Some(next),
        });
        let twice =
            cond.stmts.len() <= SMALL_CONDITION && cond.stmts.iter().all(|stmt| stmt.op.regions().is_empty());

        self.jump(head, &entering);
        if twice {
            self.b.seal_block(head);
        }
        self.condition(head, &params, cond, blocks)?;

        self.enter_defining(blocks.trip, &params);
        let left = inner
            .checked
            .then(|| self.b.block_params(blocks.trip)[params.len()]);
        if let Some(left) = left {
            self.loc = loc;
            self.check(left, TrapCause::LoopMax);
        }
        self.region(&inner.body)?;

        self.b.seal_block(next);
        self.b.switch_to_block(next);
        let mut carried = self.b.block_params(next).to_vec();
        if let Some(left) = left {
            carried.push(self.b.ins().iadd_imm_s(left, -1));
        }
        if twice {
            let tail = self.counted_block(&params, inner.checked);
            self.jump(tail, &carried);
            self.b.seal_block(tail);
            self.condition(tail, &params, cond, blocks)?;
        } else {
            self.jump(head, &carried);
            self.b.seal_block(head);
        }
        self.b.seal_block(blocks.trip);
        self.b.seal_block(blocks.exit);
        self.enter_defining(blocks.exit, results);
        Ok(())
    }

    fn counted_block(&mut self, params: &[Value], counted: bool) -> ir::Block {
        let block = self.block_for(params);
        if counted {
            self.b.append_block_param(block, types::I64);
        }
        block
    }

    /// Emits a `while` condition in `head` and branches by it.
    fn condition(&mut self, head: ir::Block, params: &[Value], cond: &Region, to: While) -> Result<()> {
        self.enter_defining(head, params);
        let all = self.b.block_params(head).to_vec();
        if let (Term::Yield(values), true) = (&cond.term, is_simple(cond))
            && let [holds] = values[..]
        {
            // One branch with both edges, so that the one back falls through.
            for stmt in &cond.stmts {
                self.stmt(stmt)?;
            }
            let holds = self.value(holds)?;
            self.branch(holds, (to.trip, &all), (to.exit, &all[..params.len()]));
            return Ok(());
        }
        let way = self.new_way();
        self.region_to(cond, Yield::Branch(way))?;
        for (from, block, args) in [
            (way.yes, to.trip, &all[..]),
            (way.no, to.exit, &all[..params.len()]),
        ] {
            self.b.seal_block(from);
            self.b.switch_to_block(from);
            self.jump(block, args);
        }
        Ok(())
    }
}

/// Whether a condition is one comparison and what it needs.
fn is_simple(cond: &Region) -> bool {
    let decides = |op: &Op| matches!(op, Op::EqBytes(..) | Op::Bin(BinOp::And | BinOp::Or, ..));
    (cond.stmts.iter()).all(|stmt| stmt.op.regions().is_empty() && !decides(&stmt.op))
}

fn is_single(lo: u64, hi: Option<u64>) -> bool {
    hi == lo.checked_add(1)
}
