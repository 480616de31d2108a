//! Types.

use crate::ast::{TypeExpr, TypeExprKind};
use crate::grammar::Rule;

use super::{Builder, Inner, P};

impl Builder<'_> {
    pub(super) fn ty(&mut self, pair: P) -> TypeExpr {
        self.nested(|b| b.ty_inside(pair)).0
    }

    fn ty_inside(&mut self, pair: P) -> TypeExpr {
        let mut inner = Inner::of(pair);
        let first = inner.expect();
        let span = self.span(&first);
        let kind = match first.as_rule() {
            Rule::array_ty => {
                let mut parts = Inner::of(first);
                let element = self.ty(parts.expect());
                TypeExprKind::Array(Box::new(element), Box::new(self.expr(parts.expect())))
            }
            Rule::bytes_ty => match Inner::of(first).next() {
                Some(size) => TypeExprKind::Bytes(Box::new(self.expr(size))),
                None => TypeExprKind::BytesView,
            },
            _ => TypeExprKind::Path(self.path(first)),
        };
        let mut ty = TypeExpr { kind, span };
        for (i, question) in inner.enumerate() {
            let span = ty.span.to(self.span(&question));
            // `T??` is an error that the checker reports; deeper than that says nothing more.
            if i < 2 {
                ty = TypeExpr {
                    kind: TypeExprKind::Option(Box::new(ty)),
                    span,
                };
            } else {
                ty.span = span;
            }
        }
        ty
    }
}
