//! Operations without regions.

use lambdac_mir::{Op, Shape, Stmt};

use super::{Emitter, Val};

impl<'m> Emitter<'m> {
    pub(super) fn op(&mut self, stmt: &'m Stmt) {
        let result = stmt.results.first().copied();
        let val = match &stmt.op {
            Op::Const(value) => Some(Val::Imm(*value)),
            Op::Bin(op, a, b) => {
                let width = self.width(*a);
                let (a, b) = (self.get(*a), self.get(*b));
                Some(self.bin(*op, width, &a, &b))
            }
            Op::Cmp(op, a, b) => {
                let width = self.width(*a);
                let (a, b) = (self.get(*a), self.get(*b));
                result.map(|result| self.compare(result, *op, width, a, b))
            }
            Op::Cast(op, a) => {
                let (from, val) = (self.width(*a), self.get(*a));
                result.map(|result| {
                    let to = self.width(result);
                    self.cast(*op, from, to, &val)
                })
            }
            Op::Select(cond, a, b) => {
                let (cond, a, b) = (self.get(*cond), self.get(*a), self.get(*b));
                Some(self.select(&cond, &a, &b))
            }
            Op::Check(cond, cause) => {
                let cond = self.get(*cond);
                if cond.imm() != Some(1) {
                    let mark = self.trap(*cause);
                    self.branch_if(&cond, false, mark);
                }
                None
            }
            Op::Load(place) => {
                let spot = self.spot(place);
                let width = spot.shape.scalar().unwrap_or(64);
                Some(self.load_scalar(&spot.at, width))
            }
            Op::LoadBits(place, pos) => result.map(|result| {
                let width = self.width(result);
                self.load_bits(place, *pos, width)
            }),
            Op::Len(place) => Some(self.len_of(place)),
            Op::Now => Some(self.now()),
            Op::Random => Some(self.random()),
            Op::Pkt(field) => Some(self.pkt(*field)),
            Op::Call(callee, args) => {
                self.call_op(&stmt.results, *callee, args);
                None
            }
            Op::Store(..)
            | Op::Zero(_)
            | Op::Copy { .. }
            | Op::SetLen(..)
            | Op::CopyBytes { .. }
            | Op::EqBytes(..)
            | Op::StoreBits(..)
            | Op::Log(..) => {
                self.memory_op(stmt);
                None
            }
            _ => {
                self.state_op(stmt);
                None
            }
        };
        if let (Some(result), Some(val)) = (result, val) {
            self.set(result, val);
        }
    }

    fn memory_op(&mut self, stmt: &'m Stmt) {
        match &stmt.op {
            Op::Store(place, value) => {
                let val = self.get(*value);
                let val = self.settled(&val);
                let spot = self.spot(place);
                let width = spot.shape.scalar().unwrap_or(64);
                self.store_scalar(&spot.at, width, &val);
            }
            Op::Zero(place) => self.zero_place(place),
            Op::Copy { dst, src } => self.copy_place(dst, src),
            Op::SetLen(place, len) => {
                let len = self.get(*len);
                self.set_len(place, &len);
            }
            Op::CopyBytes { dst, offset, src } => {
                let bytes = self.view(src);
                let spot = self.spot(dst);
                let capacity = match spot.shape {
                    Shape::Bytes(capacity) => *capacity,
                    shape => shape.byte_array_len().unwrap_or(0),
                };
                let (at, _) = self.extent(spot);
                let offset = self.get(*offset);
                let at = self.moved(at, &offset);
                let max = bytes.max.min(capacity);
                if bytes.len.imm().is_some_and(|len| len > u64::from(max)) {
                    let mark = self.unreachable();
                    return self.jump(mark);
                }
                self.copy(&at, &bytes.at, &bytes.len, max);
            }
            Op::EqBytes(a, b) => {
                let (a, b) = (self.view(a), self.view(b));
                let equal = self.eq_bytes(&a, &b);
                if let Some(result) = stmt.results.first() {
                    self.set(*result, equal);
                }
            }
            Op::StoreBits(place, pos, value) => self.store_bits(place, *pos, *value),
            Op::Log(text, args) => self.log(text, args),
            _ => self.invalid("an operation in the wrong place"),
        }
    }

    /// Compares views of which at least one has a constant length; others were expanded into loops.
    fn eq_bytes(&mut self, a: &super::Bytes, b: &super::Bytes) -> Val {
        let (a, b) = if a.len.imm().is_some() { (b, a) } else { (a, b) };
        let Some(len) = b.len.imm() else {
            self.invalid("a comparison of two run-time lengths");
            return Val::Imm(0);
        };
        if a.len.imm().is_some_and(|other| other != len) {
            return Val::Imm(0);
        }
        let (differ, done) = (self.mark(), self.mark());
        if a.len.imm().is_none() {
            let reg = self.reg(&a.len);
            self.branch(crate::insn::Cond::Ne, reg, len as i32, differ);
        }
        if len > 0 {
            let left = self.pointer(&a.at, len as u32);
            let right = self.pointer(&b.at, len as u32);
            for (at, size) in super::memory::pieces(len as u32) {
                let x = self.load(size, left.0, left.1 + at as i16);
                let y = self.load(size, right.0, right.1 + at as i16);
                self.branch(crate::insn::Cond::Ne, x, y, differ);
            }
        }
        let result = self.copy_of(&Val::Imm(1));
        self.jump(done);
        self.bind(differ);
        self.constant(result, 0);
        self.bind(done);
        self.val(result)
    }
}
