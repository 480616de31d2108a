//! Fns.

use std::collections::HashMap;

use lambdac_diag::Span;
use lambdac_hir::{Block, Body, Fn, FnId, Type};
use lambdac_syntax::ast::{self, ItemKind as K};

use crate::body::{BodyCx, BodyKind, Effects};
use crate::names::{Entity, ItemId};
use crate::stmts::Tail;
use crate::types::TypePlace;
use crate::{Checker, Reported, Res};

/// What callers need to know of a fn.
#[derive(Clone, Debug)]
pub(crate) struct FnSignature {
    /// Types of the parameters and where they are declared.
    pub(crate) params: Vec<(Type, Span)>,
    /// What it returns.
    pub(crate) ret: Type,
    /// What it does besides computing, itself or by calls.
    pub(crate) effects: Effects,
}

impl Checker<'_> {
    /// Checks a fn; other items are passed over. Its callees have been checked before.
    pub(crate) fn check_fn(&mut self, id: ItemId) {
        let item = self.names.items[id.0 as usize];
        let K::Fn {
            params, ret, body, ..
        } = &item.ast.kind
        else {
            return;
        };
        self.module = item.module;
        let entity = self.function(id, params, ret.as_ref(), body);
        self.set_entity(id, entity);
    }

    fn function(
        &mut self,
        id: ItemId,
        params: &[ast::Field],
        ret: Option<&ast::TypeExpr>,
        body: &ast::Block,
    ) -> Res<Entity> {
        let item = self.names.items[id.0 as usize];
        self.body = BodyCx::constant();
        let ret_type = match ret {
            Some(ret) => self.ty(ret, TypePlace::Local),
            None => Ok(Type::Unit),
        };
        let param_types: Vec<_> = params.iter().map(|p| self.ty(&p.ty, TypePlace::Param)).collect();
        let known_ret = ret_type.clone().unwrap_or(Type::Never);
        self.body = BodyCx::new(BodyKind::Fn(known_ret.clone()));
        self.declare_params(params, &param_types);
        let block = self.fn_block(&item.name.text, &known_ret, ret, body);
        let params: Res<Vec<_>> = (params.iter().zip(param_types))
            .map(|(p, ty)| Ok((ty?, p.name.span)))
            .collect();
        let signature = FnSignature {
            params: params?,
            ret: ret_type?,
            effects: self.body.effects,
        };
        // A fn whose body is wrong can still be called: its signature is known.
        let block = block.unwrap_or(Block {
            stmts: Vec::new(),
            tail: None,
            ty: Type::Never,
        });
        let locals = std::mem::take(&mut self.body.locals);
        self.w.fns.push(Fn {
            name: self.qualified_name(id),
            params: signature.params.len() as u32,
            ret: signature.ret.clone(),
            body: Body { locals, block },
            inline: self.inline_of(item.ast),
            span: item.name.span,
        });
        self.fn_signatures.push(signature);
        Ok(Entity::Fn(FnId(self.w.fns.len() as u32 - 1)))
    }

    fn declare_params(&mut self, params: &[ast::Field], types: &[Res<Type>]) {
        let mut seen = HashMap::new();
        for (param, ty) in params.iter().zip(types) {
            if let Some(first) = seen.insert(param.name.text.clone(), param.name.span) {
                self.twice("parameter", &param.name, first);
            }
            match ty {
                Ok(ty) => drop(
                    self.body
                        .declare(&param.name.text, ty.clone(), false, param.name.span),
                ),
                Err(_) => self.body.declare_poisoned(&param.name.text),
            }
        }
    }

    fn fn_block(
        &mut self,
        name: &str,
        ret: &Type,
        written: Option<&ast::TypeExpr>,
        body: &ast::Block,
    ) -> Res<Block> {
        if *ret == Type::Unit {
            return self.block(body, Tail::Discard);
        }
        let block = self.block(body, Tail::Value(Some(ret)))?;
        if *ret == Type::Never {
            return Err(Reported);
        }
        match block.ty {
            Type::Never => Ok(block),
            Type::Unit => {
                let wanted = self.show(ret);
                let at = Span::new(body.span.file, body.span.end.saturating_sub(1), body.span.end);
                let mut diagnostic = lambdac_diag::Diagnostic::error(
                    "E0305",
                    format!("fn `{name}` does not return a value on every path"),
                    at,
                    "control can reach the end here",
                )
                .with_help("add a `return`");
                if let Some(written) = written {
                    diagnostic = diagnostic.with_label(written.span, format!("it returns {wanted}"));
                }
                Err(self.push(diagnostic))
            }
            _ => self.coerce_block(block, ret, body.span),
        }
    }
}
