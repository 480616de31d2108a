//! The engines that the differential tests compare, each behind [`Runner`].

use std::sync::Arc;

use lambdac_diag::{SourceMap, Span};
use lambdac_driver::testing;
use lambdac_hir as hir;
use lambdac_interp::{Env, Interpreter, PktValues, ServiceOracle, TrapCause};
use lambdac_mir::interp as mir;
use lambdac_mir::{Data, Module, ObjectKind, ServiceOp, Shape};
use lnic_engine::control::StateDump;
use lnic_engine::{Call, Meta};

use crate::differential::{Mismatch, Outcome, Runner, ServiceAnswer, State, service_answer};
use crate::generate::Request;

mod host;
mod xdp;
pub use host::HostRunner;
pub use xdp::XdpRunner;

/// Seed of the stream of `random()` on every engine.
pub(crate) const SEED: u64 = 7;

/// Steps that a call may take; a generated program needs a small part of them.
const BUDGET: u64 = 50_000_000;

/// What surrounds a request, for the host's code.
fn meta(request: &Request) -> Meta<'_> {
    Meta {
        src_ip: request.src_ip,
        src_port: request.src_port,
        dst_port: request.dst_port,
        port: request.port,
        request_id: request.request_id,
        now: request.now,
        random: request.random,
        params: None,
    }
}

/// What a service answers the host's code.
fn answer(call: &Call<'_>) -> testing::ServiceAnswer {
    match service_answer(call.op == ServiceOp::Get, call.key) {
        ServiceAnswer::Value(value) => testing::ServiceAnswer::Value(value),
        ServiceAnswer::Done => testing::ServiceAnswer::Done,
        ServiceAnswer::Missing => testing::ServiceAnswer::Missing,
        ServiceAnswer::Failed => testing::ServiceAnswer::Failed,
    }
}

/// The HIR evaluator.
pub struct HirRunner {
    interpreter: Interpreter,
    map: SourceMap,
}

impl HirRunner {
    /// With fresh state.
    pub fn new(workload: Arc<hir::Workload>, map: SourceMap) -> Self {
        let mut interpreter = Interpreter::new(workload);
        interpreter.seed(SEED);
        interpreter.set_budget(Some(BUDGET));
        Self { interpreter, map }
    }

    /// How often each rule of the match held.
    pub fn rule_hits(&self) -> Vec<u64> {
        self.interpreter.rule_hits().to_vec()
    }

    fn line(&self, span: Span) -> u32 {
        self.map.line_column(span.file, span.start).0
    }
}

struct Oracle;

impl ServiceOracle for Oracle {
    fn request(
        &mut self,
        _: hir::ServiceId,
        op: hir::ServiceOp,
        key: &[u8],
        _: Option<&[u8]>,
    ) -> hir::GivenResult {
        match service_answer(op == hir::ServiceOp::Get, key) {
            ServiceAnswer::Value(value) => hir::GivenResult::Value(value),
            ServiceAnswer::Done => hir::GivenResult::Done,
            ServiceAnswer::Missing => hir::GivenResult::None,
            ServiceAnswer::Failed => hir::GivenResult::Fail,
        }
    }
}

fn cause(cause: TrapCause) -> &'static str {
    match cause {
        TrapCause::Index => lambdac_mir::TrapCause::Index,
        TrapCause::Slice => lambdac_mir::TrapCause::Slice,
        TrapCause::Capacity => lambdac_mir::TrapCause::Capacity,
        TrapCause::Narrow => lambdac_mir::TrapCause::Narrow,
        TrapCause::Pad => lambdac_mir::TrapCause::Pad,
        TrapCause::LoopMax => lambdac_mir::TrapCause::LoopMax,
    }
    .name()
}

impl Runner for HirRunner {
    fn name(&self) -> &'static str {
        "interp"
    }

    fn call(&mut self, request: &Request) -> Outcome {
        let mut env = Env::new(self.interpreter.workload());
        let mut pkt = PktValues::default();
        pkt.set(hir::PktField::SrcIp, request.src_ip.into());
        pkt.set(hir::PktField::SrcPort, request.src_port.into());
        pkt.set(hir::PktField::DstPort, request.dst_port.into());
        pkt.set(hir::PktField::Port, request.port.into());
        pkt.set(hir::PktField::RequestId, request.request_id);
        env.pkt = pkt;
        env.now = request.now;
        env.random = request.random;
        match self
            .interpreter
            .call(hir::Callee::Workload, &request.bytes, &env, &mut Oracle)
        {
            lambdac_interp::Outcome::Reply(bytes) => Outcome::Reply(bytes),
            lambdac_interp::Outcome::Drop => Outcome::Drop,
            lambdac_interp::Outcome::Punt => Outcome::Punt,
            lambdac_interp::Outcome::Trap(trap) => Outcome::Trap(cause(trap.cause), self.line(trap.span)),
            lambdac_interp::Outcome::BadRequest => Outcome::BadRequest,
            lambdac_interp::Outcome::OutOfSteps => Outcome::Bug("out of steps".into()),
        }
    }

    fn state(&mut self, now: u64) -> State {
        let lines = |dump: &lambdac_interp::StateDump| match dump {
            lambdac_interp::StateDump::Value(value) => vec![hir_text(value)],
            lambdac_interp::StateDump::Counters(counts) => counts.iter().map(u64::to_string).collect(),
            lambdac_interp::StateDump::Entries(entries) => sorted(
                entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", hir_text(key), hir_text(value))),
            ),
        };
        let state = self.interpreter.state(now);
        by_name(state.iter().map(|(name, dump)| (name.to_string(), lines(dump))))
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

pub(crate) fn by_name(objects: impl Iterator<Item = (String, Vec<String>)>) -> State {
    let mut objects: State = objects.collect();
    objects.sort();
    objects
}

/// Scalars in decimal in order, byte strings in hex.
fn hir_text(value: &hir::Value) -> String {
    match value {
        hir::Value::Bytes(bytes) => hex(bytes),
        hir::Value::Array(values) | hir::Value::Struct(values) => {
            values.iter().map(hir_text).collect::<Vec<_>>().join(" ")
        }
        hir::Value::None | hir::Value::Some(_) | hir::Value::Unit => String::new(),
        scalar => scalar.as_int().to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x{digits}")
}

/// As [`hir_text`], for MIR's data.
pub(crate) fn mir_text(shape: &Shape, data: &Data) -> String {
    match (shape, data) {
        (Shape::Bytes(_) | Shape::View, Data::Bytes(bytes)) => hex(bytes),
        (_, Data::Bytes(bytes)) => bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(" "),
        (_, Data::Int(value)) => value.to_string(),
        (Shape::Array(elem, _), Data::List(list)) => list
            .iter()
            .map(|data| mir_text(elem, data))
            .collect::<Vec<_>>()
            .join(" "),
        (Shape::Struct(fields), Data::List(list)) => {
            let parts = fields.iter().zip(list.iter());
            parts
                .map(|(shape, data)| mir_text(shape, data))
                .collect::<Vec<_>>()
                .join(" ")
        }
        (shape, Data::List(_)) => format!("a list for {shape:?}"),
    }
}

/// A key's parts; bytes in it are arrays.
pub(crate) fn key_text(parts: &[Data]) -> String {
    let part = |data: &Data| mir_text(&Shape::Array(Arc::new(Shape::Scalar(8)), 0), data);
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}

/// The value's structure of an lru or map, or of a value.
pub(crate) fn value_shape(kind: &ObjectKind) -> Option<&Shape> {
    match kind {
        ObjectKind::Value { shape, .. } => Some(shape),
        ObjectKind::Lru { value, .. } | ObjectKind::Map { value, .. } => Some(value),
        ObjectKind::Counter { .. } | ObjectKind::Table { .. } => None,
    }
}

/// What an object of a running workload holds, as lines.
pub(crate) fn dump_lines(module: &Module, name: &str, dump: &StateDump) -> Vec<String> {
    let object = module.objects.iter().find(|object| &*object.name == name);
    let shape = object
        .and_then(|object| value_shape(&object.kind))
        .unwrap_or(&Shape::View);
    match dump {
        StateDump::Value(value) => vec![mir_text(shape, value)],
        StateDump::Counters(counts) => counts.iter().map(u64::to_string).collect(),
        StateDump::Entries(entries) => sorted(
            entries
                .iter()
                .map(|(key, value)| format!("{}: {}", key_text(key), mir_text(shape, value))),
        ),
    }
}

/// The MIR interpreter.
pub struct MirRunner {
    name: &'static str,
    module: Arc<Module>,
    interpreter: mir::MirInterp,
}

impl MirRunner {
    /// With fresh state.
    ///
    /// # Errors
    /// If the module is invalid.
    pub fn new(name: &'static str, module: Arc<Module>) -> Result<Self, Mismatch> {
        let mut interpreter =
            mir::MirInterp::new(module.clone()).map_err(|e| Mismatch(format!("{name} is invalid: {e:?}")))?;
        interpreter.seed(SEED);
        interpreter.limit_steps(BUDGET);
        Ok(Self {
            name,
            module,
            interpreter,
        })
    }
}

impl Runner for MirRunner {
    fn name(&self) -> &'static str {
        self.name
    }

    fn call(&mut self, request: &Request) -> Outcome {
        let env = mir::Env {
            pkt: [
                request.src_ip.into(),
                request.src_port.into(),
                request.dst_port.into(),
                request.port.into(),
                request.request_id,
            ],
            now: request.now,
            random: request.random,
            params: self.interpreter.default_params(),
        };
        let mut services = |_: &lambdac_mir::Service, op, key: &[u8], _: Option<&[u8]>| match service_answer(
            op == lambdac_mir::ServiceOp::Get,
            key,
        ) {
            ServiceAnswer::Value(value) => mir::Answer::Value(value),
            ServiceAnswer::Done => mir::Answer::Done,
            ServiceAnswer::Missing => mir::Answer::Missing,
            ServiceAnswer::Failed => mir::Answer::Failed,
        };
        match self
            .interpreter
            .call(mir::Callee::Dispatch, &request.bytes, &env, &mut services)
        {
            mir::Outcome::Reply(bytes) => Outcome::Reply(bytes),
            mir::Outcome::Drop => Outcome::Drop,
            mir::Outcome::Punt => Outcome::Punt,
            mir::Outcome::Trap(cause, loc) => Outcome::Trap(cause.name(), loc.line),
            mir::Outcome::BadRequest => Outcome::BadRequest,
            mir::Outcome::OutOfSteps => Outcome::Bug("out of steps".into()),
            mir::Outcome::Invalid(why) => Outcome::Bug(why),
        }
    }

    fn state(&mut self, now: u64) -> State {
        let state = self.interpreter.state(now);
        let lines = |(name, dump): &(Arc<str>, mir::StateDump)| {
            (name.to_string(), dump_text(&self.module, name, dump))
        };
        by_name(state.iter().map(lines))
    }
}

/// What an object of a module holds, as lines of text.
pub(crate) fn dump_text(module: &Module, name: &str, dump: &mir::StateDump) -> Vec<String> {
    let shape = || {
        let object = module.objects.iter().find(|object| &*object.name == name);
        object
            .and_then(|object| value_shape(&object.kind))
            .cloned()
            .unwrap_or(Shape::View)
    };
    match dump {
        mir::StateDump::Value(value) => vec![mir_text(&shape(), value)],
        mir::StateDump::Counters(counts) => counts.iter().map(u64::to_string).collect(),
        mir::StateDump::Entries(entries) => {
            let shape = shape();
            let entry =
                |(key, value): &(Vec<Data>, Data)| format!("{}: {}", key_text(key), mir_text(&shape, value));
            sorted(entries.iter().map(entry))
        }
    }
}
