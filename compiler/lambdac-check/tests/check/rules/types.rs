//! Types, conversions, operators.

use super::{body, items};

#[test]
fn a_literal_takes_the_expected_type_then_the_other_operands_then_u32() {
    let source = r#"let a: u8 = 255;
let b = a + 1;
let c: u8 = b;
let d = 1 + a;
let e: u8 = d;
let f: u32 = 7;
let g: i8 = -128;
let h: u64 = 5ms;
reply b"";"#;
    assert_eq!(body(source), "");
}

#[test]
fn a_negative_literal_needs_a_signed_type() {
    let source = r#"let a = -1;
let b: i8 = -129;
reply b"";"#;
    let expected = r"10:9: error[E0205]: -1 is out of range for u32
11:13: error[E0205]: -129 is out of range for i8";
    assert_eq!(body(source), expected);
}

#[test]
fn operands_of_different_types_name_both() {
    let source = r#"let a: u8 = 1;
let b = a + req.n;
reply b"";"#;
    let expected = r"11:9: error[E0204]: the sides of `+` have different types: u8 and u32";
    assert_eq!(body(source), expected);
}

#[test]
fn a_shift_takes_any_unsigned_amount() {
    let source = r#"let a = req.n << req.key[0];
let b: i32 = 1;
let c = req.n << b;
reply b"";"#;
    let expected = r"12:18: error[E0204]: expected an unsigned integer, found i32";
    assert_eq!(body(source), expected);
}

#[test]
fn an_enum_stands_for_its_integer_and_not_for_another_enum() {
    let source = r"enum A: u8 { X = 0 }
enum B: u8 { Y = 0 }
fn f(a: A, n: u8) -> bool { return n == A::X && a == A::X && a == 3; }
fn g(a: A) -> u8 { return a; }
fn h(a: A) -> bool { return a == B::Y; }
fn i(n: u8) -> A { return n; }";
    let expected = r"6:29: error[E0204]: the sides of `==` have different types: A and B
7:27: error[E0204]: expected A, found u8";
    assert_eq!(items(source), expected);
}

#[test]
fn a_condition_is_a_bool() {
    let source = r#"if req.n { drop; }
reply b"";"#;
    let expected = r"10:4: error[E0204]: expected bool, found u32";
    assert_eq!(body(source), expected);
}

#[test]
fn a_missing_value_must_be_opened() {
    let source = r"let a = recent.get(1);
reply a;";
    let expected = r"11:7: error[E0204]: expected bytes<64>, found bytes<8>?";
    assert_eq!(body(source), expected);
}

#[test]
fn bytes_grow_by_themselves_and_shrink_by_as() {
    let source = r#"let a: bytes<8> = b"12345678";
let b: bytes<64> = a;
let c: bytes<4> = a;
let d: bytes<4> = a as bytes<4>;
reply d;"#;
    let expected = r"12:19: error[E0204]: expected bytes<4>, found bytes<8>";
    assert_eq!(body(source), expected);
}

#[test]
fn a_slice_has_its_constant_length_or_its_sources_capacity() {
    let source = r"let a: bytes<4> = req.rest[2..6];
let b: bytes<4> = req.rest[0..req.n];
reply req.rest[60..65];";
    let expected = r"11:19: error[E0204]: expected bytes<4>, found bytes<64>
12:16: error[E0222]: a slice up to 65 is outside of bytes<64>";
    assert_eq!(body(source), expected);
}

#[test]
fn an_index_is_unsigned() {
    let source = r#"let i: i32 = 1;
let a = req.rest[i];
reply b"";"#;
    let expected = r"11:18: error[E0204]: expected an unsigned integer, found i32";
    assert_eq!(body(source), expected);
}

#[test]
fn branches_of_an_if_agree() {
    let source = r#"let a = if req.n > 1 { 1u8 } else { 2u16 };
let b = if req.n > 1 { b"a" } else { b"abc" };
let c: bytes<3> = b;
reply c;"#;
    let expected = r"10:37: error[E0204]: expected u8, found u16";
    assert_eq!(body(source), expected);
}

#[test]
fn a_view_is_not_kept() {
    let source = r"fn f(v: bytes) -> u32 { let w = v[1..v.len()]; return w.len(); }
fn g(v: bytes) -> u32 { return f(v[0..v.len()]); }";
    let expected = r"2:33: error[E0219]: a view of bytes of any length can't be kept";
    assert_eq!(items(source), expected);
}

#[test]
fn an_error_in_a_variable_silences_its_uses() {
    let source = r"let a = missing;
let b = a + 1;
let c = b.len();
reply c;";
    let expected = r"10:9: error[E0201]: there is no name `missing`";
    assert_eq!(body(source), expected);
}

#[test]
fn independent_errors_are_all_told() {
    let source = r#"let a = first_missing + second_missing;
let b: u8 = 300;
reply b"" + 1;"#;
    let expected = r"10:9: error[E0201]: there is no name `first_missing`
10:25: error[E0201]: there is no name `second_missing`
11:13: error[E0205]: 300 is out of range for u8
12:7: error[E0206]: `+` is for integers, not for bytes<0>";
    assert_eq!(body(source), expected);
}

#[test]
fn struct_fields_are_checked_against_their_declaration() {
    let source = r"struct P { x: u32, y: u8 }
fn f() -> P { return P { x: true, z: 1, x: 2 }; }";
    let expected = r"3:29: error[E0204]: expected u32, found bool
3:35: error[E0208]: `P` has no field `z`
3:41: error[E0209]: field `x` is given twice";
    assert_eq!(items(source), expected);
}

#[test]
fn names_of_types_are_suggested() {
    let source = r"struct Point { x: u32 }
state a: Pont;
state b: u65;";
    let expected = r"3:10: error[E0201]: there is no type `Pont`
4:10: error[E0217]: there is no integer type `u65`";
    assert_eq!(items(source), expected);
}

#[test]
fn arguments_are_counted_and_typed() {
    let source = r"fn f(a: u32, b: u8) -> u32 { return a; }
fn g() -> u32 { return f(1) + f(1, true) + h(2); }";
    let expected = r"3:24: error[E0211]: `f` takes 2 arguments, not 1
3:36: error[E0204]: expected u8, found bool
3:44: error[E0201]: there is no fn `h`";
    assert_eq!(items(source), expected);
}

#[test]
fn none_and_pad_need_a_type() {
    let source = r#"let a = none;
let b = pad(req.rest);
let c: u32? = none;
let d: [u8; 4] = pad(b"a");
reply b"";"#;
    let expected = r"10:9: error[E0225]: nothing says what type this `none` has
11:9: error[E0225]: nothing says how long this padded array is";
    assert_eq!(body(source), expected);
}

#[test]
fn bools_have_no_order_and_no_arithmetic() {
    let source = r#"let a = true < false;
let b = true & false;
let c = -req.n;
reply b"";"#;
    let expected = r"10:9: error[E0206]: `<` is for integers, not for bool
11:9: error[E0206]: `&` is for integers, not for bool
12:10: error[E0206]: unary `-` is for signed types, not for u32";
    assert_eq!(body(source), expected);
}

#[test]
fn a_prefix_after_in_is_checked() {
    let source = r#"if req.n in 10.0.0.1/8 { drop; }
if req.n in 10.0.0.0/33 { drop; }
reply b"";"#;
    let expected = r"10:13: error[E0408]: bits are set under the prefix
11:13: error[E0408]: a prefix of 33 bits is longer than its 32-bit address";
    assert_eq!(body(source), expected);
}

#[test]
fn values_are_compared_where_they_can_be() {
    let source = r#"let a = req.key == pad(b"ab");
let b = req.rest == b"ab";
let c = req.key == req.rest;
reply b"";"#;
    let expected = r"12:9: error[E0204]: the sides of `==` have different types: [u8; 4] and bytes<64>";
    assert_eq!(body(source), expected);
}
