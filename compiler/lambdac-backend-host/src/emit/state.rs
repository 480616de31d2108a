//! Statements that touch memory or state.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, AtomicRmwOp, InstBuilder, types};
use lambdac_mir::{
    KeyPart, LogArg, ObjectId, ObjectKind, Op, Operand, PktField, Place, RmwOp, Shape, TableKind, Value,
};

use super::call::runtime;
use super::func::{FnEmitter, Region, field};
use super::place::{Mem, data_start};
use super::scalar::ty;
use crate::Result;
use crate::context::LogValue;
use crate::layout::{self, Layout};

/// Key and value of an object as code sees them.
struct Entries<'m> {
    key: &'m [KeyPart],
    value: &'m Shape,
}

impl<'m> FnEmitter<'_, '_, 'm> {
    /// All operations but those on scalars and control flow.
    pub(super) fn memory_op(&mut self, results: &[Value], op: &Op) -> Result<()> {
        match (op, results) {
            (Op::Load(place), [result]) => self.load(*result, place),
            (Op::Store(place, value), []) => {
                let value = self.value(*value)?;
                self.store_place(place, value)
            }
            (Op::Zero(place), []) => self.zero(place),
            (Op::Copy { dst, src }, []) => self.copy(dst, src),
            (Op::Len(place), [result]) => {
                let at = self.resolve(place)?;
                let (len, known) = self.len(&at)?;
                self.known[result.index()] = known;
                if let Shape::Bytes(most) | Shape::Array(_, most) = at.shape {
                    self.upper[result.index()] = most.into();
                }
                if place.base == lambdac_mir::Base::Request && place.path.is_empty() && self.request_max > 0 {
                    self.upper[result.index()] = self.request_max.into();
                }
                self.define(*result, len);
                Ok(())
            }
            (Op::SetLen(place, len), []) => {
                let len = self.value(*len)?;
                let at = self.resolve(place)?;
                self.set_len(&at, len)
            }
            (Op::CopyBytes { dst, offset, src }, []) => self.copy_bytes(dst, *offset, src),
            (Op::EqBytes(a, b), [result]) => self.equal_bytes(*result, a, b),
            (Op::LoadBits(place, pos), [result]) => self.load_bits(*result, place, *pos),
            (Op::StoreBits(place, pos, value), []) => self.store_bits(place, *pos, *value),
            (Op::Hash(op, view), [result]) => self.hash(*result, *op, view),
            (Op::Now, [result]) => {
                let now = self.load_context(types::I64, field!(now));
                self.define(*result, now);
                Ok(())
            }
            (Op::Random, [result]) => self.runtime_result(*result, runtime!(random), &[]),
            (Op::Pkt(field), [result]) => {
                let value = self.packet_field(*field);
                self.define(*result, value);
                Ok(())
            }
            (Op::AtomicRmw(op, place, value), [result]) => self.rmw(*result, *op, place, *value),
            (Op::AtomicCas { place, old, new }, [result]) => self.cas(*result, place, *old, *new),
            (Op::CounterAdd(object, index, amount), []) => {
                let cell = self.counter(*object, *index)?;
                let amount = self.value(*amount)?;
                let (flags, address) = (self.flags(cell.region), self.address(cell));
                self.b
                    .ins()
                    .atomic_rmw(types::I64, flags, AtomicRmwOp::Add, address, amount);
                Ok(())
            }
            (Op::CounterRead(object, index), [result]) => {
                let cell = self.counter(*object, *index)?;
                let value = self.load_at(types::I64, cell);
                self.define(*result, value);
                Ok(())
            }
            (Op::MapGet { object, key, dst }, _) => {
                self.lookup(results, *object, key, dst.as_ref(), runtime!(map_get))
            }
            (Op::TableGet { object, key, dst }, _) => {
                self.lookup(results, *object, key, dst.as_ref(), runtime!(table_get))
            }
            (Op::TableHas { object, key }, [result]) => {
                let nowhere = self.const_i64(0);
                let key = self.key(*object, key)?;
                let base = self.object(*object);
                self.runtime_result(*result, runtime!(table_get), &[base, key, nowhere])
            }
            (Op::MapPut { object, key, value }, [result]) => self.map_put(*result, *object, key, value),
            (Op::MapRemove { object, key }, [result]) => {
                let key = self.key(*object, key)?;
                let base = self.object(*object);
                self.runtime_result(*result, runtime!(map_remove), &[base, key])
            }
            (Op::MapFetchAdd { object, key, value }, [found, old]) => {
                self.map_fetch_add((*found, *old), *object, key, *value)
            }
            (Op::Log(text, args), []) => self.log(text, args),
            _ => self.invalid("an operation with the wrong number of results"),
        }
    }

    pub(crate) fn packet_field(&mut self, field: PktField) -> ir::Value {
        let offset = match field {
            PktField::SrcIp => field!(src_ip),
            PktField::SrcPort => field!(src_port),
            PktField::DstPort => field!(dst_port),
            PktField::Port => field!(port),
            PktField::RequestId => field!(request_id),
        };
        self.load_context(ty(field.width()), offset)
    }

    /// Calls the runtime with the context and `args`; the `i32` it returns becomes the result.
    fn runtime_result(&mut self, result: Value, offset: i32, args: &[ir::Value]) -> Result<()> {
        let mut all = vec![self.ctx];
        all.extend(args);
        let Some(value) = self.call_runtime(offset, &all, Some(types::I32)) else {
            return self.invalid("no result");
        };
        let value = self.resize(value, ty(self.width(result)));
        self.define(result, value);
        Ok(())
    }

    fn cell(&mut self, place: &Place) -> Result<(ir::Value, u8)> {
        let at = self.resolve(place)?;
        let Shape::Scalar(width) = at.shape else {
            return self.invalid("an atomic operation on an aggregate");
        };
        Ok((self.address(at.mem), width))
    }

    fn rmw(&mut self, result: Value, op: RmwOp, place: &Place, value: Value) -> Result<()> {
        let value = self.value(value)?;
        let (cell, width) = self.cell(place)?;
        let ty = ty(width);
        let flags = self.flags(Region::Object);
        let whole = u32::from(width) == ty.bits();
        let machine = match op {
            RmwOp::Swap => Some(AtomicRmwOp::Xchg),
            RmwOp::Add if whole => Some(AtomicRmwOp::Add),
            RmwOp::Sub if whole => Some(AtomicRmwOp::Sub),
            RmwOp::Add | RmwOp::Sub => None,
        };
        let old = match machine {
            Some(machine) => self.b.ins().atomic_rmw(ty, flags, machine, cell, value),
            None => self.rmw_loop(op, cell, width, value),
        };
        self.define(result, old);
        Ok(())
    }

    /// Compares and exchanges until nobody came between.
    fn rmw_loop(&mut self, op: RmwOp, cell: ir::Value, width: u8, value: ir::Value) -> ir::Value {
        let ty = ty(width);
        let flags = self.flags(Region::Object);
        let first = self.b.ins().load(ty, flags, cell, 0);
        let (again, done) = (self.b.create_block(), self.b.create_block());
        let expected = self.b.append_block_param(again, ty);
        self.jump(again, &[first]);
        self.b.switch_to_block(again);
        let raw = match op {
            RmwOp::Sub => self.b.ins().isub(expected, value),
            RmwOp::Add | RmwOp::Swap => self.b.ins().iadd(expected, value),
        };
        let new = self.mask_to(raw, width);
        let seen = self.b.ins().atomic_cas(flags, cell, expected, new);
        let stored = self.b.ins().icmp(IntCC::Equal, seen, expected);
        self.b.ins().brif(stored, done, &[], again, &[seen.into()]);
        self.b.seal_block(again);
        self.b.seal_block(done);
        self.b.switch_to_block(done);
        expected
    }

    fn cas(&mut self, result: Value, place: &Place, old: Value, new: Value) -> Result<()> {
        let (old, new) = (self.value(old)?, self.value(new)?);
        let (cell, _) = self.cell(place)?;
        let flags = self.flags(Region::Object);
        let seen = self.b.ins().atomic_cas(flags, cell, old, new);
        let stored = self.b.ins().icmp(IntCC::Equal, seen, old);
        self.define(result, stored);
        Ok(())
    }

    fn counter(&mut self, object: ObjectId, index: Option<Value>) -> Result<Mem> {
        let cell = Mem {
            ptr: self.object(object),
            offset: 0,
            region: Region::Object,
        };
        match index {
            None => Ok(cell),
            Some(index) => self.indexed(cell, index, 8),
        }
    }

    fn entries(&self, object: ObjectId) -> Result<Entries<'m>> {
        let module = self.env.module;
        match module.objects.get(object.index()).map(|object| &object.kind) {
            Some(
                ObjectKind::Lru { key, value, .. }
                | ObjectKind::Map { key, value, .. }
                | ObjectKind::Table { key, value, .. },
            ) => Ok(Entries { key, value }),
            _ => self.invalid("an object without entries"),
        }
    }

    /// The address of a key.
    fn key(&mut self, object: ObjectId, parts: &[Operand]) -> Result<ir::Value> {
        let entries = self.entries(object)?;
        if let ([KeyPart::Bytes(_)], [part @ (Operand::View(_) | Operand::Place(_))]) = (entries.key, parts) {
            let bytes = self.key_bytes(part)?;
            if bytes.region != Region::Object {
                return Ok(self.address(bytes));
            }
        }
        let size = layout::key_bytes(entries.key)?;
        let buffer = self.temporary(Layout { size, align: 8 })?;
        let mut at = Mem {
            ptr: buffer,
            offset: 0,
            region: Region::Frame,
        };
        for (part, operand) in entries.key.iter().zip(parts) {
            self.key_part(*part, operand, at)?;
            at = at.plus(layout::key_part_bytes(*part) as i64);
        }
        Ok(buffer)
    }

    fn key_bytes(&mut self, operand: &Operand) -> Result<Mem> {
        match operand {
            Operand::View(view) => Ok(self.view(view)?.mem),
            Operand::Place(place) => {
                let at = self.resolve(place)?;
                Ok(data_start(&at))
            }
            Operand::Value(_) => self.invalid("a scalar for a key's bytes"),
        }
    }

    fn key_part(&mut self, part: KeyPart, operand: &Operand, at: Mem) -> Result<()> {
        match (part, operand) {
            (KeyPart::Scalar(_), Operand::Value(value)) => {
                let value = self.value(*value)?;
                self.store_key_scalar(value, at);
            }
            (KeyPart::Bytes(len), operand) => {
                let from = self.key_bytes(operand)?;
                let bytes = self.const_i32(len);
                self.copy_bytes_to(at, from, bytes, Some(len.into()));
            }
            (KeyPart::Scalar(_), _) => return self.invalid("an aggregate for a key's scalar"),
        }
        Ok(())
    }

    pub(crate) fn store_key_scalar(&mut self, value: ir::Value, at: Mem) {
        let ty = self.b.func.dfg.value_type(value);
        let big = if ty == types::I8 {
            value
        } else {
            self.b.ins().bswap(value)
        };
        self.store_at(big, at);
    }

    fn lookup(
        &mut self,
        results: &[Value],
        object: ObjectId,
        key: &[Operand],
        dst: Option<&Place>,
        function: i32,
    ) -> Result<()> {
        let shape = self.entries(object)?.value;
        let key = self.key(object, key)?;
        let base = self.object(object);
        match (results, dst, shape) {
            ([found, value], None, Shape::Scalar(width)) => {
                let cell = self.temporary(Layout { size: 8, align: 8 })?;
                let at = Mem {
                    ptr: cell,
                    offset: 0,
                    region: Region::Frame,
                };
                let ty = ty(*width);
                let zero = self.constant(ty, 0);
                self.store_at(zero, at);
                self.runtime_result(*found, function, &[base, key, cell])?;
                let loaded = self.load_at(ty, at);
                self.define(*value, loaded);
                Ok(())
            }
            ([found], Some(dst), shape) => self.lookup_into(*found, dst, shape, (base, key), function),
            ([found], None, _) => {
                let nowhere = self.temporary_for(shape)?;
                self.runtime_result(*found, function, &[base, key, nowhere])
            }
            _ => self.invalid("a lookup with the wrong results"),
        }
    }

    /// A lookup whose value goes to a place.
    fn lookup_into(
        &mut self,
        found: Value,
        dst: &Place,
        shape: &Shape,
        (base, key): (ir::Value, ir::Value),
        function: i32,
    ) -> Result<()> {
        let at = self.resolve(dst)?;
        let same = at.shape == *shape && at.mem.region != Region::Object;
        if same {
            let address = self.address(at.mem);
            return self.runtime_result(found, function, &[base, key, address]);
        }
        // Into cells, or into a larger byte string: by way of memory of our own, and only where there is a value.
        let through = self.temporary_for(shape)?;
        self.runtime_result(found, function, &[base, key, through])?;
        let (store, done) = (self.b.create_block(), self.b.create_block());
        let holds = self.value(found)?;
        self.b.ins().brif(holds, store, &[], done, &[]);
        self.b.seal_block(store);
        self.b.switch_to_block(store);
        let from = Mem {
            ptr: through,
            offset: 0,
            region: Region::Frame,
        };
        let to = self.resolve(dst)?;
        if let Shape::Bytes(_) = shape {
            let len = self.load_at(types::I32, from);
            let header = layout::BYTES_HEADER as i64;
            self.copy_bytes_to(data_start(&to), from.plus(header), len, None);
            self.set_len(&to, len)?;
        } else {
            self.copy_value(to.mem, from, shape)?;
        }
        self.jump(done, &[]);
        self.b.seal_block(done);
        self.b.switch_to_block(done);
        Ok(())
    }

    fn map_put(&mut self, result: Value, object: ObjectId, key: &[Operand], value: &Operand) -> Result<()> {
        let shape = self.entries(object)?.value;
        let key = self.key(object, key)?;
        let base = self.object(object);
        let address = match (value, shape) {
            (Operand::Value(value), Shape::Scalar(_)) => {
                let value = self.value(*value)?;
                let cell = self.temporary(Layout { size: 8, align: 8 })?;
                self.store_at(value, frame_at(cell));
                cell
            }
            (Operand::View(_) | Operand::Place(_), Shape::Bytes(_)) => {
                let bytes = match value {
                    Operand::View(view) => self.view(view)?,
                    Operand::Place(place) => self.whole_view(place)?,
                    Operand::Value(_) => return self.invalid("a scalar for a byte string"),
                };
                let address = self.address(bytes.mem);
                let args = [base, key, address, bytes.len];
                return self.runtime_result(result, runtime!(map_put_bytes), &args);
            }
            (Operand::Place(place), shape) => {
                let at = self.resolve(place)?;
                if at.mem.region == Region::Object {
                    let through = self.temporary_for(shape)?;
                    self.copy_value(frame_at(through), at.mem, shape)?;
                    through
                } else {
                    self.address(at.mem)
                }
            }
            // An array of bytes given as a view of all of them.
            (Operand::View(view), _) => {
                let bytes = self.view(view)?;
                self.address(bytes.mem)
            }
            (Operand::Value(_), _) => return self.invalid("a scalar for an aggregate"),
        };
        self.runtime_result(result, runtime!(map_put), &[base, key, address])
    }

    fn map_fetch_add(
        &mut self,
        (found, old): (Value, Value),
        object: ObjectId,
        key: &[Operand],
        amount: Value,
    ) -> Result<()> {
        let key = self.key(object, key)?;
        let base = self.object(object);
        let amount = self.value(amount)?;
        let amount = self.extend(amount);
        let cell = self.temporary(Layout { size: 8, align: 8 })?;
        self.runtime_result(found, runtime!(map_fetch_add), &[base, key, amount, cell])?;
        let before = self.load_at(types::I64, frame_at(cell));
        let before = self.resize(before, ty(self.width(old)));
        self.define(old, before);
        Ok(())
    }

    fn log(&mut self, text: &[u8], args: &[LogArg]) -> Result<()> {
        let size = (args.len() * size_of::<LogValue>()) as u64;
        let list = self.temporary(Layout { size, align: 8 })?;
        for (index, arg) in args.iter().enumerate() {
            let at = frame_at(list).plus((index * size_of::<LogValue>()) as i64);
            let (kind, len, value) = match arg {
                LogArg::Unsigned(value) | LogArg::Bool(value) => {
                    let kind = if matches!(arg, LogArg::Bool(_)) { 2 } else { 0 };
                    let value = self.value(*value)?;
                    (kind, None, self.extend(value))
                }
                LogArg::Signed(value) => {
                    let width = self.width(*value);
                    let value = self.value(*value)?;
                    let signed = self.signed(value, width);
                    let wide = match ty(width) {
                        types::I64 => signed,
                        _ => self.b.ins().sextend(types::I64, signed),
                    };
                    (1, None, wide)
                }
                LogArg::Bytes(view) => {
                    let bytes = self.view(view)?;
                    (3, Some(bytes.len), self.address(bytes.mem))
                }
            };
            let kind = self.const_i32(kind);
            self.store_at(kind, at);
            let len = match len {
                Some(len) => len,
                None => self.const_i32(0),
            };
            self.store_at(len, at.plus(4));
            self.store_at(value, at.plus(8));
        }
        let data = self.env.data(text)?;
        let global = self.env.clif.declare_data_in_func(data, self.b.func);
        let text_at = self.b.ins().symbol_value(types::I64, global);
        let (len, count) = (
            self.const_i32(text.len() as u32),
            self.const_i32(args.len() as u32),
        );
        self.call_runtime(runtime!(log), &[self.ctx, text_at, len, list, count], None);
        Ok(())
    }

    /// Whether a table has a key that stands in memory, as an `i8`; for the match stage.
    pub(crate) fn table_has(&mut self, object: ObjectId, key: ir::Value) -> Result<ir::Value> {
        let nowhere = self.const_i64(0);
        let base = self.object(object);
        let args = [self.ctx, base, key, nowhere];
        match self.call_runtime(runtime!(table_get), &args, Some(types::I32)) {
            Some(found) => Ok(self.resize(found, types::I8)),
            None => self.invalid("no result"),
        }
    }

    /// The parts of a table's key; for the match stage.
    pub(crate) fn table_key(&self, object: ObjectId) -> Result<&'m [KeyPart]> {
        let module = self.env.module;
        match module.objects.get(object.index()).map(|object| &object.kind) {
            Some(ObjectKind::Table {
                kind: TableKind::Exact | TableKind::Lpm | TableKind::Ternary,
                key,
                ..
            }) => Ok(key),
            _ => self.invalid("no such table"),
        }
    }
}

/// Memory of the function's own at a pointer.
fn frame_at(ptr: ir::Value) -> Mem {
    Mem {
        ptr,
        offset: 0,
        region: Region::Frame,
    }
}
