//! What is known of a workload's code wherever it stands: shapes, prices, what it touches.
//!
//! All of it depends on the module alone, so a [`crate::Linker`] computes it once for a workload and keeps it as long as
//! the workload's content stays. An image that is optimised by itself is one module with facts of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lambdac_cost::{Model, Placement};
use lambdac_mir::{Cond, Func, FuncId, Lambda, Module, Rule};
use lambdac_target::Device;

use crate::canon::for_each_touched;
use crate::image::Way;
use crate::price::{Priced, cond_calls};
use crate::rename::Rename;
use crate::shape::{Id, Pulled, Shaped};
use crate::touch::{self, Item};

/// What is known of a module.
#[derive(Debug)]
pub(crate) struct Facts {
    /// By function.
    pub funcs: Vec<Shaped<Func>>,
    /// By lambda.
    pub lambdas: Vec<Shaped<Lambda>>,
    /// What code takes with everything in the far memory.
    pub priced: Priced,
    /// By lambda: what it touches.
    pub touched: Vec<BTreeSet<Item>>,
    /// By rule: what its condition touches.
    pub asked: Vec<BTreeSet<Item>>,
    /// How often functions are called from everywhere.
    pub calls: Vec<u64>,
}

impl Facts {
    /// Looks at a module.
    ///
    /// `rules` are its rules in the order in which an image holds their conditions.
    pub fn of(
        module: &Module,
        rules: &[&Rule],
        (device, model): (&Device, &Model<'_>),
        shapes: &mut Shapes,
    ) -> Self {
        let known = touch::of_funcs(module, model.weights());
        let asked = rules.iter().map(|rule| {
            let mut items = BTreeSet::new();
            for_each_touched(module, &rule.cond, &known, &mut |item, _| items.extend([item]));
            items
        });
        Self {
            funcs: module.funcs.iter().map(|func| shapes.func(func)).collect(),
            lambdas: module
                .lambdas
                .iter()
                .map(|lambda| shapes.lambda(lambda))
                .collect(),
            priced: Priced::of(module, rules, model, &Placement::far(module, device)),
            touched: (module.lambdas.iter())
                .map(|lambda| {
                    touch::of_lambda(module, lambda, &known, model.weights())
                        .into_keys()
                        .collect()
                })
                .collect(),
            asked: asked.collect(),
            calls: call_counts(module, rules.iter().map(|rule| &rule.cond)),
        }
    }

    /// The kinds of packet that a lambda sends, under the ids of an image.
    pub fn ways(&self, lambda: usize, rename: &Rename) -> Vec<Way> {
        let services = self.lambdas[lambda]
            .pulled
            .iter()
            .filter_map(|pulled| match pulled {
                Pulled::Id(Id::Service(service)) => Some(Way::Service(rename.service(*service))),
                _ => None,
            });
        // An error is answered too.
        let ways: BTreeSet<Way> = services.chain([Way::Reply]).collect();
        ways.into_iter().collect()
    }
}

/// How often functions are called.
fn call_counts<'m>(module: &'m Module, conds: impl Iterator<Item = &'m Cond>) -> Vec<u64> {
    let mut counts = vec![0; module.funcs.len()];
    let mut count = |func: FuncId| counts[func.index()] += 1;
    module
        .funcs
        .iter()
        .for_each(|func| func.region.for_each_callee(&mut count));
    let parts = module.lambdas.iter().flat_map(|lambda| &lambda.parts);
    parts.for_each(|part| part.region.for_each_callee(&mut count));
    conds.for_each(|cond| cond_calls(cond, &mut count));
    counts
}

/// Shapes that were met, each once.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    funcs: HashMap<u64, Vec<Arc<Func>>>,
    lambdas: HashMap<u64, Vec<Arc<Lambda>>>,
}

impl Shapes {
    fn func(&mut self, func: &Func) -> Shaped<Func> {
        one(&mut self.funcs, Shaped::of_func(func))
    }

    fn lambda(&mut self, lambda: &Lambda) -> Shaped<Lambda> {
        one(&mut self.lambdas, Shaped::of_lambda(lambda))
    }

    /// Forgets shapes that nobody has any more.
    pub fn sweep(&mut self) {
        self.funcs.retain(|_, list| {
            list.retain(|code| Arc::strong_count(code) > 1);
            !list.is_empty()
        });
        self.lambdas.retain(|_, list| {
            list.retain(|code| Arc::strong_count(code) > 1);
            !list.is_empty()
        });
    }
}

/// With the code that was met first, if it was met.
fn one<T: PartialEq>(known: &mut HashMap<u64, Vec<Arc<T>>>, mut shaped: Shaped<T>) -> Shaped<T> {
    let list = known.entry(shaped.hash).or_default();
    match list.iter().find(|code| **code == shaped.code) {
        Some(code) => shaped.code = Arc::clone(code),
        None => list.push(Arc::clone(&shaped.code)),
    }
    shaped
}

/// A module's code with the ids that it has in the image.
#[derive(Clone)]
pub(crate) struct Unit<'m> {
    pub funcs: &'m [Func],
    pub lambdas: &'m [Lambda],
    pub facts: Arc<Facts>,
    pub rename: Rename,
    /// What stands before the names of its items in the image.
    pub prefix: Option<Arc<str>>,
}

impl Unit<'_> {
    /// An item's name in the image.
    pub fn name(&self, item: &Arc<str>) -> Arc<str> {
        match &self.prefix {
            Some(prefix) => format!("{prefix}.{item}").into(),
            None => Arc::clone(item),
        }
    }
}
