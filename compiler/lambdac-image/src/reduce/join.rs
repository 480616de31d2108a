//! Tests that lead to the same place become one; the id's tables become one table or a chain.

use std::collections::HashMap;

use lambdac_mir::{Cond, Dispatch, Field};

use super::facts::add;
use super::rebuild;
use super::sets::{Set, set_of};
use crate::canon;
use crate::cost::{around_words, in_edges};
use crate::image::{Image, Key, Node, NodeId};
use crate::pass::Context;

/// Fewest comparisons that are tried as a table.
const TABLE_FROM: usize = 4;

/// Most branches of a chain over ids: at 5 cycles each, the last workload waits less than for one read of the nearest
/// memory that all cores share, which a table's lookup makes at least once.
const SHORT_CHAIN: usize = 32;

/// Merges each test with the next one of the same field where both lead to one place and one condition says it.
pub(super) fn neighbours(image: &mut Image) {
    for index in 0..=image.stage.root.index() {
        while let Some((cond, then, other)) = merged(image, NodeId(index as u32)) {
            let Node::Test { cond: old, .. } = image.stage.nodes[index] else {
                break;
            };
            let loc = image.pool()[old].loc;
            let cond = add(image, cond, loc);
            image.stage.nodes[index] = Node::Test { cond, then, other };
        }
    }
}

/// A test, if a node is one of a set of one field's values.
fn test(image: &Image, at: NodeId) -> Option<(Field, Set, NodeId, NodeId)> {
    let Node::Test { cond, then, other } = &image.stage.nodes[at.index()] else {
        return None;
    };
    let (field, set) = set_of(image.cond(*cond))?;
    Some((field, set, *then, *other))
}

fn merged(image: &Image, at: NodeId) -> Option<(Cond, NodeId, NodeId)> {
    let (field, set, then, other) = test(image, at)?;
    let all = Set::all(field);
    for (next, end, goes) in [
        (other, then, Set::without(&all, &set)),
        (then, other, set.clone()),
    ] {
        let Some((field2, set2, then2, other2)) = test(image, next) else {
            continue;
        };
        if field2 != field {
            continue;
        }
        // Which of the next one's ways leads to the end too, and where the other leads.
        let (joined, rest) = if then2 == end {
            (goes.and(&set2), other2)
        } else if other2 == end {
            (goes.and(&Set::without(&all, &set2)), then2)
        } else {
            continue;
        };
        let ends = Set::without(&all, &goes).or(&joined);
        if let Some(cond) = ends.cond(field, &all) {
            return Some((cond, end, rest));
        }
        if let Some(cond) = Set::without(&all, &ends).cond(field, &all) {
            return Some((cond, rest, end));
        }
    }
    None
}

/// Equal conditions become one of the pool, and what no node names goes.
pub(crate) fn share_pool(image: &mut Image) {
    let mut first: HashMap<String, usize> = HashMap::new();
    let rules = match &mut image.module.dispatch {
        Dispatch::Match(pool) => std::mem::take(&mut pool.rules),
        Dispatch::Only(_) | Dispatch::Unreachable => return,
    };
    let mut kept = Vec::new();
    let nodes = image.stage.nodes.iter_mut();
    for node in nodes.chain(image.host.iter_mut().flat_map(|host| &mut host.nodes)) {
        let Node::Test { cond, .. } = node else { continue };
        let rule = &rules[*cond];
        *cond = *first.entry(canon::cond_key(&rule.cond)).or_insert_with(|| {
            kept.push(rule.clone());
            kept.len() - 1
        });
    }
    if let Dispatch::Match(pool) = &mut image.module.dispatch {
        pool.rules = kept;
    }
}

/// Chains of comparisons of one field with constants become tables where that takes fewer words.
pub(super) fn chains_to_tables(image: &mut Image, context: &Context<'_>) {
    for index in (0..=image.stage.root.index()).rev() {
        let ways = in_edges(image);
        let Some(table) = chain(image, NodeId(index as u32), &ways) else {
            continue;
        };
        let before = around_words(image, &context.model);
        let old = std::mem::replace(&mut image.stage.nodes[index], table);
        if around_words(image, &context.model) >= before {
            image.stage.nodes[index] = old;
        }
    }
}

/// The table that does what a chain of comparisons from here on does.
fn chain(image: &Image, start: NodeId, ways: &[u64]) -> Option<Node> {
    let mut entries: Vec<(u64, NodeId)> = Vec::new();
    let mut key = None;
    let mut at = start;
    while let Node::Test { cond, then, other } = &image.stage.nodes[at.index()] {
        let Cond::Cmp {
            field,
            op: lambdac_mir::CmpOp::Eq,
            value,
            ..
        } = image.cond(*cond)
        else {
            break;
        };
        if *key.get_or_insert(*field) != *field || (at != start && ways[at.index()] > 1) {
            break;
        }
        // The first comparison with a value decides.
        if entries.iter().all(|(other, _)| other != value) {
            entries.push((*value, *then));
        }
        at = *other;
    }
    (entries.len() >= TABLE_FROM).then_some(Node::Table {
        key: Key::Field(key?),
        entries,
        miss: at,
    })
}

/// One table over all ids, or a short chain of branches if it takes fewer words; the most requested first in a chain.
pub(super) fn ids(image: &mut Image, context: &Context<'_>) -> Option<String> {
    let mut at = image.stage.root;
    let mut found = Vec::new();
    while let Node::Table {
        key: Key::Workload,
        entries,
        miss,
    } = &image.stage.nodes[at.index()]
    {
        found.extend(entries.iter().copied());
        at = *miss;
    }
    if found.is_empty() {
        return None;
    }
    let rate = |id: u64| {
        let workload = image
            .workloads
            .iter()
            .position(|workload| u64::from(workload.id) == id);
        workload.map_or(0.0, |workload| context.rates[workload])
    };
    let mut ordered = found.clone();
    ordered.sort_by(|a, b| rate(b.0).total_cmp(&rate(a.0)));
    let mut table = image.clone();
    let nodes = &mut table.stage.nodes;
    nodes.push(Node::Table {
        key: Key::Workload,
        entries: found.clone(),
        miss: at,
    });
    table.stage.root = NodeId(nodes.len() as u32 - 1);
    rebuild(&mut table);
    let nodes = &mut image.stage.nodes;
    let mut next = at;
    for (id, to) in ordered.iter().rev() {
        nodes.push(Node::Workload {
            id: *id as u32,
            then: *to,
            other: next,
        });
        next = NodeId(nodes.len() as u32 - 1);
    }
    image.stage.root = next;
    rebuild(image);
    let words = [&table, image].map(|image| around_words(image, &context.model));
    let branches = image
        .stage
        .nodes
        .iter()
        .filter(|node| matches!(node, Node::Workload { .. }))
        .count();
    let kind = if words[0] < words[1] || branches > SHORT_CHAIN {
        *image = table;
        "one table"
    } else {
        "a chain of branches"
    };
    Some(format!(
        "{} workloads are told apart by {kind}: {} words as a table, {} as branches",
        found.len(),
        words[0],
        words[1]
    ))
}

/// Takes compound conditions apart: each of their parts is a node, in the order in which they are asked.
pub(super) fn split(image: &mut Image) {
    let old = std::mem::take(&mut image.stage.nodes);
    let mut numbers: Vec<NodeId> = Vec::with_capacity(old.len());
    for mut node in old {
        node.for_each_successor_mut(&mut |to| *to = numbers[to.index()]);
        let number = match node {
            Node::Test { cond, then, other } => {
                let rule = image.pool()[cond].clone();
                expand(image, &rule.cond, rule.loc, (then, other))
            }
            node => push(image, node),
        };
        numbers.push(number);
    }
    image.stage.root = numbers[image.stage.root.index()];
}

fn push(image: &mut Image, node: Node) -> NodeId {
    image.stage.nodes.push(node);
    NodeId(image.stage.nodes.len() as u32 - 1)
}

/// Nodes for a condition: where it holds and where not. The nesting of conditions is bounded by the validator.
fn expand(image: &mut Image, cond: &Cond, loc: lambdac_mir::Loc, (then, other): (NodeId, NodeId)) -> NodeId {
    match cond {
        Cond::Not(inner) => expand(image, inner, loc, (other, then)),
        Cond::All(list) => list
            .iter()
            .rev()
            .fold(then, |next, cond| expand(image, cond, loc, (next, other))),
        Cond::Any(list) => list
            .iter()
            .rev()
            .fold(other, |next, cond| expand(image, cond, loc, (then, next))),
        Cond::True => then,
        atom => {
            let cond = add(image, atom.clone(), loc);
            push(image, Node::Test { cond, then, other })
        }
    }
}
