//! The await split: one lambda becomes parts that run without waiting.
//!
//! ```text
//! A; ok, failed = await …; B      part 0: A; await …, part 1 (live values of B)
//!                             =>  part 1 (ok, failed, live values): B
//!
//! A; if c { B; await …; C }       part 0: A; if c { B; await …, part 2 } become part 1
//! else { D }; E               =>  part 1 (results of the if, live values of E): E
//!                                 part 2 (ok, failed, live values): C; become part 1
//! ```
//!
//! Nothing is duplicated but ends of regions: what follows a branch that awaits is a part of its own, which all its arms
//! enter. A part gets the scalars that it uses (constants, facts of the packet and fields of the request are computed
//! again instead) and names the slots whose contents it reads ([`liveness`]). The request and `pkt` stay the original's.
//!
//! Awaits stand in no loop, so parts enter each other without cycles and the work ends: each cut moves an await to the
//! end of its region.

mod liveness;
mod remat;

use std::collections::BTreeSet;

use lambdac_mir::{Lambda, Module, Op, Part, PartId, Region, Stmt, Term, Value};

use remat::Remat;

/// Cuts all lambdas of a module at their awaits. A lambda without an await stays as it is.
pub fn split_awaits(module: &mut Module) {
    let funcs = &module.funcs;
    for lambda in &mut module.lambdas {
        if lambda.parts.iter().any(|part| awaits(&part.region)) {
            split_lambda(lambda);
            liveness::set_live_slots(lambda, funcs);
        }
    }
}

/// Whether an await stands in a region or in one inside.
fn awaits(region: &Region) -> bool {
    let mut found = false;
    region.walk(&mut |stmt| found |= matches!(stmt.op, Op::Await(_)));
    found
}

fn awaits_inside(op: &Op) -> bool {
    op.regions().into_iter().any(awaits)
}

fn split_lambda(lambda: &mut Lambda) {
    let mut split = Split {
        remat: Remat::of_lambda(lambda),
        lambda,
    };
    let mut next = 0;
    while next < split.lambda.parts.len() {
        let region = std::mem::replace(&mut split.lambda.parts[next].region, nothing());
        split.lambda.parts[next].region = split.cut(region);
        next += 1;
    }
}

/// A region that does nothing.
fn nothing() -> Region {
    Region {
        stmts: Vec::new(),
        term: Term::Yield(Vec::new()),
    }
}

struct Split<'l> {
    lambda: &'l mut Lambda,
    remat: Remat,
}

impl Split<'_> {
    /// Cuts a region that always leaves. The parts made here are cut when their turn comes.
    fn cut(&mut self, region: Region) -> Region {
        let mut stmts = Vec::with_capacity(region.stmts.len());
        let mut rest = region.stmts.into_iter();
        let mut term = region.term;
        while let Some(Stmt { results, op, loc }) = rest.next() {
            match op {
                Op::Await(call) => {
                    let after = Region {
                        stmts: rest.collect(),
                        term,
                    };
                    let (part, args) = self.new_part(results, after);
                    let term = Term::Await {
                        call: Box::new(call),
                        part,
                        args,
                    };
                    return Region { stmts, term };
                }
                op if awaits_inside(&op) => {
                    let after = Region {
                        stmts: rest.collect(),
                        term,
                    };
                    let (op, last) = self.cut_branch(op, results, after);
                    stmts.push(Stmt {
                        results: Vec::new(),
                        op,
                        loc,
                    });
                    // What was the last arm goes on here.
                    rest = last.stmts.into_iter();
                    term = last.term;
                }
                op => stmts.push(Stmt { results, op, loc }),
            }
        }
        Region { stmts, term }
    }

    /// Cuts a branch: its arms lead to what follows it. The last arm is taken out and given back, so that the region
    /// around has an end.
    fn cut_branch(&mut self, mut op: Op, results: Vec<Value>, after: Region) -> (Op, Region) {
        let onward = self.onward(results, after);
        let mut arms = op.regions_mut();
        let last = arms
            .pop()
            .map_or_else(nothing, |arm| std::mem::replace(arm, nothing()));
        for arm in arms {
            let region = std::mem::replace(arm, nothing());
            let region = self.cut(onward.follow(region));
            *arm = region;
        }
        let last = onward.follow(last);
        (op, last)
    }

    /// How the arms of a branch go on with what follows it.
    fn onward(&mut self, results: Vec<Value>, after: Region) -> Onward {
        if after.stmts.is_empty() {
            return Onward {
                results,
                term: after.term,
            };
        }
        let (part, args) = self.new_part(results.clone(), after);
        let args = results.iter().copied().chain(args).collect();
        Onward {
            results,
            term: Term::Become { part, args },
        }
    }

    /// Makes a part that has these parameters first; gives the values that it must be entered with after them.
    fn new_part(&mut self, first: Vec<Value>, mut region: Region) -> (PartId, Vec<Value>) {
        let mut free = free_values(&region);
        for value in &first {
            free.remove(value);
        }
        let mut entry = self.remat.enter(&free, &mut self.lambda.body);
        region.replace_uses(&mut |value| entry.renamed(value));
        entry.stmts.append(&mut region.stmts);
        region.stmts = entry.stmts;
        let params = first.into_iter().chain(entry.params).collect();
        self.lambda.parts.push(Part {
            params,
            live_slots: Vec::new(),
            region,
        });
        (PartId(self.lambda.parts.len() as u32 - 1), entry.args)
    }
}

/// The end that every arm of a branch gets instead of its yield.
struct Onward {
    /// What the yielded values stand for in `term`.
    results: Vec<Value>,
    term: Term,
}

impl Onward {
    fn follow(&self, mut arm: Region) -> Region {
        if let Term::Yield(values) = &arm.term {
            let mut term = self.term.clone();
            term.map_values(|value| {
                let position = self.results.iter().position(|result| *result == value);
                position.map_or(value, |i| values[i])
            });
            arm.term = term;
        }
        arm
    }
}

/// The values that a region uses and does not define.
fn free_values(region: &Region) -> BTreeSet<Value> {
    let mut used = BTreeSet::new();
    let mut defined = BTreeSet::new();
    region.walk_regions(&mut |inner| {
        for stmt in &inner.stmts {
            stmt.op.for_each_operand(|value| {
                used.insert(value);
            });
            stmt.op.for_each_inner_def(|value| {
                defined.insert(value);
            });
            defined.extend(stmt.results.iter().copied());
        }
        inner.term.for_each_operand(|value| {
            used.insert(value);
        });
    });
    used.retain(|value| !defined.contains(value));
    used
}
