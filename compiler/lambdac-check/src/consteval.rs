//! Constant expressions: typed first like any other, then worked out here.
//!
//! [`Checker::evaluate`] follows the language's arithmetic (wrapping, division by zero, wide shifts) on the raw bits of
//! [`Value`]. What can't be known before a run is "not constant"; what would trap is an error of its own.
//!
//! All constants of a workload together hold at most [`MAX_PARTS`] parts, so that a short text such as
//! `[0; 1000000]`, repeated, can't ask for memory without end.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{BinOp, Builtin, Expr, ExprKind as E, IntType, Type, UnOp, Value, encode};
use lambdac_syntax::ast;

use crate::{Checker, Reported, Res};

/// The most parts (elements, fields, bytes of included files) of all constants of a workload.
const MAX_PARTS: u64 = 1 << 23;

/// Why an expression has no constant value.
#[derive(Debug)]
pub(crate) enum NotConstant {
    /// It is known only when the program runs; the text says what it is.
    RunTime(Span, &'static str),
    /// It would trap.
    Trap(Span, String),
    /// There are too many constants.
    TooMuch(Span),
}

type Eval = Result<Arc<Value>, NotConstant>;

impl Checker<'_> {
    /// The value and type of a constant expression.
    pub(crate) fn const_expr(&mut self, expr: &ast::Expr, hint: Option<&Type>) -> Res<(Arc<Value>, Type)> {
        let checked = self.expr(expr, hint)?;
        let value = self.fold(&checked)?;
        Ok((value, checked.ty))
    }

    /// The bytes of a checked constant of a message's type.
    pub(crate) fn encoded(&mut self, expr: &Expr) -> Res<Vec<u8>> {
        // One element stands for all, so that an image of zeros is never built of values.
        if let E::Repeat(element, n) = &expr.kind
            && let Some(int) = self.w.scalar_int(&element.ty)
            && int.bits.is_multiple_of(8)
        {
            let counted = self.count(self.size(&expr.ty), expr.span);
            counted.map_err(|why| self.report_not_constant(why))?;
            let value = self.fold(element)?;
            return Ok(encode(&self.w, &element.ty, &value).repeat(*n as usize));
        }
        let value = self.fold(expr)?;
        Ok(encode(&self.w, &expr.ty, &value))
    }

    /// The value of a constant expression of type `want`.
    pub(crate) fn const_as(&mut self, expr: &ast::Expr, want: &Type) -> Res<Arc<Value>> {
        let checked = self.expr_as(expr, want)?;
        self.fold(&checked)
    }

    /// The value of a constant expression of any unsigned type.
    pub(crate) fn const_unsigned(&mut self, expr: &ast::Expr) -> Res<u64> {
        let checked = self.expr(expr, Some(&Type::U64))?;
        let checked = self.unsigned(checked)?;
        Ok(self.fold(&checked)?.as_int())
    }

    /// The value of a checked expression; reports why there is none.
    pub(crate) fn fold(&mut self, expr: &Expr) -> Res<Arc<Value>> {
        self.evaluate(expr).map_err(|why| self.report_not_constant(why))
    }

    /// The integer that a checked expression always has, if it is constant.
    pub(crate) fn known_int(&self, expr: &Expr) -> Option<u64> {
        match *self.evaluate(expr).ok()? {
            Value::Int(v) => Some(v),
            _ => None,
        }
    }

    fn report_not_constant(&mut self, why: NotConstant) -> Reported {
        match why {
            NotConstant::RunTime(span, what) => self.error(
                "E0212",
                format!("{what} is not known before the program runs"),
                span,
                "a constant is wanted here",
            ),
            NotConstant::Trap(span, what) => self.error(
                "E0213",
                format!("this constant has no value: {what}"),
                span,
                "this would trap",
            ),
            NotConstant::TooMuch(span) => self.error(
                "E0216",
                "the constants of this workload are larger than 8 MiB together",
                span,
                "this is one too many",
            ),
        }
    }

    /// Counts parts of constants and reports when there are too many.
    pub(crate) fn count_parts(&mut self, parts: u64, span: Span) -> Res<()> {
        self.count(parts, span)
            .map_err(|why| self.report_not_constant(why))
    }

    fn count(&self, parts: u64, span: Span) -> Result<(), NotConstant> {
        let all = self.constant_parts.get().saturating_add(parts);
        self.constant_parts.set(all);
        if all > MAX_PARTS {
            Err(NotConstant::TooMuch(span))
        } else {
            Ok(())
        }
    }

    /// The value of a checked expression, without a report.
    pub(crate) fn evaluate(&self, expr: &Expr) -> Eval {
        let not = |what| Err(NotConstant::RunTime(expr.span, what));
        match &expr.kind {
            E::Value(value) => Ok(value.clone()),
            E::Const(id) => Ok(self.w.consts[id.index()].value.clone()),
            E::Field(base, field) => match &*self.evaluate(base)? {
                Value::Struct(fields) => Ok(Arc::new(fields[*field as usize].clone())),
                _ => not("this field"),
            },
            E::Index(base, index) => self.evaluate_index(base, index),
            E::Slice(base, from, to) => self.evaluate_slice(base, from, to, expr.span),
            E::Unary(op, operand) => {
                let value = self.evaluate(operand)?;
                Ok(Arc::new(match op {
                    UnOp::Not => Value::Bool(!value.as_bool()),
                    UnOp::BitNot => Value::Int(!value.as_int() & self.int_of(&expr.ty).mask()),
                    UnOp::Neg => Value::Int(value.as_int().wrapping_neg() & self.int_of(&expr.ty).mask()),
                }))
            }
            E::Binary(op, a, b) => self.evaluate_binary(*op, a, b),
            E::LogicAnd(a, b) => match self.evaluate(a)?.as_bool() {
                true => self.evaluate(b),
                false => Ok(Arc::new(Value::Bool(false))),
            },
            E::LogicOr(a, b) => match self.evaluate(a)?.as_bool() {
                true => Ok(Arc::new(Value::Bool(true))),
                false => self.evaluate(b),
            },
            E::InRange(value, from, to) => {
                let int = self.int_of(&value.ty);
                let [value, from, to] =
                    [value, from, to].map(|e| self.evaluate(e).map(|v| ordered(int, v.as_int())));
                let value = value?;
                Ok(Arc::new(Value::Bool(from? <= value && value < to?)))
            }
            E::InPrefix { value, addr, mask } => Ok(Arc::new(Value::Bool(
                self.evaluate(value)?.as_int() & mask == *addr,
            ))),
            E::Cast(operand) => self.evaluate_cast(operand, &expr.ty),
            E::Widen(operand) => self.evaluate(operand),
            E::Narrow(operand) => self.evaluate_narrow(operand, &expr.ty, expr.span),
            E::Array(values) => {
                self.count(values.len() as u64, expr.span)?;
                let values = values.iter().map(|v| Ok((*self.evaluate(v)?).clone()));
                Ok(Arc::new(Value::Array(values.collect::<Result<_, _>>()?)))
            }
            E::Repeat(value, n) => {
                self.count(self.size(&expr.ty), expr.span)?;
                Ok(Arc::new(Value::Array(vec![
                    (*self.evaluate(value)?).clone();
                    *n as usize
                ])))
            }
            E::Struct(_, fields) => {
                let mut values = vec![Value::Unit; fields.len()];
                for (number, value) in fields {
                    values[*number as usize] = (*self.evaluate(value)?).clone();
                }
                self.count(self.size(&expr.ty), expr.span)?;
                Ok(Arc::new(Value::Struct(values)))
            }
            E::Builtin(builtin, args) => self.evaluate_builtin(*builtin, args, expr),
            E::None => Ok(Arc::new(Value::None)),
            E::Some(inner) => Ok(Arc::new(Value::Some(self.evaluate(inner)?))),
            E::Local(_) => not("a variable"),
            E::Param(_) => not("a param"),
            E::Pkt(_) => not("`pkt`"),
            E::State(_) | E::Atomic(..) | E::CounterRead(..) | E::Keyed(..) => not("state"),
            E::TableGet(..) | E::TableHas(..) => not("a table's entry"),
            E::Call(..) => not("a fn's result"),
            E::Await(..) | E::Failed(_) => not("a service's answer"),
            E::If(..) | E::IfLet(..) => not("the value of an `if`"),
        }
    }

    fn int_of(&self, ty: &Type) -> IntType {
        self.w.scalar_int(ty).unwrap_or(IntType::U64)
    }

    fn evaluate_index(&self, base: &Expr, index: &Expr) -> Eval {
        let (base, at) = (self.evaluate(base)?, self.evaluate(index)?.as_int());
        let found = match &*base {
            Value::Array(values) => usize::try_from(at).ok().and_then(|at| values.get(at)).cloned(),
            Value::Bytes(bytes) => usize::try_from(at)
                .ok()
                .and_then(|at| bytes.get(at))
                .map(|&b| Value::Int(u64::from(b))),
            _ => None,
        };
        found
            .map(Arc::new)
            .ok_or_else(|| NotConstant::Trap(index.span, format!("there is no element {at}")))
    }

    fn evaluate_slice(&self, base: &Expr, from: &Expr, to: &Expr, span: Span) -> Eval {
        let base = self.evaluate(base)?;
        let bytes = byte_string(&base);
        let [from, to] = [self.evaluate(from)?.as_int(), self.evaluate(to)?.as_int()];
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        match range.and_then(|(from, to)| bytes.get(from..to)) {
            Some(part) => Ok(Arc::new(Value::Bytes(part.to_vec()))),
            None => {
                let why = format!("{from}..{to} is outside of {} bytes", bytes.len());
                Err(NotConstant::Trap(span, why))
            }
        }
    }

    fn evaluate_binary(&self, op: BinOp, a: &Expr, b: &Expr) -> Eval {
        let (x, y) = (self.evaluate(a)?, self.evaluate(b)?);
        match op {
            BinOp::Eq => return Ok(Arc::new(Value::Bool(x == y))),
            BinOp::Ne => return Ok(Arc::new(Value::Bool(x != y))),
            _ => {}
        }
        let int = self.int_of(&a.ty);
        Ok(Arc::new(binary(op, int, x.as_int(), y.as_int())))
    }

    fn evaluate_cast(&self, operand: &Expr, to: &Type) -> Eval {
        let value = self.evaluate(operand)?.as_int();
        let extended = match &operand.ty {
            Type::Int(int) => ordered(*int, value) as u64,
            _ => value,
        };
        Ok(Arc::new(Value::Int(extended & self.int_of(to).mask())))
    }

    fn evaluate_narrow(&self, operand: &Expr, to: &Type, span: Span) -> Eval {
        let value = self.evaluate(operand)?;
        match (&*value, to) {
            (Value::Bytes(bytes), Type::Bytes(n)) if bytes.len() as u64 > u64::from(*n) => Err(
                NotConstant::Trap(span, format!("{} bytes are too long for bytes<{n}>", bytes.len())),
            ),
            _ => Ok(value),
        }
    }

    fn evaluate_builtin(&self, builtin: Builtin, args: &[Expr], expr: &Expr) -> Eval {
        let value = match (builtin, args) {
            (
                Builtin::Len,
                [
                    Expr {
                        ty: Type::Array(_, n),
                        ..
                    },
                ],
            ) => Value::Int(u64::from(*n)),
            (Builtin::Len, [arg]) => Value::Int(byte_string(&*self.evaluate(arg)?).len() as u64),
            (Builtin::Pad, [arg]) => {
                let Type::Array(_, n) = expr.ty else {
                    return Ok(Arc::new(Value::Unit));
                };
                let mut bytes = byte_string(&*self.evaluate(arg)?).to_vec();
                if bytes.len() > n as usize {
                    let why = format!("{} bytes are too long for [u8; {n}]", bytes.len());
                    return Err(NotConstant::Trap(expr.span, why));
                }
                self.count(u64::from(n), expr.span)?;
                bytes.resize(n as usize, 0);
                Value::Array(bytes.into_iter().map(|b| Value::Int(u64::from(b))).collect())
            }
            (Builtin::ToBytes, [arg]) => Value::Bytes(byte_string(&*self.evaluate(arg)?).into_owned()),
            (Builtin::Min | Builtin::Max, [a, b]) => {
                let int = self.int_of(&a.ty);
                let (x, y) = (self.evaluate(a)?.as_int(), self.evaluate(b)?.as_int());
                let first_is_less = ordered(int, x) <= ordered(int, y);
                Value::Int(if first_is_less == (builtin == Builtin::Min) {
                    x
                } else {
                    y
                })
            }
            (Builtin::Crc32, [arg]) => Value::Int(u64::from(crc32(&self.wire_bytes(arg)?))),
            (Builtin::Crc16, [arg]) => Value::Int(u64::from(crc16(&self.wire_bytes(arg)?))),
            (Builtin::Now, _) => return Err(NotConstant::RunTime(expr.span, "the time")),
            _ => return Err(NotConstant::RunTime(expr.span, "a random number")),
        };
        Ok(Arc::new(value))
    }

    /// What a hash goes over: bytes as they are, integers big-endian.
    fn wire_bytes(&self, arg: &Expr) -> Result<Vec<u8>, NotConstant> {
        let value = self.evaluate(arg)?;
        Ok(match (&*value, self.as_int(&arg.ty)) {
            (Value::Int(v), Some(int)) => v.to_be_bytes()[8 - usize::from(int.bits) / 8..].to_vec(),
            _ => byte_string(&value).into_owned(),
        })
    }
}

/// The bytes of a byte string or byte array.
fn byte_string(value: &Value) -> std::borrow::Cow<'_, [u8]> {
    match value {
        Value::Bytes(bytes) => bytes.into(),
        Value::Array(values) => values.iter().map(|v| v.as_int() as u8).collect::<Vec<_>>().into(),
        _ => (&[][..]).into(),
    }
}

/// A value as its type orders it.
pub(crate) fn ordered(int: IntType, bits: u64) -> i128 {
    if int.signed && bits >> (int.bits - 1) & 1 == 1 {
        i128::from(bits) - (1i128 << int.bits)
    } else {
        i128::from(bits)
    }
}

/// Arithmetic, bits, shifts and order on two values of one integer type (a shift's right side may be another's).
fn binary(op: BinOp, int: IntType, a: u64, b: u64) -> Value {
    let (x, y) = (ordered(int, a), ordered(int, b));
    let bits = i128::from(int.bits);
    let result = match op {
        BinOp::Add => x + y,
        BinOp::Sub => x - y,
        BinOp::Mul => i128::from(a.wrapping_mul(b)),
        BinOp::Div => x.checked_div(y).unwrap_or(0),
        BinOp::Rem => x.checked_rem(y).unwrap_or(x),
        BinOp::And => x & y,
        BinOp::Or => x | y,
        BinOp::Xor => x ^ y,
        BinOp::Shl if i128::from(b) >= bits => 0,
        BinOp::Shl => x << b,
        BinOp::Shr => x >> i128::from(b).min(127),
        BinOp::Lt => return Value::Bool(x < y),
        BinOp::Le => return Value::Bool(x <= y),
        BinOp::Gt => return Value::Bool(x > y),
        BinOp::Ge => return Value::Bool(x >= y),
        BinOp::Eq => return Value::Bool(a == b),
        BinOp::Ne => return Value::Bool(a != b),
    };
    Value::Int(result as u64 & int.mask())
}

/// CRC-32 of IEEE 802.3 (reflected, check value 0xcbf43926).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// CRC-16/ARC (reflected, check value 0xbb3d).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xa001 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const U3: IntType = IntType::unsigned(3);
    const I8: IntType = IntType {
        bits: 8,
        signed: true,
    };

    #[test]
    fn hashes_have_their_check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc16(b"123456789"), 0xbb3d);
    }

    #[test]
    fn arithmetic_wraps_at_the_width_of_its_type() {
        assert_eq!(binary(BinOp::Add, U3, 7, 1), Value::Int(0));
        assert_eq!(binary(BinOp::Sub, U3, 0, 1), Value::Int(7));
        assert_eq!(
            binary(BinOp::Mul, IntType::U64, u64::MAX, u64::MAX),
            Value::Int(1)
        );
        assert_eq!(binary(BinOp::Mul, I8, 0xff, 0x02), Value::Int(0xfe));
    }

    #[test]
    fn division_follows_rfc_9669() {
        assert_eq!(binary(BinOp::Div, U3, 5, 0), Value::Int(0));
        assert_eq!(binary(BinOp::Rem, U3, 5, 0), Value::Int(5));
        assert_eq!(binary(BinOp::Div, I8, 0x80, 0xff), Value::Int(0x80));
        assert_eq!(binary(BinOp::Rem, I8, 0x80, 0xff), Value::Int(0));
        assert_eq!(binary(BinOp::Rem, I8, 0xf9, 2), Value::Int(0xff));
    }

    #[test]
    fn wide_shifts_leave_nothing_but_the_sign() {
        assert_eq!(binary(BinOp::Shl, U3, 1, 3), Value::Int(0));
        assert_eq!(binary(BinOp::Shl, IntType::U64, 1, u64::MAX), Value::Int(0));
        assert_eq!(binary(BinOp::Shr, IntType::U64, 1, u64::MAX), Value::Int(0));
        assert_eq!(binary(BinOp::Shr, I8, 0x80, 200), Value::Int(0xff));
        assert_eq!(binary(BinOp::Lt, I8, 0x80, 0), Value::Bool(true));
    }
}
