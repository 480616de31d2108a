//! partition: what does not fit the core's store runs on the host.
//!
//! Lambdas tied by state that changes live on one side, so components of them move as a whole. Each is worth the requests
//! that it answers on the NIC: the workload's rate, spread over its lambdas evenly or as a profile says. What stays is what is
//! worth most of all that fits (then the one with more lambdas, then the smaller one), as far as a bounded search tells
//! ([`search`]): words are counted on the whole image, as shared code goes only with its last user, and what the search leaves
//! out is bounded by the pieces that components share ([`pieces`]). How far from the best it may be is reported.
//!
//! The search starts from what is found at once: workloads go, with what is tied to them, the least worth for each word that
//! their going frees first, and as few of them as make the rest fit; then components that still fit come back, the most worth
//! first. What its author wants on the NIC (`@on(nic)`) does not go, nor what is tied to it; in this first choice, nor its
//! workload.
//!
//! Code was shared by all before the cut. What stays is shared by itself once more ([`again`]), and what that frees brings
//! lambdas back.
//!
//! What leads to lambdas of the host alone is handed up at once ([`crate::hand_up`]), in an image that fits too.
//!
//! **Why nothing changes.** The host runs the same code on the same state behind the same stage: a request for a lambda
//! there is handed up untouched, before any effect.

mod again;
mod pieces;
mod search;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use self::again::{Run, refine};
use self::pieces::Pieces;
use self::search::{Found, Item, search};
use lambdac_target::Device;

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

/// Words of a device's store beside its base.
pub(crate) fn room(device: &Device) -> u64 {
    let store = device.store.as_ref();
    store.map_or(0, |store| store.words.saturating_sub(store.base_words))
}

/// The entries that were cut.
pub(crate) fn cut(image: &Image) -> Vec<usize> {
    let entries = image.entries.iter().enumerate();
    let cut = entries.filter(|(_, entry)| entry.on_host.as_deref() == Some(NO_ROOM));
    cut.map(|(index, _)| index).collect()
}

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

/// Lambdas that were cut together, and what they would take.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// Their entries.
    pub entries: Vec<usize>,
    /// Words that they take beside what stays.
    pub words: u64,
}

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let Some(store) = &context.device.store else {
        return Vec::new();
    };
    let room = room(context.device);
    let components = components(image, context);
    let mut trial = Trial::new(image, context, &components);
    let mut gone = vec![false; components.len()];
    let whole = trial.words(&gone);
    let mut notes = Vec::new();
    if whole <= room {
        notes.push(format!("it fits: {whole} words of {room}"));
    } else {
        let first = greedily(&mut trial, room);
        let found = best(&mut trial, room, &first);
        gone.clone_from(&found.gone);
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
        let left = trial.words(&gone);
        notes.push(match left.checked_sub(room) {
            Some(over) if over > 0 => format!("what has to stay does not fit: {left} words, over by {over}"),
            _ => distance(&found),
        });
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

/// What stays, by search.
fn best(trial: &mut Trial<'_, '_>, room: u64, first: &[bool]) -> Found {
    let pieces = Pieces::of(trial.image, trial.context, trial.components);
    let item = |component: &Component| Item {
        worth: component.worth,
        lambdas: component.entries.len(),
        asked: component.asked,
    };
    let items: Vec<Item> = trial.components.iter().map(item).collect();
    search(&items, &pieces, room, first, &mut |gone| trial.words(gone))
}

/// How far from the best what stays can be.
fn distance(found: &Found) -> String {
    let Found { worth, bound, .. } = found;
    if bound <= worth {
        return format!("what stays is worth {worth:.2}, the most that fits");
    }
    let under = (bound - worth) / bound * 100.0;
    format!("what stays is worth {worth:.2}, at most {under:.1} % under the most that fits")
}

/// A line for each component that goes, the most worth first: what would have to shrink for it to stay.
fn tell(trial: &mut Trial<'_, '_>, gone: &[bool], room: u64) -> Vec<String> {
    let components = trial.components;
    let mut away: Vec<usize> = (0..gone.len()).filter(|index| gone[*index]).collect();
    away.sort_by(|a, b| {
        components[*b]
            .worth
            .total_cmp(&components[*a].worth)
            .then(a.cmp(b))
    });
    let mut notes = Vec::new();
    if away.len() > MAX_TOLD {
        notes.push(format!(
            "{} groups of lambdas to the host; those that are worth most:",
            away.len()
        ));
    }
    let left = trial.words(gone);
    let mut cut = Vec::new();
    for index in away.into_iter().take(MAX_TOLD) {
        let mut with = gone.to_vec();
        with[index] = false;
        let words = trial.words(&with);
        let over = words.saturating_sub(room);
        let component = &components[index];
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
        cut.push(Cut {
            entries: component.entries.clone(),
            words: words.saturating_sub(left),
        });
    }
    *trial.context.cut.borrow_mut() = cut;
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

/// What is found at once: which components go.
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
