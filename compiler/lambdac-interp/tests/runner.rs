//! What the runner reports, and what the evaluator offers beside tests.

mod support;

use lambdac_hir::{Callee, EntryKey, TableEntry, TableId, Value};
use lambdac_interp::{
    CallResult, Env, Failure, Givens, InterpTarget, Interpreter, NoServices, Outcome, StateDump, Target,
    TestResult, TrapCause, run_test,
};
use support::{compile, run};

/// The failures of the only test of a source, as `place: expected … got …`.
fn failures(source: &str) -> Vec<String> {
    let results = run(source);
    let [TestResult::Failed(failures)] = results.as_slice() else {
        panic!("one failing test was expected: {results:?}");
    };
    let show = |failure: &Failure| {
        let at = &source[failure.span.start as usize..failure.span.end as usize];
        format!("{at} | {} | {}", failure.expected, failure.got)
    };
    failures.iter().map(show).collect()
}

#[test]
fn a_wrong_reply_is_shown_as_bytes_and_as_a_header() {
    let found = failures(
        "workload w;
enum Op: u8 { Get = 0, Set = 1 }
header H { op: Op, rest: bytes<4> }
lambda f(h: H) -> H { reply h; }
test \"t\" {
    expect f(H { op: Op::Set, rest: b\"a\\n\" }) == H { op: Op::Get, rest: b\"a\" };
    expect f(H { op: Op::Set, rest: b\"\" }) == drop;
    expect f(H { op: Op::Set, rest: b\"\" }) != b\"\\x01\";
}",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    expect f(H { op: Op::Set, rest: b"a\n" }) == H { op: Op::Get, rest: b"a" }; | b"\x00a" = H { op: Op::Get, rest: b"a" } | b"\x01a\n" = H { op: Op::Set, rest: b"a\n" }
    expect f(H { op: Op::Set, rest: b"" }) == drop; | drop | b"\x01" = H { op: Op::Set, rest: b"" }
    expect f(H { op: Op::Set, rest: b"" }) != b"\x01"; | a reply other than b"\x01" = H { op: Op::Set, rest: b"" } | b"\x01" = H { op: Op::Set, rest: b"" }
    "#);
}

#[test]
fn services_state_and_ends_are_told() {
    let found = failures(
        "workload w;
service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
state n: i8 = -3;
lambda f(key: bytes<8>) -> bytes<1024> {
    let value = await cache.get(key) else { reply key[7..8]; };
    reply value;
}
test \"t\" {
    given cache.get(b\"a\") => b\"1\";
    expect f(b\"b\") == b\"1\";
    expect f(b\"c\") == b\"1\";
    expect n == 4;
    given cache.get(b\"z\") => none;
}",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    expect f(b"b") == b"1"; | cache.get(b"a") | cache.get(b"b")
    expect f(b"b") == b"1"; | b"1" | trap: a slice is out of bounds
    expect f(b"c") == b"1"; | no request to a service | cache.get(b"c")
    expect f(b"c") == b"1"; | b"1" | trap: a slice is out of bounds
    expect n == 4; | 4 | -3
    given cache.get(b"z") => none; | the request cache.get(b"z") | no such request
    "#);
}

#[test]
fn a_long_reply_says_where_it_differs() {
    let found = failures(
        "workload w;
lambda f(x: bytes<64>) -> bytes<64> { reply x; }
test \"t\" { expect f(b\"0123456789012345678901234567890123456789\") == b\"0123456789012345678901234567890123x\"; }",
    );
    assert!(
        found[0].contains("first difference at byte 34, 40 bytes instead of 35"),
        "{found:?}"
    );
}

#[test]
fn a_target_that_cannot_run_a_test_skips_it() {
    struct Absent;
    impl Target for Absent {
        fn name(&self) -> &str {
            "absent"
        }
        fn begin(&mut self, _: &lambdac_hir::Test, _: u64) -> Result<(), String> {
            Err("it is not there".to_owned())
        }
        fn call(&mut self, _: &lambdac_hir::CallStep, _: &Env, _: &mut Givens) -> CallResult {
            CallResult::Error("never called".to_owned())
        }
        fn read(&mut self, _: &lambdac_hir::StatePlace) -> Result<Value, String> {
            Err("never called".to_owned())
        }
    }
    let workload = compile(
        "workload w; lambda f() -> bytes<1> { reply b\"\"; } test \"t\" { expect f(b\"\") == b\"\"; }",
    );
    let result = run_test(&workload, &workload.tests[0], &mut Absent);
    assert_eq!(result, TestResult::Skipped("it is not there".to_owned()));
}

#[test]
fn a_budget_ends_a_long_call() {
    let workload = compile(
        "workload w; lambda f() -> [u32; 1] { let mut n: u32; for i in 0..100_000_000 { n = i; } reply [n]; }",
    );
    let mut interpreter = Interpreter::new(workload.clone());
    interpreter.set_budget(Some(10_000));
    let outcome = interpreter.call(Callee::Workload, b"", &Env::new(&workload), &mut NoServices);
    assert_eq!(outcome, Outcome::OutOfSteps);
}

#[test]
fn a_trap_has_its_cause_place_and_lambda() {
    let source = "workload w; lambda f(x: bytes<2>) -> [u8; 1] { reply [x[9]]; }";
    let workload = compile(source);
    let mut interpreter = Interpreter::new(workload.clone());
    let outcome = interpreter.call(Callee::Workload, b"a", &Env::new(&workload), &mut NoServices);
    let Outcome::Trap(trap) = outcome else {
        panic!("a trap was expected: {outcome:?}")
    };
    assert_eq!(trap.cause, TrapCause::Index);
    assert_eq!(&source[trap.span.start as usize..trap.span.end as usize], "x[9]");
    assert_eq!(trap.lambda, Some(lambdac_hir::LambdaId(0)));
}

#[test]
fn the_state_is_dumped_in_order() {
    let workload = compile(
        "workload w;
state n: u8 = 4;
state c: counter[2];
state m: map<u8, u8>(4);
state l: lru<u8, u8>(4, ttl = 1s);
lambda f(x: [u8; 1]) -> [u8; 1] {
    c[1].add(3);
    l.put(x[0], n);
    reply [m.insert(x[0], 1) as u8];
}",
    );
    let mut interpreter = Interpreter::new(workload.clone());
    let mut env = Env::new(&workload);
    for key in [9, 2, 5] {
        env.now += 400_000_000;
        interpreter.call(Callee::Workload, &[key], &env, &mut NoServices);
    }
    let entries = |keys: &[(u64, u64)]| {
        StateDump::Entries(
            keys.iter()
                .map(|&(k, v)| (Value::Int(k), Value::Int(v)))
                .collect(),
        )
    };
    let dump: Vec<_> = interpreter
        .state(env.now + 300_000_000)
        .into_iter()
        .map(|(_, dump)| dump)
        .collect();
    let expected = [
        StateDump::Value(Value::Int(4)),
        StateDump::Counters(vec![0, 9]),
        entries(&[(2, 1), (5, 1), (9, 1)]),
        entries(&[(2, 4), (5, 4)]),
    ];
    assert_eq!(dump, expected);
}

#[test]
fn table_entries_can_be_replaced_while_state_stays() {
    let source = "workload w;
state n: u8;
table t: lpm<u32, u8>(8) { 10.0.0.0/8 => 1 }
lambda f(x: [u32; 1]) -> [u8; 2] {
    let before = n.fetch_add(1);
    let v = t.get(x[0]) else { reply [before, 0]; };
    reply [before, v];
}";
    let workload = compile(source);
    let env = Env::new(&workload);
    let mut interpreter = Interpreter::new(workload.clone());
    let ask = |interpreter: &mut Interpreter| {
        interpreter.call(Callee::Workload, &[10, 0, 0, 1], &env, &mut NoServices)
    };
    assert_eq!(ask(&mut interpreter), Outcome::Reply(vec![0, 1]));
    let span = workload.span;
    let entry = |key: EntryKey, value: u64| TableEntry {
        key,
        value: Value::Int(value),
        span,
    };
    let address = Value::Int(0x0a00_0000);
    interpreter.set_table(
        TableId(0),
        vec![entry(EntryKey::Any, 3), entry(EntryKey::Prefix(address, 24), 4)],
    );
    assert_eq!(ask(&mut interpreter), Outcome::Reply(vec![1, 4]));
    interpreter.set_table(TableId(0), Vec::new());
    assert_eq!(ask(&mut interpreter), Outcome::Reply(vec![2, 0]));
}

#[test]
fn rule_hits_are_counted() {
    let workload = compile(
        "workload w; lambda f() -> bytes<1> { reply b\"\"; } match (x: [u8; 1]) { x[0] > 5 => f, _ => drop, }",
    );
    let env = Env::new(&workload);
    let mut interpreter = Interpreter::new(workload);
    for byte in [1, 9, 2] {
        interpreter.call(Callee::Workload, &[byte], &env, &mut NoServices);
    }
    assert_eq!(interpreter.rule_hits(), [1, 2]);
}

#[test]
fn the_evaluator_shows_what_a_test_left() {
    let workload = compile(
        "workload w; state n: u8; lambda f() -> [u8; 1] { reply [n.fetch_add(1)]; } test \"t\" { expect f(b\"\") == [0]; }",
    );
    let mut target = InterpTarget::new(workload.clone());
    assert_eq!(
        run_test(&workload, &workload.tests[0], &mut target),
        TestResult::Passed
    );
    assert_eq!(
        target.interpreter().state(0)[0].1,
        StateDump::Value(Value::Int(1))
    );
}

/// A chain of fns whose calls stand at the bottom of long expressions, as deep as the analysis lets a program be.
#[test]
fn the_deepest_program_fits_the_stack_of_a_thread() {
    let mut source = "workload w;\nfn f0(x: u8) -> u8 { return x; }\n".to_owned();
    for number in 1..=4 {
        let (callee, tail) = (number - 1, " ^ x".repeat(240));
        source.push_str(&format!(
            "fn f{number}(x: u8) -> u8 {{ return f{callee}(x){tail}; }}\n"
        ));
    }
    source.push_str("lambda f(x: [u8; 1]) -> [u8; 1] { reply [f4(x[0])]; }");
    let workload = compile(&source);
    let mut interpreter = Interpreter::new(workload.clone());
    let outcome = interpreter.call(Callee::Workload, &[9], &Env::new(&workload), &mut NoServices);
    assert_eq!(outcome, Outcome::Reply(vec![9]));
}
