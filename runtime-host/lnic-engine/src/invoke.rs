//! Invocations: match, lambda, punt chain, waiting and going on.

use std::sync::Arc;

use lambdac_backend_host::context::{self, Context, ServiceAnswer, ServiceRequest, dispatch, status};
use lambdac_mir::{Dispatch, LambdaId, ServiceOp, TrapCause};

use crate::image::Workload;
use crate::params::Params;
use crate::runtime::{RUNTIME, Running};
use crate::scratch::{Scratch, aligned};

/// Facts about a request beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'p> {
    /// `pkt.src_ip`
    pub src_ip: u32,
    /// `pkt.src_port`
    pub src_port: u16,
    /// `pkt.dst_port`
    pub dst_port: u16,
    /// `pkt.port`
    pub port: u16,
    /// `pkt.request_id`
    pub request_id: u64,
    /// What `now()` gives.
    pub now: u64,
    /// What every `random()` gives; else they are drawn from the scratch's state.
    pub random: Option<u32>,
    /// Parameters for this invocation alone.
    pub params: Option<&'p Params>,
}

/// Where and why a lambda, or a condition of the match, trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrapInfo {
    /// The lambda; none for the match stage.
    pub lambda: Option<LambdaId>,
    /// Why.
    pub cause: TrapCause,
    /// Index into the module's files.
    pub file: u32,
    /// Line from 1; 0 where unknown.
    pub line: u32,
}

impl TrapInfo {
    /// Name of the lambda, `match` for the match stage.
    pub fn lambda_name<'w>(&self, workload: &'w Workload) -> &'w str {
        match self.lambda {
            Some(lambda) => &workload.module.lambdas[lambda.index()].name,
            None => "match",
        }
    }

    /// Name of the source file, empty where unknown.
    pub fn file_name<'w>(&self, workload: &'w Workload) -> &'w str {
        workload
            .module
            .files
            .get(self.file as usize)
            .map_or("", |name| name)
    }
}

/// How an invocation, or its part up to the next wait, ended.
#[derive(Debug)]
pub enum Outcome {
    /// So many bytes of the reply buffer are the reply.
    Reply(usize),
    /// No answer.
    Drop,
    /// To the configured fallback.
    Punt,
    /// The request does not fit what the match or the lambda accepts.
    BadRequest,
    /// It trapped.
    Trap(TrapInfo),
    /// It waits for a service.
    Await(Continuation),
}

/// What a waiting lambda asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'c> {
    /// Index into the module's services.
    pub service: usize,
    /// The operation.
    pub op: ServiceOp,
    /// The key, unchecked.
    pub key: &'c [u8],
    /// The value to set; empty for other operations.
    pub value: &'c [u8],
    /// The longest value that is taken as an answer; a longer one counts as failed.
    pub limit: usize,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The value of a get.
    Value(&'a [u8]),
    /// The set or delete was done.
    Done,
    /// No such key, or the store was refused.
    Missing,
    /// No answer that can be used.
    Failed,
}

/// What a waiting lambda needs to go on: live values and slots, the request, the facts.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    live: Vec<u8>,
    request: Vec<u8>,
    call: ServiceRequest,
    lambda: u32,
    part: u32,
    meta: Facts,
}

impl Saved {
    /// Empties it and makes room for so many bytes of live values and of request.
    pub(crate) fn clear(&mut self, live: usize, request: usize) {
        self.live.clear();
        self.live.reserve(live);
        self.request.clear();
        self.request.reserve(request);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.live.capacity() + self.request.capacity()
    }
}

/// The facts of a [`Meta`] that last.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    src_ip: u32,
    src_port: u16,
    dst_port: u16,
    port: u16,
    request_id: u64,
    random: Option<u32>,
}

/// A lambda that waits for a service's answer. It keeps code, objects and parameters alive.
pub struct Continuation {
    workload: Arc<Workload>,
    saved: Box<Saved>,
}

impl std::fmt::Debug for Continuation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Continuation")
            .field("call", &self.call())
            .finish_non_exhaustive()
    }
}

impl Continuation {
    /// What it asks.
    pub fn call(&self) -> Call<'_> {
        let call = &self.saved.call;
        let piece = |offset: u32, len: u32| {
            let start = offset as usize;
            self.saved
                .live
                .get(start..start + len as usize)
                .unwrap_or_default()
        };
        let op = match call.op {
            0 => ServiceOp::Get,
            1 => ServiceOp::Set,
            _ => ServiceOp::Delete,
        };
        Call {
            service: call.service as usize,
            op,
            key: piece(call.key, call.key_len),
            value: if op == ServiceOp::Set {
                piece(call.value, call.value_len)
            } else {
                &[]
            },
            limit: call.limit as usize,
        }
    }

    /// The workload that it belongs to.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.workload
    }

    /// Goes on with an answer, at a time; `reply` as for [`Workload::invoke`]. Parameters that were given to the
    /// invocation alone must be given again.
    ///
    /// # Panics
    /// As [`Workload::invoke`].
    pub fn resume(
        self,
        scratch: &mut Scratch,
        answer: Answer<'_>,
        now: u64,
        params: Option<&Params>,
        reply: &mut [u8],
    ) -> Outcome {
        let Self { workload, saved } = self;
        let facts = saved.meta;
        let meta = Meta {
            src_ip: facts.src_ip,
            src_port: facts.src_port,
            dst_port: facts.dst_port,
            port: facts.port,
            request_id: facts.request_id,
            now,
            random: facts.random,
            params,
        };
        let lambda = LambdaId(saved.lambda);
        scratch.reserve(workload.code.needs(lambda.index()));
        for (word, chunk) in aligned_words(scratch).iter().zip(saved.live.chunks(8)) {
            word.store(
                crate::words::load_word(chunk, 0),
                std::sync::atomic::Ordering::Relaxed,
            );
        }
        let start = Start {
            part: saved.part,
            answer: answer_of(match answer {
                // Code copies the value into a slot of just this size.
                Answer::Value(value) if value.len() > saved.call.limit as usize => Answer::Failed,
                answer => answer,
            }),
        };
        let mut invocation = Invocation {
            workload: &workload,
            scratch,
            meta: &meta,
            request: &saved.request,
            reply,
        };
        let outcome = invocation.run_lambda(lambda, start);
        scratch.keep_saved(saved);
        outcome
    }
}

/// The words from the save area's aligned base on.
fn aligned_words(scratch: &Scratch) -> &[std::sync::atomic::AtomicU64] {
    let skipped = (aligned(&scratch.save) as usize - scratch.save.base() as usize) / 8;
    scratch.save.get(skipped..).unwrap_or_default()
}

fn answer_of(answer: Answer<'_>) -> ServiceAnswer {
    let (value, len, ok, failed): (*const u8, usize, u8, u8) = match answer {
        Answer::Value(value) => (value.as_ptr(), value.len(), 1, 0),
        Answer::Done => (std::ptr::null(), 0, 1, 0),
        Answer::Missing => (std::ptr::null(), 0, 0, 0),
        Answer::Failed => (std::ptr::null(), 0, 0, 1),
    };
    ServiceAnswer {
        value,
        len: u32::try_from(len).unwrap_or(u32::MAX),
        ok,
        failed,
    }
}

/// Where a lambda starts.
struct Start {
    part: u32,
    answer: ServiceAnswer,
}

const BEGIN: Start = Start {
    part: 0,
    answer: ServiceAnswer {
        value: std::ptr::null(),
        len: 0,
        ok: 0,
        failed: 0,
    },
};

/// One invocation.
struct Invocation<'i> {
    workload: &'i Arc<Workload>,
    scratch: &'i mut Scratch,
    meta: &'i Meta<'i>,
    request: &'i [u8],
    reply: &'i mut [u8],
}

impl Workload {
    /// Runs match and lambda on a request: a whole message, or one chunk of a stream.
    ///
    /// # Panics
    /// If `reply` is shorter than [`Workload::max_reply`].
    pub fn invoke(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        meta: &Meta<'_>,
        request: &[u8],
        reply: &mut [u8],
    ) -> Outcome {
        self.invocation(scratch, meta, request, reply).run_match()
    }

    /// The lambda that the match picks for a request; none where it ends the request itself. Nothing is run.
    pub fn picked(
        self: &Arc<Self>,
        scratch: &mut Scratch,
        meta: &Meta<'_>,
        request: &[u8],
    ) -> Option<LambdaId> {
        self.invocation(scratch, meta, request, &mut []).pick().ok()
    }

    /// Runs one lambda, without the match stage.
    ///
    /// # Panics
    /// If `reply` is shorter than [`Workload::max_reply`], or there is no such lambda.
    pub fn invoke_lambda(
        self: &Arc<Self>,
        lambda: LambdaId,
        scratch: &mut Scratch,
        meta: &Meta<'_>,
        request: &[u8],
        reply: &mut [u8],
    ) -> Outcome {
        self.invocation(scratch, meta, request, reply)
            .run_lambda(lambda, BEGIN)
    }

    fn invocation<'i>(
        self: &'i Arc<Self>,
        scratch: &'i mut Scratch,
        meta: &'i Meta<'i>,
        request: &'i [u8],
        reply: &'i mut [u8],
    ) -> Invocation<'i> {
        Invocation {
            workload: self,
            scratch,
            meta,
            request,
            reply,
        }
    }
}

impl Invocation<'_> {
    fn run_match(&mut self) -> Outcome {
        match self.pick() {
            Ok(lambda) => self.run_lambda(lambda, BEGIN),
            Err(outcome) => outcome,
        }
    }

    fn pick(&mut self) -> Result<LambdaId, Outcome> {
        match &self.workload.module.dispatch {
            Dispatch::Only(lambda) => Ok(*lambda),
            Dispatch::Unreachable => Err(Outcome::BadRequest),
            Dispatch::Match(_) => self.dispatch(),
        }
    }

    fn dispatch(&mut self) -> Result<LambdaId, Outcome> {
        if u32::try_from(self.request.len()).is_err() {
            return Err(Outcome::BadRequest);
        }
        self.scratch.reserve(self.workload.code.dispatch_needs());
        let mut running = self.running();
        let mut ctx = self.context(&mut running, &BEGIN);
        // SAFETY: `context` fills in every pointer for this workload; arena and save area are large enough.
        let chosen = unsafe { self.workload.code.dispatch(&mut ctx) };
        self.scratch.random_state = ctx.random_state;
        Err(match chosen {
            dispatch::DROP => Outcome::Drop,
            dispatch::PUNT => Outcome::Punt,
            dispatch::TRAP => Outcome::Trap(trap_info(&ctx, None)),
            dispatch::BAD_REQUEST => Outcome::BadRequest,
            lambda => return Ok(LambdaId(lambda)),
        })
    }

    /// Runs a lambda, and those that it punts to; punts form no cycle.
    fn run_lambda(&mut self, mut lambda: LambdaId, mut start: Start) -> Outcome {
        loop {
            let size = self.workload.module.lambdas[lambda.index()].request;
            let len = self.request.len() as u64;
            if len < size.min.into() || len > size.max.into() {
                return Outcome::BadRequest;
            }
            let most = self.workload.module.lambdas[lambda.index()].reply.max as usize;
            assert!(
                self.reply.len() >= most,
                "the reply buffer is shorter than the largest reply"
            );
            self.scratch.reserve(self.workload.code.needs(lambda.index()));
            let mut running = self.running();
            let mut ctx = self.context(&mut running, &start);
            // SAFETY: as in `dispatch`; `part` and the save area are 0 or what an await of this lambda left.
            let ended = unsafe { self.workload.code.run(lambda.index(), &mut ctx) };
            self.scratch.random_state = ctx.random_state;
            return match ended {
                status::REPLY => Outcome::Reply((ctx.reply_len as usize).min(self.reply.len())),
                status::DROP => Outcome::Drop,
                status::PUNT => Outcome::Punt,
                status::PUNT_TO => {
                    lambda = LambdaId(ctx.target);
                    start = BEGIN;
                    continue;
                }
                status::AWAIT => Outcome::Await(self.suspend(&ctx, lambda)),
                _ => Outcome::Trap(trap_info(&ctx, Some(lambda))),
            };
        }
    }

    fn running(&mut self) -> Running<'static> {
        // SAFETY: the name lives as long as the workload, which outlives the invocation that this is for.
        let workload = unsafe { std::mem::transmute::<&str, &'static str>(&self.workload.module.name) };
        Running {
            workload,
            scratch: self.scratch,
        }
    }

    fn context(&mut self, running: &mut Running<'static>, start: &Start) -> Context {
        let params = self.meta.params.unwrap_or(&self.workload.params);
        Context {
            request: self.request.as_ptr(),
            reply: self.reply.as_mut_ptr(),
            objects: self.workload.objects.bases(),
            params: params.base(),
            runtime: &RUNTIME,
            arena: aligned(&self.scratch.arena),
            save: aligned(&self.scratch.save),
            now: self.meta.now,
            random_state: self.scratch.random_state,
            random_fixed: self.meta.random.unwrap_or(0),
            random_is_fixed: self.meta.random.is_some().into(),
            request_id: self.meta.request_id,
            src_ip: self.meta.src_ip,
            src_port: self.meta.src_port,
            dst_port: self.meta.dst_port,
            port: self.meta.port,
            trap_cause: 0,
            request_len: self.request.len() as u32,
            reply_cap: u32::try_from(self.reply.len()).unwrap_or(u32::MAX),
            reply_len: 0,
            trap_file: 0,
            trap_line: 0,
            part: start.part,
            target: 0,
            save_len: 0,
            call: ServiceRequest::default(),
            answer: start.answer,
            user: std::ptr::from_mut(running).cast(),
        }
    }

    fn suspend(&mut self, ctx: &Context, lambda: LambdaId) -> Continuation {
        let mut saved = self.scratch.take_saved();
        // SAFETY: the code wrote `save_len` bytes there, and nothing runs in this scratch meanwhile.
        let live = unsafe { lambdac_backend_host::support::slice(ctx.save, ctx.save_len) };
        saved.live.extend_from_slice(live);
        saved.request.extend_from_slice(self.request);
        saved.call = ctx.call;
        saved.lambda = lambda.0;
        saved.part = ctx.part;
        saved.meta = Facts {
            src_ip: self.meta.src_ip,
            src_port: self.meta.src_port,
            dst_port: self.meta.dst_port,
            port: self.meta.port,
            request_id: self.meta.request_id,
            random: self.meta.random,
        };
        Continuation {
            workload: self.workload.clone(),
            saved,
        }
    }
}

fn trap_info(ctx: &context::Context, lambda: Option<LambdaId>) -> TrapInfo {
    let cause = TrapCause::ALL.get(usize::from(ctx.trap_cause)).copied();
    TrapInfo {
        lambda,
        cause: cause.unwrap_or(TrapCause::Index),
        file: ctx.trap_file,
        line: ctx.trap_line,
    }
}
