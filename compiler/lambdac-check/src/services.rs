//! Services, `await` and `failed()`.

use std::net::SocketAddr;
use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{Expr, ExprKind, Protocol, Service, ServiceId, ServiceOp, Type};
use lambdac_syntax::ast::{self, ExprKind as E};

use crate::body::BodyKind;
use crate::expr::typed;
use crate::names::{Entity, ItemId};
use crate::{Checker, Reported, Res, suggest};

/// The most bytes of a value that memcached gives.
pub(crate) const MAX_ANSWER: u32 = 1024;

impl Checker<'_> {
    /// Checks a service.
    pub(crate) fn service(
        &mut self,
        id: ItemId,
        protocol: &ast::Ident,
        args: &[(Option<ast::Ident>, ast::Expr)],
    ) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        if &*protocol.text != "memcached" {
            let message = format!("there is no service protocol `{}`", protocol.text);
            let help = match suggest::nearest(&protocol.text, ["memcached"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there is `memcached`".into(),
            };
            return Err(self.error_help("E0601", message, protocol.span, "not known", help));
        }
        let (mut address, mut timeout) = (None, None);
        for (name, value) in args {
            match name.as_ref().map(|name| (&*name.text, name)) {
                None if address.is_none() => address = Some(self.service_address(value)?),
                Some(("timeout", _)) if timeout.is_none() => timeout = Some(self.service_timeout(value)?),
                None => {
                    return Err(self.error(
                        "E0601",
                        "a service has one address",
                        value.span,
                        "a second argument",
                    ));
                }
                Some((text, name)) => {
                    let message = if text == "timeout" {
                        "`timeout` is given twice".to_string()
                    } else {
                        format!("a service has no argument `{text}`")
                    };
                    return Err(self.error_help(
                        "E0601",
                        message,
                        name.span,
                        "not known",
                        "it has `timeout`",
                    ));
                }
            }
        }
        let what = if address.is_none() { "address" } else { "timeout" };
        let (Some(address), Some(timeout)) = (address, timeout) else {
            return Err(self.error_help(
                "E0601",
                format!("service `{}` lacks its {what}", item.name.text),
                item.name.span,
                "incomplete",
                "write `memcached(\"127.0.0.1:11211\", timeout = 5ms)`",
            ));
        };
        let (name, span) = (item.name.text.clone(), item.name.span);
        self.w.services.push(Service {
            name,
            protocol: Protocol::Memcached,
            address,
            timeout,
            span,
        });
        Ok(Entity::Service(ServiceId(self.w.services.len() as u32 - 1)))
    }

    fn service_address(&mut self, value: &ast::Expr) -> Res<Arc<str>> {
        let E::Str(text) = &value.kind else {
            return Err(self.error_help(
                "E0602",
                "a service's address is a text",
                value.span,
                "not a text",
                "write `\"127.0.0.1:11211\"`, without a `b`",
            ));
        };
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(text.clone()),
            _ => Err(self.error_help(
                "E0602",
                format!("\"{}\" is no address and port", text.escape_debug()),
                value.span,
                "an IP address, a colon and a port are wanted",
                "write `\"127.0.0.1:11211\"`; it can be overridden at deploy",
            )),
        }
    }

    fn service_timeout(&mut self, value: &ast::Expr) -> Res<u64> {
        let ns = self.const_as(value, &Type::U64)?.as_int();
        if ns == 0 {
            return Err(self.error_help(
                "E0601",
                "a timeout of 0 leaves no time to answer",
                value.span,
                "this is 0",
                "write a duration such as `5ms`",
            ));
        }
        Ok(ns)
    }

    /// Whether an await may stand here; reports where it may not.
    fn await_allowed(&mut self, span: Span) -> Res<()> {
        let (why, help) = match self.body.kind {
            BodyKind::Lambda { stream: false, .. } if self.body.loops == 0 => return Ok(()),
            BodyKind::Lambda { stream: false, .. } => ("this is a loop", "ask before or after the loop"),
            BodyKind::Lambda { .. } => ("this is a stream lambda", "make it a plain lambda"),
            BodyKind::Fn(_) => (
                "this is a fn",
                "ask in the lambda and pass the answer as an argument",
            ),
            _ => ("there is no lambda here", "ask in the lambda"),
        };
        Err(self.error_help("E0603", "`await` can't stand here", span, why, help))
    }

    /// Reports an await that is not the whole value of a `let … else` or `if let`.
    pub(crate) fn misplaced_await(&mut self, span: Span) -> Reported {
        match self.await_allowed(span) {
            Err(reported) => reported,
            Ok(()) => self.error_help(
                "E0603",
                "`await` stands only in `let v = await … else { … };` and `if let v = await … { }`",
                span,
                "not in another expression or statement",
                "give the answer a name first",
            ),
        }
    }

    /// `await service.op(args)`, where it is the whole value of a `let … else` or `if let`.
    pub(crate) fn await_expr(
        &mut self,
        service: &ast::Ident,
        op: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        self.await_allowed(span)?;
        let id = self.find_service(service)?;
        let op = self.service_op(op)?;
        let args = self.service_args(op, args, span)?;
        let answer = match op {
            ServiceOp::Get => Type::Bytes(MAX_ANSWER),
            ServiceOp::Set | ServiceOp::Delete => Type::Bool,
        };
        Ok(typed(
            ExprKind::Await(id, op, args),
            Type::Option(answer.into()),
            span,
        ))
    }

    /// The service of a name.
    pub(crate) fn find_service(&mut self, name: &ast::Ident) -> Res<ServiceId> {
        let id = self.resolve(std::slice::from_ref(name), "service")?;
        match self.entity(id) {
            Entity::Service(service) => Ok(service),
            _ => Err(self.wrong_kind(id, name.span, "a service", None)),
        }
    }

    /// An operation of memcached.
    pub(crate) fn service_op(&mut self, op: &ast::Ident) -> Res<ServiceOp> {
        match &*op.text {
            "get" => Ok(ServiceOp::Get),
            "set" => Ok(ServiceOp::Set),
            "delete" => Ok(ServiceOp::Delete),
            other => {
                let known = ["delete", "get", "set"];
                let help = match suggest::nearest(other, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "it has get, set and delete".into(),
                };
                let message = format!("memcached has no operation `{other}`");
                Err(self.error_help("E0605", message, op.span, "not known", help))
            }
        }
    }

    fn service_args(&mut self, op: ServiceOp, args: &[ast::Expr], span: Span) -> Res<Vec<Expr>> {
        let (name, wanted) = match op {
            ServiceOp::Get => ("get", 1),
            ServiceOp::Set => ("set", 2),
            ServiceOp::Delete => ("delete", 1),
        };
        if args.len() != wanted {
            return Err(self.argument_count(name, wanted, args, span, None));
        }
        let checked: Vec<_> = args.iter().map(|arg| self.byte_argument(name, arg)).collect();
        checked.into_iter().collect()
    }

    fn byte_argument(&mut self, name: &str, arg: &ast::Expr) -> Res<Expr> {
        let arg = self.expr(arg, None)?;
        match &arg.ty {
            Type::Bytes(_) => Ok(arg),
            Type::Array(elem, _) if **elem == Type::U8 => Err(self.mismatch(&arg, &Type::BytesView, None)),
            _ => Err(self.wrong_argument(name, "a byte string", &arg)),
        }
    }

    /// `service.failed()`; other operations need an `await`.
    pub(crate) fn service_method(
        &mut self,
        id: ServiceId,
        receiver: &ast::Expr,
        name: &ast::Ident,
        args: &[ast::Expr],
        span: Span,
    ) -> Res<Expr> {
        if &*name.text != "failed" {
            let service = self.map.slice(receiver.span).to_string();
            self.service_op(name)?;
            return Err(self.error_help(
                "E0605",
                format!(
                    "`{}` is an operation of another machine and needs an `await`",
                    name.text
                ),
                span,
                "its answer takes time",
                format!("write `let v = await {service}.{}(…) else {{ … }};`", name.text),
            ));
        }
        if !args.is_empty() {
            return Err(self.argument_count("failed", 0, args, span, None));
        }
        if !self.body.failed_in.contains(&id) {
            return Err(self.error_help(
                "E0604",
                "`failed()` stands only in the `else` of an await of its service",
                span,
                "no await of it has failed here",
                "move it into the `else` block of `let … = await …` or `if let … = await …`",
            ));
        }
        Ok(typed(ExprKind::Failed(id), Type::Bool, span))
    }
}
