//! Worst cases: how many steps a lambda can take.
//!
//! A step is an operator, a load, a store or a call. A loop costs its most trips times its body, a branch its dearest
//! side, a call its callee as well. Sums saturate, and over [`MAX_STEPS`] is an error that shows the dearest loop.

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{Block, Dispatch, Expr, ExprKind, FnId, Place, Stmt, StmtKind, Workload};

use crate::grouped;
use crate::walk::{Part, expr_parts, place_indexes, stmt_parts};

/// The most steps of a lambda.
pub const MAX_STEPS: u64 = 1_000_000_000;

/// Worst cases of a workload.
pub struct Costs {
    /// By [`lambdac_hir::LambdaId`].
    pub lambdas: Vec<u64>,
    /// Of all conditions of the `match`.
    pub match_stage: u64,
}

/// The worst cases of all lambdas, after reporting what takes too many steps.
pub fn check(workload: &Workload, sink: &mut Sink) -> Costs {
    let mut costing = Costing {
        fns: Vec::new(),
        dearest: None,
    };
    for function in &workload.fns {
        let steps = costing.body(&function.body.block);
        let fits = costing.within(workload, &function.name, function.span, steps, sink);
        // What is too long by itself was reported; its callers are judged without it.
        let known = if fits { steps } else { 0 };
        costing.fns.push(FnCost {
            steps: known,
            dearest: costing.dearest,
        });
    }
    let lambdas = workload.lambdas.iter().map(|lambda| {
        let steps = costing.body(&lambda.body.block);
        costing.within(workload, &lambda.name, lambda.span, steps, sink);
        steps
    });
    let lambdas = lambdas.collect();
    let match_stage = match &workload.dispatch {
        Dispatch::Match(stage) => {
            costing.dearest = None;
            let conditions = stage.rules.iter().filter_map(|rule| rule.cond.as_ref());
            let steps = conditions.fold(0u64, |sum, cond| sum.saturating_add(costing.expr(cond)));
            costing.within(workload, "match", stage.span, steps, sink);
            steps
        }
        Dispatch::Only(_) | Dispatch::Unreachable => 0,
    };
    Costs { lambdas, match_stage }
}

/// What costs most in a body.
#[derive(Clone, Copy)]
struct Dearest {
    span: Span,
    steps: u64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Loop { trips: u64, body: u64 },
    Call(FnId),
}

struct FnCost {
    steps: u64,
    dearest: Option<Dearest>,
}

struct Costing {
    fns: Vec<FnCost>,
    dearest: Option<Dearest>,
}

impl Costing {
    fn body(&mut self, block: &Block) -> u64 {
        self.dearest = None;
        self.block(block)
    }

    fn within(&self, workload: &Workload, name: &str, span: Span, steps: u64, sink: &mut Sink) -> bool {
        if steps <= MAX_STEPS {
            return true;
        }
        let count = if steps == u64::MAX {
            "more than 10^19".to_owned()
        } else {
            grouped(steps)
        };
        let message = format!(
            "`{name}` can take {count} steps, more than {}",
            grouped(MAX_STEPS)
        );
        let Some(dearest) = self.dearest else {
            sink.push(Diagnostic::error("E0550", message, span, "too long"));
            return false;
        };
        let mut diagnostic = Diagnostic::error("E0550", message, dearest.span, describe(workload, &dearest));
        if let What::Call(id) = dearest.what
            && let Some(inner) = self.fns[id.index()].dearest
        {
            diagnostic = diagnostic.with_label(inner.span, describe(workload, &inner));
        }
        sink.push(diagnostic.with_help("lower the loops' bounds (`max N`) to what is needed"));
        false
    }

    fn block(&mut self, block: &Block) -> u64 {
        let stmts = block
            .stmts
            .iter()
            .fold(0u64, |sum, stmt| sum.saturating_add(self.stmt(stmt)));
        let tail = block.tail.as_ref().map_or(0, |tail| self.expr(tail));
        stmts.saturating_add(tail)
    }

    fn stmt(&mut self, stmt: &Stmt) -> u64 {
        match &stmt.kind {
            StmtKind::Match { scrutinee, arms } => {
                let dearest = arms.iter().map(|arm| self.block(&arm.body)).max().unwrap_or(0);
                self.expr(scrutinee).saturating_add(1).saturating_add(dearest)
            }
            StmtKind::For {
                from, to, max, body, ..
            } => {
                let bounds = self.expr(from).saturating_add(self.expr(to));
                // Each trip compares and counts.
                let body = self.block(body).saturating_add(2);
                bounds.saturating_add(self.trips(stmt.span, *max, body))
            }
            StmtKind::While { cond, max, body } => {
                let cond = self.expr(cond);
                let body = self.block(body).saturating_add(cond).saturating_add(1);
                cond.saturating_add(self.trips(stmt.span, *max, body))
            }
            StmtKind::Break | StmtKind::Continue | StmtKind::Expr(_) | StmtKind::LetElse { .. } => {
                self.parts(stmt_parts(stmt))
            }
            StmtKind::Let { .. }
            | StmtKind::Assign { op: None, .. }
            | StmtKind::Return(_)
            | StmtKind::Reply(_)
            | StmtKind::Drop
            | StmtKind::Punt(_)
            | StmtKind::Log { .. }
            | StmtKind::CounterAdd(..)
            | StmtKind::BytesOp(..) => self.parts(stmt_parts(stmt)).saturating_add(1),
            // Load, operator, store.
            StmtKind::Assign { op: Some(_), .. } => self.parts(stmt_parts(stmt)).saturating_add(3),
        }
    }

    fn trips(&mut self, span: Span, trips: u64, body: u64) -> u64 {
        let steps = trips.saturating_mul(body);
        self.consider(Dearest {
            span,
            steps,
            what: What::Loop { trips, body },
        });
        steps
    }

    /// A loop around another costs at least as much and comes later, so it is the one that is kept; of equal calls
    /// it is the first.
    fn consider(&mut self, candidate: Dearest) {
        let is_loop = matches!(candidate.what, What::Loop { .. });
        let dearer =
            |dearest: Dearest| candidate.steps > dearest.steps || candidate.steps == dearest.steps && is_loop;
        if self.dearest.is_none_or(dearer) {
            self.dearest = Some(candidate);
        }
    }

    fn parts(&mut self, parts: Vec<Part<'_>>) -> u64 {
        parts.into_iter().fold(0, |sum, part| {
            sum.saturating_add(match part {
                Part::Expr(expr) => self.expr(expr),
                Part::Block(block) => self.block(block),
                Part::Place(place) => self.place(place),
            })
        })
    }

    fn place(&mut self, place: &Place) -> u64 {
        place_indexes(place).fold(0, |sum, index| sum.saturating_add(self.expr(index)))
    }

    fn expr(&mut self, expr: &Expr) -> u64 {
        match &expr.kind {
            ExprKind::If(cond, then, els) | ExprKind::IfLet(_, cond, then, els) => {
                let cond = self.expr(cond);
                let dearest = self.block(then).max(self.block(els));
                cond.saturating_add(1).saturating_add(dearest)
            }
            ExprKind::Call(id, _) => {
                let args = self.parts(expr_parts(expr));
                let steps = self.fns.get(id.index()).map_or(0, |callee| callee.steps);
                self.consider(Dearest {
                    span: expr.span,
                    steps,
                    what: What::Call(*id),
                });
                args.saturating_add(1).saturating_add(steps)
            }
            kind => self.parts(expr_parts(expr)).saturating_add(own_steps(kind)),
        }
    }
}

/// Steps of an expression without its parts.
fn own_steps(kind: &ExprKind) -> u64 {
    match kind {
        // Known where they are needed, or a step of the path that is loaded.
        ExprKind::Value(_)
        | ExprKind::Const(_)
        | ExprKind::Local(_)
        | ExprKind::Widen(_)
        | ExprKind::None
        | ExprKind::Some(_) => 0,
        // Two comparisons; mask and comparison.
        ExprKind::InRange(..) | ExprKind::InPrefix { .. } => 2,
        ExprKind::Array(elems) => elems.len() as u64,
        ExprKind::Struct(_, fields) => fields.len() as u64,
        ExprKind::Param(_)
        | ExprKind::Pkt(_)
        | ExprKind::State(_)
        | ExprKind::Field(..)
        | ExprKind::Index(..)
        | ExprKind::Slice(..)
        | ExprKind::Unary(..)
        | ExprKind::Binary(..)
        | ExprKind::LogicAnd(..)
        | ExprKind::LogicOr(..)
        | ExprKind::Cast(_)
        | ExprKind::Narrow(_)
        | ExprKind::Repeat(..)
        | ExprKind::If(..)
        | ExprKind::IfLet(..)
        | ExprKind::Call(..)
        | ExprKind::Builtin(..)
        | ExprKind::Atomic(..)
        | ExprKind::CounterRead(..)
        | ExprKind::Keyed(..)
        | ExprKind::TableGet(..)
        | ExprKind::TableHas(..)
        | ExprKind::Await(..)
        | ExprKind::Failed(_) => 1,
    }
}

fn describe(workload: &Workload, dearest: &Dearest) -> String {
    match dearest.what {
        What::Loop { trips, body } => {
            format!("up to {} trips of {} steps", grouped(trips), grouped(body))
        }
        What::Call(id) => {
            let name = &workload.fns[id.index()].name;
            format!("`{name}` takes up to {} steps", grouped(dearest.steps))
        }
    }
}
