//! What runs went through: which way branches went, how often loops turned, which rules held, which lambdas ran.
//!
//! Branches and loops are told apart by their source line alone, as that survives optimisation; those of one line with
//! as many sides are counted together.

use std::collections::BTreeMap;

use crate::{LambdaId, Loc};

/// A file of [`crate::Module::files`] and a line of it.
pub type Line = (u16, u32);

/// Counts of all runs so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By line and number of sides: how often each side was taken, a switch's default last.
    pub branches: BTreeMap<(Line, usize), Vec<u64>>,
    /// By line: how often a loop was entered, and how often its body ran in all.
    pub loops: BTreeMap<Line, (u64, u64)>,
    /// By rule of the match: how often it was the first that held.
    pub rules: BTreeMap<usize, u64>,
    /// By lambda: requests that fitted it; of a stream, chunks.
    pub lambdas: BTreeMap<LambdaId, u64>,
}

impl Counts {
    pub(super) fn branch(&mut self, loc: Loc, sides: usize, taken: usize) {
        let counts = self.branches.entry((line(loc), sides)).or_default();
        counts.resize(sides, 0);
        counts[taken] += 1;
    }

    pub(super) fn enter(&mut self, loc: Loc) {
        self.loops.entry(line(loc)).or_default().0 += 1;
    }

    pub(super) fn turn(&mut self, loc: Loc) {
        self.loops.entry(line(loc)).or_default().1 += 1;
    }

    pub(super) fn rule(&mut self, rule: usize) {
        *self.rules.entry(rule).or_default() += 1;
    }

    pub(super) fn lambda(&mut self, lambda: LambdaId) {
        *self.lambdas.entry(lambda).or_default() += 1;
    }
}

fn line(loc: Loc) -> Line {
    (loc.file, loc.line)
}
