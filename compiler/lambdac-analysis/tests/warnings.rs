//! Warnings: what triggers each, and what comes close and doesn't.

mod support;

use support::reports;

#[test]
fn updates_that_can_be_lost_are_told_with_their_atomic_form() {
    let found = reports(
        "workload w;
struct P { a: u32, b: [u8; 4] }
state n: u32;
state p: P;
state s: [u32; 4];
lambda f(x: [u32; 1]) -> [u32; 1] {
    n = n + 1;
    n += 2;
    n -= 3;
    n = 4 + n;
    n = max(n, 5);
    n |= 6;
    p.a = p.a + 1;
    s[x[0]] = s[x[0]] - 1;
    let before = n;
    n = before + 1;
    n = x[0];
    s[0] = s[1] + 1;
    n.fetch_add(1);
    reply [p.b[0] as u32];
}",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    W0050 `n = n + 1;`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `n += 2;`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `n -= 3;`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `n = 4 + n;`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `n = max(n, 5);`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `n |= 6;`: another invocation's update of `n` can be lost (`n` is read and then written)
    W0050 `p.a = p.a + 1;`: another invocation's update of `p.a` can be lost (`p.a` is read and then written)
    W0050 `s[x[0]] = s[x[0]] - 1;`: another invocation's update of `s[…]` can be lost (`s[…]` is read and then written)
    W0050 `n = before + 1;`: another invocation's update of `n` can be lost (`n` is written with a value that was made from its old one)
    "#);
}

#[test]
fn a_lost_update_has_its_atomic_form_as_help() {
    let (_, _, diagnostics) = support::analysed(
        "workload w; state n: u32; lambda f() -> [u32; 1] { n = n + 1; n -= 1; n = n * 2; reply [n]; }",
    );
    let helps: Vec<_> = diagnostics.iter().filter_map(|d| d.help.as_deref()).collect();
    insta::assert_snapshot!(helps.join("\n"), @r#"
    `n.fetch_add(…)` reads and writes at once
    `n.fetch_sub(…)` reads and writes at once
    `n.cas(old, new)` writes only if nothing was written in between
    "#);
}

/// The positions of rules that are reported as never reached.
fn unreachable(rules: &[&str]) -> Vec<usize> {
    let source = format!(
        "workload w;
header H {{ op: u8, flag: bool, rest: u7, ip: u32, sig: i8 }}
table t: exact<u32, u8>(4) {{ 1 => 2 }}
fn odd(x: u8) -> bool {{ return x % 2 == 1; }}
lambda f(h: H) -> [u8; 1] {{ let v = t.get(h.ip) else {{ reply [odd(h.op) as u8]; }}; reply [v]; }}
match (h: H) {{ {} => f, _ => drop, }}",
        rules.join(" => f, ")
    );
    let found: Vec<_> = reports(&source)
        .into_iter()
        .filter(|report| report.starts_with("W0051"))
        .collect();
    let mut positions: Vec<usize> = Vec::new();
    for report in found {
        let text = report.split('`').nth(1).unwrap_or_default();
        let cond = text.split(" =>").next().unwrap_or_default();
        let at = (0..rules.len())
            .rev()
            .find(|&at| rules[at] == cond && !positions.contains(&at));
        positions.push(at.unwrap_or(rules.len()));
    }
    positions.sort_unstable();
    positions
}

#[test]
fn rules_that_an_earlier_one_covers_are_told() {
    for (rules, expected) in [
        (&["h.op == 1", "h.op == 1"][..], &[1][..]),
        (&["h.op < 10", "h.op == 9"], &[1]),
        (&["h.op < 10", "h.op in 3..10"], &[1]),
        (&["h.op < 10", "h.op <= 10"], &[]),
        (&["h.op in 3..10", "4 <= h.op && h.op < 6"], &[1]),
        (&["h.op == 1 || h.op == 2", "h.op == 2"], &[1]),
        (&["h.op == 1", "h.op == 1 || h.op == 2"], &[]),
        (&["h.op != 1", "h.op == 2"], &[1]),
        (&["!(h.op == 1)", "h.op == 2"], &[1]),
        (&["h.op == 1", "h.op == 1 && h.flag"], &[1]),
        (&["h.op == 1 && h.flag", "h.op == 1"], &[]),
        (&["h.flag", "h.flag && h.op == 3"], &[1]),
        (&["h.flag", "!h.flag"], &[]),
        (&["h.ip in 10.0.0.0/8", "h.ip in 10.1.0.0/16"], &[1]),
        (&["h.ip in 10.1.0.0/16", "h.ip in 10.0.0.0/8"], &[]),
        (&["h.ip & 0xff == 1", "h.ip & 0xffff == 0x101"], &[1]),
        (&["h.ip & 0xff == 1", "h.ip == 0x201"], &[1]),
        (&["h.ip & 0xff == 1", "h.ip & 0xffff == 0x102"], &[]),
        (&["t.has(h.ip)", "t.has(h.ip) && h.op == 1"], &[1]),
        (&["odd(h.op)", "odd(h.op)"], &[1]),
        (&["odd(h.op)", "odd(h.rest as u8)"], &[]),
        (&["h.sig < 0", "h.sig < 0"], &[1]),
        (&["h.op == 1 && h.op == 2", "h.op == 1"], &[0]),
        (&["h.op in 5..5", "h.op == 1"], &[0]),
        (&["h.op < 5", "h.op in 5..10", "h.op in 3..8"], &[2]),
        (&["h.op < 5", "h.op > 5", "h.op in 3..8"], &[]),
        (&["h.flag", "!h.flag", "h.op == 1"], &[2]),
        (&["h.flag && h.op == 1", "!h.flag && h.op < 3", "h.op == 1"], &[2]),
        (&["h.flag && h.op == 1", "!h.flag && h.op < 1", "h.op == 1"], &[]),
        (&["h.ip & 0xff == 1", "h.ip & 0xff != 1", "h.op == 1"], &[]),
    ] {
        assert_eq!(unreachable(rules), expected, "{rules:?}");
    }
}

#[test]
fn after_a_rule_that_always_holds_one_warning_says_it() {
    assert_eq!(unreachable(&["h.op >= 0", "h.op == 1", "h.op == 2"]), [1]);
}

#[test]
fn items_that_nothing_uses_are_told() {
    let found = reports(
        "workload w;
param lonely: u32 = 1;
param used: u32 = 1;
state nowhere: u32;
state mirror: [u32; 4];
state sum: map<u8, u32>(4);
state told: u32;
state seen: counter;
state keep: u32;
table t: exact<u32, u8>(4) { 1 => 2 }
service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
fn idle() -> u32 { return inner(); }
fn inner() -> u32 { return used; }
lambda f(x: [u32; 1]) -> [u32; 1] {
    mirror[0] = x[0];
    sum.fetch_add(1, 2);
    told = x[0];
    seen.add(1);
    reply [keep.swap(x[0])];
}
lambda dead() -> [u32; 1] { reply [0]; }
match (x: [u32; 1]) { _ => f, }
test \"t\" { expect f([1]) == [0]; expect told == 1; }",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    W0052 `lonely`: the param `lonely` is never used (nothing uses this)
    W0052 `nowhere`: the state `nowhere` is never used (nothing uses this)
    W0053 `mirror`: the state `mirror` is written and never read (no lambda or test reads this)
    W0053 `sum`: the state `sum` is written and never read (no lambda or test reads this)
    W0054 `t`: the table `t` is never read (nothing looks anything up here)
    W0052 `cache`: the service `cache` is never used (nothing uses this)
    W0052 `idle`: the fn `idle` is never used (nothing uses this)
    W0052 `dead`: the lambda `dead` is never reached (no rule leads here)
    "#);
}

#[test]
fn variables_that_nothing_reads_or_changes_are_told() {
    let found = reports(
        "workload w;
fn add(a: u32, b: u32, _c: u32) -> u32 { return a; }
lambda f(x: bytes<8>) -> bytes<8> {
    let unread = 1;
    let _meant = 2;
    let mut stored = 3;
    stored = 4;
    let mut fixed = add(1, 2, 3);
    let mut out: bytes<8>;
    for i in 0..3 { out.push(b'a'); }
    if fixed == 1 { reply x; }
    reply out;
}",
    );
    insta::assert_snapshot!(found.join("\n"), @r#"
    W0055 `b`: the variable `b` is never read (nothing reads this)
    W0055 `unread`: the variable `unread` is never read (nothing reads this)
    W0055 `stored`: the variable `stored` is never read (nothing reads this)
    W0056 `fixed`: the variable `fixed` is `mut` and never changes (nothing is assigned to this)
    "#);
}

#[test]
fn the_true_of_a_set_or_delete_need_not_be_read() {
    let found = reports(
        "workload w;
service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
lambda f(x: bytes<8>) -> bytes<8> {
    let stored = await cache.set(x, x) else { drop; };
    if let gone = await cache.delete(x) { reply b\"gone\"; }
    let value = await cache.get(x) else { drop; };
    reply x;
}",
    );
    insta::assert_snapshot!(found.join("\n"), @"W0055 `value`: the variable `value` is never read (nothing reads this)");
}
