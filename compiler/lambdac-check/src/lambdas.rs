//! Lambdas: their messages, bodies and names.

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{Block, Body, Lambda, LambdaId, Request, Type, message_size};
use lambdac_syntax::ast::{self, ItemKind as K};

use crate::body::{BodyCx, BodyKind};
use crate::names::{Entity, ItemId, ROOT};
use crate::stmts::Tail;
use crate::types::TypePlace;
use crate::{Checker, Reported, Res, suggest};

impl Checker<'_> {
    /// Checks a lambda's head and gives it its id; its body follows when all lambdas are known.
    pub(crate) fn declare_lambda(&mut self, id: ItemId) {
        let item = self.names.items[id.0 as usize];
        let K::Lambda {
            stream, param, ret, ..
        } = &item.ast.kind
        else {
            return;
        };
        self.body = BodyCx::constant();
        let request = match param {
            Some(param) => self.message_type(&param.ty, "request").map(Request::Typed),
            None => Ok(Request::Any),
        };
        let reply = self.message_type(ret, "reply");
        let attributes = self.lambda_attributes(item.ast);
        let entity = request.and_then(|request| {
            let lambda = Lambda {
                name: item.name.text.clone(),
                stream: *stream,
                request,
                reply: reply?,
                body: Body {
                    locals: Vec::new(),
                    block: Block {
                        stmts: Vec::new(),
                        tail: None,
                        ty: Type::Never,
                    },
                },
                deadline: attributes.0,
                on: attributes.1,
                span: item.name.span,
            };
            self.w.lambdas.push(lambda);
            Ok(Entity::Lambda(LambdaId(self.w.lambdas.len() as u32 - 1)))
        });
        self.set_entity(id, entity);
    }

    /// Checks a lambda's body.
    pub(crate) fn check_lambda(&mut self, id: ItemId) {
        let item = self.names.items[id.0 as usize];
        let K::Lambda {
            stream,
            name,
            param,
            body,
            ..
        } = &item.ast.kind
        else {
            return;
        };
        let Entity::Lambda(lambda) = item.entity else {
            // Its head is wrong, so what its body replies can't be judged.
            return;
        };
        let declared = &self.w.lambdas[lambda.index()];
        let (request, reply) = (declared.request.clone(), declared.reply.clone());
        self.body = BodyCx::new(BodyKind::Lambda {
            reply,
            stream: *stream,
        });
        if let (Some(param), Request::Typed(ty)) = (param, request) {
            self.body.declare(&param.name.text, ty, false, param.name.span);
        }
        if let Ok(block) = self.lambda_block(name, body) {
            let locals = std::mem::take(&mut self.body.locals);
            self.w.lambdas[lambda.index()].body = Body { locals, block };
        }
    }

    fn lambda_block(&mut self, name: &ast::Ident, body: &ast::Block) -> Res<Block> {
        let block = self.block(body, Tail::Discard)?;
        if block.ty == Type::Never {
            return Ok(block);
        }
        let at = Span::new(body.span.file, body.span.end.saturating_sub(1), body.span.end);
        let message = format!("lambda `{}` can end without an answer", name.text);
        let help = match &body.tail {
            Some(tail) => format!("write `reply {};`", self.map.slice(tail.span)),
            None => "end every path with `reply e;`, `drop;` or `punt;`".to_string(),
        };
        Err(self.error_help("E0301", message, at, "control can reach the end here", help))
    }

    /// The type of a request or reply.
    pub(crate) fn message_type(&mut self, ty: &ast::TypeExpr, what: &str) -> Res<Type> {
        let checked = self.ty(ty, TypePlace::Local)?;
        let fits = match &checked {
            Type::Bytes(_) => true,
            Type::Struct(id) => self.w.strukt(*id).is_header,
            Type::Array(elem, _) => matches!(**elem, Type::Int(_)),
            _ => false,
        };
        let found = self.show(&checked);
        if !fits {
            let help = match &checked {
                Type::Struct(_) => "declare it as a `header`, which has a layout on the wire",
                Type::Int(_) => "declare a header with one field, or an array of one element",
                _ => "a message is `bytes<N>`, a header, or an array of integers",
            };
            let message = format!("a {what} can't be {found}");
            return Err(self.error_help("E0308", message, ty.span, "not a type of messages", help));
        }
        match message_size(&self.w, &checked) {
            None => Err(self.error(
                "E0308",
                format!("a {what} of type {found} has no whole number of bytes"),
                ty.span,
                "its bits don't fill its last byte",
            )),
            Some(size) if u64::from(size.max) > crate::types::MAX_VALUE => Err(self.error(
                "E0308",
                format!("a {what} of up to {} bytes is larger than 1 MiB", size.max),
                ty.span,
                "a message is at most 1 MiB",
            )),
            Some(_) => Ok(checked),
        }
    }

    /// The lambda of a `punt name;`.
    pub(crate) fn punt_target(&mut self, name: &ast::Ident) -> Res<LambdaId> {
        match self.find_item(ROOT, std::slice::from_ref(name)) {
            Some(id) => match self.entity(id) {
                Entity::Lambda(lambda) => Ok(lambda),
                _ => Err(self.wrong_kind(id, name.span, "a lambda", None)),
            },
            None if self.silenced(&name.text) => Err(self.fail()),
            None => Err(self.unknown_lambda(name, "E0313", format!("there is no lambda `{}`", name.text))),
        }
    }

    /// Reports a name that is no lambda's.
    pub(crate) fn unknown_lambda(
        &mut self,
        name: &ast::Ident,
        code: &'static str,
        message: String,
    ) -> Reported {
        let most = self.most_candidates();
        let lambdas: Vec<String> = self
            .w
            .lambdas
            .iter()
            .take(most)
            .map(|l| l.name.to_string())
            .collect();
        let help = suggest::nearest(&name.text, lambdas.iter().map(String::as_str))
            .map(|near| format!("did you mean `{near}`?"));
        self.error_maybe_help(code, message, name.span, "not found", help)
    }

    /// A lambda may bear the workload's name only if it is the only one and nothing chooses among them.
    pub(crate) fn check_workload_name(&mut self, has_match: bool) {
        let root = self.names.modules[ROOT.0 as usize].file;
        let name = &root.name;
        let Some(id) = self.find_item(ROOT, std::slice::from_ref(name)) else {
            return;
        };
        let item = self.names.items[id.0 as usize];
        let K::Lambda { .. } = item.ast.kind else { return };
        let lambdas = root
            .items
            .iter()
            .filter(|item| matches!(item.kind, K::Lambda { .. }))
            .count();
        if lambdas == 1 && !has_match {
            return;
        }
        let why = if has_match {
            "there is a `match`"
        } else {
            "there are others"
        };
        self.push(
            Diagnostic::error(
                "E0309",
                format!("lambda `{}` can't bear the workload's name", name.text),
                item.name.span,
                format!("it may only as the one lambda, and {why}"),
            )
            .with_label(name.span, "the workload's name")
            .with_help("rename the lambda"),
        );
    }
}
