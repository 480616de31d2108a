//! Random programs on every engine: the HIR evaluator, MIR as lowered, split and optimised, and the host's code.

use lambdac_tests::differential::compare;
use lambdac_tests::generate::{Seen, UseCounts};
use lambdac_tests::random::{Runs, env};

/// Programs of a CI run.
const PROGRAMS: u64 = 5_000;

const RUNS: Runs<Seen> = Runs {
    corpus: "differential",
    check: compare,
};

#[test]
fn the_regression_corpus_agrees() {
    let replayed = RUNS.replay();
    println!("{replayed} files of the regression corpus agree");
}

#[test]
fn random_programs_agree_on_every_engine() {
    let programs = env("LAMBDAC_PROGRAMS", PROGRAMS);
    let (seen, failures) = RUNS.run(programs, |counts: &mut UseCounts, program, seen| {
        counts.add(program, seen);
    });
    let mut counts = UseCounts::default();
    for each in &seen {
        counts.merge(each);
    }
    println!("{counts}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(
        counts.unlisted().is_empty(),
        "uses that no feature lists: {:?}",
        counts.unlisted()
    );
    assert!(
        counts.fitting_percent() >= 80,
        "only {} % of requests fit T",
        counts.fitting_percent()
    );
    if programs >= 1000 {
        assert!(
            counts.rare().is_empty(),
            "in less than 1 % of programs: {:?}",
            counts.rare()
        );
        assert!(
            counts.rules_never_hit().is_empty(),
            "rules that no request met: {:?}",
            counts.rules_never_hit()
        );
        assert!(
            counts.places_never_hit().is_empty(),
            "rules never reached: {:?}",
            counts.places_never_hit()
        );
    }
}
