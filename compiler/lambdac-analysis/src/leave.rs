//! `punt` only while nothing has happened yet.
//!
//! A `punt` hands the untouched request on, and whoever takes it starts from the beginning: what was written or asked
//! before would be done twice. So no path may lead from a state write or an `await` to a `punt`.
//!
//! A forward walk over the tree with one fact: what the path has done first, if anything. Paths that join keep what
//! either did. A loop's body is walked again where a trip ends in more than it began with; the fact can only grow once,
//! so a body is walked at most once more for each loop around it.

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{Block, Expr, ExprKind, KeyedOp, Place, PlaceBase, Stmt, StmtKind, Workload};

use crate::uses::Uses;
use crate::walk::{Part, expr_parts, place_indexes, stmt_parts};

/// Checks all lambdas.
pub fn check(workload: &Workload, uses: &Uses, sink: &mut Sink) {
    for (lambda, used) in workload.lambdas.iter().zip(&uses.lambdas) {
        if used.writes.is_empty() && used.services.is_empty() {
            continue;
        }
        let mut walk = Walk {
            uses,
            loops: Vec::new(),
            found: Vec::new(),
        };
        walk.block(&lambda.body.block, Path::Clean);
        walk.found.sort_by_key(|found| found.punt);
        walk.found.dedup_by_key(|found| found.punt);
        walk.found
            .iter()
            .for_each(|found| sink.push(found.to_diagnostic()));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Write,
    Await,
}

/// What a path has done when it comes to a point.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// No path comes here.
    None,
    /// Nothing.
    Clean,
    /// This, first.
    Done(Effect, Span),
}

impl Path {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done(..), _) | (_, Self::None) => self,
            (Self::None | Self::Clean, other) => other,
        }
    }

    fn then(self, effect: Effect, span: Span) -> Self {
        match self {
            Self::Clean => Self::Done(effect, span),
            Self::None | Self::Done(..) => self,
        }
    }
}

/// A `punt` after an effect.
struct LatePunt {
    punt: Span,
    effect: Effect,
    at: Span,
}

impl LatePunt {
    fn to_diagnostic(&self) -> Diagnostic {
        let (code, what, label) = match self.effect {
            Effect::Write => ("E0350", "a state write", "state is written here"),
            Effect::Await => ("E0351", "an await", "a service is asked here"),
        };
        Diagnostic::error(
            code,
            format!("`punt` after {what}"),
            self.punt,
            "the request is no longer untouched",
        )
        .with_label(self.at, label)
        .with_help("decide to punt first, or answer here with `reply`")
    }
}

/// Where the paths that leave a loop early meet.
#[derive(Clone, Copy)]
struct Loop {
    breaks: Path,
    continues: Path,
}

struct Walk<'a> {
    uses: &'a Uses,
    loops: Vec<Loop>,
    found: Vec<LatePunt>,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block, path: Path) -> Path {
        let end = block.stmts.iter().fold(path, |path, stmt| self.stmt(stmt, path));
        block.tail.iter().fold(end, |path, tail| self.expr(tail, path))
    }

    fn stmt(&mut self, stmt: &Stmt, path: Path) -> Path {
        match &stmt.kind {
            StmtKind::Punt(_) => {
                if let Path::Done(effect, at) = path {
                    self.found.push(LatePunt {
                        punt: stmt.span,
                        effect,
                        at,
                    });
                }
                Path::None
            }
            StmtKind::Break => {
                self.leave_trip(path, |this| &mut this.breaks);
                Path::None
            }
            StmtKind::Continue => {
                self.leave_trip(path, |this| &mut this.continues);
                Path::None
            }
            StmtKind::Return(_) | StmtKind::Reply(_) | StmtKind::Drop => {
                self.parts(stmt_parts(stmt), path);
                Path::None
            }
            StmtKind::LetElse { init, els, .. } => {
                let path = self.expr(init, path);
                let otherwise = self.block(els, path);
                path.join(otherwise)
            }
            StmtKind::Match { scrutinee, arms } => {
                let path = self.expr(scrutinee, path);
                let falls = if arms.iter().any(|arm| arm.any) {
                    Path::None
                } else {
                    path
                };
                arms.iter()
                    .fold(falls, |end, arm| end.join(self.block(&arm.body, path)))
            }
            StmtKind::For { from, to, body, .. } => {
                let path = self.expr(from, path);
                let path = self.expr(to, path);
                self.trips(path, |this, start| {
                    let end = this.block(body, start);
                    (start, end)
                })
            }
            StmtKind::While { cond, body, .. } => self.trips(path, |this, start| {
                let tested = this.expr(cond, start);
                let end = this.block(body, tested);
                (tested, end)
            }),
            StmtKind::CounterAdd(..) => self.parts(stmt_parts(stmt), path).then(Effect::Write, stmt.span),
            StmtKind::Assign { .. }
            | StmtKind::BytesOp(..)
            | StmtKind::Let { .. }
            | StmtKind::Expr(_)
            | StmtKind::Log { .. } => self.parts(stmt_parts(stmt), path),
        }
    }

    fn leave_trip(&mut self, path: Path, of: impl Fn(&mut Loop) -> &mut Path) {
        if let Some(innermost) = self.loops.last_mut() {
            let meeting = of(innermost);
            *meeting = meeting.join(path);
        }
    }

    /// Walks trips until one ends as it began; a trip gives the path that leaves at its head and the one at its end.
    fn trips(&mut self, path: Path, trip: impl Fn(&mut Self, Path) -> (Path, Path)) -> Path {
        let mut start = path;
        loop {
            self.loops.push(Loop {
                breaks: Path::None,
                continues: Path::None,
            });
            let (leaves, end) = trip(self, start);
            let Some(met) = self.loops.pop() else {
                return leaves;
            };
            let next = start.join(end).join(met.continues);
            if next == start {
                return leaves.join(met.breaks);
            }
            start = next;
        }
    }

    fn parts(&mut self, parts: Vec<Part<'_>>, path: Path) -> Path {
        parts.into_iter().fold(path, |path, part| match part {
            Part::Expr(expr) => self.expr(expr, path),
            Part::Block(block) => self.block(block, path),
            Part::Place(place) => self.place(place, path),
        })
    }

    /// A place that is written.
    fn place(&mut self, place: &Place, path: Path) -> Path {
        let path = place_indexes(place).fold(path, |path, index| self.expr(index, path));
        match place.base {
            PlaceBase::State(_) => path.then(Effect::Write, place.span),
            PlaceBase::Local(_) => path,
        }
    }

    fn expr(&mut self, expr: &Expr, path: Path) -> Path {
        match &expr.kind {
            ExprKind::If(cond, then, els) | ExprKind::IfLet(_, cond, then, els) => {
                let path = self.expr(cond, path);
                let end = self.block(then, path);
                end.join(self.block(els, path))
            }
            ExprKind::LogicAnd(left, right) | ExprKind::LogicOr(left, right) => {
                let path = self.expr(left, path);
                path.join(self.expr(right, path))
            }
            kind => {
                let path = self.parts(expr_parts(expr), path);
                match kind {
                    ExprKind::Await(..) => path.then(Effect::Await, expr.span),
                    ExprKind::Keyed(op, ..) if *op != KeyedOp::Get => path.then(Effect::Write, expr.span),
                    ExprKind::Call(id, _)
                        if self
                            .uses
                            .fns
                            .get(id.index())
                            .is_some_and(|f| !f.writes.is_empty()) =>
                    {
                        path.then(Effect::Write, expr.span)
                    }
                    _ => path,
                }
            }
        }
    }
}
