//! Waiting for a service: the request becomes the service's, and its answer becomes the reply.
//!
//! What a lambda needs when it goes on lies in registers, in one of [`SLOTS`] slots: the caller's headers, the request,
//! the values and variables that are live, and what the answer must look like. A slot is taken in turn; where it is in
//! use still, or the service is nowhere, or the call is none that memcached takes, the lambda goes on at once, as failed.
//! Requests leave by a port from [`FIRST_PORT`] on, drawn by lot, and carry the slot and eight bits by lot as memcached's
//! request id ([`ask`]).
//!
//! An answer is taken once, and only if its port, id, interface, peer and, in one to `get`, the key are those that are
//! waited for; anything else to these ports is the host's. What its text says is decided by the reader that the targets
//! share ([`answer`]).
//!
//! No answer: the control plane counts along which slots are taken ([`ASKED`]), and when a service's time is over sends
//! [`EXPIRE`] and the slot in `packet_out.port`; a wait whose time is up goes on as failed.

mod answer;
mod ask;
mod ingress;

use std::collections::BTreeMap;
use std::rc::Rc;

use lambdac_mir::memcached::{MAX_KEY, kind};
use lambdac_mir::{Lambda, PartId, ServiceCall, ServiceId, ServiceOp, Shape, SlotId, Value};

use super::code::{Code, Spot};
use super::control::Goal;
use super::headers::bit;
use super::lambda::{self, MAX_PAYLOAD, REQUEST, set, verdict};
use super::memory::{Cell, Tree, WORD, WORD_BYTES};
use super::op::sum;
use super::routine::Routine;
use super::unit::{self, Unit};
use crate::ast::{Binary, Expr, Stmt};
use crate::legal::{AWAIT, Refusal};

pub use ingress::services_entry;
pub(super) use ingress::{Parts, is_answer, is_expiry, is_for_a_wait, parts};

/// Requests that wait at a time: the slot is the low byte of memcached's request id.
pub const SLOTS: u32 = 256;
/// The first of the ports that requests leave by, which are the rest of all ports.
pub const FIRST_PORT: u16 = 0xfc00;
/// High byte of `packet_out.port` for a wait whose time is up; the low byte is its slot.
pub const EXPIRE: u16 = 0xfe00;
/// The counter of slots that were taken.
pub const ASKED: &str = "asked";

/// Nanoseconds after its time when a wait that nobody has ended is one that nobody will: the control plane is away.
const FORGOTTEN: u64 = 1_000_000_000;

/// Words of a key, and of a request.
const KEY_WORDS: u32 = MAX_KEY.div_ceil(WORD_BYTES);
const REQUEST_WORDS: u32 = MAX_PAYLOAD / WORD_BYTES + 1;

/// Registers, by slot: the site that goes on and 0 for none, until when, of whom, for whom; then the request's words,
/// the operation and the key. Last which slot is the next, and the text of an answer.
const WAITING: &str = "waiting";
const UNTIL: &str = "wait_until";
const EXPECTED: &str = "wait_expected";
const CALLERS: &str = "wait_caller";
const REQUESTS: &str = "wait_request";
const OPS: &str = "wait_op";
const KEYS: &str = "wait_key";
const KEY_LENGTHS: &str = "wait_key_length";
const NEXT: &str = "wait_next";
const ANSWER: &str = "answer_text";

/// What is kept of the caller, from the highest bit on, and the width of all.
const CALLER: [(&str, u32); 12] = [
    ("hdr.ethernet.dst", 48),
    ("hdr.ethernet.src", 48),
    ("hdr.ipv4.src", 32),
    ("hdr.ipv4.dst", 32),
    ("hdr.udp.src", 16),
    ("hdr.udp.dst", 16),
    ("hdr.lambda.workload", 32),
    ("hdr.lambda.request", 64),
    ("meta.came_by", 16),
    ("hdr.udp.length", 16),
    ("meta.payload_length", 16),
    ("meta.entry", 16),
];
const CALLER_BITS: u32 = 352;
/// What an answer must have: id, own port, the service's address and port, the port that it comes by.
const EXPECTED_BITS: u32 = 96;

/// Where a service is for the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServicePlace {
    /// The Ethernet address of the service or of the next hop to it.
    pub mac: [u8; 6],
    /// The IPv4 address; 0: the control plane has yet to say all of this, and asking it fails until then.
    pub address: u32,
    /// The UDP port.
    pub port: u16,
    /// The port of the switch that leads to it.
    pub egress: u16,
}

/// The parts of a place, with their bits.
const WIDTHS: [(&str, u32); 4] = [("mac", 48), ("address", 32), ("port", 16), ("egress", 16)];

/// Where a service is; else why the switch can't reach it: a clause that can follow "which".
pub type Reach = Result<ServicePlace, String>;

/// Fields of the metadata that say where a service is.
#[derive(Clone, Debug)]
struct Endpoint {
    fields: [(Expr, u32); 4],
}

/// A place where a lambda goes on.
#[derive(Clone, Debug)]
struct Site {
    number: u64,
    args: Vec<Rc<Tree>>,
    slots: Vec<(SlotId, Rc<Tree>)>,
}

/// What waits of a program need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    /// Where services are, by number.
    pub places: Vec<Reach>,
    endpoints: BTreeMap<ServiceId, Endpoint>,
    sites: BTreeMap<(String, PartId, Option<SlotId>), Site>,
    pub(super) routines: Vec<Option<Routine>>,
}

/// A lambda whose parts are being written, and the name of its action.
#[derive(Clone)]
pub(super) struct Waiting<'m> {
    pub lambda: &'m Lambda,
    pub name: String,
}

fn path(path: &str) -> Expr {
    Expr::path(path)
}

fn slot() -> Expr {
    path("meta.wait_slot")
}

fn long(value: u64) -> Expr {
    Expr::bits(32, value)
}

fn slot_times(count: u32) -> Expr {
    slot().binary(Binary::Mul, long(count.into()))
}
/// Registers and metadata, where there are services.
pub(super) fn declare(unit: &mut Unit<'_>) {
    let slots = u64::from(SLOTS);
    for (name, width, size) in [
        (WAITING, 16, slots),
        (UNTIL, 64, slots),
        (EXPECTED, EXPECTED_BITS, slots),
        (CALLERS, CALLER_BITS, slots),
        (REQUESTS, WORD, slots * u64::from(REQUEST_WORDS)),
        (OPS, 8, slots),
        (KEYS, WORD, slots * u64::from(KEY_WORDS) + 1),
        (KEY_LENGTHS, 16, slots),
        (NEXT, 16, 1),
    ] {
        unit.register(name, width, size);
    }
    unit.word_register(ANSWER, MAX_PAYLOAD.into());
    for (name, width) in [
        ("wait_slot", 32),
        ("site", 16),
        ("peer_mac", 48),
        ("peer_address", 32),
        ("peer_port", 16),
        ("peer_egress", 16),
        ("payload_length", 16),
        ("answer_kind", 8),
        ("answer_at", 32),
        ("answer_length", 32),
        ("room", 32),
    ] {
        unit.meta(name, bit(width));
    }
}

impl Unit<'_> {
    /// Services that some lambda asks.
    pub(super) fn asked(&self) -> Vec<ServiceId> {
        self.waits.endpoints.keys().copied().collect()
    }

    /// Whether some lambda waits.
    pub(super) fn waits(&self) -> bool {
        !self.waits.routines.is_empty()
    }

    fn endpoint(&mut self, id: ServiceId) -> Result<Endpoint, Refusal> {
        if let Some(found) = self.waits.endpoints.get(&id) {
            return Ok(found.clone());
        }
        let name = self.image.module.services[id.index()].name.clone();
        let why = match self.waits.places.get(id.index()) {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(&**why),
            None => Some("is nowhere"),
        };
        if let Some(why) = why {
            let reason = format!("it waits for the service `{name}`, which {why}");
            return Err(Refusal::new(AWAIT, reason));
        }
        let mut field = |what: &str, width: u32| (self.meta(&format!("{name}_{what}"), bit(width)), width);
        let fields = WIDTHS.map(|(what, width)| field(what, width));
        let endpoint = Endpoint { fields };
        self.waits.endpoints.insert(id, endpoint.clone());
        Ok(endpoint)
    }
}

impl<'m> Code<'_, 'm> {
    /// Goes on in a part whose parameters have these values.
    pub(super) fn enter_part(
        &mut self,
        part: PartId,
        values: &[Expr],
    ) -> Result<&'m lambdac_mir::Region, Refusal> {
        let Some(waiting) = self.waiting.clone() else {
            return Err(Refusal::new(AWAIT, "it waits in a function"));
        };
        let part = &waiting.lambda.parts[part.index()];
        self.fold_more(&part.region);
        for (param, value) in part.params.iter().zip(values) {
            self.frame_mut().values[param.index()] = Some(value.clone());
        }
        Ok(&part.region)
    }

    /// Asks a service and leaves; goes on at once, as failed, where that can't be.
    pub(super) fn wait(
        &mut self,
        call: &'m ServiceCall,
        part: PartId,
        args: &'m [Value],
        tail: Option<Goal>,
    ) -> Result<(), Refusal> {
        let endpoint = self.unit.endpoint(call.service)?;
        let site = self.site(call, part, args)?;
        let values: Vec<Expr> = args.iter().map(|arg| self.atom(*arg)).collect();
        let key = self.view(&call.key)?;
        let value = call.value.as_ref().map(|value| self.view(value)).transpose()?;
        let sendable = self.sendable(&key, value.as_ref());
        let (next, held, until) = (
            self.wide("next", 16),
            self.wide("held", 16),
            self.wide("until", 64),
        );
        self.push(unit::read(NEXT, next.clone(), long(0)));
        self.assign(slot(), next.clone().slice(7, 0).cast(bit(32)));
        let following = next.binary(Binary::Add, Expr::bits(16, 1));
        self.push(unit::write(NEXT, long(0), following));
        self.push(Stmt::Call(path(ASKED).method("count", vec![long(0)])));
        self.push(unit::read(WAITING, held.clone(), slot()));
        self.push(unit::read(UNTIL, until.clone(), slot()));
        let forgotten = until.binary(Binary::Add, Expr::bits(64, FORGOTTEN));
        let over = forgotten.binary(Binary::Le, path("meta.now"));
        let free = held
            .binary(Binary::Eq, Expr::bits(16, 0))
            .binary(Binary::OrOr, over);
        let reached = endpoint.fields[1].0.clone().binary(Binary::Ne, long(0));
        let sent = self.apart(|code| {
            code.keep(&site, &values)?;
            code.ask(call, &key, value.as_ref());
            for ((name, _), (from, _)) in WIDTHS.iter().zip(&endpoint.fields) {
                code.push(set(&format!("peer_{name}"), from.clone()));
            }
            code.push(set("verdict", Expr::name(verdict::ASK)));
            code.leave(Goal::End, Vec::new(), tail);
            Ok(())
        })?;
        let failed = self.apart(|code| {
            // Variables: with constants, code would follow a way out that is always taken, at which p4c stumbles.
            let mut all = vec![code.local("ok", 1), code.local("failed", 1)];
            code.assign(all[0].clone(), Expr::Bool(false));
            code.assign(all[1].clone(), Expr::Bool(true));
            all.extend(values.iter().cloned());
            let region = code.enter_part(part, &all)?;
            code.region(region, tail)
        })?;
        let goes = reached
            .binary(Binary::AndAnd, free)
            .binary(Binary::AndAnd, sendable);
        self.push_if(goes, sent, failed);
        Ok(())
    }

    /// Where a wait goes on; its code is written the first time.
    fn site(&mut self, call: &'m ServiceCall, part: PartId, args: &[Value]) -> Result<Site, Refusal> {
        let Some(waiting) = self.waiting.clone() else {
            return Err(Refusal::new(AWAIT, "it waits in a function"));
        };
        let known = (waiting.name.clone(), part, call.dst);
        if let Some(site) = self.unit.waits.sites.get(&known) {
            return Ok(site.clone());
        }
        let name = format!("{}_{}", waiting.name, part.0);
        let mut saved = Vec::new();
        for arg in args {
            let width = self.frame().body.width(*arg);
            let shape = Shape::Array(Shape::Scalar(width).into(), SLOTS);
            saved.push(Rc::new(self.unit.lasting(&shape, &format!("{name}_kept"))?));
        }
        let mut slots = Vec::new();
        for id in &waiting.lambda.parts[part.index()].live_slots {
            let own = &waiting.lambda.body.slots[id.index()];
            let shape = Shape::Array(own.shape.clone().into(), SLOTS);
            let tree = self.unit.lasting(&shape, &format!("{name}_{}", own.name))?;
            slots.push((*id, Rc::new(tree)));
        }
        let number = self.unit.waits.routines.len();
        self.unit.waits.routines.push(None);
        let site = Site {
            number: number as u64 + 1,
            args: saved,
            slots,
        };
        self.unit.waits.sites.insert(known, site.clone());
        let routine = resume(self.unit, &waiting, &site, call, part)?;
        self.unit.waits.routines[number] = Some(routine);
        Ok(site)
    }

    /// Puts what is needed later into the slot.
    fn keep(&mut self, site: &Site, values: &[Expr]) -> Result<(), Refusal> {
        for (tree, value) in site.args.iter().zip(values) {
            if let Some(cell) = scalar(tree) {
                self.write(cell, &slot(), value.clone());
            }
        }
        for (id, tree) in &site.slots {
            let own = self.own(*id)?;
            self.copy(&kept(tree), &own);
        }
        let length = path("meta.length");
        let words = sum(length.clone(), long(u64::from(WORD_BYTES) - 1)).binary(Binary::Shr, Expr::Number(5));
        self.count(words, |code, index| {
            let word = code.word(REQUEST, index.clone());
            code.push(unit::write(REQUESTS, sum(slot_times(REQUEST_WORDS), index), word));
        });
        self.push(set("payload_length", length.cast(bit(16))));
        self.push(unit::write(WAITING, slot(), Expr::bits(16, site.number)));
        Ok(())
    }

    fn own(&mut self, id: SlotId) -> Result<Spot, Refusal> {
        Ok(Spot {
            tree: self.slot(id.index())?,
            index: long(0),
        })
    }
}

fn scalar(tree: &Tree) -> Option<&Cell> {
    match tree {
        Tree::Array(inner, _) => match &**inner {
            Tree::Scalar(cell) => Some(cell),
            _ => None,
        },
        _ => None,
    }
}

/// What a slot holds of a variable.
fn kept(tree: &Tree) -> Spot {
    let tree = match tree {
        Tree::Array(inner, _) => inner.clone(),
        other => Rc::new(other.clone()),
    };
    Spot { tree, index: slot() }
}

/// How the kind of the answer compares.
fn kind_is(op: Binary, kind: u8) -> Expr {
    path("meta.answer_kind").binary(op, Expr::bits(8, kind.into()))
}

/// What runs where a lambda goes on.
fn resume<'m>(
    unit: &mut Unit<'m>,
    waiting: &Waiting<'m>,
    site: &Site,
    call: &ServiceCall,
    part: PartId,
) -> Result<Routine, Refusal> {
    let name = unit.names.fresh(&format!("{}_goes_on", waiting.name));
    let mut code = Code::new(unit, &name, lambda::request(), lambda::message());
    code.waiting = Some(waiting.clone());
    code.enter(
        &waiting.lambda.body,
        &waiting.lambda.parts[part.index()].region,
        Vec::new(),
    );
    for (id, tree) in &site.slots {
        let own = code.own(*id)?;
        code.copy(&own, &kept(tree));
    }
    let is = |value: u8| kind_is(Binary::Eq, value);
    let good = match call.op {
        ServiceOp::Get => kind::VALUE,
        ServiceOp::Set | ServiceOp::Delete => kind::DONE,
    };
    let (ok, failed) = (code.local("ok", 1), code.local("failed", 1));
    code.assign(ok.clone(), is(good));
    code.assign(
        failed.clone(),
        is(good).binary(Binary::OrOr, is(kind::MISSING)).negated(),
    );
    if let Some(dst) = call.dst {
        code.take_value(dst, &ok, &failed)?;
    }
    let mut values = vec![ok, failed];
    for tree in &site.args {
        if let Some(cell) = scalar(tree) {
            let value = code.read(cell, &slot());
            values.push(value);
        }
    }
    let region = code.enter_part(part, &values)?;
    code.scope(Goal::End, region, Vec::new(), true)?;
    code.routine(&name)
}
