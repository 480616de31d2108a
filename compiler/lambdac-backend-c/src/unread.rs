//! Takes off variables that are written and never read, and says of parameters that nobody reads that this is meant:
//! compilers reject both.
//!
//! Folding leaves them behind: where an operation's result is known, nobody reads its operands. What such an assignment
//! calls is still called. Each round may leave more behind, and ends when it takes nothing off.

use std::collections::BTreeSet;

use crate::ast::{Expr, Func, LocalKind, Name, Stmt, Type};

/// Takes them off a function.
pub(crate) fn take_off(func: &mut Func) {
    loop {
        let mut read = BTreeSet::new();
        reads(&func.body, &mut read);
        let mut gone = BTreeSet::new();
        func.locals.retain(|local| {
            let scalar = matches!(local.kind, LocalKind::Scalar(..));
            let keep = !scalar || read.contains(&local.name);
            if !keep {
                gone.insert(local.name.clone());
            }
            keep
        });
        if gone.is_empty() {
            return meant(func, &read);
        }
        sweep(&mut func.body, &gone);
    }
}

/// Says of parameters that nothing reads that this is meant.
fn meant(func: &mut Func, read: &BTreeSet<Name>) {
    let unread = func.params.iter().filter(|(name, _)| !read.contains(name));
    let said = unread.map(|(name, _)| Stmt::Expr(Expr::Cast(Type::Void, Box::new(Expr::Var(name.clone())))));
    let said: Vec<Stmt> = said.collect();
    func.body.splice(0..0, said);
}

fn note(expr: &Expr, read: &mut BTreeSet<Name>) {
    expr.for_each_var(&mut |name| {
        read.insert(name.clone());
    });
}

/// What an assignment reads: not the variable that it writes.
fn assigned(place: &Expr, value: &Expr, read: &mut BTreeSet<Name>) {
    if !matches!(place, Expr::Var(_)) {
        note(place, read);
    }
    note(value, read);
}

fn reads(stmts: &[Stmt], read: &mut BTreeSet<Name>) {
    for stmt in stmts {
        match stmt {
            Stmt::Comment(_) | Stmt::Break | Stmt::Continue | Stmt::Return(None) => {}
            Stmt::Expr(expr) | Stmt::Return(Some(expr)) => note(expr, read),
            Stmt::Assign(place, value) => assigned(place, value, read),
            Stmt::If(cond, then, other) => {
                note(cond, read);
                reads(then, read);
                reads(other, read);
            }
            Stmt::For { cond, step, body } => {
                cond.iter().for_each(|cond| note(cond, read));
                if let Some((place, value)) = step {
                    assigned(place, value, read);
                }
                reads(body, read);
            }
            Stmt::Once(body) => reads(body, read),
            Stmt::Switch(on, cases) => {
                note(on, read);
                cases.iter().for_each(|case| reads(&case.body, read));
            }
        }
    }
}

fn writes(place: &Expr, gone: &BTreeSet<Name>) -> bool {
    matches!(place, Expr::Var(name) if gone.contains(name))
}

fn sweep(stmts: &mut Vec<Stmt>, gone: &BTreeSet<Name>) {
    stmts.retain_mut(|stmt| {
        match stmt {
            Stmt::Assign(place, value) if writes(place, gone) => {
                let mut calls = false;
                value.for_each_callee(&mut |_| calls = true);
                *stmt = Stmt::Expr(Expr::Cast(Type::Void, Box::new(value.clone())));
                return calls;
            }
            Stmt::If(_, then, other) => {
                sweep(then, gone);
                sweep(other, gone);
            }
            Stmt::For { step, body, .. } => {
                if step.as_ref().is_some_and(|(place, _)| writes(place, gone)) {
                    *step = None;
                }
                sweep(body, gone);
            }
            Stmt::Once(body) => sweep(body, gone),
            Stmt::Switch(_, cases) => cases.iter_mut().for_each(|case| sweep(&mut case.body, gone)),
            Stmt::Comment(_)
            | Stmt::Expr(_)
            | Stmt::Assign(..)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return(_) => {}
        }
        true
    });
}
