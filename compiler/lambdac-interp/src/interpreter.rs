//! One workload with its state, and how a request finds its lambda.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{
    Callee, Dispatch, Lambda, LambdaId, Match, PktField, Request, StatePlace, TableEntry, TableId, Target,
    Type, Value, Workload, decode, decode_prefix, encode, message_size,
};

use crate::random::Random;
use crate::service::{NoServices, ServiceOracle};
use crate::state::{Object, StateDump, Store};
use crate::stmt::{Exit, Frame, Machine};

/// Why an invocation ended with status TRAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapCause {
    /// An index at or past the length.
    Index,
    /// A slice that is not `i <= j <= len`.
    Slice,
    /// `append` or `push` past the capacity.
    Capacity,
    /// `as bytes<N>` of a longer value.
    Narrow,
    /// `pad` of a longer value.
    Pad,
    /// A loop past its `max`.
    LoopMax,
}

impl TrapCause {
    /// What happened, as a clause.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Index => "an index is out of bounds",
            Self::Slice => "a slice is out of bounds",
            Self::Capacity => "bytes grew past their capacity",
            Self::Narrow => "a value is too long for `as bytes`",
            Self::Pad => "a value is too long for `pad`",
            Self::LoopMax => "a loop went past its `max`",
        }
    }
}

/// A trap, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Why.
    pub cause: TrapCause,
    /// The expression or loop.
    pub span: Span,
    /// The lambda; none in a condition of the `match`.
    pub lambda: Option<LambdaId>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status OK with these bytes.
    Reply(Vec<u8>),
    /// No answer.
    Drop,
    /// `punt;`
    Punt,
    /// Status TRAP.
    Trap(Trap),
    /// Status BAD_REQUEST.
    BadRequest,
    /// The step budget ran out; only where one was set.
    OutOfSteps,
}

/// The fields of `pkt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PktValues([u64; PktField::ALL.len()]);

impl PktValues {
    /// A field's value.
    pub fn get(&self, field: PktField) -> u64 {
        self.0[field as usize]
    }

    /// Sets a field, cut to its width.
    pub fn set(&mut self, field: PktField, value: u64) {
        self.0[field as usize] = value & field.ty().mask();
    }
}

/// Everything that a call sees beside its request and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// `pkt`
    pub pkt: PktValues,
    /// `now()`, nanoseconds.
    pub now: u64,
    /// What every `random()` gives; none: the next number of the stream.
    pub random: Option<u32>,
    /// The params' values, by [`lambdac_hir::ParamId`].
    pub params: Vec<Value>,
}

impl Env {
    /// What holds under test where nothing was set: dst_port 4369, one second, params their defaults (zero for one
    /// without a default: who deploys must give its value).
    pub fn new(workload: &Workload) -> Self {
        let mut pkt = PktValues::default();
        pkt.set(PktField::DstPort, 4369);
        let params = workload.params.iter();
        Self {
            pkt,
            now: 1_000_000_000,
            random: None,
            params: params
                .map(|p| p.default.clone().unwrap_or_else(|| workload.zero(&p.ty)))
                .collect(),
        }
    }
}

/// One workload with its state.
#[derive(Clone, Debug)]
pub struct Interpreter {
    workload: Arc<Workload>,
    store: Store,
    random: Random,
    budget: Option<u64>,
    rule_hits: Vec<u64>,
}

impl Interpreter {
    /// With fresh state, the dice seeded with 0 and no step budget.
    pub fn new(workload: Arc<Workload>) -> Self {
        let rules = match &workload.dispatch {
            Dispatch::Match(stage) => stage.rules.len(),
            Dispatch::Only(_) | Dispatch::Unreachable => 0,
        };
        Self {
            store: Store::new(&workload),
            random: Random::new(0),
            budget: None,
            rule_hits: vec![0; rules],
            workload,
        }
    }

    /// The workload.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// Starts the stream of `random()` anew.
    pub fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Ends every later call with [`Outcome::OutOfSteps`] that evaluates more than so many statements and
    /// expressions.
    pub fn set_budget(&mut self, steps: Option<u64>) {
        self.budget = steps;
    }

    /// Replaces the live entries of a table; of a ternary table the first that matches wins.
    pub fn set_table(&mut self, table: TableId, entries: Vec<TableEntry>) {
        self.store.set_table(table, entries);
    }

    /// How often each rule of the `match` was the one that held.
    pub fn rule_hits(&self) -> &[u64] {
        &self.rule_hits
    }

    /// The content of all state at a time, in source order.
    pub fn state(&self, now: u64) -> Vec<(Arc<str>, StateDump)> {
        self.store.dump(&self.workload, now)
    }

    /// What a place of state holds; none where an index is out of bounds.
    pub fn read(&self, place: &StatePlace) -> Option<Value> {
        match place {
            StatePlace::Counter(id, index) => match self.store.object(*id) {
                Object::Counters(counters) => counters
                    .get(index.unwrap_or(0) as usize)
                    .map(|&count| Value::Int(count)),
                Object::Value(_) | Object::Lru(_) | Object::Map(_) => None,
            },
            StatePlace::Value(place) => {
                let env = Env::new(&self.workload);
                let (mut store, mut random, mut services) = (self.store.clone(), self.random, NoServices);
                let mut machine =
                    Machine::new(&self.workload, &env, &mut store, &mut random, &mut services, None);
                let mut frame = Frame::empty();
                let path = machine.place(&mut frame, place).ok()?;
                machine.load(&frame, &path)
            }
        }
    }

    /// Runs one message.
    pub fn call(
        &mut self,
        callee: Callee,
        request: &[u8],
        env: &Env,
        services: &mut dyn ServiceOracle,
    ) -> Outcome {
        let workload = self.workload.clone();
        let machine = Machine::new(
            &workload,
            env,
            &mut self.store,
            &mut self.random,
            services,
            self.budget,
        );
        let mut call = Call {
            machine,
            rule_hits: &mut self.rule_hits,
        };
        match callee {
            Callee::Lambda(id) => call.message(Entry::Lambda(id), request),
            Callee::Workload => match &workload.dispatch {
                Dispatch::Only(id) => call.message(Entry::Lambda(*id), request),
                Dispatch::Match(stage) => call.message(Entry::Match(stage), request),
                Dispatch::Unreachable => Outcome::BadRequest,
            },
        }
    }
}

/// What takes a message or a chunk first.
#[derive(Clone, Copy)]
enum Entry<'a> {
    Lambda(LambdaId),
    Match(&'a Match),
}

/// How a stream cuts its messages.
struct Chunks {
    /// Bytes in a chunk.
    size: usize,
    /// Whether the last one may be short, and a message empty.
    short: bool,
}

struct Call<'a> {
    machine: Machine<'a>,
    rule_hits: &'a mut [u64],
}

impl<'a> Call<'a> {
    /// A whole message: at once, or for a stream chunk by chunk, where the first error is the message's outcome.
    fn message(&mut self, entry: Entry<'a>, request: &[u8]) -> Outcome {
        let Some(chunks) = self.chunks(entry) else {
            return self.request(entry, request);
        };
        if request.is_empty() {
            return if chunks.short {
                Outcome::Reply(Vec::new())
            } else {
                Outcome::BadRequest
            };
        }
        let mut reply = Vec::new();
        for chunk in request.chunks(chunks.size.max(1)) {
            match self.request(entry, chunk) {
                Outcome::Reply(bytes) => reply.extend(bytes),
                error => return error,
            }
        }
        Outcome::Reply(reply)
    }

    /// How messages are cut; none for a plain lambda. All lambdas that a `match` can reach agree on the size.
    fn chunks(&self, entry: Entry<'a>) -> Option<Chunks> {
        let stage = match entry {
            Entry::Lambda(id) => return self.lambda_chunks(id),
            Entry::Match(stage) => stage,
        };
        let mut of_rules = stage.rules.iter().filter_map(|rule| match rule.target {
            Target::Lambda(id) => self.lambda_chunks(id),
            Target::Drop | Target::Punt => None,
        });
        let first = of_rules.next()?;
        Some(Chunks {
            size: first.size,
            short: first.short && of_rules.all(|chunks| chunks.short),
        })
    }

    fn lambda_chunks(&self, id: LambdaId) -> Option<Chunks> {
        let lambda = self.lambda(id);
        let Request::Typed(ty) = &lambda.request else {
            return None;
        };
        let size = message_size(self.machine.workload, ty)?.max as usize;
        lambda.stream.then_some(Chunks {
            size,
            short: matches!(ty, Type::Bytes(_)),
        })
    }

    fn lambda(&self, id: LambdaId) -> &'a Lambda {
        &self.machine.workload.lambdas[id.index()]
    }

    /// A plain message or one chunk.
    fn request(&mut self, entry: Entry<'a>, request: &[u8]) -> Outcome {
        match entry {
            Entry::Lambda(id) => self.run(id, request),
            Entry::Match(stage) => match self.pick(stage, request) {
                Ok(Target::Lambda(id)) => self.run(id, request),
                Ok(Target::Drop) => Outcome::Drop,
                Ok(Target::Punt) => Outcome::Punt,
                Err(outcome) => outcome,
            },
        }
    }

    /// The target of the first rule whose condition holds.
    fn pick(&mut self, stage: &'a Match, request: &[u8]) -> Result<Target, Outcome> {
        let prefix =
            decode_prefix(self.machine.workload, &stage.request, request).map_err(|_| Outcome::BadRequest)?;
        let mut frame = Frame::new(&stage.locals, vec![prefix]);
        for (rule, hits) in stage.rules.iter().zip(self.rule_hits.iter_mut()) {
            let holds = match &rule.cond {
                None => true,
                Some(cond) => match self.machine.expr(&mut frame, cond) {
                    Ok(value) => value.as_bool(),
                    Err(exit) => return Err(ended(exit, None)),
                },
            };
            if holds {
                *hits += 1;
                return Ok(rule.target);
            }
        }
        Err(Outcome::BadRequest)
    }

    /// Runs a lambda, and the ones that it punts to: each checks its own T.
    fn run(&mut self, first: LambdaId, request: &[u8]) -> Outcome {
        let mut id = first;
        loop {
            let lambda = self.lambda(id);
            let Some(params) = self.parameters(lambda, request) else {
                return Outcome::BadRequest;
            };
            let mut frame = Frame::new(&lambda.body.locals, params);
            let exit = match self.machine.block(&mut frame, &lambda.body.block) {
                Err(exit) => exit,
                Ok(_) => unreachable!("the checker saw that every path of a lambda leaves"),
            };
            match exit {
                Exit::Reply(value) => {
                    return Outcome::Reply(encode(self.machine.workload, &lambda.reply, &value));
                }
                Exit::Punt(Some(next)) if self.lambda(next).stream => {
                    return self.message(Entry::Lambda(next), request);
                }
                Exit::Punt(Some(next)) => id = next,
                exit => return ended(exit, Some(id)),
            }
        }
    }

    /// The request as the lambda's local 0; none if it doesn't fit T.
    fn parameters(&self, lambda: &Lambda, request: &[u8]) -> Option<Vec<Value>> {
        let Request::Typed(ty) = &lambda.request else {
            return Some(Vec::new());
        };
        let value = decode(self.machine.workload, ty, request).ok()?;
        // A short last chunk is taken by a `bytes<N>` only, not by a header that ends in one.
        let short = message_size(self.machine.workload, ty).is_some_and(|s| request.len() < s.max as usize);
        let whole = !lambda.stream || matches!(ty, Type::Bytes(_)) || !short;
        whole.then(|| vec![value])
    }
}

/// The outcome of an end that is neither a reply nor a `punt name`.
fn ended(exit: Exit, lambda: Option<LambdaId>) -> Outcome {
    match exit {
        Exit::Drop => Outcome::Drop,
        Exit::Punt(None) => Outcome::Punt,
        Exit::Trap(cause, span) => Outcome::Trap(Trap { cause, span, lambda }),
        Exit::OutOfSteps => Outcome::OutOfSteps,
        Exit::Break | Exit::Continue | Exit::Return(_) | Exit::Reply(_) | Exit::Punt(Some(_)) => {
            unreachable!("the checker keeps these inside their loop, fn or lambda")
        }
    }
}
