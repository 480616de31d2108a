//! Tables: `exact` over a hash map, `lpm` over a trie, `ternary` by a scan.

use lambdac_mir::{KeyPart, ObjectId, ObjectKind, Place, Shape, TableKind};

use super::keyed::KeyVal;
use super::{Emitter, Mem, Ref, Val};
use crate::insn::{AluOp, Cond, Helper, Size};
use crate::layout::{self, ELEMENT_KEY, TERNARY_COUNT, TERNARY_PLACES};
use crate::vcode::{Arg, V};

/// How often a table that changes under a reader is looked at.
const TRIES: i32 = 4;

/// What a look-up gives.
struct Found<'d> {
    there: V,
    /// The value, where it is a scalar that is wanted.
    value: V,
    dst: Option<&'d Place>,
    wanted: bool,
}

impl<'m> Emitter<'m> {
    /// Whether the key was found, and its value where it is a scalar and wanted.
    pub(super) fn table_get(
        &mut self,
        object: ObjectId,
        key: &[KeyVal],
        dst: Option<&Place>,
        wanted: bool,
    ) -> Vec<Val> {
        let Some(ObjectKind::Table {
            kind,
            key: parts,
            value,
            capacity,
            ..
        }) = self
            .shared
            .module
            .objects
            .get(object.index())
            .map(|object| &object.kind)
        else {
            self.invalid("an object that is no table");
            return Vec::new();
        };
        let cursor = self.cursor;
        let found = Found {
            there: self.copy_of(&Val::Imm(0)),
            value: self.copy_of(&Val::Imm(0)),
            dst,
            wanted,
        };
        match kind {
            TableKind::Exact => self.exact(object, parts, value, key, &found),
            TableKind::Lpm => self.lpm(object, parts, value, key, &found),
            TableKind::Ternary => self.ternary(object, (parts, value, *capacity), key, &found),
        }
        self.release(cursor);
        vec![self.val(found.there), self.val(found.value)]
    }

    fn exact(
        &mut self,
        object: ObjectId,
        parts: &[KeyPart],
        shape: &Shape,
        key: &[KeyVal],
        found: &Found<'_>,
    ) {
        let element = layout::element(parts, shape);
        let key_at = Ref::new(self.memory(element.key), 0);
        self.write_key(&key_at, parts, key, element.key);
        let map = self.map_arg(object);
        let tries = self.copy_of(&Val::Imm(TRIES as u64));
        let copy = Ref::new(self.memory(element.value), 0);
        let (retry, again, done) = (self.mark(), self.mark(), self.mark());
        self.bind(retry);
        let key = self.address(&key_at, element.key);
        let entry = self.call(Helper::MapLookupElem, vec![map, Arg::Reg(key)]);
        self.branch(Cond::Eq, entry, 0, done);
        let last = self.load(Size::D, entry, (element.bytes - 8) as i16);
        let cell = self.take(found, shape, entry, element.value_at, &copy);
        let (base, off) = self.pointer(&key_at, element.key);
        for (at, size) in super::memory::pieces(element.key) {
            let ours = self.load(size, base, off + at as i16);
            let theirs = self.load(size, entry, (ELEMENT_KEY + at) as i16);
            self.branch(Cond::Ne, ours, theirs, again);
        }
        let first = self.load(Size::D, entry, 0);
        self.branch(Cond::Ne, first, last, again);
        if let Some(cell) = cell {
            self.unjustify(cell, shape.scalar().unwrap_or(64), 64);
            self.mov(found.value, cell);
        }
        self.give(found, shape, &copy);
        self.jump(done);
        self.bind(again);
        self.alu(AluOp::Sub, tries, 1);
        self.branch(Cond::Ne, tries, 0, retry);
        self.bind(done);
    }

    /// Takes a value out of an entry: a cell of 64 bits where it is a scalar, else a copy.
    fn take(&mut self, found: &Found<'_>, shape: &Shape, entry: V, off: u32, copy: &Ref) -> Option<V> {
        match (found.wanted, found.dst) {
            (true, Some(_)) => {
                let size = layout::value_bytes(shape).max(1).next_multiple_of(8);
                self.copy_entry(copy, entry, off, size);
                None
            }
            (true, None) => Some(self.load(Size::D, entry, off as i16)),
            (false, _) => None,
        }
    }

    fn copy_entry(&mut self, to: &Ref, entry: V, off: u32, len: u32) {
        if len <= 128 {
            let to = self.pointer(to, len);
            return self.copy_pieces(to, (entry, off as i16), len);
        }
        let to = self.address(to, len);
        let from = self.new_reg();
        self.mov(from, entry);
        self.alu(AluOp::Add, from, off as i32);
        let args = vec![Arg::Reg(to), Arg::Imm(len as i32), Arg::Reg(from)];
        self.call(Helper::ProbeReadKernel, args);
    }

    /// The key is there, and its value in `copy` where it is no scalar.
    fn give(&mut self, found: &Found<'_>, shape: &Shape, copy: &Ref) {
        if let (true, Some(dst)) = (found.wanted, found.dst) {
            self.put_value(dst, shape, copy);
        }
        self.constant(found.there, 1);
    }

    fn lpm(&mut self, object: ObjectId, parts: &[KeyPart], shape: &Shape, key: &[KeyVal], found: &Found<'_>) {
        let bits = layout::prefix_bits(parts);
        let size = layout::prefix_key_bytes(parts);
        let at = Ref::new(self.memory(size), 0);
        let copy = Ref::new(
            self.memory(layout::value_bytes(shape).max(1).next_multiple_of(8)),
            0,
        );
        if !bits.is_multiple_of(8) {
            // Bits past the last one.
            let last = Ref::new(at.mem, size - 1);
            self.store_scalar(&last, 8, &Val::Imm(0));
        }
        self.store_scalar(&at, 32, &Val::Imm(bits.into()));
        let data = at.clone().plus(4);
        let mut bit = 0;
        for (part, val) in parts.iter().zip(key) {
            match (part, val) {
                (KeyPart::Scalar(width), KeyVal::Scalar(val)) => {
                    self.put_bits(data.clone(), bit, *width, val);
                    bit += u32::from(*width);
                }
                (KeyPart::Bytes(len), KeyVal::Bytes(bytes)) if bit % 8 == 0 => {
                    self.copy(&data.clone().plus(bit / 8), &bytes.at, &bytes.len, bytes.max);
                    bit += len * 8;
                }
                (KeyPart::Bytes(len), KeyVal::Bytes(bytes)) => {
                    for index in 0..*len {
                        let byte = self.load_scalar(&bytes.at.clone().plus(index), 8);
                        self.put_bits(data.clone(), bit, 8, &byte);
                        bit += 8;
                    }
                }
                _ => self.invalid("a key that does not fit its table"),
            }
        }
        let map = self.map_arg(object);
        let key = self.address(&at, size);
        let entry = self.call(Helper::MapLookupElem, vec![map, Arg::Reg(key)]);
        let done = self.mark();
        self.branch(Cond::Eq, entry, 0, done);
        if let Some(value) = self.take(found, shape, entry, 0, &copy) {
            // A value of a trie is as in memory, zero-extended to 8 bytes.
            self.mov(found.value, value);
        }
        self.give(found, shape, &copy);
        self.bind(done);
    }

    fn ternary(
        &mut self,
        object: ObjectId,
        (parts, shape, capacity): (&[KeyPart], &Shape, u32),
        key: &[KeyVal],
        found: &Found<'_>,
    ) {
        let table = layout::ternary(parts, shape, capacity);
        let mem = Mem::Object(object.0);
        let ours = Ref::new(self.memory(table.key), 0);
        self.write_key(&ours, parts, key, table.key);
        let copy = Ref::new(self.memory(table.value), 0);
        let tries = self.copy_of(&Val::Imm(TRIES as u64));
        let (retry, again, done) = (self.mark(), self.mark(), self.mark());
        self.bind(retry);
        let whole = self.pointer(&Ref::new(mem, 0), table.bytes).0;
        let (near, far) = ((table.bytes - 8) as i16, self.new_reg());
        self.mov(far, whole);
        let last = if table.bytes < 30_000 {
            self.load(Size::D, whole, near)
        } else {
            self.alu(AluOp::Add, far, (table.bytes - 8) as i32);
            self.load(Size::D, far, 0)
        };
        let count = self.load(Size::D, whole, TERNARY_COUNT as i16);
        let (head, next, hit, scanned) = (self.mark(), self.mark(), self.mark(), self.mark());
        let index = self.copy_of(&Val::Imm(0));
        let place = self.new_reg();
        self.mov(place, whole);
        self.alu(AluOp::Add, place, TERNARY_PLACES as i32);
        self.constant(found.there, 0);
        self.bind(head);
        self.branch(Cond::Ge, index, table.places as i32, scanned);
        self.branch(Cond::Ge, index, count, scanned);
        for (at, size) in super::memory::pieces(table.key) {
            let (base, off) = self.pointer(&ours, table.key);
            let word = self.load(size, base, off + at as i16);
            let mask = self.load(size, place, (table.key + at) as i16);
            let wanted = self.load(size, place, at as i16);
            self.alu(AluOp::And, word, mask);
            self.branch(Cond::Ne, word, wanted, next);
        }
        self.jump(hit);
        self.bind(next);
        self.alu(AluOp::Add, index, 1);
        self.alu(AluOp::Add, place, table.step as i32);
        self.jump(head);
        self.bind(hit);
        self.constant(found.there, 1);
        if let Some(value) = self.take(found, shape, place, 2 * table.key, &copy) {
            self.mov(found.value, value);
        }
        self.bind(scanned);
        let stamp = self.load(Size::D, whole, 0);
        self.branch(Cond::Ne, stamp, last, again);
        self.branch(Cond::Eq, found.there, 0, done);
        self.give(found, shape, &copy);
        self.jump(done);
        self.bind(again);
        self.constant(found.there, 0);
        self.constant(found.value, 0);
        self.alu(AluOp::Sub, tries, 1);
        self.branch(Cond::Ne, tries, 0, retry);
        self.bind(done);
    }
}
