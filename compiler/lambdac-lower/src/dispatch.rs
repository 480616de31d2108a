//! The match stage: conditions over fields and constants stay declarative, the rest becomes functions.

use lambdac_hir::{self as hir, BinOp, Builtin, Expr, ExprKind, Type};
use lambdac_mir::{CmpOp, Cond, Dispatch, Field, Func, KeyField, LambdaId, Match, Rule, Target, Term};

use crate::body::{Binding, BodyCx};
use crate::facts::Facts;
use crate::message::RequestPath;
use crate::module::ModuleCx;
use crate::scalar::comparison;
use crate::source::Source;

/// Byte arrays up to this length are compared as integers of 8 bytes each; longer ones by a function.
const COMPARED_BYTES: usize = 64;

/// Lowers what picks a lambda.
pub(crate) fn lower_dispatch<'w>(cx: &mut ModuleCx<'w>, dispatch: &'w hir::Dispatch) -> Dispatch {
    match dispatch {
        hir::Dispatch::Only(id) => Dispatch::Only(LambdaId(id.0)),
        hir::Dispatch::Unreachable => Dispatch::Unreachable,
        hir::Dispatch::Match(item) => {
            let min_len = hir::message_size(cx.workload, &item.request).map_or(0, |size| size.min);
            let rules = item
                .rules
                .iter()
                .enumerate()
                .map(|(i, rule)| lower_rule(cx, item, i, rule))
                .collect();
            Dispatch::Match(Match { min_len, rules })
        }
    }
}

fn lower_rule<'w>(cx: &mut ModuleCx<'w>, item: &'w hir::Match, index: usize, rule: &'w hir::Rule) -> Rule {
    let cond = match &rule.cond {
        None => Cond::True,
        Some(cond) => RuleCx { cx, item, index }.cond(cond),
    };
    let target = match rule.target {
        hir::Target::Lambda(id) => Target::Lambda(LambdaId(id.0)),
        hir::Target::Drop => Target::Drop,
        hir::Target::Punt => Target::Punt,
    };
    Rule {
        cond,
        target,
        loc: cx.loc(rule.span),
    }
}

struct RuleCx<'m, 'w> {
    cx: &'m mut ModuleCx<'w>,
    item: &'w hir::Match,
    index: usize,
}

/// A part of the request at a constant position.
struct Position {
    bit: u32,
}

impl RuleCx<'_, '_> {
    fn cond(&mut self, expr: &Expr) -> Cond {
        match &expr.kind {
            ExprKind::LogicAnd(a, b) => {
                let mut all = Vec::new();
                for side in [self.cond(a), self.cond(b)] {
                    match side {
                        Cond::All(inner) => all.extend(inner),
                        other => all.push(other),
                    }
                }
                Cond::All(all)
            }
            ExprKind::LogicOr(a, b) => {
                let mut any = Vec::new();
                for side in [self.cond(a), self.cond(b)] {
                    match side {
                        Cond::Any(inner) => any.extend(inner),
                        other => any.push(other),
                    }
                }
                Cond::Any(any)
            }
            ExprKind::Unary(hir::UnOp::Not, inner) => Cond::Not(Box::new(self.cond(inner))),
            _ => self.declarative(expr).unwrap_or_else(|| self.eval(expr)),
        }
    }

    /// A condition over fields and constants.
    fn declarative(&self, expr: &Expr) -> Option<Cond> {
        match &expr.kind {
            ExprKind::Value(value) if value.as_bool() => Some(Cond::True),
            ExprKind::Value(_) => Some(Cond::Not(Box::new(Cond::True))),
            ExprKind::Binary(op, a, b) if a.ty.is_scalar() => self.compare(*op, a, b),
            ExprKind::Binary(op @ (BinOp::Eq | BinOp::Ne), a, b) => {
                let equal = self.equal_bytes(a, b).or_else(|| self.equal_bytes(b, a))?;
                Some(if *op == BinOp::Ne {
                    Cond::Not(Box::new(equal))
                } else {
                    equal
                })
            }
            ExprKind::InRange(value, lo, hi) => {
                let field = self.field(value)?;
                let (lo, hi) = (self.constant(lo)?, self.constant(hi)?);
                if !self.is_signed(&value.ty) {
                    return Some(Cond::Range { field, lo, hi });
                }
                let above = Cond::Cmp {
                    field,
                    op: CmpOp::Sle,
                    swapped: true,
                    value: lo,
                };
                let below = Cond::Cmp {
                    field,
                    op: CmpOp::Slt,
                    swapped: false,
                    value: hi,
                };
                Some(Cond::All(vec![above, below]))
            }
            ExprKind::InPrefix { value, addr, mask } => {
                let field = self.field(value)?;
                Some(Cond::Masked {
                    field,
                    mask: *mask,
                    value: addr & mask,
                })
            }
            ExprKind::TableHas(table, key) => {
                let mut parts = Vec::new();
                self.key(key, &mut parts)?;
                Some(Cond::Has {
                    table: self.cx.table_object(*table),
                    key: parts,
                })
            }
            _ if expr.ty == Type::Bool => {
                let field = self.field(expr)?;
                Some(Cond::Cmp {
                    field,
                    op: CmpOp::Eq,
                    swapped: false,
                    value: 1,
                })
            }
            _ => None,
        }
    }

    fn is_signed(&self, ty: &Type) -> bool {
        self.cx.workload.scalar_int(ty).is_some_and(|int| int.signed)
    }

    fn compare(&self, op: BinOp, a: &Expr, b: &Expr) -> Option<Cond> {
        if let Some(masked) = self.masked(op, a, b).or_else(|| self.masked(op, b, a)) {
            return Some(masked);
        }
        let (cmp, sides_change) = comparison(op, self.is_signed(&a.ty))?;
        match (self.field(a), self.constant(b)) {
            (Some(field), Some(value)) => Some(Cond::Cmp {
                field,
                op: cmp,
                swapped: sides_change,
                value,
            }),
            _ => {
                let (value, field) = (self.constant(a)?, self.field(b)?);
                Some(Cond::Cmp {
                    field,
                    op: cmp,
                    swapped: !sides_change && !is_symmetric(cmp),
                    value,
                })
            }
        }
    }

    /// `field & mask == value`
    fn masked(&self, op: BinOp, a: &Expr, b: &Expr) -> Option<Cond> {
        let ExprKind::Binary(BinOp::And, x, y) = &a.kind else {
            return None;
        };
        let value = self.constant(b)?;
        let (field, mask) = match (self.field(x), self.constant(y)) {
            (Some(field), Some(mask)) => (field, mask),
            _ => (self.field(y)?, self.constant(x)?),
        };
        let equal = Cond::Masked { field, mask, value };
        match op {
            BinOp::Eq => Some(equal),
            BinOp::Ne => Some(Cond::Not(Box::new(equal))),
            _ => None,
        }
    }

    /// A byte array of the request against a constant one.
    fn equal_bytes(&self, array: &Expr, constant: &Expr) -> Option<Cond> {
        let Type::Array(elem, _) = &array.ty else {
            return None;
        };
        let at = self.position(array)?;
        let folded = self.cx.folded(constant);
        let Some(hir::Value::Array(values)) = folded.as_ref().or_else(|| self.constant_value(constant))
        else {
            return None;
        };
        if self.cx.bits(elem) != 8 || values.len() > COMPARED_BYTES {
            return None;
        }
        let bytes: Vec<u64> = values.iter().map(hir::Value::as_int).collect();
        let words = bytes.chunks(8).enumerate().map(|(i, chunk)| {
            let field = Field::Bits {
                bit: at.bit + i as u32 * 64,
                width: chunk.len() as u8 * 8,
            };
            let value = chunk.iter().fold(0, |word, byte| word << 8 | byte);
            Cond::Cmp {
                field,
                op: CmpOp::Eq,
                swapped: false,
                value,
            }
        });
        Some(Cond::All(words.collect()))
    }

    fn key(&self, expr: &Expr, parts: &mut Vec<KeyField>) -> Option<()> {
        match (&expr.kind, &expr.ty) {
            (ExprKind::Struct(_, fields), _) => {
                let mut fields: Vec<&(u32, Expr)> = fields.iter().collect();
                fields.sort_by_key(|(field, _)| *field);
                fields
                    .into_iter()
                    .try_for_each(|(_, value)| self.key(value, parts))
            }
            (_, ty) if ty.is_scalar() => {
                let part = match self.constant(expr) {
                    Some(value) => KeyField::Const(value),
                    None => KeyField::Field(self.field(expr)?),
                };
                parts.push(part);
                Some(())
            }
            (_, Type::Array(elem, n)) => {
                let at = self.position(expr)?;
                let on_bytes = at.bit.is_multiple_of(8) && self.cx.bits(elem) == 8;
                on_bytes.then(|| {
                    parts.push(KeyField::Bytes {
                        offset: at.bit / 8,
                        len: *n,
                    })
                })
            }
            _ => None,
        }
    }

    /// An integer that the match stage reads.
    fn field(&self, expr: &Expr) -> Option<Field> {
        match &expr.kind {
            ExprKind::Pkt(field) => Some(Field::Pkt(crate::table::pkt_field(*field))),
            ExprKind::Builtin(Builtin::Len, args) => {
                let [of] = args.as_slice() else { return None };
                let Type::Bytes(max) = of.ty else { return None };
                let at = self.position(of)?;
                Some(Field::Rest {
                    offset: at.bit / 8,
                    max,
                })
            }
            _ if expr.ty.is_scalar() => {
                // A byte of the rest of the message may be missing.
                let at = self.position(expr)?;
                Some(Field::Bits {
                    bit: at.bit,
                    width: self.cx.width(&expr.ty),
                })
            }
            _ => None,
        }
    }

    /// Where a part of the request lies, if that is constant and every request has it.
    fn position(&self, expr: &Expr) -> Option<Position> {
        match &expr.kind {
            ExprKind::Local(local) if local.0 == 0 => Some(Position { bit: 0 }),
            ExprKind::Field(base, field) => {
                let base_at = self.position(base)?;
                Some(Position {
                    bit: base_at.bit + self.cx.field_bit(&base.ty, *field),
                })
            }
            ExprKind::Index(base, index) => {
                let Type::Array(elem, n) = &base.ty else {
                    return None;
                };
                let base_at = self.position(base)?;
                let index = self.constant(index)?;
                let within = index < u64::from(*n);
                within.then(|| Position {
                    bit: base_at.bit + index as u32 * self.cx.bits(elem),
                })
            }
            _ => None,
        }
    }

    fn constant(&self, expr: &Expr) -> Option<u64> {
        if !expr.ty.is_scalar() {
            return None;
        }
        self.constant_value(expr).map(hir::Value::as_int)
    }

    fn constant_value<'e>(&'e self, expr: &'e Expr) -> Option<&'e hir::Value> {
        match &expr.kind {
            ExprKind::Value(value) => Some(value),
            ExprKind::Const(id) => Some(&self.cx.workload.consts[id.index()].value),
            _ => None,
        }
    }

    /// A condition as a function that reads the request.
    fn eval(&mut self, expr: &Expr) -> Cond {
        let facts = Facts::of_expr(expr, self.cx.callees());
        let mut body = BodyCx::new(self.cx, &self.item.locals, facts);
        body.at(expr.span);
        body.prefix = true;
        if let Some(request) = body.bindings.first_mut() {
            *request = Some(Binding::Direct(Source::Request(RequestPath::WHOLE)));
        }
        let holds = body.scalar(expr);
        body.leave(Term::Return(vec![holds]));
        let (body, region) = body.finish();
        let name = format!("match{}", self.index).into();
        let func = Func {
            name,
            params: Vec::new(),
            results: vec![1],
            body,
            region,
            inline: true,
        };
        Cond::Eval(Box::new(func))
    }
}

fn is_symmetric(op: CmpOp) -> bool {
    matches!(op, CmpOp::Eq | CmpOp::Ne)
}
