//! lambda-coalescing: code that several workloads have stands once.
//!
//! 1. **Constants** with one value are one.
//! 2. **Functions**, callees before callers: those that are equal but for names, source positions and values of constants
//!    form a group. Equal ones become one. For the rest, the constants that differ become parameters where the model says
//!    that it pays ([`functions`]).
//! 3. **Lambdas** likewise; there the differing constants, and deploy-time parameters, become parameters of the image,
//!    which the way into the lambda sets ([`crate::Binding`]); constants in memory become elements of an array, whose number
//!    is such a parameter ([`pools`]). Those that differ in state stay, but are looked at once.
//! 4. **Sequences** of statements that lambdas have in common (what stands at their start, checks, reply building) become
//!    functions where calls take fewer words ([`outline`]).
//! 5. **Requests to services** are built by one piece of code that all lambdas call, where that takes fewer words.
//!
//! A device whose store the image fills by less than a sixteenth declines: there is nothing to win. So does one on which
//! workloads are programs of their own.
//!
//! **Never across tenancy.** Each workload keeps its own objects, tables and services. Code that names one is equal only
//! to code that names the same one, or, where the device reaches objects by addresses, one of its family ([`instances`]):
//! then the way into the code says whose object it works on, and whose service it asks.
//!
//! **Why nothing changes.** (1) Constants are read-only. (2) Two functions that differ in a constant's value compute what
//! one function does to which that value is passed: operations are total and do not ask where an operand comes from,
//! and a loop's `max` and `checked` are equal in the group. Factors, divisors and shift amounts are left as they are, as
//! they are cheaper when known. (3) An entry's bindings are set before the code runs and stand still while it does; a
//! parameter of a workload is constant for the instance. Lambdas that punt to others, or are punted to, stay, as a punt
//! sets no bindings. (4) See [`outline`]. (5) A request is made of its operation, key and value, which the code gets.
//! Positions of statements and traps on which merged pieces do not agree become unknown; what a profile counted there is
//! added up ([`crate::positions`]).

mod classes;
mod form;
mod functions;
mod instances;
mod lambdas;
mod outline;
mod pools;
mod units;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_mir::{Data, Dispatch, Lambda, MemoryRegion, Module, Shape, Term};
use lambdac_opt::{FUNC_DCE, run_pass};

use self::instances::Families;
pub(crate) use self::instances::structure;
use self::units::Units;
use crate::cost::sharers;
use crate::facts::{Facts, Shapes, Unit};
use crate::image::Image;
use crate::pass::{Context, Pass};
use crate::positions::Positions;
use crate::price::Code;
use crate::rename::Rename;

/// The pass.
pub(crate) const LAMBDA_COALESCING: Pass = Pass {
    name: "lambda-coalescing",
    summary: "Equal and nearly equal code of all workloads made one",
    keeps_code: false,
    run,
};

/// Code is scarce where the image as it is takes this part of the room that the store has, or more. Below it, shared code
/// would cost calls and save nothing that anybody needs.
const SCARCE: u64 = 16;

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    if let Some(notes) = declined(context) {
        return notes;
    }
    // The image is one unit, whose ids are those of the image.
    let rules: Vec<_> = image.pool().iter().collect();
    let by = (context.device, &context.model);
    let facts = Facts::of(&image.module, &rules, by, &mut Shapes::default());
    let funcs = std::mem::take(&mut image.module.funcs);
    let lambdas = std::mem::take(&mut image.module.lambdas);
    let unit = Unit {
        funcs: &funcs,
        lambdas: &lambdas,
        facts: Arc::new(facts),
        rename: Rename::default(),
        prefix: None,
    };
    coalesce(image, context, vec![unit])
}

/// Why there is nothing to win, if there is not.
pub(crate) fn declined(context: &Context<'_>) -> Option<Vec<String>> {
    if let Some(why) = context.declined() {
        return Some(vec![why]);
    }
    let room = crate::partition::room(context.device);
    let words = context.words;
    (words < room / SCARCE).then(|| vec![format!("declined: {words} words of {room} are not scarce")])
}

/// Fills an image, which holds everything but functions and lambdas, with those of its units, each as few times as it
/// takes.
pub(crate) fn coalesce(image: &mut Image, context: &Context<'_>, units: Vec<Unit<'_>>) -> Vec<String> {
    let families = Families::of(image, &units, context);
    let before = families.any().then(|| (image.clone(), units.clone()));
    let (notes, names) = with(image, context, units, &families);
    let Some((bare, units)) = before.filter(|_| names > 0) else {
        return notes;
    };
    let code = Code::of(image, context.device, &context.model);
    if code.priced.words(image, &context.model) <= context.words {
        return notes;
    }
    // Few that share little: what their ways in assign is more than they save.
    *image = bare;
    with(image, context, units, &Families::default()).0
}

/// With objects and services of families under one name; also how many names stand for several then.
fn with(
    image: &mut Image,
    context: &Context<'_>,
    mut units: Vec<Unit<'_>>,
    families: &Families,
) -> (Vec<String>, usize) {
    let mut notes = Vec::new();
    let (consts, shared) = share_consts(&image.module);
    if shared > 0 {
        notes.push(format!(
            "constants that have the value of another and became it: {shared}"
        ));
    }
    for unit in &mut units {
        unit.rename.share_consts(&consts);
        families.rename(&mut unit.rename);
    }
    let mut positions = Positions::new(image, context);
    let units = Units::new(&units);
    let functions = functions::plan(&units);
    notes.extend(functions.notes());
    image.module.funcs = functions.build(&units, &mut positions);
    if let Dispatch::Match(pool) = &mut image.module.dispatch {
        let rename = Rename {
            consts,
            ..Rename::default()
        };
        for rule in &mut pool.rules {
            rename.cond(&mut rule.cond);
            rule.cond.for_each_func_mut(&mut |func| {
                functions::rewrite(&mut func.body, &mut func.region, &functions.replaced);
            });
        }
    }
    let by = (context, families);
    let mut lambdas = lambdas::plan(image, &units, &functions.replaced, by, &mut positions);
    notes.append(&mut lambdas.notes);
    let mut codes = lambdas.codes(&units, &functions.replaced, &mut positions);
    notes.extend(outline::run(&mut image.module, &mut codes, by, &mut positions));
    lambdas.build(image, &units, &mut codes);
    run_pass(&FUNC_DCE, &mut image.module);
    positions.finish(image, context);
    let (objects, services) = families.settle(image);
    if objects > 0 {
        notes.push(format!(
            "objects that shared code reaches by an address, which each way in sets to its workload's own: {objects}"
        ));
    }
    if services > 0 {
        notes.push(format!(
            "services that shared code asks by a number, which each way in sets to its workload's own: {services}"
        ));
    }
    crate::reduce::share_pool(image, context);
    notes.extend(share_requests(image, context));
    (notes, objects + services)
}

/// One piece of code builds all requests to services, where calls of it take fewer words than the copies.
fn share_requests(image: &mut Image, context: &Context<'_>) -> Option<String> {
    let lambdas = image.module.lambdas.iter().zip(sharers(image));
    let asks = |lambda: &Lambda| {
        let mut asks = 0;
        for part in &lambda.parts {
            part.region
                .walk_regions(&mut |region| asks += usize::from(matches!(region.term, Term::Await { .. })));
        }
        asks
    };
    let count: usize = lambdas
        .filter(|(_, count)| *count > 0)
        .map(|(lambda, _)| asks(lambda))
        .sum();
    if count < 2 {
        return None;
    }
    let words = |image: &Image| {
        let code = Code::of(image, context.device, &context.model);
        code.priced.words(image, &context.model)
    };
    let apart = words(image);
    image.plumbing.shared_requests = true;
    let shared = words(image);
    if shared >= apart {
        image.plumbing.shared_requests = false;
        return None;
    }
    Some(format!(
        "requests to services that one piece of code builds: {count}, {} words fewer",
        apart - shared
    ))
}

/// By constant: the first of its value, and how many are not the first. (The others go with the dead code.)
fn share_consts(module: &Module) -> (Vec<u32>, usize) {
    let mut first: HashMap<(&Shape, &Data, Option<MemoryRegion>), u32> = HashMap::new();
    let numbers: Vec<u32> = (0u32..)
        .zip(&module.consts)
        .map(|(id, item)| *first.entry((&item.shape, &item.data, item.memory)).or_insert(id))
        .collect();
    let shared = (0u32..).zip(&numbers).filter(|(id, to)| id != *to).count();
    (numbers, shared)
}

/// Renames in all code of a module.
pub(crate) fn apply(module: &mut Module, rename: &Rename) {
    module.funcs.iter_mut().for_each(|func| rename.func(func));
    module.lambdas.iter_mut().for_each(|lambda| rename.code(lambda));
    if let Dispatch::Match(pool) = &mut module.dispatch {
        pool.rules.iter_mut().for_each(|rule| rename.cond(&mut rule.cond));
    }
}
