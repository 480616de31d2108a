//! lambda-coalescing: code that several workloads have stands once.
//!
//! 1. **Constants** with one value are one.
//! 2. **Functions**, callees before callers: those that are equal but for names, source positions and values of constants
//!    form a group. Equal ones become one. For the rest, the constants that differ become parameters where the model says
//!    that it pays ([`near`]).
//! 3. **Lambdas** likewise; there the differing constants, and deploy-time parameters, become parameters of the image,
//!    which the way into the lambda sets ([`crate::Binding`]).
//! 4. **Sequences** of statements that lambdas have in common (what stands at their start, checks, reply building) become
//!    functions where calls take fewer words ([`outline`]).
//!
//! A device whose store the image fills by less than a sixteenth declines: there is nothing to win.
//!
//! **Never across tenancy.** Code that names an object, a table or a service is equal only to code that names the same
//! one, so it is shared only inside its workload. What is shared across workloads reads the packet, constants,
//! parameters and its own slots.
//!
//! **Why nothing changes.** (1) Constants are read-only. (2) Two functions that differ in a constant's value compute what
//! one function does to which that value is passed: operations are total and do not ask where an operand comes from,
//! and a loop's `max` and `checked` are equal in the group. Factors, divisors and shift amounts are left as they are, as
//! they are cheaper when known. (3) An entry's bindings are set before the code runs and stand still while it does; a
//! parameter of a workload is constant for the instance. Lambdas that punt to others, or are punted to, stay, as a punt
//! sets no bindings. (4) See [`outline`]. Positions in traps that differ between merged pieces become unknown.

mod near;
mod outline;
mod skeleton;

use std::collections::HashMap;

use lambdac_cost::ModuleCost;
use lambdac_mir::{Const, Dispatch, Module};
use lambdac_opt::{FUNC_DCE, run_pass};

use crate::cost::ImageCost;
use crate::image::Image;
use crate::pass::{Context, Pass};
use crate::rename::Rename;

/// The pass.
pub(crate) const LAMBDA_COALESCING: Pass = Pass {
    name: "lambda-coalescing",
    summary: "Equal and nearly equal code of all workloads made one",
    run,
};

/// Code is scarce where the image as it is takes this part of the room that the store has, or more. Below it, shared code
/// would cost calls and save nothing that anybody needs.
const SCARCE: u64 = 16;

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let room = context
        .device
        .store
        .map_or(0, |store| store.words - store.base_words);
    let words = ImageCost::of(image, context.device, &context.model).words();
    if words < room / SCARCE {
        return vec![format!("declined: {words} words of {room} are not scarce")];
    }
    let mut notes = Vec::new();
    let consts = share_consts(&mut image.module);
    if consts > 0 {
        notes.push(format!(
            "constants that have the value of another and became it: {consts}"
        ));
    }
    let cost = price(image, context);
    notes.extend(near::functions(image, &cost));
    let cost = price(image, context);
    notes.extend(near::lambdas(image, context, &cost));
    notes.extend(outline::run(image, context));
    run_pass(&FUNC_DCE, &mut image.module);
    crate::reduce::share_pool(image);
    notes
}

fn price(image: &Image, context: &Context<'_>) -> ModuleCost {
    let placement = image.placement(context.device);
    context.model.module(&image.module, &placement)
}

/// Code refers to the first of equal constants. (The others go with the dead code.)
fn share_consts(module: &mut Module) -> usize {
    let mut first: HashMap<String, u32> = HashMap::new();
    let key = |item: &Const| format!("{:?}", (&item.shape, &item.data, item.memory));
    let numbers: Vec<u32> = (0u32..)
        .zip(&module.consts)
        .map(|(id, item)| *first.entry(key(item)).or_insert(id))
        .collect();
    let shared = (0u32..).zip(&numbers).filter(|(id, to)| id != *to).count();
    if shared > 0 {
        let rename = Rename {
            consts: numbers,
            ..Rename::default()
        };
        apply(module, &rename);
    }
    shared
}

/// Renames in all code of a module.
pub(crate) fn apply(module: &mut Module, rename: &Rename) {
    module.funcs.iter_mut().for_each(|func| rename.func(func));
    module.lambdas.iter_mut().for_each(|lambda| rename.code(lambda));
    if let Dispatch::Match(pool) = &mut module.dispatch {
        pool.rules.iter_mut().for_each(|rule| rename.cond(&mut rule.cond));
    }
}
