//! Awaits: the end of a part that asks a service.
//!
//! What the next part needs goes to a slot ([`crate::abi::wait`]), and the packet becomes the service's request. Where
//! that fails, the next part is entered at once.

use lambdac_mir::memcached::op_number;
use lambdac_mir::{PartId, ServiceCall, ServiceOp, SlotId, Value};

use super::parts::Site;
use super::{Bytes, Emitter, Mem, Ref, STACK_KEY, Val};
use crate::abi::{Ended, wait as abi};
use crate::insn::{AluOp, Bits, Cond, Helper, Imm64, Size};
use crate::layout;
use crate::packet::{self, action, xdp_md};
use crate::vcode::{Arg, Base as VBase, Inst, Mark, Operand, V};
use crate::wait::{self, Slots};

/// Longest piece of a slot that is copied with loads and stores.
const INLINE_COPY: u32 = 64;

impl<'m> Emitter<'m> {
    /// The clock after an await, for parts that read it.
    pub(super) fn clock_again(&mut self) {
        if let Some(Val::Reg { reg, .. }) = self.now.clone() {
            self.read_clock();
            if let Some(fresh) = self.now.take() {
                self.load_into(reg, &fresh);
            }
            self.now = Some(self.val(reg));
        }
    }

    /// Start and end of the packet again, after it may have changed its length.
    pub(super) fn packet_again(&mut self) {
        let Some((start, end)) = self.unit.packet else {
            return;
        };
        let ctx = self.ctx();
        for (dst, off) in [(start, xdp_md::DATA), (end, xdp_md::DATA_END)] {
            self.push(Inst::Load {
                size: Size::W,
                dst,
                base: VBase::Reg(ctx),
                off,
            });
        }
        let least = i32::from(packet::PAYLOAD) + self.unit.checked as i32;
        let last = self.new_reg();
        self.mov(last, start);
        self.alu(AluOp::Add, last, least);
        let beyond = self.unreachable();
        self.branch(Cond::Gt, last, end, beyond);
    }

    /// `base + off` in a register.
    pub(super) fn past(&mut self, base: V, off: u32) -> V {
        let reg = self.new_reg();
        self.mov(reg, base);
        self.alu(AluOp::Add, reg, off as i32);
        reg
    }

    /// The slot of an index, if it is there.
    pub(super) fn slot(&mut self, index: V, missing: Mark) -> V {
        self.push(Inst::Store {
            size: Size::W,
            base: VBase::Stack,
            off: STACK_KEY,
            src: index.into(),
        });
        let map = Arg::Wide(Imm64::Map(abi::WAITS.to_owned()));
        let slot = self.call(Helper::MapLookupElem, vec![map, Arg::Stack(STACK_KEY)]);
        self.branch(Cond::Eq, slot, 0, missing);
        slot
    }

    /// Adds to the state of our slot. An exchange, so that what was done before is seen before.
    pub(super) fn move_state(&mut self, slot: V, by: i32) {
        let word = self.load(Size::D, slot, 0);
        self.alu(AluOp::Add, word, by);
        self.push(Inst::Exchange {
            bits: Bits::B64,
            base: slot,
            off: 0,
            src: word,
        });
    }

    /// The end of a part that asks a service.
    pub(super) fn await_term(&mut self, call: &'m ServiceCall, part: PartId, args: &[Value]) {
        let (lambda, slots) = (self.lambda, self.shared.slots);
        let site = self.shared.sites.iter().enumerate();
        let mut sites = site.filter(|(_, site)| Some(site.lambda) == lambda && site.part == part);
        let (Some((entry, site)), Some(slots)) = (sites.next(), slots) else {
            return self.invalid("a wait that is not listed");
        };
        let args = self.get_all(args);
        let args: Vec<Val> = args.iter().map(|val| self.settled(val)).collect();
        let failed = self.mark();
        self.send(call, (entry as u32, site), slots, &args, failed);
        self.bind(failed);
        self.clock_again();
        let mut values = vec![Val::Imm(0), Val::Imm(1)];
        values.extend(args);
        self.enter_part(part, &values);
    }

    /// Claims a slot, fills it and sends the request; goes to `failed` with the packet as it was if that can't be.
    fn send(
        &mut self,
        call: &'m ServiceCall,
        (entry, site): (u32, &Site),
        slots: Slots,
        args: &[Val],
        failed: Mark,
    ) {
        let cursor = self.cursor;
        let key = self.view(&call.key);
        let key_len = self.settled(&key.len);
        let Some((text, len)) = self.request_text(call, &key, &key_len) else {
            return;
        };
        let (key_len, len) = (self.forgotten(&key_len), self.forgotten(&len));
        let (full, sent) = (self.mark(), self.mark());
        let index = self.call_func(wait::CLAIM, Vec::new());
        self.branch(Cond::Ge, index, slots.count as i32, full);
        let gone = self.unreachable();
        let slot = self.slot(index, gone);
        self.address_service(call, slot);
        self.store_word(slot, abi::OP, Size::B, op_number(call.op).into());
        let resume = abi::FIRST_RESUME + self.shared.position;
        self.store_word(slot, abi::RESUME, Size::W, resume);
        self.store_word(slot, abi::ENTRY, Size::W, entry);
        let operand = self.operand(&key_len);
        self.store(Size::W, slot, abi::KEY_LEN, operand);
        if call.op == ServiceOp::Get {
            // After the command's word; the key ends before the room does.
            let from = self.address(&Ref::new(text, 4), abi::MAX_KEY);
            let to = self.past(slot, abi::KEY as u32);
            let size = Arg::Imm(abi::MAX_KEY as i32);
            self.call(Helper::ProbeReadKernel, vec![Arg::Reg(to), size, Arg::Reg(from)]);
        }
        self.save_request(slot, site);
        self.save_values(slot, site, args);
        let len = self.bounded(&len, abi::MAX_REQUEST);
        self.branch(Cond::Lt, len, 1, gone);
        let from = self.address(&Ref::new(text, 0), 0);
        let ctx = self.ctx();
        let result = self.call_func(wait::ASK, vec![Arg::Reg(ctx), Arg::Reg(index), Arg::Reg(len)]);
        let post = self.mark();
        self.branch(Cond::Eq, result, 0, sent);
        self.branch(Cond::Eq, result, crate::finish::NO_ROOM, post);
        let key = Arg::Imm(crate::abi::counter_key(self.shared.position).cast_signed());
        self.call_func(crate::finish::COUNT, vec![key, Arg::Reg(result)]);
        self.packet_again();
        self.jump(failed);
        self.bind(full);
        self.count(Ended::UnsentSlots);
        self.jump(failed);
        self.bind(post);
        self.count(Ended::ServiceSent);
        self.post(wait::TEXT, from, Arg::Reg(len));
        self.bind(sent);
        let to = Arg::Imm(wait::TEXT);
        self.call(
            Helper::XdpStoreBytes,
            vec![Arg::Reg(ctx), to, Arg::Reg(from), Arg::Reg(len)],
        );
        self.count(Ended::ServiceSent);
        self.push(Inst::Exit(Operand::Imm(action::TX)));
        self.release(cursor);
    }

    /// The same value, of which the verifier no longer knows what the paths to here say of it: else it walks what follows
    /// once for each.
    fn forgotten(&mut self, val: &Val) -> Val {
        let home = self.home();
        self.store_home(home, val);
        let reg = self.copy_of(&Val::Home(home));
        self.val(reg)
    }

    fn store_word(&mut self, slot: V, off: i16, size: Size, value: u32) {
        self.store(size, slot, off, value.cast_signed());
    }

    /// Address, next hop and deadline.
    fn address_service(&mut self, call: &ServiceCall, slot: V) {
        let section = abi::services_section(&self.shared.module.name);
        let offset = call.service.0 * abi::Service::BYTES as u32;
        let service = self.wide(Imm64::Data { section, offset });
        let hop = abi::Service::HOP as i16;
        let copies = [
            (Size::W, 0, abi::PEER),
            (Size::H, 4, abi::PEER_PORT),
            (Size::H, hop, abi::HOP),
            (Size::H, hop + 2, abi::HOP + 2),
            (Size::H, hop + 4, abi::HOP + 4),
        ];
        for (size, from, to) in copies {
            let piece = self.load(size, service, from);
            self.store(size, slot, to, piece);
        }
        let timeout = self.load(Size::D, service, abi::Service::TIMEOUT as i16);
        let now = self.call(Helper::KtimeGetNs, Vec::new());
        self.alu(AluOp::Add, now, timeout);
        self.store(Size::D, slot, abi::DEADLINE, now);
    }

    /// The interface, the headers, and the payload if it is read again.
    fn save_request(&mut self, slot: V, site: &Site) {
        let port = match self.ingress.clone() {
            Some(port) => self.reg(&port),
            None => {
                let ctx = self.ctx();
                self.load(Size::W, ctx, xdp_md::INGRESS_IFINDEX)
            }
        };
        self.store(Size::W, slot, abi::IFINDEX, port);
        let beyond = self.unreachable();
        let ctx = self.ctx();
        let to = self.past(slot, abi::HEADERS as u32);
        let headers = vec![
            Arg::Reg(ctx),
            Arg::Imm(0),
            Arg::Reg(to),
            Arg::Imm(packet::PAYLOAD.into()),
        ];
        let result = self.call(Helper::XdpLoadBytes, headers);
        self.branch(Cond::Ne, result, 0, beyond);
        let Some(payload) = site.payload else {
            return;
        };
        let done = self.mark();
        let len = self.len.clone();
        let len = self.bounded(&len, packet::MAX_PAYLOAD as u32);
        self.branch(Cond::Lt, len, 1, done);
        let to = self.past(slot, payload);
        if let Some(kept) = self.kept {
            let from = self.address(&Ref::new(kept, 0), 0);
            let args = vec![Arg::Reg(to), Arg::Reg(len), Arg::Reg(from)];
            self.call(Helper::ProbeReadKernel, args);
        } else {
            let from = Arg::Imm(packet::PAYLOAD.into());
            let args = vec![Arg::Reg(ctx), from, Arg::Reg(to), Arg::Reg(len)];
            let result = self.call(Helper::XdpLoadBytes, args);
            self.branch(Cond::Ne, result, 0, beyond);
        }
        self.bind(done);
    }

    fn save_values(&mut self, slot: V, site: &Site, args: &[Val]) {
        for (word, val) in args.iter().enumerate() {
            let Ok(off) = i16::try_from(abi::SAVED as usize + 8 * word) else {
                return self.invalid("more saved values than a slot holds");
            };
            let operand = self.operand(val);
            self.store(Size::D, slot, off, operand);
        }
        for (saved, off) in &site.slots {
            self.move_slot(*saved, slot, *off, true);
        }
    }

    /// Copies a slot of the body to (or from) a wait's.
    pub(super) fn move_slot(&mut self, saved: SlotId, slot: V, off: u32, out: bool) {
        let instance = self.instance();
        let size = layout::value_bytes(&instance.body.slots[saved.index()].shape);
        let at = Ref::new(instance.slots[saved.index()], 0);
        if size <= INLINE_COPY {
            let own = self.pointer(&at, size);
            let wait = (self.past(slot, off), 0);
            let (to, from) = if out { (wait, own) } else { (own, wait) };
            return self.copy_pieces(to, from, size);
        }
        let own = self.address(&at, size);
        let wait = self.past(slot, off);
        let (to, from) = if out { (wait, own) } else { (own, wait) };
        self.call(
            Helper::ProbeReadKernel,
            vec![Arg::Reg(to), Arg::Imm(size as i32), Arg::Reg(from)],
        );
    }

    /// Writes the command; gives where and its length. The key was checked by code before it.
    fn request_text(&mut self, call: &'m ServiceCall, key: &Bytes, key_len: &Val) -> Option<(Mem, Val)> {
        let too_long = |len: &Val, most: u32| len.imm().is_some_and(|len| len > most.into());
        let buffer = self.memory(abi::MAX_REQUEST);
        let value = call.value.as_ref().map(|value| self.view(value));
        if too_long(key_len, abi::MAX_KEY)
            || value
                .as_ref()
                .is_some_and(|value| too_long(&value.len, abi::MAX_VALUE))
        {
            let mark = self.unreachable();
            self.jump(mark);
            return None;
        }
        let word: &[u8] = match call.op {
            ServiceOp::Get => b"get ",
            ServiceOp::Set => b"set ",
            ServiceOp::Delete => b"delete ",
        };
        let mut at = self.append(buffer, Val::Imm(0), word);
        at = self.append_view(buffer, at, key, key_len, abi::MAX_KEY);
        if let Some(value) = value {
            let len = self.settled(&value.len);
            // No flags, never expires.
            at = self.append(buffer, at, b" 0 0 ");
            at = self.append_number(buffer, at, &len);
            at = self.append(buffer, at, b"\r\n");
            at = self.append_view(buffer, at, &value, &len, abi::MAX_VALUE);
        }
        at = self.append(buffer, at, b"\r\n");
        Some((buffer, at))
    }

    fn append(&mut self, buffer: Mem, at: Val, text: &[u8]) -> Val {
        let to = self.moved(Ref::new(buffer, 0), &at);
        for (from, size) in super::memory::pieces(text.len() as u32) {
            let mut word = [0; 8];
            let bytes = size.bytes() as usize;
            word[..bytes].copy_from_slice(&text[from as usize..][..bytes]);
            let piece = Val::Imm(u64::from_le_bytes(word));
            self.store_scalar(&to.clone().plus(from), 8 * bytes as u8, &piece);
        }
        self.binary(AluOp::Add, &at, &Val::Imm(text.len() as u64))
    }

    fn append_view(&mut self, buffer: Mem, at: Val, view: &Bytes, len: &Val, most: u32) -> Val {
        let to = self.moved(Ref::new(buffer, 0), &at);
        self.copy(&to, &view.at, len, view.max.min(most));
        self.binary(AluOp::Add, &at, len)
    }

    /// A number below 10,000 in decimal.
    fn append_number(&mut self, buffer: Mem, at: Val, number: &Val) -> Val {
        if let Some(number) = number.imm() {
            return self.append(buffer, at, number.to_string().as_bytes());
        }
        let position = self.copy_of(&at);
        let number = self.reg(number);
        for power in [1000, 100, 10, 1] {
            let next = self.mark();
            if power > 1 {
                self.branch(Cond::Lt, number, power, next);
            }
            let digit = self.new_reg();
            self.mov(digit, number);
            self.alu(AluOp::Div, digit, power);
            self.alu(AluOp::Mod, digit, 10);
            self.alu(AluOp::Add, digit, i32::from(b'0'));
            let place = self.val(position);
            let to = self.moved(Ref::new(buffer, 0), &place);
            let digit = self.val(digit);
            self.store_scalar(&to, 8, &digit);
            self.alu(AluOp::Add, position, 1);
            self.bind(next);
        }
        self.val(position)
    }
}
