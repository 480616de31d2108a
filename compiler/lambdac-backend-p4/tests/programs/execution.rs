//! The printed programs, run: every `test` item of the conformance suite and the examples, on a machine for the P4_16
//! subset that the emitter prints, behind a grammar that is not the emitter's. Needs no tool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lambdac_backend_p4::{BY_MATCH, CPU_PORT, Facts, Listen, Options, Output, print, program};
use lambdac_hir::{
    CallStep, Callee, ExprKind, PktField, PlaceBase, Projection, StatePlace, Test, Value, Workload,
};
use lambdac_interp::{CallResult, Env, Givens, Target, TestResult, run_test};
use lambdac_mir::{Data, Module, ObjectId, Shape};

use crate::machine::Machine;
use crate::{corpus, parser, tree};

const ID: u32 = 0x1234_0001;
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const ADDRESS: u32 = 0x0a00_0002;
pub(crate) const WIRE: u16 = 4369;
/// Bytes of Ethernet, IPv4, UDP and λ headers.
const HEADERS: usize = 14 + 20 + 8 + 24;
/// Bytes in front of what goes to the host.
const PACKET_IN: usize = 8;

/// A workload on the machine.
struct OnMachine {
    hir: Arc<Workload>,
    module: Arc<Module>,
    output: Output,
    items: Vec<tree::Item>,
    machine: Machine,
    seed: Option<u64>,
    /// Passes over images have dropped what only tests reach.
    optimised: bool,
    /// It needed what the host runs.
    left: bool,
}

impl OnMachine {
    fn new(hir: &Arc<Workload>, module: &Arc<Module>, optimised: bool) -> Self {
        let mut image = lambdac_image::link(&module.name, &[(ID, module.clone())]).unwrap();
        if optimised {
            // bmv2 itself counts no words, and gets its images as they are linked.
            let device = lambdac_target::builtin("nfp-4000").unwrap();
            lambdac_image::optimize(&mut image, &device, &lambdac_image::Options::default());
        }
        let options = Options {
            test: true,
            listen: Some(Listen {
                mac: MAC,
                address: ADDRESS,
                port: WIRE,
                broadcast: 0x0a00_00ff,
            }),
            constant_entries: true,
            params: Vec::new(),
            // Services are asked by a real switch alone.
            services: Vec::new(),
        };
        let output = program(&image, &options).unwrap();
        let items = parser::parse(&print::print(&output.program)).unwrap();
        Self {
            hir: hir.clone(),
            module: module.clone(),
            machine: Machine::new(&items),
            optimised,
            output,
            items,
            seed: None,
            left: false,
        }
    }

    fn packet(
        &mut self,
        entry: u16,
        env: &Env,
        (index, count): (usize, usize),
        payload: &[u8],
    ) -> CallResult {
        let pkt = |field| env.pkt.get(field);
        let facts = Facts {
            entry,
            src_ip: pkt(PktField::SrcIp) as u32,
            src_port: pkt(PktField::SrcPort) as u16,
            dst_port: pkt(PktField::DstPort) as u16,
            port: pkt(PktField::Port) as u16,
            now: env.now,
            random: env.random,
            seed: self.seed.take(),
        };
        let params = self.module.params.iter().zip(&env.params);
        let params: Vec<Option<Data>> = params
            .map(|(param, value)| Some(data(&param.shape, value)))
            .collect();
        let between = self.output.test_header(&facts, &params);
        let id = pkt(PktField::RequestId);
        let sent = frame(&between, id, (index as u16, count as u16), payload);
        match self.machine.run(1, &sent) {
            None => CallResult::Drop,
            Some((1, reply)) => answered(&sent, &reply),
            Some((CPU_PORT, frame)) => {
                let whole = [&sent[..HEADERS], &sent[HEADERS + between.len()..]].concat();
                assert_eq!(frame[PACKET_IN..], whole, "the packet to the host was changed");
                match frame[3] {
                    2 => CallResult::Punt,
                    _ => {
                        self.left = true;
                        CallResult::Error("to the host".to_owned())
                    }
                }
            }
            Some((port, _)) => CallResult::Error(format!("out by port {port}")),
        }
    }
}

/// A request's frame.
pub(crate) fn frame(between: &[u8], id: u64, (index, count): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut lambda = vec![0xce, 0xbb, 1, 0];
    lambda.extend(ID.to_be_bytes());
    lambda.extend(id.to_be_bytes());
    lambda.extend(index.to_be_bytes());
    lambda.extend(count.to_be_bytes());
    lambda.extend((payload.len() as u16).to_be_bytes());
    lambda.extend([0, 0]);
    lambda.extend_from_slice(between);
    lambda.extend_from_slice(payload);
    let mut frame = MAC.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    let mut ip = vec![0x45, 0];
    ip.extend((28 + lambda.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1]);
    ip.extend(ADDRESS.to_be_bytes());
    let mut sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    ip[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame.extend(ip);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(WIRE.to_be_bytes());
    frame.extend((8 + lambda.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(lambda);
    frame
}

/// What a reply says, once its headers are found right.
pub(crate) fn answered(sent: &[u8], reply: &[u8]) -> CallResult {
    assert!(reply.len() >= HEADERS, "a reply of {} bytes", reply.len());
    let swapped = [(0, 6, 6), (26, 30, 4), (34, 36, 2)];
    for (a, b, len) in swapped {
        assert_eq!(
            (&reply[a..a + len], &reply[b..b + len]),
            (&sent[b..b + len], &sent[a..a + len])
        );
    }
    let number = |at: usize| usize::from(reply[at]) << 8 | usize::from(reply[at + 1]);
    assert_eq!(
        (number(16), number(38)),
        (reply.len() - 14, reply.len() - 34),
        "lengths"
    );
    let mut sum: usize = (14..34).step_by(2).map(number).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(sum, 0xffff, "checksum");
    assert_eq!(number(42 + 20), reply.len() - HEADERS, "the payload's length");
    assert_eq!((&reply[42..45], reply[45]), (&sent[42..45], 1));
    assert_eq!(reply[46..58], sent[46..58]);
    match reply[64] {
        0 => CallResult::Reply(reply[HEADERS..].to_vec()),
        2 => CallResult::BadRequest,
        3 => CallResult::Trap(String::new()),
        other => CallResult::Error(format!("status {other}")),
    }
}

fn data(shape: &Shape, value: &Value) -> Data {
    match (shape, value) {
        (Shape::Array(element, _), Value::Array(values)) if **element == Shape::Scalar(8) => {
            Data::Bytes(values.iter().map(|value| value.as_int() as u8).collect())
        }
        (Shape::Array(element, _), Value::Array(values)) => {
            Data::List(values.iter().map(|value| data(element, value)).collect())
        }
        (Shape::Struct(fields), Value::Struct(values)) => Data::List(
            fields
                .iter()
                .zip(values)
                .map(|(shape, value)| data(shape, value))
                .collect(),
        ),
        (_, Value::Bytes(bytes)) => Data::Bytes(bytes.as_slice().into()),
        (_, scalar) => Data::Int(scalar.as_int()),
    }
}

impl Target for OnMachine {
    fn name(&self) -> &str {
        "p4"
    }

    fn begin(&mut self, _: &Test, seed: u64) -> Result<(), String> {
        self.machine = Machine::new(&self.items);
        (self.seed, self.left) = (Some(seed), false);
        Ok(())
    }

    fn call(&mut self, step: &CallStep, env: &Env, _: &mut Givens) -> CallResult {
        let lambdas = &self.module.lambdas;
        let (entry, lambda) = match step.callee {
            Callee::Lambda(id) => (id.0 as u16, &lambdas[id.0 as usize]),
            Callee::Workload => (BY_MATCH, &lambdas[0]),
        };
        let refused = |entry: usize| self.output.refused.get(entry).is_some_and(Option::is_some);
        let most = if lambda.stream {
            let chunk = lambda.request.max as usize;
            let replies = lambdas.iter().map(|lambda| lambda.reply.max as usize);
            let reply = replies.max().unwrap_or(0);
            (1344 / chunk)
                .min(1344_usize.checked_div(reply).unwrap_or(1344))
                .max(1)
                * chunk
        } else {
            1344
        };
        let gone = self.optimised && entry != BY_MATCH;
        if gone || refused(entry.into()) || (step.request.len() > most && !lambda.stream) {
            self.left = true;
            return CallResult::Error("the host's".to_owned());
        }
        let empty: [&[u8]; 1] = [&[]];
        let packets: Vec<&[u8]> = match step.request.len() {
            0 => empty.to_vec(),
            _ => step.request.chunks(most).collect(),
        };
        let mut whole = Vec::new();
        for (index, payload) in packets.iter().enumerate() {
            match self.packet(entry, env, (index, packets.len()), payload) {
                CallResult::Reply(bytes) => whole.extend(bytes),
                other => return other,
            }
        }
        CallResult::Reply(whole)
    }

    fn read(&mut self, place: &StatePlace) -> Result<Value, String> {
        let named = |name: &str| {
            let found = self
                .module
                .objects
                .iter()
                .position(|object| *object.name == *name);
            ObjectId(found.unwrap() as u32)
        };
        let element = |name: &str, at: u64| self.machine.register(name, at);
        match place {
            StatePlace::Counter(id, index) => {
                let id = named(&self.hir.states[id.index()].name);
                let register = self.output.state.counter(id);
                Ok(Value::Int(
                    register.map_or(0, |name| element(name, index.unwrap_or(0).into())),
                ))
            }
            StatePlace::Value(place) => {
                let PlaceBase::State(id) = place.base else {
                    return Err("no state".to_owned());
                };
                let id = named(&self.hir.states[id.index()].name);
                let lambdac_mir::ObjectKind::Value { init, .. } = &self.module.objects[id.index()].kind
                else {
                    return Err("no value".to_owned());
                };
                let ready = element("ready", 0) == 1;
                let held = self.output.state.value(id, &element).filter(|_| ready);
                let mut data = held.unwrap_or_else(|| init.clone());
                for step in &place.projections {
                    let at = match step {
                        Projection::Field(index) => *index as usize,
                        Projection::Index(index) => match &index.kind {
                            ExprKind::Value(value) => value.as_int() as usize,
                            _ => return Err("an index that is no constant".to_owned()),
                        },
                    };
                    data = match &data {
                        Data::List(items) => items[at].clone(),
                        Data::Bytes(bytes) => Data::Int(bytes[at].into()),
                        Data::Int(_) => return Err("a step into a scalar".to_owned()),
                    };
                }
                let value = data.int().ok_or("a whole aggregate")?;
                Ok(match place.ty {
                    lambdac_hir::Type::Bool => Value::Bool(value != 0),
                    _ => Value::Int(value),
                })
            }
        }
    }
}

#[test]
fn test_items_pass_on_the_machine() {
    run_all(false, 200);
}

#[test]
fn test_items_pass_after_the_passes_over_images() {
    run_all(true, 100);
}

fn run_all(optimised: bool, least: usize) {
    let (mut passed, mut left) = (0, 0);
    let mut failed = Vec::new();
    for program in corpus::corpus() {
        let mut target = OnMachine::new(&program.hir, &program.module, optimised);
        for test in &program.hir.tests {
            let name = format!("{}: {}", program.hir.name, test.name);
            let result = catch_unwind(AssertUnwindSafe(|| run_test(&program.hir, test, &mut target)));
            match result {
                _ if target.left => left += 1,
                Ok(TestResult::Passed) => passed += 1,
                Ok(other) => failed.push(format!("{name}: {other:?}")),
                Err(panic) => {
                    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    failed.push(format!("{name}: {said}"));
                }
            }
        }
    }
    eprintln!("{passed} passed, {} failed, {left} need the host", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > least, "only {passed} passed");
}
