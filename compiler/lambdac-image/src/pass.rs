//! Passes over images and their manager.
//!
//! A pass is data: a name for `--no-pass`, what it does in a noun phrase, and a function. The manager counts the image
//! before and after each and keeps the notes that a pass makes for its reader. A pass that would make the image larger
//! is taken back: what pays locally need not pay in the whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use lambdac_cost::{Model, Profile};
use lambdac_target::{Device, Programs};

use crate::cost::ImageCost;
use crate::image::Image;
use crate::legal::{self, legalise};
use crate::partition::{self, Cut};
use crate::price::Code;
use crate::reduce::Reduced;

/// A pass over an image.
pub struct Pass {
    /// Kebab-case.
    pub name: &'static str,
    /// What it does, a noun phrase.
    pub summary: &'static str,
    /// Whether functions and lambdas stay as they are.
    pub(crate) keeps_code: bool,
    pub(crate) run: fn(&mut Image, &Context<'_>) -> Vec<String>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What passes decide by.
#[derive(Debug)]
pub(crate) struct Context<'d> {
    pub device: &'d Device,
    pub model: Model<'d>,
    /// Requests by workload, in any unit; 1 each unless told.
    pub rates: Vec<f64>,
    /// Requests by entry, in the same unit: by how often a profile saw each of a workload's lambdas, or evenly.
    pub entry_rates: Vec<f64>,
    /// What the image takes before the pass.
    pub words: u64,
    /// What is known of its code before the pass; none as long as it has none.
    code: Option<Code>,
    /// Workloads' rules that were reduced before.
    pub reduced: RefCell<Reduced>,
    /// What was cut, that which is worth most.
    pub cut: RefCell<Vec<Cut>>,
}

/// What [`optimize`] does.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of passes that are left out.
    pub disabled: Vec<String>,
    /// Requests a second by workload; one that is not in it has 1.
    pub rates: BTreeMap<String, f64>,
    /// What branches and lambdas are weighed by; without it, evenly.
    pub profile: Option<Arc<Profile>>,
    /// Passes after which the image is written out ([`Step::dump`]); `all`: after each.
    pub dump: Vec<String>,
    /// Checks the image after every pass and panics where it is broken.
    pub validate: bool,
}

/// What the passes did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The image as it was linked.
    pub naive: ImageCost,
    /// Each pass that ran, in order.
    pub steps: Vec<Step>,
}

impl Report {
    /// The image as it is now.
    pub fn end(&self) -> &ImageCost {
        self.steps.last().map_or(&self.naive, |step| &step.cost)
    }
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The pass.
    pub name: &'static str,
    /// The image afterwards.
    pub cost: ImageCost,
    /// What it did, a line each.
    pub notes: Vec<String>,
    /// The image's module afterwards, where [`Options::dump`] asks for it.
    pub dump: Option<String>,
}

/// All passes, in the order that they run.
pub fn passes() -> &'static [Pass] {
    const PASSES: [Pass; 5] = [
        crate::coalesce::LAMBDA_COALESCING,
        crate::reduce::MATCH_REDUCTION,
        crate::sweep::DEAD_CODE,
        crate::stratify::MEMORY_STRATIFICATION,
        crate::partition::PARTITION,
    ];
    &PASSES
}

/// Keeps on the host what the device cannot run, and runs the passes by its costs. A device that counts no words has no
/// report: code is not scarce there. One on which workloads are programs of their own declines each pass, and the report
/// says so.
///
/// # Panics
/// With [`Options::validate`], where a pass left a broken image: a bug of the pass.
pub fn optimize(image: &mut Image, device: &Device, options: &Options) -> Option<Report> {
    let model = Model::new(device)?
        .without_lines()
        .with_profile(options.profile.as_deref());
    let linked = device.store.is_some().then(|| image.clone());
    let (report, cut) = once(image, (device, model), options, &[]);
    let Some(linked) = linked.filter(|_| !cut.is_empty() && coalesces(options)) else {
        return Some(report);
    };
    let first = (std::mem::replace(image, linked.clone()), report, cut);
    let again = |cut: &[usize]| -> Result<partition::Run, Infallible> {
        let mut image = linked.clone();
        let (report, cut) = once(&mut image, (device, model), options, cut);
        Ok((image, report, cut))
    };
    let Ok((best, report)) = partition::refine(first, partition::room(device), again);
    *image = best;
    Some(report)
}

/// Whether code is shared at all.
pub(crate) fn coalesces(options: &Options) -> bool {
    let name = crate::coalesce::LAMBDA_COALESCING.name;
    options.disabled.iter().all(|disabled| disabled != name)
}

/// Runs the passes over a linked image, of which entries are the host's as they do not fit.
fn once(
    image: &mut Image,
    (device, model): (&Device, Model<'_>),
    options: &Options,
    cut: &[usize],
) -> (Report, Vec<Cut>) {
    let mut context = Context::new(image, (device, model), options);
    let code = Code::of(image, device, &context.model);
    legalise(image, device, |image, entry| {
        let lambda = image.entries[entry].lambda;
        legal::Code {
            stretch: code.priced.lambda_stretch(lambda.index()),
            touched: code.touched(lambda).keys().copied(),
        }
    });
    cut.iter()
        .for_each(|entry| image.keep_on_host(*entry, partition::NO_ROOM));
    let naive = code.cost(image, device, &context.model);
    context.code = Some(code);
    let mut manager = Manager::new(context, options, naive);
    for pass in passes() {
        manager.run(pass, image);
    }
    (manager.report, manager.context.cut.take())
}

impl<'d> Context<'d> {
    /// For an image's workloads.
    pub fn new(image: &Image, (device, model): (&'d Device, Model<'d>), options: &Options) -> Self {
        let rate = |name: &str| options.rates.get(name).copied().unwrap_or(1.0);
        let rates: Vec<f64> = image
            .workloads
            .iter()
            .map(|workload| rate(&workload.name))
            .collect();
        let even = Profile::default();
        let profile = model.profile().unwrap_or(&even);
        let entry_rates = (image.workloads.iter().enumerate()).flat_map(|(number, workload)| {
            let entries = &image.entries[image.entries_of(number)];
            let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
            let rate = rates[number];
            let shares = profile.shares(&workload.name, &names).into_iter();
            shares.map(move |share| rate * share).collect::<Vec<_>>()
        });
        Self {
            device,
            model,
            entry_rates: entry_rates.collect(),
            rates,
            words: 0,
            code: None,
            reduced: RefCell::default(),
            cut: RefCell::default(),
        }
    }

    /// Why no pass over images has anything to do on the device, if that is so.
    pub fn declined(&self) -> Option<String> {
        let device = self.device;
        let apart = device.programs == Programs::Each;
        apart.then(|| format!("declined: on {} workloads are programs of their own", device.name))
    }

    /// What is known of the image's code.
    ///
    /// # Panics
    /// For an image without code, on which passes that ask for it do not run.
    pub fn code(&self) -> &Code {
        self.code.as_ref().expect("the image has its code")
    }
}

/// Runs passes and keeps the books.
pub(crate) struct Manager<'d, 'o> {
    pub context: Context<'d>,
    options: &'o Options,
    pub report: Report,
}

impl<'d, 'o> Manager<'d, 'o> {
    /// For an image that takes `naive`.
    pub fn new(mut context: Context<'d>, options: &'o Options, naive: ImageCost) -> Self {
        context.words = naive.words();
        Self {
            context,
            options,
            report: Report {
                naive,
                steps: Vec::new(),
            },
        }
    }

    /// Whether a pass is to run.
    pub fn wants(&self, pass: &Pass) -> bool {
        self.options.disabled.iter().all(|name| name != pass.name)
    }

    /// Runs a pass, and takes it back where it made the image larger.
    pub fn run(&mut self, pass: &Pass, image: &mut Image) {
        if !self.wants(pass) {
            return;
        }
        if let Some(why) = self.context.declined() {
            self.stays(pass, image, why);
            return;
        }
        let (device, model) = (self.context.device, &self.context.model);
        let code = &mut self.context.code;
        code.get_or_insert_with(|| Code::of(image, device, model));
        let before = Before::of(image, pass.keeps_code);
        let notes = (pass.run)(image, &self.context);
        if let Err(words) = self.took(pass, image, notes) {
            before.restore(image);
            self.take_back(pass, image, words);
        }
    }

    /// A pass has run. What it made of the image is kept, unless it is larger; then its words.
    ///
    /// # Panics
    /// With [`Options::validate`], where it left a broken image.
    pub fn took(&mut self, pass: &Pass, image: &Image, notes: Vec<String>) -> Result<(), u64> {
        if self.options.validate
            && let Err(errors) = image.validate()
        {
            panic!(
                "pass `{}` left a broken image: {errors:?}\n{}",
                pass.name, image.module
            );
        }
        let (device, model) = (self.context.device, &self.context.model);
        let code = match self.context.code.take() {
            Some(mut code) if pass.keeps_code => {
                code.update(image, device, model);
                code
            }
            _ => Code::of(image, device, model),
        };
        let cost = code.cost(image, device, model);
        if cost.words() > self.context.words {
            return Err(cost.words());
        }
        self.context.code = Some(code);
        self.context.words = cost.words();
        self.step(pass, image, cost, notes);
        Ok(())
    }

    /// The image is what it was before a pass, after which it would have had so many words.
    pub fn take_back(&mut self, pass: &Pass, image: &Image, words: u64) {
        let before = self.context.words;
        let why = format!("taken back: {before} words would have become {words}");
        self.stays(pass, image, why);
    }

    /// The image is what it was before a pass.
    fn stays(&mut self, pass: &Pass, image: &Image, why: String) {
        let cost = self.report.end().clone();
        self.step(pass, image, cost, vec![why]);
    }

    fn step(&mut self, pass: &Pass, image: &Image, cost: ImageCost, notes: Vec<String>) {
        let mut wanted = self.options.dump.iter();
        let dump = wanted.any(|name| name == "all" || name == pass.name);
        self.report.steps.push(Step {
            name: pass.name,
            cost,
            notes,
            dump: dump.then(|| image.module.to_string()),
        });
    }
}

/// An image as it was before a pass.
struct Before {
    image: Image,
    /// Whether it is without code, which the pass leaves as it is.
    bare: bool,
}

impl Before {
    fn of(image: &mut Image, bare: bool) -> Self {
        if !bare {
            let image = image.clone();
            return Self { image, bare };
        }
        let funcs = std::mem::take(&mut image.module.funcs);
        let lambdas = std::mem::take(&mut image.module.lambdas);
        let before = image.clone();
        image.module.funcs = funcs;
        image.module.lambdas = lambdas;
        Self { image: before, bare }
    }

    fn restore(mut self, image: &mut Image) {
        if self.bare {
            self.image.module.funcs = std::mem::take(&mut image.module.funcs);
            self.image.module.lambdas = std::mem::take(&mut image.module.lambdas);
        }
        *image = self.image;
    }
}
