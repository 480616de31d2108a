//! Headers, parser and deparser, and the file that they stand in.

use lambdac_image::Image;
use lambdac_mir::Term;

use super::config::{self, Rule};
use super::control;
use crate::ast::{
    Binary, Control, Direction, Expr, Field, Item, Param, Parser, Program, State, Stmt, Transition, Type,
};

/// The function of the plugin that P4 calls; in C it is `pif_plugin_lnic_lambdas`.
pub const EXTERN: &str = "lnic_lambdas";
/// The first physical port and the first virtual function, by the names that the tools know.
pub const WIRE_PORT: &str = "p0";
/// The host's side of the card.
pub const HOST_PORT: &str = "v0.0";
/// Bytes of the headers that a reply may have before the payload that came: `lnic_plugin.h` fills them, in this order.
pub const GROWTH: [u32; 5] = [4, 8, 16, 32, 64];

/// What today's v1model.p4 defines, and that of the card's tools doesn't.
const TODAY: &str = "V1MODEL_VERSION";
/// The list of what a recirculated packet keeps.
const KEPT: u32 = 1;

/// What changes a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The UDP port that requests come to: the parser looks at it, so that it is fixed in the image.
    pub port: u16,
}

/// A workload that the card answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its name.
    pub name: String,
    /// Its id on the wire.
    pub id: u32,
}

/// A program, and what the tools are told beside it.
#[derive(Clone, Debug)]
pub struct Output {
    /// The program.
    pub program: Program,
    /// The workloads that some lambda of the card's answers for; their numbers count requests.
    pub workloads: Vec<Resident>,
    /// Entries of tables.
    pub rules: Vec<Rule>,
}

/// Makes the program around an image's plugin. Entries whose `on_host` says so are the host's.
pub fn program(image: &Image, options: Options) -> Output {
    let workloads = residents(image);
    let waits = waits(image);
    let mut items = head(image);
    items.push(constant("LAMBDA_PORT", 16, options.port.into()));
    items.extend(constants());
    items.extend(headers());
    items.push(metadata());
    items.push(Item::Parser(parser()));
    items.push(Item::Control(control("VerifySums", false, Vec::new())));
    items.push(Item::Control(control::ingress(&workloads, waits)));
    items.push(Item::Comment(vec![
        "A packet that its reply does not fit in comes again, longer; the port that it came in by goes with it.".to_owned(),
    ]));
    items.push(egress());
    items.push(Item::Control(control("ComputeSums", false, Vec::new())));
    items.push(Item::Control(deparser()));
    let parts = [
        "Parse",
        "VerifySums",
        control::INGRESS,
        "LambdaEgress",
        "ComputeSums",
        "Deparse",
    ];
    items.push(Item::Package {
        ty: "V1Switch".to_owned(),
        parts: parts.map(str::to_owned).to_vec(),
        name: "main".to_owned(),
    });
    Output {
        program: Program { items },
        rules: config::rules(&workloads),
        workloads,
    }
}

fn residents(image: &Image) -> Vec<Resident> {
    let workloads = image.workloads.iter().enumerate();
    let native = workloads.filter(|(index, _)| {
        let mut entries = image.entries[image.entries_of(*index)].iter();
        entries.any(|entry| entry.on_host.is_none())
    });
    let resident = |(_, workload): (usize, &lambdac_image::Workload)| Resident {
        name: workload.name.to_string(),
        id: workload.id,
    };
    native.map(resident).collect()
}

/// Whether a lambda of the card's waits for a service.
fn waits(image: &Image) -> bool {
    let mut found = false;
    for entry in image.entries.iter().filter(|entry| entry.on_host.is_none()) {
        for part in &image.module.lambdas[entry.lambda.index()].parts {
            part.region
                .walk_regions(&mut |region| found |= matches!(region.term, Term::Await { .. }));
        }
    }
    found
}

/// What a reader must know, and what was not tried.
const ABOUT: [&str; 20] = [
    "The NFP's side of lambdas, made by lambdac; changes are lost.",
    "",
    "Assumed, as the tools of the card were not at hand and no public document says it for sure:",
    " 1. v1model.p4 of the card's tools is older than V1MODEL_VERSION, and has ports of 16 bits.",
    " 2. A packet whose egress_spec is 0xffff is dropped.",
    " 3. A select takes several keys, and masks.",
    " 4. standard_metadata.packet_length has 32 bits and counts the frame from its Ethernet header on.",
    " 5. A packet that ends within a header goes to no plugin.",
    " 6. After the extern returned to forward, the control goes on, and sees what it wrote to the headers.",
    " 7. The counters exist (CounterType.packets), and an action may count.",
    " 8. recirculate keeps the metadata that it is given; the packet then has instance_type 3.",
    " 9. User metadata is `scalars__metadata__NAME` to the plugin.",
    "",
    "No field crosses a word of 32 bits: then the plugin's names for them are the same in all versions.",
    "Metadata is not zeroed there: each field is set before it is read.",
    "Entries of tables are in image.p4cfg; `listen` is empty until the worker is known (README.md).",
    "p4c takes this file with --emit-externs, as it knows no extern function but v1model's own.",
    "Not run on hardware.",
    "",
    "Lambdas:",
];

fn head(image: &Image) -> Vec<Item> {
    let mut about: Vec<String> = ABOUT.map(str::to_owned).to_vec();
    for (index, entry) in image.entries.iter().enumerate() {
        let lambda = &image.module.lambdas[entry.lambda.index()];
        let place = if entry.on_host.is_some() {
            " (on the host)"
        } else {
            ""
        };
        let name = image.entry_name(index);
        about.push(format!(
            " {name}: {} -> {}{place}",
            lambda.request_type, lambda.reply_type
        ));
    }
    let port = |bits: u32, recirculated: u64| {
        vec![
            Item::Typedef(Type::Bit(bits), "port_t".to_owned()),
            constant("NOWHERE", bits, (1 << bits) - 1),
            constant("RECIRCULATED", 32, recirculated),
        ]
    };
    vec![
        Item::Comment(about.iter().map(|line| line.replace("*/", "* /")).collect()),
        Item::Include("core.p4".to_owned()),
        Item::Include("v1model.p4".to_owned()),
        Item::Comment(vec![
            "Ports, and kinds of packets, of p4c's switch and of the card.".to_owned(),
        ]),
        Item::IfDefined(TODAY.to_owned(), port(9, 4), port(16, 3)),
        Item::Comment(vec!["The plugin: lambdas.c.".to_owned()]),
        Item::Extern(EXTERN.to_owned()),
    ]
}

fn constant(name: &str, width: u32, value: u64) -> Item {
    Item::Const(Type::Bit(width), name.to_owned(), Expr::bits(width, value))
}

fn constants() -> Vec<Item> {
    let all = [
        ("IPV4", 16, 0x0800),
        ("NO_OPTIONS", 8, 0x45),
        ("UDP", 8, 17),
        ("MAGIC", 16, 0xcebb),
        ("VERSION", 8, 1),
        ("REQUEST", 8, 0),
    ];
    all.into_iter()
        .map(|(name, width, value)| constant(name, width, value))
        .collect()
}

type Fields<'f> = [(u32, &'f str)];

fn fields(fields: &Fields<'_>) -> Vec<Field> {
    let field = |(width, name): &(u32, &str)| (Type::Bit(*width), (*name).to_owned());
    fields.iter().map(field).collect()
}

/// The plugin reads and writes what begins with `lnic_`.
fn metadata() -> Item {
    let mut fields = fields(&[(8, "ours"), (32, "broadcast"), (32, "sum"), (32, "lnic_again")]);
    fields.push((
        Type::Kept(KEPT, Box::new(Type::Bit(32))),
        "lnic_ingress".to_owned(),
    ));
    Item::Struct {
        name: "metadata".to_owned(),
        fields,
    }
}

/// Recirculates; each v1model in its own words.
fn egress() -> Item {
    let again = |call: Expr| {
        let wanted = Expr::path("meta.lnic_again").binary(Binary::Eq, Expr::bits(32, 1));
        let apply = vec![Stmt::If(wanted, vec![Stmt::Call(call)], Vec::new())];
        vec![Item::Control(control("LambdaEgress", true, apply))]
    };
    let by_list = Expr::name("recirculate_preserving_field_list").call(vec![Expr::bits(8, KEPT.into())]);
    let by_value = Expr::name("recirculate").call(vec![Expr::List(vec![Expr::path("meta.lnic_ingress")])]);
    Item::IfDefined(TODAY.to_owned(), again(by_list), again(by_value))
}

fn header(name: &str, fields: Vec<Field>) -> Item {
    Item::Header {
        controller: None,
        name: format!("{name}_t"),
        fields,
    }
}

/// Names and widths are those that `lnic_plugin.h` reads.
fn headers() -> Vec<Item> {
    let parsed: [(&str, &Fields<'_>); 4] = [
        (
            "ethernet",
            &[
                (32, "dst_hi"),
                (16, "dst_lo"),
                (16, "src_hi"),
                (32, "src_lo"),
                (16, "ether_type"),
            ],
        ),
        (
            "ipv4",
            &[
                (8, "version_ihl"),
                (8, "tos"),
                (16, "len"),
                (16, "id"),
                (16, "fragment"),
                (8, "ttl"),
                (8, "protocol"),
                (16, "sum"),
                (32, "src"),
                (32, "dst"),
            ],
        ),
        ("udp", &[(16, "src"), (16, "dst"), (16, "len"), (16, "sum")]),
        (
            "lambda",
            &[
                (16, "magic"),
                (8, "version"),
                (8, "kind"),
                (32, "workload"),
                (32, "request_hi"),
                (32, "request_lo"),
                (16, "fragment"),
                (16, "fragments"),
                (16, "length"),
                (8, "status"),
                (8, "flags"),
            ],
        ),
    ];
    let mut items: Vec<Item> = parsed
        .iter()
        .map(|(name, list)| header(name, fields(list)))
        .collect();
    let mut names: Vec<String> = parsed.iter().map(|(name, _)| (*name).to_owned()).collect();
    for bytes in GROWTH {
        let words = (0..bytes / 4).map(|word| (Type::Bit(32), format!("w{word}")));
        let name = format!("grow_{bytes}");
        items.push(header(&name, words.collect()));
        names.push(name);
    }
    let instances = names
        .into_iter()
        .map(|name| (Type::named(format!("{name}_t")), name));
    items.push(Item::Struct {
        name: "headers".to_owned(),
        fields: instances.collect(),
    });
    items
}

pub(super) fn params(standard: bool) -> Vec<Param> {
    let mut params = vec![
        Param::new(Direction::InOut, Type::named("headers"), "hdr"),
        Param::new(Direction::InOut, Type::named("metadata"), "meta"),
    ];
    params.extend(standard.then(|| {
        let ty = Type::named("standard_metadata_t");
        Param::new(Direction::InOut, ty, "standard_metadata")
    }));
    params
}

fn control(name: &str, standard: bool, apply: Vec<Stmt>) -> Control {
    Control {
        name: name.to_owned(),
        params: params(standard),
        locals: Vec::new(),
        apply,
    }
}

fn extract(header: &str) -> Vec<Stmt> {
    vec![Stmt::Call(
        Expr::path("packet.extract").call(vec![Expr::path(header)]),
    )]
}

fn state(name: &str, body: Vec<Stmt>, next: Transition) -> State {
    State {
        name: name.to_owned(),
        body,
        next,
    }
}

/// Cases in order; none of them: no more headers.
fn select(keys: &[&str], cases: Vec<(Vec<Expr>, &str)>) -> Transition {
    let mut cases: Vec<(Vec<Expr>, String)> = cases
        .into_iter()
        .map(|(case, to)| (case, to.to_owned()))
        .collect();
    cases.push((Vec::new(), "accept".to_owned()));
    Transition::Select(keys.iter().map(|key| Expr::path(key)).collect(), cases)
}

/// Packets to the worker's port that are too short for the λ header end with UDP's, so that no header is cut off.
fn parser() -> Parser {
    let name = Expr::name;
    let short = Expr::Masked(Box::new(Expr::bits(16, 0)), Box::new(Expr::bits(16, 0xffe0)));
    let states = vec![
        state(
            "start",
            extract("hdr.ethernet"),
            select(
                &["hdr.ethernet.ether_type"],
                vec![(vec![name("IPV4")], "take_ipv4")],
            ),
        ),
        state(
            "take_ipv4",
            extract("hdr.ipv4"),
            select(
                &["hdr.ipv4.version_ihl", "hdr.ipv4.protocol"],
                vec![(vec![name("NO_OPTIONS"), name("UDP")], "take_udp")],
            ),
        ),
        state(
            "take_udp",
            extract("hdr.udp"),
            select(
                &["hdr.udp.dst", "hdr.udp.len"],
                vec![
                    (vec![name("LAMBDA_PORT"), short], "accept"),
                    (vec![name("LAMBDA_PORT"), Expr::Any], "take_lambda"),
                ],
            ),
        ),
        state(
            "take_lambda",
            extract("hdr.lambda"),
            Transition::To("accept".to_owned()),
        ),
    ];
    let mut params = params(true);
    params[0].direction = Direction::Out;
    params.insert(0, Param::new(Direction::None, Type::named("packet_in"), "packet"));
    Parser {
        name: "Parse".to_owned(),
        params,
        states,
    }
}

fn deparser() -> Control {
    let grown = GROWTH.map(|bytes| format!("grow_{bytes}"));
    let names = ["ethernet", "ipv4", "udp", "lambda"]
        .into_iter()
        .map(str::to_owned);
    let emit = |name: String| {
        let header = Expr::name("hdr").member(name);
        Stmt::Call(Expr::path("packet.emit").call(vec![header]))
    };
    Control {
        name: "Deparse".to_owned(),
        params: vec![
            Param::new(Direction::None, Type::named("packet_out"), "packet"),
            Param::new(Direction::In, Type::named("headers"), "hdr"),
        ],
        locals: Vec::new(),
        apply: names.chain(grown).map(emit).collect(),
    }
}
