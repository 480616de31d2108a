//! Running: frames, regions, control.

use std::sync::Arc;

use super::StandFor;
use super::counts::Counts;
use super::memory::Memory;
use super::state::State;
use super::{Answer, Env, Services};
use crate::{
    Body, Func, FuncParam, Label, Lambda, LambdaId, Loc, Loop, LoopKind, Module, ObjectId, Op, Operand,
    PartId, Region, ServiceCall, Shape, Stmt, Term, TrapCause, Value, sign_extend,
};

/// Why control left the body.
pub(super) enum Stop {
    Reply(Vec<u8>),
    Drop,
    Punt(Option<LambdaId>),
    Trap(TrapCause, Loc),
    Enter(PartId, Vec<u64>),
    OutOfSteps,
    Invalid(String),
}

/// How control left a region.
pub(super) enum Flow {
    Yield(Vec<u64>),
    Break(Label, Vec<u64>),
    Continue(Label, Vec<u64>),
    Return(Vec<u64>),
}

/// Some memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Slot(usize, usize),
    Object(usize),
    Const(usize),
    Param(usize),
    Request,
}

/// A place that was found: its memory, first byte and shape; for a view its length.
#[derive(Clone, Copy)]
pub(super) struct Spot<'m> {
    pub(super) owner: Owner,
    pub(super) at: usize,
    pub(super) shape: &'m Shape,
    pub(super) view_len: u32,
}

/// A function's or lambda's values, slots and references.
pub(super) struct Frame<'m> {
    pub(super) body: &'m Body,
    pub(super) values: Vec<u64>,
    pub(super) slots: Vec<Memory>,
    pub(super) args: Vec<Option<Spot<'m>>>,
}

impl<'m> Frame<'m> {
    fn new(body: &'m Body, args: Vec<Option<Spot<'m>>>) -> Self {
        Self {
            body,
            values: vec![0; body.values.len()],
            slots: body
                .slots
                .iter()
                .map(|slot| Memory::for_shape(&slot.shape))
                .collect(),
            args,
        }
    }
}

/// A call under way.
pub(super) struct Run<'m, 'r> {
    pub(super) module: &'m Module,
    pub(super) env: &'r Env,
    pub(super) services: Services<'r>,
    pub(super) state: &'r mut State,
    pub(super) logs: &'r mut Vec<String>,
    /// What stands for others.
    pub(super) stand_for: Option<&'r StandFor>,
    pub(super) dice: u64,
    pub(super) steps_left: u64,
    pub(super) frames: Vec<Frame<'m>>,
    pub(super) consts: Arc<[Memory]>,
    pub(super) params: Vec<Memory>,
    pub(super) request: Memory,
    pub(super) request_len: u32,
    pub(super) counts: Option<&'r mut Counts>,
    /// The slot that an answer went to, on the way to the next part.
    answered: Option<usize>,
}

impl<'m, 'r> Run<'m, 'r> {
    pub(super) fn new(
        module: &'m Module,
        consts: Arc<[Memory]>,
        env: &'r Env,
        services: Services<'r>,
        state: &'r mut State,
        logs: &'r mut Vec<String>,
    ) -> Self {
        let params = module
            .params
            .iter()
            .zip(&env.params)
            .map(|(param, data)| Memory::of_data(&param.shape, data));
        Self {
            module,
            env,
            services,
            state,
            logs,
            stand_for: None,
            dice: 0,
            steps_left: u64::MAX,
            frames: Vec::new(),
            consts,
            params: params.collect(),
            request: Memory::of_bytes(&[]),
            request_len: 0,
            counts: None,
            answered: None,
        }
    }

    /// The object that one which code names stands for.
    pub(super) fn object(&self, named: ObjectId) -> ObjectId {
        self.stand_for.map_or(named, |others| others.object(named))
    }

    pub(super) fn frame(&self) -> &Frame<'m> {
        self.frames.last().expect("code runs in a frame")
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'m> {
        self.frames.last_mut().expect("code runs in a frame")
    }

    pub(super) fn get(&self, value: Value) -> u64 {
        self.frame().values[value.index()]
    }

    pub(super) fn get_all(&self, values: &[Value]) -> Vec<u64> {
        values.iter().map(|value| self.get(*value)).collect()
    }

    pub(super) fn set(&mut self, value: Value, to: u64) {
        self.frame_mut().values[value.index()] = to;
    }

    pub(super) fn set_all(&mut self, values: impl IntoIterator<Item = Value>, to: Vec<u64>) {
        for (value, to) in values.into_iter().zip(to) {
            self.set(value, to);
        }
    }

    /// Counts, if that was asked for.
    pub(super) fn counted(&mut self, count: impl FnOnce(&mut Counts)) {
        if let Some(counts) = &mut self.counts {
            count(counts);
        }
    }

    fn step(&mut self) -> Result<(), Stop> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Stop::OutOfSteps)?;
        Ok(())
    }

    /// Runs a lambda's parts to the end. Only live slots keep their contents from part to part.
    pub(super) fn lambda(&mut self, lambda: &'m Lambda) -> Stop {
        self.frames = vec![Frame::new(&lambda.body, Vec::new())];
        let mut part = &lambda.parts[0];
        loop {
            let (next, args) = match self.region(&part.region) {
                Err(Stop::Enter(next, args)) => (next, args),
                Err(stop) => return stop,
                Ok(_) => return Stop::Invalid("a part's region ended without leaving".to_owned()),
            };
            part = &lambda.parts[next.index()];
            let before = std::mem::replace(self.frame_mut(), Frame::new(&lambda.body, Vec::new()));
            for (i, memory) in before.slots.into_iter().enumerate() {
                let live = part.live_slots.iter().any(|slot| slot.index() == i);
                if live || self.answered == Some(i) {
                    self.frame_mut().slots[i] = memory;
                }
            }
            self.answered = None;
            self.set_all(part.params.iter().copied(), args);
        }
    }

    /// Runs a function.
    pub(super) fn func(&mut self, func: &'m Func, args: &[Operand]) -> Result<Vec<u64>, Stop> {
        let mut spots = Vec::with_capacity(args.len());
        let mut scalars = Vec::new();
        for (param, arg) in func.params.iter().zip(args) {
            spots.push(match arg {
                Operand::Value(value) => {
                    if let FuncParam::Scalar(param) = param {
                        scalars.push((*param, self.get(*value)));
                    }
                    None
                }
                Operand::Place(place) => Some(self.spot(place)?),
                Operand::View(view) => Some(self.view_spot(view)?),
            });
        }
        self.frames.push(Frame::new(&func.body, spots));
        for (param, value) in scalars {
            self.set(param, value);
        }
        let flow = self.region(&func.region);
        self.frames.pop();
        match flow? {
            Flow::Return(values) => Ok(values),
            _ => Err(Stop::Invalid(
                "a function's region ended without returning".to_owned(),
            )),
        }
    }

    pub(super) fn region(&mut self, region: &'m Region) -> Result<Flow, Stop> {
        for stmt in &region.stmts {
            self.step()?;
            if let Some(flow) = self.stmt(stmt)? {
                return Ok(flow);
            }
        }
        self.step()?;
        self.term(&region.term)
    }

    fn term(&mut self, term: &'m Term) -> Result<Flow, Stop> {
        Ok(match term {
            Term::Yield(values) => Flow::Yield(self.get_all(values)),
            Term::Break(label, values) => Flow::Break(*label, self.get_all(values)),
            Term::Continue(label, values) => Flow::Continue(*label, self.get_all(values)),
            Term::Return(values) => Flow::Return(self.get_all(values)),
            Term::Reply(view) => return Err(Stop::Reply(self.bytes(view)?)),
            Term::Drop => return Err(Stop::Drop),
            Term::Punt(to) => return Err(Stop::Punt(*to)),
            Term::Trap(cause, loc) => return Err(Stop::Trap(*cause, *loc)),
            Term::Await { call, part, args } => {
                let (ok, failed) = self.ask(call)?;
                self.answered = call.dst.filter(|_| ok).map(crate::SlotId::index);
                let mut passed = vec![u64::from(ok), u64::from(failed)];
                passed.extend(self.get_all(args));
                return Err(Stop::Enter(*part, passed));
            }
            Term::Become { part, args } => return Err(Stop::Enter(*part, self.get_all(args))),
        })
    }

    /// Runs a statement; gives how control left where it does not go on with the next one.
    fn stmt(&mut self, stmt: &'m Stmt) -> Result<Option<Flow>, Stop> {
        let flow = match &stmt.op {
            Op::If(cond, then, other) => {
                let holds = self.get(*cond) == 1;
                self.counted(|counts| counts.branch(stmt.loc, 2, usize::from(!holds)));
                self.region(if holds { then } else { other })?
            }
            Op::Switch { on, arms, default } => {
                let on = self.get(*on);
                let holds = |&(lo, hi): &crate::SwitchRange| lo <= on && hi.is_none_or(|hi| on < hi);
                let arm = arms.iter().position(|(ranges, _)| ranges.iter().any(holds));
                let taken = arm.unwrap_or(arms.len());
                self.counted(|counts| counts.branch(stmt.loc, arms.len() + 1, taken));
                self.region(arm.map_or(default, |arm| &arms[arm].1))?
            }
            Op::Block(label, region) => match self.region(region)? {
                Flow::Break(to, values) if to == *label => Flow::Yield(values),
                flow => flow,
            },
            Op::Loop(inner) => self.loop_op(inner, stmt.loc)?,
            _ => Flow::Yield(self.op(stmt)?),
        };
        match flow {
            Flow::Yield(values) => {
                self.set_all(stmt.results.iter().copied(), values);
                Ok(None)
            }
            flow => Ok(Some(flow)),
        }
    }

    fn loop_op(&mut self, inner: &'m Loop, loc: Loc) -> Result<Flow, Stop> {
        let mut carried: Vec<u64> = inner.params.iter().map(|(_, init)| self.get(*init)).collect();
        let mut counter = match inner.kind {
            LoopKind::For { from, .. } => self.get(from),
            LoopKind::While(_) => 0,
        };
        let end = match inner.kind {
            LoopKind::For { to, .. } => self.get(to),
            LoopKind::While(_) => 0,
        };
        let mut trips = 0_u64;
        self.counted(|counts| counts.enter(loc));
        loop {
            self.step()?;
            self.set_all(inner.params.iter().map(|(param, _)| *param), carried.clone());
            let again = match &inner.kind {
                LoopKind::For { var, signed, .. } => {
                    self.set(*var, counter);
                    let width = self.frame().body.width(*var);
                    if *signed {
                        sign_extend(counter, width) < sign_extend(end, width)
                    } else {
                        counter < end
                    }
                }
                LoopKind::While(cond) => match self.region(cond)? {
                    Flow::Yield(values) => values == [1],
                    flow => return Ok(flow),
                },
            };
            if !again {
                return Ok(Flow::Yield(carried));
            }
            if trips == inner.max {
                return Err(match inner.checked {
                    true => Stop::Trap(TrapCause::LoopMax, loc),
                    false => Stop::Invalid(format!("{} goes past its max of {}", inner.label, inner.max)),
                });
            }
            self.counted(|counts| counts.turn(loc));
            match self.region(&inner.body)? {
                Flow::Continue(to, values) if to == inner.label => carried = values,
                Flow::Break(to, values) if to == inner.label => return Ok(Flow::Yield(values)),
                flow => return Ok(flow),
            }
            trips += 1;
            if let LoopKind::For { var, .. } = inner.kind {
                counter = counter.wrapping_add(1) & crate::mask(self.frame().body.width(var));
            }
        }
    }

    /// Asks a service: whether it went well, and whether it failed.
    pub(super) fn ask(&mut self, call: &ServiceCall) -> Result<(bool, bool), Stop> {
        let key = self.bytes(&call.key)?;
        let value = call.value.as_ref().map(|value| self.bytes(value)).transpose()?;
        if !may_be_sent(&key) {
            return Ok((false, true));
        }
        let service = self
            .stand_for
            .map_or(call.service, |others| others.service(call.service));
        let service = &self.module.services[service.index()];
        match (
            (self.services)(service, call.op, &key, value.as_deref()),
            call.dst,
        ) {
            (Answer::Value(bytes), Some(dst)) => {
                let Shape::Bytes(capacity) = self.frame().body.slots[dst.index()].shape else {
                    return Err(Stop::Invalid(format!("{dst} is no byte string")));
                };
                if bytes.len() as u64 > u64::from(capacity) {
                    return Ok((false, true));
                }
                let data = crate::Data::Bytes(bytes.into());
                self.frame_mut().slots[dst.index()].put_data(0, &Shape::Bytes(capacity), &data);
                Ok((true, false))
            }
            (Answer::Done, None) => Ok((true, false)),
            (Answer::Missing, _) => Ok((false, false)),
            (Answer::Failed | Answer::Value(_) | Answer::Done, _) => Ok((false, true)),
        }
    }
}

/// Whether a key may be sent to memcached: nothing in it could end the command.
fn may_be_sent(key: &[u8]) -> bool {
    (1..=250).contains(&key.len()) && key.iter().all(|byte| *byte > 0x20 && *byte != 0x7f)
}
