//! Random programs on the NIC's side: the HIR evaluator against XDP programs that the kernel verified and runs.
//!
//! Every reply and all state must be the same. Every program must load, but for a few that wait for several services
//! behind loops: the verifier walks their parts past its limit, or for minutes. Those are skipped, shown and counted,
//! and must stay few.

use std::sync::mpsc;
use std::time::Duration;

use lambdac_tests::differential::{Mismatch, compare_xdp};
use lambdac_tests::generate::Request;
use lambdac_tests::random::{Runs, env, no_xdp};

/// Programs of a CI run.
const PROGRAMS: u64 = 2_000;
/// How long the kernel may verify a program.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the verifier says at the end of its walk (BPF_COMPLEXITY_LIMIT_INSNS, Linux include/linux/bpf.h).
const TOO_LARGE: &str = "BPF program is too large";
/// Of so many programs, one may be too much for it.
const SLOW: u64 = 250;
/// Stack of the thread that compares: the evaluator recurses.
const STACK: usize = 64 << 20;

const RUNS: Runs<Option<u64>> = Runs {
    corpus: "xdp",
    check: compare,
};

#[derive(Default)]
struct Counts {
    programs: u64,
    slow: u64,
    requests: u64,
    by_nic: u64,
}

/// How many requests the NIC dealt with itself; none if its programs are too much for the verifier. The thread that waits for
/// the kernel is left behind then; the kernel gives up when the process ends.
fn compare(source: &str, requests: &[Request]) -> Result<Option<u64>, Mismatch> {
    let (send, receive) = mpsc::channel();
    let (source, requests) = (source.to_owned(), requests.to_vec());
    let compare = move || {
        let compared = compare_xdp(&source, &requests);
        // Nobody listens any more after the timeout.
        let _ = send.send(compared.map(|(_, by_nic)| by_nic));
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(compare);
    let thread = thread.map_err(|error| Mismatch(error.to_string()))?;
    match receive.recv_timeout(PATIENCE) {
        Ok(Err(mismatch)) if mismatch.0.contains(TOO_LARGE) => Ok(None),
        Ok(compared) => compared.map(Some),
        Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => Err(Mismatch("the comparison ended without a word".to_owned())),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
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
    let (seen, failures) = RUNS.run(programs, |counts: &mut Counts, program, by_nic| {
        counts.programs += 1;
        match by_nic {
            Some(by_nic) => {
                counts.requests += program.requests.len() as u64;
                counts.by_nic += by_nic;
            }
            None => {
                println!("skipped: too much for the verifier:\n{}", program.source);
                counts.slow += 1;
            }
        }
    });
    let sum = |of: fn(&Counts) -> u64| seen.iter().map(of).sum::<u64>();
    let (ran, requests, by_nic) = (sum(|c| c.programs), sum(|c| c.requests), sum(|c| c.by_nic));
    let slow = sum(|c| c.slow);
    println!(
        "{} programs agree, {slow} skipped; the NIC dealt with {by_nic} of {requests} requests",
        ran - slow
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert_eq!(ran, programs);
    assert!(
        slow <= programs / SLOW,
        "{slow} programs are too much for the verifier"
    );
    assert!(2 * by_nic > requests, "most requests went to the host");
}
