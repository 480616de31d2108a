//! Literals and included files.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{Expr, ExprKind, IntType, Type, Value};
use lambdac_syntax::ast;

use super::{typed, value};
use crate::types::MAX_VALUE;
use crate::{Checker, Reported, Res};

/// The inside of a `T?` that is expected, for literals that become it by themselves.
fn inner(hint: Option<&Type>) -> Option<&Type> {
    match hint {
        Some(Type::Option(inner)) => Some(inner),
        other => other,
    }
}

impl Checker<'_> {
    /// An integer literal, with a `-` before it or not.
    pub(crate) fn int_literal(
        &mut self,
        number: u128,
        suffix: Option<&ast::Ident>,
        negative: bool,
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        let ty = match suffix {
            Some(suffix) => self.suffix_type(suffix)?,
            None => match inner(hint) {
                Some(ty @ (Type::Int(_) | Type::Enum(_))) => ty.clone(),
                _ => Type::U32,
            },
        };
        let int = self.as_int(&ty).unwrap_or(IntType::U32);
        let most = if int.signed { int.mask() >> 1 } else { int.mask() };
        let limit = match (negative, int.signed) {
            (false, _) => u128::from(most),
            (true, true) => u128::from(most) + 1,
            (true, false) => 0,
        };
        if number > limit {
            return Err(self.out_of_range(number, negative, &ty, int, span));
        }
        let bits = if negative {
            (number as u64).wrapping_neg()
        } else {
            number as u64
        };
        Ok(value(Value::Int(bits & int.mask()), ty, span))
    }

    fn suffix_type(&mut self, suffix: &ast::Ident) -> Res<Type> {
        let path = ast::Path {
            segments: vec![suffix.clone()],
            span: suffix.span,
        };
        let ty = ast::TypeExpr {
            kind: ast::TypeExprKind::Path(path),
            span: suffix.span,
        };
        let ty = self.ty(&ty, crate::types::TypePlace::Value)?;
        match ty {
            Type::Int(_) => Ok(ty),
            _ => Err(self.error(
                "E0205",
                format!("`{}` is no integer type", suffix.text),
                suffix.span,
                "a literal's suffix is an integer type",
            )),
        }
    }

    fn out_of_range(
        &mut self,
        number: u128,
        negative: bool,
        ty: &Type,
        int: IntType,
        span: Span,
    ) -> Reported {
        let sign = if negative { "-" } else { "" };
        let shown = self.show(ty);
        let least = if int.signed {
            format!("-{}", (int.mask() >> 1) as u128 + 1)
        } else {
            "0".into()
        };
        let most = if int.signed { int.mask() >> 1 } else { int.mask() };
        let help = match (negative, int.signed) {
            (true, false) => "unary `-` is for signed types: give it one, as in `-1i32`",
            _ => "use a wider type: a suffix such as `u64` gives a literal its type",
        };
        self.error_help(
            "E0205",
            format!("{sign}{number} is out of range for {shown}"),
            span,
            format!("{shown} goes from {least} to {most}"),
            help,
        )
    }

    /// A `b"…"`: as long as the text, or what is expected where that is longer.
    pub(crate) fn bytes_literal(&mut self, bytes: &Arc<[u8]>, hint: Option<&Type>, span: Span) -> Expr {
        let len = bytes.len() as u32;
        let ty = match inner(hint) {
            Some(Type::Bytes(n)) if *n >= len => Type::Bytes(*n),
            _ => Type::Bytes(len),
        };
        value(Value::Bytes(bytes.to_vec()), ty, span)
    }

    /// `none`
    pub(crate) fn none(&mut self, hint: Option<&Type>, span: Span) -> Res<Expr> {
        match hint {
            Some(ty @ Type::Option(_)) => Ok(typed(ExprKind::None, ty.clone(), span)),
            Some(other) => {
                let wanted = self.show(other);
                Err(self.error(
                    "E0204",
                    format!("expected {wanted}, found `none`"),
                    span,
                    "the value can't be missing here",
                ))
            }
            None => Err(self.error_help(
                "E0225",
                "nothing says what type this `none` has",
                span,
                "its type is not known",
                "give the variable a type: `let x: u32? = none;`",
            )),
        }
    }

    /// `include("file")`
    pub(crate) fn include(&mut self, path: &Arc<str>, span: Span) -> Res<Expr> {
        let key = (self.module, path.clone());
        let contents = match self.included.get(&key) {
            Some(known) => known.clone(),
            None => {
                let loaded = self.read_included(path, span);
                self.included.insert(key, loaded.clone());
                loaded
            }
        };
        let contents = contents.inspect_err(|_| self.failed = true)?;
        let len = match &*contents {
            Value::Bytes(bytes) => bytes.len() as u32,
            _ => 0,
        };
        Ok(typed(ExprKind::Value(contents), Type::Bytes(len), span))
    }

    fn read_included(&mut self, path: &str, span: Span) -> Res<Arc<Value>> {
        let forbidden = if path.is_empty() {
            Some("the path is empty")
        } else if path.starts_with(['/', '\\']) || path.contains(':') || path.contains('\\') {
            Some("the path must be relative, with `/` between its parts")
        } else if path.split('/').any(|part| part == "..") {
            Some("the path may not leave the source's folder by `..`")
        } else {
            None
        };
        if let Some(why) = forbidden {
            let message = format!("\"{}\" can't be included: {why}", path.escape_debug());
            return Err(self.error_help(
                "E0906",
                message,
                span,
                "not a path inside the source's folder",
                "put the file beside the source, or in a folder under it",
            ));
        }
        let file = self.names.modules[self.module.0 as usize].file.file;
        let from = self.map.name(file).clone();
        let bytes = match self.sources.include(&from, path) {
            Ok(bytes) => bytes,
            Err(why) => {
                let message = format!("\"{}\" can't be included: {why}", path.escape_debug());
                return Err(self.error("E0906", message, span, "included here"));
            }
        };
        if bytes.len() as u64 > MAX_VALUE {
            let message = format!(
                "\"{}\" can't be included: it is larger than 1 MiB",
                path.escape_debug()
            );
            return Err(self.error("E0906", message, span, format!("{} bytes", bytes.len())));
        }
        self.count_parts(bytes.len() as u64, span)?;
        Ok(Arc::new(Value::Bytes(bytes)))
    }
}
