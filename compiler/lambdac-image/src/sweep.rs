//! dead-code: what nothing reaches goes.
//!
//! - Lambdas that no way through the stage and no punt leads to are not called: on the wire nobody can ask for them.
//!   Their code stays in the module, as tests enter lambdas directly, but not in the store.
//! - Lambdas and functions that no entry has are removed, with the constants, parameters, services' headers and
//!   conditions that only they mention.
//! - Headers of requests are parsed only as far as the stage reads them: lambdas read the packet itself. One that the
//!   stage does not read is not parsed, nor are frames of services that no lambda on the NIC asks.
//! - Reply epilogues and ways out that no called lambda has are removed.
//!
//! State stays, written or not: the control plane reads it.
//!
//! **Why nothing changes.** What is removed is never entered: entries name the lambdas that they run, code names functions
//! and constants, and both are followed from all entries and all conditions of the stage. Parsing has no effect but to
//! make fields readable, and every field that the stage reads stays parsed.

use std::collections::BTreeSet;

use lambdac_mir::{Base, Cond, Field, KeyField, LambdaId, Op, Protocol, Region, Term, Use};

use crate::coalesce::apply;
use crate::image::{Bound, Call, Image, Leaf, Node, Role, Way};
use crate::link::services_of;
use crate::pass::{Context, Pass};
use crate::rename::{Rename, closing};

/// The pass.
pub(crate) const DEAD_CODE: Pass = Pass {
    name: "dead-code",
    summary: "What no request reaches removed from the image",
    keeps_code: false,
    run,
};

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    crate::reduce::rebuild(image);
    crate::reduce::share_pool(image, context);
    let uncalled = uncall(image);
    if !uncalled.is_empty() {
        notes.push(format!("nothing leads to {}", uncalled.join(", ")));
    }
    let items = remove_items(image);
    if items > 0 {
        notes.push(format!(
            "lambdas, functions, constants and parameters removed: {items}"
        ));
    }
    let bits = trim_headers(image);
    if bits > 0 {
        notes.push(format!(
            "{bits} bits of headers are not parsed, as the stage reads none of them"
        ));
    }
    trim_plumbing(image);
    notes
}

/// Entries that nothing leads to.
fn uncall(image: &mut Image) -> Vec<String> {
    let mut led: BTreeSet<usize> = BTreeSet::new();
    for node in &image.stage.nodes {
        if let Node::Leaf(Leaf::Run(entry)) = node {
            led.insert(*entry);
        }
    }
    let mut names = Vec::new();
    for entry in 0..image.entries.len() {
        let on_host = image.entries[entry].on_host.is_some();
        if !on_host && image.plumbing.calls[entry] != Call::None && !led.contains(&entry) {
            image.plumbing.calls[entry] = Call::None;
            names.push(format!("`{}`", image.entry_name(entry)));
        }
    }
    names
}

/// What code mentions.
#[derive(Default)]
struct Mentioned {
    consts: BTreeSet<u32>,
    params: BTreeSet<u32>,
    funcs: BTreeSet<u32>,
    punts: BTreeSet<u32>,
}

impl Mentioned {
    fn region(&mut self, region: &Region) {
        region.walk_regions(&mut |inner| {
            for stmt in &inner.stmts {
                stmt.op.for_each_use(&mut |used| self.used(&used));
                if let Op::Call(func, _) = &stmt.op {
                    self.funcs.insert(func.0);
                }
            }
            inner.term.for_each_use(&mut |used| self.used(&used));
            if let Term::Punt(Some(lambda)) = &inner.term {
                self.punts.insert(lambda.0);
            }
        });
    }

    fn used(&mut self, used: &Use<'_>) {
        match used.place().map(|place| place.base) {
            Some(Base::Const(id)) => self.consts.extend([id.0]),
            Some(Base::Param(id)) => self.params.extend([id.0]),
            _ => {}
        }
    }
}

/// Removes lambdas, functions, constants and parameters that nothing mentions; how many.
fn remove_items(image: &mut Image) -> usize {
    let module = &image.module;
    let mut live = vec![false; module.lambdas.len()];
    let mut todo: Vec<usize> = image.entries.iter().map(|entry| entry.lambda.index()).collect();
    let mut mentioned = Mentioned::default();
    while let Some(lambda) = todo.pop() {
        if std::mem::replace(&mut live[lambda], true) {
            continue;
        }
        module.lambdas[lambda]
            .parts
            .iter()
            .for_each(|part| mentioned.region(&part.region));
        todo.extend(
            std::mem::take(&mut mentioned.punts)
                .into_iter()
                .map(|id| id as usize),
        );
    }
    for rule in image.pool() {
        rule.cond
            .for_each_func(&mut |func| mentioned.region(&func.region));
    }
    let mut funcs = vec![false; module.funcs.len()];
    // Callees have lower ids.
    for id in (0..module.funcs.len()).rev() {
        if mentioned.funcs.contains(&(id as u32)) {
            funcs[id] = true;
            mentioned.region(&module.funcs[id].region);
        }
    }
    for binding in image.entries.iter().flat_map(|entry| &entry.bindings) {
        mentioned.params.insert(binding.param.0);
        if let Bound::Param(param) = &binding.value {
            mentioned.params.insert(param.0);
        }
    }
    let kept = |count: usize, ids: &BTreeSet<u32>| -> Vec<bool> {
        (0..count as u32).map(|id| ids.contains(&id)).collect()
    };
    let consts = kept(module.consts.len(), &mentioned.consts);
    let params = kept(module.params.len(), &mentioned.params);
    let rename = Rename {
        consts: closing(&consts),
        params: closing(&params),
        funcs: closing(&funcs),
        lambdas: closing(&live),
        ..Rename::default()
    };
    let module = &mut image.module;
    let removed = retain(&mut module.lambdas, &live)
        + retain(&mut module.funcs, &funcs)
        + retain(&mut module.consts, &consts)
        + retain(&mut module.params, &params);
    apply(module, &rename);
    for entry in &mut image.entries {
        entry.lambda = rename.lambda(entry.lambda);
        for binding in &mut entry.bindings {
            binding.param = rename.param(binding.param);
            if let Bound::Param(param) = &mut binding.value {
                *param = rename.param(*param);
            }
        }
    }
    if let Some(placed) = &mut image.placed {
        retain(&mut placed.consts, &consts);
    }
    removed
}

fn retain<T>(items: &mut Vec<T>, kept: &[bool]) -> usize {
    let before = items.len();
    let mut kept = kept.iter();
    items.retain(|_| kept.next().copied().unwrap_or(true));
    before - items.len()
}

/// Entries that the NIC calls.
fn called(image: &Image) -> Vec<usize> {
    let on_nic =
        |entry: &usize| image.entries[*entry].on_host.is_none() && image.plumbing.calls[*entry] != Call::None;
    (0..image.entries.len()).filter(on_nic).collect()
}

/// Parses of a request only what the stage reads of it; how many bits less.
fn trim_headers(image: &mut Image) -> u64 {
    let mut end = 0u32;
    for node in &image.stage.nodes {
        match node {
            Node::Test { cond, .. } => read(image.cond(*cond), &mut end),
            Node::Table { key, .. } => {
                if let Some(field) = key.field() {
                    field_end(field, &mut end);
                }
            }
            _ => {}
        }
    }
    let lambdas: BTreeSet<LambdaId> = (called(image).into_iter())
        .map(|entry| image.entries[entry].lambda)
        .collect();
    let services = lambdas
        .iter()
        .flat_map(|lambda| services_of(&image.module.lambdas[lambda.index()]));
    let asked: Vec<Protocol> = services
        .map(|service| image.module.services[service.index()].protocol)
        .collect();
    let headers = &mut image.plumbing.headers;
    let before: u64 = headers.iter().map(|header| header.bits).sum();
    // One header as long as the longest part that the stage reads serves all workloads; so does one frame a protocol.
    let mut request = (end > 0).then_some(u64::from(end));
    let mut protocols = Vec::new();
    headers.retain_mut(|header| match header.role {
        Role::Packet => true,
        Role::Request(_) => match request.take() {
            Some(bits) => {
                header.name = "request".into();
                header.bits = bits;
                header.role = Role::Request(None);
                true
            }
            None => false,
        },
        Role::Service(protocol) => {
            let first = asked.contains(&protocol) && !protocols.contains(&protocol);
            protocols.push(protocol);
            first
        }
    });
    if let Some(bits) = request {
        headers.push(crate::image::Header {
            name: "request".into(),
            bits,
            role: Role::Request(None),
        });
    }
    let after: u64 = headers.iter().map(|header| header.bits).sum();
    before.saturating_sub(after)
}

/// Where the bits that a condition reads end, in the request.
fn read(cond: &Cond, end: &mut u32) {
    cond.walk(&mut |cond| match cond {
        Cond::True | Cond::Eval(_) | Cond::Not(_) | Cond::All(_) | Cond::Any(_) => {}
        Cond::Cmp { field, .. } | Cond::Range { field, .. } | Cond::Masked { field, .. } => {
            field_end(*field, end)
        }
        Cond::Has { key, .. } => {
            for part in key {
                match part {
                    KeyField::Field(field) => field_end(*field, end),
                    KeyField::Bytes { offset, len } => *end = (*end).max((offset + len) * 8),
                    KeyField::Const(_) => {}
                }
            }
        }
    });
}

fn field_end(field: Field, end: &mut u32) {
    if let Field::Bits { bit, width } = field {
        *end = (*end).max((bit + u32::from(width)).next_multiple_of(8));
    }
}

/// Ways out and epilogues that are somebody's.
fn trim_plumbing(image: &mut Image) {
    let called = called(image);
    let entries = image.entries.iter();
    let asked = entries.flat_map(|entry| {
        let named = services_of(&image.module.lambdas[entry.lambda.index()]).into_iter();
        named.map(|service| entry.service(service))
    });
    let asked: BTreeSet<_> = asked.collect();
    let plumbing = &mut image.plumbing;
    for route in &mut plumbing.routes {
        route.entries.retain(|way| match way {
            Way::Reply => true,
            Way::Service(service) => asked.contains(service),
        });
    }
    let used = |of: &[usize]| -> BTreeSet<usize> { called.iter().map(|entry| of[*entry]).collect() };
    let (replies, routes) = (used(&plumbing.reply_of), used(&plumbing.route_of));
    if replies.is_empty() || routes.is_empty() {
        return;
    }
    let kept: Vec<bool> = (0..plumbing.replies.len())
        .map(|index| replies.contains(&index))
        .collect();
    renumber(&mut plumbing.replies, &mut plumbing.reply_of, &kept);
    let kept: Vec<bool> = (0..plumbing.routes.len())
        .map(|index| routes.contains(&index))
        .collect();
    renumber(&mut plumbing.routes, &mut plumbing.route_of, &kept);
}

/// Removes what is not kept; entries that had it get the first that is.
fn renumber<T>(items: &mut Vec<T>, of: &mut [usize], kept: &[bool]) {
    let numbers = closing(kept);
    for item in of {
        *item = if kept[*item] { numbers[*item] as usize } else { 0 };
    }
    retain(items, kept);
}
