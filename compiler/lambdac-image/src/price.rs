//! Prices of an image's code, each piece once; what any choice of what the NIC runs takes is summed from them.
//!
//! A lambda on the NIC brings the functions that it reaches, each once an image, and the routines that the device has
//! once an image. Conditions of the pool cost code only where they evaluate functions, once for each test of the stage.

use std::collections::BTreeMap;

use lambdac_cost::{CodeCost, Model, ModuleCost, Placement};
use lambdac_mir::{Cond, Op, Region};

use crate::canon::for_each_func;
use crate::cost::{around_words, sharers};
use crate::image::{Image, Node};

/// Prices by piece.
#[derive(Clone, Debug)]
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
    /// Prices all code of an image, placed so.
    pub fn new(image: &Image, model: &Model<'_>, placement: &Placement) -> Self {
        let module = &image.module;
        let mut funcs: Vec<CodeCost> = Vec::with_capacity(module.funcs.len());
        for func in &module.funcs {
            let code = model.func(module, placement, &funcs, func);
            funcs.push(code);
        }
        let lambdas = module.lambdas.iter();
        let lambdas = lambdas.map(|lambda| model.lambda(module, placement, &funcs, lambda));
        let conds = image.pool().iter().map(|rule| {
            let mut evals = Vec::new();
            evaluated(&rule.cond, &mut evals);
            if evals.is_empty() {
                return CodeCost::default();
            }
            model.condition(module, placement, &funcs, (&Cond::All(evals), rule.loc))
        });
        Self {
            lambdas: lambdas.collect(),
            conds: conds.collect(),
            func_calls: module.funcs.iter().map(|func| calls([&func.region])).collect(),
            lambda_calls: (module.lambdas.iter())
                .map(|lambda| calls(lambda.parts.iter().map(|part| &part.region)))
                .collect(),
            cond_calls: image.pool().iter().map(|rule| cond_calls(&rule.cond)).collect(),
            funcs,
        }
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
            dispatch.worst += code.worst * times;
            dispatch.expected += code.expected * times;
            dispatch
                .once
                .extend(code.once.iter().map(|(name, words)| (*name, *words)));
            for (line, cost) in &code.lines {
                let own = dispatch.lines.entry(*line).or_default();
                own.words += cost.words * times;
                own.cycles += cost.cycles * times;
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

fn calls<'r>(regions: impl IntoIterator<Item = &'r Region>) -> Vec<usize> {
    let mut calls = Vec::new();
    for region in regions {
        region.walk(&mut |stmt| {
            if let Op::Call(func, _) = &stmt.op {
                calls.push(func.index());
            }
        });
    }
    calls.sort_unstable();
    calls.dedup();
    calls
}

fn cond_calls(cond: &Cond) -> Vec<usize> {
    let mut all = Vec::new();
    for_each_func(cond, &mut |region| all.extend(calls([region])));
    all
}

/// The evaluated conditions in a condition.
fn evaluated(cond: &Cond, out: &mut Vec<Cond>) {
    match cond {
        Cond::Not(inner) => evaluated(inner, out),
        Cond::All(list) | Cond::Any(list) => list.iter().for_each(|cond| evaluated(cond, out)),
        Cond::Eval(_) => out.push(cond.clone()),
        Cond::True | Cond::Cmp { .. } | Cond::Range { .. } | Cond::Masked { .. } | Cond::Has { .. } => {}
    }
}
