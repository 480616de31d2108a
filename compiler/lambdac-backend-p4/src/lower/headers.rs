//! Headers, metadata and constants of a program.

use lambdac_image::Image;

use super::lambda::{MAX_PAYLOAD, reason, verdict};
use super::memory::WORD;
use super::program::{CPU_PORT, INJECT, Options};
use super::unit::{ParamDatum, Unit};
use super::wire::{PAYLOAD_WORDS, TAILS};
use crate::ast::{Expr, Field, Item, Type};

pub(super) fn bit(width: u32) -> Type {
    Type::Bit(width)
}

fn header(name: &str, fields: &[(u32, &str)]) -> Item {
    Item::Header {
        controller: None,
        name: name.to_owned(),
        fields: fields
            .iter()
            .map(|(width, name)| (bit(*width), (*name).to_owned()))
            .collect(),
    }
}

fn controller(name: &str, fields: &[(u32, &str)]) -> Item {
    let item = header(&format!("{name}_t"), fields);
    match item {
        Item::Header { name: ty, fields, .. } => Item::Header {
            controller: Some(name.to_owned()),
            name: ty,
            fields,
        },
        other => other,
    }
}

fn constant(width: u32, name: &str, value: u64) -> Item {
    Item::Const(bit(width), name.to_owned(), Expr::bits(width, value))
}

pub(super) fn head(image: &Image, options: &Options, params: &[ParamDatum], waits: bool) -> Vec<Item> {
    let mut about = vec![
        "Lambdas on the P4 reference switch, made by lambdac.".to_owned(),
        String::new(),
    ];
    for (index, entry) in image.entries.iter().enumerate() {
        let where_ = match &entry.on_host {
            Some(_) => " (on the host)",
            None => "",
        };
        let lambda = &image.module.lambdas[entry.lambda.index()];
        about.push(format!(
            "{}: {} -> {}{where_}",
            image.entry_name(index),
            lambda.request_type,
            lambda.reply_type
        ));
    }
    let mut items = vec![
        Item::Comment(about.iter().map(|line| line.replace("*/", "* /")).collect()),
        Item::Include("core.p4".to_owned()),
        Item::Include("v1model.p4".to_owned()),
        constant(9, "CPU_PORT", CPU_PORT.into()),
        constant(16, "INJECT", INJECT.into()),
        constant(16, "IPV4", 0x0800),
        constant(8, "UDP", 17),
        constant(16, "MAGIC", 0xcebb),
        constant(8, "VERSION", 1),
        constant(8, "REQUEST", 0),
        constant(8, "REPLIED_KIND", 1),
        constant(16, "MAX_PAYLOAD", MAX_PAYLOAD.into()),
        Item::Comment(vec!["What becomes of a packet.".to_owned()]),
    ];
    let numbered = |names: &[&'static str]| -> Vec<Item> {
        let names = names.iter().zip(0..);
        names.map(|(name, number)| constant(8, name, number)).collect()
    };
    items.extend(numbered(&verdict::ALL));
    items.push(Item::Comment(vec!["Why a packet goes to the host.".to_owned()]));
    items.extend(
        reason::ALL
            .iter()
            .zip(0..)
            .map(|(name, number)| constant(16, name, number)),
    );
    items.extend(headers(options, params, waits));
    items
}

fn headers(options: &Options, params: &[ParamDatum], waits: bool) -> Vec<Item> {
    let mut items = vec![
        controller(
            "packet_in",
            &[(16, "port"), (16, "reason"), (16, "workload"), (16, "lambda")],
        ),
        controller("packet_out", &[(16, "port")]),
        header("ethernet_t", &[(48, "dst"), (48, "src"), (16, "ether_type")]),
        header(
            "ipv4_t",
            &[
                (4, "version"),
                (4, "header_words"),
                (8, "tos"),
                (16, "total_length"),
                (16, "identification"),
                (2, "flags"),
                (1, "more_fragments"),
                (13, "fragment"),
                (8, "ttl"),
                (8, "protocol"),
                (16, "checksum"),
                (32, "src"),
                (32, "dst"),
            ],
        ),
        header(
            "udp_t",
            &[(16, "src"), (16, "dst"), (16, "length"), (16, "checksum")],
        ),
        header(
            "lambda_t",
            &[
                (16, "magic"),
                (8, "version"),
                (8, "kind"),
                (32, "workload"),
                (64, "request"),
                (16, "fragment"),
                (16, "fragments"),
                (16, "length"),
                (8, "status"),
                (8, "flags"),
            ],
        ),
    ];
    if waits {
        items.push(header(
            "service_t",
            &[(16, "id"), (16, "sequence"), (16, "total"), (16, "reserved")],
        ));
    }
    if options.test {
        items.push(test_header(params));
    }
    items.push(header("word_t", &[(WORD, "bytes")]));
    for bytes in TAILS {
        items.push(header(&format!("tail_{bytes}_t"), &[(bytes * 8, "bytes")]));
    }
    let mut names: Vec<Field> = ["packet_in", "packet_out", "ethernet", "ipv4", "udp", "lambda"]
        .iter()
        .map(|name| (Type::named(format!("{name}_t")), (*name).to_owned()))
        .collect();
    if waits {
        names.push((Type::named("service_t"), "service".to_owned()));
    }
    if options.test {
        names.push((Type::named("test_t"), "test".to_owned()));
    }
    names.push((
        Type::Stack("word_t".to_owned(), PAYLOAD_WORDS),
        "payload".to_owned(),
    ));
    for bytes in TAILS {
        names.push((Type::named(format!("tail_{bytes}_t")), format!("tail_{bytes}")));
    }
    items.push(Item::Struct {
        name: "headers_t".to_owned(),
        fields: names,
    });
    items
}

/// Width of a parameter's data in a test's header: whole bytes.
pub(super) fn padded(width: u32) -> u32 {
    width.next_multiple_of(8)
}

fn test_header(params: &[ParamDatum]) -> Item {
    let fixed = [
        (16, "entry"),
        (32, "src_ip"),
        (16, "src_port"),
        (16, "dst_port"),
        (16, "port"),
        (64, "now"),
        (8, "fixed"),
        (32, "random"),
        (8, "seeded"),
        (64, "seed"),
    ];
    let mut fields: Vec<Field> = fixed
        .iter()
        .map(|(width, name)| (bit(*width), (*name).to_owned()))
        .collect();
    fields.extend(
        params
            .iter()
            .map(|datum| (bit(padded(datum.width)), datum.name.clone())),
    );
    Item::Header {
        controller: None,
        name: "test_t".to_owned(),
        fields,
    }
}

pub(super) fn metadata(unit: &Unit<'_>) -> Item {
    let fixed = [
        (8, "verdict"),
        (8, "status"),
        (16, "reason"),
        (8, "cause"),
        (16, "node"),
        (16, "entry"),
        (16, "workload"),
        (16, "lambda"),
        (16, "left"),
        (16, "came_by"),
        (16, "fragment"),
        (16, "port"),
        (16, "rule"),
        (1, "taken"),
        (32, "length"),
        (16, "reply_length"),
        (32, "broadcast"),
        (64, "now"),
        (1, "ready"),
    ];
    let mut fields: Vec<Field> = fixed
        .iter()
        .map(|(width, name)| (bit(*width), (*name).to_owned()))
        .collect();
    fields.extend(unit.meta.iter().cloned());
    Item::Struct {
        name: "metadata_t".to_owned(),
        fields,
    }
}
