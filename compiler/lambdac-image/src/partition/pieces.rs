//! What choices of components take at least, piece by piece.
//!
//! A piece is taken once, by however many components need it: a lambda's code, a function, a routine that the device has
//! once an image, a reply's headers, a table of ways out, and what an entry has around itself alone. What a choice takes is
//! at least the sum of the pieces that it needs:
//!
//! - code and what stands around it are counted just so ([`crate::price`], [`crate::cost`]);
//! - the stage is made anew for each choice, and has at least what [`super::stage`] finds.
//!
//! From this follows a bound on what can still be gained: a piece that no component has yet which is decided to stay is paid
//! for by the undecided ones that need it, each its part ([`Pieces::share`]). However many of them stay, what they pay
//! together is no more than the piece, whatever the parts are; the bound is close where nobody is cheaper for its worth than
//! the others. Where no more than so many of them fit, a part need not be smaller than by that many.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_cost::Shape;

use super::{Component, stage};
use crate::cost::{entry_items, header_items, reply_items, route_items};
use crate::image::{Call, Image, Role};
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
    /// Of the stage, by number.
    Stage(usize),
}

impl Pieces {
    /// Those of an image's components.
    pub fn of(image: &Image, context: &Context<'_>, components: &[Component]) -> Self {
        let plumbing = &image.plumbing;
        let words = |shape: Shape| context.model.shape(&shape);
        let always = plumbing.headers.iter();
        let always = always.filter(|header| !matches!(header.role, Role::Request(Some(_))));
        let mut requests: BTreeMap<usize, u64> = BTreeMap::new();
        for header in &plumbing.headers {
            if let Role::Request(Some(entry)) = header.role {
                *requests.entry(entry).or_default() += words(header_items(header));
            }
        }
        let stage = stage::pieces(image, context);
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); image.entries.len()];
        for (number, piece) in stage.iter().enumerate() {
            piece.by.iter().for_each(|entry| needs[*entry].push(number));
        }
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
                let request = requests.get(entry).copied().unwrap_or(0);
                add(Part::Entry(*entry), request + words(entry_items(image, *entry)));
                for piece in &needs[*entry] {
                    add(Part::Stage(*piece), stage[*piece].words);
                }
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

    /// What each of some components, of which at most so many stay, pays for pieces that are not needed yet: a part by what
    /// `leans` says of each, or the same part each where not all that need a piece can stay.
    pub fn share(&self, components: &[usize], needed: &[bool], most: usize, leans: &[f64]) -> Vec<f64> {
        let part = self.part(components, needed, most, leans);
        let pays = |component: &usize| {
            let pieces = self.of[*component].iter();
            pieces.map(|piece| part(*component, *piece)).sum()
        };
        components.iter().map(pays).collect()
    }

    /// The words that a component pays for a piece that it needs, as [`Pieces::share`] sums them.
    pub fn part<'p>(
        &'p self,
        components: &[usize],
        needed: &'p [bool],
        most: usize,
        leans: &'p [f64],
    ) -> impl Fn(usize, usize) -> f64 + 'p {
        let mut users = vec![(0usize, 0.0); self.words.len()];
        for component in components {
            for piece in &self.of[*component] {
                users[*piece].0 += 1;
                users[*piece].1 += leans[*component];
            }
        }
        move |component, piece| {
            let (count, sum) = users[piece];
            let part = if count > most {
                1.0 / most.max(1) as f64
            } else {
                leans[component] / sum
            };
            if needed[piece] {
                0.0
            } else {
                self.words[piece] as f64 * part
            }
        }
    }
}
