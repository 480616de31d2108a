//! Calls of fns and of what is built in.

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{Builtin, Expr, ExprKind, IntType, Type};
use lambdac_syntax::ast;

use super::{needs_hint, typed};
use crate::body::BodyKind;
use crate::names::{Entity, ItemId};
use crate::{Checker, Reported, Res};

/// Built-in functions that are called by a single name.
const BUILTINS: [&str; 7] = ["bytes", "log", "max", "min", "now", "pad", "random"];

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        path: &ast::Path,
        args: &[ast::Expr],
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        if let Some(id) = self.find_item(self.module, &path.segments) {
            return self.call_fn(id, path, args, span);
        }
        match &path.segments[..] {
            [name] if BUILTINS.contains(&&*name.text) => self.builtin(name, args, hint, span),
            [module, name] if &*module.text == "hash" && !self.uses("hash") => self.hash(name, args, span),
            [name] => Err(self.unknown_name(name, "fn", &BUILTINS)),
            _ => {
                self.resolve(&path.segments, "fn")?;
                Err(self.fail())
            }
        }
    }

    fn uses(&self, library: &str) -> bool {
        self.names.modules[self.module.0 as usize]
            .uses
            .contains_key(library)
    }

    fn call_fn(&mut self, id: ItemId, path: &ast::Path, args: &[ast::Expr], span: Span) -> Res<Expr> {
        let item = self.names.items[id.0 as usize];
        if !matches!(item.ast.kind, ast::ItemKind::Fn { .. }) {
            let help = match &item.ast.kind {
                ast::ItemKind::Lambda { .. } => {
                    Some("share code in a fn; a lambda is started by a request".into())
                }
                _ => None,
            };
            return Err(self.wrong_kind(id, path.span, "a fn", help));
        }
        if self.body.kind == BodyKind::Constant {
            return Err(self.error(
                "E0212",
                "a fn's result is not known before the program runs",
                span,
                "a constant is wanted here",
            ));
        }
        let Entity::Fn(callee) = self.entity(id) else {
            args.iter().for_each(|arg| drop(self.expr(arg, None)));
            return Err(self.fail());
        };
        let signature = self.fn_signatures[callee.index()].clone();
        if args.len() != signature.params.len() {
            return Err(self.argument_count(
                &item.name.text,
                signature.params.len(),
                args,
                span,
                Some(item.name.span),
            ));
        }
        let mut checked = Vec::with_capacity(args.len());
        let mut failed = false;
        for (arg, (want, declared)) in args.iter().zip(&signature.params) {
            match self.argument(arg, want, *declared) {
                Ok(arg) => checked.push(arg),
                Err(_) => failed = true,
            }
        }
        if failed {
            return Err(Reported);
        }
        self.inherit_effects(&signature, span)?;
        Ok(typed(ExprKind::Call(callee, checked), signature.ret, span))
    }

    fn argument(&mut self, arg: &ast::Expr, want: &Type, declared: Span) -> Res<Expr> {
        let checked = self.expr(arg, Some(want))?;
        match self.convert(checked, want) {
            Ok(checked) => Ok(checked),
            Err(checked) => Err(self.mismatch(
                &checked,
                want,
                Some((declared, "the parameter is declared here".into())),
            )),
        }
    }

    fn inherit_effects(&mut self, callee: &crate::fns::FnSignature, span: Span) -> Res<()> {
        let (state, outside) = (callee.effects.state, callee.effects.outside);
        if self.body.kind == BodyKind::Condition
            && let Some(at) = state.or(outside)
        {
            let what = if state.is_some() {
                "state"
            } else {
                "the clock, dice or the log"
            };
            return Err(self.push(
                Diagnostic::error(
                    "E0312",
                    "a condition of the match can only call pure fns",
                    span,
                    format!("this fn uses {what}"),
                )
                .with_label(at, "used here")
                .with_help("decide in the lambda instead"),
            ));
        }
        if state.is_some() {
            self.body.effects.state.get_or_insert(span);
        }
        if outside.is_some() {
            self.body.effects.outside.get_or_insert(span);
        }
        Ok(())
    }

    /// Reports a wrong number of arguments.
    pub(crate) fn argument_count(
        &mut self,
        name: &str,
        wanted: usize,
        args: &[ast::Expr],
        span: Span,
        declared: Option<Span>,
    ) -> Reported {
        let plural = if wanted == 1 { "" } else { "s" };
        let message = format!("`{name}` takes {wanted} argument{plural}, not {}", args.len());
        let mut diagnostic = Diagnostic::error("E0211", message, span, format!("{} given", args.len()));
        if let Some(declared) = declared {
            diagnostic = diagnostic.with_label(declared, "declared here");
        }
        self.push(diagnostic)
    }

    fn builtin(
        &mut self,
        name: &ast::Ident,
        args: &[ast::Expr],
        hint: Option<&Type>,
        span: Span,
    ) -> Res<Expr> {
        let wanted = match &*name.text {
            "now" | "random" => 0,
            "min" | "max" => 2,
            "log" => {
                return Err(self.error_help(
                    "E0226",
                    "`log` gives no value",
                    span,
                    "it stands only as a statement",
                    "write `log(b\"text\", x);` on a line of its own",
                ));
            }
            _ => 1,
        };
        if args.len() != wanted {
            return Err(self.argument_count(&name.text, wanted, args, span, None));
        }
        match (&*name.text, args) {
            ("now", _) => self.outside(Builtin::Now, Type::U64, span),
            ("random", _) => self.outside(Builtin::Random, Type::U32, span),
            ("pad", [arg]) => self.pad(arg, hint, span),
            ("bytes", [arg]) => self.bytes_of_array(arg, span),
            (name, [a, b]) => self.min_max(name == "min", [a, b], hint, span),
            _ => Err(self.fail()),
        }
    }

    fn outside(&mut self, builtin: Builtin, ty: Type, span: Span) -> Res<Expr> {
        self.touch_outside(span)?;
        Ok(typed(ExprKind::Builtin(builtin, Vec::new()), ty, span))
    }

    /// Notes that the body uses the clock, dice or the log; a condition of the match may not.
    pub(crate) fn touch_outside(&mut self, span: Span) -> Res<()> {
        self.body.effects.outside.get_or_insert(span);
        if self.body.kind == BodyKind::Condition {
            return Err(self.error_help(
                "E0312",
                "a condition of the match goes over the request, `pkt` and constants only",
                span,
                "neither the clock nor dice can stand here",
                "decide in the lambda instead",
            ));
        }
        Ok(())
    }

    fn pad(&mut self, arg: &ast::Expr, hint: Option<&Type>, span: Span) -> Res<Expr> {
        let arg = self.expr(arg, None)?;
        if !matches!(arg.ty, Type::Bytes(_) | Type::BytesView) {
            return Err(self.wrong_argument("pad", "a byte string", &arg));
        }
        let hint = match hint {
            Some(Type::Option(inner)) => Some(&**inner),
            other => other,
        };
        match hint {
            Some(ty @ Type::Array(elem, _)) if **elem == Type::U8 => Ok(typed(
                ExprKind::Builtin(Builtin::Pad, vec![arg]),
                ty.clone(),
                span,
            )),
            Some(other) => {
                let wanted = self.show(other);
                Err(self.error(
                    "E0204",
                    format!("expected {wanted}, found a byte array"),
                    span,
                    "`pad` makes a `[u8; N]`",
                ))
            }
            None => Err(self.error_help(
                "E0225",
                "nothing says how long this padded array is",
                span,
                "its length is not known",
                "give the variable a type: `let key: [u8; 16] = pad(…);`",
            )),
        }
    }

    fn bytes_of_array(&mut self, arg: &ast::Expr, span: Span) -> Res<Expr> {
        let arg = self.expr(arg, None)?;
        match &arg.ty {
            Type::Array(elem, n) if **elem == Type::U8 => {
                let ty = Type::Bytes(*n);
                Ok(typed(ExprKind::Builtin(Builtin::ToBytes, vec![arg]), ty, span))
            }
            _ => Err(self.wrong_argument("bytes", "a byte array", &arg)),
        }
    }

    fn min_max(&mut self, min: bool, [a, b]: [&ast::Expr; 2], hint: Option<&Type>, span: Span) -> Res<Expr> {
        let hint = if needs_hint(a) && needs_hint(b) {
            hint
        } else {
            None
        };
        let name = if min { "min" } else { "max" };
        let (x, y) = self.operands(a, b, hint)?;
        let (x, y) = (self.decay(x), self.decay(y));
        for operand in [&x, &y] {
            if !matches!(operand.ty, Type::Int(_)) {
                return Err(self.wrong_argument(name, "integers", operand));
            }
        }
        if x.ty != y.ty {
            return Err(self.sides_differ(name, &x, &y, span));
        }
        let ty = x.ty.clone();
        let builtin = if min { Builtin::Min } else { Builtin::Max };
        Ok(typed(ExprKind::Builtin(builtin, vec![x, y]), ty, span))
    }

    fn hash(&mut self, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Res<Expr> {
        let (builtin, bits) = match &*name.text {
            "crc32" => (Builtin::Crc32, 32),
            "crc16" => (Builtin::Crc16, 16),
            _ => {
                let message = format!("there is no hash `{}`", name.text);
                return Err(self.error_help(
                    "E0201",
                    message,
                    name.span,
                    "not found",
                    "there are `hash::crc32` and `hash::crc16`",
                ));
            }
        };
        let [arg] = args else {
            return Err(self.argument_count(&name.text, 1, args, span, None));
        };
        let arg = self.expr(arg, None)?;
        let arg = self.decay(arg);
        let good = match &arg.ty {
            Type::Bytes(_) | Type::BytesView => true,
            Type::Array(elem, _) => **elem == Type::U8,
            Type::Int(int) => int.bits.is_multiple_of(8),
            _ => false,
        };
        if !good {
            return Err(self.wrong_argument(
                &name.text,
                "bytes, a byte array or an integer of whole bytes",
                &arg,
            ));
        }
        let ty = Type::Int(IntType::unsigned(bits));
        Ok(typed(ExprKind::Builtin(builtin, vec![arg]), ty, span))
    }

    /// Reports an argument of a type that a built-in function does not take.
    pub(crate) fn wrong_argument(&mut self, name: &str, wanted: &str, arg: &Expr) -> Reported {
        if arg.ty == Type::Unit {
            return self.no_value(arg.span);
        }
        let found = self.show(&arg.ty);
        let help = matches!(arg.ty, Type::Option(_))
            .then(|| "open it with `let v = … else { … };` or `if let v = … { }`".to_string());
        let message = format!("`{name}` takes {wanted}, not {found}");
        self.error_maybe_help("E0204", message, arg.span, format!("this is {found}"), help)
    }

    /// `log(b"text", x, …)` as a statement; `None` if the call is another's.
    pub(crate) fn log_call<'e>(&self, expr: &'e ast::Expr) -> Option<&'e [ast::Expr]> {
        let ast::ExprKind::Call(path, args) = &expr.kind else {
            return None;
        };
        let [name] = &path.segments[..] else { return None };
        (&*name.text == "log" && self.find_item(self.module, &path.segments).is_none()).then_some(args)
    }

    /// The statement `log(…)`.
    pub(crate) fn log(&mut self, args: &[ast::Expr], span: Span) -> Res<lambdac_hir::StmtKind> {
        self.touch_outside(span)?;
        let Some((text, values)) = args.split_first() else {
            return Err(self.error_help(
                "E0211",
                "`log` takes a text and any number of values",
                span,
                "the text is missing",
                "write `log(b\"text\", x);`",
            ));
        };
        let text = self.const_expr(text, None).and_then(|(v, _)| match &*v {
            lambdac_hir::Value::Bytes(bytes) => Ok(bytes.clone().into()),
            _ => Err(self.error(
                "E0204",
                "`log` begins with a text",
                text.span,
                "a byte string is wanted here",
            )),
        });
        let mut checked = Vec::with_capacity(values.len());
        let mut failed = false;
        for arg in values {
            match self.expr(arg, None) {
                Ok(arg) if arg.ty.is_scalar() || matches!(arg.ty, Type::Bytes(_) | Type::BytesView) => {
                    checked.push(arg);
                }
                Ok(arg) => {
                    self.wrong_argument("log", "scalars and byte strings", &arg);
                    failed = true;
                }
                Err(_) => failed = true,
            }
        }
        let text = text?;
        if failed {
            Err(Reported)
        } else {
            Ok(lambdac_hir::StmtKind::Log { text, args: checked })
        }
    }
}
