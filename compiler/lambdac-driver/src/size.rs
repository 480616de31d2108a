//! What an image takes on a device: instruction words, cycles and memory, before and after each pass.
//!
//! [`measure`] links workloads as a naive emission would hold them, keeps what the program itself keeps off a NIC on the
//! host, runs the image passes, and gives the numbers as data ([`Sizes`]) that is written as JSON and read back as a
//! baseline. [`text`] is the same for people.

mod change;
mod page;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_analysis::{LambdaInfo, Placement};
use lambdac_cost::{Placement as Placed, Profile, fields, object_bytes};
use lambdac_hir::Side;
use lambdac_image::{ImageCost, LinkError, Linker, Report, Source, Step};
use lambdac_mir::{ConstId, ObjectId, ObjectKind};
use lambdac_target::{Device, Family};
use serde::{Deserialize, Serialize};

use crate::nfp::PARTITION;
use crate::nic::{Place, Places};
use crate::{Compiled, Image, Linked};

pub use change::{Change, change};
pub use page::page;
pub use text::text;

/// Version of the JSON.
pub const SCHEMA: u32 = 1;

/// What changes the numbers.
#[derive(Clone, Debug, Default)]
pub struct SizeOptions {
    /// Image passes to leave out; names of other passes are ignored here.
    pub disabled: Vec<String>,
    /// Requests a second by workload; one that is not in it has 1.
    pub rates: BTreeMap<String, f64>,
    /// What branches and lambdas are weighed by; without it, evenly.
    pub profile: Option<Arc<Profile>>,
    /// Image passes after which the image is written out; names of other passes are ignored here, `all` is each.
    pub dump_after: Option<String>,
}

/// The largest rate: beyond any line, and sums of all workloads' stay exact enough to compare.
pub const MAX_RATE: f64 = 1e12;

/// Why an image was not measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The device's code is not counted.
    #[error("target {0} counts no instruction words: code is not scarce there")]
    NoWords(String),
    /// The workloads are too many, or of one name.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A lambda that its author wants on the NIC, and that it cannot run.
    #[error("`{0}` is `@on(nic)`, but {1}")]
    OnNic(String, String),
    /// A rate for a workload that there is none of.
    #[error("there is no workload {0:?} to have a rate")]
    NoWorkload(String),
    /// A rate that makes no sense.
    #[error("the rate of {0:?} is no number from 0 to {MAX_RATE}")]
    Rate(String),
}

/// An image's numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Version of this structure.
    pub schema: u32,
    /// The device.
    pub target: String,
    /// How many workloads share the image.
    pub workloads: usize,
    /// The core's store.
    pub store: StoreSize,
    /// The image as linked, and after each pass.
    pub stages: Vec<StageSize>,
    /// Each lambda.
    pub lambdas: Vec<LambdaSize>,
    /// Each memory of the device.
    pub memory: Vec<MemorySize>,
    /// Each object, and each constant that code on the NIC reads. What is divided over memories stands there for each.
    pub objects: Vec<ObjectSize>,
}

/// Lambdas that are named where an image does not fit.
const MAX_NAMED: usize = 3;

impl Sizes {
    /// Whether it fits, by how much, and what would have to shrink where it does not.
    pub fn verdict(&self) -> String {
        let distance = text::grouped(self.store.distance);
        if self.store.fits {
            return format!("fits, {distance} free");
        }
        let words = |lambda: &LambdaSize| lambda.words.last().copied().unwrap_or(0);
        let mut largest: Vec<&LambdaSize> = self.lambdas.iter().filter(|lambda| lambda.on_nic()).collect();
        if largest.is_empty() {
            return format!("over by {distance}: not even an image without lambdas fits beside the base");
        }
        largest.sort_by_key(|lambda| std::cmp::Reverse(words(lambda)));
        let named = largest.iter().take(MAX_NAMED);
        let named: Vec<String> = named
            .map(|lambda| format!("`{}` {}", text::clean(&lambda.name), text::grouped(words(lambda))))
            .collect();
        format!(
            "over by {distance}: of the lambdas on the NIC take most words {}",
            named.join(", ")
        )
    }

    /// What is not as it was asked for, a line each: an image that does not fit when all has gone that may, lambdas of the
    /// NIC that are late in it, as shared code is slower than their own, and memories that hold less than lies in them.
    pub fn wrong(&self) -> Vec<String> {
        let cut = self.stages.iter().any(|stage| stage.name == PARTITION);
        let fits =
            (cut && !self.store.fits).then(|| format!("the image for {} is {}", self.target, self.verdict()));
        let late = self.lambdas.iter().filter_map(|lambda| {
            let deadline = lambda
                .deadline_ns
                .filter(|deadline| lambda.worst_ns > *deadline)?;
            Some(format!(
                "`{}` can take {} ns in this image, longer than its deadline of {deadline} ns",
                lambda.name, lambda.worst_ns
            ))
        });
        let full = self.memory.iter().filter(|memory| memory.used > memory.bytes);
        let full = full.map(|memory| {
            let over = memory.used - memory.bytes;
            format!("{} is over by {over} bytes", memory.name)
        });
        fits.into_iter().chain(late).chain(full).collect()
    }
}

/// The store against the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSize {
    /// Words that it holds.
    pub words: u64,
    /// Words of the fixed firmware.
    pub base: u64,
    /// Words of the image.
    pub image: u64,
    /// Whether both fit.
    pub fits: bool,
    /// Words that are free, or missing.
    pub distance: u64,
}

/// An image between two passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names are those of the cost model's items
pub struct StageSize {
    /// `linked`, or the pass that just ran.
    pub name: String,
    /// All words but the base.
    pub words: u64,
    /// Words of headers, tables, branches, actions, calls.
    pub around: u64,
    /// Words of functions and of conditions that are evaluated.
    pub functions: u64,
    /// Words of lambdas.
    pub lambda_words: u64,
    pub tables: u64,
    pub table_entries: u64,
    pub lambdas: u64,
    pub branches: u64,
    pub actions: u64,
    pub assigned_words: u64,
    pub headers: u64,
    pub header_bits: u64,
    /// Cycles of the lambdas' dearest paths, all together.
    pub worst_cycles: u64,
    /// Cycles of the lambdas' average runs, all together.
    pub expected_cycles: u64,
    /// What the pass did.
    pub notes: Vec<String>,
}

/// A lambda.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LambdaSize {
    /// `workload.lambda`
    pub name: String,
    /// `nic` or `host`.
    pub runs_on: String,
    /// Why it runs on the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Words of its own code, and its share of shared code, by stage.
    pub words: Vec<u64>,
    /// How many lambdas share the code.
    pub sharers: u64,
    /// Cycles of its dearest path, by stage.
    pub worst_cycles: Vec<u64>,
    /// Cycles of an average run, by stage.
    pub expected_cycles: Vec<u64>,
    /// Nanoseconds of a packet at worst: the device's own code, what the match evaluates, and the lambda, without what it
    /// waits for; 0 where the host runs it.
    pub worst_ns: u64,
    /// `@deadline`: the most that they may be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_ns: Option<u64>,
    /// Bytes of objects and constants that it touches, by stage, in each memory of `memory`; nothing where the host runs it.
    #[serde(default)]
    pub region_bytes: Vec<Vec<u64>>,
}

impl LambdaSize {
    /// Whether the NIC runs it.
    pub fn on_nic(&self) -> bool {
        self.runs_on == NIC
    }
}

/// A memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySize {
    /// Its name.
    pub name: String,
    /// Cycles of a read.
    pub latency: u64,
    /// Bytes that lambdas may have.
    pub bytes: u64,
    /// Bytes that they take as linked.
    pub linked: u64,
    /// Bytes that they take at the end.
    pub used: u64,
}

/// Where objects lie that no code on the NIC touches.
pub const HOST: &str = "host";
/// Where a lambda runs that the host does not.
const NIC: &str = "nic";

/// Something in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSize {
    /// `workload.name`
    pub name: String,
    /// Its bytes in the memory.
    pub bytes: u64,
    /// The memory that it lies in, or [`HOST`].
    pub memory: String,
}

/// An image's numbers, and the image at the end.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The numbers.
    pub sizes: Sizes,
    /// After all passes.
    pub optimised: lambdac_image::Image,
    /// Passes, and the image's module after each, where [`SizeOptions::dump_after`] asks for it.
    pub dumps: Vec<(&'static str, String)>,
}

/// Measures linked workloads on a device.
///
/// # Errors
/// See [`SizeError`].
pub fn measure(image: &Image, device: &Device, options: &SizeOptions) -> Result<Measured, SizeError> {
    let name = |name: &str| {
        image
            .workloads
            .iter()
            .any(|one| &*one.compiled.module.name == name)
    };
    for (workload, rate) in &options.rates {
        if !name(workload) {
            return Err(SizeError::NoWorkload(workload.clone()));
        }
        if !(0.0..=MAX_RATE).contains(rate) {
            return Err(SizeError::Rate(workload.clone()));
        }
    }
    let options = lambdac_image::Options {
        disabled: options.disabled.clone(),
        rates: options.rates.clone(),
        profile: options.profile.clone(),
        dump: options.dump_after.iter().cloned().collect(),
        validate: false,
    };
    let (optimised, report) = Linker::new(device.clone()).run("image", &sources(image, device), &options)?;
    let mut report = report.ok_or_else(|| SizeError::NoWords(device.name.clone()))?;
    let refused = |(number, entry): (usize, &lambdac_image::Entry)| {
        let why = entry.on_host.as_deref().filter(|_| entry.asked)?;
        Some(SizeError::OnNic(optimised.entry_name(number), why.to_owned()))
    };
    if let Some(error) = optimised.entries.iter().enumerate().find_map(refused) {
        return Err(error);
    }
    let dumped = |step: &mut Step| Some((step.name, step.dump.take()?));
    Ok(Measured {
        dumps: report.steps.iter_mut().filter_map(dumped).collect(),
        sizes: sizes(device, &report, &optimised, &deadlines(image)),
        optimised,
    })
}

/// Workloads as they are linked for a device: what the program itself, or the device's legaliser, keeps off it is the
/// host's.
pub fn sources(image: &Image, device: &Device) -> Vec<Source> {
    let source = |workload: &Linked| Source {
        id: workload.id,
        module: Arc::clone(&workload.compiled.module),
        on_host: on_host(&workload.compiled, device),
        asked: asked(&workload.compiled),
    };
    image.workloads.iter().map(source).collect()
}

/// By lambda, whether its author wants it on the NIC.
fn asked(compiled: &Compiled) -> Vec<bool> {
    let lambdas = compiled.checked.0.lambdas.iter();
    lambdas.map(|lambda| lambda.on == Some(Side::Nic)).collect()
}

/// By lambda, why it is the host's.
fn on_host(compiled: &Compiled, device: &Device) -> Vec<Option<Arc<str>>> {
    if device.family == Family::Xdp {
        let places = Places::of(&compiled.checked, &compiled.module);
        let why = |place: &Place| match place {
            Place::Native => None,
            Place::Host { code, reason } => Some(format!("{code}: {reason}").into()),
        };
        return places.lambdas().iter().map(why).collect();
    }
    let (hir, analysis) = &*compiled.checked;
    let why = |info: &LambdaInfo| match &info.placement {
        Placement::Host(reason) => Some(reason.describe(hir).into()),
        _ => None,
    };
    analysis.lambdas.iter().map(why).collect()
}

/// The image as a naive emission would hold it.
fn naive(image: &Image, device: &Device) -> Result<lambdac_image::Image, LinkError> {
    let sources = sources(image, device);
    let modules: Vec<_> = (sources.iter())
        .map(|source| (source.id, Arc::clone(&source.module)))
        .collect();
    let mut linked = lambdac_image::link("image", &modules)?;
    for (number, source) in sources.iter().enumerate() {
        for (entry, why) in linked.entries_of(number).zip(&source.on_host) {
            if let Some(why) = why {
                linked.keep_on_host(entry, why);
            }
        }
    }
    Ok(linked)
}

/// By entry of the linked image: the lambda's deadline.
fn deadlines(image: &Image) -> Vec<Option<u64>> {
    let modules = image.workloads.iter().map(|workload| &workload.compiled.module);
    let lambdas = modules.flat_map(|module| &module.lambdas);
    lambdas.map(|lambda| lambda.deadline).collect()
}

fn sizes(device: &Device, report: &Report, image: &lambdac_image::Image, deadlines: &[Option<u64>]) -> Sizes {
    let steps = report
        .steps
        .iter()
        .map(|step| (step.name, &step.cost, &step.notes[..]));
    let stages: Vec<(&str, &ImageCost, &[String])> = std::iter::once(("linked", &report.naive, &[][..]))
        .chain(steps)
        .collect();
    let end = report.end();
    let used = end.words();
    let store = device.store;
    let (words, base) = store.map_or((0, 0), |store| (store.words, store.base_words));
    Sizes {
        schema: SCHEMA,
        target: device.name.clone(),
        workloads: image.workloads.len(),
        store: StoreSize {
            words,
            base,
            image: used,
            fits: base + used <= words,
            distance: words.abs_diff(base + used),
        },
        stages: stages
            .iter()
            .map(|(name, cost, notes)| stage(name, cost, notes))
            .collect(),
        lambdas: (0..image.entries.len())
            .map(|entry| LambdaSize {
                deadline_ns: deadlines.get(entry).copied().flatten(),
                ..lambda(device, &stages, image, entry)
            })
            .collect(),
        memory: (device
            .memory
            .iter()
            .zip(report.naive.memory.iter().zip(&end.memory)))
        .map(|(memory, (linked, used))| MemorySize {
            name: memory.name.clone(),
            latency: memory.latency,
            bytes: memory.bytes,
            linked: *linked,
            used: *used,
        })
        .collect(),
        objects: objects(device, image),
    }
}

fn stage(name: &str, cost: &ImageCost, notes: &[String]) -> StageSize {
    let sum = |cycles: &dyn Fn(&lambdac_image::EntryCost) -> u64| {
        let on_nic = cost.entries.iter().filter(|entry| entry.sharers > 0);
        on_nic.fold(0u64, |sum, entry| sum.saturating_add(cycles(entry)))
    };
    StageSize {
        name: name.to_owned(),
        words: cost.words(),
        around: cost.around,
        functions: cost.functions() + cost.code.dispatch.words,
        lambda_words: cost.lambda_words(),
        tables: cost.tables(),
        table_entries: cost.table_entries,
        lambdas: cost.lambdas,
        branches: cost.shape.branches,
        actions: cost.shape.actions,
        assigned_words: cost.shape.assigned_words,
        headers: cost.shape.headers,
        header_bits: cost.shape.header_bits,
        worst_cycles: sum(&|entry| entry.worst),
        expected_cycles: sum(&|entry| entry.expected),
        notes: notes.to_vec(),
    }
}

fn lambda(
    device: &Device,
    stages: &[(&str, &ImageCost, &[String])],
    image: &lambdac_image::Image,
    entry: usize,
) -> LambdaSize {
    let by_stage = |number: &dyn Fn(&lambdac_image::EntryCost) -> u64| -> Vec<u64> {
        stages
            .iter()
            .map(|(_, cost, _)| number(&cost.entries[entry]))
            .collect()
    };
    let on_host = image.entries[entry].on_host.as_deref();
    let worst_cycles = by_stage(&|entry| entry.worst);
    let worst = worst_cycles.last().copied().unwrap_or(0);
    let end = stages.last().map(|(_, cost, _)| &cost.entries[entry]);
    let stage_worst = stages.last().map_or(0, |(_, cost, _)| cost.worst_stage);
    LambdaSize {
        name: image.entry_name(entry),
        runs_on: if on_host.is_some() { HOST } else { NIC }.to_owned(),
        why: on_host.map(str::to_owned),
        words: by_stage(&|entry| if entry.sharers > 0 { entry.words } else { 0 }),
        sharers: end.map_or(0, |end| end.sharers),
        expected_cycles: by_stage(&|entry| entry.expected),
        worst_ns: match on_host {
            Some(_) => 0,
            None => device.nanoseconds(
                worst
                    .saturating_add(device.packet.cycles)
                    .saturating_add(stage_worst),
            ),
        },
        deadline_ns: None,
        worst_cycles,
        region_bytes: stages
            .iter()
            .map(|(_, cost, _)| cost.entries[entry].memory.clone())
            .collect(),
    }
}

fn objects(device: &Device, image: &lambdac_image::Image) -> Vec<ObjectSize> {
    let placement = image.placement(device);
    let on_nic = image.on_nic();
    let memory = |index: usize| device.memory.get(index).map_or("-", |memory| &memory.name);
    let size = |name: &str, memory: &str, bytes: u64| ObjectSize {
        name: name.to_owned(),
        bytes,
        memory: memory.to_owned(),
    };
    let mut all = Vec::new();
    for (id, object) in (0u32..).map(ObjectId).zip(&image.module.objects) {
        if on_nic.objects.contains(&id) {
            let parts = parts(id, &object.kind, &placement).into_iter();
            all.extend(parts.map(|(at, bytes)| size(&object.name, memory(at), bytes)));
        } else {
            all.push(size(&object.name, HOST, object_bytes(&object.kind)));
        }
    }
    for (id, item) in (0u32..).map(ConstId).zip(&image.module.consts) {
        if on_nic.consts.contains(&id) {
            let at = placement.consts[id.index()];
            all.push(size(&item.name, memory(at), item.shape.packed_size()));
        }
    }
    all
}

/// Bytes of an object by memory: one that is divided lies in several.
fn parts(id: ObjectId, kind: &ObjectKind, placement: &Placed) -> BTreeMap<usize, u64> {
    let (Some(memories), Some((shapes, count))) = (placement.fields.get(&id), fields(kind)) else {
        return BTreeMap::from([(placement.objects[id.index()], object_bytes(kind))]);
    };
    let mut parts = BTreeMap::new();
    for (memory, shape) in memories.iter().zip(shapes) {
        let bytes: &mut u64 = parts.entry(*memory).or_default();
        *bytes = bytes.saturating_add(shape.packed_size().saturating_mul(count));
    }
    parts
}
