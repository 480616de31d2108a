//! Params, state, tables.

use super::{body, items};

#[test]
fn counters_have_their_operations() {
    let source = r"seen[0].add(1);
seen.add(1);
let a = seen[1].read();
let b = seen[2].read();
let c = seen[0];
level.add(1);
seen[0].inc();
drop;";
    let expected = r"11:1: error[E0412]: `seen` is 2 counters, not one
13:14: warning[W0203]: index 2 is outside of [u64; 2]
14:9: error[E0412]: `seen` holds many values and is none itself
15:7: error[E0210]: u32 has no method `add`
16:9: error[E0210]: a counter has no method `inc`";
    assert_eq!(body(source), expected);
}

#[test]
fn an_lru_and_a_map_have_their_own() {
    let source = r#"recent.put(1, b"a");
let a = known.insert(1, 2);
recent.insert(1, b"a");
known.put(1, 2);
let b = recent.fetch_add(1, b"a");
let c = known.fetch_add(1, 2);
let d = recent.get(true);
let e = known.remove(1);
recent.remove(1);
drop;"#;
    let expected = r"12:8: error[E0210]: an lru has no method `insert`
13:7: error[E0210]: a map has no method `put`
14:16: error[E0210]: `fetch_add` is for integer values, not for bytes<8>
16:20: error[E0204]: expected u32, found bool";
    assert_eq!(body(source), expected);
}

#[test]
fn integers_of_state_are_atomic() {
    let source = r"let a = level.fetch_add(1);
let b = level.cas(1, 2);
let c = level.swap(true);
let d = req.n.fetch_add(1);
drop;";
    let expected = r"12:20: error[E0204]: expected u32, found bool
13:15: error[E0210]: u32 has no method `fetch_add`";
    assert_eq!(body(source), expected);
}

#[test]
fn tables_are_read_only() {
    let source = r"let a = routes.get(req.n) else { drop; };
if routes.has(req.n) { drop; }
routes.insert(1, 2);
let b = routes;
routs.get(1);
drop;";
    let expected = r"12:8: error[E0210]: a table has no method `insert`
13:9: error[E0412]: `routes` holds many values and is none itself
14:1: error[E0201]: there is no name `routs`";
    assert_eq!(body(source), expected);
}

#[test]
fn types_of_state_are_limited() {
    let source = r"state a: bytes<4>;
state b: u32?;
state c: map<bool, u32>(4);
state d: map<u32, u32?>(4);
state e: lru<u32, u32>(4, ttl = 0s);
state f: lru<u32, u32>(4, tll = 1s);
state g: counter[0];
state h: map<u64, u64>(4000000000);
state i: counter = 1;
state j: u8 = 300;";
    let expected = r"2:10: error[E0401]: state can't hold bytes<4>
3:10: error[E0218]: `T?` is for local variables, parameters and returns only
4:14: error[E0402]: bool can't be a key
5:19: error[E0218]: `T?` is for local variables, parameters and returns only
6:33: error[E0406]: a ttl of 0 forgets every entry at once
7:27: error[E0406]: an lru has no argument `tll`
8:18: error[E0404]: nothing fits into a capacity of 0
9:24: error[E0404]: 4000000000 entries of 16 bytes need more than 1 GiB
10:20: error[E0411]: a counter can't be given a value to start with
11:15: error[E0205]: 300 is out of range for u8";
    assert_eq!(items(source), expected);
}

#[test]
fn table_entries_fit_their_table() {
    let source = r"table a: exact<u16, u8>(2) { 1 => 1, 1 => 2, 3/4 => 1, _ => 1 }
table b: lpm<u32, u8>(9) { 10.0.0.0/8 => 1, 10.0.0.0/8 => 2, 10.0.0.1/8 => 1, 1.2.3.4/40 => 1, 1.2.3.4 => 1 }
table c: ternary<u16, u8>(9) { 1 & 255 => 1, _ => 2, 5 => 1, 4/8 => 1 }
table d: lpm<i32, u8>(1);
table e: hash<u16, u8>(1);
table f: lpm<[u8; 2], u8>(3) { [10, 128]/9 => 1, [10, 128]/8 => 2 }";
    let expected = r"2:38: error[E0410]: the table has this key already
2:46: error[E0409]: 4 entries are more than the table can hold
2:56: error[E0407]: `_` can't be a key of an exact table
3:45: error[E0410]: the table has this key already
3:62: error[E0408]: bits are set under the prefix
3:79: error[E0408]: a prefix of 40 bits is longer than its 32-bit address
5:14: error[E0402]: an lpm table can't have keys of type i32
6:10: error[E0405]: there is no kind of table `hash`
7:50: error[E0408]: bits are set under the prefix";
    assert_eq!(items(source), expected);
}

#[test]
fn params_are_simple_values() {
    let source = r#"struct S { a: u32 }
param a: S;
param b: [u16; 2] = [1, 2];
param c: bytes<4> = b"12345";
fn f() { c = b""; }"#;
    let expected = r"3:10: error[E0401]: a param can't be S
5:21: error[E0204]: expected bytes<4>, found bytes<5>";
    assert_eq!(items(source), expected);
}
