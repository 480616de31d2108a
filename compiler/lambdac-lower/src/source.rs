//! Where a value lies that is read without copying it.
//!
//! A [`Source`] borrows: it is good until something changes what it points to. Whoever takes one says what is evaluated
//! before it is used ([`Effects`]), and gets a copy where that could change it.

use lambdac_diag::Span;
use lambdac_hir::{Expr, ExprKind, IntType, Type, Value as Datum};
use lambdac_mir::{Base, CmpOp, Op, Place, Step, TrapCause, Value, View};

use crate::body::{Binding, BodyCx};
use crate::facts::Effects;
use crate::message::RequestPath;

/// Where a value lies.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A scalar, already read.
    Scalar(Value),
    /// In memory; a `bytes` parameter too.
    Place(Place),
    /// Bytes: of `bytes<n>` or `[u8; n]`.
    View(View),
    /// Bits of the request.
    Request(RequestPath),
}

impl Source {
    fn base(&self) -> Option<Base> {
        match self {
            Self::Scalar(_) | Self::Request(_) => None,
            Self::Place(place) => Some(place.base),
            Self::View(view) => Some(view.place.base),
        }
    }
}

/// Whether an expression names something that can be read where it lies, rather than making a new value.
pub(crate) fn borrows(expr: &Expr) -> bool {
    matches!(
        &expr.kind,
        ExprKind::Local(_)
            | ExprKind::State(_)
            | ExprKind::Const(_)
            | ExprKind::Param(_)
            | ExprKind::Value(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..)
            | ExprKind::Slice(..)
            | ExprKind::Widen(_)
            | ExprKind::Narrow(_)
            | ExprKind::Builtin(lambdac_hir::Builtin::ToBytes, _)
    )
}

impl BodyCx<'_, '_> {
    /// Where a value lies; `later` is what is evaluated before it is used.
    pub(crate) fn source(&mut self, expr: &Expr, later: Effects) -> Source {
        let source = self.borrow(expr);
        if expr.ty.is_scalar() || !self.may_change(&source, later) {
            return source;
        }
        let copy = self.temp(&expr.ty);
        self.copy_into(&copy, &source, &expr.ty);
        Source::Place(copy)
    }

    fn may_change(&self, source: &Source, later: Effects) -> bool {
        match source.base() {
            Some(Base::Object(_)) => later.any(Effects::STATE),
            Some(Base::Slot(slot)) => later.any(Effects::LOCALS) && self.mutable.contains(&slot),
            _ => false,
        }
    }

    /// Whether nothing ever changes what is borrowed while a local that is bound to it lives.
    pub(crate) fn is_stable(&self, source: &Source) -> bool {
        !self.may_change(source, Effects::STATE | Effects::LOCALS)
    }

    fn borrow(&mut self, expr: &Expr) -> Source {
        match &expr.kind {
            ExprKind::Local(local) => match self.binding(*local) {
                Binding::Direct(source) => source.clone(),
                Binding::Option(..) => unreachable!("a `T?` is opened before it is read"),
            },
            ExprKind::State(state) => Source::Place(Place::of(Base::Object(self.cx.state_object(*state)))),
            ExprKind::Const(id) => {
                let item = &self.cx.workload.consts[id.index()];
                let value = item.value.clone();
                match (&*value, item.ty.is_scalar()) {
                    (value, true) => self.literal(value, &expr.ty),
                    (Datum::Bytes(bytes), _) => {
                        let id = self.cx.const_item(*id);
                        self.whole_const(id, bytes.len())
                    }
                    _ => Source::Place(Place::of(Base::Const(self.cx.const_item(*id)))),
                }
            }
            ExprKind::Param(id) => Source::Place(Place::of(Base::Param(lambdac_mir::ParamId(id.0)))),
            ExprKind::Value(value) => self.literal(value, &expr.ty),
            ExprKind::Field(base, field) => {
                let source = self.path_base(base, Effects::NONE);
                self.field(source, &base.ty, *field)
            }
            ExprKind::Index(base, index) => {
                let source = self.path_base(base, self.facts.effects(index));
                self.element(source, &base.ty, index, expr.span)
            }
            ExprKind::Slice(..) | ExprKind::Narrow(_) => Source::View(self.view(expr, Effects::NONE)),
            ExprKind::Widen(inner) => self.borrow(inner),
            ExprKind::Builtin(lambdac_hir::Builtin::ToBytes, _) => {
                Source::View(self.view(expr, Effects::NONE))
            }
            _ if expr.ty.is_scalar() => Source::Scalar(self.scalar(expr)),
            _ => {
                if let Some(value) = self.cx.folded(expr) {
                    return self.literal(&value, &expr.ty);
                }
                let temp = self.temp(&expr.ty);
                self.lower_into(expr, &temp);
                Source::Place(temp)
            }
        }
    }

    /// Where a path goes on from. Only a computed value is fixed before the indexes: `s[f()]` reads `s` after the call.
    pub(crate) fn path_base(&mut self, expr: &Expr, indexes: Effects) -> Source {
        match &expr.kind {
            ExprKind::Local(_)
            | ExprKind::State(_)
            | ExprKind::Const(_)
            | ExprKind::Param(_)
            | ExprKind::Value(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..)
            | ExprKind::Widen(_) => self.borrow(expr),
            _ => self.source(expr, indexes),
        }
    }

    fn whole_const(&mut self, id: lambdac_mir::ConstId, len: usize) -> Source {
        let offset = self.int32(0);
        let len = self.int32(len as u32);
        Source::View(View {
            place: Place::of(Base::Const(id)),
            offset,
            len,
        })
    }

    /// A literal: scalars as constants, the rest as read-only data.
    pub(crate) fn literal(&mut self, value: &Datum, ty: &Type) -> Source {
        match value {
            Datum::Bool(_) | Datum::Int(_) => Source::Scalar(self.int(value.as_int(), self.cx.width(ty))),
            Datum::Bytes(bytes) => {
                let id = self.cx.bytes_const(bytes);
                self.whole_const(id, bytes.len())
            }
            _ => Source::Place(Place::of(Base::Const(self.cx.data_const(value, ty)))),
        }
    }

    /// A field of a struct.
    pub(crate) fn field(&mut self, source: Source, ty: &Type, field: u32) -> Source {
        match source {
            Source::Request(path) => Source::Request(self.request_field(path, ty, field)),
            Source::Place(place) => Source::Place(place.step(Step::Field(field))),
            Source::View(_) | Source::Scalar(_) => unreachable!("only a struct has fields"),
        }
    }

    /// An element of an array or a byte of a byte string, with its check.
    fn element(&mut self, source: Source, ty: &Type, index: &Expr, span: Span) -> Source {
        let index = self.scalar(index);
        match (source, ty) {
            (source, Type::Array(elem, n)) => {
                self.check_index(index, *n, span);
                // Where the check is known to trap, what follows is never reached; it must still lie in the message.
                let outside = self.constant(index).is_some_and(|i| i >= u64::from(*n));
                let index = if outside { self.int32(0) } else { index };
                self.array_element(source, elem, index)
            }
            (Source::Place(place), Type::Bytes(_) | Type::BytesView) => {
                let len = self.op1(Op::Len(place.clone()), 32);
                self.check_byte_index(index, len, span);
                Source::Place(place.step(Step::Index(index)))
            }
            (source, _) => {
                let view = self.as_view(&source, ty);
                self.check_byte_index(index, view.len, span);
                self.byte_of(view, index)
            }
        }
    }

    fn byte_of(&mut self, view: View, index: Value) -> Source {
        let index = match self.constant(view.offset) {
            Some(0) => index,
            _ => {
                let index = self.resize(index, 32, false);
                self.add32(view.offset, index)
            }
        };
        Source::Place(view.place.step(Step::Index(index)))
    }

    /// An element that is known to be in bounds.
    pub(crate) fn array_element(&mut self, source: Source, elem: &Type, index: Value) -> Source {
        match source {
            Source::Request(path) => Source::Request(self.request_element(path, elem, index)),
            Source::Place(place) => Source::Place(place.step(Step::Index(index))),
            Source::View(view) => self.byte_of(view, index),
            Source::Scalar(_) => unreachable!("a scalar has no elements"),
        }
    }

    /// Traps unless `index < n`.
    pub(crate) fn check_index(&mut self, index: Value, n: u32, span: Span) {
        let width = self.body.width(index);
        let fits_always = width < 32 && (1u64 << width) <= u64::from(n);
        if fits_always || self.constant(index).is_some_and(|i| i < u64::from(n)) {
            return;
        }
        // A bound that needs more bits than the index has was the case above.
        let bound = self.int(u64::from(n), width);
        let holds = self.cmp(CmpOp::Ult, index, bound);
        self.check(holds, TrapCause::Index, span);
    }

    /// Traps unless `index < len`, an `i32`.
    pub(crate) fn check_byte_index(&mut self, index: Value, len: Value, span: Span) {
        let width = self.body.width(index).max(32);
        let index = self.resize(index, width, false);
        if let (Some(i), Some(n)) = (self.constant(index), self.constant(len))
            && i < n
        {
            return;
        }
        let len = self.resize(len, width, false);
        let holds = self.cmp(CmpOp::Ult, index, len);
        self.check(holds, TrapCause::Index, span);
    }

    /// Reads a scalar.
    pub(crate) fn read(&mut self, source: Source, ty: &Type) -> Value {
        let width = self.cx.width(ty);
        match source {
            Source::Scalar(value) => value,
            Source::Place(place) => self.op1(Op::Load(place), width),
            Source::Request(path) => self.request_scalar(&path, width),
            Source::View(_) => unreachable!("bytes are no scalar"),
        }
    }

    /// The integer type that a scalar is held as.
    pub(crate) fn int_type(&self, ty: &Type) -> IntType {
        self.cx.workload.scalar_int(ty).unwrap_or(IntType::unsigned(1))
    }
}
