//! Equal and nearly equal functions and lambdas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lambdac_cost::ModuleCost;
use lambdac_mir::{
    Body, Data, Dispatch, Func, FuncId, FuncParam, Lambda, LambdaId, Loc, Module, Op, Operand, Param,
    ParamId, Region, Shape, Stmt, Term, Value,
};

use super::skeleton::{Hole, Skeleton, fill, merge_locs};
use crate::canon;
use crate::image::{Binding, Bound, Image};
use crate::pass::Context;

/// Most parameters that a merged function or lambda gets.
const MAX_PARAMS: usize = 8;
/// Words of passing an argument: having the constant and moving it.
const ARGUMENT: u64 = 2;

/// What stands in a hole, by member: whether it is a parameter, and its value or id.
type Column = Vec<(bool, u64)>;

/// By function: what stands for it, and the constants that calls pass to that, with their widths.
type Replaced = BTreeMap<usize, (usize, Vec<(u8, u64)>)>;

/// The holes of a group's members that differ: holes of one width whose content is the same in each member share a column.
struct Columns {
    /// Holes of each column.
    holes: Vec<Vec<usize>>,
    /// By member, the content of each column.
    contents: Vec<Vec<Hole>>,
}

fn columns(body: &Body, members: &[&[Hole]]) -> Columns {
    let mut by_content: BTreeMap<(u8, Column), Vec<usize>> = BTreeMap::new();
    for number in 0..members[0].len() {
        let column: Column = members.iter().map(|holes| holes[number].content()).collect();
        if column.iter().any(|content| *content != column[0]) {
            let width = width(body, members[0][number]);
            by_content.entry((width, column)).or_default().push(number);
        }
    }
    let holes: Vec<Vec<usize>> = by_content.into_values().collect();
    let contents = members
        .iter()
        .map(|member| holes.iter().map(|numbers| member[numbers[0]]).collect())
        .collect();
    Columns { holes, contents }
}

/// Merges functions, level by level of calls.
pub(super) fn functions(image: &mut Image, cost: &ModuleCost) -> Vec<String> {
    let module = &mut image.module;
    let levels = levels(module);
    let (mut equal, mut nearly) = (0, 0);
    for level in 0..=levels.iter().copied().max().unwrap_or(0) {
        let calls = call_counts(module);
        let here = module.funcs.iter().enumerate();
        let here = here.filter(|(index, _)| levels[*index] == level && calls[*index] != 0);
        let groups = alike(here.map(|(index, func)| (index, Skeleton::of_func(func))));
        let mut replaced = Replaced::new();
        for group in groups {
            let words = |index: usize| cost.funcs.get(index).map_or(0, |code| code.words);
            let (same, near) = merge_funcs(module, &group, &calls, &words, &mut replaced);
            equal += same;
            nearly += near;
        }
        rewrite_calls(module, &replaced);
    }
    let mut notes = Vec::new();
    if equal > 0 {
        notes.push(format!("functions that equal another and became it: {equal}"));
    }
    if nearly > 0 {
        notes.push(format!(
            "functions that differ from another in constants, which became parameters: {nearly}"
        ));
    }
    notes
}

/// How deep calls go below each function.
fn levels(module: &Module) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::with_capacity(module.funcs.len());
    for func in &module.funcs {
        let mut level = 0;
        func.region.walk(&mut |stmt| {
            if let Op::Call(callee, _) = &stmt.op {
                level = level.max(levels[callee.index()] + 1);
            }
        });
        levels.push(level);
    }
    levels
}

fn call_counts(module: &Module) -> Vec<u64> {
    let mut calls = vec![0; module.funcs.len()];
    for_each_region(module, &mut |region| {
        region.walk(&mut |stmt| {
            if let Op::Call(callee, _) = &stmt.op {
                calls[callee.index()] += 1;
            }
        });
    });
    calls
}

fn for_each_region(module: &Module, f: &mut dyn FnMut(&Region)) {
    module.funcs.iter().for_each(|func| f(&func.region));
    let parts = module.lambdas.iter().flat_map(|lambda| &lambda.parts);
    parts.for_each(|part| f(&part.region));
    if let Dispatch::Match(pool) = &module.dispatch {
        pool.rules
            .iter()
            .for_each(|rule| canon::for_each_func(&rule.cond, f));
    }
}

/// Merges a group of functions; how many went because they are equal, and because they nearly are.
fn merge_funcs(
    module: &mut Module,
    group: &[(usize, Skeleton<Func>)],
    calls: &[u64],
    words: &dyn Fn(usize) -> u64,
    replaced: &mut Replaced,
) -> (usize, usize) {
    // Equal ones first: the first stands for all.
    let mut distinct: Vec<(usize, &Skeleton<Func>, u64)> = Vec::new();
    let mut equal = 0;
    for (index, skeleton) in group {
        match distinct
            .iter_mut()
            .find(|(_, other, _)| other.holes == skeleton.holes)
        {
            Some((first, _, count)) => {
                *count += calls[*index];
                let other = module.funcs[*index].region.clone();
                merge_locs(&mut module.funcs[*first].region, &other);
                replaced.insert(*index, (*first, Vec::new()));
                equal += 1;
            }
            None => distinct.push((*index, skeleton, calls[*index])),
        }
    }
    let holes: Vec<&[Hole]> = distinct
        .iter()
        .map(|(_, skeleton, _)| &skeleton.holes[..])
        .collect();
    let first = distinct[0].0;
    let columns = columns(&module.funcs[first].body, &holes);
    let saved = words(first) * (distinct.len() as u64 - 1);
    let all_calls: u64 = distinct.iter().map(|(_, _, calls)| calls).sum();
    let paid = all_calls * columns.holes.len() as u64 * ARGUMENT;
    if distinct.len() < 2 || columns.holes.len() > MAX_PARAMS || saved <= paid {
        return (equal, 0);
    }
    let widths: Vec<u8> = columns
        .holes
        .iter()
        .map(|numbers| width(&module.funcs[first].body, holes[0][numbers[0]]))
        .collect();
    for (index, _, _) in &distinct[1..] {
        let other = module.funcs[*index].region.clone();
        merge_locs(&mut module.funcs[first].region, &other);
    }
    parameters(&mut module.funcs[first], holes[0], &columns.holes);
    let mut direct = BTreeMap::new();
    for ((index, _, _), contents) in distinct.iter().zip(&columns.contents) {
        let arguments = contents
            .iter()
            .zip(&widths)
            .map(|(hole, width)| (*width, hole.content().1));
        direct.insert(*index, arguments.collect::<Vec<_>>());
    }
    // What equals a member of the group passes what that member does.
    for (to, arguments) in replaced.values_mut() {
        if let Some(values) = direct.get(to) {
            arguments.clone_from(values);
            *to = first;
        }
    }
    let near = direct.len() - 1;
    for (index, arguments) in direct {
        replaced.insert(index, (first, arguments));
    }
    (equal, near)
}

fn width(body: &Body, hole: Hole) -> u8 {
    match hole {
        Hole::Const(value, _) => body.width(value),
        Hole::Param(_) => 64,
    }
}

/// Constants of a function become its last parameters, one a column.
fn parameters(func: &mut Func, holes: &[Hole], columns: &[Vec<usize>]) {
    let mut gone: HashMap<Value, Value> = HashMap::new();
    for numbers in columns {
        let values = numbers.iter().filter_map(|number| match holes[*number] {
            Hole::Const(value, _) => Some(value),
            Hole::Param(_) => None,
        });
        let values: Vec<Value> = values.collect();
        func.params.push(FuncParam::Scalar(values[0]));
        gone.extend(values.iter().map(|value| (*value, values[0])));
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
fn rewrite_calls(module: &mut Module, replaced: &Replaced) {
    if replaced.is_empty() {
        return;
    }
    for func in &mut module.funcs {
        rewrite(&mut func.body, &mut func.region, replaced);
    }
    for lambda in &mut module.lambdas {
        for part in &mut lambda.parts {
            rewrite(&mut lambda.body, &mut part.region, replaced);
        }
    }
    if let Dispatch::Match(pool) = &mut module.dispatch {
        for rule in &mut pool.rules {
            canon::for_each_func_mut(&mut rule.cond, &mut |func| {
                rewrite(&mut func.body, &mut func.region, replaced);
            });
        }
    }
}

fn rewrite(body: &mut Body, region: &mut Region, replaced: &Replaced) {
    region.walk_regions_mut(&mut |inner| {
        let hit =
            |stmt: &Stmt| matches!(&stmt.op, Op::Call(callee, _) if replaced.contains_key(&callee.index()));
        if !inner.stmts.iter().any(hit) {
            return;
        }
        for mut stmt in std::mem::take(&mut inner.stmts) {
            if let Op::Call(callee, args) = &mut stmt.op
                && let Some((to, constants)) = replaced.get(&callee.index())
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

/// Groups of two and more whose skeletons have the same code, in the order of their first ones.
fn alike<T: PartialEq>(all: impl Iterator<Item = (usize, Skeleton<T>)>) -> Vec<Vec<(usize, Skeleton<T>)>> {
    let mut groups: Vec<Vec<(usize, Skeleton<T>)>> = Vec::new();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, skeleton) in all {
        let candidates = by_hash.entry(skeleton.hash).or_default();
        let group = candidates
            .iter()
            .find(|group| groups[**group][0].1.code == skeleton.code);
        if let Some(group) = group {
            groups[*group].push((index, skeleton));
        } else {
            candidates.push(groups.len());
            groups.push(vec![(index, skeleton)]);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Merges lambdas.
pub(super) fn lambdas(image: &mut Image, context: &Context<'_>, cost: &ModuleCost) -> Vec<String> {
    let still = unpunted(image);
    let lambdas = image.module.lambdas.iter().enumerate();
    let lambdas = lambdas.filter(|(index, _)| still[*index]);
    let groups = alike(lambdas.map(|(index, lambda)| (index, Skeleton::of_lambda(lambda))));
    let mut notes = Vec::new();
    for group in groups {
        notes.extend(merge_lambdas(image, context, cost, &group));
    }
    notes
}

/// Lambdas that neither punt to a lambda nor are punted to, that the NIC runs, and that an entry has.
fn unpunted(image: &Image) -> Vec<bool> {
    let mut still = vec![false; image.module.lambdas.len()];
    for entry in &image.entries {
        still[entry.lambda.index()] = entry.on_host.is_none() && entry.bindings.is_empty();
    }
    for (index, lambda) in image.module.lambdas.iter().enumerate() {
        for part in &lambda.parts {
            part.region.walk_regions(&mut |inner| {
                if let Term::Punt(Some(to)) = &inner.term {
                    still[index] = false;
                    still[to.index()] = false;
                }
            });
        }
    }
    still
}

fn merge_lambdas(
    image: &mut Image,
    context: &Context<'_>,
    cost: &ModuleCost,
    group: &[(usize, Skeleton<Lambda>)],
) -> Option<String> {
    let first = group[0].0;
    let holes: Vec<&[Hole]> = group.iter().map(|(_, skeleton)| &skeleton.holes[..]).collect();
    let columns = columns(&image.module.lambdas[first].body, &holes);
    let shapes = column_shapes(image, first, &holes, &columns)?;
    let items = context.device.items?;
    let bound_words: u64 = shapes.iter().map(|shape| shape.packed_size().div_ceil(4)).sum();
    let saved = (cost.lambdas[first].words + items.plugin_call) * (group.len() as u64 - 1);
    let paid = group.len() as u64 * bound_words * items.assigned_word + columns.holes.len() as u64;
    if columns.holes.len() > MAX_PARAMS || saved <= paid {
        return None;
    }
    let base = image.module.params.len() as u32;
    for (number, shape) in (0u32..).zip(&shapes) {
        image.module.params.push(Param {
            name: format!("image.{}", base + number).into(),
            shape: shape.clone(),
            signed: false,
            default: Some(shape.zero()),
        });
    }
    let column_of: HashMap<usize, u32> = (0u32..)
        .zip(&columns.holes)
        .flat_map(|(column, numbers)| numbers.iter().map(move |number| (*number, base + column)))
        .collect();
    for (index, _) in &group[1..] {
        let other = image.module.lambdas[*index].clone();
        let into = &mut image.module.lambdas[first];
        for (part, other) in into.parts.iter_mut().zip(&other.parts) {
            merge_locs(&mut part.region, &other.region);
        }
    }
    let lambda = &mut image.module.lambdas[first];
    let mut regions: Vec<&mut Region> = lambda.parts.iter_mut().map(|part| &mut part.region).collect();
    fill(&mut regions, holes[0], &mut |number| {
        column_of.get(&number).copied().map(ParamId)
    });
    let mut names = Vec::new();
    for ((index, _), contents) in group.iter().zip(&columns.contents) {
        let bindings: Vec<Binding> = (base..)
            .zip(contents)
            .map(|(param, hole)| Binding {
                param: ParamId(param),
                value: match hole {
                    Hole::Const(_, value) => Bound::Data(Data::Int(*value)),
                    Hole::Param(param) => Bound::Param(*param),
                },
            })
            .collect();
        let own = (0..image.entries.len()).filter(|entry| image.entries[*entry].lambda.index() == *index);
        for entry in own.collect::<Vec<_>>() {
            names.push(image.entry_name(entry));
            image.entries[entry].lambda = LambdaId(first as u32);
            image.entries[entry].bindings.clone_from(&bindings);
        }
    }
    Some(match columns.holes.len() {
        0 => format!("{} are equal and became one lambda", listed(&names)),
        1 => format!("{} became one lambda with a parameter", listed(&names)),
        count => format!("{} became one lambda with {count} parameters", listed(&names)),
    })
}

/// The structure of each column; none where one cannot be a parameter.
fn column_shapes(image: &Image, first: usize, holes: &[&[Hole]], columns: &Columns) -> Option<Vec<Shape>> {
    let params = &image.module.params;
    let body = &image.module.lambdas[first].body;
    let mut shapes = Vec::new();
    for (column, numbers) in columns.holes.iter().enumerate() {
        let shape = match holes[0][numbers[0]] {
            Hole::Const(value, _) => Shape::Scalar(body.width(value)),
            Hole::Param(param) => params[param.index()].shape.clone(),
        };
        let fits = columns.contents.iter().all(|contents| match contents[column] {
            Hole::Const(..) => true,
            Hole::Param(param) => params[param.index()].shape == shape,
        });
        if !fits {
            return None;
        }
        shapes.push(shape);
    }
    Some(shapes)
}

/// A few names, and how many more.
fn listed(names: &[String]) -> Arc<str> {
    const SHOWN: usize = 4;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let text = shown.join(", ");
    if more > 0 {
        format!("{text} and {more} more").into()
    } else {
        text.into()
    }
}
