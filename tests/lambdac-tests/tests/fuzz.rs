//! The bounded, seeded, repeatable run of what `tests/fuzz` runs without end. The functions and their promises are
//! `lambdac_tests::fuzz`; an input that breaks one is made small and kept in `regressions/`, which is replayed here.

#[path = "support/flooded_worker.rs"]
mod flooded_worker;

use std::time::Instant;

use flooded_worker::Metrics;
use lambdac_tests::fuzz::dice::Dice;
use lambdac_tests::fuzz::guard::Guard;
use lambdac_tests::fuzz::{archive, bundle, corpus, memcached, mir_text, source, wire};
use lambdac_tests::peers::until;
use lnic_wire::{Limits, Malformed};

const SOURCES: u64 = 10_000;
const MIR_TEXTS: u64 = 6_000;
const BUNDLES: u64 = 4_000;
const ARCHIVES: u64 = 4_000;
const ANSWERS: u64 = 200_000;
const WORKER_PACKETS: u64 = 100_000;

/// Thousands of packets, unless `LAMBDAC_FUZZ_THOUSANDS` says another number.
const PACKETS_THOUSANDS: u64 = 1_000;

#[test]
fn mutated_sources_compile_or_are_errors_with_a_place() {
    let corpus = corpus::sources();
    let mut guard = Guard::new("source");
    let (mut wrong, mut compiled, mut diagnostics, mut bytes) = (0, 0, 0, 0);
    for seed in 0..SOURCES {
        let input = source::mutated(&mut Dice::new(seed), &corpus);
        let outcome = guard.run(&input, source::run);
        bytes += input.len();
        diagnostics += outcome.diagnostics;
        wrong += u64::from(outcome.errors > 0);
        compiled += u64::from(outcome.compiled);
    }
    println!(
        "fuzz: {SOURCES} sources ({bytes} bytes), {wrong} with errors, {diagnostics} diagnostics, {compiled} compiled; \
         slowest {:?}",
        guard.slowest()
    );
    // Both ways are taken often, or the mutators are too rough or too mild to find anything.
    assert!(
        compiled > SOURCES / 20 && wrong > SOURCES / 2,
        "{compiled} compiled, {wrong} wrong"
    );
}

#[test]
fn mutated_mir_is_refused_or_prints_optimises_and_runs() {
    let corpus = corpus::mir_texts();
    let mut guard = Guard::new("mir_text");
    let mut counts = [0u64; 3];
    for seed in 0..MIR_TEXTS {
        let input = mir_text::mutated(&mut Dice::new(seed), &corpus);
        counts[guard.run(&input, mir_text::run) as usize] += 1;
    }
    let [unread, invalid, valid] = counts;
    println!(
        "fuzz: {MIR_TEXTS} MIR texts, {unread} not read, {invalid} invalid, {valid} valid; slowest {:?}",
        guard.slowest()
    );
    assert!(invalid > MIR_TEXTS / 10 && valid > MIR_TEXTS / 20, "{counts:?}");
}

#[test]
fn mutated_packets_are_each_counted_once() {
    let thousands = match std::env::var("LAMBDAC_FUZZ_THOUSANDS") {
        Ok(text) => text.parse().expect("LAMBDAC_FUZZ_THOUSANDS is a number"),
        Err(_) => PACKETS_THOUSANDS,
    };
    let started = Instant::now();
    let mut receiver = wire::Receiver::new(wire::SMALL);
    let mut packets = wire::Packets::new(1, &[0x1234_0001, 0x4321_0002, 7]);
    let mut datagram = Vec::new();
    for _ in 0..thousands {
        for _ in 0..1_000 {
            let source = packets.next(&mut datagram);
            wire::run_header(&datagram);
            receiver.take(packets.now_ns(), source, &datagram);
        }
        receiver.audit();
    }
    let counts = receiver.end();
    println!(
        "fuzz: {} packets in {:?}: {counts:?}",
        counts.packets,
        started.elapsed()
    );
    assert_eq!(counts.packets, thousands * 1_000);
    let reached = [
        counts.single,
        counts.too_large,
        counts.stored,
        counts.complete,
        counts.duplicate,
        counts.disagrees,
    ];
    assert!(
        reached.iter().all(|&count| count > 0),
        "an end that no packet reaches: {counts:?}"
    );
    for rule in Malformed::ALL {
        let of_replies = matches!(rule, Malformed::Status | Malformed::ErrorShape);
        assert_eq!(
            counts.malformed[rule as usize] > 0,
            !of_replies,
            "{}",
            rule.name()
        );
    }
}

#[test]
fn a_reassembler_without_room_refuses_and_counts() {
    let limits = Limits {
        total: 2_000,
        per_address: 2_000,
        per_network: 2_000,
        timeout_ns: 1_000_000_000,
    };
    let mut receiver = wire::Receiver::new(limits);
    let mut packets = wire::Packets::new(2, &[1]);
    let mut datagram = Vec::new();
    for _ in 0..20_000 {
        let source = packets.next(&mut datagram);
        receiver.take(packets.now_ns(), source, &datagram);
    }
    assert!(receiver.end().refused > 0);
}

#[test]
fn a_running_worker_counts_every_mutated_packet_once_and_goes_on_answering() {
    let worker = flooded_worker::start();
    let sent = flooded_worker::flood(&worker, WORKER_PACKETS);
    // Every socket's last request was answered, so all are counted; a batch of replies is right after it was sent.
    let replied =
        |metrics: &Metrics| metrics.sum("lnic_replies_total", "") + metrics.sum("lnic_no_workload_total", "");
    let mut metrics = Metrics::of(&worker);
    until("each reply has a packet", || {
        metrics = Metrics::of(&worker);
        let failed = metrics.sum("lnic_dropped_packets_total", "reason=\"send_failed\"");
        metrics.sum("lnic_sent_packets_total", "") + failed >= replied(&metrics)
    });
    let received = metrics.sum("lnic_received_packets_total", "");
    assert_eq!(received, sent, "packets were lost before the worker");
    let reason = |name: &str| metrics.sum("lnic_dropped_packets_total", &format!("reason=\"{name}\""));
    let malformed: u64 = Malformed::ALL.iter().map(|rule| reason(rule.name())).sum();
    let fragments = ["fragment_duplicate", "fragment_disagrees", "reassembly_full"]
        .map(reason)
        .iter()
        .sum::<u64>();
    let stored = metrics.sum("lnic_stored_fragments_total", "");
    let completed = metrics.sum("lnic_reassembly_total", "end=\"completed\"");
    let begun = metrics.sum("lnic_requests_total", "");
    let unknown = metrics.sum("lnic_no_workload_total", "");
    println!(
        "fuzz: {received} packets to a worker, {malformed} malformed, {unknown} for nobody, {stored} fragments of \
         {completed} whole messages stored, {fragments} fragments dropped, {begun} requests begun"
    );
    // A packet is malformed, for nobody, a fragment, or begins a request; so does the last fragment of a message.
    assert_eq!(
        received,
        malformed + unknown + fragments + (stored - completed) + begun
    );
    let ended = metrics.sum("lnic_replies_total", "") + metrics.sum("lnic_dropped_requests_total", "");
    assert_eq!((begun, metrics.sum("lnic_in_flight", "")), (ended, 0));
    assert!(
        malformed > 0 && unknown > 0 && completed > 0 && fragments > 0,
        "an end that no packet reaches"
    );
    worker.stop();
}

#[test]
fn mutated_answers_of_memcached_are_taken_once_or_ignored() {
    let counts = memcached::run_mutated(5, ANSWERS);
    println!(
        "fuzz: {} datagrams to the memcached client: {counts:?}",
        counts.datagrams
    );
    assert!(
        counts.taken > 1_000 && counts.ignored > 1_000 && counts.expired > 1_000,
        "{counts:?}"
    );
    for answer in [&b"VALUE key 0 2\r\nhi\r\nEND\r\n"[..], b"STORED\r\n", b""] {
        assert!(memcached::run(answer).taken <= 1);
    }
}

#[test]
fn mutated_bundles_are_refused_or_whole() {
    let mut dice = Dice::new(3);
    assert!(bundle::run(bundle::sample()), "the sample is whole");
    let taken = (0..BUNDLES)
        .filter(|_| bundle::run(bundle::mutated(&mut dice)))
        .count();
    println!("fuzz: {BUNDLES} bundles, {taken} whole");
    assert!(taken > 0 && taken < BUNDLES as usize / 2);
}

#[test]
fn mutated_archives_are_refused_or_read_within_their_limits() {
    let mut guard = Guard::new("archive");
    assert_eq!(archive::run(&archive::sample()), archive::Outcome::Bundle);
    let mut counts = [0u64; 3];
    for seed in 0..ARCHIVES {
        let input = archive::mutated(&mut Dice::new(seed));
        counts[guard.run(&input, archive::run) as usize] += 1;
    }
    let [refused, files, bundles] = counts;
    println!(
        "fuzz: {ARCHIVES} archives, {refused} refused, {files} of other files, {bundles} bundles; slowest {:?}",
        guard.slowest()
    );
    assert!(counts.iter().all(|&count| count > ARCHIVES / 100), "{counts:?}");
}

#[test]
fn what_once_broke_a_promise_keeps_it() {
    let mut replayed = 0;
    for (path, input) in corpus::regressions("archive") {
        println!("{}", path.display());
        archive::run(&input);
        replayed += 1;
    }
    for (path, input) in corpus::regressions("source") {
        println!("{}", path.display());
        source::run(&input);
        replayed += 1;
    }
    for (path, input) in corpus::regressions("mir_text") {
        println!("{}", path.display());
        mir_text::run(&input);
        replayed += 1;
    }
    println!("fuzz: {replayed} regressions");
    assert!(replayed > 0, "the regressions are part of the repository");
}
