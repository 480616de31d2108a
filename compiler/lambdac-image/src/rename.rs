//! Renumbering: every id of a module that code mentions, by tables from old to new.
//!
//! Linking shifts a workload's ids behind those of the workloads before it; the sweep closes the gaps that dead items
//! leave. Both fill a [`Rename`] and apply it to code. An id that its table does not reach stays as it is.

use lambdac_mir::{
    Base, Cond, ConstId, Func, FuncId, Lambda, LambdaId, Loc, ObjectId, Op, ParamId, Region, ServiceId, Term,
    UseMut,
};

/// An id that code mentions.
pub(crate) enum IdMut<'a> {
    Const(&'a mut ConstId),
    Param(&'a mut ParamId),
    Object(&'a mut ObjectId),
    Service(&'a mut ServiceId),
    Func(&'a mut FuncId),
    Lambda(&'a mut LambdaId),
}

fn used_id(used: UseMut<'_>, f: &mut dyn FnMut(IdMut<'_>)) {
    let Some(place) = used.into_place() else { return };
    match &mut place.base {
        Base::Object(id) => f(IdMut::Object(id)),
        Base::Const(id) => f(IdMut::Const(id)),
        Base::Param(id) => f(IdMut::Param(id)),
        Base::Slot(_) | Base::Arg(_) | Base::Request => {}
    }
}

/// Calls `f` for every id that an operation mentions, without those of nested regions.
pub(crate) fn op_ids(op: &mut Op, f: &mut dyn FnMut(IdMut<'_>)) {
    // A callee first: what is passed to it stands in front of the call.
    if let Op::Call(func, _) = op {
        f(IdMut::Func(func));
    }
    op.for_each_use_mut(&mut |used| used_id(used, f));
    match op {
        Op::CounterAdd(object, ..)
        | Op::CounterRead(object, _)
        | Op::MapGet { object, .. }
        | Op::MapPut { object, .. }
        | Op::MapRemove { object, .. }
        | Op::MapFetchAdd { object, .. }
        | Op::TableGet { object, .. }
        | Op::TableHas { object, .. } => f(IdMut::Object(object)),
        Op::Await(call) => f(IdMut::Service(&mut call.service)),
        _ => {}
    }
}

/// Calls `f` for every id that a terminator mentions.
pub(crate) fn term_ids(term: &mut Term, f: &mut dyn FnMut(IdMut<'_>)) {
    term.for_each_use_mut(&mut |used| used_id(used, f));
    match term {
        Term::Punt(Some(lambda)) => f(IdMut::Lambda(lambda)),
        Term::Await { call, .. } => f(IdMut::Service(&mut call.service)),
        _ => {}
    }
}

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

/// What a table leads to becomes what another one makes of it.
fn share(table: &mut Vec<u32>, other: &[u32]) {
    if table.is_empty() {
        *table = other.to_vec();
    } else {
        table.iter_mut().for_each(|id| *id = of(other, *id));
    }
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
    /// Constants become what stands for them.
    pub fn share_consts(&mut self, shared: &[u32]) {
        share(&mut self.consts, shared);
    }

    /// Objects go by other names.
    pub fn share_objects(&mut self, named: &[u32]) {
        share(&mut self.objects, named);
    }

    /// Services go by other names.
    pub fn share_services(&mut self, named: &[u32]) {
        share(&mut self.services, named);
    }

    pub fn object(&self, id: ObjectId) -> ObjectId {
        ObjectId(of(&self.objects, id.0))
    }

    pub fn lambda(&self, id: LambdaId) -> LambdaId {
        LambdaId(of(&self.lambdas, id.0))
    }

    pub fn param(&self, id: ParamId) -> ParamId {
        ParamId(of(&self.params, id.0))
    }

    pub fn constant(&self, id: ConstId) -> ConstId {
        ConstId(of(&self.consts, id.0))
    }

    pub fn service(&self, id: ServiceId) -> ServiceId {
        ServiceId(of(&self.services, id.0))
    }

    pub fn func_id(&self, id: FuncId) -> FuncId {
        FuncId(of(&self.funcs, id.0))
    }

    pub fn loc(&self, loc: Loc) -> Loc {
        match self.files.get(usize::from(loc.file)) {
            // In a source, line 0 is unknown, whatever the file.
            Some(_) if loc.line == 0 => Loc::default(),
            Some(file) => Loc { file: *file, ..loc },
            None => loc,
        }
    }

    fn id(&self, id: IdMut<'_>) {
        match id {
            IdMut::Const(id) => *id = self.constant(*id),
            IdMut::Param(id) => *id = self.param(*id),
            IdMut::Object(id) => *id = self.object(*id),
            IdMut::Service(id) => *id = self.service(*id),
            IdMut::Func(id) => *id = self.func_id(*id),
            IdMut::Lambda(id) => *id = self.lambda(*id),
        }
    }

    pub fn region(&self, region: &mut Region) {
        region.walk_regions_mut(&mut |inner| {
            for stmt in &mut inner.stmts {
                stmt.loc = self.loc(stmt.loc);
                op_ids(&mut stmt.op, &mut |id| self.id(id));
            }
            if let Term::Trap(_, loc) = &mut inner.term {
                *loc = self.loc(*loc);
            }
            term_ids(&mut inner.term, &mut |id| self.id(id));
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
        cond.walk_mut(&mut |cond| match cond {
            Cond::Has { table, .. } => *table = self.object(*table),
            Cond::Eval(func) => self.func(func),
            _ => {}
        });
    }
}
