//! Compiled lambdas against `gcc -O2` on a C twin of each, called alike on the same buffers.
//!
//! Before anything is timed, both must give the same bytes for every request of the case. Time is processor time
//! of this thread, so that other processes on the machine cost neither side.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::jit::Lambda;
use crate::process;
use crate::report::{Report, Row, Target, geometric_mean};
use crate::twin::Twin;
use crate::{RUNS, Setup};

const BENCH: &str = "host";
/// How long a sample takes about, in nanoseconds.
const SAMPLE_NS: u64 = 5_000_000;
/// Samples of each side in a run; the fastest counts.
const SAMPLES: usize = 5;
/// What the geometric mean may be.
const TARGET: Target = Target::AtMost(1.3);

/// A lambda with its twin.
struct Case {
    /// The lambda's file.
    name: &'static str,
    /// The twin's file.
    twin: &'static str,
    /// Whether it is part of the mean: what spends its time in the run-time library says nothing of the code.
    counted: bool,
    /// The first is timed; all are compared.
    requests: Vec<Vec<u8>>,
}

impl Case {
    fn counted(name: &'static str, requests: Vec<Vec<u8>>) -> Case {
        Case {
            name,
            twin: name,
            counted: true,
            requests,
        }
    }
}

fn cases() -> Vec<Case> {
    let packet = |len: usize| noise(len, 7);
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    vec![
        Case::counted(
            "web",
            texts(&[
                "GET / HTTP/1.1\r\nHost: lambda\r\n",
                "GET /",
                "GET /other",
                "GET",
                "",
            ]),
        ),
        Case::counted(
            "grayscale",
            vec![noise(256 * 256 * 4, 1), vec![255; 256 * 256 * 4]],
        ),
        Case::counted(
            "checksum",
            vec![packet(1344), packet(1343), packet(1), vec![], vec![255; 1344]],
        ),
        Case::counted(
            "decimal",
            texts(&[
                "1234567890123456",
                "0",
                "18446744073709551615",
                "18446744073709551616",
                "",
                "12a",
            ]),
        ),
        Case::counted("crc32", vec![packet(1344), b"123456789".to_vec(), vec![]]),
        Case::counted(
            "query",
            texts(&[
                "/shop/garden/item?color=green&size=42&id=1234567&sort=ascending HTTP/1.1",
                "/a?id=7",
                "/a?idd=7&i=8&=9&id=10",
                "/a?id=",
                "/a?&&id=18446744073709551616",
                "?",
                "",
            ]),
        ),
        Case {
            name: "hash_crc32",
            twin: "crc32",
            counted: false,
            requests: vec![packet(1344), b"123456789".to_vec(), vec![]],
        },
    ]
}

/// Bytes that a predictor does not learn.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Runs all cases.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    if !process::exists("gcc") {
        report.add(Row::skipped(BENCH, "geometric mean", "gcc not found").with_target(TARGET));
        return Ok(());
    }
    let mut ratios = Vec::new();
    for case in cases() {
        let runs = measure(&case, &setup.folder, setup.scratch.path()).context(case.name)?;
        let name = if case.counted {
            case.name.to_owned()
        } else {
            format!("{} (not in the mean)", case.name)
        };
        let row = Row::versus(BENCH, &name, "ns", &runs);
        if case.counted {
            ratios.extend(row.measured_ratio());
        }
        report.add(row);
    }
    report.add(Row::ratio(BENCH, "geometric mean", geometric_mean(&ratios)).with_target(TARGET));
    Ok(())
}

fn measure(case: &Case, folder: &Path, scratch: &Path) -> Result<Vec<(f64, f64)>> {
    let mut lambda = Lambda::compile(&folder.join(format!("lambdas/{}.lnic", case.name)))?;
    let object = scratch.join(format!("{}.so", case.twin));
    let source = folder.join(format!("c/{}.c", case.twin));
    process::gcc(&source, &object, &["-shared", "-fPIC"])?;
    let twin = Twin::load(&object, lambda.max_reply())?;
    let mut replies = [vec![0; lambda.max_reply()], vec![0; lambda.max_reply()]];
    let [reply, twin_reply] = &mut replies;
    for request in &case.requests {
        let len = lambda.call(request, reply).context("the lambda did not reply")?;
        let twin_len = twin.call(request, twin_reply);
        ensure!(
            reply.get(..len) == twin_reply.get(..twin_len),
            "lambda and twin differ for a request of {} bytes",
            request.len()
        );
    }
    let request = &case.requests[0];
    let mut ours = || {
        black_box(lambda.call(black_box(request), black_box(reply)));
    };
    let mut theirs = || {
        black_box(twin.call(black_box(request), black_box(twin_reply)));
    };
    let count = [calls_per_sample(&mut ours), calls_per_sample(&mut theirs)];
    let mut run = || {
        let mut best = (f64::INFINITY, f64::INFINITY);
        for _ in 0..SAMPLES {
            best.0 = best.0.min(time_per_call(&mut ours, count[0]));
            best.1 = best.1.min(time_per_call(&mut theirs, count[1]));
        }
        best
    };
    Ok((0..RUNS).map(|_| run()).collect())
}

/// How many calls take about a sample's time.
fn calls_per_sample(call: &mut impl FnMut()) -> u64 {
    let mut calls = 1;
    loop {
        let took = time_per_call(call, calls) * calls as f64;
        if took * 4.0 >= SAMPLE_NS as f64 {
            return ((calls as f64 * SAMPLE_NS as f64 / took) as u64).max(1);
        }
        calls *= 2;
    }
}

/// Nanoseconds a call.
fn time_per_call(call: &mut impl FnMut(), calls: u64) -> f64 {
    let begin = thread_time_ns();
    for _ in 0..calls {
        call();
    }
    (thread_time_ns() - begin) as f64 / calls as f64
}

/// Processor time of this thread.
fn thread_time_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
