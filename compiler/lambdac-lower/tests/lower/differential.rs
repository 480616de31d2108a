//! The evaluator of typed HIR against MIR, before and after the await split: outcomes (trap causes and lines included),
//! what services are asked, and state after every call.

use std::sync::Arc;

use fastrand::Rng;
use lambdac_diag::SourceMap;
use lambdac_hir::{
    Callee, GivenResult, LambdaId, PktField, Request, ServiceId, ServiceOp, Step, Type, Value, Workload,
};
use lambdac_interp as hir;
use lambdac_mir::interp::{self as mir, MirInterp};
use lambdac_mir::{Data, Module};

use crate::common;

/// Bytes of a local from which on two random requests a lambda are enough: what more of them take is copying.
const LARGE: u64 = 64 << 10;

/// Bytes that are often small, equal or printable.
fn bytes(dice: &mut Rng, len: u64) -> Vec<u8> {
    (0..len)
        .map(|_| match dice.u64(..4) {
            0 => dice.u8(..4),
            1 => dice.u8(..20),
            2 => b'a' + dice.u8(..3),
            _ => dice.u8(..),
        })
        .collect()
}

/// A request to a service: which, what, the key, and what `set` stores.
type Asked = (u32, String, Vec<u8>, Option<Vec<u8>>);

/// A service whose answers depend on the request and on how many there were.
#[derive(Default)]
struct Oracle {
    asked: Vec<Asked>,
}

impl Oracle {
    fn answer(&mut self, service: u32, op: &str, key: &[u8], value: Option<&[u8]>) -> GivenResult {
        let turn = self.asked.len() + key.len();
        self.asked
            .push((service, op.to_owned(), key.to_vec(), value.map(<[u8]>::to_vec)));
        match turn % 5 {
            0 => GivenResult::Fail,
            1 => GivenResult::None,
            _ if op == "Get" => GivenResult::Value(key.repeat(turn % 3 + 1)),
            _ => GivenResult::Done,
        }
    }
}

impl hir::ServiceOracle for Oracle {
    fn request(&mut self, id: ServiceId, op: ServiceOp, key: &[u8], value: Option<&[u8]>) -> GivenResult {
        self.answer(id.0, &format!("{op:?}"), key, value)
    }
}

/// Everything that a call showed, in terms that both sides have.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: String,
    asked: Vec<Asked>,
    state: Vec<(String, Vec<Vec<u64>>)>,
}

fn leaves_of_value(value: &Value, leaves: &mut Vec<u64>) {
    match value {
        Value::Bool(_) | Value::Int(_) => leaves.push(value.as_int()),
        Value::Array(values) | Value::Struct(values) => {
            values.iter().for_each(|v| leaves_of_value(v, leaves))
        }
        Value::Bytes(bytes) => leaves.extend(bytes.iter().map(|&b| u64::from(b))),
        Value::None | Value::Some(_) | Value::Unit => panic!("state holds no such value"),
    }
}

fn leaves_of_data(data: &Data, leaves: &mut Vec<u64>) {
    match data {
        Data::Int(value) => leaves.push(*value),
        Data::Bytes(bytes) => leaves.extend(bytes.iter().map(|&b| u64::from(b))),
        Data::List(items) => items.iter().for_each(|item| leaves_of_data(item, leaves)),
    }
}

fn value_leaves(value: &Value) -> Vec<u64> {
    let mut leaves = Vec::new();
    leaves_of_value(value, &mut leaves);
    leaves
}

fn data_leaves<'d>(data: impl IntoIterator<Item = &'d Data>) -> Vec<u64> {
    let mut leaves = Vec::new();
    data.into_iter()
        .for_each(|item| leaves_of_data(item, &mut leaves));
    leaves
}

fn hir_state(interp: &hir::Interpreter, now: u64) -> Vec<(String, Vec<Vec<u64>>)> {
    let rows = |dump: &hir::StateDump| match dump {
        hir::StateDump::Value(value) => vec![value_leaves(value)],
        hir::StateDump::Counters(counters) => vec![counters.clone()],
        hir::StateDump::Entries(entries) => entries
            .iter()
            .flat_map(|(k, v)| [value_leaves(k), value_leaves(v)])
            .collect(),
    };
    interp
        .state(now)
        .iter()
        .map(|(name, dump)| (name.to_string(), rows(dump)))
        .collect()
}

fn mir_state(interp: &MirInterp, now: u64) -> Vec<(String, Vec<Vec<u64>>)> {
    let rows = |dump: &mir::StateDump| match dump {
        mir::StateDump::Value(data) => vec![data_leaves([data])],
        mir::StateDump::Counters(counters) => vec![counters.clone()],
        mir::StateDump::Entries(entries) => entries
            .iter()
            .flat_map(|(k, v)| [data_leaves(k), data_leaves([v])])
            .collect(),
    };
    interp
        .state(now)
        .iter()
        .map(|(name, dump)| (name.to_string(), rows(dump)))
        .collect()
}

fn param_data(workload: &Workload, ty: &Type, value: &Value) -> Data {
    let width = |ty: &Type| workload.scalar_int(ty).map(|int| int.bits);
    match (ty, value) {
        (_, Value::Bytes(bytes)) => Data::Bytes(bytes.as_slice().into()),
        (Type::Array(elem, _), Value::Array(values)) if width(elem) == Some(8) => {
            Data::Bytes(values.iter().map(|v| v.as_int() as u8).collect())
        }
        (Type::Array(elem, _), Value::Array(values)) => {
            Data::List(values.iter().map(|v| param_data(workload, elem, v)).collect())
        }
        (_, value) => Data::Int(value.as_int()),
    }
}

fn call_hir(
    interp: &mut hir::Interpreter,
    map: &SourceMap,
    callee: Callee,
    request: &[u8],
    env: &hir::Env,
) -> Seen {
    let mut oracle = Oracle::default();
    let outcome = match interp.call(callee, request, env, &mut oracle) {
        hir::Outcome::Trap(trap) => {
            let (line, _) = map.line_column(trap.span.file, trap.span.start);
            format!("Trap({:?}, {}:{line})", trap.cause, map.name(trap.span.file))
        }
        other => format!("{other:?}"),
    };
    Seen {
        outcome,
        asked: oracle.asked,
        state: hir_state(interp, env.now),
    }
}

fn call_mir(interp: &mut MirInterp, module: &Module, callee: Callee, request: &[u8], env: &mir::Env) -> Seen {
    let mut oracle = Oracle::default();
    let callee = match callee {
        Callee::Lambda(id) => mir::Callee::Lambda(lambdac_mir::LambdaId(id.0)),
        Callee::Workload => mir::Callee::Dispatch,
    };
    let outcome = interp.call(callee, request, env, &mut |service, op, key, value| {
        let id = module
            .services
            .iter()
            .position(|s| s.name == service.name)
            .expect("a declared service");
        match oracle.answer(id as u32, &format!("{op:?}"), key, value) {
            GivenResult::Value(value) => mir::Answer::Value(value),
            GivenResult::Done => mir::Answer::Done,
            GivenResult::None => mir::Answer::Missing,
            GivenResult::Fail => mir::Answer::Failed,
        }
    });
    let outcome = match outcome {
        mir::Outcome::Trap(cause, loc) => {
            format!(
                "Trap({cause:?}, {}:{})",
                module.files[usize::from(loc.file)],
                loc.line
            )
        }
        other => format!("{other:?}"),
    };
    Seen {
        outcome,
        asked: oracle.asked,
        state: mir_state(interp, env.now),
    }
}

/// One workload on all three.
struct Trial {
    workload: Arc<Workload>,
    map: SourceMap,
    reference: hir::Interpreter,
    modules: Vec<(&'static str, Arc<Module>, MirInterp)>,
    outcomes: Vec<String>,
}

impl Trial {
    fn new(workload: Workload, map: SourceMap) -> Self {
        let (whole, split) = common::lower(&workload, &map);
        let modules = [("whole", whole), ("split", split)].map(|(name, module)| {
            let module = Arc::new(module);
            let interp = MirInterp::new(module.clone()).expect("lowering gives valid MIR");
            (name, module, interp)
        });
        let workload = Arc::new(workload);
        let reference = hir::Interpreter::new(workload.clone());
        Self {
            workload,
            map,
            reference,
            modules: modules.into(),
            outcomes: Vec::new(),
        }
    }

    fn call(&mut self, callee: Callee, request: &[u8], env: &hir::Env) {
        let expected = call_hir(&mut self.reference, &self.map, callee, request, env);
        let params = self.workload.params.iter().zip(&env.params);
        let mir_env = mir::Env {
            pkt: PktField::ALL.map(|field| env.pkt.get(field)),
            now: env.now,
            random: env.random,
            params: params
                .map(|(p, v)| param_data(&self.workload, &p.ty, v))
                .collect(),
        };
        for (name, module, interp) in &mut self.modules {
            let seen = call_mir(interp, module, callee, request, &mir_env);
            assert_eq!(
                expected, seen,
                "{name} (right) differs from the evaluator (left): {callee:?} on {request:?}\n{module}"
            );
        }
        self.outcomes.push(expected.outcome);
    }

    /// Whether a lambda has a local so large that copying it takes longer than everything else.
    fn is_large(&self) -> bool {
        let (_, module, _) = &self.modules[0];
        let mut slots = module.lambdas.iter().flat_map(|lambda| &lambda.body.slots);
        slots.any(|slot| slot.shape.packed_size() > LARGE)
    }

    fn lambdas(&self) -> Vec<(Callee, u64)> {
        let limit = |lambda: &lambdac_hir::Lambda| match &lambda.request {
            Request::Any => 4,
            Request::Typed(ty) => {
                lambdac_hir::message_size(&self.workload, ty).map_or(4, |s| u64::from(s.max))
            }
        };
        let of_lambdas = self.workload.lambdas.iter().enumerate();
        let mut all: Vec<(Callee, u64)> = of_lambdas
            .map(|(i, l)| (Callee::Lambda(LambdaId(i as u32)), limit(l)))
            .collect();
        let most = all.iter().map(|(_, n)| *n).max().unwrap_or(4);
        all.push((Callee::Workload, most));
        all
    }

    /// Requests of any content, most of them of a length that fits.
    fn random_calls(&mut self, count: u64) {
        let mut dice = Rng::with_seed(1);
        // Entries with a ttl age from call to call.
        let mut now = hir::Env::new(&self.workload).now;
        for (callee, max) in self.lambdas() {
            for _ in 0..count {
                let len = match dice.u64(..8) {
                    0 => max + 1,
                    1..4 => dice.u64(..=max),
                    _ => max,
                };
                let request = bytes(&mut dice, len.min(4096));
                let mut env = hir::Env::new(&self.workload);
                now += dice.u64(..3) * 500_000_000;
                env.now = now;
                env.pkt.set(PktField::SrcIp, dice.u64(..));
                env.pkt.set(PktField::SrcPort, dice.u64(..4));
                self.call(callee, &request, &env);
            }
        }
    }

    /// The requests of the program's own tests.
    fn own_calls(&mut self) {
        let workload = self.workload.clone();
        for step in workload.tests.iter().flat_map(|test| &test.steps) {
            let Step::Call(step) = step else { continue };
            let mut env = hir::Env::new(&workload);
            env.now = step.now.unwrap_or(env.now);
            env.random = step.random;
            step.pkt
                .iter()
                .for_each(|(field, value)| env.pkt.set(*field, *value));
            for (id, value) in &step.params {
                env.params[id.index()] = value.clone();
            }
            self.call(step.callee, &step.request, &env);
        }
    }
}

/// Runs a program on random requests; gives the outcomes.
pub fn agree(text: &str) -> Vec<String> {
    let (workload, map) = common::compile(text);
    let mut trial = Trial::new(workload, map);
    trial.random_calls(60);
    trial.outcomes
}

/// Runs a file on its own tests' requests and on random ones; gives whether it is a workload.
pub fn agree_on_file(path: &std::path::Path) -> bool {
    let Some((workload, map)) = common::compile_file(path) else {
        return false;
    };
    let mut trial = Trial::new(workload, map);
    trial.own_calls();
    trial.random_calls(if trial.is_large() { 2 } else { 20 });
    true
}
