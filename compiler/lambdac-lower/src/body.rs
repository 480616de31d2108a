//! The builder of one body: where statements go, what locals are, and how arms of a branch come together.

use std::collections::{HashMap, HashSet};

use lambdac_diag::Span;
use lambdac_hir::{LocalId, ServiceId, Type};
use lambdac_mir::{
    BinOp, Body, CastOp, CmpOp, Label, Loc, Op, Place, Region, SlotId, Stmt, Term, TrapCause, Value,
};

use crate::facts::Facts;
use crate::module::ModuleCx;
use crate::source::Source;

/// What a local is bound to.
#[derive(Clone, Debug)]
pub(crate) enum Binding {
    /// A value.
    Direct(Source),
    /// A `T?`: whether it is there, and where.
    Option(Value, Source),
}

impl Binding {
    /// Its SSA values, which change when it is assigned.
    pub(crate) fn parts(&self) -> Vec<Value> {
        match self {
            Self::Direct(Source::Scalar(v)) => vec![*v],
            Self::Direct(_) => Vec::new(),
            Self::Option(present, Source::Scalar(v)) => vec![*present, *v],
            Self::Option(present, _) => vec![*present],
        }
    }

    /// The same binding with other SSA values.
    pub(crate) fn with_parts(&self, parts: &[Value]) -> Self {
        match (self, parts) {
            (Self::Direct(Source::Scalar(_)), &[v]) => Self::Direct(Source::Scalar(v)),
            (Self::Option(_, Source::Scalar(_)), &[present, v]) => Self::Option(present, Source::Scalar(v)),
            (Self::Option(_, source), &[present]) => Self::Option(present, source.clone()),
            _ => self.clone(),
        }
    }
}

/// A loop around the code that is being lowered.
#[derive(Clone, Debug)]
pub(crate) struct LoopCx {
    /// Its label.
    pub(crate) label: Label,
    /// The locals that it carries.
    pub(crate) carried: Vec<LocalId>,
    /// The trip count, where the loop counts its trips itself.
    pub(crate) trips: Option<Value>,
}

/// What `return` does.
#[derive(Clone, Debug)]
pub(crate) struct Returns {
    /// The type.
    pub(crate) ty: Type,
    /// Where an aggregate goes.
    pub(crate) out: Option<Place>,
}

/// Statements of a region in the making.
#[derive(Debug, Default)]
pub(crate) struct Code {
    /// In order.
    pub(crate) stmts: Vec<Stmt>,
    /// How it leaves; `None` while its end can be reached.
    pub(crate) term: Option<Term>,
}

/// One arm of a branch after lowering.
#[derive(Debug)]
pub(crate) struct Arm {
    code: Code,
    bindings: Vec<Binding>,
    tails: Vec<Value>,
}

/// Lowers one fn, lambda or condition.
pub(crate) struct BodyCx<'m, 'w> {
    /// The workload and what is shared by its bodies.
    pub(crate) cx: &'m mut ModuleCx<'w>,
    /// Values and slots.
    pub(crate) body: Body,
    /// The scan.
    pub(crate) facts: Facts,
    /// The HIR's locals.
    pub(crate) locals: &'w [lambdac_hir::Local],
    /// What each local is now; `None` until its `let` is reached.
    pub(crate) bindings: Vec<Option<Binding>>,
    /// Loops around, outermost first.
    pub(crate) loops: Vec<LoopCx>,
    /// In a fn.
    pub(crate) returns: Option<Returns>,
    /// R, in a lambda.
    pub(crate) reply: Option<Type>,
    /// Whether the request may be longer than its type, as in a match stage.
    pub(crate) prefix: bool,
    /// By service: whether the await in whose `else` branch we are failed.
    pub(crate) failed: HashMap<ServiceId, Value>,
    /// Slots of mutable locals: what is borrowed from them may change.
    pub(crate) mutable: HashSet<SlotId>,
    /// The position of the statement or check.
    pub(crate) loc: Loc,
    code: Code,
    constants: HashMap<Value, u64>,
}

impl<'m, 'w> BodyCx<'m, 'w> {
    /// A builder for a body with these locals.
    pub(crate) fn new(cx: &'m mut ModuleCx<'w>, locals: &'w [lambdac_hir::Local], facts: Facts) -> Self {
        Self {
            cx,
            body: Body::default(),
            facts,
            locals,
            bindings: vec![None; locals.len()],
            loops: Vec::new(),
            returns: None,
            reply: None,
            prefix: false,
            failed: HashMap::new(),
            mutable: HashSet::new(),
            loc: Loc::default(),
            code: Code::default(),
            constants: HashMap::new(),
        }
    }

    /// The finished body and its region. Where the checker saw that the end can't be reached but the code's shape
    /// doesn't show it (a loop that never ends by itself), the end traps as such a loop does.
    pub(crate) fn finish(mut self) -> (Body, Region) {
        let loc = self.loc;
        self.leave(Term::Trap(TrapCause::LoopMax, loc));
        let Code { stmts, term } = self.code;
        let term = term.unwrap_or(Term::Trap(TrapCause::LoopMax, loc));
        (self.body, Region { stmts, term })
    }

    /// Whether control has left: what is lowered now is never reached and is dropped.
    pub(crate) fn left(&self) -> bool {
        self.code.term.is_some()
    }

    /// Ends the region.
    pub(crate) fn leave(&mut self, term: Term) {
        self.code.term.get_or_insert(term);
    }

    /// Takes the position of a span for what follows.
    pub(crate) fn at(&mut self, span: Span) {
        self.loc = self.cx.loc(span);
    }

    /// Adds an operation with results of the given widths.
    pub(crate) fn op(&mut self, op: Op, widths: &[u8]) -> Vec<Value> {
        let results: Vec<Value> = widths.iter().map(|&w| self.body.value(w)).collect();
        self.define(results.clone(), op);
        results
    }

    /// Adds an operation that defines these values.
    pub(crate) fn define(&mut self, results: Vec<Value>, op: Op) {
        if !self.left() {
            self.code.stmts.push(Stmt {
                results,
                op,
                loc: self.loc,
            });
        }
    }

    /// Adds an operation with one result.
    pub(crate) fn op1(&mut self, op: Op, width: u8) -> Value {
        let value = self.body.value(width);
        self.define(vec![value], op);
        value
    }

    /// Adds an operation without results.
    pub(crate) fn op0(&mut self, op: Op) {
        self.define(Vec::new(), op);
    }

    /// A constant.
    pub(crate) fn int(&mut self, value: u64, width: u8) -> Value {
        let result = self.op1(Op::Const(value), width);
        self.constants.insert(result, value);
        result
    }

    /// An `i32` constant.
    pub(crate) fn int32(&mut self, value: u32) -> Value {
        self.int(u64::from(value), 32)
    }

    /// The value of a constant.
    pub(crate) fn constant(&self, value: Value) -> Option<u64> {
        self.constants.get(&value).copied()
    }

    /// `a op b`
    pub(crate) fn bin(&mut self, op: BinOp, a: Value, b: Value) -> Value {
        let width = self.body.width(a);
        self.op1(Op::Bin(op, a, b), width)
    }

    /// `a op b` as an `i1`
    pub(crate) fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        self.op1(Op::Cmp(op, a, b), 1)
    }

    /// The value at another width; unsigned unless `signed`.
    pub(crate) fn resize(&mut self, value: Value, width: u8, signed: bool) -> Value {
        let from = self.body.width(value);
        if from == width {
            return value;
        }
        if let (Some(v), false) = (self.constant(value), signed) {
            return self.int(v & u64::MAX >> (64 - width), width);
        }
        let op = match (from > width, signed) {
            (true, _) => CastOp::Trunc,
            (false, true) => CastOp::SExt,
            (false, false) => CastOp::ZExt,
        };
        self.op1(Op::Cast(op, value), width)
    }

    /// The sum of two `i32` that can't overflow: offsets and lengths.
    pub(crate) fn add32(&mut self, a: Value, b: Value) -> Value {
        match (self.constant(a), self.constant(b)) {
            (Some(a), Some(b)) => self.int(a.wrapping_add(b) & 0xffff_ffff, 32),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.bin(BinOp::Add, a, b),
        }
    }

    /// The difference of two `i32`.
    pub(crate) fn sub32(&mut self, a: Value, b: Value) -> Value {
        match (self.constant(a), self.constant(b)) {
            (Some(a), Some(b)) => self.int(a.wrapping_sub(b) & 0xffff_ffff, 32),
            (_, Some(0)) => a,
            _ => self.bin(BinOp::Sub, a, b),
        }
    }

    /// `!v` of an `i1`
    pub(crate) fn not(&mut self, value: Value) -> Value {
        let one = self.int(1, 1);
        self.bin(BinOp::Xor, value, one)
    }

    /// Traps unless `cond` holds, at the line of `span`.
    pub(crate) fn check(&mut self, cond: Value, cause: TrapCause, span: Span) {
        let outer = self.loc;
        self.at(span);
        self.op0(Op::Check(cond, cause));
        self.loc = outer;
    }

    /// A value that is never computed, for code that is never reached.
    pub(crate) fn unreached(&mut self, width: u8) -> Value {
        debug_assert!(self.left(), "only code that is never reached lacks a value");
        self.body.value(width)
    }

    /// A slot without a name in the source.
    pub(crate) fn temp(&mut self, ty: &Type) -> Place {
        self.slot("tmp", ty)
    }

    /// A slot for a value of a type.
    pub(crate) fn slot(&mut self, name: &str, ty: &Type) -> Place {
        let shape = self.cx.shape(ty);
        Place::of(lambdac_mir::Base::Slot(self.body.slot(name, shape)))
    }

    /// Lowers code into a region of its own.
    pub(crate) fn in_region<R>(&mut self, lower: impl FnOnce(&mut Self) -> R) -> (Code, R) {
        let outer = std::mem::take(&mut self.code);
        let loc = self.loc;
        let result = lower(self);
        self.loc = loc;
        (std::mem::replace(&mut self.code, outer), result)
    }

    /// Those of a set of locals that exist here: the others are declared further in.
    pub(crate) fn visible(&self, locals: &[LocalId]) -> Vec<LocalId> {
        let carries = |l: &&LocalId| {
            self.bindings[l.index()]
                .as_ref()
                .is_some_and(|b| !b.parts().is_empty())
        };
        locals.iter().filter(carries).copied().collect()
    }

    /// The bindings of locals that exist.
    pub(crate) fn snapshot(&self, locals: &[LocalId]) -> Vec<Binding> {
        locals.iter().map(|l| self.binding(*l).clone()).collect()
    }

    /// Sets the bindings of locals.
    pub(crate) fn restore(&mut self, locals: &[LocalId], bindings: &[Binding]) {
        for (local, binding) in locals.iter().zip(bindings) {
            self.bindings[local.index()] = Some(binding.clone());
        }
    }

    /// The SSA values of locals, one after the other.
    pub(crate) fn carried_values(&self, locals: &[LocalId]) -> Vec<Value> {
        locals.iter().flat_map(|l| self.binding(*l).parts()).collect()
    }

    /// Gives locals new SSA values, in the order of [`Self::carried_values`].
    pub(crate) fn set_carried(&mut self, locals: &[LocalId], mut values: &[Value]) {
        for local in locals {
            let binding = self.binding(*local);
            let (own, rest) = values.split_at(binding.parts().len());
            self.bindings[local.index()] = Some(binding.with_parts(own));
            values = rest;
        }
    }

    /// What a local is bound to.
    pub(crate) fn binding(&self, local: LocalId) -> &Binding {
        self.bindings[local.index()]
            .as_ref()
            .unwrap_or_else(|| unreachable!("a local is bound before it is used"))
    }

    /// Lowers one arm of a branch; the bindings of `assigned` are as before afterwards.
    pub(crate) fn arm(&mut self, assigned: &[LocalId], lower: impl FnOnce(&mut Self) -> Vec<Value>) -> Arm {
        let before = self.snapshot(assigned);
        let (code, tails) = self.in_region(lower);
        let bindings = self.snapshot(assigned);
        self.restore(assigned, &before);
        Arm {
            code,
            bindings,
            tails,
        }
    }

    /// Brings arms together: `build` makes the branch from their regions. Gives the tails.
    ///
    /// Where at most one arm falls through, its code goes behind the branch.
    pub(crate) fn join(
        &mut self,
        assigned: &[LocalId],
        mut arms: Vec<Arm>,
        build: impl FnOnce(Vec<Region>) -> Op,
    ) -> Vec<Value> {
        let falling: Vec<usize> = (0..arms.len()).filter(|&i| arms[i].code.term.is_none()).collect();
        if falling.len() > 1 {
            return self.merge(assigned, arms, &falling, build);
        }
        let flat = falling.first().copied().unwrap_or(arms.len() - 1);
        let inlined = std::mem::take(&mut arms[flat].code);
        let Arm { bindings, tails, .. } = &arms[flat];
        let (bindings, tails) = (bindings.clone(), tails.clone());
        let regions = arms.into_iter().map(|arm| seal(arm.code, Vec::new())).collect();
        self.op0(build(regions));
        self.append(inlined);
        if !falling.is_empty() {
            self.restore(assigned, &bindings);
        }
        tails
    }

    fn merge(
        &mut self,
        assigned: &[LocalId],
        arms: Vec<Arm>,
        falling: &[usize],
        build: impl FnOnce(Vec<Region>) -> Op,
    ) -> Vec<Value> {
        let flat = |arm: &Arm| -> Vec<Value> {
            arm.bindings
                .iter()
                .flat_map(Binding::parts)
                .chain(arm.tails.iter().copied())
                .collect()
        };
        let first = flat(&arms[falling[0]]);
        let carried = first.len() - arms[falling[0]].tails.len();
        let flats: Vec<Vec<Value>> = arms.iter().map(flat).collect();
        let differs: Vec<bool> = (0..first.len())
            .map(|k| falling.iter().any(|&i| flats[i][k] != first[k]))
            .collect();
        let regions = arms
            .into_iter()
            .zip(&flats)
            .map(|(arm, values)| {
                let falls = arm.code.term.is_none();
                let yields = values
                    .iter()
                    .zip(&differs)
                    .filter(|(_, d)| falls && **d)
                    .map(|(v, _)| *v);
                let yields = yields.collect();
                seal(arm.code, yields)
            })
            .collect();
        let mut results = Vec::new();
        let merged: Vec<Value> = first
            .iter()
            .zip(&differs)
            .map(|(&v, &differs)| {
                if !differs {
                    return v;
                }
                let result = self.body.value(self.body.width(v));
                results.push(result);
                result
            })
            .collect();
        self.define(results, build(regions));
        self.set_carried(assigned, &merged[..carried]);
        merged[carried..].to_vec()
    }

    /// `if cond { then } else { els }` over locals that either may assign; gives the tails.
    pub(crate) fn branch(
        &mut self,
        cond: Value,
        assigned: &[LocalId],
        then: impl FnOnce(&mut Self) -> Vec<Value>,
        els: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        let then = self.arm(assigned, then);
        let els = self.arm(assigned, els);
        self.join_if(cond, assigned, vec![then, els])
    }

    /// Brings the two arms of an `if` together.
    pub(crate) fn join_if(&mut self, cond: Value, assigned: &[LocalId], arms: Vec<Arm>) -> Vec<Value> {
        self.join(assigned, arms, |regions| {
            let [then, els] =
                <[Region; 2]>::try_from(regions).unwrap_or_else(|_| unreachable!("a branch has two arms"));
            Op::If(cond, then, els)
        })
    }

    fn append(&mut self, code: Code) {
        if !self.left() {
            self.code.stmts.extend(code.stmts);
            self.code.term = code.term;
        }
    }
}

/// A region that yields where it doesn't leave.
pub(crate) fn seal(code: Code, yields: Vec<Value>) -> Region {
    Region {
        stmts: code.stmts,
        term: code.term.unwrap_or(Term::Yield(yields)),
    }
}
