//! Equal and nearly equal lambdas of all units become one; those that differ in state have one shape and stay.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_mir::{ConstId, Data, Lambda, LambdaId, Loc, Param, ParamId, Shape};

use super::classes::{Class, Member, drop_dead_constants};
use super::functions::{Columns, MAX_PARAMS, Replaced, columns};
use super::instances::Families;
use super::outline::Code;
use super::pools::{self, Pooled};
use super::units::{Soft, Units};
use crate::cost::bound_words;
use crate::hash::Map;
use crate::image::{Binding, Bound, Call, Image};
use crate::pass::Context;
use crate::positions::Positions;
use crate::rename::{Rename, closing};
use crate::shape::{Id, Pulled};

/// What becomes of lambdas.
pub(super) struct Plan {
    classes: Vec<Class>,
    pub notes: Vec<String>,
}

/// Plans which lambdas become one, and makes entries name those.
pub(super) fn plan(
    image: &mut Image,
    units: &Units<'_>,
    replaced: &Replaced,
    by: (&Context<'_>, &Families),
    positions: &mut Positions<'_>,
) -> Plan {
    let still = unpunted(image, units);
    let by_lambda = by_lambda(image, units);
    let called =
        |entry: &usize| image.entries[*entry].on_host.is_none() && image.plumbing.calls[*entry] != Call::None;
    let on_nic: Vec<bool> = by_lambda
        .iter()
        .map(|entries| entries.iter().any(called))
        .collect();
    let mut plan = Plan {
        classes: Vec::new(),
        notes: Vec::new(),
    };
    let kinds = pools::kinds(&image.module);
    /// A shape, what must be the same, and the structures of constants in memory.
    type Key = (u64, Vec<Id>, Vec<u32>);
    let mut by_key: Map<Key, Vec<Vec<Member>>> = Map::default();
    let mut order = Vec::new();
    let mut left = Vec::new();
    for (lambda, still) in still.into_iter().enumerate() {
        let (unit, shaped) = units.lambda(lambda);
        let (hard, soft) = units.resolve(unit, &shaped.pulled, replaced, true);
        let member = Member {
            lambda,
            ids: hard.clone(),
            soft,
            locs: units.locs(unit, &shaped.locs),
            bound: BTreeMap::new(),
            pooled: BTreeMap::new(),
        };
        if !still {
            left.push(member);
            continue;
        }
        let data = member.soft.iter().filter_map(|soft| match soft {
            Soft::Data(id) => kinds.get(id.index()).copied(),
            Soft::Const { .. } | Soft::Param(_) => None,
        });
        let key = (shaped.hash, hard, data.collect::<Vec<_>>());
        let groups = by_key.entry(key.clone()).or_default();
        match groups
            .iter_mut()
            .find(|group| units.lambda(group[0].lambda).1.alike(shaped))
        {
            Some(group) => group.push(member),
            None => {
                order.push((key, groups.len()));
                groups.push(vec![member]);
            }
        }
    }
    for (key, number) in order {
        let group = std::mem::take(&mut by_key.entry(key).or_default()[number]);
        left.extend(plan.merge(image, units, by, (&by_lambda, positions), group));
    }
    left.sort_by_key(|member| member.lambda);
    plan.classify(units, left, &on_nic, &entered(image, &by_lambda));
    plan
}

/// The entries of each lambda, and of those that became it.
fn entered(image: &Image, by_lambda: &[Vec<usize>]) -> Vec<BTreeSet<usize>> {
    let mut entered = vec![BTreeSet::new(); by_lambda.len()];
    for (first, entries) in by_lambda.iter().enumerate() {
        for entry in entries {
            entered[image.entries[*entry].lambda.index()].insert(*entry);
            entered[first].insert(*entry);
        }
    }
    entered
}

/// The entries of each lambda.
fn by_lambda(image: &Image, units: &Units<'_>) -> Vec<Vec<usize>> {
    let mut by_lambda = vec![Vec::new(); units.lambdas()];
    for (index, entry) in image.entries.iter().enumerate() {
        by_lambda[entry.lambda.index()].push(index);
    }
    by_lambda
}

/// Lambdas that neither punt to a lambda nor are punted to, that the NIC runs, and that an entry has.
fn unpunted(image: &Image, units: &Units<'_>) -> Vec<bool> {
    let mut still = vec![false; units.lambdas()];
    for entry in &image.entries {
        still[entry.lambda.index()] = entry.on_host.is_none() && entry.bindings.is_empty();
    }
    for lambda in 0..units.lambdas() {
        let (unit, shaped) = units.lambda(lambda);
        for pulled in &shaped.pulled {
            if let Pulled::Id(Id::Lambda(to)) = pulled {
                still[lambda] = false;
                still[unit.rename.lambda(*to).index()] = false;
            }
        }
    }
    still
}

impl Plan {
    /// Merges a group where that pays, or those of it that have more in common; what is left of it.
    fn merge(
        &mut self,
        image: &mut Image,
        units: &Units<'_>,
        by: (&Context<'_>, &Families),
        (by_lambda, positions): (&[Vec<usize>], &mut Positions<'_>),
        mut group: Vec<Member>,
    ) -> Vec<Member> {
        if group.len() < 2 {
            return group;
        }
        let softs: Vec<&[Soft]> = group.iter().map(|member| &member.soft[..]).collect();
        let columns = columns(&softs);
        let shapes = column_shapes(image, &softs, &columns)
            .filter(|shapes| pays(units, by, by_lambda, &group, (&columns, shapes)));
        let Some(shapes) = shapes else {
            let parts = parts(group);
            if parts.len() == 1 {
                return parts.into_iter().flatten().collect();
            }
            let parts = parts.into_iter();
            return parts
                .flat_map(|part| self.merge(image, units, by, (by_lambda, &mut *positions), part))
                .collect();
        };
        let base = image.module.params.len() as u32;
        for (number, shape) in (0u32..).zip(&shapes) {
            image.module.params.push(Param {
                name: format!("image.{}", base + number).into(),
                shape: shape.clone(),
                signed: false,
                default: Some(shape.zero()),
            });
        }
        let set = columns_set(image, &group, &columns, base);
        let first = LambdaId(group[0].lambda as u32);
        let mut names = Vec::new();
        for (index, member) in group.iter().enumerate() {
            let bindings = (base..).zip(&set.values).map(|(param, values)| Binding {
                param: ParamId(param),
                value: values[index].clone(),
            });
            let bindings: Vec<Binding> = bindings.collect();
            for entry in &by_lambda[member.lambda] {
                names.push(*entry);
                image.entries[*entry].lambda = first;
                image.entries[*entry].bindings.clone_from(&bindings);
            }
        }
        let listed = listed(image, &names);
        self.notes.push(match columns.numbers.len() {
            0 => format!("{listed} are equal and became one lambda"),
            1 => format!("{listed} became one lambda with a parameter"),
            count => format!("{listed} became one lambda with {count} parameters"),
        });
        let locs: Vec<&[Loc]> = group.iter().map(|member| &member.locs[..]).collect();
        let locs = positions.join_all(&locs);
        group.truncate(1);
        let stays = &mut group[0];
        (stays.locs, stays.bound, stays.pooled) = (locs, set.bound, set.pooled);
        group
    }

    /// Puts what is left into classes.
    fn classify(
        &mut self,
        units: &Units<'_>,
        left: Vec<Member>,
        on_nic: &[bool],
        entered: &[BTreeSet<usize>],
    ) {
        type Key = (u64, Vec<Option<Id>>, Vec<usize>, bool);
        let mut by_key: Map<Key, Vec<usize>> = Map::default();
        for mut member in left {
            let (_, shaped) = units.lambda(member.lambda);
            let on_nic = on_nic[member.lambda];
            let entries = &entered[member.lambda];
            member.ids.extend(member.soft.iter().filter_map(|soft| soft.id()));
            // Functions must be the same ones.
            let funcs = member
                .ids
                .iter()
                .map(|id| matches!(id, Id::Func(_)).then_some(*id));
            let key = (shaped.hash, funcs.collect(), pattern(&member.ids), on_nic);
            let candidates = by_key.entry(key).or_default();
            // Code that was merged is like no other.
            let alike = |class: &&usize| {
                let first = &self.classes[**class].members[0];
                !first.is_bound() && !member.is_bound() && units.lambda(first.lambda).1.alike(shaped)
            };
            match candidates.iter().find(alike) {
                Some(class) => {
                    self.classes[*class].entries.extend(entries);
                    self.classes[*class].members.push(member);
                }
                None => {
                    candidates.push(self.classes.len());
                    self.classes.push(Class {
                        members: vec![member],
                        entries: entries.clone(),
                        on_nic,
                    });
                }
            }
        }
    }

    /// The code of each class.
    pub fn codes(&self, units: &Units<'_>, replaced: &Replaced, positions: &mut Positions<'_>) -> Vec<Code> {
        self.classes
            .iter()
            .map(|class| class.code(units, replaced, positions))
            .collect()
    }

    /// Puts a lambda for each member of each class into the image, and renumbers lambdas.
    pub fn build(&self, image: &mut Image, units: &Units<'_>, codes: &mut [Code]) {
        codes
            .iter_mut()
            .for_each(|code| drop_dead_constants(&mut code.lambda));
        let mut lambdas: Vec<(usize, Lambda)> = Vec::new();
        for (class, code) in self.classes.iter().zip(&*codes) {
            let made = class.members.iter();
            let made = made.map(|member| (member.lambda, class.instance(units, code, member)));
            lambdas.extend(made);
        }
        lambdas.sort_by_key(|(lambda, _)| *lambda);
        let mut kept = vec![false; units.lambdas()];
        lambdas.iter().for_each(|(lambda, _)| kept[*lambda] = true);
        let rename = Rename {
            lambdas: closing(&kept),
            ..Rename::default()
        };
        for entry in &mut image.entries {
            entry.lambda = rename.lambda(entry.lambda);
        }
        image.module.lambdas = lambdas.into_iter().map(|(_, lambda)| lambda).collect();
        if kept.contains(&false) {
            image
                .module
                .lambdas
                .iter_mut()
                .for_each(|lambda| rename.code(lambda));
        }
    }
}

/// What ways into a merged lambda set.
struct ColumnsSet {
    /// By column: the value for each member.
    values: Vec<Vec<Bound>>,
    /// By number of what differs: the parameter that it becomes.
    bound: BTreeMap<usize, ParamId>,
    /// By number of what differs: the element that it becomes.
    pooled: BTreeMap<usize, Pooled>,
}

/// Columns become the parameters from `base` on; those of constants in memory with an array of them.
fn columns_set(image: &mut Image, group: &[Member], columns: &Columns, base: u32) -> ColumnsSet {
    let mut set = ColumnsSet {
        values: Vec::new(),
        bound: BTreeMap::new(),
        pooled: BTreeMap::new(),
    };
    for (number, numbers) in (base..).map(ParamId).zip(&columns.numbers) {
        let soft = group.iter().map(|member| member.soft[numbers[0]]);
        let data: Vec<ConstId> = (soft.clone())
            .filter_map(|soft| match soft {
                Soft::Data(id) => Some(id),
                Soft::Const { .. } | Soft::Param(_) => None,
            })
            .collect();
        if data.is_empty() {
            set.bound.extend(numbers.iter().map(|place| (*place, number)));
            let value = |soft: Soft| match soft {
                Soft::Param(param) => Bound::Param(param),
                soft => Bound::Data(Data::Int(soft.content())),
            };
            set.values.push(soft.map(value).collect());
        } else {
            let (pool, which) = pools::pool(&mut image.module, &data);
            let one = Pooled { pool, number };
            set.pooled.extend(numbers.iter().map(|place| (*place, one)));
            let which = which.into_iter().map(|which| Bound::Data(Data::Int(which)));
            set.values.push(which.collect());
        }
    }
    set
}

/// Whether one lambda takes fewer words than a group of them.
fn pays(
    units: &Units<'_>,
    (context, families): (&Context<'_>, &Families),
    by_lambda: &[Vec<usize>],
    group: &[Member],
    (columns, shapes): (&Columns, &[Shape]),
) -> bool {
    let (Some(items), Some(ops)) = (&context.device.items, &context.device.ops) else {
        return false;
    };
    let entries = group
        .iter()
        .flat_map(|member| by_lambda[member.lambda].iter().copied());
    let named = families.words(units.names(group[0].lambda), entries);
    let count = group.len() as u64;
    let bound: u64 = shapes.iter().map(bound_words).sum();
    // What stands in the code in place of constants.
    let read = columns
        .numbers
        .iter()
        .map(|numbers| match group[0].soft[numbers[0]] {
            Soft::Data(_) => pools::words(ops) * numbers.len() as u64,
            Soft::Const { .. } | Soft::Param(_) => 1,
        });
    let saved = (units.lambda_words(group[0].lambda) + items.plugin_call) * (count - 1);
    let paid = count * (bound + named) * items.assigned_word + read.sum::<u64>();
    columns.numbers.len() <= MAX_PARAMS && saved > paid
}

/// Those of a group that have their constants in memory in common; where all have, those that are equal.
fn parts(group: Vec<Member>) -> Vec<Vec<Member>> {
    let data = |soft: &&Soft| matches!(soft, Soft::Data(_));
    let in_memory = |member: &Member| member.soft.iter().filter(data).copied().collect::<Vec<_>>();
    let first = in_memory(&group[0]);
    let same = group.iter().all(|member| in_memory(member) == first);
    let mut by_key: Map<Vec<Soft>, usize> = Map::default();
    let mut parts: Vec<Vec<Member>> = Vec::new();
    for member in group {
        let key = if same {
            member.soft.clone()
        } else {
            in_memory(&member)
        };
        let at = *by_key.entry(key).or_insert_with(|| {
            parts.push(Vec::new());
            parts.len() - 1
        });
        parts[at].push(member);
    }
    parts
}

/// By place: where the same thing was mentioned first.
fn pattern(ids: &[Id]) -> Vec<usize> {
    let mut first: Map<Id, usize> = Map::default();
    (ids.iter().enumerate())
        .map(|(place, id)| *first.entry(*id).or_insert(place))
        .collect()
}

/// The structure of each column; none where one cannot be a parameter.
fn column_shapes(image: &Image, softs: &[&[Soft]], columns: &Columns) -> Option<Vec<Shape>> {
    let params = &image.module.params;
    let shape = |soft: Soft| match soft {
        Soft::Const { width, .. } => Shape::Scalar(width),
        Soft::Param(param) => params[param.index()].shape.clone(),
        // Which of an array.
        Soft::Data(_) => Shape::Scalar(32),
    };
    let one = |numbers: &Vec<usize>| {
        let first = shape(softs[0][numbers[0]]);
        let fits = softs.iter().all(|soft| shape(soft[numbers[0]]) == first);
        fits.then_some(first)
    };
    columns.numbers.iter().map(one).collect()
}

/// A few names, and how many more.
fn listed(image: &Image, entries: &[usize]) -> String {
    const SHOWN: usize = 4;
    let shown = entries.iter().take(SHOWN);
    let shown: Vec<String> = shown
        .map(|entry| format!("`{}`", image.entry_name(*entry)))
        .collect();
    let more = entries.len().saturating_sub(SHOWN);
    let text = shown.join(", ");
    if more > 0 {
        format!("{text} and {more} more")
    } else {
        text
    }
}
