//! Blocks and statements.

use lambdac_diag::Span;

use crate::ast::{Block, Expr, ExprKind, MatchArm, Pattern, Stmt, StmtKind};
use crate::grammar::Rule;

use super::expr::binary_op;
use super::{Builder, Inner, P};

impl Builder<'_> {
    pub(super) fn block(&mut self, pair: P) -> Block {
        let span = self.span(&pair);
        self.nested(|b| b.block_inside(pair, span)).0
    }

    fn block_inside(&mut self, pair: P, span: Span) -> Block {
        let mut block = Block {
            stmts: Vec::new(),
            tail: None,
            span,
        };
        let mut inner = Inner::of(pair);
        while let Some(part) = inner.next() {
            // A simple statement does not hold its `;`.
            let mut stmt_span = self.span(&part);
            if let Some(token) = self
                .tokens
                .list
                .get(self.tokens.at(stmt_span.end.saturating_sub(1)) + 1)
                && self.tokens.text.as_bytes().get(token.start as usize) == Some(&b';')
            {
                stmt_span.end = token.end;
            }
            let last = inner.next_rule().is_none();
            self.part(part, last, stmt_span, &mut block);
        }
        block
    }

    /// Adds a statement to `block`, or the expression that is its value; `last` is whether nothing follows.
    fn part(&mut self, pair: P, last: bool, span: Span, block: &mut Block) {
        let kind = match pair.as_rule() {
            Rule::effect_stmt | Rule::arm_effect => self.effect(pair, block),
            Rule::if_stmt => self.if_stmt(pair, last, block),
            _ => Some(self.stmt(pair)),
        };
        block.stmts.extend(kind.map(|kind| Stmt { kind, span }));
    }

    fn stmt(&mut self, pair: P) -> StmtKind {
        let rule = pair.as_rule();
        let mut inner = Inner::of(pair);
        match rule {
            Rule::let_stmt => self.let_stmt(inner),
            Rule::for_stmt => StmtKind::For {
                var: self.ident(&inner.expect()),
                from: self.expr(inner.expect()),
                to: self.expr(inner.expect()),
                max: self.max(&mut inner),
                body: self.block(inner.expect()),
            },
            Rule::while_stmt => StmtKind::While {
                cond: self.expr(inner.expect()),
                max: self.max(&mut inner),
                body: self.block(inner.expect()),
            },
            Rule::match_stmt => StmtKind::Match {
                scrutinee: self.expr(inner.expect()),
                arms: inner.map(|arm| self.nested(|b| b.arm(arm)).0).collect(),
            },
            Rule::return_stmt => StmtKind::Return(inner.next().map(|e| self.expr(e))),
            Rule::reply_stmt => StmtKind::Reply(self.expr(inner.expect())),
            Rule::break_stmt => StmtKind::Break,
            Rule::continue_stmt => StmtKind::Continue,
            Rule::drop_stmt => StmtKind::Drop,
            Rule::punt_stmt => StmtKind::Punt(inner.next().map(|name| self.ident(&name))),
            _ => StmtKind::Broken,
        }
    }

    fn let_stmt(&mut self, mut inner: Inner) -> StmtKind {
        let mutable = inner.take_rule(Rule::kw_mut).is_some();
        let name = self.ident(&inner.expect());
        let ty = inner.take_rule(Rule::ty).map(|ty| self.ty(ty));
        let init = inner.take_rule(Rule::expr).map(|e| self.expr(e));
        let els = inner
            .take_rule(Rule::let_else)
            .map(|els| self.block(Inner::of(els).expect()));
        StmtKind::Let {
            mutable,
            name,
            ty,
            init,
            els,
        }
    }

    fn max(&mut self, inner: &mut Inner) -> Option<Expr> {
        let max = inner.take_rule(Rule::max)?;
        Some(self.expr(Inner::of(max).expect()))
    }

    /// An expression or assignment; the value of its block where no `;` follows.
    fn effect(&mut self, pair: P, block: &mut Block) -> Option<StmtKind> {
        let arm = pair.as_rule() == Rule::arm_effect;
        let ends = arm || pair.clone().into_inner().any(|p| p.as_rule() == Rule::semi);
        let mut inner = Inner::of(pair);
        let place = self.expr(inner.expect());
        if let Some(op) = inner.take_rule(Rule::assign_op) {
            let op = binary_op(op.as_str().trim_end_matches('='));
            return Some(StmtKind::Assign {
                place,
                op,
                value: self.expr(inner.expect()),
            });
        }
        if ends {
            return Some(StmtKind::Expr(place));
        }
        block.tail = Some(Box::new(place));
        None
    }

    /// The last `if` of a block is the block's value where one of its own blocks has a value.
    fn if_stmt(&mut self, pair: P, last: bool, block: &mut Block) -> Option<StmtKind> {
        let ends = pair.clone().into_inner().any(|p| p.as_rule() == Rule::semi);
        let inside = Inner::of(pair).expect();
        let span = self.span(&inside);
        let (kind, height) = self.nested(|b| b.if_expr(inside));
        let expr = self.node(kind, span, height).expr;
        let has_value = match &expr.kind {
            ExprKind::If(arms, last) => arms
                .iter()
                .map(|arm| &arm.body)
                .chain(last)
                .any(|block| block.tail.is_some()),
            _ => false,
        };
        if last && !ends && has_value {
            block.tail = Some(Box::new(expr));
            return None;
        }
        Some(StmtKind::Expr(expr))
    }

    fn arm(&mut self, pair: P) -> MatchArm {
        let span = self.span(&pair);
        let mut inner = Inner::of(pair);
        let mut patterns = Vec::new();
        while let Some(pattern) = inner.take_rule(Rule::pattern) {
            patterns.push(self.pattern(pattern));
        }
        let body = inner.expect();
        let body = if body.as_rule() == Rule::block {
            self.block(body)
        } else {
            let span = self.span(&body);
            let mut block = Block {
                stmts: Vec::new(),
                tail: None,
                span,
            };
            self.part(body, false, span, &mut block);
            block
        };
        MatchArm { patterns, body, span }
    }

    fn pattern(&mut self, pair: P) -> Pattern {
        let mut inner = Inner::of(pair);
        let first = inner.expect();
        if first.as_rule() == Rule::wild {
            return Pattern::Any(self.span(&first));
        }
        let from = self.expr(first);
        match inner.next() {
            Some(to) => Pattern::Range(from, self.expr(to)),
            None => Pattern::Value(from),
        }
    }
}
