//! What a device cannot run, whatever fits.
//!
//! A lambda that can run longer at a stretch, between two waits for services, than the device lets one run ([`lambdac_target::Limits::max_cycles`]) is the host's,
//! as its threads give way to each other only where they wait. Lambdas tied to it by state that changes go with it: state
//! is on one side. The worst case is that of the image as it is linked, everything in the far memory, so that it does not
//! depend on what passes do.

use std::collections::BTreeMap;

use lambdac_mir::ObjectKind;
use lambdac_target::Device;

use crate::image::{Call, Image};
use crate::touch::Item;

/// What is known of an entry's code.
pub(crate) struct Code<I> {
    /// Cycles that it runs at a stretch at most.
    pub stretch: u64,
    /// What it touches.
    pub touched: I,
}

/// Keeps on the host what the device cannot run.
pub(crate) fn legalise<I: IntoIterator<Item = Item>>(
    image: &mut Image,
    device: &Device,
    code: impl Fn(&Image, usize) -> Code<I>,
) {
    let Some(most) = device.limits.max_cycles else {
        return;
    };
    let worst: Vec<u64> = (0..image.entries.len())
        .map(|entry| code(image, entry).stretch)
        .collect();
    if worst.iter().all(|worst| *worst <= most) {
        return;
    }
    for tied in tied(image, |entry| code(image, entry).touched) {
        let Some(first) = tied.iter().find(|entry| worst[**entry] > most) else {
            continue;
        };
        let name = image.entry_name(*first);
        for entry in tied {
            let why = match worst[entry] {
                cycles if cycles > most => format!(
                    "its worst case, {cycles} cycles, is longer than the {most} that {} lets a lambda run",
                    device.name
                ),
                _ => format!(
                    "it shares state with `{name}`, which runs too long for {}",
                    device.name
                ),
            };
            image.keep_on_host(entry, &why);
        }
    }
}

/// Entries on the NIC by the state that changes and ties them, in the order of the first of each group.
pub(crate) fn tied<I: IntoIterator<Item = Item>>(
    image: &Image,
    touched: impl Fn(usize) -> I,
) -> Vec<Vec<usize>> {
    let mut ties = Ties::new(image.entries.len());
    let mut by_object: BTreeMap<u32, usize> = BTreeMap::new();
    let on_nic =
        |entry: &usize| image.entries[*entry].on_host.is_none() && image.plumbing.calls[*entry] != Call::None;
    let entries: Vec<usize> = (0..image.entries.len()).filter(on_nic).collect();
    for &entry in &entries {
        for item in touched(entry) {
            let Item::Object(id) = item else { continue };
            // Lambdas do not change tables.
            if !matches!(image.module.objects[id as usize].kind, ObjectKind::Table { .. }) {
                ties.tie(entry, *by_object.entry(id).or_insert(entry));
            }
        }
    }
    ties.groups(entries)
}

/// Numbers that are tied to each other.
pub(crate) struct Ties(Vec<usize>);

impl Ties {
    pub fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    pub fn tie(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b);
    }

    fn first(&self, mut at: usize) -> usize {
        while self.0[at] != at {
            at = self.0[at];
        }
        at
    }

    /// What is tied, in the order of the first of each group.
    pub fn groups(&self, all: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for one in all {
            groups.entry(self.first(one)).or_default().push(one);
        }
        groups.into_values().collect()
    }
}
