//! lambda-coalescing.

use insta::assert_snapshot;
use lambdac_image::{Bound, Image};
use lambdac_mir::Data;

use crate::support::{cost, linked, nfp, run};

fn coalesced(texts: &[String]) -> (Image, Vec<String>) {
    run("lambda-coalescing", &nfp(), &[], linked(texts))
}

/// A lambda that calls a function, whose code has a constant.
fn caller(name: &str, constant: u32) -> String {
    format!(
        "module \"{name}\"

object o0 \"n\" \"u32\" = value i32 = 0

func f0 \"mix\"(v0: i32) -> (i32) {{
  v1: i32 = const {constant}
  v2: i32 = xor v0, v1
  v3: i32 = mul v2, v0
  v4: i32 = mul v3, v2
  v5: i32 = mul v4, v3
  v6: i32 = mul v5, v4
  return v6
}}

lambda l0 \"go\" request \"u32\" 4..4 reply \"u32\" 4..4 {{
  slot s0 \"out\": bytes<4>
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = call f0(v0)
    store o0, v1
    v2: i32 = const 4
    set_len s0, v2
    store_bits s0, bit 0, v1
    v3: i32 = const 0
    reply s0[v3 +: v2]
  }}
}}

dispatch only l0
"
    )
}

/// A lambda without state, with a constant.
fn plain(name: &str, constant: u32) -> String {
    format!(
        "module \"{name}\"

lambda l0 \"go\" request \"u32\" 4..4 reply \"u32\" 4..4 {{
  slot s0 \"out\": bytes<4>
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = const {constant}
    v2: i32 = xor v0, v1
    v3: i32 = mul v2, v0
    v4: i32 = mul v3, v2
    v5: i32 = const 4
    set_len s0, v5
    store_bits s0, bit 0, v4
    v6: i32 = const 0
    reply s0[v6 +: v5]
  }}
}}

dispatch only l0
"
    )
}

#[test]
fn equal_functions_are_one_and_lambdas_with_state_stay_apart() {
    let (image, notes) = coalesced(&[caller("a", 7), caller("b", 7)]);
    assert_snapshot!(notes.join("\n"), @"functions that equal another and became it: 1");
    assert_eq!(cost(&image).lambdas, 2, "each writes its own object");
    assert_eq!(image.module.funcs.len(), 1);
}

#[test]
fn a_constant_that_differs_becomes_a_parameter() {
    let (image, notes) = coalesced(&[caller("a", 7), caller("b", 1000)]);
    assert_snapshot!(notes.join("\n"), @"functions that differ from another in constants, which became parameters: 1");
    assert_snapshot!(lambdac_mir::print_func(&image.module.funcs[0]), @r#"
    func "a.mix"(v0: i32, v1: i32) -> (i32) {
      v2: i32 = xor v0, v1
      v3: i32 = mul v2, v0
      v4: i32 = mul v3, v2
      v5: i32 = mul v4, v3
      v6: i32 = mul v5, v4
      return v6
    }
    "#);
}

#[test]
fn equal_lambdas_are_one() {
    let (image, notes) = coalesced(&[plain("a", 7), plain("b", 7)]);
    assert_snapshot!(notes.join("\n"), @"`a.go`, `b.go` are equal and became one lambda");
    assert_eq!(cost(&image).lambdas, 1);
    assert_eq!(image.entries[0].lambda, image.entries[1].lambda);
}

#[test]
fn lambdas_that_differ_in_a_constant_are_one_that_each_way_in_sets_up() {
    let (image, notes) = coalesced(&[plain("a", 7), plain("b", 1000)]);
    assert_snapshot!(notes.join("\n"), @"`a.go`, `b.go` became one lambda with a parameter");
    let bound: Vec<_> = image
        .entries
        .iter()
        .map(|entry| entry.bindings[0].value.clone())
        .collect();
    assert_eq!(bound, [Bound::Data(Data::Int(7)), Bound::Data(Data::Int(1000))]);
}

#[test]
fn a_factor_stays_a_constant() {
    let differ = |name: &str, constant: u32| plain(name, constant).replace("xor v0, v1", "mul v0, v1");
    let (image, _) = coalesced(&[differ("a", 7), differ("b", 9)]);
    assert!(image.entries.iter().all(|entry| entry.bindings.is_empty()));
}

#[test]
fn a_sequence_that_lambdas_with_state_share_becomes_a_function() {
    let inline = |name: &str| {
        let text = caller(name, 7);
        let (head, rest) = text.split_once("func f0").expect("it has a function");
        let lambda = rest.split_once("\nlambda").expect("and a lambda").1;
        let body = "    v4: i32 = xor v0, v0\n    v5: i32 = mul v4, v0\n    v6: i32 = mul v5, v4\n    v7: i32 = mul v6, v5\n    v8: i32 = mul v7, v6\n    v1: i32 = mul v8, v7\n";
        format!("{head}lambda{lambda}").replace("    v1: i32 = call f0(v0)\n", body)
    };
    let (image, notes) = coalesced(&[inline("a"), inline("b"), inline("c")]);
    assert_snapshot!(notes.join("\n"), @"sequences that stood at 3 places became functions: 1, 48 words fewer");
    assert_snapshot!(lambdac_mir::print_func(&image.module.funcs[0]), @r#"
    func "image.sequence"(v0: i32) -> (i32) {
      v1: i32 = xor v0, v0
      v2: i32 = mul v1, v0
      v3: i32 = mul v2, v1
      v4: i32 = mul v3, v2
      v5: i32 = mul v4, v3
      v6: i32 = mul v5, v4
      return v6
    }
    "#);
}

#[test]
fn a_store_that_is_hardly_filled_needs_no_coalescing() {
    let mut device = nfp();
    device.store = device.store.map(|mut store| {
        store.words = 1_000_000;
        store
    });
    let (image, notes) = run(
        "lambda-coalescing",
        &device,
        &[],
        linked(&[plain("a", 7), plain("b", 7)]),
    );
    assert_eq!(cost(&image).lambdas, 2);
    assert!(notes[0].starts_with("declined"), "{notes:?}");
}

/// A lambda that asks a service of its own for a part of the request, which is so many bytes.
fn asking(index: u32) -> String {
    format!(
        "module \"w{index}\"

service svc0 \"cache\" = memcached \"127.0.0.1:11211\" timeout 1000

lambda l0 \"go\" request \"bytes<64>\" 32..64 reply \"bytes<64>\" 0..64 {{
  slot s0 \"value\": bytes<64>
  part0() {{
    v0: i32 = const 0
    v1: i32 = const {}
    await get svc0 key req[v0 +: v1] -> s0 then part1()
  }}
  part1(v2: i1, v3: i1) live (s0) {{
    v4: i32 = const 0
    v5: i32 = len s0
    reply s0[v4 +: v5]
  }}
}}

dispatch only l0
",
        index + 4
    )
}

#[test]
fn one_piece_of_code_builds_requests_to_services_where_many_ask() {
    for (count, shared) in [(2, false), (6, true)] {
        let texts: Vec<String> = (0..count).map(asking).collect();
        let (image, notes) = coalesced(&texts);
        assert_eq!(image.plumbing.shared_requests, shared, "{count}: {notes:?}");
    }
    let texts: Vec<String> = (0..6).map(asking).collect();
    let (_, notes) = coalesced(&texts);
    assert_snapshot!(notes.join("\n"), @"requests to services that one piece of code builds: 6, 10 words fewer");
}
