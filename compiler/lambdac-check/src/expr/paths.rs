//! Names used as values.

use lambdac_diag::Span;
use lambdac_hir::{Expr, ExprKind, PktField, StateKind, Type, Value};
use lambdac_syntax::ast;

use super::{typed, value};
use crate::body::BodyKind;
use crate::names::{Entity, ItemId, kind_of};
use crate::{Checker, Reported, Res, suggest};

impl Checker<'_> {
    /// A path where a value is wanted.
    pub(super) fn path(&mut self, path: &ast::Path) -> Res<Expr> {
        let span = path.span;
        if let [name] = &path.segments[..] {
            if let Some(local) = self.body.lookup(&name.text) {
                let Some(id) = local else { return Err(self.fail()) };
                let ty = self.body.locals[id.index()].ty.clone();
                return Ok(typed(ExprKind::Local(id), ty, span));
            }
            if &*name.text == "pkt" && self.find_item(self.module, &path.segments).is_none() {
                return Err(self.error_help(
                    "E0203",
                    "`pkt` is not a value by itself",
                    span,
                    "one of its fields is wanted here",
                    "write `pkt.src_ip`, for example",
                ));
            }
        }
        if let Some(variant) = self.variant(path) {
            return variant;
        }
        let id = self.resolve(&path.segments, "name")?;
        self.item_value(id, span)
    }

    fn item_value(&mut self, id: ItemId, span: Span) -> Res<Expr> {
        match self.entity(id) {
            Entity::Const(c) => {
                let ty = self.w.consts[c.index()].ty.clone();
                Ok(typed(ExprKind::Const(c), ty, span))
            }
            Entity::Param(p) => {
                let ty = self.w.params[p.index()].ty.clone();
                Ok(typed(ExprKind::Param(p), ty, span))
            }
            Entity::State(s) => {
                self.touch_state(span)?;
                match &self.w.states[s.index()].kind {
                    StateKind::Value { ty, .. } => {
                        let ty = ty.clone();
                        Ok(typed(ExprKind::State(s), ty, span))
                    }
                    StateKind::Counter { .. } => {
                        Err(self.object_as_value(id, span, "read it with `.read()`"))
                    }
                    StateKind::Lru { .. } | StateKind::Map { .. } => {
                        Err(self.object_as_value(id, span, "look a key up with `.get(key)`"))
                    }
                }
            }
            Entity::Table(_) => Err(self.object_as_value(id, span, "look a key up with `.get(key)`")),
            Entity::Service(_) => Err(self.object_as_value(id, span, "ask it with `await NAME.get(key)`")),
            Entity::Fn(_) => {
                let name = self.names.items[id.0 as usize].name.text.clone();
                Err(self.wrong_kind(id, span, "a value", Some(format!("call it: `{name}(…)`"))))
            }
            Entity::Poisoned => Err(self.fail()),
            Entity::Pending => Err(self.not_yet(id, span)),
            _ => Err(self.wrong_kind(id, span, "a value", None)),
        }
    }

    /// Reports an item that has no value yet when constants are worked out.
    fn not_yet(&mut self, id: ItemId, span: Span) -> Reported {
        use ast::ItemKind as K;
        let item = self.names.items[id.0 as usize];
        match item.ast.kind {
            // Part of a circle, which was reported.
            K::Const { .. } => self.fail(),
            K::Param { .. } | K::State { .. } | K::Table(_) | K::Service { .. } => {
                let message = format!("{} is not known before the program runs", kind_of(item.ast));
                self.push(
                    lambdac_diag::Diagnostic::error("E0212", message, span, "a constant is wanted here")
                        .with_label(item.name.span, "declared here"),
                )
            }
            _ => self.wrong_kind(id, span, "a value", None),
        }
    }

    fn object_as_value(&mut self, id: ItemId, span: Span, help: &str) -> Reported {
        let item = self.names.items[id.0 as usize];
        let message = format!("`{}` holds many values and is none itself", item.name.text);
        self.push(
            lambdac_diag::Diagnostic::error("E0412", message, span, "an operation is wanted here")
                .with_label(item.name.span, "declared here")
                .with_help(help),
        )
    }

    /// `Enum::Variant` or `library::Enum::Variant`.
    fn variant(&mut self, path: &ast::Path) -> Option<Res<Expr>> {
        let (variant, owner) = path.segments.split_last()?;
        if owner.is_empty() {
            return None;
        }
        let id = self.find_item(self.module, owner)?;
        let Entity::Enum(e) = self.entity(id) else {
            let poisoned = matches!(self.entity(id), Entity::Poisoned | Entity::Pending);
            return poisoned.then(|| Err(self.fail()));
        };
        let enumeration = self.w.enumeration(e);
        if let Some(&at) = self.variant_of.get(&(e, variant.text.clone())) {
            let bits = enumeration.variants[at as usize].1;
            return Some(Ok(value(Value::Int(bits), Type::Enum(e), path.span)));
        }
        let names: Vec<_> = enumeration
            .variants
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        let owner = enumeration.name.clone();
        let help = suggest::nearest(&variant.text, names.iter().map(String::as_str))
            .map(|near| format!("did you mean `{owner}::{near}`?"));
        let message = format!("enum `{owner}` has no variant `{}`", variant.text);
        Some(Err(self.error_maybe_help(
            "E0201",
            message,
            variant.span,
            "not found",
            help,
        )))
    }

    /// `pkt.f`, if `base` is the name `pkt` and nothing else is called so.
    pub(super) fn pkt_field(
        &mut self,
        base: &ast::Expr,
        field: &ast::Ident,
        span: Span,
    ) -> Option<Res<Expr>> {
        let ast::ExprKind::Path(path) = &base.kind else {
            return None;
        };
        let [name] = &path.segments[..] else { return None };
        let shadowed =
            self.body.lookup("pkt").is_some() || self.find_item(self.module, &path.segments).is_some();
        if &*name.text != "pkt" || shadowed {
            return None;
        }
        if !matches!(self.body.kind, BodyKind::Lambda { .. } | BodyKind::Condition) {
            return Some(Err(self.error_help(
                "E0302",
                "`pkt` can be used only in a lambda and in the match",
                span,
                "there is no packet here",
                "pass what is needed as an argument",
            )));
        }
        let found = PktField::ALL.into_iter().find(|f| f.name() == &*field.text);
        Some(match found {
            Some(f) => Ok(typed(ExprKind::Pkt(f), Type::Int(f.ty()), span)),
            None => {
                let names = PktField::ALL.map(PktField::name);
                let help = suggest::nearest(&field.text, names).map_or_else(
                    || format!("it has {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("`pkt` has no field `{}`", field.text);
                Err(self.error_help("E0208", message, field.span, "no such field", help))
            }
        })
    }

    /// Notes that the body reads or writes state here; a condition of the match may not.
    pub(crate) fn touch_state(&mut self, span: Span) -> Res<()> {
        self.body.effects.state.get_or_insert(span);
        if self.body.kind == BodyKind::Condition {
            return Err(self.error_help(
                "E0312",
                "a condition of the match can't use state",
                span,
                "state is used here",
                "decide in the lambda, or keep the entries in a table and ask `table.has(key)`",
            ));
        }
        Ok(())
    }
}
