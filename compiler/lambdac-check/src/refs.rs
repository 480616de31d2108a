//! What an item mentions: the paths in it, in source order.
//!
//! Names of local variables are found too; they can only be taken for constants, which adds an edge that does no
//! harm, for a constant never depends on a body.

use lambdac_syntax::ast::{self, ExprKind as E, IfCond, ItemKind as K, StmtKind as S, TypeExprKind as T};

/// How a path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefKind {
    Value,
    Type,
    Call,
}

/// A path and how it is used.
pub(crate) type Ref<'a> = (&'a ast::Path, RefKind);

/// All paths in an item.
pub(crate) fn refs_of(item: &ast::Item) -> Vec<Ref<'_>> {
    let mut walker = Walker { out: Vec::new() };
    walker.item(item);
    walker.out
}

struct Walker<'a> {
    out: Vec<Ref<'a>>,
}

impl<'a> Walker<'a> {
    fn item(&mut self, item: &'a ast::Item) {
        item.attrs.iter().for_each(|attr| self.exprs(&attr.args));
        match &item.kind {
            K::Const { ty, value, .. } => {
                self.ty(ty);
                self.expr(value);
            }
            K::Enum { repr, variants, .. } => {
                self.ty(repr);
                variants
                    .iter()
                    .filter_map(|(_, value)| value.as_ref())
                    .for_each(|value| self.expr(value));
            }
            K::Struct { fields, .. } | K::Header { fields, .. } => self.fields(fields),
            K::Param { ty, default, .. } => {
                self.ty(ty);
                self.opt(default);
            }
            K::State { kind, init, .. } => {
                self.state(kind);
                self.opt(init);
            }
            K::Table(table) => self.table(table),
            K::Service { args, .. } => args.iter().for_each(|(_, arg)| self.expr(arg)),
            K::Fn {
                params, ret, body, ..
            } => {
                self.fields(params);
                ret.iter().for_each(|ty| self.ty(ty));
                self.block(body);
            }
            K::Lambda { param, ret, body, .. } => {
                param.iter().for_each(|field| self.ty(&field.ty));
                self.ty(ret);
                self.block(body);
            }
            K::Match { param, rules } => {
                self.ty(&param.ty);
                rules.iter().for_each(|rule| self.opt(&rule.cond));
            }
            K::Test { steps, .. } => steps.iter().for_each(|step| self.step(step)),
        }
    }

    fn fields(&mut self, fields: &'a [ast::Field]) {
        fields.iter().for_each(|field| self.ty(&field.ty));
    }

    fn state(&mut self, kind: &'a ast::StateExpr) {
        match kind {
            ast::StateExpr::Value(ty) => self.ty(ty),
            ast::StateExpr::Counter { count, .. } => self.opt(count),
            ast::StateExpr::Keyed {
                key,
                value,
                capacity,
                named,
                ..
            } => {
                self.ty(key);
                self.ty(value);
                self.expr(capacity);
                named.iter().for_each(|(_, value)| self.expr(value));
            }
        }
    }

    fn table(&mut self, table: &'a ast::Table) {
        self.ty(&table.key);
        self.ty(&table.value);
        self.expr(&table.capacity);
        for entry in &table.entries {
            match &entry.key {
                ast::TableKey::Exact(key) => self.expr(key),
                ast::TableKey::Prefix(a, b) | ast::TableKey::Masked(a, b) => {
                    self.expr(a);
                    self.expr(b);
                }
                ast::TableKey::Any(_) => {}
            }
            self.expr(&entry.value);
        }
    }

    fn step(&mut self, step: &'a ast::Step) {
        match &step.kind {
            ast::StepKind::Expect {
                left, with, right, ..
            } => {
                self.expr(left);
                with.iter().for_each(|(_, value)| self.expr(value));
                self.expr(right);
            }
            ast::StepKind::Given { args, result, .. } => {
                self.exprs(args);
                self.expr(result);
            }
            ast::StepKind::Broken => {}
        }
    }

    fn ty(&mut self, ty: &'a ast::TypeExpr) {
        match &ty.kind {
            T::Path(path) => self.out.push((path, RefKind::Type)),
            T::Array(elem, len) => {
                self.ty(elem);
                self.expr(len);
            }
            T::Bytes(size) => self.expr(size),
            T::BytesView => {}
            T::Option(inner) => self.ty(inner),
        }
    }

    fn block(&mut self, block: &'a ast::Block) {
        block.stmts.iter().for_each(|stmt| self.stmt(stmt));
        block.tail.iter().for_each(|tail| self.expr(tail));
    }

    fn stmt(&mut self, stmt: &'a ast::Stmt) {
        match &stmt.kind {
            S::Let { ty, init, els, .. } => {
                ty.iter().for_each(|ty| self.ty(ty));
                self.opt(init);
                els.iter().for_each(|block| self.block(block));
            }
            S::Assign { place, value, .. } => {
                self.expr(place);
                self.expr(value);
            }
            S::Match { scrutinee, arms } => {
                self.expr(scrutinee);
                arms.iter().for_each(|arm| self.arm(arm));
            }
            S::For {
                from, to, max, body, ..
            } => {
                self.expr(from);
                self.expr(to);
                self.opt(max);
                self.block(body);
            }
            S::While { cond, max, body } => {
                self.expr(cond);
                self.opt(max);
                self.block(body);
            }
            S::Return(value) => self.opt(value),
            S::Reply(value) | S::Expr(value) => self.expr(value),
            S::Break | S::Continue | S::Drop | S::Punt(_) | S::Broken => {}
        }
    }

    fn arm(&mut self, arm: &'a ast::MatchArm) {
        for pattern in &arm.patterns {
            match pattern {
                ast::Pattern::Value(value) => self.expr(value),
                ast::Pattern::Range(a, b) => {
                    self.expr(a);
                    self.expr(b);
                }
                ast::Pattern::Any(_) => {}
            }
        }
        self.block(&arm.body);
    }

    fn opt(&mut self, expr: &'a Option<ast::Expr>) {
        expr.iter().for_each(|expr| self.expr(expr));
    }

    fn exprs(&mut self, exprs: &'a [ast::Expr]) {
        exprs.iter().for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &'a ast::Expr) {
        match &expr.kind {
            E::Path(path) => self.out.push((path, RefKind::Value)),
            E::Call(path, args) => {
                self.out.push((path, RefKind::Call));
                self.exprs(args);
            }
            E::Struct(path, fields) => {
                self.out.push((path, RefKind::Type));
                fields.iter().for_each(|(_, value)| self.expr(value));
            }
            E::Field(a, _) | E::Unary(_, a) => self.expr(a),
            E::Cast(a, ty) => {
                self.expr(a);
                self.ty(ty);
            }
            E::Index(a, b) | E::Repeat(a, b) | E::Binary(_, a, b) => {
                self.expr(a);
                self.expr(b);
            }
            E::Slice(a, b, c) | E::InRange(a, b, c) | E::InPrefix(a, b, c) => {
                self.expr(a);
                self.expr(b);
                self.expr(c);
            }
            E::Method(a, _, args) => {
                self.expr(a);
                self.exprs(args);
            }
            E::Array(values) | E::Await { args: values, .. } => self.exprs(values),
            E::If(arms, els) => {
                for arm in arms {
                    match &arm.cond {
                        IfCond::Bool(cond) | IfCond::Let(_, cond) => self.expr(cond),
                    }
                    self.block(&arm.body);
                }
                els.iter().for_each(|block| self.block(block));
            }
            E::Int(..)
            | E::Bool(_)
            | E::Bytes(_)
            | E::Str(_)
            | E::Byte(_)
            | E::Ip(_)
            | E::Duration(_)
            | E::Include(_)
            | E::None
            | E::Broken => {}
        }
    }
}
