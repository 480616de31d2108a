//! Sequences of statements that lambdas have in common become functions.
//!
//! Lambdas that have one shape and differ in constants and ids alone are one piece of [`Code`] that counts as often as
//! there are lambdas, so that the work depends on how much different code there is. Windows of statements of one region
//! are looked at by length, longest first; those that look alike are brought into a normal form ([`super::form`]). Windows
//! of one form become one function if the model says that the calls and the function take fewer words than the copies:
//! all of them with the constants in which they differ as parameters, or those that agree in them, whichever saves more.
//! If the image as a whole did not become smaller, the length is taken back.
//!
//! **Why nothing changes.** A window runs from its first statement to its last, or ends in a trap: one that control can
//! leave otherwise is not taken, nor is one that waits, nor one that names what differs between the lambdas. The function
//! gets what the window reads: scalars by value, slots by reference, the request as a view of the whole; and returns what
//! the rest of the lambda reads. Statements keep their order. One of the function keeps its source line where all places
//! agree on it, and else their weights ([`crate::positions`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lambdac_cost::{CodeCost, Placement};
use lambdac_mir::{
    Base, Dispatch, Effects, FuncId, FuncParam, Label, Lambda, Loc, Module, Op, Operand, Place, Region,
    SlotId, Stmt, Term, Value, View, func_effects,
};

use super::form::{Form, Group, Site, Values, normal, wrap};
use super::instances::Families;
use super::windows::{Flat, Taken, flatten_code};
use crate::pass::Context;
use crate::positions::Positions;
use crate::rename::op_ids;
use crate::shape::{Id, for_each_loc, hash, id_of};

/// Lengths of windows, in statements that are no constants.
const LENGTHS: [usize; 10] = [64, 32, 16, 12, 8, 6, 4, 3, 2, 1];
/// Most windows of one length that are brought into normal form; those of the first lambdas.
const MAX_WINDOWS: usize = 1 << 18;

/// Code that one or more lambdas have.
pub(super) struct Code {
    /// That of the first of them; positions are numbers into `locs`, from 1.
    pub lambda: Lambda,
    /// How many of them the NIC runs.
    pub weight: u64,
    /// The ways into them.
    pub entries: BTreeSet<usize>,
    /// Values whose constants differ between them.
    pub values: HashSet<Value>,
    /// Those values by number of what may differ; none for a parameter.
    pub constants: Vec<Option<Value>>,
    /// Ids that differ between them.
    pub ids: BTreeSet<Id>,
    /// Positions on which all of them agree, by number; others are unknown.
    pub locs: Vec<Loc>,
}

/// Runs all lengths. `module` holds everything but the lambdas; it gets functions.
pub(super) fn run<'d>(
    module: &mut Module,
    codes: &mut [Code],
    by: (&Context<'d>, &Families),
    positions: &mut Positions<'d>,
) -> Vec<String> {
    let placement = Placement::far(module, by.0.device);
    let mut outliner = Outliner::new(module, (codes, positions), by, &placement);
    let (mut made, mut places) = (0, 0);
    let before = outliner.words;
    for length in LENGTHS {
        if let Some(sites) = outliner.length(length) {
            made += sites.len();
            places += sites.iter().sum::<u64>();
        }
    }
    if made == 0 {
        return Vec::new();
    }
    vec![format!(
        "sequences that stood at {places} places became functions: {made}, {} words fewer",
        before - outliner.words
    )]
}

/// What a region's statements look like.
#[derive(Clone)]
struct Looks {
    /// Statements that are no constants.
    real: Vec<usize>,
    /// What they look like; none for those that no window may hold.
    looks: Vec<Option<u64>>,
}

struct Outliner<'a, 'd> {
    module: &'a mut Module,
    codes: &'a mut [Code],
    positions: &'a mut Positions<'d>,
    context: &'a Context<'d>,
    families: &'a Families,
    placement: &'a Placement,
    effects: Vec<Effects>,
    /// Costs of functions.
    known: Vec<CodeCost>,
    /// Words of each code.
    own: Vec<u64>,
    /// Words of all codes, as often as they stand, and of functions that were made.
    words: u64,
    /// By code, in the order of the flats.
    looks: Vec<Vec<Looks>>,
}

impl<'a, 'd> Outliner<'a, 'd> {
    fn new(
        module: &'a mut Module,
        (codes, positions): (&'a mut [Code], &'a mut Positions<'d>),
        (context, families): (&'a Context<'d>, &'a Families),
        placement: &'a Placement,
    ) -> Self {
        let mut known = Vec::with_capacity(module.funcs.len());
        for func in &module.funcs {
            let cost = context.model.func(module, placement, &known, func);
            known.push(cost);
        }
        let mut new = Self {
            effects: func_effects(module),
            own: vec![0; codes.len()],
            looks: vec![Vec::new(); codes.len()],
            module,
            codes,
            positions,
            context,
            families,
            placement,
            known,
            words: 0,
        };
        for code in 0..new.codes.len() {
            new.own[code] = new.code_words(code);
            new.looks[code] = new.looks_of(code);
        }
        new.words = new.sum(&new.own);
        new
    }

    fn sum(&self, own: &[u64]) -> u64 {
        self.codes
            .iter()
            .zip(own)
            .map(|(code, words)| code.weight * words)
            .sum()
    }

    fn code_words(&self, code: usize) -> u64 {
        let code = &self.codes[code];
        match code.weight {
            0 => 0,
            _ => {
                let model = &self.context.model;
                model
                    .lambda(self.module, self.placement, &self.known, &code.lambda)
                    .words
            }
        }
    }

    /// Takes windows of a length out; at how many places each function stands that was made.
    fn length(&mut self, length: usize) -> Option<Vec<u64>> {
        let accepted = self.accepted(length);
        if accepted.is_empty() {
            return None;
        }
        let weight = |group: &Group| group.sites.iter().map(|site| self.codes[site.code].weight).sum();
        let sites = accepted.iter().map(weight).collect();
        let changed: BTreeSet<usize> = accepted
            .iter()
            .flat_map(|group| &group.sites)
            .map(|site| site.code)
            .collect();
        let old: Vec<(usize, Lambda)> = changed
            .iter()
            .map(|code| (*code, self.codes[*code].lambda.clone()))
            .collect();
        let functions = self.module.funcs.len();
        self.apply(accepted);
        let mut own = self.own.clone();
        changed
            .iter()
            .for_each(|code| own[*code] = self.code_words(*code));
        let made: u64 = self.known[functions..].iter().map(|cost| cost.words).sum();
        let kept: u64 = self.words - self.sum(&self.own);
        let words = self.sum(&own) + kept + made;
        if words < self.words && self.is_valid(&changed) {
            self.words = words;
            self.own = own;
            self.effects = func_effects(self.module);
            changed
                .iter()
                .for_each(|code| self.looks[*code] = self.looks_of(*code));
            return Some(sites);
        }
        for (code, lambda) in old {
            self.codes[code].lambda = lambda;
        }
        self.module.funcs.truncate(functions);
        self.known.truncate(functions);
        None
    }

    /// Whether what changed is valid; the lambdas that it punts to are not there.
    fn is_valid(&mut self, changed: &BTreeSet<usize>) -> bool {
        let lambdas = changed.iter().map(|code| {
            let mut lambda = self.codes[*code].lambda.clone();
            lambda.name = code.to_string().into();
            for part in &mut lambda.parts {
                part.region.walk_regions_mut(&mut |inner| {
                    if let Term::Punt(to) = &mut inner.term {
                        *to = None;
                    }
                    // Positions are numbers here.
                    inner.stmts.iter_mut().for_each(|stmt| stmt.loc = Loc::default());
                    if let Term::Trap(_, loc) = &mut inner.term {
                        *loc = Loc::default();
                    }
                });
            }
            lambda
        });
        let lambdas = lambdas.collect();
        let before = std::mem::replace(&mut self.module.lambdas, lambdas);
        let dispatch = std::mem::replace(&mut self.module.dispatch, Dispatch::Unreachable);
        let valid = lambdac_mir::validate(self.module).is_ok();
        self.module.lambdas = before;
        self.module.dispatch = dispatch;
        valid
    }

    /// What the regions of a code look like, in the order of its flats.
    fn looks_of(&self, code: usize) -> Vec<Looks> {
        let mut flats = Vec::new();
        flatten_code(code, &self.codes[code].lambda, &mut flats);
        let looks = flats.iter().map(|flat| {
            let stmts = &flat.region.stmts;
            let real: Vec<usize> = (0..stmts.len())
                .filter(|index| !matches!(stmts[*index].op, Op::Const(_)))
                .collect();
            Looks {
                looks: real.iter().map(|index| self.look(&stmts[*index], code)).collect(),
                real,
            }
        });
        looks.collect()
    }

    /// What a statement looks like without its values, slots and labels.
    fn look(&self, stmt: &Stmt, code: usize) -> Option<u64> {
        let effects = stmt.op.effects_with(&self.effects);
        if effects.leaves || effects.awaits {
            return None;
        }
        let mut region = wrap(vec![stmt.clone()]);
        let differs = &self.codes[code];
        let mut own = false;
        region.walk_mut(&mut |stmt| {
            op_ids(&mut stmt.op, &mut |id| own |= differs.ids.contains(&id_of(id)));
            own |= stmt.results.iter().any(|value| differs.values.contains(value));
        });
        if own {
            return None;
        }
        for_each_loc(&mut region, &mut |loc| *loc = Loc::default());
        region.rename_values(&mut |_| Value(0));
        region.rename_labels(&mut |_| Label(0));
        region.rename_slots(&mut |_| SlotId(0));
        Some(hash(&region.stmts))
    }

    /// Groups that pay, no two of whose places overlap.
    fn accepted(&self, length: usize) -> Vec<Group> {
        let mut flats = Vec::new();
        for (index, code) in self.codes.iter().enumerate().filter(|(_, code)| code.weight > 0) {
            flatten_code(index, &code.lambda, &mut flats);
        }
        let looks: Vec<&Looks> = (self.looks.iter().zip(self.codes.iter()))
            .filter(|(_, code)| code.weight > 0)
            .flat_map(|(looks, _)| looks)
            .collect();
        let mut alike: BTreeMap<u64, Vec<(usize, usize)>> = BTreeMap::new();
        for (flat, looks) in looks.iter().enumerate() {
            for (start, window) in looks.looks.windows(length).enumerate() {
                if window.iter().all(Option::is_some) {
                    alike.entry(hash(&window)).or_default().push((flat, start));
                }
            }
        }
        let mut values: HashMap<usize, Values> = HashMap::new();
        let mut forms: Vec<(Form, Vec<Site>)> = Vec::new();
        let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
        let weight = |(flat, _): &(usize, usize)| self.codes[flats[*flat].code].weight;
        let several = alike
            .values()
            .filter(|places| places.iter().map(weight).sum::<u64>() > 1);
        for (flat, start) in several.flatten().take(MAX_WINDOWS) {
            let at = &flats[*flat];
            let code = &self.codes[at.code];
            let known = (values.entry(at.code)).or_insert_with(|| Values::of(&code.lambda, &code.values));
            let indexes = &looks[*flat].real[*start..start + length];
            let place = (at.code, at.part, at.number);
            let Some((form, site)) = normal(&code.lambda, known, at.region, indexes, place) else {
                continue;
            };
            let numbers = by_hash.entry(hash(&form)).or_default();
            match numbers.iter().find(|number| forms[**number].0 == form) {
                Some(number) => forms[*number].1.push(site),
                None => {
                    numbers.push(forms.len());
                    forms.push((form, vec![site]));
                }
            }
        }
        let groups = forms
            .into_iter()
            .flat_map(|(form, sites)| self.groups(&form, sites));
        self.choose(groups.collect(), &flats)
    }

    /// How places of one form are best made functions: all one, or one for each choice of constants; with words and gain.
    fn groups(&self, form: &Form, sites: Vec<Site>) -> Vec<(i64, u64, Group)> {
        let mut agreeing: BTreeMap<Vec<Option<u64>>, Vec<Site>> = BTreeMap::new();
        for site in &sites {
            let contents = site.constants.iter().map(|(_, content)| *content);
            agreeing.entry(contents.collect()).or_default().push(site.clone());
        }
        let priced = |sites: Vec<Site>| {
            let group = form.group(sites)?;
            let cost = self
                .context
                .model
                .func(self.module, self.placement, &self.known, &group.func);
            let gain = self.gain(&group, cost.words);
            (gain > 0).then_some((gain, cost.words, group))
        };
        let together = (agreeing.len() > 1).then(|| priced(sites)).flatten();
        let apart: Vec<_> = agreeing.into_values().filter_map(priced).collect();
        match together {
            Some(all) if all.0 > apart.iter().map(|(gain, ..)| gain).sum() => vec![all],
            _ => apart,
        }
    }

    /// The groups that pay most first, without the places that others have taken.
    fn choose(&self, mut groups: Vec<(i64, u64, Group)>, flats: &[Flat<'_>]) -> Vec<Group> {
        // Stable: equal gains in the order in which they were found.
        groups.sort_by_key(|(gain, ..)| std::cmp::Reverse(*gain));
        let by_place: HashMap<(usize, usize, usize), usize> = flats
            .iter()
            .enumerate()
            .map(|(index, flat)| ((flat.code, flat.part, flat.number), index))
            .collect();
        let mut taken = Taken::default();
        let mut accepted = Vec::new();
        for (_, words, mut group) in groups {
            let mut undo = Vec::new();
            group.sites.retain(|site| {
                let flat = by_place[&(site.code, site.part, site.number)];
                taken.take(flats, flat, &site.stmts, &mut undo)
            });
            if !group.sites.is_empty() && self.gain(&group, words) > 0 {
                accepted.push(group);
            } else {
                taken.give_back(undo);
            }
        }
        accepted
    }

    /// Words that a group saves.
    fn gain(&self, group: &Group, words: u64) -> i64 {
        let Some(ops) = &self.context.device.ops else {
            return 0;
        };
        let moved = |widths: &mut dyn Iterator<Item = u8>| {
            let words = widths.map(|width| {
                if width <= 32 {
                    ops.alu32.words
                } else {
                    ops.alu64.words
                }
            });
            words.sum::<u64>() as i64
        };
        let returned = moved(&mut group.func.results.iter().copied()) + ops.jump.words as i64;
        let inline = words as i64 - returned;
        let passed: i64 = (group.func.params.iter())
            .map(|param| match param {
                FuncParam::Scalar(value) => moved(&mut std::iter::once(group.func.body.width(*value))),
                FuncParam::Ref { .. } => ops.alu32.words as i64,
                // The view's length is asked for too.
                FuncParam::View => (2 * ops.alu32.words + ops.move_word.words + ops.field.words) as i64,
            })
            .sum();
        // A constant that is passed is loaded first.
        let constants = group.constants as i64 * ops.load_const16.words as i64;
        let call = ops.call.words as i64 + passed + constants + self.addresses(group) as i64;
        let places: u64 = group.sites.iter().map(|site| self.codes[site.code].weight).sum();
        places as i64 * (inline - call) - words as i64
    }

    /// Words of setting, for a place, the objects of a function that are not the same everywhere.
    fn addresses(&self, group: &Group) -> u64 {
        let Some(items) = &self.context.device.items else {
            return 0;
        };
        let mut named = Vec::new();
        group.func.region.clone().walk_mut(&mut |stmt| {
            op_ids(&mut stmt.op, &mut |id| named.push(id_of(id)));
        });
        let sites = group.sites.iter();
        let entries = sites.flat_map(|site| self.codes[site.code].entries.iter().copied());
        self.families.words(named, entries) * items.assigned_word
    }

    /// Puts functions and calls in.
    fn apply(&mut self, groups: Vec<Group>) {
        let mut by_region: BTreeMap<Spot, Vec<(FuncId, Site)>> = BTreeMap::new();
        for mut group in groups {
            let id = FuncId(self.module.funcs.len() as u32);
            self.locate(&mut group);
            let cost = self
                .context
                .model
                .func(self.module, self.placement, &self.known, &group.func);
            self.known.push(cost);
            self.module.funcs.push(group.func);
            for site in group.sites {
                let key = (site.code, site.part, std::cmp::Reverse(site.number));
                by_region.entry(key).or_default().push((id, site));
            }
        }
        // Regions further in have higher numbers and come first, so that numbers stay right.
        for ((code, part, std::cmp::Reverse(number)), mut sites) in by_region {
            sites.sort_by_key(|(_, site)| std::cmp::Reverse(site.stmts[0]));
            let lambda = &mut self.codes[code].lambda;
            let (body, parts) = (&mut lambda.body, &mut lambda.parts);
            let mut at = 0;
            parts[part].region.walk_regions_mut(&mut |region| {
                if at == number {
                    sites
                        .iter()
                        .for_each(|(id, site)| replace(body, region, *id, site));
                }
                at += 1;
            });
        }
    }

    /// Gives a function's statements the positions of all places.
    fn locate(&mut self, group: &mut Group) {
        let own = |site: &Site| -> Vec<Loc> {
            let codes = &self.codes[site.code].locs;
            let loc = |number: &Loc| {
                (number.line as usize)
                    .checked_sub(1)
                    .map_or(Loc::default(), |number| codes[number])
            };
            site.locs.iter().map(loc).collect()
        };
        let locs: Vec<Vec<Loc>> = group.sites.iter().map(own).collect();
        let locs: Vec<&[Loc]> = locs.iter().map(|locs| &locs[..]).collect();
        let locs = self.positions.join_all(&locs);
        // Constants that were taken along stand in front. They do not come from the window.
        let ahead = group.func.region.stmts.len() - group.sites[0].stmts.len();
        let mut number = 0;
        for_each_loc(&mut group.func.region, &mut |loc| {
            if number >= ahead {
                *loc = locs[number - ahead];
            }
            number += 1;
        });
    }
}

/// A code, a part, and a region's number: those with higher numbers first.
type Spot = (usize, usize, std::cmp::Reverse<usize>);

fn replace(body: &mut lambdac_mir::Body, region: &mut Region, id: FuncId, site: &Site) {
    let first = site.stmts[0];
    let last = site.stmts[site.stmts.len() - 1];
    let loc = region.stmts[first].loc;
    let stmt = |results: Vec<Value>, op: Op| Stmt { results, op, loc };
    let mut new = Vec::new();
    let mut args = Vec::new();
    for reference in &site.references {
        args.push(match reference {
            Some(slot) => Operand::Place(Place::of(Base::Slot(*slot))),
            None => {
                let (zero, len) = (body.value(32), body.value(32));
                new.push(stmt(vec![zero], Op::Const(0)));
                new.push(stmt(vec![len], Op::Len(Place::of(Base::Request))));
                Operand::View(View {
                    place: Place::of(Base::Request),
                    offset: zero,
                    len,
                })
            }
        });
    }
    args.extend(site.scalars.iter().map(|value| Operand::Value(*value)));
    new.push(stmt(site.results.clone(), Op::Call(id, args)));
    let old: Vec<Stmt> = region.stmts.splice(first..=last, []).collect();
    let gone: HashSet<usize> = site.stmts.iter().map(|index| index - first).collect();
    // What is left between the window's statements are constants, and some may be passed.
    let left = old
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !gone.contains(index));
    let left: Vec<Stmt> = left.map(|(_, stmt)| stmt).collect();
    region.stmts.splice(first..first, left.into_iter().chain(new));
}
