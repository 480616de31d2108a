//! Blocks and statements.

use lambdac_hir::{BinOp, Block, Expr, LocalId, Place, PlaceBase, Stmt, StmtKind, Type};
use lambdac_mir::{LambdaId, LogArg, Op, Term, Value};

use crate::body::{Binding, BodyCx};
use crate::facts::Effects;
use crate::options::{Want, payload_type};
use crate::source::{Source, borrows};

impl BodyCx<'_, '_> {
    /// Lowers a block for what is wanted of its tail; gives the tails, none where control leaves.
    pub(crate) fn block(&mut self, block: &Block, want: &Want<'_>) -> Vec<Value> {
        self.statements(block);
        match &block.tail {
            Some(tail) if !self.left() => {
                self.at(tail.span);
                self.value(tail, want)
            }
            _ => Vec::new(),
        }
    }

    /// Lowers a block's statements, up to one that always leaves.
    pub(crate) fn statements(&mut self, block: &Block) {
        for stmt in &block.stmts {
            if self.left() {
                return;
            }
            self.at(stmt.span);
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { local, init } => self.let_local(*local, init),
            StmtKind::LetElse { local, init, els } => {
                let opened = self.open(init, *local);
                let failed = opened.failed;
                let assigned = self.visible(&self.facts.assigned_in(els));
                self.branch(
                    opened.present,
                    &assigned,
                    |_| Vec::new(),
                    |cx| cx.else_block(els, failed, &Want::Nothing),
                );
                self.bind_payload(*local, init, opened.payload);
            }
            StmtKind::Assign { place, op, value } => self.assign(place, *op, value),
            StmtKind::Match { scrutinee, arms } => self.match_value(scrutinee, arms),
            StmtKind::For {
                var,
                from,
                to,
                max,
                body,
            } => self.for_loop(*var, from, to, *max, body),
            StmtKind::While { cond, max, body } => self.while_loop(cond, *max, body),
            StmtKind::Break => self.break_loop(),
            StmtKind::Continue => self.continue_loop(),
            StmtKind::Return(value) => self.return_value(value.as_ref()),
            StmtKind::Reply(value) => {
                let Some(ty) = self.reply.clone() else {
                    unreachable!("only a lambda replies")
                };
                let view = self.reply_view(value, &ty);
                self.leave(Term::Reply(view));
            }
            StmtKind::Drop => self.leave(Term::Drop),
            StmtKind::Punt(target) => self.leave(Term::Punt(target.map(|l| LambdaId(l.0)))),
            StmtKind::Expr(expr) => self.discard(expr),
            StmtKind::Log { text, args } => self.log(text, args),
            StmtKind::CounterAdd(state, index, amount) => {
                let index = self.counter_index(*state, index.as_ref(), stmt.span);
                let amount = self.scalar(amount);
                let object = self.cx.state_object(*state);
                self.op0(Op::CounterAdd(object, index, amount));
            }
            StmtKind::BytesOp(op, place, arg) => self.bytes_op(*op, place, arg.as_ref(), stmt.span),
        }
    }

    fn let_local(&mut self, local: LocalId, init: &Expr) {
        let declared = &self.locals[local.index()];
        let binding = match &declared.ty {
            Type::Option(payload) if !payload.is_scalar() => {
                let slot = self.local_slot(local, payload);
                // What is copied later must hold something, even where there is no value.
                self.op0(Op::Zero(slot.clone()));
                let (present, _) = self.option(init, Some(&slot));
                Binding::Option(present, Source::Place(slot))
            }
            Type::Option(payload) => {
                let (present, value) = self.option(init, None);
                let width = self.cx.width(payload);
                let value = value.unwrap_or_else(|| self.unreached(width));
                Binding::Option(present, Source::Scalar(value))
            }
            ty if ty.is_scalar() => {
                let tails = self.value(init, &Want::Scalar);
                let width = self.cx.width(ty);
                let value = tails.first().copied().unwrap_or_else(|| self.unreached(width));
                Binding::Direct(Source::Scalar(value))
            }
            Type::Unit | Type::Never => {
                self.discard(init);
                return;
            }
            ty => Binding::Direct(self.let_aggregate(local, ty, init)),
        };
        self.bindings[local.index()] = Some(binding);
    }

    /// What can't change any more is not copied; everything else goes into a slot of the local.
    fn let_aggregate(&mut self, local: LocalId, ty: &Type, init: &Expr) -> Source {
        if !self.locals[local.index()].mutable && borrows(init) {
            let source = self.source(init, Effects::NONE);
            if self.is_stable(&source) {
                return source;
            }
            let slot = self.local_slot(local, ty);
            self.copy_into(&slot, &source, &init.ty);
            return Source::Place(slot);
        }
        let slot = self.local_slot(local, ty);
        self.lower_into(init, &slot);
        Source::Place(slot)
    }

    fn assign(&mut self, place: &Place, op: Option<BinOp>, value: &Expr) {
        match &place.ty {
            Type::Option(_) => self.assign_option(place, value),
            ty if ty.is_scalar() => self.assign_scalar(place, op, value),
            _ => self.assign_aggregate(place, value),
        }
    }

    fn assign_scalar(&mut self, place: &Place, op: Option<BinOp>, value: &Expr) {
        let signed = self.int_type(&place.ty).signed;
        let right = self.scalar(value);
        if let (PlaceBase::Local(local), true) = (place.base, place.projections.is_empty()) {
            let new = match (op, self.binding(local).clone()) {
                (Some(op), Binding::Direct(Source::Scalar(old))) => self.combine(op, signed, old, right),
                _ => right,
            };
            self.bindings[local.index()] = Some(Binding::Direct(Source::Scalar(new)));
            return;
        }
        let at = self.place(place);
        let new = match op {
            Some(op) => {
                let old = self.op1(Op::Load(at.clone()), self.cx.width(&place.ty));
                self.combine(op, signed, old, right)
            }
            None => right,
        };
        self.op0(Op::Store(at, new));
    }

    fn assign_option(&mut self, place: &Place, value: &Expr) {
        let PlaceBase::Local(local) = place.base else {
            unreachable!("state holds no `T?`")
        };
        let Binding::Option(_, payload) = self.binding(local).clone() else {
            unreachable!("the local is a `T?`")
        };
        let payload_ty = payload_type(&place.ty);
        let binding = match payload {
            Source::Place(slot) => {
                let direct =
                    !self.facts.reads_itself(place) && !self.facts.effects(value).any(Effects::LEAVES);
                let dst = if direct {
                    slot.clone()
                } else {
                    self.temp(payload_ty)
                };
                let (present, _) = self.option(value, Some(&dst));
                if !direct {
                    let copy = |cx: &mut Self| {
                        cx.op0(Op::Copy {
                            dst: slot.clone(),
                            src: dst,
                        });
                        Vec::new()
                    };
                    self.branch(present, &[], copy, |_| Vec::new());
                }
                Binding::Option(present, Source::Place(slot))
            }
            old => {
                let (present, value) = self.option(value, None);
                Binding::Option(present, value.map_or(old, Source::Scalar))
            }
        };
        self.bindings[local.index()] = Some(binding);
    }

    fn log(&mut self, text: &std::sync::Arc<[u8]>, args: &[Expr]) {
        let mut lowered = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            lowered.push(if arg.ty == Type::Bool {
                LogArg::Bool(self.scalar(arg))
            } else if arg.ty.is_scalar() {
                let signed = self.int_type(&arg.ty).signed;
                let value = self.scalar(arg);
                if signed {
                    LogArg::Signed(value)
                } else {
                    LogArg::Unsigned(value)
                }
            } else {
                let later = self.facts.effects_of(&args[i + 1..]);
                LogArg::Bytes(self.view(arg, later))
            });
        }
        self.op0(Op::Log(text.clone(), lowered));
    }
}
