//! Linking the same workloads again and again.
//!
//! A [`Linker`] keeps what it found out about each workload's content: shapes and prices of its code, and what its rules
//! were reduced to. When one of many workloads changed, only that one is looked at; the others' code is not even copied, but
//! for one of each shape. What comes out is the same as by [`crate::link`] and [`crate::optimize`], for which it is the
//! fast way.
//!
//! Content is what counts, not where it lies: a module that was compiled again and is the same is known. One that is the
//! same in memory is found without being looked at. What the last run did not need is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lambdac_cost::{Model, Profile};
use lambdac_mir::Module;
use lambdac_target::Device;

use crate::coalesce::{LAMBDA_COALESCING, coalesce, declined};
use crate::cost::{ImageCost, Touches};
use crate::facts::{Facts, Shapes, Unit};
use crate::image::{Image, Node};
use crate::legal::{self, legalise};
use crate::link::{LinkError, Naive, distinct, link, pooled};
use crate::partition;
use crate::pass::{Context, Manager, Options, Report, coalesces, passes};
use crate::price::Priced;
use crate::reduce::Reduced;
use crate::rename::Rename;
use crate::shape::hash;
use crate::touch::Item;

/// Rules that are remembered as they were reduced; with more of them, all are forgotten.
const MAX_REDUCED: usize = 1 << 16;

/// A workload to be linked.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its number in requests.
    pub id: u32,
    /// Its module, whose awaits are split.
    pub module: Arc<Module>,
    /// By lambda: why the host runs it, if it does. Lambdas beyond are the NIC's.
    pub on_host: Vec<Option<Arc<str>>>,
    /// By lambda: whether its author wants it on the NIC. Lambdas beyond may be anywhere.
    pub asked: Vec<bool>,
}

/// Links workloads for a device, and remembers.
#[derive(Debug)]
pub struct Linker {
    device: Device,
    known: HashMap<u64, Vec<Known>>,
    /// By the address of a module that `known` holds: the hash of its content.
    by_address: HashMap<usize, u64>,
    shapes: Shapes,
    reduced: Reduced,
    /// What everything that is known was weighed by.
    profile: Option<Arc<Profile>>,
}

/// What is known of a module.
#[derive(Debug)]
struct Known {
    module: Arc<Module>,
    facts: Arc<Facts>,
    /// Whether this run needs it.
    needed: bool,
}

impl Linker {
    /// One that knows nothing yet.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            known: HashMap::new(),
            by_address: HashMap::new(),
            shapes: Shapes::default(),
            reduced: Reduced::default(),
            profile: None,
        }
    }

    /// Links workloads and runs the passes. A device that counts no words has no report, as no pass runs.
    ///
    /// # Errors
    /// Names or ids that are not distinct, or more items than a module holds.
    ///
    /// # Panics
    /// As [`crate::optimize`] does.
    pub fn run(
        &mut self,
        name: &str,
        sources: &[Source],
        options: &Options,
    ) -> Result<(Image, Option<Report>), LinkError> {
        distinct(sources.iter().map(|source| (source.id, &source.module)))?;
        let device = self.device.clone();
        let Some(model) = Model::new(&device) else {
            let mut image = whole(name, sources)?;
            keep_on_host(&mut image, sources);
            return Ok((image, None));
        };
        let model = model.with_profile(options.profile.as_deref());
        if self.profile != options.profile {
            self.known.clear();
            self.by_address.clear();
            self.profile.clone_from(&options.profile);
        }
        let model = model.without_lines();
        let by = (&device, &model);
        let first = self.once(name, sources, by, options, &[])?;
        let (image, report) = if first.2.is_empty() || !coalesces(options) {
            (first.0, first.1)
        } else {
            let again = |cut: &[usize]| self.once(name, sources, by, options, cut);
            partition::refine(first, partition::room(&device), again)?
        };
        self.forget();
        Ok((image, Some(report)))
    }

    /// Links workloads and runs the passes, entries being the host's as they do not fit.
    fn once(
        &mut self,
        name: &str,
        sources: &[Source],
        by: (&Device, &Model<'_>),
        options: &Options,
        cut: &[usize],
    ) -> Result<partition::Run, LinkError> {
        let device = by.0;
        let (mut image, units) = self.bare(name, sources, by)?;
        keep_on_host(&mut image, sources);
        legalise_bare(&mut image, device, &units);
        cut.iter()
            .for_each(|entry| image.keep_on_host(*entry, partition::NO_ROOM));
        let naive = cost(&image, by, &units);
        let context = Context::new(&image, (device, *by.1), options);
        let mut manager = Manager::new(context, options, naive);
        if self.reduced.len() < MAX_REDUCED {
            *manager.context.reduced.get_mut() = std::mem::take(&mut self.reduced);
        }
        image = coalesced(&mut manager, image, units, || whole(name, sources))?;
        for pass in passes().iter().filter(|pass| pass.name != LAMBDA_COALESCING.name) {
            manager.run(pass, &mut image);
        }
        self.reduced = manager.context.reduced.take();
        Ok((image, manager.report, manager.context.cut.take()))
    }

    /// The image as it is linked, but for its code, and where that is.
    fn bare<'s>(
        &mut self,
        name: &str,
        sources: &'s [Source],
        by: (&Device, &Model<'_>),
    ) -> Result<(Image, Vec<Unit<'s>>), LinkError> {
        let mut naive = Naive::new(name);
        let units = sources.iter().map(|source| {
            let facts = self.facts(&source.module, by);
            Unit {
                funcs: &source.module.funcs,
                lambdas: &source.module.lambdas,
                rename: naive.add(source.id, &source.module, Some(&facts)),
                facts,
                prefix: Some(Arc::clone(&source.module.name)),
            }
        });
        let units = units.collect();
        Ok((naive.finish()?, units))
    }

    /// What is known of a module, found out if it is not known.
    fn facts(&mut self, module: &Arc<Module>, by: (&Device, &Model<'_>)) -> Arc<Facts> {
        let address = address(module);
        let content = match self.by_address.get(&address) {
            Some(content) => *content,
            None => hash(&**module),
        };
        let list = self.known.entry(content).or_default();
        let same = |known: &&mut Known| Arc::ptr_eq(&known.module, module) || known.module == *module;
        if let Some(known) = list.iter_mut().find(same) {
            known.needed = true;
            if !Arc::ptr_eq(&known.module, module) {
                // Compiled again.
                self.by_address.remove(&self::address(&known.module));
                self.by_address.insert(address, content);
                known.module = Arc::clone(module);
            }
            return Arc::clone(&known.facts);
        }
        let facts = Arc::new(Facts::of(module, &pooled(module), by, &mut self.shapes));
        list.push(Known {
            module: Arc::clone(module),
            facts: Arc::clone(&facts),
            needed: true,
        });
        self.by_address.insert(address, content);
        facts
    }

    /// Forgets what this run did not need.
    fn forget(&mut self) {
        let by_address = &mut self.by_address;
        self.known.retain(|_, list| {
            list.retain_mut(|known| {
                let needed = std::mem::take(&mut known.needed);
                if !needed {
                    by_address.remove(&address(&known.module));
                }
                needed
            });
            !list.is_empty()
        });
        self.shapes.sweep();
    }
}

/// The image with its code, everything on the NIC.
fn whole(name: &str, sources: &[Source]) -> Result<Image, LinkError> {
    let modules = sources
        .iter()
        .map(|source| (source.id, Arc::clone(&source.module)));
    link(name, &modules.collect::<Vec<_>>())
}

/// Fills an image with code: that of its units as few times as it takes, or all of it, where the pass does not run.
fn coalesced(
    manager: &mut Manager<'_, '_>,
    mut bare: Image,
    units: Vec<Unit<'_>>,
    whole: impl FnOnce() -> Result<Image, LinkError>,
) -> Result<Image, LinkError> {
    let pass = &LAMBDA_COALESCING;
    let sides: Vec<_> = (bare.entries.iter())
        .map(|entry| (entry.on_host.clone(), entry.asked))
        .collect();
    let whole = || {
        let mut image = whole()?;
        for (entry, (why, asked)) in sides.iter().enumerate() {
            if let Some(why) = why {
                image.keep_on_host(entry, why);
            }
            image.entries[entry].asked = *asked;
        }
        Ok(image)
    };
    if !manager.wants(pass) {
        return whole();
    }
    if let Some(notes) = declined(&manager.context) {
        let image = whole()?;
        // Nothing changed, so it is not larger.
        let _ = manager.took(pass, &image, notes);
        return Ok(image);
    }
    let notes = coalesce(&mut bare, &manager.context, units);
    let Err(words) = manager.took(pass, &bare, notes) else {
        return Ok(bare);
    };
    let image = whole()?;
    manager.take_back(pass, &image, words);
    Ok(image)
}

/// Keeps on the host what the device cannot run, by what is known of units.
fn legalise_bare(image: &mut Image, device: &Device, units: &[Unit<'_>]) {
    let by_lambda: Vec<(&Unit<'_>, usize)> = units
        .iter()
        .flat_map(|unit| (0..unit.lambdas.len()).map(move |lambda| (unit, lambda)))
        .collect();
    legalise(image, device, |image, entry| {
        let (unit, lambda) = by_lambda[image.entries[entry].lambda.index()];
        let items = unit.facts.touched[lambda].iter();
        legal::Code {
            stretch: unit.facts.priced.lambda_stretch(lambda),
            touched: items.map(|item| item_of(*item, &unit.rename)),
        }
    });
}

/// Where a module lies, as long as it is held.
fn address(module: &Arc<Module>) -> usize {
    Arc::as_ptr(module) as usize
}

fn keep_on_host(image: &mut Image, sources: &[Source]) {
    for (number, source) in sources.iter().enumerate() {
        for (entry, why) in image.entries_of(number).zip(&source.on_host) {
            if let Some(why) = why {
                image.keep_on_host(entry, why);
            }
        }
        for (entry, asked) in image.entries_of(number).zip(&source.asked) {
            image.entries[entry].asked = *asked;
        }
    }
}

/// What an image takes whose code is that of units.
fn cost(image: &Image, by: (&Device, &Model<'_>), units: &[Unit<'_>]) -> ImageCost {
    let mut priced = Priced::default();
    let mut tested = vec![false; image.pool().len()];
    for node in &image.stage.nodes {
        if let Node::Test { cond, .. } = node {
            tested[*cond] = true;
        }
    }
    let mut lambdas = Vec::new();
    let mut by_stage: BTreeSet<Item> = BTreeSet::new();
    let mut cond = 0;
    for unit in units {
        let facts = &unit.facts;
        priced.append(&facts.priced, unit);
        lambdas.extend(facts.touched.iter().map(|items| (items, &unit.rename)));
        let conds = facts.asked.iter().zip(&tested[cond..]);
        let asked = conds.filter(|(_, tested)| **tested).flat_map(|(items, _)| items);
        by_stage.extend(asked.map(|item| item_of(*item, &unit.rename)));
        cond += facts.asked.len();
    }
    let touches = Touches {
        by_lambda: &|lambda, f| {
            let (items, rename) = lambdas[lambda];
            items.iter().for_each(|item| f(item_of(*item, rename)));
        },
        by_stage,
    };
    ImageCost::with(image, by, priced.code(image), &touches)
}

fn item_of(item: Item, rename: &Rename) -> Item {
    match item {
        Item::Object(id) => Item::Object(rename.object(lambdac_mir::ObjectId(id)).0),
        Item::Field(id, field) => Item::Field(rename.object(lambdac_mir::ObjectId(id)).0, field),
        Item::Const(id) => Item::Const(rename.constant(lambdac_mir::ConstId(id)).0),
    }
}
