//! Statements, fns, control flow.

use super::{body, items};

#[test]
fn a_path_without_an_answer_is_told_at_the_end() {
    let source = r"match req.op { Op::Get => { drop; } Op::Set => { drop; } }";
    let expected = r"11:1: error[E0301]: lambda `go` can end without an answer";
    assert_eq!(body(source), expected);
}

#[test]
fn a_match_of_all_values_leaves() {
    let source = r#"match req.key[0] { 0..128 => { drop; } 128..255 => { punt; } 255 => { reply b""; } }"#;
    assert_eq!(body(source), "");
}

#[test]
fn code_after_an_answer_is_warned_about_once() {
    let source = r#"reply b"";
let a = 1;
let b = 2;"#;
    let expected = r"11:1: warning[W0201]: this code is never reached";
    assert_eq!(body(source), expected);
}

#[test]
fn arms_that_others_take_are_warned_about() {
    let source = r"match req.n { 0..10 => { } 3 | 4 => { } 9 | 10 => { } _ => { } _ => { } }
drop;";
    let expected = r"10:28: warning[W0202]: this arm is never reached
10:64: warning[W0202]: this arm is never reached";
    assert_eq!(body(source), expected);
}

#[test]
fn patterns_are_constants_of_the_type() {
    let source = r"match req.key[0] { 300 => { } Op::Set => { } req.n => { } _ => { } }
match req.rest { _ => { } }
drop;";
    let expected = r"10:20: error[E0205]: 300 is out of range for u8
10:46: error[E0204]: expected u8, found u32
11:7: error[E0206]: `match` is for integers and enums, not for bytes<64>";
    assert_eq!(body(source), expected);
}

#[test]
fn loops_need_a_bound() {
    let source = r"for i in 0..10 { }
for i in 0..req.n { }
while req.n > 1 { }
for i in 0..req.n max 10 { break; }
while true max 3 { continue; }
drop;";
    let expected = r"11:10: error[E0307]: nothing says how often this `for` may run
12:7: error[E0307]: nothing says how often this `while` may run";
    assert_eq!(body(source), expected);
}

#[test]
fn only_mut_variables_change() {
    let source = r"let a = 1;
a = 2;
req.n = 3;
for i in 0..3 { i += 1; }
let mut b: [u8; 2];
b[0] = 1;
b[5] = 1;
b = 7;
level += 1;
go = 1;
drop;";
    let expected = r"11:1: error[E0223]: `a` can't be changed
12:1: error[E0223]: `req` can't be changed
13:17: error[E0223]: `i` can't be changed
16:3: warning[W0203]: index 5 is outside of [u8; 2]
17:5: error[E0204]: expected [u8; 2], found u32
19:1: error[E0203]: `go` is a lambda, not a value";
    assert_eq!(body(source), expected);
}

#[test]
fn bytes_are_changed_in_place() {
    let source = r"let mut b: bytes<8>;
b.push(1);
b.append(req.rest);
b.clear();
b.push(300);
let c = b.push(1);
req.rest.clear();
reply b;";
    let expected = r"14:8: error[E0205]: 300 is out of range for u8
15:9: error[E0226]: `push` gives no value
16:1: error[E0223]: `req` can't be changed";
    assert_eq!(body(source), expected);
}

#[test]
fn the_else_of_a_let_must_leave() {
    let source = r"let a = recent.get(1) else { let b = 1; };
let c = recent.get(1) else { if req.n > 1 { drop; } else { punt; } };
let d = req.n else { drop; };
reply c;";
    let expected = r"10:28: error[E0306]: the `else` of a `let` must leave
12:9: error[E0204]: expected a value that may be missing, found u32";
    assert_eq!(body(source), expected);
}

#[test]
fn statements_of_lambdas_stand_in_lambdas() {
    let source = r#"fn f() { reply b""; }
fn g() { drop; }
fn h() -> u32 { return pkt.src_ip; }
lambda l() -> bytes<1> { return b""; }
match (req: bytes<1>) { _ => l }"#;
    let expected = r"2:10: error[E0302]: `reply` stands only in a lambda
3:10: error[E0302]: `drop` stands only in a lambda
4:24: error[E0302]: `pkt` can be used only in a lambda and in the match
5:26: error[E0303]: `return` stands only in a fn";
    assert_eq!(items(source), expected);
}

#[test]
fn break_stands_in_a_loop() {
    let source = r"break;
continue;
drop;";
    let expected = r"10:1: error[E0304]: `break` stands outside of a loop
11:1: error[E0304]: `continue` stands outside of a loop";
    assert_eq!(body(source), expected);
}

#[test]
fn log_takes_a_text_and_scalars() {
    let source = r#"log(b"n", req.n, req.rest, req.op);
log(req.n);
log(b"k", req.key);
let a = log(b"x");
drop;"#;
    let expected = r"11:5: error[E0212]: a variable is not known before the program runs
12:11: error[E0204]: `log` takes scalars and byte strings, not [u8; 4]
13:9: error[E0226]: `log` gives no value";
    assert_eq!(body(source), expected);
}

#[test]
fn a_fn_returns_on_every_path() {
    let source = r"fn a(n: u32) -> u32 { if n > 1 { 1 } else { return 2; } }
fn b(n: u32) -> u32 { while n > 1 max 2 { return 1; } }
fn c(n: u32) { return n; }
fn d(n: u32) -> u32 { return; }";
    let expected = r"3:55: error[E0305]: fn `b` does not return a value on every path
4:23: error[E0204]: this fn returns nothing
5:23: error[E0204]: this fn returns u32";
    assert_eq!(items(source), expected);
}

#[test]
fn fns_that_call_each_other_are_told_once() {
    let source = r"fn a() { b(); }
fn b() { c(); }
fn c() { a(); }";
    let expected = r"4:10: error[E0314]: fns call each other: `a`, `b`, `c`";
    assert_eq!(items(source), expected);
}
