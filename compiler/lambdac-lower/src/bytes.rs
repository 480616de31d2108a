//! Byte strings: views, slices, and what changes a `bytes` in place.

use lambdac_diag::Span;
use lambdac_hir::{Builtin, BytesOp, Expr, ExprKind, Place as HirPlace, Type};
use lambdac_mir::{Base, BinOp, BitPos, CmpOp, Op, Place, TrapCause, Value, View};

use crate::body::BodyCx;
use crate::facts::Effects;
use crate::source::Source;

impl BodyCx<'_, '_> {
    /// The bytes of a `bytes` or byte array; `later` is what is evaluated before they are used.
    pub(crate) fn view(&mut self, expr: &Expr, later: Effects) -> View {
        let view = match &expr.kind {
            ExprKind::Slice(base, from, to) => self.slice(base, from, to, expr.span),
            ExprKind::Widen(inner) => self.view(inner, Effects::NONE),
            ExprKind::Narrow(inner) => self.narrow(inner, &expr.ty, expr.span),
            ExprKind::Builtin(Builtin::ToBytes, args) => match args.as_slice() {
                [array] => self.view(array, Effects::NONE),
                _ => unreachable!("the checker counted the arguments"),
            },
            _ => {
                let source = self.source(expr, Effects::NONE);
                self.as_view(&source, &expr.ty)
            }
        };
        self.kept(view, &expr.ty, later)
    }

    /// The view, or a copy of its bytes where what comes later could change them.
    fn kept(&mut self, view: View, ty: &Type, later: Effects) -> View {
        let source = Source::View(view.clone());
        let changes = match view.place.base {
            Base::Object(_) => later.any(Effects::STATE),
            _ => later.any(Effects::LOCALS) && !self.is_stable(&source),
        };
        if !changes {
            return view;
        }
        let ty = match ty {
            Type::Array(_, n) => Type::Bytes(*n),
            _ => ty.clone(),
        };
        let copy = self.temp(&ty);
        let len = view.len;
        self.copy_bytes(&copy, view);
        let offset = self.int32(0);
        View {
            place: copy,
            offset,
            len,
        }
    }

    /// The bytes of a source.
    pub(crate) fn as_view(&mut self, source: &Source, ty: &Type) -> View {
        match source {
            Source::View(view) => view.clone(),
            Source::Request(path) => match self.request_view(path, ty) {
                Some(view) => view,
                None => {
                    let decoded = self.temp(ty);
                    self.decode(&decoded, path, ty);
                    self.as_view(&Source::Place(decoded), ty)
                }
            },
            Source::Place(place) => {
                let offset = self.int32(0);
                let len = match ty {
                    Type::Array(_, n) => self.int32(*n),
                    _ => self.op1(Op::Len(place.clone()), 32),
                };
                View {
                    place: place.clone(),
                    offset,
                    len,
                }
            }
            Source::Scalar(_) => unreachable!("a scalar is no bytes"),
        }
    }

    /// `base[from..to]`: the length is read after both ends are evaluated.
    fn slice(&mut self, base: &Expr, from: &Expr, to: &Expr, span: Span) -> View {
        let ends = self.facts.effects(from) | self.facts.effects(to);
        let source = self.path_base(base, ends);
        let from = self.scalar(from);
        let to = self.scalar(to);
        let whole = self.as_view(&source, &base.ty);
        let width = self.body.width(from).max(self.body.width(to)).max(32);
        let (from, to) = (self.resize(from, width, false), self.resize(to, width, false));
        let len = self.resize(whole.len, width, false);
        self.check_order(from, to, span);
        self.check_order(to, len, span);
        let (from, to) = (self.resize(from, 32, false), self.resize(to, 32, false));
        let offset = self.add32(whole.offset, from);
        let len = self.sub32(to, from);
        View {
            place: whole.place,
            offset,
            len,
        }
    }

    /// Traps unless `low <= high`, a slice's ends.
    fn check_order(&mut self, low: Value, high: Value, span: Span) {
        let known = match (self.constant(low), self.constant(high)) {
            (Some(0), _) => true,
            (Some(low), Some(high)) => low <= high,
            _ => low == high,
        };
        if !known {
            let holds = self.cmp(CmpOp::Ule, low, high);
            self.check(holds, TrapCause::Slice, span);
        }
    }

    fn narrow(&mut self, inner: &Expr, ty: &Type, span: Span) -> View {
        let view = self.view(inner, Effects::NONE);
        if let Type::Bytes(capacity) = ty {
            self.check_length(view.len, *capacity, TrapCause::Narrow, span);
        }
        view
    }

    /// Traps unless `len <= most`.
    pub(crate) fn check_length(&mut self, len: Value, most: u32, cause: TrapCause, span: Span) {
        if self.constant(len).is_some_and(|len| len <= u64::from(most)) {
            return;
        }
        let most = self.int32(most);
        let holds = self.cmp(CmpOp::Ule, len, most);
        self.check(holds, cause, span);
    }

    /// Overwrites a `bytes<n>`.
    pub(crate) fn copy_bytes(&mut self, dst: &Place, src: View) {
        if self.constant(src.len) == Some(0) {
            self.op0(Op::Zero(dst.clone()));
            return;
        }
        let len = src.len;
        let offset = self.int32(0);
        self.op0(Op::CopyBytes {
            dst: dst.clone(),
            offset,
            src,
        });
        self.op0(Op::SetLen(dst.clone(), len));
    }

    /// `pad(bytes)` into a byte array.
    pub(crate) fn pad_into(&mut self, arg: &Expr, n: u32, dst: &Place, span: Span) {
        let src = self.view(arg, Effects::NONE);
        self.check_length(src.len, n, TrapCause::Pad, span);
        if self.constant(src.len) != Some(u64::from(n)) {
            self.op0(Op::Zero(dst.clone()));
        }
        let offset = self.int32(0);
        self.op0(Op::CopyBytes {
            dst: dst.clone(),
            offset,
            src,
        });
    }

    /// `push`, `append`, `clear`: the argument comes before the place's indexes.
    pub(crate) fn bytes_op(&mut self, op: BytesOp, place: &HirPlace, arg: Option<&Expr>, span: Span) {
        let Type::Bytes(capacity) = place.ty else {
            unreachable!("only bytes grow")
        };
        match (op, arg) {
            (BytesOp::Clear, _) => {
                let place = self.place(place);
                let zero = self.int32(0);
                self.op0(Op::SetLen(place, zero));
            }
            (BytesOp::Push, Some(arg)) => {
                let byte = self.scalar(arg);
                let place = self.place(place);
                let len = self.op1(Op::Len(place.clone()), 32);
                let most = self.int32(capacity);
                let fits = self.cmp(CmpOp::Ult, len, most);
                self.check(fits, TrapCause::Capacity, span);
                self.op0(Op::StoreBits(
                    place.clone(),
                    BitPos {
                        bit: 0,
                        index: Some((len, 8)),
                    },
                    byte,
                ));
                let one = self.int32(1);
                let longer = self.bin(BinOp::Add, len, one);
                self.op0(Op::SetLen(place, longer));
            }
            (BytesOp::Append, Some(arg)) => {
                let src = self.view(arg, self.facts.place_effects(place));
                let place = self.place(place);
                let len = self.op1(Op::Len(place.clone()), 32);
                let longer = self.add32(len, src.len);
                self.check_length(longer, capacity, TrapCause::Capacity, span);
                self.op0(Op::CopyBytes {
                    dst: place.clone(),
                    offset: len,
                    src,
                });
                self.op0(Op::SetLen(place, longer));
            }
            (BytesOp::Push | BytesOp::Append, None) => unreachable!("the checker saw an argument"),
        }
    }
}
