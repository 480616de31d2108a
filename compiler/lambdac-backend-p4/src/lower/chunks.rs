//! Streams behind a match: what looks at each chunk.
//!
//! The stage runs once a packet, and a match of streams looks at each chunk of it. So a packet of such a workload goes by
//! the stage, to a loop over its chunks ([`super::stream`]) in which the workload's way through the stage is code: it ends
//! with the number of the lambda that the chunk is for, and that lambda's code follows. Where the match looks in tables,
//! the loop is unrolled as any that does (see [`super::routine`]).

use std::collections::BTreeSet;

use lambdac_image::{Image, Key, Leaf, Node, NodeId};
use lambdac_mir::{Base, BitPos, Cond, Field, Func, KeyField, KeyPart, ObjectId, Place};

use super::code::{Bytes, Code, MAX_STATEMENTS};
use super::keys::part_bits;
use super::lambda::{fail, status};
use super::op::sum;
use super::routine::Routine;
use super::scalar::bit_of;
use super::stage::{is_simple, rest, test};
use super::stream;
use super::unit::Unit;
use crate::ast::{Binary, Expr, Stmt};
use crate::legal::{ASKED, CODE, REQUEST, Refusal};

/// The workloads whose streams stand behind a match, by number.
pub(super) fn workloads(image: &Image) -> Vec<usize> {
    let streams = image.workloads.iter().enumerate();
    let streams = streams.filter(|(_, workload)| workload.chunk.is_some());
    let behind = streams.filter(|(_, workload)| {
        let way = Way::of(image, workload.id);
        !matches!(way.node(way.root()), Node::Leaf(_))
    });
    behind.map(|(index, _)| index).collect()
}

/// The entries that a workload's match leads to.
fn entries(image: &Image, workload: usize) -> BTreeSet<usize> {
    let way = Way::of(image, image.workloads[workload].id);
    let (mut found, mut open, mut seen) = (BTreeSet::new(), vec![way.root()], BTreeSet::new());
    while let Some(at) = open.pop() {
        if !seen.insert(at.index()) {
            continue;
        }
        match way.node(at) {
            Node::Leaf(Leaf::Run(entry)) => {
                found.insert(*entry);
            }
            node => open.extend(way.successors(node)),
        }
    }
    found
}

/// The stage as requests of one workload see it.
struct Way<'m> {
    image: &'m Image,
    id: u32,
}

impl<'m> Way<'m> {
    fn of(image: &'m Image, id: u32) -> Self {
        Self { image, id }
    }

    fn node(&self, at: NodeId) -> &'m Node {
        &self.image.stage.nodes[at.index()]
    }

    /// Where its requests start: past all that asks whose they are.
    fn root(&self) -> NodeId {
        self.past(self.image.stage.root)
    }

    fn past(&self, mut at: NodeId) -> NodeId {
        loop {
            at = match self.node(at) {
                Node::Workload { id, then, .. } if *id == self.id => *then,
                Node::Workload { other, .. } => *other,
                Node::Table {
                    key: Key::Workload,
                    entries,
                    miss,
                } => {
                    let own = entries.iter().find(|(id, _)| *id == u64::from(self.id));
                    own.map_or(*miss, |(_, to)| *to)
                }
                _ => return at,
            }
        }
    }

    /// The values of a table's key, and where they lead.
    fn lines(&self, key: Key, entries: &[(u64, NodeId)]) -> Vec<(u64, NodeId)> {
        let line = |(value, to): &(u64, NodeId)| match key {
            Key::Both(_) => {
                let (id, value) = Key::apart(*value);
                (id == self.id).then_some((value, *to))
            }
            Key::Field(_) | Key::Workload => Some((*value, *to)),
        };
        entries.iter().filter_map(line).collect()
    }

    fn successors(&self, node: &Node) -> Vec<NodeId> {
        let to = match node {
            Node::Table { key, entries, miss } => {
                let lines = self.lines(*key, entries).into_iter();
                lines.map(|(_, to)| to).chain([*miss]).collect()
            }
            node => node.successors(),
        };
        to.into_iter().map(|to| self.past(to)).collect()
    }
}

/// What runs a workload whose streams stand behind a match.
fn routine<'m>(unit: &mut Unit<'m>, workload: usize, name: &str) -> Result<Routine, Refusal> {
    let image = unit.image;
    let way = Way::of(image, image.workloads[workload].id);
    let Some(cut) = stream::Cut::of(image, workload) else {
        return Err(Refusal::new(CODE, "a stream without chunks"));
    };
    stream::over_chunks(unit, name, cut, |code| {
        let picked = code.wide("picked", 16);
        code.assign(picked.clone(), number(None));
        Decision {
            code,
            way: &way,
            picked: &picked,
        }
        .node(way.root())?;
        for entry in entries(image, workload) {
            let own = picked.clone().binary(Binary::Eq, number(Some(entry)));
            let body = code.apart(|code| run(code, entry))?;
            code.push_if(own, body, Vec::new());
        }
        Ok(())
    })
}

/// Adds what runs workloads whose streams stand behind a match, or says why nothing does: a packet's chunks may be for
/// any of its lambdas, so that all of them run here or none. By id: the numbers that they run by.
pub(super) fn add(
    unit: &mut Unit<'_>,
    routines: &mut Vec<(usize, Routine)>,
    refused: &mut [Option<Refusal>],
) -> Vec<(u32, usize)> {
    let image = unit.image;
    let mut ahead = Vec::new();
    for workload in workloads(image) {
        let entries = entries(image, workload);
        let on_host = entries.iter().find(|entry| refused[**entry].is_some());
        let name = &image.workloads[workload].name;
        let why = match on_host {
            Some(entry) => {
                let other = &image.entries[*entry].name;
                let reason = format!("a chunk of its messages may be for `{other}`, which runs on the host");
                Refusal::new(REQUEST, reason)
            }
            None => {
                let before = unit.clone();
                let name = unit.names.fresh(&format!("{name}_chunks"));
                match routine(unit, workload, &name) {
                    Ok(routine) => {
                        let number = image.entries.len() + workload;
                        routines.push((number, routine));
                        ahead.push((image.workloads[workload].id, number));
                        continue;
                    }
                    Err(refusal) => {
                        *unit = before;
                        refusal
                    }
                }
            }
        };
        for entry in entries {
            refused[entry].get_or_insert_with(|| why.clone());
        }
        routines.retain(|(entry, _)| refused.get(*entry).is_none_or(Option::is_none));
    }
    ahead
}

/// What says that a chunk is for an entry; none: for nobody.
fn number(entry: Option<usize>) -> Expr {
    Expr::bits(16, entry.map_or(0, |entry| entry as u64 + 1))
}

/// The code of an entry's lambda.
fn run(code: &mut Code<'_, '_>, entry: usize) -> Result<(), Refusal> {
    let image = code.unit.image;
    for stmt in code.unit.bind(entry)? {
        code.push(stmt);
    }
    let lambda = &image.module.lambdas[image.entries[entry].lambda.index()];
    stream::one(code, lambda)
}

/// Writes what decides for whom a chunk is.
struct Decision<'d, 'u, 'm> {
    code: &'d mut Code<'u, 'm>,
    way: &'d Way<'m>,
    /// Is set to the entry's number.
    picked: &'d Expr,
}

impl<'m> Decision<'_, '_, 'm> {
    fn node(&mut self, at: NodeId) -> Result<(), Refusal> {
        if self.code.written() > MAX_STATEMENTS {
            let reason = format!("its match takes more than {MAX_STATEMENTS} statements for a chunk");
            return Err(Refusal::new(CODE, reason));
        }
        match self.way.node(self.way.past(at)) {
            Node::Leaf(leaf) => self.leaf(*leaf),
            Node::Length { min, then, other } => {
                let len = self.code.request.len.clone();
                let is = len.binary(Binary::Ge, Expr::bits(32, (*min).into()));
                self.branch(is, *then, *other)
            }
            Node::Test { cond, then, other } => {
                let cond = self.way.image.cond(*cond);
                let holds = self.cond(cond)?;
                if is_simple(cond) {
                    return self.branch(holds, *then, *other);
                }
                // A condition that has trapped has ended the chunk.
                let go_on = self.apart(|this| this.branch(holds, *then, *other))?;
                self.code.push_if(stream::fine(), go_on, Vec::new());
                Ok(())
            }
            Node::Table { key, entries, miss } => self.table(*key, entries, *miss),
            Node::Workload { .. } => Ok(()),
        }
    }

    fn apart(
        &mut self,
        f: impl FnOnce(&mut Decision<'_, '_, 'm>) -> Result<(), Refusal>,
    ) -> Result<Vec<Stmt>, Refusal> {
        let (way, picked) = (self.way, self.picked);
        self.code.apart(|code| f(&mut Decision { code, way, picked }))
    }

    fn branch(&mut self, cond: Expr, then: NodeId, other: NodeId) -> Result<(), Refusal> {
        let then = self.apart(|this| this.node(then))?;
        let other = self.apart(|this| this.node(other))?;
        self.code.push_if(cond, then, other);
        Ok(())
    }

    fn leaf(&mut self, leaf: Leaf) -> Result<(), Refusal> {
        match leaf {
            Leaf::Run(entry) => self.code.assign(self.picked.clone(), number(Some(entry))),
            Leaf::BadRequest => fail(status::BAD_REQUEST)
                .into_iter()
                .for_each(|stmt| self.code.push(stmt)),
            // A match of streams has no such targets (language, section 4), and the image's host decides for none of them.
            Leaf::Drop | Leaf::Punt(_) | Leaf::NoWorkload | Leaf::HandUp => {
                return Err(Refusal::new(ASKED, "its match leads to the host"));
            }
        }
        Ok(())
    }

    fn table(&mut self, key: Key, entries: &[(u64, NodeId)], miss: NodeId) -> Result<(), Refusal> {
        let Some(field) = key.field() else {
            return Err(Refusal::new(CODE, "a table without a field"));
        };
        let (width, field) = (u32::from(field.width()), self.field(field)?);
        let mut other = self.apart(|this| this.node(miss))?;
        for (value, to) in self.way.lines(key, entries).into_iter().rev() {
            let is = field.clone().binary(Binary::Eq, Expr::bits(width, value));
            let then = self.apart(|this| this.node(to))?;
            other = self.apart(|this| {
                this.code.push_if(is, then, other);
                Ok(())
            })?;
        }
        self.code.out.append(&mut other);
        Ok(())
    }

    /// An integer of the chunk, as a number even where it is one bit.
    fn field(&mut self, field: Field) -> Result<Expr, Refusal> {
        let (width, len) = (u32::from(field.width()), self.code.request.len.clone());
        let value = match field {
            Field::Bits { bit, .. } => {
                let at = BitPos { bit, index: None };
                let bits = self.code.load_bits(&Place::of(Base::Request), &at, width)?;
                match width {
                    1 => bit_of(bits),
                    _ => bits,
                }
            }
            Field::Pkt(fact) => self.code.unit.pkt(fact),
            Field::Rest { offset, max } => rest(len, offset, max),
        };
        Ok(self.code.settled_bits(value, width))
    }

    fn cond(&mut self, cond: &'m Cond) -> Result<Expr, Refusal> {
        match cond {
            Cond::Not(inner) => Ok(self.cond(inner)?.negated()),
            Cond::All(items) => self.several(items, true),
            Cond::Any(items) => self.several(items, false),
            Cond::Has { table, key } => self.lookup(*table, key),
            Cond::Eval(func) => self.evaluate(func),
            Cond::True | Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } => {
                test(cond, &mut |field| self.field(field))
            }
        }
    }

    /// Conditions of which all or any hold, in order, and no further than needed.
    fn several(&mut self, items: &'m [Cond], all: bool) -> Result<Expr, Refusal> {
        let holds = self.code.local("holds", 1);
        self.code.assign(holds.clone(), Expr::Bool(all));
        for item in items {
            let to = holds.clone();
            let next = self.apart(|this| {
                let is = this.cond(item)?;
                this.code.assign(to, is);
                Ok(())
            })?;
            let open = match all {
                true => holds.clone(),
                false => holds.clone().negated(),
            };
            let open = match is_simple(item) {
                true => open,
                false => open.binary(Binary::AndAnd, stream::fine()),
            };
            self.code.push_if(open, next, Vec::new());
        }
        Ok(holds)
    }

    fn evaluate(&mut self, func: &'m Func) -> Result<Expr, Refusal> {
        let holds = self.code.local("holds", 1);
        self.code.assign(holds.clone(), Expr::Bool(false));
        self.code.enter(&func.body, &func.region, Vec::new());
        let result = self.code.function(&func.region, vec![holds.clone()]);
        self.code.frames.pop();
        result.map(|()| holds)
    }

    fn lookup(&mut self, id: ObjectId, key: &[KeyField]) -> Result<Expr, Refusal> {
        let mut keys = Vec::new();
        for (field, part) in key.iter().zip(self.code.unit.key_parts(id)?) {
            keys.push(self.key_field(field, *part)?);
        }
        let (hit, _) = self.code.find_entry(id, keys)?;
        // The next lookup may be in the same table.
        let found = self.code.local("found", 1);
        self.code.assign(found.clone(), hit);
        Ok(found)
    }

    fn key_field(&mut self, field: &KeyField, part: KeyPart) -> Result<Expr, Refusal> {
        match field {
            KeyField::Field(field) => self.field(*field),
            KeyField::Const(value) => Ok(Expr::bits(part_bits(part), *value)),
            KeyField::Bytes { offset, .. } => {
                let chunk = self.code.request.clone();
                let start = sum(chunk.start, Expr::bits(32, (*offset).into()));
                let bytes = Bytes { start, ..chunk };
                Ok(self.code.gathered(bytes, part_bits(part)))
            }
        }
    }
}
