//! What broken programs are told: one error a cause, at its place, and all of them in one run.

use insta::assert_snapshot;

use super::{check, run};
use crate::ast::{ItemKind, StmtKind};

/// The errors of a lambda with this body; its first line is line 3.
fn body(body: &str) -> String {
    check(&format!(
        "workload w;\nlambda f() -> bytes<4> {{\n{body}\n}}\nfn g() {{}}\n"
    ))
}

/// The errors of a file with these items from line 2 on.
fn items(items: &str) -> String {
    check(&format!("workload w;\n{items}\n"))
}

#[test]
fn a_missing_semicolon() {
    assert_snapshot!(body("let x = 1\nlet y = 2;\nreply b\"\""), @r#"
    4:1+3 E0101 expected `;` after `1`, found `let`
    6:1+1 E0101 expected `;` after `b""`, found `}`
    "#);
}

#[test]
fn a_missing_expression() {
    assert_snapshot!(body("let x = ;\nx = 1 + ;\nreply f(,);\nreply (1 + 2;"), @r"
    3:9+1 E0101 expected an expression after `=`, found `;`
    4:9+1 E0101 expected an expression after `+`, found `;`
    5:9+1 E0101 expected an expression or `)` after `(`, found `,`
    6:7+1 E0102 unclosed `(`
    ");
}

#[test]
fn a_broken_statement_costs_no_other() {
    assert_snapshot!(body("if a {\n  let = 1;\n  for i in 0 { }\n  while { }\n  x y z;\n}\nelse { match x { 1 2 => {}, 3 => { let; } } }\nreply;"), @r"
    4:7+1 E0101 expected a name or `mut` after `let`, found `=`
    5:14+1 E0101 expected `..` after `0`, found `{`
    6:9+1 E0101 expected an expression after `while`, found `{`
    7:5+1 E0101 expected `;` after `x`, found `y`
    9:20+1 E0101 expected `..`, `=>` or `|` after `1`, found `2`
    9:39+1 E0101 expected a name or `mut` after `let`, found `;`
    10:6+1 E0101 expected an expression after `reply`, found `;`
    ");
}

#[test]
fn a_broken_statement_stays_as_a_mark() {
    let (file, _) = run("workload w;\nfn g() { let = 1; return 2; }");
    let file = file.expect("the head is whole");
    let ItemKind::Fn { body, .. } = &file.items[0].kind else {
        panic!("a fn")
    };
    assert!(matches!(body.stmts[0].kind, StmtKind::Broken));
    assert!(matches!(body.stmts[1].kind, StmtKind::Return(Some(_))));
}

#[test]
fn broken_items_cost_no_other() {
    assert_snapshot!(items("const A u32 = 1;\nconst B: u32 = 1\nstate c = 1;\nfn h( {}\nstruct S { a: u8 b: u8, c, d: u8 }\nheader { }\nenum E: u8 { A = , B }\nlambda l() { }\nmatch { _ => drop }\ntest t { }\nservice s memcached();\nparam p;\ntable t: exact<u8>(4);\nuse 5;"), @r#"
    2:9+3 E0101 expected `:` after `A`, found `u32`
    4:1+5 E0101 expected `;` after `1`, found `state`
    4:9+1 E0101 expected `:` after `c`, found `=`
    5:5+1 E0102 unclosed `(`
    6:18+1 E0101 expected `,` or `}` after `u8`, found `b`
    6:26+1 E0101 expected `:` after `c`, found `,`
    7:8+1 E0101 expected a name after `header`, found `{`
    8:18+1 E0101 expected an expression after `=`, found `,`
    9:12+1 E0101 expected `->` after `)`, found `{`
    10:7+1 E0101 expected `(` after `match`, found `{`
    11:6+1 E0101 expected a string `"…"` after `test`, found `t`
    12:11+9 E0101 expected `=` after `s`, found `memcached`
    13:8+1 E0101 expected `:` after `p`, found `;`
    14:18+1 E0101 expected `,` after `u8`, found `>`
    15:5+1 E0101 expected a name after `use`, found `5`
    "#);
}

#[test]
fn broken_rules_entries_and_steps() {
    assert_snapshot!(items("match (r: R) {\n a == 1 -> f,\n b => ,\n _ => drop }\ntable t: exact<u8, u8>(4) { 1 = 2, 3 => 4, => 5 }\ntest \"t\" {\n expect f();\n expect f() = 2;\n given c.get => 1;\n let x = 1;\n expect f() with { a 1 } == 2;\n}"), @r"
    3:9+2 E0101 expected `=>` after `1`, found `->`
    4:7+1 E0101 expected a name after `=>`, found `,`
    6:31+1 E0101 expected `=>` after `1`, found `=`
    6:44+2 E0101 expected an entry `key => value` or `}` after `,`, found `=>`
    8:12+1 E0101 expected `==` or `!=` after `)`, found `;`
    9:13+1 E0101 expected `==` or `!=` after `)`, found `=`
    10:14+2 E0101 expected `(` after `get`, found `=>`
    11:2+3 E0101 expected `expect` or `given` or `}` after `;`, found `let`
    12:22+1 E0101 expected `:` after `a`, found `1`
    ");
}

#[test]
fn no_item_starts_like_this() {
    assert_snapshot!(items("let x = 1;\nfoo bar;\nfn ok() {}\n;"), @r"
    2:1+3 E0101 expected an item, found `let`
    5:1+1 E0101 expected an item, found `;`
    ");
}

#[test]
fn a_bracket_that_is_not_closed() {
    assert_snapshot!(body("if x {\n  reply 1;\n"), @r"2:24+1 E0102 unclosed `{`");
    assert_snapshot!(body("f(1, 2;\nx[1 = 2;"), @r"4:2+1 E0102 unclosed `[`");
}

#[test]
fn a_bracket_that_closes_nothing() {
    assert_snapshot!(body("if x }\n reply 1;\n}"), @r"3:6+1 E0101 expected `{` after `x`, found `}`");
    assert_snapshot!(body("f(1));\nlet y = ;"), @r"
    3:5+1 E0102 unmatched `)`
    4:9+1 E0101 expected an expression after `=`, found `;`
    ");
}

#[test]
fn unknown_characters() {
    assert_snapshot!(body("let x = 1 # 2;\nlet é = 3;\nlet y = 'a';\nlet z = ;\u{1}"), @r"
    3:11+1 E0103 unknown character `#`
    4:5+2 E0103 unknown character `é`
    5:9+1 E0103 unknown character `'`
    5:11+1 E0103 unknown character `'`
    6:9+1 E0101 expected an expression after `=`, found `;`
    6:10+1 E0103 unknown character U+0001
    ");
}

#[test]
fn unterminated_literals_and_comments() {
    assert_snapshot!(body("let x = b\"abc;\nlet y = b'a;\nlet z = ;"), @r"
    3:9+2 E0103 unterminated literal
    4:9+2 E0103 unterminated literal
    5:9+1 E0101 expected an expression after `=`, found `;`
    ");
    assert_snapshot!(body("/* no end"), @r"3:1+2 E0103 unterminated comment");
}

#[test]
fn literals_out_of_range() {
    assert_snapshot!(body("let a = 10.0.0.256;\nlet b = 1.5;\nlet c = 12abc;\nlet d = 0x;\nlet e = 0b12;\nlet f = 99999999999999999999s;\nlet g = 340282366920938463463374607431768211456;\nlet h = b\"\\q\\x4\";\nlet i = b'ab';\nlet j = b'';\nlet k = 1.2.3;\nlet l = b'é';"), @r"
    3:9+10 E0104 address out of range
    4:9+3 E0104 malformed number
    5:9+5 E0104 malformed number
    6:9+2 E0104 malformed number
    7:9+4 E0104 malformed number
    8:9+21 E0104 duration too long
    9:9+39 E0104 number too large
    10:11+2 E0104 unknown escape
    11:9+5 E0104 malformed byte
    12:9+3 E0104 malformed byte
    13:9+5 E0104 malformed number
    14:9+5 E0104 malformed byte
    ");
}

#[test]
fn comparisons_do_not_chain() {
    assert_snapshot!(body("let a = 1 < x < 2;\nlet b = a == b && c == d;\nlet c = a in 1..2 == true;\nlet d = (a == b) == c;"), @r"
    3:15+1 E0107 comparisons do not chain
    5:19+2 E0107 comparisons do not chain
    ");
}

#[test]
fn in_needs_a_range_or_a_prefix() {
    assert_snapshot!(body("let a = x in y;"), @r"3:14+1 E0101 expected a range or a prefix after `in`");
}

#[test]
fn the_first_line_is_missing() {
    assert_snapshot!(check("fn f() {}\nfn g( {}\n"), @r"
    1:1+2 E0106 the file does not start with `workload name;` or `library name;`
    2:5+1 E0102 unclosed `(`
    ");
    assert_snapshot!(check(""), @r"1:1+0 E0106 the file does not start with `workload name;` or `library name;`");
    assert_snapshot!(check("fn f() {}\nworkload w;\nworkload v;\nlibrary 5;"), @r"
    2:1+8 E0106 the `workload` or `library` line is not the first item
    3:1+8 E0106 a second `workload` or `library` line
    4:1+7 E0106 a second `workload` or `library` line
    ");
    assert_snapshot!(check("workload ;\nfn f() { let; }"), @r"
    1:10+1 E0101 expected a name after `workload`, found `;`
    2:13+1 E0101 expected a name or `mut` after `let`, found `;`
    ");
}

#[test]
fn keywords_are_no_names() {
    assert_snapshot!(body("let in = 1;\nlet mut match = 2;\nlet _ = 3;"), @r"
    3:5+2 E0101 expected a name or `mut` after `let`, found `in`
    4:9+5 E0101 expected a name after `mut`, found `match`
    5:5+1 E0101 expected a name or `mut` after `let`, found `_`
    ");
}

#[test]
fn heads_hold_no_struct_literal() {
    assert_snapshot!(body("if x == S { a: 1 } { }"), @r"3:14+1 E0101 expected `;` after `a`, found `:`");
}

#[test]
fn assignment_in_a_condition() {
    assert_snapshot!(body("if x = 1 { }\nx++;"), @r"
    3:6+1 E0101 expected `{` after `x`, found `=`
    4:3+1 E0101 expected an expression after `+`, found `+`
    ");
}

#[test]
fn bytes_that_are_not_text() {
    let mut sink = lambdac_diag::Sink::new();
    assert!(crate::parse_bytes(lambdac_diag::FileId(0), b"workload w;\n\xff", &mut sink).is_none());
    let errors = sink.into_sorted();
    assert_eq!(
        (errors.len(), errors[0].code, errors[0].span().start),
        (1, "E0108", 12)
    );
}

#[test]
fn a_match_for_a_value_is_one_error() {
    assert_snapshot!(body("let x = match a { 0 => 1, _ => 2 };\nreply match a { _ => b\"\" };\nreply b\"\";"), @r"
    3:9+5 E0101 expected an expression after `=`, found `match`
    4:7+5 E0101 expected an expression after `reply`, found `match`
    ");
}

#[test]
fn lists_of_types_may_end_in_a_comma() {
    assert_snapshot!(items("state l: lru<u8, u8,>(4,);\ntable t: exact<u8, u8,>(4,) { 1 => 2, }"), @"");
}
