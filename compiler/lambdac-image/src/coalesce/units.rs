//! All units' code under the ids of the image.

use lambdac_mir::{ConstId, Func, FuncId, Lambda, LambdaId, Loc, ObjectId, ParamId};

use super::functions::Replaced;
use crate::facts::Unit;
use crate::shape::{Id, Pulled, Shaped};
use crate::touch::Item;

/// What may differ between pieces of code that become one, in the order of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Soft {
    /// A constant.
    Const { width: u8, content: u64 },
    /// A deploy-time parameter.
    Param(ParamId),
    /// A constant in memory.
    Data(ConstId),
}

impl Soft {
    /// What it is: that by which two of one place differ.
    pub fn content(self) -> u64 {
        match self {
            Self::Const { content, .. } => content,
            Self::Param(param) => param.0.into(),
            Self::Data(constant) => constant.0.into(),
        }
    }

    /// What kind of thing it is, and the width of a constant.
    pub fn kind(self) -> (u8, u8) {
        match self {
            Self::Const { width, .. } => (0, width),
            Self::Param(_) => (1, 64),
            Self::Data(_) => (2, 32),
        }
    }

    /// The id that it is, where it is none of a constant in the code.
    pub fn id(self) -> Option<Id> {
        match self {
            Self::Const { .. } => None,
            Self::Param(param) => Some(Id::Param(param)),
            Self::Data(constant) => Some(Id::Const(constant)),
        }
    }
}

/// All code.
pub(super) struct Units<'m> {
    units: &'m [Unit<'m>],
    /// By function of the image: the unit and its number there.
    funcs: Vec<(usize, usize)>,
    lambdas: Vec<(usize, usize)>,
}

impl<'m> Units<'m> {
    pub fn new(units: &'m [Unit<'m>]) -> Self {
        let numbered = |count: &dyn Fn(&Unit<'_>) -> usize| {
            let all = units.iter().enumerate();
            let each = all.flat_map(|(unit, code)| (0..count(code)).map(move |number| (unit, number)));
            each.collect()
        };
        Self {
            units,
            funcs: numbered(&|unit| unit.funcs.len()),
            lambdas: numbered(&|unit| unit.lambdas.len()),
        }
    }

    pub fn func(&self, func: usize) -> (&Unit<'m>, &Shaped<Func>) {
        let (unit, number) = self.funcs[func];
        (&self.units[unit], &self.units[unit].facts.funcs[number])
    }

    pub fn lambda(&self, lambda: usize) -> (&Unit<'m>, &Shaped<Lambda>) {
        let (unit, number) = self.lambdas[lambda];
        (&self.units[unit], &self.units[unit].facts.lambdas[number])
    }

    pub fn lambdas(&self) -> usize {
        self.lambdas.len()
    }

    pub fn func_words(&self, func: usize) -> u64 {
        let (unit, number) = self.funcs[func];
        self.units[unit].facts.priced.func_words(number)
    }

    pub fn lambda_words(&self, lambda: usize) -> u64 {
        let (unit, number) = self.lambdas[lambda];
        self.units[unit].facts.priced.lambda_words(number)
    }

    /// The objects and services that a lambda reaches, by the names that code has for them.
    pub fn names(&self, lambda: usize) -> impl Iterator<Item = Id> {
        let (unit, number) = self.lambdas[lambda];
        let unit = &self.units[unit];
        let items = unit.facts.touched[number].iter();
        let objects = items.filter_map(|item| match item {
            Item::Object(id) => Some(Id::Object(unit.rename.object(ObjectId(*id)))),
            Item::Field(..) | Item::Const(_) => None,
        });
        // Lambdas alone ask services.
        let pulled = unit.facts.lambdas[number].pulled.iter();
        let services = pulled.filter_map(|pulled| match pulled {
            Pulled::Id(Id::Service(id)) => Some(Id::Service(unit.rename.service(*id))),
            _ => None,
        });
        objects.chain(services)
    }

    /// A function as the image has it.
    pub fn func_code(&self, func: usize) -> Func {
        let (unit, number) = self.funcs[func];
        let unit = &self.units[unit];
        let mut code = unit.funcs[number].clone();
        code.name = unit.name(&code.name);
        unit.rename.func(&mut code);
        code
    }

    /// A lambda as it was written.
    pub fn lambda_source(&self, lambda: usize) -> (&Unit<'m>, &'m Lambda) {
        let (unit, number) = self.lambdas[lambda];
        (&self.units[unit], &self.units[unit].lambdas[number])
    }

    pub fn locs(&self, unit: &Unit<'_>, locs: &[Loc]) -> Vec<Loc> {
        locs.iter().map(|loc| unit.rename.loc(*loc)).collect()
    }

    /// How often functions are called from everywhere.
    pub fn calls(&self) -> Vec<u64> {
        self.units
            .iter()
            .flat_map(|unit| unit.facts.calls.iter().copied())
            .collect()
    }

    /// How deep calls go below each function.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(self.funcs.len());
        for func in 0..self.funcs.len() {
            let (unit, shaped) = self.func(func);
            let callees = shaped.pulled.iter().filter_map(|pulled| match pulled {
                Pulled::Id(Id::Func(callee)) => Some(unit.rename.func_id(*callee)),
                _ => None,
            });
            let level = callees.map(|callee| levels[callee.index()] + 1).max();
            levels.push(level.unwrap_or(0));
        }
        levels
    }

    /// What must be the same for code to be one, and what may differ. A call of a function that was merged passes its
    /// constants, which may differ too. `all`: whether deploy-time parameters and constants in memory may.
    pub fn resolve(
        &self,
        unit: &Unit<'_>,
        pulled: &[Pulled],
        replaced: &Replaced,
        all: bool,
    ) -> (Vec<Id>, Vec<Soft>) {
        let rename = &unit.rename;
        let (mut hard, mut soft) = (Vec::new(), Vec::new());
        for pulled in pulled {
            match *pulled {
                Pulled::Const { width, content, .. } => soft.push(Soft::Const { width, content }),
                Pulled::Id(Id::Const(id)) if all => soft.push(Soft::Data(rename.constant(id))),
                Pulled::Id(Id::Param(id)) if all => soft.push(Soft::Param(rename.param(id))),
                Pulled::Id(Id::Param(id)) => hard.push(Id::Param(rename.param(id))),
                Pulled::Id(Id::Const(id)) => hard.push(Id::Const(rename.constant(id))),
                Pulled::Id(Id::Object(id)) => hard.push(Id::Object(rename.object(id))),
                Pulled::Id(Id::Service(id)) => hard.push(Id::Service(rename.service(id))),
                Pulled::Id(Id::Lambda(id)) => hard.push(Id::Lambda(LambdaId(rename.lambda(id).0))),
                Pulled::Id(Id::Func(id)) => {
                    let func = rename.func_id(id);
                    let Some((to, constants)) = &replaced[func.index()] else {
                        hard.push(Id::Func(func));
                        continue;
                    };
                    hard.push(Id::Func(FuncId(*to as u32)));
                    let passed = constants.iter().map(|(width, content)| Soft::Const {
                        width: *width,
                        content: *content,
                    });
                    soft.extend(passed);
                }
            }
        }
        (hard, soft)
    }
}
