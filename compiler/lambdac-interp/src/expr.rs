//! Expressions, from left to right.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{
    AtomicOp, BinOp, Builtin, Expr, ExprKind, FnId, GivenResult, IntType, KeyedOp, Place, ServiceId,
    ServiceOp, StateId, StateKind, TableId, Type, UnOp, Value, encode,
};

use crate::arith;
use crate::hash::{crc16, crc32};
use crate::interpreter::TrapCause;
use crate::place::Seen;
use crate::service::{MAX_VALUE_LEN, key_may_be_sent};
use crate::state::Object;
use crate::stmt::{Exit, Frame, Machine};
use crate::table;

impl<'a> Machine<'a> {
    /// Evaluates an expression.
    pub fn expr(&mut self, frame: &mut Frame, expr: &'a Expr) -> Result<Value, Exit> {
        self.step()?;
        match &expr.kind {
            ExprKind::Value(value) => Ok((**value).clone()),
            ExprKind::Const(_)
            | ExprKind::Param(_)
            | ExprKind::Local(_)
            | ExprKind::State(_)
            | ExprKind::Field(..)
            | ExprKind::Index(..)
            | ExprKind::Widen(_) => self.read(frame, expr),
            ExprKind::Pkt(field) => Ok(Value::Int(self.env.pkt.get(*field))),
            ExprKind::Slice(base, from, to) => self.slice(frame, [base, from, to], expr.span),
            ExprKind::Unary(op, operand) => self.unary(frame, *op, operand),
            ExprKind::Binary(op, left, right) => self.binary(frame, *op, left, right),
            ExprKind::LogicAnd(left, right) => self.logic(frame, left, right, false),
            ExprKind::LogicOr(left, right) => self.logic(frame, left, right, true),
            ExprKind::InRange(value, from, to) => self.in_range(frame, [value, from, to]),
            ExprKind::InPrefix { value, addr, mask } => {
                let value = self.expr(frame, value)?.as_int();
                Ok(Value::Bool(value & mask == addr & mask))
            }
            ExprKind::Cast(inner) => self.cast(frame, inner, &expr.ty),
            ExprKind::Narrow(inner) => self.narrow(frame, inner, expr),
            ExprKind::Array(elems) => self.all(frame, elems).map(Value::Array),
            ExprKind::Repeat(elem, count) => {
                let elem = self.expr(frame, elem)?;
                Ok(Value::Array(vec![elem; *count as usize]))
            }
            ExprKind::Struct(_, fields) => self.structure(frame, fields),
            ExprKind::If(cond, then, els) => {
                let taken = if self.expr(frame, cond)?.as_bool() {
                    then
                } else {
                    els
                };
                self.block(frame, taken)
            }
            ExprKind::IfLet(local, option, then, els) => match self.expr(frame, option)? {
                Value::Some(value) => {
                    frame.locals[local.index()] = (*value).clone();
                    self.block(frame, then)
                }
                _ => self.block(frame, els),
            },
            ExprKind::Call(id, args) => self.call(frame, *id, args),
            ExprKind::Builtin(builtin, args) => self.builtin(frame, *builtin, args, expr),
            ExprKind::None => Ok(Value::None),
            ExprKind::Some(inner) => Ok(Value::Some(Arc::new(self.expr(frame, inner)?))),
            ExprKind::Atomic(op, place, args) => self.atomic(frame, *op, place, args),
            ExprKind::CounterRead(id, index) => {
                let at = self.counter_index(frame, *id, index.as_deref(), expr.span)?;
                Ok(Value::Int(self.counters(*id)[at]))
            }
            ExprKind::Keyed(op, id, args) => self.keyed(frame, *op, *id, args),
            ExprKind::TableGet(id, key) => Ok(option(self.table_lookup(frame, *id, key)?)),
            ExprKind::TableHas(id, key) => Ok(Value::Bool(self.table_lookup(frame, *id, key)?.is_some())),
            ExprKind::Await(id, op, args) => self.await_service(frame, *id, *op, args),
            ExprKind::Failed(id) => Ok(Value::Bool(self.failed[id.index()])),
        }
    }

    /// The integer type that a scalar is held as.
    pub fn int(&self, ty: &Type) -> IntType {
        self.workload
            .scalar_int(ty)
            .unwrap_or_else(|| unreachable!("a scalar type was expected, found {ty:?}"))
    }

    /// A scalar of a type from a word, cut to its width.
    fn scalar(&self, ty: &Type, word: u64) -> Value {
        match ty {
            Type::Bool => Value::Bool(word & 1 == 1),
            _ => Value::Int(arith::wrap(self.int(ty), word)),
        }
    }

    fn all(&mut self, frame: &mut Frame, exprs: &'a [Expr]) -> Result<Vec<Value>, Exit> {
        exprs.iter().map(|expr| self.expr(frame, expr)).collect()
    }

    /// Two operands, the left one first.
    fn pair(&mut self, frame: &mut Frame, a: &'a Expr, b: &'a Expr) -> Result<(Value, Value), Exit> {
        Ok((self.expr(frame, a)?, self.expr(frame, b)?))
    }

    fn read(&mut self, frame: &mut Frame, expr: &'a Expr) -> Result<Value, Exit> {
        let path = self.path(frame, expr)?;
        self.load(frame, &path)
            .ok_or(Exit::Trap(TrapCause::Index, expr.span))
    }

    /// The part `from <= i < to` of `bytes` or a byte array.
    fn slice(&mut self, frame: &mut Frame, parts: [&'a Expr; 3], span: Span) -> Result<Value, Exit> {
        let [base, from, to] = parts;
        let path = self.path(frame, base)?;
        let from = self.expr(frame, from)?.as_int();
        let to = self.expr(frame, to)?.as_int();
        let seen = self.see(frame, &path);
        let len = seen.as_ref().map_or(0, Seen::len) as u64;
        if from > to || to > len {
            return Err(Exit::Trap(TrapCause::Slice, span));
        }
        let range = from as usize..to as usize;
        Ok(Value::Bytes(match seen {
            Some(Seen::Value(Value::Bytes(bytes))) => bytes[range].to_vec(),
            Some(Seen::Value(Value::Array(values))) => values[range].iter().map(byte).collect(),
            _ => Vec::new(),
        }))
    }

    fn unary(&mut self, frame: &mut Frame, op: UnOp, operand: &'a Expr) -> Result<Value, Exit> {
        let word = self.expr(frame, operand)?.as_int();
        Ok(match op {
            UnOp::Not | UnOp::BitNot => self.scalar(&operand.ty, !word),
            UnOp::Neg => self.scalar(&operand.ty, word.wrapping_neg()),
        })
    }

    fn binary(
        &mut self,
        frame: &mut Frame,
        op: BinOp,
        left: &'a Expr,
        right: &'a Expr,
    ) -> Result<Value, Exit> {
        let (a, b) = self.pair(frame, left, right)?;
        Ok(match op {
            // Of every comparable type: bytes are equal if their lengths and bytes are.
            BinOp::Eq => Value::Bool(a == b),
            BinOp::Ne => Value::Bool(a != b),
            BinOp::Lt => Value::Bool(self.compare(&left.ty, &a, &b).is_lt()),
            BinOp::Le => Value::Bool(self.compare(&left.ty, &a, &b).is_le()),
            BinOp::Gt => Value::Bool(self.compare(&left.ty, &a, &b).is_gt()),
            BinOp::Ge => Value::Bool(self.compare(&left.ty, &a, &b).is_ge()),
            _ => self.scalar_binary(op, &left.ty, a.as_int(), b.as_int()),
        })
    }

    /// `a op b` where the result has the left side's type.
    pub fn scalar_binary(&self, op: BinOp, ty: &Type, a: u64, b: u64) -> Value {
        self.scalar(ty, arith::binary(self.int(ty), op, a, b))
    }

    /// `&&` and `||`: the right side only where the left one doesn't decide.
    fn logic(
        &mut self,
        frame: &mut Frame,
        left: &'a Expr,
        right: &'a Expr,
        decides: bool,
    ) -> Result<Value, Exit> {
        match self.expr(frame, left)?.as_bool() {
            left if left == decides => Ok(Value::Bool(decides)),
            _ => self.expr(frame, right),
        }
    }

    fn in_range(&mut self, frame: &mut Frame, parts: [&'a Expr; 3]) -> Result<Value, Exit> {
        let [value, from, to] = parts;
        let ty = &value.ty;
        let (value, from) = self.pair(frame, value, from)?;
        let to = self.expr(frame, to)?;
        Ok(Value::Bool(
            self.compare(ty, &value, &from).is_ge() && self.compare(ty, &value, &to).is_lt(),
        ))
    }

    /// Truncates, or extends by the source's type.
    fn cast(&mut self, frame: &mut Frame, inner: &'a Expr, ty: &Type) -> Result<Value, Exit> {
        let word = self.expr(frame, inner)?.as_int();
        Ok(self.scalar(ty, arith::extend(self.int(&inner.ty), word)))
    }

    fn narrow(&mut self, frame: &mut Frame, inner: &'a Expr, expr: &Expr) -> Result<Value, Exit> {
        let value = self.expr(frame, inner)?;
        match (&value, &expr.ty) {
            (Value::Bytes(bytes), Type::Bytes(capacity)) if bytes.len() > *capacity as usize => {
                Err(Exit::Trap(TrapCause::Narrow, expr.span))
            }
            _ => Ok(value),
        }
    }

    /// Fields are evaluated as written and stand as declared.
    fn structure(&mut self, frame: &mut Frame, fields: &'a [(u32, Expr)]) -> Result<Value, Exit> {
        let mut values = vec![Value::Unit; fields.len()];
        for (number, field) in fields {
            values[*number as usize] = self.expr(frame, field)?;
        }
        Ok(Value::Struct(values))
    }

    fn call(&mut self, frame: &mut Frame, id: FnId, args: &'a [Expr]) -> Result<Value, Exit> {
        let args = self.all(frame, args)?;
        let callee = &self.workload.fns[id.index()];
        let mut frame = Frame::new(&callee.body.locals, args);
        match self.block(&mut frame, &callee.body.block) {
            Err(Exit::Return(value)) => Ok(value),
            other => other,
        }
    }

    fn builtin(
        &mut self,
        frame: &mut Frame,
        builtin: Builtin,
        args: &'a [Expr],
        expr: &Expr,
    ) -> Result<Value, Exit> {
        match (builtin, args) {
            (Builtin::Len, [arg]) => {
                let path = self.path(frame, arg)?;
                Ok(Value::Int(
                    self.see(frame, &path).map_or(0, |seen| seen.len()) as u64
                ))
            }
            (Builtin::Pad, [arg]) => self.pad(frame, arg, expr),
            (Builtin::ToBytes, [arg]) => match self.expr(frame, arg)? {
                Value::Array(values) => Ok(Value::Bytes(values.iter().map(byte).collect())),
                bytes => Ok(bytes),
            },
            (Builtin::Min, [a, b]) => {
                let (x, y) = self.pair(frame, a, b)?;
                Ok(if self.compare(&a.ty, &y, &x).is_lt() { y } else { x })
            }
            (Builtin::Max, [a, b]) => {
                let (x, y) = self.pair(frame, a, b)?;
                Ok(if self.compare(&a.ty, &y, &x).is_gt() { y } else { x })
            }
            (Builtin::Crc32, [arg]) => {
                let value = self.expr(frame, arg)?;
                Ok(Value::Int(u64::from(crc32(&encode(
                    self.workload,
                    &arg.ty,
                    &value,
                )))))
            }
            (Builtin::Crc16, [arg]) => {
                let value = self.expr(frame, arg)?;
                Ok(Value::Int(u64::from(crc16(&encode(
                    self.workload,
                    &arg.ty,
                    &value,
                )))))
            }
            (Builtin::Now, []) => Ok(Value::Int(self.env.now)),
            (Builtin::Random, []) => {
                let drawn = self.env.random.unwrap_or_else(|| self.random.next_u32());
                Ok(Value::Int(u64::from(drawn)))
            }
            _ => unreachable!("the checker counted the arguments"),
        }
    }

    fn pad(&mut self, frame: &mut Frame, arg: &'a Expr, expr: &Expr) -> Result<Value, Exit> {
        let (Value::Bytes(bytes), Type::Array(_, len)) = (self.expr(frame, arg)?, &expr.ty) else {
            unreachable!("the checker saw bytes and a byte array");
        };
        if bytes.len() > *len as usize {
            return Err(Exit::Trap(TrapCause::Pad, expr.span));
        }
        let zeros = std::iter::repeat(0);
        let padded = bytes.into_iter().chain(zeros).take(*len as usize);
        Ok(Value::Array(padded.map(|b| Value::Int(u64::from(b))).collect()))
    }

    /// The place's indexes first, then the arguments; gives the old value, `cas` whether it stored.
    fn atomic(
        &mut self,
        frame: &mut Frame,
        op: AtomicOp,
        place: &'a Place,
        args: &'a [Expr],
    ) -> Result<Value, Exit> {
        let path = self.place(frame, place)?;
        let args = self.all(frame, args)?;
        let old = self
            .load(frame, &path)
            .ok_or(Exit::Trap(TrapCause::Index, place.span))?;
        let (new, result) = match (op, args.as_slice()) {
            (AtomicOp::FetchAdd, [by]) => (
                self.scalar_binary(BinOp::Add, &place.ty, old.as_int(), by.as_int()),
                old,
            ),
            (AtomicOp::FetchSub, [by]) => (
                self.scalar_binary(BinOp::Sub, &place.ty, old.as_int(), by.as_int()),
                old,
            ),
            (AtomicOp::Swap, [new]) => (new.clone(), old),
            (AtomicOp::Cas, [expected, new]) if old == *expected => (new.clone(), Value::Bool(true)),
            (AtomicOp::Cas, [_, _]) => (old, Value::Bool(false)),
            _ => unreachable!("the checker counted the arguments"),
        };
        self.store(frame, &path, new);
        Ok(result)
    }

    fn keyed(
        &mut self,
        frame: &mut Frame,
        op: KeyedOp,
        id: StateId,
        args: &'a [Expr],
    ) -> Result<Value, Exit> {
        let mut args = self.all(frame, args)?.into_iter();
        let key = args
            .next()
            .unwrap_or_else(|| unreachable!("the checker counted the arguments"));
        let operand = args.next().unwrap_or(Value::Unit);
        if op == KeyedOp::FetchAdd {
            return Ok(option(self.keyed_add(id, key, operand)));
        }
        let now = self.env.now;
        Ok(match (op, self.store.object_mut(id)) {
            (KeyedOp::Get, Object::Lru(lru)) => option(lru.get(&key, now)),
            (KeyedOp::Put, Object::Lru(lru)) => {
                lru.put(key, operand, now);
                Value::Unit
            }
            (KeyedOp::Remove, Object::Lru(lru)) => {
                lru.remove(&key);
                Value::Unit
            }
            (KeyedOp::Get, Object::Map(map)) => option(map.get(&key)),
            (KeyedOp::Insert, Object::Map(map)) => Value::Bool(map.insert(key, operand)),
            (KeyedOp::Remove, Object::Map(map)) => Value::Bool(map.remove(&key)),
            _ => unreachable!("the checker saw an object that has the operation"),
        })
    }

    /// Adds at the value's width and gives the old value; stored as it is where the key is new and fits.
    fn keyed_add(&mut self, id: StateId, key: Value, by: Value) -> Option<Value> {
        let (StateKind::Lru { value: ty, .. } | StateKind::Map { value: ty, .. }) =
            &self.workload.states[id.index()].kind
        else {
            unreachable!("the checker saw an lru or a map");
        };
        let int = self.int(ty);
        let add = |old: &Value| Value::Int(arith::binary(int, BinOp::Add, old.as_int(), by.as_int()));
        let now = self.env.now;
        match self.store.object_mut(id) {
            Object::Lru(lru) => {
                let old = lru.get(&key, now);
                match &old {
                    Some(old) => lru.update(&key, add(old)),
                    None => lru.put(key, by, now),
                }
                old
            }
            Object::Map(map) => {
                let old = map.get(&key);
                map.insert(key, old.as_ref().map_or_else(|| by.clone(), add));
                old
            }
            Object::Value(_) | Object::Counters(_) => unreachable!("the checker saw an lru or a map"),
        }
    }

    fn table_lookup(&mut self, frame: &mut Frame, id: TableId, key: &'a Expr) -> Result<Option<Value>, Exit> {
        let key = self.expr(frame, key)?;
        let declared = &self.workload.tables[id.index()];
        let entries = self.store.table(id);
        Ok(table::lookup(self.workload, declared.kind, &declared.key, entries, &key).cloned())
    }

    /// Asks a service. A key that may not be sent counts as a failure, as does a value over the limit.
    fn await_service(
        &mut self,
        frame: &mut Frame,
        id: ServiceId,
        op: ServiceOp,
        args: &'a [Expr],
    ) -> Result<Value, Exit> {
        let args = self.all(frame, args)?;
        let mut bytes = args.iter().map(|arg| match arg {
            Value::Bytes(bytes) => bytes.as_slice(),
            _ => unreachable!("the checker saw bytes"),
        });
        let key = bytes.next().unwrap_or_default();
        let answer = if key_may_be_sent(key) {
            self.services.request(id, op, key, bytes.next())
        } else {
            GivenResult::Fail
        };
        let result = match (op, answer) {
            (ServiceOp::Get, GivenResult::Value(value)) if value.len() <= MAX_VALUE_LEN => {
                Ok(Some(Value::Bytes(value)))
            }
            (ServiceOp::Set | ServiceOp::Delete, GivenResult::Done) => Ok(Some(Value::Bool(true))),
            (_, GivenResult::None) => Ok(None),
            (_, GivenResult::Value(_) | GivenResult::Done | GivenResult::Fail) => Err(()),
        };
        self.failed[id.index()] = result.is_err();
        Ok(option(result.unwrap_or(None)))
    }
}

/// A `T?`.
fn option(value: Option<Value>) -> Value {
    value.map_or(Value::None, |value| Value::Some(Arc::new(value)))
}

/// An element of a byte array.
fn byte(value: &Value) -> u8 {
    value.as_int() as u8
}
