//! Carries out what the analysis decided.

use lambdac_mir::{Body, Op, Region, Stmt};

use super::Decisions;
use crate::pass::Changed;
use crate::visit::Subst;

/// Rewrites a region in the walk order of the analysis.
pub(super) fn apply(body: &mut Body, region: &mut Region, decisions: &Decisions) -> Changed {
    let subst = Subst::new(body.values.len());
    let mut rewriter = Rewriter {
        body,
        decisions,
        subst,
        cursor: 0,
        changed: false,
    };
    rewriter.region(region);
    Changed::from_bool(rewriter.changed)
}

struct Rewriter<'a> {
    body: &'a mut Body,
    decisions: &'a Decisions,
    subst: Subst,
    cursor: usize,
    changed: bool,
}

impl Rewriter<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            let number = self.cursor;
            self.cursor += 1;
            self.subst.op(&mut stmt.op);
            self.stmt(number, stmt, &mut out);
        }
        region.stmts = out;
        self.subst.term(&mut region.term);
    }

    fn stmt(&mut self, number: usize, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        if self.decisions.checks.contains(&number) {
            self.changed = true;
            return;
        }
        if let [result] = stmt.results[..] {
            if let Some(c) = self.decisions.constants.get(&result) {
                stmt.op = Op::Const(*c);
                self.changed = true;
            } else if let Some(copied) = self.decisions.copies.get(&result) {
                self.subst.set(result, *copied);
                self.changed = true;
                return;
            }
        }
        match &mut stmt.op {
            Op::If(cond, ..) => {
                if let Some(holds) = self.decisions.branches.get(&number) {
                    *cond = self.body.value(1);
                    out.push(Stmt {
                        results: vec![*cond],
                        op: Op::Const(u64::from(*holds)),
                        loc: stmt.loc,
                    });
                    self.changed = true;
                }
            }
            Op::Loop(inner) => {
                if let Some(trips) = self.decisions.unchecked.get(&number) {
                    let max = inner.max.min((*trips).max(1));
                    self.changed |= inner.checked || max < inner.max;
                    (inner.checked, inner.max) = (false, max);
                }
            }
            _ => {}
        }
        for nested in stmt.op.regions_mut() {
            self.region(nested);
        }
        out.push(stmt);
    }
}
