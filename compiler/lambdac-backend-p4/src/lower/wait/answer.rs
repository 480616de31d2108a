//! The answer of a service: which wait it ends, and what it says.

use std::rc::Rc;

use lambdac_mir::memcached::{kind, reader};
use lambdac_mir::{FuncParam, Shape, SlotId};

use super::ingress::{caller_field, is_answer, joined, plain};
use super::{
    ANSWER, CALLER_BITS, CALLERS, EXPECTED, EXPECTED_BITS, KEY_LENGTHS, KEY_WORDS, KEYS, OPS, UNTIL, WAITING,
    kind_is, long, path, slot, slot_times,
};
use crate::ast::{Binary, Expr, Local, Stmt};
use crate::legal::{CODE, Refusal};
use crate::lower::code::{Argument, Bytes, Code};
use crate::lower::control::Goal;
use crate::lower::headers::bit;
use crate::lower::lambda::{self, MAX_PAYLOAD, set, verdict};
use crate::lower::lookup::Nowhere;
use crate::lower::memory::{Home, WORD_BYTES};
use crate::lower::unit::{self, Unit};

/// Finds the wait that a packet ends.
pub(super) fn find(unit: &mut Unit<'_>) -> Result<Local, Refusal> {
    let mut code = Code::new(unit, "find_wait", lambda::request(), Rc::new(Nowhere));
    code.funcs = &reader().funcs;
    let number = is_answer().select(
        path("hdr.service.id").slice(7, 0),
        path("hdr.packet_out.port").slice(7, 0),
    );
    code.assign(slot(), number.cast(bit(32)));
    let mut held = Vec::new();
    for (register, name, width) in [
        (WAITING, "held", 16),
        (EXPECTED, "expected", EXPECTED_BITS),
        (CALLERS, "caller", CALLER_BITS),
        (UNTIL, "until", 64),
        (OPS, "op", 8),
        (KEY_LENGTHS, "key_length", 16),
    ] {
        let place = code.wide(name, width);
        code.push(unit::read(register, place.clone(), slot()));
        held.push(place);
    }
    let found = joined(vec![
        path("hdr.service.id"),
        path("hdr.udp.dst"),
        path("hdr.ipv4.src"),
        path("hdr.udp.src"),
        path("meta.came_by"),
    ]);
    let is = |field: &str| path(field).binary(Binary::Eq, caller_field(&held[2], field));
    let first = path("hdr.service.sequence").binary(Binary::Eq, Expr::bits(16, 0));
    let right = found
        .binary(Binary::Eq, held[1].clone())
        .binary(Binary::AndAnd, is("hdr.ethernet.dst"))
        .binary(Binary::AndAnd, is("hdr.ipv4.dst"))
        .binary(Binary::AndAnd, first);
    let answered = code.apart(|code| {
        code.push(set("verdict", Expr::name(verdict::STALE)));
        let text = Bytes {
            home: Home::Words(ANSWER.to_owned()),
            start: long(0),
            len: code.text_length(),
        };
        let key = Bytes {
            home: Home::Words(KEYS.to_owned()),
            start: slot_times(KEY_WORDS * WORD_BYTES),
            len: held[5].clone().cast(bit(32)),
        };
        let result = code.wide("result", 64);
        code.read_text(&held[4], text, key, result.clone())?;
        let part = |high: u32, low: u32, width: u32| result.clone().slice(high, low).cast(bit(width));
        code.push(set("answer_kind", part(39, 32, 8)));
        code.push(set("answer_at", part(31, 16, 32)));
        code.push(set("answer_length", part(15, 0, 32)));
        // Of several datagrams is only a value over the limit, and the first one proves it.
        let several = path("hdr.service.total").binary(Binary::Ne, Expr::bits(16, 1));
        let short = kind_is(Binary::Ne, kind::OVERSIZED);
        let none = vec![set("answer_kind", Expr::bits(8, kind::MALFORMED.into()))];
        code.push(Stmt::If(several.binary(Binary::AndAnd, short), none, Vec::new()));
        Ok(())
    })?;
    let answer = vec![Stmt::If(right, answered, Vec::new())];
    // A test says when time is up; its clock stands still meanwhile.
    let over = match code.unit.test {
        true => Expr::Bool(true),
        false => held[3].clone().binary(Binary::Le, path("meta.now")),
    };
    let failed = vec![set("answer_kind", Expr::bits(8, kind::FAILED.into()))];
    let waits = held[0].clone().binary(Binary::Ne, Expr::bits(16, 0));
    let late = vec![
        set("verdict", Expr::name(verdict::STALE)),
        Stmt::If(waits.clone().binary(Binary::AndAnd, over), failed, Vec::new()),
    ];
    let answer = vec![Stmt::If(waits, answer, Vec::new())];
    code.push(Stmt::If(is_answer(), answer, late));
    let ends = kind_is(Binary::Ge, kind::FAILED);
    let taken = vec![
        unit::write(WAITING, slot(), Expr::bits(16, 0)),
        set("site", held[0].clone()),
        set("verdict", Expr::name(verdict::RUN)),
    ];
    code.push(Stmt::If(ends, taken, Vec::new()));
    Ok(plain("find_wait", code.finish()))
}

impl Code<'_, '_> {
    /// Bytes of an answer's text, as far as they are taken; a longer one is a value over the limit, whose first line
    /// says so.
    fn text_length(&mut self) -> Expr {
        let all = path("hdr.udp.length")
            .binary(Binary::Sub, Expr::bits(16, 16))
            .cast(bit(32));
        let all = self.settled(all, 32);
        let most = long(MAX_PAYLOAD.into());
        all.clone().binary(Binary::Gt, most.clone()).select(most, all)
    }

    /// The kind of an answer, and where its value is.
    fn read_text(&mut self, op: &Expr, text: Bytes, key: Bytes, result: Expr) -> Result<(), Refusal> {
        let Some(func) = reader().funcs.last() else {
            return Err(Refusal::new(CODE, "no reader of answers"));
        };
        let args = vec![Argument::Scalar, Argument::Bytes(text), Argument::Bytes(key)];
        self.enter(&func.body, &func.region, args);
        if let Some(FuncParam::Scalar(value)) = func.params.first() {
            self.frame_mut().values[value.index()] = Some(op.clone());
        }
        let read = self.whole(Goal::Return, &func.region, vec![result]);
        self.frames.pop();
        read
    }
}

impl Code<'_, '_> {
    /// Puts the value of an answer into a slot; one that is too long has failed.
    pub(super) fn take_value(&mut self, dst: SlotId, ok: &Expr, failed: &Expr) -> Result<(), Refusal> {
        let Shape::Bytes(capacity) = self.frame().body.slots[dst.index()].shape else {
            return Err(Refusal::new(CODE, "a value that goes to no bytes"));
        };
        let length = path("meta.answer_length");
        let over = length.clone().binary(Binary::Gt, long(capacity.into()));
        let refuse = vec![
            Stmt::Assign(ok.clone(), Expr::Bool(false)),
            Stmt::Assign(failed.clone(), Expr::Bool(true)),
        ];
        self.push(Stmt::If(
            ok.clone().binary(Binary::AndAnd, over),
            refuse,
            Vec::new(),
        ));
        let own = self.own(dst)?;
        let value = Bytes {
            home: Home::Words(ANSWER.to_owned()),
            start: path("meta.answer_at"),
            len: length,
        };
        let take = self.apart(|code| {
            code.set_bytes(&own, &value);
            Ok(())
        })?;
        self.push_if(ok.clone(), take, Vec::new());
        Ok(())
    }
}
