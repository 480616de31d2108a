//! Takes off variables and a function's own arrays that are written and never read, and says of parameters that nobody reads that this is meant:
//! compilers reject both.
//!
//! Folding leaves them behind: where an operation's result is known, nobody reads its operands. What such an assignment
//! calls is still called. Each round may leave more behind, and ends when it takes nothing off.

use std::collections::BTreeSet;

use crate::ast::{Expr, Func, LocalKind, Name, Stmt, Type};

/// Takes them off a function.
pub(crate) fn take_off(func: &mut Func) {
    loop {
        let arrays = func.locals.iter();
        let arrays = arrays.filter(|local| matches!(local.kind, LocalKind::Memory(..)));
        let arrays: BTreeSet<Name> = arrays.map(|local| local.name.clone()).collect();
        let mut read = Read {
            arrays,
            found: BTreeSet::new(),
        };
        read.stmts(&func.body);
        let read = read.found;
        let mut gone = BTreeSet::new();
        func.locals.retain(|local| {
            let keep = read.contains(&local.name);
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

/// What is read.
struct Read {
    /// The function's own arrays: an element that is written is not read, where behind a pointer it is somebody's.
    arrays: BTreeSet<Name>,
    found: BTreeSet<Name>,
}

impl Read {
    fn note(&mut self, expr: &Expr) {
        expr.for_each_var(&mut |name| {
            self.found.insert(name.clone());
        });
    }

    /// What an assignment reads: not what it writes.
    fn assigned(&mut self, place: &Expr, value: &Expr) {
        match place {
            Expr::Var(_) => {}
            Expr::Index(array, index) if self.is_array(array) => self.note(index),
            _ => self.note(place),
        }
        self.note(value);
    }

    fn is_array(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Var(name) if self.arrays.contains(name))
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Comment(_) | Stmt::Break | Stmt::Continue | Stmt::Return(None) => {}
                Stmt::Expr(expr) | Stmt::Return(Some(expr)) => self.note(expr),
                Stmt::Assign(place, value) => self.assigned(place, value),
                Stmt::If(cond, then, other) => {
                    self.note(cond);
                    self.stmts(then);
                    self.stmts(other);
                }
                Stmt::For { cond, step, body } => {
                    cond.iter().for_each(|cond| self.note(cond));
                    if let Some((place, value)) = step {
                        self.assigned(place, value);
                    }
                    self.stmts(body);
                }
                Stmt::Once(body) => self.stmts(body),
                Stmt::Switch(on, cases) => {
                    self.note(on);
                    cases.iter().for_each(|case| self.stmts(&case.body));
                }
            }
        }
    }
}

fn writes(place: &Expr, gone: &BTreeSet<Name>) -> bool {
    match place {
        Expr::Var(name) => gone.contains(name),
        Expr::Index(array, _) => writes(array, gone),
        _ => false,
    }
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
