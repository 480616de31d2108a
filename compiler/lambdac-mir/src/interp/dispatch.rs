//! Messages: chunks, the match stage, punts to lambdas.

use super::eval::compare;
use super::memory::Memory;
use super::run::{Run, Stop};
use super::{Callee, Outcome};
use crate::{Cond, Data, Dispatch, Field, KeyField, LambdaId, Match, MessageSize, Target};

impl<'m> Run<'m, '_> {
    /// A whole message: at once, or for a stream chunk by chunk, where the first error is the message's outcome.
    pub(super) fn message(&mut self, callee: Callee, request: &[u8]) -> Outcome {
        let Some(size) = self.chunk(callee) else {
            return self.request(callee, request);
        };
        if request.is_empty() {
            // Only a `bytes<N>` chunk may be empty.
            return if size.min == 0 {
                Outcome::Reply(Vec::new())
            } else {
                Outcome::BadRequest
            };
        }
        let mut reply = Vec::new();
        for chunk in request.chunks(size.max as usize) {
            match self.request(callee, chunk) {
                Outcome::Reply(bytes) => reply.extend(bytes),
                error => return error,
            }
        }
        Outcome::Reply(reply)
    }

    /// Bytes of a chunk of a stream.
    fn chunk(&self, callee: Callee) -> Option<MessageSize> {
        match callee {
            Callee::Lambda(id) => {
                let lambda = &self.module.lambdas[id.index()];
                lambda.stream.then_some(lambda.request)
            }
            Callee::Dispatch => self.module.chunk(),
        }
    }

    fn request(&mut self, callee: Callee, request: &[u8]) -> Outcome {
        self.request = Memory::of_bytes(request);
        self.request_len = request.len() as u32;
        match (callee, &self.module.dispatch) {
            (Callee::Lambda(id), _) => self.enter(id, request),
            (Callee::Dispatch, Dispatch::Only(id)) => self.enter(*id, request),
            (Callee::Dispatch, Dispatch::Unreachable) => Outcome::BadRequest,
            (Callee::Dispatch, Dispatch::Match(stage)) => match self.pick(stage, request) {
                Ok(Some(Target::Lambda(id))) => self.enter(id, request),
                Ok(Some(Target::Drop)) => Outcome::Drop,
                Ok(Some(Target::Punt)) => Outcome::Punt,
                Ok(None) => Outcome::BadRequest,
                Err(stop) => ended(stop),
            },
        }
    }

    /// Runs a lambda, and the ones that it punts to: each checks its own T.
    fn enter(&mut self, first: LambdaId, request: &[u8]) -> Outcome {
        let mut id = first;
        loop {
            let lambda = &self.module.lambdas[id.index()];
            let len = request.len() as u64;
            if len < u64::from(lambda.request.min) || len > u64::from(lambda.request.max) {
                return Outcome::BadRequest;
            }
            self.counted(|counts| counts.lambda(id));
            match self.lambda(lambda) {
                Stop::Reply(reply) if reply.len() as u64 > u64::from(lambda.reply.max) => {
                    return Outcome::Invalid(format!(
                        "a reply of {} bytes from {:?}",
                        reply.len(),
                        lambda.name
                    ));
                }
                Stop::Punt(Some(next)) => {
                    id = next;
                    if self.module.lambdas[id.index()].stream {
                        return self.message(Callee::Lambda(next), request);
                    }
                }
                stop => return ended(stop),
            }
        }
    }

    /// The target of the first rule whose condition holds.
    fn pick(&mut self, stage: &'m Match, request: &[u8]) -> Result<Option<Target>, Stop> {
        if (request.len() as u64) < u64::from(stage.min_len) {
            return Ok(None);
        }
        for (index, rule) in stage.rules.iter().enumerate() {
            if self.holds(&rule.cond)? {
                self.counted(|counts| counts.rule(index));
                return Ok(Some(rule.target));
            }
        }
        Ok(None)
    }

    fn holds(&mut self, cond: &'m Cond) -> Result<bool, Stop> {
        Ok(match cond {
            Cond::True => true,
            Cond::Not(inner) => !self.holds(inner)?,
            Cond::All(items) => {
                for item in items {
                    if !self.holds(item)? {
                        return Ok(false);
                    }
                }
                true
            }
            Cond::Any(items) => {
                for item in items {
                    if self.holds(item)? {
                        return Ok(true);
                    }
                }
                false
            }
            Cond::Cmp {
                field,
                op,
                swapped,
                value,
            } => {
                let found = self.field(*field)?;
                let (a, b) = if *swapped {
                    (*value, found)
                } else {
                    (found, *value)
                };
                compare(*op, field.width(), a, b)
            }
            Cond::Range { field, lo, hi } => (*lo..*hi).contains(&self.field(*field)?),
            Cond::Masked { field, mask, value } => self.field(*field)? & mask == *value,
            Cond::Has { table, key } => {
                let key: Result<Vec<Data>, Stop> = key.iter().map(|part| self.key_field(part)).collect();
                self.lookup(*table, &key?).is_some()
            }
            Cond::Eval(func) => {
                self.frames.clear();
                self.func(func, &[])? == [1]
            }
        })
    }

    fn field(&self, field: Field) -> Result<u64, Stop> {
        match field {
            Field::Bits { bit, width } => self
                .request
                .load_bits(0, bit.into(), width)
                .map_err(|_| Stop::Invalid("a field outside the request".to_owned())),
            Field::Pkt(field) => Ok(self.env.pkt(field) & crate::mask(field.width())),
            Field::Rest { offset, max } => Ok(self.request_len.saturating_sub(offset).min(max).into()),
        }
    }

    fn key_field(&self, key: &KeyField) -> Result<Data, Stop> {
        match key {
            KeyField::Field(field) => self.field(*field).map(Data::Int),
            KeyField::Const(value) => Ok(Data::Int(*value)),
            KeyField::Bytes { offset, len } => match self.request.read(*offset as usize, *len as usize) {
                Ok(bytes) => Ok(Data::Bytes(bytes.into())),
                Err(_) => Err(Stop::Invalid("a key outside the request".to_owned())),
            },
        }
    }
}

/// A request in front of the conditions of a match.
pub struct StageView<'m> {
    run: Run<'m, 'm>,
}

impl<'m> StageView<'m> {
    pub(super) fn new(mut run: Run<'m, 'm>, request: &[u8]) -> Self {
        run.request = Memory::of_bytes(request);
        run.request_len = request.len() as u32;
        Self { run }
    }

    /// Whether the condition of a rule, by its place in the match, holds.
    ///
    /// # Errors
    /// How the request ends where the condition traps, or what is wrong where there is no such rule.
    pub fn rule(&mut self, index: usize) -> Result<bool, Outcome> {
        let module = self.run.module;
        let rule = match &module.dispatch {
            Dispatch::Match(stage) => stage.rules.get(index),
            Dispatch::Only(_) | Dispatch::Unreachable => None,
        };
        let Some(rule) = rule else {
            return Err(Outcome::Invalid(format!("the match has no rule {index}")));
        };
        self.run.holds(&rule.cond).map_err(ended)
    }

    /// An integer of the request or the packet.
    ///
    /// # Errors
    /// What is wrong where the request is too short for it.
    pub fn field(&mut self, field: Field) -> Result<u64, Outcome> {
        self.run.field(field).map_err(ended)
    }
}

fn ended(stop: Stop) -> Outcome {
    match stop {
        Stop::Reply(reply) => Outcome::Reply(reply),
        Stop::Drop => Outcome::Drop,
        Stop::Punt(_) => Outcome::Punt,
        Stop::Trap(cause, loc) => Outcome::Trap(cause, loc),
        Stop::OutOfSteps => Outcome::OutOfSteps,
        Stop::Invalid(message) => Outcome::Invalid(message),
        Stop::Enter(part, _) => Outcome::Invalid(format!("{part} is entered outside a lambda")),
    }
}
