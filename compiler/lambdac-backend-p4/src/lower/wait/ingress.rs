//! What waits add to the ingress control: where services are, what finds a wait and makes the packet its request again.

use std::rc::Rc;

use lambdac_mir::ServiceId;

use super::answer::find;
use super::ask::ask;
use super::{
    ANSWER, ASKED, CALLER, CALLER_BITS, CALLERS, EXPIRE, REQUEST_WORDS, REQUESTS, ServicePlace, WIDTHS, long,
    path, slot, slot_times,
};
use crate::ast::{Action, Binary, Direction, Entry, Expr, Local, Param, Stmt, Table, Type};
use crate::legal::Refusal;
use crate::lower::code::Code;
use crate::lower::headers::bit;
use crate::lower::lambda::{self, REQUEST, set};
use crate::lower::lookup::Nowhere;
use crate::lower::memory::{WORD, WORD_BYTES};
use crate::lower::op::sum;
use crate::lower::pick::{Picked, runs};
use crate::lower::unit::{self, Unit};
use crate::lower::{outcome, wire};

/// The name of the table that knows where services are.
const SERVICES: &str = "services";
/// The action that says so.
const SET_SERVICES: &str = "set_services";

/// What waits add to the ingress control.
pub(in crate::lower) struct Parts {
    /// Actions and tables.
    pub locals: Vec<Local>,
    /// What finds out where services are.
    pub places: Stmt,
    /// What is done first with an answer, after `places`; the verdict then is to run if a lambda goes on.
    pub find: Vec<Stmt>,
    /// What makes the packet the request again.
    pub restore: Stmt,
    /// What goes on.
    pub go_on: Vec<Stmt>,
    /// Entries that the control plane adds, with their table.
    pub entries: Vec<(String, Entry)>,
}

pub(super) fn plain(name: &str, body: Vec<Stmt>) -> Local {
    Local::Action(Action {
        name: name.to_owned(),
        params: Vec::new(),
        body,
    })
}

pub(super) fn call(name: &str) -> Stmt {
    Stmt::Call(Expr::name(name).call(Vec::new()))
}

/// What waits add to the ingress control, if there are any.
pub(in crate::lower) fn parts(unit: &mut Unit<'_>) -> Result<Option<Parts>, Refusal> {
    if !unit.waits() {
        return Ok(None);
    }
    let sites = (1..).zip(unit.waits.routines.iter().flatten().cloned());
    let (where_, table) = services(unit);
    let by_site = Picked {
        table: "continuations",
        field: "site",
    };
    let go_on = runs(&by_site, sites.collect());
    let asked = Local::Instance {
        ty: Type::named("counter"),
        args: vec![Expr::Number(1), Expr::path("CounterType.packets")],
        name: ASKED.to_owned(),
    };
    let mut locals = vec![asked, where_, Local::Table(table), find(unit)?, restore(unit)?];
    let length = path("hdr.udp.length").binary(Binary::Sub, Expr::bits(16, 16));
    locals.push(plain("take_answer", wire::take(ANSWER, &length)));
    locals.extend(go_on.locals);
    locals.push(plain("ask", ask()));
    Ok(Some(Parts {
        locals,
        places: Stmt::Call(path("services.apply").call(Vec::new())),
        find: vec![
            Stmt::If(is_answer(), vec![call("take_answer")], Vec::new()),
            call("find_wait"),
        ],
        restore: call("restore"),
        go_on: go_on.apply,
        entries: go_on.entries,
    }))
}

/// The entry by which the control plane says where services are: `asked` are those that the program asks.
pub fn services_entry(
    asked: &[ServiceId],
    place: &dyn Fn(ServiceId) -> ServicePlace,
) -> Option<(String, Entry)> {
    let values = asked.iter().flat_map(|id| {
        let data = data(&place(*id)).into_iter().zip(WIDTHS);
        data.map(|(value, (_, width))| Expr::bits(width, value))
    });
    let entry = Entry {
        keys: Vec::new(),
        action: SET_SERVICES.to_owned(),
        args: values.collect(),
    };
    (!asked.is_empty()).then(|| (SERVICES.to_owned(), entry))
}

/// What an action's data say of a place.
fn data(place: &ServicePlace) -> [u64; 4] {
    let mac = place.mac.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    [mac, place.address.into(), place.port.into(), place.egress.into()]
}

/// The table without a key whose default action says where services are.
fn services(unit: &Unit<'_>) -> (Local, Table) {
    let (mut params, mut body, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (id, endpoint) in &unit.waits.endpoints {
        let place = unit.waits.places.get(id.index());
        let place = place.and_then(|reach| reach.as_ref().ok());
        let data = data(&place.copied().unwrap_or_default());
        for ((field, width), value) in endpoint.fields.iter().zip(data) {
            let Expr::Member(_, name) = field else { continue };
            params.push(Param::new(Direction::None, bit(*width), name));
            body.push(Stmt::Assign(field.clone(), Expr::name(name.clone())));
            values.push(Expr::bits(*width, value));
        }
    }
    let action = Action {
        name: SET_SERVICES.to_owned(),
        params,
        body,
    };
    let table = Table {
        name: SERVICES.to_owned(),
        keys: Vec::new(),
        actions: vec![action.name.clone()],
        default: (action.name.clone(), values),
        const_default: false,
        entries: Vec::new(),
        size: None,
    };
    (Local::Action(action), table)
}

/// Whether the packet is an answer; else it is the control plane's word that a time is up.
pub(in crate::lower) fn is_answer() -> Expr {
    path("hdr.service.isValid").call(Vec::new())
}

/// Whether the control plane says that a time is up.
pub(in crate::lower) fn is_expiry() -> Expr {
    let high = path("hdr.packet_out.port").slice(15, 8);
    let is = high.binary(Binary::Eq, Expr::bits(8, u64::from(EXPIRE >> 8)));
    path("hdr.packet_out.isValid")
        .call(Vec::new())
        .binary(Binary::AndAnd, is)
}

/// Whether the packet is for a wait, as far as its headers say.
pub(in crate::lower) fn is_for_a_wait() -> Expr {
    let datagram = path("hdr.udp.length").binary(Binary::Add, Expr::bits(16, 20));
    let frame = long(14).binary(Binary::Add, path("hdr.ipv4.total_length").cast(bit(32)));
    let sound = path("hdr.ipv4.total_length")
        .binary(Binary::Eq, datagram)
        .binary(
            Binary::AndAnd,
            path("std.packet_length").binary(Binary::Ge, frame),
        )
        .binary(
            Binary::AndAnd,
            path("std.checksum_error").binary(Binary::Eq, Expr::bits(1, 0)),
        );
    is_answer()
        .binary(Binary::AndAnd, sound)
        .binary(Binary::OrOr, is_expiry())
}

/// A field of what is kept of the caller.
pub(super) fn caller_field(caller: &Expr, wanted: &str) -> Expr {
    let mut high = CALLER_BITS;
    for (name, width) in CALLER {
        if name == wanted {
            return caller.clone().slice(high - 1, high - width);
        }
        high -= width;
    }
    Expr::bits(1, 0)
}

pub(super) fn joined(fields: Vec<Expr>) -> Expr {
    let all = fields.into_iter().reduce(|a, b| a.binary(Binary::Concat, b));
    all.unwrap_or(Expr::bits(8, 0))
}

/// What makes a packet the request again: its headers, and the words of its payload.
fn restore(unit: &mut Unit<'_>) -> Result<Local, Refusal> {
    let mut code = Code::new(unit, "restore", lambda::request(), Rc::new(Nowhere));
    let caller = code.wide("caller", CALLER_BITS);
    code.push(unit::read(CALLERS, caller.clone(), slot()));
    for header in ["ethernet", "ipv4", "udp", "lambda"] {
        let valid = path(&format!("hdr.{header}.setValid")).call(Vec::new());
        code.push(Stmt::Call(valid));
    }
    code.push(Stmt::Call(path("hdr.service.setInvalid").call(Vec::new())));
    for (name, _) in CALLER {
        code.push(Stmt::Assign(path(name), caller_field(&caller, name)));
    }
    let constants = [
        ("hdr.ethernet.ether_type", Expr::name("IPV4")),
        ("hdr.ipv4.version", Expr::bits(4, 4)),
        ("hdr.ipv4.header_words", Expr::bits(4, 5)),
        ("hdr.ipv4.more_fragments", Expr::bits(1, 0)),
        ("hdr.ipv4.fragment", Expr::bits(13, 0)),
        ("hdr.ipv4.protocol", Expr::name("UDP")),
        ("hdr.lambda.magic", Expr::name("MAGIC")),
        ("hdr.lambda.version", Expr::name("VERSION")),
        ("hdr.lambda.fragment", Expr::bits(16, 0)),
        ("hdr.lambda.fragments", Expr::bits(16, 1)),
        ("hdr.lambda.flags", Expr::bits(8, 0)),
    ];
    for (field, value) in constants {
        code.push(Stmt::Assign(path(field), value));
    }
    code.push(set("length", path("meta.payload_length").cast(bit(32))));
    code.push(outcome::taken());
    wire::came_by_port().into_iter().for_each(|stmt| code.push(stmt));
    let up = sum(path("meta.length"), long(u64::from(WORD_BYTES) - 1));
    code.count(up.binary(Binary::Shr, Expr::Number(5)), |code, index| {
        let word = code.wide("word", WORD);
        let from = sum(slot_times(REQUEST_WORDS), index.clone());
        code.push(unit::read(REQUESTS, word.clone(), from));
        code.push(unit::write(REQUEST, index, word));
    });
    Ok(plain("restore", code.finish()))
}
