//! What a scan of a body finds out before it is lowered: which locals each block assigns, and what effects each
//! expression has on memory that an earlier operand may have borrowed.
//!
//! One walk, linear in the body but for the sets that it keeps. Nodes are known by their address: the HIR does not move
//! while it is lowered.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lambdac_hir::{Block, Body, Expr, ExprKind, LocalId, Place, PlaceBase, Projection, Stmt, StmtKind, Type};

/// What evaluating something may do, apart from its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects(u8);

impl Effects {
    /// Nothing that matters here.
    pub(crate) const NONE: Self = Self(0);
    /// Writes a state value.
    pub(crate) const STATE: Self = Self(1);
    /// Writes an aggregate local.
    pub(crate) const LOCALS: Self = Self(2);
    /// May end the code around it: `break`, `return`, `reply` and their kind.
    pub(crate) const LEAVES: Self = Self(4);
    /// Assigns something or leaves, whatever it assigns.
    pub(crate) const STATEMENTS: Self = Self(8);

    /// Whether it has one of the other's effects.
    pub(crate) fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Only what reaches a caller.
    pub(crate) fn of_callee(self) -> Self {
        Self(self.0 & Self::STATE.0)
    }
}

impl std::ops::BitOr for Effects {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The facts of one body.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    effects: HashMap<usize, Effects>,
    assigned: HashMap<usize, Rc<[LocalId]>>,
    reads_itself: HashSet<usize>,
}

fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node) as usize
}

impl Facts {
    /// Scans a body; `callees` holds the effects of the fns.
    pub(crate) fn of_body(body: &Body, callees: &[Effects]) -> (Self, Effects) {
        let mut scan = Scan::new(callees);
        let effects = scan.block(&body.block);
        (scan.facts, effects)
    }

    /// Scans an expression that stands alone.
    pub(crate) fn of_expr(expr: &Expr, callees: &[Effects]) -> Self {
        let mut scan = Scan::new(callees);
        scan.expr(expr);
        scan.facts
    }

    /// What evaluating an expression may do.
    pub(crate) fn effects(&self, expr: &Expr) -> Effects {
        self.effects.get(&address(expr)).copied().unwrap_or_default()
    }

    /// What evaluating several may do.
    pub(crate) fn effects_of<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> Effects {
        exprs
            .into_iter()
            .fold(Effects::NONE, |all, e| all | self.effects(e))
    }

    /// What evaluating a place's indexes may do.
    pub(crate) fn place_effects(&self, place: &Place) -> Effects {
        self.effects_of(place.projections.iter().filter_map(|p| match p {
            Projection::Index(index) => Some(index),
            Projection::Field(_) => None,
        }))
    }

    /// The locals that are assigned as a whole somewhere in a block.
    pub(crate) fn assigned_in(&self, block: &Block) -> Rc<[LocalId]> {
        self.assigned
            .get(&address(block))
            .cloned()
            .unwrap_or_else(|| Rc::from([]))
    }

    /// The same for the right side of `&&` and `||`.
    pub(crate) fn assigned_in_operand(&self, expr: &Expr) -> Rc<[LocalId]> {
        self.assigned
            .get(&address(expr))
            .cloned()
            .unwrap_or_else(|| Rc::from([]))
    }

    /// Whether the right side of an assignment to this place mentions the local that is assigned.
    pub(crate) fn reads_itself(&self, place: &Place) -> bool {
        self.reads_itself.contains(&address(place))
    }
}

struct Scan<'w> {
    facts: Facts,
    callees: &'w [Effects],
    /// Locals assigned since the enclosing nodes began, innermost last.
    assigned: Vec<LocalId>,
    /// Every mention of a local so far.
    mentions: Vec<LocalId>,
}

impl<'w> Scan<'w> {
    fn new(callees: &'w [Effects]) -> Self {
        Self {
            facts: Facts::default(),
            callees,
            assigned: Vec::new(),
            mentions: Vec::new(),
        }
    }

    /// Keeps what was assigned since `mark` under a node's address.
    fn keep_assigned(&mut self, node: usize, mark: usize) {
        let mut set = self.assigned.split_off(mark);
        set.sort_unstable();
        set.dedup();
        if !set.is_empty() {
            self.facts.assigned.insert(node, set.as_slice().into());
            self.assigned.append(&mut set);
        }
    }

    fn block(&mut self, block: &Block) -> Effects {
        let mark = self.assigned.len();
        let mut effects = Effects::NONE;
        for stmt in &block.stmts {
            effects |= self.stmt(stmt);
        }
        if let Some(tail) = &block.tail {
            effects |= self.expr(tail);
        }
        self.keep_assigned(address(block), mark);
        effects
    }

    fn place(&mut self, place: &Place) -> Effects {
        if let PlaceBase::Local(local) = place.base {
            self.mentions.push(local);
        }
        place
            .projections
            .iter()
            .fold(Effects::NONE, |all, step| match step {
                Projection::Index(index) => all | self.expr(index),
                Projection::Field(_) => all,
            })
    }

    fn assign(&mut self, place: &Place, value: &Expr) -> Effects {
        let mark = self.mentions.len();
        let mut effects = self.expr(value) | Effects::STATEMENTS;
        if let PlaceBase::Local(local) = place.base
            && self.mentions[mark..].contains(&local)
        {
            self.facts.reads_itself.insert(address(place));
        }
        effects |= self.place(place);
        match place.base {
            PlaceBase::State(_) => effects |= Effects::STATE,
            PlaceBase::Local(local) => {
                if place.projections.is_empty() {
                    self.assigned.push(local);
                }
                if !place.projections.is_empty() || !place.ty.is_scalar() {
                    effects |= Effects::LOCALS;
                }
            }
        }
        effects
    }

    fn stmt(&mut self, stmt: &Stmt) -> Effects {
        let leaves = Effects::LEAVES | Effects::STATEMENTS;
        match &stmt.kind {
            StmtKind::Let { init, .. } => self.expr(init),
            StmtKind::LetElse { init, els, .. } => self.expr(init) | self.block(els),
            StmtKind::Assign { place, value, .. } => self.assign(place, value),
            StmtKind::Match { scrutinee, arms } => {
                let effects = self.expr(scrutinee);
                arms.iter().fold(effects, |all, arm| all | self.block(&arm.body))
            }
            StmtKind::For { from, to, body, .. } => self.expr(from) | self.expr(to) | self.block(body),
            StmtKind::While { cond, body, .. } => self.operand(cond) | self.block(body),
            StmtKind::Return(Some(value)) | StmtKind::Reply(value) => self.expr(value) | leaves,
            StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Return(None)
            | StmtKind::Drop
            | StmtKind::Punt(_) => leaves,
            StmtKind::Expr(expr) => self.expr(expr),
            StmtKind::Log { args, .. } => self.exprs(args),
            StmtKind::CounterAdd(_, index, amount) => {
                let effects = index.as_ref().map_or(Effects::NONE, |e| self.expr(e));
                effects | self.expr(amount)
            }
            StmtKind::BytesOp(_, place, arg) => {
                let effects = arg.as_ref().map_or(Effects::NONE, |e| self.expr(e));
                effects | self.place(place) | Effects::LOCALS | Effects::STATEMENTS
            }
        }
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Effects {
        exprs.into_iter().fold(Effects::NONE, |all, e| all | self.expr(e))
    }

    fn operand(&mut self, expr: &Expr) -> Effects {
        let mark = self.assigned.len();
        let effects = self.expr(expr);
        self.keep_assigned(address(expr), mark);
        effects
    }

    fn expr(&mut self, expr: &Expr) -> Effects {
        let effects = self.kind(expr);
        if effects != Effects::NONE {
            self.facts.effects.insert(address(expr), effects);
        }
        effects
    }

    fn kind(&mut self, expr: &Expr) -> Effects {
        match &expr.kind {
            ExprKind::Local(local) => {
                self.mentions.push(*local);
                Effects::NONE
            }
            ExprKind::Value(_)
            | ExprKind::Const(_)
            | ExprKind::Param(_)
            | ExprKind::Pkt(_)
            | ExprKind::State(_)
            | ExprKind::None
            | ExprKind::Failed(_) => Effects::NONE,
            ExprKind::Field(e, _)
            | ExprKind::Unary(_, e)
            | ExprKind::InPrefix { value: e, .. }
            | ExprKind::Cast(e)
            | ExprKind::Widen(e)
            | ExprKind::Narrow(e)
            | ExprKind::Repeat(e, _)
            | ExprKind::Some(e)
            | ExprKind::TableGet(_, e)
            | ExprKind::TableHas(_, e) => self.expr(e),
            ExprKind::CounterRead(_, index) => index.as_ref().map_or(Effects::NONE, |e| self.expr(e)),
            ExprKind::Index(a, b) | ExprKind::Binary(_, a, b) => self.expr(a) | self.expr(b),
            ExprKind::LogicAnd(a, b) | ExprKind::LogicOr(a, b) => self.expr(a) | self.operand(b),
            ExprKind::Slice(a, b, c) | ExprKind::InRange(a, b, c) => {
                self.expr(a) | self.expr(b) | self.expr(c)
            }
            ExprKind::Array(es) | ExprKind::Builtin(_, es) | ExprKind::Keyed(_, _, es) => self.exprs(es),
            ExprKind::Struct(_, fields) => self.exprs(fields.iter().map(|(_, e)| e)),
            ExprKind::If(cond, then, els) => self.expr(cond) | self.block(then) | self.block(els),
            ExprKind::IfLet(_, option, then, els) => self.expr(option) | self.block(then) | self.block(els),
            ExprKind::Call(callee, args) => self.exprs(args) | self.callees[callee.index()],
            ExprKind::Atomic(_, place, args) => self.place(place) | self.exprs(args) | Effects::STATE,
            // Other invocations run meanwhile.
            ExprKind::Await(_, _, args) => self.exprs(args) | Effects::STATE,
        }
    }
}

/// Whether a type is a value that places reach into.
pub(crate) fn is_aggregate(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Array(..) | Type::Bytes(_) | Type::BytesView | Type::Struct(_)
    )
}
