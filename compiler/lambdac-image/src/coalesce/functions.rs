//! Equal and nearly equal functions of all units become one.

use std::collections::BTreeMap;

use lambdac_mir::{Body, Func, FuncId, FuncParam, Loc, Op, Operand, Region, Stmt, Term, Value};

use super::units::{Soft, Units};
use crate::hash::Map;
use crate::positions::Positions;
use crate::shape::{Id, Pulled, Shaped, for_each_loc};

/// Most parameters that a merged function or lambda gets.
pub(super) const MAX_PARAMS: usize = 8;
/// Words of passing an argument: having the constant and moving it.
const ARGUMENT: u64 = 2;

/// By function: what stands for it, and the constants that calls pass to that, with their widths.
pub(super) type Replaced = Vec<Option<(usize, Vec<(u8, u64)>)>>;

/// What becomes of functions.
pub(super) struct Plan {
    pub replaced: Replaced,
    /// By function that others became: those, and the constants that become parameters, by number, a list for each.
    merged: BTreeMap<usize, (Vec<usize>, Vec<Vec<usize>>)>,
    calls: Vec<u64>,
    equal: usize,
    nearly: usize,
}

/// A function that is looked at.
struct Member {
    func: usize,
    soft: Vec<Soft>,
}

/// The constants in which a group's members differ: those of one width that are the same in each member share a column.
pub(super) struct Columns {
    /// Their numbers, by column.
    pub numbers: Vec<Vec<usize>>,
}

pub(super) fn columns(members: &[&[Soft]]) -> Columns {
    /// A kind and width, and what each member has there.
    type Column = ((u8, u8), Vec<u64>);
    let mut by_content: BTreeMap<Column, Vec<usize>> = BTreeMap::new();
    for number in 0..members[0].len() {
        let first = members[0][number];
        if members
            .iter()
            .any(|soft| soft[number].content() != first.content())
        {
            let column = members.iter().map(|soft| soft[number].content());
            let column = (first.kind(), column.collect());
            by_content.entry(column).or_default().push(number);
        }
    }
    Columns {
        numbers: by_content.into_values().collect(),
    }
}

/// Plans level by level of calls: where callees are one, callers may be.
pub(super) fn plan(units: &Units<'_>) -> Plan {
    let levels = units.levels();
    let mut plan = Plan {
        replaced: vec![None; levels.len()],
        merged: BTreeMap::new(),
        calls: units.calls(),
        equal: 0,
        nearly: 0,
    };
    let mut by_level: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (func, level) in levels
        .iter()
        .enumerate()
        .filter(|(func, _)| plan.calls[*func] > 0)
    {
        by_level.entry(*level).or_default().push(func);
    }
    for here in by_level.into_values() {
        for group in groups(units, &plan.replaced, here) {
            plan.merge(units, group);
        }
    }
    plan
}

/// Functions of one shape that mention the same, two and more of them, in the order of their first ones.
fn groups(units: &Units<'_>, replaced: &Replaced, here: Vec<usize>) -> Vec<Vec<Member>> {
    let mut groups: Vec<Vec<Member>> = Vec::new();
    let mut by_key: Map<(u64, Vec<Id>), Vec<usize>> = Map::default();
    for func in here {
        let (unit, shaped) = units.func(func);
        let (hard, soft) = units.resolve(unit, &shaped.pulled, replaced, false);
        let member = Member { func, soft };
        let candidates = by_key.entry((shaped.hash, hard)).or_default();
        let alike = |group: &&usize| units.func(groups[**group][0].func).1.alike(shaped);
        match candidates.iter().find(alike) {
            Some(group) => groups[*group].push(member),
            None => {
                candidates.push(groups.len());
                groups.push(vec![member]);
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

impl Plan {
    /// Merges a group of functions.
    fn merge(&mut self, units: &Units<'_>, group: Vec<Member>) {
        // Equal ones first: the first stands for all.
        let mut distinct: Vec<(usize, &[Soft], u64)> = Vec::new();
        let mut by_soft: Map<&[Soft], usize> = Map::default();
        let mut gone: Vec<(usize, usize)> = Vec::new();
        for member in &group {
            match by_soft.get(&member.soft[..]) {
                Some(at) => {
                    distinct[*at].2 += self.calls[member.func];
                    gone.push((member.func, *at));
                }
                None => {
                    by_soft.insert(&member.soft, distinct.len());
                    distinct.push((member.func, &member.soft, self.calls[member.func]));
                }
            }
        }
        self.equal += gone.len();
        let softs: Vec<&[Soft]> = distinct.iter().map(|(_, soft, _)| *soft).collect();
        let columns = columns(&softs);
        let first = distinct[0].0;
        let saved = units.func_words(first) * (distinct.len() as u64 - 1);
        let all_calls: u64 = distinct.iter().map(|(_, _, calls)| calls).sum();
        let paid = all_calls * columns.numbers.len() as u64 * ARGUMENT;
        if distinct.len() < 2 || columns.numbers.len() > MAX_PARAMS || saved <= paid {
            for (func, at) in gone {
                self.replaced[func] = Some((distinct[at].0, Vec::new()));
                self.merged.entry(distinct[at].0).or_default().0.push(func);
            }
            return;
        }
        self.nearly += distinct.len() - 1;
        let constants = |soft: &[Soft]| -> Vec<(u8, u64)> {
            let of = |numbers: &Vec<usize>| (soft[numbers[0]].kind().1, soft[numbers[0]].content());
            columns.numbers.iter().map(of).collect()
        };
        for member in &group {
            self.replaced[member.func] = Some((first, constants(&member.soft)));
        }
        let others = group[1..].iter().map(|member| member.func).collect();
        self.merged.insert(first, (others, columns.numbers));
    }

    /// The functions that are left; those that went, or that nobody calls, are empty.
    pub fn build(&self, units: &Units<'_>, positions: &mut Positions<'_>) -> Vec<Func> {
        (0..self.replaced.len())
            .map(|func| {
                let stays =
                    self.calls[func] > 0 && !matches!(&self.replaced[func], Some((to, _)) if *to != func);
                if stays {
                    self.code(units, func, positions)
                } else {
                    nothing()
                }
            })
            .collect()
    }

    fn code(&self, units: &Units<'_>, func: usize, positions: &mut Positions<'_>) -> Func {
        let mut code = units.func_code(func);
        if let Some((others, _)) = self.merged.get(&func) {
            let locs = std::iter::once(&func).chain(others).map(|func| {
                let (unit, shaped) = units.func(*func);
                units.locs(unit, &shaped.locs)
            });
            let locs: Vec<Vec<Loc>> = locs.collect();
            let locs: Vec<&[Loc]> = locs.iter().map(|locs| &locs[..]).collect();
            set_locs([&mut code.region], &positions.join_all(&locs));
        }
        rewrite(&mut code.body, &mut code.region, &self.replaced);
        if let Some((_, columns)) = self.merged.get(&func).filter(|(_, columns)| !columns.is_empty()) {
            let pulled = Shaped::of_func(&code).pulled;
            let constants = pulled.iter().filter_map(|pulled| match pulled {
                Pulled::Const { value, .. } => Some(*value),
                Pulled::Id(_) => None,
            });
            let constants: Vec<Value> = constants.collect();
            parameters(&mut code, &constants, columns);
        }
        code
    }

    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.equal > 0 {
            notes.push(format!(
                "functions that equal another and became it: {}",
                self.equal
            ));
        }
        if self.nearly > 0 {
            notes.push(format!(
                "functions that differ from another in constants, which became parameters: {}",
                self.nearly
            ));
        }
        notes
    }
}

/// A function that nobody calls.
fn nothing() -> Func {
    Func {
        name: "".into(),
        params: Vec::new(),
        results: Vec::new(),
        body: Body::default(),
        region: Region {
            stmts: Vec::new(),
            term: Term::Return(Vec::new()),
        },
        inline: false,
    }
}

/// Gives code the positions of a list, in the order of the walk.
pub(super) fn set_locs<'r>(regions: impl IntoIterator<Item = &'r mut Region>, locs: &[Loc]) {
    let mut locs = locs.iter();
    for region in regions {
        for_each_loc(region, &mut |loc| *loc = locs.next().copied().unwrap_or_default());
    }
}

/// Constants of a function become its last parameters, one a column.
fn parameters(func: &mut Func, constants: &[Value], columns: &[Vec<usize>]) {
    let mut gone: Map<Value, Value> = Map::default();
    for numbers in columns {
        let first = constants[numbers[0]];
        func.params.push(FuncParam::Scalar(first));
        gone.extend(numbers.iter().map(|number| (constants[*number], first)));
    }
    func.region.walk_regions_mut(&mut |inner| {
        inner.stmts.retain(|stmt| {
            let defines = |value: &Value| gone.contains_key(value);
            !(matches!(stmt.op, Op::Const(_)) && stmt.results.first().is_some_and(defines))
        });
    });
    func.region
        .replace_uses(&mut |value| gone.get(&value).copied().unwrap_or(value));
}

/// Calls go to what stands for their callee, with the constants that it takes.
pub(super) fn rewrite(body: &mut Body, region: &mut Region, replaced: &Replaced) {
    region.walk_regions_mut(&mut |inner| {
        let hit = |stmt: &Stmt| matches!(&stmt.op, Op::Call(callee, _) if replaced[callee.index()].is_some());
        if !inner.stmts.iter().any(hit) {
            return;
        }
        for mut stmt in std::mem::take(&mut inner.stmts) {
            if let Op::Call(callee, args) = &mut stmt.op
                && let Some((to, constants)) = &replaced[callee.index()]
            {
                *callee = FuncId(*to as u32);
                for (width, constant) in constants {
                    let value = body.value(*width);
                    inner.stmts.push(Stmt {
                        results: vec![value],
                        op: Op::Const(*constant),
                        loc: Loc::default(),
                    });
                    args.push(Operand::Value(value));
                }
            }
            inner.stmts.push(stmt);
        }
    });
}
