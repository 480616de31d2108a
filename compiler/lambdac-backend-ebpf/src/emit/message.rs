//! The request's facts, clock and dice, replies, log lines.

use lambdac_mir::{LogArg, PktField};

use super::{Bytes, Emitter, Mem, Ref, Sink, Val};
use crate::abi::event::{self, LogItem};
use crate::abi::{self, Ended};
use crate::finish;
use crate::insn::{AluOp, Cond, Helper, Imm64, Size};
use crate::packet::{self, action, xdp_md};
use crate::vcode::{Arg, Inst, Operand, V};

/// Longest reply that is written with stores.
const INLINE_REPLY: u32 = 128;

impl<'m> Emitter<'m> {
    /// A field of the packet's headers, as it lies there.
    pub(super) fn header(&mut self, off: i16, size: Size) -> V {
        if let Some((start, _)) = self.unit.packet {
            return self.load(size, start, off);
        }
        let ctx = self.ctx();
        let start = self.load(Size::W, ctx, xdp_md::DATA);
        let end = self.load(Size::W, ctx, xdp_md::DATA_END);
        let payload = self.new_reg();
        self.mov(payload, start);
        self.alu(AluOp::Add, payload, i32::from(packet::PAYLOAD));
        let beyond = self.unreachable();
        self.branch(Cond::Gt, payload, end, beyond);
        self.load(size, start, off)
    }

    pub(super) fn pkt(&mut self, field: PktField) -> Val {
        let (off, size) = match field {
            PktField::SrcIp => (packet::IP_SOURCE, Size::W),
            PktField::SrcPort => (packet::UDP, Size::H),
            PktField::DstPort => (packet::UDP_DESTINATION, Size::H),
            PktField::RequestId => (packet::LAMBDA_REQUEST, Size::D),
            PktField::Port if self.shared.test => {
                let section = self.test_section();
                let reg = self.load(Size::H, section, abi::Test::PORT as i16);
                return self.val(reg);
            }
            PktField::Port => {
                let reg = match self.ingress.clone() {
                    Some(ingress) => self.copy_of(&ingress),
                    None => {
                        let ctx = self.ctx();
                        self.load(Size::W, ctx, xdp_md::INGRESS_IFINDEX)
                    }
                };
                self.mask(reg, 16);
                return self.val(reg);
            }
        };
        let reg = self.header(off, size);
        self.push(Inst::Swap { size, dst: reg });
        self.val(reg)
    }

    fn test_section(&mut self) -> V {
        let section = abi::TEST.to_owned();
        self.wide(Imm64::Data { section, offset: 0 })
    }

    /// The clock, which stands still during an invocation.
    pub(super) fn now(&mut self) -> Val {
        match &self.now {
            Some(now) => now.clone(),
            None => {
                self.invalid("a clock that nobody read");
                Val::Imm(0)
            }
        }
    }

    pub(super) fn read_clock(&mut self) {
        let reg = if self.shared.test {
            let section = self.test_section();
            self.load(Size::D, section, abi::Test::NOW as i16)
        } else {
            self.call(Helper::KtimeGetNs, Vec::new())
        };
        self.now = Some(self.val(reg));
    }

    pub(super) fn random(&mut self) -> Val {
        if !self.shared.test {
            let reg = self.call(Helper::GetPrandomU32, Vec::new());
            return self.val(reg);
        }
        let section = self.test_section();
        let done = self.mark();
        let rolled = self.load(Size::W, section, abi::Test::FIXED as i16);
        let fixed = self.load(Size::W, section, abi::Test::IS_FIXED as i16);
        self.branch(Cond::Ne, fixed, 0, done);
        // splitmix64, as `abi::Test` says.
        let state = self.load(Size::D, section, abi::Test::DICE as i16);
        let step = self.copy_of(&Val::Imm(0x9e37_79b9_7f4a_7c15));
        self.alu(AluOp::Add, state, step);
        self.store(Size::D, section, abi::Test::DICE as i16, state);
        for (shift, factor) in [
            (30, Some(0xbf58_476d_1ce4_e5b9)),
            (27, Some(0x94d0_49bb_1331_11eb)),
            (31, None),
        ] {
            let high = self.new_reg();
            self.mov(high, state);
            self.alu(AluOp::Rsh, high, shift);
            self.alu(AluOp::Xor, state, high);
            if let Some(factor) = factor {
                let factor = self.copy_of(&Val::Imm(factor));
                self.alu(AluOp::Mul, state, factor);
            }
        }
        self.alu(AluOp::Rsh, state, 32);
        self.mov(rolled, state);
        self.bind(done);
        self.val(rolled)
    }

    fn call_finish(&mut self, len: &Val, status: Ended) -> V {
        let ctx = self.ctx();
        let len = match len.imm().and_then(|len| i32::try_from(len).ok()) {
            Some(len) => Arg::Imm(len),
            None => Arg::Reg(self.reg(len)),
        };
        let args = vec![
            Arg::Reg(ctx),
            len,
            Arg::Imm(status.slot().cast_signed()),
            Arg::Imm(abi::counter_key(self.shared.position).cast_signed()),
        ];
        self.call_func(finish::FINISH, args)
    }

    fn exit_with(&mut self, result: V) {
        self.alu(AluOp::And, result, finish::ACTION);
        self.push(Inst::Exit(result.into()));
    }

    /// An answer without payload.
    pub(super) fn error_reply(&mut self, status: Ended) {
        let result = self.call_finish(&Val::Imm(0), status);
        self.exit_with(result);
    }

    pub(super) fn reply(&mut self, bytes: &Bytes) {
        match self.sink.clone() {
            Sink::Packet => self.reply_packet(bytes),
            Sink::Stream { buffer, filled, .. } => self.reply_chunk(bytes, buffer, filled),
        }
    }

    fn reply_packet(&mut self, bytes: &Bytes) {
        if bytes.len.imm() == Some(0) {
            return self.error_reply(Ended::Ok);
        }
        let max = bytes.max.min(packet::MAX_PAYLOAD as u32);
        let len = match bytes.len.imm() {
            Some(len) if len > max.into() => {
                let mark = self.unreachable();
                return self.jump(mark);
            }
            Some(_) => bytes.len.clone(),
            None => {
                let reg = self.bounded(&bytes.len, max);
                self.val(reg)
            }
        };
        let in_place = bytes.at.mem == Mem::Request && bytes.at.off == 0 && bytes.at.index.is_none();
        let mut from = bytes.at.clone();
        if from.mem == Mem::Request && !in_place {
            // It moves within the packet, whose pointers die in between.
            let copy = Ref::new(self.memory(packet::MAX_PAYLOAD as u32), 0);
            self.copy(&copy, &from, &len, max);
            from = copy;
        }
        // Made before the call, so that a bound that does not hold still traps.
        let source = (!in_place && from.mem != Mem::Request).then(|| match len.imm() {
            Some(len) => self.pointer(&from, len as u32),
            None => (self.address_with_slack(&from, max), 0),
        });
        let result = self.call_finish(&len, Ended::Ok);
        let store = self.mark();
        let complete = self.mark();
        self.branch(Cond::Eq, result, finish::STORE, store);
        self.branch(Cond::Ne, result, finish::NO_ROOM, complete);
        // What lies in the packet never makes it longer.
        if let Some(source) = source {
            let from = self.moved_pointer(source);
            let size = self.operand_arg(&len);
            self.post(packet::PAYLOAD.into(), from, size);
        }
        self.bind(complete);
        self.exit_with(result);
        self.bind(store);
        if let Some(source) = source {
            self.store_payload(source, &len);
        }
        self.push(Inst::Exit(Operand::Imm(action::TX)));
    }

    fn store_payload(&mut self, source: (V, i16), len: &Val) {
        let ctx = self.ctx();
        let short = len.imm().filter(|len| *len <= INLINE_REPLY.into());
        if let Some(len) = short {
            let start = self.load(Size::W, ctx, xdp_md::DATA);
            let end = self.load(Size::W, ctx, xdp_md::DATA_END);
            let last = self.new_reg();
            self.mov(last, start);
            self.alu(AluOp::Add, last, i32::from(packet::PAYLOAD) + len as i32);
            let fits = self.mark();
            self.branch(Cond::Le, last, end, fits);
            self.push(Inst::Exit(Operand::Imm(action::ABORTED)));
            self.bind(fits);
            return self.copy_pieces((start, packet::PAYLOAD), source, len as u32);
        }
        let done = self.mark();
        let size = self.operand_arg(len);
        if let Arg::Reg(reg) = size {
            self.branch(Cond::Lt, reg, 1, done);
        }
        let from = self.moved_pointer(source);
        let offset = Arg::Imm(i32::from(packet::PAYLOAD));
        let args = vec![Arg::Reg(ctx), offset, Arg::Reg(from), size];
        self.call(Helper::XdpStoreBytes, args);
        self.bind(done);
    }

    fn operand_arg(&mut self, val: &Val) -> Arg {
        match val {
            Val::Imm(imm) => Arg::Imm(*imm as i32),
            _ => Arg::Reg(self.reg(val)),
        }
    }

    fn moved_pointer(&mut self, (base, off): (V, i16)) -> V {
        let to = self.new_reg();
        self.mov(to, base);
        if off != 0 {
            self.alu(AluOp::Add, to, i32::from(off));
        }
        to
    }

    /// Has the agent send a packet that the driver leaves no room for: `headers` bytes of this one, then so many from
    /// elsewhere.
    pub(super) fn post(&mut self, headers: i32, from: V, len: Arg) {
        let ctx = self.ctx();
        let position = Arg::Imm(self.shared.position.cast_signed());
        let args = vec![Arg::Reg(ctx), Arg::Imm(headers), Arg::Reg(from), len, position];
        let result = self.call_func(finish::POST, args);
        self.exit_with(result);
    }

    /// Appends the reply to a chunk and goes on with the next one.
    fn reply_chunk(&mut self, bytes: &Bytes, buffer: Mem, filled: u32) {
        let max = bytes.max.min(packet::MAX_PAYLOAD as u32);
        let len = self.settled(&bytes.len);
        let before = self.copy_of(&Val::Home(filled));
        let before = self.val(before);
        let mut at = Ref::new(buffer, 0);
        at.index = Some(before.clone());
        self.copy(&at, &bytes.at, &len, max);
        let after = self.binary(AluOp::Add, &before, &len);
        self.store_home(filled, &after);
        self.push(Inst::Exit(Operand::Imm(0)));
    }

    pub(super) fn log(&mut self, text: &[u8], args: &'m [LogArg]) {
        let cursor = self.cursor;
        let text = &text[..text.len().min(event::LOG_MAX as usize / 2)];
        let buffer = self.memory(event::HEADER + event::LOG_MAX);
        let views = args.iter().filter(|arg| matches!(arg, LogArg::Bytes(_))).count() as u32;
        let fixed =
            8 + (text.len() as u32).next_multiple_of(8) + 16 * (args.len() as u32 - views) + 8 * views;
        // What is left, shared by the byte strings.
        let room = event::LOG_MAX
            .saturating_sub(fixed)
            .checked_div(views)
            .unwrap_or(0)
            & !7;
        let at = Ref::new(buffer, event::HEADER);
        self.log_head(&at, LogItem::TEXT, &Val::Imm(text.len() as u64));
        for (index, chunk) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let to = at.clone().plus(8 + 8 * index as u32);
            self.store_scalar(&to, 64, &Val::Imm(u64::from_le_bytes(word)));
        }
        let mut used = Val::Imm(u64::from(8 + (text.len() as u32).next_multiple_of(8)));
        for arg in args {
            if used.imm().is_some_and(|used| used + 16 > event::LOG_MAX.into()) {
                break;
            }
            used = self.log_arg(&at, &used, arg, room);
        }
        self.log_event(buffer, &used);
        self.release(cursor);
    }

    fn log_head(&mut self, at: &Ref, kind: u32, len: &Val) {
        self.store_scalar(at, 32, &Val::Imm(kind.into()));
        self.store_scalar(&at.clone().plus(4), 32, len);
    }

    /// Adds an argument; gives the bytes that are used then.
    fn log_arg(&mut self, start: &Ref, used: &Val, arg: &'m LogArg, room: u32) -> Val {
        let at = self.moved(start.clone(), used);
        let (kind, value, signed) = match arg {
            LogArg::Unsigned(value) => (LogItem::UNSIGNED, value, false),
            LogArg::Signed(value) => (LogItem::SIGNED, value, true),
            LogArg::Bool(value) => (LogItem::BOOL, value, false),
            LogArg::Bytes(view) => {
                let bytes = self.view(view);
                let max = bytes.max.min(room);
                let len = self.bin(lambdac_mir::BinOp::UMin, 32, &bytes.len, &Val::Imm(max.into()));
                let len = match bytes.len.imm() {
                    Some(len) => Val::Imm(len.min(max.into())),
                    None => len,
                };
                self.log_head(&at, LogItem::BYTES, &len);
                self.copy(&at.plus(8), &bytes.at, &len, max);
                let more = self.binary(AluOp::Add, &len, &Val::Imm(8 + 7));
                let more = self.copy_of(&more);
                self.alu(AluOp::And, more, !7);
                let more = self.val(more);
                return self.binary(AluOp::Add, used, &more);
            }
        };
        let width = self.width(*value);
        let mut val = self.get(*value);
        if signed {
            let reg = self.sign_extended(&val, width);
            val = self.val(reg);
        }
        let val = self.settled(&val);
        self.log_head(&at, kind, &Val::Imm(8));
        self.store_scalar(&at.plus(8), 64, &val);
        self.binary(AluOp::Add, used, &Val::Imm(16))
    }

    fn log_event(&mut self, buffer: Mem, used: &Val) {
        let lambda = self.lambda.map_or(event::NOBODY, |id| id.0);
        let words = [
            event::LOG,
            self.shared.position,
            lambda,
            0,
            self.loc.file.into(),
            self.loc.line,
        ];
        let at = Ref::new(buffer, 0);
        for (index, word) in words.into_iter().enumerate() {
            self.store_scalar(&at.clone().plus(4 * index as u32), 32, &Val::Imm(word.into()));
        }
        let len = self.bounded(used, event::LOG_MAX);
        let len_val = self.val(len);
        self.store_scalar(&at.clone().plus(24), 32, &len_val);
        self.store_scalar(&at.clone().plus(28), 32, &Val::Imm(0));
        self.alu(AluOp::Add, len, event::HEADER as i32);
        let from = self.address(&at, event::HEADER + event::LOG_MAX);
        let ring = Arg::Wide(Imm64::Map(abi::EVENTS.to_owned()));
        let result = self.call(
            Helper::RingbufOutput,
            vec![ring, Arg::Reg(from), Arg::Reg(len), Arg::Imm(0)],
        );
        let sent = self.mark();
        self.branch(Cond::Eq, result, 0, sent);
        self.count(Ended::EventsLost);
        self.bind(sent);
    }
}
