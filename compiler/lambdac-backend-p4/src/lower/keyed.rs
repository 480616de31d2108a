//! An `lru` as a hashed register table.
//!
//! A key has one place, which its hash says; putting another key there forgets the one before, as an `lru` may (language,
//! section 6). The key itself is kept and compared, so a `get` gives only what was put for that very key. A `map` may
//! forget nothing, and is refused.

use std::collections::BTreeMap;
use std::rc::Rc;

use lambdac_mir::{KeyPart, ObjectId, ObjectKind, Operand, Place, Stmt as MirStmt, Value};

use super::code::{Bytes, Code, Spot};
use super::keys::part_bits;
use super::memory::Tree;
use super::op::sum;
use super::scalar::{bit_of, bool_of};
use super::unit::{self, Unit};
use crate::ast::{Binary, Expr, Stmt};
use crate::legal::{Refusal, STATE};

/// The widest element of a register.
const WIDEST: u32 = 2048;

/// The registers of an lru.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    pub(super) used: String,
    pub(super) key: String,
    pub(super) key_bits: u32,
    pub(super) value: Rc<Tree>,
    /// When an entry was written, and how long it lives.
    written: Option<(String, u64)>,
    pub(super) places: u64,
    pub(super) parts: Vec<KeyPart>,
}

/// By object: the registers of those that something uses.
pub(crate) type HashedTables = BTreeMap<ObjectId, Hashed>;

impl Unit<'_> {
    /// The registers of an lru.
    pub(super) fn hashed(&mut self, id: ObjectId) -> Result<Hashed, Refusal> {
        if let Some(found) = self.hashed_tables.get(&id) {
            return Ok(found.clone());
        }
        let object = &self.image.module.objects[id.index()];
        let name = object.name.clone();
        let ObjectKind::Lru {
            key,
            value,
            capacity,
            ttl,
        } = &object.kind
        else {
            let reason = format!("`{name}` is a map, which forgets nothing; registers make hashed tables");
            return Err(Refusal::new(STATE, reason));
        };
        let key_bits: u32 = key.iter().map(|part| part_bits(*part)).sum();
        if key_bits > WIDEST {
            let reason = format!("a key of `{name}` has {key_bits} bits, more than {WIDEST}");
            return Err(Refusal::new(STATE, reason));
        }
        let places = u64::from(*capacity).next_power_of_two();
        let shape = lambdac_mir::Shape::Array(std::sync::Arc::new(value.clone()), places as u32);
        let Tree::Array(tree, _) = self.lasting(&shape, &name)? else {
            return Err(Refusal::new(STATE, format!("`{name}` holds no values")));
        };
        let hashed = Hashed {
            used: self.register(&format!("{name}_used"), 1, places),
            key: self.register(&format!("{name}_key"), key_bits, places),
            key_bits,
            value: tree,
            written: ttl.map(|ttl| (self.register(&format!("{name}_written"), 64, places), ttl)),
            places,
            parts: key.clone(),
        };
        self.hashed_tables.insert(id, hashed.clone());
        Ok(hashed)
    }
}

/// A key's place, the key, and whether it is there.
struct Found {
    hashed: Hashed,
    key: Expr,
    place: Expr,
    hit: Expr,
}

impl<'m> Code<'_, 'm> {
    fn key(&mut self, hashed: &Hashed, operands: &'m [Operand]) -> Result<Expr, Refusal> {
        let mut joined: Option<Expr> = None;
        for (part, operand) in hashed.parts.iter().zip(operands) {
            let bits = self.key_part(*part, operand)?;
            joined = Some(match joined {
                None => bits,
                Some(before) => before.binary(Binary::Concat, bits),
            });
        }
        let key = self.wide("key", hashed.key_bits);
        self.assign(key.clone(), joined.unwrap_or(Expr::bits(hashed.key_bits, 0)));
        Ok(key)
    }

    /// A part of a key as a number.
    pub(super) fn key_part(&mut self, part: KeyPart, operand: &'m Operand) -> Result<Expr, Refusal> {
        let width = part_bits(part);
        let view = match operand {
            Operand::Value(value) => {
                let expr = self.atom(*value);
                return Ok(match width {
                    1 => bit_of(expr),
                    _ => expr,
                });
            }
            Operand::View(view) => view,
            Operand::Place(_) => return Err(Refusal::new(STATE, "a key that is a place")),
        };
        let bytes = self.view(view)?;
        Ok(self.gathered(bytes, width))
    }

    /// Bytes as a number of so many bits.
    pub(super) fn gathered(&mut self, bytes: Bytes, width: u32) -> Expr {
        let gathered = self.wide("key", width);
        self.assign(gathered.clone(), Expr::bits(width, 0));
        let (home, start) = (bytes.home, bytes.start);
        let shifted = match width {
            8 => Expr::bits(8, 0),
            _ => gathered.clone().binary(Binary::Shl, Expr::Number(8)),
        };
        self.count(Expr::bits(32, u64::from(width) / 8), |code, index| {
            let byte = code.byte(&home, &sum(start, index));
            let byte = super::scalar::resized(byte, 8, width);
            code.assign(gathered.clone(), shifted.binary(Binary::Or, byte));
        });
        gathered
    }

    fn find(&mut self, object: ObjectId, operands: &'m [Operand]) -> Result<Found, Refusal> {
        let hashed = self.unit.hashed(object)?;
        let key = self.key(&hashed, operands)?;
        let place = self.wide("place", 32);
        let algorithm = Expr::path("HashAlgorithm.crc32");
        let args = vec![
            place.clone(),
            algorithm,
            Expr::bits(32, 0),
            Expr::List(vec![key.clone()]),
            Expr::bits(32, hashed.places),
        ];
        self.push(Stmt::Call(Expr::name("hash").call(args)));
        let (used, other) = (self.wide("used", 1), self.wide("there", hashed.key_bits));
        self.push(unit::read(&hashed.used, used.clone(), place.clone()));
        self.push(unit::read(&hashed.key, other.clone(), place.clone()));
        let mut hit = bool_of(used).binary(Binary::AndAnd, other.binary(Binary::Eq, key.clone()));
        if let Some((written, ttl)) = &hashed.written {
            let since = self.wide("written", 64);
            self.push(unit::read(written, since.clone(), place.clone()));
            let age = Expr::path("meta.now").binary(Binary::Sub, since);
            hit = hit.binary(Binary::AndAnd, age.binary(Binary::Lt, Expr::bits(64, *ttl)));
        }
        let found = self.local("found", 1);
        self.assign(found.clone(), hit);
        Ok(Found {
            hashed,
            key,
            place,
            hit: found,
        })
    }

    /// Makes the key's place its own.
    fn claim(&mut self, found: &Found) {
        let place = || found.place.clone();
        self.push(unit::write(&found.hashed.used, place(), Expr::bits(1, 1)));
        self.push(unit::write(&found.hashed.key, place(), found.key.clone()));
        if let Some((written, _)) = &found.hashed.written {
            self.push(unit::write(written, place(), Expr::path("meta.now")));
        }
    }

    pub(super) fn map_get(
        &mut self,
        object: ObjectId,
        key: &'m [Operand],
        dst: Option<&'m Place>,
        stmt: &'m MirStmt,
    ) -> Result<(), Refusal> {
        let found = self.find(object, key)?;
        let hit = found.hit.clone();
        let value = Code::at(&found.hashed.value, &found.place);
        let then = match (dst, &stmt.results[..]) {
            (Some(dst), _) => {
                let dst = self.spot(dst)?;
                self.apart(|code| {
                    code.copy(&dst, &value);
                    Ok(())
                })?
            }
            (None, [_, result, ..]) => {
                let to = self.local("v", self.width(*result));
                self.assign(to.clone(), super::memory::zero(self.width(*result)));
                self.give(Some(*result), to.clone(), false);
                self.apart(|code| {
                    if let Tree::Scalar(cell) = &*value.tree {
                        let held = code.read(cell, &value.index);
                        code.assign(to, held);
                    }
                    Ok(())
                })?
            }
            (None, _) => Vec::new(),
        };
        if !then.is_empty() {
            self.push(Stmt::If(hit.clone(), then, Vec::new()));
        }
        self.give(stmt.results.first().copied(), hit, false);
        Ok(())
    }

    pub(super) fn map_put(
        &mut self,
        object: ObjectId,
        key: &'m [Operand],
        value: &'m Operand,
        stmt: &'m MirStmt,
    ) -> Result<(), Refusal> {
        let found = self.find(object, key)?;
        self.claim(&found);
        let to = Code::at(&found.hashed.value, &found.place);
        match value {
            Operand::Value(value) => {
                let value = self.get(*value);
                if let Tree::Scalar(cell) = &*to.tree {
                    self.write(cell, &to.index, value);
                }
            }
            Operand::Place(place) => {
                let from: Spot = self.spot(place)?;
                self.copy(&to, &from);
            }
            Operand::View(view) => {
                let bytes = self.view(view)?;
                self.set_bytes(&to, &bytes);
            }
        }
        self.give(stmt.results.first().copied(), Expr::Bool(true), true);
        Ok(())
    }

    pub(super) fn map_remove(
        &mut self,
        object: ObjectId,
        key: &'m [Operand],
        stmt: &'m MirStmt,
    ) -> Result<(), Refusal> {
        let found = self.find(object, key)?;
        let clear = unit::write(&found.hashed.used, found.place.clone(), Expr::bits(1, 0));
        self.push(Stmt::If(found.hit.clone(), vec![clear], Vec::new()));
        self.give(stmt.results.first().copied(), found.hit, false);
        Ok(())
    }

    pub(super) fn map_fetch_add(
        &mut self,
        object: ObjectId,
        key: &'m [Operand],
        by: Value,
        stmt: &'m MirStmt,
    ) -> Result<(), Refusal> {
        let found = self.find(object, key)?;
        let to = Code::at(&found.hashed.value, &found.place);
        let Tree::Scalar(cell) = &*to.tree else {
            return Err(Refusal::new(STATE, "a sum with something that is no number"));
        };
        let by = self.atom(by);
        let old = self.local("v", cell.width);
        self.assign(old.clone(), super::memory::zero(cell.width));
        let there = self.apart(|code| {
            let held = code.read(cell, &to.index);
            code.assign(old.clone(), held);
            let sum = code.binary(
                lambdac_mir::BinOp::Add,
                cell.width,
                cell.width,
                old.clone(),
                by.clone(),
            );
            code.write(cell, &to.index, sum);
            Ok(())
        })?;
        let new = self.apart(|code| {
            code.claim(&found);
            code.write(cell, &to.index, by.clone());
            Ok(())
        })?;
        self.push(Stmt::If(found.hit.clone(), there, new));
        if let [hit, value] = stmt.results[..] {
            self.give(Some(hit), found.hit, false);
            self.give(Some(value), old, false);
        }
        Ok(())
    }
}
