//! Byte strings: copies, comparison, bit fields, checksums.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{BitPos, HashOp, Place, Value, View};

use super::call::runtime;
use super::func::FnEmitter;
use super::place::{Bytes, Mem, data_start, pieces};
use super::scalar::ty;
use crate::Result;
use crate::layout::mask;

/// The longest copy of constant length that is made in line.
const INLINE_COPY: u64 = 128;
/// The longest comparison with constant length that is made in line.
const INLINE_COMPARE: u64 = 64;

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
    /// Copies bytes; they may overlap only as a whole.
    pub(crate) fn copy_bytes_to(&mut self, to: Mem, from: Mem, len: ir::Value, known: Option<u64>) {
        match known {
            Some(len) if len <= INLINE_COPY => {
                let parts = pieces(len, 16);
                let values: Vec<_> = parts
                    .iter()
                    .map(|(offset, ty)| self.load_at(*ty, from.plus(*offset as i64)))
                    .collect();
                for ((offset, _), value) in parts.iter().zip(values) {
                    self.store_at(value, to.plus(*offset as i64));
                }
            }
            _ => {
                let (to, from) = (self.address(to), self.address(from));
                let (config, len) = (self.env.config, self.length64(len));
                self.b.call_memcpy(config, to, from, len);
            }
        }
    }

    pub(crate) fn copy_bytes(&mut self, dst: &Place, offset: Value, src: &View) -> Result<()> {
        let from = self.view(src)?;
        let at = self.resolve(dst)?;
        let to = self.indexed(data_start(&at), offset, 1)?;
        self.copy_bytes_to(to, from.mem, from.len, from.known);
        Ok(())
    }

    /// Whether two views are equal, as an `i8`.
    pub(crate) fn equal_bytes(&mut self, result: Value, a: &View, b: &View) -> Result<()> {
        let (a, b) = (self.view(a)?, self.view(b)?);
        let equal = match (a.known, b.known) {
            (Some(x), Some(y)) if x != y => self.constant(types::I8, 0),
            (Some(len), Some(_)) => self.equal_contents(a, b, Some(len)),
            (x, y) => {
                let join = self.b.create_block();
                let equal = self.b.append_block_param(join, types::I8);
                let contents = self.b.create_block();
                let same = self.b.ins().icmp(IntCC::Equal, a.len, b.len);
                let zero = self.constant(types::I8, 0);
                self.b.ins().brif(same, contents, &[], join, &[zero.into()]);
                self.b.seal_block(contents);
                self.b.switch_to_block(contents);
                let decided = self.equal_contents(a, b, x.or(y));
                self.jump(join, &[decided]);
                self.b.seal_block(join);
                self.b.switch_to_block(join);
                equal
            }
        };
        self.define(result, equal);
        Ok(())
    }

    /// Whether bytes of one length are equal.
    fn equal_contents(&mut self, a: Bytes, b: Bytes, known: Option<u64>) -> ir::Value {
        match known {
            Some(0) => self.constant(types::I8, 1),
            Some(len) if len <= INLINE_COMPARE => {
                let mut difference = None;
                for (offset, ty) in overlapping_pieces(len) {
                    let x = self.load_at(ty, a.mem.plus(offset as i64));
                    let y = self.load_at(ty, b.mem.plus(offset as i64));
                    let bits = self.b.ins().bxor(x, y);
                    difference = Some(match difference {
                        None => bits,
                        Some(before) => self.b.ins().bor(before, bits),
                    });
                }
                match difference {
                    Some(bits) => self.b.ins().icmp_imm_u(IntCC::Equal, bits, 0),
                    None => self.constant(types::I8, 1),
                }
            }
            _ => {
                let (x, y) = (self.address(a.mem), self.address(b.mem));
                let (config, len) = (self.env.config, self.length64(a.len));
                let order = self.b.call_memcmp(config, x, y, len);
                self.b.ins().icmp_imm_u(IntCC::Equal, order, 0)
            }
        }
    }

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

    /// A big-endian number of 1, 2, 4 or 8 bytes.
    fn load_big(&mut self, ty: ir::Type, mem: Mem) -> ir::Value {
        let raw = self.load_at(ty, mem);
        if ty == types::I8 {
            raw
        } else {
            self.b.ins().bswap(raw)
        }
    }

    /// The big-endian number in `count` (1 to 8) bytes, at 64 bits unless one load gives it.
    fn load_bytes(&mut self, mem: Mem, count: u64) -> ir::Value {
        let mut value = None;
        for (offset, ty) in pieces(count, 8) {
            let piece = self.load_big(ty, mem.plus(offset as i64));
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

/// Cuts `len` bytes into equal accesses of which the last may overlap the one before it.
fn overlapping_pieces(len: u64) -> Vec<(u64, ir::Type)> {
    let (bytes, ty) = match len {
        8.. => (8, types::I64),
        4.. => (4, types::I32),
        2.. => (2, types::I16),
        _ => (1, types::I8),
    };
    let mut out: Vec<_> = (0..len / bytes).map(|index| (index * bytes, ty)).collect();
    if !len.is_multiple_of(bytes) {
        out.push((len - bytes, ty));
    }
    out
}
