//! `if` and `if let`, as statements and as values.

use lambdac_diag::Span;
use lambdac_hir::{Block, Expr, ExprKind, LocalId, Type};
use lambdac_syntax::ast;

use super::typed;
use crate::stmts::Tail;
use crate::{Checker, Reported, Res};

/// The HIR nests `else if`; longer chains are refused so that nothing downstream nests without bound.
const MAX_ARMS: usize = 128;

/// A checked head of `if`.
enum Head {
    Bool(Expr),
    Let(Option<LocalId>, Expr),
}

impl Checker<'_> {
    /// `if` where a value is wanted.
    pub(super) fn if_value(
        &mut self,
        arms: &[ast::IfArm],
        els: Option<&ast::Block>,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        let Some(els) = els else {
            let _ = self.if_statement(arms, None, span);
            return Err(self.error_help(
                "E0226",
                "an `if` without `else` gives no value",
                span,
                "a value is wanted here",
                "add `else { … }`",
            ));
        };
        self.if_chain(arms, Some(els), Tail::Value(hint), span)
    }

    /// `if` for its effects.
    pub(crate) fn if_statement(
        &mut self,
        arms: &[ast::IfArm],
        els: Option<&ast::Block>,
        span: Span,
    ) -> Res<Expr> {
        self.if_chain(arms, els, Tail::Discard, span)
    }

    fn if_chain(
        &mut self,
        arms: &[ast::IfArm],
        els: Option<&ast::Block>,
        tail: Tail<'_>,
        span: Span,
    ) -> Res<Expr> {
        if arms.len() > MAX_ARMS {
            return Err(self.error_help(
                "E0229",
                format!("an `if` chain of {} arms is longer than {MAX_ARMS}", arms.len()),
                span,
                "too many arms",
                "use `match`, or a table",
            ));
        }
        let mut parts = Vec::with_capacity(arms.len());
        let mut failed = false;
        let mut hint = match tail {
            Tail::Value(hint) => hint.cloned(),
            Tail::Discard => None,
        };
        let mut scopes = Vec::with_capacity(arms.len());
        for arm in arms {
            let (part, service) = self.arm(arm, &tail, &mut hint);
            match part {
                Ok(part) => parts.push((part, arm.body.span)),
                Err(_) => failed = true,
            }
            scopes.push(service);
            self.body.failed_in.extend(service);
        }
        let last = match els {
            Some(block) => self.branch(block, &tail, &mut hint),
            None => Ok(Block {
                stmts: Vec::new(),
                tail: None,
                ty: Type::Unit,
            }),
        };
        for _ in scopes.into_iter().flatten() {
            self.body.failed_in.pop();
        }
        if failed {
            return Err(Reported);
        }
        let last = last?;
        self.join(parts, last, matches!(tail, Tail::Value(_)), span)
    }

    /// A head with its block, and the service whose failure the rest of the chain may ask for.
    fn arm(
        &mut self,
        arm: &ast::IfArm,
        tail: &Tail<'_>,
        hint: &mut Option<Type>,
    ) -> (Res<(Head, Block)>, Option<lambdac_hir::ServiceId>) {
        let mark = self.body.enter();
        let mut service = None;
        let head = match &arm.cond {
            ast::IfCond::Bool(cond) => self.expr_as(cond, &Type::Bool).map(Head::Bool),
            ast::IfCond::Let(name, init) => {
                let init = self.option_init(init, None);
                let local = match init.as_ref().map(|init| &init.ty) {
                    Ok(Type::Option(inner)) => {
                        let ty = (**inner).clone();
                        Some(self.body.declare(&name.text, ty, false, name.span))
                    }
                    _ => {
                        self.body.declare_poisoned(&name.text);
                        None
                    }
                };
                if let Ok(Expr {
                    kind: ExprKind::Await(id, ..),
                    ..
                }) = init
                {
                    service = Some(id);
                }
                init.map(|init| Head::Let(local, init))
            }
        };
        let block = self.branch(&arm.body, tail, hint);
        self.body.leave(mark);
        (head.and_then(|head| Ok((head, block?))), service)
    }

    fn branch(&mut self, block: &ast::Block, tail: &Tail<'_>, hint: &mut Option<Type>) -> Res<Block> {
        match tail {
            Tail::Discard => self.block(block, Tail::Discard),
            Tail::Value(_) => {
                let known = hint.clone();
                let block = self.block(block, Tail::Value(known.as_ref()))?;
                if hint.is_none() && !matches!(block.ty, Type::Never | Type::Unit) {
                    *hint = Some(block.ty.clone());
                }
                Ok(block)
            }
        }
    }

    /// Nests the chain and gives all its blocks one type.
    fn join(
        &mut self,
        parts: Vec<((Head, Block), Span)>,
        last: Block,
        is_value: bool,
        span: Span,
    ) -> Res<Expr> {
        let types = parts.iter().map(|((_, block), _)| &block.ty).chain([&last.ty]);
        let mut common = Type::Never;
        for ty in types {
            common = match (&common, ty) {
                (Type::Never, ty) => ty.clone(),
                (Type::Bytes(m), Type::Bytes(n)) => Type::Bytes(*m.max(n)),
                _ => common,
            };
        }
        if !is_value && common != Type::Never {
            common = Type::Unit;
        }
        let mut rest = if is_value {
            self.coerce_block(last, &common, span)?
        } else {
            last
        };
        for ((head, block), _) in parts.into_iter().rev() {
            let block = if is_value {
                self.coerce_block(block, &common, span)?
            } else {
                block
            };
            let ty = match (&block.ty, &rest.ty) {
                (Type::Never, Type::Never) => Type::Never,
                _ => common.clone(),
            };
            let (block, other) = (Box::new(block), Box::new(rest));
            let kind = match head {
                Head::Bool(cond) => ExprKind::If(Box::new(cond), block, other),
                Head::Let(Some(local), init) => ExprKind::IfLet(local, Box::new(init), block, other),
                Head::Let(None, _) => return Err(self.fail()),
            };
            rest = Block {
                stmts: Vec::new(),
                tail: Some(Box::new(typed(kind, ty.clone(), span))),
                ty,
            };
        }
        rest.tail.map(|whole| *whole).ok_or(Reported)
    }

    /// Fits a block's value to the type of the whole `if`.
    pub(crate) fn coerce_block(&mut self, mut block: Block, want: &Type, span: Span) -> Res<Block> {
        if block.ty == *want || block.ty == Type::Never {
            return Ok(block);
        }
        match block.tail.take() {
            Some(tail) => {
                block.tail = Some(Box::new(self.coerce(*tail, want)?));
                block.ty = want.clone();
                Ok(block)
            }
            None => {
                let wanted = self.show(want);
                Err(self.error(
                    "E0226",
                    "a branch of this `if` gives no value",
                    span,
                    format!("the other branch gives {wanted}"),
                ))
            }
        }
    }
}
