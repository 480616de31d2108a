//! Large and twisted sources: no panic, no deep stack, no more than linear time and memory.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::support::{Files, check, check_with};

/// Generous, for slow machines and debug builds: quadratic work over 10,000 items takes far longer.
const LIMIT: Duration = Duration::from_secs(20);

fn timed(source: &str) -> String {
    let start = Instant::now();
    let found = check(source);
    assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
    found
}

const LAMBDA: &str = "lambda go(req: bytes<8>) -> bytes<8> { reply req; }\n";

#[test]
fn a_long_chain_of_constants_in_reverse_order_is_fine() {
    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "const C{i}: u32 = C{} + 1;", i + 1).expect("a string");
    }
    source += "const C10000: u32 = 7;\nlambda go(req: bytes<C0>) -> bytes<C0> { reply req; }\n";
    assert_eq!(timed(&source), "");
}

#[test]
fn a_circle_of_ten_thousand_constants_is_one_error() {
    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "const C{i}: u32 = C{};", (i + 1) % 10_000).expect("a string");
    }
    let found = timed(&(source + LAMBDA));
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("E0214"), "{found}");
}

#[test]
fn a_chain_of_ten_thousand_fns_is_sorted() {
    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "fn f{i}(a: u32) -> u32 {{ return f{}(a); }}", i + 1).expect("a string");
    }
    source += "fn f10000(a: u32) -> u32 { return a; }\n";
    let (workload, found, _) = crate::support::check_file("t.lnic", &(source + LAMBDA), &Files::default());
    assert_eq!(found, []);
    assert_eq!(&*workload.expect("clean").fns[0].name, "f10000");
}

#[test]
fn structs_nested_without_end_are_refused() {
    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "struct S{i} {{ a: S{} }}", i + 1).expect("a string");
    }
    source += "struct S10000 { a: u8 }\n";
    let found = timed(&(source + LAMBDA));
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("E0216"), "{found}");
}

#[test]
fn structs_that_double_are_refused_before_they_fill_the_memory() {
    let mut source = String::from("workload t;\nstruct S0 { a: bytes<0>, b: bytes<0> }\n");
    for i in 1..60 {
        writeln!(source, "struct S{i} {{ a: S{}, b: S{} }}", i - 1, i - 1).expect("a string");
    }
    assert!(timed(&(source + LAMBDA)).contains("E0216"));
}

#[test]
fn ten_thousand_large_states_are_refused() {
    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "state s{i}: [u8; 1000000];").expect("a string");
    }
    assert!(timed(&(source + LAMBDA)).contains("E0216"));
}

#[test]
fn ten_thousand_large_zeros_share_their_memory() {
    let mut source = String::from("workload t;\nlambda go(req: bytes<8>) -> bytes<8> {\n");
    for i in 0..10_000 {
        writeln!(source, "let mut s{i}: [u8; 1000000];").expect("a string");
    }
    assert_eq!(timed(&(source + "reply req; }\n")), "");
}

#[test]
fn ten_thousand_variables_items_arms_and_errors_take_linear_time() {
    let mut source =
        String::from("workload t;\nlambda go(req: bytes<8>) -> bytes<8> {\nlet v0 = req.len();\n");
    for i in 1..10_000 {
        writeln!(source, "let v{i} = v{} + 1;", i - 1).expect("a string");
    }
    source += "match v9999 {\n";
    for i in 0..10_000 {
        writeln!(source, "{} => {{ drop; }}", i * 2).expect("a string");
    }
    assert_eq!(timed(&(source + "}\nreply req; }\n")), "");

    let mut source = String::from("workload t;\n");
    for i in 0..10_000 {
        writeln!(source, "const C{i}: u8 = unknown{i};").expect("a string");
    }
    let found = timed(&(source + LAMBDA));
    assert!(found.lines().all(|line| line.contains("E0201")), "{found}");
}

#[test]
fn a_chain_of_operators_does_not_overflow_the_stack() {
    let chain = |n: usize| {
        let sum = vec!["1"; n].join(" + ");
        format!("workload t;\nconst A: u32 = {sum};\nlambda go(req: bytes<A>) -> bytes<A> {{ reply req; }}\n")
    };
    assert_eq!(check(&chain(100)), "");
    // A longer one is the parser's to refuse; if it does not, it must be worked out.
    let found = check(&chain(20_000));
    assert!(found.lines().count() <= 1, "{found}");
}

#[test]
fn long_chains_of_else_if_are_refused() {
    let mut body = String::new();
    for i in 0..2_000 {
        write!(body, "if req.len() == {i} {{ drop; }} else ").expect("a string");
    }
    let source = format!("workload t;\nlambda go(req: bytes<8>) -> bytes<8> {{\n{body} {{ drop; }}\n}}\n");
    let found = timed(&source);
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn libraries_in_a_circle_are_one_error_at_the_use_that_closes_it() {
    let files = Files::of(&[
        ("a.lnic", "library a;\nuse b;\nconst A: u32 = 1;\n"),
        ("b.lnic", "library b;\nuse c;\nconst B: u32 = 1;\n"),
        ("c.lnic", "library c;\nuse a;\nconst C: u32 = 1;\n"),
    ]);
    let found = check_with(&format!("workload t;\nuse a;\n{LAMBDA}"), &files);
    assert_eq!(
        found,
        "c.lnic:2:5: error[E0902]: libraries use each other in a circle: `a`, `b`, `c`\n"
    );
}

#[test]
fn a_library_that_is_no_text_is_an_error_that_names_the_place() {
    let mut files = Files::default();
    files.0.insert(
        "a.lnic".into(),
        b"library a;\nconst A: u32 = 1; // \xff\n".to_vec(),
    );
    let found = check_with(&format!("workload t;\nuse a;\n{LAMBDA}"), &files);
    assert_eq!(found.lines().count(), 1, "{found}");
    assert!(found.contains("a.lnic:2:"), "{found}");
}
