//! What registers hold before the first packet. Elements one after the other that start alike are one loop.

use super::headers::bit;
use super::unit::write;
use crate::ast::{Binary, Expr, For, Stmt, Trips};

/// Most runs of elements that start alike.
pub(super) const MAX_RUNS: usize = 4096;

/// Elements of a register that start with one value.
#[derive(Clone, Debug)]
struct Run {
    register: String,
    from: u64,
    /// Past the last.
    to: u64,
    value: Expr,
}

/// What all registers start with, where that is something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Initial {
    runs: Vec<Run>,
}

impl Initial {
    /// Adds an element.
    pub fn add(&mut self, register: &str, at: u64, value: Expr) {
        let full = self.is_too_much();
        match self.runs.last_mut() {
            Some(last) if last.to == at && last.register == register && last.value == value => last.to += 1,
            _ if full => {}
            _ => self.runs.push(Run {
                register: register.to_owned(),
                from: at,
                to: at + 1,
                value,
            }),
        }
    }

    /// Whether there is more than a program takes.
    pub fn is_too_much(&self) -> bool {
        self.runs.len() > MAX_RUNS
    }

    /// The body of an action that writes all; a variable of this name counts elements.
    pub fn statements(&self, name: &str) -> Vec<Stmt> {
        let (at, number) = (Expr::name(name), |at| Expr::bits(32, at));
        let one = |run: &Run| match run.to - run.from {
            1 => write(&run.register, number(run.from), run.value.clone()),
            trips => Stmt::For(Box::new(For {
                first: Some(Stmt::Assign(at.clone(), number(run.from))),
                cond: at.clone().binary(Binary::Lt, number(run.to)),
                step: Some(Stmt::Assign(
                    at.clone(),
                    at.clone().binary(Binary::Add, number(1)),
                )),
                body: vec![write(&run.register, at.clone(), run.value.clone())],
                trips: Trips::Most(trips),
            })),
        };
        let mut stmts: Vec<Stmt> = self.runs.iter().map(one).collect();
        if self.runs.iter().any(|run| run.to - run.from > 1) {
            stmts.insert(0, Stmt::Var(bit(32), name.to_owned(), Some(number(0))));
        }
        stmts
    }
}
