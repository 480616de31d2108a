//! Tables that a lambda looks in.
//!
//! Actions apply no tables, so a lambda's tables are applied before it, each with a key that an action has computed: all
//! lookups are done, whether the lambda comes to use them or not. Nothing is changed by that, as lookups read and keys
//! are made of the request, facts about the packet and constants alone; any other key is refused. Each place in the
//! lambda has a table of its own, since p4c refuses one that is applied twice. A lambda that waits has all its lookups done
//! again before it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lambdac_mir::{
    Base, Lambda, ObjectId, ObjectKind, Op, Operand, Place, Region, Stmt as MirStmt, TableKind, Value, View,
};

use super::code::{Code, Ended, Ends, Spot};
use super::lambda;
use super::memory::Tree;
use super::stage::{part_bits, patterns};
use super::unit::{Unit, put_datum, value_of};
use crate::ast::{Action, Binary, Direction, Entry, Expr, Key, Local, MatchKind, Param, Stmt, Table, Type};
use crate::legal::{Refusal, STATE};

/// What a lookup has found, where the lambda finds it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    hit: Expr,
    value: Option<Rc<Tree>>,
}

/// By the first result of a lookup: what it has found.
pub(super) type Lookups = BTreeMap<Value, Found>;

/// What stands before a lambda that looks in tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    /// Actions and tables.
    pub locals: Vec<Local>,
    /// What is applied.
    pub apply: Vec<Stmt>,
    /// Entries that the control plane adds, with their table.
    pub entries: Vec<(String, Entry)>,
}

/// Lookups of a lambda, with the statements that define what their keys are made of.
struct Sites<'m> {
    defined: BTreeMap<Value, &'m MirStmt>,
    /// All statements, in order.
    order: Vec<&'m MirStmt>,
    found: Vec<(&'m MirStmt, ObjectId, &'m [Operand])>,
}

impl<'m> Sites<'m> {
    fn collect(&mut self, region: &'m Region) {
        for stmt in &region.stmts {
            self.order.push(stmt);
            for value in &stmt.results {
                self.defined.insert(*value, stmt);
            }
            if let Op::TableGet { object, key, .. } | Op::TableHas { object, key } = &stmt.op {
                self.found.push((stmt, *object, key));
            }
            stmt.op
                .regions()
                .into_iter()
                .for_each(|inner| self.collect(inner));
        }
    }

    /// Whether a value is known before the lambda runs; adds what it is made of.
    fn early(&self, value: Value, needed: &mut BTreeSet<Value>) -> bool {
        let Some(stmt) = self.defined.get(&value) else {
            return false;
        };
        let simple = match &stmt.op {
            Op::Const(_)
            | Op::Bin(..)
            | Op::Cmp(..)
            | Op::Cast(..)
            | Op::Select(..)
            | Op::Pkt(_)
            | Op::Now => true,
            Op::LoadBits(place, _) | Op::Len(place) => is_fixed(place),
            Op::Load(place) => is_fixed(place),
            _ => false,
        };
        needed.insert(value);
        let mut all = simple;
        stmt.op
            .for_each_operand(|operand| all = all && self.early(operand, needed));
        all
    }

    fn early_view(&self, view: &View, needed: &mut BTreeSet<Value>) -> bool {
        let mut all = is_fixed(&view.place);
        view.for_each_value(&mut |value| all = all && self.early(value, needed));
        all
    }
}

/// Whether a place holds the same while a lambda runs.
fn is_fixed(place: &Place) -> bool {
    matches!(place.base, Base::Request | Base::Const(_) | Base::Param(_))
}

/// Writes the lookups of a lambda. `entries`: those of tables stand in the program.
pub(super) fn lower<'m>(
    unit: &mut Unit<'m>,
    lambda: &'m Lambda,
    name: &str,
    entries: bool,
) -> Result<(Lookups, Before), Refusal> {
    let mut sites = Sites {
        defined: BTreeMap::new(),
        order: Vec::new(),
        found: Vec::new(),
    };
    lambda.parts.iter().for_each(|part| sites.collect(&part.region));
    let (mut lookups, mut before) = (Lookups::new(), Before::default());
    if sites.found.is_empty() {
        return Ok((lookups, before));
    }
    if lambda.stream {
        return Err(Refusal::new(STATE, "a stream that looks in tables"));
    }
    let mut needed = BTreeSet::new();
    for (stmt, object, key) in &sites.found {
        let early = key.iter().all(|operand| match operand {
            Operand::Value(value) => sites.early(*value, &mut needed),
            Operand::View(view) => sites.early_view(view, &mut needed),
            Operand::Place(_) => false,
        });
        if !early {
            let table = &unit.image.module.objects[object.index()].name;
            let reason = format!("the key for the table `{table}` is not known before the lambda runs");
            return Err(Refusal::new(STATE, reason).at(stmt.loc));
        }
    }
    let mut plans = Vec::new();
    for (stmt, object, key) in &sites.found {
        let plan = Plan::new(unit, *object, entries)?;
        if let Some(first) = stmt.results.first() {
            lookups.insert(*first, plan.found.clone());
        }
        plans.push((plan, *key));
    }
    let keys = keys_action(unit, lambda, (name, &sites), &needed, &plans)?;
    before
        .apply
        .push(Stmt::Call(Expr::name(keys.name.clone()).call(Vec::new())));
    before.locals.push(Local::Action(keys));
    for (plan, _) in plans {
        let apply = Expr::name(plan.table.name.clone()).method("apply", Vec::new());
        before.apply.push(Stmt::Call(apply));
        before.entries.extend(
            plan.runtime
                .into_iter()
                .map(|entry| (plan.table.name.clone(), entry)),
        );
        before
            .locals
            .extend([Local::Action(plan.action), Local::Table(plan.table)]);
    }
    Ok((lookups, before))
}

/// The action that computes all keys of a lambda.
fn keys_action<'m>(
    unit: &mut Unit<'m>,
    lambda: &'m Lambda,
    (name, sites): (&str, &Sites<'m>),
    needed: &BTreeSet<Value>,
    plans: &[(Plan, &'m [Operand])],
) -> Result<Action, Refusal> {
    let name = unit.names.fresh(&format!("{name}_keys"));
    let mut code = Code::new(unit, &name, lambda::request(), Rc::new(Nowhere));
    code.enter_flat(&lambda.body);
    for stmt in &sites.order {
        if stmt.results.iter().any(|value| needed.contains(value)) {
            code.op(stmt)?;
        }
    }
    for (plan, key) in plans {
        code.assign(plan.found.hit.clone(), Expr::Bool(false));
        for ((part, operand), to) in plan.parts.iter().zip(*key).zip(&plan.keys) {
            let value = code.key_part(*part, operand)?;
            code.assign(to.clone(), value);
        }
    }
    Ok(Action {
        name,
        params: Vec::new(),
        body: code.finish(),
    })
}

/// A lookup's table.
struct Plan {
    found: Found,
    parts: Vec<lambdac_mir::KeyPart>,
    /// Where the key's parts are put.
    keys: Vec<Expr>,
    action: Action,
    table: Table,
    runtime: Vec<Entry>,
}

impl Plan {
    fn new(unit: &mut Unit<'_>, id: ObjectId, constant: bool) -> Result<Self, Refusal> {
        let image = unit.image;
        let object = &image.module.objects[id.index()];
        let ObjectKind::Table {
            kind,
            key: parts,
            value,
            capacity,
            entries,
        } = &object.kind
        else {
            return Err(Refusal::new(STATE, format!("`{}` is no table", object.name)));
        };
        let name = unit.names.fresh(&object.name);
        let hit = unit.meta(&format!("{name}_hit"), Type::Bool);
        let (tree, data) = unit.given(value, &format!("{name}_value"))?;
        let mut keys = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            keys.push(unit.meta(&format!("{name}_key_{index}"), Type::Bit(part_bits(*part))));
        }
        let mut body = vec![Stmt::Assign(hit.clone(), Expr::Bool(true))];
        let mut params = Vec::new();
        for (datum, width, to) in &data {
            let param = unit.names.fresh(&format!("with_{datum}"));
            params.push(Param::new(Direction::None, Type::Bit(*width), &param));
            body.push(put_datum(*width, to, Expr::name(param)));
        }
        let action = Action {
            name: unit.names.fresh(&format!("found_{name}")),
            params,
            body,
        };
        let joined = *kind == TableKind::Lpm && parts.len() > 1;
        let lines = entries.iter().map(|entry| Entry {
            keys: patterns(&entry.key, parts, joined),
            action: action.name.clone(),
            args: data
                .iter()
                .map(|(_, width, to)| value_of(&tree, &entry.value, *width, to))
                .collect(),
        });
        let lines: Vec<Entry> = lines.collect();
        let table = Table {
            name,
            keys: table_keys(*kind, &keys, parts, joined),
            actions: vec![action.name.clone(), "NoAction".to_owned()],
            default: ("NoAction".to_owned(), Vec::new()),
            const_default: true,
            size: (!constant || lines.is_empty()).then_some(*capacity),
            entries: if constant { lines.clone() } else { Vec::new() },
        };
        Ok(Self {
            found: Found {
                hit,
                value: Some(tree),
            },
            parts: parts.clone(),
            keys,
            action,
            table,
            runtime: if constant { Vec::new() } else { lines },
        })
    }
}

fn table_keys(kind: TableKind, keys: &[Expr], parts: &[lambdac_mir::KeyPart], joined: bool) -> Vec<Key> {
    let kind = match kind {
        TableKind::Exact => MatchKind::Exact,
        TableKind::Lpm => MatchKind::Lpm,
        TableKind::Ternary => MatchKind::Ternary,
    };
    let widths = parts.iter().map(|part| part_bits(*part));
    let all: Vec<(Expr, u32)> = match joined {
        true => {
            let whole = keys.iter().cloned().reduce(|a, b| a.binary(Binary::Concat, b));
            vec![(whole.unwrap_or(Expr::bits(8, 0)), widths.sum())]
        }
        false => keys.iter().cloned().zip(widths).collect(),
    };
    let key = |(index, (expr, width)): (usize, (Expr, u32))| Key {
        expr,
        kind,
        name: format!("key_{index}"),
        width,
    };
    all.into_iter().enumerate().map(key).collect()
}

impl<'m> Code<'_, 'm> {
    /// What a lookup of the lambda itself has found.
    pub(super) fn looked_up(&mut self, object: ObjectId, stmt: &'m MirStmt) -> Result<(), Refusal> {
        let first = stmt.results.first().copied();
        let found = first
            .filter(|_| self.frames.len() == 1)
            .and_then(|value| self.lookups.get(&value).cloned());
        let Some(found) = found else {
            let name = &self.unit.image.module.objects[object.index()].name;
            let reason =
                format!("the table `{name}` is looked up in a function, and actions apply no tables");
            return Err(Refusal::new(STATE, reason));
        };
        let hit = found.hit.clone();
        let spot = found.value.map(|tree| Spot {
            tree,
            index: Expr::bits(32, 0),
        });
        if let (Op::TableGet { dst, .. }, Some(spot)) = (&stmt.op, spot) {
            match (dst, &stmt.results[..]) {
                (Some(dst), _) => {
                    let dst = self.spot(dst)?;
                    let copy = self.apart(|code| {
                        code.copy(&dst, &spot);
                        Ok(())
                    })?;
                    self.push(Stmt::If(hit.clone(), copy, Vec::new()));
                }
                (None, [_, value]) => {
                    if let Tree::Scalar(cell) = &*spot.tree {
                        let held = self.read(cell, &spot.index);
                        let none = super::memory::zero(cell.width);
                        self.give(Some(*value), hit.clone().select(held, none), false);
                    }
                }
                (None, _) => {}
            }
        }
        self.give(first, hit, true);
        Ok(())
    }
}

/// Keys neither end nor trap.
pub(super) struct Nowhere;

impl<'m> Ends<'m> for Nowhere {
    fn reply(&self, _: &mut Code<'_, 'm>, _: &super::code::Bytes) -> Result<(), Refusal> {
        Ok(())
    }

    fn ended(&self, _: Ended) -> Vec<Stmt> {
        Vec::new()
    }
}
