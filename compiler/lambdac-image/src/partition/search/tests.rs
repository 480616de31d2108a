//! The search against looking at all choices, and what it says of many.

use super::{Item, Search, search, within};
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
fn the_bound_holds_wherever_the_search_stops() {
    for seed in 0..60 {
        let (items, pieces) = draw(seed, 5 + (seed % 8) as usize, seed % 3 == 0);
        let room = with_stage(&pieces, &vec![false; items.len()]) / 2;
        let first: Vec<bool> = items.iter().map(|item| !item.asked).collect();
        if with_stage(&pieces, &first) > room {
            continue;
        }
        let most = most(&items, &pieces, room);
        for effort in [0, 1, 50, 200, 1000, 5000] {
            let mut words = |gone: &[bool]| with_stage(&pieces, gone);
            let search = Search::new(&items, &pieces, room, &mut words);
            let found = within(effort, search, &first);
            assert!(found.worth <= most + 1e-6, "seed {seed}: {found:?}, {most}");
            assert!(
                found.bound >= most - 1e-6,
                "seed {seed}, effort {effort}: {found:?}, {most}"
            );
        }
    }
}

/// Workloads of three lambdas: all of a kind share code, two kinds a function, and a workload's lambdas its stage.
fn alike(workloads: usize) -> (Vec<Item>, Pieces) {
    // Code of the kinds, the function, then by workload its stage, and by lambda its way in.
    let mut words = vec![220, 150, 260, 90];
    let mut of = Vec::new();
    for workload in 0..workloads {
        let stage = 4 + workload * 4;
        words.extend([12, 11, 17, 23]);
        for kind in 0..3 {
            let function = (kind != 1).then_some(3);
            of.push(
                [kind, stage, stage + 1 + kind]
                    .into_iter()
                    .chain(function)
                    .collect(),
            );
        }
    }
    let item = Item {
        worth: 1.0 / 3.0,
        lambdas: 1,
        asked: false,
    };
    let items = vec![item; of.len()];
    (items, Pieces { base: 100, words, of })
}

#[test]
fn large_pieces_that_many_share_leave_no_gap() {
    for workloads in [64, 1000] {
        let (items, pieces) = alike(workloads);
        let first = vec![true; items.len()];
        let mut words = |gone: &[bool]| {
            let kept: Vec<bool> = gone.iter().map(|gone| !gone).collect();
            pieces.least(&pieces.needed(&kept))
        };
        let found = search(&items, &pieces, 1042, &first, &mut words);
        // 27 lambdas of the second kind: 100 + 150 + 27 * 29 words.
        assert!((found.worth - 9.0).abs() < 1e-6, "{}", found.worth);
        assert!((found.bound - 9.0).abs() < 1e-6, "{}", found.bound);
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
