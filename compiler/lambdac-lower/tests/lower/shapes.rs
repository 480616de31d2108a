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
