//! Types as written, their sizes, and which may stand where.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{IntType, Type, Value};
use lambdac_syntax::ast::{self, TypeExprKind as T};

use crate::names::Entity;
use crate::{Checker, Res};

/// The most bytes of a value.
pub(crate) const MAX_VALUE: u64 = 1 << 20;

/// What is often asked of a struct, worked out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StructFacts {
    /// Bytes that a value takes.
    pub(crate) size: u64,
    /// Whether it is made of integers, bools, enums, structs and arrays only.
    pub(crate) plain: bool,
    /// Whether it may be a key.
    pub(crate) key: bool,
    /// Structs inside each other, itself included.
    pub(crate) depth: u32,
}

/// Where a type stands, as far as it matters to which types may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypePlace {
    /// Everywhere else: no `T?`, no plain `bytes`.
    Value,
    /// A variable or a return type: `T?` too.
    Local,
    /// A fn's parameter: `T?` and plain `bytes` too.
    Param,
}

impl Checker<'_> {
    /// The type that is written.
    pub(crate) fn ty(&mut self, ty: &ast::TypeExpr, place: TypePlace) -> Res<Type> {
        match &ty.kind {
            T::Path(path) => self.path_type(path),
            T::Array(elem, len) => {
                let elem = self.ty(elem, TypePlace::Value)?;
                let len = self.length(len, "an array", 1)?;
                self.sized(Type::Array(Arc::new(elem), len), ty.span)
            }
            T::Bytes(size) => {
                let size = self.length(size, "a byte string", 0)?;
                self.sized(Type::Bytes(size), ty.span)
            }
            T::BytesView if place == TypePlace::Param => Ok(Type::BytesView),
            T::BytesView => Err(self.error_help(
                "E0219",
                "plain `bytes` can only be a fn's parameter",
                ty.span,
                "this needs a size",
                "write `bytes<N>` with the most bytes it may hold",
            )),
            T::Option(inner) => self.option_type(inner, place, ty.span),
        }
    }

    fn option_type(&mut self, inner: &ast::TypeExpr, place: TypePlace, span: Span) -> Res<Type> {
        if matches!(inner.kind, T::Option(_)) {
            return Err(self.error(
                "E0218",
                "a value that may be missing can't itself be missing",
                span,
                "`?` stands twice here",
            ));
        }
        if place == TypePlace::Value {
            return Err(self.error_help(
                "E0218",
                "`T?` is for local variables, parameters and returns only",
                span,
                "a value here is always present",
                "keep a bool beside the value, or a value that means none",
            ));
        }
        let inner = self.ty(inner, TypePlace::Value)?;
        Ok(Type::Option(Arc::new(inner)))
    }

    fn path_type(&mut self, path: &ast::Path) -> Res<Type> {
        if let [name] = &path.segments[..]
            && self.find_item(self.module, &path.segments).is_none()
            && let Some(builtin) = self.builtin_type(name)
        {
            return builtin;
        }
        let id = self.resolve(&path.segments, "type")?;
        match self.entity(id) {
            Entity::Enum(id) => Ok(Type::Enum(id)),
            Entity::Struct(id) => Ok(Type::Struct(id)),
            Entity::Pending if is_type(self.names.items[id.0 as usize].ast) => Err(self.fail()),
            _ => Err(self.wrong_kind(id, path.span, "a type", None)),
        }
    }

    fn builtin_type(&mut self, name: &ast::Ident) -> Option<Res<Type>> {
        if &*name.text == "bool" {
            return Some(Ok(Type::Bool));
        }
        let (sign, digits) = name.text.split_at_checked(1)?;
        if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u32 = digits.parse().ok()?;
        match sign {
            "u" if (1..=64).contains(&bits) && !digits.starts_with('0') => {
                Some(Ok(Type::Int(IntType::unsigned(bits as u8))))
            }
            "i" if matches!(digits, "8" | "16" | "32" | "64") => Some(Ok(Type::Int(IntType {
                bits: bits as u8,
                signed: true,
            }))),
            "u" | "i" => Some(Err(self.error_help(
                "E0217",
                format!("there is no integer type `{}`", name.text),
                name.span,
                "no such width",
                "unsigned types are u1 to u64, signed ones i8, i16, i32 and i64",
            ))),
            _ => None,
        }
    }

    /// A constant length.
    fn length(&mut self, expr: &ast::Expr, of: &str, least: u64) -> Res<u32> {
        let length = self.const_unsigned(expr)?;
        if length < least || length > MAX_VALUE {
            let message = if length < least {
                format!("{of} has at least {least} element")
            } else {
                format!("{of} of {length} elements is larger than 1 MiB")
            };
            return Err(self.error("E0216", message, expr.span, format!("this is {length}")));
        }
        Ok(length as u32)
    }

    /// A type if its values are not too large.
    pub(crate) fn sized(&mut self, ty: Type, span: Span) -> Res<Type> {
        let size = self.size(&ty);
        if size > MAX_VALUE {
            let message = format!("a value of {size} bytes is larger than 1 MiB");
            return Err(self.error_help(
                "E0216",
                message,
                span,
                format!("`{}` is too large", self.show(&ty)),
                "keep it in parts",
            ));
        }
        Ok(ty)
    }

    /// Bytes that a value takes, each scalar in whole bytes.
    pub(crate) fn size(&self, ty: &Type) -> u64 {
        match ty {
            Type::Bool => 1,
            Type::Int(int) => u64::from(int.bits).div_ceil(8),
            Type::Enum(id) => u64::from(self.w.enumeration(*id).repr.bits).div_ceil(8),
            Type::Array(elem, n) => self.size(elem).saturating_mul(u64::from(*n)),
            Type::Bytes(n) => u64::from((*n).max(1)),
            Type::Struct(id) => self.struct_facts[id.0 as usize].size,
            Type::Option(inner) => self.size(inner),
            Type::BytesView | Type::Unit | Type::Never => 0,
        }
    }

    /// Whether a type is made of integers, bools, enums, structs and arrays only.
    pub(crate) fn is_plain(&self, ty: &Type) -> bool {
        match ty {
            Type::Bool | Type::Int(_) | Type::Enum(_) => true,
            Type::Array(elem, _) => self.is_plain(elem),
            Type::Struct(id) => self.struct_facts[id.0 as usize].plain,
            _ => false,
        }
    }

    /// Whether values of a type may be keys: integers, byte arrays, structs of them.
    pub(crate) fn is_key(&self, ty: &Type) -> bool {
        match ty {
            Type::Int(_) | Type::Enum(_) => true,
            Type::Array(elem, _) => **elem == Type::U8,
            Type::Struct(id) => self.struct_facts[id.0 as usize].key,
            _ => false,
        }
    }

    /// The integer type that a scalar is held as, where it is an integer or enum.
    pub(crate) fn as_int(&self, ty: &Type) -> Option<IntType> {
        match ty {
            Type::Int(int) => Some(*int),
            Type::Enum(id) => Some(self.w.enumeration(*id).repr),
            _ => None,
        }
    }

    /// The all-zeros value of a type; one for all that need it.
    pub(crate) fn zero_value(&mut self, ty: &Type, span: Span) -> Res<Arc<Value>> {
        if let Some(zero) = self.zeros.get(ty) {
            return Ok(zero.clone());
        }
        self.count_parts(self.size(ty), span)?;
        let zero = Arc::new(self.w.zero(ty));
        self.zeros.insert(ty.clone(), zero.clone());
        Ok(zero)
    }
}

fn is_type(item: &ast::Item) -> bool {
    use ast::ItemKind as K;
    matches!(item.kind, K::Enum { .. } | K::Struct { .. } | K::Header { .. })
}
