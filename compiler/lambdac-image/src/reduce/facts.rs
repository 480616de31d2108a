//! What is known of a packet at each node, and the tests that it decides.

use lambdac_mir::{Cond, Effects, Field, Func};

use super::part::Part;
use super::sets::{Set, set_of};
use crate::canon::same_cond;
use crate::image::{Key, Node, NodeId};

/// Conditions that are remembered beside sets; the oldest goes first.
const MAX_OTHERS: usize = 32;

/// What all ways to a node have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Values that fields can have, for those that were tested, in the order of the tests.
    fields: Vec<(Field, Set)>,
    /// Conditions of which only the truth is known.
    others: Vec<(Cond, bool)>,
    /// The request has at least so many bytes.
    min_len: u32,
    /// And fewer than these.
    below: Option<u32>,
}

impl Facts {
    pub fn among(&self, field: Field) -> Set {
        self.known(field).cloned().unwrap_or_else(|| Set::all(field))
    }

    fn known(&self, field: Field) -> Option<&Set> {
        let found = self.fields.iter().find(|(other, _)| *other == field);
        found.map(|(_, set)| set)
    }

    /// What is known on both ways.
    fn meet(&self, other: &Self) -> Self {
        let fields = self.fields.iter().filter_map(|(field, set)| {
            let both = set.or(other.known(*field)?);
            both.is_small().then_some((*field, both))
        });
        let others = self.others.iter().filter(|fact| other.others.contains(fact));
        Self {
            fields: fields.collect(),
            others: others.cloned().collect(),
            min_len: self.min_len.min(other.min_len),
            below: self.below.zip(other.below).map(|(a, b)| a.max(b)),
        }
    }

    /// With the truth of a condition.
    pub fn learn(&mut self, cond: &Cond, truth: bool) {
        match cond {
            Cond::True => {}
            Cond::Not(inner) => self.learn(inner, !truth),
            Cond::All(list) if truth => list.iter().for_each(|cond| self.learn(cond, true)),
            Cond::Any(list) if !truth => list.iter().for_each(|cond| self.learn(cond, false)),
            Cond::All(_) | Cond::Any(_) => self.note(cond, truth),
            atom => match set_of(atom) {
                Some((field, set)) => {
                    let among = self.among(field);
                    let left = if truth {
                        among.and(&set)
                    } else {
                        Set::without(&among, &set)
                    };
                    if !left.is_small() {
                        return;
                    }
                    match self.fields.iter_mut().find(|(other, _)| *other == field) {
                        Some((_, set)) => *set = left,
                        None => self.fields.push((field, left)),
                    }
                }
                None => self.note(cond, truth),
            },
        }
    }

    fn note(&mut self, cond: &Cond, truth: bool) {
        let fact = (cond.clone(), truth);
        if !self.others.contains(&fact) {
            if self.others.len() == MAX_OTHERS {
                self.others.remove(0);
            }
            self.others.push(fact);
        }
    }

    /// The truth of a condition, where it is known.
    fn decide(&self, cond: &Cond) -> Option<bool> {
        if let Some((field, set)) = set_of(cond) {
            let among = self.among(field);
            if among.and(&set).is_empty() {
                return Some(false);
            }
            return Set::without(&among, &set).is_empty().then_some(true);
        }
        let other = self.others.iter().find(|(other, _)| same_cond(other, cond));
        other.map(|(_, truth)| *truth)
    }

    /// A condition without what is known, in the order that it had.
    pub fn simplify(&self, cond: &Cond) -> Cond {
        if let Some(truth) = self.decide(cond) {
            return constant(truth);
        }
        match cond {
            Cond::Not(inner) => match self.simplify(inner) {
                Cond::True => constant(false),
                Cond::Not(inner) => *inner,
                inner => Cond::Not(Box::new(inner)),
            },
            Cond::All(list) => self.list(list, true),
            Cond::Any(list) => self.list(list, false),
            atom => match set_of(atom) {
                Some((field, set)) => set
                    .cond(field, &self.among(field))
                    .unwrap_or_else(|| atom.clone()),
                None => atom.clone(),
            },
        }
    }

    /// `All` (`unit` true) or `Any`: what comes before a condition is known where it is asked.
    fn list(&self, list: &[Cond], unit: bool) -> Cond {
        let mut facts = self.clone();
        let mut out: Vec<Cond> = Vec::new();
        for cond in list {
            let simple = facts.simplify(cond);
            if simple == constant(unit) {
                continue;
            }
            if simple == constant(!unit) {
                // Nothing behind it is asked; what stands before may trap and stays.
                out.push(simple);
                break;
            }
            facts.learn(&simple, unit);
            match (simple, unit) {
                (Cond::All(inner), true) | (Cond::Any(inner), false) => out.extend(inner),
                (simple, _) => out.push(simple),
            }
        }
        let quiet = out.iter().all(|cond| !cond.evaluates());
        match out.len() {
            0 => constant(unit),
            _ if quiet && out.last() == Some(&constant(!unit)) => constant(!unit),
            1 => out.remove(0),
            _ if unit => Cond::All(out),
            _ => Cond::Any(out),
        }
    }
}

pub(super) fn constant(truth: bool) -> Cond {
    if truth {
        Cond::True
    } else {
        Cond::Not(Box::new(Cond::True))
    }
}

/// Whether evaluating a condition's function can end the request.
pub(super) fn may_trap(known: &[Effects], func: &Func) -> bool {
    let mut traps = false;
    func.region.walk_regions(&mut |region| {
        traps |= matches!(region.term, lambdac_mir::Term::Trap(..));
        traps |= region.stmts.iter().any(|stmt| stmt.op.effects_with(known).traps);
    });
    traps
}

/// Finds the facts of all nodes, leads each way past what its facts decide, and simplifies conditions.
pub(super) fn apply(part: &mut Part) {
    let count = part.stage.nodes.len();
    let mut facts: Vec<Option<Facts>> = vec![None; count];
    let root = part.stage.root;
    facts[root.index()] = Some(Facts::default());
    // Successors have lower numbers: whoever leads to a node was there before it.
    for index in (0..=root.index()).rev() {
        let Some(known) = facts[index].clone() else {
            continue;
        };
        let mut node = part.stage.nodes[index].clone();
        simplify(part, &mut node, &known);
        for (to, learnt) in ways(part, &node, &known) {
            let to = follow(part, to, &learnt);
            let at = &mut facts[to.index()];
            *at = Some(
                at.as_ref()
                    .map_or_else(|| learnt.clone(), |other| other.meet(&learnt)),
            );
        }
        let mut learnt = ways(part, &node, &known).into_iter();
        node.for_each_successor_mut(&mut |to| {
            if let Some((next, learnt)) = learnt.next() {
                *to = follow(part, next, &learnt);
            }
        });
        part.stage.nodes[index] = node;
    }
}

/// Puts a simpler condition in the node's place.
fn simplify(part: &mut Part, node: &mut Node, known: &Facts) {
    let Node::Test { cond, .. } = node else { return };
    let simple = known.simplify(part.cond(*cond));
    if simple != *part.cond(*cond) {
        let loc = part.pool[*cond].loc;
        *cond = part.add(simple, loc);
    }
}

/// Where a node leads, in the order of its successors, and what is known there.
fn ways(part: &Part, node: &Node, known: &Facts) -> Vec<(NodeId, Facts)> {
    match node {
        Node::Leaf(_) => Vec::new(),
        Node::Workload { then, other, .. } => vec![(*then, known.clone()), (*other, known.clone())],
        Node::Length { min, then, other } => {
            let (mut long, mut short) = (known.clone(), known.clone());
            long.min_len = long.min_len.max(*min);
            short.below = Some(short.below.unwrap_or(*min).min(*min));
            vec![(*then, long), (*other, short)]
        }
        Node::Test { cond, then, other } => {
            let (mut yes, mut no) = (known.clone(), known.clone());
            yes.learn(part.cond(*cond), true);
            no.learn(part.cond(*cond), false);
            vec![(*then, yes), (*other, no)]
        }
        Node::Table { key, entries, miss } => {
            let mut out: Vec<_> = entries
                .iter()
                .map(|(value, to)| {
                    let mut facts = known.clone();
                    if let Key::Field(field) = key {
                        facts.learn(&equals(*field, *value), true);
                    }
                    (*to, facts)
                })
                .collect();
            let mut facts = known.clone();
            if let Key::Field(field) = key {
                entries
                    .iter()
                    .for_each(|(value, _)| facts.learn(&equals(*field, *value), false));
            }
            out.push((*miss, facts));
            out
        }
    }
}

pub(super) fn equals(field: Field, value: u64) -> Cond {
    Cond::Cmp {
        field,
        op: lambdac_mir::CmpOp::Eq,
        swapped: false,
        value,
    }
}

/// The first node on the way that is not decided.
fn follow(part: &Part, mut to: NodeId, facts: &Facts) -> NodeId {
    loop {
        to = match &part.stage.nodes[to.index()] {
            Node::Length { min, then, .. } if facts.min_len >= *min => *then,
            Node::Length { min, other, .. } if facts.below.is_some_and(|below| below <= *min) => *other,
            Node::Test { cond, then, other } => match facts.simplify(part.cond(*cond)) {
                Cond::True => *then,
                Cond::Not(inner) if *inner == Cond::True => *other,
                _ => return to,
            },
            Node::Table {
                key: Key::Field(field),
                entries,
                miss,
            } => {
                let possible = |value: u64| facts.decide(&equals(*field, value)) != Some(false);
                match entries.iter().filter(|(value, _)| possible(*value)).count() {
                    0 => *miss,
                    _ => return to,
                }
            }
            _ => return to,
        };
    }
}
