//! `lru` and `map` over the kernel's hash maps.
//!
//! The kernel hands an element's memory to another key as soon as it is deleted or replaced, even while a program reads
//! it. So an element holds a copy of its key and the same stamp at both ends ([`crate::layout`]). Who writes an element
//! writes from its first byte on; who reads takes the last stamp, then the rest, then the first stamp: if both are
//! equal, nothing was written meanwhile. After [`TRIES`] the key counts as missing.

use lambdac_mir::{KeyPart, ObjectId, ObjectKind, Operand, Place, Shape, Value};

use super::memory::pieces;
use super::{Bytes, Emitter, Ref, Val};
use crate::insn::{AluOp, Bits, Cond, Helper, Imm64, Size};
use crate::layout::{self, ELEMENT_KEY, ELEMENT_TIME, Element, Storage};
use crate::vcode::{Arg, Inst, Mark, V};

/// How often an element that changes under a reader is looked up.
const TRIES: i32 = 4;
/// Bits of a stamp that hold the processor's number.
const CPU_BITS: i32 = 12;
/// Longest value that is copied by loads and stores.
const INLINE_VALUE: u32 = 128;

/// `BPF_ANY`, `BPF_NOEXIST` and `EEXIST` of Linux include/uapi/linux/bpf.h and asm-generic/errno-base.h.
const ANY: i32 = 0;
const NO_EXIST: i32 = 1;
const EEXIST: i32 = 17;

/// A part of a key.
#[derive(Clone, Debug)]
pub(super) enum KeyVal {
    Scalar(Val),
    Bytes(Bytes),
}

/// An lru or map.
#[derive(Clone, Copy)]
struct Keyed<'m> {
    object: ObjectId,
    key: &'m [KeyPart],
    value: &'m Shape,
    ttl: Option<u64>,
    forgets: bool,
    element: Element,
}

impl<'m> Emitter<'m> {
    pub(super) fn key_parts(&self, object: ObjectId) -> &'m [KeyPart] {
        match self
            .shared
            .module
            .objects
            .get(object.index())
            .map(|object| &object.kind)
        {
            Some(
                ObjectKind::Lru { key, .. } | ObjectKind::Map { key, .. } | ObjectKind::Table { key, .. },
            ) => key,
            _ => &[],
        }
    }

    fn keyed(&mut self, object: ObjectId) -> Option<Keyed<'m>> {
        let module = self.shared.module;
        let (key, value, ttl, forgets) = match &module.objects.get(object.index())?.kind {
            ObjectKind::Lru { key, value, ttl, .. } => (key, value, *ttl, true),
            ObjectKind::Map { key, value, .. } => (key, value, None, false),
            _ => {
                self.invalid("an object that is no lru or map");
                return None;
            }
        };
        Some(Keyed {
            object,
            key,
            value,
            ttl,
            forgets,
            element: layout::element(key, value),
        })
    }

    pub(super) fn map_arg(&mut self, object: ObjectId) -> Arg {
        let module = self.shared.module;
        match layout::storage(&module.name, &module.objects[object.index()]) {
            Storage::Map(name) => Arg::Wide(Imm64::Map(name)),
            Storage::Section(_) => {
                self.invalid("an object that is no map");
                Arg::Imm(0)
            }
        }
    }

    pub(super) fn key_operands(&mut self, object: ObjectId, key: &[Operand]) -> Vec<KeyVal> {
        let parts = self.key_parts(object);
        let mut vals = Vec::new();
        for (part, operand) in parts.iter().zip(key) {
            vals.push(match (part, operand) {
                (KeyPart::Bytes(len), Operand::View(view)) => {
                    let mut bytes = self.view(view);
                    bytes.len = Val::Imm((*len).into());
                    KeyVal::Bytes(bytes)
                }
                (_, Operand::Value(value)) => KeyVal::Scalar(self.get(*value)),
                _ => {
                    self.invalid("an operand that is no key part");
                    KeyVal::Scalar(Val::Imm(0))
                }
            });
        }
        vals
    }

    /// Writes a key's parts without gaps, then zeros up to `size` bytes.
    pub(super) fn write_key(&mut self, at: &Ref, parts: &[KeyPart], key: &[KeyVal], size: u32) {
        let used: u32 = parts.iter().map(|part| layout::part_bytes(*part)).sum();
        let mut off = 0;
        for (part, val) in parts.iter().zip(key) {
            let to = at.clone().plus(off);
            match val {
                KeyVal::Scalar(val) => {
                    let width = match part {
                        KeyPart::Scalar(width) => *width,
                        KeyPart::Bytes(_) => 64,
                    };
                    self.store_scalar(&to, width, val);
                }
                KeyVal::Bytes(bytes) => self.copy(&to, &bytes.at, &bytes.len, bytes.max),
            }
            off += layout::part_bytes(*part);
        }
        if used < size {
            let (base, start) = self.pointer(&at.clone().plus(used), size - used);
            for (piece, size) in pieces(size - used) {
                self.store(size, base, start + piece as i16, 0);
            }
        }
    }

    fn key_memory(&mut self, keyed: Keyed<'m>, key: &[Operand]) -> Ref {
        let vals = self.key_operands(keyed.object, key);
        let at = Ref::new(self.memory(keyed.element.key), 0);
        self.write_key(&at, keyed.key, &vals, keyed.element.key);
        at
    }

    fn look_up(&mut self, keyed: Keyed<'m>, key: &Ref) -> V {
        let map = self.map_arg(keyed.object);
        let key = self.address(key, keyed.element.key);
        self.call(Helper::MapLookupElem, vec![map, Arg::Reg(key)])
    }

    /// Goes to `other` unless the element holds this key.
    fn compare_key(&mut self, element: V, key: &Ref, len: u32, other: Mark) {
        let (base, off) = self.pointer(key, len);
        for (at, size) in pieces(len) {
            let ours = self.load(size, base, off + at as i16);
            let theirs = self.load(size, element, (ELEMENT_KEY + at) as i16);
            self.branch(Cond::Ne, ours, theirs, other);
        }
    }

    /// Copies from an element.
    fn copy_out(&mut self, to: &Ref, element: V, off: u32, len: u32) {
        if len <= INLINE_VALUE {
            let to = self.pointer(to, len);
            return self.copy_pieces(to, (element, off as i16), len);
        }
        let to = self.address(to, len);
        let from = self.new_reg();
        self.mov(from, element);
        self.alu(AluOp::Add, from, off as i32);
        let args = vec![Arg::Reg(to), Arg::Imm(len as i32), Arg::Reg(from)];
        self.call(Helper::ProbeReadKernel, args);
    }

    /// Looks a key up. `hit` runs where it is there and alive, with the element's value copied: a scalar in the register,
    /// anything else in the memory.
    fn read_element(&mut self, keyed: Keyed<'m>, key: &Ref, value: V, copy: Option<&Ref>, miss: Mark) {
        let element = keyed.element;
        let tries = self.copy_of(&Val::Imm(TRIES as u64));
        let (retry, again) = (self.mark(), self.mark());
        let hit = self.mark();
        self.bind(retry);
        let found = self.look_up(keyed, key);
        self.branch(Cond::Eq, found, 0, miss);
        let last = self.load(Size::D, found, (element.bytes - 8) as i16);
        let time = keyed.ttl.map(|_| self.load(Size::D, found, ELEMENT_TIME as i16));
        match copy {
            Some(to) => self.copy_out(to, found, element.value_at, element.value),
            None => {
                let cell = self.load(Size::D, found, element.value_at as i16);
                self.mov(value, cell);
            }
        }
        self.compare_key(found, key, element.key, again);
        let first = self.load(Size::D, found, 0);
        self.branch(Cond::Ne, first, last, again);
        if let (Some(time), Some(ttl)) = (time, keyed.ttl) {
            self.branch_expired(time, ttl, miss);
        }
        self.jump(hit);
        self.bind(again);
        self.alu(AluOp::Sub, tries, 1);
        self.branch(Cond::Ne, tries, 0, retry);
        self.jump(miss);
        self.bind(hit);
    }

    fn branch_expired(&mut self, time: V, ttl: u64, to: Mark) {
        let now = self.now();
        let alive = self.mark();
        let age = self.copy_of(&now);
        let now = self.reg(&now);
        self.branch(Cond::Lt, now, time, alive);
        self.alu(AluOp::Sub, age, time);
        let ttl = self.copy_of(&Val::Imm(ttl));
        self.branch(Cond::Ge, age, ttl, to);
        self.bind(alive);
    }

    pub(super) fn map_get(&mut self, object: ObjectId, key: &[Operand], dst: Option<&Place>) -> Vec<Val> {
        let Some(keyed) = self.keyed(object) else {
            return Vec::new();
        };
        let cursor = self.cursor;
        let key = self.key_memory(keyed, key);
        let copy = dst.map(|_| Ref::new(self.memory(keyed.element.value), 0));
        let (there, value) = (self.copy_of(&Val::Imm(0)), self.copy_of(&Val::Imm(0)));
        let (miss, done) = (self.mark(), self.mark());
        self.read_element(keyed, &key, value, copy.as_ref(), miss);
        match (copy, dst) {
            (Some(copy), Some(dst)) => self.put_value(dst, keyed.value, &copy),
            _ => {
                let width = keyed.value.scalar().unwrap_or(64);
                self.unjustify(value, width, 64);
            }
        }
        self.constant(there, 1);
        self.jump(done);
        self.bind(miss);
        if dst.is_none() {
            self.constant(value, 0);
        }
        self.bind(done);
        self.release(cursor);
        vec![self.val(there), self.val(value)]
    }

    /// Copies a found value to its place.
    pub(super) fn put_value(&mut self, dst: &Place, shape: &Shape, from: &Ref) {
        let to = self.spot(dst);
        match (to.shape, shape) {
            (Shape::Bytes(capacity), Shape::Bytes(stored)) => {
                let (base, off) = self.pointer(from, 4);
                let len = self.load(Size::W, base, off);
                let max = (*capacity).min(*stored);
                let beyond = self.unreachable();
                self.branch(Cond::Gt, len, max as i32, beyond);
                let (base, off) = self.pointer(&to.at, 4);
                self.store(Size::W, base, off, len);
                let data = |at: &Ref| at.clone().plus(layout::BYTES_HEADER);
                if max <= 64 {
                    // What lies past the length is never read.
                    self.copy(&data(&to.at), &data(from), &Val::Imm(max.into()), max);
                } else {
                    let len = self.val(len);
                    self.copy(&data(&to.at), &data(from), &len, max);
                }
            }
            _ => {
                let size = layout::value_bytes(shape);
                self.copy(&to.at, from, &Val::Imm(size.into()), size);
            }
        }
    }

    /// A number that no other write bears: a count that the processor's memory keeps, and the processor's number.
    fn stamp(&mut self) -> V {
        let base = self.scratch();
        let count = self.load(Size::D, base, 0);
        let seeded = self.mark();
        self.branch(Cond::Ne, count, 0, seeded);
        let seed = self.call(Helper::GetPrandomU32, Vec::new());
        self.alu(AluOp::Lsh, seed, 20);
        self.mov(count, seed);
        self.bind(seeded);
        self.alu(AluOp::Add, count, 1);
        self.store(Size::D, base, 0, count);
        let cpu = self.call(Helper::GetSmpProcessorId, Vec::new());
        self.alu(AluOp::Lsh, count, CPU_BITS);
        self.alu(AluOp::Or, count, cpu);
        count
    }

    /// Writes a new element but for its value.
    fn new_element(&mut self, keyed: Keyed<'m>, key: &Ref) -> Ref {
        let element = keyed.element;
        let at = Ref::new(self.memory(element.bytes), 0);
        let stamp = self.stamp();
        let time = match keyed.ttl {
            Some(_) => self.now(),
            None => Val::Imm(0),
        };
        let time = self.operand(&time);
        let (base, off) = self.pointer(&at, element.bytes);
        self.store(Size::D, base, off, stamp);
        self.store(Size::D, base, off + ELEMENT_TIME as i16, time);
        let (end, end_off) = self.pointer(&at.clone().plus(element.bytes - 8), 8);
        self.store(Size::D, end, end_off, stamp);
        self.copy(
            &at.clone().plus(ELEMENT_KEY),
            key,
            &Val::Imm(element.key.into()),
            element.key,
        );
        at
    }

    fn update(&mut self, keyed: Keyed<'m>, key: &Ref, element: &Ref, flags: i32) -> V {
        let map = self.map_arg(keyed.object);
        let key = self.address(key, keyed.element.key);
        let element = self.address(element, keyed.element.bytes);
        self.call(
            Helper::MapUpdateElem,
            vec![map, Arg::Reg(key), Arg::Reg(element), Arg::Imm(flags)],
        )
    }

    pub(super) fn map_put(&mut self, object: ObjectId, key: &[Operand], value: &Operand) -> Val {
        let Some(keyed) = self.keyed(object) else {
            return Val::Imm(0);
        };
        let cursor = self.cursor;
        let key = self.key_memory(keyed, key);
        let element = self.new_element(keyed, &key);
        let to = element.clone().plus(keyed.element.value_at);
        match value {
            Operand::Value(value) => {
                let val = self.get(*value);
                let width = keyed.value.scalar().unwrap_or(64);
                let cell = self.justified(&val, width, 64);
                self.store_scalar(&to, 64, &cell);
            }
            Operand::Place(place) => {
                let from = self.spot(place);
                let size = layout::value_bytes(keyed.value);
                self.copy(&to, &from.at, &Val::Imm(size.into()), size);
            }
            Operand::View(view) => {
                let bytes = self.view(view);
                let len = self.settled(&bytes.len);
                self.store_scalar(&to, 32, &len);
                let max = match keyed.value {
                    Shape::Bytes(capacity) => bytes.max.min(*capacity),
                    _ => bytes.max,
                };
                self.copy(&to.plus(layout::BYTES_HEADER), &bytes.at, &len, max);
            }
        }
        let result = self.update(keyed, &key, &element, ANY);
        self.release(cursor);
        if keyed.forgets {
            return Val::Imm(1);
        }
        let stored = self.copy_of(&Val::Imm(1));
        let done = self.mark();
        self.branch(Cond::Eq, result, 0, done);
        self.constant(stored, 0);
        self.bind(done);
        self.val(stored)
    }

    pub(super) fn map_remove(&mut self, object: ObjectId, key: &[Operand]) -> Val {
        let Some(keyed) = self.keyed(object) else {
            return Val::Imm(0);
        };
        let cursor = self.cursor;
        let key = self.key_memory(keyed, key);
        let there = self.copy_of(&Val::Imm(0));
        let done = self.mark();
        let gone = self.mark();
        if let Some(ttl) = keyed.ttl {
            // One that has outlived its time is removed too, and was not there.
            let found = self.look_up(keyed, &key);
            self.branch(Cond::Eq, found, 0, done);
            let time = self.load(Size::D, found, ELEMENT_TIME as i16);
            self.branch_expired(time, ttl, gone);
        }
        let result = self.delete(keyed, &key);
        self.branch(Cond::Ne, result, 0, done);
        self.constant(there, 1);
        self.jump(done);
        if keyed.ttl.is_some() {
            self.bind(gone);
            self.delete(keyed, &key);
        }
        self.bind(done);
        self.release(cursor);
        self.val(there)
    }

    fn delete(&mut self, keyed: Keyed<'m>, key: &Ref) -> V {
        let map = self.map_arg(keyed.object);
        let key = self.address(key, keyed.element.key);
        self.call(Helper::MapDeleteElem, vec![map, Arg::Reg(key)])
    }

    /// Adds in place; an element that turns out to have become another's gets it taken back.
    pub(super) fn map_fetch_add(&mut self, object: ObjectId, key: &[Operand], value: Value) -> Vec<Val> {
        let Some(keyed) = self.keyed(object) else {
            return Vec::new();
        };
        let cursor = self.cursor;
        let element = keyed.element;
        let width = keyed.value.scalar().unwrap_or(64);
        let by = self.get(value);
        let by = self.justified(&by, width, 64);
        let by = self.settled(&by);
        let key = self.key_memory(keyed, key);
        let (there, old) = (self.copy_of(&Val::Imm(0)), self.copy_of(&Val::Imm(0)));
        let tries = self.copy_of(&Val::Imm(TRIES as u64));
        let (retry, again, undo) = (self.mark(), self.mark(), self.mark());
        let (new, replace, done) = (self.mark(), self.mark(), self.mark());
        self.bind(retry);
        let found = self.look_up(keyed, &key);
        self.branch(Cond::Eq, found, 0, new);
        let last = self.load(Size::D, found, (element.bytes - 8) as i16);
        self.compare_key(found, &key, element.key, again);
        if let Some(ttl) = keyed.ttl {
            let time = self.load(Size::D, found, ELEMENT_TIME as i16);
            self.branch_expired(time, ttl, replace);
        }
        let sum = self.copy_of(&by);
        self.push(Inst::FetchAdd {
            bits: Bits::B64,
            base: found,
            off: element.value_at as i16,
            src: sum,
        });
        self.compare_key(found, &key, element.key, undo);
        let first = self.load(Size::D, found, 0);
        self.branch(Cond::Ne, first, last, undo);
        self.mov(old, sum);
        self.unjustify(old, width, 64);
        self.constant(there, 1);
        self.jump(done);
        self.bind(undo);
        let back = self.copy_of(&by);
        self.push(Inst::Neg {
            bits: Bits::B64,
            dst: back,
        });
        self.push(Inst::AtomicAdd {
            bits: Bits::B64,
            base: found,
            off: element.value_at as i16,
            src: back,
        });
        self.bind(again);
        self.alu(AluOp::Sub, tries, 1);
        self.branch(Cond::Ne, tries, 0, retry);
        self.jump(done);
        self.store_new(keyed, &key, &by, (new, tries, retry), replace);
        self.bind(done);
        self.release(cursor);
        vec![self.val(there), self.val(old)]
    }

    /// Stores the first sum of a key: at `new` unless another processor is faster, at `replace` in any case.
    fn store_new(&mut self, keyed: Keyed<'m>, key: &Ref, by: &Val, new: (Mark, V, Mark), replace: Mark) {
        let (new, tries, retry) = new;
        let done = self.mark();
        self.bind(new);
        let element = self.new_element(keyed, key);
        self.store_scalar(&element.clone().plus(keyed.element.value_at), 64, by);
        let result = self.update(keyed, key, &element, NO_EXIST);
        self.branch(Cond::Ne, result, -EEXIST, done);
        self.alu(AluOp::Sub, tries, 1);
        self.branch(Cond::Ne, tries, 0, retry);
        self.jump(done);
        if keyed.ttl.is_some() {
            self.bind(replace);
            let element = self.new_element(keyed, key);
            self.store_scalar(&element.clone().plus(keyed.element.value_at), 64, by);
            self.update(keyed, key, &element, ANY);
        }
        self.bind(done);
    }
}
