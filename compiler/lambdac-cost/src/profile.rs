//! Branch weights that were counted in runs.
//!
//! A profile holds what [`Counts`] hold, under names that outlive a compilation: files and lines of the source, names of
//! workloads and lambdas. A file is the same with `./` before its path and without. Code that several lines were made one
//! of is weighed by the sum of theirs ([`crate::Weights`]).

use std::collections::BTreeMap;

use lambdac_mir::Module;
use lambdac_mir::interp::Counts;
use serde::{Deserialize, Deserializer, Serialize};

/// Version of the JSON.
pub const SCHEMA: u32 = 1;

/// By source file and line.
type Files = BTreeMap<String, BTreeMap<u32, LineProfile>>;

/// What runs went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of this structure.
    pub schema: u32,
    /// By source file and line.
    #[serde(deserialize_with = "read_files")]
    pub files: Files,
    /// By name.
    pub workloads: BTreeMap<String, WorkloadProfile>,
}

/// What the branches and loops of a line did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineProfile {
    /// By number of sides: how often each was taken, a switch's default last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub branches: BTreeMap<usize, Vec<u64>>,
    /// How often loops were entered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub entered: u64,
    /// How often their bodies ran in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trips: u64,
}

/// Requests of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadProfile {
    /// How often each rule of the match was the first that held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<u64>,
    /// Requests by lambda; of a stream, chunks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lambdas: BTreeMap<String, u64>,
}

impl LineProfile {
    fn add(&mut self, other: &Self) {
        for (sides, taken) in &other.branches {
            sum(self.branches.entry(*sides).or_default(), taken);
        }
        self.entered = self.entered.saturating_add(other.entered);
        self.trips = self.trips.saturating_add(other.trips);
    }
}

/// A file's path as it is compared.
fn plain(mut path: &str) -> &str {
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    path
}

/// Files under their plain paths.
fn read_files<'de, D: Deserializer<'de>>(from: D) -> Result<Files, D::Error> {
    let written = Files::deserialize(from)?;
    let mut files = Files::new();
    for (path, lines) in written {
        let file = files.entry(plain(&path).to_owned()).or_default();
        for (line, profile) in lines {
            file.entry(line).or_default().add(&profile);
        }
    }
    Ok(files)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's shape
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            files: BTreeMap::new(),
            workloads: BTreeMap::new(),
        }
    }
}

impl Profile {
    /// Adds what runs of a workload's module went through.
    pub fn add(&mut self, module: &Module, counts: &Counts) {
        for (((file, line), sides), taken) in &counts.branches {
            if let Some(at) = self.line_mut(module, *file, *line) {
                sum(at.branches.entry(*sides).or_default(), taken);
            }
        }
        for ((file, line), (entered, trips)) in &counts.loops {
            if let Some(at) = self.line_mut(module, *file, *line) {
                at.entered = at.entered.saturating_add(*entered);
                at.trips = at.trips.saturating_add(*trips);
            }
        }
        let workload = self.workloads.entry(module.name.to_string()).or_default();
        for (rule, hits) in &counts.rules {
            let mut taken = vec![0; rule + 1];
            taken[*rule] = *hits;
            sum(&mut workload.rules, &taken);
        }
        for (lambda, requests) in &counts.lambdas {
            let name = module.lambdas[lambda.index()].name.to_string();
            let count = workload.lambdas.entry(name).or_default();
            *count = count.saturating_add(*requests);
        }
    }

    /// What was counted at a line of a file.
    pub fn line(&self, file: &str, line: u32) -> Option<&LineProfile> {
        self.files.get(plain(file))?.get(&line)
    }

    /// Requests of a workload that were counted.
    pub fn requests(&self, workload: &str) -> u64 {
        let counted = self.workloads.get(workload).into_iter();
        let lambdas = counted.flat_map(|counted| counted.lambdas.values());
        lambdas.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The part of a workload's requests that a lambda has, in order of `lambdas`; even where nothing was counted.
    pub fn shares(&self, workload: &str, lambdas: &[&str]) -> Vec<f64> {
        let counted = self.workloads.get(workload);
        let count = |name: &&str| {
            counted
                .and_then(|all| all.lambdas.get(*name))
                .copied()
                .unwrap_or(0) as f64
        };
        let total: f64 = lambdas.iter().map(count).sum();
        let even = 1.0 / lambdas.len().max(1) as f64;
        let share = |name: &&str| if total > 0.0 { count(name) / total } else { even };
        lambdas.iter().map(share).collect()
    }

    /// A file that the profile knows, where it has files and none of these is among them: it is of something else.
    pub fn stranger<'f>(&self, files: impl IntoIterator<Item = &'f str>) -> Option<&str> {
        let known = files.into_iter().any(|file| self.files.contains_key(plain(file)));
        self.files.keys().next().filter(|_| !known).map(String::as_str)
    }

    fn line_mut(&mut self, module: &Module, file: u16, line: u32) -> Option<&mut LineProfile> {
        let name = module.files.get(usize::from(file)).filter(|_| line > 0)?;
        Some(
            self.files
                .entry(plain(name).to_owned())
                .or_default()
                .entry(line)
                .or_default(),
        )
    }
}

/// Adds counts, element by element.
fn sum(to: &mut Vec<u64>, from: &[u64]) {
    to.resize(to.len().max(from.len()), 0);
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.saturating_add(*from);
    }
}

/// What sides of a branch take on average: evenly, or by how often each was taken.
pub(crate) fn average(sides: &[u64], taken: Option<&[u64]>) -> u64 {
    let weight = |side: usize| taken.map_or(1, |taken| u128::from(taken[side]));
    let total: u128 = (0..sides.len()).map(weight).sum();
    let sum = (0..sides.len()).fold(0_u128, |sum, side| {
        sum.saturating_add(weight(side).saturating_mul(sides[side].into()))
    });
    u64::try_from(sum / total.max(1)).unwrap_or(u64::MAX)
}
