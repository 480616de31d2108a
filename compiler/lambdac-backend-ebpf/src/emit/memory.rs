//! Places, pointers, loads, stores and copies.
//!
//! A pointer is made right before its access, from a base and an offset that was just compared with the most it can be.
//! A copy whose length is only known at run time is the kernel's `bpf_probe_read_kernel` (or `bpf_xdp_load_bytes` from
//! the packet): one call instead of a loop. The verifier adds the most that offset and length can be, so memory ends
//! with as much slack.

use lambdac_mir::{Base as MirBase, FuncParam, Place, Shape, Step, View};

use super::{Bytes, Emitter, Mem, Ref, STACK_ENV, STACK_SCRATCH, Spot, Val, section};
use crate::insn::{AluOp, Cond, Helper, Imm64, Size};
use crate::layout;
use crate::packet::{self, xdp_md};
use crate::regalloc::MEMORY_SLOT;
use crate::vcode::{Arg, Base, Inst, Operand, V};

/// Longest copy that is made of loads and stores.
const INLINE_COPY: u32 = 64;
/// The largest constant offset that an access takes; with it all accesses of [`INLINE_COPY`] bytes fit 16 bits.
const NEAR: u32 = 32_000;

const BYTE: &Shape = &Shape::Scalar(8);
const VIEW: &Shape = &Shape::View;

impl Ref {
    pub(super) fn new(mem: Mem, off: u32) -> Self {
        Self {
            mem,
            off,
            index: None,
        }
    }

    pub(super) fn plus(mut self, bytes: u32) -> Self {
        self.off = self.off.saturating_add(bytes);
        self
    }
}

/// Offset and size of each piece of 8, 4, 2 and 1 bytes.
pub(super) fn pieces(len: u32) -> impl Iterator<Item = (u32, Size)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = match len - at {
            0 => return None,
            1 => Size::B,
            2..=3 => Size::H,
            4..=7 => Size::W,
            _ => Size::D,
        };
        at += size.bytes();
        Some((at - size.bytes(), size))
    })
}

impl<'m> Emitter<'m> {
    pub(super) fn moved(&mut self, at: Ref, by: &Val) -> Ref {
        match by.imm().and_then(|by| u32::try_from(by).ok()) {
            Some(by) => at.plus(by),
            None => {
                let index = match &at.index {
                    Some(index) => self.binary(AluOp::Add, &index.clone(), by),
                    None => by.clone(),
                };
                Ref {
                    index: Some(index),
                    ..at
                }
            }
        }
    }

    fn base(&mut self, base: MirBase) -> Option<Spot<'m>> {
        let module = self.shared.module;
        let (mem, shape) = match base {
            MirBase::Slot(slot) => {
                let instance = self.instance();
                let mem = *instance.slots.get(slot.index())?;
                (mem, &instance.body.slots[slot.index()].shape)
            }
            MirBase::Arg(arg) => {
                let instance = self.instance();
                let spot = instance.args.get(arg as usize)?.clone()?;
                debug_assert!(!matches!(instance.params[arg as usize], FuncParam::Scalar(_)));
                return Some(spot);
            }
            MirBase::Object(object) => {
                let lambdac_mir::ObjectKind::Value { shape, .. } = &module.objects.get(object.index())?.kind
                else {
                    return None;
                };
                (Mem::Object(object.0), shape)
            }
            MirBase::Const(id) => (Mem::Const(id.0), &module.consts.get(id.index())?.shape),
            MirBase::Param(id) => (Mem::Param(id.0), &module.params.get(id.index())?.shape),
            MirBase::Request => {
                let at = Ref {
                    mem: self.kept.unwrap_or(Mem::Request),
                    off: 0,
                    index: self.chunk.clone(),
                };
                return Some(Spot {
                    at,
                    shape: VIEW,
                    len: Some(self.len.clone()),
                });
            }
        };
        Some(Spot {
            at: Ref::new(mem, 0),
            shape,
            len: None,
        })
    }

    pub(super) fn spot(&mut self, place: &Place) -> Spot<'m> {
        let Some(mut spot) = self.base(place.base) else {
            self.invalid("a place without a base");
            return Spot {
                at: Ref::new(Mem::Request, 0),
                shape: BYTE,
                len: None,
            };
        };
        for step in &place.path {
            let cells = matches!(spot.at.mem, Mem::Object(_));
            match (spot.shape, step) {
                (Shape::Struct(fields), Step::Field(field)) => {
                    let offset = if cells {
                        layout::cells_field_offset(fields, *field)
                    } else {
                        layout::field_offset(fields, *field)
                    };
                    spot.at = spot.at.plus(offset);
                    spot.shape = &fields[*field as usize];
                }
                (Shape::Array(element, _), Step::Index(index)) => {
                    let step = if cells {
                        layout::cells_bytes(element)
                    } else {
                        layout::value_bytes(element)
                    };
                    let index = self.get(*index);
                    let by = self.binary(AluOp::Mul, &index, &Val::Imm(step.into()));
                    spot.at = self.moved(spot.at, &by);
                    spot.shape = element;
                }
                (Shape::Bytes(_), Step::Index(index)) => {
                    let index = self.get(*index);
                    spot.at = self.moved(spot.at.plus(layout::BYTES_HEADER), &index);
                    spot.shape = BYTE;
                }
                (Shape::View, Step::Index(index)) => {
                    let index = self.get(*index);
                    spot.at = self.moved(spot.at, &index);
                    spot.shape = BYTE;
                    spot.len = None;
                }
                _ => {
                    self.invalid("a step that does not fit");
                    return spot;
                }
            }
        }
        spot
    }

    /// First byte of the data of a byte string, array of bytes, or view, and the most bytes.
    pub(super) fn extent(&self, spot: Spot<'m>) -> (Ref, u32) {
        match spot.shape {
            Shape::Bytes(capacity) => (spot.at.plus(layout::BYTES_HEADER), *capacity),
            shape => {
                let max = match spot.at.mem {
                    Mem::Slot { size, .. } => size,
                    Mem::Request => self.len_max,
                    Mem::Const(id) => layout::value_bytes(&self.shared.module.consts[id as usize].shape),
                    Mem::Param(id) => layout::value_bytes(&self.shared.module.params[id as usize].shape),
                    Mem::Object(_) => u32::MAX,
                };
                (spot.at, shape.byte_array_len().unwrap_or(max))
            }
        }
    }

    pub(super) fn view(&mut self, view: &View) -> Bytes {
        let spot = self.spot(&view.place);
        let (at, max) = self.extent(spot);
        let offset = self.get(view.offset);
        let at = self.moved(at, &offset);
        let len = self.get(view.len);
        let max = len.imm().map_or(max, |len| max.min(len as u32));
        Bytes { at, len, max }
    }

    pub(super) fn len_of(&mut self, place: &Place) -> Val {
        let spot = self.spot(place);
        match (spot.shape, spot.len) {
            (_, Some(len)) => len,
            (Shape::Bytes(_), None) => {
                let (base, off) = self.pointer(&spot.at, 4);
                let reg = self.load(Size::W, base, off);
                self.val(reg)
            }
            (shape, None) => Val::Imm(shape.byte_array_len().unwrap_or(0).into()),
        }
    }

    /// A copy of a value that is at most `max`: else the invocation ends.
    pub(super) fn bounded(&mut self, val: &Val, max: u32) -> V {
        let reg = self.copy_of(val);
        let beyond = self.unreachable();
        self.branch(Cond::Gt, reg, i32::try_from(max).unwrap_or(i32::MAX), beyond);
        reg
    }

    /// Bytes from the start of some memory to its end, and whether the section of it has one.
    fn size_of(&self, mem: Mem) -> u32 {
        let shared = self.shared;
        match mem {
            Mem::Slot { size, .. } => size,
            Mem::Object(object) => match &shared.module.objects[object as usize].kind {
                lambdac_mir::ObjectKind::Value { shape, .. } => layout::cells_bytes(shape),
                lambdac_mir::ObjectKind::Counter { count, .. } => count.saturating_mul(8),
                lambdac_mir::ObjectKind::Table {
                    key, value, capacity, ..
                } => layout::ternary(key, value, *capacity).bytes,
                _ => 0,
            },
            Mem::Const(id) => layout::value_bytes(&shared.module.consts[id as usize].shape),
            Mem::Param(id) => layout::value_bytes(&shared.module.params[id as usize].shape),
            Mem::Request => packet::MAX_PAYLOAD as u32,
        }
    }

    /// Base and offset for an access of `size` bytes.
    pub(super) fn pointer(&mut self, at: &Ref, size: u32) -> (V, i16) {
        let at = match &at.index {
            Some(Val::Imm(index)) => &Ref::new(at.mem, at.off.saturating_add(*index as u32)),
            _ => at,
        };
        if at.mem == Mem::Request {
            return self.packet_pointer(at, size);
        }
        let total = self.size_of(at.mem);
        let Some(room) = total.checked_sub(at.off.saturating_add(size)) else {
            // Only code that a check before it never lets be reached.
            let mark = self.unreachable();
            self.jump(mark);
            return (self.scratch(), 0);
        };
        let index = at.index.as_ref().map(|index| self.bounded(index, room));
        let (base, mut off) = match at.mem {
            Mem::Slot { at: start, .. } => (self.scratch(), start + at.off),
            mem => (self.section_address(mem, at.off), 0),
        };
        let mut pointer = base;
        if index.is_some() || off > NEAR {
            pointer = match at.mem {
                Mem::Slot { .. } => {
                    let fresh = self.new_reg();
                    self.mov(fresh, base);
                    fresh
                }
                // Its own already.
                _ => base,
            };
            if let Some(index) = index {
                self.alu(AluOp::Add, pointer, index);
            }
            if off > NEAR {
                self.alu(AluOp::Add, pointer, off as i32);
                off = 0;
            }
        }
        (pointer, off as i16)
    }

    /// The address of a byte of a section.
    fn section_address(&mut self, mem: Mem, off: u32) -> V {
        let shared = self.shared;
        let (section, offset) = match mem {
            Mem::Const(id) => (
                Some(layout::consts_section(&shared.module.name)),
                shared.consts[id as usize] + off,
            ),
            Mem::Param(id) => (
                Some(layout::params_section(&shared.module.name)),
                shared.params[id as usize] + off,
            ),
            Mem::Object(id) => (section(shared.module, id), off),
            Mem::Slot { .. } | Mem::Request => (None, 0),
        };
        match section {
            Some(section) => self.wide(Imm64::Data { section, offset }),
            None => {
                self.invalid("an object without a section");
                self.scratch()
            }
        }
    }

    /// Start and end of the packet.
    fn packet(&mut self) -> (V, V) {
        if let Some(packet) = self.unit.packet {
            return packet;
        }
        let ctx = self.ctx();
        (
            self.load(Size::W, ctx, xdp_md::DATA),
            self.load(Size::W, ctx, xdp_md::DATA_END),
        )
    }

    fn packet_pointer(&mut self, at: &Ref, size: u32) -> (V, i16) {
        let first = packet::PAYLOAD as u32 + at.off;
        if at.off + size > packet::MAX_PAYLOAD as u32 {
            let mark = self.unreachable();
            self.jump(mark);
            return (self.scratch(), 0);
        }
        let known = at.index.is_none() && at.off + size <= self.unit.checked;
        let (mut start, end) = self.packet();
        if let (true, true) = (known, self.unit.packet.is_some()) {
            return (start, first as i16);
        }
        if let Some(index) = &at.index {
            let index = self.bounded(index, packet::MAX_PAYLOAD as u32);
            let moved = self.new_reg();
            self.mov(moved, start);
            self.alu(AluOp::Add, moved, index);
            start = moved;
        }
        let last = self.new_reg();
        self.mov(last, start);
        self.alu(AluOp::Add, last, (first + size) as i32);
        let beyond = self.unreachable();
        self.branch(Cond::Gt, last, end, beyond);
        (start, first as i16)
    }

    /// An address in one register, for an access of `size` bytes.
    pub(super) fn address(&mut self, at: &Ref, size: u32) -> V {
        let (base, off) = self.pointer(at, size);
        let reg = self.new_reg();
        self.mov(reg, base);
        if off != 0 {
            self.alu(AluOp::Add, reg, i32::from(off));
        }
        reg
    }

    /// A scalar of a value or cell.
    pub(super) fn load_scalar(&mut self, at: &Ref, width: u8) -> Val {
        if let Mem::Object(_) = at.mem {
            let bits = layout::cell_bits(width);
            let size = if bits == 32 { Size::W } else { Size::D };
            let (base, off) = self.pointer(at, size.bytes());
            let reg = self.load(size, base, off);
            self.unjustify(reg, width, bits);
            return self.val(reg);
        }
        let size = Size::of_bytes(layout::scalar_bytes(width)).unwrap_or(Size::D);
        let (base, off) = self.pointer(at, size.bytes());
        let reg = self.load(size, base, off);
        self.val(reg)
    }

    /// From a cell to a value.
    pub(super) fn unjustify(&mut self, reg: V, width: u8, bits: u32) {
        let unused = bits as i32 - i32::from(width);
        if unused > 0 {
            self.alu(AluOp::Rsh, reg, unused);
        }
    }

    /// From a value to a cell.
    pub(super) fn justified(&mut self, val: &Val, width: u8, bits: u32) -> Val {
        let unused = bits - u32::from(width);
        if unused == 0 {
            return val.clone();
        }
        if let Some(value) = val.imm() {
            return Val::Imm(value << unused);
        }
        let reg = self.copy_of(val);
        self.alu(AluOp::Lsh, reg, unused as i32);
        self.val(reg)
    }

    pub(super) fn store_scalar(&mut self, at: &Ref, width: u8, val: &Val) {
        let (size, val) = match at.mem {
            Mem::Object(_) => {
                let bits = layout::cell_bits(width);
                let size = if bits == 32 { Size::W } else { Size::D };
                (size, self.justified(val, width, bits))
            }
            _ => (
                Size::of_bytes(layout::scalar_bytes(width)).unwrap_or(Size::D),
                val.clone(),
            ),
        };
        let src = match size {
            Size::D => self.operand(&val),
            _ => self.operand32(&val),
        };
        let (base, off) = self.pointer(at, size.bytes());
        self.store(size, base, off, src);
    }

    /// Copies bytes.
    pub(super) fn copy(&mut self, dst: &Ref, src: &Ref, len: &Val, max: u32) {
        match len.imm() {
            Some(0) => {}
            Some(len) if len <= INLINE_COPY.into() => self.copy_inline(dst, src, len as u32),
            Some(len) => {
                let to = self.address(dst, len as u32);
                self.copy_by_call(to, src, Arg::Imm(len as i32), len as u32);
            }
            None => {
                let done = self.mark();
                let len = self.bounded(len, max);
                self.branch(Cond::Lt, len, 1, done);
                let to = self.address_with_slack(dst, max);
                self.copy_by_call(to, src, Arg::Reg(len), max);
                self.bind(done);
            }
        }
    }

    /// An address after which the verifier sees `max` bytes.
    pub(super) fn address_with_slack(&mut self, at: &Ref, max: u32) -> V {
        if let Mem::Slot { at: start, size } = at.mem {
            self.top = self.top.max(start.saturating_add(size).saturating_add(max));
        }
        self.address(at, 0)
    }

    fn copy_inline(&mut self, dst: &Ref, src: &Ref, len: u32) {
        let (from, from_off) = self.pointer(src, len);
        let (to, to_off) = self.pointer(dst, len);
        self.copy_pieces((to, to_off), (from, from_off), len);
    }

    pub(super) fn copy_pieces(&mut self, to: (V, i16), from: (V, i16), len: u32) {
        for (at, size) in pieces(len) {
            let word = self.load(size, from.0, from.1 + at as i16);
            self.store(size, to.0, to.1 + at as i16, word);
        }
    }

    fn copy_by_call(&mut self, to: V, src: &Ref, len: Arg, max: u32) {
        if src.mem == Mem::Request {
            self.load_packet(to, src, len);
            return;
        }
        // The address is only a number to the helper.
        let from = match src.index {
            Some(_) => self.address(src, 0),
            None => self.address(src, max.min(self.size_of(src.mem).saturating_sub(src.off))),
        };
        self.call(Helper::ProbeReadKernel, vec![Arg::Reg(to), len, Arg::Reg(from)]);
    }

    /// Copies from the payload; the length is not 0.
    fn load_packet(&mut self, to: V, src: &Ref, len: Arg) {
        let first = i32::from(packet::PAYLOAD) + src.off as i32;
        let offset = match &src.index {
            None => Arg::Imm(first),
            Some(index) => {
                let reg = self.copy_of(index);
                self.alu(AluOp::Add, reg, first);
                Arg::Reg(reg)
            }
        };
        let ctx = self.ctx();
        let result = self.call(
            Helper::XdpLoadBytes,
            vec![Arg::Reg(ctx), offset, Arg::Reg(to), len],
        );
        let beyond = self.unreachable();
        self.branch(Cond::Ne, result, 0, beyond);
    }

    /// Fills with zeros.
    pub(super) fn zero(&mut self, at: &Ref, len: u32) {
        if len <= 2 * INLINE_COPY {
            let (base, off) = self.pointer(at, len);
            for (piece, size) in pieces(len) {
                self.store(size, base, off + piece as i16, 0);
            }
            return;
        }
        let to = self.address(at, len);
        // A read of address 0 fails, and the helper then clears its destination (bpf_probe_read_kernel_common of
        // Linux kernel/trace/bpf_trace.c).
        self.call(
            Helper::ProbeReadKernel,
            vec![Arg::Reg(to), Arg::Imm(len as i32), Arg::Imm(0)],
        );
    }

    pub(super) fn zero_place(&mut self, place: &Place) {
        let spot = self.spot(place);
        match spot.shape {
            Shape::Bytes(_) => {
                let (base, off) = self.pointer(&spot.at, 4);
                self.store(Size::W, base, off, 0);
            }
            shape => {
                let size = if matches!(spot.at.mem, Mem::Object(_)) {
                    layout::cells_bytes(shape)
                } else {
                    layout::value_bytes(shape)
                };
                self.zero(&spot.at, size);
            }
        }
    }

    pub(super) fn copy_place(&mut self, dst: &Place, src: &Place) {
        let to = self.spot(dst);
        let from = self.spot(src);
        match (to.shape, from.shape) {
            (Shape::Bytes(capacity), _) => {
                let len = self.len_of_spot(&from);
                let len = self.settled(&len);
                let operand = self.operand32(&len);
                let (base, off) = self.pointer(&to.at, 4);
                self.store(Size::W, base, off, operand);
                let (from, _) = self.extent(from);
                self.copy(&to.at.plus(layout::BYTES_HEADER), &from, &len, *capacity);
            }
            (Shape::Scalar(width), _) => {
                let val = self.load_scalar(&from.at, *width);
                self.store_scalar(&to.at, *width, &val);
            }
            (shape, _) => {
                let cells = |at: &Ref| matches!(at.mem, Mem::Object(_));
                if cells(&to.at) != cells(&from.at) {
                    self.invalid("a copy between state and a value");
                }
                let size = if cells(&to.at) {
                    layout::cells_bytes(shape)
                } else {
                    layout::value_bytes(shape)
                };
                self.copy(&to.at, &from.at, &Val::Imm(size.into()), size);
            }
        }
    }

    fn len_of_spot(&mut self, spot: &Spot<'m>) -> Val {
        match (&spot.len, spot.shape) {
            (Some(len), _) => len.clone(),
            (None, Shape::Bytes(_)) => {
                let (base, off) = self.pointer(&spot.at, 4);
                let reg = self.load(Size::W, base, off);
                self.val(reg)
            }
            (None, shape) => Val::Imm(shape.byte_array_len().unwrap_or(0).into()),
        }
    }

    pub(super) fn set_len(&mut self, place: &Place, len: &Val) {
        let spot = self.spot(place);
        let operand = self.operand32(len);
        let (base, off) = self.pointer(&spot.at, 4);
        self.store(Size::W, base, off, operand);
    }

    /// Code at a unit's entry that loads what it starts with.
    pub(super) fn callback_entry(&mut self) -> Vec<Inst> {
        let mut entry = Vec::new();
        let Some(env) = self.unit.env else {
            return entry;
        };
        let loads = [(self.unit.ctx, 0), (self.unit.scratch, STACK_SCRATCH - STACK_ENV)];
        for (reg, off) in loads {
            if let Some(dst) = reg {
                entry.push(Inst::Load {
                    size: Size::D,
                    dst,
                    base: Base::Reg(env),
                    off,
                });
            }
        }
        if let (true, Some(scratch)) = (self.deep, self.unit.scratch) {
            entry.push(Inst::Store {
                size: Size::D,
                base: Base::Stack,
                off: MEMORY_SLOT,
                src: scratch.into(),
            });
        }
        entry
    }

    /// Looks the invocation's memory up.
    pub(super) fn scratch_entry(&mut self, scratch: V, ctx: V) -> Vec<Inst> {
        let before = std::mem::take(&mut self.unit.code.insts);
        let there = self.mark();
        let key = match self.shared.by_cpu {
            true => Operand::Reg(self.call(Helper::GetSmpProcessorId, Vec::new())),
            false => Operand::Imm(0),
        };
        self.push(Inst::Store {
            size: Size::W,
            base: Base::Stack,
            off: super::STACK_KEY,
            src: key,
        });
        let map = Imm64::Map(crate::abi::SCRATCH.to_owned());
        self.push(Inst::Call {
            callee: crate::vcode::Callee::Helper(Helper::MapLookupElem),
            args: vec![Arg::Wide(map), Arg::Stack(super::STACK_KEY)],
            result: Some(scratch),
        });
        self.branch(Cond::Ne, scratch, 0, there);
        self.push(Inst::Exit(Operand::Imm(packet::action::ABORTED)));
        self.bind(there);
        if self.unit.shares {
            for (off, src) in [(STACK_ENV, ctx), (STACK_SCRATCH, scratch)] {
                self.push(Inst::Store {
                    size: Size::D,
                    base: Base::Stack,
                    off,
                    src: src.into(),
                });
            }
        }
        std::mem::replace(&mut self.unit.code.insts, before)
    }
}
