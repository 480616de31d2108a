//! partition: what does not fit the core's store runs on the host.
//!
//! Lambdas tied by state that changes live on one side, so components of them move as a whole. Each is worth the requests
//! that it answers on the NIC: the workload's rate, spread evenly over its lambdas. With up to [`EXACT`] components every
//! choice is counted and the one that is worth most taken (then the smaller one). With more, the component with the least
//! worth for each word that its going frees goes, until the rest fits; then those that still fit come back, the most
//! worth first. Words are counted on the whole image each time, as shared code goes only with its last user.
//!
//! **Why nothing changes.** The host runs the same code on the same state behind the same stage: a request for a lambda
//! there is handed up untouched, before any effect.

use std::collections::BTreeMap;

use crate::cost::ImageCost;
use crate::image::{Call, Image};
use crate::pass::{Context, Pass};
use crate::touch::{self, Item};

/// The pass.
pub(crate) const PARTITION: Pass = Pass {
    name: "partition",
    summary: "What does not fit the store to the host",
    run,
};

/// Most components of which every choice is counted.
const EXACT: usize = 8;

/// Components that do not fit when they are tried again, before the rest is given up.
const MAX_TRIES: usize = 8;
/// Groups that are told of one by one.
const MAX_TOLD: usize = 12;

/// Lambdas that stay together.
struct Component {
    entries: Vec<usize>,
    worth: f64,
}

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let Some(store) = context.device.store else {
        return Vec::new();
    };
    let room = store.words.saturating_sub(store.base_words);
    let whole = words(image, context);
    if whole <= room {
        return vec![format!("it fits: {whole} words of {room}")];
    }
    let components = components(image, &context.rates);
    let gone = if components.len() <= EXACT {
        exactly(image, context, &components, room)
    } else {
        greedily(image, context, &components, room)
    };
    let mut notes = vec![format!(
        "over by {}: {whole} words, {room} beside the base",
        whole - room
    )];
    if let (Some(pooled), Some(cores)) = (store.pooled_words, store.pooled_cores)
        && whole + store.base_words <= pooled
    {
        notes.push(format!(
            "all of it would fit two cores' pooled store, with {cores} cores left"
        ));
    }
    let away: Vec<(usize, &Component)> = components
        .iter()
        .enumerate()
        .filter(|(index, _)| gone[*index])
        .collect();
    if away.len() > MAX_TOLD {
        notes.push(format!(
            "{} groups of lambdas to the host; the first of them:",
            away.len()
        ));
    }
    for (index, component) in away.into_iter().take(MAX_TOLD) {
        let mut trial = image.clone();
        others(&mut trial, &components, &gone, index);
        let over = words(&trial, context).saturating_sub(room);
        let names: Vec<String> = component
            .entries
            .iter()
            .map(|entry| format!("`{}`", image.entry_name(*entry)))
            .collect();
        notes.push(format!(
            "{} to the host (worth {:.0}): back on the NIC, {over} words would have to go",
            names.join(", "),
            component.worth
        ));
    }
    for (index, component) in components.iter().enumerate() {
        if gone[index] {
            send(image, component);
        }
    }
    if image.placed.is_some() {
        crate::stratify::place(image, context);
    }
    notes
}

fn words(image: &Image, context: &Context<'_>) -> u64 {
    ImageCost::of(image, context.device, &context.model).words()
}

/// Everything that is gone but one.
fn others(image: &mut Image, components: &[Component], gone: &[bool], but: usize) {
    for (index, component) in components.iter().enumerate() {
        if gone[index] && index != but {
            send(image, component);
        }
    }
}

/// The host takes a component.
fn send(image: &mut Image, component: &Component) {
    for entry in &component.entries {
        image.keep_on_host(
            *entry,
            "it does not fit the core's store beside what is asked for more",
        );
    }
}

impl Image {
    /// The host runs an entry's lambda. Whoever decides this sends all lambdas along that are tied to it by state.
    pub fn keep_on_host(&mut self, entry: usize, why: &str) {
        self.entries[entry].on_host.get_or_insert_with(|| why.into());
        self.plumbing.calls[entry] = Call::None;
    }
}

/// Lambdas on the NIC by the changing state that ties them.
fn components(image: &Image, rates: &[f64]) -> Vec<Component> {
    let funcs = touch::of_funcs(&image.module);
    let mut root: Vec<usize> = (0..image.entries.len()).collect();
    let mut by_object: BTreeMap<u32, usize> = BTreeMap::new();
    let on_nic =
        |entry: &usize| image.entries[*entry].on_host.is_none() && image.plumbing.calls[*entry] != Call::None;
    let entries: Vec<usize> = (0..image.entries.len()).filter(on_nic).collect();
    for &entry in &entries {
        let lambda = &image.module.lambdas[image.entries[entry].lambda.index()];
        for item in touch::of_lambda(&image.module, lambda, &funcs).into_keys() {
            let Item::Object(id) = item else { continue };
            if matches!(
                image.module.objects[id as usize].kind,
                lambdac_mir::ObjectKind::Table { .. }
            ) {
                continue;
            }
            let other = *by_object.entry(id).or_insert(entry);
            let (a, b) = (find(&root, entry), find(&root, other));
            root[a.max(b)] = a.min(b);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &entry in &entries {
        groups.entry(find(&root, entry)).or_default().push(entry);
    }
    groups
        .into_values()
        .map(|entries| {
            let worth = |entry: &usize| {
                let workload = image.entries[*entry].workload;
                rates[workload] / image.workloads[workload].entries.max(1) as f64
            };
            Component {
                worth: entries.iter().map(worth).sum(),
                entries,
            }
        })
        .collect()
}

fn find(root: &[usize], mut at: usize) -> usize {
    while root[at] != at {
        at = root[at];
    }
    at
}

/// Counts every choice: which components go.
fn exactly(image: &Image, context: &Context<'_>, components: &[Component], room: u64) -> Vec<bool> {
    let mut best: Option<(f64, u64, Vec<bool>)> = None;
    for choice in 0u32..1 << components.len() {
        let gone: Vec<bool> = (0..components.len())
            .map(|index| choice >> index & 1 == 1)
            .collect();
        let kept = components.iter().zip(&gone).filter(|(_, gone)| !**gone);
        let worth: f64 = kept.map(|(component, _)| component.worth).sum();
        if best.as_ref().is_some_and(|(most, ..)| worth < *most) {
            continue;
        }
        let mut trial = image.clone();
        others(&mut trial, components, &gone, usize::MAX);
        let words = words(&trial, context);
        let better = |(most, least, _): &(f64, u64, Vec<bool>)| worth > *most || words < *least;
        if words <= room && best.as_ref().is_none_or(better) {
            best = Some((worth, words, gone));
        }
    }
    // Where not even the empty image fits, everything goes.
    best.map_or_else(|| vec![true; components.len()], |(_, _, gone)| gone)
}

fn greedily(image: &Image, context: &Context<'_>, components: &[Component], room: u64) -> Vec<bool> {
    let mut gone = vec![false; components.len()];
    let mut trial = image.clone();
    let cost = ImageCost::of(image, context.device, &context.model);
    // A lambda's share of its code stands for what its going frees; the image is counted again as they go.
    let freed = |component: &Component| -> u64 {
        let words = component.entries.iter().map(|entry| cost.entries[*entry].words);
        words.sum::<u64>().max(1)
    };
    let mut order: Vec<usize> = (0..components.len()).collect();
    order.sort_by(|a, b| {
        let ratio = |index: &usize| components[*index].worth / freed(&components[*index]) as f64;
        ratio(a).total_cmp(&ratio(b)).then(a.cmp(b))
    });
    let mut now = cost.words();
    let mut expected = now;
    for index in order {
        if expected <= room {
            now = words(&trial, context);
            expected = now;
        }
        if now <= room {
            break;
        }
        send(&mut trial, &components[index]);
        gone[index] = true;
        expected = expected.saturating_sub(freed(&components[index]));
    }
    let mut back: Vec<usize> = (0..components.len()).filter(|index| gone[*index]).collect();
    back.sort_by(|a, b| {
        let worth = components[*b].worth.total_cmp(&components[*a].worth);
        worth.then(freed(&components[*a]).cmp(&freed(&components[*b])))
    });
    // Beyond a few that do not fit, the rest, which is worth less and takes more, is not tried.
    let mut tries = MAX_TRIES;
    for index in back {
        if tries == 0 {
            break;
        }
        let mut with = image.clone();
        let mut fewer = gone.clone();
        fewer[index] = false;
        others(&mut with, components, &fewer, usize::MAX);
        if words(&with, context) <= room {
            gone = fewer;
        } else {
            tries -= 1;
        }
    }
    gone
}
