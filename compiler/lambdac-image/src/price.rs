//! Prices of an image's code, each piece once; what any choice of what the NIC runs takes is summed from them.
//!
//! A lambda on the NIC brings the functions that it reaches, each once an image, and the routines that the device has
//! once an image. Conditions of the pool cost code only where they evaluate functions, once for each test of the stage.

use std::collections::{BTreeMap, BTreeSet};

use lambdac_cost::{CodeCost, Model, ModuleCost, Placement};
use lambdac_mir::{Cond, FuncId, Lambda, LambdaId, Module, Rule};
use lambdac_target::Device;

use crate::canon::for_each_touched;
use crate::cost::{ImageCost, Touches, around_words, sharers};
use crate::facts::Unit;
use crate::image::{Image, Node};
use crate::touch::{self, Item, Touched};

/// What stands once an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// A lambda's own code.
    Lambda(usize),
    /// A function.
    Func(usize),
    /// A routine of the device.
    Once(&'static str),
}

/// Prices by piece.
#[derive(Clone, Debug, Default)]
pub(crate) struct Priced {
    funcs: Vec<CodeCost>,
    lambdas: Vec<CodeCost>,
    /// By place in the pool.
    conds: Vec<CodeCost>,
    /// Functions that each calls itself.
    func_calls: Vec<Vec<usize>>,
    lambda_calls: Vec<Vec<usize>>,
    cond_calls: Vec<Vec<usize>>,
}

impl Priced {
    /// Prices the code of a module and of rules.
    pub fn of(module: &Module, rules: &[&Rule], model: &Model<'_>, placement: &Placement) -> Self {
        let mut funcs: Vec<CodeCost> = Vec::with_capacity(module.funcs.len());
        for func in &module.funcs {
            let code = model.func(module, placement, &funcs, func);
            funcs.push(code);
        }
        let lambdas = module.lambdas.iter();
        let lambdas = lambdas.map(|lambda| model.lambda(module, placement, &funcs, lambda));
        let parts = |lambda: &Lambda| {
            called(|f| {
                lambda
                    .parts
                    .iter()
                    .for_each(|part| part.region.for_each_callee(f))
            })
        };
        let mut new = Self {
            lambdas: lambdas.collect(),
            conds: Vec::new(),
            func_calls: (module.funcs.iter())
                .map(|func| called(|f| func.region.for_each_callee(f)))
                .collect(),
            lambda_calls: module.lambdas.iter().map(parts).collect(),
            cond_calls: Vec::new(),
            funcs,
        };
        new.rules(module, rules, model, placement);
        new
    }

    /// Prices rules anew.
    fn rules(&mut self, module: &Module, rules: &[&Rule], model: &Model<'_>, placement: &Placement) {
        let price = |rule: &&Rule| {
            let mut evals = Vec::new();
            rule.cond.walk(&mut |cond| {
                if matches!(cond, Cond::Eval(_)) {
                    evals.push(cond.clone());
                }
            });
            if evals.is_empty() {
                return CodeCost::default();
            }
            model.condition(module, placement, &self.funcs, (&Cond::All(evals), rule.loc))
        };
        self.conds = rules.iter().map(price).collect();
        let calls = rules.iter().map(|rule| called(|f| cond_calls(&rule.cond, f)));
        self.cond_calls = calls.collect();
    }

    /// Adds another module's code behind this one's, under the names that its items have in the image.
    pub fn append(&mut self, other: &Self, unit: &Unit<'_>) {
        let named = |codes: &[CodeCost]| -> Vec<CodeCost> {
            let named = |code: &CodeCost| CodeCost {
                name: unit.name(&code.name),
                ..code.clone()
            };
            codes.iter().map(named).collect()
        };
        let base = self.funcs.len();
        let moved = |all: &[Vec<usize>]| -> Vec<Vec<usize>> {
            let one = |calls: &Vec<usize>| calls.iter().map(|func| func + base).collect();
            all.iter().map(one).collect()
        };
        self.func_calls.extend(moved(&other.func_calls));
        self.lambda_calls.extend(moved(&other.lambda_calls));
        self.cond_calls.extend(moved(&other.cond_calls));
        self.funcs.extend(named(&other.funcs));
        self.lambdas.extend(named(&other.lambdas));
        self.conds.extend(other.conds.iter().cloned());
    }

    /// What a lambda brings with it, each piece once an image, and its words. One piece of code may take a routine for larger
    /// than another; then it is told more than once.
    pub fn pieces(&self, lambda: usize) -> Vec<(Piece, u64)> {
        let mut reached: BTreeSet<usize> = BTreeSet::new();
        let mut todo = self.lambda_calls[lambda].clone();
        while let Some(func) = todo.pop() {
            if reached.insert(func) {
                todo.extend(&self.func_calls[func]);
            }
        }
        let own = (Piece::Lambda(lambda), &self.lambdas[lambda]);
        let funcs = reached.into_iter();
        let funcs = funcs.map(|func| (Piece::Func(func), &self.funcs[func]));
        let codes = std::iter::once(own).chain(funcs);
        codes
            .flat_map(|(piece, code)| {
                let once = code.once.iter();
                let once = once.map(|(name, words)| (Piece::Once(name), *words));
                std::iter::once((piece, code.words)).chain(once)
            })
            .collect()
    }

    /// Words of a function, by its id.
    pub fn func_words(&self, func: usize) -> u64 {
        self.funcs[func].words
    }

    /// Words of a lambda, by its id.
    pub fn lambda_words(&self, lambda: usize) -> u64 {
        self.lambdas[lambda].words
    }

    /// Words of what a condition of the pool evaluates, each time that it is tested.
    pub fn cond_words(&self, cond: usize) -> u64 {
        self.conds[cond].words
    }

    /// Cycles that a lambda runs at a stretch at most, by its id.
    pub fn lambda_stretch(&self, lambda: usize) -> u64 {
        self.lambdas[lambda].stretch
    }

    /// How many nodes of the stage test each condition.
    fn tests(image: &Image) -> BTreeMap<usize, u64> {
        let mut tests = BTreeMap::new();
        for node in &image.stage.nodes {
            if let Node::Test { cond, .. } = node {
                *tests.entry(*cond).or_default() += 1;
            }
        }
        tests
    }

    /// The functions that what the NIC runs reaches.
    fn used(&self, sharers: &[u64], tests: &BTreeMap<usize, u64>) -> Vec<bool> {
        let mut used = vec![false; self.funcs.len()];
        let lambdas = (self.lambda_calls.iter().zip(sharers)).filter(|(_, count)| **count > 0);
        let called = lambdas.flat_map(|(calls, _)| calls);
        let called = called.chain(tests.keys().flat_map(|cond| &self.cond_calls[*cond]));
        called.for_each(|func| used[*func] = true);
        // Callees have lower ids.
        for func in (0..used.len()).rev() {
            if used[func] {
                self.func_calls[func]
                    .iter()
                    .for_each(|callee| used[*callee] = true);
            }
        }
        used
    }

    /// Words of an image by what it runs on the NIC now.
    pub fn words(&self, image: &Image, model: &Model<'_>) -> u64 {
        let (sharers, tests) = (sharers(image), Self::tests(image));
        let mut once = BTreeMap::new();
        let mut words = around_words(image, model);
        let mut add = |code: &CodeCost, times: u64| {
            words += code.words * times;
            once.extend(code.once.iter().map(|(name, words)| (*name, *words)));
        };
        let lambdas = self.lambdas.iter().zip(&sharers);
        lambdas
            .filter(|(_, count)| **count > 0)
            .for_each(|(code, _)| add(code, 1));
        let funcs = self.funcs.iter().zip(self.used(&sharers, &tests));
        funcs.filter(|(_, used)| *used).for_each(|(code, _)| add(code, 1));
        tests
            .iter()
            .for_each(|(cond, times)| add(&self.conds[*cond], *times));
        words + once.values().sum::<u64>()
    }

    /// Bytes of a thread's local memory that slots take of what the NIC runs, the deepest chain of calls.
    pub fn local(&self, image: &Image) -> u64 {
        let lambdas = self.lambdas.iter().zip(sharers(image));
        let lambdas = lambdas
            .filter(|(_, count)| *count > 0)
            .map(|(code, _)| code.local);
        let tests = Self::tests(image);
        let conds = tests.keys().map(|cond| self.conds[*cond].local);
        lambdas.chain(conds).max().unwrap_or(0)
    }

    /// The costs of what the NIC runs; all other code takes nothing.
    pub fn code(&self, image: &Image) -> ModuleCost {
        let (sharers, tests) = (sharers(image), Self::tests(image));
        let used = self.used(&sharers, &tests);
        let kept = |code: &CodeCost, used: bool| match used {
            true => code.clone(),
            false => CodeCost {
                name: code.name.clone(),
                ..CodeCost::default()
            },
        };
        let mut dispatch = CodeCost {
            name: "match".into(),
            ..CodeCost::default()
        };
        for (cond, times) in &tests {
            let code = &self.conds[*cond];
            dispatch.words += code.words * times;
            dispatch.worst = dispatch.worst.saturating_add(code.worst.saturating_mul(*times));
            dispatch.expected = dispatch
                .expected
                .saturating_add(code.expected.saturating_mul(*times));
            dispatch
                .once
                .extend(code.once.iter().map(|(name, words)| (*name, *words)));
            for (line, cost) in &code.lines {
                let own = dispatch.lines.entry(*line).or_default();
                own.words += cost.words * times;
                own.cycles = own.cycles.saturating_add(cost.cycles.saturating_mul(*times));
            }
        }
        let mut cost = ModuleCost {
            funcs: (self.funcs.iter().zip(used))
                .map(|(code, used)| kept(code, used))
                .collect(),
            lambdas: (self.lambdas.iter().zip(&sharers))
                .map(|(code, count)| kept(code, *count > 0))
                .collect(),
            dispatch,
            once: BTreeMap::new(),
        };
        let all = cost.funcs.iter().chain(&cost.lambdas).chain([&cost.dispatch]);
        cost.once = all.flat_map(|code| code.once.clone()).collect();
        cost
    }
}

/// What is known of an image's code, as long as it stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub priced: Priced,
    /// By function and by lambda: what it touches in one run.
    touched: (Vec<Touched>, Vec<Touched>),
    placement: Placement,
}

impl Code {
    /// Looks at an image's code.
    pub fn of(image: &Image, device: &Device, model: &Model<'_>) -> Self {
        let module = &image.module;
        let placement = image.placement(device);
        let model = &image.model(model);
        let rules: Vec<&Rule> = image.pool().iter().collect();
        let funcs = touch::of_funcs(module, model.weights());
        let lambdas = module.lambdas.iter();
        Self {
            priced: Priced::of(module, &rules, model, &placement),
            touched: (
                lambdas
                    .map(|lambda| touch::of_lambda(module, lambda, &funcs, model.weights()))
                    .collect(),
                funcs,
            ),
            placement,
        }
    }

    /// Functions and lambdas are as they were; conditions and places may be new.
    pub fn update(&mut self, image: &Image, device: &Device, model: &Model<'_>) {
        let placement = image.placement(device);
        let model = &image.model(model);
        let rules: Vec<&Rule> = image.pool().iter().collect();
        if placement == self.placement {
            self.priced.rules(&image.module, &rules, model, &placement);
        } else {
            self.priced = Priced::of(&image.module, &rules, model, &placement);
            self.placement = placement;
        }
    }

    /// What a lambda touches in one run.
    pub fn touched(&self, lambda: LambdaId) -> &Touched {
        &self.touched.0[lambda.index()]
    }

    /// What each function touches in one run.
    pub fn touched_by_funcs(&self) -> &[Touched] {
        &self.touched.1
    }

    /// What the image takes.
    pub fn cost(&self, image: &Image, device: &Device, model: &Model<'_>) -> ImageCost {
        let mut by_stage: BTreeSet<Item> = BTreeSet::new();
        for node in &image.stage.nodes {
            if let Node::Test { cond, .. } = node {
                let mut add = |item, _| by_stage.extend([item]);
                for_each_touched(&image.module, image.cond(*cond), &self.touched.1, &mut add);
            }
        }
        let touches = Touches {
            by_lambda: &|lambda, f| self.touched.0[lambda].keys().for_each(|item| f(*item)),
            by_stage,
        };
        ImageCost::with(image, (device, model), self.priced.code(image), &touches)
    }
}

/// Calls `f` for the callee of each call of what a condition evaluates.
pub(crate) fn cond_calls(cond: &Cond, f: &mut dyn FnMut(FuncId)) {
    cond.for_each_func(&mut |func| func.region.for_each_callee(f));
}

/// Callees, each once.
fn called(each: impl FnOnce(&mut dyn FnMut(FuncId))) -> Vec<usize> {
    let mut all = Vec::new();
    each(&mut |func| all.push(func.index()));
    all.sort_unstable();
    all.dedup();
    all
}
