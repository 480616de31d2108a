//! Lambdas: entry, reply, and what is saved across an await.
//!
//! The save area is written compactly, in this order: the saved values (8 bytes each), the live slots (a byte string
//! takes its current length only), then the service's key and value. Every piece starts at a multiple of 8.

use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{
    Base, Lambda, LambdaId, PartId, Place, ServiceCall, ServiceOp, Shape, SlotId, Value, View,
};

use super::frame::{Home, Memory};
use super::func::{FnEmitter, Region, field};
use super::place::{Mem, data_start};
use super::scalar::ty;
use super::walk::{Facts, shape_at};
use super::{Compiled, EntryNeeds, Env, Making};
use crate::context::status;
use crate::layout::{self, BYTES_HEADER};
use crate::{Error, Result};

impl<'m> Env<'m> {
    pub(super) fn compile_lambda(&mut self, lambda: &'m Lambda, symbol: String) -> Result<Compiled> {
        let facts = Facts::of(&lambda.body, lambda.parts.iter().map(|part| &part.region));
        let at = format!("lambda `{}`", lambda.name);
        let signature = self.entry_signature();
        let id = self.declare(Some(&symbol), &signature, &at)?;
        let making = Making { at, id, signature };
        let emit = |emitter: &mut FnEmitter<'_, '_, 'm>| {
            emitter.emit_lambda(lambda)?;
            Ok(emitter.save_bytes)
        };
        let (save_bytes, frame) = self.make(making, &lambda.body, facts, emit)?;
        let needs = EntryNeeds {
            arena_bytes: frame.arena,
            save_bytes,
        };
        Ok(Compiled { id, symbol, needs })
    }
}

/// The save area while it is written or read.
struct Cursor {
    at: ir::Value,
}

impl<'m> FnEmitter<'_, '_, 'm> {
    fn emit_lambda(&mut self, lambda: &'m Lambda) -> Result<()> {
        self.arena = Some(self.load_fixed(self.ctx, field!(arena)));
        self.place_slots()?;
        self.request_max = lambda.request.max;
        self.live_slots = lambda.parts.iter().map(|part| part.live_slots.clone()).collect();
        for part in &lambda.parts {
            let block = self.block_for(&part.params);
            self.parts.push(block);
        }
        let Some(first) = self.parts.first().copied() else {
            return self.invalid("a lambda without parts");
        };
        if !lambda.parts[0].params.is_empty() {
            return self.invalid("a first part with parameters");
        }
        self.resumes = resume_points(lambda);
        let mut table = cranelift_frontend::Switch::new();
        let points: Vec<ir::Block> = self.resumes.iter().map(|_| self.b.create_block()).collect();
        if points.is_empty() {
            self.jump(first, &[]);
        } else {
            let part = self.load_context(types::I32, field!(part));
            for (index, point) in points.iter().enumerate() {
                self.b.set_cold_block(*point);
                table.set_entry(index as u128 + 1, *point);
            }
            table.emit(&mut self.b, part, first);
        }
        for (index, point) in points.into_iter().enumerate() {
            self.b.switch_to_block(point);
            let (part, dst) = self.resumes[index];
            self.resume(lambda, part, dst)?;
        }
        for (index, part) in lambda.parts.iter().enumerate() {
            let block = self.parts[index];
            self.enter_defining(block, &part.params);
            self.region(&part.region)?;
        }
        Ok(())
    }

    /// Restores what an await saved and goes to its part.
    fn resume(&mut self, lambda: &Lambda, part: PartId, dst: Option<SlotId>) -> Result<()> {
        let target = &lambda.parts[part.index()];
        let saved = self.load_context(types::I64, field!(save));
        let mut cursor = Cursor { at: saved };
        let mut ok = self.load_context(types::I8, field!(answer.ok));
        let mut failed = self.load_context(types::I8, field!(answer.failed));
        let mut args = Vec::new();
        for value in target.params.iter().skip(2) {
            let ty = ty(self.width(*value));
            let loaded = self.load_at(ty, saved_at(cursor.at));
            args.push(loaded);
            cursor.at = self.b.ins().iadd_imm_s(cursor.at, 8);
        }
        for slot in &target.live_slots {
            self.restore_slot(*slot, &mut cursor)?;
        }
        if let Some(dst) = dst {
            (ok, failed) = self.take_answer(dst, ok, failed)?;
        }
        let mut all = vec![ok, failed];
        all.extend(args);
        self.jump(self.parts[part.index()], &all);
        Ok(())
    }

    /// Copies the answer to its slot where there is one that fits.
    fn take_answer(
        &mut self,
        dst: SlotId,
        ok: ir::Value,
        failed: ir::Value,
    ) -> Result<(ir::Value, ir::Value)> {
        use cranelift_codegen::ir::condcodes::IntCC;
        let Shape::Bytes(capacity) = self.body.slots[dst.index()].shape else {
            return self.invalid("an answer for a slot that is no byte string");
        };
        let len = self.load_context(types::I32, field!(answer.len));
        let most = self.const_i32(capacity);
        let fits = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, len, most);
        let good = self.b.ins().band(ok, fits);
        let too_long = self.b.ins().band_not(ok, fits);
        let too_long = self.b.ins().band_imm_u(too_long, 1);
        let failed = self.b.ins().bor(failed, too_long);
        let (take, done) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(good, take, &[], done, &[]);
        self.b.seal_block(take);
        self.b.switch_to_block(take);
        let value = self.load_context(types::I64, field!(answer.value));
        let from = Mem {
            ptr: value,
            offset: 0,
            region: Region::Any,
        };
        let at = self.resolve(&Place::of(Base::Slot(dst)))?;
        self.copy_bytes_to(data_start(&at), from, len, None);
        self.set_len(&at, len)?;
        self.jump(done, &[]);
        self.b.seal_block(done);
        self.b.switch_to_block(done);
        Ok((good, failed))
    }

    fn restore_slot(&mut self, slot: SlotId, cursor: &mut Cursor) -> Result<()> {
        let shape = self.body.slots[slot.index()].shape.clone();
        if let Home::Variable(variable) = self.homes[slot.index()] {
            let Shape::Scalar(width) = shape else {
                return self.invalid("a variable that is no scalar");
            };
            let value = self.load_at(ty(width), saved_at(cursor.at));
            self.b.def_var(variable, value);
            cursor.at = self.b.ins().iadd_imm_s(cursor.at, 8);
            return Ok(());
        }
        let at = self.resolve(&Place::of(Base::Slot(slot)))?;
        if let Shape::Bytes(_) = shape {
            let len = self.load_at(types::I32, saved_at(cursor.at));
            let header = BYTES_HEADER as i64;
            self.copy_bytes_to(data_start(&at), saved_at(cursor.at).plus(header), len, None);
            self.set_len(&at, len)?;
            self.advance(cursor, len, header);
        } else {
            let size = layout::layout(&shape)?.size;
            let len = self.const_i32(size as u32);
            self.copy_bytes_to(at.mem, saved_at(cursor.at), len, Some(size));
            cursor.at = self
                .b
                .ins()
                .iadd_imm_s(cursor.at, size.next_multiple_of(8) as i64);
        }
        Ok(())
    }

    fn save_slot(&mut self, slot: SlotId, cursor: &mut Cursor) -> Result<u64> {
        let shape = self.body.slots[slot.index()].shape.clone();
        let size = layout::layout(&shape)?.size.next_multiple_of(8);
        if let Home::Variable(variable) = self.homes[slot.index()] {
            let value = self.b.use_var(variable);
            self.store_at(value, saved_at(cursor.at));
            cursor.at = self.b.ins().iadd_imm_s(cursor.at, 8);
            return Ok(8);
        }
        let at = self.resolve(&Place::of(Base::Slot(slot)))?;
        if let Shape::Bytes(_) = shape {
            let (len, known) = self.len(&at)?;
            self.store_at(len, saved_at(cursor.at));
            let header = BYTES_HEADER as i64;
            self.copy_bytes_to(saved_at(cursor.at).plus(header), data_start(&at), len, known);
            self.advance(cursor, len, header);
        } else {
            let bytes = layout::layout(&shape)?.size;
            let len = self.const_i32(bytes as u32);
            self.copy_bytes_to(saved_at(cursor.at), at.mem, len, Some(bytes));
            cursor.at = self.b.ins().iadd_imm_s(cursor.at, size as i64);
        }
        Ok(size + 8)
    }

    /// Moves past `header + len` bytes, up to a multiple of 8.
    fn advance(&mut self, cursor: &mut Cursor, len: ir::Value, header: i64) {
        let len = self.length64(len);
        let end = self.b.ins().iadd_imm_s(len, header + 7);
        let end = self.b.ins().band_imm_s(end, -8);
        cursor.at = self.b.ins().iadd(cursor.at, end);
    }

    pub(super) fn await_(&mut self, call: &ServiceCall, part: PartId, args: &[Value]) -> Result<()> {
        let point = (part, call.dst);
        let Some(index) = self.resumes.iter().position(|each| *each == point) else {
            return self.invalid("an await that goes on nowhere");
        };
        let live = self.live_slots_of(part)?;
        let base = self.load_context(types::I64, field!(save));
        let mut cursor = Cursor { at: base };
        let mut bytes = 8 * args.len() as u64;
        for value in args {
            let value = self.value(*value)?;
            self.store_at(value, saved_at(cursor.at));
            cursor.at = self.b.ins().iadd_imm_s(cursor.at, 8);
        }
        for slot in live {
            bytes += self.save_slot(slot, &mut cursor)?;
        }
        bytes += self.save_view(
            &call.key,
            base,
            &mut cursor,
            (field!(call.key), field!(call.key_len)),
        )?;
        if let Some(value) = &call.value {
            let fields = (field!(call.value), field!(call.value_len));
            bytes += self.save_view(value, base, &mut cursor, fields)?;
        }
        if bytes > layout::MAX_BYTES {
            return Err(Error::TooLarge {
                what: format!("what {} saves across an await", self.at),
                bytes,
                limit: layout::MAX_BYTES,
            });
        }
        self.save_bytes = self.save_bytes.max(bytes);
        let used = self.b.ins().isub(cursor.at, base);
        let used = self.b.ins().ireduce(types::I32, used);
        self.store_context(used, field!(save_len));
        let op = match call.op {
            ServiceOp::Get => 0,
            ServiceOp::Set => 1,
            ServiceOp::Delete => 2,
        };
        let limit = match call.dst.map(|slot| &self.body.slots[slot.index()].shape) {
            Some(Shape::Bytes(capacity)) => *capacity,
            _ => 0,
        };
        for (value, offset) in [
            (call.service.0, field!(call.service)),
            (op, field!(call.op)),
            (limit, field!(call.limit)),
            (index as u32 + 1, field!(part)),
        ] {
            let value = self.const_i32(value);
            self.store_context(value, offset);
        }
        self.leave(status::AWAIT);
        Ok(())
    }

    fn live_slots_of(&self, part: PartId) -> Result<Vec<SlotId>> {
        match self.live_slots.get(part.index()) {
            Some(slots) => Ok(slots.clone()),
            None => self.invalid("no such part"),
        }
    }

    /// Appends bytes to the save area and notes where they are; gives the most bytes that can take.
    fn save_view(
        &mut self,
        view: &View,
        base: ir::Value,
        cursor: &mut Cursor,
        (offset_field, len_field): (i32, i32),
    ) -> Result<u64> {
        let bytes = self.view(view)?;
        let offset = self.b.ins().isub(cursor.at, base);
        let offset = self.b.ins().ireduce(types::I32, offset);
        self.store_context(offset, offset_field);
        self.store_context(bytes.len, len_field);
        self.copy_view_to(saved_at(cursor.at), bytes);
        self.advance(cursor, bytes.len, 0);
        Ok(self.capacity(&view.place)?.next_multiple_of(8))
    }

    /// The most bytes that a view of a place can have.
    fn capacity(&self, place: &Place) -> Result<u64> {
        let module = self.env.module;
        let root = match place.base {
            Base::Slot(slot) => Some(&self.body.slots[slot.index()].shape),
            Base::Const(id) => module.consts.get(id.index()).map(|each| &each.shape),
            Base::Param(id) => module.params.get(id.index()).map(|each| &each.shape),
            Base::Object(id) => match module.objects.get(id.index()).map(|each| &each.kind) {
                Some(lambdac_mir::ObjectKind::Value { shape, .. }) => Some(shape),
                _ => None,
            },
            Base::Request => return Ok(self.request_max.into()),
            Base::Arg(_) => None,
        };
        match root.and_then(|shape| shape_at(shape, &place.path)) {
            Some(Shape::Bytes(most) | Shape::Array(_, most)) => Ok(u64::from(*most)),
            _ => self.invalid("a view of something without bytes"),
        }
    }

    pub(super) fn become_(&mut self, part: PartId, args: &[Value]) -> Result<()> {
        let Some(block) = self.parts.get(part.index()).copied() else {
            return self.invalid("no such part");
        };
        let args = self.values_of(args)?;
        self.jump(block, &args);
        Ok(())
    }

    pub(super) fn punt(&mut self, target: Option<LambdaId>) {
        match target {
            None => self.leave(status::PUNT),
            Some(lambda) => {
                let target = self.const_i32(lambda.0);
                self.store_context(target, field!(target));
                self.leave(status::PUNT_TO);
            }
        }
    }

    pub(super) fn reply(&mut self, view: &View) -> Result<()> {
        let bytes = self.view(view)?;
        let in_place = match view.place.base {
            Base::Slot(slot) => matches!(self.homes[slot.index()], Home::Memory(Memory::Reply(_), _)),
            _ => false,
        };
        if !in_place {
            let to = Mem {
                ptr: self.reply,
                offset: 0,
                region: Region::Reply,
            };
            self.copy_view_to(to, bytes);
        }
        self.store_context(bytes.len, field!(reply_len));
        self.leave(status::REPLY);
        Ok(())
    }
}

/// Where an await can go on: each part with each slot that an answer goes to, in order of appearance.
fn resume_points(lambda: &Lambda) -> Vec<(PartId, Option<SlotId>)> {
    let mut points = Vec::new();
    for part in &lambda.parts {
        super::walk::walk(&part.region, &mut |_| (), &mut |term| {
            if let lambdac_mir::Term::Await { call, part, .. } = term {
                let point = (*part, call.dst);
                if !points.contains(&point) {
                    points.push(point);
                }
            }
        });
    }
    points
}

fn saved_at(ptr: ir::Value) -> Mem {
    Mem {
        ptr,
        offset: 0,
        region: Region::Any,
    }
}
