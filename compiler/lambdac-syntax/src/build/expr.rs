//! Expressions: from the grammar's flat chains to trees by precedence.

use std::iter::Peekable;
use std::sync::Arc;

use lambdac_diag::{Diagnostic, Span};

use crate::ast::{BinOp, Expr, ExprKind, IfArm, IfCond, Path, UnOp};
use crate::grammar::Rule;
use crate::literal::{self, Number};

use super::{Builder, Inner, P, Tall};

type Chain<'i> = Peekable<Inner<'i>>;

/// Binding strength of binary operators; `as` binds tighter than all of them.
const OR: u8 = 1;
const AND: u8 = 2;
const COMPARE: u8 = 3;
const BITS: u8 = 4;

fn strength(op: BinOp) -> u8 {
    use BinOp as B;
    match op {
        B::LogicOr => OR,
        B::LogicAnd => AND,
        B::Eq | B::Ne | B::Lt | B::Le | B::Gt | B::Ge => COMPARE,
        B::Or => BITS,
        B::Xor => BITS + 1,
        B::And => BITS + 2,
        B::Shl | B::Shr => BITS + 3,
        B::Add | B::Sub => BITS + 4,
        B::Mul | B::Div | B::Rem => BITS + 5,
    }
}

/// The operator that `text` is, without a `=` of an assignment.
pub(super) fn binary_op(text: &str) -> Option<BinOp> {
    use BinOp as B;
    Some(match text {
        "+" => B::Add,
        "-" => B::Sub,
        "*" => B::Mul,
        "/" => B::Div,
        "%" => B::Rem,
        "&" => B::And,
        "|" => B::Or,
        "^" => B::Xor,
        "<<" => B::Shl,
        ">>" => B::Shr,
        "==" => B::Eq,
        "!=" => B::Ne,
        "<" => B::Lt,
        "<=" => B::Le,
        ">" => B::Gt,
        ">=" => B::Ge,
        "&&" => B::LogicAnd,
        "||" => B::LogicOr,
        _ => return None,
    })
}

impl Builder<'_> {
    /// A pair whose children are a chain: `expr`, `expr_h`, `operand`, `size`, `pat_value`.
    pub(super) fn expr(&mut self, pair: P) -> Expr {
        self.tall(pair).expr
    }

    fn tall(&mut self, pair: P) -> Tall {
        let outer = std::mem::take(&mut self.tallest);
        let mut chain = Inner::of(pair).peekable();
        let built = self.binary(&mut chain, OR);
        self.tallest = outer.max(built.height);
        built
    }

    /// Operators at least as strong as `least`. Recursion goes up in strength, so it is at most a few deep.
    fn binary(&mut self, chain: &mut Chain, least: u8) -> Tall {
        let mut left = self.cast(chain);
        let mut compared: Option<Span> = None;
        while let Some(next) = chain.peek() {
            // By the rule, not the text: behind the range of an `in` a minus may stand that is no operator of this chain.
            let op = match next.as_rule() {
                Rule::in_op => None,
                rule if is_operator(rule) => binary_op(next.as_str()),
                _ => break,
            };
            let strength = op.map_or(COMPARE, strength);
            if strength < least {
                break;
            }
            let op_span = self.span(next);
            if strength == COMPARE
                && let Some(first) = compared.replace(op_span)
            {
                self.chained(first, op_span);
            }
            chain.next();
            left = match op {
                Some(op) => {
                    let right = self.binary(chain, strength + 1);
                    let (span, height) = (
                        left.expr.span.to(right.expr.span),
                        left.height.max(right.height) + 1,
                    );
                    self.node(
                        ExprKind::Binary(op, left.expr.into(), right.expr.into()),
                        span,
                        height,
                    )
                }
                None => self.membership(left, chain),
            };
        }
        left
    }

    fn chained(&mut self, first: Span, second: Span) {
        let d = Diagnostic::error(
            "E0107",
            "comparisons do not chain",
            second,
            "a second comparison of the same level",
        )
        .with_label(first, "the first one")
        .with_help("join two comparisons with `&&`, or put one in parentheses");
        self.sink.push(d);
    }

    /// What follows `left in`: a range, or an address with its prefix length, which came as a division.
    fn membership(&mut self, left: Tall, chain: &mut Chain) -> Tall {
        let low = self.binary(chain, BITS);
        let height = left.height.max(low.height) + 1;
        // `..` says nothing elsewhere and is left out of the chain; what follows it is an operand and no operator.
        let high = match chain.peek().map(P::as_rule) {
            Some(rule) if !is_operator(rule) => Some(self.binary(chain, BITS)),
            _ => None,
        };
        let span = left.expr.span.to(high.as_ref().unwrap_or(&low).expr.span);
        let left = Box::new(left.expr);
        if let Some(high) = high {
            let kind = ExprKind::InRange(left, low.expr.into(), high.expr.into());
            return self.node(kind, span, height.max(high.height + 1));
        }
        let low_span = low.expr.span;
        match low.expr.kind {
            ExprKind::Binary(BinOp::Div, address, len) => {
                self.node(ExprKind::InPrefix(left, address, len), span, height)
            }
            ExprKind::Broken => Tall {
                expr: low.expr,
                height: 1,
            },
            _ => {
                let d = Diagnostic::error(
                    "E0101",
                    "expected a range or a prefix after `in`",
                    low_span,
                    "neither `a..b` nor `address/length`",
                );
                self.sink.push(d);
                Tall {
                    expr: Expr {
                        kind: ExprKind::Broken,
                        span,
                    },
                    height: 1,
                }
            }
        }
    }

    fn cast(&mut self, chain: &mut Chain) -> Tall {
        let mut value = self.unary(chain);
        while chain.next_if(|p| p.as_rule() == Rule::kw_as).is_some() {
            let Some(ty) = chain.next() else { break };
            let (ty, height) = self.nested(|b| b.ty(ty));
            let span = value.expr.span.to(ty.span);
            let height = height.max(value.height) + 1;
            value = self.node(ExprKind::Cast(value.expr.into(), ty), span, height);
        }
        value
    }

    fn unary(&mut self, chain: &mut Chain) -> Tall {
        let mut ops = Vec::new();
        while let Some(op) = chain.next_if(|p| p.as_rule() == Rule::unary_op) {
            ops.push((unary_op(op.as_str()), self.span(&op)));
        }
        let mut value = self.postfix(chain);
        while let Some((op, span)) = ops.pop() {
            let span = span.to(value.expr.span);
            value = self.node(ExprKind::Unary(op, value.expr.into()), span, value.height + 1);
        }
        value
    }

    fn postfix(&mut self, chain: &mut Chain) -> Tall {
        let first = chain.next().expect("the grammar guarantees an operand");
        let span = self.span(&first);
        let mut value = if first.as_rule() == Rule::paren {
            let mut inside = self.tall(Inner::of(first).expect());
            inside.expr.span = span;
            inside
        } else {
            let (kind, height) = self.nested(|b| b.primary(first));
            self.node(kind, span, height)
        };
        while let Some(next) = chain.next_if(|p| matches!(p.as_rule(), Rule::member | Rule::index)) {
            let span = value.expr.span.to(self.span(&next));
            let base = Box::new(value.expr);
            let (kind, height) = self.nested(|b| match next.as_rule() {
                Rule::member => b.member(base, next),
                _ => b.index(base, next),
            });
            value = self.node(kind, span, height.max(value.height + 1));
        }
        value
    }

    fn member(&mut self, base: Box<Expr>, pair: P) -> ExprKind {
        let mut inner = Inner::of(pair);
        let name = self.ident(&inner.expect());
        match inner.next() {
            Some(args) => ExprKind::Method(base, name, self.exprs(args)),
            None => ExprKind::Field(base, name),
        }
    }

    fn index(&mut self, base: Box<Expr>, pair: P) -> ExprKind {
        let mut inner = Inner::of(pair);
        let first = Box::new(self.expr(inner.expect()));
        match inner.next() {
            Some(to) => ExprKind::Slice(base, first, Box::new(self.expr(to))),
            None => ExprKind::Index(base, first),
        }
    }

    /// The expressions that are the children of `pair`.
    pub(super) fn exprs(&mut self, pair: P) -> Vec<Expr> {
        Inner::of(pair).map(|p| self.expr(p)).collect()
    }

    fn primary(&mut self, pair: P) -> ExprKind {
        match pair.as_rule() {
            Rule::num_lit => self.number(&pair),
            Rule::bytes_lit => ExprKind::Bytes(unescaped(&pair, 2).into()),
            Rule::byte_lit => literal::byte(inside(&pair, 2)).map_or(ExprKind::Broken, ExprKind::Byte),
            Rule::str_lit => ExprKind::Str(text(&pair)),
            Rule::bool_lit => ExprKind::Bool(pair.as_str() == "true"),
            Rule::array => self.array(pair),
            Rule::if_expr => self.if_expr(pair),
            Rule::include => ExprKind::Include(text(&Inner::of(pair).expect())),
            Rule::await_expr => {
                let mut inner = Inner::of(pair);
                let (service, op) = (self.ident(&inner.expect()), self.ident(&inner.expect()));
                ExprKind::Await {
                    service,
                    op,
                    args: self.exprs(inner.expect()),
                }
            }
            _ => self.named(pair),
        }
    }

    fn number(&self, pair: &P) -> ExprKind {
        let text = pair.as_str();
        match literal::number(text) {
            Ok(Number::Int(value, 0)) => ExprKind::Int(value, None),
            Ok(Number::Int(value, suffix)) => {
                let mut ident = self.ident(pair);
                ident.text = text[text.len() - suffix..].into();
                ident.span.start = ident.span.end - suffix as u32;
                ExprKind::Int(value, Some(ident))
            }
            Ok(Number::Duration(nanoseconds)) => ExprKind::Duration(nanoseconds),
            Ok(Number::Ip(address)) => ExprKind::Ip(address),
            // The lexical pass has reported it.
            Err(_) => ExprKind::Broken,
        }
    }

    fn array(&mut self, pair: P) -> ExprKind {
        let mut elements = Vec::new();
        for part in Inner::of(pair) {
            if part.as_rule() == Rule::array_count {
                let count = self.expr(Inner::of(part).expect());
                if let Some(value) = elements.pop() {
                    return ExprKind::Repeat(Box::new(value), Box::new(count));
                }
            } else {
                elements.push(self.expr(part));
            }
        }
        ExprKind::Array(elements)
    }

    /// A path, call or struct literal.
    fn named(&mut self, pair: P) -> ExprKind {
        let mut inner = Inner::of(pair);
        let path = self.path(inner.expect());
        match inner.next() {
            None if is_none(&path) => ExprKind::None,
            None => ExprKind::Path(path),
            Some(args) if args.as_rule() == Rule::args => ExprKind::Call(path, self.exprs(args)),
            Some(fields) => ExprKind::Struct(path, self.field_inits(fields)),
        }
    }

    /// `{ name: e, … }`
    pub(super) fn field_inits(&mut self, pair: P) -> Vec<(crate::ast::Ident, Expr)> {
        Inner::of(pair)
            .map(|field| {
                let mut inner = Inner::of(field);
                (self.ident(&inner.expect()), self.expr(inner.expect()))
            })
            .collect()
    }

    pub(super) fn if_expr(&mut self, pair: P) -> ExprKind {
        let mut inner = Inner::of(pair);
        let mut arms = vec![self.if_arm(&mut inner)];
        let mut last = None;
        for part in inner {
            let rule = part.as_rule();
            let mut inside = Inner::of(part);
            if rule == Rule::else_if {
                arms.push(self.if_arm(&mut inside));
            } else {
                last = Some(self.block(inside.expect()));
            }
        }
        ExprKind::If(arms, last)
    }

    fn if_arm(&mut self, inner: &mut Inner) -> IfArm {
        let cond = inner.expect();
        let cond = if cond.as_rule() == Rule::let_cond {
            let mut parts = Inner::of(cond);
            IfCond::Let(self.ident(&parts.expect()), self.expr(parts.expect()))
        } else {
            IfCond::Bool(self.expr(cond))
        };
        IfArm {
            cond,
            body: self.block(inner.expect()),
        }
    }
}

fn is_operator(rule: Rule) -> bool {
    use Rule as R;
    matches!(
        rule,
        R::binary_op | R::in_op | R::bits_op | R::pat_op | R::size_op
    )
}

fn is_none(path: &Path) -> bool {
    path.segments.len() == 1 && &*path.segments[0].text == "none"
}

fn unary_op(text: &str) -> UnOp {
    match text {
        "!" => UnOp::Not,
        "~" => UnOp::BitNot,
        _ => UnOp::Neg,
    }
}

/// A quoted literal without its quotes; the opening one ends `prefix` bytes in.
fn inside<'i>(pair: &P<'i>, prefix: usize) -> &'i str {
    let text = pair.as_str();
    text.get(prefix..text.len().saturating_sub(1)).unwrap_or_default()
}

/// The bytes of a quoted literal; the lexical pass has reported wrong escapes.
fn unescaped(pair: &P, prefix: usize) -> Vec<u8> {
    literal::unescape(inside(pair, prefix)).unwrap_or_default()
}

/// The text of a `"…"`.
pub(super) fn text(pair: &P) -> Arc<str> {
    String::from_utf8_lossy(&unescaped(pair, 1)).into()
}
