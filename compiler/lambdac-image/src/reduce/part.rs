//! One workload's rules, by themselves.
//!
//! Facts about a packet that one workload's rules find out are of no use to another's: a request is for one workload. So
//! each workload's part of the stage is reduced alone, and what comes out depends on the part alone. A part is in
//! canonical form: entries, ids and evaluated conditions are numbered as they come, so that parts that are the same but
//! for what they lead to are equal, and are reduced once ([`super::Reduced`]).

use lambdac_mir::{Cond, Effects, Func, Loc, ObjectId, Rule, Target};

use super::facts::may_trap;
use crate::canon::erase_cond;
use crate::hash::{Map, Set};
use crate::image::{Image, Leaf, Node, NodeId, Stage};

/// Rules as a graph with conditions of its own.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Part {
    pub stage: Stage,
    /// Their positions are numbers of the conditions that they were made from.
    pub pool: Vec<Rule>,
    /// By evaluated condition, whose name is its number: whether it can end the request.
    traps: Vec<bool>,
}

// Nothing in it but integers, names and lists of them.
impl Eq for Part {}

/// What the numbers of a canonical part stand for.
pub(crate) struct Names {
    entries: Vec<usize>,
    workloads: Vec<usize>,
    objects: Vec<ObjectId>,
    funcs: Vec<Func>,
    locs: Vec<Loc>,
}

impl Part {
    /// The part of an image's stage from a node on.
    pub fn new(image: &Image, start: NodeId, effects: &[Effects]) -> (Self, Names) {
        let mut names = Names {
            entries: Vec::new(),
            workloads: Vec::new(),
            objects: Vec::new(),
            funcs: Vec::new(),
            locs: Vec::new(),
        };
        let mut part = Self {
            stage: Stage {
                nodes: Vec::new(),
                root: NodeId(0),
            },
            pool: Vec::new(),
            traps: Vec::new(),
        };
        let mut numbers: Map<NodeId, NodeId> = Map::default();
        let mut conds: Map<usize, usize> = Map::default();
        for at in below(&image.stage, start) {
            let mut node = image.stage.nodes[at.index()].clone();
            node.for_each_successor_mut(&mut |to| *to = numbers[to]);
            match &mut node {
                Node::Leaf(Leaf::Run(entry)) => *entry = number(&mut names.entries, *entry),
                Node::Leaf(Leaf::Punt(workload)) => *workload = number(&mut names.workloads, *workload),
                Node::Test { cond, .. } => {
                    *cond = *conds.entry(*cond).or_insert_with(|| {
                        part.take(&image.pool()[*cond], &mut names, effects);
                        part.pool.len() - 1
                    });
                }
                _ => {}
            }
            numbers.insert(at, NodeId(part.stage.nodes.len() as u32));
            part.stage.nodes.push(node);
        }
        part.stage.root = numbers[&start];
        (part, names)
    }

    /// Adds a condition in canonical form.
    fn take(&mut self, rule: &Rule, names: &mut Names, effects: &[Effects]) {
        let mut cond = rule.cond.clone();
        for_each_table(&mut cond, &mut |table| {
            *table = ObjectId(number(&mut names.objects, *table) as u32);
        });
        let mut funcs: Vec<Func> = Vec::new();
        cond.for_each_func_mut(&mut |func| funcs.push(func.clone()));
        erase_cond(&mut cond);
        let mut originals = funcs.iter();
        cond.for_each_func_mut(&mut |func| {
            if let Some(original) = originals.next() {
                self.traps.push(may_trap(effects, original));
            }
            func.name = (self.traps.len() - 1).to_string().into();
        });
        names.funcs.extend(funcs);
        names.locs.push(rule.loc);
        self.pool.push(Rule {
            cond,
            target: Target::Drop,
            loc: Loc {
                file: 0,
                line: names.locs.len() as u32,
            },
        });
    }

    /// A condition by its place.
    pub fn cond(&self, index: usize) -> &Cond {
        &self.pool[index].cond
    }

    /// A new condition.
    pub fn add(&mut self, cond: Cond, loc: Loc) -> usize {
        self.pool.push(Rule {
            cond,
            target: Target::Drop,
            loc,
        });
        self.pool.len() - 1
    }

    /// By place in the pool: whether asking the condition cannot end the request.
    pub fn quiet(&self) -> Vec<bool> {
        let loud = |rule: &Rule| {
            let mut loud = false;
            rule.cond
                .for_each_func(&mut |func| loud |= number_of(func).is_none_or(|at| self.traps[at]));
            loud
        };
        self.pool.iter().map(|rule| !loud(rule)).collect()
    }
}

impl Names {
    /// A node under the image's numbers: it and its conditions stand behind `base`.
    pub fn node(&self, mut node: Node, base: (usize, usize)) -> Node {
        node.for_each_successor_mut(&mut |to| to.0 += base.0 as u32);
        match &mut node {
            Node::Leaf(Leaf::Run(entry)) => *entry = self.entries[*entry],
            Node::Leaf(Leaf::Punt(workload)) => *workload = self.workloads[*workload],
            Node::Test { cond, .. } => *cond += base.1,
            _ => {}
        }
        node
    }

    /// A condition under the image's ids.
    pub fn rule(&self, rule: &Rule) -> Rule {
        let mut rule = rule.clone();
        for_each_table(&mut rule.cond, &mut |table| *table = self.objects[table.index()]);
        rule.cond.for_each_func_mut(&mut |func| {
            if let Some(at) = number_of(func) {
                func.clone_from(&self.funcs[at]);
            }
        });
        let number = (rule.loc.line as usize).checked_sub(1);
        rule.loc = number.map_or(Loc::default(), |number| self.locs[number]);
        rule
    }
}

/// The number of something, which it gets when it is first met.
fn number<T: PartialEq + Copy>(known: &mut Vec<T>, wanted: T) -> usize {
    known.iter().position(|one| *one == wanted).unwrap_or_else(|| {
        known.push(wanted);
        known.len() - 1
    })
}

/// The number of an evaluated condition.
fn number_of(func: &Func) -> Option<usize> {
    func.name.parse().ok()
}

fn for_each_table(cond: &mut Cond, f: &mut dyn FnMut(&mut ObjectId)) {
    cond.walk_mut(&mut |cond| {
        if let Cond::Has { table, .. } = cond {
            f(table);
        }
    });
}

/// What a node leads to, and the node, lowest first.
fn below(stage: &Stage, start: NodeId) -> Vec<NodeId> {
    let mut seen: Vec<NodeId> = vec![start];
    let mut known: Set<NodeId> = Set::from_iter([start]);
    let mut at = 0;
    while at < seen.len() {
        let node = &stage.nodes[seen[at].index()];
        node.for_each_successor(&mut |to| {
            if known.insert(to) {
                seen.push(to);
            }
        });
        at += 1;
    }
    seen.sort_unstable();
    seen
}
