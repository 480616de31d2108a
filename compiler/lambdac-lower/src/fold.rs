//! Literals of constants: an array or struct whose parts are all constant is read-only data.

use lambdac_hir::{Expr, ExprKind, Value as Datum};

use crate::module::ModuleCx;

/// `[v; n]` is data up to this length; longer ones are filled by a loop.
const MOST_REPEATED: u32 = 64;

/// Literals with at most so many scalars are stored one by one where they go into memory.
pub(crate) const STORED_SINGLY: usize = 4;

impl ModuleCx<'_> {
    /// The value of an array or struct literal of constants.
    pub(crate) fn folded(&self, expr: &Expr) -> Option<Datum> {
        match &expr.kind {
            ExprKind::Array(_) | ExprKind::Repeat(..) | ExprKind::Struct(..) => self.constant_part(expr),
            _ => None,
        }
    }

    fn constant_part(&self, expr: &Expr) -> Option<Datum> {
        match &expr.kind {
            ExprKind::Value(value) => Some((**value).clone()),
            ExprKind::Const(id) => Some((*self.workload.consts[id.index()].value).clone()),
            ExprKind::Widen(inner) => self.constant_part(inner),
            ExprKind::Array(elems) => elems
                .iter()
                .map(|e| self.constant_part(e))
                .collect::<Option<Vec<_>>>()
                .map(Datum::Array),
            ExprKind::Repeat(value, n) if *n <= MOST_REPEATED => {
                Some(Datum::Array(vec![self.constant_part(value)?; *n as usize]))
            }
            ExprKind::Struct(_, fields) => {
                let mut values = vec![Datum::Unit; fields.len()];
                for (field, value) in fields {
                    values[*field as usize] = self.constant_part(value)?;
                }
                Some(Datum::Struct(values))
            }
            _ => None,
        }
    }
}

/// How many scalars and byte strings a constant is made of.
pub(crate) fn leaves(value: &Datum) -> usize {
    match value {
        Datum::Array(values) | Datum::Struct(values) => values.iter().map(leaves).sum(),
        _ => 1,
    }
}
