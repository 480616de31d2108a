//! Operations of state objects and tables, and the keys that they take.

use lambdac_diag::Span;
use lambdac_hir::{Expr, ExprKind, KeyedOp, StateId, StateKind, TableId, Type};
use lambdac_mir::{ObjectId, Op, Operand, Place, Value};

use crate::body::BodyCx;
use crate::facts::Effects;
use crate::source::Source;

impl BodyCx<'_, '_> {
    /// The checked index of a counter in an array of them.
    pub(crate) fn counter_index(
        &mut self,
        state: StateId,
        index: Option<&Expr>,
        span: Span,
    ) -> Option<Value> {
        let StateKind::Counter { count } = self.cx.workload.states[state.index()].kind else {
            unreachable!("only counters are added to")
        };
        let index = self.scalar(index?);
        self.check_index(index, count.unwrap_or(1), span);
        Some(self.resize(index, 32, false))
    }

    /// The parts of a key; `later` is what is evaluated before it is used.
    pub(crate) fn key(&mut self, expr: &Expr, later: Effects) -> Vec<Operand> {
        if let ExprKind::Struct(_, fields) = &expr.kind {
            let mut by_field: Vec<(u32, Vec<Operand>)> = Vec::new();
            for (i, (field, value)) in fields.iter().enumerate() {
                let rest = self.facts.effects_of(fields[i + 1..].iter().map(|(_, e)| e));
                by_field.push((*field, self.key(value, rest | later)));
            }
            by_field.sort_by_key(|(field, _)| *field);
            return by_field.into_iter().flat_map(|(_, parts)| parts).collect();
        }
        if expr.ty.is_scalar() {
            return vec![Operand::Value(self.scalar(expr))];
        }
        let source = self.source(expr, later);
        let mut parts = Vec::new();
        self.key_parts(&source, &expr.ty, &mut parts);
        parts
    }

    fn key_parts(&mut self, source: &Source, ty: &Type, parts: &mut Vec<Operand>) {
        match ty {
            Type::Struct(id) => {
                for field in 0..self.cx.workload.strukt(*id).fields.len() as u32 {
                    let field_ty = &self.cx.workload.strukt(*id).fields[field as usize].ty;
                    let part = self.field(source.clone(), ty, field);
                    self.key_parts(&part, field_ty, parts);
                }
            }
            ty if ty.is_scalar() => {
                let value = self.read(source.clone(), ty);
                parts.push(Operand::Value(value));
            }
            ty => {
                let view = self.as_view(source, ty);
                parts.push(Operand::View(view));
            }
        }
    }

    /// A value that is put into an object.
    fn stored(&mut self, expr: &Expr, ty: &Type) -> Operand {
        match ty {
            ty if ty.is_scalar() => Operand::Value(self.scalar(expr)),
            Type::Bytes(_) => Operand::View(self.view(expr, Effects::NONE)),
            ty => {
                let source = self.source(expr, Effects::NONE);
                Operand::Place(self.materialized(source, ty))
            }
        }
    }

    fn value_type(&self, state: StateId) -> Type {
        match &self.cx.workload.states[state.index()].kind {
            StateKind::Lru { value, .. } | StateKind::Map { value, .. } => value.clone(),
            StateKind::Value { .. } | StateKind::Counter { .. } => {
                unreachable!("only an lru or a map has keys")
            }
        }
    }

    /// `put`, `insert` and `remove`: whether it was stored or there.
    pub(crate) fn keyed_bool(&mut self, op: KeyedOp, state: StateId, args: &[Expr]) -> Value {
        let object = self.cx.state_object(state);
        match (op, args) {
            (KeyedOp::Put | KeyedOp::Insert, [key, value]) => {
                let key = self.key(key, self.facts.effects(value));
                let ty = self.value_type(state);
                let value = self.stored(value, &ty);
                self.op1(Op::MapPut { object, key, value }, 1)
            }
            (KeyedOp::Remove, [key]) => {
                let key = self.key(key, Effects::NONE);
                self.op1(Op::MapRemove { object, key }, 1)
            }
            _ => unreachable!("no operation that gives a bool or nothing"),
        }
    }

    /// `fetch_add(k, n)`: the old value.
    pub(crate) fn keyed_add(&mut self, state: StateId, args: &[Expr], ty: &Type) -> (Value, Option<Value>) {
        let [key, by] = args else {
            unreachable!("the checker counted the arguments")
        };
        let object = self.cx.state_object(state);
        let key = self.key(key, self.facts.effects(by));
        let value = self.scalar(by);
        let width = self.cx.width(ty);
        let results = self.op(Op::MapFetchAdd { object, key, value }, &[1, width]);
        (results[0], Some(results[1]))
    }

    /// `get(k)` of an lru or map.
    pub(crate) fn keyed_get(
        &mut self,
        state: StateId,
        args: &[Expr],
        ty: &Type,
        dst: Option<&Place>,
    ) -> (Value, Option<Value>) {
        let [key] = args else {
            unreachable!("the checker counted the arguments")
        };
        let object = self.cx.state_object(state);
        let key = self.key(key, Effects::NONE);
        self.lookup(ty, dst, |dst| Op::MapGet { object, key, dst })
    }

    /// `get(k)` of a table.
    pub(crate) fn table_get(
        &mut self,
        table: TableId,
        key: &Expr,
        ty: &Type,
        dst: Option<&Place>,
    ) -> (Value, Option<Value>) {
        let object: ObjectId = self.cx.table_object(table);
        let key = self.key(key, Effects::NONE);
        self.lookup(ty, dst, |dst| Op::TableGet { object, key, dst })
    }

    fn lookup(
        &mut self,
        ty: &Type,
        dst: Option<&Place>,
        op: impl FnOnce(Option<Place>) -> Op,
    ) -> (Value, Option<Value>) {
        if ty.is_scalar() {
            let results = self.op(op(None), &[1, self.cx.width(ty)]);
            return (results[0], Some(results[1]));
        }
        (self.op1(op(dst.cloned()), 1), None)
    }
}
