//! The continuation program: from an answer, or none, to the part that waited for it.
//!
//! It gives the answer's packet the headers of the request, loads what was saved and frees the slot; from there on a part
//! runs as it does in the first program, but that it finds the request's payload, if it reads it, in the invocation's
//! memory: drivers need not have room to make a packet much longer.

use lambdac_mir::{Lambda, LambdaId, PartId, Region, ServiceOp, SlotId};

use super::parts::{Site, order};
use super::program::reads_clock;
use super::{Emitter, Mem, Ref, Val};
use crate::abi::{Ended, Wire, wait as abi};
use crate::insn::{AluOp, Bits, Cond, Helper, Size};
use crate::layout;
use crate::packet::{self, action, xdp_md};
use crate::vcode::{Arg, Inst, Mark, Operand, V};
use crate::wait;

impl<'m> Emitter<'m> {
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
            bits: Bits::B64,
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
