//! The model over a module, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lambdac_mir::{Body, Cond, Dispatch, Field, Func, Lambda, Loc, Module, PartId, Region, SlotId};
use lambdac_target::{Device, Items, Ops};

use crate::locals::{Locals, Share, local_share};
use crate::ops::Price;
use crate::walk::{Scope, Walk};
use crate::{LineProfile, Placement, Profile, Shape, Weights};

/// Prices of one device.
#[derive(Clone, Copy, Debug)]
pub struct Model<'d> {
    pub(crate) device: &'d Device,
    pub(crate) ops: &'d Ops,
    items: &'d Items,
    pub(crate) lines: bool,
    pub(crate) shared_requests: bool,
    pub(crate) weights: Weights<'d>,
}

/// What a source line takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCost {
    /// Instruction words.
    pub words: u64,
    /// Cycles on the dearest path, all trips together, callees included.
    pub cycles: u64,
}

/// What a function, lambda or match stage takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeCost {
    /// Its name.
    pub name: Arc<str>,
    /// Instruction words of its own.
    pub words: u64,
    /// Cycles of the dearest path, callees included. Saturates.
    pub worst: u64,
    /// Cycles of an average run, callees included. Saturates.
    pub expected: u64,
    /// Cycles of the dearest path between two waits for services, the longest that it runs at a stretch. Saturates.
    pub stretch: u64,
    /// Bytes of a thread's local memory that its slots take, with those of what it calls, the deepest chain.
    pub local: u64,
    /// By source line.
    pub lines: BTreeMap<(u16, u32), LineCost>,
    /// Words of the routines that it needs and that the device has once an image, by their name.
    pub once: BTreeMap<&'static str, u64>,
}

/// What a module takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleCost {
    /// By [`lambdac_mir::FuncId`].
    pub funcs: Vec<CodeCost>,
    /// By [`lambdac_mir::LambdaId`]; paths go through all parts of an await, without what it waits for.
    pub lambdas: Vec<CodeCost>,
    /// The match stage.
    pub dispatch: CodeCost,
    /// Words of routines that the device has once an image, by their name.
    pub once: BTreeMap<&'static str, u64>,
}

impl ModuleCost {
    /// Words of everything.
    pub fn words(&self) -> u64 {
        let code = self.funcs.iter().chain(&self.lambdas).map(|code| code.words);
        code.sum::<u64>() + self.dispatch.words + self.once.values().sum::<u64>()
    }
}

impl<'d> Model<'d> {
    /// The model of a device; none where the device counts no words.
    pub fn new(device: &'d Device) -> Option<Self> {
        Some(Self {
            device,
            ops: device.ops.as_ref()?,
            items: device.items.as_ref()?,
            lines: true,
            shared_requests: false,
            weights: Weights::default(),
        })
    }

    /// A model that does not say what lines take.
    #[must_use]
    pub fn without_lines(self) -> Self {
        Self { lines: false, ..self }
    }

    /// A model of images where one piece of code builds all requests to services, which lambdas call.
    #[must_use]
    pub fn with_shared_requests(self, shared_requests: bool) -> Self {
        Self {
            shared_requests,
            ..self
        }
    }

    /// A model whose expected cycles weigh branches by a profile, where there is one.
    #[must_use]
    pub fn with_profile(self, profile: Option<&'d Profile>) -> Self {
        let weights = Weights {
            profile,
            ..self.weights
        };
        Self { weights, ..self }
    }

    /// A model that, by a profile, weighs code that was made of several by these, by number.
    #[must_use]
    pub fn with_merged(self, merged: &'d [LineProfile]) -> Self {
        let weights = Weights {
            merged,
            ..self.weights
        };
        Self { weights, ..self }
    }

    /// What branches and loops are weighed by.
    pub fn weights(&self) -> Weights<'d> {
        self.weights
    }

    /// The profile that branches are weighed by.
    pub fn profile(&self) -> Option<&'d Profile> {
        self.weights.profile
    }

    /// Words of the parts of an image around its lambdas.
    pub fn shape(&self, shape: &Shape) -> u64 {
        shape.words(self.items)
    }

    /// What a module takes with its objects placed so.
    pub fn module(&self, module: &Module, placement: &Placement) -> ModuleCost {
        let mut cost = ModuleCost::default();
        let scope = self.scope(module, placement);
        for func in &module.funcs {
            let code = func_cost(scope, &cost.funcs, func);
            cost.funcs.push(code);
        }
        let lambdas = module.lambdas.iter();
        cost.lambdas = lambdas
            .map(|lambda| self.lambda_cost(scope, &cost.funcs, lambda))
            .collect();
        cost.dispatch = self.dispatch(scope, &cost.funcs);
        let all = cost.funcs.iter().chain(&cost.lambdas).chain([&cost.dispatch]);
        cost.once = all.flat_map(|code| code.once.clone()).collect();
        cost
    }

    /// What a function takes, when those that it calls take what is `known`, by their ids.
    pub fn func(&self, module: &Module, placement: &Placement, known: &[CodeCost], func: &Func) -> CodeCost {
        func_cost(self.scope(module, placement), known, func)
    }

    /// What a lambda takes, when functions take what is `known`, by their ids.
    pub fn lambda(
        &self,
        module: &Module,
        placement: &Placement,
        known: &[CodeCost],
        lambda: &Lambda,
    ) -> CodeCost {
        self.lambda_cost(self.scope(module, placement), known, lambda)
    }

    /// What asking a condition takes, without reading the packet; written at `loc`.
    pub fn condition(
        &self,
        module: &Module,
        placement: &Placement,
        known: &[CodeCost],
        (cond, loc): (&Cond, Loc),
    ) -> CodeCost {
        let mut code = CodeCost::default();
        let price = self.ask(self.scope(module, placement), known, cond, &mut code.once);
        if self.lines {
            let cost = LineCost {
                words: price.words,
                cycles: price.worst,
            };
            code.lines.insert(line_of(loc), cost);
        }
        code.words = price.words;
        code.worst = price.worst;
        code.expected = price.expected;
        code.stretch = price.worst;
        code.local = local_of(self.device, known, cond);
        code
    }

    fn scope<'a>(&self, module: &'a Module, placement: &'a Placement) -> Scope<'a, 'd> {
        Scope {
            model: *self,
            module,
            placement,
        }
    }

    fn lambda_cost(&self, scope: Scope<'_, 'd>, known: &[CodeCost], lambda: &Lambda) -> CodeCost {
        let mut whole = CodeCost {
            name: lambda.name.clone(),
            ..CodeCost::default()
        };
        // A part goes on with later ones only, as no loop holds an await: the last is known first. What follows a part is in
        // its path and not in its words.
        let mut after: BTreeMap<PartId, Price> = BTreeMap::new();
        let regions: Vec<&Region> = lambda.parts.iter().map(|part| &part.region).collect();
        let locals = locals_of(
            self.device,
            known,
            &lambda.outliving_slots(),
            &lambda.body,
            &regions,
        );
        whole.local = locals.bytes;
        let body = (&lambda.body, &locals);
        for (index, part) in lambda.parts.iter().enumerate().rev() {
            let mut alone = Walk::new(scope, &[], body, &part.region, known);
            let stretch = alone.region(&part.region);
            let mut walk = Walk::new(scope, &[], body, &part.region, known).followed_by(&after);
            let path = walk.region(&part.region);
            let burst = match index {
                0 => self.request_burst(lambda.request.max.into()),
                _ => Price::default(),
            };
            let (stretch, path) = (stretch.then(burst), path.then(burst));
            after.insert(PartId(index as u32), Price { words: 0, ..path });
            let code = alone.finish(&lambda.name, &part.region, stretch);
            whole.words += code.words;
            whole.stretch = whole.stretch.max(code.worst);
            (whole.worst, whole.expected) = (path.worst, path.expected);
            whole.once.extend(code.once);
            for (line, cost) in code.lines {
                let entry = whole.lines.entry(line).or_default();
                entry.words += cost.words;
                entry.cycles = entry.cycles.saturating_add(cost.cycles);
            }
        }
        whole
    }

    fn dispatch(&self, scope: Scope<'_, 'd>, known: &[CodeCost]) -> CodeCost {
        let mut code = CodeCost {
            name: "match".into(),
            ..CodeCost::default()
        };
        let Dispatch::Match(stage) = &scope.module.dispatch else {
            return code;
        };
        let mut price = self.request_burst(stage.min_len.into());
        let reached = self.reached(&scope.module.name, stage.rules.len());
        for (rule, reached) in stage.rules.iter().zip(reached) {
            let asked = self.ask(scope, known, &rule.cond, &mut code.once);
            let line = code.lines.entry(line_of(rule.loc)).or_default();
            line.words += asked.words;
            line.cycles = line.cycles.saturating_add(asked.worst);
            price = price.then(Price {
                expected: (asked.expected as f64 * reached) as u64,
                ..asked
            });
        }
        code.words = price.words;
        code.worst = price.worst;
        code.expected = price.expected;
        code
    }

    /// The part of requests that each rule of a workload is asked about: those that no rule before it took. Without a
    /// profile, requests are taken by each rule, and by none, evenly.
    fn reached(&self, workload: &str, rules: usize) -> Vec<f64> {
        let counted = self.profile().and_then(|profile| profile.workloads.get(workload));
        let hits = counted
            .map(|counted| &counted.rules)
            .filter(|hits| hits.iter().any(|hits| *hits > 0));
        let hit = |rule: usize| hits.map_or(1.0, |hits| hits.get(rule).copied().unwrap_or(0) as f64);
        let total: f64 = (0..rules).map(hit).sum::<f64>() + if hits.is_some() { 0.0 } else { 1.0 };
        let mut left = 1.0;
        let reached = |rule: usize| {
            let reached = left;
            left -= hit(rule) / total;
            f64::max(reached, 0.0)
        };
        (0..rules).map(reached).collect()
    }

    fn ask(
        &self,
        scope: Scope<'_, 'd>,
        known: &[CodeCost],
        cond: &Cond,
        once: &mut BTreeMap<&'static str, u64>,
    ) -> Price {
        match cond {
            Cond::True => Price::default(),
            Cond::Not(inner) => self.ask(scope, known, inner, once),
            Cond::All(list) | Cond::Any(list) => list.iter().fold(Price::default(), |sum, cond| {
                sum.then(self.ask(scope, known, cond, once))
            }),
            Cond::Cmp { field, value, .. } => self
                .field(*field)
                .then(self.compare_constant(field.width(), *value)),
            Cond::Range { field, lo, hi } => self
                .field(*field)
                .then(self.compare_constant(field.width(), *lo))
                .then(self.compare_constant(field.width(), *hi)),
            Cond::Masked { field, mask, value } => self
                .field(*field)
                .then(self.constant(field.width(), *mask))
                .then(self.alu(field.width()))
                .then(self.compare_constant(field.width(), *value)),
            Cond::Has { table, .. } => {
                let kind = &scope.module.objects[table.index()].kind;
                self.lookup(kind, scope.placement.object(self.device, *table))
            }
            Cond::Eval(func) => {
                let code = func_cost(scope, known, func);
                once.extend(code.once);
                Price {
                    words: code.words,
                    worst: code.worst,
                    expected: code.expected,
                }
            }
        }
    }

    /// An integer that the match stage reads, where the parser left it.
    fn field(&self, field: Field) -> Price {
        let word = self.price(self.ops.lmem_word);
        match field {
            Field::Bits { bit, width } if bit % 32 == 0 && (width == 32 || width == 64) => {
                word.times(u64::from(width) / 32)
            }
            Field::Bits { width, .. } => word
                .times(u64::from(width).div_ceil(32))
                .then(self.price(self.ops.field)),
            Field::Pkt(_) => word,
            Field::Rest { .. } => word.then(self.alu(32)),
        }
    }
}

/// Where slots lie, when functions take what is `known`, by their ids.
fn locals_of(
    device: &Device,
    known: &[CodeCost],
    elsewhere: &BTreeSet<SlotId>,
    body: &Body,
    regions: &[&Region],
) -> Locals {
    let share = Share {
        bytes: local_share(device),
        size: lambdac_mir::Shape::packed_size,
        below: &|id| known.get(id.index()).map_or(0, |code| code.local),
        elsewhere,
    };
    Locals::of(&share, body, regions)
}

/// Bytes of local memory that the deepest condition in code takes.
fn local_of(device: &Device, known: &[CodeCost], cond: &Cond) -> u64 {
    let mut most = 0;
    cond.for_each_func(&mut |func| {
        let locals = locals_of(device, known, &BTreeSet::new(), &func.body, &[&func.region]);
        most = most.max(locals.bytes);
    });
    most
}

fn func_cost(scope: Scope<'_, '_>, known: &[CodeCost], func: &Func) -> CodeCost {
    let device = scope.model.device;
    let locals = locals_of(device, known, &BTreeSet::new(), &func.body, &[&func.region]);
    let mut walk = Walk::new(scope, &func.params, (&func.body, &locals), &func.region, known);
    let price = walk.region(&func.region);
    walk.finish(&func.name, &func.region, price)
}

pub(crate) fn line_of(loc: Loc) -> (u16, u32) {
    if loc.line == 0 {
        (0, 0)
    } else {
        (loc.file, loc.line)
    }
}
