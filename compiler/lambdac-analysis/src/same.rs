//! Whether two expressions are written alike and so have one value, as far as nothing is written in between.

use lambdac_hir::{Expr, ExprKind, Place, Projection, Value};

/// Whether both are the same expression without effects; `false` where in doubt.
pub fn same_expr(a: &Expr, b: &Expr) -> bool {
    let all = |a: &[Expr], b: &[Expr]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_expr(a, b));
    a.ty == b.ty
        && match (&a.kind, &b.kind) {
            (ExprKind::Value(a), ExprKind::Value(b)) => a == b,
            (ExprKind::Const(a), ExprKind::Const(b)) => a == b,
            (ExprKind::Param(a), ExprKind::Param(b)) => a == b,
            (ExprKind::Local(a), ExprKind::Local(b)) => a == b,
            (ExprKind::Pkt(a), ExprKind::Pkt(b)) => a == b,
            (ExprKind::State(a), ExprKind::State(b)) => a == b,
            (ExprKind::Field(a, i), ExprKind::Field(b, j)) => i == j && same_expr(a, b),
            (ExprKind::Index(a, i), ExprKind::Index(b, j)) => same_expr(a, b) && same_expr(i, j),
            (ExprKind::Slice(a, i, j), ExprKind::Slice(b, k, l))
            | (ExprKind::InRange(a, i, j), ExprKind::InRange(b, k, l)) => {
                same_expr(a, b) && same_expr(i, k) && same_expr(j, l)
            }
            (ExprKind::Unary(f, a), ExprKind::Unary(g, b)) => f == g && same_expr(a, b),
            (ExprKind::Binary(f, a, c), ExprKind::Binary(g, b, d)) => {
                f == g && same_expr(a, b) && same_expr(c, d)
            }
            (ExprKind::LogicAnd(a, c), ExprKind::LogicAnd(b, d))
            | (ExprKind::LogicOr(a, c), ExprKind::LogicOr(b, d)) => same_expr(a, b) && same_expr(c, d),
            (
                ExprKind::InPrefix {
                    value: a,
                    addr: c,
                    mask: m,
                },
                ExprKind::InPrefix {
                    value: b,
                    addr: d,
                    mask: n,
                },
            ) => m == n && c & m == d & n && same_expr(a, b),
            (ExprKind::Cast(a), ExprKind::Cast(b))
            | (ExprKind::Widen(a), ExprKind::Widen(b))
            | (ExprKind::Narrow(a), ExprKind::Narrow(b)) => same_expr(a, b),
            // `random` gives another value each time.
            (ExprKind::Builtin(f, a), ExprKind::Builtin(g, b)) => {
                f == g && *f != lambdac_hir::Builtin::Random && all(a, b)
            }
            (ExprKind::TableHas(t, a), ExprKind::TableHas(u, b)) => t == u && same_expr(a, b),
            (ExprKind::Call(f, a), ExprKind::Call(g, b)) => f == g && all(a, b),
            _ => false,
        }
}

/// Whether an expression reads exactly a place.
pub fn reads_place(expr: &Expr, place: &Place) -> bool {
    reads_path(expr, place, &place.projections)
}

fn reads_path(expr: &Expr, place: &Place, projections: &[Projection]) -> bool {
    match (&expr.kind, projections.split_last()) {
        (ExprKind::State(id), None) => place.base == lambdac_hir::PlaceBase::State(*id),
        (ExprKind::Local(id), None) => place.base == lambdac_hir::PlaceBase::Local(*id),
        (ExprKind::Field(base, field), Some((Projection::Field(last), rest))) => {
            field == last && reads_path(base, place, rest)
        }
        (ExprKind::Index(base, index), Some((Projection::Index(last), rest))) => {
            same_expr(index, last) && reads_path(base, place, rest)
        }
        _ => false,
    }
}

/// The word of a constant scalar.
pub fn constant(expr: &Expr) -> Option<u64> {
    match &expr.kind {
        ExprKind::Value(value) => match **value {
            Value::Int(word) => Some(word),
            Value::Bool(value) => Some(u64::from(value)),
            _ => None,
        },
        _ => None,
    }
}
