//! `test` items.

use super::whole;

#[test]
fn requests_and_replies_are_values_or_bytes() {
    let source = r#"workload t;
header H { a: u8, b: u16 }
lambda go(req: H) -> bytes<4> { reply b""; }
lambda any() -> [u16; 2] { reply [1, 2]; }
match (req: H) { _ => go }
test "t" {
    expect t(H { a: 1, b: 2 }) == b"";
    expect go(b"\x01\x00\x02") != b"x";
    expect any() == [1, 2];
    expect any(b"raw") == b"\x00\x01\x00\x02";
    expect go(7) == 8;
    expect go() == drop;
    expect goo(b"") == drop;
    expect go(b"") != trap;
}
"#;
    let expected = r"11:15: error[E0802]: the request can't be written as u32
11:21: error[E0802]: the reply can't be written as u32
12:5: error[E0802]: a call has 1 request, not 0
13:12: error[E0801]: there is no lambda or workload `goo` to call
14:23: error[E0806]: `!=` compares replies only";
    assert_eq!(whole(source), expected);
}

#[test]
fn places_are_of_state() {
    let source = r#"workload t;
struct P { x: u32, y: [u8; 2] }
state p: [P; 2];
state c: counter[2];
state d: counter;
state m: map<u32, u32>(2);
lambda go() -> bytes<1> { drop; }
test "t" {
    expect p[1].y[0] == 3;
    expect c[1] == 3;
    expect d == 0;
    expect c == 3;
    expect c[2] == 3;
    expect m == 3;
    expect p[go].x == 1;
    expect p[0].z == 1;
    expect p[0].x == true;
    expect 3 == 3;
}
"#;
    let expected = r"12:12: error[E0801]: this is no counter of `c`
13:12: error[E0801]: this is no counter of `c`
14:12: error[E0412]: `m` holds many values and is none itself
15:14: error[E0203]: `go` is a lambda, not a value
16:17: error[E0208]: `P` has no field `z`
17:22: error[E0204]: expected u32, found bool
18:12: error[E0801]: a test expects something of a call or of state";
    assert_eq!(whole(source), expected);
}

#[test]
fn settings_and_params_are_known() {
    let source = r#"workload t;
param a: u32;
param b: u8 = 1;
lambda go() -> bytes<1> { drop; }
test "t" {
    expect go() with { a: 1, src_ip: 10.0.0.1, now: 5s, random: 7, b: 2 } == drop;
    expect go() == drop;
    expect go() with { a: 1, b: 300 } == drop;
    expect go() with { a: 1, a: 2 } == drop;
    expect go() with { a: 1, scr_ip: 2 } == drop;
}
"#;
    let expected = r"7:5: error[E0804]: param `a` has no default and must be given
8:33: error[E0205]: 300 is out of range for u8
9:30: error[E0803]: `a` is set twice
10:30: error[E0803]: a test can't set `scr_ip`";
    assert_eq!(whole(source), expected);
}

#[test]
fn answers_fit_the_operation() {
    let source = r#"workload t;
service cache = memcached("127.0.0.1:11211", timeout = 5ms);
lambda go() -> bytes<1> { drop; }
test "t" {
    given cache.get(b"k") => b"v";
    given cache.get(b"k") => none;
    given cache.set(b"k", b"v") => true;
    given cache.delete(b"k") => fail;
    given cache.get(b"k") => true;
    given cache.set(b"k", b"v") => b"v";
    given cache.set(b"k") => true;
    given cash.get(b"k") => none;
    given cache.fetch(b"k") => none;
}
"#;
    let expected = r"9:30: error[E0805]: `get` is answered by a value, none or fail
10:36: error[E0805]: `set` and `delete` are answered by true, none or fail
11:5: error[E0211]: `given` takes 2 arguments, not 1
12:11: error[E0201]: there is no service `cash`
13:17: error[E0605]: memcached has no operation `fetch`";
    assert_eq!(whole(source), expected);
}

#[test]
fn an_array_takes_the_type_that_fits_it() {
    let source = r#"workload t;
lambda one(req: [u8; 2]) -> [u8; 1] { reply [req[0]]; }
lambda two(req: [u16; 2]) -> [u16; 1] { reply [req[0]]; }
match (req: bytes<4>) { req.len() == 2 => one, _ => two }
test "t" {
    expect t([1, 2]) == [1];
    expect t([256, 2]) == [256];
    expect t([65536, 2]) == drop;
    expect one([256, 2]) == drop;
    expect one([1, 2]) == [256];
}
"#;
    let expected = r"8:15: error[E0205]: 65536 is out of range for u8
9:17: error[E0205]: 256 is out of range for u8
10:28: error[E0205]: 256 is out of range for u8";
    assert_eq!(whole(source), expected);
}

#[test]
fn a_broken_match_says_nothing_of_the_calls_through_it() {
    let source = r#"workload t;
lambda one(req: [u8; 2]) -> [u8; 1] { reply [req[0]]; }
match (req: [u8; 2]) { req[0] == 300 => one, _ => missing }
test "t" {
    expect t([1, 2]) == [1];
    expect t(b"ab") == drop;
}
"#;
    let expected = r"3:34: error[E0205]: 300 is out of range for u8
3:51: error[E0313]: there is no lambda `missing`";
    assert_eq!(whole(source), expected);
}
