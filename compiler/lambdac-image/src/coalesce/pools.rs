//! Constants in memory that merged lambdas differ in: all of them lie in one array, and each way in says which is its own.
//!
//! **Why nothing changes.** An element of the array is a constant of the same structure, as long, at its own place; the
//! number that a way in sets is less than their count and stands still while the code runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_mir::{
    Base, Const, ConstId, Data, Loc, MemoryRegion, Module, Op, ParamId, Part, Place, Shape, Step, Stmt,
    UseMut, Value,
};
use lambdac_target::Ops;

/// An array of constants, and the parameter that says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pooled {
    pub pool: ConstId,
    pub number: ParamId,
}

/// By constant: the first of the same structure and wishes. Those of one kind fit one array.
pub(super) fn kinds(module: &Module) -> Vec<u32> {
    let mut first: std::collections::HashMap<(&Shape, Option<MemoryRegion>), u32> = Default::default();
    (0u32..)
        .zip(&module.consts)
        .map(|(id, item)| *first.entry((&item.shape, item.memory)).or_insert(id))
        .collect()
}

/// Puts constants of one kind into an array, each once; the array, and the number of each.
pub(super) fn pool(module: &mut Module, constants: &[ConstId]) -> (ConstId, Vec<u64>) {
    let mut distinct: Vec<ConstId> = Vec::new();
    let mut number = |id: &ConstId| {
        let known = distinct.iter().position(|other| other == id);
        known.unwrap_or_else(|| {
            distinct.push(*id);
            distinct.len() - 1
        }) as u64
    };
    let numbers: Vec<u64> = constants.iter().map(&mut number).collect();
    let id = ConstId(module.consts.len() as u32);
    let item = |id: &ConstId| &module.consts[id.index()];
    let first = item(&distinct[0]);
    let whole = Const {
        name: format!("image.pool{}", id.0).into(),
        shape: Shape::Array(Arc::new(first.shape.clone()), distinct.len() as u32),
        memory: first.memory,
        data: Data::List(distinct.iter().map(|id| item(id).data.clone()).collect()),
    };
    module.consts.push(whole);
    (id, numbers)
}

/// Words of a place where an element of an array is read and not a constant of its own: its number is read and scaled, and
/// local memory is reached by a pointer.
pub(super) fn words(ops: &Ops) -> u64 {
    ops.lmem_word.words + ops.shift32_const.words + ops.alu32.words + ops.lmem_pointer.words
}

/// Reads of constants and parameters in the order of the walk: `pooled` and `bound` say what becomes of which number;
/// `next` gives the numbers.
pub(super) fn bind(
    values: &mut Vec<u8>,
    part: &mut Part,
    next: &mut dyn FnMut() -> Option<usize>,
    (bound, pooled): (&BTreeMap<usize, ParamId>, &BTreeMap<usize, Pooled>),
) {
    let mut numbers: BTreeMap<ParamId, Value> = BTreeMap::new();
    let mut refill = |used: UseMut<'_>| {
        let Some(place) = used.into_place() else { return };
        if !matches!(place.base, Base::Param(_) | Base::Const(_)) {
            return;
        }
        let Some(number) = next() else { return };
        if let Some(param) = bound.get(&number) {
            place.base = Base::Param(*param);
        } else if let Some(pooled) = pooled.get(&number) {
            let index = *numbers.entry(pooled.number).or_insert_with(|| {
                values.push(32);
                Value(values.len() as u32 - 1)
            });
            place.base = Base::Const(pooled.pool);
            place.path.insert(0, Step::Index(index));
        }
    };
    part.region.walk_regions_mut(&mut |inner| {
        inner
            .stmts
            .iter_mut()
            .for_each(|stmt| stmt.op.for_each_use_mut(&mut refill));
        inner.term.for_each_use_mut(&mut refill);
    });
    let loads = numbers.into_iter().map(|(param, value)| Stmt {
        results: vec![value],
        op: Op::Load(Place::of(Base::Param(param))),
        loc: Loc::default(),
    });
    part.region.stmts.splice(0..0, loads);
}
