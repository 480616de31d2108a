//! Warns about what nothing uses: items, state and tables that nobody reads, variables.
//!
//! Items of libraries are left alone, and so is what an unused fn or lambda uses: that fn or lambda is the cause.
//! Consts and types are folded away before HIR; the checker warns about those.

use std::collections::BTreeSet;

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{
    Body, Dispatch, Expr, ExprKind, LocalId, Place, PlaceBase, ServiceOp, StateId, StateKind, StatePlace,
    Step, Stmt, StmtKind, Workload,
};

use crate::uses::Uses;
use crate::walk::{Visitor, visit_block};

/// Checks a workload; `reachable` says of each lambda whether requests can reach it.
pub fn check(workload: &Workload, uses: &Uses, reachable: &[bool], sink: &mut Sink) {
    check_lambdas(workload, reachable, sink);
    check_items(workload, uses, sink);
    check_states(workload, uses, sink);
    check_tables(workload, uses, sink);
    check_variables(workload, sink);
}

fn unused(what: &str, name: &str, span: Span) -> Diagnostic {
    Diagnostic::warning(
        "W0052",
        format!("the {what} `{name}` is never used"),
        span,
        "nothing uses this",
    )
    .with_help("take it away")
}

fn check_lambdas(workload: &Workload, reachable: &[bool], sink: &mut Sink) {
    // Without a match either one lambda takes everything, or the checker has said that none does.
    let Dispatch::Match(stage) = &workload.dispatch else {
        return;
    };
    let dead = workload
        .lambdas
        .iter()
        .zip(reachable)
        .filter(|(_, reached)| !**reached);
    for (lambda, _) in dead {
        let message = format!("the lambda `{}` is never reached", lambda.name);
        sink.push(
            Diagnostic::warning("W0052", message, lambda.span, "no rule leads here")
                .with_label(stage.span, "this match picks the lambda")
                .with_help("add a rule for it, or take it away"),
        );
    }
}

fn check_items(workload: &Workload, uses: &Uses, sink: &mut Sink) {
    let called: BTreeSet<_> = uses
        .all()
        .flat_map(|body| &body.calls)
        .map(|id| id.index())
        .collect();
    for (number, function) in workload.fns.iter().enumerate() {
        let of_library = function.name.contains("::");
        if !of_library && !called.contains(&number) {
            sink.push(unused("fn", &function.name, function.span));
        }
    }
    let params: BTreeSet<_> = uses
        .all()
        .flat_map(|body| &body.params)
        .map(|id| id.index())
        .collect();
    for (_, param) in workload
        .params
        .iter()
        .enumerate()
        .filter(|(n, _)| !params.contains(n))
    {
        sink.push(unused("param", &param.name, param.span));
    }
    let services: BTreeSet<_> = uses
        .all()
        .flat_map(|body| &body.services)
        .map(|id| id.index())
        .collect();
    for (_, service) in workload
        .services
        .iter()
        .enumerate()
        .filter(|(n, _)| !services.contains(n))
    {
        sink.push(unused("service", &service.name, service.span));
    }
}

/// Counters are read from outside; other state is, where a test reads it.
fn check_states(workload: &Workload, uses: &Uses, sink: &mut Sink) {
    let mut read: BTreeSet<StateId> = uses.all().flat_map(|body| &body.reads).copied().collect();
    let written: BTreeSet<StateId> = uses.all().flat_map(|body| &body.writes).copied().collect();
    let untouched = |id: &StateId| !read.contains(id) && !written.contains(id);
    let ids = || (0..workload.states.len() as u32).map(StateId);
    for id in ids().filter(untouched) {
        let state = &workload.states[id.index()];
        sink.push(unused("state", &state.name, state.span));
    }
    read.extend(read_by_tests(workload));
    for id in ids().filter(|id| written.contains(id) && !read.contains(id)) {
        let state = &workload.states[id.index()];
        if !matches!(state.kind, StateKind::Counter { .. }) {
            let message = format!("the state `{}` is written and never read", state.name);
            sink.push(
                Diagnostic::warning("W0053", message, state.span, "no lambda or test reads this")
                    .with_help("take it away, or use a `counter` for what is read from outside"),
            );
        }
    }
}

fn read_by_tests(workload: &Workload) -> impl Iterator<Item = StateId> {
    workload
        .tests
        .iter()
        .flat_map(|test| &test.steps)
        .filter_map(|step| match step {
            Step::State {
                place: StatePlace::Counter(id, _),
                ..
            } => Some(*id),
            Step::State {
                place: StatePlace::Value(place),
                ..
            } => match place.base {
                PlaceBase::State(id) => Some(id),
                PlaceBase::Local(_) => None,
            },
            Step::Call(_) | Step::Given(_) => None,
        })
}

fn check_tables(workload: &Workload, uses: &Uses, sink: &mut Sink) {
    let read: BTreeSet<_> = uses
        .all()
        .flat_map(|body| &body.tables)
        .map(|id| id.index())
        .collect();
    for (_, table) in workload
        .tables
        .iter()
        .enumerate()
        .filter(|(n, _)| !read.contains(n))
    {
        let message = format!("the table `{}` is never read", table.name);
        sink.push(
            Diagnostic::warning("W0054", message, table.span, "nothing looks anything up here")
                .with_help("take it away, or look it up with `.get` or `.has`"),
        );
    }
}

fn check_variables(workload: &Workload, sink: &mut Sink) {
    for function in workload
        .fns
        .iter()
        .filter(|function| !function.name.contains("::"))
    {
        check_body(&function.body, 0, sink);
    }
    // A lambda's parameter says which requests it takes, read or not.
    for lambda in &workload.lambdas {
        let from = usize::from(matches!(lambda.request, lambdac_hir::Request::Typed(_)));
        check_body(&lambda.body, from, sink);
    }
}

fn check_body(body: &Body, from: usize, sink: &mut Sink) {
    let mut seen = Variables::default();
    visit_block(&mut seen, &body.block);
    for (number, local) in body.locals.iter().enumerate().skip(from) {
        let id = LocalId(number as u32);
        let named = local.name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !named || seen.needed.contains(&id) {
            continue;
        }
        if !seen.read.contains(&id) {
            let message = format!("the variable `{}` is never read", local.name);
            sink.push(
                Diagnostic::warning("W0055", message, local.span, "nothing reads this")
                    .with_help(format!("take it away, or call it `_{}`", local.name)),
            );
        } else if local.mutable && !seen.written.contains(&id) {
            let message = format!("the variable `{}` is `mut` and never changes", local.name);
            sink.push(
                Diagnostic::warning("W0056", message, local.span, "nothing is assigned to this")
                    .with_help("take `mut` away"),
            );
        }
    }
}

/// Which variables a body reads and changes.
#[derive(Default)]
struct Variables {
    read: BTreeSet<LocalId>,
    written: BTreeSet<LocalId>,
    /// Those that their construct can't do without: a loop's, and the `true` that a done `set` or `delete` gives.
    needed: BTreeSet<LocalId>,
}

/// Whether an option holds nothing but `true` where it holds something.
fn is_always_true(init: &Expr) -> bool {
    matches!(
        &init.kind,
        ExprKind::Await(_, ServiceOp::Set | ServiceOp::Delete, _)
    )
}

impl<'a> Visitor<'a> for Variables {
    fn stmt(&mut self, stmt: &'a Stmt) {
        match &stmt.kind {
            StmtKind::For { var, .. } => self.needed.extend([*var]),
            StmtKind::LetElse { local, init, .. } if is_always_true(init) => self.needed.extend([*local]),
            _ => {}
        }
    }

    fn expr(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Local(id) => self.read.extend([*id]),
            ExprKind::IfLet(local, init, ..) if is_always_true(init) => self.needed.extend([*local]),
            _ => {}
        }
    }

    fn place(&mut self, place: &'a Place) {
        if let PlaceBase::Local(id) = place.base {
            self.written.insert(id);
        }
    }
}
