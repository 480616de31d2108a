//! Blocks and statements.

use std::cmp::Ordering;

use lambdac_diag::Span;
use lambdac_hir::{
    BinOp, Block, BytesOp, Expr, LambdaId, Local, LocalId, MatchArm, Place, StateId, Stmt, StmtKind, Type,
    Value, Workload,
};

use crate::arith;
use crate::interpreter::{Env, TrapCause};
use crate::random::Random;
use crate::service::ServiceOracle;
use crate::state::{Object, Store};

/// Control leaves the usual order.
#[derive(Debug)]
pub enum Exit {
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return e;`
    Return(Value),
    /// `reply e;`
    Reply(Value),
    /// `drop;`
    Drop,
    /// `punt;`, `punt name;`
    Punt(Option<LambdaId>),
    /// A trap.
    Trap(TrapCause, Span),
    /// The step budget ran out.
    OutOfSteps,
}

/// The variables of one fn or lambda that runs.
#[derive(Debug)]
pub struct Frame {
    /// By [`LocalId`].
    pub locals: Vec<Value>,
}

impl Frame {
    /// The parameters have values, the other variables get theirs from their `let`.
    pub fn new(locals: &[Local], parameters: Vec<Value>) -> Self {
        let mut values = parameters;
        values.resize(locals.len().max(values.len()), Value::Unit);
        Self { locals: values }
    }

    /// Without variables.
    pub fn empty() -> Self {
        Self { locals: Vec::new() }
    }

    fn set(&mut self, local: LocalId, value: Value) {
        self.locals[local.index()] = value;
    }
}

/// One call that runs.
pub struct Machine<'a> {
    /// The program.
    pub workload: &'a Workload,
    /// What the call sees.
    pub env: &'a Env,
    /// State and tables.
    pub store: &'a mut Store,
    /// The dice.
    pub random: &'a mut Random,
    /// What answers an await.
    pub services: &'a mut dyn ServiceOracle,
    /// Whether the last await of each service failed.
    pub failed: Vec<bool>,
    steps_left: Option<u64>,
}

impl<'a> Machine<'a> {
    /// Of a call that begins.
    pub fn new(
        workload: &'a Workload,
        env: &'a Env,
        store: &'a mut Store,
        random: &'a mut Random,
        services: &'a mut dyn ServiceOracle,
        budget: Option<u64>,
    ) -> Self {
        let failed = vec![false; workload.services.len()];
        Self {
            workload,
            env,
            store,
            random,
            services,
            failed,
            steps_left: budget,
        }
    }

    /// Counts a step.
    pub fn step(&mut self) -> Result<(), Exit> {
        match &mut self.steps_left {
            Some(0) => Err(Exit::OutOfSteps),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Runs a block; its value is the tail's.
    pub fn block(&mut self, frame: &mut Frame, block: &'a Block) -> Result<Value, Exit> {
        for stmt in &block.stmts {
            self.stmt(frame, stmt)?;
        }
        match &block.tail {
            Some(tail) => self.expr(frame, tail),
            None => Ok(Value::Unit),
        }
    }

    fn stmt(&mut self, frame: &mut Frame, stmt: &'a Stmt) -> Result<(), Exit> {
        self.step()?;
        match &stmt.kind {
            StmtKind::Let { local, init } => {
                let value = self.expr(frame, init)?;
                frame.set(*local, value);
                Ok(())
            }
            StmtKind::LetElse { local, init, els } => self.let_else(frame, *local, init, els),
            StmtKind::Assign { place, op, value } => self.assign(frame, place, *op, value),
            StmtKind::Match { scrutinee, arms } => self.match_value(frame, scrutinee, arms),
            StmtKind::For { .. } => self.for_loop(frame, stmt),
            StmtKind::While { cond, max, body } => self.while_loop(frame, cond, *max, body, stmt.span),
            StmtKind::Break => Err(Exit::Break),
            StmtKind::Continue => Err(Exit::Continue),
            StmtKind::Return(None) => Err(Exit::Return(Value::Unit)),
            StmtKind::Return(Some(value)) => Err(Exit::Return(self.expr(frame, value)?)),
            StmtKind::Reply(value) => Err(Exit::Reply(self.expr(frame, value)?)),
            StmtKind::Drop => Err(Exit::Drop),
            StmtKind::Punt(target) => Err(Exit::Punt(*target)),
            StmtKind::Expr(expr) => self.expr(frame, expr).map(drop),
            // The worker's log is no part of a program's meaning; what its arguments do is.
            StmtKind::Log { args, .. } => args.iter().try_for_each(|arg| self.expr(frame, arg).map(drop)),
            StmtKind::CounterAdd(id, index, by) => {
                self.counter_add(frame, *id, index.as_ref(), by, stmt.span)
            }
            StmtKind::BytesOp(op, place, arg) => self.bytes_op(frame, *op, place, arg.as_ref(), stmt.span),
        }
    }

    fn let_else(
        &mut self,
        frame: &mut Frame,
        local: LocalId,
        init: &'a Expr,
        els: &'a Block,
    ) -> Result<(), Exit> {
        match self.expr(frame, init)? {
            Value::Some(value) => {
                frame.set(local, (*value).clone());
                Ok(())
            }
            _ => self.block(frame, els).map(drop),
        }
    }

    /// The right side first, then the place's indexes; `op=` reads the place after both.
    fn assign(
        &mut self,
        frame: &mut Frame,
        place: &'a Place,
        op: Option<BinOp>,
        value: &'a Expr,
    ) -> Result<(), Exit> {
        let right = self.expr(frame, value)?;
        let path = self.place(frame, place)?;
        let gone = Exit::Trap(TrapCause::Index, place.span);
        let new = match op {
            None => right,
            Some(op) => {
                let Some(old) = self.load(frame, &path) else {
                    return Err(gone);
                };
                self.scalar_binary(op, &place.ty, old.as_int(), right.as_int())
            }
        };
        if self.store(frame, &path, new) {
            Ok(())
        } else {
            Err(gone)
        }
    }

    /// The first arm that has the value; without one nothing happens.
    fn match_value(
        &mut self,
        frame: &mut Frame,
        scrutinee: &'a Expr,
        arms: &'a [MatchArm],
    ) -> Result<(), Exit> {
        let value = self.expr(frame, scrutinee)?;
        let Some(arm) = arms.iter().find(|arm| self.arm_has(arm, &scrutinee.ty, &value)) else {
            return Ok(());
        };
        self.block(frame, &arm.body).map(drop)
    }

    fn arm_has(&self, arm: &MatchArm, ty: &Type, value: &Value) -> bool {
        let in_range = |(from, to): &(Value, Value)| {
            self.compare(ty, value, from).is_ge() && self.compare(ty, value, to).is_lt()
        };
        arm.any || arm.values.contains(value) || arm.ranges.iter().any(in_range)
    }

    /// Order of two scalars of a type.
    pub fn compare(&self, ty: &Type, a: &Value, b: &Value) -> Ordering {
        arith::compare(self.int(ty), a.as_int(), b.as_int())
    }

    /// Bounds are evaluated once; the trap comes where trip max + 1 would start.
    fn for_loop(&mut self, frame: &mut Frame, stmt: &'a Stmt) -> Result<(), Exit> {
        let StmtKind::For {
            var,
            from,
            to,
            max,
            body,
        } = &stmt.kind
        else {
            unreachable!("called for `for` only");
        };
        let first = self.expr(frame, from)?;
        let end = self.expr(frame, to)?;
        let int = self.int(&from.ty);
        let mut value = first.as_int();
        let mut trips = 0;
        while arith::compare(int, value, end.as_int()).is_lt() {
            self.trip(&mut trips, *max, stmt.span)?;
            frame.set(*var, Value::Int(value));
            if self.body(frame, body)? == Flow::Leave {
                break;
            }
            value = arith::wrap(int, value.wrapping_add(1));
        }
        Ok(())
    }

    fn while_loop(
        &mut self,
        frame: &mut Frame,
        cond: &'a Expr,
        max: u64,
        body: &'a Block,
        span: Span,
    ) -> Result<(), Exit> {
        let mut trips = 0;
        while self.expr(frame, cond)?.as_bool() {
            self.trip(&mut trips, max, span)?;
            if self.body(frame, body)? == Flow::Leave {
                break;
            }
        }
        Ok(())
    }

    /// Starts a trip.
    fn trip(&mut self, trips: &mut u64, max: u64, span: Span) -> Result<(), Exit> {
        if *trips == max {
            return Err(Exit::Trap(TrapCause::LoopMax, span));
        }
        *trips += 1;
        self.step()
    }

    /// One trip's body.
    fn body(&mut self, frame: &mut Frame, body: &'a Block) -> Result<Flow, Exit> {
        match self.block(frame, body) {
            Ok(_) | Err(Exit::Continue) => Ok(Flow::Next),
            Err(Exit::Break) => Ok(Flow::Leave),
            Err(exit) => Err(exit),
        }
    }

    fn counter_add(
        &mut self,
        frame: &mut Frame,
        id: StateId,
        index: Option<&'a Expr>,
        by: &'a Expr,
        span: Span,
    ) -> Result<(), Exit> {
        let at = self.counter_index(frame, id, index, span)?;
        let by = self.expr(frame, by)?.as_int();
        let count = &mut self.counters(id)[at];
        *count = count.wrapping_add(by);
        Ok(())
    }

    /// Which counter; traps past the last.
    pub fn counter_index(
        &mut self,
        frame: &mut Frame,
        id: StateId,
        index: Option<&'a Expr>,
        span: Span,
    ) -> Result<usize, Exit> {
        let at = match index {
            Some(index) => self.expr(frame, index)?.as_int(),
            None => 0,
        };
        if at < self.counters(id).len() as u64 {
            Ok(at as usize)
        } else {
            Err(Exit::Trap(TrapCause::Index, span))
        }
    }

    /// The counters of a state object.
    pub fn counters(&mut self, id: StateId) -> &mut [u64] {
        match self.store.object_mut(id) {
            Object::Counters(counters) => counters,
            Object::Value(_) | Object::Lru(_) | Object::Map(_) => unreachable!("the checker saw a counter"),
        }
    }

    /// The argument first, then the place's indexes. What doesn't fit leaves the bytes as they were.
    fn bytes_op(
        &mut self,
        frame: &mut Frame,
        op: BytesOp,
        place: &'a Place,
        arg: Option<&'a Expr>,
        span: Span,
    ) -> Result<(), Exit> {
        let added = match arg {
            None => Vec::new(),
            Some(arg) => match self.expr(frame, arg)? {
                Value::Bytes(bytes) => bytes,
                byte => vec![byte.as_int() as u8],
            },
        };
        let path = self.place(frame, place)?;
        let Type::Bytes(capacity) = place.ty else {
            unreachable!("the checker saw a `bytes<n>`")
        };
        let Some((Value::Bytes(bytes), None)) = self.see_mut(frame, &path) else {
            return Err(Exit::Trap(TrapCause::Index, place.span));
        };
        match op {
            BytesOp::Clear => bytes.clear(),
            BytesOp::Push | BytesOp::Append => {
                if bytes.len() + added.len() > capacity as usize {
                    return Err(Exit::Trap(TrapCause::Capacity, span));
                }
                bytes.extend(added);
            }
        }
        Ok(())
    }
}

/// Whether a loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Leave,
}
