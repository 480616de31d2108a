//! Runs one program on several engines and compares what they do: the HIR evaluator against the MIR interpreter (as
//! lowered, after the await split, after all passes) and against the host's code.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use lambdac_diag::render;
use lambdac_driver::{CheckedWorkload, Input, NoSources, Options, Session};
use lambdac_mir::Module;

use crate::generate::{ENDINGS, Request, Seen};
use crate::runners::{HirRunner, HostRunner, MirRunner, XdpRunner};

/// How a call ended, in a form that all engines share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status OK with these bytes.
    Reply(Vec<u8>),
    /// No answer.
    Drop,
    /// To the fallback.
    Punt,
    /// Status TRAP: cause and source line (0: unknown).
    Trap(&'static str, u32),
    /// Status BAD_REQUEST.
    BadRequest,
    /// The engine broke a promise.
    Bug(String),
}

/// State in a form that all engines share: objects by name, each as lines of text.
pub type State = Vec<(String, Vec<String>)>;

/// Something that runs a workload's requests in order.
pub trait Runner {
    /// Its name in messages.
    fn name(&self) -> &'static str;
    /// Runs one request through the match.
    fn call(&mut self, request: &Request) -> Outcome;
    /// All state, entries past their ttl at `now` left out.
    fn state(&mut self, now: u64) -> State;
}

/// Two engines that disagree, or a program that does not compile.
#[derive(Debug)]
pub struct Mismatch(pub String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source that was checked.
struct Checked {
    session: Session,
    workload: CheckedWorkload,
}

fn checked(source: &str) -> Result<Checked, Mismatch> {
    let mut session = Session::new(Box::new(NoSources));
    let input = Input {
        name: "generated.lnic".into(),
        bytes: source.as_bytes().to_vec(),
    };
    let checked = session.check(&input);
    let Some(workload) = checked.workload else {
        let errors = checked.diagnostics.iter().filter(|d| d.code.starts_with('E'));
        let text = errors.map(|d| render::render(render::MessageFormat::Human, false, session.map(), d));
        return Err(Mismatch(format!(
            "it does not compile:\n{}",
            text.collect::<String>()
        )));
    };
    Ok(Checked { session, workload })
}

impl Checked {
    fn reference(&self) -> HirRunner {
        HirRunner::new(Arc::new(self.workload.0.clone()), self.session.map().clone())
    }

    /// Runs the requests.
    fn run(&self, others: &mut [&mut dyn Runner], requests: &[Request]) -> Result<Seen, Mismatch> {
        let mut reference = self.reference();
        let endings = run(&mut reference, others, requests)?;
        Ok(Seen {
            rule_hits: reference.rule_hits(),
            endings,
        })
    }
}

/// Checks a source and runs the requests on every engine.
///
/// # Errors
/// What does not compile, or differs.
pub fn compare(source: &str, requests: &[Request]) -> Result<Seen, Mismatch> {
    let checked = checked(source)?;
    let modules = stages(&checked.session, &checked.workload)?;
    let mut others: Vec<Box<dyn Runner>> = Vec::new();
    for (name, module) in &modules {
        others.push(Box::new(MirRunner::new(name, module.clone())?));
    }
    if let Some((_, optimised)) = modules.last() {
        others.push(Box::new(HostRunner::new(optimised.clone())?));
    }
    let mut others: Vec<&mut dyn Runner> = others.iter_mut().map(|other| &mut **other as _).collect();
    checked.run(&mut others, requests)
}

/// Checks a source and runs the requests on the NIC; also gives how many the NIC dealt with itself.
///
/// # Errors
/// What does not compile, what the kernel refuses, or what differs.
pub fn compare_xdp(source: &str, requests: &[Request]) -> Result<(Seen, u64), Mismatch> {
    let checked = checked(source)?;
    let compiled = checked
        .session
        .compile(&checked.workload, &Options::default())
        .map_err(|e| Mismatch(e.to_string()))?;
    let mut nic = XdpRunner::new(&checked.workload, compiled.module)?;
    let seen = checked.run(&mut [&mut nic], requests)?;
    Ok((seen, nic.by_nic()))
}

/// The MIR as lowered, after the await split, and after all passes, each validated.
fn stages(
    session: &Session,
    workload: &CheckedWorkload,
) -> Result<Vec<(&'static str, Arc<Module>)>, Mismatch> {
    let lowered = session.lower(workload);
    let mut split = lowered.clone();
    lambdac_lower::split_awaits(&mut split);
    for (name, module) in [("lowering", &lowered), ("the await split", &split)] {
        lambdac_mir::validate(module)
            .map_err(|e| Mismatch(format!("{name} made invalid MIR: {e:?}\n{module}")))?;
    }
    let options = Options {
        validate: true,
        ..Options::default()
    };
    let compiled = session
        .compile(workload, &options)
        .map_err(|e| Mismatch(e.to_string()))?;
    Ok(vec![
        ("lowered MIR", Arc::new(lowered)),
        ("split MIR", Arc::new(split)),
        ("optimised MIR", compiled.module),
    ])
}

fn run(
    reference: &mut HirRunner,
    others: &mut [&mut dyn Runner],
    requests: &[Request],
) -> Result<BTreeSet<&'static str>, Mismatch> {
    let mut endings = BTreeSet::new();
    for (number, request) in requests.iter().enumerate() {
        let expected = reference.call(request);
        endings.extend(ending(&expected));
        for other in others.iter_mut() {
            let got = other.call(request);
            if !agree(&expected, &got) {
                return Err(Mismatch(format!(
                    "request {number}: {request:?}\n  {}: {expected:?}\n  {}: {got:?}",
                    reference.name(),
                    other.name()
                )));
            }
        }
        let expected = reference.state(request.now);
        for other in others.iter_mut() {
            let got = other.state(request.now);
            if expected != got {
                return Err(Mismatch(format!(
                    "state after request {number}: {request:?}\n  {}: {expected:?}\n  {}: {got:?}",
                    reference.name(),
                    other.name()
                )));
            }
        }
    }
    Ok(endings)
}

/// How a request ended, as the generator's list of endings has it.
fn ending(outcome: &Outcome) -> Option<&'static str> {
    let (word, name) = match outcome {
        Outcome::Reply(_) => ("ends in ", "reply"),
        Outcome::Drop => ("ends in ", "drop"),
        Outcome::Punt => ("ends in ", "punt"),
        Outcome::BadRequest => ("ends in ", "bad_request"),
        Outcome::Trap(cause, _) => ("traps by ", *cause),
        Outcome::Bug(_) => return None,
    };
    let is_it = |ending: &&str| ending.strip_prefix(word) == Some(name);
    ENDINGS.iter().copied().find(is_it)
}

/// Equal outcomes; a line that an engine does not know (0) agrees with any.
pub(crate) fn agree(a: &Outcome, b: &Outcome) -> bool {
    match (a, b) {
        (Outcome::Trap(a, line_a), Outcome::Trap(b, line_b)) => {
            a == b && (line_a == line_b || *line_a == 0 || *line_b == 0)
        }
        _ => a == b,
    }
}

/// What services answer, the same on every engine: by a hash of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAnswer {
    /// The value of a `get`.
    Value(Vec<u8>),
    /// Done.
    Done,
    /// No such key, or refused.
    Missing,
    /// No answer.
    Failed,
}

/// The answer to a request whose key may be sent; `get` says whether it reads.
pub fn service_answer(get: bool, key: &[u8]) -> ServiceAnswer {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    match (hash >> 7) % 6 {
        0 => ServiceAnswer::Missing,
        1 => ServiceAnswer::Failed,
        _ if !get => ServiceAnswer::Done,
        2 => ServiceAnswer::Value(Vec::new()),
        3 => ServiceAnswer::Value(vec![b'x'; 1024]),
        4 => ServiceAnswer::Value(vec![b'y'; 1025]),
        _ => ServiceAnswer::Value(key.iter().rev().copied().collect()),
    }
}
