//! Sums over the structure: branches, loops, calls, waits, lines.

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

fn func(header: &str, body: &str) -> lambdac_cost::CodeCost {
    let text = format!("module \"m\"\n\nfunc f0 \"f\"{header} {{\n{body}\n}}\n\ndispatch unreachable\n");
    cost(&text).funcs[0].clone()
}

#[test]
fn a_branch_costs_its_dearer_side_and_on_average_the_mean() {
    let code = func(
        "(v0: i1, v1: i32) -> (i32)",
        "  v2: i32 = if v0 @1 {
    v3: i32 = mul v1, v1 @2
    yield v3
  } else {
    v4: i32 = add v1, v1 @3
    yield v4
  }
  return v2",
    );
    // Test a bit 4; multiply 6, move 1; add 1, move 1; move to the result 1, jump 4.
    assert_eq!(code.worst, 4 + 7 + 5);
    assert_eq!(code.expected, 4 + (7 + 2) / 2 + 5);
    assert_eq!(code.words, 1 + 7 + 2 + 2);
}

#[test]
fn a_loop_costs_its_most_trips_and_exactly_them_where_both_ends_are_constant() {
    let body = |to: &str, checked: &str| {
        format!(
            "  labels 1
  v1: i32 = const 0
  v2: i32 = const 10
  v3: i32 = loop b0 for v4: i32 in v1..{to} max 100{checked} (v5: i32 = v1) @3 {{
    v6: i32 = add v5, v4 @4
    continue b0(v6)
  }}
  return v3"
        )
    };
    let exact = func("(v0: i32) -> (i32)", &body("v2", ""));
    let open = func("(v0: i32) -> (i32)", &body("v0", " checked"));
    // Count 1, compare 5, add 1, move 1, jump 4 a trip.
    let trip = 12;
    assert_eq!(exact.worst, exact.expected);
    assert_eq!(
        open.worst - exact.worst,
        90 * trip + 5,
        "90 more trips and the check of the most"
    );
    assert_eq!(open.expected - exact.expected, 40 * trip + 5, "half of 100");
    assert_eq!(open.lines[&(0, 4)].cycles, 100 * (1 + 1 + 4));
}

#[test]
fn a_call_adds_the_callee_to_the_cycles_and_not_to_the_words() {
    let cost = cost(
        "module \"m\"

func f0 \"slow\"(v0: i32) -> (i32) {
  v1: i32 = mul v0, v0
  return v1
}

func f1 \"calls\"(v0: i32) -> (i32) {
  v1: i32 = call f0(v0)
  return v1
}

dispatch unreachable
",
    );
    let [slow, calls] = &cost.funcs[..] else {
        panic!("two functions")
    };
    // A call and its return 8, the argument 1, the own end 1 + 4.
    assert_eq!(calls.worst, slow.worst + 8 + 1 + 5);
    assert_eq!(calls.words, 3 + 1 + 2);
}

#[test]
fn a_state_that_lies_nearer_is_read_sooner_with_the_same_words() {
    let text = "module \"m\"

object o0 \"n\" \"u32\" = value i32 = 0

lambda l0 \"l\" request \"bytes<4>\" 0..4 reply \"bytes<4>\" 0..4 {
  part0() {
    v0: i32 = load o0 @7
    v1: i32 = const 0
    reply req[v1 +: v1]
  }
}

dispatch only l0
";
    let module = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let device = builtin("nfp").expect("built in");
    let model = Model::new(&device).expect("it counts words");
    let far = Placement::far(&module, &device);
    let mut near = far.clone();
    near.objects[0] = 3;
    let [far, near] = [far, near].map(|placement| model.module(&module, &placement).lambdas[0].clone());
    assert_eq!(device.memory[3].name, "imem");
    assert_eq!(far.words, near.words);
    assert_eq!(far.worst - near.worst, 500 - 250);
    assert_eq!(far.lines[&(0, 7)].cycles, 3 + 1 + 1 + 500);
}

#[test]
fn a_path_goes_on_behind_an_await_and_a_stretch_ends_there() {
    let part = |work: &str, end: &str| format!("{work}    {end}\n");
    let text = |first: &str, second: &str| {
        format!(
            "module \"m\"

service svc0 \"cache\" = memcached \"10.0.0.1:11211\" timeout 1000000

lambda l0 \"asks\" request \"bytes<8>\" 0..8 reply \"bytes<8>\" 0..8 {{
  slot s0 \"value\": bytes<8>
  part0() {{
    v0: i32 = const 0
    v1: i32 = const 4
{}  }}
  part1(v2: i1, v3: i1) live (s0) {{
    v4: i32 = const 0
{}  }}
}}

dispatch only l0
",
            part(first, "await get svc0 key req[v0 +: v1] -> s0 then part1()"),
            part(second, "reply s0[v4 +: v4]")
        )
    };
    let work = "    zero s0\n".repeat(3);
    let asks = |first: &str, second: &str| cost(&text(first, second)).lambdas[0].clone();
    let (bare, before, behind) = (asks("", ""), asks(&work, ""), asks("", &work));
    let (cycles, both) = (before.worst - bare.worst, asks(&work, &work));
    assert!(cycles > 0);
    assert_eq!(behind.worst - bare.worst, cycles);
    assert_eq!(
        both.worst,
        bare.worst + 2 * cycles,
        "what is in front and what is behind"
    );
    assert_eq!(both.expected, both.worst);
    assert_eq!(both.words, before.words + behind.words - bare.words);
    assert!(both.stretch < both.worst && both.stretch >= before.stretch.max(behind.stretch));
}

/// Functions with slots of so many bytes, each but the first calling the one before it.
fn chain(slots: &[&[u32]]) -> ModuleCost {
    let mut text = "module \"m\"\n".to_owned();
    for (id, sizes) in slots.iter().enumerate() {
        text += &format!("\nfunc f{id} \"f\"() {{\n");
        for (slot, size) in sizes.iter().enumerate() {
            text += &format!("  slot s{slot} \"s\": [i8 x {size}]\n");
        }
        for slot in 0..sizes.len() {
            text += &format!("  zero s{slot}\n");
        }
        if let Some(before) = id.checked_sub(1) {
            text += &format!("  call f{before}()\n");
        }
        text += "  return\n}\n";
    }
    cost(&(text + "\ndispatch unreachable\n"))
}

#[test]
fn slots_share_what_a_thread_has_of_local_memory() {
    // 1,024 bytes of a core for 4 threads.
    let local = |sizes: &[u32]| {
        let code = chain(&[sizes]).funcs[0].clone();
        (code.local, code.worst)
    };
    let (bytes, one) = local(&[100]);
    assert_eq!(bytes, 100);
    assert_eq!(local(&[256]).0, 256);
    assert_eq!(local(&[260]).0, 0);
    let (bytes, two) = local(&[100, 100]);
    assert_eq!(bytes, 200);
    // The third has no room beside the others, and waits for a memory behind the core; a small one still has.
    let (bytes, three) = local(&[100, 100, 100]);
    assert_eq!(bytes, 200);
    assert!(three - two > two - one, "{three} {two} {one}");
    assert_eq!(local(&[100, 100, 100, 40]).0, 240);
}

#[test]
fn callers_have_what_their_callees_leave_of_local_memory() {
    let local = |slots: &[&[u32]]| -> Vec<u64> { chain(slots).funcs.iter().map(|code| code.local).collect() };
    assert_eq!(local(&[&[100], &[100], &[100]]), [100, 200, 200]);
    assert_eq!(local(&[&[100], &[40], &[100]]), [100, 140, 240]);
}
