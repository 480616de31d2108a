//! The match stage: tables with one key, tests, and where they lead.
//!
//! The stage is a graph without cycles whose edges lead to lower numbers. A node with one way in stands where that way
//! leads; any other stands by itself, after all that lead to it, and `meta.node` says that it is next. So the program is
//! as long as the graph, whatever is shared. Fields that the stage looks at are taken out of the request before.

use std::collections::BTreeMap;

use lambdac_image::{Key as StageKey, Leaf, Node, NodeId};
use lambdac_mir::{CmpOp, Cond, Field, Func, KeyField, KeyPart, ObjectId, ObjectKind};

use super::keys::{self, part_bits};
use super::lambda::{self, fail, reason, set, status, verdict};
use super::memory::WORD;
use super::scalar::signed;
use super::unit::Unit;
use crate::ast::{
    Action, Binary, Bits, Direction, Entry, Expr, Key, Local, MatchKind, Param, Stmt, Table, Type,
};
use crate::legal::{CODE, Refusal};

/// Bits of a request: first and how many.
type Run = (u32, u32);

/// The stage as statements of `apply`.
pub(super) struct Stage<'u, 'm> {
    unit: &'u mut Unit<'m>,
    /// Whether an entry runs here.
    native: &'u [bool],
    /// By what they are taken from: fields in the metadata.
    fields: BTreeMap<Run, Expr>,
    /// Actions that entries of the stage's tables name.
    actions: BTreeMap<&'static str, Action>,
    /// Nodes that stand by themselves.
    apart: Vec<bool>,
    tables: Vec<Local>,
    entries: bool,
    runtime: Vec<(String, Entry)>,
    /// Workloads that go by the stage, and the numbers that their packets run by.
    ahead: &'u [(u32, usize)],
}

/// What the stage comes to.
pub(super) struct Lowered {
    /// What takes the fields out of the request: metadata, first bit, width.
    pub fields: Vec<(Expr, Run)>,
    /// Its actions and tables.
    pub locals: Vec<Local>,
    /// What is applied.
    pub apply: Vec<Stmt>,
    /// Entries that the control plane adds, with their table.
    pub runtime: Vec<(String, Entry)>,
}

/// Writes an image's stage. `ahead`: by id, workloads that go by it, and the numbers that their packets run by.
pub(super) fn lower(
    unit: &mut Unit<'_>,
    native: &[bool],
    ahead: &[(u32, usize)],
) -> Result<Lowered, Refusal> {
    let (image, entries) = (unit.image, unit.constant_entries);
    let nodes = &image.stage.nodes;
    let mut ways = vec![0_usize; nodes.len()];
    let mut by_table = vec![false; nodes.len()];
    let mut reached = vec![false; nodes.len()];
    reached[image.stage.root.index()] = true;
    for index in (0..nodes.len())
        .rev()
        .filter(|index| *index <= image.stage.root.index())
    {
        if !reached[index] {
            continue;
        }
        for to in successors(&nodes[index], ahead) {
            reached[to.index()] = true;
            ways[to.index()] += 1;
            by_table[to.index()] |= matches!(nodes[index], Node::Table { .. });
        }
    }
    let leaf = |index: usize| matches!(nodes[index], Node::Leaf(_));
    let apart = (0..nodes.len()).map(|index| !leaf(index) && (ways[index] > 1 || by_table[index]));
    let mut stage = Stage {
        native,
        fields: BTreeMap::new(),
        actions: BTreeMap::new(),
        apart: apart.collect(),
        tables: Vec::new(),
        entries,
        runtime: Vec::new(),
        ahead,
        unit,
    };
    let root = image.stage.root;
    let mut apply = stage.node(root)?;
    for index in (0..root.index()).rev() {
        if stage.apart[index] {
            let body = stage.node(NodeId(index as u32))?;
            let next = Expr::path("meta.node").binary(Binary::Eq, number(index));
            apply.push(Stmt::If(next, body, Vec::new()));
        }
    }
    for (id, number) in ahead {
        let own = Expr::path("hdr.lambda.workload").binary(Binary::Eq, Expr::bits(32, (*id).into()));
        apply = vec![Stmt::If(own, run(Expr::bits(16, *number as u64)).into(), apply)];
    }
    let actions = stage.actions.into_values().map(Local::Action);
    Ok(Lowered {
        fields: stage
            .fields
            .into_iter()
            .map(|(run, field)| (field, run))
            .collect(),
        locals: actions.chain(stage.tables).collect(),
        apply,
        runtime: stage.runtime,
    })
}

/// Runs what has a number.
fn run(number: Expr) -> [Stmt; 2] {
    [set("entry", number), set("verdict", Expr::name(verdict::RUN))]
}

/// Entries of a table of the stage, without those of workloads that go by it.
fn lines<'n>(key: StageKey, entries: &'n [(u64, NodeId)], ahead: &[(u32, usize)]) -> Vec<&'n (u64, NodeId)> {
    let goes_by = |id: u32| ahead.iter().any(|(other, _)| *other == id);
    let stays = |(value, _): &&(u64, NodeId)| match key {
        StageKey::Workload => u32::try_from(*value).is_ok_and(|id| !goes_by(id)),
        StageKey::Both(_) => !goes_by(StageKey::apart(*value).0),
        StageKey::Field(_) => true,
    };
    entries.iter().filter(stays).collect()
}

/// Where a node leads those that don't go by the stage.
fn successors(node: &Node, ahead: &[(u32, usize)]) -> Vec<NodeId> {
    match node {
        Node::Workload { id, other, .. } if ahead.iter().any(|(by, _)| by == id) => vec![*other],
        Node::Table { key, entries, miss } => {
            let lines = lines(*key, entries, ahead).into_iter();
            lines.map(|(_, to)| *to).chain([*miss]).collect()
        }
        node => node.successors(),
    }
}

fn number(index: usize) -> Expr {
    Expr::bits(16, index as u64 + 1)
}

impl<'m> Stage<'_, 'm> {
    /// What leads to a node.
    fn way(&mut self, to: NodeId) -> Result<Vec<Stmt>, Refusal> {
        if self.apart[to.index()] {
            return Ok(vec![set("node", number(to.index()))]);
        }
        self.node(to)
    }

    fn node(&mut self, at: NodeId) -> Result<Vec<Stmt>, Refusal> {
        let image = self.unit.image;
        match &image.stage.nodes[at.index()] {
            Node::Leaf(leaf) => Ok(self.leaf(*leaf)),
            Node::Workload { id, other, .. } if self.ahead.iter().any(|(by, _)| by == id) => self.way(*other),
            Node::Workload { id, then, other } => {
                let is = Expr::path("hdr.lambda.workload").binary(Binary::Eq, Expr::bits(32, (*id).into()));
                self.branch(Vec::new(), is, *then, *other)
            }
            Node::Length { min, then, other } => {
                let is = Expr::path("meta.length").binary(Binary::Ge, Expr::bits(32, (*min).into()));
                self.branch(Vec::new(), is, *then, *other)
            }
            Node::Test { cond, then, other } => {
                let cond = image.cond(*cond);
                let (before, holds) = self.cond(cond)?;
                let traps = cond.evaluates();
                let mut stmts = self.branch(before, holds, *then, *other)?;
                if traps && let Some(test) = stmts.pop() {
                    let on = Expr::path("meta.verdict").binary(Binary::Ne, Expr::name(verdict::REPLY));
                    stmts.push(Stmt::If(on, vec![test], Vec::new()));
                }
                Ok(stmts)
            }
            Node::Table { key, entries, miss } => self.table(at, *key, entries, *miss),
        }
    }

    fn branch(
        &mut self,
        mut before: Vec<Stmt>,
        cond: Expr,
        then: NodeId,
        other: NodeId,
    ) -> Result<Vec<Stmt>, Refusal> {
        let (then, other) = (self.way(then)?, self.way(other)?);
        before.push(match (then.is_empty(), &cond) {
            (true, _) if !other.is_empty() => Stmt::If(cond.negated(), other, Vec::new()),
            _ => Stmt::If(cond, then, other),
        });
        Ok(before)
    }

    /// What a leaf sets. A packet is the host's unless something else is said.
    fn leaf(&mut self, leaf: Leaf) -> Vec<Stmt> {
        match leaf {
            Leaf::Run(entry) if self.native[entry] => run(Expr::bits(16, entry as u64)).into(),
            Leaf::Run(_) => vec![set("reason", Expr::name(reason::ON_HOST))],
            Leaf::Drop => vec![set("verdict", Expr::name(verdict::DROP))],
            Leaf::Punt(_) => vec![set("reason", Expr::name(reason::PUNTED))],
            Leaf::BadRequest => fail(status::BAD_REQUEST),
            Leaf::HandUp => vec![set("reason", Expr::name(reason::ON_HOST))],
            Leaf::NoWorkload => Vec::new(),
        }
    }

    /// The action of a table's entry that leads to a node, and its data.
    fn entry(&mut self, to: NodeId) -> (String, Vec<Expr>) {
        let image = self.unit.image;
        let (name, param, data) = match &image.stage.nodes[to.index()] {
            Node::Leaf(Leaf::Run(entry)) if self.native[*entry] => {
                ("run", Some("entry"), Some(Expr::bits(16, *entry as u64)))
            }
            Node::Leaf(Leaf::Run(_) | Leaf::HandUp) => ("leave_to_host", None, None),
            Node::Leaf(Leaf::Drop) => ("drop_request", None, None),
            Node::Leaf(Leaf::Punt(_)) => ("punt", None, None),
            Node::Leaf(Leaf::BadRequest) => ("refuse", None, None),
            Node::Leaf(Leaf::NoWorkload) => return ("NoAction".to_owned(), Vec::new()),
            _ => ("look_further", Some("node"), Some(number(to.index()))),
        };
        let body = match (&image.stage.nodes[to.index()], param) {
            (_, Some("node")) => vec![set("node", Expr::name("node"))],
            (_, Some(_)) => run(Expr::name("entry")).into(),
            (Node::Leaf(leaf), None) => self.leaf(*leaf),
            _ => Vec::new(),
        };
        self.actions.entry(name).or_insert_with(|| Action {
            name: name.to_owned(),
            params: param
                .iter()
                .map(|name| Param::new(Direction::None, Type::Bit(16), name))
                .collect(),
            body,
        });
        (name.to_owned(), data.into_iter().collect())
    }

    fn table(
        &mut self,
        at: NodeId,
        key: StageKey,
        entries: &[(u64, NodeId)],
        miss: NodeId,
    ) -> Result<Vec<Stmt>, Refusal> {
        let entries = lines(key, entries, self.ahead);
        if entries.is_empty() {
            return self.way(miss);
        }
        let exact = |expr: Expr, name: &str, width: u32| Key {
            expr,
            kind: MatchKind::Exact,
            name: name.to_owned(),
            width,
        };
        let id = || exact(Expr::path("hdr.lambda.workload"), "workload", 32);
        let mut field = |field: Field| exact(self.field(field), "field", field.width().into());
        let (keys, wanted) = match key {
            StageKey::Workload => (vec![id()], "workloads".to_owned()),
            StageKey::Field(own) => (vec![field(own)], format!("stage_{}", at.0)),
            StageKey::Both(own) => (vec![id(), field(own)], format!("stage_{}", at.0)),
        };
        let table = self.unit.names.fresh(&wanted);
        let default = self.entry(miss);
        let mut actions = vec![default.0.clone()];
        let mut lines = Vec::new();
        for (value, to) in entries {
            let (action, args) = self.entry(*to);
            if !actions.contains(&action) {
                actions.push(action.clone());
            }
            lines.push(Entry {
                keys: match &keys[..] {
                    [id, field] => {
                        let (workload, value) = StageKey::apart(*value);
                        vec![
                            Expr::bits(id.width, workload.into()),
                            Expr::bits(field.width, value),
                        ]
                    }
                    keys => keys.iter().map(|key| Expr::bits(key.width, *value)).collect(),
                },
                action,
                args,
            });
        }
        self.tables.push(Local::Table(Table {
            name: table.clone(),
            keys,
            actions,
            default,
            const_default: true,
            entries: lines,
            size: None,
        }));
        Ok(vec![Stmt::Call(Expr::name(table).method("apply", Vec::new()))])
    }

    /// An integer of the packet, as a number even where it is one bit.
    fn field(&mut self, field: Field) -> Expr {
        match field {
            Field::Bits { bit, width } => self.run(bit, width.into()),
            Field::Pkt(fact) => self.unit.pkt(fact),
            Field::Rest { offset, max } => rest(Expr::path("meta.length"), offset, max),
        }
    }

    /// Bits of the request.
    fn run(&mut self, bit: u32, width: u32) -> Expr {
        if let Some(field) = self.fields.get(&(bit, width)) {
            return field.clone();
        }
        let field = self
            .unit
            .meta(&format!("request_{bit}_{width}"), Type::Bit(width));
        self.fields.insert((bit, width), field.clone());
        field
    }

    /// What comes before a condition, and the condition.
    fn cond(&mut self, cond: &'m Cond) -> Result<(Vec<Stmt>, Expr), Refusal> {
        let simple = |expr| Ok((Vec::new(), expr));
        match cond {
            Cond::True => simple(Expr::Bool(true)),
            Cond::Not(inner) => {
                let (before, expr) = self.cond(inner)?;
                Ok((before, expr.negated()))
            }
            Cond::All(items) => self.several(items, true),
            Cond::Any(items) => self.several(items, false),
            Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } => {
                simple(test(cond, &mut |field| Ok(self.field(field)))?)
            }
            Cond::Has { table, key } => {
                let (before, name) = self.lookup(*table, key)?;
                let hit = Expr::name(name).method("apply", Vec::new()).member("hit");
                Ok((before, hit))
            }
            Cond::Eval(func) => self.evaluate(func),
        }
    }

    /// Conditions of which all or any hold, in order, and no further than needed.
    fn several(&mut self, items: &'m [Cond], all: bool) -> Result<(Vec<Stmt>, Expr), Refusal> {
        let op = if all { Binary::AndAnd } else { Binary::OrOr };
        if items.iter().all(is_simple) {
            let mut joined: Option<Expr> = None;
            for item in items {
                let (_, expr) = self.cond(item)?;
                joined = Some(match joined {
                    None => expr,
                    Some(before) => before.binary(op, expr),
                });
            }
            return Ok((Vec::new(), joined.unwrap_or(Expr::Bool(all))));
        }
        let holds = self.unit.meta("holds", Type::Bool);
        let mut parts = Vec::new();
        for item in items {
            parts.push(self.cond(item)?);
        }
        let mut stmts: Vec<Stmt> = Vec::new();
        for (mut before, expr) in parts.into_iter().rev() {
            before.push(Stmt::Assign(holds.clone(), expr));
            if !stmts.is_empty() {
                let on = if all {
                    holds.clone()
                } else {
                    holds.clone().negated()
                };
                before.push(Stmt::If(on, stmts, Vec::new()));
            }
            stmts = before;
        }
        Ok((stmts, holds))
    }

    fn evaluate(&mut self, func: &'m Func) -> Result<(Vec<Stmt>, Expr), Refusal> {
        let holds = self.unit.meta("holds", Type::Bool);
        let name = self.unit.names.fresh(&format!("decide_{}", func.name));
        let routine = lambda::condition(self.unit, func, &name, holds.clone())?;
        self.tables.extend(routine.locals);
        self.runtime.extend(routine.entries);
        Ok((routine.apply, holds))
    }

    /// A table with a key of fields, applied in one place, as p4c wants it: what comes before, and its name.
    fn lookup(&mut self, id: ObjectId, key: &'m [KeyField]) -> Result<(Vec<Stmt>, String), Refusal> {
        let image = self.unit.image;
        let object = &image.module.objects[id.index()];
        let ObjectKind::Table {
            kind,
            key: parts,
            capacity,
            entries,
            ..
        } = &object.kind
        else {
            return Err(Refusal::new(CODE, format!("`{}` is no table", object.name)));
        };
        let (mut before, mut values) = (Vec::new(), Vec::new());
        for (field, part) in key.iter().zip(parts) {
            values.push(self.key_field(field, *part, &mut before));
        }
        let name = self.unit.names.fresh(&object.name);
        let lines = entries.iter().map(|entry| Entry {
            keys: keys::patterns(*kind, parts, &entry.key),
            action: "NoAction".to_owned(),
            args: Vec::new(),
        });
        let lines: Vec<Entry> = lines.collect();
        if !self.entries {
            self.runtime
                .extend(lines.iter().map(|line| (name.clone(), line.clone())));
        }
        self.tables.push(Local::Table(Table {
            name: name.clone(),
            keys: keys::of_table(*kind, parts, values),
            actions: vec!["NoAction".to_owned()],
            default: ("NoAction".to_owned(), Vec::new()),
            const_default: true,
            entries: if self.entries { lines } else { Vec::new() },
            size: (!self.entries || entries.is_empty()).then_some(*capacity),
        }));
        Ok((before, name))
    }

    /// A part of a key. p4c warns of a key that it knows: a constant goes through the metadata.
    fn key_field(&mut self, field: &KeyField, part: KeyPart, before: &mut Vec<Stmt>) -> Expr {
        match field {
            KeyField::Field(field) => self.field(*field),
            KeyField::Const(value) => {
                let to = self.unit.meta("key", Type::Bit(part_bits(part)));
                before.push(Stmt::Assign(to.clone(), Expr::bits(part_bits(part), *value)));
                to
            }
            KeyField::Bytes { offset, len } => self.run(offset * 8, len * 8),
        }
    }
}

/// Bytes of a request of a length from an offset on, at most so many.
pub(super) fn rest(len: Expr, offset: u32, max: u32) -> Expr {
    let (offset, most) = (Expr::bits(32, offset.into()), Expr::bits(32, max.into()));
    let rest = len.clone().binary(Binary::Sub, offset.clone());
    let over = rest.clone().binary(Binary::Gt, most.clone());
    let none = len.binary(Binary::Lt, offset);
    none.select(Expr::bits(32, 0), over.select(most, rest))
}

/// A condition on one integer of the packet, which `field` gives as a number.
pub(super) fn test(
    cond: &Cond,
    field: &mut dyn FnMut(Field) -> Result<Expr, Refusal>,
) -> Result<Expr, Refusal> {
    Ok(match cond {
        Cond::Cmp {
            field: of,
            op,
            swapped,
            value,
        } => {
            let width = u32::from(of.width());
            let (field, value) = (field(*of)?, Expr::bits(width, *value));
            let (a, b) = if *swapped { (value, field) } else { (field, value) };
            compare(*op, width, a, b)
        }
        Cond::Range { field: of, lo, hi } => {
            let (width, field) = (u32::from(of.width()), field(*of)?);
            let from = field.clone().binary(Binary::Ge, Expr::bits(width, *lo));
            // The end may be past the largest number.
            let past = Bits::new(width + 1, &hi.to_be_bytes());
            let below = field
                .cast(Type::Bit(width + 1))
                .binary(Binary::Lt, Expr::Bits(past));
            from.binary(Binary::AndAnd, below)
        }
        Cond::Masked {
            field: of,
            mask,
            value,
        } => {
            let width = u32::from(of.width());
            let kept = field(*of)?.binary(Binary::And, Expr::bits(width, *mask));
            kept.binary(Binary::Eq, Expr::bits(width, *value))
        }
        // The others are of several, of none, or no test.
        Cond::True | Cond::Not(_) | Cond::All(_) | Cond::Any(_) | Cond::Has { .. } | Cond::Eval(_) => {
            Expr::Bool(true)
        }
    })
}

/// A condition without tables and functions.
pub(super) fn is_simple(cond: &Cond) -> bool {
    let mut simple = true;
    cond.walk(&mut |cond| simple &= !matches!(cond, Cond::Has { .. } | Cond::Eval(_)));
    simple
}

/// A comparison of numbers, those of one bit included.
fn compare(op: CmpOp, width: u32, a: Expr, b: Expr) -> Expr {
    let (op, sign) = match op {
        CmpOp::Eq => (Binary::Eq, false),
        CmpOp::Ne => (Binary::Ne, false),
        CmpOp::Ult => (Binary::Lt, false),
        CmpOp::Ule => (Binary::Le, false),
        CmpOp::Slt => (Binary::Lt, true),
        CmpOp::Sle => (Binary::Le, true),
    };
    if sign {
        return signed(a, width).binary(op, signed(b, width));
    }
    a.binary(op, b)
}

/// Bits of the request's words, of any number.
pub(super) fn words_at(word: &dyn Fn(u64) -> Expr, (bit, width): Run) -> Expr {
    let mut parts = Vec::new();
    let (mut at, mut left) = (bit, width);
    while left > 0 {
        let within = at % WORD;
        let here = left.min(WORD - within);
        let part = word(u64::from(at / WORD));
        parts.push(part.slice(WORD - 1 - within, WORD - within - here));
        at += here;
        left -= here;
    }
    let joined = parts.into_iter().reduce(|a, b| a.binary(Binary::Concat, b));
    joined.unwrap_or(Expr::bits(8, 0))
}
