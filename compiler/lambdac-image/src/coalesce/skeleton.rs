//! Code without the constants that may become parameters.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};

use lambdac_mir::{Base, BinOp, Func, Lambda, Loc, Op, ParamId, Region, Term, UseMut, Value};

/// A place in code where a constant or a parameter stands, in the order of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hole {
    /// The value of an `Op::Const` that defines this value.
    Const(Value, u64),
    /// A deploy-time parameter that a place starts from.
    Param(ParamId),
}

impl Hole {
    /// What stands there, without the place.
    pub fn content(self) -> (bool, u64) {
        match self {
            Self::Const(_, value) => (false, value),
            Self::Param(param) => (true, param.0.into()),
        }
    }
}

/// What remains of code when its holes are empty, and what stood in them.
#[derive(Clone, Debug)]
pub(super) struct Skeleton<T> {
    pub code: T,
    pub hash: u64,
    pub holes: Vec<Hole>,
}

impl Skeleton<Func> {
    /// Of a function. Parameters stay, as a function is not entered by the stage.
    pub fn of_func(func: &Func) -> Self {
        let mut code = func.clone();
        code.name = "".into();
        code.inline = false;
        code.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
        let fixed = fixed(&[&code.region], code.body.values.len());
        let mut holes = Vec::new();
        empty(&mut code.region, &fixed, false, &mut holes);
        let hash = hash(&code);
        Self { code, hash, holes }
    }
}

impl Skeleton<Lambda> {
    /// Of a lambda.
    pub fn of_lambda(lambda: &Lambda) -> Self {
        let mut code = lambda.clone();
        code.name = "".into();
        code.request_type = "".into();
        code.reply_type = "".into();
        code.deadline = None;
        code.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
        let regions: Vec<&Region> = code.parts.iter().map(|part| &part.region).collect();
        let fixed = fixed(&regions, code.body.values.len());
        let mut holes = Vec::new();
        for part in &mut code.parts {
            empty(&mut part.region, &fixed, true, &mut holes);
        }
        let hash = hash(&code);
        Self { code, hash, holes }
    }
}

/// Hashes the debug text, which is made anyway by nobody else and holds everything.
pub(super) fn hash(of: &impl std::fmt::Debug) -> u64 {
    struct Into(DefaultHasher);
    impl Write for Into {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut into = Into(DefaultHasher::new());
    // Writing to a hash does not fail.
    let _ = write!(into, "{of:?}");
    into.0.finish()
}

/// Values whose constants stay in the code: factors, divisors and shift amounts, which are cheaper when they are known,
/// and what views start at, which must be seen to be 0 where a reply buffer is replied.
fn fixed(regions: &[&Region], values: usize) -> Vec<bool> {
    let mut fixed = vec![false; values];
    for region in regions {
        region.walk_regions(&mut |inner| {
            for stmt in &inner.stmts {
                if let Op::Bin(
                    BinOp::Mul
                    | BinOp::UDiv
                    | BinOp::SDiv
                    | BinOp::URem
                    | BinOp::SRem
                    | BinOp::Shl
                    | BinOp::LShr
                    | BinOp::AShr,
                    a,
                    b,
                ) = &stmt.op
                {
                    fixed[a.index()] = true;
                    fixed[b.index()] = true;
                }
            }
            if let Term::Reply(view) = &inner.term {
                fixed[view.offset.index()] = true;
            }
        });
    }
    fixed
}

fn empty(region: &mut Region, fixed: &[bool], params: bool, holes: &mut Vec<Hole>) {
    region.walk_regions_mut(&mut |inner| {
        for stmt in &mut inner.stmts {
            stmt.loc = Loc::default();
            if let (Op::Const(value), Some(result)) = (&mut stmt.op, stmt.results.first())
                && !fixed[result.index()]
            {
                holes.push(Hole::Const(*result, *value));
                *value = 0;
            }
            if params {
                stmt.op.for_each_use_mut(&mut |used| take_param(used, holes));
            }
        }
        if params {
            inner.term.for_each_use_mut(&mut |used| take_param(used, holes));
        }
        if let Term::Trap(_, loc) = &mut inner.term {
            *loc = Loc::default();
        }
    });
}

fn take_param(used: UseMut<'_>, holes: &mut Vec<Hole>) {
    let place = match used {
        UseMut::Place(place, _) => place,
        UseMut::View(view) => &mut view.place,
        UseMut::Value(_) | UseMut::Slot(_) => return,
    };
    if let Base::Param(param) = &mut place.base {
        holes.push(Hole::Param(*param));
        *param = ParamId(0);
    }
}

/// Puts new things into holes, in the same order as they were taken: `fill` gets the number of a hole.
pub(super) fn fill(
    regions: &mut [&mut Region],
    holes: &[Hole],
    fill: &mut dyn FnMut(usize) -> Option<ParamId>,
) {
    let wanted: std::collections::HashMap<Value, usize> = (0..)
        .zip(holes)
        .filter_map(|(number, hole)| match hole {
            Hole::Const(value, _) => Some((*value, number)),
            Hole::Param(_) => None,
        })
        .collect();
    let mut params = (0..holes.len()).filter(|number| matches!(holes[*number], Hole::Param(_)));
    for region in regions.iter_mut() {
        region.walk_regions_mut(&mut |inner| {
            let mut refill = |used: UseMut<'_>| {
                let place = match used {
                    UseMut::Place(place, _) => place,
                    UseMut::View(view) => &mut view.place,
                    UseMut::Value(_) | UseMut::Slot(_) => return,
                };
                if let Base::Param(param) = &mut place.base
                    && let Some(number) = params.next()
                    && let Some(new) = fill(number)
                {
                    *param = new;
                }
            };
            for stmt in &mut inner.stmts {
                stmt.op.for_each_use_mut(&mut refill);
            }
            inner.term.for_each_use_mut(&mut refill);
        });
    }
    for region in regions {
        region.walk_mut(&mut |stmt| {
            if let (Op::Const(_), Some(result)) = (&stmt.op, stmt.results.first())
                && let Some(number) = wanted.get(result)
                && let Some(param) = fill(*number)
            {
                stmt.op = Op::Load(lambdac_mir::Place::of(Base::Param(param)));
            }
        });
    }
}

/// Positions that differ between two equal pieces of code become unknown in the first.
pub(super) fn merge_locs(into: &mut Region, other: &Region) {
    let mut locs = Vec::new();
    other.walk_regions(&mut |inner| {
        locs.extend(inner.stmts.iter().map(|stmt| stmt.loc));
        if let Term::Trap(_, loc) = &inner.term {
            locs.push(*loc);
        }
    });
    let mut locs = locs.into_iter();
    let mut merge = |loc: &mut Loc| {
        if locs.next() != Some(*loc) {
            *loc = Loc::default();
        }
    };
    into.walk_regions_mut(&mut |inner| {
        inner.stmts.iter_mut().for_each(|stmt| merge(&mut stmt.loc));
        if let Term::Trap(_, loc) = &mut inner.term {
            merge(loc);
        }
    });
}
