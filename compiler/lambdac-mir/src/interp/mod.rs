//! An interpreter of MIR, for checking lowering and passes.
//!
//! It shares nothing with the evaluator of the typed HIR, and runs modules before and after the await split. Besides
//! running, it looks for what the validator cannot prove: memory read before it was written, places and views out of
//! bounds, a loop past a `max` that was said to hold, copies onto themselves. Each ends the run as
//! [`Outcome::Invalid`], which no correct lowering or pass lets happen.
//!
//! What has a choice is fixed: an lru forgets exactly the entry whose last use is longest ago, `now` stands still
//! during a call, `random` is one splitmix64 stream, chunks of a stream run in order.

mod counts;
mod dispatch;
mod eval;
mod keyed;
mod memory;
mod ops;
mod run;
mod state;

use std::sync::Arc;

pub use counts::{Counts, Line};
pub use dispatch::StageView;
pub use state::StateDump;

use crate::{
    Data, LambdaId, Loc, Module, ObjectId, PktField, Service, ServiceId, ServiceOp, TrapCause, ValidateError,
    validate,
};
use memory::Memory;
use run::Run;
use state::State;

/// What a call finds around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// Facts about the packet, in the order of [`PktField::ALL`].
    pub pkt: [u64; 5],
    /// The clock, nanoseconds.
    pub now: u64,
    /// What every `random` gives; none: the next number of the stream.
    pub random: Option<u32>,
    /// The module's parameters, by id.
    pub params: Vec<Data>,
}

impl Env {
    /// A fact about the packet.
    pub fn pkt(&self, field: PktField) -> u64 {
        let index = PktField::ALL.iter().position(|other| *other == field);
        self.pkt[index.unwrap_or_default()]
    }
}

/// A service's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value of a `get`.
    Value(Vec<u8>),
    /// The `set` or `delete` was done.
    Done,
    /// No such key, or the store was refused.
    Missing,
    /// No answer that could be used.
    Failed,
}

/// Who answers services' requests: service, operation, key, and what `set` stores. Keys that may not be sent never get
/// here.
pub type Services<'s> = &'s mut dyn FnMut(&Service, ServiceOp, &[u8], Option<&[u8]>) -> Answer;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply.
    Reply(Vec<u8>),
    /// Without an answer.
    Drop,
    /// With the fallback. (A punt to a lambda ends as that lambda does.)
    Punt,
    /// With a trap.
    Trap(TrapCause, Loc),
    /// The request does not fit the lambda's type, or no rule took it.
    BadRequest,
    /// The step budget ran out.
    OutOfSteps,
    /// The module broke a promise: a bug in lowering or in a pass.
    Invalid(String),
}

/// What a call enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A lambda, past the match stage.
    Lambda(LambdaId),
    /// The workload, through its match stage.
    Dispatch,
}

/// What code names, and what that stands for; all else stands for itself.
#[derive(Clone, Debug, Default)]
pub struct StandFor {
    /// Objects, for others of the same structure.
    pub objects: Vec<(ObjectId, ObjectId)>,
    /// Services, for others of the same protocol.
    pub services: Vec<(ServiceId, ServiceId)>,
}

impl StandFor {
    fn object(&self, named: ObjectId) -> ObjectId {
        own(&self.objects, named)
    }

    fn service(&self, named: ServiceId) -> ServiceId {
        own(&self.services, named)
    }
}

fn own<I: Copy + PartialEq>(pairs: &[(I, I)], named: I) -> I {
    let found = pairs.iter().find(|(name, _)| *name == named);
    found.map_or(named, |(_, own)| *own)
}

/// A module and its state.
#[derive(Clone, Debug)]
pub struct MirInterp {
    module: Arc<Module>,
    consts: Arc<[Memory]>,
    state: State,
    stand_for: StandFor,
    dice: u64,
    max_steps: u64,
    logs: Vec<String>,
    counts: Option<Counts>,
}

impl MirInterp {
    /// A module with fresh state.
    ///
    /// # Errors
    ///
    /// The invariants that the module breaks.
    pub fn new(module: Arc<Module>) -> Result<Self, Vec<ValidateError>> {
        validate(&module)?;
        let state = State::new(&module);
        let consts = module.consts.iter();
        let consts = consts.map(|item| Memory::of_data(&item.shape, &item.data));
        Ok(Self {
            consts: consts.collect(),
            module,
            state,
            stand_for: StandFor::default(),
            dice: 0,
            max_steps: u64::MAX,
            logs: Vec::new(),
            counts: None,
        })
    }

    /// Starts the stream of `random` with a seed.
    pub fn seed(&mut self, seed: u64) {
        self.dice = seed;
    }

    /// Lets what lambdas name stand for others in the calls that follow.
    pub fn stand_for(&mut self, stand_for: StandFor) {
        self.stand_for = stand_for;
    }

    /// Where the stream of `random` stands: a seed that goes on from here.
    pub fn dice(&self) -> u64 {
        self.dice
    }

    /// Shows a request to conditions of the module's match, one by one, in the order that `walk` asks for.
    pub fn stage<T>(&mut self, request: &[u8], env: &Env, walk: impl FnOnce(&mut StageView<'_>) -> T) -> T {
        let module = Arc::clone(&self.module);
        let mut nobody = |_: &Service, _: ServiceOp, _: &[u8], _: Option<&[u8]>| Answer::Failed;
        let mut run = Run::new(
            &module,
            Arc::clone(&self.consts),
            env,
            &mut nobody,
            &mut self.state,
            &mut self.logs,
        );
        run.dice = self.dice;
        run.steps_left = self.max_steps;
        walk(&mut StageView::new(run, request))
    }

    /// Ends calls that take more steps (statements and trips) with [`Outcome::OutOfSteps`].
    pub fn limit_steps(&mut self, max: u64) {
        self.max_steps = max;
    }

    /// The parameters' defaults, zero where there is none.
    pub fn default_params(&self) -> Vec<Data> {
        let value = |param: &crate::Param| param.default.clone().unwrap_or_else(|| param.shape.zero());
        self.module.params.iter().map(value).collect()
    }

    /// Runs a request to its end.
    pub fn call(&mut self, callee: Callee, request: &[u8], env: &Env, services: Services<'_>) -> Outcome {
        let module = Arc::clone(&self.module);
        if let Some(outcome) = wrong_call(&module, callee, env) {
            return outcome;
        }
        let mut run = Run::new(
            &module,
            Arc::clone(&self.consts),
            env,
            services,
            &mut self.state,
            &mut self.logs,
        );
        run.dice = self.dice;
        run.steps_left = self.max_steps;
        run.stand_for = Some(&self.stand_for);
        run.counts = self.counts.as_mut();
        let outcome = run.message(callee, request);
        self.dice = run.dice;
        outcome
    }

    /// Everything but tables, by name in order of the module: lru entries past their ttl at `now` are left out.
    pub fn state(&self, now: u64) -> Vec<(Arc<str>, StateDump)> {
        self.state.dump(&self.module, now)
    }

    /// Counts from now on what runs go through.
    pub fn count(&mut self) {
        self.counts.get_or_insert_default();
    }

    /// What was counted since the last time, if anything is.
    pub fn take_counts(&mut self) -> Counts {
        self.counts.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The log lines since the last time.
    pub fn take_logs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.logs)
    }
}

/// What is wrong with the caller's side.
fn wrong_call(module: &Module, callee: Callee, env: &Env) -> Option<Outcome> {
    let fits = env.params.len() == module.params.len()
        && env
            .params
            .iter()
            .zip(&module.params)
            .all(|(value, param)| value.fits(&param.shape));
    if !fits {
        return Some(Outcome::Invalid(
            "the parameters do not fit the module's".to_owned(),
        ));
    }
    match callee {
        Callee::Lambda(id) if id.index() >= module.lambdas.len() => {
            Some(Outcome::Invalid(format!("the module has no {id}")))
        }
        _ => None,
    }
}
