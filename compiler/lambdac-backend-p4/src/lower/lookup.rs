//! Tables that code looks in.
//!
//! A lookup puts its key into variables and applies its table; the action of the entry that is found says so and keeps the
//! value. Actions apply no tables, so code that looks in one becomes a [`super::routine`]. Each lookup has a table of its
//! own, since p4c refuses one that is applied twice.

use std::rc::Rc;

use lambdac_mir::{KeyPart, ObjectId, ObjectKind, Op, Operand, Stmt as MirStmt};

use super::code::{Code, Ended, Ends, Spot};
use super::keys::{self, part_bits};
use super::memory::Tree;
use super::unit::{Unit, put_datum, value_of};
use crate::ast::{Action, Direction, Entry, Expr, Param, Stmt, Table, Type};
use crate::legal::{Refusal, STATE};

/// A lookup's table.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The table, with its entries where those stand in the program.
    pub table: Table,
    /// The action of its entries.
    pub action: Action,
    /// Entries that the control plane adds.
    pub entries: Vec<Entry>,
    /// Whether an entry was found.
    hit: Expr,
    /// The value of the entry.
    value: Rc<Tree>,
}

impl Site {
    /// The table of an object, with a key of these parts.
    fn new(unit: &mut Unit<'_>, id: ObjectId, keys: Vec<Expr>) -> Result<Self, Refusal> {
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
        let lines = entries.iter().map(|entry| Entry {
            keys: keys::patterns(*kind, parts, &entry.key),
            action: action.name.clone(),
            args: data
                .iter()
                .map(|(_, width, to)| value_of(&tree, &entry.value, *width, to))
                .collect(),
        });
        let lines: Vec<Entry> = lines.collect();
        let constant = unit.constant_entries;
        let table = Table {
            name,
            keys: keys::of_table(*kind, parts, keys),
            actions: vec![action.name.clone(), "NoAction".to_owned()],
            default: ("NoAction".to_owned(), Vec::new()),
            const_default: true,
            size: (!constant || lines.is_empty()).then_some(*capacity),
            entries: if constant { lines.clone() } else { Vec::new() },
        };
        Ok(Self {
            hit,
            value: tree,
            action,
            table,
            entries: if constant { Vec::new() } else { lines },
        })
    }
}

impl<'m> Unit<'m> {
    /// The parts of a table's key.
    pub(super) fn key_parts(&self, table: ObjectId) -> Result<&'m [KeyPart], Refusal> {
        let object = &self.image.module.objects[table.index()];
        match &object.kind {
            ObjectKind::Table { key, .. } => Ok(key),
            _ => Err(Refusal::new(STATE, format!("`{}` is no table", object.name))),
        }
    }
}

impl<'m> Code<'_, 'm> {
    /// Looks in a table.
    pub(super) fn look_up(
        &mut self,
        object: ObjectId,
        key: &'m [Operand],
        stmt: &'m MirStmt,
    ) -> Result<(), Refusal> {
        let mut keys = Vec::new();
        for (part, operand) in self.unit.key_parts(object)?.iter().zip(key) {
            keys.push(self.key_part(*part, operand)?);
        }
        let (hit, tree) = self.find_entry(object, keys)?;
        let spot = Spot {
            tree,
            index: Expr::bits(32, 0),
        };
        if let Op::TableGet { dst, .. } = &stmt.op {
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
        self.give(stmt.results.first().copied(), hit, true);
        Ok(())
    }

    /// Applies a table with a key of these parts: whether there is an entry, and its value.
    pub(super) fn find_entry(
        &mut self,
        table: ObjectId,
        key: Vec<Expr>,
    ) -> Result<(Expr, Rc<Tree>), Refusal> {
        let mut keys = Vec::new();
        for (part, value) in self.unit.key_parts(table)?.iter().zip(key) {
            let to = self.wide("key", part_bits(*part));
            self.assign(to.clone(), value);
            keys.push(to);
        }
        let site = Site::new(self.unit, table, keys)?;
        let (hit, tree) = (site.hit.clone(), site.value.clone());
        self.assign(hit.clone(), Expr::Bool(false));
        let apply = Expr::name(site.table.name.clone()).method("apply", Vec::new());
        self.push(Stmt::Call(apply));
        self.sites.push(site);
        Ok((hit, tree))
    }
}

/// For code that neither ends nor traps.
pub(super) struct Nowhere;

impl<'m> Ends<'m> for Nowhere {
    fn reply(&self, _: &mut Code<'_, 'm>, _: &super::code::Bytes) -> Result<(), Refusal> {
        Ok(())
    }

    fn ended(&self, _: Ended) -> Vec<Stmt> {
        Vec::new()
    }
}
