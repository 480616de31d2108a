//! Scalar expressions: each becomes one SSA value.

use lambdac_hir::{
    AtomicOp, BinOp as HirOp, Builtin, Expr, ExprKind, LocalId, Place as HirPlace, Type, UnOp,
};
use lambdac_mir::{BinOp, BitPos, CmpOp, HashOp, Op, RmwOp, Value, View};

use crate::body::BodyCx;
use crate::facts::Effects;
use crate::options::Want;
use crate::source::Source;

/// The MIR of a HIR operator that computes, by the operands' signedness.
pub(crate) fn arithmetic(op: HirOp, signed: bool) -> Option<BinOp> {
    Some(match (op, signed) {
        (HirOp::Add, _) => BinOp::Add,
        (HirOp::Sub, _) => BinOp::Sub,
        (HirOp::Mul, _) => BinOp::Mul,
        (HirOp::Div, false) => BinOp::UDiv,
        (HirOp::Div, true) => BinOp::SDiv,
        (HirOp::Rem, false) => BinOp::URem,
        (HirOp::Rem, true) => BinOp::SRem,
        (HirOp::And, _) => BinOp::And,
        (HirOp::Or, _) => BinOp::Or,
        (HirOp::Xor, _) => BinOp::Xor,
        (HirOp::Shl, _) => BinOp::Shl,
        (HirOp::Shr, false) => BinOp::LShr,
        (HirOp::Shr, true) => BinOp::AShr,
        (HirOp::Eq | HirOp::Ne | HirOp::Lt | HirOp::Le | HirOp::Gt | HirOp::Ge, _) => return None,
    })
}

/// The MIR of a HIR comparison, and whether its sides change places.
pub(crate) fn comparison(op: HirOp, signed: bool) -> Option<(CmpOp, bool)> {
    let (less, less_equal) = if signed {
        (CmpOp::Slt, CmpOp::Sle)
    } else {
        (CmpOp::Ult, CmpOp::Ule)
    };
    Some(match op {
        HirOp::Eq => (CmpOp::Eq, false),
        HirOp::Ne => (CmpOp::Ne, false),
        HirOp::Lt => (less, false),
        HirOp::Le => (less_equal, false),
        HirOp::Gt => (less, true),
        HirOp::Ge => (less_equal, true),
        _ => return None,
    })
}

impl BodyCx<'_, '_> {
    /// Lowers a scalar.
    pub(crate) fn scalar(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Value(value) => {
                let width = self.cx.width(&expr.ty);
                self.int(value.as_int(), width)
            }
            ExprKind::Const(_)
            | ExprKind::Param(_)
            | ExprKind::Local(_)
            | ExprKind::State(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..) => {
                let source = self.source(expr, Effects::NONE);
                self.read(source, &expr.ty)
            }
            ExprKind::Pkt(field) => self.op1(Op::Pkt(crate::table::pkt_field(*field)), field.ty().bits),
            ExprKind::Unary(op, operand) => self.unary(*op, operand),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b),
            ExprKind::LogicAnd(a, b) => self.logic(a, b, false),
            ExprKind::LogicOr(a, b) => self.logic(a, b, true),
            ExprKind::InRange(value, lo, hi) => self.in_range(value, lo, hi),
            ExprKind::InPrefix { value, addr, mask } => {
                let value = self.scalar(value);
                let width = self.body.width(value);
                let mask_value = self.int(*mask, width);
                let masked = self.bin(BinOp::And, value, mask_value);
                let addr = self.int(addr & mask, width);
                self.cmp(CmpOp::Eq, masked, addr)
            }
            ExprKind::Cast(inner) => {
                let signed = self.int_type(&inner.ty).signed;
                let value = self.scalar(inner);
                let width = self.cx.width(&expr.ty);
                self.resize(value, width, signed)
            }
            ExprKind::If(..) | ExprKind::IfLet(..) => {
                let tails = self.choice(expr, &Want::Scalar);
                tails
                    .first()
                    .copied()
                    .unwrap_or_else(|| self.unreached(self.cx.width(&expr.ty)))
            }
            ExprKind::Call(callee, args) => self.call_scalar(*callee, args, &expr.ty),
            ExprKind::Builtin(builtin, args) => self.builtin(*builtin, args),
            ExprKind::Atomic(op, place, args) => self.atomic(*op, place, args),
            ExprKind::CounterRead(state, index) => {
                let index = self.counter_index(*state, index.as_deref(), expr.span);
                let object = self.cx.state_object(*state);
                self.op1(Op::CounterRead(object, index), 64)
            }
            ExprKind::Keyed(op, state, args) => self.keyed_bool(*op, *state, args),
            ExprKind::TableHas(table, key) => {
                let key = self.key(key, Effects::NONE);
                let object = self.cx.table_object(*table);
                self.op1(Op::TableHas { object, key }, 1)
            }
            ExprKind::Failed(service) => match self.failed.get(service) {
                Some(failed) => *failed,
                None => self.int(0, 1),
            },
            ExprKind::Slice(..)
            | ExprKind::Widen(_)
            | ExprKind::Narrow(_)
            | ExprKind::Array(_)
            | ExprKind::Repeat(..)
            | ExprKind::Struct(..)
            | ExprKind::None
            | ExprKind::Some(_)
            | ExprKind::TableGet(..)
            | ExprKind::Await(..) => unreachable!("no scalar"),
        }
    }

    fn unary(&mut self, op: UnOp, operand: &Expr) -> Value {
        let value = self.scalar(operand);
        let int = self.int_type(&operand.ty);
        match op {
            UnOp::Not => self.not(value),
            UnOp::BitNot => {
                let ones = self.int(int.mask(), int.bits);
                self.bin(BinOp::Xor, value, ones)
            }
            UnOp::Neg => {
                let zero = self.int(0, int.bits);
                self.bin(BinOp::Sub, zero, value)
            }
        }
    }

    fn binary(&mut self, op: HirOp, a: &Expr, b: &Expr) -> Value {
        if !a.ty.is_scalar() {
            return self.equality(op, a, b);
        }
        let signed = self.int_type(&a.ty).signed;
        let left = self.scalar(a);
        let right = self.scalar(b);
        match comparison(op, signed) {
            Some((cmp, false)) => self.cmp(cmp, left, right),
            Some((cmp, true)) => self.cmp(cmp, right, left),
            None => self.combine(op, signed, left, right),
        }
    }

    /// `left op right` for an operator that computes.
    pub(crate) fn combine(&mut self, op: HirOp, signed: bool, left: Value, right: Value) -> Value {
        let op = arithmetic(op, signed).unwrap_or_else(|| unreachable!("comparisons have their own"));
        self.bin(op, left, right)
    }

    fn logic(&mut self, a: &Expr, b: &Expr, decides: bool) -> Value {
        let left = self.scalar(a);
        let assigned = self.facts.assigned_in_operand(b);
        let assigned = self.visible(&assigned);
        self.short_circuit(left, decides, &assigned, |cx| cx.scalar(b))
    }

    /// `left` where it decides, else what `right` gives.
    fn short_circuit(
        &mut self,
        left: Value,
        decides: bool,
        assigned: &[LocalId],
        right: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let decided = self.arm(assigned, |cx| vec![cx.int(u64::from(decides), 1)]);
        let other = self.arm(assigned, |cx| vec![right(cx)]);
        let arms = if decides {
            vec![decided, other]
        } else {
            vec![other, decided]
        };
        let tails = self.join_if(left, assigned, arms);
        tails.first().copied().unwrap_or_else(|| self.unreached(1))
    }

    fn in_range(&mut self, value: &Expr, lo: &Expr, hi: &Expr) -> Value {
        let signed = self.int_type(&value.ty).signed;
        let value = self.scalar(value);
        let lo = self.scalar(lo);
        let hi = self.scalar(hi);
        let (less, less_equal) = if signed {
            (CmpOp::Slt, CmpOp::Sle)
        } else {
            (CmpOp::Ult, CmpOp::Ule)
        };
        let above = self.cmp(less_equal, lo, value);
        let below = self.cmp(less, value, hi);
        self.bin(BinOp::And, above, below)
    }

    fn builtin(&mut self, builtin: Builtin, args: &[Expr]) -> Value {
        match (builtin, args) {
            (Builtin::Len, [of]) => self.length(of),
            (Builtin::Min | Builtin::Max, [a, b]) => {
                let signed = self.int_type(&a.ty).signed;
                let (left, right) = (self.scalar(a), self.scalar(b));
                let op = match (builtin == Builtin::Min, signed) {
                    (true, false) => BinOp::UMin,
                    (true, true) => BinOp::SMin,
                    (false, false) => BinOp::UMax,
                    (false, true) => BinOp::SMax,
                };
                self.bin(op, left, right)
            }
            (Builtin::Crc32, [of]) => {
                let view = self.hashed(of);
                self.op1(Op::Hash(HashOp::Crc32, view), 32)
            }
            (Builtin::Crc16, [of]) => {
                let view = self.hashed(of);
                self.op1(Op::Hash(HashOp::Crc16, view), 16)
            }
            (Builtin::Now, []) => self.op1(Op::Now, 64),
            (Builtin::Random, []) => self.op1(Op::Random, 32),
            _ => unreachable!("no scalar, or not its number of arguments"),
        }
    }

    fn length(&mut self, of: &Expr) -> Value {
        let source = self.path_base(of, Effects::NONE);
        match (&of.ty, source) {
            (Type::Array(_, n), _) => self.int32(*n),
            (_, Source::Place(place)) => self.op1(Op::Len(place), 32),
            (ty, source) => self.as_view(&source, ty).len,
        }
    }

    /// The wire bytes that a checksum is taken over.
    fn hashed(&mut self, of: &Expr) -> View {
        match &of.ty {
            Type::Bytes(_) | Type::BytesView => return self.view(of, Effects::NONE),
            ty if !ty.is_scalar() => return self.reply_view(of, ty),
            _ => {}
        }
        let value = self.scalar(of);
        let bytes = u32::from(self.body.width(value)) / 8;
        let buffer = self.slot("hashed", &Type::Array(std::sync::Arc::new(Type::U8), bytes));
        self.op0(Op::StoreBits(
            buffer.clone(),
            BitPos { bit: 0, index: None },
            value,
        ));
        let (offset, len) = (self.int32(0), self.int32(bytes));
        View {
            place: buffer,
            offset,
            len,
        }
    }

    /// The place's indexes come first, then the arguments.
    fn atomic(&mut self, op: AtomicOp, place: &HirPlace, args: &[Expr]) -> Value {
        let width = self.cx.width(&place.ty);
        let place = self.place(place);
        let args: Vec<Value> = args.iter().map(|arg| self.scalar(arg)).collect();
        match (op, args.as_slice()) {
            (AtomicOp::FetchAdd, &[by]) => self.op1(Op::AtomicRmw(RmwOp::Add, place, by), width),
            (AtomicOp::FetchSub, &[by]) => self.op1(Op::AtomicRmw(RmwOp::Sub, place, by), width),
            (AtomicOp::Swap, &[new]) => self.op1(Op::AtomicRmw(RmwOp::Swap, place, new), width),
            (AtomicOp::Cas, &[old, new]) => self.op1(Op::AtomicCas { place, old, new }, 1),
            _ => unreachable!("the checker counted the arguments"),
        }
    }

    /// `==` and `!=` of aggregates.
    fn equality(&mut self, op: HirOp, a: &Expr, b: &Expr) -> Value {
        let left = self.source(a, self.facts.effects(b));
        // The length of bytes belongs to the left side's value too.
        let left = match &a.ty {
            Type::Bytes(_) | Type::BytesView => Source::View(self.as_view(&left, &a.ty)),
            _ => left,
        };
        let right = self.source(b, Effects::NONE);
        let equal = self.equal(&left, &a.ty, &right, &b.ty);
        if op == HirOp::Ne { self.not(equal) } else { equal }
    }

    fn equal(&mut self, a: &Source, a_ty: &Type, b: &Source, b_ty: &Type) -> Value {
        match a_ty {
            Type::Bytes(_) | Type::BytesView => {
                let (a, b) = (self.as_view(a, a_ty), self.as_view(b, b_ty));
                self.op1(Op::EqBytes(a, b), 1)
            }
            Type::Array(elem, _) if self.is_byte(elem) => {
                let (a, b) = (self.as_view(a, a_ty), self.as_view(b, b_ty));
                self.op1(Op::EqBytes(a, b), 1)
            }
            Type::Array(elem, n) => self.equal_arrays(a, b, elem, *n),
            Type::Struct(id) => {
                let mut all = None;
                for field in 0..self.cx.workload.strukt(*id).fields.len() as u32 {
                    let ty = &self.cx.workload.strukt(*id).fields[field as usize].ty;
                    let left = self.field(a.clone(), a_ty, field);
                    let right = self.field(b.clone(), b_ty, field);
                    let equal = self.equal(&left, ty, &right, ty);
                    all = Some(all.map_or(equal, |all| self.bin(BinOp::And, all, equal)));
                }
                all.unwrap_or_else(|| self.int(1, 1))
            }
            _ => {
                let left = self.read(a.clone(), a_ty);
                let right = self.read(b.clone(), b_ty);
                self.cmp(CmpOp::Eq, left, right)
            }
        }
    }

    /// Compares element by element up to the first difference.
    fn equal_arrays(&mut self, a: &Source, b: &Source, elem: &Type, n: u32) -> Value {
        self.search(n, |cx, i| {
            let left = cx.array_element(a.clone(), elem, i);
            let right = cx.array_element(b.clone(), elem, i);
            cx.equal(&left, elem, &right, elem)
        })
    }

    /// Whether an element is a byte, so that its arrays can be seen as bytes.
    pub(crate) fn is_byte(&self, elem: &Type) -> bool {
        elem.is_scalar() && self.cx.width(elem) == 8
    }
}
