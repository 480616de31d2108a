//! What the stage takes at least, whatever goes.
//!
//! When lambdas leave, the stage hands up what leads to them alone ([`crate::hand_up`]): nodes become the leaf that does so,
//! nodes whose ways have become the same go, and nodes that have become equal are one. Still, a node stays
//!
//! - that tells an entry on the NIC from something: the entry is reached by one of its ways and not by another, so these
//!   are not the same. (A test or table of ids only if an id of its own leads to the entry: else it may be skipped, as what no
//!   id here matches is handed up.)
//! - and an action of a table by which alone the entry is reached, as what else the table leads to does not become that.
//!
//! Two nodes do not become one if one leads to the other, as there are no cycles; nor if they lead to no entry both, as what
//! became of them leads to one that each of them led to. So nodes are picked from the root on, of which each two are so: all
//! that a node leads to, where its ways have no entries in common, and of ways that have some the one with the most.

use std::collections::BTreeMap;

use lambdac_cost::Shape;

use crate::cost::node_items;
use crate::image::{Image, Leaf, Node, NodeId};
use crate::pass::Context;

/// Most words of memory for what nodes lead to; a stage that takes more is not looked at, and said to take nothing.
const MAX_WORDS: usize = 1 << 24;

/// A piece of the stage, and the entries each of which needs it.
#[derive(Debug)]
pub(super) struct Needed {
    pub words: u64,
    pub by: Vec<usize>,
}

/// A set of entries.
#[derive(Clone, PartialEq)]
struct Entries(Vec<u64>);

impl Entries {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, entry: usize) {
        self.0[entry / 64] |= 1 << (entry % 64);
    }

    fn extend(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Those that are in one of two and not in the other.
    fn differ(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a ^ b).collect())
    }

    fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn list(&self) -> Vec<usize> {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            let ones = (0..64).filter(move |bit| word >> bit & 1 == 1);
            ones.map(move |bit| at * 64 + bit)
        };
        self.0.iter().enumerate().flat_map(bits).collect()
    }
}

/// The pieces that the stage has at least.
pub(super) fn pieces(image: &Image, context: &Context<'_>) -> Vec<Needed> {
    let nodes = &image.stage.nodes;
    if nodes.len().saturating_mul(image.entries.len().div_ceil(64)) > MAX_WORDS {
        return Vec::new();
    }
    let leads = leads(image);
    let mut pieces = Vec::new();
    for at in picked(image, &leads) {
        let node = &nodes[at.index()];
        let evaluated = match node {
            Node::Test { cond, .. } => context.code().priced.cond_words(*cond),
            _ => 0,
        };
        let items = |shape: Shape| context.model.shape(&shape);
        // A table's actions stand apart.
        let own = Shape {
            actions: match node {
                Node::Table { .. } => 0,
                _ => node_items(image, node).actions,
            },
            ..node_items(image, node)
        };
        let by = tells(node, &leads);
        pieces.push((items(own) + evaluated, by));
        if let Node::Table { entries, miss, .. } = node {
            let action = Shape {
                actions: 1,
                ..Shape::default()
            };
            let actions = alone(entries, *miss, &leads).into_iter();
            pieces.extend(actions.map(|by| (items(action), by)));
        }
    }
    let pieces = pieces
        .into_iter()
        .map(|(words, by)| Needed { words, by: by.list() });
    pieces.filter(|piece| !piece.by.is_empty()).collect()
}

/// By node: the entries that it leads to.
fn leads(image: &Image) -> Vec<Entries> {
    let mut leads: Vec<Entries> = Vec::with_capacity(image.stage.nodes.len());
    for node in &image.stage.nodes {
        let mut own = Entries::none(image.entries.len());
        if let Node::Leaf(Leaf::Run(entry)) = node {
            own.insert(*entry);
        }
        // Successors have lower numbers.
        node.for_each_successor(&mut |to| own.extend(&leads[to.index()]));
        leads.push(own);
    }
    leads
}

/// Nodes of which no two become one.
fn picked(image: &Image, leads: &[Entries]) -> Vec<NodeId> {
    let mut picked = Vec::new();
    let mut seen = vec![false; leads.len()];
    let mut todo = vec![image.stage.root];
    while let Some(at) = todo.pop() {
        if std::mem::replace(&mut seen[at.index()], true) {
            continue;
        }
        let mut ways = image.stage.nodes[at.index()].successors();
        ways.sort_unstable();
        ways.dedup();
        ways.sort_by_key(|to| std::cmp::Reverse(leads[to.index()].len()));
        let mut taken = Entries::none(image.entries.len());
        for to in ways {
            if !leads[to.index()].meets(&taken) {
                taken.extend(&leads[to.index()]);
                todo.push(to);
            }
        }
        picked.push(at);
    }
    picked
}

/// The entries for each of which a node stays.
fn tells(node: &Node, leads: &[Entries]) -> Entries {
    let of = |to: &NodeId| &leads[to.index()];
    match node {
        Node::Leaf(_) => Entries(Vec::new()),
        Node::Workload { then, other, .. } => of(then).without(of(other)),
        Node::Length { then, other, .. } | Node::Test { then, other, .. } => of(then).differ(of(other)),
        Node::Table { entries, miss, .. } => {
            let mut all = of(miss).clone();
            entries.iter().for_each(|(_, to)| all.extend(of(to)));
            all.without(of(miss))
        }
    }
}

/// By action of a table: the entries that it alone leads to.
fn alone(entries: &[(u64, NodeId)], miss: NodeId, leads: &[Entries]) -> Vec<Entries> {
    let mut ways: Vec<NodeId> = entries.iter().map(|(_, to)| *to).collect();
    ways.sort_unstable();
    ways.dedup();
    let mut users: BTreeMap<usize, usize> = BTreeMap::new();
    for to in ways.iter().chain([&miss]) {
        for entry in leads[to.index()].list() {
            *users.entry(entry).or_default() += 1;
        }
    }
    let alone = |to: NodeId| {
        let mut alone = Entries(vec![0; leads[to.index()].0.len()]);
        let own = leads[to.index()].list().into_iter();
        own.filter(|entry| users[entry] == 1)
            .for_each(|entry| alone.insert(entry));
        alone
    };
    ways.into_iter().filter(|to| *to != miss).map(alone).collect()
}
