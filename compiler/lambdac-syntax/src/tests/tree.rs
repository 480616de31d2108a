//! What valid programs become.

use super::parses;
use crate::ast::{Expr, ExprKind, ItemKind, StmtKind};
use crate::grammar::{Grammar, Rule};

/// The program of the reference's first section.
pub(super) const SAMPLE: &str = r#"
//! Key-value front end.
workload kv;

use text;                                      // a library

enum Op: u8 { Get = 0, Set = 1 }               // named constants of an integer type
header Request { op: u8, key: [u8; 16], value: bytes<64> }

param ttl: u64 = 60s;
state seen: counter[2];
/// What was used
/// lately.
state recent: lru<[u8; 16], bytes<64>>(1024);

lambda get(req: Request) -> bytes<64> {
    seen[0].add(1);
    let value = recent.get(req.key) else { reply b"Not Found"; };
    reply value;
}

lambda set(req: Request) -> bytes<64> {
    seen[1].add(1);
    recent.put(req.key, req.value);
    reply b"STORED";
}

match (req: Request) {
    req.op == Op::Get                          => get,
    req.op == Op::Set && req.value.len() > 0   => set,
    _                                          => drop,
}

test "a value comes back" {
    expect kv(Request { op: 0, key: pad(b"hey"), value: b"" }) == b"Not Found";
    expect kv(Request { op: 1, key: pad(b"hey"), value: b"dude" }) == b"STORED";
    expect kv(Request { op: 0, key: pad(b"hey"), value: b"" }) == b"dude";
    expect kv(Request { op: 9, key: pad(b""), value: b"" }) == drop;
    expect seen[0] == 2;
}
"#;

#[test]
fn the_sample_program_is_a_tree_of_its_items() {
    let file = parses(SAMPLE);
    assert_eq!(&*file.name.text, "kv");
    assert_eq!(file.docs, "Key-value front end.");
    assert_eq!(file.uses.len(), 1);
    assert_eq!(file.items.len(), 9);
    assert_eq!(file.items[4].docs, "What was used\nlately.");
}

#[test]
fn services_and_await() {
    let file = parses(
        r#"workload s;
service cache = memcached("127.0.0.1:11211", timeout = 5ms);
lambda get(key: bytes<64>) -> bytes<1024> {
    let value = await cache.get(key) else { reply b"Not Found"; };
    reply value;
}
test "t" {
    given cache.get(b"k") => b"v";
    given cache.get(b"k") => none;
    expect get(b"k") with { src_ip: 10.1.2.3, now: 5s, random: 7 } != b"v";
    expect get(b"k") == trap;
}
"#,
    );
    let ItemKind::Lambda { body, .. } = &file.items[1].kind else {
        panic!("a lambda")
    };
    let StmtKind::Let {
        init: Some(init),
        els: Some(_),
        ..
    } = &body.stmts[0].kind
    else {
        panic!("a let else")
    };
    assert!(matches!(init.kind, ExprKind::Await { .. }));
}

#[test]
fn contextual_keywords_are_names() {
    parses(
        r"workload max;
const table: u32 = 4;
state state: u32 = 5;
state counter: counter;
state lru: lru<u8, bytes<table + 1>>(table, ttl = 5s,);
state map: map<[u8; 2], bytes<(1 << 3)>>(4);
table exact: exact<u32, u32>(8);
@inline
fn test(bytes: bytes, drop: u8,) -> u8? { return none; }
fn with(const: u8, enum: u8) -> u8 { let use = const; return use + enum; }
lambda drop(header: bytes<4>) -> bytes<4> {
    let mut max: u32;
    for i in 0..max(1, 2) max 9 { max += i; }
    for i in 0..max max max { continue; }
    while max < 3 max (4) { break; }
    drop = 5;
    param.x[1] <<= 1;
    let stream = drop + 1 & max as u8;
    if stream == max { punt; } else if let v = f() { punt drop; } else if a.b { drop; }
    reply bytes(pad(x));
}
",
    );
}

#[test]
fn every_statement_and_expression() {
    parses(
        r#"library l;
struct S { a: u8, b: [u8; 4], }
table routes: lpm<u32, u8>(8) { 10.0.0.0/8 => 1, 192.168.0.0/16 => 2, }
table acl: ternary<u32, u8>(8) { 0x10 & 0xf0 => 1, _ => 0 }
const N: u32 = if true { 1 } else { 2 };
@memory(lmem) state s: [u8; N] = [1, 2, 3, 4,];
@deadline(20us) @on(host) stream lambda f() -> S {
    match x { 0 => { } 1 | 2 => { }, 10..20 => reply x, Op::Set => return; l::Op::A => y = 3, _ => drop }
    let y: u8 = if c { 1 } else if d { 2 } else { 3 } else { return; };
    let z = S { a: -1i8 as u8, b: [0; 4] }.b[1..2];
    let w = x in 10.0.0.0/8 || !(x in 1..2) && y in a + 1..b * 2 ;
    if let v = t.get(k) { v } else { 4 }
}
fn g() -> bool { a == 1 && ~b != - - 3 || c in NET/LEN }
"#,
    );
}

/// An expression's tree with every operator in parentheses.
fn grouped(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Binary(op, a, b) => format!("({} {op:?} {})", grouped(a), grouped(b)),
        ExprKind::Unary(op, a) => format!("({op:?} {})", grouped(a)),
        ExprKind::Cast(a, _) => format!("({} as)", grouped(a)),
        ExprKind::InRange(x, a, b) => format!("({} in {}..{})", grouped(x), grouped(a), grouped(b)),
        ExprKind::InPrefix(x, a, n) => format!("({} in {}/{})", grouped(x), grouped(a), grouped(n)),
        ExprKind::Field(a, name) => format!("({}.{})", grouped(a), name.text),
        ExprKind::Int(value, _) => value.to_string(),
        ExprKind::Path(path) => path.segments[0].text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn precedence_is_that_of_rust() {
    for (source, tree) in [
        ("a - b - c * d", "((a Sub b) Sub (c Mul d))"),
        (
            "a & m == v && b || c",
            "((((a And m) Eq v) LogicAnd b) LogicOr c)",
        ),
        (
            "a | b ^ c & d << e + f",
            "(a Or (b Xor (c And (d Shl (e Add f)))))",
        ),
        ("-a.x as u8 * b", "(((Neg (a.x)) as) Mul b)"),
        ("!a == ~b", "((Not a) Eq (BitNot b))"),
        ("a in 1..b + 2 && c", "((a in 1..(b Add 2)) LogicAnd c)"),
        ("a & m in n / 8 || c", "(((a And m) in n/8) LogicOr c)"),
        ("(a + b) * c", "((a Add b) Mul c)"),
        ("a < b as u8", "(a Lt (b as))"),
    ] {
        let file = parses(&format!("workload w; const C: bool = {source};"));
        let ItemKind::Const { value, .. } = &file.items[0].kind else {
            panic!("a const")
        };
        assert_eq!(grouped(value), tree, "{source}");
        let text = format!("workload w; const C: bool = {source};");
        assert_eq!(&text[value.span.start as usize..value.span.end as usize], source);
    }
}

#[test]
fn the_file_rule_accepts_what_the_parser_accepts() {
    use pest::Parser;
    assert!(Grammar::parse(Rule::file, SAMPLE).is_ok());
}
