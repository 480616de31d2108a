//! Expressions: dispatch, literals, and the fit of types.

mod aggregates;
mod branches;
mod calls;
mod literals;
mod methods;
mod operators;
mod paths;
mod state_methods;

pub(crate) use operators::{lower_op, symbol};

use std::sync::Arc;

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{Expr, ExprKind, IntType, Type, Value};
use lambdac_syntax::ast::{self, ExprKind as E};

use crate::{Checker, Reported, Res};

/// A typed expression.
pub(crate) fn typed(kind: ExprKind, ty: Type, span: Span) -> Expr {
    Expr { kind, ty, span }
}

/// A typed constant.
pub(crate) fn value(value: Value, ty: Type, span: Span) -> Expr {
    typed(ExprKind::Value(Arc::new(value)), ty, span)
}

/// Whether an expression takes its type from where it stands.
pub(crate) fn needs_hint(expr: &ast::Expr) -> bool {
    match &expr.kind {
        E::Int(_, suffix) => suffix.is_none(),
        E::None => true,
        E::Unary(ast::UnOp::Neg | ast::UnOp::BitNot, operand) => needs_hint(operand),
        E::Binary(op, a, b) => match op {
            ast::BinOp::Shl | ast::BinOp::Shr => needs_hint(a),
            ast::BinOp::Add
            | ast::BinOp::Sub
            | ast::BinOp::Mul
            | ast::BinOp::Div
            | ast::BinOp::Rem
            | ast::BinOp::And
            | ast::BinOp::Or
            | ast::BinOp::Xor => needs_hint(b) && needs_hint(a),
            _ => false,
        },
        E::Call(path, args) => match &path.segments[..] {
            [name] if &*name.text == "pad" => true,
            [name] if matches!(&*name.text, "min" | "max") => args.iter().all(needs_hint),
            _ => false,
        },
        E::Array(values) => values.iter().all(needs_hint),
        E::Repeat(value, _) => needs_hint(value),
        E::If(arms, els) => {
            let tails = arms
                .iter()
                .map(|arm| &arm.body)
                .chain(els)
                .map(|block| &block.tail);
            tails.flatten().all(|tail| needs_hint(tail))
        }
        _ => false,
    }
}

impl Checker<'_> {
    /// An expression, with the type that is expected where it stands.
    pub(crate) fn expr(&mut self, expr: &ast::Expr, hint: Option<&Type>) -> Res<Expr> {
        let span = expr.span;
        match &expr.kind {
            E::Int(number, suffix) => self.int_literal(*number, suffix.as_ref(), false, hint, span),
            E::Bool(b) => Ok(value(Value::Bool(*b), Type::Bool, span)),
            E::Bytes(bytes) => Ok(self.bytes_literal(bytes, hint, span)),
            E::Str(_) => Err(self.error_help(
                "E0204",
                "text without `b` stands only in a service and in `include`",
                span,
                "this is not a byte string",
                "write `b\"…\"`",
            )),
            E::Byte(b) => Ok(value(Value::Int(u64::from(*b)), Type::U8, span)),
            E::Ip(address) => Ok(value(Value::Int(u64::from(*address)), Type::U32, span)),
            E::Duration(ns) => Ok(value(Value::Int(*ns), Type::U64, span)),
            E::Include(path) => self.include(path, span),
            E::None => self.none(hint, span),
            E::Path(path) => self.path(path),
            E::Field(base, field) => self.field(base, field, span),
            E::Index(base, index) => self.index(base, index, span),
            E::Slice(base, from, to) => self.slice(base, [from, to], span),
            E::Call(path, args) => self.call(path, args, hint, span),
            E::Method(receiver, name, args) => self.method(receiver, name, args, span),
            E::Unary(op, operand) => self.unary(*op, operand, hint, span),
            E::Binary(op, a, b) => self.binary(*op, a, b, hint, span),
            E::InRange(value, from, to) => self.in_range(value, from, to, span),
            E::InPrefix(value, addr, len) => self.in_prefix(value, addr, len, span),
            E::Cast(operand, ty) => self.cast(operand, ty, span),
            E::Array(values) => self.array(values, hint, span),
            E::Repeat(value, count) => self.repeat(value, count, hint, span),
            E::Struct(path, fields) => self.struct_literal(path, fields, span),
            E::If(arms, els) => self.if_value(arms, els.as_ref(), hint, span),
            E::Await { .. } => Err(self.misplaced_await(span)),
            E::Broken => Err(self.fail()),
        }
    }

    /// An expression of type `want`, after the conversions that happen by themselves.
    pub(crate) fn expr_as(&mut self, expr: &ast::Expr, want: &Type) -> Res<Expr> {
        let checked = self.expr(expr, Some(want))?;
        self.coerce(checked, want)
    }

    /// Fits an expression to the type that is wanted.
    pub(crate) fn coerce(&mut self, expr: Expr, want: &Type) -> Res<Expr> {
        match self.convert(expr, want) {
            Ok(expr) => Ok(expr),
            Err(expr) => Err(self.mismatch(&expr, want, None)),
        }
    }

    /// Fits an expression to the type that is wanted, or gives it back.
    pub(crate) fn convert(&self, mut expr: Expr, want: &Type) -> Result<Expr, Expr> {
        if expr.ty == *want || expr.ty == Type::Never {
            return Ok(expr);
        }
        let span = expr.span;
        match (&expr.ty, want) {
            (Type::Bytes(m), Type::Bytes(n)) if m <= n => {
                if matches!(expr.kind, ExprKind::Value(_)) {
                    expr.ty = want.clone();
                    return Ok(expr);
                }
                Ok(typed(ExprKind::Widen(Box::new(expr)), want.clone(), span))
            }
            (Type::Bytes(_), Type::BytesView) => {
                Ok(typed(ExprKind::Widen(Box::new(expr)), want.clone(), span))
            }
            (Type::Enum(id), Type::Int(int)) if self.w.enumeration(*id).repr == *int => {
                Ok(typed(ExprKind::Cast(Box::new(expr)), want.clone(), span))
            }
            (ty, Type::Option(inner)) if !matches!(ty, Type::Option(_)) => {
                let inner = self.convert(expr, inner)?;
                Ok(typed(ExprKind::Some(Box::new(inner)), want.clone(), span))
            }
            _ => Err(expr),
        }
    }

    /// Reports that an expression's type is not the one that is wanted; `because` points at who wants it.
    pub(crate) fn mismatch(&mut self, expr: &Expr, want: &Type, because: Option<(Span, String)>) -> Reported {
        let (found, wanted) = (self.show(&expr.ty), self.show(want));
        if expr.ty == Type::Unit {
            return self.no_value(expr.span);
        }
        let message = format!("expected {wanted}, found {found}");
        let mut diagnostic = Diagnostic::error("E0204", message, expr.span, format!("this is {found}"));
        if let Some((span, why)) = because {
            diagnostic = diagnostic.with_label(span, why);
        }
        if let Some(help) = self.mismatch_help(&expr.ty, want) {
            diagnostic = diagnostic.with_help(help);
        }
        self.push(diagnostic)
    }

    fn mismatch_help(&self, found: &Type, want: &Type) -> Option<String> {
        Some(match (found, want) {
            (Type::Option(_), _) => "open it with `let v = … else { … };` or `if let v = … { }`".into(),
            (Type::Int(_) | Type::Bool | Type::Enum(_), Type::Int(_) | Type::Enum(_)) => {
                format!("convert it with `as {}`", self.show(want))
            }
            (Type::Int(_), Type::Bool) => "compare it: `x != 0`".into(),
            (Type::Bytes(_) | Type::BytesView, Type::Bytes(n)) => {
                format!("`as bytes<{n}>` shortens the type; it traps if the value is longer")
            }
            (Type::Bytes(_) | Type::BytesView, Type::Array(elem, _)) if **elem == Type::U8 => {
                "`pad(…)` makes a byte array of a byte string".into()
            }
            (Type::Array(elem, _), Type::Bytes(_) | Type::BytesView) if **elem == Type::U8 => {
                "`bytes(…)` makes a byte string of a byte array".into()
            }
            _ => return None,
        })
    }

    /// Reports the use of a value where there is none.
    pub(crate) fn no_value(&mut self, span: Span) -> Reported {
        self.error("E0226", "this gives no value", span, "a value is wanted here")
    }

    /// An expression of any unsigned integer type; an enum becomes its integer.
    pub(crate) fn unsigned(&mut self, expr: Expr) -> Res<Expr> {
        let expr = self.decay(expr);
        match expr.ty {
            Type::Int(IntType { signed: false, .. }) => Ok(expr),
            Type::Never => Ok(expr),
            _ => {
                let found = self.show(&expr.ty);
                Err(self.error_maybe_help(
                    "E0204",
                    format!("expected an unsigned integer, found {found}"),
                    expr.span,
                    format!("this is {found}"),
                    matches!(expr.ty, Type::Int(_)).then(|| "convert it with `as u32`".to_string()),
                ))
            }
        }
    }

    /// An enum's value as the integer that it names.
    pub(crate) fn decay(&self, expr: Expr) -> Expr {
        match expr.ty {
            Type::Enum(id) => {
                let (ty, span) = (Type::Int(self.w.enumeration(id).repr), expr.span);
                typed(ExprKind::Cast(Box::new(expr)), ty, span)
            }
            _ => expr,
        }
    }
}
