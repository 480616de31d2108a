//! Lambdas that have one shape: their code stands once, and each gets its own from it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use lambdac_mir::{Base, Lambda, Loc, Op, ParamId, Place, Value};

use super::functions::{Replaced, rewrite, set_locs};
use super::outline::Code;
use super::pools::{self, Pooled};
use super::units::{Soft, Units};
use crate::hash::Map;
use crate::positions::Positions;
use crate::rename::{IdMut, op_ids, term_ids};
use crate::shape::{Id, Pulled, Shaped};

/// A lambda that is left.
pub(super) struct Member {
    pub lambda: usize,
    /// What it mentions: ids that must agree in merged code, then parameters.
    pub ids: Vec<Id>,
    pub soft: Vec<Soft>,
    /// Positions, which are those on which all agree that became it.
    pub locs: Vec<Loc>,
    /// Constants and parameters that became parameters of the image, by number.
    pub bound: BTreeMap<usize, ParamId>,
    /// Constants in memory that became elements of an array, by number.
    pub pooled: BTreeMap<usize, Pooled>,
}

impl Member {
    /// Whether it is the code of several, which differ in what ways in set.
    pub fn is_bound(&self) -> bool {
        !self.bound.is_empty() || !self.pooled.is_empty()
    }
}

/// Lambdas that have one shape, and mention as many different things at the same places.
pub(super) struct Class {
    pub members: Vec<Member>,
    /// The ways into them.
    pub entries: BTreeSet<usize>,
    pub on_nic: bool,
}

impl Class {
    /// The first member's code; positions are numbers into those of the members, from 1.
    pub fn code(&self, units: &Units<'_>, replaced: &Replaced, positions: &mut Positions<'_>) -> Code {
        let first = &self.members[0];
        let (unit, source) = units.lambda_source(first.lambda);
        let mut lambda = source.clone();
        unit.rename.code(&mut lambda);
        let numbers: Vec<Loc> = (1..=first.locs.len() as u32)
            .map(|line| Loc { file: 0, line })
            .collect();
        set_locs(lambda.parts.iter_mut().map(|part| &mut part.region), &numbers);
        for part in &mut lambda.parts {
            rewrite(&mut lambda.body, &mut part.region, replaced);
        }
        let constants = constants(&lambda);
        if first.is_bound() {
            bind(&mut lambda, &constants, first);
        }
        let locs: Vec<&[Loc]> = self.members.iter().map(|member| &member.locs[..]).collect();
        let locs = positions.join_all(&locs);
        let mut values = HashSet::new();
        let mut ids = BTreeSet::new();
        for other in &self.members[1..] {
            let pairs = (first.soft.iter().zip(&other.soft)).zip(&constants);
            values.extend(pairs.filter_map(|((a, b), value)| value.filter(|_| a != b)));
            let pairs = first.ids.iter().zip(&other.ids);
            ids.extend(pairs.filter(|(a, b)| a != b).map(|(a, _)| *a));
        }
        Code {
            lambda,
            weight: if self.on_nic { self.members.len() as u64 } else { 0 },
            entries: self.entries.clone(),
            values,
            ids,
            locs,
            constants,
        }
    }

    /// A member's own lambda.
    pub fn instance(&self, units: &Units<'_>, code: &Code, member: &Member) -> Lambda {
        let first = &self.members[0];
        let (unit, source) = units.lambda_source(member.lambda);
        let mut lambda = code.lambda.clone();
        lambda.name = unit.name(&source.name);
        lambda.request_type = Arc::clone(&source.request_type);
        lambda.reply_type = Arc::clone(&source.reply_type);
        lambda.deadline = source.deadline;
        for (slot, own) in lambda.body.slots.iter_mut().zip(&source.body.slots) {
            slot.name = Arc::clone(&own.name);
        }
        let pairs = first.ids.iter().zip(&member.ids).filter(|(a, b)| a != b);
        let ids: Map<Id, Id> = pairs.map(|(a, b)| (*a, *b)).collect();
        let pairs = (code.constants.iter().zip(&first.soft)).zip(&member.soft);
        let constants: Map<Value, u64> = pairs
            .filter(|((_, a), b)| a != b)
            .filter_map(|((value, _), soft)| Some(((*value)?, soft.content())))
            .collect();
        for part in &mut lambda.parts {
            part.region.walk_regions_mut(&mut |inner| {
                for stmt in &mut inner.stmts {
                    if let (Op::Const(content), [result]) = (&mut stmt.op, &stmt.results[..])
                        && let Some(own) = constants.get(result)
                    {
                        *content = *own;
                    }
                    if !ids.is_empty() {
                        op_ids(&mut stmt.op, &mut |id| exchange(id, &ids));
                    }
                }
                if !ids.is_empty() {
                    term_ids(&mut inner.term, &mut |id| exchange(id, &ids));
                }
            });
            crate::shape::for_each_loc(&mut part.region, &mut |loc| {
                let number = (loc.line as usize).checked_sub(1);
                *loc = number.map_or(Loc::default(), |number| member.locs[number]);
            });
        }
        lambda
    }
}

fn exchange(id: IdMut<'_>, ids: &Map<Id, Id>) {
    let new = |old: Id| ids.get(&old).copied();
    match id {
        IdMut::Const(id) => {
            if let Some(Id::Const(new)) = new(Id::Const(*id)) {
                *id = new;
            }
        }
        IdMut::Param(id) => {
            if let Some(Id::Param(new)) = new(Id::Param(*id)) {
                *id = new;
            }
        }
        IdMut::Object(id) => {
            if let Some(Id::Object(new)) = new(Id::Object(*id)) {
                *id = new;
            }
        }
        IdMut::Service(id) => {
            if let Some(Id::Service(new)) = new(Id::Service(*id)) {
                *id = new;
            }
        }
        IdMut::Lambda(id) => {
            if let Some(Id::Lambda(new)) = new(Id::Lambda(*id)) {
                *id = new;
            }
        }
        // The same in all members.
        IdMut::Func(_) => {}
    }
}

/// By number of what may differ: the value of a constant; none for a parameter and for a constant in memory.
fn constants(lambda: &Lambda) -> Vec<Option<Value>> {
    let pulled = Shaped::of_lambda(lambda).pulled.into_iter();
    let soft = pulled.filter_map(|pulled| match pulled {
        Pulled::Const { value, .. } => Some(Some(value)),
        Pulled::Id(Id::Param(_) | Id::Const(_)) => Some(None),
        Pulled::Id(_) => None,
    });
    soft.collect()
}

/// Constants and parameters become parameters of the image, constants in memory elements of arrays.
fn bind(lambda: &mut Lambda, constants: &[Option<Value>], member: &Member) {
    let by_value: Map<Value, ParamId> = (member.bound.iter())
        .filter_map(|(number, param)| Some((constants[*number]?, *param)))
        .collect();
    let mut others = (0..constants.len()).filter(|number| constants[*number].is_none());
    for part in &mut lambda.parts {
        let values = &mut lambda.body.values;
        pools::bind(
            values,
            part,
            &mut || others.next(),
            (&member.bound, &member.pooled),
        );
        part.region.walk_regions_mut(&mut |inner| {
            for stmt in &mut inner.stmts {
                if let (Op::Const(_), Some(result)) = (&stmt.op, stmt.results.first())
                    && let Some(param) = by_value.get(result)
                {
                    stmt.op = Op::Load(Place::of(Base::Param(*param)));
                }
            }
        });
    }
}

/// Leaves out constants that nothing uses.
pub(super) fn drop_dead_constants(lambda: &mut Lambda) {
    let mut used = vec![false; lambda.body.values.len()];
    for part in &lambda.parts {
        part.region.walk_regions(&mut |inner| {
            let mut mark = |value: Value| used[value.index()] = true;
            inner
                .stmts
                .iter()
                .for_each(|stmt| stmt.op.for_each_operand(&mut mark));
            inner.term.for_each_operand(&mut mark);
        });
    }
    for part in &mut lambda.parts {
        part.region.walk_regions_mut(&mut |inner| {
            inner.stmts.retain(|stmt| {
                !matches!(stmt.op, Op::Const(_)) || stmt.results.iter().any(|value| used[value.index()])
            });
        });
    }
}
