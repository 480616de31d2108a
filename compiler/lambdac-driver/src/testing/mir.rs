//! Between what runs on an interpreter of MIR, or answers like one, and the runner of `test` items.

use lambdac_hir::{GivenResult, PktField, ServiceId, ServiceOp};
use lambdac_interp::{CallResult, Env, Givens, ServiceOracle};
use lambdac_mir::interp::{Answer, Outcome, StateDump};
use lnic_engine::control;

/// Facts about the packet, in the order of [`lambdac_mir::PktField::ALL`].
pub fn pkt(env: &Env) -> [u64; 5] {
    PktField::ALL.map(|field| env.pkt.get(field))
}

/// What a test gives for a request to the service with this number in its workload.
pub fn answer(
    service: usize,
    (op, key, value): (lambdac_mir::ServiceOp, &[u8], Option<&[u8]>),
    givens: &mut Givens,
) -> Answer {
    let op = match op {
        lambdac_mir::ServiceOp::Get => ServiceOp::Get,
        lambdac_mir::ServiceOp::Set => ServiceOp::Set,
        lambdac_mir::ServiceOp::Delete => ServiceOp::Delete,
    };
    match givens.request(ServiceId(service as u32), op, key, value) {
        GivenResult::Value(value) => Answer::Value(value),
        GivenResult::Done => Answer::Done,
        GivenResult::None => Answer::Missing,
        GivenResult::Fail => Answer::Failed,
    }
}

/// How a call ended, as tests compare it.
pub fn call_result(outcome: Outcome) -> CallResult {
    match outcome {
        Outcome::Reply(bytes) => CallResult::Reply(bytes),
        Outcome::Drop => CallResult::Drop,
        Outcome::Punt => CallResult::Punt,
        Outcome::BadRequest => CallResult::BadRequest,
        Outcome::Trap(cause, loc) => CallResult::Trap(format!("{} at line {}", cause.name(), loc.line)),
        Outcome::OutOfSteps => CallResult::Error("out of steps".to_owned()),
        Outcome::Invalid(why) => CallResult::Error(why),
    }
}

/// What an object holds, as [`super::values::read_place`] takes it.
///
/// # Errors
/// If nothing of that name was found.
pub fn object<'s>(
    name: &str,
    state: impl IntoIterator<Item = (&'s str, &'s StateDump)>,
) -> Result<control::StateDump, String> {
    let found = state.into_iter().find(|(other, _)| *other == name);
    let (_, dump) = found.ok_or_else(|| format!("there is no object `{name}`"))?;
    Ok(match dump.clone() {
        StateDump::Value(value) => control::StateDump::Value(value),
        StateDump::Counters(counts) => control::StateDump::Counters(counts),
        StateDump::Entries(entries) => control::StateDump::Entries(entries),
    })
}
