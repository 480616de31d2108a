//! Warns about `x = x + 1` on state: another invocation may write `x` between the read and the write.

use std::collections::BTreeMap;

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{
    BinOp, Block, Expr, ExprKind, LocalId, Place, PlaceBase, Projection, Stmt, StmtKind, Type, Workload,
};

use crate::same::reads_place;
use crate::walk::{Visitor, visit_block, visit_expr};

/// Checks all bodies.
pub fn check(workload: &Workload, sink: &mut Sink) {
    let fns = workload.fns.iter().map(|function| &function.body.block);
    let lambdas = workload.lambdas.iter().map(|lambda| &lambda.body.block);
    fns.chain(lambdas)
        .for_each(|block| check_body(workload, block, sink));
}

fn check_body(workload: &Workload, block: &Block, sink: &mut Sink) {
    let mut found = Updates {
        workload,
        copies: BTreeMap::new(),
        sink,
    };
    visit_block(&mut found, block);
}

struct Updates<'a, 's> {
    workload: &'a Workload,
    /// Variables that hold what a state value held when they were made.
    copies: BTreeMap<LocalId, &'a Expr>,
    sink: &'s mut Sink,
}

/// Where an assignment's new value comes from its old one.
enum Read {
    /// `op=`
    Operator,
    /// The place is read in the right side.
    Direct,
    /// A variable that was read from the place.
    Copy(Span),
}

impl<'a> Visitor<'a> for Updates<'a, '_> {
    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::Let { local, init } if starts_at_state(init) => {
                self.copies.insert(*local, init);
            }
            StmtKind::Assign { place, op, value }
                if matches!(place.base, PlaceBase::State(_)) && matches!(place.ty, Type::Int(_)) =>
            {
                if let Some(read) = self.read_of(place, *op, value) {
                    self.sink.push(self.warning(stmt.span, place, *op, value, &read));
                }
            }
            _ => {}
        }
    }
}

impl<'a> Updates<'a, '_> {
    fn read_of(&self, place: &Place, op: Option<BinOp>, value: &'a Expr) -> Option<Read> {
        if op.is_some() {
            return Some(Read::Operator);
        }
        let mut reads = Reads {
            place,
            copies: &self.copies,
            found: None,
        };
        visit_expr(&mut reads, value);
        reads.found
    }

    fn warning(&self, span: Span, place: &Place, op: Option<BinOp>, value: &Expr, read: &Read) -> Diagnostic {
        let name = self.place_name(place);
        let label = match read {
            Read::Operator | Read::Direct => format!("`{name}` is read and then written"),
            Read::Copy(_) => format!("`{name}` is written with a value that was made from its old one"),
        };
        let message = format!("another invocation's update of `{name}` can be lost");
        let diagnostic = Diagnostic::warning("W0050", message, span, label);
        let diagnostic = match read {
            Read::Copy(at) => diagnostic.with_label(*at, "it was read here"),
            Read::Operator | Read::Direct => diagnostic,
        };
        let atomic = match op.or_else(|| plain_sum(place, value)) {
            Some(BinOp::Add) => format!("`{name}.fetch_add(…)` reads and writes at once"),
            Some(BinOp::Sub) => format!("`{name}.fetch_sub(…)` reads and writes at once"),
            _ => format!("`{name}.cas(old, new)` writes only if nothing was written in between"),
        };
        diagnostic.with_help(atomic)
    }

    /// The place as written, with `…` for indexes.
    fn place_name(&self, place: &Place) -> String {
        let PlaceBase::State(id) = place.base else {
            return String::new();
        };
        let state = &self.workload.states[id.index()];
        let mut name = state.name.to_string();
        let mut ty = match &state.kind {
            lambdac_hir::StateKind::Value { ty, .. } => ty,
            _ => return name,
        };
        for projection in &place.projections {
            match (projection, ty) {
                (Projection::Field(number), Type::Struct(id)) => {
                    let field = &self.workload.strukt(*id).fields[*number as usize];
                    name.push('.');
                    name.push_str(&field.name);
                    ty = &field.ty;
                }
                (Projection::Index(_), Type::Array(elem, _)) => {
                    name.push_str("[…]");
                    ty = elem;
                }
                _ => return name,
            }
        }
        name
    }
}

/// The operator of `x + …` or `x - …`, or of `… + x`, where x is the place.
fn plain_sum(place: &Place, value: &Expr) -> Option<BinOp> {
    match &value.kind {
        ExprKind::Binary(op @ (BinOp::Add | BinOp::Sub), left, _) if reads_place(left, place) => Some(*op),
        ExprKind::Binary(BinOp::Add, _, right) if reads_place(right, place) => Some(BinOp::Add),
        _ => None,
    }
}

/// Whether an expression is a path into a state value.
fn starts_at_state(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::State(_) => true,
        ExprKind::Field(base, _) | ExprKind::Index(base, _) => starts_at_state(base),
        _ => false,
    }
}

struct Reads<'p, 'a> {
    place: &'p Place,
    copies: &'p BTreeMap<LocalId, &'a Expr>,
    found: Option<Read>,
}

impl<'a> Visitor<'a> for Reads<'_, 'a> {
    fn expr(&mut self, expr: &'a Expr) {
        if reads_place(expr, self.place) {
            self.found = Some(Read::Direct);
        } else if let (ExprKind::Local(id), None) = (&expr.kind, &self.found)
            && let Some(origin) = self.copies.get(id)
            && reads_place(origin, self.place)
        {
            self.found = Some(Read::Copy(origin.span));
        }
    }
}
