//! The request of a wait: memcached's command (its doc/protocol.txt) in the words of the reply, and the packet that carries
//! it. The same checks as the other targets' stand before it: a command is sent only if its key is one, and its value not
//! too long.

use lambdac_mir::memcached::{MAX_KEY, MAX_VALUE, op_number};
use lambdac_mir::{ServiceCall, ServiceOp};

use super::ingress::{call, joined};
use super::{
    CALLER, CALLERS, EXPECTED, FIRST_PORT, KEY_LENGTHS, KEY_WORDS, KEYS, OPS, UNTIL, long, path, slot,
    slot_times,
};
use crate::ast::{Binary, Expr, Stmt};
use crate::lower::code::{Bytes, Code};
use crate::lower::headers::bit;
use crate::lower::lambda::{REPLY, set};
use crate::lower::memory::{WORD, WORD_BYTES};
use crate::lower::op::sum;
use crate::lower::scalar::resized;
use crate::lower::{room, unit, wire};

/// Bytes put one behind the other into words.
struct Packer {
    to: &'static str,
    base: Expr,
    word: Expr,
    filled: Expr,
}

impl Code<'_, '_> {
    /// Whether memcached takes the call: a key is 1 to 250 bytes, none of them a blank or a control byte, and a value has
    /// at most 1024 bytes (language, section 7). Anything else could start another command, or is refused anyway. And the
    /// command needs room.
    pub(super) fn sendable(&mut self, key: &Bytes, value: Option<&Bytes>) -> Expr {
        let clean = self.local("clean", 1);
        self.assign(clean.clone(), Expr::Bool(true));
        let (home, start) = (key.home.clone(), key.start.clone());
        self.count(key.len.clone(), |code, index| {
            let byte = code.byte(&home, &sum(start, index));
            let byte = code.settled(byte, 8);
            let blank = byte.clone().binary(Binary::Le, Expr::bits(8, b' '.into()));
            let delete = byte.binary(Binary::Eq, Expr::bits(8, 0x7f));
            let soiled = vec![Stmt::Assign(clean.clone(), Expr::Bool(false))];
            code.push(Stmt::If(blank.binary(Binary::OrOr, delete), soiled, Vec::new()));
        });
        let least = key.len.clone().binary(Binary::Ne, long(0));
        let most = key.len.clone().binary(Binary::Le, long(MAX_KEY.into()));
        let all = clean.binary(Binary::AndAnd, least).binary(Binary::AndAnd, most);
        match value {
            Some(value) => {
                let most = value.len.clone().binary(Binary::Le, long(MAX_VALUE.into()));
                let room = room::takes_set(key.len.clone(), value.len.clone());
                all.binary(Binary::AndAnd, most).binary(Binary::AndAnd, room)
            }
            None => all,
        }
    }

    /// The key and the deadline into the slot, and the command into the reply's words.
    pub(super) fn ask(&mut self, call: &ServiceCall, key: &Bytes, value: Option<&Bytes>) {
        let timeout = self.unit.image.module.services[call.service.index()].timeout;
        let until = path("meta.now").binary(Binary::Add, Expr::bits(64, timeout));
        self.push(unit::write(UNTIL, slot(), until));
        self.push(unit::write(OPS, slot(), Expr::bits(8, op_number(call.op).into())));
        self.push(unit::write(KEY_LENGTHS, slot(), resized(key.len.clone(), 32, 16)));
        if call.op == ServiceOp::Get {
            let packer = self.packer(KEYS, slot_times(KEY_WORDS));
            self.pack(&packer, key);
            self.pack_end(&packer);
        }
        let word: &[u8] = match call.op {
            ServiceOp::Get => b"get ",
            ServiceOp::Set => b"set ",
            ServiceOp::Delete => b"delete ",
        };
        let packer = self.packer(REPLY, long(0));
        self.pack_text(&packer, word);
        self.pack(&packer, key);
        if let Some(value) = value {
            // No flags, never expires.
            self.pack_text(&packer, b" 0 0 ");
            self.pack_number(&packer, &value.len);
            self.pack_text(&packer, b"\r\n");
            self.pack(&packer, value);
        }
        self.pack_text(&packer, b"\r\n");
        self.pack_end(&packer);
        self.push(set("reply_length", packer.filled.cast(bit(16))));
    }

    fn packer(&mut self, to: &'static str, base: Expr) -> Packer {
        let (word, filled) = (self.wide("word", WORD), self.wide("filled", 32));
        Packer {
            to,
            base,
            word,
            filled,
        }
    }

    fn pack_byte(&mut self, packer: &Packer, byte: Expr) {
        let (word, filled) = (packer.word.clone(), packer.filled.clone());
        let shifted = word.clone().binary(Binary::Shl, Expr::Number(8));
        self.assign(word.clone(), shifted.binary(Binary::Or, resized(byte, 8, WORD)));
        let last = filled.clone().cast(bit(5));
        let full = last.binary(Binary::Eq, Expr::bits(5, u64::from(WORD_BYTES) - 1));
        let write = unit::write(packer.to, packer.at(), word);
        self.push(Stmt::If(full, vec![write], Vec::new()));
        self.assign(filled.clone(), sum(filled, long(1)));
    }

    fn pack_text(&mut self, packer: &Packer, text: &[u8]) {
        for byte in text {
            self.pack_byte(packer, Expr::bits(8, (*byte).into()));
        }
    }

    fn pack(&mut self, packer: &Packer, bytes: &Bytes) {
        let (home, start) = (bytes.home.clone(), bytes.start.clone());
        self.count(bytes.len.clone(), |code, index| {
            let byte = code.byte(&home, &sum(start, index));
            code.pack_byte(packer, byte);
        });
    }

    /// A number below 10,000 in decimal. P4 divides by no variable and v1model by no constant but powers of two: a
    /// multiplication and a shift give the same quotients for so small numbers.
    fn pack_number(&mut self, packer: &Packer, number: &Expr) {
        if let Some(number) = number.number() {
            return self.pack_text(packer, number.to_string().as_bytes());
        }
        let (rest, digit) = (self.wide("rest", 32), self.wide("digit", 32));
        self.assign(rest.clone(), number.clone());
        for (power, factor) in [(1000, 4_195), (100, 41_944), (10, 419_431), (1, 1 << 22)] {
            let product = rest
                .clone()
                .cast(bit(64))
                .binary(Binary::Mul, Expr::bits(64, factor));
            let quotient = product.binary(Binary::Shr, Expr::Number(22)).cast(bit(32));
            self.assign(digit.clone(), quotient);
            let shown = self.apart(|code| {
                let text = digit
                    .clone()
                    .cast(bit(8))
                    .binary(Binary::Add, Expr::bits(8, b'0'.into()));
                code.pack_byte(packer, text);
                Ok(())
            });
            let some = match power {
                1 => Expr::Bool(true),
                _ => number.clone().binary(Binary::Ge, long(power)),
            };
            self.push_if(some, shown.unwrap_or_default(), Vec::new());
            let taken = digit.clone().binary(Binary::Mul, long(power));
            self.assign(rest.clone(), rest.clone().binary(Binary::Sub, taken));
        }
    }

    /// The last word, moved up, unless the last byte filled it.
    fn pack_end(&mut self, packer: &Packer) {
        let filled = packer.filled.clone();
        let bits = filled.clone().cast(bit(8)).binary(Binary::Shl, Expr::Number(3));
        let up = Expr::bits(8, 0).binary(Binary::Sub, bits);
        let moved = packer.word.clone().binary(Binary::Shl, up);
        let some = filled.cast(bit(5)).binary(Binary::Ne, Expr::bits(5, 0));
        let write = unit::write(packer.to, packer.at(), moved);
        self.push(Stmt::If(some, vec![write], Vec::new()));
    }
}

impl Packer {
    /// The word that is being filled.
    fn at(&self) -> Expr {
        sum(
            self.base.clone(),
            self.filled.clone().binary(Binary::Shr, Expr::Number(5)),
        )
    }
}

/// The request's packet becomes the service's.
pub(super) fn ask() -> Vec<Stmt> {
    let assign = |place: &str, value: Expr| Stmt::Assign(path(place), value);
    let caller = CALLER.iter().map(|(name, _)| path(name)).collect();
    let lot = Expr::name("lot");
    let id = lot
        .clone()
        .slice(25, 18)
        .binary(Binary::Concat, slot().slice(7, 0));
    let port = Expr::bits(6, (FIRST_PORT >> 10).into()).binary(Binary::Concat, lot.clone().slice(9, 0));
    let draw = vec![lot, long(0), long(u32::MAX.into())];
    let length = |more: u64| path("meta.reply_length").binary(Binary::Add, Expr::bits(16, more));
    let expected = joined(
        [
            "hdr.service.id",
            "hdr.udp.src",
            "meta.peer_address",
            "meta.peer_port",
            "meta.peer_egress",
        ]
        .map(path)
        .to_vec(),
    );
    let mut body = vec![
        unit::write(CALLERS, slot(), joined(caller)),
        Stmt::Var(bit(32), "lot".to_owned(), Some(long(0))),
        Stmt::Call(path("random").call(draw)),
        Stmt::Call(path("hdr.service.setValid").call(Vec::new())),
        assign("hdr.service.id", id),
        assign("hdr.service.sequence", Expr::bits(16, 0)),
        assign("hdr.service.total", Expr::bits(16, 1)),
        assign("hdr.service.reserved", Expr::bits(16, 0)),
        Stmt::Call(path("hdr.lambda.setInvalid").call(Vec::new())),
        assign("hdr.ethernet.src", path("hdr.ethernet.dst")),
        assign("hdr.ethernet.dst", path("meta.peer_mac")),
        assign("hdr.ipv4.src", path("hdr.ipv4.dst")),
        assign("hdr.ipv4.dst", path("meta.peer_address")),
        assign("hdr.udp.src", port),
        assign("hdr.udp.dst", path("meta.peer_port")),
        unit::write(EXPECTED, slot(), expected),
        assign("hdr.udp.length", length(16)),
    ];
    body.extend(wire::fresh_headers(length(36)));
    body.push(call("send_payload"));
    let frame = length(14 + 20 + 8 + 8).cast(bit(32));
    body.extend([
        Stmt::Call(path("truncate").call(vec![frame])),
        assign("std.egress_spec", path("meta.peer_egress").cast(bit(9))),
    ]);
    body
}
