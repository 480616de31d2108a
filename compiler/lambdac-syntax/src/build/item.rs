//! Items.

use crate::ast::{
    Attr, BinOp, Expr, ExprKind, Field, FileKind, Ident, Item, ItemKind, Rule as MatchRule, StateExpr, Step,
    StepKind, Table, TableEntry, TableKey,
};
use crate::grammar::Rule;

use super::expr::text;
use super::{Builder, Inner, P};

/// What an `item_only` is.
pub(crate) enum Built {
    Use(Ident),
    Item(Box<Item>),
}

impl Builder<'_> {
    /// The `head` of a file.
    pub(crate) fn head(&self, pair: P) -> (FileKind, Ident) {
        let mut inner = Inner::of(Inner::of(pair).expect());
        let kind = match inner.expect().as_str() {
            "library" => FileKind::Library,
            _ => FileKind::Workload,
        };
        (kind, self.ident(&inner.expect()))
    }

    /// The item of an `item_only`.
    pub(crate) fn item_only(&mut self, pair: P) -> Built {
        let inside = Inner::of(pair).expect();
        if inside.as_rule() == Rule::use_item {
            return Built::Use(self.ident(&Inner::of(inside).expect()));
        }
        let span = self.span(&inside);
        let docs = self.docs_before(span.start);
        let mut inner = Inner::of(inside);
        let mut attrs = Vec::new();
        while let Some(attr) = inner.take_rule(Rule::attr) {
            attrs.push(self.attr(attr));
        }
        let kind = self.item_kind(inner.expect());
        Built::Item(Box::new(Item {
            docs,
            attrs,
            kind,
            span,
        }))
    }

    fn attr(&mut self, pair: P) -> Attr {
        let span = self.span(&pair);
        let mut inner = Inner::of(pair);
        let name = self.ident(&inner.expect());
        let args = inner.next().map(|args| self.exprs(args)).unwrap_or_default();
        Attr { name, args, span }
    }

    fn item_kind(&mut self, pair: P) -> ItemKind {
        let rule = pair.as_rule();
        let mut inner = Inner::of(pair);
        match rule {
            Rule::match_item => self.match_item(inner),
            Rule::test_item => self.test_item(inner),
            Rule::lambda_item => self.lambda_item(inner),
            _ => {
                let name = self.ident(&inner.expect());
                self.named_item(rule, name, inner)
            }
        }
    }

    fn named_item(&mut self, rule: Rule, name: Ident, mut inner: Inner) -> ItemKind {
        match rule {
            Rule::const_item => ItemKind::Const {
                name,
                ty: self.ty(inner.expect()),
                value: self.expr(inner.expect()),
            },
            Rule::param_item => ItemKind::Param {
                name,
                ty: self.ty(inner.expect()),
                default: inner.next().map(|e| self.expr(e)),
            },
            Rule::enum_item => {
                let repr = self.ty(inner.expect());
                ItemKind::Enum {
                    name,
                    repr,
                    variants: inner.map(|v| self.variant(v)).collect(),
                }
            }
            Rule::struct_item => ItemKind::Struct {
                name,
                fields: self.fields(&mut inner),
            },
            Rule::header_item => ItemKind::Header {
                name,
                fields: self.fields(&mut inner),
            },
            Rule::state_item => {
                let kind = self.state_kind(inner.expect());
                ItemKind::State {
                    name,
                    kind,
                    init: inner.next().map(|e| self.expr(e)),
                }
            }
            Rule::table_item => ItemKind::Table(self.table(name, inner)),
            Rule::service_item => {
                let protocol = self.ident(&inner.expect());
                ItemKind::Service {
                    name,
                    protocol,
                    args: inner.map(|a| self.service_arg(a)).collect(),
                }
            }
            _ => ItemKind::Fn {
                name,
                params: self.fields(&mut inner),
                ret: inner.take_rule(Rule::ty).map(|ty| self.ty(ty)),
                body: self.block(inner.expect()),
            },
        }
    }

    fn variant(&mut self, pair: P) -> (Ident, Option<Expr>) {
        let mut inner = Inner::of(pair);
        (self.ident(&inner.expect()), inner.next().map(|e| self.expr(e)))
    }

    fn fields(&mut self, inner: &mut Inner) -> Vec<Field> {
        let Some(fields) = inner.take_rule(Rule::fields) else {
            return Vec::new();
        };
        Inner::of(fields).map(|f| self.field(f)).collect()
    }

    fn field(&mut self, pair: P) -> Field {
        let mut inner = Inner::of(pair);
        let name = self.ident(&inner.expect());
        Field {
            docs: self.docs_before(name.span.start),
            name,
            ty: self.ty(inner.expect()),
        }
    }

    fn state_kind(&mut self, pair: P) -> StateExpr {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::counter_ty => StateExpr::Counter {
                count: Inner::of(pair).next().map(|e| self.expr(e)),
                span,
            },
            Rule::keyed_ty => {
                let mut inner = Inner::of(pair);
                StateExpr::Keyed {
                    kind: self.ident(&inner.expect()),
                    key: self.ty(inner.expect()),
                    value: self.ty(inner.expect()),
                    capacity: self.expr(inner.expect()),
                    named: inner.map(|arg| self.named_arg(arg)).collect(),
                }
            }
            _ => StateExpr::Value(self.ty(pair)),
        }
    }

    fn named_arg(&mut self, pair: P) -> (Ident, Expr) {
        let mut inner = Inner::of(pair);
        (self.ident(&inner.expect()), self.expr(inner.expect()))
    }

    fn service_arg(&mut self, pair: P) -> (Option<Ident>, Expr) {
        if pair.as_rule() == Rule::named_arg {
            let (name, value) = self.named_arg(pair);
            return (Some(name), value);
        }
        (None, self.expr(pair))
    }

    fn table(&mut self, name: Ident, mut inner: Inner) -> Table {
        let kind = self.ident(&inner.expect());
        let (key, value) = (self.ty(inner.expect()), self.ty(inner.expect()));
        let capacity = self.expr(inner.expect());
        let entries = inner.map(|entry| self.entry(&kind.text, entry)).collect();
        Table {
            name,
            kind,
            key,
            value,
            capacity,
            entries,
        }
    }

    fn entry(&mut self, kind: &str, pair: P) -> TableEntry {
        let span = self.span(&pair);
        let mut inner = Inner::of(pair);
        let key = inner.expect();
        let key = match key.as_rule() {
            Rule::wild => TableKey::Any(self.span(&key)),
            _ => table_key(kind, self.expr(key)),
        };
        TableEntry {
            key,
            value: self.expr(inner.expect()),
            span,
        }
    }

    fn lambda_item(&mut self, mut inner: Inner) -> ItemKind {
        ItemKind::Lambda {
            stream: inner.take_rule(Rule::kw_stream).is_some(),
            name: self.ident(&inner.expect()),
            param: inner.take_rule(Rule::field).map(|f| self.field(f)),
            ret: self.ty(inner.expect()),
            body: self.block(inner.expect()),
        }
    }

    fn match_item(&mut self, mut inner: Inner) -> ItemKind {
        let param = self.field(inner.expect());
        ItemKind::Match {
            param,
            rules: inner.map(|r| self.match_rule(r)).collect(),
        }
    }

    fn match_rule(&mut self, pair: P) -> MatchRule {
        let span = self.span(&pair);
        let mut inner = Inner::of(pair);
        let cond = inner.expect();
        let cond_span = self.span(&cond);
        let cond = if cond.as_rule() == Rule::wild {
            None
        } else {
            Some(self.expr(cond))
        };
        MatchRule {
            cond,
            cond_span,
            target: self.ident(&inner.expect()),
            span,
        }
    }

    fn test_item(&mut self, mut inner: Inner) -> ItemKind {
        let name = inner.expect();
        let name_span = self.span(&name);
        let steps = inner
            .map(|step| {
                let span = self.span(&step);
                Step {
                    kind: self.step(step),
                    span,
                }
            })
            .collect();
        ItemKind::Test {
            name: text(&name).to_string(),
            name_span,
            steps,
        }
    }

    fn step(&mut self, pair: P) -> StepKind {
        let rule = pair.as_rule();
        let mut inner = Inner::of(pair);
        match rule {
            Rule::expect_step => StepKind::Expect {
                left: self.expr(inner.expect()),
                with: inner
                    .take_rule(Rule::with)
                    .map(|w| self.field_inits(w))
                    .unwrap_or_default(),
                negated: inner.expect().as_str() == "!=",
                right: self.expr(inner.expect()),
            },
            Rule::given_step => StepKind::Given {
                service: self.ident(&inner.expect()),
                op: self.ident(&inner.expect()),
                args: inner
                    .take_rule(Rule::args)
                    .map(|a| self.exprs(a))
                    .unwrap_or_default(),
                result: self.expr(inner.expect()),
            },
            _ => StepKind::Broken,
        }
    }
}

/// In an lpm table `v/len` is a prefix, in a ternary one `v & mask` a mask; after an address `/` always is a prefix.
fn table_key(kind: &str, key: Expr) -> TableKey {
    match key.kind {
        ExprKind::Binary(BinOp::Div, value, len)
            if kind == "lpm" || matches!(value.kind, ExprKind::Ip(_)) =>
        {
            TableKey::Prefix(*value, *len)
        }
        ExprKind::Binary(BinOp::And, value, mask) if kind == "ternary" => TableKey::Masked(*value, *mask),
        _ => TableKey::Exact(key),
    }
}
