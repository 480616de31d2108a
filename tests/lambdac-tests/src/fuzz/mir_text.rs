//! MIR text as a bundle carries it: what validates can be printed, optimised and run.

use std::sync::Arc;

use lambdac_mir::interp::{Answer, Callee, Env, MirInterp, Outcome as End};
use lambdac_mir::{Module, ServiceOp, parse, validate};

use super::dice::Dice;
use super::mutate;
use super::source::assert_valid;

/// Steps of a request: enough for what the corpus does, soon over where a mutation made a loop long.
const STEPS: u64 = 5_000;

/// How far a text came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is no MIR text.
    Unread,
    /// It is MIR, and invalid.
    Invalid,
    /// It is valid.
    Valid,
}

/// Reads a text and, where it is valid, does all that is done with MIR.
///
/// # Panics
/// Where a valid module does not print and parse back equal, or is invalid after the await split or a pass.
pub fn run(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Outcome::Unread;
    };
    let Ok(mut module) = parse(text) else {
        return Outcome::Unread;
    };
    if validate(&module).is_err() {
        return Outcome::Invalid;
    }
    let printed = module.to_string();
    assert_eq!(
        parse(&printed).as_ref(),
        Ok(&module),
        "it reads back as another module:\n{printed}"
    );
    call(&module);
    lambdac_lower::split_awaits(&mut module);
    assert_valid("the await split", &module);
    let validate = lambdac_opt::Options {
        validate: true,
        ..Default::default()
    };
    lambdac_opt::optimize(&mut module, &validate);
    call(&module);
    Outcome::Valid
}

/// Runs a few requests. A mutated module may break what the validator can't prove; the interpreter says so in its
/// outcome, and never by a panic.
fn call(module: &Module) -> Vec<End> {
    let mut interp = MirInterp::new(Arc::new(module.clone())).expect("it was just validated");
    interp.seed(7);
    interp.limit_steps(STEPS);
    let params = interp.default_params();
    let requests = [&[][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[0x41; 64], &[0; 300]];
    let mut ends = Vec::new();
    for (number, request) in requests.into_iter().enumerate() {
        let now = 1_000_000_000 * (number as u64 + 1);
        let env = Env {
            pkt: [0x0a00_0001, 4000, 4369, 1, number as u64],
            now,
            random: None,
            params: params.clone(),
        };
        let mut services =
            |_: &lambdac_mir::Service, op, key: &[u8], _: Option<&[u8]>| match (key.len() % 4, op) {
                (0, _) => Answer::Missing,
                (1, _) => Answer::Failed,
                (_, ServiceOp::Get) => Answer::Value(key.repeat(3)),
                _ => Answer::Done,
            };
        ends.push(interp.call(Callee::Dispatch, request, &env, &mut services));
    }
    interp.state(u64::MAX);
    ends
}

/// A mutated text.
pub fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut text = dice.pick(corpus).clone();
    let other = dice.pick(corpus).clone();
    match dice.chance(80) {
        true => mutate::gently(dice, &mut text, &other),
        false => mutate::text(dice, &mut text, &other),
    }
    text
}
