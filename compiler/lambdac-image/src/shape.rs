//! The shape of a piece of code: what is left when names, positions, constants and ids are taken out.
//!
//! A shape depends on its own module alone, wherever that stands in an image, so it is computed once for a workload and
//! kept ([`crate::facts`]). Two pieces of code do the same where they have one shape and what was pulled out of them is
//! the same once ids are resolved; where constants differ, they do the same but for those.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use lambdac_mir::{
    BinOp, ConstId, Func, FuncId, Lambda, LambdaId, Loc, ObjectId, Op, ParamId, Region, ServiceId, Term,
    Value,
};

use crate::hash::Quick;
use crate::rename::{IdMut, op_ids, term_ids};

/// An id that code mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Id {
    Const(ConstId),
    Param(ParamId),
    Object(ObjectId),
    Service(ServiceId),
    Func(FuncId),
    Lambda(LambdaId),
}

/// Something that was pulled out of code, in the order of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pulled {
    /// The constant that defines a value.
    Const {
        /// The value.
        value: Value,
        /// Its width.
        width: u8,
        /// The constant.
        content: u64,
    },
    /// An id.
    Id(Id),
}

/// A shape, and what was pulled out.
#[derive(Clone, Debug)]
pub(crate) struct Shaped<T> {
    pub code: Arc<T>,
    pub hash: u64,
    pub pulled: Vec<Pulled>,
    /// Positions of statements and traps, in the order of the walk.
    pub locs: Vec<Loc>,
}

impl<T: PartialEq> Shaped<T> {
    /// Whether two pieces have one shape. Those that were kept once are one in memory.
    pub fn alike(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.code, &other.code) || (self.hash == other.hash && self.code == other.code)
    }
}

impl Shaped<Func> {
    /// Of a function.
    pub fn of_func(func: &Func) -> Self {
        let mut code = func.clone();
        code.name = "".into();
        code.inline = false;
        code.body.slots.iter_mut().for_each(|slot| slot.name = "".into());
        let fixed = fixed(&[&code.region], code.body.values.len());
        let mut pull = Pull::new(&func.body.values, fixed);
        pull.region(&mut code.region);
        pull.finish(code)
    }
}

impl Shaped<Lambda> {
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
        let mut pull = Pull::new(&lambda.body.values, fixed);
        code.parts
            .iter_mut()
            .for_each(|part| pull.region(&mut part.region));
        pull.finish(code)
    }
}

/// A hash of the structure. Who finds something by it compares what was found.
pub(crate) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = Quick::default();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Values whose constants stay in the code: factors, divisors and shift amounts, which are cheaper when they are known,
/// and what views start at, which must be seen to be 0 where a reply buffer is replied.
pub(crate) fn fixed(regions: &[&Region], values: usize) -> Vec<bool> {
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

struct Pull<'m> {
    widths: &'m [u8],
    fixed: Vec<bool>,
    pulled: Vec<Pulled>,
    locs: Vec<Loc>,
}

impl<'m> Pull<'m> {
    fn new(widths: &'m [u8], fixed: Vec<bool>) -> Self {
        Self {
            widths,
            fixed,
            pulled: Vec::new(),
            locs: Vec::new(),
        }
    }

    fn region(&mut self, region: &mut Region) {
        region.walk_regions_mut(&mut |inner| {
            for stmt in &mut inner.stmts {
                self.locs.push(std::mem::take(&mut stmt.loc));
                if let (Op::Const(content), Some(result)) = (&mut stmt.op, stmt.results.first())
                    && !self.fixed[result.index()]
                {
                    self.pulled.push(Pulled::Const {
                        value: *result,
                        width: self.widths[result.index()],
                        content: std::mem::take(content),
                    });
                }
                op_ids(&mut stmt.op, &mut |id| self.pulled.push(Pulled::Id(take(id))));
            }
            if let Term::Trap(_, loc) = &mut inner.term {
                self.locs.push(std::mem::take(loc));
            }
            term_ids(&mut inner.term, &mut |id| self.pulled.push(Pulled::Id(take(id))));
        });
    }

    fn finish<T: Hash>(self, code: T) -> Shaped<T> {
        Shaped {
            hash: hash(&code),
            code: Arc::new(code),
            pulled: self.pulled,
            locs: self.locs,
        }
    }
}

/// The id that code mentions.
pub(crate) fn id_of(id: IdMut<'_>) -> Id {
    match id {
        IdMut::Const(id) => Id::Const(*id),
        IdMut::Param(id) => Id::Param(*id),
        IdMut::Object(id) => Id::Object(*id),
        IdMut::Service(id) => Id::Service(*id),
        IdMut::Func(id) => Id::Func(*id),
        IdMut::Lambda(id) => Id::Lambda(*id),
    }
}

fn take(id: IdMut<'_>) -> Id {
    match id {
        IdMut::Const(id) => Id::Const(std::mem::replace(id, ConstId(0))),
        IdMut::Param(id) => Id::Param(std::mem::replace(id, ParamId(0))),
        IdMut::Object(id) => Id::Object(std::mem::replace(id, ObjectId(0))),
        IdMut::Service(id) => Id::Service(std::mem::replace(id, ServiceId(0))),
        IdMut::Func(id) => Id::Func(std::mem::replace(id, FuncId(0))),
        IdMut::Lambda(id) => Id::Lambda(std::mem::replace(id, LambdaId(0))),
    }
}

/// Calls `f` for the positions of statements and traps, in the order of [`Shaped::locs`].
pub(crate) fn for_each_loc(region: &mut Region, f: &mut dyn FnMut(&mut Loc)) {
    region.walk_regions_mut(&mut |inner| {
        inner.stmts.iter_mut().for_each(|stmt| f(&mut stmt.loc));
        if let Term::Trap(_, loc) = &mut inner.term {
            f(loc);
        }
    });
}
