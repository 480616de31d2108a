//! Tests that lead to the same place become one; the id's tables become one table or a chain.

use std::collections::HashMap;

use lambdac_cost::Model;
use lambdac_mir::{Cond, Dispatch, Field, Rule};

use super::fold;
use super::part::Part;
use super::sets::{Set, set_of};
use crate::canon;
use crate::cost::{in_edges, stage_words};
use crate::image::{Image, Key, Node, NodeId, Stage};
use crate::pass::Context;
use crate::positions::Positions;

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
/// Workloads whose rules begin with a table of one field, behind one least length.
struct Alike {
    min: Option<u32>,
    field: Field,
    /// Places in what was found.
    members: Vec<usize>,
}

/// What a table is joined of, and its entries.
type Front = (Alike, Vec<(u64, NodeId)>);

/// The workloads that a table of one field could be joined of.
fn alike(stage: &Stage, found: &[(u64, NodeId)]) -> Vec<Alike> {
    let mut all: Vec<Alike> = Vec::new();
    for (member, (_, start)) in found.iter().enumerate() {
        let (min, table) = match &stage.nodes[start.index()] {
            Node::Length { min, then, .. } => (Some(*min), *then),
            _ => (None, *start),
        };
        let Node::Table {
            key: Key::Field(field),
            ..
        } = &stage.nodes[table.index()]
        else {
            continue;
        };
        // The id and the field are one number of 64 bits.
        if field.width() > 32 {
            continue;
        }
        match (all.iter_mut()).find(|other| (other.min, other.field) == (min, *field)) {
            Some(other) => other.members.push(member),
            None => all.push(Alike {
                min,
                field: *field,
                members: vec![member],
            }),
        }
    }
    all.retain(|alike| alike.members.len() > 1);
    all
}

/// Joins tables of one field of several workloads into one keyed on the id and the field, in front of where ids are told
/// apart, where that takes fewer words: what misses it is told apart as before, but past its workload's own table.
pub(super) fn fields(
    image: &Image,
    context: &Context<'_>,
    found: &[(u64, NodeId)],
    quiet: &[bool],
) -> (Stage, Vec<String>) {
    let mut best = ids((image, context), &image.stage, found, &[], quiet);
    let (mut base, mut found) = (image.stage.clone(), found.to_vec());
    let mut fronts: Vec<Front> = Vec::new();
    let mut notes = Vec::new();
    for alike in alike(&image.stage, &found) {
        let (before, others) = (base.clone(), found.clone());
        let entries = take_out(&mut base, &mut found, &alike);
        let rows = entries.len();
        let note = format!(
            "{} tables of one field became one of {rows} entries, keyed on the id and the field",
            alike.members.len()
        );
        fronts.push((alike, entries));
        let stage = ids((image, context), &base, &found, &fronts, quiet);
        if stage.words < best.words {
            notes.push(note);
            best = stage;
        } else {
            fronts.pop();
            (base, found) = (before, others);
        }
    }
    notes.insert(0, best.note);
    (best.stage, notes)
}

/// Takes the tables of some workloads out of their rules: what is left of each is what misses it. Gives their entries.
fn take_out(stage: &mut Stage, found: &mut [(u64, NodeId)], alike: &Alike) -> Vec<(u64, NodeId)> {
    let mut all = Vec::new();
    for member in &alike.members {
        let (id, start) = found[*member];
        let (table, short) = match &stage.nodes[start.index()] {
            Node::Length { then, other, .. } => (*then, Some(*other)),
            _ => (start, None),
        };
        let Node::Table { entries, miss, .. } = &stage.nodes[table.index()] else {
            continue;
        };
        let (miss, id) = (*miss, id as u32);
        all.extend(entries.iter().map(|(value, to)| (Key::both(id, *value), *to)));
        found[*member].1 = match (alike.min, short) {
            (Some(min), Some(other)) => {
                stage.nodes.push(Node::Length {
                    min,
                    then: miss,
                    other,
                });
                NodeId(stage.nodes.len() as u32 - 1)
            }
            _ => miss,
        };
    }
    all
}

fn put_in_front(stage: &mut Stage, (alike, entries): &Front) {
    let miss = stage.root;
    let mut push = |node: Node| {
        stage.nodes.push(node);
        NodeId(stage.nodes.len() as u32 - 1)
    };
    let mut front = push(Node::Table {
        key: Key::Both(alike.field),
        entries: entries.clone(),
        miss,
    });
    if let Some(min) = alike.min {
        front = push(Node::Length {
            min,
            then: front,
            other: miss,
        });
    }
    stage.root = front;
}

/// A stage, what it takes and what is told of it.
struct Told {
    stage: Stage,
    words: u64,
    note: String,
}

/// One table over all ids, or a short chain of branches if it takes fewer words; the most requested first in a chain. Joined
/// tables stand in front of it.
fn ids(
    (image, context): (&Image, &Context<'_>),
    base: &Stage,
    found: &[(u64, NodeId)],
    fronts: &[Front],
    quiet: &[bool],
) -> Told {
    let told = |stage: Stage, words: u64, note: String| Told { stage, words, note };
    let end = base.root;
    let mut table = base.clone();
    table.nodes.push(Node::Table {
        key: Key::Workload,
        entries: found.to_vec(),
        miss: end,
    });
    table.root = NodeId(table.nodes.len() as u32 - 1);
    fronts.iter().for_each(|front| put_in_front(&mut table, front));
    fold(&mut table, quiet);
    let as_table = stage_words(&table, image.pool(), &context.model);
    let apart = format!("{} workloads are told apart by", found.len());
    if found.len() > SHORT_CHAIN {
        let note = format!(
            "{apart} one table: {as_table} words; a chain of more than {SHORT_CHAIN} branches takes too long"
        );
        return told(table, as_table, note);
    }
    let mut chain = base.clone();
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
    fronts.iter().for_each(|front| put_in_front(&mut chain, front));
    fold(&mut chain, quiet);
    let as_branches = stage_words(&chain, image.pool(), &context.model);
    let note = |kind: &str| format!("{apart} {kind}: {as_table} words as a table, {as_branches} as branches");
    if as_table < as_branches {
        told(table, as_table, note("one table"))
    } else {
        told(chain, as_branches, note("a chain of branches"))
    }
}

/// Equal conditions become one of the pool, weighed by what all of them do, and what no node names goes.
pub(crate) fn share_pool(image: &mut Image, context: &Context<'_>) {
    let mut positions = Positions::new(image, context);
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
            match candidates.iter().find(same).copied() {
                Some(at) => {
                    positions.join_conds(&mut kept[at].cond, &rule.cond);
                    at
                }
                None => {
                    kept.push(rule.clone());
                    candidates.push(kept.len() - 1);
                    kept.len() - 1
                }
            }
        });
    }
    if let Dispatch::Match(pool) = &mut image.module.dispatch {
        pool.rules = kept;
    }
    positions.finish(image, context);
}
