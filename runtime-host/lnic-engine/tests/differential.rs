//! Host code against the interpreter of MIR: every workload of the conformance programs and the examples, on requests
//! drawn for each of its lambdas, must end alike and leave the same state.

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use lambdac_check::disk::{self, Disk};
use lambdac_mir::interp::{self, Callee, Env, MirInterp};
use lambdac_mir::{LambdaId, Module, ServiceOp};
use lnic_engine::control::StateDump;
use lnic_engine::{Answer, Image, Meta, Outcome, Scratch, Workload};

/// Calls per lambda and per match stage.
const CALLS: u64 = 60;
/// What the interpreter may take for a call; longer ones are left out.
const STEPS: u64 = 200_000;

/// The split module of a file; none for a library or a program with errors.
fn compile(path: &Path) -> Option<Module> {
    let bytes = std::fs::read(path).ok()?;
    let mut map = lambdac_diag::SourceMap::new();
    let mut sink = lambdac_diag::Sink::new();
    let name = path.display().to_string();
    let file = map.add(name.as_str(), String::from_utf8_lossy(&bytes).as_ref());
    let parsed = lambdac_syntax::parse_bytes(file, &bytes, &mut sink)?;
    let workload = lambdac_check::check(&parsed, &mut map, &Disk::default(), &mut sink)?;
    if sink.has_errors() {
        return None;
    }
    let mut module = lambdac_lower::lower(&workload, &map);
    lambdac_lower::split_awaits(&mut module);
    Some(module)
}

/// Mostly small numbers, letters and digits, so that comparisons hold now and then.
fn bytes(dice: &mut Rng, len: u64) -> Vec<u8> {
    let kind = dice.u64(..4);
    (0..len)
        .map(|_| match kind {
            0 => dice.u8(..4),
            1 => b"0123456789abcdefgpsk"[dice.usize(..20)],
            2 => dice.u8(..),
            _ => [0, 1, 0x7f, 0x80, 0xff, b'a', b'p'][dice.usize(..7)],
        })
        .collect()
}

/// What a service answers to a key: one of all kinds, the same for both sides.
fn answer(op: ServiceOp, key: &[u8]) -> interp::Answer {
    let kind = key.iter().fold(key.len() as u8, |sum, byte| {
        sum.wrapping_mul(3).wrapping_add(*byte)
    });
    match (kind % 4, op) {
        (0, _) => interp::Answer::Missing,
        (1, _) => interp::Answer::Failed,
        (_, ServiceOp::Get) => interp::Answer::Value(key.repeat(1 + usize::from(kind % 8))),
        (_, ServiceOp::Set | ServiceOp::Delete) => interp::Answer::Done,
    }
}

/// A key that may be sent.
fn sendable(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= 250 && key.iter().all(|byte| *byte > 0x20 && *byte != 0x7f)
}

fn finish(mut outcome: Outcome, scratch: &mut Scratch, now: u64, reply: &mut [u8]) -> Outcome {
    while let Outcome::Await(waiting) = outcome {
        let call = waiting.call();
        let given = if sendable(call.key) {
            answer(call.op, call.key)
        } else {
            interp::Answer::Failed
        };
        let given = match &given {
            interp::Answer::Value(value) => Answer::Value(value),
            interp::Answer::Done => Answer::Done,
            interp::Answer::Missing => Answer::Missing,
            interp::Answer::Failed => Answer::Failed,
        };
        outcome = waiting.resume(scratch, given, now, None, reply);
    }
    outcome
}

/// Both sides of a workload.
struct Pair {
    workload: Arc<Workload>,
    interp: MirInterp,
    scratch: Scratch,
    reply: Vec<u8>,
}

impl Pair {
    fn new(module: &Arc<Module>, seed: u64) -> Self {
        let image = Image::load(std::slice::from_ref(module), &defaults(module), None)
            .unwrap_or_else(|error| panic!("{}: {error}", module.name));
        let workload = image.workloads()[0].clone();
        let mut interp = MirInterp::new(module.clone()).expect("lowering makes valid modules");
        interp.seed(seed);
        interp.limit_steps(STEPS);
        let reply = vec![0xaa; workload.max_reply()];
        Self {
            workload,
            interp,
            scratch: Scratch::new(seed),
            reply,
        }
    }

    /// Gives whether the call counted.
    fn call(&mut self, callee: Callee, request: &[u8], now: u64) -> bool {
        let pkt = [0x0a00_0001 + now % 3, 1000, 4369, 0, 77];
        let params = self.interp.default_params();
        let env = Env {
            pkt,
            now,
            random: None,
            params,
        };
        let expected = self
            .interp
            .call(callee, request, &env, &mut |_, op, key, _| answer(op, key));
        if expected == interp::Outcome::OutOfSteps {
            return false;
        }
        let meta = Meta {
            src_ip: pkt[0] as u32,
            src_port: pkt[1] as u16,
            dst_port: pkt[2] as u16,
            port: pkt[3] as u16,
            request_id: pkt[4],
            now,
            random: None,
            params: None,
        };
        let (scratch, reply) = (&mut self.scratch, &mut self.reply[..]);
        let started = match callee {
            Callee::Lambda(id) => self.workload.invoke_lambda(id, scratch, &meta, request, reply),
            Callee::Dispatch => self.workload.invoke(scratch, &meta, request, reply),
        };
        let got = match finish(started, scratch, now, reply) {
            Outcome::Reply(len) => interp::Outcome::Reply(reply[..len].to_vec()),
            Outcome::Drop => interp::Outcome::Drop,
            Outcome::Punt => interp::Outcome::Punt,
            Outcome::BadRequest => interp::Outcome::BadRequest,
            Outcome::Trap(trap) => interp::Outcome::Trap(
                trap.cause,
                lambdac_mir::Loc {
                    file: trap.file as u16,
                    line: trap.line,
                },
            ),
            Outcome::Await(_) => unreachable!("`finish` answers all of them"),
        };
        assert_eq!(
            got,
            expected,
            "{} {callee:?} on {request:02x?}",
            self.workload.name()
        );
        true
    }

    fn compare_state(&self, now: u64) {
        let expected = self.interp.state(now);
        let got = self.workload.state(now);
        assert_eq!(got.len(), expected.len());
        for ((name, got), (_, expected)) in got.iter().zip(&expected) {
            let got = match got {
                StateDump::Value(data) => interp::StateDump::Value(data.clone()),
                StateDump::Counters(values) => interp::StateDump::Counters(values.clone()),
                StateDump::Entries(entries) => interp::StateDump::Entries(entries.clone()),
            };
            assert_eq!(got, *expected, "{}.{name}", self.workload.name());
        }
    }
}

/// Zeros for parameters without a default, as the interpreter takes them.
fn defaults(module: &Module) -> Vec<lnic_engine::ParamOverride> {
    let missing = module.params.iter().filter(|param| param.default.is_none());
    missing
        .map(|param| lnic_engine::ParamOverride {
            workload: module.name.to_string(),
            param: param.name.to_string(),
            value: param.shape.zero(),
        })
        .collect()
}

/// Runs a workload on both sides; gives how many calls were compared.
fn check(module: Module) -> u64 {
    let module = Arc::new(module);
    let seed = module
        .name
        .bytes()
        .fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let mut dice = Rng::with_seed(seed);
    let mut pair = Pair::new(&module, seed);
    let mut now = 1_000_000_000;
    let mut compared = 0;
    for _ in 0..CALLS {
        for index in 0..=module.lambdas.len() {
            let callee = match module.lambdas.get(index) {
                Some(lambda) if lambda.stream => continue,
                Some(_) => Callee::Lambda(LambdaId(index as u32)),
                None if module.lambdas.iter().any(|lambda| lambda.stream) => continue,
                None => Callee::Dispatch,
            };
            let of = index.min(module.lambdas.len().saturating_sub(1));
            let size = module
                .lambdas
                .get(of)
                .map_or((0, 8), |l| (l.request.min, l.request.max));
            let len = match dice.u64(..12) {
                0 => u64::from(size.0).saturating_sub(1),
                1 => u64::from(size.1) + 1,
                _ => u64::from(size.0) + dice.u64(..=u64::from((size.1 - size.0).min(80))),
            };
            let request = bytes(&mut dice, len);
            if !pair.call(callee, &request, now) {
                // The interpreter stopped half way: the states differ from here on.
                return compared;
            }
            compared += 1;
            now += dice.u64(..3) * 700_000_000;
        }
    }
    pair.compare_state(now);
    compared
}

#[test]
fn host_code_and_the_interpreter_agree_on_every_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["lang-spec/conformance", "examples"].map(|folder| root.join(folder));
    let files = disk::find(&folders).expect("there are programs");
    let modules: Vec<Module> = files.iter().filter_map(|path| compile(path)).collect();
    assert!(
        modules.len() > files.len() / 2,
        "{} of {} files compile",
        modules.len(),
        files.len()
    );
    let (mut compared, mut differ) = (0, Vec::new());
    for module in modules {
        let name = module.name.clone();
        match std::panic::catch_unwind(|| check(module)) {
            Ok(calls) => compared += calls,
            Err(_) => differ.push(name),
        }
    }
    assert!(differ.is_empty(), "these differ, as told above: {differ:?}");
    assert!(compared > 2_000, "only {compared} calls were compared");
}
