//! Random programs on the NIC's side: the HIR evaluator against XDP programs that the kernel verified and runs.
//!
//! Every program must load, and every reply and all state must be the same.

use lambdac_tests::differential::compare_xdp;
use lambdac_tests::generate::Seen;
use lambdac_tests::random::{Runs, env, no_xdp};

/// Programs of a CI run.
const PROGRAMS: u64 = 2_000;

const RUNS: Runs<(Seen, u64)> = Runs {
    corpus: "xdp",
    check: compare_xdp,
};

#[derive(Default)]
struct Counts {
    programs: u64,
    requests: u64,
    by_nic: u64,
}

#[test]
fn the_regression_corpus_agrees_on_xdp() {
    if !no_xdp() {
        let replayed = RUNS.replay();
        println!("{replayed} files of the regression corpus agree");
    }
}

#[test]
fn random_programs_agree_on_xdp() {
    if no_xdp() {
        return;
    }
    let programs = env("LAMBDAC_PROGRAMS", PROGRAMS);
    let (seen, failures) = RUNS.run(programs, |counts: &mut Counts, program, (_, by_nic)| {
        counts.programs += 1;
        counts.requests += program.requests.len() as u64;
        counts.by_nic += by_nic;
    });
    let sum = |of: fn(&Counts) -> u64| seen.iter().map(of).sum::<u64>();
    let (agreed, requests, by_nic) = (sum(|c| c.programs), sum(|c| c.requests), sum(|c| c.by_nic));
    println!("{agreed} programs agree; the NIC dealt with {by_nic} of {requests} requests");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(agreed, programs);
    assert!(2 * by_nic > requests, "most requests went to the host");
}
