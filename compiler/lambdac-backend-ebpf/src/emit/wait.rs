//! Lambdas that wait: their parts, requests to services, and continuation programs.
//!
//! All parts that a program can enter are emitted once, in an order in which jumps go forward; a part's parameters are
//! registers that whoever enters it sets. A part's end in `await` saves what the next part needs in a slot
//! ([`crate::abi::wait`]) and makes the packet the service's request. Where that fails, the next part is entered at once.
//!
//! The continuation program gives the answer's packet the headers of the request, loads what was saved and frees the
//! slot; from there on a part runs as it does in the first program, but that it finds the request's payload, if it reads
//! it, in the invocation's memory: drivers need not have room to make a packet much longer.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lambdac_mir::{
    Base, Lambda, LambdaId, Module, Op, PartId, Place, Region, ServiceCall, ServiceOp, SlotId, Term, Use,
    Value,
};

use super::program::reads_clock;
use super::{Bytes, Emitter, Mem, Ref, STACK_KEY, Val};
use crate::abi::{Ended, Wire, wait as abi};
use crate::insn::{AluOp, Cond, Helper, Imm64, Size};
use crate::layout;
use crate::packet::{self, action, xdp_md};
use crate::vcode::{Arg, Base as VBase, Inst, Mark, Operand, V};
use crate::wait::{self, Slots};

/// Longest piece of a slot that is copied with loads and stores.
const INLINE_COPY: u32 = 64;

/// Where a part is entered: the registers of its parameters, and its start.
pub(super) type Entrance = (Mark, Rc<[V]>);

/// A part that an await leads to, and what its slot holds.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    lambda: LambdaId,
    part: PartId,
    op: ServiceOp,
    /// Where a value goes.
    dst: Option<SlotId>,
    /// Offsets of the saved slots. Scalars lie before them, one a word.
    slots: Vec<(SlotId, u32)>,
    /// Offset of the request's payload, if a part from here on reads it.
    payload: Option<u32>,
    /// Bytes of the slot that are used.
    pub(crate) bytes: u32,
}

/// All sites of a workload's native lambdas; their places here are the entries of its continuation program.
pub(crate) fn sites(module: &Module, native: &[bool]) -> Vec<Site> {
    let mut sites = Vec::new();
    for (index, lambda) in module.lambdas.iter().enumerate() {
        if native.get(index) != Some(&true) {
            continue;
        }
        let mut targets: BTreeMap<PartId, (ServiceOp, Option<SlotId>)> = BTreeMap::new();
        for part in &lambda.parts {
            part.region.walk_regions(&mut |region| {
                if let Term::Await { call, part, .. } = &region.term {
                    targets.insert(*part, (call.op, call.dst));
                }
            });
        }
        for (part, answer) in targets {
            sites.push(site(LambdaId(index as u32), lambda, part, answer));
        }
    }
    sites
}

fn site(id: LambdaId, lambda: &Lambda, part: PartId, (op, dst): (ServiceOp, Option<SlotId>)) -> Site {
    let target = &lambda.parts[part.index()];
    let mut end = abi::SAVED + 8 * target.params.len().saturating_sub(2) as u32;
    let mut slots = Vec::new();
    for slot in &target.live_slots {
        slots.push((*slot, end));
        let bytes = layout::value_bytes(&lambda.body.slots[slot.index()].shape);
        end = end.saturating_add(bytes).saturating_add(7) & !7;
    }
    let payload = reads_request(lambda, part).then_some(end);
    if payload.is_some() {
        end = end.saturating_add(packet::MAX_PAYLOAD as u32);
    }
    Site {
        lambda: id,
        part,
        op,
        dst,
        slots,
        payload,
        bytes: end,
    }
}

/// The parts that a region leads to.
fn leads_to(region: &Region) -> BTreeSet<PartId> {
    let mut parts = BTreeSet::new();
    region.walk_regions(&mut |region| {
        if let Term::Await { part, .. } | Term::Become { part, .. } = &region.term {
            parts.insert(*part);
        }
    });
    parts
}

/// The parts that can run from some on, each before those that it leads to.
pub(super) fn order(lambda: &Lambda, from: &[PartId]) -> Vec<PartId> {
    let mut seen = BTreeSet::new();
    let mut reversed = Vec::new();
    // Parts lead to each other without cycles. What is left of a part's successors, and the part.
    let mut stack: Vec<(Option<PartId>, Vec<PartId>)> = vec![(None, from.to_vec())];
    while let Some((part, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) => {
                if seen.insert(next) && next.index() < lambda.parts.len() {
                    let after = leads_to(&lambda.parts[next.index()].region);
                    stack.push((Some(next), after.into_iter().collect()));
                }
            }
            None => {
                reversed.extend(*part);
                stack.pop();
            }
        }
    }
    reversed.reverse();
    reversed
}

/// Whether a part, or one that it leads to, reads bytes of the request. Its length is in the headers.
fn reads_request(lambda: &Lambda, part: PartId) -> bool {
    let mut reads = false;
    let mut look = |used: Use<'_>| {
        let place: &Place = match used {
            Use::View(view) => &view.place,
            Use::Place(place, _) => place,
            Use::Value(_) | Use::Slot(_) => return,
        };
        reads |= place.base == Base::Request;
    };
    for id in order(lambda, &[part]) {
        lambda.parts[id.index()].region.walk_regions(&mut |region| {
            for stmt in &region.stmts {
                if !matches!(stmt.op, Op::Len(_)) {
                    stmt.op.for_each_use(&mut look);
                }
            }
            region.term.for_each_use(&mut look);
        });
    }
    reads
}

impl<'m> Emitter<'m> {
    /// Emits the parts of a lambda that can run from some on; its body was entered. Part 0 starts here.
    pub(super) fn parts(&mut self, lambda: &'m Lambda, order: &[PartId]) {
        for id in order {
            let part = &lambda.parts[id.index()];
            if let Some((mark, regs)) = self.parts.get(id).cloned() {
                self.bind(mark);
                self.set_all(&part.params, &regs);
            }
            if self.region(&part.region).is_some() {
                self.invalid("a part that yields");
            }
        }
    }

    /// Entrances for parts, but for part 0.
    pub(super) fn entrances(&mut self, lambda: &Lambda, order: &[PartId]) {
        let mut parts = BTreeMap::new();
        for id in order.iter().filter(|id| id.index() > 0) {
            let params = &lambda.parts[id.index()].params;
            let regs: Rc<[V]> = params.iter().map(|_| self.new_reg()).collect();
            parts.insert(*id, (self.mark(), regs));
        }
        self.parts = parts;
    }

    pub(super) fn enter_part(&mut self, part: PartId, values: &[Val]) {
        match self.parts.get(&part).cloned() {
            Some((mark, regs)) if self.level() == 0 && regs.len() == values.len() => {
                self.move_all(&regs, values);
                self.jump(mark);
            }
            _ => self.invalid("a part that cannot be entered"),
        }
    }

    /// A part that waits is only entered at once where the request may not be sent.
    pub(super) fn count_unsent(&mut self, part: PartId) {
        let lambda = self.lambda;
        let mut sites = self.shared.sites.iter();
        if sites.any(|site| Some(site.lambda) == lambda && site.part == part) {
            self.count(Ended::UnsentKey);
        }
    }

    /// The clock after an await, for parts that read it.
    fn clock_again(&mut self) {
        if let Some(Val::Reg { reg, .. }) = self.now.clone() {
            self.read_clock();
            if let Some(fresh) = self.now.take() {
                self.load_into(reg, &fresh);
            }
            self.now = Some(self.val(reg));
        }
    }

    /// Start and end of the packet again, after it may have changed its length.
    fn packet_again(&mut self) {
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
    fn past(&mut self, base: V, off: u32) -> V {
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
            bits: crate::insn::Bits::B64,
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
        let (full, sent) = (self.mark(), self.mark());
        let index = self.call_func(wait::CLAIM, Vec::new());
        self.branch(Cond::Ge, index, slots.count as i32, full);
        let gone = self.unreachable();
        let slot = self.slot(index, gone);
        self.address_service(call, slot);
        self.store_word(slot, abi::OP, Size::B, op_number(call.op));
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
        let from = self.address(&Ref::new(text, 0), 0);
        let ctx = self.ctx();
        let result = self.call_func(wait::ASK, vec![Arg::Reg(ctx), Arg::Reg(index), Arg::Reg(len)]);
        self.branch(Cond::Eq, result, 0, sent);
        let key = Arg::Imm(crate::abi::counter_key(self.shared.position).cast_signed());
        self.call_func(crate::finish::COUNT, vec![key, Arg::Reg(result)]);
        self.packet_again();
        self.jump(failed);
        self.bind(full);
        self.count(Ended::UnsentSlots);
        self.jump(failed);
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
    fn move_slot(&mut self, saved: SlotId, slot: V, off: u32, out: bool) {
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

    /// The continuation program: from an answer, or none, to the part that waited for it.
    pub(super) fn resume(&mut self) {
        let shared = self.shared;
        let Some(slots) = shared.slots else {
            return self.invalid("a continuation program without slots");
        };
        let ctx = self.ctx();
        self.start_piece();
        let missing = self.mark();
        let scratch = self.scratch();
        let index = self.load(Size::W, scratch, wait::HAND_SLOT);
        self.branch(Cond::Ge, index, slots.count as i32, missing);
        let slot = self.slot(index, missing);
        self.request_again(ctx, slot);
        let ifindex = self.load(Size::W, slot, abi::IFINDEX);
        self.ingress = Some(self.val(ifindex));
        let entry = self.load(Size::W, slot, abi::ENTRY);
        let marks: Vec<Mark> = shared.sites.iter().map(|_| self.mark()).collect();
        for (number, mark) in marks.iter().enumerate() {
            self.branch(Cond::Eq, entry, number as i32, *mark);
        }
        self.lose(slot);
        self.bind(missing);
        self.push(Inst::Exit(Operand::Imm(action::DROP)));
        for (index, lambda) in shared.module.lambdas.iter().enumerate() {
            let id = LambdaId(index as u32);
            let own = shared.sites.iter().zip(&marks);
            let own: Vec<(&Site, Mark)> = own
                .filter(|(site, _)| site.lambda == id)
                .map(|(site, mark)| (site, *mark))
                .collect();
            if !own.is_empty() {
                self.resume_lambda(id, lambda, &own, slot);
            }
        }
        self.end_piece();
    }

    /// A slot that can't go on: freed, and the packet dropped.
    pub(super) fn lose(&mut self, slot: V) {
        self.move_state(slot, -i32::from(abi::RUNNING));
        self.wire_end(Wire::NoProgram, action::DROP);
    }

    /// Makes the packet as long as headers are, and writes the request's.
    fn request_again(&mut self, ctx: V, slot: V) {
        let resized = self.mark();
        let start = self.load(Size::W, ctx, xdp_md::DATA);
        let end = self.load(Size::W, ctx, xdp_md::DATA_END);
        let more = self.new_reg();
        self.mov(more, start);
        self.alu(AluOp::Sub, more, end);
        self.alu(AluOp::Add, more, i32::from(packet::PAYLOAD));
        let result = self.call(Helper::XdpAdjustTail, vec![Arg::Reg(ctx), Arg::Reg(more)]);
        self.branch(Cond::Eq, result, 0, resized);
        // No room behind, then before; what is in the packet does not matter any more.
        self.push(Inst::Neg {
            bits: crate::insn::Bits::B64,
            dst: more,
        });
        let result = self.call(Helper::XdpAdjustHead, vec![Arg::Reg(ctx), Arg::Reg(more)]);
        self.branch(Cond::Eq, result, 0, resized);
        self.move_state(slot, -i32::from(abi::RUNNING));
        self.wire_end(Wire::NoTailroom, action::DROP);
        self.bind(resized);
        let from = self.past(slot, abi::HEADERS as u32);
        let headers = vec![
            Arg::Reg(ctx),
            Arg::Imm(0),
            Arg::Reg(from),
            Arg::Imm(packet::PAYLOAD.into()),
        ];
        self.call(Helper::XdpStoreBytes, headers);
        let (start, end) = (self.new_reg(), self.new_reg());
        self.unit.packet = Some((start, end));
        self.packet_again();
        let len = self.wire16(start, packet::LAMBDA_LENGTH);
        let beyond = self.unreachable();
        self.branch(Cond::Gt, len, packet::MAX_PAYLOAD, beyond);
        self.len = self.val(len);
    }

    fn resume_lambda(&mut self, id: LambdaId, lambda: &'m Lambda, own: &[(&Site, Mark)], slot: V) {
        let module = self.shared.module;
        self.lambda = Some(id);
        let most = packet::MAX_PAYLOAD as u32;
        self.len_max = lambda.request.max.min(most);
        let cursor = self.cursor;
        self.kept = own
            .iter()
            .any(|(site, _)| site.payload.is_some())
            .then(|| self.memory(packet::MAX_PAYLOAD as u32));
        let roots: Vec<PartId> = own.iter().map(|(site, _)| site.part).collect();
        let order = order(lambda, &roots);
        let regions: Vec<&Region> = order.iter().map(|id| &lambda.parts[id.index()].region).collect();
        self.enter_body(&lambda.body, &[], &regions);
        self.entrances(lambda, &order);
        if regions.iter().any(|region| reads_clock(module, region)) {
            let reg = self.new_reg();
            self.now = Some(self.val(reg));
        }
        for (site, mark) in own {
            self.bind(*mark);
            self.resume_site(lambda, site, slot);
        }
        self.parts(lambda, &order);
        self.instances.pop();
        self.release(cursor);
        (self.lambda, self.now, self.kept) = (None, None, None);
    }

    fn resume_site(&mut self, lambda: &'m Lambda, site: &Site, slot: V) {
        if let (Some(payload), Some(kept)) = (site.payload, self.kept) {
            let done = self.mark();
            let len = self.len.clone();
            let len = self.reg(&len);
            self.branch(Cond::Lt, len, 1, done);
            let to = self.address(&Ref::new(kept, 0), 0);
            let from = self.past(slot, payload);
            self.call(
                Helper::ProbeReadKernel,
                vec![Arg::Reg(to), Arg::Reg(len), Arg::Reg(from)],
            );
            self.bind(done);
        }
        let params = lambda.parts[site.part.index()].params.len();
        let mut values = self.outcome(site);
        for word in 0..params.saturating_sub(2) {
            let Ok(off) = i16::try_from(abi::SAVED as usize + 8 * word) else {
                return self.invalid("more saved values than a slot holds");
            };
            let reg = self.load(Size::D, slot, off);
            values.push(self.val(reg));
        }
        for (saved, off) in &site.slots {
            self.move_slot(*saved, slot, *off, false);
        }
        self.move_state(slot, -i32::from(abi::RUNNING));
        self.clock_again();
        self.enter_part(site.part, &values);
    }

    /// `ok` and `failed`; the value goes where it belongs.
    fn outcome(&mut self, site: &Site) -> Vec<Val> {
        let scratch = self.scratch();
        let kind = self.load(Size::W, scratch, wait::HAND_KIND);
        let (ok, failed) = (self.copy_of(&Val::Imm(0)), self.copy_of(&Val::Imm(1)));
        let (answered, missing, done) = (self.mark(), self.mark(), self.mark());
        self.branch(Cond::Ne, kind, wait::TIMED_OUT, answered);
        self.count(Ended::ServiceTimedOut);
        self.jump(done);
        self.bind(answered);
        self.count(Ended::ServiceAnswered);
        self.branch(Cond::Eq, kind, wait::MISSING, missing);
        let good = match site.op {
            ServiceOp::Get => wait::VALUE,
            ServiceOp::Set | ServiceOp::Delete => wait::DONE,
        };
        self.branch(Cond::Ne, kind, good, done);
        if let Some(dst) = site.dst {
            self.take_value(dst, done);
        }
        self.constant(ok, 1);
        self.bind(missing);
        self.constant(failed, 0);
        self.bind(done);
        vec![self.val(ok), self.val(failed)]
    }

    /// Copies the value of the answer; goes to `over` if it is longer than it may be.
    fn take_value(&mut self, dst: SlotId, over: Mark) {
        let instance = self.instance();
        let capacity = match instance.body.slots[dst.index()].shape {
            lambdac_mir::Shape::Bytes(capacity) => capacity.min(abi::MAX_VALUE),
            _ => return self.invalid("a value that goes to no bytes"),
        };
        let to = Ref::new(instance.slots[dst.index()], 0);
        let scratch = self.scratch();
        let len = self.load(Size::W, scratch, wait::HAND_LEN);
        self.branch(Cond::Gt, len, capacity as i32, over);
        let (base, off) = self.pointer(&to, 4);
        self.store(Size::W, base, off, len);
        let first = self.load(Size::W, scratch, wait::HAND_AT);
        let mut from = Ref::new(
            Mem::Slot {
                at: wait::HAND_TEXT,
                size: abi::MAX_ANSWER,
            },
            0,
        );
        from.index = Some(self.val(first));
        let len = self.val(len);
        self.copy(&to.plus(layout::BYTES_HEADER), &from, &len, capacity);
    }
}

/// The operation, as a slot has it.
fn op_number(op: ServiceOp) -> u32 {
    match op {
        ServiceOp::Get => 0,
        ServiceOp::Set => 1,
        ServiceOp::Delete => 2,
    }
}
