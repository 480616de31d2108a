//! How deep a body nests together with the fns that it calls.
//!
//! What runs or compiles a body recurses over it, so the depth is bounded: a construct counts 1, a call its callee too.
//! A construct counts at least as much as the MIR regions that it becomes, and the limit is the MIR validator's
//! (`lambdac_mir::validate::MAX_DEPTH`): what passes here passes there.

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{Block, Dispatch, Expr, ExprKind, StmtKind, Workload};

use crate::grouped;
use crate::walk::{Part, expr_parts, place_indexes, stmt_parts};

/// The deepest nesting of a body with the fns that it calls.
pub const MAX_DEPTH: u32 = 512;

/// Regions of a loop (for its trips, its bound, `break` and `continue`) besides its statement and its body.
const LOOP_REGIONS: u32 = 2;

/// Checks all fns, lambdas and conditions; each is reported once, not again for its callers.
pub fn check(workload: &Workload, sink: &mut Sink) {
    let mut depths = Depths { fns: Vec::new() };
    for function in &workload.fns {
        let depth = depths.block(&function.body.block);
        let fits = within(depth, &function.name, function.span, sink);
        depths.fns.push(if fits { depth } else { 0 });
    }
    for lambda in &workload.lambdas {
        within(depths.block(&lambda.body.block), &lambda.name, lambda.span, sink);
    }
    if let Dispatch::Match(stage) = &workload.dispatch {
        let conditions = stage.rules.iter().filter_map(|rule| rule.cond.as_ref());
        let deepest = conditions.map(|cond| depths.expr(cond)).max().unwrap_or(0);
        within(deepest, "match", stage.span, sink);
    }
}

fn within(depth: u32, name: &str, span: Span, sink: &mut Sink) -> bool {
    if depth <= MAX_DEPTH {
        return true;
    }
    let message = format!(
        "`{name}` nests {} deep with the fns that it calls, more than {}",
        grouped(depth.into()),
        grouped(MAX_DEPTH.into())
    );
    sink.push(
        Diagnostic::error("E0552", message, span, "nested too deep")
            .with_help("let one fn do what a chain of fns does, each calling the next"),
    );
    false
}

struct Depths {
    fns: Vec<u32>,
}

impl Depths {
    fn block(&self, block: &Block) -> u32 {
        let stmts = block.stmts.iter().map(|stmt| {
            let looped = matches!(stmt.kind, StmtKind::For { .. } | StmtKind::While { .. });
            self.parts(stmt_parts(stmt)) + if looped { LOOP_REGIONS } else { 0 }
        });
        let tail = block.tail.iter().map(|tail| self.expr(tail));
        1 + stmts.chain(tail).max().unwrap_or(0)
    }

    fn parts(&self, parts: Vec<Part<'_>>) -> u32 {
        let depths = parts.into_iter().map(|part| match part {
            Part::Expr(expr) => self.expr(expr),
            Part::Block(block) => self.block(block),
            Part::Place(place) => place_indexes(place)
                .map(|index| self.expr(index))
                .max()
                .unwrap_or(0),
        });
        1 + depths.max().unwrap_or(0)
    }

    fn expr(&self, expr: &Expr) -> u32 {
        let callee = match &expr.kind {
            ExprKind::Call(id, _) => self.fns.get(id.index()).copied().unwrap_or(0),
            _ => 0,
        };
        self.parts(expr_parts(expr)).max(callee.saturating_add(1))
    }
}
