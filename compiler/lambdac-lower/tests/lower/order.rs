//! Programs whose result depends on the order of evaluation, on what aliases what, and on where traps stand.

use crate::differential::agree;

/// Runs a program; some of its calls must reply and, where it says so, some must trap.
fn check(traps: bool, text: &str) {
    let outcomes = agree(text);
    assert!(
        outcomes.iter().any(|o| o.starts_with("Reply")),
        "some calls reply: {outcomes:?}"
    );
    if traps {
        assert!(
            outcomes.iter().any(|o| o.starts_with("Trap")),
            "some calls trap: {outcomes:?}"
        );
    }
}

const STATE: &str = "workload w;
header Q { a: u8, b: u8, c: u3, d: u5, rest: bytes<6> }
header R { a: u8, b: u8, c: u8, d: u8 }
struct P { x: u8, y: u8, z: [u8; 3] }
state n: u8;
state arr: [u8; 4];
state ps: [P; 3];
fn bump(by: u8) -> u8 { n = n + by; arr[1] = arr[1] + by; ps[1].x += by; return n; }
fn touch(p: P, by: u8) -> u8 { ps[0].x = by; ps[0].z[1] = by; return p.x + p.z[1]; }
fn first(b: bytes, by: u8) -> u8 { n += by; if b.len() == 0 { return by; } return b[0]; }
";

fn with_state(traps: bool, body: &str) {
    check(
        traps,
        &format!(
            "{STATE}lambda l(req: Q) -> bytes<64> {{\n let mut out: bytes<64>;\n{body}\n reply out;\n}}"
        ),
    );
}

#[test]
fn operands_are_evaluated_left_to_right() {
    with_state(false, "out.push(n + bump(1) + n); out.push(arr[1] - bump(req.a) - arr[1]);
      let p = ps[1]; out.push(p.x + bump(2) + p.x); if ps[1] == (P { x: bump(1), y: 0, z: [0; 3] }) { out.push(9); }
      if arr == [0, bump(1), 0, 0] { out.push(1); } if [0, bump(1), 0, 0] == arr { out.push(2); }");
}

#[test]
fn an_index_is_evaluated_before_its_element_is_read() {
    with_state(
        true,
        "out.push(arr[bump(1) & 7]); out.push(ps[bump(1) & 3].z[bump(1) & 3]); out.push(arr[req.a & 7]);",
    );
}

#[test]
fn the_right_side_comes_before_the_place() {
    with_state(
        true,
        "arr[bump(1) & 3] = bump(2); arr[req.a & 7] = n; arr[n & 3] += bump(1);
      ps[bump(1) & 3] = ps[req.b & 1]; ps[0] = P { x: bump(1), y: arr[req.b & 7], z: [1, n, bump(3)] };",
    );
}

#[test]
fn state_written_before_a_trap_stays_written() {
    with_state(
        true,
        "n = req.a; ps[1] = P { x: 7, y: arr[req.b & 7], z: [1; 3] }; n = 1;
      ps[2].z = [req.a, arr[req.a & 7], 3]; out.append(req.rest); out.append(out[0..req.b]);",
    );
}

#[test]
fn an_aggregate_may_be_made_of_itself() {
    with_state(false, "let mut a = [req.a, req.b, 3]; a = [a[1], a[0], a[2]]; let mut p = P { x: 1, y: 2, z: a };
      p = P { y: p.x, x: p.y, z: p.z }; p.z = [p.z[2], p.z[1], p.z[0]]; a = p.z; a = a;
      ps[req.a & 1] = ps[req.b & 1]; ps[1] = p; ps[2] = ps[1]; arr = [arr[3], arr[2], arr[1], n];
      out.append(bytes(a)); out.push(p.x); out.push(p.y); p = if req.a > 3 { p } else { P { x: p.y, y: 0, z: a } };
      out.append(bytes(p.z)); out.push(p.x);");
}

#[test]
fn bytes_may_be_made_of_themselves() {
    with_state(true, "let mut b: bytes<12> = req.rest; b.append(b[0..min(b.len(), 2)]); out.append(b);
      b = b[1..b.len()]; out.append(b); b = b; b[0] = b[b.len() - 1]; b.append(b); out.append(b); b.clear(); b.push(n);
      b = if req.a > 9 { b } else { b\"zz\" }; out.append(b);");
}

#[test]
fn arguments_keep_the_value_they_had() {
    with_state(false, "out.push(touch(ps[0], 5)); out.push(touch(ps[0], bump(1))); let p = ps[0]; out.push(touch(p, 7));
      out.push(p.x); out.push(first(req.rest, bump(2))); out.push(first(b\"xy\", n)); ps[0].x = bump(1) + touch(ps[0], 1);");
}

#[test]
fn blocks_inside_expressions_assign_locals() {
    with_state(true, "let mut x = req.a; let mut b: bytes<6> = req.rest;
      out.push(x + if x > 3 { x = 1; x } else { 2 } + x);
      let y = if req.b > 2 && (if x == 1 { x = 9; true } else { false }) || x > 9 { x += 1; x } else { 0 };
      out.push(x); out.push(y);
      if b == (if req.a > 9 { b.clear(); b\"\" } else { b\"a\" }) { out.push(77); }
      out.append(b); let mut z = [1u8, 2, 3]; z[if x > 3 { z[1] = 9; 1 } else { 5 }] = z[1]; out.append(bytes(z));");
}

#[test]
fn loops_carry_what_they_assign() {
    with_state(true, "let mut sum = 0u8; let mut last: u8? = none; let mut trips = 0u8;
      for i in 0..req.a max 12 { if i == 2 { continue; } if sum > 90 { break; } sum += i; last = i; arr[1] = sum; }
      while trips < req.b max 15 { trips += 1; for j in 0..trips max 20 { if j == 5 { break; } sum ^= j; } if sum == 3 { break; } }
      if let v = last { out.push(v); } out.push(sum); out.push(trips);
      for k in 250u8..req.b max 3 { sum += k; } out.push(sum); for i in 3u8..3 { sum = i; } for i in 0..10u8 { sum += i; } out.push(sum);");
}

#[test]
fn a_condition_with_statements_counts_its_trips() {
    with_state(true, "let mut x = req.a & 15; let mut t = 0u8;
      while (if x > 3 { x -= 1; true } else { t += 1; t < req.b & 7 }) max 10 { if x == 5 { x = 2; continue; } n += 1; }
      out.push(x); out.push(t); for i in 0..4u8 { while (if x == 2 { break; } else { x > 9 }) max 2 { x -= 1; } out.push(i); }");
}

#[test]
fn options_of_scalars_and_aggregates() {
    check(false, "workload w;
struct V { a: u8, b: [u8; 2] }
struct K { a: u8, k: [u8; 2] }
header Q { k: [u8; 2], a: u8, v: bytes<4> }
state m: map<[u8; 2], V>(3);
state l: lru<K, bytes<8>>(2);
state c: map<u8, u16>(2);
state t: lru<u8, i8>(4, ttl = 1s);
state hits: counter[3];
fn find(k: [u8; 2], want: u8) -> V? { let v = m.get(k) else { return none; }; if v.a == want { return v; } return none; }
fn half(x: u8) -> u8? { if x & 1 == 1 { return none; } return x / 2; }
fn or(x: V?, y: u8?) -> u8 { if let v = x { return v.b[0]; } if let w = y { return w; } return 255; }
fn text(x: bytes<8>?) -> bytes<9> { let mut b: bytes<9>; if let v = x { b.append(v); b.push(1); } return b; }
lambda l1(req: Q) -> bytes<40> {
    let mut out: bytes<40>;
    let mut o = m.get(req.k);
    if req.a > 9 { o = none; }
    if let v = o { o = V { a: v.b[1], b: [v.a, v.a] }; out.append(bytes(v.b)); }
    let mut keep = o;
    if let v = keep { keep = none; out.push(v.a); m.insert(req.k, v); } else { out.push(0); }
    out.push(or(o, half(req.a)));
    out.push(or(find(req.k, req.a), half(req.a + 1)));
    out.push(or(none, none));
    let added = m.insert([req.a & 3, 1], V { a: req.a, b: req.k });
    if !added { out.push(66); hits[req.a % 3].add(1); }
    l.put(K { k: req.k, a: req.a & 1 }, req.v);
    let s = l.get(K { a: 1, k: req.k });
    out.append(text(s)); out.append(text(none)); out.append(text(b\"q\"));
    if let x = c.fetch_add(req.a & 3, 300) { out.push(x as u8); }
    t.fetch_add(req.a & 7, 100);
    let old = t.get(1) else { reply out; };
    out.push(old as u8);
    if m.remove(req.k) { hits[0].add(hits[0].read() + 1); }
    l.remove(K { k: req.k, a: 0 });
    reply out;
}");
}

#[test]
fn messages_are_packed() {
    check(true, "workload w;
enum E: u4 { A = 1, B = 9 }
header Q { f: bool, e: E, g: u3, m: [u12; 6], z: [u8; 3], s: i16, odd: u7, o: bool, t: bytes<5> }
header R { g: u3, e: E, f: bool, z: [u8; 3], m: [u12; 6], w: [u5; 8], t: bytes<9> }
state q: u8;
fn all(r: R) -> u8 { return r.z[0] + r.w[1] as u8 + r.t.len() as u8; }
lambda echo(req: Q) -> Q { reply req; }
lambda swap(req: Q) -> R {
    let copy = req;
    let r = R { t: req.t, w: [req.g as u5; 8], m: [req.m[1], req.m[req.g], copy.m[req.o as u8 + 5], 1, req.m[0], req.m[2]], z: copy.z, f: !req.f, e: E::B, g: req.g };
    q = all(r) + all(R { g: 1, e: req.e, f: true, z: [req.z[2]; 3], m: req.m, w: [1; 8], t: copy.t[0..copy.t.len() / 2] });
    reply r;
}
lambda words(req: [u16; 5]) -> [u16; 5] { let mut r = req; for i in 0..5u8 { r[4 - i] = req[i] + (req == r) as u16; } reply r; }
lambda bytes_of(req: [u8; 6]) -> [u8; 6] { let mut r = req; r[req[0] & 7] = 1; if req[0..3] == bytes(r)[3..6] { reply req; } reply r; }
lambda hash(req: Q) -> [u64; 3] { reply [hash::crc32(req.z) as u64, hash::crc16(req.t) as u64, hash::crc32(req.s as u32) as u64 + hash::crc16(b\"\") as u64]; }
match (req: Q) {
    req.e == E::A && req.g > 2 => swap,
    req.z == [0, 1, 2] || 5 < req.odd => echo,
    req.m[1] & 0x0f0 == 0x010 => swap,
    req.s in -5..100 => swap,
    !req.f && req.t.len() > 2 => echo,
    req.t == b\"ab\" => drop,
    pkt.src_port == 1 || pkt.src_ip in 128.0.0.0/1 => punt,
    req.z[req.g & 3] == 7 => echo,
    _ => drop,
}");
}

#[test]
fn arithmetic_of_odd_widths() {
    check(false, "workload w;
header Q { a: u13, b: u13, s: i8, t: i8, x: u64, y: u33, p: u2, q: u3 }
lambda l(req: Q) -> [u64; 20] {
    let a = req.a; let b = req.b; let s = req.s; let t = req.t;
    let mut k = 0u8;
    match s { -5..5 => { k = 1; } 100 | -128 => { k = 2; } -10..20 => { k = 3; } _ => { k = 4; } }
    match req.q { 0 | 1 => { k += 10; } 2..7 => { k += 20; } 3 => { k = 0; } 7 => { k += 30; } }
    match req.p { 0 => { } 1 => { k += 40; } 2 | 3 => { reply [k as u64; 20]; } }
    reply [(a + b) as u64, (a - b) as u64, (a * b) as u64, (a / b) as u64, (a % b) as u64, (a << b) as u64, (a >> req.q) as u64,
      (s / t) as u64, (s % t) as u64, (s >> req.q) as u64, (s >> req.x) as u64, (-s) as i64 as u64, (~a) as u64, (s < t) as u64, min(s, t) as u64,
      max(a, b) as u64, s as i16 as u64, (req.y << 1) as u64, (a in 5..b) as u64, k as u64];
}");
}

#[test]
fn every_arm_leaves() {
    check(true, "workload w;
header Q { a: u8, b: u8 }
fn f(x: u8) -> u8 { if x == 1 { return 2; } else if x == 2 { return 3; } else { return 4; } }
fn g(x: u8) -> [u8; 2] { for i in 0..9u8 { if i == x { return [i, 1]; } } return [0; 2]; }
fn h(x: u8, y: u8) -> u8 { let z = if x > 3 { return y; } else { x }; return z + 1; }
lambda l(req: Q) -> [u8; 2] {
    match req.a { 0 => { reply g(req.b); } 1 => { drop; } 2 => { punt; } 3..9 => { } _ => { reply [f(req.b), h(req.a, req.b)]; } }
    for i in 0..3u8 { if req.b == i { reply [i, i]; } else { continue; } }
    while true max 3 { if req.b == 7 { break; } }
    let mut x = g(1); x = [x[1], if req.b == 7 { reply x; } else { 4 }];
    reply x;
}");
}

#[test]
fn params_constants_and_tables() {
    check(true, "workload w;
header Q { a: u8, ip: u32, k: [u8; 3] }
struct K { a: u8, k: [u8; 3] }
const BIG: [u32; 6] = [1, 2, 3, 4, 5, 6];
const TEXT: bytes<10> = b\"hello\";
const ZERO: [u8; 5] = [0; 5];
param limit: u8 = 5;
param word: bytes<6> = b\"param\";
param list: [u16; 3] = [7, 8, 9];
state boot: [u32; 6] = [9, 8, 7, 6, 5, 4];
table e: exact<K, bytes<7>>(4) { K { a: 1, k: [0, 1, 2] } => b\"one\", K { a: 2, k: [1, 1, 1] } => b\"two\", }
table p: lpm<u32, u8>(4) { 10.0.0.0/8 => 1, 0.0.0.0/0 => 2, }
table t: ternary<u8, u16>(4) { 1 & 3 => 300, _ => 400, }
lambda l(req: Q) -> bytes<90> {
    let mut out: bytes<90>;
    out.push(BIG[req.a & 7] as u8); out.append(TEXT[req.a & 3..TEXT.len()]); out.append(word); out.append(bytes(ZERO));
    if req.a > limit { out.push(list[req.a & 3] as u8); }
    let v = e.get(K { k: req.k, a: req.a }) else { out.push(1); reply out; };
    out.append(v); boot = BIG; boot[req.a & 7] = 1;
    if let x = p.get(req.ip) { out.push(x); }
    if t.has(req.a) { let y = t.get(req.a) else { drop; }; out.push(y as u8); }
    if e.has(K { a: req.a, k: [0, 1, 2] }) { out.append(b\"!\"); }
    log(b\"text\", req.a, out, req.a > 3, boot[0]);
    out.append(pad(word) == [112u8, 97, 114, 97, 109, 0] && boot == BIG == false);
    reply out;
}".replace("    out.append(pad(word) == [112u8, 97, 114, 97, 109, 0] && boot == BIG == false);\n",
      "    let same: [u8; 6] = pad(word); if same == [112, 97, 114, 97, 109, 0] && boot != BIG { out.push(8); }\n    let tail: [u8; 3] = pad(req.k[0..req.a]); out.append(bytes(tail)); out.append(word as bytes<5>);\n").as_str());
}

#[test]
fn atomics_and_counters() {
    with_state(true, "out.push(n.fetch_add(req.a)); out.push(arr[bump(1) & 7].fetch_sub(bump(1))); out.push(ps[req.b & 3].z[1].swap(n));
      if n.cas(req.a, bump(1)) { out.push(1); } out.push(n); ps[req.c & 3].y.fetch_add(1);");
}

#[test]
fn live_values_survive_awaits() {
    check(false, "workload w;
service a = memcached(\"127.0.0.1:11211\", timeout = 5ms);
service b = memcached(\"127.0.0.1:11212\", timeout = 5ms);
header Q { op: u8, x: u8, key: bytes<8> }
struct S { a: u8, b: [u8; 3] }
state n: u8;
state s: S;
fn mix(s: S, x: u8) -> S { return S { a: s.b[0], b: [x, s.a, s.b[1]] }; }
lambda chain(req: Q) -> bytes<1200> {
    let mut out: bytes<1200>;
    let mut p = S { a: req.op, b: [1, req.x, 3] };
    let mut o: bytes<8>? = none;
    let x = req.x + 1; let t = now(); let mut k: u8? = none;
    if req.op > 2 { o = req.key; k = x; }
    out.push(x);
    if req.x > 9 {
        if let v = await a.get(req.key) { out.append(v); p = mix(p, 9); if x == 12 { reply out; } }
        else { if a.failed() { out.push(99); } else { n += 1; p.a = 1; } }
        out.push(7);
    } else if req.x > 4 {
        let ok = await b.set(req.key, out) else { if b.failed() { drop; } n = 3; out.push(b.failed() as u8); reply out; };
        out.push(ok as u8);
    } else { p.b[1] = 77; }
    s = p;
    if let v = o { out.append(v); }
    if let v = k { out.push(v); }
    let gone = await a.delete(out[0..1]) else { out.push(1); out.push(x); reply out; };
    if gone { p = mix(p, x); }
    out.push(p.a); out.append(bytes(p.b)); out.push((now() - t) as u8); out.append(req.key);
    match req.op {
        0 | 1 => { let w = await a.get(b\"q\") else { out.push(8); reply out; }; out.append(w); }
        2..9 => { if let w = await b.get(out[0..2]) { out.push(w[0]); } }
        _ => { out.push(5); }
    }
    s.b[0] = out.len() as u8;
    let r = if let w = await a.get(b\"zz\") { w.len() as u8 + x } else { if a.failed() { 1 } else { 2 } } + n;
    out.push(r);
    reply out;
}".replace("    let r = if let w = await a.get(b\"zz\") { w.len() as u8 + x } else { if a.failed() { 1 } else { 2 } } + n;",
      "    let mut r = n; if let w = await a.get(b\"zz\") { r += w.len() as u8 + x; } else { r = if a.failed() { 1 } else { 2 }; }").as_str());
}

#[test]
fn a_failure_is_told_from_a_miss() {
    check(
        false,
        "workload w;
service a = memcached(\"127.0.0.1:11211\", timeout = 5ms);
lambda l(key: bytes<9>) -> bytes<1030> {
    let v = await a.get(key) else { if a.failed() { reply b\"failed\"; } reply b\"miss\"; };
    reply v;
}",
    );
}

#[test]
fn long_and_deep_bodies_lower() {
    let ifs: String = (0..1500)
        .map(|i| {
            format!(
                "if req.a > {} {{ x{} += 1; }} else {{ x0 ^= {}; }}\n",
                i % 200,
                i % 9,
                i % 256
            )
        })
        .collect();
    let deep = format!(
        "{} x8 += 3; {}",
        "if req.a > 3 { x7 += 1; ".repeat(50),
        "}".repeat(50)
    );
    let lets: String = (0..9).map(|i| format!("let mut x{i} = {i}u8;\n")).collect();
    let sum: String = (0..9).map(|i| format!("out.push(x{i});")).collect();
    with_state(false, &format!("{lets}{ifs}{deep}{sum}"));
}

#[test]
fn a_chain_of_awaits_lowers() {
    let awaits: String = (0..150)
        .map(|i| {
            format!(
                "if let v = await a.get(key) {{ n += v.len() as u8; if n == {} {{ reply b\"x\"; }} }} else {{ n ^= {i}; }}\n",
                i % 50
            )
        })
        .collect();
    check(
        false,
        &format!(
            "workload w;
service a = memcached(\"127.0.0.1:11211\", timeout = 5ms);
lambda l(key: bytes<9>) -> bytes<9> {{
    let mut out: bytes<9>; let mut n = 1u8;
    {awaits}
    out.push(n);
    reply out;
}}"
        ),
    );
}
