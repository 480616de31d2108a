//! Constant expressions.

use super::{body, items};

#[test]
fn constants_are_folded_by_the_rules_of_their_type() {
    let source = r#"const A: u3 = 7 + 1;
const B: i8 = -128 / -1;
const C: u32 = 5 / 0 + 5 % 0;
const D: u32 = b"abc".len() + hash::crc32(b"123456789");
state s: [u8; C + 1];
state t: [u8; A];"#;
    let expected = r"7:15: error[E0216]: an array has at least 1 element";
    assert_eq!(items(source), expected);
}

#[test]
fn an_index_outside_of_a_constant_has_no_value() {
    let source = r#"const K: [u8; 2] = [1, 2];
const A: u8 = K[2];
const B: bytes<2> = b"abc" as bytes<2>;"#;
    let expected = r"3:17: error[E0213]: this constant has no value: there is no element 2
4:21: error[E0213]: this constant has no value: 3 bytes are too long for bytes<2>";
    assert_eq!(items(source), expected);
}

#[test]
fn what_runs_is_no_constant() {
    let source = r"param p: u32 = 1;
state s: u32;
fn f() -> u32 { return 1; }
const A: u32 = p;
const B: u32 = s;
const C: u32 = f();
const D: u64 = now();
const E: u32 = if true { 1 } else { 2 };";
    let expected = r"5:16: error[E0212]: a param is not known before the program runs
6:16: error[E0212]: a state is not known before the program runs
7:16: error[E0212]: a fn's result is not known before the program runs
8:16: error[E0212]: the time is not known before the program runs
9:16: error[E0212]: the value of an `if` is not known before the program runs";
    assert_eq!(items(source), expected);
}

#[test]
fn a_literal_out_of_range_is_told_in_place() {
    let source = r"const A: u8 = 256;
const B: [u8; 2] = [1, 300];
enum E: u4 { X = 15, Y }";
    let expected = r"2:15: error[E0205]: 256 is out of range for u8
3:24: error[E0205]: 300 is out of range for u8
4:22: error[E0221]: variant `Y` has no value left in u4";
    assert_eq!(items(source), expected);
}

#[test]
fn variables_are_no_constants() {
    let source = r#"let n = 4;
let a: [u8; n];
for i in 0..req.n max n { }
reply b"";"#;
    let expected = r"11:13: error[E0212]: a variable is not known before the program runs
12:23: error[E0212]: a variable is not known before the program runs";
    assert_eq!(body(source), expected);
}
