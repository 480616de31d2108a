//! Code as it compares: without names and source positions, which do nothing.

use lambdac_mir::{Cond, Func, Loc, Module, Region, Term};

use crate::touch::{Item, Touched};

/// Forgets where a region's statements and traps come from.
pub(crate) fn erase_locs(region: &mut Region) {
    region.walk_regions_mut(&mut |inner| {
        inner.stmts.iter_mut().for_each(|stmt| stmt.loc = Loc::default());
        if let Term::Trap(_, loc) = &mut inner.term {
            *loc = Loc::default();
        }
    });
}

fn erase_func(func: &mut Func) {
    func.name = "".into();
    func.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
    erase_locs(&mut func.region);
}

fn erase_cond(cond: &mut Cond) {
    match cond {
        Cond::Not(inner) => erase_cond(inner),
        Cond::All(list) | Cond::Any(list) => list.iter_mut().for_each(erase_cond),
        Cond::Eval(func) => erase_func(func),
        _ => {}
    }
}

/// A text that two conditions share if they are equal but for names and positions.
pub(crate) fn cond_key(cond: &Cond) -> String {
    let mut cond = cond.clone();
    erase_cond(&mut cond);
    format!("{cond:?}")
}

/// Whether two conditions are equal but for names and positions.
pub(crate) fn same_cond(a: &Cond, b: &Cond) -> bool {
    match (a, b) {
        (Cond::Eval(_), Cond::Eval(_)) => cond_key(a) == cond_key(b),
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
            let touched = crate::touch::of_func(module, func, funcs);
            touched.into_iter().for_each(|(item, count)| f(item, count));
        }
        Cond::True | Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } => {}
    }
}
