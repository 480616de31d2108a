//! Code as it compares: without names and source positions, which do nothing.

use lambdac_cost::Weights;
use lambdac_mir::{Cond, Func, Loc, Module};

use crate::shape::{for_each_loc, hash};
use crate::touch::{Item, Touched};

fn erase_func(func: &mut Func) {
    func.name = "".into();
    func.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
    for_each_loc(&mut func.region, &mut |loc| *loc = Loc::default());
}

pub(crate) fn erase_cond(cond: &mut Cond) {
    cond.for_each_func_mut(&mut |func| erase_func(func));
}

/// A hash that two conditions share if they are equal but for names and positions.
pub(crate) fn cond_hash(cond: &Cond) -> u64 {
    if !cond.evaluates() {
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

/// Calls `f` for everything in memory that a condition looks at, with how often.
pub(crate) fn for_each_touched(
    module: &Module,
    cond: &Cond,
    funcs: &[Touched],
    f: &mut dyn FnMut(Item, f64),
) {
    cond.walk(&mut |cond| match cond {
        Cond::Has { table, .. } => f(Item::Object(table.0), 1.0),
        Cond::Eval(func) => {
            let touched = crate::touch::of_func(module, func, funcs, Weights::default());
            touched.into_iter().for_each(|(item, count)| f(item, count));
        }
        _ => {}
    });
}
