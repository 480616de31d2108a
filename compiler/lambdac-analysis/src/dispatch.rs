//! Rules for lambdas as a whole: cycles of `punt name`, streams, and what the `match` can reach.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{Dispatch, Lambda, LambdaId, Match, Rule, Stmt, StmtKind, Target, Workload};

use crate::uses::Uses;
use crate::walk::{Visitor, visit_block};
use crate::{MAX_PACKET_PAYLOAD, grouped, request_size, type_size};

/// Checks; gives for each lambda whether requests through the workload's name can reach it.
pub fn check(workload: &Workload, uses: &Uses, sink: &mut Sink) -> Vec<bool> {
    check_cycles(workload, uses, sink);
    for lambda in workload.lambdas.iter().filter(|lambda| lambda.stream) {
        check_stream_body(lambda, sink);
        check_stream_sizes(workload, lambda, sink);
    }
    if let Dispatch::Match(stage) = &workload.dispatch {
        check_streams_of_match(workload, uses, stage, sink);
    }
    reachable(workload, uses)
}

/// Each cycle of `punt name` once.
fn check_cycles(workload: &Workload, uses: &Uses, sink: &mut Sink) {
    let mut open: BTreeSet<LambdaId> = (0..workload.lambdas.len() as u32).map(LambdaId).collect();
    let next = |open: &BTreeSet<LambdaId>, id: LambdaId| {
        let punts = uses.lambdas[id.index()].punts.iter();
        punts
            .map(|(&to, &span)| (to, span))
            .find(|(to, _)| open.contains(to))
    };
    // Depth first: a lambda is closed when all it punts to are, or when a cycle through it was reported.
    while let Some(&first) = open.first() {
        let mut path: Vec<(LambdaId, Span)> = Vec::new();
        let mut depth_of: BTreeMap<LambdaId, usize> = BTreeMap::new();
        let mut at = Some(first);
        while let Some(id) = at {
            let Some((to, span)) = next(&open, id) else {
                open.remove(&id);
                at = path.pop().map(|(before, _)| before);
                continue;
            };
            depth_of.insert(id, path.len());
            path.push((id, span));
            // An entry of a lambda that was closed since is never asked for: only open ones are followed.
            if let Some(&start) = depth_of.get(&to) {
                sink.push(cycle(workload, &path[start..]));
                path[start..].iter().for_each(|(id, _)| {
                    open.remove(id);
                });
                break;
            }
            at = Some(to);
        }
    }
}

fn cycle(workload: &Workload, path: &[(LambdaId, Span)]) -> Diagnostic {
    let name = |id: LambdaId| &workload.lambdas[id.index()].name;
    let (first, span) = path[0];
    let message = format!("`{}` punts to itself", name(first));
    let mut diagnostic = Diagnostic::error("E0352", message, span, "the cycle begins here")
        .with_help("the last lambda of a chain of punts must answer, or `punt` to the fallback");
    for &(id, span) in &path[1..] {
        diagnostic = diagnostic.with_label(span, format!("`{}` goes on", name(id)));
    }
    diagnostic
}

/// No drop or punt in a stream lambda; the checker refuses an await.
fn check_stream_body(lambda: &Lambda, sink: &mut Sink) {
    let mut found = Forbidden { lambda, sink };
    visit_block(&mut found, &lambda.body.block);
}

struct Forbidden<'s> {
    lambda: &'s Lambda,
    sink: &'s mut Sink,
}

impl Forbidden<'_> {
    fn report(&mut self, what: &str, span: Span) {
        let message = format!("`{what}` in a stream lambda");
        self.sink.push(
            Diagnostic::error("E0353", message, span, "each chunk must be answered")
                .with_label(self.lambda.span, "a stream lambda")
                .with_help("use `reply`, or a plain lambda"),
        );
    }
}

impl<'a> Visitor<'a> for Forbidden<'_> {
    fn stmt(&mut self, stmt: &'a Stmt) {
        match stmt.kind {
            StmtKind::Drop => self.report("drop", stmt.span),
            StmtKind::Punt(_) => self.report("punt", stmt.span),
            _ => {}
        }
    }
}

/// A chunk and its reply each fit a packet.
fn check_stream_sizes(workload: &Workload, lambda: &Lambda, sink: &mut Sink) {
    let chunk = request_size(workload, &lambda.request).map(|size| size.max);
    let reply = type_size(workload, &lambda.reply).max;
    let error = |message: String, label: &str, help: &str| {
        Diagnostic::error("E0354", message, lambda.span, label).with_help(help)
    };
    match chunk {
        None | Some(0) => sink.push(error(
            format!("the stream lambda `{}` has no size of a chunk", lambda.name),
            "its parameter must say how large a chunk is",
            "add a parameter, for example `chunk: bytes<1024>`",
        )),
        Some(bytes) if bytes > MAX_PACKET_PAYLOAD => sink.push(error(
            format!(
                "a chunk of {} bytes is larger than a packet",
                grouped(bytes.into())
            ),
            "a chunk is at most 1,344 bytes",
            "take smaller chunks, or use a plain lambda",
        )),
        Some(_) => {}
    }
    if reply > MAX_PACKET_PAYLOAD {
        sink.push(error(
            format!(
                "a chunk's reply of {} bytes is larger than a packet",
                grouped(reply.into())
            ),
            "a reply to a chunk is at most 1,344 bytes",
            "reply with less, or use a plain lambda",
        ));
    }
}

/// How a lambda takes messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Stream { chunk: u32 },
}

impl Shape {
    fn of(workload: &Workload, lambda: &Lambda) -> Self {
        if lambda.stream {
            Self::Stream {
                chunk: request_size(workload, &lambda.request).map_or(0, |size| size.max),
            }
        } else {
            Self::Plain
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Plain => "a plain lambda".to_owned(),
            Self::Stream { chunk } => format!("a stream lambda of {}-byte chunks", grouped(chunk.into())),
        }
    }
}

/// The lambdas that a match can reach are all stream lambdas with one chunk size, or none is.
fn check_streams_of_match(workload: &Workload, uses: &Uses, stage: &Match, sink: &mut Sink) {
    let mut first: Option<(Shape, Span)> = None;
    let mut seen = BTreeSet::new();
    for (rule, id) in rule_lambdas(stage) {
        for id in reached_from(uses, id, &mut seen) {
            let lambda = &workload.lambdas[id.index()];
            let shape = Shape::of(workload, lambda);
            match first {
                None => first = Some((shape, rule.span)),
                Some((other, at)) if other != shape => {
                    sink.push(mixed(lambda, rule.span, shape, other, at));
                    return;
                }
                Some(_) => {}
            }
        }
    }
    if !matches!(first, Some((Shape::Stream { .. }, _))) {
        return;
    }
    for rule in &stage.rules {
        let name = match rule.target {
            Target::Drop => "drop",
            Target::Punt => "punt",
            Target::Lambda(_) => continue,
        };
        let message = format!("`{name}` as a target beside stream lambdas");
        sink.push(
            Diagnostic::error("E0356", message, rule.span, "each chunk must be answered")
                .with_help("leave the rule out: a chunk that no rule takes is answered BAD_REQUEST"),
        );
    }
}

fn mixed(lambda: &Lambda, rule: Span, shape: Shape, other: Shape, at: Span) -> Diagnostic {
    let message = "the lambdas of a match must cut messages alike";
    let label = format!("`{}` is {}", lambda.name, shape.describe());
    Diagnostic::error("E0355", message, rule, label)
        .with_label(at, format!("this rule leads to {}", other.describe()))
        .with_help("make all of them stream lambdas with one size of chunk, or none")
}

fn rule_lambdas(stage: &Match) -> impl Iterator<Item = (&Rule, LambdaId)> {
    stage.rules.iter().filter_map(|rule| match rule.target {
        Target::Lambda(id) => Some((rule, id)),
        Target::Drop | Target::Punt => None,
    })
}

/// A lambda and those that it punts to, as far as they were not seen.
fn reached_from(uses: &Uses, id: LambdaId, seen: &mut BTreeSet<LambdaId>) -> Vec<LambdaId> {
    let mut reached = Vec::new();
    let mut waiting = vec![id];
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            reached.push(id);
            waiting.extend(uses.lambdas[id.index()].punts.keys());
        }
    }
    reached
}

fn reachable(workload: &Workload, uses: &Uses) -> Vec<bool> {
    let mut seen = BTreeSet::new();
    match &workload.dispatch {
        Dispatch::Only(id) => {
            reached_from(uses, *id, &mut seen);
        }
        Dispatch::Match(stage) => rule_lambdas(stage).for_each(|(_, id)| {
            reached_from(uses, id, &mut seen);
        }),
        Dispatch::Unreachable => {}
    }
    (0..workload.lambdas.len() as u32)
        .map(|number| seen.contains(&LambdaId(number)))
        .collect()
}
