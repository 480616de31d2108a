//! Fields, elements, slices; literals of arrays and structs.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{Expr, ExprKind, StructId, Type};
use lambdac_syntax::ast;

use super::{needs_hint, typed};
use crate::names::Entity;
use crate::{Checker, Reported, Res, suggest};

impl Checker<'_> {
    pub(super) fn field(&mut self, base: &ast::Expr, field: &ast::Ident, span: Span) -> Res<Expr> {
        if let Some(pkt) = self.pkt_field(base, field, span) {
            return pkt;
        }
        let base = self.expr(base, None)?;
        let (number, ty) = self.find_field(&base.ty, field, base.span)?;
        Ok(typed(ExprKind::Field(Box::new(base), number), ty, span))
    }

    /// The number and type of a field.
    pub(crate) fn find_field(&mut self, ty: &Type, field: &ast::Ident, base: Span) -> Res<(u32, Type)> {
        let Type::Struct(id) = ty else {
            return Err(self.no_fields(ty, field, base));
        };
        if let Some(&number) = self.field_of.get(&(*id, field.text.clone())) {
            return Ok((number, self.w.strukt(*id).fields[number as usize].ty.clone()));
        }
        Err(self.unknown_field(*id, field))
    }

    fn no_fields(&mut self, ty: &Type, field: &ast::Ident, base: Span) -> Reported {
        if *ty == Type::Unit {
            return self.no_value(base);
        }
        let found = self.show(ty);
        let help = match ty {
            Type::Option(_) => Some("open it with `let v = … else { … };` or `if let v = … { }`".to_string()),
            Type::Bytes(_) | Type::BytesView | Type::Array(..) if &*field.text == "len" => {
                Some("write `.len()`".to_string())
            }
            _ => None,
        };
        let message = format!("{found} has no fields");
        self.error_maybe_help(
            "E0208",
            message,
            field.span,
            "only structs and headers have fields",
            help,
        )
    }

    fn unknown_field(&mut self, id: StructId, field: &ast::Ident) -> Reported {
        let most = self.most_candidates().max(8);
        let strukt = self.w.strukt(id);
        let names: Vec<String> = strukt
            .fields
            .iter()
            .take(most)
            .map(|f| f.name.to_string())
            .collect();
        let message = format!("`{}` has no field `{}`", strukt.name, field.text);
        let help = match suggest::nearest(&field.text, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "it has {}",
                names.iter().take(8).cloned().collect::<Vec<_>>().join(", ")
            ),
        };
        self.error_help("E0208", message, field.span, "no such field", help)
    }

    pub(super) fn index(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Res<Expr> {
        let base = self.expr(base, None);
        let index = self.index_value(index);
        let base = base?;
        let elem = self.element_type(&base.ty, base.span)?;
        let index = index?;
        self.warn_outside(&base.ty, &index);
        Ok(typed(
            ExprKind::Index(Box::new(base), Box::new(index)),
            elem,
            span,
        ))
    }

    /// An index: any unsigned type.
    pub(crate) fn index_value(&mut self, index: &ast::Expr) -> Res<Expr> {
        let index = self.expr(index, None)?;
        self.unsigned(index)
    }

    /// The type of an element.
    pub(crate) fn element_type(&mut self, ty: &Type, base: Span) -> Res<Type> {
        match ty {
            Type::Array(elem, _) => Ok((**elem).clone()),
            Type::Bytes(_) | Type::BytesView => Ok(Type::U8),
            Type::Unit => Err(self.no_value(base)),
            _ => {
                let found = self.show(ty);
                let help = matches!(ty, Type::Option(_))
                    .then(|| "open it with `let v = … else { … };` or `if let v = … { }`".to_string());
                let message = format!("{found} has no elements");
                Err(self.error_maybe_help("E0206", message, base, format!("this is {found}"), help))
            }
        }
    }

    /// Warns of a constant index that no value of the type has. In a constant it is an error, told elsewhere.
    pub(crate) fn warn_outside(&mut self, ty: &Type, index: &Expr) {
        if self.body.kind == crate::body::BodyKind::Constant {
            return;
        }
        let (Type::Array(_, len) | Type::Bytes(len)) = ty else {
            return;
        };
        if let Some(at) = self.known_int(index)
            && at >= u64::from(*len)
        {
            let found = self.show(ty);
            self.warn(
                "W0203",
                format!("index {at} is outside of {found}"),
                index.span,
                "this always traps",
                format!("elements are counted from 0 to {}", i64::from(*len) - 1),
            );
        }
    }

    pub(super) fn slice(&mut self, base: &ast::Expr, bounds: [&ast::Expr; 2], span: Span) -> Res<Expr> {
        let base = self.expr(base, None);
        let [from, to] = bounds.map(|bound| self.index_value(bound));
        let base = base?;
        let capacity = match &base.ty {
            Type::Bytes(n) => Some(*n),
            Type::Array(elem, n) if **elem == Type::U8 => Some(*n),
            Type::BytesView => None,
            Type::Unit => return Err(self.no_value(base.span)),
            ty => {
                let found = self.show(ty);
                let message = format!("{found} can't be sliced");
                return Err(self.error(
                    "E0206",
                    message,
                    base.span,
                    "only byte strings and byte arrays can",
                ));
            }
        };
        let (from, to) = (from?, to?);
        let ty = match (self.known_int(&from), self.known_int(&to)) {
            (Some(i), Some(j)) => self.constant_slice(i, j, capacity, &base, from.span.to(to.span))?,
            (_, Some(j)) if capacity.is_some_and(|n| j > u64::from(n)) => {
                return Err(self.slice_outside(j, capacity, &base, to.span));
            }
            _ => capacity.map_or(Type::BytesView, Type::Bytes),
        };
        let kind = ExprKind::Slice(Box::new(base), Box::new(from), Box::new(to));
        Ok(typed(kind, ty, span))
    }

    fn constant_slice(
        &mut self,
        i: u64,
        j: u64,
        capacity: Option<u32>,
        base: &Expr,
        span: Span,
    ) -> Res<Type> {
        if i > j {
            return Err(self.error_help(
                "E0222",
                format!("the slice {i}..{j} ends before it begins"),
                span,
                "this always traps",
                format!("did you mean `{j}..{i}`?"),
            ));
        }
        if j > u64::from(capacity.unwrap_or(1 << 20)) {
            return Err(self.slice_outside(j, capacity, base, span));
        }
        Ok(Type::Bytes((j - i) as u32))
    }

    fn slice_outside(&mut self, end: u64, capacity: Option<u32>, base: &Expr, span: Span) -> Reported {
        let most = capacity.unwrap_or(1 << 20);
        let message = format!("a slice up to {end} is outside of {}", self.show(&base.ty));
        self.error("E0222", message, span, format!("there are at most {most} bytes"))
    }

    pub(super) fn array(&mut self, values: &[ast::Expr], hint: Option<&Type>, span: Span) -> Res<Expr> {
        if values.is_empty() {
            return Err(self.error(
                "E0225",
                "an array has at least one element",
                span,
                "there is none",
            ));
        }
        let (elem, ready) = match expected_element(hint) {
            Some(elem) => (elem, None),
            None => {
                let leader = values.iter().position(|v| !needs_hint(v)).unwrap_or(0);
                let checked = self.expr(&values[leader], None)?;
                self.storable(&checked)?;
                (checked.ty.clone(), Some((leader, checked)))
            }
        };
        let (leader, mut ready) = ready.map_or((usize::MAX, None), |(at, e)| (at, Some(e)));
        let mut elements = Vec::with_capacity(values.len());
        let mut failed = false;
        for (at, v) in values.iter().enumerate() {
            let taken = if at == leader { ready.take() } else { None };
            match taken.map_or_else(|| self.expr_as(v, &elem), Ok) {
                Ok(v) => elements.push(v),
                Err(_) => failed = true,
            }
        }
        if failed {
            return Err(Reported);
        }
        let ty = self.sized(Type::Array(Arc::new(elem), values.len() as u32), span)?;
        Ok(typed(ExprKind::Array(elements), ty, span))
    }

    /// A value that can be an element or variable: not nothing, not a view, not missing.
    pub(crate) fn storable(&mut self, expr: &Expr) -> Res<()> {
        match &expr.ty {
            Type::Unit => Err(self.no_value(expr.span)),
            Type::BytesView => Err(self.error_help(
                "E0219",
                "a view of bytes of any length can't be kept",
                expr.span,
                "how long it may be is not known",
                "give it a size with `as bytes<N>`; it traps if the value is longer",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn repeat(
        &mut self,
        element: &ast::Expr,
        count: &ast::Expr,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        let elem_hint = expected_element(hint);
        let element = match &elem_hint {
            Some(elem) => self.expr_as(element, elem),
            None => self.expr(element, None),
        };
        let n = self.const_unsigned(count)?;
        let element = element?;
        self.storable(&element)?;
        if let Type::Option(_) = element.ty {
            return Err(self.error(
                "E0218",
                "elements of an array are always present",
                element.span,
                "may be `none`",
            ));
        }
        if n == 0 || n > crate::types::MAX_VALUE {
            let message = if n == 0 {
                "an array has at least one element"
            } else {
                "a value is at most 1 MiB"
            };
            return Err(self.error("E0216", message, count.span, format!("this is {n}")));
        }
        let ty = self.sized(Type::Array(Arc::new(element.ty.clone()), n as u32), span)?;
        Ok(typed(ExprKind::Repeat(Box::new(element), n as u32), ty, span))
    }

    pub(super) fn struct_literal(
        &mut self,
        path: &ast::Path,
        fields: &[(ast::Ident, ast::Expr)],
        span: Span,
    ) -> Res<Expr> {
        let item = self.resolve(&path.segments, "struct or header")?;
        let id = match self.entity(item) {
            Entity::Struct(id) => id,
            Entity::Pending => return Err(self.fail()),
            _ => return Err(self.wrong_kind(item, path.span, "a struct or header", None)),
        };
        let mut written: HashMap<u32, Span> = HashMap::new();
        let mut values = Vec::with_capacity(fields.len());
        let mut failed = false;
        for (name, v) in fields {
            match self.literal_field(id, name, v, &mut written) {
                Ok(field) => values.push(field),
                Err(_) => failed = true,
            }
        }
        let missing: Vec<String> = (self.w.strukt(id).fields.iter().enumerate())
            .filter(|(number, _)| !written.contains_key(&(*number as u32)))
            .map(|(_, field)| format!("`{}`", field.name))
            .collect();
        if !missing.is_empty() && !failed {
            let name = self.w.strukt(id).name.clone();
            let shown = missing.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
            let more = if missing.len() > 4 { ", …" } else { "" };
            let message = format!("`{name}` lacks {shown}{more}");
            return Err(self.error_help(
                "E0209",
                message,
                path.span,
                "every field must be given",
                format!("add {shown}{more}"),
            ));
        }
        if failed {
            return Err(Reported);
        }
        Ok(typed(ExprKind::Struct(id, values), Type::Struct(id), span))
    }

    fn literal_field(
        &mut self,
        id: StructId,
        name: &ast::Ident,
        v: &ast::Expr,
        written: &mut HashMap<u32, Span>,
    ) -> Res<(u32, Expr)> {
        let found = self.find_field(&Type::Struct(id), name, name.span);
        let Ok((number, ty)) = found else {
            let _ = self.expr(v, None);
            return Err(Reported);
        };
        if let Some(first) = written.insert(number, name.span) {
            let message = format!("field `{}` is given twice", name.text);
            return Err(self.push(
                Diagnostic::error("E0209", message, name.span, "given again here")
                    .with_label(first, "first given here")
                    .with_help("remove one of the two"),
            ));
        }
        let checked = self.expr(v, Some(&ty))?;
        match self.convert(checked, &ty) {
            Ok(checked) => Ok((number, checked)),
            Err(checked) => {
                let field = &self.w.strukt(id).fields[number as usize];
                let because = (field.span, format!("`{}` is declared here", field.name));
                Err(self.mismatch(&checked, &ty, Some(because)))
            }
        }
    }
}

/// The element type where an array is expected, or a `T?` of one.
fn expected_element(hint: Option<&Type>) -> Option<Type> {
    match hint? {
        Type::Array(elem, _) => Some((**elem).clone()),
        Type::Option(inner) => expected_element(Some(inner)),
        _ => None,
    }
}
