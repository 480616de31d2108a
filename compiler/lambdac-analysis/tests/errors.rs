//! Errors: what triggers each, and what comes close and doesn't.

mod support;

use lambdac_analysis::Placement;
use support::{analysed, reports};

/// Reports of the code, without the other ones.
fn of_code(source: &str, code: &str) -> Vec<String> {
    reports(source)
        .into_iter()
        .filter(|report| report.starts_with(code))
        .collect()
}

/// Whether a body with `n` and `cache` in scope has a `punt` too late.
fn late_punts(body: &str) -> usize {
    let source = format!(
        "workload w;
state n: u32;
state c: counter;
state m: map<u8, u8>(4);
service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
fn writes() -> u32 {{ return n.fetch_add(1); }}
fn reads() -> u32 {{ return n; }}
lambda f(x: bytes<8>) -> bytes<8> {{ {body} reply x; }}"
    );
    of_code(&source, "E035").len()
}

#[test]
fn a_punt_after_any_write_is_late() {
    for write in [
        "n = 1;",
        "n += 1;",
        "n.fetch_add(1);",
        "c.add(1);",
        "m.insert(1, 2);",
        "m.remove(1);",
        "writes();",
        "let _v = writes() + 1;",
        "if x.len() == 0 { n = 1; }",
        "for i in 0..2 { if i == 1 { n = 1; } }",
        "match x.len() { 1 => { c.add(1); } _ => { } }",
        "let _v = x.len() == 0 && writes() == 0;",
    ] {
        assert_eq!(
            late_punts(&format!("{write} if x.len() == 1 {{ punt; }}")),
            1,
            "{write}"
        );
    }
}

#[test]
fn a_punt_on_a_path_without_a_write_is_in_time() {
    for body in [
        "if x.len() == 0 { punt; } n = 1;",
        "if x.len() == 0 { n = 1; reply x; } if x.len() == 1 { punt; }",
        "if n == 0 { punt; }",
        "if reads() == 0 { punt; }",
        "let v = m.get(1) else { punt; }; n = v as u32;",
        "let mut local = 1; local += 1; if local == 3 { punt; }",
        "for i in 0..4 { if i == 2 { n = 1; break; } if i == 3 { punt; } }",
    ] {
        assert_eq!(late_punts(body), 0, "{body}");
    }
}

#[test]
fn a_write_reaches_a_punt_in_the_next_trip() {
    let body = |end: &str| format!("for i in 0..4 {{ if i == 3 {{ punt; }} n = 1; {end} }}");
    assert_eq!(late_punts(&body("")), 1);
    assert_eq!(late_punts(&body("if i == 1 { continue; }")), 1);
    assert_eq!(late_punts(&body("break;")), 0);
    assert_eq!(late_punts(&body("reply x;")), 0);
}

#[test]
fn a_punt_after_an_await_is_late_in_its_else_too() {
    assert_eq!(late_punts("let _v = await cache.get(x) else { punt; };"), 1);
    assert_eq!(
        late_punts("let _v = await cache.get(x) else { reply x; }; if x.len() == 2 { punt; }"),
        1
    );
    assert_eq!(
        late_punts("if x.len() == 2 { punt; } let _v = await cache.get(x) else { reply x; };"),
        0
    );
}

#[test]
fn each_cycle_of_punts_is_told_once() {
    let lambdas = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "d"), ("e", "a")];
    let lambdas: String = lambdas
        .iter()
        .map(|(from, to)| {
            format!(
                "lambda {from}(x: bytes<8>) -> bytes<8> {{ if x.len() == 1 {{ punt {to}; }} reply x; }}\n"
            )
        })
        .collect();
    let source = format!(
        "workload w;\n{lambdas}match (x: bytes<8>) {{ x.len() == 1 => e, x.len() == 2 => d, _ => a, }}"
    );
    let found = of_code(&source, "E0352");
    insta::assert_snapshot!(found.join("\n"), @r#"
    E0352 `punt c;`: `b` punts to itself (the cycle begins here)
    E0352 `punt d;`: `d` punts to itself (the cycle begins here)
    "#);
}

#[test]
fn a_long_chain_of_punts_is_no_cycle() {
    let mut source = "workload w;\n".to_owned();
    for number in 0..2_000 {
        let next = number + 1;
        source.push_str(&format!(
            "lambda l{number}(x: bytes<8>) -> bytes<8> {{ punt l{next}; }}\n"
        ));
    }
    source.push_str("lambda l2000(x: bytes<8>) -> bytes<8> { reply x; }\nmatch (x: bytes<8>) { _ => l0, }");
    assert_eq!(reports(&source), Vec::<String>::new());
}

#[test]
fn a_stream_lambda_answers_each_chunk() {
    let found = of_code(
        "workload w;
stream lambda f(x: bytes<8>) -> bytes<8> {
    if x.len() == 1 { drop; }
    if x.len() == 2 { punt; }
    reply x;
}",
        "E0353",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    E0353 `drop;`: `drop` in a stream lambda (each chunk must be answered)
    E0353 `punt;`: `punt` in a stream lambda (each chunk must be answered)
    "#);
}

#[test]
fn chunks_and_their_replies_fit_packets() {
    let sizes = |request: u32, reply: u32| {
        of_code(
            &format!(
                "workload w; stream lambda f(x: bytes<{request}>) -> bytes<{reply}> {{ reply x[0..0]; }}"
            ),
            "E0354",
        )
        .len()
    };
    assert_eq!(sizes(1344, 1344), 0);
    assert_eq!(sizes(1345, 1344), 1);
    assert_eq!(sizes(1344, 1345), 1);
    let none = of_code(
        "workload w; stream lambda f() -> bytes<1> { reply b\"\"; }",
        "E0354",
    );
    assert_eq!(none.len(), 1);
}

#[test]
fn a_match_mixes_no_streams() {
    let source = |slow: &str| {
        format!(
            "workload w;
stream lambda a(x: bytes<8>) -> bytes<8> {{ reply x; }}
{slow} -> bytes<8> {{ reply x[0..1]; }}
match (x: [u8; 1]) {{ x[0] == 1 => a, _ => b, }}"
        )
    };
    assert_eq!(of_code(&source("stream lambda b(x: [u8; 8])"), "E0355").len(), 0);
    assert_eq!(of_code(&source("stream lambda b(x: bytes<4>)"), "E0355").len(), 1);
    assert_eq!(of_code(&source("lambda b(x: bytes<8>)"), "E0355").len(), 1);
}

#[test]
fn a_stream_behind_a_punt_counts_as_reached() {
    let found = of_code(
        "workload w;
lambda a(x: bytes<8>) -> bytes<8> { punt b; }
stream lambda b(x: bytes<8>) -> bytes<8> { reply x; }
match (x: [u8; 1]) { _ => a, }",
        "E0355",
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn the_dearest_loop_is_shown() {
    let found = of_code(
        "workload w;
lambda f(x: [u32; 1]) -> [u32; 1] {
    let mut sum: u32;
    for i in 0..1000 { sum += i; }
    for i in 0..x[0] max 100000 { for j in 0..100000 { sum += i ^ j; } }
    reply [sum];
}",
        "E0550",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"E0550 `for i in 0..x[0] max 100000 { for j in 0..100000 { sum += i ^ j; } }`: `f` can take 60,000,205,004 steps, more than 1,000,000,000 (up to 100,000 trips of 600,002 steps)"#);
}

#[test]
fn a_fn_that_is_too_long_is_told_once_and_a_dear_call_where_it_stands() {
    let found = of_code(
        "workload w;
fn long(x: u32) -> u32 { let mut s = x; for i in 0..2_000_000_000 { s ^= i; } return s; }
fn dear(x: u32) -> u32 { let mut s = x; for i in 0..100_000_000 { s ^= i; } return s; }
lambda f(x: [u32; 1]) -> [u32; 1] { reply [long(x[0])]; }
lambda g(x: [u32; 1]) -> [u32; 1] { reply [dear(x[0]) + dear(1) + dear(2)]; }
match (x: [u32; 1]) { x[0] == 1 => f, _ => g, }",
        "E0550",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    E0550 `for i in 0..2_000_000_000 { s ^= i; }`: `long` can take 10,000,000,002 steps, more than 1,000,000,000 (up to 2,000,000,000 trips of 5 steps)
    E0550 `dear(x[0])`: `g` can take 1,500,000,014 steps, more than 1,000,000,000 (`dear` takes up to 500,000,002 steps)
    "#);
}

#[test]
fn a_branch_costs_its_dearest_side() {
    let steps = |body: &str| {
        let source =
            format!("workload w; lambda f(x: [u32; 1]) -> [u32; 1] {{ let mut s: u32; {body} reply [s]; }}");
        analysed(&source).1.lambdas[0].steps
    };
    let base = steps("s = 1;") - 1;
    let cheap = steps("if x[0] == 1 { s = 1; }") - base;
    let both = steps("if x[0] == 1 { s = 1; } else { s = 2; s = 3; s = 4; }") - base;
    assert_eq!(both, cheap + 2);
    let trips = steps("for i in 0..10 { s = i; }") - base;
    assert_eq!(trips, 10 * (1 + 2));
}

#[test]
fn every_reason_keeps_a_lambda_off_the_nic() {
    let source = "workload w;
state n: u32;
state m: u32;
state fixed: u32 = 3;
@on(host) lambda asked() -> [u32; 1] { reply [fixed]; }
lambda large_reply() -> bytes<2000> { n.fetch_add(1); reply b\"\"; }
lambda tied() -> [u32; 1] { reply [n + m.fetch_add(1)]; }
lambda tied_further() -> [u32; 1] { reply [m]; }
lambda fast(x: bytes<2000>) -> [u32; 1] { if x.len() > 9 { punt slow; } reply [fixed]; }
lambda slow(x: bytes<2000>) -> [u32; 1] { reply [x.len()]; }
state k: u32;
lambda large_request(x: bytes<2000>) -> [u32; 1] { k.fetch_add(1); reply [x.len()]; }
lambda free(x: bytes<8>) -> [u32; 1] { reply [x.len()]; }";
    let (workload, facts, _) = analysed(source);
    let shown: Vec<_> = workload
        .lambdas
        .iter()
        .zip(&facts.lambdas)
        .map(|(lambda, facts)| {
            let place = match &facts.placement {
                Placement::Nic { large_on_host } => format!("nic, large on host: {large_on_host}"),
                Placement::Host(reason) => format!("host: {}", reason.describe(&workload)),
            };
            format!("{} ({}) {place}", lambda.name, facts.component)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    asked (0) host: `@on(host)` asks for it
    large_reply (1) host: its largest reply, 2,000 bytes, does not fit a packet
    tied (1) host: it shares the state `n` with `large_reply`, which runs there
    tied_further (1) host: it shares the state `m` with `tied`, which runs there
    fast (2) nic, large on host: true
    slow (3) host: `fast` punts to it
    large_request (4) host: it changes state (`k`) and its largest request, 2,000 bytes, does not fit a packet
    free (5) nic, large on host: false
    "#);
}

#[test]
fn the_examples_of_the_pages_have_their_code_and_their_mends_none() {
    let ours = ["E035", "E055", "E0750", "W005"];
    // The driver's, which has the cost model.
    let deadline = "E0553";
    let codes: Vec<_> = lang_spec::error_codes()
        .filter(|code| ours.iter().any(|p| code.starts_with(p)) && *code != deadline)
        .collect();
    assert_eq!(codes.len(), 18);
    for code in codes {
        let page = lang_spec::error_page(code).expect("listed");
        let mut blocks = page
            .split("```lnic\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        let (example, mend) = (blocks.next().expect("an example"), blocks.next().expect("a mend"));
        let found: Vec<_> = reports(example);
        assert!(
            found.len() == 1 && found[0].starts_with(code),
            "{code}: {found:#?}"
        );
        assert_eq!(reports(mend), Vec::<String>::new(), "{code}");
    }
}
