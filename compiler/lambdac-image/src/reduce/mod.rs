//! match-reduction: one decision structure over all workloads.
//!
//! In order, for each workload's rules by themselves ([`part`]) up to the id:
//!
//! 1. **Facts.** Going down from the first rule, each node gets what all ways to it have in common: the values that each
//!    field can still have, the least length, the truth of other conditions. A test that the facts decide is skipped,
//!    and what is decided inside a compound condition goes: shadowed and unsatisfiable rules disappear, and each condition
//!    is tested once.
//!    This is done twice, with compound conditions whole and taken apart into a node a part, and what takes fewer words
//!    is kept.
//! 2. **Equal ends.** Neighbouring tests of one field that lead to the same place are one test where one condition says
//!    both (adjacent ranges become one); tests whose ways are the same go; equal nodes become one.
//! 3. **The id.** The tables in front become one table with an entry a workload, or a chain of branches where it is short
//!    and takes fewer words. A long chain of comparisons of one field becomes a table by the same count, and such tables of
//!    several workloads one keyed on the id and the field. (Tables of the control plane stay apart, as it may change their
//!    entries at any time under each one's own name.)
//! 4. **Around.** Lambdas are called where the stage ends, without a table; one reply epilogue and one table of ways out
//!    serve all. Replies leave by the port that requests came in by, which is that table's default.
//!
//! **Why nothing changes.** A request takes one way through the stage, and behind the id through one workload's part, which
//! does for all requests what it did. (1) Facts hold on each way by which a node is
//! reached: they come from tests that were passed on it. A test that they decide has the same result when it is left
//! out, and leaving it out is unseen: conditions have no effects but a trap, and conditions that may trap are left out only
//! where an equal one was evaluated on the way and did not trap (a condition reads only the packet, constants and tables,
//! which stand still during a request). Inside `All` and `Any`, what may trap keeps its place behind the conditions that
//! guard it. (2) The merged test holds exactly where either did, which the sets say; nodes are equal only if they
//! test the same and lead to the same. (3) Ids are distinct, so the order of their tables did not matter. A joined table
//! stands behind the least length that its workloads' rules ask for first, so its field is there; it has just their
//! entries, each under its own id, and what misses it goes the way that it went, without the table that it has missed or
//! is too short for. (4) Every entry
//! keeps a way for each kind of packet that its lambda sends; the reply's headers are made from the same fields.

mod around;
mod facts;
mod join;
mod part;
mod sets;

pub(crate) use join::share_pool;

use std::sync::Arc;

use lambdac_cost::Model;
use lambdac_mir::{Cond, Dispatch};

use self::part::Part;
use crate::cost::stage_words;
use crate::hash::Map;
use crate::image::{Image, Key, Node, NodeId, Stage};
use crate::pass::{Context, Pass};

/// The pass.
pub(crate) const MATCH_REDUCTION: Pass = Pass {
    name: "match-reduction",
    summary: "One decision structure over all workloads",
    keeps_code: true,
    run,
};

/// Rounds of facts and joining; each can make room for the other.
const ROUNDS: usize = 3;

/// Parts that were reduced: by what they were, what they became.
pub(crate) type Reduced = Map<Part, Arc<Part>>;

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let tests = count_tests(image);
    let tables = count_tables(image);
    let mut notes = Vec::new();
    let found = parts(image, context);
    share_pool(image, context);
    let quiet = quiet(image);
    if !found.is_empty() {
        let (stage, told) = join::fields(image, context, &found, &quiet);
        image.stage = stage;
        notes.extend(told);
    }
    fold(&mut image.stage, &quiet);
    let after = count_tests(image);
    if after < tests {
        notes.push(format!("{tests} tests of packets became {after}"));
    }
    let left = count_tables(image);
    if left != tables {
        notes.push(format!("{tables} tables in front of lambdas became {left}"));
    }
    notes.extend(around::share(image));
    notes
}

/// Reduces each workload's rules. The stage then holds them one after the other and starts where nobody's id leads; where
/// ids lead is told.
fn parts(image: &mut Image, context: &Context<'_>) -> Vec<(u64, NodeId)> {
    let mut at = image.stage.root;
    let mut found = Vec::new();
    loop {
        match &image.stage.nodes[at.index()] {
            Node::Table {
                key: Key::Workload,
                entries,
                miss,
            } => {
                found.extend(entries.iter().copied());
                at = *miss;
            }
            Node::Workload { id, then, other } => {
                found.push((u64::from(*id), *then));
                at = *other;
            }
            _ => break,
        }
    }
    let effects = lambdac_mir::func_effects(&image.module);
    let mut cache = context.reduced.borrow_mut();
    let mut stage = Stage {
        nodes: Vec::new(),
        root: NodeId(0),
    };
    let mut rules = Vec::new();
    let mut starts: Map<NodeId, NodeId> = Map::default();
    let all = std::iter::once(at).chain(found.iter().map(|(_, start)| *start));
    for start in all {
        if starts.contains_key(&start) {
            continue;
        }
        let (part, names) = Part::new(image, start, &effects);
        let small = match cache.get(&part) {
            Some(small) => Arc::clone(small),
            None => {
                let small = Arc::new(reduce(part.clone(), &context.model));
                cache.insert(part, Arc::clone(&small));
                small
            }
        };
        let base = (stage.nodes.len(), rules.len());
        starts.insert(start, NodeId(small.stage.root.0 + base.0 as u32));
        let nodes = small.stage.nodes.iter();
        stage
            .nodes
            .extend(nodes.map(|node| names.node(node.clone(), base)));
        rules.extend(small.pool.iter().map(|rule| names.rule(rule)));
    }
    stage.root = starts[&at];
    found.iter_mut().for_each(|(_, start)| *start = starts[start]);
    image.stage = stage;
    if let Dispatch::Match(pool) = &mut image.module.dispatch {
        pool.rules = rules;
    }
    found
}

/// A part with as few tests as it takes.
fn reduce(part: Part, model: &Model<'_>) -> Part {
    let mut apart = part.clone();
    let mut part = part;
    simplify(&mut part);
    join::split(&mut apart);
    simplify(&mut apart);
    let words = |part: &Part| stage_words(&part.stage, &part.pool, model);
    if words(&apart) < words(&part) {
        part = apart;
    }
    join::chains_to_tables(&mut part, model);
    let quiet = part.quiet();
    fold(&mut part.stage, &quiet);
    drop_unnamed(&mut part);
    part
}

fn simplify(part: &mut Part) {
    for _ in 0..ROUNDS {
        let before = part.stage.clone();
        facts::apply(part);
        join::neighbours(part);
        let quiet = part.quiet();
        fold(&mut part.stage, &quiet);
        if part.stage == before {
            break;
        }
    }
}

/// Leaves out conditions that no node names.
fn drop_unnamed(part: &mut Part) {
    let rules = std::mem::take(&mut part.pool);
    let mut numbers: Vec<Option<usize>> = vec![None; rules.len()];
    for node in &mut part.stage.nodes {
        if let Node::Test { cond, .. } = node {
            *cond = *numbers[*cond].get_or_insert_with(|| {
                part.pool.push(rules[*cond].clone());
                part.pool.len() - 1
            });
        }
    }
}

fn count_tests(image: &Image) -> usize {
    let tests = |node: &&Node| matches!(node, Node::Test { .. } | Node::Length { .. });
    image.stage.nodes.iter().filter(tests).count()
}

fn count_tables(image: &Image) -> usize {
    let tables = |node: &&Node| matches!(node, Node::Table { .. });
    image.stage.nodes.iter().filter(tables).count()
}

/// Keeps what the root reaches, each node once: nodes that test the same and lead to the same are one, and one whose ways
/// are the same is none. (A test that may trap is kept.)
pub(crate) fn rebuild(image: &mut Image) {
    let quiet = quiet(image);
    fold(&mut image.stage, &quiet);
}

/// By place in the pool: whether asking the condition cannot end the request.
pub(crate) fn quiet(image: &Image) -> Vec<bool> {
    let effects = lambdac_mir::func_effects(&image.module);
    let quiet = |cond: &Cond| {
        let mut quiet = true;
        cond.for_each_func(&mut |func| quiet &= !facts::may_trap(&effects, func));
        quiet
    };
    image.pool().iter().map(|rule| quiet(&rule.cond)).collect()
}

/// [`rebuild`] of one stage.
pub(crate) fn fold(stage: &mut Stage, quiet: &[bool]) {
    let reached = reached(stage);
    let mut numbers: Vec<NodeId> = vec![NodeId(0); stage.nodes.len()];
    let mut known: Map<Node, NodeId> = Map::default();
    let mut nodes = Vec::new();
    for (index, mut node) in std::mem::take(&mut stage.nodes).into_iter().enumerate() {
        if !reached[index] {
            continue;
        }
        node.for_each_successor_mut(&mut |to| *to = numbers[to.index()]);
        if let Some(to) = only_way(&mut node, quiet) {
            numbers[index] = to;
            continue;
        }
        numbers[index] = *known.entry(node).or_insert_with_key(|node| {
            nodes.push(node.clone());
            NodeId(nodes.len() as u32 - 1)
        });
    }
    stage.root = numbers[stage.root.index()];
    // The root may have merged with a node further down; what stands above it leads nowhere.
    nodes.truncate(stage.root.index() + 1);
    stage.nodes = nodes;
}

/// Where a node leads whatever it finds.
fn only_way(node: &mut Node, quiet: &[bool]) -> Option<NodeId> {
    match node {
        Node::Leaf(_) => None,
        Node::Workload { then, other, .. } | Node::Length { then, other, .. } => {
            (then == other).then_some(*then)
        }
        Node::Test { cond, then, other } => (then == other && quiet[*cond]).then_some(*then),
        Node::Table { entries, miss, .. } => {
            entries.retain(|(_, to)| to != miss);
            entries.is_empty().then_some(*miss)
        }
    }
}

fn reached(stage: &Stage) -> Vec<bool> {
    let mut reached = vec![false; stage.nodes.len()];
    reached[stage.root.index()] = true;
    for index in (0..=stage.root.index()).rev() {
        if reached[index] {
            stage.nodes[index].for_each_successor(&mut |to| reached[to.index()] = true);
        }
    }
    reached
}
