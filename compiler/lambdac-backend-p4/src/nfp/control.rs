//! The ingress: which packets the plugin gets, and what is done with the others.
//!
//! The rules are those of the design's "What a NIC may answer" and "Malformed". As few tables as they can be said in:
//! a test costs less than a table on this card. Only what changes while the card runs is a table.

use super::program::{EXTERN, Resident, params};
use super::sums;
use crate::ast::{Action, Binary, Control, Direction, Expr, Key, Local, MatchKind, Param, Stmt, Table, Type};
use crate::lower::{MARTIANS, MAX_PAYLOAD};

/// The control's name in P4; rules call it by its role, `ingress`.
pub(super) const INGRESS: &str = "LambdaIngress";

/// Table names, as rules have them.
pub(super) const PORTS: &str = "ports";
pub(super) const LISTEN: &str = "listen";
pub(super) const WORKLOADS: &str = "workloads";

/// Bytes of headers.
const ETHERNET: u64 = 14;
const IPV4: u64 = 20;
const UDP: u64 = 8;
const LAMBDA: u64 = 24;
/// More fragments, and a fragment's offset (RFC 791).
const FRAGMENT: u64 = 0x3fff;
/// Entries that a table has room for.
const SMALL_TABLE: u32 = 16;
/// The first of the ports that services answer to, and what of a port is the same for all of them, as `lnic_plugin.h` has
/// it.
pub const SERVICE_PORTS: u16 = 0x7fc0;
const PORT_MASK: u64 = 0xffc0;

fn path(path: &str) -> Expr {
    Expr::path(path)
}

fn set(field: &str, value: Expr) -> Stmt {
    Stmt::Assign(path("meta").member(field), value)
}

fn flag(field: &str, value: u64) -> Stmt {
    set(field, Expr::bits(8, value))
}

fn is(field: &str, op: Binary, value: Expr) -> Expr {
    path(field).binary(op, value)
}

fn wide(field: &str) -> Expr {
    path(field).cast(Type::Bit(32))
}

fn any(terms: impl IntoIterator<Item = Expr>) -> Expr {
    let mut terms = terms.into_iter();
    let first = terms.next().unwrap_or(Expr::Bool(false));
    terms.fold(first, |all, term| all.binary(Binary::OrOr, term))
}

fn both(a: Expr, b: Expr) -> Expr {
    a.binary(Binary::AndAnd, b)
}

fn when(cond: Expr, then: Vec<Stmt>) -> Stmt {
    Stmt::If(cond, then, Vec::new())
}

fn apply(table: &str) -> Stmt {
    Stmt::Call(Expr::name(table).method("apply", Vec::new()))
}

fn call(action: &str) -> Stmt {
    Stmt::Call(Expr::name(action).call(Vec::new()))
}

fn comment(text: &str) -> Stmt {
    Stmt::Comment(text.to_owned())
}

fn count(counter: &str, index: Expr) -> Stmt {
    Stmt::Call(Expr::name(counter).method("count", vec![index]))
}

fn drop() -> Stmt {
    Stmt::Assign(path("standard_metadata.egress_spec"), Expr::name("NOWHERE"))
}

/// The control, for the workloads that the card answers for; whether lambdas of the card wait for services.
pub(super) fn ingress(workloads: &[Resident], waits: bool) -> Control {
    let mut locals = counters(workloads.len());
    locals.extend(actions(waits).into_iter().map(Local::Action));
    locals.extend(tables(workloads.len()).into_iter().map(Local::Table));
    Control {
        name: INGRESS.to_owned(),
        params: params(true),
        locals,
        apply: rules(waits),
    }
}

fn counters(workloads: usize) -> Vec<Local> {
    let counter = |name: &str, size: usize| Local::Instance {
        ty: Type::named("counter"),
        args: vec![Expr::Number(size.max(1) as u64), path("CounterType.packets")],
        name: name.to_owned(),
    };
    vec![
        Local::Comment("Requests that the plugin was asked, by workload; and malformed ones.".to_owned()),
        counter("requests", workloads),
        counter("dropped", 1),
    ]
}

fn action(name: &str, params: &[(Type, &str)], body: Vec<Stmt>) -> Action {
    let param = |(ty, name): &(Type, &str)| Param::new(Direction::None, ty.clone(), name);
    Action {
        name: name.to_owned(),
        params: params.iter().map(param).collect(),
        body,
    }
}

fn actions(waits: bool) -> Vec<Action> {
    let forward = Stmt::Assign(path("standard_metadata.egress_spec"), Expr::name("port"));
    let plugin = || Stmt::Call(Expr::name(EXTERN).call(Vec::new()));
    let once = || set("lnic_again", Expr::bits(32, 0));
    let mut here = vec![flag("ours", 1), set("broadcast", Expr::name("broadcast"))];
    here.extend(sums::of_header());
    let mut actions = vec![
        action(
            "forward",
            &[(Type::named("port_t"), "port")],
            vec![forward, once()],
        ),
        action("discard", &[], vec![drop(), once()]),
        action(
            "arrived",
            &[],
            vec![set("lnic_ingress", wide("standard_metadata.ingress_port"))],
        ),
        action("here", &[(Type::Bit(32), "broadcast")], here),
        action("elsewhere", &[], vec![flag("ours", 0)]),
        action(
            "malformed",
            &[],
            vec![count("dropped", Expr::bits(32, 0)), drop()],
        ),
        action(
            "run_lambdas",
            &[(Type::Bit(32), "number")],
            vec![count("requests", Expr::name("number")), plugin()],
        ),
        action("leave_to_host", &[], Vec::new()),
    ];
    if waits {
        actions.push(action("go_on", &[], vec![plugin()]));
    }
    actions
}

fn table(name: &str, keys: &[(&str, u32, MatchKind)], actions: [&str; 2], size: u32) -> Table {
    let key = |(expr, width, kind): &(&str, u32, MatchKind)| Key {
        expr: path(expr),
        kind: *kind,
        name: String::new(),
        width: *width,
    };
    Table {
        name: name.to_owned(),
        keys: keys.iter().map(key).collect(),
        default: (actions[1].to_owned(), Vec::new()),
        actions: actions.map(str::to_owned).to_vec(),
        const_default: false,
        entries: Vec::new(),
        size: Some(size),
    }
}

fn tables(workloads: usize) -> Vec<Table> {
    use MatchKind::Exact;
    let room = u32::try_from(workloads).unwrap_or(u32::MAX).max(SMALL_TABLE);
    vec![
        table(
            PORTS,
            &[("standard_metadata.ingress_port", 16, Exact)],
            ["forward", "discard"],
            SMALL_TABLE,
        ),
        table(
            LISTEN,
            &[
                ("hdr.ethernet.dst_hi", 32, Exact),
                ("hdr.ethernet.dst_lo", 16, Exact),
                ("hdr.ipv4.dst", 32, Exact),
            ],
            ["here", "elsewhere"],
            SMALL_TABLE,
        ),
        table(
            WORKLOADS,
            &[("hdr.lambda.workload", 32, Exact)],
            ["run_lambdas", "leave_to_host"],
            room,
        ),
    ]
}

/// The rules, from outside in.
fn rules(waits: bool) -> Vec<Stmt> {
    let fragment = is("hdr.ipv4.fragment", Binary::And, Expr::bits(16, FRAGMENT));
    let whole = fragment.binary(Binary::Eq, Expr::bits(16, 0));
    let request = || is("hdr.udp.dst", Binary::Eq, Expr::name("LAMBDA_PORT"));
    let row = is("hdr.udp.dst", Binary::And, Expr::bits(16, PORT_MASK));
    let answer = || {
        row.clone()
            .binary(Binary::Eq, Expr::bits(16, SERVICE_PORTS.into()))
    };
    let ports = if waits {
        any([request(), answer()])
    } else {
        request()
    };
    let udp = both(both(path("hdr.udp").method("isValid", Vec::new()), whole), ports);
    let frame = Expr::bits(32, ETHERNET).binary(Binary::Add, wide("hdr.ipv4.len"));
    let lengths = path("hdr.udp.len").binary(Binary::Add, Expr::bits(16, IPV4));
    let right = both(
        both(
            is("standard_metadata.packet_length", Binary::Ge, frame),
            is("hdr.ipv4.len", Binary::Eq, lengths),
        ),
        is("meta.sum", Binary::Eq, Expr::bits(32, sums::RIGHT)),
    );
    let ours = both(is("meta.ours", Binary::Eq, Expr::bits(8, 1)), right);
    let requests = Stmt::If(wrong(), vec![call("malformed")], vec![apply(WORKLOADS)]);
    let taken = match waits {
        true => Stmt::If(
            answer(),
            vec![comment("The answer of a service."), call("go_on")],
            vec![requests],
        ),
        false => requests,
    };
    let new = is(
        "standard_metadata.instance_type",
        Binary::Ne,
        Expr::name("RECIRCULATED"),
    );
    vec![
        comment("Where it goes that nothing here answers: from the wire to the host, and back."),
        apply(PORTS),
        when(new, vec![call("arrived")]),
        comment("UDP over IPv4 to the worker's ports: no options, no fragment."),
        when(
            udp,
            vec![
                apply(LISTEN),
                comment("To the worker's addresses, whole, its lengths and checksum right."),
                when(ours, vec![taken]),
            ],
        ),
    ]
}

/// Sources that no honest packet has, and what no request looks like.
fn wrong() -> Expr {
    let martian = MARTIANS.iter().map(|(address, len)| {
        let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        let part = is("hdr.ipv4.src", Binary::And, Expr::bits(32, mask.into()));
        part.binary(Binary::Eq, Expr::bits(32, (*address).into()))
    });
    let own = is("hdr.ipv4.src", Binary::Eq, path("hdr.ipv4.dst"));
    let broadcast = is("hdr.ipv4.src", Binary::Eq, path("meta.broadcast"));
    let lambda = |field: &str, op: Binary, value: Expr| path("hdr.lambda").member(field).binary(op, value);
    let room = path("hdr.udp.len").binary(Binary::Sub, Expr::bits(16, UDP + LAMBDA));
    let several = lambda("fragments", Binary::Ne, Expr::bits(16, 1));
    let empty = lambda("length", Binary::Eq, Expr::bits(16, 0));
    let malformed = [
        path("hdr.lambda").method("isValid", Vec::new()).negated(),
        lambda("magic", Binary::Ne, Expr::name("MAGIC")),
        lambda("version", Binary::Ne, Expr::name("VERSION")),
        lambda("kind", Binary::Ne, Expr::name("REQUEST")),
        lambda("flags", Binary::Ne, Expr::bits(8, 0)),
        lambda("fragment", Binary::Ge, path("hdr.lambda.fragments")),
        lambda("length", Binary::Gt, room),
        lambda("length", Binary::Gt, Expr::bits(16, MAX_PAYLOAD.into())),
        both(several, empty),
    ];
    any(martian.chain([own, broadcast]).chain(malformed))
}
