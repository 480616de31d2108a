//! Questions about regions that decide how their code is written: which values stand inside expressions, and which
//! ways out need a loop to break from.

use lambdac_mir::{Body, Op, Region, Term, Value};

use super::control::Goal;
use crate::ast::Expr;

/// The largest expression that is put into another.
pub(super) const MAX_SIZE: usize = 12;

/// Operators and operands of an expression.
pub(super) fn size(expr: &Expr) -> usize {
    let inner: usize = match expr {
        Expr::Member(a, _) | Expr::Slice(a, ..) | Expr::Unary(_, a) | Expr::Cast(_, a) => size(a),
        Expr::Index(a, b) | Expr::Binary(_, a, b) | Expr::Masked(a, b) => size(a) + size(b),
        Expr::Select(a, b, c) => size(a) + size(b) + size(c),
        Expr::Call(a, args) => size(a) + args.iter().map(size).sum::<usize>(),
        Expr::List(items) => items.iter().map(size).sum(),
        _ => 0,
    };
    inner + 1
}

/// By value: whether it is used once, in the region that defines it, and not inside a nested one.
pub(super) fn folded(body: &Body, region: &Region) -> Vec<bool> {
    let mut uses = Uses {
        defined: vec![0; body.values.len()],
        used: vec![Vec::new(); body.values.len()],
        regions: 0,
    };
    uses.region(region);
    let once = |value: usize| uses.used[value].len() == 1 && uses.used[value][0] == uses.defined[value];
    (0..body.values.len()).map(once).collect()
}

struct Uses {
    /// By value: the region that defines it.
    defined: Vec<u32>,
    /// By value: the regions that use it, one for each use, two are enough.
    used: Vec<Vec<u32>>,
    regions: u32,
}

impl Uses {
    fn region(&mut self, region: &Region) {
        self.regions += 1;
        let here = self.regions;
        for stmt in &region.stmts {
            stmt.op.for_each_operand(|value| self.use_in(value, here));
            // What a switch or loop looks at more than once is no single use.
            if let Op::Switch { on, .. } = &stmt.op {
                self.use_in(*on, here);
            }
            for value in &stmt.results {
                self.defined[value.index()] = here;
            }
            stmt.op.regions().into_iter().for_each(|inner| self.region(inner));
        }
        let used = &mut |value| self.use_in(value, here);
        region.term.for_each_use(&mut |item| item.for_each_value(used));
    }

    fn use_in(&mut self, value: Value, region: u32) {
        let used = &mut self.used[value.index()];
        if used.len() < 2 {
            used.push(region);
        }
    }
}

/// Whether control never goes on after a statement.
pub(super) fn diverges(op: &Op) -> bool {
    match op {
        Op::If(_, then, other) => leaves(then) && leaves(other),
        Op::Switch { arms, default, .. } => leaves(default) && arms.iter().all(|(_, region)| leaves(region)),
        _ => false,
    }
}

/// Whether control never reaches the end of a region.
fn leaves(region: &Region) -> bool {
    has_divergence(region) || !matches!(region.term, Term::Yield(_))
}

/// Whether a statement of the region never lets control go on.
pub(super) fn has_divergence(region: &Region) -> bool {
    region.stmts.iter().any(|stmt| diverges(&stmt.op))
}

/// Whether a region leaves to its goal from elsewhere than its end.
pub(super) fn leaves_early(region: &Region, goal: Goal) -> bool {
    early(
        region,
        true,
        &|term| match (term, goal) {
            (Term::Break(label, _), Goal::Break(to)) => *label == to,
            (Term::Return(_), Goal::Return) => true,
            _ => false,
        },
        &|_| false,
    )
}

/// Whether a region ends the invocation from elsewhere than its end.
pub(super) fn ends_early(region: &Region) -> bool {
    let ends = |term: &Term| matches!(term, Term::Reply(_) | Term::Drop | Term::Punt(_) | Term::Trap(..));
    early(region, true, &ends, &|op| match op {
        Op::Check(..) | Op::Call(..) => true,
        Op::Loop(inner) => inner.checked,
        _ => false,
    })
}

/// Whether a function can trap at its end.
pub(super) fn may_end(region: &Region) -> bool {
    let mut found = false;
    region.walk_regions(&mut |inner| found |= matches!(inner.term, Term::Trap(..)));
    found
}

fn early(region: &Region, tail: bool, leaves: &dyn Fn(&Term) -> bool, traps: &dyn Fn(&Op) -> bool) -> bool {
    for stmt in &region.stmts {
        if traps(&stmt.op) {
            return true;
        }
        let ends = diverges(&stmt.op);
        if stmt
            .op
            .regions()
            .into_iter()
            .any(|inner| early(inner, tail && ends, leaves, traps))
        {
            return true;
        }
        if ends {
            return false;
        }
    }
    !tail && leaves(&region.term)
}
