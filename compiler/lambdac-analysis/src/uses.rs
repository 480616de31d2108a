//! What each fn, lambda and the `match` touch, calls included.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_diag::Span;
use lambdac_hir::{
    Block, Dispatch, Expr, ExprKind, FnId, KeyedOp, LambdaId, ParamId, Place, PlaceBase, ServiceId, StateId,
    Stmt, StmtKind, TableId, Workload,
};

use crate::walk::{Visitor, visit_block, visit_expr};

/// Uses of all bodies of a workload.
pub struct Uses {
    /// By [`FnId`].
    pub fns: Vec<BodyUses>,
    /// By [`LambdaId`].
    pub lambdas: Vec<BodyUses>,
    /// Of the conditions of the `match`.
    pub conditions: BodyUses,
}

/// What a body touches, itself or through the fns it calls.
#[derive(Clone, Debug, Default)]
pub struct BodyUses {
    /// State whose content has an influence.
    pub reads: BTreeSet<StateId>,
    /// State that is changed.
    pub writes: BTreeSet<StateId>,
    /// Tables that are looked up.
    pub tables: BTreeSet<TableId>,
    /// Params.
    pub params: BTreeSet<ParamId>,
    /// Services.
    pub services: BTreeSet<ServiceId>,
    /// Fns that are called, directly.
    pub calls: BTreeSet<FnId>,
    /// `punt name`, with its first place.
    pub punts: BTreeMap<LambdaId, Span>,
}

impl Uses {
    /// Of a workload.
    pub fn of(workload: &Workload) -> Self {
        let mut fns: Vec<BodyUses> = Vec::new();
        for function in &workload.fns {
            let uses = Collector::of_block(&fns, &function.body.block);
            fns.push(uses);
        }
        let lambdas = workload
            .lambdas
            .iter()
            .map(|lambda| Collector::of_block(&fns, &lambda.body.block));
        let lambdas = lambdas.collect();
        let mut conditions = Collector::new(&fns);
        if let Dispatch::Match(stage) = &workload.dispatch {
            let exprs = stage.rules.iter().filter_map(|rule| rule.cond.as_ref());
            exprs.for_each(|cond| visit_expr(&mut conditions, cond));
        }
        Self {
            lambdas,
            conditions: conditions.uses,
            fns,
        }
    }

    /// All bodies.
    pub fn all(&self) -> impl Iterator<Item = &BodyUses> {
        self.fns.iter().chain(&self.lambdas).chain([&self.conditions])
    }
}

struct Collector<'f> {
    fns: &'f [BodyUses],
    uses: BodyUses,
    /// An expression whose value nobody sees.
    discarded: Option<*const Expr>,
}

impl<'f> Collector<'f> {
    fn new(fns: &'f [BodyUses]) -> Self {
        Self {
            fns,
            uses: BodyUses::default(),
            discarded: None,
        }
    }

    fn of_block(fns: &'f [BodyUses], block: &Block) -> BodyUses {
        let mut collector = Self::new(fns);
        visit_block(&mut collector, block);
        collector.uses
    }

    fn called(&mut self, id: FnId) {
        self.uses.calls.insert(id);
        // Callees come before callers; a missing one would be a fn that calls itself, which the checker refuses.
        let Some(callee) = self.fns.get(id.index()) else {
            return;
        };
        self.uses.reads.extend(&callee.reads);
        self.uses.writes.extend(&callee.writes);
        self.uses.tables.extend(&callee.tables);
        self.uses.params.extend(&callee.params);
        self.uses.services.extend(&callee.services);
    }

    /// An operation that changes state; where its result is used, it reads too.
    fn updated(&mut self, id: StateId, expr: &Expr) {
        self.uses.writes.insert(id);
        if self.discarded != Some(std::ptr::from_ref(expr)) {
            self.uses.reads.insert(id);
        }
    }
}

impl<'a> Visitor<'a> for Collector<'_> {
    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Expr(expr) => self.discarded = Some(std::ptr::from_ref(expr)),
            StmtKind::CounterAdd(id, ..) => {
                self.uses.writes.insert(*id);
            }
            StmtKind::Punt(Some(id)) => {
                self.uses.punts.entry(*id).or_insert(stmt.span);
            }
            _ => {}
        }
    }

    fn expr(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::State(id) | ExprKind::CounterRead(id, _) => {
                self.uses.reads.insert(*id);
            }
            ExprKind::Atomic(_, place, _) => {
                if let PlaceBase::State(id) = place.base {
                    self.updated(id, expr);
                }
            }
            ExprKind::Keyed(KeyedOp::Get, id, _) => {
                self.uses.reads.insert(*id);
            }
            ExprKind::Keyed(KeyedOp::Put | KeyedOp::Insert | KeyedOp::Remove | KeyedOp::FetchAdd, id, _) => {
                self.updated(*id, expr);
            }
            ExprKind::TableGet(id, _) | ExprKind::TableHas(id, _) => {
                self.uses.tables.insert(*id);
            }
            ExprKind::Param(id) => {
                self.uses.params.insert(*id);
            }
            ExprKind::Await(id, ..) | ExprKind::Failed(id) => {
                self.uses.services.insert(*id);
            }
            ExprKind::Call(id, _) => self.called(*id),
            _ => {}
        }
    }

    fn place(&mut self, place: &'a Place) {
        if let PlaceBase::State(id) = place.base {
            self.uses.writes.insert(id);
        }
    }
}
