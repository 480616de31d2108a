//! Walks over regions without recursion, for what must be known before code is made.

use lambdac_mir::{Base, Body, CmpOp, Cond, FuncId, Module, Op, Operand, Place, Region, Shape};
use lambdac_mir::{Dispatch, Step, Stmt, Term};

/// Calls `stmt` and `term` for everything in a region, and gives how deep it nests.
pub(crate) fn walk<'r>(
    region: &'r Region,
    stmt: &mut dyn FnMut(&'r Stmt),
    term: &mut dyn FnMut(&'r Term),
) -> usize {
    let mut todo = vec![(region, 1)];
    let mut deepest = 0;
    while let Some((region, depth)) = todo.pop() {
        deepest = deepest.max(depth);
        for each in &region.stmts {
            stmt(each);
            todo.extend(each.op.regions().into_iter().map(|region| (region, depth + 1)));
        }
        term(&region.term);
    }
    deepest
}

/// How deep the regions and conditions of a module nest.
pub(crate) fn depth(module: &Module) -> usize {
    let of = |region: &Region| walk(region, &mut |_| (), &mut |_| ());
    let funcs = module.funcs.iter().map(|func| of(&func.region));
    let parts = module
        .lambdas
        .iter()
        .flat_map(|lambda| &lambda.parts)
        .map(|part| of(&part.region));
    let mut deepest = funcs.chain(parts).max().unwrap_or(0);
    if let Dispatch::Match(rules) = &module.dispatch {
        let mut todo: Vec<_> = rules.rules.iter().map(|rule| (&rule.cond, 1)).collect();
        while let Some((cond, depth)) = todo.pop() {
            deepest = deepest.max(depth);
            if let Cond::Eval(func) = cond {
                deepest = deepest.max(depth + of(&func.region));
            }
            todo.extend(cond.inner().iter().map(|cond| (cond, depth + 1)));
        }
    }
    deepest
}

/// What the code of a body does, as far as its frame depends on it.
#[derive(Default)]
pub(crate) struct Facts {
    /// By slot: whether its address goes to a call or an object, so that it must stand in memory as a whole.
    pub(crate) escapes: Vec<bool>,
    /// Functions that are called, sorted.
    pub(crate) calls: Vec<FuncId>,
    /// Whether there is a check, a trap or a checked loop.
    pub(crate) traps: bool,
    /// By value: how often it is used.
    pub(crate) uses: Vec<u32>,
}

impl Facts {
    pub(crate) fn of<'r>(body: &Body, regions: impl IntoIterator<Item = &'r Region>) -> Self {
        let mut facts = Facts {
            escapes: vec![false; body.slots.len()],
            uses: vec![0; body.values.len()],
            ..Facts::default()
        };
        let mut trap_terms = false;
        let mut used_by_terms = vec![0; body.values.len()];
        for region in regions {
            walk(region, &mut |stmt| facts.note(&stmt.op), &mut |term| {
                trap_terms |= matches!(term, Term::Trap(..));
                term.for_each_operand(|value| used_by_terms[value.index()] += 1);
            });
        }
        for (uses, more) in facts.uses.iter_mut().zip(used_by_terms) {
            *uses += more;
        }
        facts.traps |= trap_terms;
        facts.calls.sort_unstable();
        facts.calls.dedup();
        facts
    }

    fn note(&mut self, op: &Op) {
        op.for_each_operand(|value| self.uses[value.index()] += 1);
        match op {
            Op::Call(func, args) => {
                self.calls.push(*func);
                args.iter().for_each(|arg| self.escape_operand(arg));
            }
            Op::MapGet { key, dst, .. } | Op::TableGet { key, dst, .. } => {
                key.iter().for_each(|part| self.escape_operand(part));
                dst.iter().for_each(|place| self.escape(place));
            }
            Op::MapPut { value, .. } => self.escape_operand(value),
            Op::Check(..) => self.traps = true,
            Op::Loop(inner) => self.traps |= inner.checked,
            _ => (),
        }
    }

    fn escape_operand(&mut self, operand: &Operand) {
        if let Operand::Place(place) = operand {
            self.escape(place);
        }
    }

    fn escape(&mut self, place: &Place) {
        if let Base::Slot(slot) = place.base {
            self.escapes[slot.index()] = true;
        }
    }
}

/// Whether an operation only computes from its operands: no memory, no effect, total.
pub(crate) fn is_arithmetic(op: &Op) -> bool {
    matches!(
        op,
        Op::Const(_) | Op::Bin(..) | Op::Cmp(..) | Op::Cast(..) | Op::Select(..)
    )
}

/// The shape that a path leads to, without looking at indexes.
pub(crate) fn shape_at<'s>(mut shape: &'s Shape, path: &[Step]) -> Option<&'s Shape> {
    const BYTE: &Shape = &Shape::Scalar(8);
    for step in path {
        shape = match (step, shape) {
            (Step::Field(index), Shape::Struct(fields)) => fields.get(*index as usize)?,
            (Step::Index(_), Shape::Array(element, _)) => element,
            (Step::Index(_), Shape::Bytes(_) | Shape::View) => BYTE,
            _ => return None,
        };
    }
    Some(shape)
}

/// Cranelift's condition for a comparison.
pub(crate) fn condition(op: CmpOp) -> cranelift_codegen::ir::condcodes::IntCC {
    use cranelift_codegen::ir::condcodes::IntCC;
    match op {
        CmpOp::Eq => IntCC::Equal,
        CmpOp::Ne => IntCC::NotEqual,
        CmpOp::Ult => IntCC::UnsignedLessThan,
        CmpOp::Ule => IntCC::UnsignedLessThanOrEqual,
        CmpOp::Slt => IntCC::SignedLessThan,
        CmpOp::Sle => IntCC::SignedLessThanOrEqual,
    }
}
