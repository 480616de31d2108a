//! Lambdas, the match stage, attributes, headers.

use super::{items, whole};

#[test]
fn messages_are_bytes_headers_and_arrays_of_integers() {
    let source = r"workload t;
struct S { a: u32 }
lambda a(req: S) -> u32 { drop; }
lambda b(req: [u4; 3]) -> [bool; 8] { drop; }
lambda c(req: [u4; 2]) -> [u16; 2] { reply [1, 2]; }
match (req: u8) { _ => c }
";
    let expected = r"3:15: error[E0308]: a request can't be S
3:21: error[E0308]: a reply can't be u32
4:15: error[E0308]: a request of type [u4; 3] has no whole number of bytes
4:27: error[E0308]: a reply can't be [bool; 8]
6:13: error[E0308]: a request can't be u8";
    assert_eq!(whole(source), expected);
}

#[test]
fn conditions_are_pure() {
    let source = r"workload t;
header H { a: u8, ip: u32 }
state s: u32;
state m: map<u32, u32>(4);
table r: exact<u32, u8>(4);
param limit: u8 = 3;
fn pure(a: u8) -> bool { return a > 1; }
fn reads() -> bool { return s > 1; }
fn rolls() -> bool { return random() > 1; }
lambda go() -> bytes<1> { drop; }
match (req: H) {
    s > 1 => go,
    reads() => go,
    rolls() => go,
    now() > 1s => go,
    r.get(1) == none => go,
    m.remove(1) => go,
    pure(req.a) && r.has(req.ip) || pkt.src_ip in 10.0.0.0/8 || req.a > limit => go,
    (if true { true } else { false }) => go,
    go => go,
}
";
    let expected = r"12:5: error[E0312]: a condition of the match can't use state
13:5: error[E0312]: a condition of the match can only call pure fns
14:5: error[E0312]: a condition of the match can only call pure fns
15:5: error[E0312]: a condition of the match goes over the request, `pkt` and constants only
16:5: error[E0312]: a condition of the match can only ask a table whether it has a key
17:5: error[E0312]: a condition of the match can't use state
19:5: error[E0312]: a condition of the match can't hold an `if`
20:5: error[E0203]: `go` is a lambda, not a value";
    assert_eq!(whole(source), expected);
}

#[test]
fn rules_lead_to_lambdas() {
    let source = r#"workload t;
state s: u32;
lambda drop() -> bytes<1> { reply b""; }
lambda go() -> bytes<1> { punt god; }
match (req: bytes<1>) {
    req.len() > 1 => drop,
    req.len() > 2 => punt,
    req.len() > 3 => gone,
    req.len() > 4 => s,
    _ => go,
    req.len() > 5 => go,
}
"#;
    let expected = r"4:32: error[E0313]: there is no lambda `god`
8:22: error[E0313]: there is no lambda `gone`
9:22: error[E0203]: `s` is a state, not a lambda, `drop` or `punt`
10:5: error[E0311]: `_` must be the last rule";
    assert_eq!(whole(source), expected);
}

#[test]
fn attributes_stand_where_they_mean_something() {
    let source = r"workload t;
@memory(cls) state a: u32;
@memory(fast) state b: u32;
@memory(lmem) table c: exact<u8, u8>(1);
@inline fn f() { }
@inline @inline fn g() { }
@deadline(20us) @on(nic) lambda go() -> bytes<1> { drop; }
@on(moon) lambda up() -> bytes<1> { drop; }
@deadlin(1s) lambda down() -> bytes<1> { drop; }
match (req: bytes<1>) { _ => go }
";
    let expected = r"3:1: error[E0316]: `@memory` can't be read
6:9: error[E0316]: `@inline` is given twice
8:1: error[E0316]: `@on` can't be read
9:2: error[E0316]: there is no attribute `@deadlin`";
    assert_eq!(whole(source), expected);
}

#[test]
fn headers_have_a_layout() {
    let source = r"struct S { a: u8 }
header A { a: u4 }
header B { rest: bytes<4>, a: u8 }
header C { a: S }
header D { a: [[u8; 2]; 2] }
header E { a: u1, b: bool, c: [u3; 2], d: bytes<8> }
header F { }";
    let expected = r"3:8: error[E0220]: header `A` has 4 bits, which is no whole number of bytes
4:18: error[E0220]: `rest` varies in length and is not the last field
5:15: error[E0220]: a header can't hold S
6:15: error[E0220]: a header can't hold [[u8; 2]; 2]
8:8: error[E0220]: `F` has no fields";
    assert_eq!(items(source), expected);
}
