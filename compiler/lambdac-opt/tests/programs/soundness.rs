//! Every program of the repository behaves after the passes as before: outcomes with trap causes and lines, what services
//! are asked, log lines, and state after every call. And so for each pass alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fastrand::Rng;
use lambdac_hir::{Callee, Step};
use lambdac_mir::interp::{self, Answer, Env, MirInterp, Outcome, StateDump};
use lambdac_mir::{Data, LambdaId, Module, ServiceOp};
use lambdac_opt::{Options, optimize, passes, run_pass};

use crate::compile::{Program, compile_file, programs};

/// Random requests of a lambda.
const RANDOM: u64 = 8;
/// Bytes of a request or local from which on one random request is enough: what more of them take is copying.
const LARGE: u64 = 16 << 10;

fn is_large(module: &Module) -> bool {
    module.lambdas.iter().any(|lambda| {
        let mut slots = lambda.body.slots.iter();
        u64::from(lambda.request.max) > LARGE || slots.any(|slot| slot.shape.packed_size() > LARGE)
    })
}

/// Bytes that are often small, equal or printable.
fn bytes(dice: &mut Rng, len: u64) -> Vec<u8> {
    (0..len)
        .map(|_| match dice.u64(..4) {
            0 => dice.u8(..4),
            1 => b'0' + dice.u8(..12),
            2 => b'a' + dice.u8(..3),
            _ => dice.u8(..),
        })
        .collect()
}

/// One request and what surrounds it.
struct Call {
    callee: interp::Callee,
    request: Vec<u8>,
    env: Env,
}

/// Everything that a call showed.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Outcome,
    asked: Vec<(String, ServiceOp, Vec<u8>)>,
    logs: Vec<String>,
    state: Vec<(Arc<str>, StateDump)>,
}

fn run(interp: &mut MirInterp, call: &Call) -> Seen {
    let mut asked = Vec::new();
    let outcome = interp.call(
        call.callee,
        &call.request,
        &call.env,
        &mut |service, op, key, _| {
            let turn = asked.len() + key.len();
            asked.push((service.name.to_string(), op, key.to_vec()));
            match turn % 5 {
                0 => Answer::Failed,
                1 => Answer::Missing,
                _ if op == ServiceOp::Get => Answer::Value(key.repeat(turn % 3 + 1)),
                _ => Answer::Done,
            }
        },
    );
    Seen {
        outcome,
        asked,
        logs: interp.take_logs(),
        state: interp.state(call.env.now),
    }
}

fn int(value: &lambdac_hir::Value) -> Option<Data> {
    match value {
        lambdac_hir::Value::Bool(_) | lambdac_hir::Value::Int(_) => Some(Data::Int(value.as_int())),
        lambdac_hir::Value::Bytes(bytes) => Some(Data::Bytes(bytes.as_slice().into())),
        _ => None,
    }
}

/// The requests of the program's own tests, then random ones.
fn calls(program: &Program) -> Vec<Call> {
    let module = Arc::new(program.module.clone());
    let params = MirInterp::new(module.clone())
        .expect("lowering gives valid MIR")
        .default_params();
    let env = Env {
        pkt: [0, 0, 4369, 0, 0],
        now: 1_000_000_000,
        random: None,
        params,
    };
    let mut calls = Vec::new();
    for step in program.workload.tests.iter().flat_map(|test| &test.steps) {
        let Step::Call(step) = step else { continue };
        let callee = match step.callee {
            Callee::Lambda(id) => interp::Callee::Lambda(LambdaId(id.0)),
            Callee::Workload => interp::Callee::Dispatch,
        };
        let mut env = env.clone();
        env.now = step.now.unwrap_or(env.now);
        env.random = step.random;
        for (id, value) in &step.params {
            if let Some(value) = int(value) {
                env.params[id.index()] = value;
            }
        }
        calls.push(Call {
            callee,
            request: step.request.to_vec(),
            env,
        });
    }
    let random = if is_large(&module) { 1 } else { RANDOM };
    let mut dice = Rng::with_seed(1);
    let lambdas = module.lambdas.iter().enumerate();
    let mut callees: Vec<_> = lambdas
        .map(|(id, lambda)| (interp::Callee::Lambda(LambdaId(id as u32)), lambda.request.max))
        .collect();
    let most = callees.iter().map(|(_, max)| *max).max().unwrap_or(4);
    callees.push((interp::Callee::Dispatch, most));
    for (callee, max) in callees {
        let max = u64::from(max);
        for _ in 0..random {
            let len = match dice.u64(..8) {
                0 => max + 1,
                1..4 => dice.u64(..=max),
                _ => max,
            };
            let mut env = env.clone();
            env.now += dice.u64(..3) * 1_000_000_000;
            env.pkt[0] = dice.u32(..).into();
            env.pkt[1] = dice.u64(..4);
            let len = if len > 4096 && max > 4096 && dice.u64(..2) == 0 {
                100
            } else {
                len
            };
            calls.push(Call {
                callee,
                request: bytes(&mut dice, len),
                env,
            });
        }
    }
    calls
}

fn trial(name: &str, module: &Module, calls: &[Call]) -> Vec<Seen> {
    let module = Arc::new(module.clone());
    let mut interp = MirInterp::new(module).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    calls.iter().map(|call| run(&mut interp, call)).collect()
}

/// Compares what two modules show.
fn assert_same(name: &str, expected: &[Seen], module: &Module, calls: &[Call]) {
    for ((call, expected), seen) in calls.iter().zip(expected).zip(trial(name, module, calls)) {
        assert!(
            *expected == seen,
            "{name}: {:?} on {:?}\nbefore {expected:?}\nafter {seen:?}\n{module}",
            call.callee,
            &call.request[..call.request.len().min(64)]
        );
    }
}

/// Programs on all cores, as some take as long as all others together.
fn agree(folder: &str) {
    let paths = programs(folder);
    let (next, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Relaxed)) {
                    if let Some(program) = compile_file(path) {
                        behaves_the_same(&program);
                        ran.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert!(ran.into_inner() >= 5, "{folder} holds programs");
}

fn behaves_the_same(program: &Program) {
    let calls = calls(program);
    let before = trial("lowered", &program.module, &calls);
    let mut module = program.module.clone();
    optimize(
        &mut module,
        &Options {
            validate: true,
            ..Options::default()
        },
    );
    assert_same("all passes", &before, &module, &calls);
    for pass in passes() {
        let mut module = program.module.clone();
        run_pass(pass, &mut module);
        assert_same(pass.name, &before, &module, &calls);
    }
}

#[test]
fn examples_behave_the_same() {
    agree("examples");
}

#[test]
fn conformance_programs_behave_the_same() {
    agree("lang-spec/conformance");
}
