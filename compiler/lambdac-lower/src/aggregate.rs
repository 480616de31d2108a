//! Aggregates: values lowered into the place where they are wanted.

use lambdac_hir::{Builtin, Expr, ExprKind, Place as HirPlace, PlaceBase, Projection, Type, Value as Datum};
use lambdac_mir::{Base, Op, Place, Step, Value};

use crate::body::{Binding, BodyCx};
use crate::facts::Effects;
use crate::fold::{STORED_SINGLY, leaves};
use crate::options::Want;
use crate::source::Source;

/// Arrays up to this length are filled element by element, longer ones by a loop.
const UNROLLED: u32 = 4;

/// Whether a constant is all zeros.
pub(crate) fn is_zero(value: &Datum) -> bool {
    match value {
        Datum::Bool(b) => !b,
        Datum::Int(v) => *v == 0,
        Datum::Array(values) | Datum::Struct(values) => values.iter().all(is_zero),
        Datum::Bytes(bytes) => bytes.is_empty(),
        Datum::None | Datum::Unit => true,
        Datum::Some(_) => false,
    }
}

impl BodyCx<'_, '_> {
    /// Lowers a value into a place that the expression does not read.
    pub(crate) fn lower_into(&mut self, expr: &Expr, dst: &Place) {
        match &expr.kind {
            _ if expr.ty.is_scalar() => {
                let value = self.scalar(expr);
                self.op0(Op::Store(dst.clone(), value));
            }
            ExprKind::Value(value) if is_zero(value) => self.op0(Op::Zero(dst.clone())),
            ExprKind::Array(_) | ExprKind::Repeat(..) | ExprKind::Struct(..)
                if self.store_folded(expr, dst) => {}
            ExprKind::Array(elems) => {
                for (i, elem) in elems.iter().enumerate() {
                    let index = self.int32(i as u32);
                    self.lower_into(elem, &dst.clone().step(Step::Index(index)));
                }
            }
            ExprKind::Repeat(value, n) => self.fill(value, *n, dst),
            ExprKind::Struct(_, fields) => {
                for (field, value) in fields {
                    self.lower_into(value, &dst.clone().step(Step::Field(*field)));
                }
            }
            ExprKind::If(..) | ExprKind::IfLet(..) => {
                self.choice(expr, &Want::Into(dst));
            }
            ExprKind::Call(callee, args) => {
                self.call(*callee, args, Some(dst));
            }
            ExprKind::Builtin(Builtin::Pad, args) => match (args.as_slice(), &expr.ty) {
                ([arg], Type::Array(_, n)) => self.pad_into(arg, *n, dst, expr.span),
                _ => unreachable!("`pad` takes bytes and gives a byte array"),
            },
            _ => {
                let source = self.source(expr, Effects::NONE);
                self.copy_into(dst, &source, &expr.ty);
            }
        }
    }

    /// Copies a literal of constants from read-only data; false for one that is no constant, or is small.
    fn store_folded(&mut self, expr: &Expr, dst: &Place) -> bool {
        let Some(value) = self.cx.folded(expr) else {
            return false;
        };
        if is_zero(&value) {
            self.op0(Op::Zero(dst.clone()));
            return true;
        }
        if leaves(&value) <= STORED_SINGLY {
            return false;
        }
        let source = self.literal(&value, &expr.ty);
        self.copy_into(dst, &source, &expr.ty);
        true
    }

    /// `[v; n]`: the value is computed once.
    fn fill(&mut self, value: &Expr, n: u32, dst: &Place) {
        let source = if value.ty.is_scalar() {
            Source::Scalar(self.scalar(value))
        } else {
            self.source(value, Effects::NONE)
        };
        if let Source::Scalar(v) = source
            && self.constant(v) == Some(0)
        {
            self.op0(Op::Zero(dst.clone()));
            return;
        }
        self.repeat(n, |cx, i| {
            cx.copy_into(&dst.clone().step(Step::Index(i)), &source, &value.ty)
        });
    }

    /// Runs code for each index below `n`.
    pub(crate) fn repeat(&mut self, n: u32, mut each: impl FnMut(&mut Self, Value)) {
        if n <= UNROLLED {
            for i in 0..n {
                let index = self.int32(i);
                each(self, index);
            }
            return;
        }
        self.counted(n, |cx, i| each(cx, i));
    }

    /// Writes a value that lies elsewhere to a place that doesn't overlap it.
    pub(crate) fn copy_into(&mut self, dst: &Place, source: &Source, ty: &Type) {
        match source {
            Source::Scalar(value) => self.op0(Op::Store(dst.clone(), *value)),
            Source::Place(place) if ty.is_scalar() => {
                let value = self.op1(Op::Load(place.clone()), self.cx.width(ty));
                self.op0(Op::Store(dst.clone(), value));
            }
            Source::Place(place) => {
                let bare = place.path.is_empty();
                if matches!(ty, Type::Bytes(_) | Type::BytesView)
                    && bare
                    && matches!(place.base, Base::Arg(_))
                {
                    // A view parameter: any length that the types allow.
                    let view = self.as_view(source, ty);
                    self.copy_bytes(dst, view);
                } else {
                    self.op0(Op::Copy {
                        dst: dst.clone(),
                        src: place.clone(),
                    });
                }
            }
            Source::View(view) => match ty {
                Type::Array(..) => {
                    let offset = self.int32(0);
                    self.op0(Op::CopyBytes {
                        dst: dst.clone(),
                        offset,
                        src: view.clone(),
                    });
                }
                _ => self.copy_bytes(dst, view.clone()),
            },
            Source::Request(path) => self.decode(dst, path, ty),
        }
    }

    /// The place of a source of an aggregate, decoded or copied where it has none of its type's shape.
    pub(crate) fn materialized(&mut self, source: Source, ty: &Type) -> Place {
        if let Source::Place(place) = source {
            return place;
        }
        let copy = self.temp(ty);
        self.copy_into(&copy, &source, ty);
        copy
    }

    /// The place that an assignment or atomic names, its indexes checked one after the other.
    pub(crate) fn place(&mut self, place: &HirPlace) -> Place {
        let (mut at, mut ty) = match place.base {
            PlaceBase::State(state) => {
                let lambdac_hir::StateKind::Value { ty, .. } = &self.cx.workload.states[state.index()].kind
                else {
                    unreachable!("only state values are places")
                };
                (Place::of(Base::Object(self.cx.state_object(state))), ty.clone())
            }
            PlaceBase::Local(local) => match self.binding(local) {
                Binding::Direct(Source::Place(at)) => (at.clone(), self.locals[local.index()].ty.clone()),
                _ => unreachable!("a local that is written in parts lies in a slot"),
            },
        };
        for projection in &place.projections {
            (at, ty) = match projection {
                Projection::Field(field) => self.field_place(at, &ty, *field),
                Projection::Index(index) => self.element_place(at, &ty, index, place),
            };
        }
        at
    }

    fn field_place(&self, at: Place, ty: &Type, field: u32) -> (Place, Type) {
        let Type::Struct(id) = ty else {
            unreachable!("only a struct has fields")
        };
        let field_ty = self.cx.workload.strukt(*id).fields[field as usize].ty.clone();
        (at.step(Step::Field(field)), field_ty)
    }

    fn element_place(&mut self, at: Place, ty: &Type, index: &Expr, whole: &HirPlace) -> (Place, Type) {
        let index = self.scalar(index);
        let elem = match ty {
            Type::Array(elem, n) => {
                self.check_index(index, *n, whole.span);
                (**elem).clone()
            }
            _ => {
                let len = self.op1(Op::Len(at.clone()), 32);
                self.check_byte_index(index, len, whole.span);
                Type::U8
            }
        };
        (at.step(Step::Index(index)), elem)
    }

    /// Assigns an aggregate: the value, then the place's indexes, then the copy.
    pub(crate) fn assign_aggregate(&mut self, place: &HirPlace, value: &Expr) {
        let effects = self.facts.effects(value);
        let whole_local = matches!(place.base, PlaceBase::Local(_)) && place.projections.is_empty();
        if whole_local && !self.facts.reads_itself(place) && !effects.any(Effects::LEAVES) {
            // Nothing sees the local half written: a trap ends the invocation.
            let dst = self.place(place);
            self.lower_into(value, &dst);
            return;
        }
        let source = self.source(value, self.facts.place_effects(place));
        let source = match source {
            Source::Place(_) | Source::View(_) if self.may_overlap(&source, place) => {
                let copy = self.temp(&value.ty);
                self.copy_into(&copy, &source, &value.ty);
                Source::Place(copy)
            }
            other => other,
        };
        let dst = self.place(place);
        self.copy_into(&dst, &source, &value.ty);
    }

    /// Whether a source may share memory with a place.
    fn may_overlap(&self, source: &Source, place: &HirPlace) -> bool {
        let base = match source {
            Source::Place(place) => place.base,
            Source::View(view) => view.place.base,
            Source::Scalar(_) | Source::Request(_) => return false,
        };
        match place.base {
            PlaceBase::State(state) => base == Base::Object(self.cx.state_object(state)),
            PlaceBase::Local(local) => match self.binding(local) {
                Binding::Direct(Source::Place(at)) => base == at.base,
                _ => true,
            },
        }
    }
}
