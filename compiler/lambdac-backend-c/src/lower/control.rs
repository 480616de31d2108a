//! Regions: branches, loops, and leaving them early.
//!
//! C leaves only its innermost loop. An exit to a construct further out sets the variable `leave` to a number for the
//! construct and breaks; behind each construct that such an exit crosses stands a test that goes on breaking, or arrives.

use std::collections::BTreeSet;

use lambdac_mir::{Label, Loop, LoopKind, Op, Region, Stmt as MirStmt, SwitchRange, Term, TrapCause, Value};

use super::code::{Code, EXIT, Enclosing, Takers};
use super::scalar::{choice, negated, truth};
use crate::ast::{Binary, Expr, Name, Stmt, Type};

/// What a region's `yield` gives to.
pub(super) enum Yield<'y> {
    /// Results, where they are needed.
    Results(&'y [Option<Name>]),
    /// The condition of a `while`: not so leaves the loop.
    While,
    /// Nothing; the region leaves otherwise.
    Nothing,
}

impl Code<'_, '_> {
    /// Lowers a region into the statements under way.
    pub fn region(&mut self, region: &Region, yields: &Yield<'_>) {
        for stmt in &region.stmts {
            if self.needed.keeps(stmt, &self.unit.effects) {
                self.set_loc(stmt.loc);
                self.stmt(stmt);
            }
        }
        self.term(&region.term, yields);
    }

    fn stmt(&mut self, stmt: &MirStmt) {
        match &stmt.op {
            Op::If(cond, then, other) => {
                let cond = self.condition(*cond);
                let results = self.results(&stmt.results);
                let then = self.nested(|code| code.region(then, &Yield::Results(&results)));
                let other = self.nested(|code| code.region(other, &Yield::Results(&results)));
                self.branch(cond, then, other);
            }
            Op::Switch { on, arms, default } => self.switch(*on, arms, default, &stmt.results),
            Op::Block(label, inner) => {
                let takers = Takers {
                    results: self.results(&stmt.results),
                    params: Vec::new(),
                };
                self.takers.insert(*label, takers);
                self.enter(*label);
                let body = self.nested(|code| code.region(inner, &Yield::Nothing));
                self.push(Stmt::Once(body));
                self.settle();
            }
            Op::Loop(inner) => self.loop_op(inner, &stmt.results),
            _ => self.plain(stmt),
        }
    }

    /// Variables for the results that somebody reads.
    fn results(&mut self, results: &[Value]) -> Vec<Option<Name>> {
        let mut names = Vec::new();
        for result in results {
            let name = self.needed.is_needed(*result).then(|| self.variable(*result));
            self.handed.extend(name.clone());
            names.push(name);
        }
        names
    }

    fn branch(&mut self, cond: Expr, then: Vec<Stmt>, other: Vec<Stmt>) {
        match (cond.as_int(), then.is_empty(), other.is_empty()) {
            (_, true, true) => {}
            (Some(0), ..) => other.into_iter().for_each(|stmt| self.push(stmt)),
            (Some(_), ..) => then.into_iter().for_each(|stmt| self.push(stmt)),
            (None, true, false) => self.push(Stmt::If(negated(cond), other, Vec::new())),
            (None, ..) => self.push(Stmt::If(cond, then, other)),
        }
    }

    fn switch(
        &mut self,
        on: Value,
        arms: &[(Vec<SwitchRange>, Region)],
        default: &Region,
        results: &[Value],
    ) {
        let ty = self.type_of(on);
        let on = self.value(on);
        let results = self.results(results);
        let mut chain = self.nested(|code| code.region(default, &Yield::Results(&results)));
        for (ranges, arm) in arms.iter().rev() {
            let cond = ranges
                .iter()
                .map(|range| in_range(&on, *range, ty))
                .reduce(|a, b| a.binary(Binary::LogicalOr, b))
                .unwrap_or_else(|| Expr::int(0));
            let arm = self.nested(|code| code.region(arm, &Yield::Results(&results)));
            chain = match cond.as_int() {
                Some(0) => chain,
                _ => vec![Stmt::If(cond, arm, chain)],
            };
        }
        chain.into_iter().for_each(|stmt| self.push(stmt));
    }

    fn enter(&mut self, label: Label) {
        self.enclosing.push(Enclosing {
            label,
            crossing: BTreeSet::new(),
        });
    }

    /// Behind a construct: exits that crossed it arrive here or go on.
    fn settle(&mut self) {
        let Some(inner) = self.enclosing.pop() else {
            return;
        };
        let mut further = false;
        for code in inner.crossing {
            let (label, again) = (Label((code - 1) / 2), code.is_multiple_of(2));
            let leave = Expr::var(EXIT);
            match self.enclosing.last_mut() {
                Some(outer) if outer.label == label => {
                    let arrive = if again { Stmt::Continue } else { Stmt::Break };
                    let reset = Stmt::Assign(leave.clone(), Expr::int(0));
                    let here = leave.binary(Binary::Eq, Expr::int(code));
                    self.push(Stmt::If(here, vec![reset, arrive], Vec::new()));
                }
                Some(outer) => {
                    outer.crossing.insert(code);
                    further = true;
                }
                None => {}
            }
        }
        if further {
            let any = Expr::var(EXIT).binary(Binary::Ne, Expr::int(0));
            self.push(Stmt::If(any, vec![Stmt::Break], Vec::new()));
        }
    }

    /// Leaves for a construct, or for its next trip.
    fn exit(&mut self, label: Label, again: bool) {
        if self.enclosing.last().is_some_and(|inner| inner.label == label) {
            return self.push(if again { Stmt::Continue } else { Stmt::Break });
        }
        let code = label.0 * 2 + 1 + u32::from(again);
        self.declare(&EXIT.into(), Type::U32, Some(Expr::int(0)));
        if let Some(inner) = self.enclosing.last_mut() {
            inner.crossing.insert(code);
        }
        self.push(Stmt::Assign(Expr::var(EXIT), Expr::int(code)));
        self.push(Stmt::Break);
    }

    fn hand(&mut self, values: &[Value], takers: &[Option<Name>]) {
        let mut moves = Vec::new();
        for (value, taker) in values.iter().zip(takers) {
            if let Some(taker) = taker {
                moves.push((taker.clone(), self.value(*value)));
            }
        }
        self.assign(moves);
    }

    fn loop_op(&mut self, inner: &Loop, results: &[Value]) {
        let loc = self.loc();
        let mut moves = Vec::new();
        let mut params = Vec::new();
        for (param, init) in &inner.params {
            let name = self.needed.is_needed(*param).then(|| self.variable(*param));
            if let Some(name) = &name {
                moves.push((name.clone(), self.value(*init)));
            }
            params.push(name);
        }
        self.assign(moves);
        // The parameters' last values are the results, and so is what a break carries.
        let mut taken = Vec::new();
        for (result, param) in results.iter().zip(&params) {
            let needed = self.needed.is_needed(*result);
            let name = param.clone().filter(|_| needed);
            if let Some(name) = &name {
                self.alias(*result, Expr::Var(name.clone()));
            }
            taken.push(name);
        }
        let takers = Takers {
            results: taken,
            params,
        };
        self.takers.insert(inner.label, takers);
        let (cond, step) = self.head(&inner.kind);
        let trips = inner.checked.then(|| {
            let name: Name = format!("trips{}", inner.label.0).into();
            let ty = if inner.max < u64::from(u32::MAX) {
                Type::U32
            } else {
                Type::U64
            };
            self.declare(&name, ty, None);
            self.push(Stmt::Assign(Expr::Var(name.clone()), Expr::Int(0, ty)));
            (name, ty)
        });
        self.enter(inner.label);
        let body = self.nested(|code| {
            if let LoopKind::While(cond) = &inner.kind {
                code.region(cond, &Yield::While);
            }
            if let Some((name, ty)) = trips {
                let trips = Expr::Var(name);
                let over = trips.clone().binary(Binary::Eq, Expr::Int(inner.max, ty));
                code.set_loc(loc);
                code.trap_if(over, TrapCause::LoopMax);
                let next = trips.clone().binary(Binary::Add, Expr::Int(1, ty));
                code.push(Stmt::Assign(trips, next));
            }
            code.region(&inner.body, &Yield::Nothing);
            // The last `continue` is the end of the body.
            code.drop_last_continue();
        });
        self.push(Stmt::For { cond, step, body });
        self.settle();
    }

    /// The condition and the step of a counted loop.
    fn head(&mut self, kind: &LoopKind) -> (Option<Expr>, Option<(Expr, Expr)>) {
        let LoopKind::For {
            var,
            from,
            to,
            signed,
        } = kind
        else {
            return (None, None);
        };
        let width = self.body.width(*var);
        let name = self.variable(*var);
        let (from, to) = (self.value(*from), self.value(*to));
        self.push(Stmt::Assign(Expr::Var(name.clone()), from));
        let var = Expr::Var(name);
        let op = match signed {
            true => lambdac_mir::CmpOp::Slt,
            false => lambdac_mir::CmpOp::Ult,
        };
        let cond = super::scalar::compared(op, var.clone(), to, width);
        let one = Expr::Int(1, Type::of_width(width));
        let next = super::state::wrapped(var.clone().binary(Binary::Add, one), width);
        (Some(truth(cond)), Some((var, next)))
    }

    fn term(&mut self, term: &Term, yields: &Yield<'_>) {
        match term {
            Term::Yield(values) => match yields {
                Yield::Results(names) => self.hand(values, names),
                Yield::While => {
                    let go_on = values.first().map_or(Expr::int(0), |value| self.value(*value));
                    match go_on.as_int() {
                        Some(0) => self.push(Stmt::Break),
                        Some(_) => {}
                        None => {
                            let stop = negated(truth(go_on));
                            self.push(Stmt::If(stop, vec![Stmt::Break], Vec::new()));
                        }
                    }
                }
                Yield::Nothing => {}
            },
            Term::Break(label, values) => {
                let takers = self.takers.get(label).cloned().unwrap_or_default();
                self.hand(values, &takers.results);
                self.exit(*label, false);
            }
            Term::Continue(label, values) => {
                let takers = self.takers.get(label).cloned().unwrap_or_default();
                self.hand(values, &takers.params);
                self.exit(*label, true);
            }
            term => self.leave(term),
        }
    }

    /// Traps where a condition holds.
    pub fn trap_if(&mut self, cond: Expr, cause: TrapCause) {
        match cond.as_int() {
            Some(0) => {}
            Some(_) => {
                let trap = self.trap(cause);
                self.push(trap);
            }
            None => {
                let trap = self.trap(cause);
                self.push(Stmt::If(truth(cond), vec![trap], Vec::new()));
            }
        }
    }

    /// `c ? a : b`
    pub fn select(&mut self, cond: Value, then: Value, other: Value) -> Expr {
        let cond = self.value(cond);
        let (then, other) = (self.value(then), self.value(other));
        choice(cond, then, other)
    }
}

/// `lo <= on && on < hi`
fn in_range(on: &Expr, (lo, hi): SwitchRange, ty: Type) -> Expr {
    let number = |value| Expr::Int(value, ty);
    let most = if ty == Type::U64 {
        u64::MAX
    } else {
        u64::from(u32::MAX)
    };
    if hi == lo.checked_add(1) {
        return on.clone().binary(Binary::Eq, number(lo));
    }
    let above = (lo > 0).then(|| number(lo).binary(Binary::Le, on.clone()));
    let below = hi
        .filter(|hi| *hi <= most)
        .map(|hi| on.clone().binary(Binary::Lt, number(hi)));
    match (above, below) {
        (Some(above), Some(below)) => above.binary(Binary::LogicalAnd, below),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Expr::int(1),
    }
}
