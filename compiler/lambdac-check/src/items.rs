//! Constants, enums, structs and headers.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{Const, ConstId, Enum, EnumId, Field, IntType, Struct, StructId, Type};
use lambdac_syntax::ast::{self, ItemKind as K};

use crate::body::BodyCx;
use crate::consteval::ordered;
use crate::names::{Entity, ItemId};
use crate::types::{MAX_VALUE, StructFacts, TypePlace};
use crate::{Checker, Reported, Res};

/// Structs inside each other, at most.
const MAX_DEPTH: u32 = 64;

impl Checker<'_> {
    /// Checks a constant or type; other items are left for later.
    pub(crate) fn check_type_or_const(&mut self, id: ItemId) {
        let item = self.names.items[id.0 as usize];
        self.module = item.module;
        self.body = BodyCx::constant();
        let entity = match &item.ast.kind {
            K::Const { ty, value, .. } => self.constant(id, ty, value),
            K::Enum { repr, variants, .. } => self.enumeration(id, repr, variants),
            K::Struct { fields, .. } => self.structure(id, fields, false),
            K::Header { fields, .. } => self.structure(id, fields, true),
            _ => return,
        };
        self.set_entity(id, entity);
    }

    fn constant(&mut self, id: ItemId, ty: &ast::TypeExpr, value: &ast::Expr) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        let ty = match self.ty(ty, TypePlace::Value) {
            Ok(ty) => ty,
            Err(reported) => {
                if !crate::expr::needs_hint(value) {
                    let _ = self.expr(value, None);
                }
                return Err(reported);
            }
        };
        let value = self.const_as(value, &ty)?;
        let memory = self.memory_of(item.ast);
        self.w.consts.push(Const {
            name: self.qualified_name(id),
            ty,
            value,
            memory,
            span: item.name.span,
        });
        Ok(Entity::Const(ConstId(self.w.consts.len() as u32 - 1)))
    }

    fn enumeration(
        &mut self,
        id: ItemId,
        repr: &ast::TypeExpr,
        variants: &[(ast::Ident, Option<ast::Expr>)],
    ) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        let ty = self.ty(repr, TypePlace::Value)?;
        let Type::Int(int) = ty else {
            let found = self.show(&ty);
            let message = format!("an enum names integers, not values of {found}");
            return Err(self.error("E0221", message, repr.span, "an integer type is wanted here"));
        };
        if variants.is_empty() {
            let message = format!("enum `{}` has no variants", item.name.text);
            return Err(self.error("E0221", message, item.name.span, "at least one is needed"));
        }
        let mut names: HashMap<Arc<str>, Span> = HashMap::new();
        let mut values: HashMap<u64, Span> = HashMap::new();
        let mut checked: Vec<(Arc<str>, u64)> = Vec::with_capacity(variants.len());
        let mut failed = false;
        let mut last = None;
        for (name, value) in variants {
            if let Some(first) = names.insert(name.text.clone(), name.span) {
                self.twice("variant", name, first);
                failed = true;
                continue;
            }
            let bits = match value {
                Some(value) => self.const_as(value, &ty).map(|v| v.as_int()),
                None => self.next_variant(last, int, name),
            };
            let Ok(bits) = bits else {
                failed = true;
                last = None;
                continue;
            };
            last = Some(bits);
            if let Some(first) = values.insert(bits, name.span) {
                let message = format!("two variants have the value {}", ordered(int, bits));
                self.push(
                    Diagnostic::error("E0221", message, name.span, "this has it too")
                        .with_label(first, "this has it")
                        .with_help("a `const` gives a value a second name"),
                );
                failed = true;
            }
            checked.push((name.text.clone(), bits));
        }
        if failed {
            return Err(Reported);
        }
        let e = EnumId(self.w.enums.len() as u32);
        for (at, (name, _)) in checked.iter().enumerate() {
            self.variant_of.insert((e, name.clone()), at as u32);
        }
        self.w.enums.push(Enum {
            name: self.qualified_name(id),
            repr: int,
            variants: checked,
        });
        Ok(Entity::Enum(e))
    }

    fn next_variant(&mut self, last: Option<u64>, int: IntType, name: &ast::Ident) -> Res<u64> {
        let Some(last) = last else { return Ok(0) };
        let most = if int.signed { int.mask() >> 1 } else { int.mask() };
        if last == most {
            let shown = self.show(&Type::Int(int));
            let message = format!("variant `{}` has no value left in {shown}", name.text);
            return Err(self.error_help(
                "E0221",
                message,
                name.span,
                format!("the one before it is {last}, the greatest"),
                "give it a value, or the enum a wider type",
            ));
        }
        Ok(last.wrapping_add(1) & int.mask())
    }

    /// Reports a name that stands twice in one list.
    pub(crate) fn twice(&mut self, what: &str, name: &ast::Ident, first: Span) {
        let message = format!("{what} `{}` is declared twice", name.text);
        self.push(
            Diagnostic::error("E0202", message, name.span, "declared again here")
                .with_label(first, "first declared here")
                .with_help("rename one of the two"),
        );
    }

    fn structure(&mut self, id: ItemId, fields: &[ast::Field], is_header: bool) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        if fields.is_empty() {
            let message = format!("`{}` has no fields", item.name.text);
            let code = if is_header { "E0220" } else { "E0216" };
            return Err(self.error(code, message, item.name.span, "at least one is needed"));
        }
        let checked = self.struct_fields(fields)?;
        if is_header {
            self.header_layout(&item.name.text, item.name.span, fields, &checked)?;
        }
        let facts = self.struct_facts(&checked);
        if facts.size > MAX_VALUE {
            let message = format!("a value of {} bytes is larger than 1 MiB", facts.size);
            let label = format!("`{}` is too large", item.name.text);
            return Err(self.error_help("E0216", message, item.name.span, label, "keep it in parts"));
        }
        if facts.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} structs lie inside each other");
            return Err(self.error("E0216", message, item.name.span, "this is one too many"));
        }
        let s = StructId(self.w.structs.len() as u32);
        for (at, field) in checked.iter().enumerate() {
            self.field_of.insert((s, field.name.clone()), at as u32);
        }
        self.w.structs.push(Struct {
            name: self.qualified_name(id),
            is_header,
            fields: checked,
        });
        self.struct_facts.push(facts);
        Ok(Entity::Struct(s))
    }

    fn struct_fields(&mut self, fields: &[ast::Field]) -> Res<Vec<Field>> {
        let mut names: HashMap<Arc<str>, Span> = HashMap::new();
        let mut checked = Vec::with_capacity(fields.len());
        let mut failed = false;
        for field in fields {
            let ty = self.ty(&field.ty, TypePlace::Value);
            if let Some(first) = names.insert(field.name.text.clone(), field.name.span) {
                self.twice("field", &field.name, first);
                failed = true;
            }
            match ty {
                Ok(ty) => checked.push(Field {
                    name: field.name.text.clone(),
                    ty,
                    span: field.name.span,
                }),
                Err(_) => failed = true,
            }
        }
        if failed { Err(Reported) } else { Ok(checked) }
    }

    fn struct_facts(&self, fields: &[Field]) -> StructFacts {
        let depth_of = |ty: &Type| {
            let mut ty = ty;
            loop {
                match ty {
                    Type::Array(elem, _) => ty = elem,
                    Type::Struct(id) => return self.struct_facts[id.0 as usize].depth,
                    _ => return 0,
                }
            }
        };
        StructFacts {
            size: fields
                .iter()
                .fold(0, |sum, f| sum.saturating_add(self.size(&f.ty))),
            plain: fields.iter().all(|f| self.is_plain(&f.ty)),
            key: fields.iter().all(|f| self.is_key(&f.ty)),
            depth: 1 + fields.iter().map(|f| depth_of(&f.ty)).max().unwrap_or(0),
        }
    }

    /// Fields of a header: scalars and arrays of them, a whole number of bytes, `bytes<N>` only at the end.
    fn header_layout(&mut self, name: &str, at: Span, written: &[ast::Field], fields: &[Field]) -> Res<()> {
        let mut bits = 0u64;
        let mut failed = false;
        for (i, field) in fields.iter().enumerate() {
            match (&field.ty, self.wire_bits(&field.ty)) {
                (_, Some(width)) => bits += width,
                (Type::Bytes(_), None) if i + 1 == fields.len() => {}
                (Type::Bytes(_), None) => {
                    let message = format!("`{}` varies in length and is not the last field", field.name);
                    let help = "move it to the end, or make it a byte array `[u8; N]`";
                    self.error_help(
                        "E0220",
                        message,
                        written[i].ty.span,
                        "only the last field may",
                        help,
                    );
                    failed = true;
                }
                (ty, None) => {
                    let found = self.show(ty);
                    let message = format!("a header can't hold {found}");
                    let label = "fields are integers, bools, enums and arrays of these";
                    self.error("E0220", message, written[i].ty.span, label);
                    failed = true;
                }
            }
        }
        if failed {
            return Err(Reported);
        }
        if !bits.is_multiple_of(8) {
            let message = format!("header `{name}` has {bits} bits, which is no whole number of bytes");
            let help = format!("add a field of {} bits", 8 - bits % 8);
            return Err(self.error_help(
                "E0220",
                message,
                at,
                format!("{} bits are left over", bits % 8),
                help,
            ));
        }
        Ok(())
    }

    fn wire_bits(&self, ty: &Type) -> Option<u64> {
        match ty {
            Type::Bool => Some(1),
            Type::Array(elem, n) => match **elem {
                Type::Array(..) => None,
                _ => Some(self.wire_bits(elem)? * u64::from(*n)),
            },
            _ => self.as_int(ty).map(|int| u64::from(int.bits)),
        }
    }
}
