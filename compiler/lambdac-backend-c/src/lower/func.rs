//! Functions, and operations without regions.

use std::collections::BTreeSet;

use lambdac_mir::{
    FuncId, FuncParam, HashOp, LogArg, Op, Operand, PktField, Shape, Stmt as MirStmt, Term, TrapCause, Value,
};

use super::code::{Arg, Code, Leave};
use super::control::Yield;
use super::memory::Addr;
use super::scalar::{negated, truth};
use super::{Instance, Lowerer, Signature};
use crate::ast::{self, Access, Binary, Expr, Name, Stmt, Type};
use crate::dialect::{Addressing, Dialect, Space};
use crate::needed::Needed;

/// Bits of a trap's number below its cause: the line.
const TRAP_LINE_BITS: u32 = 24;

impl<'a> Lowerer<'a> {
    /// A function of MIR for the spaces of its references.
    pub fn func(&mut self, instance: &Instance) -> ast::Func {
        let image = self.image;
        let func = &image.module.funcs[instance.func.index()];
        let signature = self.instances[instance].clone();
        self.func_body(func, &signature, &instance.spaces)
    }

    /// The C of a function.
    pub fn func_body(
        &mut self,
        func: &'a lambdac_mir::Func,
        signature: &Signature,
        spaces: &[Option<Space>],
    ) -> ast::Func {
        let needed = Needed::of(&func.body, &[&func.region], &self.effects, self.dialect.logs());
        let leave = Leave::Func {
            results: signature.results.clone(),
            traps: signature.traps,
        };
        let home = self.locals(&func.body, &[&func.region], &BTreeSet::new());
        let mut code = Code::new(self, (&func.body, home), needed, leave);
        let params = parameters(&mut code, &func.params, spaces);
        code.region(&func.region, &Yield::Nothing);
        let body = code.take();
        let locals = code.take_locals();
        let frame = code.take_frame();
        let result = match (signature.traps, func.results.first()) {
            (true, _) => Type::U32,
            (false, Some(width)) => Type::of_width(*width),
            (false, None) => Type::Void,
        };
        ast::Func {
            comment: func.name.to_string(),
            exported: false,
            once: false,
            frame,
            result,
            name: signature.name.clone(),
            params,
            locals,
            body,
        }
    }
}

/// A function's C parameters, and what its MIR's are.
fn parameters(code: &mut Code<'_, '_>, params: &[FuncParam], spaces: &[Option<Space>]) -> Vec<(Name, Type)> {
    let mut out = Vec::new();
    for (i, param) in params.iter().enumerate() {
        let space = spaces.get(i).copied().flatten().unwrap_or(Space::Flat);
        let (shape, writable) = match param {
            FuncParam::Scalar(value) => {
                let name: Name = format!("v{}", value.0).into();
                code.is_parameter(&name);
                out.push((name, code.type_of(*value)));
                code.args.push(Arg {
                    addr: Addr::new(space, Expr::int(0)),
                    shape: Shape::View,
                    len: None,
                });
                continue;
            }
            FuncParam::Ref { shape, writable } => (shape.clone(), *writable),
            FuncParam::View => (Shape::View, false),
        };
        let access = if writable { Access::Write } else { Access::Read };
        let name: Name = format!("a{i}").into();
        let mut addr = Addr::new(space, Expr::Var(name.clone()));
        out.push((name.clone(), Dialect::address_type(space, access)));
        match space.addressing() {
            Addressing::Bytes => {}
            Addressing::Words => {
                let offset: Name = format!("a{i}_at").into();
                out.push((offset.clone(), Type::U32));
                addr = addr.plus_expr(Expr::Var(offset));
            }
            Addressing::Offset => addr = Addr::new(space, Expr::int(0)).plus_expr(Expr::Var(name)),
        }
        let len = matches!(param, FuncParam::View).then(|| {
            let len: Name = format!("a{i}_len").into();
            out.push((len.clone(), Type::U32));
            Expr::Var(len)
        });
        code.args.push(Arg { addr, shape, len });
    }
    out
}

impl Code<'_, '_> {
    /// An operation without regions, between taking and giving back what locks it needs.
    pub fn plain(&mut self, stmt: &MirStmt) {
        let locks = self.locks(&stmt.op);
        for lock in &locks {
            self.push(Stmt::Expr(lock.call("lock", Vec::new())));
        }
        self.unlocked(stmt);
        for lock in locks.iter().rev() {
            self.push(Stmt::Expr(lock.call("unlock", Vec::new())));
        }
    }

    fn unlocked(&mut self, stmt: &MirStmt) {
        let result = stmt.results.first().copied();
        match &stmt.op {
            Op::Store(..) | Op::Zero(_) | Op::Copy { .. } | Op::SetLen(..) | Op::CopyBytes { .. } => {
                self.memory_stmt(&stmt.op);
            }
            Op::StoreBits(place, pos, value) => self.store_bits(place, *pos, *value),
            Op::Check(value, cause) => {
                let holds = self.value(*value);
                match holds.as_int() {
                    Some(known) => self.trap_if(Expr::int(u32::from(known == 0)), *cause),
                    None => self.trap_if(negated(truth(holds)), *cause),
                }
            }
            Op::AtomicRmw(op, place, by) => self.rmw(*op, place, *by, result),
            Op::AtomicCas { place, old, new } => self.cas(place, *old, *new, result),
            Op::CounterAdd(object, index, by) => self.counter_add(*object, *index, *by),
            Op::MapGet { .. }
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::TableGet { .. }
            | Op::TableHas { .. } => self.keyed(&stmt.op, &stmt.results),
            Op::Log(text, args) => self.log(text, args),
            Op::Call(callee, args) => self.call(*callee, args, &stmt.results),
            _ => self.defining(stmt),
        }
    }

    /// An operation that defines one value.
    fn defining(&mut self, stmt: &MirStmt) {
        let Some(result) = stmt.results.first().copied() else {
            return;
        };
        let pure = match &stmt.op {
            Op::Const(value) => Expr::Int(*value, self.type_of(result)),
            Op::Bin(op, a, b) => self.binary(*op, *a, *b),
            Op::Cmp(op, a, b) => self.compare(*op, *a, *b),
            Op::Cast(op, value) => self.cast(*op, *value, self.body.width(result)),
            Op::Select(cond, then, other) => self.select(*cond, *then, *other),
            Op::Pkt(field) => packet(*field),
            _ => return self.reading(stmt, result),
        };
        self.define_pure(result, pure);
    }

    /// An operation that reads what others write.
    fn reading(&mut self, stmt: &MirStmt, result: Value) {
        let found = match &stmt.op {
            Op::Load(place) => self.load(place),
            Op::Len(place) => {
                let spot = self.spot(place);
                match spot.len {
                    Some(len) => return self.define_pure(result, len),
                    None => spot.addr.load(4),
                }
            }
            Op::EqBytes(a, b) => self.same(a, b),
            Op::LoadBits(place, pos) => self.load_bits(place, *pos, self.body.width(result)),
            Op::Hash(op, view) => {
                let bytes = self.bytes(view);
                let verb = match op {
                    HashOp::Crc32 => "crc32",
                    HashOp::Crc16 => "crc16",
                };
                bytes.addr.call(verb, vec![bytes.len])
            }
            Op::Now => Expr::call("lnic_now", Vec::new()),
            Op::Random => {
                let random = Expr::call("lnic_random", Vec::new());
                if !self.needed.is_needed(result) {
                    return self.push(Stmt::Expr(Expr::Cast(Type::Void, Box::new(random))));
                }
                random
            }
            Op::CounterRead(object, index) => self.counter_read(*object, *index),
            _ => unreachable!("every operation is handled where its kind is"),
        };
        self.define(result, found);
    }

    fn log(&mut self, text: &[u8], args: &[LogArg]) {
        let text = vec![Expr::Text(text.into()), Expr::int(text.len() as u32)];
        self.push(Stmt::Expr(Expr::call("lnic_log", text)));
        for arg in args {
            let call = match arg {
                LogArg::Unsigned(value) => {
                    let value = self.value(*value).cast(Type::U64);
                    Expr::call("lnic_log_unsigned", vec![value])
                }
                LogArg::Signed(value) => {
                    let width = Expr::int(self.body.width(*value).into());
                    let value = self.value(*value).cast(Type::U64);
                    Expr::call("lnic_log_signed", vec![value, width])
                }
                LogArg::Bool(value) => Expr::call("lnic_log_bool", vec![self.value(*value)]),
                LogArg::Bytes(view) => {
                    let bytes = self.bytes(view);
                    let mut args = bytes.addr.args();
                    args.push(bytes.len);
                    Expr::call("lnic_log_bytes", args)
                }
            };
            self.push(Stmt::Expr(call));
        }
        self.push(Stmt::Expr(Expr::call("lnic_log_end", Vec::new())));
    }

    fn call(&mut self, callee: FuncId, args: &[Operand], results: &[Value]) {
        let mut spaces = Vec::new();
        let mut passed = Vec::new();
        for arg in args {
            let (space, exprs) = self.operand(arg);
            spaces.push(space);
            passed.extend(exprs);
        }
        let signature = self.unit.instance(Instance { func: callee, spaces });
        self.called(&signature, passed, results);
    }

    /// A call, what a trap in it leads to, and its results.
    pub fn called(&mut self, signature: &Signature, args: Vec<Expr>, results: &[Value]) {
        let call = Expr::Call(signature.name.clone(), args);
        let mut results = results.iter().zip(&signature.results);
        if signature.traps {
            let trapped = call.binary(Binary::Ne, Expr::int(0));
            let out = Stmt::Return(Some(Expr::var("LNIC_TRAP")));
            self.push(Stmt::If(trapped, vec![out], Vec::new()));
        } else {
            match results.next() {
                Some((first, _)) if self.needed.is_needed(*first) => self.define(*first, call),
                Some(_) => self.push(Stmt::Expr(Expr::Cast(Type::Void, Box::new(call)))),
                None => self.push(Stmt::Expr(call)),
            }
        }
        for (result, name) in results {
            if self.needed.is_needed(*result) {
                self.define(*result, Expr::Var(name.clone()));
            }
        }
    }

    /// Ends the invocation with a trap.
    pub fn trap(&self, cause: TrapCause) -> Stmt {
        let line = self.loc().line.min((1 << TRAP_LINE_BITS) - 1);
        let number = TrapCause::ALL.iter().position(|other| *other == cause);
        let number = number.unwrap_or_default() as u32;
        let trap = Expr::call("lnic_trap", vec![Expr::int(number << TRAP_LINE_BITS | line)]);
        Stmt::Return(Some(trap))
    }

    /// Leaves the body.
    pub fn leave(&mut self, term: &Term) {
        match term {
            Term::Return(values) => self.return_results(values),
            Term::Trap(cause, loc) => {
                self.set_loc(*loc);
                let trap = self.trap(*cause);
                self.push(trap);
            }
            term => self.leave_lambda(term),
        }
    }

    fn return_results(&mut self, values: &[Value]) {
        let Leave::Func { results, traps } = &self.leave else {
            return;
        };
        let (results, traps) = (results.clone(), *traps);
        let mut moves = Vec::new();
        let mut given = None;
        for (i, (value, name)) in values.iter().zip(&results).enumerate() {
            let value = self.value(*value);
            if i == 0 && !traps {
                given = Some(value);
            } else {
                moves.push((name.clone(), value));
            }
        }
        self.assign(moves);
        if traps {
            given = Some(Expr::int(0));
        }
        self.push(Stmt::Return(given));
    }

    /// Takes off a `continue` at the very end of a loop's body.
    pub fn drop_last_continue(&mut self) {
        let mut stmts = self.take();
        if stmts.last() == Some(&Stmt::Continue) {
            stmts.pop();
        }
        stmts.into_iter().for_each(|stmt| self.push(stmt));
    }
}

/// A fact about the packet.
pub(super) fn packet(field: PktField) -> Expr {
    Expr::var("lnic_call").field(field.name())
}
