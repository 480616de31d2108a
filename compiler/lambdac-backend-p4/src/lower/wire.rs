//! What stands around the lambdas: the rules of the λ wire, what sends a reply, what hands a packet to the host.
//!
//! The rules are those of the design's "What a NIC may answer" and "Malformed", in the order of the other targets, so
//! that a packet has the same end everywhere. Who the switch is (Ethernet and IPv4 address, UDP port) is an entry of
//! `listen`; whom it may send more than three times what they sent is in `trusted`.

use std::iter;

use super::lambda::{self, MAX_PAYLOAD, REPLY, fail, reason, set, status, verdict};
use super::memory::{WORD, WORD_BYTES};
use super::outcome::{self, Wire};
use super::{room, unit};
use crate::ast::{Action, Binary, Bits, Direction, Entry, Expr, Key, MatchKind, Param, Stmt, Table, Type};

/// Bytes of Ethernet, IPv4, UDP and λ headers.
pub(super) const ETHERNET: u64 = 14;
pub(super) const IPV4: u64 = 20;
pub(super) const UDP: u64 = 8;
pub(super) const LAMBDA: u64 = 24;
/// Bytes of the header in front of what goes to the host.
pub(super) const PACKET_IN: u64 = 8;
/// A reply to a caller that is not trusted is at most so many times the request.
const AMPLIFICATION: u64 = 3;
/// Time to live of what is sent (RFC 1700).
const TTL: u64 = 64;
/// Words of a payload.
pub(super) const PAYLOAD_WORDS: u32 = MAX_PAYLOAD / WORD_BYTES;
/// Bytes of the pieces that the last part of a payload is taken in.
pub(super) const TAILS: [u32; 5] = [16, 8, 4, 2, 1];

/// Sources that no honest packet has: 0/8, 127/8, 224/4 (multicast) and the broadcast address.
pub(crate) const MARTIANS: [(u32, u32); 4] = [(0, 8), (0x7f00_0000, 8), (0xe000_0000, 4), (0xffff_ffff, 32)];
/// The table of sources that may be sent long replies.
pub const TRUSTED: &str = "trusted";
/// Entries that the table has room for.
pub const TRUSTED_ENTRIES: u32 = 256;
/// Sources that are trusted unless the worker's configuration says otherwise: the private ranges (RFC 1918).
pub(crate) const PRIVATE: [(u32, u32); 3] = [(0x0a00_0000, 8), (0xac10_0000, 12), (0xc0a8_0000, 16)];

fn path(path: &str) -> Expr {
    Expr::path(path)
}

fn assign(place: &str, value: Expr) -> Stmt {
    Stmt::Assign(path(place), value)
}

/// A number of 32 bits.
fn long(value: u64) -> Expr {
    Expr::bits(32, value)
}

/// A field at 32 bits.
fn widened(place: &str) -> Expr {
    path(place).cast(Type::Bit(32))
}

fn is(place: &str, op: Binary, value: Expr) -> Expr {
    path(place).binary(op, value)
}

/// Whether a packet came in by the wire, and not from the control plane: the source of what that sends is no address,
/// and what it gets back goes nowhere else.
fn from_wire() -> Expr {
    is("meta.came_by", Binary::Ne, cpu_port())
}

/// `pkt.port` out of where the request came by; `pkt.dst_port` is 0 too where no port brought it.
pub(super) fn came_by_port() -> Vec<Stmt> {
    vec![
        set("port", path("meta.came_by")),
        Stmt::If(
            from_wire(),
            Vec::new(),
            vec![
                Stmt::Comment("No port brought it.".to_owned()),
                set("port", Expr::bits(16, 0)),
                assign("hdr.udp.dst", Expr::bits(16, 0)),
            ],
        ),
    ]
}

/// The rules, one after the other; then what is done with a request.
/// `streams`: some workloads are streams, whose packets are answered one by one.
pub(super) fn rules(request: Vec<Stmt>, streams: bool) -> Stmt {
    let pass = |rule: Wire| vec![outcome::broken(rule)];
    let drop = |rule: Wire| vec![set("verdict", Expr::name(verdict::DROP)), outcome::broken(rule)];
    let honest = |cond: Expr| from_wire().binary(Binary::AndAnd, cond);
    let not = |place: &str| path(place).method("isValid", Vec::new()).negated();
    let hit = |table: &str| path(table).method("apply", Vec::new()).member("hit");
    let apart = |a: Expr, b: Expr| a.binary(Binary::Ne, b);
    let frame = long(ETHERNET).binary(Binary::Add, widened("hdr.ipv4.total_length"));
    let datagram = path("hdr.udp.length").binary(Binary::Add, Expr::bits(16, IPV4));
    let room = path("hdr.udp.length").binary(Binary::Sub, Expr::bits(16, UDP + LAMBDA));
    let several = is("hdr.lambda.fragments", Binary::Ne, Expr::bits(16, 1));
    let empty = is("hdr.lambda.length", Binary::Eq, Expr::bits(16, 0));
    let rules: Vec<(&str, Expr, Vec<Stmt>)> = vec![
        (
            "not UDP over IPv4, with options, or a fragment",
            not("hdr.udp"),
            Vec::new(),
        ),
        ("not to us", hit("listen").negated(), Vec::new()),
        (
            "a frame that ends before its packet",
            is("std.packet_length", Binary::Lt, frame),
            pass(Wire::Truncated),
        ),
        (
            "lengths that disagree",
            apart(path("hdr.ipv4.total_length"), datagram),
            pass(Wire::Length),
        ),
        (
            "a wrong checksum of the header",
            is("std.checksum_error", Binary::Eq, Expr::bits(1, 1)),
            pass(Wire::IpChecksum),
        ),
        (
            "a source that is ourselves",
            honest(path("hdr.ipv4.src").binary(Binary::Eq, path("hdr.ipv4.dst"))),
            drop(Wire::Source),
        ),
        (
            "a source that is our network's broadcast address",
            honest(path("hdr.ipv4.src").binary(Binary::Eq, path("meta.broadcast"))),
            drop(Wire::Source),
        ),
        (
            "a source that no honest packet has",
            honest(hit("martians")),
            drop(Wire::Source),
        ),
        ("too short for the header", not("hdr.lambda"), drop(Wire::Short)),
        (
            "wrong magic",
            is("hdr.lambda.magic", Binary::Ne, Expr::name("MAGIC")),
            drop(Wire::Magic),
        ),
        (
            "wrong version",
            is("hdr.lambda.version", Binary::Ne, Expr::name("VERSION")),
            drop(Wire::Version),
        ),
        (
            "wrong kind",
            is("hdr.lambda.kind", Binary::Ne, Expr::name("REQUEST")),
            drop(Wire::Kind),
        ),
        (
            "an unknown flag",
            is("hdr.lambda.flags", Binary::Ne, Expr::bits(8, 0)),
            drop(Wire::Flag),
        ),
        (
            "no fragments",
            is("hdr.lambda.fragments", Binary::Eq, Expr::bits(16, 0)),
            drop(Wire::NoFragments),
        ),
        (
            "a fragment past the last",
            path("hdr.lambda.fragment").binary(Binary::Ge, path("hdr.lambda.fragments")),
            drop(Wire::FragmentIndex),
        ),
        (
            "a length beyond the datagram",
            is("hdr.lambda.length", Binary::Gt, room),
            drop(Wire::LengthBeyondDatagram),
        ),
        (
            "a length beyond a packet",
            is("hdr.lambda.length", Binary::Gt, Expr::name("MAX_PAYLOAD")),
            drop(Wire::LengthOverFragment),
        ),
        (
            "an empty fragment of several",
            several.clone().binary(Binary::AndAnd, empty),
            drop(Wire::EmptyFragment),
        ),
    ];
    let mut rest = whole(request, several, streams);
    for (what, cond, mut then) in rules.into_iter().rev() {
        then.insert(0, Stmt::Comment(what.to_owned()));
        rest = vec![Stmt::If(cond, then, rest)];
    }
    rest.pop().unwrap_or(Stmt::Break)
}

/// What is done with a well-formed packet: requests of several packets are the host's, but for streams, whose packets
/// have a length that the workload says.
fn whole(mut request: Vec<Stmt>, several: Expr, streams: bool) -> Vec<Stmt> {
    request.insert(0, outcome::taken());
    let on_host = || {
        vec![
            Stmt::Comment("a message of several packets".to_owned()),
            outcome::taken(),
            set("reason", Expr::name(reason::ON_HOST)),
        ]
    };
    if !streams {
        return vec![Stmt::If(several, on_host(), request)];
    }
    let drop = |why: &str, rule: Wire| {
        vec![
            Stmt::Comment(why.to_owned()),
            set("verdict", Expr::name(verdict::DROP)),
            outcome::broken(rule),
        ]
    };
    let over = path("hdr.lambda.length").binary(Binary::Gt, path("meta.fragment"));
    let next = is("hdr.lambda.fragment", Binary::Add, Expr::bits(16, 1));
    let middle = next.binary(Binary::Lt, path("hdr.lambda.fragments"));
    let short = path("hdr.lambda.length").binary(Binary::Lt, path("meta.fragment"));
    let hit = path("streams").method("apply", Vec::new()).member("hit");
    let flag = Stmt::Var(Type::Bool, "stream".to_owned(), Some(hit));
    let is_stream = || Expr::name("stream");
    vec![
        flag,
        Stmt::If(
            is_stream().binary(Binary::AndAnd, over),
            drop("a length beyond the workload's", Wire::LengthOverFragment),
            vec![Stmt::If(
                is_stream()
                    .binary(Binary::AndAnd, middle)
                    .binary(Binary::AndAnd, short),
                drop("a short fragment before the last", Wire::ShortMiddle),
                vec![Stmt::If(
                    is_stream().negated().binary(Binary::AndAnd, several),
                    on_host(),
                    request,
                )],
            )],
        ),
    ]
}

/// What becomes of the packet in the end.
/// `waits`: some lambdas wait for services, whose packets are not counted as ends of requests.
pub(super) fn ends(waits: bool) -> Vec<Stmt> {
    let on = |name: &str| is("meta.verdict", Binary::Eq, Expr::name(name));
    let call = |action: &str| Stmt::Call(path(action).call(Vec::new()));
    let trusted = path("trusted").method("apply", Vec::new()).member("hit");
    let large = on(verdict::REPLY)
        .binary(Binary::AndAnd, from_wire())
        .binary(Binary::AndAnd, too_large());
    let gone = || vec![Stmt::Call(path("mark_to_drop").call(vec![path("std")]))];
    let drop = Stmt::If(
        from_wire(),
        gone(),
        vec![
            Stmt::Comment("The control plane waits for what becomes of what it sends.".to_owned()),
            set("reason", Expr::name(reason::DROPPED)),
            call("to_host"),
        ],
    );
    let ended = vec![
        call(outcome::COUNT),
        Stmt::If(
            on(verdict::REPLY),
            vec![call("answer")],
            vec![Stmt::If(on(verdict::DROP), vec![drop], vec![call("to_host")])],
        ),
    ];
    let mut stmts = vec![
        Stmt::Comment(
            "No reflector: at most three times the request, but to those who are trusted.".to_owned(),
        ),
        Stmt::If(
            large,
            vec![Stmt::If(trusted.negated(), fail(status::TOO_LARGE), Vec::new())],
            Vec::new(),
        ),
    ];
    match waits {
        true => stmts.extend([
            Stmt::Comment("The packet that ends a wait may be too short for the reply.".to_owned()),
            Stmt::If(
                on(verdict::REPLY).binary(Binary::AndAnd, room::is_short_of_reply()),
                fail(status::TOO_LARGE),
                Vec::new(),
            ),
            Stmt::If(
                on(verdict::ASK),
                vec![call("ask")],
                vec![Stmt::If(on(verdict::STALE), gone(), ended)],
            ),
        ]),
        false => stmts.extend(ended),
    }
    stmts
}

fn too_large() -> Expr {
    let request = widened("hdr.udp.length").binary(Binary::Sub, long(UDP));
    let most = request.binary(Binary::Mul, long(AMPLIFICATION));
    widened("meta.reply_length")
        .binary(Binary::Add, long(LAMBDA))
        .binary(Binary::Gt, most)
}

/// The reply's headers and payload, in place of the request's.
pub(super) fn answer() -> Action {
    let swapped = |a: &str, b: &str, width: u32| {
        vec![
            Stmt::Var(
                Type::Bit(width),
                format!("{}_before", a.replace('.', "_")),
                Some(path(a)),
            ),
            assign(a, path(b)),
            assign(b, Expr::name(format!("{}_before", a.replace('.', "_")))),
        ]
    };
    let mut body = swapped("hdr.ethernet.dst", "hdr.ethernet.src", 48);
    body.extend(swapped("hdr.ipv4.dst", "hdr.ipv4.src", 32));
    body.extend(swapped("hdr.udp.dst", "hdr.udp.src", 16));
    let length = |more: u64| path("meta.reply_length").binary(Binary::Add, Expr::bits(16, more));
    body.extend([
        assign("hdr.udp.length", length(UDP + LAMBDA)),
        assign("hdr.lambda.kind", Expr::name("REPLIED_KIND")),
        assign("hdr.lambda.length", path("meta.reply_length")),
        assign("hdr.lambda.status", path("meta.status")),
        Stmt::If(
            is("meta.status", Binary::Ne, Expr::bits(8, 0)),
            vec![
                assign("hdr.lambda.fragment", Expr::bits(16, 0)),
                assign("hdr.lambda.fragments", Expr::bits(16, 1)),
            ],
            Vec::new(),
        ),
    ]);
    body.extend(fresh_headers(length(IPV4 + UDP + LAMBDA)));
    body.push(Stmt::Call(path("send_payload").call(Vec::new())));
    let sent = widened("meta.reply_length").binary(Binary::Add, long(ETHERNET + IPV4 + UDP + LAMBDA));
    body.extend([
        Stmt::Comment("What the parser left of the request goes.".to_owned()),
        Stmt::Var(Type::Bit(32), "frame".to_owned(), Some(sent)),
        Stmt::If(
            is("meta.came_by", Binary::Eq, cpu_port()),
            vec![
                set("reason", Expr::name(reason::REPLIED)),
                Stmt::Call(path("hdr.packet_in.setValid").call(Vec::new())),
                assign("hdr.packet_in.port", path("meta.came_by")),
                assign("hdr.packet_in.reason", path("meta.reason")),
                assign("hdr.packet_in.workload", Expr::bits(16, 0)),
                assign("hdr.packet_in.lambda", Expr::bits(16, 0)),
                assign("frame", Expr::name("frame").binary(Binary::Add, long(PACKET_IN))),
            ],
            Vec::new(),
        ),
        Stmt::Call(path("truncate").call(vec![Expr::name("frame")])),
        assign("std.egress_spec", path("meta.came_by").cast(Type::Bit(9))),
    ]);
    action("answer", body)
}

/// The port of the control plane, as `meta.came_by` has it.
fn cpu_port() -> Expr {
    Expr::name("CPU_PORT").cast(Type::Bit(16))
}

/// Fields of IPv4's and UDP's headers that are the same in all that is sent.
pub(super) fn fresh_headers(total_length: Expr) -> Vec<Stmt> {
    vec![
        assign("hdr.ipv4.tos", Expr::bits(8, 0)),
        assign("hdr.ipv4.total_length", total_length),
        assign("hdr.ipv4.identification", Expr::bits(16, 0)),
        Stmt::Comment("Don't fragment.".to_owned()),
        assign("hdr.ipv4.flags", Expr::bits(2, 1)),
        assign("hdr.ipv4.ttl", Expr::bits(8, TTL)),
        Stmt::Comment("RFC 768: 0 means \"no checksum\".".to_owned()),
        assign("hdr.udp.checksum", Expr::bits(16, 0)),
    ]
}

/// What puts the reply's words into the packet.
pub(super) fn send_payload() -> Action {
    action("send_payload", payload())
}

fn action(name: &str, body: Vec<Stmt>) -> Action {
    Action {
        name: name.to_owned(),
        params: Vec::new(),
        body,
    }
}

fn valid(header: Expr, yes: bool) -> Stmt {
    let method = if yes { "setValid" } else { "setInvalid" };
    Stmt::Call(header.method(method, Vec::new()))
}

/// The payload out of the reply's words.
fn payload() -> Vec<Stmt> {
    let mut stmts = Vec::new();
    for index in 0..PAYLOAD_WORDS {
        let header = path("hdr.payload").index(index.into());
        let needed = u64::from((index + 1) * WORD_BYTES);
        stmts.push(Stmt::If(
            is("meta.reply_length", Binary::Ge, Expr::bits(16, needed)),
            vec![
                valid(header.clone(), true),
                unit::read(REPLY, header.clone().member("bytes"), long(index.into())),
            ],
            vec![valid(header, false)],
        ));
    }
    let last = is("meta.reply_length", Binary::Shr, Expr::Number(5)).cast(Type::Bit(32));
    stmts.push(Stmt::Var(
        Type::Bit(WORD),
        "rest".to_owned(),
        Some(Expr::bits(WORD, 0)),
    ));
    stmts.push(unit::read(REPLY, Expr::name("rest"), last));
    for bytes in TAILS {
        let header = path(&format!("hdr.tail_{bytes}"));
        let bit = bytes.trailing_zeros();
        let rest = Expr::name("rest");
        stmts.push(Stmt::If(
            path("meta.reply_length")
                .slice(bit, bit)
                .binary(Binary::Eq, Expr::bits(1, 1)),
            vec![
                valid(header.clone(), true),
                Stmt::Assign(
                    header.clone().member("bytes"),
                    rest.clone().slice(WORD - 1, WORD - bytes * 8),
                ),
                Stmt::Assign(
                    rest.clone(),
                    rest.binary(Binary::Shl, Expr::Number((bytes * 8).into())),
                ),
            ],
            vec![valid(header, false)],
        ));
    }
    stmts
}

/// The request's payload into its words.
pub(super) fn take_request() -> Vec<Stmt> {
    take(lambda::REQUEST, &path("hdr.lambda.length"))
}

/// A payload of a length into the words of a register.
pub(super) fn take(to: &str, length: &Expr) -> Vec<Stmt> {
    let mut stmts = Vec::new();
    for index in 0..PAYLOAD_WORDS {
        let header = path("hdr.payload").index(index.into());
        let write = unit::write(to, long(index.into()), header.clone().member("bytes"));
        stmts.push(Stmt::If(
            header.method("isValid", Vec::new()),
            vec![write],
            Vec::new(),
        ));
    }
    stmts.push(Stmt::Var(
        Type::Bit(WORD),
        "tail".to_owned(),
        Some(Expr::bits(WORD, 0)),
    ));
    stmts.push(Stmt::Var(
        Type::Bit(8),
        "above".to_owned(),
        Some(Expr::bits(8, 0)),
    ));
    for bytes in TAILS {
        let header = path(&format!("hdr.tail_{bytes}"));
        let bits = bytes * 8;
        // First at the top of the word, then below what is there.
        let top = header
            .clone()
            .member("bytes")
            .binary(Binary::Concat, Expr::Bits(Bits::new(WORD - bits, &[])));
        let placed = top.binary(Binary::Shr, Expr::name("above"));
        stmts.push(Stmt::If(
            header.method("isValid", Vec::new()),
            vec![
                assign("tail", Expr::name("tail").binary(Binary::Or, placed)),
                assign(
                    "above",
                    Expr::name("above").binary(Binary::Add, Expr::bits(8, bits.into())),
                ),
            ],
            Vec::new(),
        ));
    }
    let last = length
        .clone()
        .binary(Binary::Shr, Expr::Number(5))
        .cast(Type::Bit(32));
    // An index out of range ends the switch.
    let room = last.clone().binary(Binary::Le, long(PAYLOAD_WORDS.into()));
    let write = unit::write(to, last, Expr::name("tail"));
    stmts.push(Stmt::If(room, vec![write], Vec::new()));
    stmts
}

/// Hands the packet to the host as it came.
pub(super) fn to_host() -> Action {
    action(
        "to_host",
        vec![
            valid(path("hdr.packet_in"), true),
            assign("hdr.packet_in.port", path("meta.came_by")),
            assign("hdr.packet_in.reason", path("meta.reason")),
            assign("hdr.packet_in.workload", path("meta.workload")),
            assign("hdr.packet_in.lambda", path("meta.lambda")),
            assign("std.egress_spec", Expr::name("CPU_PORT")),
        ],
    )
}

/// Where the switch is for its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub address: u32,
    /// The UDP port.
    pub port: u16,
    /// The broadcast address of its network.
    pub broadcast: u32,
}

/// The action that an entry of `listen` has.
pub(super) fn here() -> Action {
    Action {
        name: "here".to_owned(),
        params: vec![Param::new(Direction::None, Type::Bit(32), "broadcast")],
        body: vec![set("broadcast", Expr::name("broadcast"))],
    }
}

fn key(expr: &str, name: &str, width: u32, kind: MatchKind) -> Key {
    Key {
        expr: path(expr),
        kind,
        name: name.to_owned(),
        width,
    }
}

/// Entries that the control plane adds, with the table's name: where the switch is, and whom it trusts (addresses with
/// the lengths of their prefixes).
pub fn places(listen: &Listen, trusted: &[(u32, u32)]) -> Vec<(String, Entry)> {
    let listen = ("listen".to_owned(), listen_entry(listen));
    let trusted = prefixes(trusted)
        .into_iter()
        .map(|entry| (TRUSTED.to_owned(), entry));
    iter::once(listen).chain(trusted).collect()
}

/// An entry of `listen`.
pub(crate) fn listen_entry(listen: &Listen) -> Entry {
    Entry {
        keys: vec![
            Expr::Bits(Bits::new(48, &listen.mac)),
            long(listen.address.into()),
            Expr::bits(16, listen.port.into()),
        ],
        action: "here".to_owned(),
        args: vec![long(listen.broadcast.into())],
    }
}

/// The table of addresses that are ours.
pub(super) fn listen(entries: Vec<Entry>) -> Table {
    Table {
        name: "listen".to_owned(),
        keys: vec![
            key("hdr.ethernet.dst", "mac", 48, MatchKind::Exact),
            key("hdr.ipv4.dst", "address", 32, MatchKind::Exact),
            key("hdr.udp.dst", "port", 16, MatchKind::Exact),
        ],
        actions: vec!["here".to_owned(), "NoAction".to_owned()],
        default: ("NoAction".to_owned(), Vec::new()),
        const_default: true,
        size: entries.is_empty().then_some(16),
        entries,
    }
}

/// Entries for prefixes.
pub(crate) fn prefixes(prefixes: &[(u32, u32)]) -> Vec<Entry> {
    let entry = |(address, len): &(u32, u32)| {
        let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        Entry {
            keys: vec![Expr::Masked(
                Box::new(long((*address).into())),
                Box::new(long(mask.into())),
            )],
            action: "NoAction".to_owned(),
            args: Vec::new(),
        }
    };
    prefixes.iter().map(entry).collect()
}

fn sources(name: &str, entries: Vec<Entry>) -> Table {
    Table {
        name: name.to_owned(),
        keys: vec![key("hdr.ipv4.src", "source", 32, MatchKind::Lpm)],
        actions: vec!["NoAction".to_owned()],
        default: ("NoAction".to_owned(), Vec::new()),
        const_default: true,
        size: entries.is_empty().then_some(TRUSTED_ENTRIES),
        entries,
    }
}

/// The table of sources that are dropped.
pub(super) fn martians() -> Table {
    sources("martians", prefixes(&MARTIANS))
}

/// The table of sources that are trusted.
pub(super) fn trusted(entries: Vec<Entry>) -> Table {
    sources(TRUSTED, entries)
}
