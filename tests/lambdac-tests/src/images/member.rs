//! Workloads of images, with what the evaluator says of their requests.

use std::sync::Arc;

use lambdac_driver::disk::Disk;
use lambdac_driver::{CheckedWorkload, Input, Options, Session};
use lambdac_mir::{Dispatch, Module};

use crate::differential::{Mismatch, Outcome, Runner, State};
use crate::fuzz::dice::Dice;
use crate::generate::Request;
use crate::runners::HirRunner;

/// A workload, its requests, and how they end when it is alone.
pub struct Member {
    /// What was checked.
    pub checked: CheckedWorkload,
    /// Its MIR after all passes.
    pub module: Arc<Module>,
    /// Requests in order.
    pub requests: Vec<Request>,
    /// How each ends on the evaluator.
    pub outcomes: Vec<Outcome>,
    /// State after the last one.
    pub state: State,
}

impl Member {
    /// Compiles a source and runs requests on the evaluator: those that `requests` makes of the module.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn new(
        name: &str,
        source: &str,
        requests: impl FnOnce(&Module) -> Vec<Request>,
    ) -> Result<Self, Mismatch> {
        let mut session = Session::new(Box::new(Disk::default()));
        let input = Input {
            name: name.to_owned(),
            bytes: source.as_bytes().to_vec(),
        };
        let checked = session.check(&input);
        let Some(workload) = checked.workload else {
            return Err(Mismatch(format!(
                "{name} does not compile: {:?}",
                checked.diagnostics
            )));
        };
        let compiled = session
            .compile(&workload, &Options::default())
            .map_err(|e| Mismatch(e.to_string()))?;
        let requests = requests(&compiled.module);
        let mut runner = HirRunner::new(Arc::new(workload.0.clone()), session.map().clone());
        let outcomes = requests.iter().map(|request| runner.call(request)).collect();
        let now = requests.last().map_or(0, |request| request.now);
        Ok(Self {
            checked: workload,
            module: compiled.module,
            outcomes,
            state: runner.state(now),
            requests,
        })
    }

    /// A member of a generated program.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn generated(name: &str, source: &str, requests: Vec<Request>) -> Result<Self, Mismatch> {
        let file = format!("{name}.lnic");
        Self::new(&file, source, |module| {
            let lambdas = module.lambdas.len();
            more_requests(module, &requests, 20 * lambdas)
        })
    }
}

/// As many requests as are wanted, made of given ones: the same again, with bytes changed behind the first, which is
/// what most matches look at. Without any given, bytes of lengths that the lambdas take.
pub fn more_requests(module: &Module, given: &[Request], wanted: usize) -> Vec<Request> {
    let mut dice = Dice::new(
        module
            .name
            .bytes()
            .fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into())),
    );
    let mut requests = given.to_vec();
    requests.truncate(wanted);
    while requests.len() < wanted {
        let number = requests.len();
        let mut request = match given.get(number % given.len().max(1)) {
            Some(request) => request.clone(),
            None => fresh(module, &mut dice),
        };
        request.now = requests
            .last()
            .map_or(request.now, |last| last.now.max(request.now));
        if dice.below(4) > 0 && request.bytes.len() > 1 {
            for _ in 0..1 + dice.below(3) {
                let at = 1 + dice.below(request.bytes.len() - 1);
                request.bytes[at] = byte(&mut dice);
            }
        }
        requests.push(request);
    }
    // The clock of one instance does not go back.
    let mut now = 0;
    for request in &mut requests {
        now = request.now.max(now);
        request.now = now;
    }
    requests
}

fn byte(dice: &mut Dice) -> u8 {
    match dice.below(4) {
        0 => dice.below(4) as u8,
        1 => b'a' + dice.below(26) as u8,
        2 => b'0' + dice.below(10) as u8,
        _ => dice.below(256) as u8,
    }
}

/// A request that one of the lambdas takes.
fn fresh(module: &Module, dice: &mut Dice) -> Request {
    let lambda = &module.lambdas[dice.below(module.lambdas.len())];
    let (min, max) = (u64::from(lambda.request.min), u64::from(lambda.request.max));
    let least = match &module.dispatch {
        Dispatch::Match(stage) => min.max(stage.min_len.into()),
        _ => min,
    };
    // Long messages are slow on interpreters and tell no more than short ones.
    let most = max.min(least + 64).max(least);
    let len = least + dice.below((most - least + 1) as usize) as u64;
    let mut bytes: Vec<u8> = (0..len).map(|_| byte(dice)).collect();
    if let (Some(first), true) = (bytes.first_mut(), dice.below(2) == 0) {
        *first = dice.below(8) as u8;
    }
    Request {
        fits: true,
        bytes,
        src_ip: 0x0a00_0001 + dice.below(3) as u32,
        src_port: dice.below(1 << 16) as u16,
        dst_port: 4369,
        port: dice.below(3) as u16,
        request_id: dice.roll(),
        now: 1_000_000_000 + dice.below(3) as u64 * 500_000_000,
        random: None,
    }
}

/// A source under another workload's name, with its `nth` number of at least two digits changed by one where `nth` is
/// given: code that is the same as another's but for a constant.
pub fn variant(source: &str, name: &str, nth: Option<usize>) -> String {
    let renamed = source.replacen("workload generated;", &format!("workload {name};"), 1);
    let Some(nth) = nth else {
        return renamed;
    };
    let bytes = renamed.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let word = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'"'))
    };
    // Numbers that stand alone, not a part of a name, an address or a text.
    let numbers: Vec<usize> = (1..bytes.len())
        .filter(|&at| digit(at) && !word(at - 1) && digit(at + 1) && !word(at + 2))
        .collect();
    let Some(&at) = numbers.get(nth % numbers.len().max(1)) else {
        return renamed;
    };
    let mut changed = renamed.clone().into_bytes();
    changed[at + 1] = if changed[at + 1] == b'0' {
        b'1'
    } else {
        changed[at + 1] - 1
    };
    String::from_utf8(changed).unwrap_or(renamed)
}
