//! Byte strings: copies and comparisons.
//!
//! What is short is made in line. Where the length is constant, in accesses of which the last may overlap the one before;
//! where it is not, by a tree of branches on the length that ends in two overlapping accesses each, as C libraries do it
//! inside: the call and its way through a table of addresses cost more than such a copy. Everything is read before anything
//! is written, so a copy may be onto itself. Constant bytes are immediates.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{Place, Value, View};

use super::func::{FnEmitter, Way};
use super::place::{Bytes, Mem, data_start};
use crate::Result;

/// The longest copy of constant length that is made in line.
const INLINE_COPY: u64 = 128;
/// The longest copy of constant bytes that takes them from the code.
const IMMEDIATE_COPY: u64 = 16;
/// The longest copy of any length that is made in line.
const SHORT_COPY: u64 = 32;
/// The longest comparison with constant length that is made in line.
const INLINE_COMPARE: u64 = 64;

impl<'m> FnEmitter<'_, '_, 'm> {
    /// Copies bytes; they may overlap only as a whole.
    pub(crate) fn copy_bytes_to(&mut self, to: Mem, from: Mem, len: ir::Value, known: Option<u64>) {
        let most = known.unwrap_or(u64::MAX);
        let from = Bytes {
            mem: from,
            len,
            known,
            most,
            data: None,
        };
        self.copy_view_to(to, from);
    }

    /// Copies a view; it may overlap only as a whole.
    pub(crate) fn copy_view_to(&mut self, to: Mem, from: Bytes<'m>) {
        match (from.known, from.data) {
            (Some(len), Some(data)) if len <= IMMEDIATE_COPY => self.store_constant(to, data),
            (Some(len), _) if len <= INLINE_COPY => {
                let parts = overlapping_pieces(len, 16);
                let values: Vec<_> = parts
                    .iter()
                    .map(|(offset, ty)| self.load_at(*ty, from.mem.plus(*offset as i64)))
                    .collect();
                for ((offset, _), value) in parts.iter().zip(values) {
                    self.store_at(value, to.plus(*offset as i64));
                }
            }
            (Some(_), _) => self.copy_by_call(to, from),
            (None, _) => self.copy_short(to, from),
        }
    }

    fn store_constant(&mut self, to: Mem, data: &[u8]) {
        for (offset, ty) in overlapping_pieces(data.len() as u64, 8) {
            let value = self.immediate_bytes(ty, &data[offset as usize..]);
            self.store_at(value, to.plus(offset as i64));
        }
    }

    fn copy_by_call(&mut self, to: Mem, from: Bytes<'_>) {
        let (to, start) = (self.address(to), self.address(from.mem));
        let (config, len) = (self.env.config, self.length64(from.len));
        self.b.call_memcpy(config, to, start, len);
    }

    /// Copies as many bytes as `from.len` says at run time.
    fn copy_short(&mut self, to: Mem, from: Bytes<'_>) {
        let done = self.b.create_block();
        let steps = [
            (17, types::I8X16),
            (8, types::I64),
            (4, types::I32),
            (2, types::I16),
            (1, types::I8),
        ];
        if from.most > SHORT_COPY {
            let way = self.longer_than(from.len, SHORT_COPY);
            self.b.set_cold_block(way.yes);
            self.b.switch_to_block(way.yes);
            self.copy_by_call(to, from);
            self.jump(done, &[]);
            self.b.switch_to_block(way.no);
        }
        for (least, ty) in steps {
            if least > from.most {
                continue;
            }
            let way = self.longer_than(from.len, least - 1);
            self.b.switch_to_block(way.yes);
            self.copy_ends(to, from, ty);
            self.jump(done, &[]);
            self.b.switch_to_block(way.no);
        }
        self.jump(done, &[]);
        self.b.seal_block(done);
        self.b.switch_to_block(done);
    }

    /// Branches by whether a length is above a number.
    fn longer_than(&mut self, len: ir::Value, limit: u64) -> Way {
        let way = self.new_way();
        let longer = self
            .b
            .ins()
            .icmp_imm_u(IntCC::UnsignedGreaterThan, len, limit as i64);
        self.b.ins().brif(longer, way.yes, &[], way.no, &[]);
        self.b.seal_block(way.yes);
        self.b.seal_block(way.no);
        way
    }

    /// Copies the first and the last bytes of a copy that one access reaches, and two cover.
    fn copy_ends(&mut self, to: Mem, from: Bytes<'_>, ty: ir::Type) {
        let first = self.load_at(ty, from.mem);
        if ty == types::I8 {
            self.store_at(first, to);
            return;
        }
        let len = self.length64(from.len);
        let back = -i64::from(ty.bytes());
        let end = |emitter: &mut Self, mem: Mem| {
            let ptr = emitter.b.ins().iadd(mem.ptr, len);
            Mem { ptr, ..mem }.plus(back)
        };
        let last_at = end(self, from.mem);
        let last = self.load_at(ty, last_at);
        self.store_at(first, to);
        let last_to = end(self, to);
        self.store_at(last, last_to);
    }

    pub(crate) fn copy_bytes(&mut self, dst: &Place, offset: Value, src: &View) -> Result<()> {
        let from = self.view(src)?;
        let at = self.resolve(dst)?;
        let to = self.indexed(data_start(&at), offset, 1)?;
        self.copy_view_to(to, from);
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

    /// Branches by whether two views are equal.
    pub(super) fn branch_equal(&mut self, a: &View, b: &View, way: Way) -> Result<()> {
        let (a, b) = (self.view(a)?, self.view(b)?);
        match (a.known, b.known) {
            (Some(x), Some(y)) if x != y => {
                self.jump(way.no, &[]);
                return Ok(());
            }
            (Some(_), Some(_)) => (),
            _ => {
                let contents = self.b.create_block();
                let same = self.b.ins().icmp(IntCC::Equal, a.len, b.len);
                self.b.ins().brif(same, contents, &[], way.no, &[]);
                self.b.seal_block(contents);
                self.b.switch_to_block(contents);
            }
        }
        let equal = self.equal_contents(a, b, a.known.or(b.known));
        self.b.ins().brif(equal, way.yes, &[], way.no, &[]);
        Ok(())
    }

    /// Whether bytes of one length are equal.
    fn equal_contents(&mut self, a: Bytes<'m>, b: Bytes<'m>, known: Option<u64>) -> ir::Value {
        // A constant side stands second.
        let (a, b) = if a.data.is_some() { (b, a) } else { (a, b) };
        match known {
            Some(0) => self.constant(types::I8, 1),
            Some(len) if len <= INLINE_COMPARE => {
                let pieces = overlapping_pieces(len, 8);
                let mut sides = Vec::with_capacity(pieces.len());
                for (offset, ty) in pieces {
                    let x = self.load_at(ty, a.mem.plus(offset as i64));
                    let y = match b.data.and_then(|data| data.get(offset as usize..)) {
                        Some(data) => self.immediate_bytes(ty, data),
                        None => self.load_at(ty, b.mem.plus(offset as i64)),
                    };
                    sides.push((x, y));
                }
                self.compare_sides(IntCC::Equal, &sides)
            }
            _ => {
                let (x, y) = (self.address(a.mem), self.address(b.mem));
                let (config, len) = (self.env.config, self.length64(a.len));
                let order = self.b.call_memcmp(config, x, y, len);
                self.b.ins().icmp_imm_u(IntCC::Equal, order, 0)
            }
        }
    }

    /// Whether pieces of memory, one behind the other, are (`Equal`) or are not (`NotEqual`) these bytes.
    pub(super) fn compare_pieces(&mut self, code: IntCC, pieces: &[ir::Value], bytes: &[u8]) -> ir::Value {
        let mut at = 0;
        let mut sides = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let ty = self.b.func.dfg.value_type(*piece);
            let wanted = self.immediate_bytes(ty, bytes.get(at..).unwrap_or_default());
            sides.push((*piece, wanted));
            at += ty.bytes() as usize;
        }
        self.compare_sides(code, &sides)
    }

    /// Whether all pairs are equal, or not.
    fn compare_sides(&mut self, code: IntCC, sides: &[(ir::Value, ir::Value)]) -> ir::Value {
        if let [(x, y)] = sides {
            return self.b.ins().icmp(code, *x, *y);
        }
        let mut difference: Option<ir::Value> = None;
        for (x, y) in sides {
            let bits = self.b.ins().bxor(*x, *y);
            difference = Some(match difference {
                None => bits,
                Some(before) => {
                    // The first piece is the widest.
                    let ty = self.b.func.dfg.value_type(before);
                    let bits = self.resize(bits, ty);
                    self.b.ins().bor(before, bits)
                }
            });
        }
        match difference {
            Some(bits) => self.b.ins().icmp_imm_u(code, bits, 0),
            None => self.constant(types::I8, u64::from(code == IntCC::Equal)),
        }
    }

    /// The number that the first bytes are when they are loaded.
    fn immediate_bytes(&mut self, ty: ir::Type, bytes: &[u8]) -> ir::Value {
        let mut all = [0; 8];
        for (to, from) in all.iter_mut().zip(bytes).take(ty.bytes() as usize) {
            *to = *from;
        }
        self.constant(ty, u64::from_le_bytes(all))
    }
}

/// Cuts `len` bytes into equal accesses of at most `most` (8 or 16) bytes, of which the last may overlap the one before it.
fn overlapping_pieces(len: u64, most: u64) -> Vec<(u64, ir::Type)> {
    let (bytes, ty) = match len.min(most) {
        16.. => (16, types::I8X16),
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

#[cfg(test)]
mod tests {
    use super::overlapping_pieces;

    #[test]
    fn pieces_cover_every_byte_and_none_outside() {
        for len in 0..200 {
            for most in [8, 16] {
                let mut covered = vec![false; len as usize];
                for (offset, ty) in overlapping_pieces(len, most) {
                    assert!(u64::from(ty.bytes()) <= most);
                    covered[offset as usize..][..ty.bytes() as usize].fill(true);
                }
                assert!(covered.iter().all(|each| *each), "{len} bytes by {most}");
            }
        }
    }
}
