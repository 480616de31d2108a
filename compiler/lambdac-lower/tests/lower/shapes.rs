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
}"), @r#"
    lambda "l" request "Q" 1..9 reply "bytes<8>" 0..8 {
      part0() {
        v0: i8 = load_bits req, bit 0 @4
        v1: i8 = const 1 @4
        v2: i1 = eq v0, v1 @4
        if v2 @4 {
          drop
        } else {
          yield
        }
        v3: i32 = const 1 @5
        v4: i32 = len req @5
        v5: i32 = sub v4, v3 @5
        reply req[v3 +: v5]
      }
    }
    "#);
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
}"), @r#"
    lambda "l" request "Q" 1..1 reply "bytes<1>" 0..1 {
      slot s0 "b": bytes<1>
      part0() {
        v0: i8 = const 1 @4
        v1: i8 = const 2 @5
        v2: i8 = load_bits req, bit 0 @6
        v3: i8 = const 1 @6
        v4: i1 = eq v2, v3 @6
        v7: i8 = if v4 @6 {
          v5: i8 = load_bits req, bit 0 @6
          yield v5
        } else {
          v6: i8 = const 3 @6
          yield v6
        }
        zero s0 @7
        v8: i8 = add v7, v1 @8
        v9: i32 = len s0 @8
        v10: i32 = const 1 @8
        v11: i1 = ult v9, v10 @8
        check v11, capacity @8
        store_bits s0, bit 0 + v9 * 8, v8 @8
        v12: i32 = const 1 @8
        v13: i32 = add v9, v12 @8
        set_len s0, v13 @8
        v14: i32 = const 0 @9
        v15: i32 = len s0 @9
        reply s0[v14 +: v15]
      }
    }
    "#);
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
}"), @r#"
    lambda "l" request "Q" 4..4 reply "R" 4..4 {
      labels 1
      slot s0 "reply": bytes<4>
      part0() {
        v0: i32 = const 0 @5
        v1: i32 = const 0 @6
        v2: i32 = load_bits req, bit 0 @6
        v10: i32 = loop b0 for v4: i32 in v1..v2 max 100 checked (v3: i32 = v0) @6 {
          v5: i32 = const 7 @7
          v6: i1 = eq v4, v5 @7
          if v6 @7 {
            continue b0(v3)
          } else {
            yield
          }
          v7: i32 = const 50 @8
          v8: i1 = ult v7, v3 @8
          if v8 @8 {
            break b0(v3)
          } else {
            yield
          }
          v9: i32 = add v3, v4 @9
          continue b0(v9)
        }
        store_bits s0, bit 0, v10 @11
        v11: i32 = const 4 @11
        set_len s0, v11 @11
        v12: i32 = const 0 @11
        reply s0[v12 +: v11]
      }
    }
    "#);
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
}"#), @r#"
    lambda "l" request "Q" 1..9 reply "bytes<1100>" 0..1100 {
      slot s0 "out": bytes<1100>
      slot s1 "unused": bytes<100>
      slot s2 "v": bytes<1024>
      part0() {
        zero s0 @5
        zero s1 @6
        v0: i8 = const 1 @7
        v1: i32 = len s1 @7
        v2: i32 = const 100 @7
        v3: i1 = ult v1, v2 @7
        check v3, capacity @7
        store_bits s1, bit 0 + v1 * 8, v0 @7
        v4: i32 = const 1 @7
        v5: i32 = add v1, v4 @7
        set_len s1, v5 @7
        v6: i8 = load_bits req, bit 0 @8
        v7: i8 = const 1 @8
        v8: i8 = add v6, v7 @8
        v9: i32 = len s0 @8
        v10: i32 = const 1100 @8
        v11: i1 = ult v9, v10 @8
        check v11, capacity @8
        store_bits s0, bit 0 + v9 * 8, v8 @8
        v12: i32 = const 1 @8
        v13: i32 = add v9, v12 @8
        set_len s0, v13 @8
        v14: i32 = len s1 @9
        v15: i64 = now @9
        v16: i32 = trunc v15 @9
        v17: i32 = add v14, v16 @9
        v18: i8 = load_bits req, bit 0 @10
        v19: i8 = const 3 @10
        v20: i1 = ult v19, v18 @10
        if v20 @10 {
          v21: i32 = const 1 @11
          v22: i32 = len req @11
          v23: i32 = sub v22, v21 @11
          await get svc0 key req[v21 +: v23] -> s2 then part2(v17)
        } else {
          yield
        }
        v35: i32 = const 2 @13
        v36: i32 = add v17, v35 @13
        become part1(v36)
      }
      part1(v37: i32) live (s0) {
        v38: i8 = trunc v37 @15
        v39: i32 = len s0 @15
        v40: i32 = const 1100 @15
        v41: i1 = ult v39, v40 @15
        check v41, capacity @15
        store_bits s0, bit 0 + v39 * 8, v38 @15
        v42: i32 = const 1 @15
        v43: i32 = add v39, v42 @15
        set_len s0, v43 @15
        v44: i32 = const 0 @16
        v45: i32 = len s0 @16
        reply s0[v44 +: v45]
      }
      part2(v24: i1, v25: i1, v46: i32) live (s0) {
        v34: i32 = if v24 @11 {
          v26: i32 = const 0 @11
          v27: i32 = len s2 @11
          v28: i32 = len s0 @11
          v29: i32 = add v28, v27 @11
          v30: i32 = const 1100 @11
          v31: i1 = ule v29, v30 @11
          check v31, capacity @11
          copy_bytes s0, v28, s2[v26 +: v27] @11
          set_len s0, v29 @11
          yield v46
        } else {
          v32: i32 = const 1 @11
          v33: i32 = add v46, v32 @11
          yield v33
        }
        become part1(v34)
      }
    }
    "#);
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
}"), @r#"
    lambda "l" request "Q" 5..13 reply "bytes<8>" 0..8 {
      part0() {
        v0: i32 = const 2 @5
        v1: i8 = load_bits req, bit 0 @5
        v2: i32 = const 5 @5
        v3: i32 = len req @5
        v4: i32 = sub v3, v2 @5
        v5: i32 = zext v1 @5
        v6: i1 = ule v0, v5 @5
        check v6, slice @5
        v7: i1 = ule v5, v4 @5
        check v7, slice @5
        v8: i32 = const 7 @5
        v9: i32 = sub v5, v0 @5
        v10: i32 = const 1 @6
        v11: i32 = const 4 @6
        v12: i1 = map_put o0(req[v10 +: v11]), req[v8 +: v9] @6
        reply req[v8 +: v9]
      }
    }
    "#);
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
    assert_snapshot!(&text[start..], @r#"
    match min 11 {
      all(bits(0, i8) eq 1, 2 ult rest(11, 8)) => l0 @8
      any(3 ult bits(0, i8), bits(8, i3) & 5 == 4) => l1 @9
      bits(0, i8) in 5..9 => l0 @10
      pkt(src_ip) & 4278190080 == 167772160 => l1 @11
      all(not(has o0(bits(0, i8))), bits(16, i64) eq 72623859790382856, bits(80, i8) eq 9) => l0 @12
      eval func "match5"() -> (i1) inline {
        v0: i8 = load_bits req, bit 0 @13
        v1: i1 = call f0(v0) @13
        return v1
      } => drop @13
      true => punt @14
    }
    "#);
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
}"#), @r#"
    lambda "l" request "Q" 1..9 reply "bytes<1100>" 0..1100 {
      slot s0 "v": bytes<1024>
      slot s1 "out": bytes<1100>
      part0() {
        v0: i8 = load_bits req, bit 0 @7
        v1: i8 = load p0 @7
        v2: i8 = add v0, v1 @7
        v3: i16 = pkt src_port @8
        v4: i8 = trunc v3 @8
        v5: i32 = random @9
        v6: i8 = trunc v5 @9
        v7: i32 = const 0 @10
        v8: i32 = const 3 @10
        v9: i32 = const 1 @11
        v10: i32 = len req @11
        v11: i32 = sub v10, v9 @11
        await get svc0 key req[v9 +: v11] -> s0 then part1(v6)
      }
      part1(v12: i1, v13: i1, v41: i8) {
        v36: i8 = load_bits req, bit 0
        v37: i8 = load p0
        v38: i8 = add v36, v37
        v39: i16 = pkt src_port
        v40: i8 = trunc v39
        v42: i32 = const 0
        v43: i32 = const 3
        if v12 @11 {
          yield
        } else {
          v14: i32 = const 1 @11
          v15: i32 = len req @11
          v16: i32 = sub v15, v14 @11
          reply req[v14 +: v16]
        }
        zero s1 @12
        v17: i32 = len s1 @13
        v18: i32 = add v17, v43 @13
        v19: i32 = const 1100 @13
        v20: i1 = ule v18, v19 @13
        check v20, capacity @13
        copy_bytes s1, v17, c0[v42 +: v43] @13
        set_len s1, v18 @13
        v21: i8 = add v38, v40 @14
        v22: i8 = add v21, v41 @14
        v23: i32 = len s1 @14
        v24: i32 = const 1100 @14
        v25: i1 = ult v23, v24 @14
        check v25, capacity @14
        store_bits s1, bit 0 + v23 * 8, v22 @14
        v26: i32 = const 1 @14
        v27: i32 = add v23, v26 @14
        set_len s1, v27 @14
        v28: i32 = const 0 @15
        v29: i32 = len s0 @15
        v30: i32 = len s1 @15
        v31: i32 = add v30, v29 @15
        v32: i32 = const 1100 @15
        v33: i1 = ule v31, v32 @15
        check v33, capacity @15
        copy_bytes s1, v30, s0[v28 +: v29] @15
        set_len s1, v31 @15
        v34: i32 = const 0 @16
        v35: i32 = len s1 @16
        reply s1[v34 +: v35]
      }
    }
    "#);
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
}"), @r#"
    lambda "l" request "[i8; 1]" 1..1 reply "[u8; 1]" 1..1 {
      part0() {
        v0: i32 = const 0 @3
        v1: i8 = load_bits req, bit 0 @3
        switch v1 @3 {
          case 253..256, 0..4 {
            v2: i32 = const 0 @4
            v3: i32 = const 1 @4
            reply c0[v2 +: v3]
          }
          case 9 {
            drop
          }
          case 251..253 {
            v4: i32 = const 0 @6
            v5: i32 = const 1 @6
            reply c1[v4 +: v5]
          }
          default {
            yield
          }
        }
        v6: i32 = const 0 @9
        v7: i32 = const 1 @9
        reply c2[v6 +: v7]
      }
    }
    "#);
}

#[test]
fn literals_of_constants_are_read_only_data() {
    assert_snapshot!(whole("workload w;
header Q { op: u8 }
header R { op: u4, ok: bool, n: u11, rest: bytes<4> }
lambda l(req: Q) -> R {
    let mut a = [1u8, 2, 3, 4, 5];
    let b = [req.op, 2];
    if a[req.op] == b[1] { reply R { op: 1, ok: true, n: 5, rest: b\"ab\" }; }
    reply R { op: 1, ok: false, n: 6, rest: bytes(b) };
}"), @r#"
    lambda "l" request "Q" 1..1 reply "R" 2..6 {
      slot s0 "a": [i8 x 5]
      slot s1 "b": [i8 x 2]
      slot s2 "reply": bytes<6>
      part0() {
        copy s0, c0 @5
        v0: i32 = const 0 @6
        v1: i8 = load_bits req, bit 0 @6
        store s1[v0], v1 @6
        v2: i32 = const 1 @6
        v3: i8 = const 2 @6
        store s1[v2], v3 @6
        v4: i8 = load_bits req, bit 0 @7
        v5: i8 = const 5 @7
        v6: i1 = ult v4, v5 @7
        check v6, index @7
        v7: i8 = load s0[v4] @7
        v8: i32 = const 1 @7
        v9: i8 = load s1[v8] @7
        v10: i1 = eq v7, v9 @7
        if v10 @7 {
          v11: i32 = const 0 @7
          v12: i32 = const 4 @7
          reply c1[v11 +: v12]
        } else {
          yield
        }
        v13: i4 = const 1 @8
        store_bits s2, bit 0, v13 @8
        v14: i1 = const 0 @8
        store_bits s2, bit 4, v14 @8
        v15: i11 = const 6 @8
        store_bits s2, bit 5, v15 @8
        v16: i32 = const 0 @8
        v17: i32 = const 2 @8
        v18: i32 = const 2 @8
        copy_bytes s2, v18, s1[v16 +: v17] @8
        v19: i32 = const 2 @8
        v20: i32 = const 4 @8
        set_len s2, v20 @8
        v21: i32 = const 0 @8
        reply s2[v21 +: v20]
      }
    }
    "#);
}
