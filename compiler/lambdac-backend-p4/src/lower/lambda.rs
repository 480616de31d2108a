//! A lambda as an action, and how it ends.
//!
//! A reply's bytes go into the words of the register [`REPLY`]; what sends it is the program's (see `wire`).

use std::rc::Rc;

use lambdac_mir::{Func, Lambda, TrapCause};

use super::code::{Bytes, Code, Ended, Ends};
use super::control::Goal;
use super::memory::{Home, WORD, WORD_BYTES};
use super::op::sum;
use super::routine::Routine;
use super::unit::{self, Unit};
use super::wait::Waiting;
use crate::ast::{Binary, Expr, For, Stmt, Trips, Type};
use crate::legal::{ASKED, REPLY as REPLY_TOO_LONG, REQUEST as REQUEST_TOO_LONG, Refusal};

/// The register that holds the request.
pub(super) const REQUEST: &str = "request";
/// The register that the reply is put into.
pub(super) const REPLY: &str = "reply";
/// Most payload bytes of a packet (wire, "Sizes").
pub(crate) const MAX_PAYLOAD: u32 = 1344;

/// What becomes of a packet: values of `meta.verdict`.
pub(super) mod verdict {
    pub const TO_HOST: &str = "TO_HOST";
    pub const RUN: &str = "RUN";
    pub const DROP: &str = "DROP";
    pub const REPLY: &str = "REPLY";
    /// The packet becomes a service's request.
    pub const ASK: &str = "ASK";
    /// The packet is for a wait that is over, or is not what it waits for.
    pub const STALE: &str = "STALE";
    /// In the order of their numbers.
    pub const ALL: [&str; 6] = [TO_HOST, RUN, DROP, REPLY, ASK, STALE];
}

/// Why a packet goes to the host: values of `meta.reason`.
pub mod reason {
    /// It is no request that the switch could answer.
    pub const NOT_OURS: &str = "NOT_OURS";
    /// A request that the host answers.
    pub const ON_HOST: &str = "ON_HOST";
    /// A lambda or the match handed it up, for the workload's fallback.
    pub const PUNTED: &str = "PUNTED";
    /// A lambda handed it to one of the host's.
    pub const PUNTED_TO: &str = "PUNTED_TO";
    /// A reply to what the host itself sent.
    pub const REPLIED: &str = "REPLIED";
    /// What the host itself sent has no reply.
    pub const DROPPED: &str = "DROPPED";
    /// In the order of their numbers.
    pub const ALL: [&str; 6] = [NOT_OURS, ON_HOST, PUNTED, PUNTED_TO, REPLIED, DROPPED];
}

/// Statuses of the λ wire.
pub(super) mod status {
    pub const BAD_REQUEST: u64 = 2;
    pub const TRAP: u64 = 3;
    pub const TOO_LARGE: u64 = 7;
}

/// `meta.name = value;`
pub(super) fn set(name: &str, value: Expr) -> Stmt {
    Stmt::Assign(Expr::name("meta").member(name), value)
}

/// Ends with an error.
pub(super) fn fail(status: u64) -> Vec<Stmt> {
    vec![
        set("verdict", Expr::name(verdict::REPLY)),
        set("status", Expr::bits(8, status)),
        set("reply_length", Expr::bits(16, 0)),
    ]
}

/// Ends with a trap.
pub(super) fn trap(cause: TrapCause) -> Vec<Stmt> {
    let mut stmts = fail(status::TRAP);
    let number = TrapCause::ALL.iter().position(|other| *other == cause);
    stmts.push(set("cause", Expr::bits(8, number.unwrap_or(0) as u64)));
    stmts
}

/// The request in front of a lambda.
pub(super) fn request() -> Bytes {
    Bytes {
        home: Home::Words(REQUEST.to_owned()),
        start: Expr::bits(32, 0),
        len: Expr::path("meta.length"),
    }
}

/// What a lambda can't be by itself.
pub(crate) fn check(lambda: &Lambda) -> Result<(), Refusal> {
    if lambda.on == Some(lambdac_mir::Side::Host) {
        return Err(Refusal::new(ASKED, "`@on(host)` asks for it"));
    }
    let (most, least) = (lambda.reply.max, lambda.request.min);
    if most > MAX_PAYLOAD {
        let reason = format!("its largest reply, {most} bytes, does not fit a packet of {MAX_PAYLOAD}");
        return Err(Refusal::new(REPLY_TOO_LONG, reason));
    }
    if least > MAX_PAYLOAD {
        let reason = format!("its smallest request, {least} bytes, does not fit a packet of {MAX_PAYLOAD}");
        return Err(Refusal::new(REQUEST_TOO_LONG, reason));
    }
    Ok(())
}

/// What runs a lambda.
pub(crate) fn routine<'m>(
    unit: &mut Unit<'m>,
    (lambda, workload): (&'m Lambda, usize),
    name: &str,
) -> Result<Routine, Refusal> {
    check(lambda)?;
    if lambda.stream {
        return super::stream::routine(unit, (lambda, workload), name);
    }
    super::room::check(lambda)?;
    let part = &lambda.parts[0];
    let mut code = Code::new(unit, name, request(), Rc::new(Message));
    if lambda.parts.len() > 1 {
        code.waiting = Some(Waiting {
            lambda,
            name: name.to_owned(),
        });
    }
    code.enter(&lambda.body, &part.region, Vec::new());
    let size = lambda.request;
    let len = || Expr::path("meta.length");
    let mut wrong = Vec::new();
    if size.min > 0 {
        wrong.push(len().binary(Binary::Lt, Expr::bits(32, size.min.into())));
    }
    if size.max < MAX_PAYLOAD {
        wrong.push(len().binary(Binary::Gt, Expr::bits(32, size.max.into())));
    }
    let body = code.apart(|code| match lambda.parts.len() {
        1 => code.whole(Goal::End, &part.region, Vec::new()),
        _ => code.scope(Goal::End, &part.region, Vec::new(), true),
    })?;
    match wrong.into_iter().reduce(|a, b| a.binary(Binary::OrOr, b)) {
        Some(wrong) => code.push(Stmt::If(wrong, fail(status::BAD_REQUEST), body)),
        None => code.out.extend(body),
    }
    code.routine(name)
}

/// What runs a condition that is a function; sets `holds`.
pub(super) fn condition<'m>(
    unit: &mut Unit<'m>,
    func: &'m Func,
    name: &str,
    holds: Expr,
) -> Result<Routine, Refusal> {
    let mut code = Code::new(unit, name, request(), Rc::new(Message));
    code.enter(&func.body, &func.region, Vec::new());
    code.assign(holds.clone(), Expr::Bool(false));
    code.function(&func.region, vec![holds])?;
    code.routine(name)
}

/// How a lambda that answers a whole message ends.
struct Message;

/// The ends of such a lambda.
pub(super) fn message<'m>() -> Rc<dyn Ends<'m> + 'm> {
    Rc::new(Message)
}

impl<'m> Ends<'m> for Message {
    fn reply(&self, code: &mut Code<'_, 'm>, bytes: &Bytes) -> Result<(), Refusal> {
        code.reply_words(bytes);
        let length = super::scalar::resized(bytes.len.clone(), 32, 16);
        code.push(set("reply_length", length));
        code.push(set("verdict", Expr::name(verdict::REPLY)));
        Ok(())
    }

    fn ended(&self, how: Ended) -> Vec<Stmt> {
        match how {
            Ended::Drop => vec![set("verdict", Expr::name(verdict::DROP))],
            Ended::Punt(None) => vec![
                set("verdict", Expr::name(verdict::TO_HOST)),
                set("reason", Expr::name(reason::PUNTED)),
            ],
            Ended::Punt(Some(to)) => vec![
                set("verdict", Expr::name(verdict::TO_HOST)),
                set("reason", Expr::name(reason::PUNTED_TO)),
                set("lambda", Expr::bits(16, to.0.into())),
            ],
            Ended::Trap(cause) => {
                let mut stmts = fail(status::TRAP);
                let number = lambdac_mir::TrapCause::ALL
                    .iter()
                    .position(|other| *other == cause);
                stmts.push(set("cause", Expr::bits(8, number.unwrap_or(0) as u64)));
                stmts
            }
        }
    }
}

impl Code<'_, '_> {
    /// Puts bytes into the reply's words.
    fn reply_words(&mut self, bytes: &Bytes) {
        if bytes.len.number() == Some(0) {
            return;
        }
        let start = bytes
            .start
            .number()
            .filter(|start| start % u64::from(WORD_BYTES) == 0);
        match (&bytes.home, start) {
            (Home::Words(name), Some(start)) => {
                let first = Expr::bits(32, start / u64::from(WORD_BYTES));
                let (name, len) = (name.clone(), bytes.len.clone());
                let count = match len.number() {
                    Some(len) => Expr::bits(32, len.div_ceil(WORD_BYTES.into())),
                    None => {
                        let up = sum(len, Expr::bits(32, u64::from(WORD_BYTES) - 1));
                        up.binary(Binary::Shr, Expr::Number(5))
                    }
                };
                self.count(count, |code, index| {
                    let word = code.word(&name, sum(first, index.clone()));
                    code.push(unit::write(REPLY, index, word));
                });
            }
            _ => self.reply_bytes(bytes),
        }
    }

    /// Byte after byte into a word, and each full word into the reply.
    fn reply_bytes(&mut self, bytes: &Bytes) {
        let word = self.wide("word", WORD);
        let (home, start, len) = (bytes.home.clone(), bytes.start.clone(), bytes.len.clone());
        let len = self.settled(len, 32);
        let shifted = word.clone().binary(Binary::Shl, Expr::Number(8));
        let is_last = |index: &Expr| {
            let low = index.clone().cast(Type::Bit(5));
            low.binary(Binary::Eq, Expr::bits(5, u64::from(WORD_BYTES) - 1))
        };
        let number = |index: Expr| index.binary(Binary::Shr, Expr::Number(5));
        let index = self.wide("i", 32);
        let body = self.apart(|code| {
            let byte = code.byte(&home, &sum(start, index.clone()));
            let byte = super::scalar::resized(byte, 8, WORD);
            code.assign(word.clone(), shifted.binary(Binary::Or, byte));
            let full = unit::write(REPLY, number(index.clone()), word.clone());
            code.push(Stmt::If(is_last(&index), vec![full], Vec::new()));
            Ok(())
        });
        let next = index.clone().binary(Binary::Add, Expr::bits(32, 1));
        self.push(Stmt::For(Box::new(For {
            first: Some(Stmt::Assign(index.clone(), Expr::bits(32, 0))),
            cond: index.clone().binary(Binary::Lt, len.clone()),
            step: Some(Stmt::Assign(index, next)),
            body: body.unwrap_or_default(),
            trips: Trips::Any,
        })));
        self.last_word(&word, &len);
    }

    /// The last word, moved up, unless the last byte filled it.
    pub(super) fn last_word(&mut self, word: &Expr, len: &Expr) {
        let number = super::scalar::resized(len.clone(), 32, 32);
        let at = match number.number() {
            Some(len) => Expr::bits(32, len / u64::from(WORD_BYTES)),
            None => number.binary(Binary::Shr, Expr::Number(5)),
        };
        match len.number() {
            Some(len) if len % u64::from(WORD_BYTES) == 0 => {}
            Some(len) => {
                let up = u64::from(WORD_BYTES) - len % u64::from(WORD_BYTES);
                let moved = word.clone().binary(Binary::Shl, Expr::Number(8 * up));
                self.push(unit::write(REPLY, at, moved));
            }
            None => {
                // 256 less eight times the length modulo 32: in 8 bits, the negative of it.
                let bits = len
                    .clone()
                    .cast(Type::Bit(8))
                    .binary(Binary::Shl, Expr::Number(3));
                let up = Expr::bits(8, 0).binary(Binary::Sub, bits);
                let moved = word.clone().binary(Binary::Shl, up);
                let some = len
                    .clone()
                    .cast(Type::Bit(5))
                    .binary(Binary::Ne, Expr::bits(5, 0));
                self.push(Stmt::If(some, vec![unit::write(REPLY, at, moved)], Vec::new()));
            }
        }
    }
}
