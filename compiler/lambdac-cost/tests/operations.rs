//! Operations against the words that the kernel's JIT for the NFP emits (drivers/net/ethernet/netronome/nfp/bpf/jit.c).

use lambdac_cost::{Model, ModuleCost, Placement};
use lambdac_mir::parse;
use lambdac_target::builtin;

fn cost(text: &str) -> ModuleCost {
    let module = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    if let Err(errors) = lambdac_mir::validate(&module) {
        panic!("{errors:#?}\n{text}");
    }
    let device = builtin("nfp").expect("built in");
    let model = Model::new(&device).expect("it counts words");
    model.module(&module, &Placement::far(&module, &device))
}

/// Words of one function with this body, less those of its end.
fn words(params: &str, body: &str) -> u64 {
    let text = |body: &str| {
        format!(
            "module \"m\"\n\nfunc f0 \"f\"({params}) -> () {{\n{body}  return\n}}\n\ndispatch unreachable\n"
        )
    };
    cost(&text(&format!("  {body}\n"))).funcs[0].words - cost(&text("")).funcs[0].words
}

/// An operation and the fewest and most words that the JIT emits for it.
const OPERATIONS: [(&str, &str, u64, u64); 42] = [
    ("v0: i32, v1: i32", "v2: i32 = add v0, v1", 1, 1),
    ("v0: i32, v1: i32", "v2: i32 = and v0, v1", 1, 1),
    ("v0: i32, v1: i32", "v2: i32 = xor v0, v1", 1, 1),
    ("v0: i64, v1: i64", "v2: i64 = add v0, v1", 2, 2),
    ("v0: i64, v1: i64", "v2: i64 = sub v0, v1", 2, 2),
    ("v0: i32", "v1: i32 = const 255\n  v2: i32 = add v0, v1", 1, 1),
    ("v0: i32", "v1: i32 = const 65535\n  v2: i32 = add v0, v1", 2, 2),
    (
        "v0: i32",
        "v1: i32 = const 16776960\n  v2: i32 = add v0, v1",
        2,
        2,
    ),
    (
        "v0: i32",
        "v1: i32 = const 4294967200\n  v2: i32 = add v0, v1",
        2,
        2,
    ),
    (
        "v0: i32",
        "v1: i32 = const 305419896\n  v2: i32 = add v0, v1",
        3,
        3,
    ),
    (
        "v0: i64",
        "v1: i64 = const 1311768467463790320\n  v2: i64 = add v0, v1",
        4,
        6,
    ),
    ("v0: i32", "v1: i32 = const 5\n  v2: i32 = shl v0, v1", 1, 1),
    ("v0: i32", "v1: i32 = const 5\n  v2: i32 = lshr v0, v1", 1, 1),
    ("v0: i32", "v1: i32 = const 5\n  v2: i32 = ashr v0, v1", 2, 2),
    ("v0: i64", "v1: i32 = const 5\n  v2: i64 = shl v0, v1", 2, 2),
    ("v0: i64", "v1: i32 = const 5\n  v2: i64 = ashr v0, v1", 2, 3),
    // A variable amount is compared with the width first, 2 words.
    ("v0: i32, v1: i32", "v2: i32 = lshr v0, v1", 4, 4),
    ("v0: i64, v1: i32", "v2: i64 = lshr v0, v1", 11, 12),
    ("v0: i32, v1: i32", "v2: i32 = mul v0, v1", 6, 7),
    ("v0: i32", "v1: i32 = const 8\n  v2: i32 = udiv v0, v1", 1, 1),
    ("v0: i32", "v1: i32 = const 3\n  v2: i32 = udiv v0, v1", 10, 11),
    ("v0: i32", "v1: i32 = const 3\n  v2: i32 = urem v0, v1", 17, 18),
    ("v0: i32", "v1: i64 = zext v0", 1, 1),
    ("v0: i64", "v1: i32 = trunc v0", 0, 0),
    ("v0: i32, v1: i32", "v2: i1 = ult v0, v1\n  check v2, index", 2, 2),
    ("v0: i64, v1: i64", "v2: i1 = ult v0, v1\n  check v2, index", 3, 3),
    ("v0: i1", "check v0, index", 1, 1),
    ("v0: i1", "if v0 { yield } else { yield }", 1, 1),
    (
        "v0: i32, v1: i32",
        "v2: i1 = ult v0, v1\n  v3: i1 = and v2, v2",
        5 + 1,
        5 + 1,
    ),
    ("v0: i32, v1: i32", "v2: i32 = or v0, v1", 1, 1),
    ("v0: i64, v1: i64", "v2: i64 = xor v0, v1", 2, 2),
    ("v0: i32, v1: i32", "v2: i32 = ashr v0, v1", 2 + 2, 2 + 3),
    ("v0: i64, v1: i32", "v2: i64 = ashr v0, v1", 2 + 9, 2 + 10),
    ("v0: i16, v1: i16", "v2: i16 = mul v0, v1", 4 + 1, 4 + 1),
    ("v0: i32", "v1: i32 = const 8\n  v2: i32 = urem v0, v1", 1, 1),
    // The reciprocal of 7 takes 33 bits; that of 14 is that of 7 after a shift.
    ("v0: i32", "v1: i32 = const 7\n  v2: i32 = udiv v0, v1", 14, 14),
    ("v0: i32", "v1: i32 = const 14\n  v2: i32 = udiv v0, v1", 10, 12),
    ("v0: i32", "v1: i32 = const 7\n  v2: i32 = urem v0, v1", 21, 21),
    (
        "v0: i32",
        "v1: i32 = const 2147483649\n  v2: i32 = udiv v0, v1",
        3,
        4,
    ),
    (
        "v0: i64",
        "v1: i64 = const 0\n  v2: i1 = eq v0, v1\n  check v2, index",
        2,
        6,
    ),
    ("", "v0: i32 = random", 3, 3),
    ("", "v0: i64 = now", 4, 6),
];

#[test]
fn operations_take_the_words_that_the_jit_emits() {
    for (params, body, fewest, most) in OPERATIONS {
        let got = words(params, body);
        assert!(
            (fewest..=most).contains(&got),
            "{body}: {got} words, the JIT emits {fewest} to {most}"
        );
    }
}

#[test]
fn software_division_is_counted_once_an_image() {
    let cost = cost(
        "module \"m\"\n\nfunc f0 \"f\"(v0: i32, v1: i32) -> () {\n  v2: i32 = udiv v0, v1\n  v3: i32 = udiv v2, v1\n  return\n}\n\ndispatch unreachable\n",
    );
    assert_eq!(cost.once.get("divide 32"), Some(&45));
    // Twice a call of 3 words and the test for 0 of 2, and the end.
    assert_eq!(cost.funcs[0].words, 2 * (3 + 2) + 1);
    assert_eq!(cost.words(), cost.funcs[0].words + 45);
}

/// Memory commands on a scalar far away, and the fewest and most words of facts about the NFP's memory units: an address of
/// 40 bits, the command, a word moved; atomics as the JIT and the units' library make them.
const COMMANDS: [(&str, u64, u64); 4] = [
    ("v2: i32 = load o0", 2 + 2, 4 + 2),
    ("store o0, v0", 2 + 2, 4 + 2),
    ("v2: i32 = atomic_add o0, v0", 5, 6),
    ("counter_add o1, v1", 3, 5),
];

#[test]
fn memory_commands_take_the_words_of_the_units() {
    let words = |body: &str| {
        let text = format!(
            "module \"m\"
object o0 \"n\" \"u32\" = value i32 = 0
object o1 \"all\" \"counter\" = counter

func f0 \"f\"(v0: i32, v1: i64) -> () {{
{body}  return
}}

dispatch unreachable
"
        );
        cost(&text).funcs[0].words
    };
    for (body, fewest, most) in COMMANDS {
        let got = words(&format!("  {body}\n")) - words("");
        assert!(
            (fewest..=most).contains(&got),
            "{body}: {got} words, {fewest} to {most} are expected"
        );
    }
}
