//! Positions of code that is made of several, and what it is weighed by.
//!
//! Where all agree on a position, it stays. Else it becomes unknown; but where a profile knows some of them, the statement
//! keeps a number of the lines that it comes from ([`lambdac_cost::Weights`]). In the end the counts of those lines are added
//! up, each times the rate of its file: the requests that the file's workloads get for one that was profiled. So the code's
//! weights are what all of its sources together go through in a second. A line counts once, however many pieces come from it,
//! as its counts are those of all its runs; one that was not profiled adds nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lambdac_cost::{Blend, Profile};
use lambdac_mir::{Cond, Loc, Module, Term};

use crate::image::{Image, Line};
use crate::pass::Context;
use crate::shape::for_each_loc;

/// What positions become.
#[derive(Debug, Default)]
pub(crate) struct Positions<'p> {
    /// Nothing is weighed without.
    profile: Option<&'p Profile>,
    files: Vec<Arc<str>>,
    /// By number, from 1: the lines.
    sets: Vec<Arc<[Line]>>,
    numbers: HashMap<Arc<[Line]>, u16>,
    /// How many sets the image had before.
    known: usize,
}

impl<'p> Positions<'p> {
    /// For an image's code, some of which may have been merged before.
    pub fn new(image: &Image, context: &Context<'p>) -> Self {
        let profile = context.model.profile();
        let sets = image.merged_from.to_vec();
        Self {
            profile,
            files: profile.map_or(Vec::new(), |_| image.module.files.clone()),
            numbers: sets.iter().cloned().zip(1..).collect(),
            known: sets.len(),
            sets,
        }
    }

    /// The position of one statement of several.
    pub fn join(&mut self, locs: impl Iterator<Item = Loc> + Clone) -> Loc {
        let first = locs.clone().next().unwrap_or_default();
        if locs.clone().all(|loc| loc == first) {
            return first;
        }
        let Some(profile) = self.profile else {
            return Loc::default();
        };
        let mut lines: BTreeSet<Line> = BTreeSet::new();
        for loc in locs {
            let number = usize::from(loc.file);
            match (loc.line, number.checked_sub(1)) {
                (0, number) => lines.extend(
                    number
                        .and_then(|number| self.sets.get(number))
                        .into_iter()
                        .flat_map(|set| set.iter()),
                ),
                (line, _)
                    if self
                        .files
                        .get(number)
                        .is_some_and(|file| profile.line(file, line).is_some()) =>
                {
                    lines.insert((loc.file, line));
                }
                _ => {}
            }
        }
        self.number(lines.into_iter().collect())
    }

    /// The positions of pieces of one shape, in the order of the walk.
    pub fn join_all(&mut self, pieces: &[&[Loc]]) -> Vec<Loc> {
        let count = pieces.first().map_or(0, |locs| locs.len());
        let each = (0..count).map(|at| self.join(pieces.iter().map(move |locs| locs[at])));
        each.collect()
    }

    /// Gives a condition that stands for another one too, of the same shape, the positions of both.
    pub fn join_conds(&mut self, kept: &mut Cond, other: &Cond) {
        let mut locs = Vec::new();
        other.clone().for_each_func_mut(&mut |func| {
            for_each_loc(&mut func.region, &mut |loc| locs.push(*loc));
        });
        let mut locs = locs.into_iter();
        kept.for_each_func_mut(&mut |func| {
            for_each_loc(&mut func.region, &mut |loc| {
                if let Some(other) = locs.next() {
                    *loc = self.join([*loc, other].into_iter());
                }
            });
        });
    }

    /// The position that stands for a set of lines; with more sets than a position can name, none does.
    fn number(&mut self, lines: Arc<[Line]>) -> Loc {
        if lines.is_empty() {
            return Loc::default();
        }
        let next = u16::try_from(self.sets.len() + 1);
        let number = match (self.numbers.get(&lines), next) {
            (Some(number), _) => *number,
            (None, Ok(next)) => {
                self.sets.push(Arc::clone(&lines));
                self.numbers.insert(lines, next);
                next
            }
            (None, Err(_)) => 0,
        };
        Loc {
            file: number,
            line: 0,
        }
    }

    /// Gives the image what its merged code is weighed by.
    pub fn finish(self, image: &mut Image, context: &Context<'_>) {
        let Some(profile) = self.profile.filter(|_| self.sets.len() > self.known) else {
            return;
        };
        let rates = rates(image, context, profile);
        let weights = self.sets.iter().map(|lines| {
            let mut sum = Blend::default();
            for (file, line) in lines.iter() {
                if let Some(counted) = profile.line(&self.files[usize::from(*file)], *line) {
                    sum.add(counted, rates.get(file).copied().unwrap_or(1.0));
                }
            }
            sum.finish()
        });
        image.merged = weights.collect();
        image.merged_from = self.sets.into();
        forget_others(&mut image.module);
    }
}

/// By file: requests in the unit of rates for one that was profiled, of the workloads that have code from it.
fn rates(image: &Image, context: &Context<'_>, profile: &Profile) -> BTreeMap<u16, f64> {
    let mut sums: BTreeMap<u16, (f64, u64)> = BTreeMap::new();
    for (workload, rate) in image.workloads.iter().zip(&context.rates) {
        for file in &workload.files {
            let (rates, counted) = sums.entry(*file).or_default();
            *rates += rate;
            *counted = counted.saturating_add(profile.requests(&workload.name));
        }
    }
    let rate = |(file, (rates, counted)): (u16, (f64, u64))| (file, rates / counted.max(1) as f64);
    sums.into_iter().map(rate).collect()
}

/// Only branches and loops are weighed; what else has a number is of an unknown position.
fn forget_others(module: &mut Module) {
    module.for_each_region_mut(&mut |region| {
        region.walk_regions_mut(&mut |inner| {
            let weighed = |op: &lambdac_mir::Op| !op.regions().is_empty();
            let others = inner.stmts.iter_mut().filter(|stmt| !weighed(&stmt.op));
            let others = others.map(|stmt| &mut stmt.loc);
            let trap = match &mut inner.term {
                Term::Trap(_, loc) => Some(loc),
                _ => None,
            };
            let unknown = others.chain(trap).filter(|loc| loc.line == 0);
            unknown.for_each(|loc| *loc = Loc::default());
        });
    });
}
