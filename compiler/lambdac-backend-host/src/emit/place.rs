//! Places: addresses, loads, stores, whole-value copies, lengths.
//!
//! A scalar of an object is loaded and stored by one aligned access, which the machines we run on do atomically.
//! Aggregates of objects are copied cell by cell ([`crate::support::copy_cells`] where they are large).

use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{Base, Place, Shape, SlotId, Step, Value, View};

use super::frame::{Home, Memory};
use super::func::{Arg, FnEmitter, Region, field};
use super::scalar::{Linear, ty};
use crate::Result;
use crate::layout::{self, BYTES_HEADER, Layout, MAX_BYTES};

use super::call::runtime;

/// An address: pointer and constant offset.
#[derive(Clone, Copy)]
pub(crate) struct Mem {
    pub(crate) ptr: ir::Value,
    pub(crate) offset: i64,
    pub(crate) region: Region,
}

impl Mem {
    pub(crate) fn plus(self, bytes: i64) -> Self {
        Self {
            offset: self.offset + bytes,
            ..self
        }
    }
}

/// A place that was resolved.
pub(crate) struct Resolved {
    pub(crate) mem: Mem,
    pub(crate) shape: Shape,
    pub(crate) len: Length,
}

/// Where the length of a byte string is.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// In its memory, before the bytes (or it is no byte string).
    InMemory,
    /// Here; for a view, whose memory starts with its bytes.
    Value(ir::Value),
    /// In the variable of this slot.
    OfSlot(SlotId),
    /// Constant.
    Known(u32),
}

/// Bytes somewhere.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'m> {
    pub(crate) mem: Mem,
    pub(crate) len: ir::Value,
    /// The length, if constant.
    pub(crate) known: Option<u64>,
    /// The most that the length can be.
    pub(crate) most: u64,
    /// The bytes, if they are constant.
    pub(crate) data: Option<&'m [u8]>,
}

impl<'m> FnEmitter<'_, '_, 'm> {
    /// The pointer that an address is.
    pub(crate) fn address(&mut self, mem: Mem) -> ir::Value {
        if mem.offset == 0 {
            return mem.ptr;
        }
        self.b.ins().iadd_imm_s(mem.ptr, mem.offset)
    }

    /// An address whose offset fits an access that reaches `bytes` beyond it.
    fn fitting(&mut self, mem: Mem, bytes: i64) -> Mem {
        if i32::try_from(mem.offset + bytes).is_ok() {
            return mem;
        }
        let ptr = self.address(mem);
        Mem {
            ptr,
            offset: 0,
            ..mem
        }
    }

    pub(crate) fn load_at(&mut self, ty: ir::Type, mem: Mem) -> ir::Value {
        let mem = self.fitting(mem, 16);
        let flags = self.flags(mem.region);
        self.b.ins().load(ty, flags, mem.ptr, mem.offset as i32)
    }

    pub(crate) fn store_at(&mut self, value: ir::Value, mem: Mem) {
        let mem = self.fitting(mem, 16);
        let flags = self.flags(mem.region);
        self.b.ins().store(flags, value, mem.ptr, mem.offset as i32);
    }

    /// An address moved by an index times a stride.
    pub(crate) fn indexed(&mut self, mem: Mem, index: Value, stride: u64) -> Result<Mem> {
        if let Some(known) = self.known[index.index()] {
            return Ok(mem.plus((known.saturating_mul(stride)).min(i64::MAX as u64 / 2) as i64));
        }
        let (index, stride, more) = self.linear_index(index, stride);
        let index = self.value(index)?;
        let index = self.extend(index);
        let bytes = match stride {
            1 => index,
            stride if stride.is_power_of_two() => {
                self.b.ins().ishl_imm_u(index, i64::from(stride.trailing_zeros()))
            }
            stride => self.b.ins().imul_imm_s(index, stride as i64),
        };
        let ptr = self.b.ins().iadd(mem.ptr, bytes);
        Ok(Mem { ptr, ..mem }.plus(more))
    }

    /// An index times a stride as another value, another stride and a constant, where these are small.
    fn linear_index(&self, index: Value, stride: u64) -> (Value, u64, i64) {
        let Linear { root, scale, offset } = self.linear[index.index()];
        let scale = scale.checked_mul(stride).filter(|scale| *scale <= MAX_BYTES);
        let offset = offset.checked_mul(stride).filter(|offset| *offset <= MAX_BYTES);
        match (scale, offset) {
            (Some(scale), Some(offset)) => (root, scale, offset as i64),
            _ => (index, stride, 0),
        }
    }

    fn base(&mut self, base: Base) -> Result<Resolved> {
        let whole = |ptr, region, shape| Resolved {
            mem: Mem {
                ptr,
                offset: 0,
                region,
            },
            shape,
            len: Length::InMemory,
        };
        Ok(match base {
            Base::Slot(slot) => return self.slot(slot),
            Base::Arg(index) => match self.args.get(index as usize).cloned() {
                Some(Arg::Ref(ptr, shape)) => whole(ptr, Region::Any, shape),
                Some(Arg::View(ptr, len)) => Resolved {
                    len: Length::Value(len),
                    ..whole(ptr, Region::Any, Shape::View)
                },
                Some(Arg::Scalar) | None => return self.invalid("a place in a scalar parameter"),
            },
            Base::Object(object) => {
                let kind = self
                    .env
                    .module
                    .objects
                    .get(object.index())
                    .map(|object| &object.kind);
                let Some(lambdac_mir::ObjectKind::Value { shape, .. }) = kind else {
                    return self.invalid("a place in an object that is no value");
                };
                let ptr = self.object(object);
                whole(ptr, Region::Object, shape.clone())
            }
            Base::Const(id) => {
                let Some(constant) = self.env.module.consts.get(id.index()) else {
                    return self.invalid("no such constant");
                };
                let data = self.env.consts[id.index()];
                let global = self.env.clif.declare_data_in_func(data, self.b.func);
                let ptr = self.b.ins().symbol_value(types::I64, global);
                let mut resolved = whole(ptr, Region::Constant, constant.shape.clone());
                if let (Shape::Bytes(_), lambdac_mir::Data::Bytes(bytes)) = (&constant.shape, &constant.data)
                {
                    resolved.len = Length::Known(bytes.len() as u32);
                }
                resolved
            }
            Base::Param(id) => {
                let Some(param) = self.env.module.params.get(id.index()) else {
                    return self.invalid("no such parameter");
                };
                let offset = self.env.params[id.index()] as i64;
                let ptr = self.load_fixed(self.ctx, field!(params));
                let mut resolved = whole(ptr, Region::Constant, param.shape.clone());
                resolved.mem.offset = offset;
                resolved
            }
            Base::Request => Resolved {
                len: Length::Value(self.request_len),
                ..whole(self.request, Region::Request, Shape::View)
            },
        })
    }

    fn slot(&mut self, slot: SlotId) -> Result<Resolved> {
        let shape = self.body.slots[slot.index()].shape.clone();
        match self.homes[slot.index()] {
            Home::Memory(memory, len) => {
                let (ptr, offset) = self.memory_base(memory);
                let region = match memory {
                    Memory::Reply(_) => Region::Reply,
                    Memory::Stack(_) | Memory::Arena(_) => Region::Frame,
                };
                Ok(Resolved {
                    mem: Mem { ptr, offset, region },
                    shape,
                    len: if len.is_some() {
                        Length::OfSlot(slot)
                    } else {
                        Length::InMemory
                    },
                })
            }
            Home::Variable(_) | Home::Nowhere => self.invalid("the address of a scalar that has none"),
        }
    }

    /// The base of an object: its cells, or what the runtime is given.
    pub(crate) fn object(&mut self, object: lambdac_mir::ObjectId) -> ir::Value {
        let objects = self.load_fixed(self.ctx, field!(objects));
        self.load_fixed(objects, object.0 as i32 * 8)
    }

    /// Follows a place's path.
    pub(crate) fn resolve(&mut self, place: &Place) -> Result<Resolved> {
        let mut at = self.base(place.base)?;
        for step in &place.path {
            at = match (step, &at.shape) {
                (Step::Field(index), Shape::Struct(fields)) => {
                    let Some(shape) = fields.get(*index as usize) else {
                        return self.invalid("no such field");
                    };
                    Resolved {
                        mem: at.mem.plus(layout::field_offset(fields, *index)? as i64),
                        shape: shape.clone(),
                        len: Length::InMemory,
                    }
                }
                (Step::Index(index), Shape::Array(element, _)) => {
                    let stride = layout::layout(element)?.size;
                    Resolved {
                        mem: self.indexed(at.mem, *index, stride)?,
                        shape: (**element).clone(),
                        len: Length::InMemory,
                    }
                }
                (Step::Index(index), Shape::Bytes(_) | Shape::View) => {
                    let start = data_start(&at);
                    Resolved {
                        mem: self.indexed(start, *index, 1)?,
                        shape: Shape::Scalar(8),
                        len: Length::InMemory,
                    }
                }
                _ => return self.invalid("a step that its place does not have"),
            };
        }
        Ok(at)
    }

    /// The variable of a scalar slot that a place is as a whole.
    fn variable(&self, place: &Place) -> Option<cranelift_frontend::Variable> {
        match (place.base, self.homes_of(place.base)) {
            (Base::Slot(_), Some(Home::Variable(variable))) if place.path.is_empty() => Some(variable),
            _ => None,
        }
    }

    fn homes_of(&self, base: Base) -> Option<Home> {
        match base {
            Base::Slot(slot) => self.homes.get(slot.index()).copied(),
            _ => None,
        }
    }

    pub(crate) fn load(&mut self, result: Value, place: &Place) -> Result<()> {
        let value = self.load_place(place)?;
        self.define(result, value);
        Ok(())
    }

    /// The scalar at a place.
    pub(crate) fn load_place(&mut self, place: &Place) -> Result<ir::Value> {
        if let Some(variable) = self.variable(place) {
            return Ok(self.b.use_var(variable));
        }
        let resolved = self.resolve(place)?;
        match resolved.shape {
            Shape::Scalar(width) => Ok(self.load_at(ty(width), resolved.mem)),
            _ => self.invalid("a load of an aggregate"),
        }
    }

    pub(crate) fn store_place(&mut self, place: &Place, value: ir::Value) -> Result<()> {
        if let Some(variable) = self.variable(place) {
            self.b.def_var(variable, value);
            return Ok(());
        }
        let resolved = self.resolve(place)?;
        self.store_at(value, resolved.mem);
        Ok(())
    }

    /// The length of a byte string.
    pub(crate) fn len(&mut self, at: &Resolved) -> Result<(ir::Value, Option<u64>)> {
        let known = match (&at.shape, at.len) {
            (Shape::Array(_, count), _) => Some(*count),
            (_, Length::Known(len)) => Some(len),
            _ => None,
        };
        if let Some(len) = known {
            return Ok((self.const_i32(len), Some(len.into())));
        }
        let value = match at.len {
            Length::Value(value) => value,
            Length::OfSlot(slot) => match self.homes[slot.index()] {
                Home::Memory(_, Some(variable)) => self.b.use_var(variable),
                _ => return self.invalid("a byte string without a length"),
            },
            Length::InMemory | Length::Known(_) => self.load_at(types::I32, at.mem),
        };
        Ok((value, None))
    }

    pub(crate) fn set_len(&mut self, at: &Resolved, len: ir::Value) -> Result<()> {
        match at.len {
            Length::OfSlot(slot) => {
                if let Home::Memory(_, Some(variable)) = self.homes[slot.index()] {
                    self.b.def_var(variable, len);
                }
            }
            Length::InMemory => self.store_at(len, at.mem),
            Length::Value(_) | Length::Known(_) => return self.invalid("a write to a read-only byte string"),
        }
        Ok(())
    }

    /// All bytes of a place.
    pub(crate) fn whole_view(&mut self, place: &Place) -> Result<Bytes<'m>> {
        let at = self.resolve(place)?;
        let (len, known) = self.len(&at)?;
        let most = match at.shape {
            Shape::Bytes(capacity) => capacity.into(),
            _ => known.unwrap_or(u64::MAX),
        };
        Ok(Bytes {
            mem: data_start(&at),
            len,
            known,
            most,
            data: None,
        })
    }

    /// The bytes of a view.
    pub(crate) fn view(&mut self, view: &View) -> Result<Bytes<'m>> {
        let at = self.resolve(&view.place)?;
        let start = data_start(&at);
        let (known, upper) = (self.known[view.len.index()], self.upper[view.len.index()]);
        let most = match at.shape {
            Shape::Bytes(most) | Shape::Array(_, most) => upper.min(most.into()),
            _ => upper,
        };
        Ok(Bytes {
            mem: self.indexed(start, view.offset, 1)?,
            len: self.value(view.len)?,
            known,
            most,
            data: self.constant_bytes(view),
        })
    }

    /// The bytes of a view of constant data with constant ends.
    fn constant_bytes(&self, view: &View) -> Option<&'m [u8]> {
        let (Base::Const(id), []) = (view.place.base, &view.place.path[..]) else {
            return None;
        };
        let offset = usize::try_from(self.known[view.offset.index()]?).ok()?;
        let len = usize::try_from(self.known[view.len.index()]?).ok()?;
        let module = self.env.module;
        match &module.consts.get(id.index())?.data {
            lambdac_mir::Data::Bytes(bytes) => bytes.get(offset..offset.checked_add(len)?),
            lambdac_mir::Data::Int(_) | lambdac_mir::Data::List(_) => None,
        }
    }

    pub(crate) fn zero(&mut self, place: &Place) -> Result<()> {
        if let Some(variable) = self.variable(place) {
            let Shape::Scalar(width) = self.body.slots[slot_index(place)].shape else {
                return self.invalid("a variable that is no scalar");
            };
            let zero = self.constant(ty(width), 0);
            self.b.def_var(variable, zero);
            return Ok(());
        }
        let at = self.resolve(place)?;
        if let Shape::Bytes(_) = at.shape {
            let zero = self.const_i32(0);
            return self.set_len(&at, zero);
        }
        let layout = layout::layout(&at.shape)?;
        let shared = at.mem.region == Region::Object;
        if layout.size <= 64 {
            self.zero_inline(at.mem, layout);
        } else if shared {
            let args = [self.address(at.mem), self.const_i64(layout.size as i64)];
            let align = self.const_i64(layout.align as i64);
            self.call_runtime(runtime!(zero_cells), &[args[0], args[1], align], None);
        } else {
            let (config, ptr) = (self.env.config, self.address(at.mem));
            let zero = self.b.ins().iconst(types::I8, 0);
            let size = self.const_i64(layout.size as i64);
            self.b.call_memset(config, ptr, zero, size);
        }
        Ok(())
    }

    fn zero_inline(&mut self, mem: Mem, layout: Layout) {
        let shared = mem.region == Region::Object;
        let most = if shared { layout.align } else { 8 };
        for (offset, ty) in pieces(layout.size, most) {
            let zero = self.b.ins().iconst(ty, 0);
            self.store_at(zero, mem.plus(offset as i64));
        }
    }

    /// `dst = src` for whole values.
    pub(crate) fn copy(&mut self, dst: &Place, src: &Place) -> Result<()> {
        if self.variable(src).is_some() || self.variable(dst).is_some() {
            let value = self.load_place(src)?;
            return self.store_place(dst, value);
        }
        let (to, from) = (self.resolve(dst)?, self.resolve(src)?);
        if let Shape::Bytes(_) = to.shape {
            let (len, known) = self.len(&from)?;
            let start = data_start(&from);
            self.copy_bytes_to(data_start(&to), start, len, known);
            return self.set_len(&to, len);
        }
        self.copy_value(to.mem, from.mem, &to.shape)
    }

    /// Copies a value of a shape without a length of its own.
    pub(crate) fn copy_value(&mut self, to: Mem, from: Mem, shape: &Shape) -> Result<()> {
        let layout = layout::layout(shape)?;
        let shared = to.region == Region::Object || from.region == Region::Object;
        if !shared {
            let len = self.const_i32(layout.size as u32);
            self.copy_bytes_to(to, from, len, Some(layout.size));
        } else if layout.size <= 8 * layout.align {
            let values: Vec<_> = pieces(layout.size, layout.align)
                .into_iter()
                .map(|(offset, ty)| (offset, self.load_at(ty, from.plus(offset as i64))))
                .collect();
            for (offset, value) in values {
                self.store_at(value, to.plus(offset as i64));
            }
        } else {
            let (to, from) = (self.address(to), self.address(from));
            let (size, align) = (
                self.const_i64(layout.size as i64),
                self.const_i64(layout.align as i64),
            );
            self.call_runtime(runtime!(copy_cells), &[to, from, size, align], None);
        }
        Ok(())
    }
}

fn slot_index(place: &Place) -> usize {
    match place.base {
        Base::Slot(slot) => slot.index(),
        _ => 0,
    }
}

/// Where the bytes of a byte string start.
pub(crate) fn data_start(at: &Resolved) -> Mem {
    match at.shape {
        Shape::Bytes(_) => at.mem.plus(BYTES_HEADER as i64),
        _ => at.mem,
    }
}

/// Cuts `size` bytes into accesses of at most `most` bytes, as offset and type.
pub(crate) fn pieces(size: u64, most: u64) -> Vec<(u64, ir::Type)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < size {
        let left = size - at;
        let (bytes, ty) = match left.min(most) {
            16.. => (16, types::I8X16),
            8.. => (8, types::I64),
            4.. => (4, types::I32),
            2.. => (2, types::I16),
            _ => (1, types::I8),
        };
        out.push((at, ty));
        at += bytes;
    }
    out
}
