//! `param` and `state`.

use lambdac_hir::{Param, ParamId, State, StateId, StateKind, Type};
use lambdac_syntax::ast::{self, ItemKind as K, StateExpr};

use crate::body::BodyCx;
use crate::names::{Entity, ItemId};
use crate::types::TypePlace;
use crate::{Checker, Res};

/// The most bytes that the entries of one object may need.
const MAX_OBJECT: u64 = 1 << 30;

impl Checker<'_> {
    /// Checks a param, state, table or service; other items are passed over.
    pub(crate) fn check_declaration(&mut self, id: ItemId) {
        let item = self.names.items[id.0 as usize];
        self.body = BodyCx::constant();
        let entity = match &item.ast.kind {
            K::Param { ty, default, .. } => self.param(id, ty, default.as_ref()),
            K::State { kind, init, .. } => self.state(id, kind, init.as_ref()),
            K::Table(table) => self.table(item.ast, table),
            K::Service { protocol, args, .. } => self.service(id, protocol, args),
            _ => return,
        };
        self.set_entity(id, entity);
    }

    fn param(&mut self, id: ItemId, ty: &ast::TypeExpr, default: Option<&ast::Expr>) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        let checked = self.ty(ty, TypePlace::Value)?;
        let fits = match &checked {
            Type::Array(elem, _) => matches!(**elem, Type::Int(_)),
            other => other.is_scalar() || matches!(other, Type::Bytes(_)),
        };
        if !fits {
            let message = format!("a param can't be {}", self.show(&checked));
            let label = "params are integers, bools, enums, `bytes<N>` and arrays of integers";
            return Err(self.error("E0401", message, ty.span, label));
        }
        let default = match default {
            Some(default) => Some((*self.const_as(default, &checked)?).clone()),
            None => None,
        };
        let name = item.name.text.clone();
        self.w.params.push(Param {
            name,
            ty: checked,
            default,
            span: item.name.span,
        });
        Ok(Entity::Param(ParamId(self.w.params.len() as u32 - 1)))
    }

    fn state(&mut self, id: ItemId, kind: &StateExpr, init: Option<&ast::Expr>) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        let kind = match kind {
            StateExpr::Value(ty) => self.state_value(ty, init)?,
            StateExpr::Counter { count, .. } => {
                self.no_init(init, "a counter")?;
                let count = count.as_ref().map(|count| self.capacity(count, 8)).transpose()?;
                StateKind::Counter { count }
            }
            StateExpr::Keyed {
                kind,
                key,
                value,
                capacity,
                named,
            } => {
                self.no_init(init, if &*kind.text == "lru" { "an lru" } else { "a map" })?;
                self.keyed(kind, [key, value], capacity, named)?
            }
        };
        let memory = self.memory_of(item.ast);
        self.w.states.push(State {
            name: item.name.text.clone(),
            kind,
            memory,
            span: item.name.span,
        });
        Ok(Entity::State(StateId(self.w.states.len() as u32 - 1)))
    }

    fn state_value(&mut self, ty: &ast::TypeExpr, init: Option<&ast::Expr>) -> Res<StateKind> {
        let checked = self.ty(ty, TypePlace::Value)?;
        if !self.is_plain(&checked) {
            let message = format!("state can't hold {}", self.show(&checked));
            let help = "keep byte strings as values of an `lru` or `map`, or as `[u8; N]` and a length";
            let label = "state holds integers, bools, enums, structs and arrays of these";
            return Err(self.error_help("E0401", message, ty.span, label, help));
        }
        let init = match init {
            Some(init) => self.const_as(init, &checked)?,
            None => self.zero_value(&checked, ty.span)?,
        };
        self.count_parts(self.size(&checked), ty.span)?;
        Ok(StateKind::Value {
            ty: checked,
            init: (*init).clone(),
        })
    }

    fn no_init(&mut self, init: Option<&ast::Expr>, what: &str) -> Res<()> {
        match init {
            Some(init) => {
                let message = format!("{what} can't be given a value to start with");
                Err(self.error_help(
                    "E0411",
                    message,
                    init.span,
                    "it starts zeroed or empty",
                    "remove it; a `table` can be filled inline",
                ))
            }
            None => Ok(()),
        }
    }

    fn keyed(
        &mut self,
        kind: &ast::Ident,
        [key, value]: [&ast::TypeExpr; 2],
        capacity: &ast::Expr,
        named: &[(ast::Ident, ast::Expr)],
    ) -> Res<StateKind> {
        let key = self.key_type(key);
        let value = self.entry_value_type(value);
        let (key, value) = (key?, value?);
        let capacity = self.capacity(capacity, self.size(&key) + self.size(&value));
        let is_lru = &*kind.text == "lru";
        let ttl = self.ttl(is_lru, named);
        let (capacity, ttl) = (capacity?, ttl?);
        Ok(if is_lru {
            StateKind::Lru {
                key,
                value,
                capacity,
                ttl,
            }
        } else {
            StateKind::Map { key, value, capacity }
        })
    }

    fn ttl(&mut self, is_lru: bool, named: &[(ast::Ident, ast::Expr)]) -> Res<Option<u64>> {
        let mut ttl = None;
        for (name, value) in named {
            if &*name.text != "ttl" || !is_lru {
                let message = if is_lru {
                    format!("an lru has no argument `{}`", name.text)
                } else {
                    format!("a map has no argument `{}`", name.text)
                };
                let help = if is_lru {
                    "did you mean `ttl`?"
                } else {
                    "only an lru forgets: `lru<K, V>(cap, ttl = 5s)`"
                };
                return Err(self.error_help("E0406", message, name.span, "not known", help));
            }
            if ttl.is_some() {
                return Err(self.error("E0406", "`ttl` is given twice", name.span, "given again here"));
            }
            let ns = self.const_as(value, &Type::U64)?.as_int();
            if ns == 0 {
                let message = "a ttl of 0 forgets every entry at once";
                return Err(self.error_help(
                    "E0406",
                    message,
                    value.span,
                    "this is 0",
                    "write a duration such as `5s`",
                ));
            }
            ttl = Some(ns);
        }
        Ok(ttl)
    }

    /// The type of keys.
    pub(crate) fn key_type(&mut self, ty: &ast::TypeExpr) -> Res<Type> {
        let checked = self.ty(ty, TypePlace::Value)?;
        if self.is_key(&checked) {
            return Ok(checked);
        }
        let message = format!("{} can't be a key", self.show(&checked));
        let help = match &checked {
            Type::Bytes(n) => format!("use a byte array `[u8; {n}]` and `pad(…)`"),
            Type::Bool => "use `u1`".into(),
            _ => "make it an integer, a byte array, or a struct of them".into(),
        };
        Err(self.error_help(
            "E0402",
            message,
            ty.span,
            "keys are integers, byte arrays and structs of them",
            help,
        ))
    }

    /// The type of values of an lru, map or table.
    pub(crate) fn entry_value_type(&mut self, ty: &ast::TypeExpr) -> Res<Type> {
        let checked = self.ty(ty, TypePlace::Value)?;
        if self.is_plain(&checked) || matches!(checked, Type::Bytes(_)) {
            return Ok(checked);
        }
        let message = format!("{} can't be an entry's value", self.show(&checked));
        let label = "values are integers, bools, enums, structs and arrays of these, and `bytes<N>`";
        Err(self.error("E0403", message, ty.span, label))
    }

    /// How many entries an object can hold.
    pub(crate) fn capacity(&mut self, expr: &ast::Expr, entry_bytes: u64) -> Res<u32> {
        let capacity = self.const_unsigned(expr)?;
        if capacity == 0 {
            return Err(self.error(
                "E0404",
                "nothing fits into a capacity of 0",
                expr.span,
                "at least 1 is needed",
            ));
        }
        let bytes = capacity.saturating_mul(entry_bytes.max(1));
        if bytes > MAX_OBJECT {
            let message = format!("{capacity} entries of {entry_bytes} bytes need more than 1 GiB");
            let label = format!("at most {} fit", MAX_OBJECT / entry_bytes.max(1));
            return Err(self.error("E0404", message, expr.span, label));
        }
        u32::try_from(capacity).map_err(|_| self.fail())
    }
}
