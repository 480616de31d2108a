//! `T?`: a presence bit and a payload, and the expressions that choose between arms.

use lambdac_hir::{Block, Expr, ExprKind, KeyedOp, LocalId, ServiceId, ServiceOp, Type, Value as Datum};
use lambdac_mir::{Op, Place, ServiceCall, Value};

use crate::aggregate::is_zero;
use crate::body::{Binding, BodyCx};
use crate::facts::Effects;
use crate::source::Source;

/// What is done with the value of an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want<'p> {
    /// Nothing.
    Nothing,
    /// A scalar: one tail.
    Scalar,
    /// An aggregate goes here: no tail.
    Into(&'p Place),
    /// A `T?`: the presence bit and, where T is a scalar, the payload; else that goes here.
    Option(Option<&'p Place>),
}

/// A `T?` that was just computed.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Whether there is a value.
    pub(crate) present: Value,
    /// It.
    pub(crate) payload: Source,
    /// Of an await: the service and whether it failed.
    pub(crate) failed: Option<(ServiceId, Value)>,
}

/// The T of a `T?`.
pub(crate) fn payload_type(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => inner,
        other => other,
    }
}

impl BodyCx<'_, '_> {
    /// Lowers an expression for what is wanted of it; gives the tails.
    pub(crate) fn value(&mut self, expr: &Expr, want: &Want<'_>) -> Vec<Value> {
        if expr.ty == Type::Never {
            self.discard(expr);
            return Vec::new();
        }
        match want {
            Want::Nothing => {
                self.discard(expr);
                Vec::new()
            }
            Want::Scalar => vec![self.scalar(expr)],
            Want::Into(dst) => {
                self.lower_into(expr, dst);
                Vec::new()
            }
            Want::Option(dst) => {
                let (present, payload) = self.option(expr, *dst);
                std::iter::once(present).chain(payload).collect()
            }
        }
    }

    /// Lowers an expression for its effects.
    pub(crate) fn discard(&mut self, expr: &Expr) {
        match (&expr.kind, &expr.ty) {
            (ExprKind::If(..) | ExprKind::IfLet(..), Type::Unit | Type::Never) => {
                self.choice(expr, &Want::Nothing);
            }
            (ExprKind::Call(callee, args), Type::Unit | Type::Never) => {
                self.call(*callee, args, None);
            }
            (ExprKind::Keyed(op, state, args), Type::Unit) => {
                self.keyed_bool(*op, *state, args);
            }
            (_, Type::Option(payload)) => {
                let dst = (!payload.is_scalar()).then(|| self.temp(payload));
                self.option(expr, dst.as_ref());
            }
            (_, ty) if ty.is_scalar() => {
                self.scalar(expr);
            }
            _ => {
                self.source(expr, Effects::NONE);
            }
        }
    }

    /// `if` and `if let`; gives the tails.
    pub(crate) fn choice(&mut self, expr: &Expr, want: &Want<'_>) -> Vec<Value> {
        match &expr.kind {
            ExprKind::If(cond, then, els) => {
                let cond = self.scalar(cond);
                let assigned = self.assigned_in_either(then, els);
                self.branch(
                    cond,
                    &assigned,
                    |cx| cx.block(then, want),
                    |cx| cx.block(els, want),
                )
            }
            ExprKind::IfLet(local, option, then, els) => {
                let opened = self.open(option, *local);
                let assigned = self.assigned_in_either(then, els);
                let failed = opened.failed;
                self.branch(
                    opened.present,
                    &assigned,
                    |cx| {
                        cx.bind_payload(*local, option, opened.payload);
                        cx.block(then, want)
                    },
                    |cx| cx.else_block(els, failed, want),
                )
            }
            _ => unreachable!("only `if` and `if let` choose"),
        }
    }

    /// A block in which `service.failed()` may stand.
    pub(crate) fn else_block(
        &mut self,
        block: &Block,
        failed: Option<(ServiceId, Value)>,
        want: &Want<'_>,
    ) -> Vec<Value> {
        let Some((service, failed)) = failed else {
            return self.block(block, want);
        };
        let outer = self.failed.insert(service, failed);
        let tails = self.block(block, want);
        match outer {
            Some(outer) => self.failed.insert(service, outer),
            None => self.failed.remove(&service),
        };
        tails
    }

    fn assigned_in_either(&self, a: &Block, b: &Block) -> Vec<LocalId> {
        let mut both: Vec<LocalId> = self.facts.assigned_in(a).to_vec();
        both.extend_from_slice(&self.facts.assigned_in(b));
        both.sort_unstable();
        both.dedup();
        self.visible(&both)
    }

    /// Computes a `T?` that `local` will hold the value of.
    pub(crate) fn open(&mut self, option: &Expr, local: LocalId) -> Opened {
        let payload_ty = payload_type(&option.ty);
        match &option.kind {
            ExprKind::Await(service, op, args) => self.await_service(*service, *op, args, payload_ty, local),
            ExprKind::Local(id) => match self.binding(*id).clone() {
                Binding::Option(present, payload) => Opened {
                    present,
                    payload,
                    failed: None,
                },
                Binding::Direct(_) => unreachable!("the local is a `T?`"),
            },
            _ => {
                let dst = (!payload_ty.is_scalar()).then(|| self.local_slot(local, payload_ty));
                let (present, value) = self.option(option, dst.as_ref());
                let payload = match (dst, value) {
                    (Some(dst), _) => Source::Place(dst),
                    (None, Some(value)) => Source::Scalar(value),
                    (None, None) => Source::Scalar(self.unreached(self.cx.width(payload_ty))),
                };
                Opened {
                    present,
                    payload,
                    failed: None,
                }
            }
        }
    }

    /// Binds a local to the value of a `T?` that is there.
    pub(crate) fn bind_payload(&mut self, local: LocalId, option: &Expr, payload: Source) {
        let shared = matches!(option.kind, ExprKind::Local(_));
        let mutable = self.locals[local.index()].mutable;
        let payload = match payload {
            Source::Scalar(_) => payload,
            source if shared && (mutable || !self.is_stable(&source)) => {
                let ty = payload_type(&option.ty);
                let own = self.local_slot(local, ty);
                self.copy_into(&own, &source, ty);
                Source::Place(own)
            }
            source => source,
        };
        self.bindings[local.index()] = Some(Binding::Direct(payload));
    }

    /// A slot named like a local.
    pub(crate) fn local_slot(&mut self, local: LocalId, ty: &Type) -> Place {
        let declared = &self.locals[local.index()];
        let slot = self.slot(&declared.name, ty);
        if let (true, lambdac_mir::Base::Slot(id)) = (declared.mutable, slot.base) {
            self.mutable.insert(id);
        }
        slot
    }

    /// Lowers a `T?`: whether it is there, and its payload where T is a scalar. Else the payload goes to `dst`, which
    /// is left alone where there is none.
    pub(crate) fn option(&mut self, expr: &Expr, dst: Option<&Place>) -> (Value, Option<Value>) {
        let payload_ty = payload_type(&expr.ty);
        match &expr.kind {
            ExprKind::None => self.absent(payload_ty),
            ExprKind::Value(value) => match &**value {
                Datum::Some(inner) => self.present_literal(inner, payload_ty, dst),
                _ => self.absent(payload_ty),
            },
            ExprKind::Some(inner) => match dst {
                Some(dst) => {
                    self.lower_into(inner, dst);
                    (self.int(1, 1), None)
                }
                None => {
                    let value = self.scalar(inner);
                    (self.int(1, 1), Some(value))
                }
            },
            ExprKind::Local(local) => self.option_local(*local, payload_ty, dst),
            ExprKind::If(..) | ExprKind::IfLet(..) => {
                let tails = self.choice(expr, &Want::Option(dst));
                self.option_tails(&tails, payload_ty)
            }
            ExprKind::Call(callee, args) => {
                let results = self.call(*callee, args, dst);
                self.option_tails(&results, payload_ty)
            }
            ExprKind::Keyed(KeyedOp::FetchAdd, state, args) => self.keyed_add(*state, args, payload_ty),
            ExprKind::Keyed(_, state, args) => self.keyed_get(*state, args, payload_ty, dst),
            ExprKind::TableGet(table, key) => self.table_get(*table, key, payload_ty, dst),
            _ => unreachable!("no `T?`"),
        }
    }

    fn option_tails(&mut self, tails: &[Value], payload_ty: &Type) -> (Value, Option<Value>) {
        match tails {
            [present, payload] => (*present, Some(*payload)),
            [present] => (*present, None),
            _ => {
                let width = payload_ty.is_scalar().then(|| self.cx.width(payload_ty));
                (self.unreached(1), width.map(|w| self.unreached(w)))
            }
        }
    }

    fn absent(&mut self, payload_ty: &Type) -> (Value, Option<Value>) {
        let present = self.int(0, 1);
        let payload = payload_ty.is_scalar().then(|| self.cx.width(payload_ty));
        (present, payload.map(|width| self.int(0, width)))
    }

    fn present_literal(&mut self, value: &Datum, ty: &Type, dst: Option<&Place>) -> (Value, Option<Value>) {
        let source = self.literal(value, ty);
        let present = self.int(1, 1);
        match (dst, source) {
            (Some(dst), _) if is_zero(value) => {
                self.op0(Op::Zero(dst.clone()));
                (present, None)
            }
            (Some(dst), source) => {
                self.copy_into(dst, &source, ty);
                (present, None)
            }
            (None, source) => (present, Some(self.read(source, ty))),
        }
    }

    fn option_local(
        &mut self,
        local: LocalId,
        payload_ty: &Type,
        dst: Option<&Place>,
    ) -> (Value, Option<Value>) {
        let Binding::Option(present, payload) = self.binding(local).clone() else {
            unreachable!("the local is a `T?`")
        };
        match (dst, payload) {
            (None, Source::Scalar(value)) => (present, Some(value)),
            (None, source) => (present, Some(self.read(source, payload_ty))),
            (Some(dst), source) => {
                // Without a value the payload holds nothing to copy.
                self.branch(
                    present,
                    &[],
                    |cx| {
                        cx.copy_into(dst, &source, payload_ty);
                        Vec::new()
                    },
                    |_| Vec::new(),
                );
                (present, None)
            }
        }
    }

    fn await_service(
        &mut self,
        service: ServiceId,
        op: ServiceOp,
        args: &[Expr],
        payload_ty: &Type,
        local: LocalId,
    ) -> Opened {
        let (key, value) = match args {
            [key] => (self.view(key, Effects::NONE), None),
            [key, value] => {
                let key = self.view(key, self.facts.effects(value));
                (key, Some(self.view(value, Effects::NONE)))
            }
            _ => unreachable!("the checker counted the arguments"),
        };
        let answer = (op == ServiceOp::Get).then(|| self.local_slot(local, payload_ty));
        let dst = answer.as_ref().and_then(|place| match place.base {
            lambdac_mir::Base::Slot(slot) => Some(slot),
            _ => None,
        });
        let call = ServiceCall {
            service: lambdac_mir::ServiceId(service.0),
            op: crate::table::service_op(op),
            key,
            value,
            dst,
        };
        let results = self.op(Op::Await(call), &[1, 1]);
        let payload = match answer {
            Some(place) => Source::Place(place),
            // `set` and `delete` give true or nothing.
            None => Source::Scalar(self.int(1, 1)),
        };
        Opened {
            present: results[0],
            payload,
            failed: Some((service, results[1])),
        }
    }
}
