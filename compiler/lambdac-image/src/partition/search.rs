//! Which components stay: those that are worth most of what fits, as far as a bounded search can tell.
//!
//! A knapsack whose pieces are shared, by branch and bound. Choices are divided until nothing of them is open, those first
//! that promise most, and for each kind of them it is known what the best is worth at most:
//!
//! - what is decided takes at least its pieces ([`Pieces::least`]), and leaves some room;
//! - in that room are put the open components, each at its part of the pieces that are not paid yet ([`Pieces::share`]), most
//!   worth for a word first, the last one cut. Whatever fits pays its parts in full out of the same room, as the parts of a
//!   piece are together no more than the piece; and no choice of components at fixed prices is worth more than this one, as
//!   each word of the room goes to what gives most for it. So it is a bound.
//!
//! It is weak where many components share a large piece and few of them have room: each pays a small part, and together they
//! pay the piece in part. So choices are divided by such pieces first, those of which most could be unpaid: either nobody
//! stays who needs it, or it is paid in full, whoever stays. What is best of the second kind holds somebody who needs the
//! piece, or it is of the first kind too; so its words are taken, and the bound holds. Where nothing is shared, the cut
//! component is what choices are divided by.
//!
//! What the bound fills the room with is a choice too, if its pieces fit; so is what is decided. Such choices are counted on
//! the whole image where they would be the best. A choice that does not fit by that count, though its pieces alone would, is
//! divided last: as a rule nothing below it fits. So few components are decided exactly, and many as far as the effort goes
//! that a search may take; then the most that is left open is the bound that is told.
//!
//! Where all are worth multiples of the least, the bound is the multiple below it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::pieces::Pieces;

/// Effort that a search may take: components that are looked at, in all choices together.
const EFFORT: usize = 1 << 20;
/// What counting a choice on the whole image is of that, for each component.
const COUNTING: usize = 16;
/// Most components of which, among choices of one worth, the one with most lambdas and then the fewest words is looked for.
const MAX_TIES: usize = 12;
/// Components that do not fit when the best choice is filled up, before the others are given up.
const MAX_FAILED: usize = 32;
/// Rounds of making none cheaper than the others.
const LEANING: usize = 16;
/// How often the number of components that can stay, and with it what each pays, is made more precise.
const ROUNDS: usize = 4;
/// A lambda's part of what everything is worth, so that of choices of one worth the one with more lambdas is better.
const LAMBDA: f64 = 1e-9;
/// Sums of rates that differ by less, as parts of everything, are equal.
const EQUAL: f64 = 1e-12;

/// What the search knows of a component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Requests that it answers.
    pub worth: f64,
    pub lambdas: usize,
    /// It stays.
    pub asked: bool,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub gone: Vec<bool>,
    /// What stays is worth this.
    pub worth: f64,
    /// No choice that fits is worth more.
    pub bound: f64,
}

/// What is decided of a component.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Open,
    Kept,
    Gone,
}

/// What is decided of choices: some components, and some pieces, which are paid whether a component needs them or not.
#[derive(Clone)]
struct Decided {
    sides: Vec<Side>,
    paid: Vec<bool>,
    /// By component: how much it pays of what it shares with others.
    leans: Vec<f64>,
}

/// Choices of which so much is decided.
struct Choices {
    decided: Decided,
    /// What the best of them is worth at most.
    bound: f64,
    /// What they are divided by; none where all is decided.
    split: Option<Split>,
    /// How often they were divided.
    depth: usize,
    /// What is kept fits by the count on the whole image.
    fits: bool,
}

/// What tells two kinds of choices apart.
#[derive(Clone, Copy)]
enum Split {
    /// Those that pay for a piece, and those without whoever needs it.
    Piece(usize),
    /// Those with a component, and those without.
    Component(usize),
}

impl Choices {
    /// What is looked at first: choices that fit, then those that promise most, then those that are almost decided.
    fn rank(&self) -> (bool, f64, usize) {
        (self.fits, self.bound, self.depth)
    }
}

impl PartialEq for Choices {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Choices {}

impl PartialOrd for Choices {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Choices {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.rank(), other.rank());
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
    }
}

struct Best {
    kept: Vec<bool>,
    value: f64,
    words: u64,
}

struct Search<'a> {
    items: &'a [Item],
    pieces: &'a Pieces,
    room: u64,
    /// By component: its worth, and a little for each lambda.
    values: Vec<f64>,
    /// By component: how much it pays of what it shares with others.
    leans: Vec<f64>,
    order: Vec<usize>,
    /// What all worths are multiples of, if they are.
    unit: Option<f64>,
    /// What sums are equal by.
    equal: f64,
    best: Option<Best>,
    effort: usize,
    words: &'a mut dyn FnMut(&[bool]) -> u64,
}

/// Looks for the best choice, from `first` on. `words` counts an image without what is gone.
pub(super) fn search(
    items: &[Item],
    pieces: &Pieces,
    room: u64,
    first: &[bool],
    words: &mut dyn FnMut(&[bool]) -> u64,
) -> Found {
    within(EFFORT, Search::new(items, pieces, room, words), first)
}

/// [`search`] with so much effort.
fn within(effort: usize, mut search: Search<'_>, first: &[bool]) -> Found {
    let items = search.items;
    let asked: Vec<bool> = items.iter().map(|item| item.asked).collect();
    search.count(first.iter().map(|gone| !gone).collect());
    search.count(asked.clone());
    search.fill();
    search.effort = effort;
    let open = search.run(&asked);
    search.fill();
    // Where not even what has to stay fits, nothing else does.
    let kept = search.best.take().map_or(asked, |best| best.kept);
    let worth = sum(items, &kept);
    Found {
        gone: kept.iter().map(|kept| !kept).collect(),
        worth,
        bound: open.max(worth),
    }
}

fn sum(items: &[Item], kept: &[bool]) -> f64 {
    let kept = items.iter().zip(kept).filter(|(_, kept)| **kept);
    kept.map(|(item, _)| item.worth).sum()
}

/// Which components are kept.
fn kept(sides: &[Side]) -> Vec<bool> {
    sides.iter().map(|side| *side == Side::Kept).collect()
}

impl<'a> Search<'a> {
    fn new(
        items: &'a [Item],
        pieces: &'a Pieces,
        room: u64,
        words: &'a mut dyn FnMut(&[bool]) -> u64,
    ) -> Self {
        let total: f64 = items.iter().map(|item| item.worth).sum();
        let lambda = if total > 0.0 { total * LAMBDA } else { 1.0 };
        let values: Vec<f64> = items
            .iter()
            .map(|item| item.worth + lambda * item.lambdas as f64)
            .collect();
        let undecided: Vec<usize> = (0..items.len()).filter(|index| !items[*index].asked).collect();
        let asked: Vec<bool> = items.iter().map(|item| item.asked).collect();
        let needed = pieces.needed(&asked);
        let mut leans = vec![1.0; items.len()];
        lean(pieces, &undecided, &needed, &values, &mut leans);
        let pays = pieces.share(&undecided, &needed, undecided.len(), &leans);
        let order = by_ratio(&undecided, &values, &pays);
        Self {
            items,
            pieces,
            room,
            order: order.into_iter().map(|(component, _)| component).collect(),
            unit: unit(items),
            equal: (total + lambda).max(f64::MIN_POSITIVE) * EQUAL,
            values,
            leans,
            best: None,
            effort: EFFORT,
            words,
        }
    }

    /// Adds to the best choice what still fits, that which is worth most for what it pays first.
    fn fill(&mut self) {
        let Some(mut kept) = self.best.as_ref().map(|best| best.kept.clone()) else {
            return;
        };
        let gone: Vec<usize> = (0..kept.len()).filter(|index| !kept[*index]).collect();
        let pays = self
            .pieces
            .share(&gone, &self.pieces.needed(&kept), gone.len(), &self.leans);
        let mut tries = MAX_FAILED;
        for (component, _) in by_ratio(&gone, &self.values, &pays) {
            if tries == 0 {
                break;
            }
            kept[component] = true;
            let fits = self.pieces.least(&self.pieces.needed(&kept)) <= self.room;
            if !fits || !self.count(kept.clone()) {
                kept[component] = false;
                tries -= 1;
            }
        }
    }

    /// Divides choices, from those where nothing but what has to stay is decided; what the best is worth at most that may
    /// have been missed.
    fn run(&mut self, asked: &[bool]) -> f64 {
        let side = |asked: &bool| if *asked { Side::Kept } else { Side::Open };
        let decided = Decided {
            sides: asked.iter().map(side).collect(),
            paid: vec![false; self.pieces.words.len()],
            leans: self.leans.clone(),
        };
        let mut todo = BinaryHeap::new();
        todo.extend(self.choices(decided, 0));
        while let Some(choices) = todo.pop() {
            if !self.is_open(choices.bound) {
                continue;
            }
            if self.effort == 0 {
                let open = todo.iter().chain([&choices]).map(|open| self.floor(open.bound));
                return open.fold(0.0, f64::max);
            }
            match choices.split {
                Some(Split::Piece(piece)) => todo.extend(self.by_piece(choices, piece)),
                Some(Split::Component(component)) => todo.extend(self.by_component(choices, component)),
                None => {}
            }
        }
        0.0
    }

    /// Choices without whoever needs a piece, and those that pay for it.
    fn by_piece(&mut self, of: Choices, piece: usize) -> impl Iterator<Item = Choices> + use<> {
        let mut without = of.decided.clone();
        for (side, pieces) in without.sides.iter_mut().zip(&self.pieces.of) {
            if *side == Side::Open && pieces.contains(&piece) {
                *side = Side::Gone;
            }
        }
        let mut with = of.decided;
        with.paid[piece] = true;
        let both = [without, with].map(|decided| self.choices(decided, of.depth + 1));
        both.into_iter().flatten().map(move |choices| Choices {
            fits: of.fits,
            ..choices
        })
    }

    /// Choices without a component, and those with it.
    fn by_component(&mut self, of: Choices, component: usize) -> impl Iterator<Item = Choices> + use<> {
        let (mut without, mut with) = (of.decided.clone(), of.decided);
        without.sides[component] = Side::Gone;
        with.sides[component] = Side::Kept;
        let kept = kept(&with.sides);
        let both = [without, with].map(|decided| self.choices(decided, of.depth + 1));
        let fits = of.fits && (both[1].is_none() || !self.improves(&kept) || self.count(kept));
        let fits = [of.fits, fits].into_iter();
        let both = both.into_iter().zip(fits);
        both.filter_map(|(choices, fits)| Some(Choices { fits, ..choices? }))
    }

    /// Choices with what bounds them; none where none of them fits. What the bound fills the room with is counted where
    /// it would be the best.
    fn choices(&mut self, mut decided: Decided, depth: usize) -> Option<Choices> {
        self.effort = self.effort.saturating_sub(self.items.len());
        let mut kept = kept(&decided.sides);
        let mut needed = self.pieces.needed(&kept);
        let paid = needed.iter_mut().zip(&decided.paid);
        paid.for_each(|(needed, paid)| *needed |= paid);
        let mut left = self.room.checked_sub(self.pieces.least(&needed))? as f64;
        let is_open = |component: &usize| decided.sides[*component] == Side::Open;
        let open: Vec<usize> = self.order.iter().copied().filter(is_open).collect();
        lean(self.pieces, &open, &needed, &self.values, &mut decided.leans);
        let (pays, most) = self.pays(&open, &needed, left, &decided.leans);
        let mut bound = self.value(&kept);
        let mut cut = None;
        for (component, pays) in by_ratio(&open, &self.values, &pays) {
            if pays > left {
                bound += self.values[component] * (left / pays);
                cut = cut.or(Some(component));
                left = 0.0;
            } else {
                bound += self.values[component];
                kept[component] = true;
                left -= pays;
            }
        }
        let shared = self.most_shared(&open, &needed, most).map(Split::Piece);
        let split = shared.or(cut.or(open.first().copied()).map(Split::Component));
        if self.improves(&kept) && self.pieces.least(&self.pieces.needed(&kept)) <= self.room {
            self.count(kept);
        }
        Some(Choices {
            decided,
            bound,
            split,
            depth,
            fits: true,
        })
    }

    /// The piece of which most could be unpaid: it is large, and many open components share it, of which so many can stay
    /// at most. None where nothing is shared.
    fn most_shared(&self, open: &[usize], needed: &[bool], most: usize) -> Option<usize> {
        let mut users = vec![0; needed.len()];
        let pieces = open.iter().flat_map(|component| &self.pieces.of[*component]);
        pieces.for_each(|piece| users[*piece] += 1);
        let unpaid =
            |piece: &usize| self.pieces.words[*piece] * (most.min(users[*piece]) as u64).saturating_sub(1);
        (0..needed.len())
            .filter(|piece| !needed[*piece] && unpaid(piece) > 0)
            .max_by_key(|piece| (unpaid(piece), Reverse(*piece)))
    }

    /// What each undecided component pays at least, where they have so much room, and how many of them can stay at most.
    fn pays(&self, undecided: &[usize], needed: &[bool], left: f64, leans: &[f64]) -> (Vec<f64>, usize) {
        let mut most = undecided.len();
        let mut pays = self.pieces.share(undecided, needed, most, leans);
        for _ in 0..ROUNDS {
            let fit = fitting(&pays, left);
            if fit == most {
                break;
            }
            most = fit;
            pays = self.pieces.share(undecided, needed, most, leans);
        }
        (pays, most)
    }

    fn value(&self, kept: &[bool]) -> f64 {
        let kept = self.values.iter().zip(kept).filter(|(_, kept)| **kept);
        kept.map(|(value, _)| value).sum()
    }

    /// The most that a choice can be worth that has at most this value.
    fn floor(&self, value: f64) -> f64 {
        // A sum of units may fall short of one by what rounding takes.
        self.unit
            .map_or(value, |unit| (value / unit + 1e-6).floor() * unit)
    }

    /// Whether something better may lie below a choice.
    fn is_open(&self, bound: f64) -> bool {
        let Some(best) = &self.best else { return true };
        let worth = sum(self.items, &best.kept);
        if self.items.len() <= MAX_TIES {
            return bound >= best.value - self.equal;
        }
        self.floor(bound) > worth + self.equal && bound > best.value + self.equal
    }

    /// Whether a choice would be the best if it fits.
    fn improves(&self, kept: &[bool]) -> bool {
        let value = self.value(kept);
        let ties = self.items.len() <= MAX_TIES;
        let best = self.best.as_ref();
        best.is_none_or(|best| value > best.value + if ties { -self.equal } else { self.equal })
    }

    /// Counts a choice, and keeps it where it is the best yet; whether it fits.
    fn count(&mut self, kept: Vec<bool>) -> bool {
        self.effort = self.effort.saturating_sub(self.items.len() * COUNTING);
        let gone: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        let words = (self.words)(&gone);
        debug_assert!(
            self.pieces.least(&self.pieces.needed(&kept)) <= words,
            "pieces take no more than the whole"
        );
        if words > self.room {
            return false;
        }
        let value = self.value(&kept);
        let better = self.best.as_ref().is_none_or(|best| {
            value > best.value + self.equal || (value >= best.value - self.equal && words < best.words)
        });
        if better {
            self.best = Some(Best { kept, value, words });
        }
        true
    }
}

/// Makes components pay so much of what they share that none is much cheaper for its worth than the others.
fn lean(pieces: &Pieces, components: &[usize], needed: &[bool], values: &[f64], leans: &mut [f64]) {
    for _ in 0..LEANING {
        let pays = pieces.share(components, needed, components.len(), leans);
        let worth: f64 = components.iter().map(|component| values[*component]).sum();
        let words: f64 = pays.iter().sum();
        for (component, pays) in components.iter().zip(&pays) {
            let cheaper = values[*component] * words / (pays * worth);
            if cheaper.is_finite() {
                leans[*component] = (leans[*component] * cheaper).clamp(1e-6, 1e6);
            }
        }
    }
}

/// How many can stay at most that pay so much.
fn fitting(pays: &[f64], left: f64) -> usize {
    let mut pays = pays.to_vec();
    pays.sort_by(f64::total_cmp);
    // A sum may be over by what rounding adds.
    let left = left + 1e-6;
    let mut sum = 0.0;
    let fits = pays.iter().take_while(|pays| {
        sum += **pays;
        sum <= left
    });
    fits.count()
}

/// Components with what they pay, the most value for a word first, without dividing by 0.
fn by_ratio(components: &[usize], values: &[f64], pays: &[f64]) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = components.iter().copied().zip(pays.iter().copied()).collect();
    all.sort_by(|a, b| {
        let ratio = (values[b.0] * a.1).total_cmp(&(values[a.0] * b.1));
        ratio.then(a.0.cmp(&b.0))
    });
    all
}

/// The least worth that is not 0, where all others are multiples of it.
fn unit(items: &[Item]) -> Option<f64> {
    let worths = items.iter().map(|item| item.worth).filter(|worth| *worth > 0.0);
    let unit = worths.clone().min_by(f64::total_cmp)?;
    let multiple = |worth: f64| ((worth / unit).round() - worth / unit).abs() < 1e-9;
    worths.into_iter().all(multiple).then_some(unit)
}

#[cfg(test)]
mod tests;
