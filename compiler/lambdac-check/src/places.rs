//! Places: what can be assigned, changed in place, or operated on atomically.

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{ExprKind, Place, PlaceBase, Projection, StateKind, Type};
use lambdac_syntax::ast::{self, ExprKind as E};

use crate::body::BodyKind;
use crate::names::Entity;
use crate::{Checker, Reported, Res};

/// The name that a place starts with.
fn root(expr: &ast::Expr) -> Option<&ast::Path> {
    let mut expr = expr;
    loop {
        expr = match &expr.kind {
            E::Path(path) => return Some(path),
            E::Field(base, _) | E::Index(base, _) => base,
            _ => return None,
        };
    }
}

impl Checker<'_> {
    /// Whether an expression is a state value, or a field or element of one.
    pub(crate) fn is_state_place(&self, expr: &ast::Expr) -> bool {
        let Some(path) = root(expr) else { return false };
        let [name] = &path.segments[..] else { return false };
        self.body.lookup(&name.text).is_none()
            && self
                .find_item(self.module, &path.segments)
                .is_some_and(|id| matches!(self.entity(id), Entity::State(_)))
    }

    /// A place that may be changed: a `let mut` variable or a state value, or a part of one.
    pub(crate) fn mutable_place(&mut self, expr: &ast::Expr) -> Res<Place> {
        let place = self.place(expr)?;
        if let PlaceBase::Local(id) = place.base {
            let local = &self.body.locals[id.index()];
            if !local.mutable {
                let (name, declared) = (local.name.clone(), local.span);
                return Err(self.push(
                    Diagnostic::error(
                        "E0223",
                        format!("`{name}` can't be changed"),
                        expr.span,
                        "changed here",
                    )
                    .with_label(declared, "declared here")
                    .with_help(format!(
                        "declare a variable of your own: `let mut copy = {name};`, or `let mut`"
                    )),
                ));
            }
        }
        Ok(place)
    }

    /// A variable or state value, or a field or element of one.
    pub(crate) fn place(&mut self, expr: &ast::Expr) -> Res<Place> {
        match &expr.kind {
            E::Path(path) => self.place_root(path, expr.span),
            E::Field(base, field) => {
                let mut place = self.place(base)?;
                let (number, ty) = self.find_field(&place.ty, field, base.span)?;
                place.projections.push(Projection::Field(number));
                (place.ty, place.span) = (ty, expr.span);
                Ok(place)
            }
            E::Index(base, index) => {
                let place = self.place(base);
                let index = self.index_value(index);
                let (mut place, index) = (place?, index?);
                let elem = self.element_type(&place.ty, base.span)?;
                self.warn_outside(&place.ty, &index);
                self.refuse_outside(&place.ty, &index)?;
                place.projections.push(Projection::Index(index));
                (place.ty, place.span) = (elem, expr.span);
                Ok(place)
            }
            E::Broken => Err(self.fail()),
            E::Slice(..) => Err(self.not_a_place(expr.span, "assign its bytes one by one")),
            _ => Err(self.not_a_place(
                expr.span,
                "only variables, state, and their fields and elements can",
            )),
        }
    }

    /// A test can't look at an element that does not exist.
    fn refuse_outside(&mut self, ty: &Type, index: &lambdac_hir::Expr) -> Res<()> {
        let Type::Array(_, len) = ty else { return Ok(()) };
        match self.known_int(index) {
            Some(at) if self.body.kind == BodyKind::Constant && at >= u64::from(*len) => {
                let message = format!("{} has no element {at}", self.show(ty));
                let label = format!("elements are counted from 0 to {}", len.saturating_sub(1));
                Err(self.error("E0801", message, index.span, label))
            }
            _ => Ok(()),
        }
    }

    fn not_a_place(&mut self, span: Span, help: &str) -> Reported {
        self.error_help("E0224", "this can't be assigned", span, "not a place", help)
    }

    fn place_root(&mut self, path: &ast::Path, span: Span) -> Res<Place> {
        let place = |base, ty| Place {
            base,
            projections: Vec::new(),
            ty,
            span,
        };
        if let [name] = &path.segments[..]
            && let Some(local) = self.body.lookup(&name.text)
        {
            let Some(id) = local else { return Err(self.fail()) };
            return Ok(place(
                PlaceBase::Local(id),
                self.body.locals[id.index()].ty.clone(),
            ));
        }
        let id = self.resolve(&path.segments, "variable")?;
        if let Entity::State(state) = self.entity(id)
            && let StateKind::Value { ty, .. } = &self.w.states[state.index()].kind
        {
            let ty = ty.clone();
            self.touch_state(span)?;
            return Ok(place(PlaceBase::State(state), ty));
        }
        let item = self.names.items[id.0 as usize];
        match self.entity(id) {
            Entity::Poisoned => Err(self.fail()),
            Entity::Const(_) | Entity::Param(_) => {
                let kind = crate::names::kind_of(item.ast);
                let message = format!("`{}` is {kind} and can't be changed", item.name.text);
                Err(self.push(
                    Diagnostic::error("E0223", message, span, "changed here")
                        .with_label(item.name.span, "declared here")
                        .with_help("keep what changes in `state`, or in a `let mut` variable"),
                ))
            }
            _ => {
                // Says why the name is no value at all, if it is none.
                let checked = self.expr(
                    &ast::Expr {
                        kind: E::Path(path.clone()),
                        span,
                    },
                    None,
                )?;
                debug_assert!(!matches!(checked.kind, ExprKind::Local(_)) && checked.ty != Type::Unit);
                Err(self.not_a_place(span, "only variables, state, and their fields and elements can"))
            }
        }
    }
}
