//! Items to memories: exactly where they are few, greedily where they are many.

use std::collections::BTreeMap;

use lambdac_cost::Placement;
use lambdac_target::Device;

use crate::touch::Item;

/// Most items that are placed exactly.
pub(super) const EXACT: usize = 18;
/// Most steps of the exact search; beyond, the best found so far is taken and the gap reported.
const MAX_STEPS: u64 = 200_000;

/// What is placed.
#[derive(Clone)]
pub(super) struct Placed {
    pub item: Item,
    pub bytes: u64,
    /// Expected waits.
    pub waits: f64,
    /// Memories that it may lie in, nearest first.
    pub allowed: Vec<usize>,
    /// Whether its author said where.
    pub asked: bool,
}

/// Items with a memory for each.
pub(super) struct Solved {
    pub items: Vec<Placed>,
    pub chosen: Vec<Option<usize>>,
    pub exact: bool,
}

impl Solved {
    pub fn of(mut items: Vec<Placed>, device: &Device) -> Self {
        // What has only one place first, then the dearest: early choices bound the rest best.
        items.sort_by(|a, b| {
            let dearest = density(b).total_cmp(&density(a));
            b.asked.cmp(&a.asked).then(dearest)
        });
        let greedy = greedily(&items, device);
        let (chosen, exact) = if items.len() <= EXACT {
            exactly(&items, device, greedy)
        } else {
            (greedy, false)
        };
        Self { items, chosen, exact }
    }

    /// Cycles of waiting.
    pub fn sum(&self, device: &Device) -> f64 {
        let mut chosen = self.chosen.iter();
        let largest = Placement::largest(device);
        sum(&self.items, device, |_| {
            chosen.next().copied().flatten().unwrap_or(largest)
        })
    }
}

fn latency(device: &Device, memory: usize) -> f64 {
    let memory = device.memory.get(memory);
    memory.map_or(0.0, |memory| memory.latency as f64)
}

/// Less than this no placement waits. Among items that may lie in the same memories, the one that is waited for most a
/// byte is best in the nearest, and cutting items is better than any way to place them whole.
pub(super) fn bound(items: &[Placed], device: &Device) -> f64 {
    let mut classes: BTreeMap<&[usize], Vec<&Placed>> = BTreeMap::new();
    for item in items {
        classes.entry(&item.allowed).or_default().push(item);
    }
    let mut sum = 0.0;
    for (allowed, mut class) in classes {
        class.sort_by(|a, b| density(b).total_cmp(&density(a)));
        let mut rooms = allowed
            .iter()
            .map(|memory| (device.memory[*memory].bytes, latency(device, *memory)));
        let mut room = rooms.next();
        for item in class {
            let mut left = item.bytes.max(1);
            while let Some((bytes, latency)) = &mut room {
                let here = left.min(*bytes);
                sum += item.waits * *latency * here as f64 / item.bytes.max(1) as f64;
                *bytes -= here;
                left -= here;
                if left == 0 {
                    break;
                }
                room = rooms.next();
            }
        }
    }
    sum
}

/// Waits for a byte of an item.
fn density(item: &Placed) -> f64 {
    item.waits / item.bytes.max(1) as f64
}

/// The least that an item can wait.
fn nearest(item: &Placed, device: &Device) -> f64 {
    let first = item
        .allowed
        .iter()
        .find(|memory| device.memory[**memory].bytes >= item.bytes);
    first.map_or(0.0, |memory| item.waits * latency(device, *memory))
}

pub(super) fn sum(items: &[Placed], device: &Device, mut memory: impl FnMut(&Placed) -> usize) -> f64 {
    items
        .iter()
        .map(|item| item.waits * latency(device, memory(item)))
        .sum()
}

/// Bytes that an item takes of a memory, in whole words.
fn taken(item: &Placed, device: &Device, memory: usize) -> u64 {
    item.bytes.next_multiple_of(u64::from(device.memory[memory].word))
}

fn greedily(items: &[Placed], device: &Device) -> Vec<Option<usize>> {
    let mut free: Vec<u64> = device.memory.iter().map(|memory| memory.bytes).collect();
    let place = |item: &Placed| {
        let memory = item
            .allowed
            .iter()
            .copied()
            .find(|memory| free[*memory] >= taken(item, device, *memory))?;
        free[memory] -= taken(item, device, memory);
        Some(memory)
    };
    items.iter().map(place).collect()
}

/// Branch and bound from a first solution; whether it is exact.
fn exactly(items: &[Placed], device: &Device, first: Vec<Option<usize>>) -> (Vec<Option<usize>>, bool) {
    // The rest of the items cannot wait less than in their nearest memories.
    let mut rest = vec![0.0; items.len() + 1];
    for index in (0..items.len()).rev() {
        rest[index] = rest[index + 1] + nearest(&items[index], device);
    }
    if first.iter().any(Option::is_none) {
        return (first, false);
    }
    let cost = |choice: &[Option<usize>]| -> f64 {
        let pairs = items.iter().zip(choice);
        pairs
            .map(|(item, memory)| memory.map_or(0.0, |memory| item.waits * latency(device, memory)))
            .sum()
    };
    let mut search = Search {
        items,
        device,
        rest,
        best: cost(&first),
        chosen: first,
        steps: 0,
    };
    let mut free: Vec<u64> = device.memory.iter().map(|memory| memory.bytes).collect();
    search.branch(0, 0.0, &mut free, &mut Vec::new());
    let exact = search.steps < MAX_STEPS;
    (search.chosen, exact)
}

struct Search<'a> {
    items: &'a [Placed],
    device: &'a Device,
    rest: Vec<f64>,
    best: f64,
    chosen: Vec<Option<usize>>,
    steps: u64,
}

impl Search<'_> {
    /// At most [`EXACT`] deep.
    fn branch(&mut self, index: usize, cost: f64, free: &mut Vec<u64>, path: &mut Vec<Option<usize>>) {
        self.steps += 1;
        if self.steps >= MAX_STEPS || cost + self.rest[index] >= self.best {
            return;
        }
        let Some(item) = self.items.get(index) else {
            self.best = cost;
            self.chosen.clone_from(path);
            return;
        };
        for &memory in &item.allowed {
            let bytes = taken(item, self.device, memory);
            if free[memory] < bytes {
                continue;
            }
            free[memory] -= bytes;
            path.push(Some(memory));
            self.branch(
                index + 1,
                cost + item.waits * latency(self.device, memory),
                free,
                path,
            );
            path.pop();
            free[memory] += bytes;
        }
    }
}
