//! Operations: widths of operands and results.

use super::body::{Checker, Owner};
use super::place::holds;
use super::region::Widths;
use crate::{Base, BinOp, CastOp, FuncId, HashOp, LogArg, Op, Operand, Place, Shape, Stmt, View, mask};

/// The most bytes of a log line's text.
const MAX_LOG_TEXT: usize = 1 << 16;

impl<'m> Checker<'m, '_> {
    /// Checks an operation whose operands are all visible.
    pub(super) fn op(&mut self, stmt: &'m Stmt) {
        match &stmt.op {
            Op::Const(value) => {
                let fits =
                    matches!(stmt.results.as_slice(), [result] if self.fits(*value, self.width(*result)));
                self.require(fits, || format!("the constant {value} does not fit its result"));
            }
            Op::Bin(op, a, b) => {
                if !matches!(op, BinOp::Shl | BinOp::LShr | BinOp::AShr) {
                    self.want(*b, self.width(*a));
                }
                self.results(stmt, &[self.width(*a)]);
            }
            Op::Cmp(_, a, b) => {
                self.want(*b, self.width(*a));
                self.results(stmt, &[1]);
            }
            Op::Cast(op, a) => self.cast(*op, self.width(*a), stmt),
            Op::Select(c, a, b) => {
                self.want(*c, 1);
                self.want(*b, self.width(*a));
                self.results(stmt, &[self.width(*a)]);
            }
            Op::Now => self.results(stmt, &[64]),
            Op::Random => self.results(stmt, &[32]),
            Op::Pkt(field) => self.results(stmt, &[field.width()]),
            Op::Check(value, _) => {
                self.want(*value, 1);
                self.results(stmt, &[]);
            }
            Op::Log(text, args) => self.log(stmt, text, args),
            Op::Call(callee, args) => self.call(stmt, *callee, args),
            Op::Await(call) => {
                self.await_op(call);
                self.results(stmt, &[1, 1]);
            }
            Op::If(..) | Op::Switch { .. } | Op::Block(..) | Op::Loop(_) => self.structured(stmt),
            Op::CounterAdd(..)
            | Op::CounterRead(..)
            | Op::MapGet { .. }
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::TableGet { .. }
            | Op::TableHas { .. } => self.object_op(stmt),
            Op::Load(_)
            | Op::Store(..)
            | Op::Zero(_)
            | Op::Copy { .. }
            | Op::Len(_)
            | Op::SetLen(..)
            | Op::CopyBytes { .. }
            | Op::EqBytes(..)
            | Op::LoadBits(..)
            | Op::StoreBits(..)
            | Op::Hash(..)
            | Op::AtomicRmw(..)
            | Op::AtomicCas { .. } => self.memory_op(stmt),
        }
    }

    fn fits(&self, value: u64, width: u8) -> bool {
        (1..=64).contains(&width) && value <= mask(width)
    }

    fn results(&mut self, stmt: &Stmt, widths: &[u8]) {
        let has = self.result_widths(stmt);
        self.require(has == widths, || {
            format!("results {} where {} are defined", Widths(&has), Widths(widths))
        });
    }

    fn cast(&mut self, op: CastOp, from: u8, stmt: &Stmt) {
        let to = self.result_widths(stmt);
        let ok = match (op, to.as_slice()) {
            (CastOp::ZExt | CastOp::SExt, [to]) => *to > from,
            (CastOp::Trunc, [to]) => *to < from,
            _ => false,
        };
        self.require(ok, || format!("{} from i{from} to {}", op.word(), Widths(&to)));
    }

    fn log(&mut self, stmt: &Stmt, text: &[u8], args: &[LogArg]) {
        self.require(text.len() <= MAX_LOG_TEXT, || {
            "a log line's text is too long".into()
        });
        for arg in args {
            match arg {
                LogArg::Unsigned(_) | LogArg::Signed(_) => {}
                LogArg::Bool(value) => self.want(*value, 1),
                LogArg::Bytes(view) => self.view(view),
            }
        }
        self.results(stmt, &[]);
    }

    fn call(&mut self, stmt: &Stmt, callee: FuncId, args: &[Operand]) {
        let below = match self.owner {
            Owner::Func(_, id) => callee.0 < id,
            Owner::Cond(_) | Owner::Lambda(_) => true,
        };
        let (Some(func), Some(facts)) = (
            self.module.funcs.get(callee.index()),
            self.funcs.get(callee.index()),
        ) else {
            self.error(format!("{callee} is not below its caller"));
            return;
        };
        self.require(below, || format!("{callee} is not below its caller"));
        self.enter_call(*facts);
        self.args(&func.params, &func.body.values, args);
        self.results(stmt, &func.results);
    }

    fn memory_op(&mut self, stmt: &Stmt) {
        match &stmt.op {
            Op::Load(place) => {
                let shape = self.place(place);
                if let Some(width) = self.scalar(shape, place) {
                    self.results(stmt, &[width]);
                }
            }
            Op::Store(place, value) => {
                let shape = self.target(place);
                if let Some(width) = self.scalar(shape, place) {
                    self.want(*value, width);
                }
                self.results(stmt, &[]);
            }
            Op::Zero(place) => {
                self.target(place);
                self.results(stmt, &[]);
            }
            Op::Copy { dst, src } => self.copy(stmt, dst, src),
            Op::Len(place) => {
                let shape = self.place(place);
                let ok = matches!(shape, None | Some(Shape::Bytes(_) | Shape::View));
                self.require(ok, || format!("{place} has no length"));
                self.results(stmt, &[32]);
            }
            Op::SetLen(place, len) => {
                let shape = self.target(place);
                self.require(matches!(shape, None | Some(Shape::Bytes(_))), || {
                    format!("{place} has no length to set")
                });
                self.want(*len, 32);
                self.results(stmt, &[]);
            }
            Op::CopyBytes { dst, offset, src } => {
                if let Some(shape) = self.target(dst) {
                    self.require(shape.is_viewable(), || format!("{dst} is {shape}, not bytes"));
                }
                self.want(*offset, 32);
                self.view(src);
                self.results(stmt, &[]);
            }
            Op::EqBytes(a, b) => {
                self.view(a);
                self.view(b);
                self.results(stmt, &[1]);
            }
            Op::LoadBits(place, pos) => {
                let shape = self.place(place);
                let widths = self.result_widths(stmt);
                match widths.as_slice() {
                    [width] => self.bits(shape, place, *pos, *width),
                    _ => self.error("load_bits defines one value"),
                }
            }
            Op::StoreBits(place, pos, value) => {
                let shape = self.target(place);
                self.bits(shape, place, *pos, self.width(*value));
                let state = matches!(place.base, Base::Object(_));
                self.require(!state, || "bit fields of objects are not written".into());
                self.results(stmt, &[]);
            }
            Op::Hash(op, view) => self.hash(stmt, *op, view),
            Op::AtomicRmw(_, place, value) => {
                if let Some(width) = self.atomic(place) {
                    self.want(*value, width);
                    self.results(stmt, &[width]);
                }
            }
            Op::AtomicCas { place, old, new } => {
                if let Some(width) = self.atomic(place) {
                    self.want(*old, width);
                    self.want(*new, width);
                }
                self.results(stmt, &[1]);
            }
            _ => unreachable!("not an operation on memory"),
        }
    }

    fn hash(&mut self, stmt: &Stmt, op: HashOp, view: &View) {
        self.view(view);
        let width = match op {
            HashOp::Crc32 => 32,
            HashOp::Crc16 => 16,
        };
        self.results(stmt, &[width]);
    }

    fn copy(&mut self, stmt: &Stmt, dst: &Place, src: &Place) {
        let (to, from) = (self.target(dst), self.place(src));
        if let (Some(to), Some(from)) = (to, from) {
            let aggregate = !matches!(from, Shape::Scalar(_) | Shape::View);
            self.require(aggregate && holds(to, from), || format!("copy of {from} to {to}"));
            // One is a part of the other, with the very same steps.
            let steps = dst.path.len().min(src.path.len());
            let same = dst.base == src.base && dst.path[..steps] == src.path[..steps];
            self.require(!same, || format!("copy of {src} onto itself"));
        }
        self.results(stmt, &[]);
    }

    fn atomic(&mut self, place: &Place) -> Option<u8> {
        let shape = self.target(place);
        let state = matches!(place.base, Base::Object(_));
        self.require(state, || format!("{place} is not in an object"));
        self.scalar(shape, place)
    }

    fn object_op(&mut self, stmt: &Stmt) {
        match &stmt.op {
            Op::CounterAdd(object, index, value) => {
                self.counter(*object, *index);
                self.want(*value, 64);
                self.results(stmt, &[]);
            }
            Op::CounterRead(object, index) => {
                self.counter(*object, *index);
                self.results(stmt, &[64]);
            }
            Op::MapGet { object, key, dst } | Op::TableGet { object, key, dst } => {
                let table = matches!(stmt.op, Op::TableGet { .. });
                let Some((parts, value)) = self.keyed(*object, table) else {
                    return;
                };
                self.key(parts, key);
                let widths = self.get_result(value, dst.as_ref());
                self.results(stmt, &widths);
            }
            Op::MapPut { object, key, value } => {
                let Some((parts, shape)) = self.keyed(*object, false) else {
                    return;
                };
                self.key(parts, key);
                self.put_value(shape, value);
                self.results(stmt, &[1]);
            }
            Op::MapRemove { object, key } | Op::TableHas { object, key } => {
                let table = matches!(stmt.op, Op::TableHas { .. });
                let Some((parts, _)) = self.keyed(*object, table) else {
                    return;
                };
                self.key(parts, key);
                self.results(stmt, &[1]);
            }
            Op::MapFetchAdd { object, key, value } => {
                let Some((parts, shape)) = self.keyed(*object, false) else {
                    return;
                };
                self.key(parts, key);
                match shape.scalar() {
                    Some(width) => {
                        self.want(*value, width);
                        self.results(stmt, &[1, width]);
                    }
                    None => self.error(format!("{object} does not map to integers")),
                }
            }
            _ => unreachable!("not an operation on an object"),
        }
    }
}
