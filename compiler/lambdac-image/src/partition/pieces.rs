//! What choices of components take at least, piece by piece.
//!
//! A piece is taken once, by however many components need it: a lambda's code, a function, a routine that the device has
//! once an image, a reply's headers, a table of ways out, and what an entry has around itself alone. What a choice takes is
//! at least the sum of the pieces that it needs:
//!
//! - code and what stands around it are counted just so ([`crate::price`], [`crate::cost`]);
//! - the stage is not, as it is made anew for each choice. But it leads to each entry that stays apart from all others, and
//!   elsewhere those whose id nobody has: a graph that tells `n` places and one more apart has a branch, or an action of
//!   a table, for each of the `n`. And a table of ids in front of it stays as long as an id in it leads to an entry that
//!   stays: what follows when no id matches leads to other workloads, so no choice makes the two one.
//!
//! From this follows a bound on what can still be gained: a piece that no component has yet which is decided to stay is paid
//! for by the undecided ones that need it, each its part ([`Pieces::share`]). However many of them stay, what they pay
//! together is no more than the piece.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_cost::Shape;

use super::Component;
use crate::cost::{entry_items, header_items, reply_items, route_items};
use crate::image::{Call, Image, Key, Leaf, Node, NodeId, Role};
use crate::pass::Context;
use crate::price::Piece;

/// Pieces by component.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Words that any choice takes.
    pub base: u64,
    /// By piece: its words.
    pub words: Vec<u64>,
    /// By component: its pieces, each once.
    pub of: Vec<Vec<usize>>,
}

/// What several entries share, or one has.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Code(Piece),
    /// The call of a lambda's code.
    Call(usize),
    Reply(usize),
    Route(usize),
    Entry(usize),
    /// A table of ids, by its node.
    Ids(usize),
}

impl Pieces {
    /// Those of an image's components.
    pub fn of(image: &Image, context: &Context<'_>, components: &[Component]) -> Self {
        let plumbing = &image.plumbing;
        let words = |shape: Shape| context.model.shape(&shape);
        let always = plumbing.headers.iter();
        let always = always.filter(|header| !matches!(header.role, Role::Request(Some(_))));
        let led = led(image, std::iter::once(image.stage.root));
        let ids = ids(image);
        let table = Shape {
            keyed_tables: 1,
            key_bits: Key::Workload.bits().next_multiple_of(32),
            ..Shape::default()
        };
        // A branch of the stage, or an action of one of its tables.
        let branch = Shape {
            branches: 1,
            ..Shape::default()
        };
        let action = Shape {
            actions: 1,
            ..Shape::default()
        };
        let told = words(branch).min(words(action));
        let mut new = Self {
            base: always.map(|header| words(header_items(header))).sum(),
            ..Self::default()
        };
        let mut numbers: BTreeMap<Part, usize> = BTreeMap::new();
        for component in components {
            let mut own = BTreeSet::new();
            let mut add = |part: Part, words: u64| {
                let number = *numbers.entry(part).or_insert(new.words.len());
                match new.words.get_mut(number) {
                    // A routine may be told larger by one piece of code than by another.
                    Some(known) => *known = words.min(*known),
                    None => new.words.push(words),
                }
                own.insert(number);
            };
            for entry in &component.entries {
                let lambda = image.entries[*entry].lambda.index();
                for (piece, words) in context.code().priced.pieces(lambda) {
                    add(Part::Code(piece), words);
                }
                if plumbing.calls[*entry] == Call::Direct {
                    let call = Shape {
                        plugin_calls: 1,
                        ..Shape::default()
                    };
                    add(Part::Call(lambda), words(call));
                }
                let (reply, route) = (plumbing.reply_of[*entry], plumbing.route_of[*entry]);
                add(Part::Reply(reply), words(reply_items(&plumbing.replies[reply])));
                add(Part::Route(route), words(route_items(&plumbing.routes[route])));
                let headers = plumbing.headers.iter();
                let request = headers.filter(|header| header.role == Role::Request(Some(*entry)));
                let request: u64 = request.map(|header| words(header_items(header))).sum();
                if let Some(node) = ids.get(entry) {
                    add(Part::Ids(*node), words(table));
                }
                let stage = if led.contains(entry) { told } else { 0 };
                add(
                    Part::Entry(*entry),
                    request + words(entry_items(image, *entry)) + stage,
                );
            }
            new.of.push(own.into_iter().collect());
        }
        new
    }

    /// Which pieces a choice needs.
    pub fn needed(&self, kept: &[bool]) -> Vec<bool> {
        let mut needed = vec![false; self.words.len()];
        let kept = self.of.iter().zip(kept).filter(|(_, kept)| **kept);
        kept.flat_map(|(pieces, _)| pieces)
            .for_each(|piece| needed[*piece] = true);
        needed
    }

    /// Words that a choice takes at least which needs these pieces.
    pub fn least(&self, needed: &[bool]) -> u64 {
        let words = self.words.iter().zip(needed).filter(|(_, needed)| **needed);
        self.base + words.map(|(words, _)| words).sum::<u64>()
    }

    /// What each of some components pays for pieces that are not needed yet.
    pub fn share(&self, components: &[usize], needed: &[bool]) -> Vec<f64> {
        let mut users = vec![0u32; self.words.len()];
        let pieces = components.iter().flat_map(|component| &self.of[*component]);
        pieces.for_each(|piece| users[*piece] += 1);
        let part = |piece: &usize| match needed[*piece] {
            true => 0.0,
            false => self.words[*piece] as f64 / f64::from(users[*piece]),
        };
        let pays = |component: &usize| self.of[*component].iter().map(part).sum();
        components.iter().map(pays).collect()
    }
}

/// By entry: the table in front of the stage whose ids lead to it.
fn ids(image: &Image) -> BTreeMap<usize, usize> {
    let mut ids = BTreeMap::new();
    let mut at = image.stage.root;
    loop {
        at = match &image.stage.nodes[at.index()] {
            Node::Workload { other, .. } => *other,
            Node::Table {
                key: Key::Workload,
                entries,
                miss,
            } => {
                let starts = entries.iter().map(|(_, to)| *to).filter(|to| to != miss);
                ids.extend(led(image, starts).into_iter().map(|entry| (entry, at.index())));
                *miss
            }
            _ => return ids,
        };
    }
}

/// The entries that nodes of the stage lead to.
fn led(image: &Image, from: impl Iterator<Item = NodeId>) -> BTreeSet<usize> {
    let mut led = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut todo: Vec<NodeId> = from.collect();
    while let Some(at) = todo.pop() {
        if !seen.insert(at) {
            continue;
        }
        let node = &image.stage.nodes[at.index()];
        if let Node::Leaf(Leaf::Run(entry)) = node {
            led.insert(*entry);
        }
        node.for_each_successor(&mut |to| todo.push(to));
    }
    led
}
