//! Fns: their signatures in MIR, their bodies, and calls of them.
//!
//! Scalars are passed and returned as values, aggregates by reference: one that is returned goes through a last,
//! writable parameter. Byte strings are passed as views, so that slices and the request need no copy. A `T?` is a
//! presence bit and a T.

use lambdac_hir::{Expr, FnId, Type};
use lambdac_mir::{Base, Body, FuncId, FuncParam, Op, Operand, Place, Term, Value};

use crate::body::{Binding, BodyCx, Returns};
use crate::facts::{Effects, is_aggregate};
use crate::options::payload_type;
use crate::source::Source;

/// Widths of the scalars that a fn of this type returns.
fn result_widths(cx: &BodyCx<'_, '_>, ty: &Type) -> Vec<u8> {
    match ty {
        Type::Option(payload) if payload.is_scalar() => vec![1, cx.cx.width(payload)],
        Type::Option(_) => vec![1],
        ty if ty.is_scalar() => vec![cx.cx.width(ty)],
        _ => Vec::new(),
    }
}

impl BodyCx<'_, '_> {
    /// Calls a fn; an aggregate that it returns goes to `dst`. Gives the results.
    pub(crate) fn call(&mut self, callee: FnId, args: &[Expr], dst: Option<&Place>) -> Vec<Value> {
        let declared = &self.cx.workload.fns[callee.index()];
        let (ret, locals) = (&declared.ret, &declared.body.locals);
        let own = self.cx.fn_effects(callee).of_callee();
        let mut operands = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            // What the callee writes, it may write before it reads its parameters.
            let later = self.facts.effects_of(&args[i + 1..]) | own;
            self.argument(arg, &locals[i].ty, later, &mut operands);
        }
        if is_aggregate(payload_type(ret)) {
            let out = match dst {
                Some(dst) => dst.clone(),
                None => self.temp(payload_type(ret)),
            };
            operands.push(Operand::Place(out));
        }
        let widths = result_widths(self, ret);
        self.op(Op::Call(FuncId(callee.0), operands), &widths)
    }

    /// Calls a fn that returns a scalar.
    pub(crate) fn call_scalar(&mut self, callee: FnId, args: &[Expr], ty: &Type) -> Value {
        let results = self.call(callee, args, None);
        results
            .first()
            .copied()
            .unwrap_or_else(|| self.unreached(self.cx.width(ty)))
    }

    fn argument(&mut self, arg: &Expr, ty: &Type, later: Effects, operands: &mut Vec<Operand>) {
        match ty {
            Type::Option(payload) if payload.is_scalar() => {
                let (present, value) = self.option(arg, None);
                operands.push(Operand::Value(present));
                operands.extend(value.map(Operand::Value));
            }
            Type::Option(payload) => {
                let slot = self.temp(payload);
                self.op0(Op::Zero(slot.clone()));
                let (present, _) = self.option(arg, Some(&slot));
                operands.push(Operand::Value(present));
                operands.push(self.by_reference(Source::Place(slot), payload));
            }
            Type::Bytes(_) | Type::BytesView => operands.push(Operand::View(self.view(arg, later))),
            ty if ty.is_scalar() => operands.push(Operand::Value(self.scalar(arg))),
            ty => {
                let source = self.source(arg, later);
                operands.push(self.by_reference(source, ty));
            }
        }
    }

    fn by_reference(&mut self, source: Source, ty: &Type) -> Operand {
        match ty {
            Type::Bytes(_) | Type::BytesView => Operand::View(self.as_view(&source, ty)),
            ty => match source {
                // A reference into state would let other invocations change what the callee reads.
                Source::Place(place) if matches!(place.base, Base::Object(_)) => {
                    let copy = self.temp(ty);
                    self.copy_into(&copy, &Source::Place(place), ty);
                    Operand::Place(copy)
                }
                source => Operand::Place(self.materialized(source, ty)),
            },
        }
    }

    /// Declares the parameters of a fn and binds its first locals to them.
    pub(crate) fn declare_params(&mut self, count: u32, ret: &Type) -> (Vec<FuncParam>, Vec<u8>) {
        let mut params = Vec::new();
        for i in 0..count as usize {
            let ty = &self.locals[i].ty;
            let binding = match ty {
                Type::Option(payload) => {
                    let present = self.scalar_param(1, &mut params);
                    Binding::Option(present, self.param_source(payload, &mut params))
                }
                ty => Binding::Direct(self.param_source(ty, &mut params)),
            };
            self.bindings[i] = Some(binding);
        }
        for i in 0..count as usize {
            self.own_mutable_param(i);
        }
        let payload = payload_type(ret);
        let out = is_aggregate(payload).then(|| {
            params.push(FuncParam::Ref {
                shape: self.cx.shape(payload),
                writable: true,
            });
            Place::of(Base::Arg(params.len() as u32 - 1))
        });
        let widths = result_widths(self, ret);
        self.returns = Some(Returns { ty: ret.clone(), out });
        (params, widths)
    }

    fn scalar_param(&mut self, width: u8, params: &mut Vec<FuncParam>) -> Value {
        let value = Body::value(&mut self.body, width);
        params.push(FuncParam::Scalar(value));
        value
    }

    fn param_source(&mut self, ty: &Type, params: &mut Vec<FuncParam>) -> Source {
        if ty.is_scalar() {
            return Source::Scalar(self.scalar_param(self.cx.width(ty), params));
        }
        params.push(match ty {
            Type::Bytes(_) | Type::BytesView => FuncParam::View,
            ty => FuncParam::Ref {
                shape: self.cx.shape(ty),
                writable: false,
            },
        });
        Source::Place(Place::of(Base::Arg(params.len() as u32 - 1)))
    }

    /// A parameter that the fn changes gets memory of its own.
    fn own_mutable_param(&mut self, i: usize) {
        let local = lambdac_hir::LocalId(i as u32);
        if !self.locals[i].mutable {
            return;
        }
        let ty = payload_type(&self.locals[i].ty).clone();
        let own = |cx: &mut Self, source: &Source| match source {
            Source::Scalar(_) => source.clone(),
            source => {
                let slot = cx.local_slot(local, &ty);
                cx.copy_into(&slot, source, &ty);
                Source::Place(slot)
            }
        };
        self.bindings[i] = match self.binding(local).clone() {
            Binding::Direct(source) => Some(Binding::Direct(own(self, &source))),
            Binding::Option(present, source) => Some(Binding::Option(present, own(self, &source))),
        };
    }

    /// `return e;` and a fn's tail.
    pub(crate) fn return_value(&mut self, value: Option<&Expr>) {
        let Some(Returns { ty, out }) = self.returns.clone() else {
            unreachable!("only a fn returns")
        };
        let Some(value) = value else {
            self.leave(Term::Return(Vec::new()));
            return;
        };
        let want = match &ty {
            Type::Option(_) => crate::options::Want::Option(out.as_ref()),
            ty if ty.is_scalar() => crate::options::Want::Scalar,
            _ => match &out {
                Some(out) => crate::options::Want::Into(out),
                None => crate::options::Want::Nothing,
            },
        };
        let results = self.value(value, &want);
        self.leave(Term::Return(results));
    }
}
