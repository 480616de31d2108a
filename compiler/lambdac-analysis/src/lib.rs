//! Rules and warnings over typed HIR: what a body may do, worst cases, unused and lost updates.
//!
//! The checker sees one expression at a time; what needs a look at paths, loops, calls or the whole workload is here.
//! In goes a checked [`Workload`]; out come diagnostics and an [`Analysis`]: for each lambda its worst case, what it
//! touches, which lambdas it shares mutable state with and where it can run. The manifest and `size` print that.
//!
//! Every analysis is one walk over the tree; fns come before their callers, so that one pass over them is enough and
//! nothing here recurses deeper than one body.

#![forbid(unsafe_code)]

mod cost;
mod depth;
mod dispatch;
mod leave;
mod lost_update;
mod memory;
mod placement;
mod rules;
mod same;
mod unused;
mod uses;
mod walk;

use lambdac_diag::Sink;
use lambdac_hir::{
    LambdaId, MessageSize, ParamId, Request, ServiceId, StateId, TableId, Type, Workload, message_size,
};

pub use cost::MAX_STEPS;
pub use depth::MAX_DEPTH;
pub use memory::MAX_LOCALS_BYTES;
pub use placement::{HostReason, Placement};

/// The most payload bytes of a packet of the λ wire.
pub const MAX_PACKET_PAYLOAD: u32 = 1344;

/// What is known of a workload after all rules were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// By [`LambdaId`].
    pub lambdas: Vec<LambdaInfo>,
    /// Most steps of the `match` stage: all its conditions.
    pub match_steps: u64,
    /// Lambdas tied by mutable state, each once, in order of their first.
    pub components: Vec<Vec<LambdaId>>,
}

/// What is known of one lambda, the fns it calls included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaInfo {
    /// Worst case: operators, loads, stores and calls.
    pub steps: u64,
    /// Most bytes of variables at one time.
    pub locals_bytes: u64,
    /// State that it reads, ascending.
    pub reads: Vec<StateId>,
    /// State that it writes, ascending.
    pub writes: Vec<StateId>,
    /// Tables that it looks up, ascending.
    pub tables: Vec<TableId>,
    /// Params that it reads, ascending.
    pub params: Vec<ParamId>,
    /// Services that it awaits, ascending.
    pub services: Vec<ServiceId>,
    /// Lambdas that it punts to by name, ascending.
    pub punts_to: Vec<LambdaId>,
    /// Whether requests through the workload's name can reach it.
    pub reachable: bool,
    /// Index into [`Analysis::components`].
    pub component: usize,
    /// Where it can run, and why.
    pub placement: Placement,
    /// Sizes of requests; none where any request is taken.
    pub request: Option<MessageSize>,
    /// Sizes of replies.
    pub reply: MessageSize,
}

/// Checks the rules that need more than one expression, warns, and sums up.
pub fn analyze(workload: &Workload, sink: &mut Sink) -> Analysis {
    let uses = uses::Uses::of(workload);
    let reach = dispatch::check(workload, &uses, sink);
    leave::check(workload, &uses, sink);
    depth::check(workload, sink);
    let costs = cost::check(workload, sink);
    let locals = memory::check(workload, sink);
    let places = placement::check(workload, &uses, sink);
    rules::check(workload, sink);
    lost_update::check(workload, sink);
    unused::check(workload, &uses, &reach, sink);
    let lambdas = workload.lambdas.iter().enumerate().map(|(number, lambda)| {
        let used = &uses.lambdas[number];
        LambdaInfo {
            steps: costs.lambdas[number],
            locals_bytes: locals[number],
            reads: used.reads.iter().copied().collect(),
            writes: used.writes.iter().copied().collect(),
            tables: used.tables.iter().copied().collect(),
            params: used.params.iter().copied().collect(),
            services: used.services.iter().copied().collect(),
            punts_to: used.punts.keys().copied().collect(),
            reachable: reach[number],
            component: places.component_of[number],
            placement: places.lambdas[number].clone(),
            request: request_size(workload, &lambda.request),
            reply: type_size(workload, &lambda.reply),
        }
    });
    Analysis {
        lambdas: lambdas.collect(),
        match_steps: costs.match_stage,
        components: places.components.clone(),
    }
}

/// Sizes of requests; none where any request is taken.
fn request_size(workload: &Workload, request: &Request) -> Option<MessageSize> {
    match request {
        Request::Any => None,
        Request::Typed(ty) => Some(type_size(workload, ty)),
    }
}

fn type_size(workload: &Workload, ty: &Type) -> MessageSize {
    message_size(workload, ty).unwrap_or(MessageSize { min: 0, max: 0 })
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_numbers_are_grouped() {
        let numbers = [0, 12, 123, 1_234, 123_456, 1_000_000_000];
        let texts = numbers.map(super::grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,000,000,000"]);
    }
}
