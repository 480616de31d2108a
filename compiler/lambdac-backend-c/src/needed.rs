//! Which values a body needs, and how often each is read.
//!
//! Compilers reject a variable that is written and never read, so nothing that only feeds such values is emitted. A
//! statement is kept if it does something or if one of its results is needed; what a region hands out is needed if the
//! result that takes it is. The facts only grow from pass to pass over the tree, so this ends.
//!
//! A scalar operation whose only reader stands in the same region becomes a part of its reader's expression.

use std::collections::BTreeMap;

use lambdac_mir::{BinOp, Body, Effects, Label, LoopKind, Op, Region, Stmt, Term, Use, Value};

/// What is known of a body's values.
#[derive(Debug)]
pub(crate) struct Needed {
    needed: Vec<bool>,
    reads: Vec<u32>,
    /// The region that defines a value and the one that reads it first.
    defined_in: Vec<u32>,
    read_in: Vec<u32>,
    /// Whether log lines are written at all.
    logs: bool,
}

impl Needed {
    /// Looks at the code of a body, a function's region or a lambda's part, where log lines are written or left out.
    pub fn of(body: &Body, regions: &[&Region], funcs: &[Effects], logs: bool) -> Self {
        let count = body.values.len();
        let mut walk = Walk {
            found: Self {
                needed: vec![false; count],
                reads: vec![0; count],
                defined_in: vec![0; count],
                read_in: vec![0; count],
                logs,
            },
            funcs,
            labels: BTreeMap::new(),
            changed: true,
            counting: false,
            region: 0,
            regions: 0,
        };
        while std::mem::take(&mut walk.changed) {
            for region in regions {
                walk.region(region, &[]);
            }
        }
        walk.counting = true;
        for region in regions {
            walk.region(region, &[]);
        }
        walk.found
    }

    /// Whether anything reads a value.
    pub fn is_needed(&self, value: Value) -> bool {
        self.needed[value.index()]
    }

    /// Whether a value can stand in its reader's expression.
    pub fn is_read_once_here(&self, value: Value) -> bool {
        let i = value.index();
        self.reads[i] == 1 && self.defined_in[i] == self.read_in[i]
    }

    /// Whether a statement is kept.
    pub fn keeps(&self, stmt: &Stmt, funcs: &[Effects]) -> bool {
        if matches!(stmt.op, Op::Log(..)) {
            return self.logs;
        }
        stmt.results.iter().any(|result| self.is_needed(*result))
            || !stmt.op.effects_with(funcs).is_removable()
    }
}

/// Who takes what a label's `break` and `continue` carry.
#[derive(Clone, Default)]
struct Takers {
    results: Vec<Value>,
    params: Vec<Value>,
}

struct Walk<'f> {
    found: Needed,
    funcs: &'f [Effects],
    labels: BTreeMap<Label, Takers>,
    changed: bool,
    counting: bool,
    region: u32,
    regions: u32,
}

impl Walk<'_> {
    fn need(&mut self, value: Value) {
        self.changed |= !std::mem::replace(&mut self.found.needed[value.index()], true);
    }

    fn read(&mut self, value: Value, times: u32) {
        if !self.counting {
            return self.need(value);
        }
        let i = value.index();
        if self.found.reads[i] == 0 {
            self.found.read_in[i] = self.region;
        } else if self.found.read_in[i] != self.region {
            self.found.read_in[i] = u32::MAX;
        }
        self.found.reads[i] += times;
    }

    fn define(&mut self, value: Value) {
        if self.counting {
            self.found.defined_in[value.index()] = self.region;
        }
    }

    fn region(&mut self, region: &Region, yields: &[Value]) {
        self.regions += 1;
        let outer = std::mem::replace(&mut self.region, self.regions);
        for stmt in &region.stmts {
            if self.found.keeps(stmt, self.funcs) {
                stmt.results.iter().for_each(|result| self.define(*result));
                self.stmt(stmt);
            }
        }
        self.term(&region.term, yields);
        self.region = outer;
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.op {
            Op::If(cond, then, other) => {
                self.read(*cond, 1);
                self.region(then, &stmt.results);
                self.region(other, &stmt.results);
            }
            Op::Switch { on, arms, default } => {
                self.read(*on, 2);
                for (_, arm) in arms {
                    self.region(arm, &stmt.results);
                }
                self.region(default, &stmt.results);
            }
            Op::Block(label, inner) => {
                let takers = Takers {
                    results: stmt.results.clone(),
                    params: Vec::new(),
                };
                self.labels.insert(*label, takers);
                self.region(inner, &[]);
            }
            Op::Loop(_) => self.loop_op(stmt),
            op => {
                let times = reads(op);
                op.for_each_use(&mut |used| self.used(&used, times));
            }
        }
    }

    fn loop_op(&mut self, stmt: &Stmt) {
        let Op::Loop(inner) = &stmt.op else {
            return;
        };
        let params: Vec<Value> = inner.params.iter().map(|(param, _)| *param).collect();
        // A loop's results live on in its parameters.
        for (result, param) in stmt.results.iter().zip(&params) {
            if self.found.is_needed(*result) {
                self.need(*param);
            }
        }
        for (param, init) in &inner.params {
            self.define(*param);
            if self.found.is_needed(*param) {
                self.read(*init, 1);
            }
        }
        let takers = Takers {
            results: stmt.results.clone(),
            params,
        };
        self.labels.insert(inner.label, takers);
        match &inner.kind {
            LoopKind::For { var, from, to, .. } => {
                self.define(*var);
                self.need(*var);
                self.read(*from, 1);
                self.read(*to, 2);
            }
            LoopKind::While(cond) => self.while_region(cond),
        }
        self.region(&inner.body, &[]);
    }

    /// What a condition yields is always needed.
    fn while_region(&mut self, cond: &Region) {
        if let Term::Yield(values) = &cond.term {
            values.iter().for_each(|value| self.need(*value));
        }
        self.regions += 1;
        let outer = std::mem::replace(&mut self.region, self.regions);
        for stmt in &cond.stmts {
            if self.found.keeps(stmt, self.funcs) {
                stmt.results.iter().for_each(|result| self.define(*result));
                self.stmt(stmt);
            }
        }
        match &cond.term {
            Term::Yield(values) => values.iter().for_each(|value| self.read(*value, 1)),
            term => self.term(term, &[]),
        }
        self.region = outer;
    }

    fn used(&mut self, used: &Use<'_>, times: u32) {
        match used {
            Use::Value(value) => self.read(**value, times),
            used => used.for_each_value(&mut |value| self.read(value, times)),
        }
    }

    fn hand(&mut self, values: &[Value], takers: &[Value]) {
        for (value, taker) in values.iter().zip(takers) {
            if self.found.is_needed(*taker) {
                self.read(*value, 1);
            }
        }
    }

    fn term(&mut self, term: &Term, yields: &[Value]) {
        match term {
            Term::Yield(values) => self.hand(values, yields),
            Term::Break(label, values) => {
                let takers = self.labels.get(label).cloned().unwrap_or_default();
                self.hand(values, &takers.results);
            }
            Term::Continue(label, values) => {
                let takers = self.labels.get(label).cloned().unwrap_or_default();
                self.hand(values, &takers.params);
            }
            term => term.for_each_use(&mut |used| self.used(&used, 2)),
        }
    }
}

/// How often an operation's C reads each of its operands, at most.
fn reads(op: &Op) -> u32 {
    match op {
        Op::Bin(op, ..) => match op {
            BinOp::UDiv
            | BinOp::URem
            | BinOp::UMin
            | BinOp::UMax
            | BinOp::SMin
            | BinOp::SMax
            | BinOp::Shl
            | BinOp::LShr
            | BinOp::AShr => 2,
            _ => 1,
        },
        Op::Cmp(..)
        | Op::Cast(..)
        | Op::Select(..)
        | Op::Check(..)
        | Op::Load(_)
        | Op::Store(..)
        | Op::SetLen(..)
        | Op::LoadBits(..)
        | Op::CounterAdd(..)
        | Op::Hash(..) => 1,
        _ => 2,
    }
}
