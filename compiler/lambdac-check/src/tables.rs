//! Tables and their inline entries.

use std::collections::HashMap;

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{EntryKey, IntType, Table, TableEntry, TableId, TableKind, Type, Value};
use lambdac_syntax::ast::{self, ExprKind as E, TableKey};

use crate::names::Entity;
use crate::{Checker, Reported, Res, suggest};

impl Checker<'_> {
    /// Checks a table.
    pub(crate) fn table(&mut self, item: &ast::Item, table: &ast::Table) -> Res<Entity> {
        let kind = self.table_kind(&table.kind);
        let (key, value) = (self.key_type(&table.key), self.entry_value_type(&table.value));
        let (kind, key, value) = (kind?, key?, value?);
        let prefixed = match &key {
            Type::Int(int) => !int.signed,
            Type::Array(..) => true,
            _ => false,
        };
        if kind == TableKind::Lpm && !prefixed {
            let message = format!("an lpm table can't have keys of type {}", self.show(&key));
            let label = "a prefix is of an unsigned integer or a byte array";
            return Err(self.error("E0402", message, table.key.span, label));
        }
        let capacity = self.capacity(&table.capacity, self.size(&key) + self.size(&value));
        let mut entries = Vec::with_capacity(table.entries.len());
        let mut seen = HashMap::new();
        let mut failed = false;
        for entry in &table.entries {
            match self.entry(entry, kind, &key, &value, &mut seen) {
                Ok(entry) => entries.push(entry),
                Err(_) => failed = true,
            }
        }
        let capacity = capacity?;
        if table.entries.len() > capacity as usize {
            let message = format!("{} entries are more than the table can hold", table.entries.len());
            let at = table.entries[capacity as usize].span;
            return Err(self.push(
                Diagnostic::error("E0409", message, at, "one too many")
                    .with_label(table.capacity.span, format!("room for {capacity}"))
                    .with_help("raise the capacity"),
            ));
        }
        if failed {
            return Err(Reported);
        }
        let (name, span) = (table.name.text.clone(), table.name.span);
        let memory = self.memory_of(item);
        self.w.tables.push(Table {
            name,
            kind,
            key,
            value,
            capacity,
            entries,
            memory,
            span,
        });
        Ok(Entity::Table(TableId(self.w.tables.len() as u32 - 1)))
    }

    fn table_kind(&mut self, kind: &ast::Ident) -> Res<TableKind> {
        match &*kind.text {
            "exact" => Ok(TableKind::Exact),
            "lpm" => Ok(TableKind::Lpm),
            "ternary" => Ok(TableKind::Ternary),
            other => {
                let help = match suggest::nearest(other, ["exact", "lpm", "ternary"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a table is `exact`, `lpm` or `ternary`".into(),
                };
                let message = format!("there is no kind of table `{other}`");
                Err(self.error_help("E0405", message, kind.span, "not known", help))
            }
        }
    }

    fn entry(
        &mut self,
        entry: &ast::TableEntry,
        kind: TableKind,
        key: &Type,
        value: &Type,
        seen: &mut HashMap<EntryKey, Span>,
    ) -> Res<TableEntry> {
        let checked_key = self.entry_key(&entry.key, kind, key);
        let checked_value = self.const_as(&entry.value, value);
        let checked_key = checked_key?;
        if kind != TableKind::Ternary
            && let Some(&first) = seen.get(&checked_key)
        {
            return Err(self.push(
                Diagnostic::error(
                    "E0410",
                    "the table has this key already",
                    entry.span,
                    "given again here",
                )
                .with_label(first, "first given here")
                .with_help("remove one of the two"),
            ));
        }
        if kind != TableKind::Ternary {
            seen.insert(checked_key.clone(), entry.span);
        }
        Ok(TableEntry {
            key: checked_key,
            value: (*checked_value?).clone(),
            span: entry.span,
        })
    }

    fn entry_key(&mut self, key: &TableKey, kind: TableKind, ty: &Type) -> Res<EntryKey> {
        match (kind, key) {
            (TableKind::Exact, TableKey::Exact(v)) => Ok(EntryKey::Exact((*self.const_as(v, ty)?).clone())),
            (TableKind::Lpm, TableKey::Prefix(v, len)) => self.prefix(v, Some(len), ty),
            (TableKind::Lpm, TableKey::Exact(v)) => match &v.kind {
                E::Binary(ast::BinOp::Div, v, len) => self.prefix(v, Some(len), ty),
                _ => self.prefix(v, None, ty),
            },
            (TableKind::Ternary, TableKey::Masked(v, mask)) => self.masked(v, mask, ty),
            (TableKind::Ternary, TableKey::Exact(v)) => match &v.kind {
                E::Binary(ast::BinOp::And, v, mask) => self.masked(v, mask, ty),
                _ => {
                    let v = (*self.const_as(v, ty)?).clone();
                    let mask = self.ones(ty);
                    Ok(EntryKey::Masked(v, mask))
                }
            },
            (TableKind::Ternary, TableKey::Any(_)) => Ok(EntryKey::Any),
            (TableKind::Exact, TableKey::Prefix(a, b)) => {
                Err(self.wrong_form("a prefix", "exact", a.span.to(b.span), "make the table `lpm`"))
            }
            (TableKind::Exact, TableKey::Masked(a, b)) => {
                Err(self.wrong_form("a mask", "exact", a.span.to(b.span), "make the table `ternary`"))
            }
            (TableKind::Exact, TableKey::Any(span)) => {
                Err(self.wrong_form("`_`", "exact", *span, "give a default where the key is looked up"))
            }
            (TableKind::Lpm, TableKey::Masked(a, b)) => Err(self.wrong_form(
                "a mask",
                "lpm",
                a.span.to(b.span),
                "write `V/LEN`, or make the table `ternary`",
            )),
            (TableKind::Lpm, TableKey::Any(span)) => {
                Err(self.wrong_form("`_`", "lpm", *span, "a prefix of length 0 takes every key: `0/0`"))
            }
            (TableKind::Ternary, TableKey::Prefix(a, b)) => {
                let help = "write `V & MASK`, or make the table `lpm`";
                Err(self.wrong_form("a prefix", "ternary", a.span.to(b.span), help))
            }
        }
    }

    fn wrong_form(&mut self, form: &str, kind: &str, span: Span, help: &str) -> Reported {
        let article = if kind == "exact" { "an" } else { "a" };
        let article = if kind == "lpm" { "an" } else { article };
        let message = format!("{form} can't be a key of {article} {kind} table");
        self.error_help("E0407", message, span, "not this table's kind of key", help)
    }

    fn prefix(&mut self, v: &ast::Expr, len: Option<&ast::Expr>, ty: &Type) -> Res<EntryKey> {
        let value = self.const_as(v, ty)?;
        let span = len.map_or(v.span, |len| v.span.to(len.span));
        let len = len.map(|len| self.const_unsigned(len)).transpose()?;
        match (ty, &*value) {
            (Type::Int(int), Value::Int(bits)) => {
                let len = len.unwrap_or(u64::from(int.bits));
                self.prefix_mask(*bits, len, *int, span)?;
                Ok(EntryKey::Prefix((*value).clone(), len as u32))
            }
            (Type::Array(_, n), Value::Array(bytes)) => {
                let most = u64::from(*n) * 8;
                let len = len.unwrap_or(most);
                if len > most {
                    let message = format!("a prefix of {len} bits is longer than its {most}-bit key");
                    return Err(self.error("E0408", message, span, format!("at most /{most}")));
                }
                for (at, byte) in bytes.iter().enumerate() {
                    let kept = len.saturating_sub(at as u64 * 8).min(8);
                    self.prefix_mask(byte.as_int(), kept, IntType::U8, span)?;
                }
                Ok(EntryKey::Prefix((*value).clone(), len as u32))
            }
            _ => Err(self.fail()),
        }
    }

    fn masked(&mut self, v: &ast::Expr, mask: &ast::Expr, ty: &Type) -> Res<EntryKey> {
        let (value, mask) = (self.const_as(v, ty), self.const_as(mask, ty));
        Ok(EntryKey::Masked((*value?).clone(), (*mask?).clone()))
    }

    /// The value of a key type that has all bits set.
    fn ones(&self, ty: &Type) -> Value {
        match ty {
            Type::Array(elem, n) => Value::Array(vec![self.ones(elem); *n as usize]),
            Type::Struct(id) => Value::Struct(
                self.w
                    .strukt(*id)
                    .fields
                    .iter()
                    .map(|f| self.ones(&f.ty))
                    .collect(),
            ),
            _ => Value::Int(self.w.scalar_int(ty).map_or(0, IntType::mask)),
        }
    }
}
