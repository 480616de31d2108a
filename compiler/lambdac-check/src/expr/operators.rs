//! Operators, comparisons, `in` and `as`.

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{BinOp, Expr, ExprKind, IntType, Type, UnOp};
use lambdac_syntax::ast;

use super::{needs_hint, typed};
use crate::consteval::ordered;
use crate::types::TypePlace;
use crate::{Checker, Reported, Res};

/// An operator as it is written.
pub(crate) fn symbol(op: ast::BinOp) -> &'static str {
    use ast::BinOp as B;
    match op {
        B::Add => "+",
        B::Sub => "-",
        B::Mul => "*",
        B::Div => "/",
        B::Rem => "%",
        B::And => "&",
        B::Or => "|",
        B::Xor => "^",
        B::Shl => "<<",
        B::Shr => ">>",
        B::Eq => "==",
        B::Ne => "!=",
        B::Lt => "<",
        B::Le => "<=",
        B::Gt => ">",
        B::Ge => ">=",
        B::LogicAnd => "&&",
        B::LogicOr => "||",
    }
}

/// The HIR's operator; `None` for `&&` and `||`, which are no operators there.
pub(crate) fn lower_op(op: ast::BinOp) -> Option<BinOp> {
    use ast::BinOp as B;
    Some(match op {
        B::Add => BinOp::Add,
        B::Sub => BinOp::Sub,
        B::Mul => BinOp::Mul,
        B::Div => BinOp::Div,
        B::Rem => BinOp::Rem,
        B::And => BinOp::And,
        B::Or => BinOp::Or,
        B::Xor => BinOp::Xor,
        B::Shl => BinOp::Shl,
        B::Shr => BinOp::Shr,
        B::Eq => BinOp::Eq,
        B::Ne => BinOp::Ne,
        B::Lt => BinOp::Lt,
        B::Le => BinOp::Le,
        B::Gt => BinOp::Gt,
        B::Ge => BinOp::Ge,
        B::LogicAnd | B::LogicOr => return None,
    })
}

fn is_comparison(op: ast::BinOp) -> bool {
    use ast::BinOp as B;
    matches!(op, B::Eq | B::Ne | B::Lt | B::Le | B::Gt | B::Ge)
}

/// Whether an expression is a comparison itself.
fn compares(expr: &ast::Expr) -> bool {
    matches!(expr.kind, ast::ExprKind::Binary(op, ..) if is_comparison(op))
}

/// Whether these are two enums, which name different things although both are integers.
fn are_two_enums(a: &Type, b: &Type) -> bool {
    matches!((a, b), (Type::Enum(p), Type::Enum(q)) if p != q)
}

fn int_hint(hint: Option<&Type>) -> Option<&Type> {
    hint.filter(|ty| matches!(ty, Type::Int(_)))
}

impl Checker<'_> {
    pub(super) fn unary(
        &mut self,
        op: ast::UnOp,
        operand: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        if let (ast::UnOp::Neg, ast::ExprKind::Int(number, suffix)) = (op, &operand.kind) {
            return self.int_literal(*number, suffix.as_ref(), true, hint, span);
        }
        if op == ast::UnOp::Not {
            let operand = self.expr(operand, Some(&Type::Bool))?;
            if operand.ty != Type::Bool {
                let found = self.show(&operand.ty);
                let help =
                    matches!(operand.ty, Type::Int(_)).then(|| "`~` turns an integer's bits".to_string());
                let message = format!("`!` is for bool, not for {found}");
                return Err(self.error_maybe_help(
                    "E0206",
                    message,
                    operand.span,
                    format!("this is {found}"),
                    help,
                ));
            }
            return Ok(typed(
                ExprKind::Unary(UnOp::Not, Box::new(operand)),
                Type::Bool,
                span,
            ));
        }
        let operand = self.expr(operand, int_hint(hint))?;
        let operand = self.decay(operand);
        let found = self.show(&operand.ty);
        let (op, good) = match (op, &operand.ty) {
            (ast::UnOp::Neg, Type::Int(int)) => (UnOp::Neg, int.signed),
            (ast::UnOp::Neg, _) => (UnOp::Neg, false),
            (_, ty) => (UnOp::BitNot, matches!(ty, Type::Int(_))),
        };
        if !good {
            let (message, help) = match op {
                UnOp::Neg => (
                    format!("unary `-` is for signed types, not for {found}"),
                    "write `0 - x` to wrap around",
                ),
                _ => (format!("`~` is for integers, not for {found}"), "`!` is for bool"),
            };
            return Err(self.error_help("E0206", message, operand.span, format!("this is {found}"), help));
        }
        let ty = operand.ty.clone();
        Ok(typed(ExprKind::Unary(op, Box::new(operand)), ty, span))
    }

    pub(super) fn binary(
        &mut self,
        op: ast::BinOp,
        a: &ast::Expr,
        b: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        use ast::BinOp as B;
        if self.had_errors_before && is_comparison(op) && (compares(a) || compares(b)) {
            // Comparisons in a row, of which the parser has told.
            let _ = (self.expr(a, None), self.expr(b, None));
            return Err(self.fail());
        }
        match op {
            B::LogicAnd | B::LogicOr => self.logic(op, a, b, span),
            B::Shl | B::Shr => self.shift(op, a, b, hint, span),
            B::Eq | B::Ne => self.equality(op, a, b, span),
            B::Lt | B::Le | B::Gt | B::Ge => {
                let (x, y) = self.int_operands(op, a, b, None, span)?;
                self.operation(op, x, y, Type::Bool, span)
            }
            _ => {
                let (x, y) = self.int_operands(op, a, b, int_hint(hint), span)?;
                let ty = x.ty.clone();
                self.operation(op, x, y, ty, span)
            }
        }
    }

    fn operation(&mut self, op: ast::BinOp, x: Expr, y: Expr, ty: Type, span: Span) -> Res<Expr> {
        match lower_op(op) {
            Some(op) => Ok(typed(ExprKind::Binary(op, Box::new(x), Box::new(y)), ty, span)),
            None => Err(self.fail()),
        }
    }

    fn logic(&mut self, op: ast::BinOp, a: &ast::Expr, b: &ast::Expr, span: Span) -> Res<Expr> {
        let (x, y) = (self.expr_as(a, &Type::Bool), self.expr_as(b, &Type::Bool));
        let (x, y) = (Box::new(x?), Box::new(y?));
        let kind = if op == ast::BinOp::LogicAnd {
            ExprKind::LogicAnd(x, y)
        } else {
            ExprKind::LogicOr(x, y)
        };
        Ok(typed(kind, Type::Bool, span))
    }

    fn shift(
        &mut self,
        op: ast::BinOp,
        a: &ast::Expr,
        b: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        let (x, y) = (self.expr(a, int_hint(hint)), self.shift_amount(b));
        let x = self.decay(x?);
        let y = y?;
        if !matches!(x.ty, Type::Int(_)) {
            return Err(self.not_for(op, &x));
        }
        let ty = x.ty.clone();
        self.operation(op, x, y, ty, span)
    }

    /// The right side of a shift: any unsigned type.
    pub(crate) fn shift_amount(&mut self, amount: &ast::Expr) -> Res<Expr> {
        let amount = self.expr(amount, Some(&Type::U32))?;
        self.unsigned(amount)
    }

    /// Two operands; a literal takes the other's type.
    pub(crate) fn operands(
        &mut self,
        a: &ast::Expr,
        b: &ast::Expr,
        hint: Option<&Type>,
    ) -> Res<(Expr, Expr)> {
        if needs_hint(a) && !needs_hint(b) {
            let y = self.expr(b, hint)?;
            let x = self.expr(a, Some(&y.ty))?;
            return Ok((x, y));
        }
        match self.expr(a, hint) {
            Ok(x) => {
                let y = self.expr(b, Some(&x.ty))?;
                Ok((x, y))
            }
            Err(reported) => {
                if !needs_hint(b) {
                    let _ = self.expr(b, hint);
                }
                Err(reported)
            }
        }
    }

    /// Two operands of one integer type.
    pub(crate) fn int_operands(
        &mut self,
        op: ast::BinOp,
        a: &ast::Expr,
        b: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<(Expr, Expr)> {
        let (x, y) = self.operands(a, b, hint)?;
        if are_two_enums(&x.ty, &y.ty) {
            return Err(self.sides_differ(symbol(op), &x, &y, span));
        }
        let (x, y) = (self.decay(x), self.decay(y));
        for operand in [&x, &y] {
            if !matches!(operand.ty, Type::Int(_) | Type::Never) {
                return Err(self.not_for(op, operand));
            }
        }
        if x.ty != y.ty {
            return Err(self.sides_differ(symbol(op), &x, &y, span));
        }
        Ok((x, y))
    }

    /// Reports an operand of a type that the operator does not take.
    pub(crate) fn not_for(&mut self, op: ast::BinOp, operand: &Expr) -> Reported {
        use ast::BinOp as B;
        if operand.ty == Type::Unit {
            return self.no_value(operand.span);
        }
        let found = self.show(&operand.ty);
        let help = match (&operand.ty, op) {
            (Type::Option(_), _) => Some("open it with `let v = … else { … };` or `if let v = … { }`"),
            (Type::Bool, B::And) => Some("`&&` is for bool"),
            (Type::Bool, B::Or) => Some("`||` is for bool"),
            (Type::Bool, B::Xor) => Some("`!=` is the exclusive or of bools"),
            (Type::Bytes(_) | Type::BytesView, B::Add) => Some("`append` joins byte strings"),
            _ => None,
        };
        let message = format!("`{}` is for integers, not for {found}", symbol(op));
        self.error_maybe_help(
            "E0206",
            message,
            operand.span,
            format!("this is {found}"),
            help.map(String::from),
        )
    }

    /// Reports operands of different types.
    pub(crate) fn sides_differ(&mut self, op: &str, x: &Expr, y: &Expr, span: Span) -> Reported {
        let (left, right) = (self.show(&x.ty), self.show(&y.ty));
        let help = match (&x.ty, &y.ty) {
            (Type::Int(p), Type::Int(q)) if p.signed == q.signed => {
                let wider = if p.bits > q.bits { &left } else { &right };
                Some(format!("convert one of them with `as {wider}`"))
            }
            (Type::Int(_), Type::Int(_)) => Some("convert one of them with `as`".into()),
            (Type::Option(_), _) | (_, Type::Option(_)) => {
                Some("open it with `let v = … else { … };` or `if let v = … { }`".into())
            }
            _ => None,
        };
        let message = format!("the sides of `{op}` have different types: {left} and {right}");
        let mut diagnostic = Diagnostic::error("E0204", message, span, "both sides must have one type")
            .with_label(x.span, format!("this is {left}"))
            .with_label(y.span, format!("this is {right}"));
        diagnostic.help = help;
        self.push(diagnostic)
    }

    fn equality(&mut self, op: ast::BinOp, a: &ast::Expr, b: &ast::Expr, span: Span) -> Res<Expr> {
        let (x, y) = self.operands(a, b, None)?;
        if are_two_enums(&x.ty, &y.ty) {
            return Err(self.sides_differ(symbol(op), &x, &y, span));
        }
        let (x, y) = if x.ty == y.ty {
            (x, y)
        } else {
            (self.decay(x), self.decay(y))
        };
        for operand in [&x, &y] {
            if matches!(operand.ty, Type::Option(_) | Type::Unit) {
                return Err(if operand.ty == Type::Unit {
                    self.no_value(operand.span)
                } else {
                    self.mismatch_option(operand)
                });
            }
        }
        let bytes = |ty: &Type| matches!(ty, Type::Bytes(_) | Type::BytesView);
        if x.ty != y.ty && !(bytes(&x.ty) && bytes(&y.ty)) {
            return Err(self.sides_differ(symbol(op), &x, &y, span));
        }
        self.operation(op, x, y, Type::Bool, span)
    }

    fn mismatch_option(&mut self, operand: &Expr) -> Reported {
        let found = self.show(&operand.ty);
        self.error_help(
            "E0206",
            format!("a value that may be missing ({found}) can't be compared"),
            operand.span,
            "this may be `none`",
            "open it with `let v = … else { … };` or `if let v = … { }`",
        )
    }

    pub(super) fn in_range(
        &mut self,
        v: &ast::Expr,
        from: &ast::Expr,
        to: &ast::Expr,
        span: Span,
    ) -> Res<Expr> {
        let hint = if needs_hint(v) {
            self.range_hint(from, to)?
        } else {
            None
        };
        let v = self.expr(v, hint.as_ref())?;
        let v = self.decay(v);
        if !matches!(v.ty, Type::Int(_)) {
            let found = self.show(&v.ty);
            let message = format!("`in` is for integers, not for {found}");
            return Err(self.error("E0206", message, v.span, format!("this is {found}")));
        }
        let ty = v.ty.clone();
        let (from, to) = (self.expr_as(from, &ty), self.expr_as(to, &ty));
        let kind = ExprKind::InRange(Box::new(v), Box::new(from?), Box::new(to?));
        Ok(typed(kind, Type::Bool, span))
    }

    /// The type that a range's bounds have of themselves, for a literal that is looked for in it.
    fn range_hint(&mut self, from: &ast::Expr, to: &ast::Expr) -> Res<Option<Type>> {
        let bound = [from, to].into_iter().find(|e| !needs_hint(e));
        match bound {
            Some(bound) => {
                let bound = self.expr(bound, None)?;
                Ok(Some(self.decay(bound).ty))
            }
            None => Ok(None),
        }
    }

    pub(super) fn in_prefix(
        &mut self,
        v: &ast::Expr,
        addr: &ast::Expr,
        len: &ast::Expr,
        span: Span,
    ) -> Res<Expr> {
        let v = self.expr(v, None)?;
        let v = self.unsigned(v)?;
        let Type::Int(int) = v.ty else {
            return Err(self.fail());
        };
        let addr_value = self.const_as(addr, &v.ty);
        let len_value = self.const_unsigned(len);
        let (addr_bits, len_bits) = (addr_value?.as_int(), len_value?);
        let mask = self.prefix_mask(addr_bits, len_bits, int, addr.span.to(len.span))?;
        let kind = ExprKind::InPrefix {
            value: Box::new(v),
            addr: addr_bits,
            mask,
        };
        Ok(typed(kind, Type::Bool, span))
    }

    /// The bits of a prefix that count; reports a length over the width and bits set under it.
    pub(crate) fn prefix_mask(&mut self, addr: u64, len: u64, int: IntType, span: Span) -> Res<u64> {
        let bits = u64::from(int.bits);
        if len > bits {
            let message = format!("a prefix of {len} bits is longer than its {bits}-bit address");
            return Err(self.error("E0408", message, span, format!("at most /{bits}")));
        }
        let mask = int.mask() & !(if len == bits { 0 } else { int.mask() >> len });
        if addr & !mask != 0 {
            let meant = addr & mask;
            let shown = if bits == 32 {
                format!("{}/{len}", std::net::Ipv4Addr::from(meant as u32))
            } else {
                format!("{meant:#x}/{len}")
            };
            return Err(self.error_help(
                "E0408",
                "bits are set under the prefix",
                span,
                format!("only the first {len} bits count"),
                format!("write `{shown}`"),
            ));
        }
        Ok(mask)
    }

    pub(super) fn cast(&mut self, operand: &ast::Expr, ty: &ast::TypeExpr, span: Span) -> Res<Expr> {
        let want = self.ty(ty, TypePlace::Value);
        let operand = self.expr(operand, None)?;
        let want = want?;
        match (&operand.ty, &want) {
            (Type::Bytes(m), Type::Bytes(n)) if m <= n => self.coerce(operand, &want),
            (Type::Bytes(_) | Type::BytesView, Type::Bytes(_)) => {
                Ok(typed(ExprKind::Narrow(Box::new(operand)), want, span))
            }
            (Type::Bool | Type::Int(_) | Type::Enum(_), Type::Int(_) | Type::Enum(_)) => {
                let operand = self.decay(operand);
                Ok(typed(ExprKind::Cast(Box::new(operand)), want, span))
            }
            (Type::Bool, Type::Bool) => Ok(operand),
            _ => Err(self.bad_cast(&operand, &want, span)),
        }
    }

    fn bad_cast(&mut self, operand: &Expr, want: &Type, span: Span) -> Reported {
        if operand.ty == Type::Unit {
            return self.no_value(operand.span);
        }
        let (found, wanted) = (self.show(&operand.ty), self.show(want));
        let help = match (&operand.ty, want) {
            (Type::Int(_) | Type::Enum(_), Type::Bool) => Some("compare it: `x != 0`"),
            (Type::Option(_), _) => Some("open it with `let v = … else { … };` or `if let v = … { }`"),
            (Type::Array(..), Type::Bytes(_)) => Some("`bytes(…)` makes a byte string of a byte array"),
            (Type::Bytes(_) | Type::BytesView, Type::Array(..)) => {
                Some("`pad(…)` makes a byte array of a byte string")
            }
            _ => None,
        };
        let message = format!("{found} can't be cast to {wanted}");
        self.error_maybe_help(
            "E0207",
            message,
            span,
            format!("`as {wanted}` takes no {found}"),
            help.map(String::from),
        )
    }

    /// How many values a half-open range of constants has, in the order of its type.
    pub(crate) fn range_len(&self, from: &Expr, to: &Expr) -> Option<u64> {
        let Type::Int(int) = from.ty else { return None };
        let (a, b) = (self.known_int(from)?, self.known_int(to)?);
        Some(u64::try_from((ordered(int, b) - ordered(int, a)).max(0)).unwrap_or(u64::MAX))
    }
}
