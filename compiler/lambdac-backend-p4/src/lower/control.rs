//! Control: loops, and ways out of them.
//!
//! Loops and blocks become `for` loops, which run right in actions (and only there). A block is a loop of one trip, and
//! none if it is left at its end alone. P4 can leave the innermost loop only; to go further out, `leave` says where to,
//! and every loop on the way is left in turn. Ends of the lambda and returns of functions leave the same way.

use std::collections::BTreeSet;

use lambdac_mir::{Loc, Loop, LoopKind, Region, Stmt as MirStmt, TrapCause};

use super::code::{Code, Ended};
use super::{fold, scalar};
use crate::ast::{Binary, Expr, For, Stmt, Trips};
use crate::legal::Refusal;

/// What control can leave to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The end of a block or loop of the current frame.
    Break(lambdac_mir::Label),
    /// The next trip of a loop.
    Continue(lambdac_mir::Label),
    /// The caller.
    Return,
    /// The end of the action.
    End,
}

/// Where a goal is.
pub(super) struct Target {
    frame: usize,
    goal: Goal,
    /// What is set on the way.
    results: Vec<Expr>,
    /// How many P4 loops are open inside the one that is left or goes on; none: there is no loop for it.
    depth: Option<usize>,
    /// What `leave` is set to.
    number: u64,
}

impl<'m> Code<'_, 'm> {
    /// A lambda's or function's region; control goes on after it.
    pub fn whole(&mut self, goal: Goal, region: &'m Region, results: Vec<Expr>) -> Result<(), Refusal> {
        let looped = match goal {
            Goal::End => fold::ends_early(region),
            _ => fold::leaves_early(region, goal),
        };
        self.scope(goal, region, results, looped)
    }

    /// A function that is an action: it returns or traps.
    pub fn function(&mut self, region: &'m Region, results: Vec<Expr>) -> Result<(), Refusal> {
        let looped =
            fold::leaves_early(region, Goal::Return) || fold::ends_early(region) || fold::may_end(region);
        let depth = looped.then_some(self.open.len() + 1);
        let number = self.next_number;
        self.next_number += 1;
        self.targets.push(Target {
            frame: self.frames.len(),
            goal: Goal::End,
            results: Vec::new(),
            depth,
            number,
        });
        let result = self.scope(Goal::Return, region, results, looped);
        self.targets.pop();
        result
    }

    /// A region that is left by a goal of its own, in a loop of one trip if need be.
    pub(super) fn scope(
        &mut self,
        goal: Goal,
        region: &'m Region,
        results: Vec<Expr>,
        looped: bool,
    ) -> Result<(), Refusal> {
        let number = self.next_number;
        self.next_number += 1;
        let depth = looped.then_some(self.open.len() + 1);
        self.targets.push(Target {
            frame: self.frames.len(),
            goal,
            results,
            depth,
            number,
        });
        if looped {
            let once = self.local("once", 1);
            let body = self.looped(|code| code.region(region, Some(goal)))?;
            self.targets.pop();
            self.close(For {
                first: Some(Stmt::Assign(once.clone(), Expr::Bool(true))),
                cond: once.clone(),
                step: Some(Stmt::Assign(once, Expr::Bool(false))),
                body,
                trips: Trips::One,
            });
        } else {
            self.region(region, Some(goal))?;
            self.targets.pop();
        }
        Ok(())
    }

    /// The body of a loop that nothing inside leaves.
    pub fn inside_loop(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<Vec<Stmt>, Refusal> {
        let body = self.looped(f);
        self.open.pop();
        body
    }

    /// The body of a P4 loop.
    fn looped(&mut self, f: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<Vec<Stmt>, Refusal> {
        self.open.push(BTreeSet::new());
        self.apart(f)
    }

    /// Writes the loop whose body was made by `looped`, and goes on to where it was left to.
    fn close(&mut self, inner: For) {
        let passed = self.open.pop().unwrap_or_default();
        self.push(Stmt::For(Box::new(inner)));
        let Some(leave) = self.leave.clone() else { return };
        let here = self.open.len();
        let mut further = false;
        for number in passed {
            let Some(target) = self.targets.iter().find(|target| target.number == number) else {
                continue;
            };
            if target.depth == Some(here) {
                let go = jump(target.goal);
                let back = Stmt::Assign(leave.clone(), Expr::bits(16, 0));
                let is = leave.clone().binary(Binary::Eq, Expr::bits(16, number));
                self.push(Stmt::If(is, vec![back, go], Vec::new()));
            } else {
                further = true;
                if let Some(outer) = self.open.last_mut() {
                    outer.insert(number);
                }
            }
        }
        if further {
            let is = leave.binary(Binary::Ne, Expr::bits(16, 0));
            self.push(Stmt::If(is, vec![Stmt::Break], Vec::new()));
        }
    }

    /// Leaves to a goal. `tail`: where control goes anyway.
    pub fn leave(&mut self, goal: Goal, values: Vec<Expr>, tail: Option<Goal>) {
        let frame = self.frames.len();
        let own = |target: &&Target| target.goal == goal && (goal == Goal::End || target.frame == frame);
        let Some(target) = self.targets.iter().rfind(own) else {
            return;
        };
        let (results, depth, number) = (target.results.clone(), target.depth, target.number);
        self.parallel(results, values);
        if tail == Some(goal) && self.is_innermost(goal) {
            return;
        }
        let here = self.open.len();
        if depth == Some(here) {
            return self.push(jump(goal));
        }
        if let Some(innermost) = self.open.last_mut() {
            innermost.insert(number);
        }
        let leave = match &self.leave {
            Some(leave) => leave.clone(),
            None => {
                let leave = self.wide("leave", 16);
                self.leave.insert(leave).clone()
            }
        };
        self.assign(leave, Expr::bits(16, number));
        self.push(Stmt::Break);
    }

    /// Whether the end of the action is what follows here, and not only of an inlined function.
    fn is_innermost(&self, goal: Goal) -> bool {
        goal != Goal::End || self.frames.len() == 1
    }

    pub(super) fn loop_op(&mut self, inner: &'m Loop, stmt: &'m MirStmt) -> Result<(), Refusal> {
        let mut params = Vec::new();
        for ((param, init), result) in inner.params.iter().zip(&stmt.results) {
            let init = self.get(*init);
            let place = self.local("v", self.width(*param));
            self.assign(place.clone(), init);
            for value in [param, result] {
                self.frame_mut().values[value.index()] = Some(place.clone());
            }
            params.push(place);
        }
        let trips = inner.checked.then(|| self.local("trips", 64));
        if let Some(trips) = &trips {
            self.assign(trips.clone(), Expr::bits(64, 0));
        }
        let head = self.loop_head(inner)?;
        let first = self.next_number;
        self.next_number += 2;
        let depth = Some(self.open.len() + 1);
        for (goal, number) in [
            (Goal::Break(inner.label), first),
            (Goal::Continue(inner.label), first + 1),
        ] {
            self.targets.push(Target {
                frame: self.frames.len(),
                goal,
                results: params.clone(),
                depth,
                number,
            });
        }
        let body = self.looped(|code| {
            code.condition(inner, &head.cond)?;
            if let Some(trips) = trips {
                let over = trips.clone().binary(Binary::Eq, Expr::bits(64, inner.max));
                let trap = code.apart(|code| {
                    code.end(Ended::Trap(TrapCause::LoopMax), None);
                    Ok(())
                })?;
                code.push_if(over, trap, Vec::new());
                code.assign(trips.clone(), trips.binary(Binary::Add, Expr::bits(64, 1)));
            }
            code.loc = Loc::default();
            code.region(&inner.body, Some(Goal::Continue(inner.label)))
        });
        self.targets.truncate(self.targets.len() - 2);
        self.close(For {
            first: head.first,
            cond: head.cond,
            step: head.step,
            body: body?,
            trips: head.trips,
        });
        Ok(())
    }

    /// Trips of a loop, the one included that only finds that there is none: of a `while`, and of a loop that traps.
    fn trips(&mut self, inner: &Loop) -> Trips {
        let one_more = inner.checked || matches!(inner.kind, LoopKind::While(_));
        let most = inner.max.saturating_add(one_more.into());
        let counted = match &inner.kind {
            LoopKind::For {
                from,
                to,
                signed: false,
                ..
            } => (self.get(*from).number().zip(self.get(*to).number()))
                .map(|(from, to)| to.saturating_sub(from)),
            _ => None,
        };
        Trips::Most(counted.map_or(most, |counted| counted.min(most)))
    }

    /// The head of a loop; a `while` has a variable that its condition sets.
    fn loop_head(&mut self, inner: &'m Loop) -> Result<For, Refusal> {
        match &inner.kind {
            LoopKind::For {
                var,
                from,
                to,
                signed,
            } => {
                let width = self.width(*var);
                let (from, to) = (self.get(*from), self.atom(*to));
                let place = self.wide("i", width);
                let numeric = |expr: Expr| match width {
                    1 => scalar::bit_of(expr),
                    _ => expr,
                };
                let shown = match width {
                    1 => place.clone().binary(Binary::Eq, Expr::bits(1, 1)),
                    _ => place.clone(),
                };
                self.frame_mut().values[var.index()] = Some(shown);
                let to = numeric(to);
                let cond = match signed {
                    true => {
                        scalar::signed(place.clone(), width).binary(Binary::Lt, scalar::signed(to, width))
                    }
                    false => place.clone().binary(Binary::Lt, to),
                };
                let next = place.clone().binary(Binary::Add, Expr::bits(width, 1));
                Ok(For {
                    first: Some(Stmt::Assign(place.clone(), numeric(from))),
                    cond,
                    step: Some(Stmt::Assign(place, next)),
                    body: Vec::new(),
                    trips: self.trips(inner),
                })
            }
            LoopKind::While(_) => {
                let again = self.local("again", 1);
                Ok(For {
                    first: Some(Stmt::Assign(again.clone(), Expr::Bool(true))),
                    cond: again,
                    step: None,
                    body: Vec::new(),
                    trips: self.trips(inner),
                })
            }
        }
    }

    /// The condition of a `while`, at the start of a trip.
    fn condition(&mut self, inner: &'m Loop, again: &Expr) -> Result<(), Refusal> {
        let LoopKind::While(region) = &inner.kind else {
            return Ok(());
        };
        self.branch(region, std::slice::from_ref(again), None)?;
        self.push(Stmt::If(again.clone().negated(), vec![Stmt::Break], Vec::new()));
        Ok(())
    }
}

/// What goes to a goal from inside its loop.
fn jump(goal: Goal) -> Stmt {
    match goal {
        Goal::Continue(_) => Stmt::Continue,
        Goal::Break(_) | Goal::Return | Goal::End => Stmt::Break,
    }
}
