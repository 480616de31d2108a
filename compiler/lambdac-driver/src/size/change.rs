//! Sizes against a baseline: what grew, what left the NIC, what is new or gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::text::{clean, grouped, head, table};
use super::{LambdaSize, Sizes};

/// What changed since a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// A table for people.
    pub table: String,
    /// By how many per cent the image's words grew; negative: fell.
    pub percent: f64,
    /// Lambdas that the NIC ran and the host runs now: their words are gone from the image, their place on it too.
    pub left: Vec<String>,
    /// Lambdas that were not there and for which the NIC has no room. One that its program keeps off it is none of them.
    pub no_room: Vec<String>,
}

/// The change from a baseline of the same target.
pub fn change(old: &Sizes, new: &Sizes) -> Change {
    let before: BTreeMap<&str, &LambdaSize> = by_name(old);
    let names = |lambdas: &mut dyn Iterator<Item = &LambdaSize>| {
        lambdas.map(|lambda| clean(&lambda.name)).collect::<Vec<_>>()
    };
    let on_host = || new.lambdas.iter().filter(|lambda| !lambda.on_nic());
    let was_on_nic = |lambda: &&LambdaSize| before.get(&*lambda.name).is_some_and(|old| old.on_nic());
    let is_new = |lambda: &&LambdaSize| !before.contains_key(&*lambda.name);
    Change {
        left: names(&mut on_host().filter(was_on_nic)),
        no_room: names(&mut on_host().filter(is_new).filter(|lambda| was_cut(lambda))),
        table: rows(old, new, &before),
        percent: percent(old.store.image, new.store.image),
    }
}

/// Whether the image had a lambda on the NIC when it was linked, so that it was a pass that sent it to the host.
fn was_cut(lambda: &LambdaSize) -> bool {
    !lambda.on_nic() && lambda.words.first().is_some_and(|words| *words > 0)
}

fn by_name(sizes: &Sizes) -> BTreeMap<&str, &LambdaSize> {
    sizes
        .lambdas
        .iter()
        .map(|lambda| (&*lambda.name, lambda))
        .collect()
}

fn percent(old: u64, new: u64) -> f64 {
    match old {
        0 if new == 0 => 0.0,
        0 => 100.0,
        _ => (new as f64 - old as f64) / old as f64 * 100.0,
    }
}

fn rows(old: &Sizes, new: &Sizes, before: &BTreeMap<&str, &LambdaSize>) -> String {
    let mut rows = vec![head(&["AGAINST THE BASELINE", "OLD", "NEW", "CHANGE"])];
    let mut row = |name: &str, old: u64, new: u64| {
        let change = format!("{:+.1} %", percent(old, new));
        rows.push(vec![name.to_owned(), grouped(old), grouped(new), change]);
    };
    row("workloads", old.workloads as u64, new.workloads as u64);
    row("words", old.store.image, new.store.image);
    let end = |sizes: &Sizes| {
        let end = sizes.stages.last();
        end.map_or((0, 0), |stage| (stage.tables, stage.worst_cycles))
    };
    row("tables", end(old).0, end(new).0);
    row("worst cycles", end(old).1, end(new).1);
    let last = |lambda: &LambdaSize| lambda.words.last().copied().unwrap_or(0);
    for lambda in &new.lambdas {
        match before.get(&*lambda.name) {
            None => row(&format!("{} (new)", lambda.name), 0, last(lambda)),
            Some(old) if last(old) != last(lambda) => row(&lambda.name, last(old), last(lambda)),
            Some(_) => {}
        }
    }
    let now = by_name(new);
    let gone = old
        .lambdas
        .iter()
        .filter(|lambda| !now.contains_key(&*lambda.name));
    for lambda in gone {
        row(&format!("{} (removed)", lambda.name), last(lambda), 0);
    }
    let mut out = table(&rows);
    for (what, these, those) in [("new", new, old), ("removed", old, new)] {
        let others = workloads(those);
        for name in workloads(these).difference(&others) {
            let _ = writeln!(out, "  {what} workload: {}", clean(name));
        }
    }
    out
}

/// Names of the workloads that have lambdas: each has.
fn workloads(sizes: &Sizes) -> BTreeSet<&str> {
    let names = sizes.lambdas.iter().map(|lambda| &*lambda.name);
    names.filter_map(|name| name.split('.').next()).collect()
}
