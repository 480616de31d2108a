//! One workload of host code that is called directly, message by message: what tests and comparisons need.

use std::sync::Arc;

use lambdac_interp::key_may_be_sent;
use lambdac_mir::{LambdaId, Module};
use lnic_engine::{Answer, Call, Continuation, Image, Meta, Outcome, Params, Scratch, TrapInfo, Workload};

/// The largest message (language, section 2).
const MAX_MESSAGE: usize = 1 << 20;

/// How a whole message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOutcome {
    /// With these bytes.
    Reply(Vec<u8>),
    /// Without an answer.
    Drop,
    /// At the fallback.
    Punt,
    /// The request does not fit.
    BadRequest,
    /// With a trap.
    Trap(TrapInfo),
}

/// An answer of a service that outlives the call that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAnswer {
    /// The value of a get.
    Value(Vec<u8>),
    /// Done.
    Done,
    /// No such key, or refused.
    Missing,
    /// No answer that can be used.
    Failed,
}

/// Who answers services; keys that may not be sent never get here.
pub type Services<'s> = &'s mut dyn FnMut(&Call<'_>) -> ServiceAnswer;

/// A loaded workload with memory to run it in.
pub struct HostInstance {
    workload: Arc<Workload>,
    scratch: Scratch,
    reply: Vec<u8>,
}

impl HostInstance {
    /// Compiles a module, with fresh state and `random()` seeded.
    ///
    /// # Errors
    /// If the engine refuses it. A param without a default is zero until a call gives it.
    pub fn new(module: &Arc<Module>, seed: u64) -> Result<Self, lnic_engine::Error> {
        let missing = module.params.iter().filter(|param| param.default.is_none());
        let zeros: Vec<_> = missing
            .map(|param| lnic_engine::ParamOverride {
                workload: module.name.to_string(),
                param: param.name.to_string(),
                value: param.shape.zero(),
            })
            .collect();
        let image = Image::load(std::slice::from_ref(module), &zeros, None)?;
        Ok(Self::of(&image.workloads()[0], seed))
    }

    fn of(workload: &Arc<Workload>, seed: u64) -> Self {
        Self {
            workload: workload.clone(),
            scratch: Scratch::new(seed),
            reply: vec![0; MAX_MESSAGE],
        }
    }

    /// The same code with fresh state, and `random()` seeded anew.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn fresh(&self, seed: u64) -> Result<Self, lnic_engine::Error> {
        Self::new(self.workload.module(), seed)
    }

    /// The workload.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// The state that the next `random()` starts from.
    pub fn dice(&self) -> u64 {
        self.scratch.dice()
    }

    /// Starts `random()` from a state.
    pub fn set_dice(&mut self, state: u64) {
        self.scratch.seed(state);
    }

    /// Runs a message through the match (`lambda` none) or through one lambda. A stream's chunks run in order.
    pub fn call(
        &mut self,
        lambda: Option<LambdaId>,
        meta: &Meta<'_>,
        request: &[u8],
        services: Services<'_>,
    ) -> HostOutcome {
        let module = self.workload.module().clone();
        let first = lambda.or_else(|| self.workload.reachable().first().copied());
        match first.map(|id| &module.lambdas[id.index()]) {
            Some(stream) if stream.stream => match lambda {
                None => self.stream(meta, request),
                Some(id) => self.chunks(id, meta, request),
            },
            _ => self.plain(lambda, meta, request, services),
        }
    }

    fn stream(&mut self, meta: &Meta<'_>, request: &[u8]) -> HostOutcome {
        let outcome = self
            .workload
            .invoke_stream(&mut self.scratch, meta, request, &mut self.reply);
        self.ended(outcome)
    }

    /// The chunks of a stream, straight to one lambda.
    fn chunks(&mut self, id: LambdaId, meta: &Meta<'_>, request: &[u8]) -> HostOutcome {
        let size = self.workload.module().lambdas[id.index()].request;
        if request.is_empty() {
            return if size.min == 0 {
                HostOutcome::Reply(Vec::new())
            } else {
                HostOutcome::BadRequest
            };
        }
        let mut whole = Vec::new();
        for chunk in request.chunks(size.max as usize) {
            let outcome = self
                .workload
                .invoke_lambda(id, &mut self.scratch, meta, chunk, &mut self.reply);
            match self.ended(outcome) {
                HostOutcome::Reply(bytes) => whole.extend(bytes),
                other => return other,
            }
        }
        HostOutcome::Reply(whole)
    }

    fn plain(
        &mut self,
        lambda: Option<LambdaId>,
        meta: &Meta<'_>,
        request: &[u8],
        services: Services<'_>,
    ) -> HostOutcome {
        let mut outcome = match lambda {
            None => self
                .workload
                .invoke(&mut self.scratch, meta, request, &mut self.reply),
            Some(id) => self
                .workload
                .invoke_lambda(id, &mut self.scratch, meta, request, &mut self.reply),
        };
        loop {
            outcome = match outcome {
                Outcome::Await(waiting) => {
                    let answer = ask(&waiting, services);
                    let answer = match &answer {
                        ServiceAnswer::Value(value) => Answer::Value(value),
                        ServiceAnswer::Done => Answer::Done,
                        ServiceAnswer::Missing => Answer::Missing,
                        ServiceAnswer::Failed => Answer::Failed,
                    };
                    waiting.resume(&mut self.scratch, answer, meta.now, meta.params, &mut self.reply)
                }
                done => return self.ended(done),
            }
        }
    }

    fn ended(&self, outcome: Outcome) -> HostOutcome {
        match outcome {
            Outcome::Reply(len) => HostOutcome::Reply(self.reply[..len].to_vec()),
            Outcome::Drop => HostOutcome::Drop,
            Outcome::Punt => HostOutcome::Punt,
            Outcome::BadRequest => HostOutcome::BadRequest,
            Outcome::Trap(trap) => HostOutcome::Trap(trap),
            Outcome::Await(_) => unreachable!("a stream lambda has no await, which the checker sees to"),
        }
    }

    /// Parameters for single calls: the module's defaults with some values replaced.
    ///
    /// # Errors
    /// If a value is not of its parameter's type.
    pub fn params(&self, values: &[(&str, lambdac_mir::Data)]) -> Result<Params, lnic_engine::Error> {
        Params::new(self.workload.module(), values)
    }
}

/// The service's answer; a key that may not be sent has failed.
fn ask(waiting: &Continuation, services: Services<'_>) -> ServiceAnswer {
    let call = waiting.call();
    if key_may_be_sent(call.key) {
        services(&call)
    } else {
        ServiceAnswer::Failed
    }
}
