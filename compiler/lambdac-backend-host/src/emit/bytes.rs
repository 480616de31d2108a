//! Bit fields and checksums.

use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{BitPos, HashOp, Place, Value, View};

use super::call::runtime;
use super::func::FnEmitter;
use super::place::{Mem, data_start, pieces};
use super::scalar::ty;
use crate::Result;
use crate::layout::mask;

/// How a bit field lies.
enum FieldAt {
    /// From this bit (0 to 7) of a byte.
    Constant(Mem, u32),
    /// Anywhere: first bit counted from the address.
    Dynamic(Mem, ir::Value),
    /// Inside one byte, from this bit of it.
    InByte(Mem, ir::Value),
}

impl FnEmitter<'_, '_, '_> {
    fn field_at(&mut self, place: &Place, pos: BitPos, width: u8) -> Result<FieldAt> {
        let at = self.resolve(place)?;
        let start = data_start(&at);
        let constant = |bit: u64| FieldAt::Constant(start.plus((bit / 8) as i64), (bit % 8) as u32);
        let Some((index, stride)) = pos.index else {
            return Ok(constant(pos.bit.into()));
        };
        if let Some(known) = self.known[index.index()] {
            return Ok(constant(
                u64::from(pos.bit).saturating_add(known.saturating_mul(stride.into())),
            ));
        }
        if stride.is_multiple_of(8) {
            let mem = self.indexed(start.plus(i64::from(pos.bit / 8)), index, u64::from(stride / 8))?;
            return Ok(FieldAt::Constant(mem, pos.bit % 8));
        }
        let index = self.value(index)?;
        let index = self.extend(index);
        let bits = self.b.ins().imul_imm_s(index, i64::from(stride));
        let bit = self.b.ins().iadd_imm_s(bits, i64::from(pos.bit % 8));
        let start = start.plus(i64::from(pos.bit / 8));
        let aligned = stride.is_power_of_two() && stride < 8 && (pos.bit % 8).is_multiple_of(stride);
        if aligned && u32::from(width) <= stride {
            let byte = self.b.ins().ushr_imm_u(bit, 3);
            let ptr = self.b.ins().iadd(start.ptr, byte);
            let inside = self.b.ins().band_imm_u(bit, 7);
            return Ok(FieldAt::InByte(Mem { ptr, ..start }, inside));
        }
        Ok(FieldAt::Dynamic(start, bit))
    }

    pub(crate) fn load_bits(&mut self, result: Value, place: &Place, pos: BitPos) -> Result<()> {
        let width = self.width(result);
        let value = match self.field_at(place, pos, width)? {
            FieldAt::Constant(mem, 0) if width > 8 && width.is_multiple_of(8) => {
                let raws = self.load_raws(mem, u64::from(width / 8));
                let value = self.join_raws(&raws);
                self.raws.insert(result, raws);
                self.resize(value, ty(width))
            }
            FieldAt::Constant(mem, bit) => self.load_field(mem, bit, width),
            FieldAt::InByte(mem, bit) => {
                let byte = self.load_at(types::I8, mem);
                let up = self.b.ins().ishl(byte, bit);
                self.b.ins().ushr_imm_u(up, i64::from(8 - width))
            }
            FieldAt::Dynamic(mem, bit) => {
                let address = self.address(mem);
                let bits = self.const_i32(width.into());
                let args = [address, bit, bits];
                match self.call_runtime(runtime!(load_bits), &args, Some(types::I64)) {
                    Some(value) => self.resize(value, ty(width)),
                    None => return self.invalid("no bit field"),
                }
            }
        };
        self.define(result, value);
        Ok(())
    }

    /// The big-endian number in `count` (1 to 8) bytes, at 64 bits unless one load gives it.
    fn load_bytes(&mut self, mem: Mem, count: u64) -> ir::Value {
        let raws = self.load_raws(mem, count);
        self.join_raws(&raws)
    }

    /// `count` bytes as they lie in memory, in few pieces.
    fn load_raws(&mut self, mem: Mem, count: u64) -> Vec<ir::Value> {
        pieces(count, 8)
            .into_iter()
            .map(|(offset, ty)| self.load_at(ty, mem.plus(offset as i64)))
            .collect()
    }

    /// The big-endian number that pieces of memory are.
    fn join_raws(&mut self, raws: &[ir::Value]) -> ir::Value {
        let mut value = None;
        for raw in raws {
            let ty = self.b.func.dfg.value_type(*raw);
            let piece = if ty == types::I8 {
                *raw
            } else {
                self.b.ins().bswap(*raw)
            };
            value = Some(match value {
                None => piece,
                Some(before) => {
                    let before = self.extend(before);
                    let up = self.b.ins().ishl_imm_u(before, i64::from(ty.bits()));
                    let piece = self.extend(piece);
                    self.b.ins().bor(up, piece)
                }
            });
        }
        match value {
            Some(value) => value,
            None => self.const_i64(0),
        }
    }

    /// A field of `width` bits from `bit` of the first byte.
    pub(crate) fn load_field(&mut self, mem: Mem, bit: u32, width: u8) -> ir::Value {
        let end = u64::from(bit) + u64::from(width);
        let count = end.div_ceil(8);
        if count > 8 {
            // Nine bytes: the last one holds the low bits.
            let high = self.load_bytes(mem, 8);
            let low = self.load_at(types::I8, mem.plus(8));
            let low = self.extend(low);
            let below = (count * 8 - end) as i64;
            let high = self.b.ins().ishl_imm_u(high, 8 - below);
            let low = self.b.ins().ushr_imm_u(low, below);
            let all = self.b.ins().bor(high, low);
            let field = self.constant(types::I64, mask(width));
            return self.b.ins().band(all, field);
        }
        let all = self.load_bytes(mem, count);
        let below = count * 8 - end;
        let shifted = if below == 0 {
            all
        } else {
            self.b.ins().ushr_imm_u(all, below as i64)
        };
        let value = self.resize(shifted, ty(width));
        if bit == 0 {
            return value;
        }
        self.mask_to(value, width)
    }

    pub(crate) fn store_bits(&mut self, place: &Place, pos: BitPos, value: Value) -> Result<()> {
        let width = self.width(value);
        let value = self.value(value)?;
        match self.field_at(place, pos, width)? {
            FieldAt::Constant(mem, 0) if width.is_multiple_of(8) => self.store_whole(mem, width, value),
            FieldAt::Constant(mem, bit) if u32::from(width) + bit <= 64 => {
                self.store_field(mem, bit, width, value);
            }
            FieldAt::Constant(mem, bit) => {
                let bit = self.const_i64(bit.into());
                self.store_anywhere(mem, bit, width, value);
            }
            FieldAt::InByte(mem, bit) | FieldAt::Dynamic(mem, bit) => {
                self.store_anywhere(mem, bit, width, value);
            }
        }
        Ok(())
    }

    fn store_anywhere(&mut self, mem: Mem, bit: ir::Value, width: u8, value: ir::Value) {
        let address = self.address(mem);
        let bits = self.const_i32(width.into());
        let value = self.extend(value);
        self.call_runtime(runtime!(store_bits), &[address, bit, bits, value], None);
    }

    /// Stores whole bytes, big-endian.
    fn store_whole(&mut self, mem: Mem, width: u8, value: ir::Value) {
        let size = u64::from(width / 8);
        for (offset, piece) in pieces(size, 8) {
            let below = (size - offset) * 8 - u64::from(piece.bits());
            let part = if below == 0 {
                value
            } else {
                self.b.ins().ushr_imm_u(value, below as i64)
            };
            let part = self.resize(part, piece);
            let part = if piece == types::I8 {
                part
            } else {
                self.b.ins().bswap(part)
            };
            self.store_at(part, mem.plus(offset as i64));
        }
    }

    /// Stores a field that shares its bytes with others; field and bits before it fit 64 bits.
    fn store_field(&mut self, mem: Mem, bit: u32, width: u8, value: ir::Value) {
        let end = u64::from(bit) + u64::from(width);
        let count = end.div_ceil(8);
        let below = count * 8 - end;
        let before = self.load_bytes(mem, count);
        let before = self.extend(before);
        let hole = self.constant(types::I64, !(mask(width) << below));
        let kept = self.b.ins().band(before, hole);
        let value = self.extend(value);
        let placed = self.b.ins().ishl_imm_u(value, below as i64);
        let all = self.b.ins().bor(kept, placed);
        self.store_whole(mem, (count * 8) as u8, all);
    }

    pub(crate) fn hash(&mut self, result: Value, op: HashOp, view: &View) -> Result<()> {
        let bytes = self.view(view)?;
        let args = [self.address(bytes.mem), bytes.len];
        let function = match op {
            HashOp::Crc32 => runtime!(crc32),
            HashOp::Crc16 => runtime!(crc16),
        };
        match self.call_runtime(function, &args, Some(types::I32)) {
            Some(value) => {
                let value = self.resize(value, ty(self.width(result)));
                self.define(result, value);
                Ok(())
            }
            None => self.invalid("no checksum"),
        }
    }
}
