//! Conditions that go straight to where they lead.
//!
//! An `i1` that only a branch looks at needs no register. `&&` and `||` of comparisons become a branch each, and an `if` that
//! yields such an `i1` (what a short-circuit operator with a load or a check on its right side is lowered to) sends each of its
//! ends directly to a side of the branch behind it:
//!
//! ```text
//! v2: i1 = if v0 { …; yield v1 } else { yield v_false }      brif v0 → a, no
//! if v2 { yes } else { no }                             →    a: …; brif v1 → yes, no
//! ```
//!
//! A **chain** is such a run of `if`s, each the only user of the one before it. What stands between them is arithmetic that
//! depends on none of them, and is emitted before the first.

use cranelift_codegen::ir::{self, InstBuilder};
use lambdac_mir::{CmpOp, Op, Region, Stmt, Term, Value};

use super::func::{Exit, FnEmitter, Way};
use super::walk;
use crate::Result;

/// How deep `&&` and `||` are taken apart: a branch that is hard to predict costs more than a few instructions.
const MAX_DEPTH: u32 = 8;

/// How an `i1` came to be, as far as a branch looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bool {
    /// In a way that doesn't help.
    Opaque,
    /// By a comparison.
    Cmp(CmpOp, Value, Value),
    /// If both are.
    And(Value, Value),
    /// If either is.
    Or(Value, Value),
    /// If the other is not.
    Not(Value),
}

/// Where a yield of a region goes.
#[derive(Clone, Copy)]
pub(crate) enum Yield {
    /// Nowhere: the region has none.
    Nowhere,
    /// To a block that takes what it yields.
    Join(ir::Block),
    /// By the one `i1` that it yields.
    Branch(Way),
}

/// What the last `i1` of a chain decides.
enum End<'r> {
    If(&'r Stmt),
    Check(&'r Stmt),
    Yield(Way),
}

/// A run of conditions of which each decides the next.
pub(super) struct Chain<'r> {
    links: Vec<&'r Stmt>,
    between: Vec<&'r Stmt>,
    end: End<'r>,
    /// How many statements it takes.
    pub(super) count: usize,
}

impl FnEmitter<'_, '_, '_> {
    /// Branches by a value.
    pub(crate) fn branch_on(&mut self, cond: Value, way: Way) -> Result<()> {
        self.branch_at(cond, way, MAX_DEPTH)
    }

    fn branch_at(&mut self, cond: Value, way: Way, depth: u32) -> Result<()> {
        if let Some(known) = self.known[cond.index()] {
            self.jump(if known == 0 { way.no } else { way.yes }, &[]);
            return Ok(());
        }
        let Way { yes, no } = way;
        let only = self.is_only_used_once(cond);
        match (self.bools[cond.index()], depth.checked_sub(1)) {
            (Bool::Not(inner), Some(depth)) => self.branch_at(inner, Way { yes: no, no: yes }, depth),
            (Bool::And(a, b), Some(depth)) if only => {
                let next = self.b.create_block();
                self.branch_at(a, Way { yes: next, no }, depth)?;
                self.b.seal_block(next);
                self.b.switch_to_block(next);
                self.branch_at(b, way, depth)
            }
            (Bool::Or(a, b), Some(depth)) if only => {
                let next = self.b.create_block();
                self.branch_at(a, Way { yes, no: next }, depth)?;
                self.b.seal_block(next);
                self.b.switch_to_block(next);
                self.branch_at(b, way, depth)
            }
            _ => {
                let cond = self.value(cond)?;
                self.b.ins().brif(cond, yes, &[], no, &[]);
                Ok(())
            }
        }
    }

    fn is_only_used_once(&self, value: Value) -> bool {
        self.facts.uses.get(value.index()) == Some(&1)
    }

    /// The chain that starts with the first of these statements, if one does.
    pub(super) fn chain<'r>(&self, stmts: &'r [Stmt], term: &Term, to: Yield) -> Option<Chain<'r>> {
        let mut links = Vec::new();
        let mut between = Vec::new();
        let mut end = None;
        let mut count = 0;
        let mut link = stmts.first()?;
        if !matches!(link.op, Op::If(..) | Op::EqBytes(..)) {
            return None;
        }
        let mut at = 1;
        while let Some(result) = self.single_bool(link) {
            let rest = &stmts[at..];
            let plain = rest
                .iter()
                .take_while(|stmt| walk::is_arithmetic(&stmt.op))
                .count();
            let next = rest.get(plain);
            let found = match next.map(|stmt| (stmt, &stmt.op)) {
                Some((stmt, Op::If(cond, ..))) if *cond == result => End::If(stmt),
                Some((stmt, Op::Check(cond, _))) if *cond == result => End::Check(stmt),
                Some(_) => break,
                None => match (term, to, &self.exit) {
                    (Term::Yield(values), Yield::Branch(way), _) if values[..] == [result] => End::Yield(way),
                    (Term::Return(values), _, Exit::Condition(way)) if values[..] == [result] => {
                        End::Yield(*way)
                    }
                    _ => break,
                },
            };
            links.push(link);
            between.extend(&rest[..plain]);
            at += plain + usize::from(next.is_some());
            count = at;
            let go_on = match found {
                End::If(stmt) => Some(stmt),
                End::Check(_) | End::Yield(_) => None,
            };
            end = Some(found);
            match go_on {
                Some(stmt) => link = stmt,
                None => break,
            }
        }
        Some(Chain {
            links,
            between,
            end: end?,
            count,
        })
    }

    /// The only result of a statement, if it is an `i1` that is used once.
    fn single_bool(&self, stmt: &Stmt) -> Option<Value> {
        match stmt.results[..] {
            [result] if self.width(result) == 1 && self.is_only_used_once(result) => Some(result),
            _ => None,
        }
    }

    /// Emits a chain; says whether the block is filled, because it ends in a yield.
    pub(super) fn emit_chain(&mut self, chain: &Chain<'_>) -> Result<bool> {
        for stmt in &chain.between {
            self.stmt(stmt)?;
        }
        let mut taken = None;
        let last = chain.links.len() - 1;
        for (index, link) in chain.links.iter().enumerate() {
            let way = match chain.end {
                End::Yield(way) if index == last => way,
                _ => self.new_way(),
            };
            self.loc = link.loc;
            self.decide(link, taken, way)?;
            taken = Some(way);
        }
        match (&chain.end, taken) {
            (End::If(stmt), Some(way)) => {
                self.loc = stmt.loc;
                if let Op::If(_, yes, no) = &stmt.op {
                    self.arms(&stmt.results, way, (yes, no))?;
                }
                Ok(false)
            }
            (End::Check(stmt), Some(way)) => {
                self.loc = stmt.loc;
                if let Op::Check(_, cause) = stmt.op {
                    self.check_way(way, cause);
                }
                Ok(false)
            }
            (End::Yield(_), _) | (_, None) => Ok(true),
        }
    }

    /// Emits a link of a chain, given where its own condition went already.
    fn decide(&mut self, link: &Stmt, taken: Option<Way>, to: Way) -> Result<()> {
        match &link.op {
            Op::If(cond, yes, no) => {
                let way = match taken {
                    Some(way) => way,
                    None => {
                        let way = self.new_way();
                        self.branch_on(*cond, way)?;
                        way
                    }
                };
                for (block, region) in [(way.yes, yes), (way.no, no)] {
                    self.b.seal_block(block);
                    self.b.switch_to_block(block);
                    self.region_to(region, Yield::Branch(to))?;
                }
                Ok(())
            }
            Op::EqBytes(a, b) => self.branch_equal(a, b, to),
            _ => self.invalid("a condition that is none"),
        }
    }

    /// Emits both sides of an `if` whose condition has gone its way.
    pub(super) fn arms(&mut self, results: &[Value], way: Way, (yes, no): (&Region, &Region)) -> Result<()> {
        let join = self.block_for(results);
        for (block, region) in [(way.yes, yes), (way.no, no)] {
            self.b.seal_block(block);
            self.b.switch_to_block(block);
            self.region_to(region, Yield::Join(join))?;
        }
        self.b.seal_block(join);
        self.enter_defining(join, results);
        Ok(())
    }
}
