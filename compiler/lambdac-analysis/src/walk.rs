//! Walks over bodies: the parts of an expression or statement, in the order in which they are evaluated.

use lambdac_hir::{Block, Expr, ExprKind, Place, Projection, Stmt, StmtKind};

/// A part of an expression or statement.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// Evaluated.
    Expr(&'a Expr),
    /// Run, perhaps or repeatedly, as the construct says.
    Block(&'a Block),
    /// Written or changed: its indexes are evaluated.
    Place(&'a Place),
}

/// The parts of an expression.
pub fn expr_parts(expr: &Expr) -> Vec<Part<'_>> {
    match &expr.kind {
        ExprKind::Value(_)
        | ExprKind::Const(_)
        | ExprKind::Param(_)
        | ExprKind::Local(_)
        | ExprKind::Pkt(_)
        | ExprKind::State(_)
        | ExprKind::None
        | ExprKind::CounterRead(_, None)
        | ExprKind::Failed(_) => Vec::new(),
        ExprKind::Field(a, _)
        | ExprKind::Unary(_, a)
        | ExprKind::InPrefix { value: a, .. }
        | ExprKind::Cast(a)
        | ExprKind::Widen(a)
        | ExprKind::Narrow(a)
        | ExprKind::Repeat(a, _)
        | ExprKind::Some(a)
        | ExprKind::CounterRead(_, Some(a))
        | ExprKind::TableGet(_, a)
        | ExprKind::TableHas(_, a) => vec![Part::Expr(a)],
        ExprKind::Index(a, b)
        | ExprKind::Binary(_, a, b)
        | ExprKind::LogicAnd(a, b)
        | ExprKind::LogicOr(a, b) => vec![Part::Expr(a), Part::Expr(b)],
        ExprKind::Slice(a, b, c) | ExprKind::InRange(a, b, c) => {
            vec![Part::Expr(a), Part::Expr(b), Part::Expr(c)]
        }
        ExprKind::Array(args)
        | ExprKind::Call(_, args)
        | ExprKind::Builtin(_, args)
        | ExprKind::Keyed(_, _, args)
        | ExprKind::Await(_, _, args) => args.iter().map(Part::Expr).collect(),
        ExprKind::Struct(_, fields) => fields.iter().map(|(_, field)| Part::Expr(field)).collect(),
        ExprKind::If(a, then, els) | ExprKind::IfLet(_, a, then, els) => {
            vec![Part::Expr(a), Part::Block(then), Part::Block(els)]
        }
        ExprKind::Atomic(_, place, args) => std::iter::once(Part::Place(place))
            .chain(args.iter().map(Part::Expr))
            .collect(),
    }
}

/// The parts of a statement.
pub fn stmt_parts(stmt: &Stmt) -> Vec<Part<'_>> {
    match &stmt.kind {
        StmtKind::Break
        | StmtKind::Continue
        | StmtKind::Return(None)
        | StmtKind::Drop
        | StmtKind::Punt(_) => Vec::new(),
        StmtKind::Let { init: a, .. }
        | StmtKind::Return(Some(a))
        | StmtKind::Reply(a)
        | StmtKind::Expr(a)
        | StmtKind::CounterAdd(_, None, a) => vec![Part::Expr(a)],
        StmtKind::CounterAdd(_, Some(a), b) => vec![Part::Expr(a), Part::Expr(b)],
        StmtKind::LetElse { init, els, .. } => vec![Part::Expr(init), Part::Block(els)],
        StmtKind::Assign { place, value, .. } => vec![Part::Expr(value), Part::Place(place)],
        StmtKind::Match { scrutinee, arms } => {
            let arms = arms.iter().map(|arm| Part::Block(&arm.body));
            std::iter::once(Part::Expr(scrutinee)).chain(arms).collect()
        }
        StmtKind::For { from, to, body, .. } => vec![Part::Expr(from), Part::Expr(to), Part::Block(body)],
        StmtKind::While { cond, body, .. } => vec![Part::Expr(cond), Part::Block(body)],
        StmtKind::Log { args, .. } => args.iter().map(Part::Expr).collect(),
        StmtKind::BytesOp(_, place, arg) => arg.iter().map(Part::Expr).chain([Part::Place(place)]).collect(),
    }
}

/// The indexes of a place.
pub fn place_indexes(place: &Place) -> impl Iterator<Item = &Expr> {
    place
        .projections
        .iter()
        .filter_map(|projection| match projection {
            Projection::Index(index) => Some(index),
            Projection::Field(_) => None,
        })
}

/// Sees every statement, expression and written place of a body, outer ones first.
pub trait Visitor<'a> {
    /// A statement.
    fn stmt(&mut self, _: &'a Stmt) {}
    /// An expression.
    fn expr(&mut self, _: &'a Expr) {}
    /// A place that is written or changed.
    fn place(&mut self, _: &'a Place) {}
}

/// Visits a block.
pub fn visit_block<'a>(visitor: &mut dyn Visitor<'a>, block: &'a Block) {
    for stmt in &block.stmts {
        visitor.stmt(stmt);
        stmt_parts(stmt).into_iter().for_each(|part| visit(visitor, part));
    }
    if let Some(tail) = &block.tail {
        visit_expr(visitor, tail);
    }
}

/// Visits an expression.
pub fn visit_expr<'a>(visitor: &mut dyn Visitor<'a>, expr: &'a Expr) {
    visitor.expr(expr);
    expr_parts(expr).into_iter().for_each(|part| visit(visitor, part));
}

fn visit<'a>(visitor: &mut dyn Visitor<'a>, part: Part<'a>) {
    match part {
        Part::Expr(expr) => visit_expr(visitor, expr),
        Part::Block(block) => visit_block(visitor, block),
        Part::Place(place) => {
            visitor.place(place);
            place_indexes(place).for_each(|index| visit_expr(visitor, index));
        }
    }
}
