//! Code as it compares: without names and source positions, which do nothing.

use lambdac_cost::Weights;
use lambdac_mir::{Cond, Func, Loc, Module, Region};

use crate::shape::{for_each_loc, hash};
use crate::touch::{Item, Touched};

fn erase_func(func: &mut Func) {
    func.name = "".into();
    func.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
    for_each_loc(&mut func.region, &mut |loc| *loc = Loc::default());
}

pub(crate) fn erase_cond(cond: &mut Cond) {
    match cond {
        Cond::Not(inner) => erase_cond(inner),
        Cond::All(list) | Cond::Any(list) => list.iter_mut().for_each(erase_cond),
        Cond::Eval(func) => erase_func(func),
        _ => {}
    }
}

/// A hash that two conditions share if they are equal but for names and positions.
pub(crate) fn cond_hash(cond: &Cond) -> u64 {
    let mut evaluates = false;
    for_each_func(cond, &mut |_| evaluates = true);
    if !evaluates {
        return hash(cond);
    }
    let mut cond = cond.clone();
    erase_cond(&mut cond);
    hash(&cond)
}

/// Whether two conditions are equal but for names and positions.
pub(crate) fn same_cond(a: &Cond, b: &Cond) -> bool {
    match (a, b) {
        (Cond::Eval(a), Cond::Eval(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            erase_func(&mut a);
            erase_func(&mut b);
            a == b
        }
        (Cond::Not(a), Cond::Not(b)) => same_cond(a, b),
        (Cond::All(a), Cond::All(b)) | (Cond::Any(a), Cond::Any(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_cond(a, b))
        }
        _ => a == b,
    }
}

/// Calls `f` for the code of each function that a condition evaluates.
pub(crate) fn for_each_func(cond: &Cond, f: &mut dyn FnMut(&Region)) {
    match cond {
        Cond::Not(inner) => for_each_func(inner, f),
        Cond::All(list) | Cond::Any(list) => list.iter().for_each(|cond| for_each_func(cond, f)),
        Cond::Eval(func) => f(&func.region),
        _ => {}
    }
}

/// Calls `f` for each function that a condition evaluates, which it may change.
pub(crate) fn for_each_func_mut(cond: &mut Cond, f: &mut dyn FnMut(&mut Func)) {
    match cond {
        Cond::Not(inner) => for_each_func_mut(inner, f),
        Cond::All(list) | Cond::Any(list) => list.iter_mut().for_each(|cond| for_each_func_mut(cond, f)),
        Cond::Eval(func) => f(func),
        _ => {}
    }
}

/// Calls `f` for everything in memory that a condition looks at, with how often.
pub(crate) fn for_each_touched(
    module: &Module,
    cond: &Cond,
    funcs: &[Touched],
    f: &mut dyn FnMut(Item, f64),
) {
    match cond {
        Cond::Not(inner) => for_each_touched(module, inner, funcs, f),
        Cond::All(list) | Cond::Any(list) => {
            list.iter()
                .for_each(|cond| for_each_touched(module, cond, funcs, f));
        }
        Cond::Has { table, .. } => f(Item::Object(table.0), 1.0),
        Cond::Eval(func) => {
            let touched = crate::touch::of_func(module, func, funcs, Weights::default());
            touched.into_iter().for_each(|(item, count)| f(item, count));
        }
        Cond::True | Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } => {}
    }
}
