//! What the validator refuses, and what the interpreter does.

use std::sync::Arc;

use lambdac_mir::interp::{Answer, Callee, Env, MirInterp, Outcome, StateDump};
use lambdac_mir::{Data, TrapCause, parse, validate};

/// The first error of a function's region with two parameters.
fn first_error(region: &str) -> String {
    let text = format!(
        "module \"m\"\nfunc f0 \"f\"(v0: i32, v1: i1) -> (i32) {{\n{region}\n}}\ndispatch unreachable\n"
    );
    let module = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    validate(&module)
        .expect_err("the region is broken")
        .remove(0)
        .message
}

#[test]
fn broken_functions_are_refused_with_the_reason() {
    let cases = [
        (
            "v2: i32 = add v0, v3  v3: i32 = const 1  return v2",
            "v3 is used before it is defined",
        ),
        (
            "v2: i32 = const 1  v2: i32 = const 2  return v2",
            "v2 is defined twice",
        ),
        (
            "if v1 { v2: i32 = const 1 yield } else { yield } return v2",
            "v2 is used outside the region that defines it",
        ),
        ("v2: i32 = add v0, v1  return v2", "v1 is i1 where i32 is needed"),
        (
            "v2: i8 = const 256  return v0",
            "the constant 256 does not fit its result",
        ),
        ("v2: i8 = zext v0  return v0", "zext from i32 to (i8)"),
        ("yield v0", "yield where there is nothing to yield to"),
        ("return v1", "return carries (i1) where (i32) is needed"),
        ("drop", "drop outside a lambda"),
        ("v2: i32 = load s0  return v2", "no place starts at s0"),
        (
            "slot s0 \"s\": [i32 x 2]  v2: i32 = load s0  return v2",
            "s0 is [i32 x 2], not a scalar",
        ),
        (
            "slot s0 \"s\": [i32 x 2]  v2: i32 = load s0.0  return v2",
            "the steps of s0.0 do not fit its shape",
        ),
        (
            "slot s0 \"s\": [i32 x 2]  copy s0, s0  return v0",
            "copy of s0 onto itself",
        ),
        (
            "v2: i32 = len req  return v2",
            "a function reaches for the request",
        ),
        (
            "v2: i32 = call f0(v0, v1)  return v2",
            "f0 is not below its caller",
        ),
        ("labels 1  break b0()", "b0 does not enclose its break"),
        (
            "labels 1  block b0 { continue b0() } return v0",
            "b0 is no loop around its continue",
        ),
        (
            "switch v0 { case 1..3, 2 { yield } default { yield } } return v0",
            "ranges of a switch overlap",
        ),
        (
            "labels 1  loop b0 while max 1 () { break b0() } do { continue b0() } return v0",
            "b0 does not enclose its break",
        ),
    ];
    for (region, message) in cases {
        assert_eq!(first_error(region), message, "{region}");
    }
}

fn interp(text: &str) -> MirInterp {
    let module = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    MirInterp::new(Arc::new(module)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn call(interp: &mut MirInterp, request: &[u8], answer: Answer) -> Outcome {
    let env = Env {
        pkt: [0; 5],
        now: 1_000_000_000,
        random: None,
        params: interp.default_params(),
    };
    interp.call(Callee::Dispatch, request, &env, &mut |_, _, _, _| answer.clone())
}

/// A lambda that replies with the 4 bytes of `v9`, computed by `body` from the request's first byte in `v8`.
fn computes(head: &str, body: &str) -> String {
    format!(
        "module \"m\"\n{head}\nlambda l0 \"l\" request \"T\" 1..8 reply \"R\" 0..4 {{\nlabels 2\n\
         slot s0 \"out\": [i8 x 4]\npart0() {{ v8: i8 = load_bits req, bit 0 {body} store_bits s0, bit 0, v9\n\
         v10: i32 = const 0 v11: i32 = const 4 reply s0[v10 +: v11] }} }}\ndispatch only l0\n"
    )
}

/// Runs [`computes`], with the numbers that the body leaves out listed as undefined.
fn run(head: &str, body: &str, request: &[u8]) -> Outcome {
    let text = computes(head, body);
    let used = |n: u32| text.contains(&format!("v{n}: "));
    let gaps: Vec<String> = (0..12)
        .filter(|n| !used(*n))
        .map(|n| format!("v{n}: i1"))
        .collect();
    let text = text.replace(
        "labels 2\n",
        &format!("labels 2\nundefined {}\n", gaps.join(", ")),
    );
    call(&mut interp(&text), request, Answer::Failed)
}

fn replies(value: u32) -> Outcome {
    Outcome::Reply(value.to_be_bytes().to_vec())
}

#[test]
fn scalar_operations_are_total() {
    let binary = |op: &str, a: u32, b: u32| {
        run(
            "",
            &format!("v0: i32 = const {a} v1: i32 = const {b} v9: i32 = {op} v0, v1"),
            b"x",
        )
    };
    let minus = |n: u32| n.wrapping_neg();
    let cases = [
        ("udiv", 7, 0, 0),
        ("urem", 7, 0, 7),
        ("sdiv", 1 << 31, minus(1), 1 << 31),
        ("srem", 1 << 31, minus(1), 0),
        ("sdiv", minus(7), 2, minus(3)),
        ("srem", minus(7), 2, minus(1)),
        ("shl", 1, 32, 0),
        ("lshr", 1 << 31, 31, 1),
        ("ashr", 1 << 31, 99, u32::MAX),
        ("smin", minus(1), 1, minus(1)),
        ("umin", minus(1), 1, 1),
        ("mul", 1 << 31, 2, 0),
    ];
    for (op, a, b, result) in cases {
        assert_eq!(binary(op, a, b), replies(result), "{op} {a}, {b}");
    }
}

#[test]
fn a_loop_traps_where_a_trip_past_max_would_start() {
    let body = |checked: &str, max: u32| {
        format!(
            "v0: i32 = const 0 v1: i32 = zext v8 v2: i32 = const 2 v9: i32 = loop b0 for v3: i32 in v0..v1 max {max} \
             {checked} (v4: i32 = v0) @7 {{ v5: i32 = add v4, v2 continue b0(v5) }}"
        )
    };
    assert_eq!(run("", &body("checked", 3), &[3]), replies(6));
    let Outcome::Trap(cause, loc) = run("", &body("checked", 3), &[4]) else {
        panic!("a trap")
    };
    assert_eq!((cause, loc.line), (TrapCause::LoopMax, 7));
    assert!(matches!(run("", &body("", 3), &[4]), Outcome::Invalid(_)));
}

#[test]
fn what_was_never_written_is_not_read() {
    let body = "v0: i32 = const 0 v1: i32 = load_bits s0, bit 0 v9: i32 = add v0, v1";
    assert_eq!(
        run("", body, b"x"),
        Outcome::Invalid("s0 is read before it is written".to_owned())
    );
    let body = "v0: i32 = const 4 v1: i8 = load s0[v0] v9: i32 = zext v1";
    assert_eq!(
        run("", body, b"x"),
        Outcome::Invalid("s0[v0] is out of bounds: 4 of 4".to_owned())
    );
}

#[test]
fn requests_that_do_not_fit_are_bad() {
    let body = "v9: i32 = zext v8";
    assert_eq!(run("", body, b""), Outcome::BadRequest);
    assert_eq!(run("", body, &[1; 9]), Outcome::BadRequest);
    assert_eq!(run("", body, &[1; 8]), replies(1));
}

#[test]
fn an_lru_forgets_the_least_recently_used_entry() {
    let mut interp = interp(
        "module \"m\"\nobject o0 \"l\" \"lru<u8, u8>(2)\" = lru (i8) -> i8 capacity 2\n\
         lambda l0 \"l\" request \"u8\" 1..1 reply \"R\" 0..0 {\npart0() { v0: i8 = load_bits req, bit 0\n\
         v1: i1, v2: i8 = map_fetch_add o0(v0), v0\ndrop } }\ndispatch only l0\n",
    );
    for key in [1, 2, 1, 3] {
        assert_eq!(call(&mut interp, &[key], Answer::Failed), Outcome::Drop);
    }
    let entry = |key: u64, value: u64| (vec![Data::Int(key)], Data::Int(value));
    assert_eq!(
        interp.state(0),
        [("l".into(), StateDump::Entries(vec![entry(1, 2), entry(3, 3)]))]
    );
}

const REFERENCE: &str = include_str!("../../../lang-spec/mir.md");

/// The module of the reference that has a name.
fn example(name: &str) -> MirInterp {
    let start = REFERENCE
        .find(&format!("module \"{name}\""))
        .expect("an example of that name");
    interp(REFERENCE[start..].split("```").next().unwrap_or_default())
}

#[test]
fn a_lambda_goes_on_with_the_answer_before_and_after_the_split() {
    let answer = Answer::Value(b"value".to_vec());
    assert_eq!(
        call(&mut example("before"), b"k", answer),
        Outcome::Reply(b"value".to_vec())
    );
    let found = call(&mut example("after"), b"k", Answer::Value(b"value".to_vec()));
    assert_eq!(found, Outcome::Reply(vec![0; 4]));
    assert_eq!(call(&mut example("after"), b"k", Answer::Missing), Outcome::Drop);
    let bad_key = call(&mut example("after"), b"a b", Answer::Value(b"value".to_vec()));
    assert_eq!(bad_key, Outcome::Drop, "a key with a blank is never sent");
}

#[test]
fn a_stream_is_handled_chunk_by_chunk() {
    let mut stream = example("stream");
    assert_eq!(
        call(&mut stream, &[0, 1, 0, 0, 0, 2, 0, 0], Answer::Failed),
        Outcome::Reply(vec![1, 2])
    );
    assert_eq!(
        call(&mut stream, &[0, 1, 0, 0, 0], Answer::Failed),
        Outcome::BadRequest
    );
    assert_eq!(call(&mut stream, &[], Answer::Failed), Outcome::BadRequest);
}

#[test]
fn the_deepest_valid_module_runs_on_a_small_stack() {
    let deep = format!(
        "{}yield {}",
        "if v1 { ".repeat(500),
        "} else { yield } yield ".repeat(499)
    );
    let body = format!("v0: i32 = const 0 v1: i1 = eq v8, v8 {deep} }} else {{ yield }} v9: i32 = zext v8");
    assert_eq!(run("", &body, &[5]), replies(5));
    let mut funcs = String::from("func f0 \"f\"(v0: i32) -> (i32) { return v0 }\n");
    for i in 1..500 {
        let callee = i - 1;
        funcs += &format!("func f{i} \"f\"(v0: i32) -> (i32) {{ v1: i32 = call f{callee}(v0) return v1 }}\n");
    }
    let body = "v0: i32 = zext v8 v1: i32 = call f499(v0) v9: i32 = call f0(v1)";
    assert_eq!(run(&funcs, body, &[5]), replies(5));
}
