//! The MIR of small programs: one idea each.

use insta::assert_snapshot;
use lambdac_mir::print_lambda;

use crate::common;

fn whole(text: &str) -> String {
    let (workload, map) = common::compile(text);
    let (whole, _) = common::lower(&workload, &map);
    whole
        .lambdas
        .iter()
        .map(print_lambda)
        .collect::<Vec<_>>()
        .join("\n")
}

fn split(text: &str) -> String {
    let (workload, map) = common::compile(text);
    let (_, split) = common::lower(&workload, &map);
    split
        .lambdas
        .iter()
        .map(print_lambda)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn an_early_exit_is_a_flat_guard() {
    assert_snapshot!(whole("workload w;
header Q { op: u8, value: bytes<8> }
lambda l(req: Q) -> bytes<8> {
    if req.op == 1 { drop; }
    reply req.value;
}"), @"");
}

#[test]
fn an_assigned_local_is_a_result_of_the_branch() {
    assert_snapshot!(whole("workload w;
header Q { op: u8 }
lambda l(req: Q) -> bytes<1> {
    let mut x = 1u8;
    let mut y = 2u8;
    if req.op == 1 { x = req.op; } else { x = 3; y = y; }
    let mut b: bytes<1>;
    b.push(x + y);
    reply b;
}"), @"");
}

#[test]
fn locals_that_a_loop_assigns_are_its_parameters() {
    assert_snapshot!(whole("workload w;
header Q { n: u32 }
header R { sum: u32 }
lambda l(req: Q) -> R {
    let mut sum = 0;
    for i in 0..req.n max 100 {
        if i == 7 { continue; }
        if sum > 50 { break; }
        sum += i;
    }
    reply R { sum: sum };
}"), @"");
}

#[test]
fn an_await_in_a_branch_leads_to_a_part_of_what_follows() {
    assert_snapshot!(split(r#"workload w;
service cache = memcached("127.0.0.1:11211", timeout = 5ms);
header Q { op: u8, key: bytes<8> }
lambda l(req: Q) -> bytes<1100> {
    let mut out: bytes<1100>;
    let mut unused: bytes<100>;
    unused.push(1);
    out.push(req.op + 1);
    let mut n = unused.len() + now() as u32;
    if req.op > 3 {
        if let v = await cache.get(req.key) { out.append(v); } else { n += 1; }
    } else {
        n += 2;
    }
    out.push(n as u8);
    reply out;
}"#), @"");
}

#[test]
fn slices_and_fields_of_the_request_are_views() {
    assert_snapshot!(whole("workload w;
header Q { at: u8, key: [u8; 4], rest: bytes<8> }
state seen: lru<[u8; 4], bytes<8>>(4);
lambda l(req: Q) -> bytes<8> {
    let tail = req.rest[2..req.at];
    seen.put(req.key, tail);
    reply tail;
}"), @"");
}

#[test]
fn the_match_stage_stays_declarative() {
    let (workload, map) = common::compile(
        "workload w;
header Q { op: u8, flags: u3, pad: u5, key: [u8; 9], rest: bytes<8> }
table t: exact<u8, u8>(4);
fn odd(x: u8) -> bool { return x & 1 == 1; }
lambda a(req: Q) -> bytes<1> { reply b\"a\"; }
lambda b(req: Q) -> bytes<1> { if let v = t.get(1) { reply bytes([v]); } reply b\"b\"; }
match (req: Q) {
    req.op == 1 && req.rest.len() > 2 => a,
    3 < req.op || req.flags & 0b101 == 0b100 => b,
    req.op in 5..9 => a,
    pkt.src_ip in 10.0.0.0/8 => b,
    !t.has(req.op) && req.key == [1, 2, 3, 4, 5, 6, 7, 8, 9] => a,
    odd(req.op) => drop,
    _ => punt,
}",
    );
    let (whole, _) = common::lower(&workload, &map);
    let text = whole.to_string();
    let start = text.find("match").expect("the module has a match stage");
    assert_snapshot!(&text[start..], @"");
}

#[test]
fn what_is_cheap_is_computed_again_instead_of_saved() {
    assert_snapshot!(split(r#"workload w;
service cache = memcached("127.0.0.1:11211", timeout = 5ms);
header Q { op: u8, key: bytes<8> }
param extra: u8 = 1;
lambda l(req: Q) -> bytes<1100> {
    let key = req.key;
    let op = req.op + extra;
    let port = pkt.src_port as u8;
    let dice = random() as u8;
    let text = b"abc";
    let v = await cache.get(key) else { reply key; };
    let mut out: bytes<1100>;
    out.append(text);
    out.push(op + port + dice);
    out.append(v);
    reply out;
}"#), @"");
}

#[test]
fn a_switch_has_disjoint_ranges_and_a_flat_last_arm() {
    assert_snapshot!(whole("workload w;
lambda l(req: [i8; 1]) -> [u8; 1] {
    match req[0] {
        -3..4 => { reply [1]; }
        0 | 9 => { drop; }
        -5..2 => { reply [2]; }
        _ => { }
    }
    reply [3];
}"), @"");
}
