//! Translation validation of images: workloads linked and optimised together against the HIR evaluator on each alone.
//!
//! A [`Member`] is a workload whose requests were run on the evaluator once. Any members make an image; what each is
//! answered there, and its state afterwards, must be what the evaluator gave, whichever passes ran and whatever stands
//! beside it. Requests of all members are mixed, round robin.

mod c;
mod corpus;
mod member;
mod rules;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_image::{Ending, Image, ImageInterp, Options, Packet};
use lambdac_mir::Module;
use lambdac_mir::interp::{Answer, Outcome as MirOutcome};
use lambdac_target::{Device, builtin};

pub use c::{compare_in_c, keep_on_host, run_tests_in_c};
pub use corpus::{copies, folder};
pub use member::{Member, more_requests, variant};
pub use rules::many_rules;
pub use target::run_tests;

use crate::differential::{Mismatch, Outcome, ServiceAnswer, State, agree, service_answer};
use crate::generate::Request;
use crate::runners::{SEED, by_name, dump_text};

/// Steps that a call may take.
const BUDGET: u64 = 50_000_000;

/// The device whose costs decide.
pub fn device() -> Device {
    builtin("nfp").expect("it is built in")
}

/// Links members, and runs the passes but for those that are named.
///
/// # Errors
/// What the linker says.
pub fn image(members: &[&Member], disabled: &[&str]) -> Result<Image, Mismatch> {
    let mut image = linked(members)?;
    let options = Options {
        disabled: disabled.iter().map(|name| (*name).to_owned()).collect(),
        validate: true,
        ..Options::default()
    };
    lambdac_image::optimize(&mut image, &device(), &options);
    Ok(image)
}

/// Members' modules with the ids that they have in an image.
pub fn modules(members: &[&Member]) -> Vec<(u32, Arc<Module>)> {
    members
        .iter()
        .zip(1u16..)
        .map(|(member, index)| {
            let id = lnic_wire::workload_id(index, &member.module.name).unwrap_or_default();
            (id, Arc::clone(&member.module))
        })
        .collect()
}

/// Links members, without any pass.
///
/// # Errors
/// What the linker says, or what is wrong with what it made.
pub fn linked(members: &[&Member]) -> Result<Image, Mismatch> {
    let image = lambdac_image::link("image", &modules(members)).map_err(|e| Mismatch(e.to_string()))?;
    image
        .validate()
        .map_err(|errors| Mismatch(format!("linking made a broken image: {errors:?}")))?;
    Ok(image)
}

/// Runs all members' requests on an image and compares with what the evaluator gave.
///
/// # Errors
/// The first difference.
pub fn compare(image: Image, members: &[&Member]) -> Result<(), Mismatch> {
    let image = Arc::new(image);
    let mut interp = ImageInterp::new(Arc::clone(&image), SEED)
        .map_err(|e| Mismatch(format!("the image is invalid: {e:?}")))?;
    interp.limit_steps(BUDGET);
    let longest = members.iter().map(|member| member.requests.len()).max();
    for number in 0..longest.unwrap_or(0) {
        for (member, workload) in members.iter().zip(&image.workloads) {
            let (Some(request), Some(expected)) = (member.requests.get(number), member.outcomes.get(number))
            else {
                continue;
            };
            let got = ending(interp.call(
                workload.id,
                &request.bytes,
                &packet(request),
                &mut answers(member),
            ));
            if !agree(expected, &got) {
                return Err(Mismatch(format!(
                    "request {number} of {}: {request:?}\n  interp: {expected:?}\n  image: {got:?}",
                    member.module.name
                )));
            }
        }
    }
    let nobody = interp.call(0, b"", &packet(&members[0].requests[0]), &mut answers(members[0]));
    if nobody != Ending::NoWorkload {
        return Err(Mismatch(format!("nobody has id 0, and yet: {nobody:?}")));
    }
    states(&interp, members)
}

/// Compares each member's state at the time of its last request.
fn states(interp: &ImageInterp, members: &[&Member]) -> Result<(), Mismatch> {
    let mut dumps = BTreeMap::new();
    for member in members {
        let now = member.requests.last().map_or(0, |request| request.now);
        let all = dumps.entry(now).or_insert_with(|| interp.state(now));
        let prefix = format!("{}.", member.module.name);
        let own = all.iter().filter_map(|(name, dump)| {
            let name = name.strip_prefix(&prefix)?;
            Some((name.to_owned(), dump_text(&member.module, name, dump)))
        });
        let got: State = by_name(own);
        // What nobody reads or writes may be gone; what is left must agree.
        let expected = member.state.iter();
        for (name, lines) in expected {
            let found = got.iter().find(|(other, _)| other == name);
            if found.is_none_or(|(_, found)| found != lines) {
                return Err(Mismatch(format!(
                    "state `{name}` of {}\n  interp: {lines:?}\n  image: {found:?}",
                    member.module.name
                )));
            }
        }
    }
    Ok(())
}

fn packet(request: &Request) -> Packet {
    Packet {
        pkt: [
            request.src_ip.into(),
            request.src_port.into(),
            request.dst_port.into(),
            request.port.into(),
            request.request_id,
        ],
        now: request.now,
        random: request.random,
    }
}

/// What a member's own services answer; another's would give itself away.
fn answers(
    member: &Member,
) -> impl FnMut(&lambdac_mir::Service, lambdac_mir::ServiceOp, &[u8], Option<&[u8]>) -> Answer {
    let own = format!("{}.", member.module.name);
    move |service, op, key, _| {
        if !service.name.starts_with(&own) {
            return Answer::Value(b"the service of another workload".to_vec());
        }
        match service_answer(op == lambdac_mir::ServiceOp::Get, key) {
            ServiceAnswer::Value(value) => Answer::Value(value),
            ServiceAnswer::Done => Answer::Done,
            ServiceAnswer::Missing => Answer::Missing,
            ServiceAnswer::Failed => Answer::Failed,
        }
    }
}

fn ending(ending: Ending) -> Outcome {
    match ending {
        Ending::NoWorkload => Outcome::Bug("no workload".to_owned()),
        Ending::Of(MirOutcome::Reply(bytes)) => Outcome::Reply(bytes),
        Ending::Of(MirOutcome::Drop) => Outcome::Drop,
        Ending::Of(MirOutcome::Punt) => Outcome::Punt,
        Ending::Of(MirOutcome::Trap(cause, loc)) => Outcome::Trap(cause.name(), loc.line),
        Ending::Of(MirOutcome::BadRequest) => Outcome::BadRequest,
        Ending::Of(MirOutcome::OutOfSteps) => Outcome::Bug("out of steps".to_owned()),
        Ending::Of(MirOutcome::Invalid(why)) => Outcome::Bug(why),
    }
}
