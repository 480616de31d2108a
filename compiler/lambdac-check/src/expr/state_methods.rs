//! Operations of state objects, tables and services.

use lambdac_diag::Span;
use lambdac_hir::{AtomicOp, Expr, ExprKind, IntType, KeyedOp, StateId, StateKind, StmtKind, TableId, Type};
use lambdac_syntax::ast;
use std::sync::Arc;

use super::methods::Object;
use super::typed;
use crate::body::BodyKind;
use crate::names::Entity;
use crate::{Checker, Reported, Res, suggest};

impl Checker<'_> {
    /// A method of a state object, table or service; `None` if the object is a plain value.
    pub(super) fn object_method(
        &mut self,
        object: &Object<'_>,
        receiver: &ast::Expr,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Res<Expr>> {
        match object {
            Object::Element(id, index) => Some(self.counter_method(*id, Some(index), name, args, span)),
            Object::Entity(Entity::State(id)) => match self.w.states[id.index()].kind.clone() {
                StateKind::Value { .. } => None,
                StateKind::Counter { .. } => Some(self.counter_method(*id, None, name, args, span)),
                StateKind::Lru { key, value, .. } => {
                    Some(self.keyed_method(*id, [&key, &value], name, args, span))
                }
                StateKind::Map { key, value, .. } => {
                    Some(self.keyed_method(*id, [&key, &value], name, args, span))
                }
            },
            Object::Entity(Entity::Table(id)) => Some(self.table_method(*id, name, args, span)),
            Object::Entity(Entity::Service(id)) => Some(self.service_method(*id, receiver, name, args, span)),
            Object::Entity(_) => None,
        }
    }

    fn counter_index(&mut self, id: StateId, index: Option<&ast::Expr>, span: Span) -> Res<Option<Expr>> {
        let StateKind::Counter { count } = self.w.states[id.index()].kind else {
            return Err(self.fail());
        };
        let name = self.w.states[id.index()].name.clone();
        match (count, index) {
            (None, None) => Ok(None),
            (Some(n), Some(index)) => {
                let index = self.index_value(index)?;
                self.warn_outside(&Type::Array(Arc::new(Type::U64), n), &index);
                Ok(Some(index))
            }
            (Some(n), None) => Err(self.error_help(
                "E0412",
                format!("`{name}` is {n} counters, not one"),
                span,
                "which one?",
                format!("write `{name}[0]`, for example"),
            )),
            (None, Some(_)) => Err(self.error_help(
                "E0412",
                format!("`{name}` is one counter, not several"),
                span,
                "it has no elements",
                format!("write `{name}`, or declare `counter[N]`"),
            )),
        }
    }

    fn counter_method(
        &mut self,
        id: StateId,
        index: Option<&ast::Expr>,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        self.touch_state(span)?;
        match &*name.text {
            "read" => {
                if !args.is_empty() {
                    return Err(self.argument_count("read", 0, args, span, None));
                }
                let index = self.counter_index(id, index, span)?.map(Box::new);
                Ok(typed(ExprKind::CounterRead(id, index), Type::U64, span))
            }
            "add" => Err(self.error_help(
                "E0226",
                "`add` gives no value",
                span,
                "it stands only as a statement",
                "read the counter with `.read()`",
            )),
            _ => Err(self.no_object_method("a counter", &["add", "read"], name)),
        }
    }

    /// `c.add(n)` as a statement; `None` if the object is no counter.
    pub(super) fn counter_add(
        &mut self,
        object: &Object<'_>,
        receiver: &ast::Expr,
        args: &[ast::Expr],
        span: Span,
    ) -> Option<Res<StmtKind>> {
        let (id, index) = match object {
            Object::Element(id, index) => (*id, Some(*index)),
            Object::Entity(Entity::State(id)) => (*id, None),
            Object::Entity(_) => return None,
        };
        if !matches!(self.w.states[id.index()].kind, StateKind::Counter { .. }) {
            return None;
        }
        Some(self.checked_counter_add(id, index, receiver.span, args, span))
    }

    fn checked_counter_add(
        &mut self,
        id: StateId,
        index: Option<&ast::Expr>,
        receiver: Span,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<StmtKind> {
        self.touch_state(span)?;
        let [amount] = args else {
            return Err(self.argument_count("add", 1, args, span, None));
        };
        let index = self.counter_index(id, index, receiver);
        let amount = self.expr(amount, Some(&Type::U64))?;
        let amount = self.widen_to_u64(amount)?;
        Ok(StmtKind::CounterAdd(id, index?, amount))
    }

    /// Counters take any unsigned amount.
    fn widen_to_u64(&mut self, amount: Expr) -> Res<Expr> {
        let amount = self.unsigned(amount)?;
        if amount.ty == Type::U64 {
            return Ok(amount);
        }
        let span = amount.span;
        Ok(typed(ExprKind::Cast(Box::new(amount)), Type::U64, span))
    }

    fn keyed_method(
        &mut self,
        id: StateId,
        [key, value]: [&Type; 2],
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        self.touch_state(span)?;
        let is_map = matches!(self.w.states[id.index()].kind, StateKind::Map { .. });
        let known = [
            "fetch_add",
            "get",
            if is_map { "insert" } else { "put" },
            "remove",
        ];
        if !known.contains(&&*name.text) {
            let what = if is_map { "a map" } else { "an lru" };
            return Err(match &*name.text {
                "put" => self.object_method_help(
                    what,
                    name,
                    "a map says whether there was room: `insert(key, value)`",
                ),
                "insert" => self.object_method_help(what, name, "an lru always has room: `put(key, value)`"),
                _ => self.no_object_method(what, &known, name),
            });
        }
        let optional = Type::Option(Arc::new(value.clone()));
        let (op, types, ty): (_, &[&Type], _) = match &*name.text {
            "get" => (KeyedOp::Get, &[key], optional),
            "put" => (KeyedOp::Put, &[key, value], Type::Unit),
            "insert" => (KeyedOp::Insert, &[key, value], Type::Bool),
            "remove" => (
                KeyedOp::Remove,
                &[key],
                if is_map { Type::Bool } else { Type::Unit },
            ),
            _ => (KeyedOp::FetchAdd, &[key, value], optional),
        };
        if op == KeyedOp::FetchAdd && !matches!(value, Type::Int(_)) {
            let found = self.show(value);
            let declared = self.w.states[id.index()].span;
            return Err(self.push(
                lambdac_diag::Diagnostic::error(
                    "E0210",
                    format!("`fetch_add` is for integer values, not for {found}"),
                    name.span,
                    "the values are no integers",
                )
                .with_label(declared, "declared here"),
            ));
        }
        let args = self.typed_args(&name.text, types, args, span)?;
        Ok(typed(ExprKind::Keyed(op, id, args), ty, span))
    }

    /// Arguments of the given types, all of them.
    pub(crate) fn typed_args(
        &mut self,
        name: &str,
        types: &[&Type],
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Vec<Expr>> {
        if args.len() != types.len() {
            return Err(self.argument_count(name, types.len(), args, span, None));
        }
        let checked: Vec<_> = args
            .iter()
            .zip(types)
            .map(|(arg, ty)| self.expr_as(arg, ty))
            .collect();
        checked.into_iter().collect()
    }

    fn table_method(&mut self, id: TableId, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Res<Expr> {
        let table = &self.w.tables[id.index()];
        let (key, value) = (table.key.clone(), table.value.clone());
        match &*name.text {
            "get" if self.body.kind == BodyKind::Condition => Err(self.error_help(
                "E0312",
                "a condition of the match can only ask a table whether it has a key",
                span,
                "`get` can't stand here",
                "use `.has(key)`, and `.get(key)` in the lambda",
            )),
            "get" => {
                let key = self.typed_args("get", &[&key], args, span)?.remove(0);
                Ok(typed(ExprKind::TableGet(id, Box::new(key)), Type::Option(Arc::new(value)), span))
            }
            "has" => {
                let key = self.typed_args("has", &[&key], args, span)?.remove(0);
                Ok(typed(ExprKind::TableHas(id, Box::new(key)), Type::Bool, span))
            }
            "put" | "insert" | "remove" => Err(self.object_method_help(
                "a table",
                name,
                "a lambda only reads tables; they are filled inline and by the control plane (use an lru or map)",
            )),
            _ => Err(self.no_object_method("a table", &["get", "has"], name)),
        }
    }

    fn object_method_help(&mut self, what: &str, name: &ast::Ident, help: &str) -> Reported {
        let message = format!("{what} has no method `{}`", name.text);
        self.error_help("E0210", message, name.span, "no such method", help)
    }

    /// Reports a method that an object does not have.
    pub(crate) fn no_object_method(&mut self, what: &str, known: &[&str], name: &ast::Ident) -> Reported {
        let help = match suggest::nearest(&name.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", known.join(", ")),
        };
        self.object_method_help(what, name, &help)
    }

    /// `place.fetch_add(v)` and its kind.
    pub(super) fn atomic(
        &mut self,
        receiver: &ast::Expr,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        let place = self.place(receiver)?;
        let (op, wanted) = match &*name.text {
            "fetch_add" => (AtomicOp::FetchAdd, 1),
            "fetch_sub" => (AtomicOp::FetchSub, 1),
            "swap" => (AtomicOp::Swap, 1),
            _ => (AtomicOp::Cas, 2),
        };
        let ty = place.ty.clone();
        let Type::Int(IntType { .. }) = ty else {
            let found = self.show(&ty);
            let message = format!("`{}` is for integers of state, not for {found}", name.text);
            return Err(self.error(
                "E0210",
                message,
                name.span,
                format!("`{}` is {found}", self.map.slice(place.span)),
            ));
        };
        let args = self.typed_args(&name.text, &[&ty, &ty][..wanted], args, span)?;
        let result = if op == AtomicOp::Cas { Type::Bool } else { ty };
        Ok(typed(ExprKind::Atomic(op, Box::new(place), args), result, span))
    }
}
