//! Blocks and statements.

use lambdac_diag::Span;
use lambdac_hir::{Block, Expr, ExprKind, Stmt, StmtKind, Type};
use lambdac_syntax::ast::{self, ExprKind as E, StmtKind as S};

use crate::body::BodyKind;
use crate::expr::{needs_hint, typed};
use crate::types::TypePlace;
use crate::{Checker, Reported, Res};

/// What a block is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tail<'t> {
    /// Its effects; a value at its end is dropped.
    Discard,
    /// Its value, of this type if one is expected.
    Value(Option<&'t Type>),
}

/// A checked statement and whether control leaves by it on every path.
type Checked = (Stmt, bool);

impl Checker<'_> {
    /// A block, in a scope of its own.
    pub(crate) fn block(&mut self, block: &ast::Block, tail: Tail<'_>) -> Res<Block> {
        let mark = self.body.enter();
        let result = self.block_inside(block, tail);
        self.body.leave(mark);
        result
    }

    fn block_inside(&mut self, block: &ast::Block, tail: Tail<'_>) -> Res<Block> {
        let (stmts, last) = split_tail(block, tail);
        let mut checked = Vec::with_capacity(stmts.len());
        let mut failed = false;
        let mut left = None;
        for stmt in stmts {
            self.warn_unreachable(&mut left, stmt.span);
            match self.stmt(stmt) {
                Ok((stmt, leaves)) => {
                    if leaves && left.is_none() {
                        left = Some((stmt.span, false));
                    }
                    checked.push(stmt);
                }
                Err(_) => failed = true,
            }
        }
        let mut value = None;
        if let Some(last) = last {
            self.warn_unreachable(&mut left, last.span);
            match tail {
                Tail::Value(hint) => match self.expr(last, hint) {
                    Ok(last) => value = Some(last),
                    Err(_) => failed = true,
                },
                Tail::Discard => match self.effect(last, last.span) {
                    Ok((stmt, leaves)) => {
                        checked.push(stmt);
                        if leaves && left.is_none() {
                            left = Some((last.span, false));
                        }
                    }
                    Err(_) => failed = true,
                },
            }
        }
        if failed {
            return Err(Reported);
        }
        let ty = match (&value, left) {
            (_, Some(_)) => Type::Never,
            (Some(value), None) => value.ty.clone(),
            (None, None) => Type::Unit,
        };
        // A value of no type ends the block like a statement does.
        if let Some(last) =
            value.take_if(|last| matches!(last.ty, Type::Unit | Type::Never) || left.is_some())
        {
            let span = last.span;
            checked.push(Stmt {
                kind: StmtKind::Expr(last),
                span,
            });
        }
        Ok(Block {
            stmts: checked,
            tail: value.map(Box::new),
            ty,
        })
    }

    /// Warns of the first statement that control can't reach.
    fn warn_unreachable(&mut self, left: &mut Option<(Span, bool)>, span: Span) {
        if let Some((by, warned @ false)) = left {
            self.push(
                lambdac_diag::Diagnostic::warning(
                    "W0201",
                    "this code is never reached",
                    span,
                    "never reached",
                )
                .with_label(*by, "control leaves here on every path")
                .with_help("remove it, or move it before"),
            );
            *warned = true;
        }
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> Res<Checked> {
        let span = stmt.span;
        let plain = |kind| Ok((Stmt { kind, span }, false));
        let leaving = |kind| Ok((Stmt { kind, span }, true));
        match &stmt.kind {
            S::Let {
                mutable,
                name,
                ty,
                init,
                els,
            } => match els {
                Some(els) => self.let_else((*mutable, name), ty.as_ref(), init.as_ref(), els, span),
                None => self.let_plain(*mutable, name, ty.as_ref(), init.as_ref(), span),
            },
            S::Assign { place, op, value } => plain(self.assign(place, *op, value, span)?),
            S::Match { scrutinee, arms } => {
                let (kind, leaves) = self.match_stmt(scrutinee, arms)?;
                Ok((Stmt { kind, span }, leaves))
            }
            S::For {
                var,
                from,
                to,
                max,
                body,
            } => plain(self.for_loop(var, [from, to], max.as_ref(), body)?),
            S::While { cond, max, body } => plain(self.while_loop(cond, max.as_ref(), body)?),
            S::Break => leaving(self.loop_control(StmtKind::Break, "break", span)?),
            S::Continue => leaving(self.loop_control(StmtKind::Continue, "continue", span)?),
            S::Return(value) => leaving(self.return_stmt(value.as_ref(), span)?),
            S::Reply(value) => leaving(self.reply(value, span)?),
            S::Drop => {
                self.only_in_lambda("drop", span)?;
                leaving(StmtKind::Drop)
            }
            S::Punt(target) => {
                self.only_in_lambda("punt", span)?;
                let target = target.as_ref().map(|name| self.punt_target(name)).transpose()?;
                self.punted.extend(target);
                leaving(StmtKind::Punt(target))
            }
            S::Expr(expr) => self.effect(expr, span),
            S::Broken => Err(self.fail()),
        }
    }

    /// An expression for its effect.
    fn effect(&mut self, expr: &ast::Expr, span: Span) -> Res<Checked> {
        if let E::If(arms, els) = &expr.kind {
            let checked = self.if_statement(arms, els.as_ref(), expr.span)?;
            let leaves = checked.ty == Type::Never;
            return Ok((
                Stmt {
                    kind: StmtKind::Expr(checked),
                    span,
                },
                leaves,
            ));
        }
        if let Some(args) = self.log_call(expr) {
            return Ok((
                Stmt {
                    kind: self.log(args, span)?,
                    span,
                },
                false,
            ));
        }
        if let Some(kind) = self.statement_method(expr) {
            return Ok((Stmt { kind: kind?, span }, false));
        }
        let checked = self.expr(expr, None)?;
        Ok((
            Stmt {
                kind: StmtKind::Expr(checked),
                span,
            },
            false,
        ))
    }

    fn let_plain(
        &mut self,
        mutable: bool,
        name: &ast::Ident,
        ty: Option<&ast::TypeExpr>,
        init: Option<&ast::Expr>,
        span: Span,
    ) -> Res<Checked> {
        let init = self.let_value(name, ty, init);
        let init = match init {
            Ok(init) => init,
            Err(reported) => {
                self.body.declare_poisoned(&name.text);
                return Err(reported);
            }
        };
        if init.ty == Type::Never {
            self.body.declare_poisoned(&name.text);
            return Ok((
                Stmt {
                    kind: StmtKind::Expr(init),
                    span,
                },
                true,
            ));
        }
        let local = self.body.declare(&name.text, init.ty.clone(), mutable, name.span);
        Ok((
            Stmt {
                kind: StmtKind::Let { local, init },
                span,
            },
            false,
        ))
    }

    fn let_value(
        &mut self,
        name: &ast::Ident,
        ty: Option<&ast::TypeExpr>,
        init: Option<&ast::Expr>,
    ) -> Res<Expr> {
        let ty = ty.map(|ty| self.ty(ty, TypePlace::Local)).transpose();
        match (ty, init) {
            (Ok(Some(ty)), Some(init)) => self.expr_as(init, &ty),
            (Ok(Some(ty)), None) => {
                let zero = self.zero_value(&ty, name.span)?;
                Ok(typed(ExprKind::Value(zero), ty, name.span))
            }
            (Ok(None), Some(init)) => {
                if let E::Await { .. } = init.kind {
                    let _ = self.option_init(init, None);
                    return Err(self.error_help(
                        "E0603",
                        "an answer that may be missing needs an `else`",
                        init.span,
                        "the service may not answer",
                        format!("write `let {} = await … else {{ … }};`", name.text),
                    ));
                }
                let init = self.expr(init, None)?;
                self.storable(&init)?;
                Ok(init)
            }
            (Ok(None), None) => Err(self.error_help(
                "E0225",
                format!("nothing says what type `{}` has", name.text),
                name.span,
                "its type is not known",
                format!("write `let mut {}: T;` or give it a value", name.text),
            )),
            (Err(reported), init) => {
                if let Some(init) = init.filter(|init| !needs_hint(init)) {
                    let _ = self.expr(init, None);
                }
                Err(reported)
            }
        }
    }

    fn let_else(
        &mut self,
        (mutable, name): (bool, &ast::Ident),
        ty: Option<&ast::TypeExpr>,
        init: Option<&ast::Expr>,
        els: &ast::Block,
        span: Span,
    ) -> Res<Checked> {
        let wanted = ty.map(|ty| self.ty(ty, TypePlace::Value)).transpose();
        let init = match init {
            Some(init) => self.option_init(init, wanted.as_ref().ok().and_then(|ty| ty.as_ref())),
            None => Err(self.fail()),
        };
        let service = match &init {
            Ok(Expr {
                kind: ExprKind::Await(id, ..),
                ..
            }) => Some(*id),
            _ => None,
        };
        self.body.failed_in.extend(service);
        let block = self.block(els, Tail::Discard);
        if service.is_some() {
            self.body.failed_in.pop();
        }
        let left = block.and_then(|block| {
            if block.ty == Type::Never {
                return Ok(block);
            }
            Err(self.error_help(
                "E0306",
                "the `else` of a `let` must leave",
                els.span,
                "control goes on after this block, with no value for the variable",
                "end it with reply, drop, punt, return, break or continue",
            ))
        });
        let checked = wanted.and_then(|wanted| self.fit_option(init?, wanted));
        let Ok(init) = checked else {
            self.body.declare_poisoned(&name.text);
            return Err(Reported);
        };
        let ty = match &init.ty {
            Type::Option(inner) => (**inner).clone(),
            _ => return Err(self.fail()),
        };
        let local = self.body.declare(&name.text, ty, mutable, name.span);
        Ok((
            Stmt {
                kind: StmtKind::LetElse {
                    local,
                    init,
                    els: left?,
                },
                span,
            },
            false,
        ))
    }

    /// The inside of the option must be of the type that was written.
    fn fit_option(&mut self, init: Expr, wanted: Option<Type>) -> Res<Expr> {
        match (&init.ty, wanted) {
            (Type::Option(inner), Some(wanted)) if **inner != wanted => {
                let wanted = Type::Option(wanted.into());
                Err(self.mismatch(&init, &wanted, None))
            }
            _ => Ok(init),
        }
    }

    /// What `let … else` and `if let` open: a `T?`, or an await.
    pub(crate) fn option_init(&mut self, init: &ast::Expr, hint: Option<&Type>) -> Res<Expr> {
        if let E::Await { service, op, args } = &init.kind {
            return self.await_expr(service, op, args, init.span);
        }
        let hint = hint.map(|ty| Type::Option(ty.clone().into()));
        let checked = self.expr(init, hint.as_ref())?;
        match &checked.ty {
            Type::Option(_) => Ok(checked),
            Type::Unit => Err(self.no_value(checked.span)),
            ty => {
                let found = self.show(ty);
                Err(self.error_help(
                    "E0204",
                    format!("expected a value that may be missing, found {found}"),
                    checked.span,
                    format!("this is {found}, which is always present"),
                    "a plain `let` will do",
                ))
            }
        }
    }

    fn assign(
        &mut self,
        place: &ast::Expr,
        op: Option<ast::BinOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Res<StmtKind> {
        let place = match self.mutable_place(place) {
            Ok(place) => place,
            Err(reported) => {
                if !needs_hint(value) {
                    let _ = self.expr(value, None);
                }
                return Err(reported);
            }
        };
        let Some(op) = op else {
            let value = self.expr_as(value, &place.ty)?;
            return Ok(StmtKind::Assign {
                place,
                op: None,
                value,
            });
        };
        if !matches!(place.ty, Type::Int(_)) {
            let target = typed(ExprKind::None, place.ty, place.span);
            return Err(self.not_for(op, &target));
        }
        let value = if matches!(op, ast::BinOp::Shl | ast::BinOp::Shr) {
            self.shift_amount(value)?
        } else {
            let value = self.expr(value, Some(&place.ty))?;
            let value = self.decay(value);
            if value.ty != place.ty {
                let target = typed(ExprKind::None, place.ty, place.span);
                let symbol = format!("{}=", crate::expr::symbol(op));
                return Err(self.sides_differ(&symbol, &target, &value, span));
            }
            value
        };
        Ok(StmtKind::Assign {
            place,
            op: crate::expr::lower_op(op),
            value,
        })
    }

    fn for_loop(
        &mut self,
        var: &ast::Ident,
        [from, to]: [&ast::Expr; 2],
        max: Option<&ast::Expr>,
        body: &ast::Block,
    ) -> Res<StmtKind> {
        let bounds = self.int_operands_of_range(from, to);
        let written = max.map(|max| self.const_unsigned(max)).transpose();
        let mark = self.body.enter();
        let local = match &bounds {
            Ok((from, _)) => Some(self.body.declare(&var.text, from.ty.clone(), false, var.span)),
            Err(_) => {
                self.body.declare_poisoned(&var.text);
                None
            }
        };
        self.body.loops += 1;
        let body = self.block(body, Tail::Discard);
        self.body.loops -= 1;
        self.body.leave(mark);
        let (from, to) = bounds?;
        let known = self.range_len(&from, &to);
        let max = match (known, written?) {
            (Some(known), Some(written)) => known.min(written),
            (Some(bound), None) | (None, Some(bound)) => bound,
            (None, None) => {
                let at = from.span.to(to.span);
                return Err(self.no_bound("for", at, "write `for i in a..b max N { … }`"));
            }
        };
        let Some(var) = local else { return Err(self.fail()) };
        Ok(StmtKind::For {
            var,
            from,
            to,
            max,
            body: body?,
        })
    }

    fn int_operands_of_range(&mut self, from: &ast::Expr, to: &ast::Expr) -> Res<(Expr, Expr)> {
        let (a, b) = self.operands(from, to, None)?;
        let (a, b) = (self.decay(a), self.decay(b));
        for bound in [&a, &b] {
            if !matches!(bound.ty, Type::Int(_)) {
                let found = self.show(&bound.ty);
                let message = format!("a loop goes over integers, not over {found}");
                return Err(self.error("E0206", message, bound.span, format!("this is {found}")));
            }
        }
        if a.ty != b.ty {
            return Err(self.sides_differ("..", &a, &b, from.span.to(to.span)));
        }
        Ok((a, b))
    }

    fn no_bound(&mut self, word: &str, span: Span, help: &str) -> Reported {
        self.error_help(
            "E0307",
            format!("nothing says how often this `{word}` may run"),
            span,
            "its trips are not known before the program runs",
            help,
        )
    }

    fn while_loop(&mut self, cond: &ast::Expr, max: Option<&ast::Expr>, body: &ast::Block) -> Res<StmtKind> {
        let cond = self.expr_as(cond, &Type::Bool);
        let max = match max {
            Some(max) => self.const_unsigned(max),
            None => Err(match &cond {
                Ok(cond) => self.no_bound("while", cond.span, "write `while c max N { … }`"),
                Err(_) => Reported,
            }),
        };
        self.body.loops += 1;
        let body = self.block(body, Tail::Discard);
        self.body.loops -= 1;
        Ok(StmtKind::While {
            cond: cond?,
            max: max?,
            body: body?,
        })
    }

    fn loop_control(&mut self, kind: StmtKind, word: &str, span: Span) -> Res<StmtKind> {
        if self.body.loops == 0 {
            let message = format!("`{word}` stands outside of a loop");
            return Err(self.error("E0304", message, span, "there is no loop around it"));
        }
        Ok(kind)
    }

    fn return_stmt(&mut self, value: Option<&ast::Expr>, span: Span) -> Res<StmtKind> {
        let BodyKind::Fn(ret) = self.body.kind.clone() else {
            if let Some(value) = value {
                let _ = self.expr(value, None);
            }
            return Err(self.error_help(
                "E0303",
                "`return` stands only in a fn",
                span,
                "this is a lambda",
                "a lambda ends with `reply`, `drop` or `punt`",
            ));
        };
        match (value, ret) {
            // What the fn returns is wrong, and was reported.
            (value, Type::Never) => {
                value.iter().for_each(|value| drop(self.expr(value, None)));
                Err(self.fail())
            }
            (None, Type::Unit) => Ok(StmtKind::Return(None)),
            (Some(value), Type::Unit) => {
                let _ = self.expr(value, None);
                Err(self.error_help(
                    "E0204",
                    "this fn returns nothing",
                    value.span,
                    "a value is returned here",
                    "declare what it returns: `fn f() -> T`",
                ))
            }
            (None, ret) => {
                let wanted = self.show(&ret);
                Err(self.error(
                    "E0204",
                    format!("this fn returns {wanted}"),
                    span,
                    "no value is returned here",
                ))
            }
            (Some(value), ret) => Ok(StmtKind::Return(Some(self.expr_as(value, &ret)?))),
        }
    }

    fn reply(&mut self, value: &ast::Expr, span: Span) -> Res<StmtKind> {
        let BodyKind::Lambda { reply, .. } = self.body.kind.clone() else {
            let _ = self.expr(value, None);
            self.only_in_lambda("reply", span)?;
            return Err(Reported);
        };
        Ok(StmtKind::Reply(self.expr_as(value, &reply)?))
    }

    fn only_in_lambda(&mut self, word: &str, span: Span) -> Res<()> {
        if self.body.is_lambda() {
            return Ok(());
        }
        Err(self.error_help(
            "E0302",
            format!("`{word}` stands only in a lambda"),
            span,
            "this is a fn",
            "return a value and let the lambda decide",
        ))
    }
}

/// The statements of a block and the expression that is its value: the tail, or an `if` at its end where a value is
/// wanted.
fn split_tail<'b>(block: &'b ast::Block, tail: Tail<'_>) -> (&'b [ast::Stmt], Option<&'b ast::Expr>) {
    if let Some(last) = &block.tail {
        return (&block.stmts, Some(last));
    }
    if let Tail::Value(_) = tail
        && let Some((last, before)) = block.stmts.split_last()
        && let S::Expr(expr) = &last.kind
        && let E::If(_, Some(_)) = &expr.kind
    {
        return (before, Some(expr));
    }
    (&block.stmts, None)
}
