//! Tests that lead to the same place become one; the id's tables become one table or a chain.

use std::collections::HashMap;

use lambdac_cost::Model;
use lambdac_mir::{Cond, Dispatch, Field, Rule};

use super::fold;
use super::part::Part;
use super::sets::{Set, set_of};
use crate::canon;
use crate::cost::{in_edges, stage_words};
use crate::image::{Image, Key, Node, NodeId};
use crate::pass::Context;

/// Fewest comparisons that are tried as a table.
const TABLE_FROM: usize = 4;

/// Most branches of a chain over ids: at 5 cycles each, the last workload waits less than for one read of the nearest
/// memory that all cores share, which a table's lookup makes at least once.
const SHORT_CHAIN: usize = 32;

/// Merges each test with the next one of the same field where both lead to one place and one condition says it.
pub(super) fn neighbours(part: &mut Part) {
    for index in 0..=part.stage.root.index() {
        while let Some((cond, then, other)) = merged(part, NodeId(index as u32)) {
            let Node::Test { cond: old, .. } = part.stage.nodes[index] else {
                break;
            };
            let loc = part.pool[old].loc;
            let cond = part.add(cond, loc);
            part.stage.nodes[index] = Node::Test { cond, then, other };
        }
    }
}

/// A test, if a node is one of a set of one field's values.
fn test(part: &Part, at: NodeId) -> Option<(Field, Set, NodeId, NodeId)> {
    let Node::Test { cond, then, other } = &part.stage.nodes[at.index()] else {
        return None;
    };
    let (field, set) = set_of(part.cond(*cond))?;
    Some((field, set, *then, *other))
}

fn merged(part: &Part, at: NodeId) -> Option<(Cond, NodeId, NodeId)> {
    let (field, set, then, other) = test(part, at)?;
    let all = Set::all(field);
    for (next, end, goes) in [
        (other, then, Set::without(&all, &set)),
        (then, other, set.clone()),
    ] {
        let Some((field2, set2, then2, other2)) = test(part, next) else {
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

/// Chains of comparisons of one field with constants become tables where that takes fewer words.
pub(super) fn chains_to_tables(part: &mut Part, model: &Model<'_>) {
    for index in (0..=part.stage.root.index()).rev() {
        let ways = in_edges(&part.stage);
        let Some(table) = chain(part, NodeId(index as u32), &ways) else {
            continue;
        };
        let before = stage_words(&part.stage, &part.pool, model);
        let old = std::mem::replace(&mut part.stage.nodes[index], table);
        if stage_words(&part.stage, &part.pool, model) >= before {
            part.stage.nodes[index] = old;
        }
    }
}

/// The table that does what a chain of comparisons from here on does.
fn chain(part: &Part, start: NodeId, ways: &[u64]) -> Option<Node> {
    let mut entries: Vec<(u64, NodeId)> = Vec::new();
    let mut key = None;
    let mut at = start;
    while let Node::Test { cond, then, other } = &part.stage.nodes[at.index()] {
        let Cond::Cmp {
            field,
            op: lambdac_mir::CmpOp::Eq,
            value,
            ..
        } = part.cond(*cond)
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

/// Takes compound conditions apart: each of their parts is a node, in the order in which they are asked.
pub(super) fn split(part: &mut Part) {
    let old = std::mem::take(&mut part.stage.nodes);
    let mut numbers: Vec<NodeId> = Vec::with_capacity(old.len());
    for mut node in old {
        node.for_each_successor_mut(&mut |to| *to = numbers[to.index()]);
        let number = match node {
            Node::Test { cond, then, other } => {
                let rule = part.pool[cond].clone();
                expand(part, &rule.cond, rule.loc, (then, other))
            }
            node => push(part, node),
        };
        numbers.push(number);
    }
    part.stage.root = numbers[part.stage.root.index()];
}

fn push(part: &mut Part, node: Node) -> NodeId {
    part.stage.nodes.push(node);
    NodeId(part.stage.nodes.len() as u32 - 1)
}

/// Nodes for a condition: where it holds and where not. The nesting of conditions is bounded by the validator.
fn expand(part: &mut Part, cond: &Cond, loc: lambdac_mir::Loc, (then, other): (NodeId, NodeId)) -> NodeId {
    match cond {
        Cond::Not(inner) => expand(part, inner, loc, (other, then)),
        Cond::All(list) => list
            .iter()
            .rev()
            .fold(then, |next, cond| expand(part, cond, loc, (next, other))),
        Cond::Any(list) => list
            .iter()
            .rev()
            .fold(other, |next, cond| expand(part, cond, loc, (then, next))),
        Cond::True => then,
        atom => {
            let cond = part.add(atom.clone(), loc);
            push(part, Node::Test { cond, then, other })
        }
    }
}
/// One table over all ids, or a short chain of branches if it takes fewer words; the most requested first in a chain.
pub(super) fn ids(
    image: &mut Image,
    context: &Context<'_>,
    found: &[(u64, NodeId)],
    quiet: &[bool],
) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    let end = image.stage.root;
    let mut table = image.stage.clone();
    table.nodes.push(Node::Table {
        key: Key::Workload,
        entries: found.to_vec(),
        miss: end,
    });
    table.root = NodeId(table.nodes.len() as u32 - 1);
    fold(&mut table, quiet);
    let as_table = stage_words(&table, image.pool(), &context.model);
    let told = format!("{} workloads are told apart by", found.len());
    if found.len() > SHORT_CHAIN {
        image.stage = table;
        return Some(format!(
            "{told} one table: {as_table} words; a chain of more than {SHORT_CHAIN} branches takes too long"
        ));
    }
    let mut chain = image.stage.clone();
    let rates: HashMap<u64, f64> = (image.workloads.iter().zip(&context.rates))
        .map(|(workload, rate)| (workload.id.into(), *rate))
        .collect();
    let rate = |id: &u64| rates.get(id).copied().unwrap_or(0.0);
    let mut ordered = found.to_vec();
    ordered.sort_by(|a, b| rate(&b.0).total_cmp(&rate(&a.0)));
    for (id, to) in ordered.iter().rev() {
        chain.nodes.push(Node::Workload {
            id: *id as u32,
            then: *to,
            other: chain.root,
        });
        chain.root = NodeId(chain.nodes.len() as u32 - 1);
    }
    fold(&mut chain, quiet);
    let as_branches = stage_words(&chain, image.pool(), &context.model);
    let (kind, stage) = if as_table < as_branches {
        ("one table", table)
    } else {
        ("a chain of branches", chain)
    };
    image.stage = stage;
    Some(format!(
        "{told} {kind}: {as_table} words as a table, {as_branches} as branches"
    ))
}

/// Equal conditions become one of the pool, and what no node names goes.
pub(crate) fn share_pool(image: &mut Image) {
    let mut first: HashMap<u64, Vec<usize>> = HashMap::new();
    let rules = match &mut image.module.dispatch {
        Dispatch::Match(pool) => std::mem::take(&mut pool.rules),
        Dispatch::Only(_) | Dispatch::Unreachable => return,
    };
    let mut kept: Vec<Rule> = Vec::new();
    let mut numbers: Vec<Option<usize>> = vec![None; rules.len()];
    let nodes = image.stage.nodes.iter_mut();
    for node in nodes.chain(image.host.iter_mut().flat_map(|host| &mut host.nodes)) {
        let Node::Test { cond, .. } = node else { continue };
        let rule = &rules[*cond];
        *cond = *numbers[*cond].get_or_insert_with(|| {
            let candidates = first.entry(canon::cond_hash(&rule.cond)).or_default();
            let same = |at: &&usize| canon::same_cond(&kept[**at].cond, &rule.cond);
            candidates.iter().find(same).copied().unwrap_or_else(|| {
                kept.push(rule.clone());
                candidates.push(kept.len() - 1);
                kept.len() - 1
            })
        });
    }
    if let Dispatch::Match(pool) = &mut image.module.dispatch {
        pool.rules = kept;
    }
}
