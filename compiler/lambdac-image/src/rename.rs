//! Renumbering: every id of a module that code mentions, by tables from old to new.
//!
//! Linking shifts a workload's ids behind those of the workloads before it; the sweep closes the gaps that dead items
//! leave. Both fill a [`Rename`] and apply it to code. An id that its table does not reach stays as it is.

use lambdac_mir::{
    Base, Cond, ConstId, Func, FuncId, Lambda, LambdaId, Loc, ObjectId, Op, ParamId, Place, Region,
    ServiceId, Term, UseMut,
};

/// New ids by old ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rename {
    pub consts: Vec<u32>,
    pub params: Vec<u32>,
    pub objects: Vec<u32>,
    pub services: Vec<u32>,
    pub funcs: Vec<u32>,
    pub lambdas: Vec<u32>,
    pub files: Vec<u16>,
}

fn of(table: &[u32], id: u32) -> u32 {
    table.get(id as usize).copied().unwrap_or(id)
}

/// A table that moves `count` ids up by `base`.
pub(crate) fn shifted(base: usize, count: usize) -> Vec<u32> {
    (base..base + count).map(|id| id as u32).collect()
}

/// A table that closes up over what is not `kept`.
pub(crate) fn closing(kept: &[bool]) -> Vec<u32> {
    let mut next = 0;
    let number = |kept: &bool| {
        let id = next;
        next += u32::from(*kept);
        id
    };
    kept.iter().map(number).collect()
}

impl Rename {
    pub fn object(&self, id: ObjectId) -> ObjectId {
        ObjectId(of(&self.objects, id.0))
    }

    pub fn lambda(&self, id: LambdaId) -> LambdaId {
        LambdaId(of(&self.lambdas, id.0))
    }

    pub fn param(&self, id: ParamId) -> ParamId {
        ParamId(of(&self.params, id.0))
    }

    pub fn loc(&self, loc: Loc) -> Loc {
        // Line 0 is unknown, whatever the file.
        let file = self.files.get(usize::from(loc.file)).copied();
        Loc {
            file: if loc.line == 0 {
                0
            } else {
                file.unwrap_or(loc.file)
            },
            line: loc.line,
        }
    }

    fn base(&self, base: &mut Base) {
        match base {
            Base::Object(id) => *id = self.object(*id),
            Base::Const(id) => *id = ConstId(of(&self.consts, id.0)),
            Base::Param(id) => *id = self.param(*id),
            Base::Slot(_) | Base::Arg(_) | Base::Request => {}
        }
    }

    fn place(&self, place: &mut Place) {
        self.base(&mut place.base);
    }

    fn used(&self, used: UseMut<'_>) {
        match used {
            UseMut::Place(place, _) => self.place(place),
            UseMut::View(view) => self.place(&mut view.place),
            UseMut::Value(_) | UseMut::Slot(_) => {}
        }
    }

    fn service(&self, id: &mut ServiceId) {
        *id = ServiceId(of(&self.services, id.0));
    }

    fn op(&self, op: &mut Op) {
        op.for_each_use_mut(&mut |used| self.used(used));
        match op {
            Op::CounterAdd(object, ..) | Op::CounterRead(object, _) => *object = self.object(*object),
            Op::MapGet { object, .. }
            | Op::MapPut { object, .. }
            | Op::MapRemove { object, .. }
            | Op::MapFetchAdd { object, .. }
            | Op::TableGet { object, .. }
            | Op::TableHas { object, .. } => *object = self.object(*object),
            Op::Call(func, _) => *func = FuncId(of(&self.funcs, func.0)),
            Op::Await(call) => self.service(&mut call.service),
            _ => {}
        }
    }

    fn term(&self, term: &mut Term) {
        term.for_each_use_mut(&mut |used| self.used(used));
        match term {
            Term::Punt(Some(lambda)) => *lambda = self.lambda(*lambda),
            Term::Trap(_, loc) => *loc = self.loc(*loc),
            Term::Await { call, .. } => self.service(&mut call.service),
            _ => {}
        }
    }

    pub fn region(&self, region: &mut Region) {
        region.walk_regions_mut(&mut |inner| {
            for stmt in &mut inner.stmts {
                stmt.loc = self.loc(stmt.loc);
                self.op(&mut stmt.op);
            }
            self.term(&mut inner.term);
        });
    }

    pub fn func(&self, func: &mut Func) {
        self.region(&mut func.region);
    }

    pub fn code(&self, lambda: &mut Lambda) {
        for part in &mut lambda.parts {
            self.region(&mut part.region);
        }
    }

    pub fn cond(&self, cond: &mut Cond) {
        match cond {
            Cond::Not(inner) => self.cond(inner),
            Cond::All(list) | Cond::Any(list) => list.iter_mut().for_each(|cond| self.cond(cond)),
            Cond::Has { table, .. } => *table = self.object(*table),
            Cond::Eval(func) => self.func(func),
            Cond::True | Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } => {}
        }
    }
}
