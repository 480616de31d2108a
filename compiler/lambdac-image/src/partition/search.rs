//! Which components stay: those that are worth most of what fits, as far as a bounded search can tell.
//!
//! A knapsack whose pieces are shared, by branch and bound. Components are decided one after the other, the most worth for
//! what it adds first. What can still be gained below a choice is bounded by filling the room that its pieces leave
//! ([`Pieces::least`]) with the undecided components by their parts of all other pieces ([`Pieces::share`]), the last one cut; a
//! choice below which that is no more than what was found is not looked at. What is found has been counted on the whole
//! image. A choice that does not fit by that count, though its pieces alone would, is looked into last: as a rule nothing
//! below it fits. So few components are decided exactly, and many as far as the effort goes that a search may take; then the
//! most that is left open is the bound that is told.
//!
//! Where all are worth multiples of the least, the bound is the multiple below it.

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

/// A choice, and those below it: the components from a place in the order on are undecided.
struct Choice {
    kept: Vec<bool>,
    next: usize,
    /// What the best below it is worth at most.
    bound: f64,
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
    let mut search = Search::new(items, pieces, room, words);
    let asked: Vec<bool> = items.iter().map(|item| item.asked).collect();
    search.count(first.iter().map(|gone| !gone).collect());
    search.count(asked.clone());
    search.fill();
    let open = search.run(asked.clone());
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
        let leans = leans(pieces, &undecided, &needed, &values);
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

    /// Looks below the choice where nothing but what has to stay is decided; what the best is worth at most that may have
    /// been missed.
    fn run(&mut self, asked: Vec<bool>) -> f64 {
        let (mut todo, mut last) = (Vec::new(), Vec::new());
        todo.extend(self.choice(asked, 0));
        while let Some(choice) = todo.pop().or_else(|| last.pop()) {
            if !self.is_open(choice.bound) {
                continue;
            }
            if self.effort == 0 {
                let open = todo
                    .iter()
                    .chain(&last)
                    .chain([&choice])
                    .map(|choice| self.floor(choice.bound));
                return open.fold(0.0, f64::max);
            }
            let Some(at) = self.order.get(choice.next).copied() else {
                continue;
            };
            todo.extend(self.choice(choice.kept.clone(), choice.next + 1));
            let mut kept = choice.kept;
            kept[at] = true;
            if let Some(with) = self.choice(kept, choice.next + 1) {
                let fits = !self.improves(&with.kept) || self.count(with.kept.clone());
                if fits { &mut todo } else { &mut last }.push(with);
            }
        }
        0.0
    }

    /// A choice with what is below it; none where it does not fit.
    fn choice(&mut self, kept: Vec<bool>, next: usize) -> Option<Choice> {
        self.effort = self.effort.saturating_sub(self.items.len());
        let needed = self.pieces.needed(&kept);
        let mut left = self.room.checked_sub(self.pieces.least(&needed))? as f64;
        let undecided = &self.order[next..];
        let pays = self.pays(undecided, &needed, left);
        let mut bound = self.value(&kept);
        for (component, pays) in by_ratio(undecided, &self.values, &pays) {
            bound += self.values[component] * if pays > left { left / pays } else { 1.0 };
            left = (left - pays).max(0.0);
        }
        Some(Choice { kept, next, bound })
    }

    /// What each undecided component pays at least, where they have so much room.
    fn pays(&self, undecided: &[usize], needed: &[bool], left: f64) -> Vec<f64> {
        let mut most = undecided.len();
        let mut pays = self.pieces.share(undecided, needed, most, &self.leans);
        for _ in 0..ROUNDS {
            let fit = fitting(&pays, left);
            if fit == most {
                break;
            }
            most = fit;
            pays = self.pieces.share(undecided, needed, most, &self.leans);
        }
        pays
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

/// How much components pay of what they share, so that none is much cheaper for its worth than the others.
fn leans(pieces: &Pieces, components: &[usize], needed: &[bool], values: &[f64]) -> Vec<f64> {
    let mut leans = vec![1.0; values.len()];
    for _ in 0..LEANING {
        let pays = pieces.share(components, needed, components.len(), &leans);
        let worth: f64 = components.iter().map(|component| values[*component]).sum();
        let words: f64 = pays.iter().sum();
        for (component, pays) in components.iter().zip(&pays) {
            let cheaper = values[*component] * words / (pays * worth);
            if cheaper.is_finite() {
                leans[*component] = (leans[*component] * cheaper).clamp(1e-6, 1e6);
            }
        }
    }
    leans
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
mod tests {
    use super::{Item, search};
    use crate::partition::pieces::Pieces;

    /// Numbers that look like chance, from a seed.
    fn roll(seed: &mut u64, sides: u64) -> u64 {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % sides
    }

    /// Components over shared pieces; `even`: all worth the same.
    fn draw(seed: u64, count: usize, even: bool) -> (Vec<Item>, Pieces) {
        let mut seed = seed;
        let shared = count;
        let pieces = Pieces {
            base: 10,
            words: (0..shared + count).map(|_| 5 + roll(&mut seed, 200)).collect(),
            of: (0..count)
                .map(|own| {
                    let mut of: Vec<usize> = (0..shared).filter(|_| roll(&mut seed, 3) == 0).collect();
                    of.push(shared + own);
                    of
                })
                .collect(),
        };
        let items = (0..count).map(|_| Item {
            worth: if even {
                1.0
            } else {
                roll(&mut seed, 100) as f64 / 7.0
            },
            lambdas: 1 + roll(&mut seed, 3) as usize,
            asked: roll(&mut seed, 12) == 0,
        });
        (items.collect(), pieces)
    }

    /// What a choice takes with a stage, which is not larger with each component.
    fn with_stage(pieces: &Pieces, gone: &[bool]) -> u64 {
        let kept: Vec<bool> = gone.iter().map(|gone| !gone).collect();
        let up = if gone.contains(&true) { 6 } else { 0 };
        let stage: u64 = kept.iter().filter(|kept| **kept).count() as u64 * 4;
        pieces.least(&pieces.needed(&kept)) + stage + up
    }

    /// The most that a choice is worth that fits, by looking at all of them.
    fn most(items: &[Item], pieces: &Pieces, room: u64) -> f64 {
        let choices = (0u32..1 << items.len())
            .map(|bits| -> Vec<bool> { (0..items.len()).map(|index| bits >> index & 1 == 1).collect() });
        let may = |gone: &Vec<bool>| items.iter().zip(gone).all(|(item, gone)| !(item.asked && *gone));
        let fit = choices
            .filter(may)
            .filter(|gone| with_stage(pieces, gone) <= room);
        let worth = |gone: Vec<bool>| -> f64 {
            let kept = items.iter().zip(gone).filter(|(_, gone)| !gone);
            kept.map(|(item, _)| item.worth).sum()
        };
        fit.map(worth).fold(0.0, f64::max)
    }

    #[test]
    fn a_few_components_are_decided_as_by_looking_at_all_choices() {
        for seed in 0..120 {
            let (items, pieces) = draw(seed, 4 + (seed % 9) as usize, seed % 2 == 0);
            let whole = with_stage(&pieces, &vec![false; items.len()]);
            for part in [2, 3, 5] {
                let room = whole * (part - 1) / part;
                let first: Vec<bool> = items.iter().map(|item| !item.asked).collect();
                let found = search(&items, &pieces, room, &first, &mut |gone| {
                    with_stage(&pieces, gone)
                });
                if with_stage(&pieces, &first) > room {
                    continue;
                }
                assert!(with_stage(&pieces, &found.gone) <= room, "seed {seed}");
                let most = most(&items, &pieces, room);
                assert!(
                    (found.worth - most).abs() < 1e-6,
                    "seed {seed}: {found:?}, {most}"
                );
                assert!(
                    (found.bound - most).abs() < 1e-6,
                    "seed {seed}: {found:?}, {most}"
                );
            }
        }
    }

    #[test]
    fn many_components_fit_and_the_bound_is_close() {
        for (seed, even) in [(1, true), (2, false), (3, true), (4, false)] {
            let (items, pieces) = draw(seed, 300, even);
            let whole = with_stage(&pieces, &vec![false; items.len()]);
            let first: Vec<bool> = items.iter().map(|item| !item.asked).collect();
            let room = whole * 2 / 3;
            let found = search(&items, &pieces, room, &first, &mut |gone| {
                with_stage(&pieces, gone)
            });
            assert!(with_stage(&pieces, &found.gone) <= room);
            assert!(found.bound >= found.worth);
            assert!(
                found.worth > 0.8 * found.bound,
                "{} of {}",
                found.worth,
                found.bound
            );
        }
    }

    #[test]
    fn where_not_even_what_is_asked_for_fits_nothing_else_stays() {
        let (items, pieces) = draw(7, 9, false);
        let found = search(&items, &pieces, 5, &[true; 9], &mut |gone| {
            with_stage(&pieces, gone)
        });
        let asked: Vec<bool> = items.iter().map(|item| !item.asked).collect();
        assert_eq!(found.gone, asked);
    }
}
