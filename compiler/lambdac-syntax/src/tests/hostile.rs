//! Inputs that try to make the parser panic, overflow the stack, or take more than linear time.

use std::time::{Duration, Instant};

use lambdac_diag::{FileId, Sink};

use crate::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NESTING};

/// Generous, for slow machines and unoptimised code: quadratic behaviour takes minutes here.
const SOON: Duration = Duration::from_secs(20);

/// The code of the first error of a source, which must be found soon; empty without errors.
fn first_code(source: &str) -> &'static str {
    let start = Instant::now();
    let mut sink = Sink::new();
    let _ = crate::parse(FileId(0), source, &mut sink);
    assert!(
        start.elapsed() < SOON,
        "took {:?} for {} bytes",
        start.elapsed(),
        source.len()
    );
    sink.into_sorted().first().map_or("", |d| d.code)
}

fn body(text: &str) -> String {
    format!("workload w;\nfn f() {{ {text} }}\n")
}

fn nested(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn deep_nesting_of_every_kind_is_an_error() {
    for times in [MAX_NESTING, 1_000, 100_000] {
        let texts = [
            body(&format!("return {};", nested("(", "1", ")", times))),
            body(&format!("return {};", nested("[", "1", "]", times))),
            body(&format!("return {};", nested("f(", "1", ")", times))),
            body(&format!("return {};", nested("a[", "1", "]", times))),
            body(&format!("return {};", nested("S { a: ", "1", "}", times))),
            body(&nested("if x {", "", "}", times)),
            body(&format!(
                "return {};",
                nested("if x {", "1", "} else { 2 }", times)
            )),
            body(&nested("for i in 0..1 {", "", "}", times)),
            body(&nested("match x { 1 => {", "", "} }", times)),
            body(&nested("let x = y else {", "return;", "};", times)),
            format!(
                "workload w;\nstruct S {{ a: {} }}",
                nested("[", "u8", "; 1]", times)
            ),
        ];
        for text in &texts {
            assert_eq!(first_code(text), "E0105", "{}", &text[..60]);
        }
    }
}

#[test]
fn nesting_up_to_the_bound_is_fine() {
    let times = MAX_NESTING - 1;
    for text in [
        body(&format!("return {};", nested("(", "1", ")", times))),
        body(&format!("return {};", nested("[", "1", "]", times))),
        body(&format!("return {};", nested("f(", "1", ")", times))),
        body(&format!("return {};", nested("S { a: ", "1", "}", times))),
        body(&nested("if x {", "", "}", times)),
        body(&nested("match x { 1 => {", "", "} }", times / 2)),
    ] {
        assert_eq!(first_code(&text), "", "{text}");
    }
}

#[test]
fn broken_code_at_the_deepest_place_is_found_soon() {
    let times = MAX_NESTING - 1;
    for text in [
        body(&format!("return {};", nested("(", "1 +", ")", times))),
        body(&format!("{};", nested("(", "1 +", ")", times))),
        body(&format!("return {};", nested("f(1, ", "2 3", ")", times))),
        body(&format!("{} = 1;", nested("a[", "1 2", "]", times))),
        body(&format!("return {};", nested("[[1], ", "1 2", "]", times - 1))),
        body(&format!("return {};", nested("S { a: ", "1 2", "}", times))),
        body(&nested("if x {", "x y", "}", times)),
        body(&nested("if x { } else {", "x y", "}", times)),
        body(&nested("match x { 1 => {", "x y", "} }", times / 2)),
        body(&format!(
            "let x = {};",
            nested("if x {", "1 2", "} else { 2 }", times)
        )),
        body(&nested("let x = y else {", "let", "};", times)),
        format!(
            "workload w;\nstate s: {} = 1;",
            nested("[", "u8 u8", "; 1]", times)
        ),
        format!(
            "workload w;\nstate s: bytes<{}> = 1;",
            nested("(", "1 2", ")", times)
        ),
    ] {
        assert_eq!(first_code(&text), "E0101", "{text}");
    }
}

#[test]
fn long_chains_are_an_error_and_short_ones_are_not() {
    let chains: [(&str, &str, &str); 12] = [
        ("1", " + 1", ""),
        ("x", " && x == y", ""),
        ("x", " as u8", ""),
        ("x", ".f", ""),
        ("x", "[0]", ""),
        ("x", ".f()", ""),
        ("", "- ", "1"),
        ("", "!", "x"),
        ("", "~", "x"),
        ("1", " * 2 + 3", ""),
        ("1", " | 2 ^ 3 & 4 << 5", ""),
        ("a", " in 0..1 && a", ""),
    ];
    for (first, more, last) in chains {
        for times in [300_000 / more.len(), MAX_DEPTH as usize + 1] {
            let text = body(&format!("return {first}{}{last};", more.repeat(times)));
            assert_eq!(first_code(&text), "E0105", "{more} {times}");
        }
        let text = body(&format!("return {first}{}{last};", more.repeat(100)));
        assert_eq!(first_code(&text), "", "{more}");
    }
}

#[test]
fn nested_chains_together_are_bounded() {
    let inside = "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + (";
    let text = body(&format!("return {};", nested(inside, "1", ")", MAX_NESTING - 2)));
    assert_eq!(first_code(&text), "");
    let inside = format!("({}", "- ".repeat(10));
    let text = body(&format!("return {};", nested(&inside, "1", ")", MAX_NESTING - 2)));
    assert_eq!(first_code(&text), "E0105");
}

#[test]
fn long_flat_things_are_fine() {
    let n = 50_000;
    for text in [
        body(&format!("if a {{ }}{}", " else if b { }".repeat(n))),
        body(&format!("return [{}];", "1,".repeat(n))),
        body(&"x = 1;".repeat(n)),
        body(&format!("match x {{ {} }}", "1 | 2 => {}".repeat(n))),
        body(&format!("return b\"{}\";", "x".repeat(1 << 20))),
        body(&format!("let {} = 1;", "x".repeat(200))),
        format!("workload w; {}", "const A: u32 = 1; ".repeat(10_000)),
        format!("workload w; {}", "lambda f() -> u8 { reply 1; }\n".repeat(10_000)),
        format!("workload w; enum E: u32 {{ {} }}", "A, ".repeat(n)),
        format!(
            "workload w; table t: exact<u8, u8>(4) {{ {} }}",
            "1 => 2, ".repeat(n)
        ),
        format!("workload w; {}", "/// doc\n".repeat(n)),
        format!("workload w; {}", "/* c */".repeat(n)),
        format!("workload w; {}fn f() {{}}", "@a(b) ".repeat(n)),
        format!(
            "workload w; test \"{}\" {{ {} }}",
            "x".repeat(n),
            "expect a() == 1;".repeat(n)
        ),
    ] {
        assert_eq!(first_code(&text), "", "{}", &text[..60]);
    }
}

#[test]
fn a_name_too_long_is_an_error() {
    for len in [201, 1 << 20] {
        assert_eq!(
            first_code(&body(&format!("let {} = 1;", "x".repeat(len)))),
            "E0103"
        );
    }
}

#[test]
fn broken_files_are_linear_too() {
    let n = 50_000;
    for text in [
        "(".repeat(1 << 20),
        ")".repeat(1 << 20),
        "{".repeat(1 << 20),
        "([{".repeat(300_000),
        "(]".repeat(300_000),
        "{)".repeat(300_000),
        "\"".repeat(1 << 20),
        "/*".repeat(1 << 19),
        "é".repeat(1 << 19),
        "é ".repeat(300_000),
        "#\n".repeat(300_000),
        "@".repeat(1 << 20),
        "T".repeat(1 << 20),
        "fn ".repeat(300_000),
        "lambda (".repeat(100_000),
        "state x ".repeat(100_000),
        "let x = ;".repeat(100_000),
        format!("workload w; const A: u32{} = 1;", "?".repeat(1 << 20)),
        format!("workload w; const A: u32 = {};", "9".repeat(1 << 20)),
        format!("workload w; const A: u32 = {};", "1.".repeat(1 << 19)),
        format!("workload w; {}", "fn f() { let = 1; }\n".repeat(10_000)),
        format!("workload w; struct S {{ {} }}", "a b, ".repeat(n)),
        body(&"let = 1;".repeat(n)),
        body(&"x y ".repeat(n)),
        body(&format!("{} else", "if ".repeat(n))),
        body(&format!("return {}", "if x ".repeat(n))),
        body(&format!("return {}", "bytes<".repeat(n))),
        body(&format!("return x{}", " as bytes<1".repeat(n))),
        body(&format!("match x {{ {} }}", "1 => match y ".repeat(n))),
        body(&format!("match x {{ {} }}", "1 2 => {} ".repeat(n))),
        body(&format!("return b\"{}\";", "\\q".repeat(n))),
        format!("workload w; match (r: R) {{ {} }}", "x y => z, ".repeat(n)),
        format!("workload w; test \"t\" {{ {} }}", "expect ".repeat(n)),
    ] {
        let code = first_code(&text);
        assert!(
            code.starts_with("E01") || text.contains('?'),
            "{code} {}",
            &text[..40.min(text.len())]
        );
    }
}

#[test]
fn a_file_over_the_limit_is_refused() {
    assert_eq!(first_code(&" ".repeat(MAX_FILE_BYTES + 1)), "E0108");
}

#[test]
fn every_prefix_and_every_lost_token_of_a_program_ends_well() {
    let source = super::tree::SAMPLE;
    for end in (0..source.len()).filter(|&i| source.is_char_boundary(i)) {
        first_code(&source[..end]);
    }
    let words: Vec<&str> = source
        .split_inclusive([' ', '\n', '(', ')', '{', '}', ';', ','])
        .collect();
    for lost in 0..words.len() {
        let rest: String = words
            .iter()
            .enumerate()
            .filter(|&(i, _)| i != lost)
            .map(|(_, w)| *w)
            .collect();
        first_code(&rest);
        let twice: String = words
            .iter()
            .enumerate()
            .map(|(i, w)| w.repeat(1 + usize::from(i == lost)))
            .collect();
        first_code(&twice);
    }
}

#[test]
fn a_megabyte_of_ordinary_source_parses_soon() {
    let items = super::tree::SAMPLE
        .split_once("workload kv;")
        .map_or("", |(_, items)| items);
    let text = format!("workload kv;{}", items.repeat((1 << 20) / items.len()));
    let start = Instant::now();
    assert_eq!(first_code(&text), "");
    println!("{} bytes in {:?}", text.len(), start.elapsed());
}
