//! The whole program: parser, ingress, deparser, and what they share.
//!
//! What is not answered leaves as it came, since all that was parsed is put together again.

use lambdac_image::Image;
use lambdac_mir::{Data, ParamId, ServiceId};

use super::headers::{bit, head, metadata, padded};
use super::lambda::{self, MAX_PAYLOAD, REPLY, REQUEST, reason, set, verdict};
use super::memory::WORD;
use super::outcome;
use super::parser::parser;
use super::pick::{Picked, runs};
use super::routine::Routine;
use super::stage::{self, Lowered};
use super::state::State;
use super::unit::{self, ParamDatum, Params, Unit};
use super::wait::{self, Reach};
use super::wire::{self, Listen, TAILS};
use super::{chunks, stream};
use crate::ast::{
    Action, Binary, Control, Direction, Entry, Expr, Item, Local, Param, Program, Stmt, Table, Type, names_of,
};
use crate::legal::{Refusal, STATE};

/// The register of a test's dice.
pub(super) const DICE: &str = "dice_state";
/// The port of the control plane: `--cpu-port` of simple_switch_grpc.
pub const CPU_PORT: u16 = 510;
/// In `packet_out.port`: the packet is a request that came in.
pub const INJECT: u16 = 0xffff;
/// In a test's header: the lambda is picked by the match.
pub const BY_MATCH: u16 = 0xffff;
/// In a test's header: no lambda runs. The reply is an element of 64 bits of a register of [`Output::wide`], whose number
/// stands in place of `src_ip`, with its index in place of the clock: the switch's Thrift server tells of numbers as
/// signed ones, and of those past the largest just that they are so (behavioral-model, `Standard_server.cpp`).
pub const PEEK: u16 = 0xfffe;

/// What changes a program.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// For `test` items: the facts of a call, clock and dice come in a header of their own, and so may the lambda.
    pub test: bool,
    /// Addresses that stand in the program; none: the control plane says.
    pub listen: Option<Listen>,
    /// Whether entries of tables stand in the program; else the control plane adds them.
    pub constant_entries: bool,
    /// Values of parameters, by number; those that have none keep their defaults.
    pub params: Vec<Option<Data>>,
    /// Where services are, by number; lambdas that wait for one that the switch can't reach are the host's.
    pub services: Vec<Reach>,
}

/// A program, and what its users must know of it.
#[derive(Clone, Debug)]
pub struct Output {
    /// The program.
    pub program: Program,
    /// By entry of the image: why its lambda does not run here; none if it does.
    pub refused: Vec<Option<Refusal>>,
    /// What parameters are made of, in the order of their data.
    pub params: Vec<ParamDatum>,
    values: Params,
    /// Entries of tables that the control plane adds, with the table's name.
    pub entries: Vec<(String, Entry)>,
    /// Services that the program asks.
    pub asked: Vec<ServiceId>,
    /// Where state lies.
    pub state: State,
    /// In a test's program: registers with elements of 64 bits.
    pub wide: Vec<String>,
}

/// The facts of a call that a test's header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The entry whose lambda is meant, or [`BY_MATCH`].
    pub entry: u16,
    /// `pkt.src_ip`
    pub src_ip: u32,
    /// `pkt.src_port`
    pub src_port: u16,
    /// `pkt.dst_port`
    pub dst_port: u16,
    /// `pkt.port`
    pub port: u16,
    /// The clock, nanoseconds.
    pub now: u64,
    /// What every `random` gives; none: the next number of the stream.
    pub random: Option<u32>,
    /// Where the stream starts anew.
    pub seed: Option<u64>,
}

impl Output {
    /// The header that stands in front of a test's payload. `values` are those of parameters, by number.
    pub fn test_header(&self, facts: &Facts, values: &[Option<Data>]) -> Vec<u8> {
        let mut bytes = facts.entry.to_be_bytes().to_vec();
        bytes.extend(facts.src_ip.to_be_bytes());
        bytes.extend(facts.src_port.to_be_bytes());
        bytes.extend(facts.dst_port.to_be_bytes());
        bytes.extend(facts.port.to_be_bytes());
        bytes.extend(facts.now.to_be_bytes());
        bytes.push(facts.random.is_some().into());
        bytes.extend(facts.random.unwrap_or(0).to_be_bytes());
        bytes.push(facts.seed.is_some().into());
        bytes.extend(facts.seed.unwrap_or(0).to_be_bytes());
        let value = |id: ParamId| values.get(id.index()).cloned().flatten();
        for (datum, value) in self.params.iter().zip(self.values.values(&value)) {
            let mut whole = vec![0; padded(datum.width) as usize / 8];
            if let Expr::Bits(bits) = value {
                let start = whole.len() - bits.bytes.len();
                whole[start..].copy_from_slice(&bits.bytes);
            }
            bytes.extend(whole);
        }
        bytes
    }
}

/// The control in which everything happens. Not `Ingress`: so v1model calls the type.
pub const INGRESS: &str = "LambdaIngress";

/// Makes the program of an image. An entry whose `on_host` says so is the host's; of the others, those that can't run
/// here too.
///
/// # Errors
/// If what stands around the lambdas has no code: the match stage.
pub fn program(image: &Image, options: &Options) -> Result<Output, Refusal> {
    let mut unit = Unit::new(image, options.test, options.constant_entries);
    for name in [
        "listen",
        "trusted",
        "martians",
        "lambdas",
        "answer",
        "to_host",
        "here",
        "prepare",
        "peek",
        "value",
        "send_payload",
        "services",
        "set_services",
        "asked",
        "continuations",
        "take_answer",
        "find_wait",
        "restore",
        "ask",
        "lot",
        "deployed",
        "set_params",
        "initialise",
        "cell",
        "take_request",
        "ready",
        "run",
        "leave_to_host",
        "drop_request",
        "punt",
        "refuse",
        "look_further",
        "NoAction",
        "frame",
        "rest",
        "tail",
        "above",
        "node",
        "entry",
        "broadcast",
        "streams",
        "stream_of",
        "fragment",
        outcome::COUNTER,
        outcome::COUNT,
        "row",
        "slot",
    ] {
        unit.names.fresh(name);
    }
    unit.register(DICE, 64, 1);
    unit.word_register(REQUEST, MAX_PAYLOAD.into());
    unit.word_register(REPLY, MAX_PAYLOAD.into());
    if !image.module.services.is_empty() {
        wait::declare(&mut unit);
        unit.waits.places.clone_from(&options.services);
    }
    let (mut routines, mut refused) = lambdas(&mut unit);
    let ahead = chunks::add(&mut unit, &mut routines, &mut refused);
    let native: Vec<bool> = refused.iter().map(Option::is_none).collect();
    let stage = stage::lower(&mut unit, &native, &ahead)?;
    let bound = bindings(&mut unit, &native)?;
    let value = |id: ParamId| {
        let given = options.params.get(id.index()).cloned().flatten();
        given.or_else(|| image.module.params[id.index()].default.clone())
    };
    let streams = stream::table(image, &native);
    let values = unit.param_places().values(&value);
    let waits = wait::parts(&mut unit)?;
    let by_entry = Picked {
        table: "lambdas",
        field: "entry",
    };
    let runs = runs(&by_entry, routines);
    let entries = if options.constant_entries {
        Vec::new()
    } else {
        added(&stage, &runs, waits.as_ref())
    };
    let mut items = head(image, options, &unit.params, unit.waits());
    items.push(metadata(&unit));
    items.push(Item::Parser(parser(options, unit.waits())));
    items.push(Item::Control(verify()));
    let parts = Parts {
        stage,
        runs,
        bound,
        values,
        streams,
        waits,
    };
    let ingress = ingress(&unit, options, parts);
    let state = unit.state(&ingress);
    items.push(Item::Control(ingress));
    items.extend(tail(unit.waits()));
    drop_unused(&mut items);
    super::loops::guard(&mut items);
    Ok(Output {
        program: Program { items },
        refused,
        wide: wide(&unit),
        asked: unit.asked(),
        state,
        values: unit.param_places(),
        params: unit.params,
        entries,
    })
}

/// What runs each entry's lambda, or why nothing does. A lambda of several entries is written once.
fn lambdas(unit: &mut Unit<'_>) -> (Vec<(usize, Routine)>, Vec<Option<Refusal>>) {
    let image = unit.image;
    let mut routines: Vec<(usize, Routine)> = Vec::new();
    let mut refused = Vec::new();
    let behind = chunks::workloads(image);
    for (index, entry) in image.entries.iter().enumerate() {
        if let Some(why) = &entry.on_host {
            refused.push(Some(Refusal::new(crate::legal::ASKED, &**why)));
            continue;
        }
        let lambda = &image.module.lambdas[entry.lambda.index()];
        let same = image.entries[..index]
            .iter()
            .position(|other| other.lambda == entry.lambda);
        let same = same.and_then(|first| routines.iter().find(|(at, _)| *at == first));
        if let Some((_, routine)) = same {
            routines.push((index, routine.clone()));
            refused.push(None);
            continue;
        }
        // What a refused lambda has declared goes with it.
        let before = unit.clone();
        let name = unit.names.fresh(&image.entry_name(index));
        match lambda::routine(unit, (lambda, entry.workload), &name) {
            // But for a test, nobody picks a stream behind a match by itself: that it has code is all that counts.
            Ok(_) if behind.contains(&entry.workload) && !unit.test => {
                *unit = before;
                refused.push(None);
            }
            Ok(routine) => {
                routines.push((index, routine));
                refused.push(None);
            }
            Err(refusal) => {
                *unit = before;
                refused.push(Some(refusal));
            }
        }
    }
    (routines, refused)
}

/// What sets parameters of shared code: an action for each entry that has some.
fn bindings(unit: &mut Unit<'_>, native: &[bool]) -> Result<Routine, Refusal> {
    let image = unit.image;
    let by_address = |entry: &lambdac_image::Entry| !entry.instances.is_empty() || !entry.services.is_empty();
    if let Some(entry) = image.entries.iter().position(by_address) {
        let name = image.entry_name(entry);
        let reason = format!(
            "`{name}` shares code that reaches objects by address or services by number, which registers and packets to \
             services have not"
        );
        return Err(Refusal::new(STATE, reason));
    }
    let mut routines = Vec::new();
    let bound = image.entries.iter().zip(native).enumerate();
    for (index, (_, _)) in bound.filter(|(_, (entry, native))| **native && !entry.bindings.is_empty()) {
        let body = unit.bind(index)?;
        let name = unit.names.fresh(&format!("bind_{}", image.entry_name(index)));
        routines.push((index, Routine::plain(&name, body)));
    }
    let by_entry = Picked {
        table: "bindings",
        field: "entry",
    };
    Ok(runs(&by_entry, routines))
}

/// Entries that the control plane adds.
fn added(stage: &Lowered, runs: &Routine, waits: Option<&wait::Parts>) -> Vec<(String, Entry)> {
    let mut entries: Vec<(String, Entry)> = wire::prefixes(&wire::PRIVATE)
        .into_iter()
        .map(|entry| (wire::TRUSTED.to_owned(), entry))
        .collect();
    entries.extend(stage.runtime.iter().cloned());
    entries.extend(runs.entries.iter().cloned());
    entries.extend(waits.into_iter().flat_map(|waits| waits.entries.iter().cloned()));
    entries
}

pub(super) fn standard() -> Param {
    Param::new(Direction::InOut, Type::named("standard_metadata_t"), "std")
}

fn control(name: &str, std: bool, locals: Vec<Local>, apply: Vec<Stmt>) -> Control {
    let mut params = vec![
        Param::new(Direction::InOut, Type::named("headers_t"), "hdr"),
        Param::new(Direction::InOut, Type::named("metadata_t"), "meta"),
    ];
    params.extend(std.then(standard));
    Control {
        name: name.to_owned(),
        params,
        locals,
        apply,
    }
}

/// The fields of IPv4's header that its checksum covers.
fn covered() -> Expr {
    let names = [
        "version",
        "header_words",
        "tos",
        "total_length",
        "identification",
        "flags",
        "more_fragments",
        "fragment",
        "ttl",
        "protocol",
        "src",
        "dst",
    ];
    Expr::List(
        names
            .iter()
            .map(|name| Expr::path("hdr.ipv4").member(*name))
            .collect(),
    )
}

fn checksum(function: &str, cond: Expr) -> Stmt {
    let args = vec![
        cond,
        covered(),
        Expr::path("hdr.ipv4.checksum"),
        Expr::path("HashAlgorithm.csum16"),
    ];
    Stmt::Call(Expr::name(function).call(args))
}

fn verify() -> Control {
    let whole = Expr::path("hdr.udp.isValid").call(Vec::new());
    control(
        "Verify",
        false,
        Vec::new(),
        vec![checksum("verify_checksum", whole)],
    )
}

fn tail(waits: bool) -> Vec<Item> {
    let on = |name: &str| Expr::path("meta.verdict").binary(Binary::Eq, Expr::name(name));
    let sent = match waits {
        true => on(verdict::REPLY).binary(Binary::OrOr, on(verdict::ASK)),
        false => on(verdict::REPLY),
    };
    let headers = [
        "packet_in",
        "ethernet",
        "ipv4",
        "udp",
        "service",
        "lambda",
        "payload",
    ];
    let mut emitted: Vec<String> = headers
        .iter()
        .filter(|name| waits || **name != "service")
        .map(|name| format!("hdr.{name}"))
        .collect();
    emitted.extend(TAILS.iter().map(|bytes| format!("hdr.tail_{bytes}")));
    let emit = |header: &String| Stmt::Call(Expr::path("packet.emit").call(vec![Expr::path(header)]));
    let deparser = Control {
        name: "Deparse".to_owned(),
        params: vec![
            Param::new(Direction::None, Type::named("packet_out"), "packet"),
            Param::new(Direction::In, Type::named("headers_t"), "hdr"),
        ],
        locals: Vec::new(),
        apply: emitted.iter().map(emit).collect(),
    };
    let parts = ["Parse", "Verify", INGRESS, "LambdaEgress", "Update", "Deparse"];
    vec![
        Item::Control(control("LambdaEgress", true, Vec::new(), Vec::new())),
        Item::Control(control(
            "Update",
            false,
            Vec::new(),
            vec![checksum("update_checksum", sent)],
        )),
        Item::Control(deparser),
        Item::Package {
            ty: "V1Switch".to_owned(),
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            name: "main".to_owned(),
        },
    ]
}

/// The action that every request starts with: clock, length, dice of a test.
fn prepare(options: &Options, params: Vec<Stmt>) -> Action {
    let path = Expr::path;
    let mut body = vec![set("length", path("hdr.lambda.length").cast(bit(32)))];
    body.extend(wire::came_by_port());
    if options.test {
        body.push(set("now", path("hdr.test.now")));
        let seed = unit::write(DICE, Expr::bits(32, 0), path("hdr.test.seed"));
        let seeded = path("hdr.test.seeded").binary(Binary::Ne, Expr::bits(8, 0));
        body.push(Stmt::If(seeded, vec![seed], Vec::new()));
        body.extend(params);
    } else {
        let micros = path("std.ingress_global_timestamp").cast(bit(64));
        body.push(set("now", micros.binary(Binary::Mul, Expr::bits(64, 1000))));
    }
    body.push(unit::read("ready", path("meta.ready"), Expr::bits(32, 0)));
    Action {
        name: "prepare".to_owned(),
        params: Vec::new(),
        body,
    }
}

fn call(action: &str) -> Stmt {
    Stmt::Call(Expr::name(action).call(Vec::new()))
}

/// What the ingress control is made of.
struct Parts {
    stage: Lowered,
    runs: Routine,
    bound: Routine,
    values: Vec<Expr>,
    streams: Vec<Local>,
    waits: Option<wait::Parts>,
}

fn ingress(unit: &Unit<'_>, options: &Options, parts: Parts) -> Control {
    let Parts {
        stage,
        runs: lambdas,
        bound,
        values,
        streams,
        waits,
    } = parts;
    let mut request = Vec::new();
    // bmv2 applies a table in one place: what answers of services need too comes before.
    let mut for_all = Vec::new();
    let mut run_any = Vec::new();
    let mut locals = streams;
    let has_streams = !locals.is_empty();
    let in_test = |datum: &ParamDatum| {
        let field = Expr::path("hdr.test").member(datum.name.clone());
        super::scalar::resized(field, padded(datum.width), datum.width)
    };
    locals.push(Local::Action(prepare(options, unit.set_params(&in_test))));
    request.push(call("prepare"));
    let fresh = Expr::path("meta.ready").binary(Binary::Eq, Expr::bits(1, 0));
    let mut initial = unit.initial.statements("cell");
    initial.push(unit::write("ready", Expr::bits(32, 0), Expr::bits(1, 1)));
    locals.push(Local::Action(plain("initialise", initial)));
    request.push(Stmt::If(fresh, vec![call("initialise")], Vec::new()));
    if !options.test && !unit.params.is_empty() {
        locals.extend(deployed(unit, values));
        let deployed = Stmt::Call(Expr::path("deployed.apply").call(Vec::new()));
        match waits {
            Some(_) => for_all.push(deployed),
            None => request.push(deployed),
        }
    }
    let mut resumed = request.clone();
    if let Some(waits) = &waits {
        for_all.push(super::room::measure());
        locals.extend(waits.locals.iter().cloned());
        for_all.push(waits.places.clone());
        resumed.extend(waits.find.iter().cloned());
    }
    locals.push(Local::Action(plain("take_request", take(&stage))));
    request.push(call("take_request"));
    locals.extend(stage.locals);
    let picked = Expr::path("hdr.test.entry").binary(Binary::Ne, Expr::bits(16, BY_MATCH.into()));
    let given = vec![
        set("entry", Expr::path("hdr.test.entry")),
        set("verdict", Expr::name(verdict::RUN)),
    ];
    if options.test {
        locals.push(Local::Action(peek(&wide(unit))));
        let peeked = Expr::path("hdr.test.entry").binary(Binary::Eq, Expr::bits(16, PEEK.into()));
        let by_test = Stmt::If(picked, given, stage.apply);
        request.push(Stmt::If(peeked, vec![call("peek")], vec![by_test]));
    } else {
        request.extend(stage.apply);
    }
    if !lambdas.apply.is_empty() {
        locals.extend(lambdas.locals);
        let runs = Expr::path("meta.verdict").binary(Binary::Eq, Expr::name(verdict::RUN));
        let mut run = Vec::new();
        if !bound.apply.is_empty() {
            locals.extend(bound.locals);
            run.extend(bound.apply);
        }
        match &waits {
            Some(waits) => {
                resumed.push(Stmt::If(runs.clone(), vec![waits.restore.clone()], Vec::new()));
                let fresh = Expr::path("meta.site").binary(Binary::Eq, Expr::bits(16, 0));
                run.push(Stmt::If(fresh, lambdas.apply, waits.go_on.clone()));
            }
            None => run.extend(lambdas.apply),
        }
        let runs = Stmt::If(runs, run, Vec::new());
        match waits {
            Some(_) => run_any.push(runs),
            None => request.push(runs),
        }
    }
    let waits = waits.map(|_| [for_all, resumed, run_any]);
    let around = around(options);
    let mut all = registers(unit, options, &locals);
    all.extend(outcome::locals(unit.image));
    all.extend(around);
    all.extend(locals);
    control(INGRESS, true, all, apply(request, has_streams, waits))
}

/// State with elements of 64 bits.
fn wide(unit: &Unit<'_>) -> Vec<String> {
    let wide = unit
        .registers
        .iter()
        .filter(|register| register.width == 64 && register.name != DICE);
    wide.map(|register| register.name.clone()).collect()
}

/// Answers with an element of 64 bits; see [`PEEK`].
fn peek(wide: &[String]) -> Action {
    let value = Expr::name("value");
    let mut body = vec![Stmt::Var(bit(64), "value".to_owned(), Some(Expr::bits(64, 0)))];
    for (name, number) in wide.iter().zip(0..) {
        let is = Expr::path("hdr.test.src_ip").binary(Binary::Eq, Expr::bits(32, number));
        let index = Expr::path("hdr.test.now").cast(bit(32));
        body.push(Stmt::If(
            is,
            vec![unit::read(name, value.clone(), index)],
            Vec::new(),
        ));
    }
    let word = value.binary(Binary::Concat, Expr::bits(WORD - 64, 0));
    body.extend([
        unit::write(REPLY, Expr::bits(32, 0), word),
        set("reply_length", Expr::bits(16, 8)),
        set("verdict", Expr::name(verdict::REPLY)),
    ]);
    plain("peek", body)
}

/// What is applied. `waits`: what comes before all, what is done with the answer of a service, and what runs.
fn apply(request: Vec<Stmt>, streams: bool, waits: Option<[Vec<Stmt>; 3]>) -> Vec<Stmt> {
    let sent = Expr::path("hdr.packet_out.isValid").call(Vec::new());
    let as_it_is = Expr::path("hdr.packet_out.port").binary(Binary::Ne, Expr::name("INJECT"));
    let port = Expr::path("hdr.packet_out.port").cast(bit(9));
    let mut outward = sent.binary(Binary::AndAnd, as_it_is);
    let asks = waits.is_some();
    let mut rest = vec![wire::rules(request, streams)];
    if let Some([before, resumed, run]) = waits {
        outward = outward.binary(Binary::AndAnd, wait::is_expiry().negated());
        let either = Stmt::If(wait::is_for_a_wait(), resumed, rest);
        rest = before;
        rest.push(either);
        rest.extend(run);
    }
    rest.extend(wire::ends(asks));
    vec![
        set("came_by", Expr::path("std.ingress_port").cast(bit(16))),
        Stmt::If(
            outward,
            vec![Stmt::Assign(Expr::path("std.egress_spec"), port)],
            rest,
        ),
    ]
}

fn plain(name: &str, body: Vec<Stmt>) -> Action {
    Action {
        name: name.to_owned(),
        params: Vec::new(),
        body,
    }
}

/// The request into its register, and the stage's fields out of it.
fn take(stage: &Lowered) -> Vec<Stmt> {
    let mut stmts = wire::take_request();
    let word = |index: u64| Expr::name(format!("word_{index}"));
    let mut read = std::collections::BTreeSet::new();
    for (_, (bit, width)) in &stage.fields {
        read.extend(u64::from(bit / WORD)..=u64::from((bit + width - 1) / WORD));
    }
    for index in read {
        stmts.push(Stmt::Var(
            bit(WORD),
            format!("word_{index}"),
            Some(Expr::bits(WORD, 0)),
        ));
        stmts.push(unit::read(REQUEST, word(index), Expr::bits(32, index)));
    }
    for (field, run) in &stage.fields {
        stmts.push(Stmt::Assign(field.clone(), stage::words_at(&word, *run)));
    }
    stmts
}

/// The table without a key whose default action holds the parameters.
fn deployed(unit: &Unit<'_>, values: Vec<Expr>) -> Vec<Local> {
    let data = |datum: &ParamDatum| Expr::name(datum.name.clone());
    let action = Action {
        name: "set_params".to_owned(),
        params: unit
            .params
            .iter()
            .map(|datum| Param::new(Direction::None, bit(datum.width), &datum.name))
            .collect(),
        body: unit.set_params(&data),
    };
    let table = Table {
        name: "deployed".to_owned(),
        keys: Vec::new(),
        actions: vec!["set_params".to_owned()],
        default: ("set_params".to_owned(), values),
        const_default: false,
        entries: Vec::new(),
        size: None,
    };
    vec![Local::Action(action), Local::Table(table)]
}

/// Actions and tables of the wire.
fn around(options: &Options) -> Vec<Local> {
    let listen = options.listen.iter().map(wire::listen_entry).collect();
    let trusted = if options.constant_entries {
        wire::prefixes(&wire::PRIVATE)
    } else {
        Vec::new()
    };
    vec![
        Local::Action(wire::here()),
        Local::Table(wire::listen(listen)),
        Local::Table(wire::martians()),
        Local::Table(wire::trusted(trusted)),
        Local::Action(wire::to_host()),
        Local::Action(wire::send_payload()),
        Local::Action(wire::answer()),
    ]
}

/// Registers that something touches, in order.
fn registers(unit: &Unit<'_>, options: &Options, locals: &[Local]) -> Vec<Local> {
    let mut used = std::collections::BTreeSet::from([REPLY.to_owned(), REQUEST.to_owned()]);
    for local in locals {
        if let Local::Action(action) = local {
            names_of(&action.body, &mut |name| {
                used.insert(name.to_owned());
            });
        }
    }
    let register = |name: &str, width: u32, size: u64| Local::Instance {
        ty: Type::Generic("register".to_owned(), vec![bit(width)]),
        args: vec![Expr::Number(size)],
        name: name.to_owned(),
    };
    let mut all = vec![register("ready", 1, 1)];
    let wanted = |name: &str| used.contains(name) && (options.test || name != DICE);
    let found = unit.registers.iter().filter(|found| wanted(&found.name));
    all.extend(found.map(|found| register(&found.name, found.width, found.size)));
    all
}

/// Takes away verdicts and reasons that nothing names: p4c warns of them.
fn drop_unused(items: &mut Vec<Item>) {
    let mut used = std::collections::BTreeSet::new();
    let mut note = |name: &str| {
        used.insert(name.to_owned());
    };
    for item in &*items {
        let Item::Control(control) = item else { continue };
        names_of(&control.apply, &mut note);
        for local in &control.locals {
            match local {
                Local::Action(action) => names_of(&action.body, &mut note),
                Local::Table(table) => {
                    let args = table.entries.iter().flat_map(|entry| &entry.args);
                    args.chain(&table.default.1)
                        .for_each(|arg| arg.for_each_name(&mut note));
                }
                Local::Comment(_) | Local::Var(..) | Local::Instance { .. } => {}
            }
        }
    }
    let numbered = |name: &str| verdict::ALL.contains(&name) || reason::ALL.contains(&name);
    items.retain(|item| match item {
        Item::Const(_, name, _) => !numbered(name) || used.contains(name),
        _ => true,
    });
}
