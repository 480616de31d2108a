//! Methods of values, and which object a method is asked of.

use lambdac_diag::Span;
use lambdac_hir::{Builtin, Expr, ExprKind, StateId, StmtKind, Type};
use lambdac_syntax::ast;

use super::typed;
use crate::names::Entity;
use crate::{Checker, Reported, Res, suggest};

/// What a method is asked of, where it is no plain value.
pub(super) enum Object<'e> {
    Entity(Entity),
    /// `state[i]`
    Element(StateId, &'e ast::Expr),
}

impl Checker<'_> {
    /// The item that an expression names, unless a variable hides it.
    fn named_entity(&self, expr: &ast::Expr) -> Option<Entity> {
        let ast::ExprKind::Path(path) = &expr.kind else {
            return None;
        };
        let [name] = &path.segments[..] else { return None };
        if self.body.lookup(&name.text).is_some() {
            return None;
        }
        Some(self.entity(self.find_item(self.module, &path.segments)?))
    }

    fn object<'e>(&self, receiver: &'e ast::Expr) -> Option<Object<'e>> {
        if let ast::ExprKind::Index(base, index) = &receiver.kind
            && let Some(Entity::State(id)) = self.named_entity(base)
            && matches!(
                self.w.states[id.index()].kind,
                lambdac_hir::StateKind::Counter { .. }
            )
        {
            return Some(Object::Element(id, index));
        }
        self.named_entity(receiver).map(Object::Entity)
    }

    pub(super) fn method(
        &mut self,
        receiver: &ast::Expr,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        if let Some(object) = self.object(receiver)
            && let Some(result) = self.object_method(&object, receiver, name, args, span)
        {
            return result;
        }
        if let "fetch_add" | "fetch_sub" | "swap" | "cas" = &*name.text
            && self.is_state_place(receiver)
        {
            return self.atomic(receiver, name, args, span);
        }
        let receiver_checked = self.expr(receiver, None)?;
        match (&*name.text, &receiver_checked.ty) {
            ("len", Type::Bytes(_) | Type::BytesView | Type::Array(..)) => {
                if !args.is_empty() {
                    return Err(self.argument_count("len", 0, args, span, None));
                }
                let kind = ExprKind::Builtin(Builtin::Len, vec![receiver_checked]);
                Ok(typed(kind, Type::U32, span))
            }
            ("push" | "append" | "clear", Type::Bytes(_)) => Err(self.error_help(
                "E0226",
                format!("`{}` gives no value", name.text),
                span,
                "it stands only as a statement",
                "write it on a line of its own",
            )),
            _ => Err(self.no_method(&receiver_checked, name)),
        }
    }

    /// Methods that stand only as statements; `None` if this is another.
    pub(crate) fn statement_method(&mut self, expr: &ast::Expr) -> Option<Res<StmtKind>> {
        let ast::ExprKind::Method(receiver, name, args) = &expr.kind else {
            return None;
        };
        if &*name.text == "add"
            && let Some(object) = self.object(receiver)
            && let Some(result) = self.counter_add(&object, receiver, args, expr.span)
        {
            return Some(result);
        }
        let op = match &*name.text {
            "push" => lambdac_hir::BytesOp::Push,
            "append" => lambdac_hir::BytesOp::Append,
            "clear" => lambdac_hir::BytesOp::Clear,
            _ => return None,
        };
        if self.object(receiver).is_some() {
            return None;
        }
        Some(self.bytes_op(op, receiver, name, args, expr.span))
    }

    fn bytes_op(
        &mut self,
        op: lambdac_hir::BytesOp,
        receiver: &ast::Expr,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<StmtKind> {
        let place = self.mutable_place(receiver)?;
        if !matches!(place.ty, Type::Bytes(_)) {
            let receiver = typed(ExprKind::None, place.ty, place.span);
            return Err(self.no_method(&receiver, name));
        }
        let wanted = usize::from(op != lambdac_hir::BytesOp::Clear);
        if args.len() != wanted {
            return Err(self.argument_count(&name.text, wanted, args, span, None));
        }
        let arg = match (op, args) {
            (lambdac_hir::BytesOp::Push, [arg]) => Some(self.expr_as(arg, &Type::U8)?),
            (_, [arg]) => {
                let arg = self.expr(arg, None)?;
                if !matches!(arg.ty, Type::Bytes(_) | Type::BytesView) {
                    return Err(self.mismatch(&arg, &Type::BytesView, None));
                }
                Some(arg)
            }
            _ => None,
        };
        Ok(StmtKind::BytesOp(op, place, arg))
    }

    /// Reports a method that a value does not have.
    pub(crate) fn no_method(&mut self, receiver: &Expr, name: &ast::Ident) -> Reported {
        let found = self.show(&receiver.ty);
        let known: &[&str] = match &receiver.ty {
            Type::Unit => return self.no_value(receiver.span),
            Type::Bytes(_) => &["append", "clear", "len", "push"],
            Type::BytesView | Type::Array(..) => &["len"],
            _ => &[],
        };
        let help = match (suggest::nearest(&name.text, known.iter().copied()), &receiver.ty) {
            (Some(near), _) => Some(format!("did you mean `{near}`?")),
            (None, Type::Option(_)) => {
                Some("open it with `let v = … else { … };` or `if let v = … { }`".into())
            }
            (None, Type::Int(_)) if matches!(&*name.text, "fetch_add" | "fetch_sub" | "swap" | "cas") => {
                Some("atomic operations are for integers of state".into())
            }
            (None, _) if !known.is_empty() => Some(format!("it has {}", known.join(", "))),
            _ => None,
        };
        let message = format!("{found} has no method `{}`", name.text);
        self.error_maybe_help("E0210", message, name.span, "no such method", help)
    }
}
