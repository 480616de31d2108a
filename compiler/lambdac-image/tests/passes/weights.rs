//! What code that was made of several is weighed by.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_cost::Profile;
use lambdac_image::{Image, Linker, Options, Report, Source, optimize, passes};
use lambdac_mir::interp::{Answer, Callee, Env, MirInterp};
use lambdac_mir::{Module, parse};
use lambdac_target::Device;

use crate::support::{linked, nfp};

/// Draws lots where `v0` is 0, and as often as `v1` says. `line` is where its source starts.
fn body(line: u32) -> String {
    format!(
        "    v2: i8 = const 0
    v3: i1 = eq v0, v2
    if v3 @{} {{
      v4: i32 = random
      v5: i32 = random
      v6: i32 = random
      v7: i32 = mul v4, v5
      v8: i32 = mul v7, v6
      yield
    }} else {{
      yield
    }}
    v9: i32 = const 0
    v10: i32 = zext v1
    v11: i32 = loop b0 for v12: i32 in v9..v10 max 255 (v13: i32 = v9) @{} {{
      v14: i32 = random
      continue b0(v14)
    }}
",
        line + 1,
        line + 2
    )
}

/// A lambda that does so by the first two bytes of its request.
fn draws(name: &str, line: u32) -> String {
    format!(
        "module \"{name}\"
file \"{name}.lnic\"

lambda l0 \"go\" request \"bytes<2>\" 2..2 reply \"bytes<0>\" 0..0 {{
  labels 1
  part0() {{
    v0: i8 = load_bits req, bit 0 @{line}
    v1: i8 = load_bits req, bit 8
{}    reply req[v9 +: v9]
  }}
}}

dispatch only l0
",
        body(line)
    )
}

/// The same, which a function does; the lambda is like no other.
fn calls(name: &str, line: u32) -> String {
    format!(
        "module \"{name}\"
file \"{name}.lnic\"

func f0 \"draw\"(v0: i8, v1: i8) {{
  labels 1
{}  return
}}

lambda l0 \"go\" request \"bytes<{line}>\" 2..{line} reply \"bytes<0>\" 0..0 {{
  part0() {{
    v0: i8 = load_bits req, bit 0
    v1: i8 = load_bits req, bit 8
    v2: i32 = const 0
    call f0(v0, v1)
    reply req[v2 +: v2]
  }}
}}

dispatch only l0
",
        body(line)
    )
}

/// The same, which a condition does; `0` and `1` as the first byte are for a lambda of its own.
fn asks(name: &str, line: u32) -> String {
    let body = body(line).replace("= random", "= zext v0");
    format!(
        "module \"{name}\"
file \"{name}.lnic\"

lambda l0 \"go\" request \"bytes<{line}>\" 2..{line} reply \"bytes<0>\" 0..0 {{
  part0() {{
    v0: i32 = const 0
    reply req[v0 +: v0]
  }}
}}

dispatch match min 2 {{
  eval func \"cond\"() -> (i1) {{
    labels 1
    v0: i8 = load_bits req, bit 0 @{line}
    v1: i8 = load_bits req, bit 8
{body}    v15: i8 = const 9
    v16: i1 = ult v0, v15
    return v16
  }} => l0 @{line}
  true => drop
}}
",
    )
}

fn module(text: &str) -> Arc<Module> {
    Arc::new(parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// What runs go through, with requests for each text.
fn profiled(texts: &[String], requests: &[&[[u8; 2]]]) -> Profile {
    let mut profile = Profile::default();
    for (text, requests) in texts.iter().zip(requests) {
        let module = module(text);
        let mut interp = MirInterp::new(Arc::clone(&module)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        interp.count();
        let env = Env {
            pkt: [0; 5],
            now: 0,
            random: None,
            params: Vec::new(),
        };
        let mut nobody = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| Answer::Failed;
        for request in *requests {
            interp.call(Callee::Dispatch, request, &env, &mut nobody);
        }
        profile.add(&module, &interp.take_counts());
    }
    profile
}

/// Only this pass, with a profile.
fn options(pass: &str, profile: &Profile, rates: &[(&str, f64)]) -> Options {
    let others = passes().iter().filter(|other| other.name != pass);
    Options {
        disabled: others.map(|other| other.name.to_owned()).collect(),
        rates: rates
            .iter()
            .map(|(name, rate)| ((*name).to_owned(), *rate))
            .collect::<BTreeMap<_, _>>(),
        profile: Some(Arc::new(profile.clone())),
        validate: true,
        ..Options::default()
    }
}

fn coalesced(device: &Device, texts: &[String], options: &Options) -> (Image, Report) {
    let mut image = linked(texts);
    let report = optimize(&mut image, device, options).expect("the device counts words");
    (image, report)
}

/// `a` was profiled with ten requests that all draw lots and go round once, `b` with two that go round five times.
fn two(make: fn(&str, u32) -> String) -> (Vec<String>, Profile) {
    let texts = vec![make("a", 10), make("b", 100)];
    let profile = profiled(&texts, &[&[[0, 1]; 10], &[[1, 5]; 2]]);
    (texts, profile)
}

/// Rates, and the part of all requests that is for `a`. Trips of a loop are whole in the model; so are 4, 2 and 3 trips.
const RATES: [([(&str, f64); 2], f64); 3] = [
    ([("a", 1.0), ("b", 3.0)], 0.25),
    ([("a", 300.0), ("b", 100.0)], 0.75),
    ([("a", 0.5), ("b", 0.5)], 0.5),
];

/// Whether merged code takes the sum of what its sources take, but for parts of a cycle.
fn is_sum(merged: u64, own: [u64; 2], of_a: f64) -> bool {
    let sum = own[0] as f64 * of_a + own[1] as f64 * (1.0 - of_a);
    (merged as f64 - sum).abs() <= 2.0
}

#[test]
fn a_merged_lambda_takes_what_its_sources_take_by_their_rates() {
    let (texts, profile) = two(draws);
    for (rates, of_a) in RATES {
        let (image, report) = coalesced(&nfp(), &texts, &options("lambda-coalescing", &profile, &rates));
        assert_eq!(
            image.entries[0].lambda, image.entries[1].lambda,
            "{:?}",
            report.steps
        );
        let own = [0, 1].map(|entry: usize| report.naive.entries[entry].expected);
        assert!(own[0].abs_diff(own[1]) > 10, "they go other ways: {own:?}");
        let merged = report.end().entries[0].expected;
        assert!(is_sum(merged, own, of_a), "{merged} of {own:?}, {of_a}");
        assert_eq!(merged, report.end().entries[1].expected);
    }
}

#[test]
fn a_merged_function_takes_what_its_sources_take_by_their_rates() {
    let (texts, profile) = two(calls);
    for (rates, of_a) in RATES {
        let (image, report) = coalesced(&nfp(), &texts, &options("lambda-coalescing", &profile, &rates));
        assert_eq!((image.module.funcs.len(), image.module.lambdas.len()), (1, 2));
        let own = [0, 1].map(|func: usize| report.naive.code.funcs[func].expected);
        let merged = report.end().code.funcs[0].expected;
        assert!(is_sum(merged, own, of_a), "{merged} of {own:?}, {of_a}");
    }
}

#[test]
fn a_sequence_that_was_taken_out_keeps_the_weights_of_its_places() {
    let like_no_other =
        |(text, size): (&String, u32)| text.replace("bytes<2>\" 2..2", &format!("bytes<{size}>\" 2..{size}"));
    let (texts, profile) = two(draws);
    let texts: Vec<String> = texts.iter().zip([10, 100]).map(like_no_other).collect();
    for (rates, of_a) in RATES {
        let (image, report) = coalesced(&nfp(), &texts, &options("lambda-coalescing", &profile, &rates));
        assert_eq!(image.module.lambdas.len(), 2);
        assert!(!image.module.funcs.is_empty(), "{:?}", report.steps);
        let own = [0, 1].map(|entry: usize| report.naive.entries[entry].expected);
        let [a, b] = [0, 1].map(|entry: usize| report.end().entries[entry].expected);
        // Both go through the same code, so they are as one; calls and returns come on top.
        assert!(a.abs_diff(b) <= 2, "{a} and {b}");
        let sum = own[0] as f64 * of_a + own[1] as f64 * (1.0 - of_a);
        assert!(
            (sum - 2.0..sum + 40.0).contains(&(a as f64)),
            "{a} of {own:?}, {of_a}"
        );
    }
}

#[test]
fn a_condition_of_several_takes_what_theirs_take_by_their_rates() {
    let (texts, profile) = two(asks);
    for pass in ["match-reduction", "lambda-coalescing", "dead-code"] {
        for (rates, of_a) in RATES {
            let options = options(pass, &profile, &rates);
            let own = [0, 1].map(|at: usize| {
                let (_, report) = coalesced(&nfp(), &texts[at..=at], &options);
                report.naive.code.dispatch.expected
            });
            assert!(own[0].abs_diff(own[1]) > 10, "they go other ways: {own:?}");
            let (image, report) = coalesced(&nfp(), &texts, &options);
            assert_eq!(report.naive.code.dispatch.expected, own[0] + own[1]);
            assert_eq!(image.merged.len(), 2, "a branch and a loop");
            // Each of two workloads asks it.
            let merged = report.end().code.dispatch.expected / 2;
            assert!(is_sum(merged, own, of_a), "{pass}: {merged} of {own:?}, {of_a}");
        }
    }
}

#[test]
fn what_was_not_profiled_adds_nothing_and_nothing_at_all_is_even() {
    let (texts, mut profile) = two(draws);
    profile.files.remove("b.lnic");
    let by = |profile: &Profile| {
        let (_, report) = coalesced(&nfp(), &texts, &options("lambda-coalescing", profile, &[]));
        (report.naive.entries[0].expected, report.end().entries[0].expected)
    };
    let (own, merged) = by(&profile);
    assert_eq!(own, merged);
    profile.files.clear();
    let (own, merged) = by(&profile);
    assert_eq!(own, merged);
}

#[test]
fn relinking_finds_the_same_weights() {
    let (texts, profile) = two(draws);
    let sources: Vec<Source> = (1u32..)
        .zip(&texts)
        .map(|(id, text)| Source {
            id,
            module: module(text),
            on_host: Vec::new(),
            asked: Vec::new(),
        })
        .collect();
    let options = Options {
        profile: Some(Arc::new(profile)),
        validate: true,
        ..Options::default()
    };
    let mut linker = Linker::new(nfp());
    let (image, report) = linker
        .run("image", &sources, &options)
        .expect("names are distinct");
    let (whole, of_whole) = coalesced(&nfp(), &texts, &options);
    assert_eq!(image.merged.len(), 2, "a branch and a loop");
    assert_eq!(image, whole);
    assert_eq!(report, Some(of_whole));
}
