//! The engine that runs compiled lambdas, as the worker's [`Engine`].
//!
//! Nothing is decided here: names, numbers and JSON are carried over from one side to the other.

use std::time::Duration;

use lambdac_mir::{LambdaId, Protocol, ServiceOp as MirServiceOp, TrapCause as MirTrapCause};
use lnic_engine::control::{StateDump, Tree};
use lnic_engine::{self as engine, LogSink, MessageFacts, Table};
use lnic_wire::Status;
use serde_json::{Map, Number, Value};

use crate::engine_api::{
    Answer, Continuation, ControlError, Engine, Io, Outcome, Packet, Scratch, ServiceCall, ServiceInfo,
    ServiceOp, Trap, TrapCause, WorkloadInfo,
};
use crate::events::EventLog;

/// A loaded image with the ids of its workloads.
pub struct LoadedImage {
    image: engine::Image,
    workloads: Vec<WorkloadInfo>,
    services: Vec<ServiceInfo>,
    /// Index in `services` of each workload's first.
    first_service: Vec<usize>,
    events: EventLog,
    /// Makes the streams of `random()` of different threads different.
    seeds: std::sync::atomic::AtomicU64,
}

impl std::fmt::Debug for LoadedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedImage")
            .field("workloads", &self.workloads)
            .finish_non_exhaustive()
    }
}

impl LoadedImage {
    /// An image whose workloads have these ids, in the image's order. Lambdas' `log` goes to `events`.
    pub fn new(image: engine::Image, ids: &[u32], events: EventLog) -> Self {
        let mut services = Vec::new();
        let mut first_service = Vec::new();
        for workload in image.workloads() {
            first_service.push(services.len());
            services.extend(
                workload
                    .module()
                    .services
                    .iter()
                    .map(|service| service_info(workload.name(), service)),
            );
        }
        let workloads = image
            .workloads()
            .iter()
            .zip(ids)
            .map(|(workload, id)| info(workload, *id))
            .collect();
        let seeds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |time| time.as_nanos() as u64);
        Self {
            image,
            workloads,
            services,
            first_service,
            events,
            seeds: seeds.into(),
        }
    }

    /// The image, to load the next one from.
    pub fn image(&self) -> &engine::Image {
        &self.image
    }

    /// As [`Engine::state`], where `elsewhere` gives the content of the objects that this image doesn't hold, such as
    /// those of a NIC.
    ///
    /// # Errors
    /// As [`Engine::state`].
    pub fn state_with(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
        elsewhere: &dyn Fn(&str) -> Option<StateDump>,
    ) -> Result<Value, ControlError> {
        let now = crate::sys::now_ns();
        let workload = &self.image.workloads()[workload];
        let read = |name: &str, path: &[&str]| match elsewhere(name) {
            Some(dump) => workload.read_from(name, &dump, path),
            None => workload.read(name, path, now),
        };
        match object {
            None => {
                let objects = workload.state(now);
                let pairs = objects
                    .iter()
                    .filter_map(|(name, _)| Some((name.clone(), to_json(&read(name, &[]).ok()?))));
                Ok(Value::Object(pairs.collect()))
            }
            Some(object) => {
                let path: Vec<&str> = index.map_or_else(Vec::new, |index| index.split('.').collect());
                read(object, &path)
                    .map(|tree| to_json(&tree))
                    .map_err(control_error)
            }
        }
    }

    /// The lambda that a workload's match picks for a request, by [`WorkloadInfo::lambdas`]; none where it ends the
    /// request itself.
    pub(crate) fn picked(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
    ) -> Option<usize> {
        let scratch = &mut self.scratch_of(scratch).engine;
        let picked = self.image.workloads()[workload].picked(scratch, &meta(packet), request);
        picked.map(LambdaId::index)
    }

    fn new_scratch(&self) -> ThreadScratch {
        let seed = self
            .seeds
            .fetch_add(0x9E37_79B9_7F4A_7C15, std::sync::atomic::Ordering::Relaxed);
        let mut scratch = engine::Scratch::new(seed);
        scratch.set_log(Box::new(Sink(self.events.clone())));
        ThreadScratch {
            engine: scratch,
            spare: Vec::new(),
        }
    }

    fn scratch_of<'s>(&self, scratch: &'s mut Scratch) -> &'s mut ThreadScratch {
        if !scratch.is::<ThreadScratch>() {
            *scratch = Box::new(self.new_scratch());
        }
        match scratch.downcast_mut() {
            Some(scratch) => scratch,
            None => unreachable!("it was just made of this type"),
        }
    }

    fn outcome(
        &self,
        workload: usize,
        outcome: engine::Outcome,
        call: &mut ServiceCall,
        spare: &mut Spare,
    ) -> Outcome {
        match outcome {
            engine::Outcome::Reply(len) => Outcome::Reply(len),
            engine::Outcome::Drop => Outcome::Drop,
            engine::Outcome::Punt => Outcome::Punt,
            engine::Outcome::BadRequest => Outcome::BadRequest,
            engine::Outcome::Trap(trap) => Outcome::Trap(Trap {
                // The match stage traps in the name of no lambda: one past the last.
                lambda: trap
                    .lambda
                    .map_or(self.workloads[workload].lambdas.len(), |lambda| lambda.index()),
                line: trap.line,
                cause: cause(trap.cause),
            }),
            engine::Outcome::Await(continuation) => {
                let asked = continuation.call();
                call.service = self.first_service[workload] + asked.service;
                call.op = match asked.op {
                    MirServiceOp::Get => ServiceOp::Get,
                    MirServiceOp::Set => ServiceOp::Set,
                    MirServiceOp::Delete => ServiceOp::Delete,
                };
                call.key.clear();
                call.key.extend_from_slice(asked.key);
                call.value.clear();
                call.value.extend_from_slice(asked.value);
                let mut waiting = spare.pop().unwrap_or_default();
                *waiting = Waiting {
                    workload,
                    continuation: Some(continuation),
                };
                Outcome::Await(waiting)
            }
        }
    }

    fn table_of(&self, workload: usize, table: &str) -> Result<&Table, ControlError> {
        self.image.workloads()[workload]
            .table(table)
            .map_err(control_error)
    }
}

/// A waiting lambda and its workload's index in the image that it began in.
#[derive(Default)]
struct Waiting {
    workload: usize,
    continuation: Option<engine::Continuation>,
}

/// Boxes of lambdas that waited, for the next ones.
type Spare = Vec<Box<Waiting>>;

/// The most that a thread keeps.
const SPARE: usize = 1024;

/// What one thread uses again and again.
struct ThreadScratch {
    engine: engine::Scratch,
    spare: Spare,
}

struct Sink(EventLog);

impl LogSink for Sink {
    fn line(&mut self, workload: &str, text: &str) {
        self.0.log(crate::sys::now_ns(), workload, || text.to_owned());
    }
}

fn info(workload: &engine::Workload, id: u32) -> WorkloadInfo {
    let module = workload.module();
    let facts = MessageFacts::of(module);
    let reached = workload
        .reachable()
        .first()
        .map(|lambda| &module.lambdas[lambda.index()]);
    WorkloadInfo {
        name: workload.name().to_owned(),
        id,
        request: reached.map_or_else(String::new, |lambda| lambda.request_type.to_string()),
        reply: reached.map_or_else(String::new, |lambda| lambda.reply_type.to_string()),
        lambdas: module
            .lambdas
            .iter()
            .map(|lambda| lambda.name.to_string())
            .collect(),
        min_request: facts.request.min as usize,
        max_request: facts.request.max as usize,
        max_reply: workload.max_reply(),
        chunk: facts.chunk.map(|chunk| chunk as usize),
        // It is at most a packet.
        fragment: u16::try_from(facts.fragment).unwrap_or(u16::MAX),
        awaits: facts.awaits,
    }
}

fn service_info(workload: &str, service: &lambdac_mir::Service) -> ServiceInfo {
    match service.protocol {
        Protocol::Memcached => ServiceInfo {
            name: format!("{workload}.{}", service.name),
            address: service.address.to_string(),
            timeout: Duration::from_nanos(service.timeout),
        },
    }
}

fn cause(cause: MirTrapCause) -> TrapCause {
    match cause {
        MirTrapCause::Index => TrapCause::Index,
        MirTrapCause::Slice => TrapCause::Slice,
        MirTrapCause::Capacity => TrapCause::Capacity,
        MirTrapCause::Narrow => TrapCause::Cast,
        MirTrapCause::Pad => TrapCause::Pad,
        MirTrapCause::LoopMax => TrapCause::LoopBound,
    }
}

fn meta(packet: &Packet) -> engine::Meta<'static> {
    engine::Meta {
        src_ip: packet.src_ip,
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        port: packet.port,
        request_id: packet.request_id,
        now: packet.now,
        random: None,
        params: None,
    }
}

fn control_error(error: engine::ControlError) -> ControlError {
    let text = error.to_string();
    match error {
        engine::ControlError::NoObject(_)
        | engine::ControlError::NoTable(_)
        | engine::ControlError::IsTable(_)
        | engine::ControlError::NoElement { .. } => ControlError::NotFound(text),
        _ => ControlError::Invalid(text),
    }
}

/// Byte strings as text where they are plain ASCII that reads back as itself, else as hexadecimal after `0x`.
fn to_json(tree: &Tree) -> Value {
    match tree {
        Tree::Int(value) => Value::Number(Number::from(*value)),
        Tree::Negative(value) => Value::Number(Number::from(*value)),
        Tree::Bytes(bytes) => Value::String(bytes_text(bytes)),
        Tree::Text(text) => Value::String(text.clone()),
        Tree::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Tree::Map(members) => {
            let pairs = members.iter().map(|(name, tree)| (name.clone(), to_json(tree)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

fn bytes_text(bytes: &[u8]) -> String {
    let plain = bytes.iter().all(|&byte| matches!(byte, b' '..=b'~')) && !bytes.starts_with(b"0x");
    if plain {
        return bytes.iter().map(|&byte| char::from(byte)).collect();
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

fn from_json(value: &Value) -> Result<Tree, ControlError> {
    let invalid = |what: &str| Err(ControlError::Invalid(format!("{what} is no part of an entry")));
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Ok(Tree::Int(number)),
            (None, Some(number)) => Ok(Tree::Negative(number)),
            // It is no integer of any width, which is said where one is read.
            (None, None) => Ok(Tree::Text(number.to_string())),
        },
        Value::Bool(flag) => Ok(Tree::Int(u64::from(*flag))),
        Value::String(text) => Ok(Tree::Text(text.clone())),
        Value::Array(items) => Ok(Tree::List(items.iter().map(from_json).collect::<Result<_, _>>()?)),
        Value::Object(members) => {
            let pairs = members
                .iter()
                .map(|(name, value)| Ok((name.clone(), from_json(value)?)));
            Ok(Tree::Map(pairs.collect::<Result<_, ControlError>>()?))
        }
        Value::Null => invalid("null"),
    }
}

fn list(value: &Value) -> Result<&[Value], ControlError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(ControlError::Invalid("a list is expected".into())),
    }
}

impl Engine for LoadedImage {
    fn workloads(&self) -> &[WorkloadInfo] {
        &self.workloads
    }

    fn services(&self) -> &[ServiceInfo] {
        &self.services
    }

    fn scratch(&self) -> Scratch {
        Box::new(self.new_scratch())
    }

    fn invoke(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        let ThreadScratch { engine, spare } = self.scratch_of(scratch);
        let outcome = self.image.workloads()[workload].invoke(engine, &meta(packet), request, io.reply);
        self.outcome(workload, outcome, io.call, spare)
    }

    fn invoke_lambda(
        &self,
        scratch: &mut Scratch,
        (workload, lambda): (usize, usize),
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        let loaded = &self.image.workloads()[workload];
        let Some(id) = u32::try_from(lambda)
            .ok()
            .filter(|_| lambda < loaded.module().lambdas.len())
        else {
            return Outcome::Refused(Status::Punted);
        };
        let ThreadScratch { engine, spare } = self.scratch_of(scratch);
        let outcome = loaded.invoke_lambda(LambdaId(id), engine, &meta(packet), request, io.reply);
        self.outcome(workload, outcome, io.call, spare)
    }

    fn resume(
        &self,
        scratch: &mut Scratch,
        continuation: Continuation,
        answer: Answer<'_>,
        now: u64,
        io: &mut Io<'_>,
    ) -> Outcome {
        let Ok(mut waiting) = continuation.downcast::<Waiting>() else {
            unreachable!("the worker gives a continuation back to the engine that made it")
        };
        let workload = waiting.workload;
        let Some(continuation) = waiting.continuation.take() else {
            unreachable!("a continuation is resumed once: it is moved")
        };
        let answer = match answer {
            Answer::Value(value) => engine::Answer::Value(value),
            Answer::Done => engine::Answer::Done,
            Answer::Missing => engine::Answer::Missing,
            Answer::Failed => engine::Answer::Failed,
        };
        let ThreadScratch { engine, spare } = self.scratch_of(scratch);
        if spare.len() < SPARE {
            spare.push(waiting);
        }
        let outcome = continuation.resume(engine, answer, now, None, io.reply);
        self.outcome(workload, outcome, io.call, spare)
    }

    fn state(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> Result<Value, ControlError> {
        self.state_with(workload, object, index, &|_| None)
    }

    fn table(&self, workload: usize, table: &str) -> Result<Value, ControlError> {
        Ok(Value::Array(
            self.table_of(workload, table)?
                .list()
                .iter()
                .map(to_json)
                .collect(),
        ))
    }

    fn set_table(&self, workload: usize, table: &str, entries: &Value) -> Result<(), ControlError> {
        let table = self.table_of(workload, table)?;
        let row = |entry| table.parse_row(&from_json(entry)?).map_err(control_error);
        let rows = list(entries)?.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        table.replace(rows).map_err(control_error)
    }

    fn delete_entries(&self, workload: usize, table: &str, keys: Option<&Value>) -> Result<(), ControlError> {
        let table = self.table_of(workload, table)?;
        let Some(keys) = keys else {
            return table.replace(Vec::new()).map_err(control_error);
        };
        let key = |key| table.parse_key(&from_json(key)?).map_err(control_error);
        let keys = list(keys)?.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        table.delete(&keys).map(|_| ()).map_err(control_error)
    }
}
