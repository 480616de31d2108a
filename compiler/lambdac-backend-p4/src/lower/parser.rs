//! The parser.
//!
//! The payload is parsed in words of 32 bytes and at most one piece each of 16, 8, 4, 2 and 1 bytes, which is any length
//! in few headers.

use super::memory::WORD_BYTES;
use super::program::{Options, standard};
use super::wait::{EXPIRE, FIRST_PORT};
use super::wire::TAILS;
use crate::ast::{Binary, Direction, Expr, Param, Parser, State, Stmt, Transition, Type};

fn extract(header: &str) -> Stmt {
    Stmt::Call(Expr::path("packet.extract").call(vec![Expr::path(header)]))
}

fn state(name: &str, body: Vec<Stmt>, next: Transition) -> State {
    State {
        name: name.to_owned(),
        body,
        next,
    }
}

fn to(name: &str) -> Transition {
    Transition::To(name.to_owned())
}

/// A choice with one case beside the default.
fn choice(keys: Vec<Expr>, patterns: Vec<Expr>, then: &str, default: &str) -> Transition {
    Transition::Select(
        keys,
        vec![(patterns, then.to_owned()), (Vec::new(), default.to_owned())],
    )
}

fn below_32() -> Expr {
    Expr::Masked(Box::new(Expr::bits(16, 0)), Box::new(Expr::bits(16, 0xffe0)))
}

pub(super) fn parser(options: &Options, waits: bool) -> Parser {
    let path = Expr::path;
    let after = if options.test { "take_test" } else { "take_payload" };
    let mut states = vec![
        state(
            "start",
            Vec::new(),
            choice(
                vec![path("std.ingress_port")],
                vec![path("CPU_PORT")],
                "take_packet_out",
                "take_ethernet",
            ),
        ),
        state(
            "take_packet_out",
            vec![extract("hdr.packet_out")],
            match waits {
                true => after_packet_out(options),
                false => to("take_ethernet"),
            },
        ),
        state(
            "take_ethernet",
            vec![extract("hdr.ethernet")],
            choice(
                vec![path("hdr.ethernet.ether_type")],
                vec![path("IPV4")],
                "take_ipv4",
                "accept",
            ),
        ),
        state("take_ipv4", vec![extract("hdr.ipv4")], to_udp()),
        state(
            "take_udp",
            vec![extract("hdr.udp")],
            match waits {
                true => after_udp(),
                false => choice(
                    vec![path("hdr.udp.length")],
                    vec![below_32()],
                    "accept",
                    "take_lambda",
                ),
            },
        ),
        state(
            "take_lambda",
            vec![
                extract("hdr.lambda"),
                Stmt::Assign(path("meta.left"), path("hdr.lambda.length")),
            ],
            choice(
                vec![
                    path("hdr.lambda.magic"),
                    path("hdr.lambda.version"),
                    path("hdr.lambda.kind"),
                ],
                vec![path("MAGIC"), path("VERSION"), path("REQUEST")],
                after,
                "accept",
            ),
        ),
    ];
    if waits {
        let left = path("hdr.udp.length").binary(Binary::Sub, Expr::bits(16, 16));
        let body = vec![extract("hdr.service"), Stmt::Assign(path("meta.left"), left)];
        states.push(state("take_service", body, to(after)));
    }
    if options.test {
        states.push(state("take_test", vec![extract("hdr.test")], to("take_payload")));
    }
    states.extend(payload_states());
    Parser {
        name: "Parse".to_owned(),
        params: vec![
            Param::new(Direction::None, Type::named("packet_in"), "packet"),
            Param::new(Direction::Out, Type::named("headers_t"), "hdr"),
            Param::new(Direction::InOut, Type::named("metadata_t"), "meta"),
            standard(),
        ],
        states,
    }
}

fn to_udp() -> Transition {
    let keys = [
        "version",
        "header_words",
        "more_fragments",
        "fragment",
        "protocol",
    ];
    let keys = keys
        .iter()
        .map(|name| Expr::path("hdr.ipv4").member(*name))
        .collect();
    let patterns = vec![
        Expr::bits(4, 4),
        Expr::bits(4, 5),
        Expr::bits(1, 0),
        Expr::bits(13, 0),
        Expr::path("UDP"),
    ];
    choice(keys, patterns, "take_udp", "accept")
}

/// A packet of the control plane: one that says that a wait's time is up holds nothing else, but for facts of a test.
fn after_packet_out(options: &Options) -> Transition {
    let expiry = Expr::Masked(
        Box::new(Expr::bits(16, EXPIRE.into())),
        Box::new(Expr::bits(16, 0xff00)),
    );
    let then = if options.test { "take_test" } else { "accept" };
    choice(
        vec![Expr::path("hdr.packet_out.port")],
        vec![expiry],
        then,
        "take_ethernet",
    )
}

/// A datagram: an answer of a service by its port, else a request by its length.
fn after_udp() -> Transition {
    let masked =
        |value: u64, mask: u64| Expr::Masked(Box::new(Expr::bits(16, value)), Box::new(Expr::bits(16, mask)));
    Transition::Select(
        vec![Expr::path("hdr.udp.dst"), Expr::path("hdr.udp.length")],
        vec![
            (vec![Expr::Any, masked(0, 0xfff0)], "accept".to_owned()),
            (
                vec![masked(FIRST_PORT.into(), FIRST_PORT.into()), Expr::Any],
                "take_service".to_owned(),
            ),
            (vec![Expr::Any, below_32()], "accept".to_owned()),
            (Vec::new(), "take_lambda".to_owned()),
        ],
    )
}

/// Words while there are so many bytes, then what is left by the bits of its length.
fn payload_states() -> Vec<State> {
    let left = Expr::path("meta.left");
    let tail = |index: usize| match TAILS.get(index) {
        Some(bytes) => format!("see_tail_{bytes}"),
        None => "accept".to_owned(),
    };
    let less = left
        .clone()
        .binary(Binary::Sub, Expr::bits(16, WORD_BYTES.into()));
    let mut states = vec![
        state(
            "take_payload",
            Vec::new(),
            choice(vec![left.clone()], vec![below_32()], &tail(0), "take_word"),
        ),
        state(
            "take_word",
            vec![extract("hdr.payload.next"), Stmt::Assign(left.clone(), less)],
            to("take_payload"),
        ),
    ];
    for (index, bytes) in TAILS.iter().enumerate() {
        let at = bytes.trailing_zeros();
        let (here, next) = (format!("take_tail_{bytes}"), tail(index + 1));
        let there = left.clone().slice(at, at);
        states.push(state(
            &tail(index),
            Vec::new(),
            choice(vec![there], vec![Expr::bits(1, 1)], &here, &next),
        ));
        states.push(state(
            &here,
            vec![extract(&format!("hdr.tail_{bytes}"))],
            to(&next),
        ));
    }
    states
}
