//! Big-endian bit fields.
//!
//! A field at a constant bit of a byte is one to three loads, a byte swap and shifts. One whose bit depends on an index
//! starts at one of at most 8 bits of a byte, by the index modulo 8: each has code of its own.

use lambdac_mir::{BitPos, Place, Value};

use super::memory::pieces;
use super::{Emitter, Ref, Val};
use crate::insn::{AluOp, Cond, Size};
use crate::vcode::{Inst, V};

/// A field at a constant bit after a byte.
struct Field {
    at: Ref,
    bit: u32,
    width: u8,
}

impl Emitter<'_> {
    /// Loads up to 8 bytes as one big-endian number.
    fn load_big(&mut self, base: (V, i16), len: u32) -> V {
        let mut all: Option<V> = None;
        for (at, size) in pieces(len) {
            let piece = self.load(size, base.0, base.1 + at as i16);
            if size != Size::B {
                self.push(Inst::Swap { size, dst: piece });
            }
            all = Some(match all {
                None => piece,
                Some(high) => {
                    self.alu(AluOp::Lsh, high, 8 * size.bytes() as i32);
                    self.alu(AluOp::Or, high, piece);
                    high
                }
            });
        }
        all.unwrap_or_else(|| self.copy_of(&Val::Imm(0)))
    }

    fn load_field(&mut self, field: Field) -> V {
        let at = field.at.plus(field.bit / 8);
        let (bit, width) = (field.bit % 8, u32::from(field.width));
        let span = (bit + width).div_ceil(8);
        let base = self.pointer(&at, span);
        if span <= 8 {
            let all = self.load_big(base, span);
            let below = span * 8 - bit - width;
            if below > 0 {
                self.alu(AluOp::Rsh, all, below as i32);
            }
            if bit > 0 {
                self.mask(all, field.width);
            }
            return all;
        }
        // Nine bytes: the first eight without the bits before the field, then what is left of the ninth.
        let high = self.load_big(base, 8);
        self.alu(AluOp::Lsh, high, bit as i32);
        let low = self.load(Size::B, base.0, base.1 + 8);
        self.alu(AluOp::Rsh, low, 8 - bit as i32);
        self.alu(AluOp::Or, high, low);
        if width < 64 {
            self.alu(AluOp::Rsh, high, 64 - width as i32);
        }
        high
    }

    fn store_field(&mut self, field: Field, val: &Val) {
        let at = field.at.plus(field.bit / 8);
        let (bit, width) = (field.bit % 8, u32::from(field.width));
        let span = (bit + width).div_ceil(8);
        if bit == 0
            && width % 8 == 0
            && let Some(size) = Size::of_bytes(span)
        {
            let src = if span == 1 {
                self.reg(val)
            } else {
                let reg = self.copy_of(val);
                self.push(Inst::Swap { size, dst: reg });
                reg
            };
            let (base, off) = self.pointer(&at, span);
            self.store(size, base, off, src);
            return;
        }
        let src = self.settled(val);
        let (base, off) = self.pointer(&at, span);
        for byte in 0..span {
            // Bits of the field that lie in this byte, counted from its highest.
            let first = if byte == 0 { bit } else { 0 };
            let last = (bit + width - 8 * byte).min(8);
            let ours = (0xffu32 >> first) & (0xff00u32 >> last) & 0xff;
            // What of the value lies below this byte.
            let below = i64::from(bit) + i64::from(width) - 8 * i64::from(byte) - 8;
            let part = self.copy_of(&src);
            match below {
                1.. => self.alu(AluOp::Rsh, part, below as i32),
                ..0 => self.alu(AluOp::Lsh, part, -below as i32),
                0 => {}
            }
            let off = off + byte as i16;
            if ours != 0xff {
                self.alu(AluOp::And, part, ours as i32);
                let kept = self.load(Size::B, base, off);
                self.alu(AluOp::And, kept, (!ours & 0xff) as i32);
                self.alu(AluOp::Or, part, kept);
            }
            self.store(Size::B, base, off, part);
        }
    }

    /// A field of the request at a constant bit.
    pub(super) fn request_field(&mut self, bit: u32, width: u8) -> Val {
        let at = Ref {
            mem: super::Mem::Request,
            off: 0,
            index: self.chunk.clone(),
        };
        let reg = self.load_field(Field { at, bit, width });
        self.val(reg)
    }

    pub(super) fn load_bits(&mut self, place: &Place, pos: BitPos, width: u8) -> Val {
        let spot = self.spot(place);
        let (at, _) = self.extent(spot);
        let result = self.new_reg();
        self.at_bit(at, pos, &mut |emitter, at, bit| {
            let reg = emitter.load_field(Field { at, bit, width });
            emitter.mov(result, reg);
        });
        self.val(result)
    }

    pub(super) fn store_bits(&mut self, place: &Place, pos: BitPos, value: Value) {
        let width = self.width(value);
        let val = self.get(value);
        let val = self.settled(&val);
        let spot = self.spot(place);
        let (at, _) = self.extent(spot);
        self.at_bit(at, pos, &mut |emitter, at, bit| {
            emitter.store_field(Field { at, bit, width }, &val);
        });
    }

    /// Stores a value big-endian at a constant bit.
    pub(super) fn put_bits(&mut self, at: Ref, bit: u32, width: u8, val: &Val) {
        self.store_field(Field { at, bit, width }, val);
    }

    /// Runs `f` with a byte and a constant bit after it: once for each bit that the field can start at.
    fn at_bit(&mut self, at: Ref, pos: BitPos, f: &mut dyn FnMut(&mut Self, Ref, u32)) {
        let Some((index, stride)) = pos.index else {
            return f(self, at, pos.bit);
        };
        let index = self.get(index);
        if let Some(index) = index.imm() {
            let bit = u64::from(pos.bit) + index * u64::from(stride);
            let at = at.plus((bit / 8) as u32);
            return f(self, at, (bit % 8) as u32);
        }
        // After so many elements fields start at the same bit of a byte again.
        let period: u32 = match stride % 8 {
            0 => 1,
            4 => 2,
            2 | 6 => 4,
            _ => 8,
        };
        if period == 1 {
            let by = self.binary(AluOp::Mul, &index, &Val::Imm((stride / 8).into()));
            let at = self.moved(at, &by);
            return f(self, at, pos.bit);
        }
        let index = self.settled(&index);
        let rounds = self.copy_of(&index);
        self.alu(AluOp::Rsh, rounds, period.trailing_zeros() as i32);
        let rounds = self.val(rounds);
        let by = self.binary(AluOp::Mul, &rounds, &Val::Imm((stride * period / 8).into()));
        let by = self.settled(&by);
        let phase = self.copy_of(&index);
        self.alu(AluOp::And, phase, period as i32 - 1);
        let done = self.mark();
        for turn in 0..period {
            let next = self.mark();
            if turn + 1 < period {
                self.branch(Cond::Ne, phase, turn as i32, next);
            }
            let at = self.moved(at.clone(), &by);
            f(self, at, pos.bit + turn * stride);
            self.jump(done);
            self.bind(next);
        }
        self.bind(done);
    }
}
