//! What branches and loops are weighed by.
//!
//! A statement that one place of the source wrote has that place's counts in a [`Profile`]. Code that was made of several
//! has no place: its line is 0, and its file is then a number, from 1, of weights that were added up when the code was made
//! ([`Blend`]). Number 0 has none, as all of [`Loc::default`].

use std::collections::BTreeMap;

use lambdac_mir::{Loc, Module};

use crate::{LineProfile, Profile};

/// The largest weight of a [`Blend`]: a power of 2, so that whole ratios stay whole.
const FULL: f64 = (1u64 << 32) as f64;

/// What a walk over code weighs branches and loops by; nothing unless told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights<'p> {
    /// What runs went through.
    pub profile: Option<&'p Profile>,
    /// Of code that was made of several, by number.
    pub merged: &'p [LineProfile],
}

impl<'p> Weights<'p> {
    fn line(self, module: &Module, loc: Loc) -> Option<&'p LineProfile> {
        let profile = self.profile?;
        let file = usize::from(loc.file);
        match (loc.line, file.checked_sub(1)) {
            (0, number) => self.merged.get(number?),
            (line, _) => profile.line(module.files.get(file)?, line),
        }
    }

    /// How often each side of a branch was taken; none where none of them was.
    pub fn taken(self, module: &Module, loc: Loc, sides: usize) -> Option<&'p [u64]> {
        let taken = self.line(module, loc)?.branches.get(&sides)?;
        (taken.len() == sides && taken.iter().any(|count| *count > 0)).then_some(taken)
    }

    /// How often a loop was entered, at least once, and how often its body ran.
    pub fn trips(self, module: &Module, loc: Loc) -> Option<(u64, u64)> {
        let line = self.line(module, loc)?;
        (line.entered > 0).then_some((line.entered, line.trips))
    }
}

/// Counts of several lines being added up, each times a factor.
#[derive(Clone, Debug, Default)]
pub struct Blend {
    branches: BTreeMap<usize, Vec<f64>>,
    entered: f64,
    trips: f64,
}

impl Blend {
    /// Adds what a line did, `factor` times.
    pub fn add(&mut self, line: &LineProfile, factor: f64) {
        for (sides, taken) in line
            .branches
            .iter()
            .filter(|(sides, taken)| taken.len() == **sides)
        {
            let sum = self.branches.entry(*sides).or_insert_with(|| vec![0.0; *sides]);
            let pairs = sum.iter_mut().zip(taken);
            pairs.for_each(|(sum, count)| *sum += *count as f64 * factor);
        }
        self.entered += line.entered as f64 * factor;
        self.trips += line.trips as f64 * factor;
    }

    /// The sums as counts: what is proportional to them, as precise as whole numbers can tell.
    pub fn finish(self) -> LineProfile {
        let branch = |(sides, sums): (usize, Vec<f64>)| {
            let full = sums.iter().copied().fold(0.0, f64::max);
            (sides, sums.into_iter().map(|sum| count(sum, full)).collect())
        };
        LineProfile {
            branches: self.branches.into_iter().map(branch).collect(),
            entered: count(self.entered, self.entered),
            trips: count(self.trips, self.entered),
        }
    }
}

/// What `sum` is of `full`, in parts of [`FULL`]; 0 where there is nothing.
fn count(sum: f64, full: f64) -> u64 {
    // A float that is no count becomes the nearest one: saturating, and 0 for none.
    if full > 0.0 {
        (sum / full * FULL).round() as u64
    } else {
        0
    }
}
