//! lambda-coalescing.

use insta::assert_snapshot;
use lambdac_image::{Bound, Ending, Image, Way};
use lambdac_mir::interp::{Answer, Outcome};
use lambdac_mir::{Data, ObjectId, ServiceId};

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
  slot s0 \"out\": [i8 x 4]
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = call f0(v0)
    store o0, v1
    v2: i32 = const 4
    zero s0
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
  slot s0 \"out\": [i8 x 4]
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = const {constant}
    v2: i32 = xor v0, v1
    v3: i32 = mul v2, v0
    v4: i32 = mul v3, v2
    v5: i32 = const 4
    zero s0
    store_bits s0, bit 0, v4
    v6: i32 = const 0
    reply s0[v6 +: v5]
  }}
}}

dispatch only l0
"
    )
}

/// On a device that reaches each object by its own name alone.
fn coalesced_without_addresses(texts: &[String]) -> (Image, Vec<String>) {
    let mut device = nfp();
    device.limits.object_addresses = false;
    run("lambda-coalescing", &device, &[], linked(texts))
}

#[test]
fn without_addresses_equal_functions_are_one_and_lambdas_with_state_stay_apart() {
    let (image, notes) = coalesced_without_addresses(&[caller("a", 7), caller("b", 7)]);
    assert_snapshot!(notes.join("\n"), @"functions that equal another and became it: 1");
    assert_eq!(cost(&image).lambdas, 2, "each writes its own object");
    assert_eq!(image.module.funcs.len(), 1);
}

/// The object that an entry's code reaches by its first name, and what all of them hold after each entry got a request.
fn after_a_request_each(image: Image) -> Vec<(String, String)> {
    let image = std::sync::Arc::new(image);
    let mut interp = lambdac_image::ImageInterp::new(std::sync::Arc::clone(&image), 1).expect("it is valid");
    let packet = lambdac_image::Packet {
        pkt: [0; 5],
        now: 0,
        random: None,
    };
    let mut nobody = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| Answer::Failed;
    for (number, workload) in (1u32..).zip(&image.workloads) {
        let ending = interp.call(workload.id, &number.to_be_bytes(), &packet, &mut nobody);
        assert!(matches!(ending, Ending::Of(Outcome::Reply(_))), "{ending:?}");
    }
    let state = interp.state(0).into_iter();
    state
        .map(|(name, dump)| (name.to_string(), format!("{dump:?}")))
        .collect()
}

#[test]
fn lambdas_over_objects_of_one_structure_are_one_and_each_keeps_its_own_state() {
    let texts = [caller("a", 7), caller("b", 7), caller("c", 7)];
    let apart = after_a_request_each(linked(&texts));
    let (image, notes) = coalesced(&texts);
    assert_snapshot!(notes.join("\n"), @r"
    functions that equal another and became it: 2
    `a.go`, `b.go`, `c.go` are equal and became one lambda
    objects that shared code reaches by an address, which each way in sets to its workload's own: 1
    ");
    assert_eq!(cost(&image).lambdas, 1);
    let own: Vec<_> = image
        .entries
        .iter()
        .map(|entry| entry.object(ObjectId(0)))
        .collect();
    assert_eq!(own, [ObjectId(0), ObjectId(1), ObjectId(2)]);
    let together = after_a_request_each(image);
    assert_eq!(together, apart);
    assert_ne!(together[0].1, together[1].1, "the requests differ");
}

/// A lambda over a keyed object, a counter and a table with entries of its own.
fn keyed(name: &str, decls: [&str; 3], answer: u32) -> String {
    let decls: String = decls
        .iter()
        .enumerate()
        .map(|(id, decl)| format!("object o{id} {decl}\n"))
        .collect();
    format!(
        "module \"{name}\"

{decls}
lambda l0 \"go\" request \"u32\" 4..4 reply \"u32\" 4..4 {{
  slot s0 \"out\": [i8 x 4]
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i64 = const 1
    counter_add o1, v1
    v2: i1, v3: i32 = map_get o0(v0)
    v4: i1, v5: i32 = table_get o2(v0)
    v6: i32 = add v3, v5
    v7: i32 = const {answer}
    v8: i32 = add v6, v7
    v9: i1 = map_put o0(v0), v8
    v10: i32 = const 4
    zero s0
    store_bits s0, bit 0, v8
    v11: i32 = const 0
    reply s0[v11 +: v10]
  }}
}}

dispatch only l0
"
    )
}

#[test]
fn a_constant_that_differs_becomes_a_parameter() {
    let (image, notes) = coalesced_without_addresses(&[caller("a", 7), caller("b", 1000)]);
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
    let (image, notes) = coalesced_without_addresses(&[inline("a"), inline("b"), inline("c")]);
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
        let (image, notes) = coalesced_without_addresses(&texts);
        assert_eq!(image.plumbing.shared_requests, shared, "{count}: {notes:?}");
    }
    let texts: Vec<String> = (0..6).map(asking).collect();
    let (_, notes) = coalesced_without_addresses(&texts);
    assert_snapshot!(notes.join("\n"), @"requests to services that one piece of code builds: 6, 10 words fewer");
}

/// The services that workloads' requests go to, each with its key, when each workload gets the same request.
fn asked(image: Image) -> Vec<(String, Vec<u8>)> {
    let image = std::sync::Arc::new(image);
    let mut interp = lambdac_image::ImageInterp::new(std::sync::Arc::clone(&image), 1).expect("it is valid");
    let packet = lambdac_image::Packet {
        pkt: [0; 5],
        now: 0,
        random: None,
    };
    let mut asked = Vec::new();
    let mut service = |service: &lambdac_mir::Service, _, key: &[u8], _: Option<&[u8]>| {
        asked.push((service.name.to_string(), key.to_vec()));
        Answer::Value(service.name.as_bytes().to_vec())
    };
    for workload in &image.workloads {
        let ending = interp.call(workload.id, &[b'k'; 32], &packet, &mut service);
        let own = format!("{}.cache", workload.name);
        assert_eq!(
            ending,
            Ending::Of(Outcome::Reply(own.into())),
            "{}",
            workload.name
        );
    }
    asked
}

#[test]
fn lambdas_that_ask_services_of_one_protocol_are_one_and_each_asks_its_own() {
    let texts: Vec<String> = (0..6).map(asking).collect();
    let apart = asked(linked(&texts));
    let (image, notes) = coalesced(&texts);
    assert_snapshot!(notes.join("\n"), @r"
    `w0.go`, `w1.go`, `w2.go`, `w3.go` and 2 more became one lambda with a parameter
    services that shared code asks by a number, which each way in sets to its workload's own: 1
    ");
    assert_eq!(cost(&image).lambdas, 1);
    assert_eq!(asked(image.clone()), apart);
    let mut stranger = image;
    stranger.entries[0].services[0].own = ServiceId(1);
    assert!(stranger.validate().is_err(), "never another workload's service");
}

#[test]
fn ways_out_to_services_that_shared_code_asks_stay() {
    let texts: Vec<String> = (0..3).map(asking).collect();
    let mut image = linked(&texts);
    let options = lambdac_image::Options {
        validate: true,
        ..Default::default()
    };
    lambdac_image::optimize(&mut image, &nfp(), &options);
    assert_eq!(cost(&image).lambdas, 1);
    let services = |ways: &[Way]| ways.iter().filter(|way| **way != Way::Reply).count();
    assert_eq!(
        image
            .plumbing
            .routes
            .iter()
            .map(|route| services(&route.entries))
            .sum::<usize>(),
        3
    );
    assert_eq!(asked(image), asked(linked(&texts)));
}

/// A workload whose lambdas do the same to objects of one structure, each to its own; with `both`, the second to the first's
/// too.
fn siblings(name: &str, both: bool) -> String {
    let text = caller(name, 7);
    let (head, lambda) = text.split_once("\nlambda l0").expect("it has a lambda");
    let (lambda, _) = lambda.split_once("\ndispatch").expect("and a dispatch");
    let second = lambda
        .replace("\"go\"", "\"stay\"")
        .replace("store o0", "store o1");
    let second = match both {
        true => second.replace("store o1, v1", "store o0, v1\n    store o1, v0"),
        false => second,
    };
    format!(
        "{head}
object o1 \"m\" \"u32\" = value i32 = 0

lambda l0{lambda}
lambda l1{second}
dispatch match min 4 {{
  bits(0, i8) ult 128 => l0
  true => l1
}}
"
    )
}

#[test]
fn lambdas_of_one_workload_over_like_objects_are_one_and_each_keeps_its_own_state() {
    let texts = [siblings("a", false)];
    let (image, _) = coalesced(&texts);
    assert_eq!(cost(&image).lambdas, 1);
    let own = |entry: usize| image.entries[entry].object(ObjectId(0));
    assert_eq!((own(0), own(1)), (ObjectId(0), ObjectId(1)));
}

#[test]
fn objects_that_one_lambda_reaches_have_names_of_their_own() {
    let texts = [siblings("a", true), siblings("b", true)];
    let (image, _) = coalesced(&texts);
    assert_eq!(cost(&image).lambdas, 2, "each of two, of both workloads");
    let own = |entry: usize, named| image.entries[entry].object(ObjectId(named));
    assert_eq!((own(1, 0), own(1, 1)), (ObjectId(0), ObjectId(1)));
    assert_eq!((own(3, 0), own(3, 1)), (ObjectId(2), ObjectId(3)));
}

const SEEN: &str = "\"seen\" \"map<u32, u32>(8)\" = map (i32) -> i32 capacity 8";
const HITS: &str = "\"hits\" \"counter\" = counter";

/// A table with an entry.
fn table(value: u32) -> String {
    format!(
        "\"more\" \"exact<u32, u32>(4)\" = exact (i32) -> i32 capacity 4 {{\n  (1) => {value}\n  (2) => 9\n}}"
    )
}

#[test]
fn keyed_objects_and_tables_with_other_entries_are_each_ones_own() {
    let texts = [
        keyed("a", [SEEN, HITS, &table(5)], 1),
        keyed("b", [SEEN, HITS, &table(6)], 1),
        keyed("c", [SEEN, HITS, &table(7)], 2),
    ];
    let apart = after_a_request_each(linked(&texts));
    let (image, notes) = coalesced(&texts);
    assert_snapshot!(notes.join("\n"), @r"
    `a.go`, `b.go`, `c.go` became one lambda with a parameter
    objects that shared code reaches by an address, which each way in sets to its workload's own: 3
    ");
    assert_eq!(cost(&image).lambdas, 1);
    assert_eq!(after_a_request_each(image), apart);
}

#[test]
fn objects_of_other_structures_keep_code_apart() {
    let larger = SEEN.replace("capacity 8", "capacity 16");
    let texts = [
        keyed("a", [SEEN, HITS, &table(5)], 1),
        keyed("b", [&larger, HITS, &table(5)], 1),
    ];
    let (image, _) = coalesced(&texts);
    assert_eq!(cost(&image).lambdas, 2);
    assert!(
        image
            .entries
            .iter()
            .all(|entry| entry.object(ObjectId(0)) == ObjectId(0))
    );
}

#[test]
fn what_the_stage_asks_has_no_other_name() {
    let asking = |name: &str| {
        let text = keyed(name, [SEEN, HITS, &table(5)], 1);
        text.replace(
            "dispatch only l0",
            "dispatch match min 4 {\n  has o2(bits(0, i32)) => l0\n}",
        )
    };
    let (image, _) = coalesced(&[asking("a"), asking("b")]);
    assert_eq!(cost(&image).lambdas, 2, "each names its own table");
}

/// A lambda that answers with a text of its own, if the request is right.
fn texts(name: &str, yes: &str, no: &str) -> String {
    format!(
        "module \"{name}\"

const c0 \"yes\": bytes<{}> = b\"{yes}\"
const c1 \"no\": bytes<{}> = b\"{no}\"

lambda l0 \"go\" request \"u32\" 4..4 reply \"bytes<64>\" 0..64 {{
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = const 2
    v2: i1 = eq v0, v1
    v3: i32 = const 0
    if v2 {{
      v4: i32 = const {}
      reply c0[v3 +: v4]
    }} else {{
      v5: i32 = const {}
      reply c1[v3 +: v5]
    }}
    drop
  }}
}}

dispatch only l0
",
        yes.len(),
        no.len(),
        yes.len(),
        no.len()
    )
}

#[test]
fn texts_of_one_length_are_one_array_of_which_each_way_in_says_its_own() {
    let all = [
        texts("a", "well done", "never"),
        texts("b", "good work", "never"),
        texts("c", "well done", "wrong"),
    ];
    let (image, notes) = coalesced(&all);
    assert_snapshot!(notes.join("\n"), @r"
    constants that have the value of another and became it: 2
    `a.go`, `b.go`, `c.go` became one lambda with 2 parameters
    ");
    let code = image.module.to_string();
    assert!(code.contains("[bytes<9> x 2]"), "{code}");
    let image = std::sync::Arc::new(image);
    let mut interp = lambdac_image::ImageInterp::new(std::sync::Arc::clone(&image), 1).expect("it is valid");
    let packet = lambdac_image::Packet {
        pkt: [0; 5],
        now: 0,
        random: None,
    };
    let mut nobody = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| Answer::Failed;
    for (id, request, expected) in [
        (1, 2u32, "well done"),
        (2, 2, "good work"),
        (3, 2, "well done"),
        (1, 0, "never"),
        (2, 0, "never"),
        (3, 0, "wrong"),
    ] {
        let ending = interp.call(id, &request.to_be_bytes(), &packet, &mut nobody);
        assert_eq!(ending, Ending::Of(Outcome::Reply(expected.into())), "{id}");
    }
}

#[test]
fn texts_of_other_lengths_keep_code_apart() {
    let (image, _) = coalesced(&[texts("a", "yes", "no"), texts("b", "yes!", "no")]);
    assert_eq!(cost(&image).lambdas, 2);
}
