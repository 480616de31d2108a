//! Passes over images and their manager.
//!
//! A pass is data: a name for `--no-pass`, what it does in a noun phrase, and a function. The manager counts the image
//! before and after each and keeps the notes that a pass makes for its reader. A pass that would make the image larger
//! is taken back: what pays locally need not pay in the whole.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lambdac_cost::Model;
use lambdac_target::Device;

use crate::cost::ImageCost;
use crate::image::Image;
use crate::reduce::Reduced;

/// A pass over an image.
pub struct Pass {
    /// Kebab-case.
    pub name: &'static str,
    /// What it does, a noun phrase.
    pub summary: &'static str,
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
    /// What the image takes before the pass.
    pub words: u64,
    /// Workloads' rules that were reduced before.
    pub reduced: RefCell<Reduced>,
}

/// What [`optimize`] does.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of passes that are left out.
    pub disabled: Vec<String>,
    /// Requests a second by workload; one that is not in it has 1.
    pub rates: BTreeMap<String, f64>,
    /// Checks the image after every pass and panics where it is broken.
    pub validate: bool,
}

/// What the passes did.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug)]
pub struct Step {
    /// The pass.
    pub name: &'static str,
    /// The image afterwards.
    pub cost: ImageCost,
    /// What it did, a line each.
    pub notes: Vec<String>,
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

/// Runs the passes by a device's costs. A device that counts no words declines them all: code is not scarce there, and
/// workloads stay programs of their own; then there is no report.
///
/// # Panics
/// With [`Options::validate`], where a pass left a broken image: a bug of the pass.
pub fn optimize(image: &mut Image, device: &Device, options: &Options) -> Option<Report> {
    let model = Model::new(device)?.without_lines();
    let rate = |name: &str| options.rates.get(name).copied().unwrap_or(1.0);
    let mut context = Context {
        device,
        model,
        rates: image
            .workloads
            .iter()
            .map(|workload| rate(&workload.name))
            .collect(),
        words: 0,
        reduced: RefCell::default(),
    };
    let mut cost = ImageCost::of(image, device, &model);
    let mut report = Report {
        naive: cost.clone(),
        steps: Vec::new(),
    };
    for pass in passes() {
        if options.disabled.iter().any(|name| name == pass.name) {
            continue;
        }
        let before = image.clone();
        context.words = cost.words();
        let mut notes = (pass.run)(image, &context);
        if options.validate
            && let Err(errors) = image.validate()
        {
            panic!(
                "pass `{}` left a broken image: {errors:?}\n{}",
                pass.name, image.module
            );
        }
        let after = ImageCost::of(image, device, &model);
        if after.words() > cost.words() {
            *image = before;
            notes = vec![format!(
                "taken back: {} words would have become {}",
                cost.words(),
                after.words()
            )];
        } else {
            cost = after;
        }
        report.steps.push(Step {
            name: pass.name,
            cost: cost.clone(),
            notes,
        });
    }
    Some(report)
}
