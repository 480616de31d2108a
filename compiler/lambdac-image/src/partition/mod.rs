//! partition: what does not fit the core's store runs on the host.
//!
//! Lambdas tied by state that changes live on one side, so components of them move as a whole. Each is worth the requests
//! that it answers on the NIC: the workload's rate, spread evenly over its lambdas. With up to [`EXACT`] components every
//! choice is counted and the one that is worth most taken (then the one with more lambdas, then the smaller one). With more, workloads go, with what is
//! tied to them, the least worth for each word that its going frees first, and as few of them as make the rest fit; then
//! components that still fit come back, the most worth first. Words are counted on the whole image each time, as shared
//! code goes only with its last user.
//!
//! What its author wants on the NIC (`@on(nic)`) does not go, nor what is tied to it; with many components, nor its workload.
//!
//! Code was shared by all before the cut. What stays is shared by itself once more: all passes run again over the image as
//! it was linked, without what was cut ([`crate::optimize`]), and the smaller of the two images is taken.
//!
//! Where not every choice is counted, the distance to a bound is reported: no set that fits is worth more than what fits
//! of components that each take only the words that no other needs, the most worth for a word first, the last one cut.
//! (Code that several need is counted once, so a component never takes less than beside all others.)
//!
//! What leads to lambdas of the host alone is handed up at once ([`crate::hand_up`]), in an image that fits too.
//!
//! **Why nothing changes.** The host runs the same code on the same state behind the same stage: a request for a lambda
//! there is handed up untouched, before any effect.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hand_up::hand_up;
use crate::image::{Call, Image, Stage};
use crate::legal::{Ties, tied};
use crate::pass::{Context, Pass};

/// The pass.
pub(crate) const PARTITION: Pass = Pass {
    name: "partition",
    summary: "What does not fit the store to the host",
    keeps_code: true,
    run,
};

/// Why a lambda is the host's that was cut.
pub(crate) const NO_ROOM: &str = "it does not fit the core's store beside what is asked for more";

/// The entries that were cut.
pub(crate) fn cut(image: &Image) -> Vec<usize> {
    let entries = image.entries.iter().enumerate();
    let cut = entries.filter(|(_, entry)| entry.on_host.as_deref() == Some(NO_ROOM));
    cut.map(|(index, _)| index).collect()
}

/// Most components of which every choice is counted.
const EXACT: usize = 8;

/// Most components of which the distance to the best is told: the image is counted once for each.
const MAX_BOUNDED: usize = 64;

/// Components that do not fit when they are tried again, before the rest is given up.
const MAX_TRIES: usize = 8;
/// Groups that are told of one by one.
const MAX_TOLD: usize = 12;

/// Lambdas that stay together.
struct Component {
    entries: Vec<usize>,
    worth: f64,
    /// Its author wants one of them on the NIC.
    asked: bool,
}

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let Some(store) = context.device.store else {
        return Vec::new();
    };
    let room = store.words.saturating_sub(store.base_words);
    let components = components(image, context);
    let mut trial = Trial::new(image, context, &components);
    let mut gone = vec![false; components.len()];
    let whole = trial.words(&gone);
    let mut notes = Vec::new();
    if whole <= room {
        notes.push(format!("it fits: {whole} words of {room}"));
    } else {
        gone = if components.len() <= EXACT {
            exactly(&mut trial, room)
        } else {
            greedily(&mut trial, room)
        };
        notes.push(format!(
            "over by {}: {whole} words, {room} beside the base",
            whole - room
        ));
        if let (Some(pooled), Some(cores)) = (store.pooled_words, store.pooled_cores)
            && whole + store.base_words <= pooled
        {
            notes.push(format!(
                "all of it would fit two cores' pooled store, with {cores} cores left"
            ));
        }
        notes.extend(tell(&mut trial, &gone, room));
        if components.len() > EXACT {
            notes.extend(gap(&mut trial, &gone, room));
        }
    }
    let nodes = trial.settle(&gone);
    if nodes > 0 {
        notes.push(format!(
            "requests for lambdas of the host are handed up before they are told apart: {nodes} nodes of the stage fewer"
        ));
    }
    if image.placed.is_some() && gone.contains(&true) {
        crate::stratify::place(image, context);
    }
    notes
}

/// How far from the best what stays can be.
fn gap(trial: &mut Trial<'_, '_>, gone: &[bool], room: u64) -> Option<String> {
    let count = gone.len();
    if count > MAX_BOUNDED {
        return None;
    }
    let least = trial.words(&vec![true; count]);
    let all = trial.words(&vec![false; count]);
    let mut items: Vec<(f64, f64)> = (0..count)
        .map(|index| {
            let mut without = vec![false; count];
            without[index] = true;
            let own = all.saturating_sub(trial.words(&without));
            (trial.components[index].worth, own as f64)
        })
        .collect();
    // Worth for a word, the most first, without dividing by 0.
    items.sort_by(|a, b| (b.0 * a.1).total_cmp(&(a.0 * b.1)));
    let mut left = room.saturating_sub(least) as f64;
    let mut bound = 0.0;
    for (worth, own) in items {
        bound += worth * if own > left { left / own } else { 1.0 };
        left = (left - own).max(0.0);
    }
    let kept = trial.components.iter().zip(gone).filter(|(_, gone)| !**gone);
    let worth: f64 = kept.map(|(component, _)| component.worth).sum();
    let under = if bound > 0.0 {
        (bound - worth) / bound * 100.0
    } else {
        0.0
    };
    Some(format!(
        "what stays is worth {:.2}, at most {:.0} % under the best",
        worth,
        under.max(0.0)
    ))
}

/// A line for each component that goes: what would have to shrink for it to stay.
fn tell(trial: &mut Trial<'_, '_>, gone: &[bool], room: u64) -> Vec<String> {
    let away: Vec<usize> = (0..gone.len()).filter(|index| gone[*index]).collect();
    let mut notes = Vec::new();
    if away.len() > MAX_TOLD {
        notes.push(format!(
            "{} groups of lambdas to the host; the first of them:",
            away.len()
        ));
    }
    for index in away.into_iter().take(MAX_TOLD) {
        let mut with = gone.to_vec();
        with[index] = false;
        let over = trial.words(&with).saturating_sub(room);
        let component = &trial.components[index];
        let names: Vec<String> = component
            .entries
            .iter()
            .map(|entry| format!("`{}`", trial.image.entry_name(*entry)))
            .collect();
        notes.push(format!(
            "{} to the host (worth {}): back on the NIC, {over} words would have to go",
            names.join(", "),
            // To a hundredth, without zeros at the end.
            (component.worth * 100.0).round() / 100.0
        ));
    }
    notes
}

impl Image {
    /// The host runs an entry's lambda. Whoever decides this sends all lambdas along that are tied to it by state.
    pub fn keep_on_host(&mut self, entry: usize, why: &str) {
        self.entries[entry].on_host.get_or_insert_with(|| why.into());
        self.plumbing.calls[entry] = Call::None;
    }
}

/// An image on which choices are tried. Code is priced once; only the sides of lambdas and the stage change.
struct Trial<'i, 'c> {
    image: &'i mut Image,
    context: &'c Context<'c>,
    components: &'c [Component],
    quiet: Vec<bool>,
    before: Sides,
}

/// What a choice changes.
struct Sides {
    on_host: Vec<Option<Arc<str>>>,
    calls: Vec<Call>,
    stage: Stage,
    host: Option<Stage>,
}

impl<'i, 'c> Trial<'i, 'c> {
    fn new(image: &'i mut Image, context: &'c Context<'c>, components: &'c [Component]) -> Self {
        Self {
            quiet: crate::reduce::quiet(image),
            before: Sides {
                on_host: image.entries.iter().map(|entry| entry.on_host.clone()).collect(),
                calls: image.plumbing.calls.clone(),
                stage: image.stage.clone(),
                host: image.host.clone(),
            },
            image,
            context,
            components,
        }
    }

    /// The host takes what is gone; how many nodes of the stage went with it.
    fn settle(&mut self, gone: &[bool]) -> usize {
        let away = self.components.iter().zip(gone).filter(|(_, gone)| **gone);
        for entry in away.flat_map(|(component, _)| &component.entries) {
            self.image.keep_on_host(*entry, NO_ROOM);
        }
        hand_up(self.image, &self.quiet)
    }

    /// Words of the image without what is gone.
    fn words(&mut self, gone: &[bool]) -> u64 {
        self.settle(gone);
        let words = self.context.code().priced.words(self.image, &self.context.model);
        let before = self.before.on_host.iter().cloned();
        (self.image.entries.iter_mut().zip(before)).for_each(|(entry, on_host)| entry.on_host = on_host);
        self.image.plumbing.calls.clone_from(&self.before.calls);
        self.image.stage.clone_from(&self.before.stage);
        self.image.host.clone_from(&self.before.host);
        words
    }
}

/// Lambdas on the NIC by the changing state that ties them.
fn components(image: &Image, context: &Context<'_>) -> Vec<Component> {
    let worth = |entry: &usize| context.entry_rates[*entry];
    let touched = |entry: usize| {
        let entry = &image.entries[entry];
        let items = context.code().touched(entry.lambda).keys();
        items.map(|item| item.of(entry))
    };
    let component = |entries: Vec<usize>| Component {
        worth: entries.iter().map(worth).sum(),
        asked: entries.iter().any(|entry| image.entries[*entry].asked),
        entries,
    };
    tied(image, touched).into_iter().map(component).collect()
}

/// What a choice is worth: requests, then lambdas, then words, of which few are good.
type Value = (f64, usize, Reverse<u64>);

/// Counts every choice: which components go.
fn exactly(trial: &mut Trial<'_, '_>, room: u64) -> Vec<bool> {
    let count = trial.components.len();
    let mut best: Option<(Value, Vec<bool>)> = None;
    for choice in 0u32..1 << count {
        let gone: Vec<bool> = (0..count).map(|index| choice >> index & 1 == 1).collect();
        let away = trial.components.iter().zip(&gone).filter(|(_, gone)| **gone);
        if away.clone().any(|(component, _)| component.asked) {
            continue;
        }
        let kept = || trial.components.iter().zip(&gone).filter(|(_, gone)| !**gone);
        let worth: f64 = kept().map(|(component, _)| component.worth).sum();
        let lambdas = kept().map(|(component, _)| component.entries.len()).sum();
        if best.as_ref().is_some_and(|((most, ..), _)| worth < *most) {
            continue;
        }
        let words = trial.words(&gone);
        let value = (worth, lambdas, Reverse(words));
        if words <= room && best.as_ref().is_none_or(|(best, _)| value > *best) {
            best = Some((value, gone));
        }
    }
    // Where not even the empty image fits, everything goes that may.
    let all = || {
        trial
            .components
            .iter()
            .map(|component| !component.asked)
            .collect()
    };
    best.map_or_else(all, |(_, gone)| gone)
}

/// Components that go together at first: a workload's, as its part of the stage goes only with all of them.
fn by_workload(image: &Image, components: &[Component]) -> Vec<Vec<usize>> {
    let mut ties = Ties::new(components.len());
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, component) in components.iter().enumerate() {
        for entry in &component.entries {
            let other = *first.entry(image.entries[*entry].workload).or_insert(index);
            ties.tie(index, other);
        }
    }
    ties.groups(0..components.len())
}

fn greedily(trial: &mut Trial<'_, '_>, room: u64) -> Vec<bool> {
    let components = trial.components;
    let context = trial.context;
    let cost = context.code().cost(trial.image, context.device, &context.model);
    // A lambda's share of its code and of what stands around all of them is what its going frees, about.
    let around = cost.around / (trial.image.entries.len() as u64).max(1);
    let freed = |index: usize| -> u64 {
        let entries = components[index].entries.iter();
        entries
            .map(|entry| cost.entries[*entry].words + around)
            .sum::<u64>()
            .max(1)
    };
    let ratio = |group: &[usize]| {
        let worth: f64 = group.iter().map(|index| components[*index].worth).sum();
        worth / group.iter().map(|index| freed(*index)).sum::<u64>() as f64
    };
    let mut order: Vec<(f64, Vec<usize>)> = by_workload(trial.image, components)
        .into_iter()
        .filter(|group| group.iter().all(|index| !components[*index].asked))
        .map(|group| (ratio(&group), group))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    let first = |count: usize| {
        let mut gone = vec![false; components.len()];
        let away = order.iter().take(count).flat_map(|(_, group)| group);
        away.for_each(|index| gone[*index] = true);
        gone
    };
    // The fewest that have to go: the more go, the less is left.
    let (mut too_few, mut enough) = (0, order.len());
    while too_few + 1 < enough {
        let middle = usize::midpoint(too_few, enough);
        if trial.words(&first(middle)) <= room {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    let mut gone = first(enough);
    let mut back: Vec<usize> = (0..components.len()).filter(|index| gone[*index]).collect();
    back.sort_by(|a, b| {
        let worth = components[*b].worth.total_cmp(&components[*a].worth);
        worth.then(freed(*a).cmp(&freed(*b))).then(a.cmp(b))
    });
    // Beyond a few that do not fit, the rest, which is worth less and takes more, is not tried.
    let mut tries = MAX_TRIES;
    for index in back {
        if tries == 0 {
            break;
        }
        gone[index] = false;
        if trial.words(&gone) > room {
            gone[index] = true;
            tries -= 1;
        }
    }
    gone
}
