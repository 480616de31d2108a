//! Loops that may have no trip, as p4c takes them.
//!
//! p4c (1.2.5, `midend/local_copyprop.cpp`) knows behind a loop what the end of its body assigned, as if there had always
//! been a trip: after `x = 1; for (i = 0; i < n; i = i + 1) { x = 2; }` it reads 2 for `x`, whatever `n` is. What it knows
//! at a `break` it takes into account; so a loop that may have no trip leaves by one before its body assigns anything. The
//! test is the loop's own, and never holds there.

use crate::ast::{Binary, Expr, For, Item, Local, Stmt, Trips};

/// Puts the way out in front of the loops of all actions.
pub(super) fn guard(items: &mut [Item]) {
    for item in items {
        let Item::Control(control) = item else { continue };
        for local in &mut control.locals {
            if let Local::Action(action) = local {
                guard_loops(&mut action.body);
            }
        }
    }
}

fn guard_loops(stmts: &mut [Stmt]) {
    for stmt in stmts {
        match stmt {
            Stmt::If(_, then, other) => {
                guard_loops(then);
                guard_loops(other);
            }
            Stmt::For(inner) => {
                guard_loops(&mut inner.body);
                if !starts(inner) {
                    let none = inner.cond.clone().negated();
                    inner
                        .body
                        .insert(0, Stmt::If(none, vec![Stmt::Break], Vec::new()));
                }
            }
            Stmt::Var(..)
            | Stmt::Assign(..)
            | Stmt::Call(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Comment(_) => {}
        }
    }
}

/// Whether there is a trip, as what the loop assigns first says.
fn starts(inner: &For) -> bool {
    let Some(Stmt::Assign(place, first)) = &inner.first else {
        return inner.trips == Trips::One;
    };
    let known = |end: &Expr| first.number().zip(end.number());
    match &inner.cond {
        Expr::Binary(Binary::Lt, a, end) if **a == *place => known(end).is_some_and(|(a, b)| a < b),
        Expr::Binary(Binary::Ne, a, end) if **a == *place => known(end).is_some_and(|(a, b)| a != b),
        cond => cond == place && *first == Expr::Bool(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(end: Expr) -> For {
        let index = || Expr::name("i");
        For {
            first: Some(Stmt::Assign(index(), Expr::bits(32, 0))),
            cond: index().binary(Binary::Lt, end),
            step: Some(Stmt::Assign(
                index(),
                index().binary(Binary::Add, Expr::bits(32, 1)),
            )),
            body: vec![Stmt::Assign(Expr::name("x"), Expr::bits(8, 2))],
            trips: Trips::Any,
        }
    }

    #[test]
    fn only_a_loop_that_may_have_no_trip_gets_a_way_out() {
        let mut stmts = vec![
            Stmt::For(Box::new(counted(Expr::name("n")))),
            Stmt::For(Box::new(counted(Expr::bits(32, 8)))),
        ];
        guard_loops(&mut stmts);
        let [Stmt::For(open), Stmt::For(known)] = &stmts[..] else {
            panic!("{stmts:?}");
        };
        let out = Stmt::If(open.cond.clone().negated(), vec![Stmt::Break], Vec::new());
        assert_eq!((&open.body[0], open.body.len(), known.body.len()), (&out, 2, 1));
    }
}
