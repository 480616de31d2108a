//! `lambdac size`

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use lambdac_driver::size::{SCHEMA, SizeError, SizeOptions, Sizes, change, measure, page, text};
use lambdac_driver::target::{self, Device};
use lambdac_driver::{PROFILE_SCHEMA, Profile};
use serde::de::DeserializeOwned;

use crate::args::{Format, Size, SizeFormat};
use crate::exit::{Exit, Result};
use crate::{compile, report};

/// The largest file of rates, or of a baseline, that is read.
const MAX_FILE: u64 = 64 << 20;

/// Prints what an image takes, and fails where it grew past the limit.
pub fn run(args: &Size, format: Format) -> Result {
    let device = device(&args.target)?;
    let baseline = args.baseline.as_deref().map(baseline).transpose()?;
    let rates = args.rates.as_deref().map(rates).transpose()?;
    let profile = args.profile.as_deref().map(profile).transpose()?;
    let image = compile::image(&compile::paths(&args.sources)?, &args.passes, format)?;
    let options = SizeOptions {
        disabled: args.passes.no_pass.clone(),
        rates: rates.unwrap_or_default(),
        profile: profile.map(Arc::new),
    };
    let measured = measure(&image, &device, &options).map_err(|error| match error {
        SizeError::OnNic(..) => Exit::Failed(error.to_string()),
        _ => Exit::Usage(error.to_string()),
    })?;
    let sizes = &measured.sizes;
    match args.format {
        SizeFormat::Table => report::print(text(sizes))?,
        SizeFormat::Json => {
            let json = serde_json::to_string_pretty(sizes).map_err(|e| Exit::Failed(e.to_string()))?;
            report::print(json + "\n")?;
        }
        SizeFormat::Html => report::print(page(&measured, &image, &device))?,
    }
    let wrong = sizes.wrong();
    if !wrong.is_empty() {
        return Err(Exit::Failed(wrong.join("\nlambdac: ")));
    }
    let Some(old) = baseline else { return Ok(()) };
    let change = change(&old, sizes);
    let table = &change.table;
    match args.format {
        SizeFormat::Table => report::print(format!("\n{table}"))?,
        // stdout is the result's alone.
        SizeFormat::Json | SizeFormat::Html => eprint!("{table}"),
    }
    let limit = args.limit.unwrap_or(0.0);
    if change.percent > limit {
        let percent = change.percent;
        return Err(Exit::Failed(format!(
            "the image grew by {percent:.1} %, the limit is {limit} %"
        )));
    }
    if !change.left.is_empty() {
        let left = change.left.join(", ");
        return Err(Exit::Failed(format!("no longer on the NIC: {left}")));
    }
    Ok(())
}

/// A device that is built in, or a description by its path.
pub fn device(name: &str) -> Result<Device> {
    if let Some(device) = target::builtin(name) {
        return Ok(device);
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = target::BUILTIN.iter().map(|(name, _)| *name).collect();
        return Err(Exit::Usage(format!(
            "there is no target {name:?}; there is: {}, or a description's path",
            known.join(", ")
        )));
    }
    let text = bounded(path)?;
    Device::parse(&text).map_err(|error| Exit::Usage(format!("{name}: {error}")))
}

/// What a worker's `/metrics` counts requests under.
const REQUESTS: &str = "lnic_requests_total{";

/// Requests by workload: a JSON object, lines of a name and a number, or what a worker counted.
fn rates(path: &Path) -> Result<BTreeMap<String, f64>> {
    let text = bounded(path)?;
    let wrong = |what: &str| Exit::Usage(format!("{}: {what}", path.display()));
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()));
    }
    if text.lines().any(|line| line.starts_with(REQUESTS)) {
        return counted(&text).ok_or_else(|| wrong("these are no metrics of a worker"));
    }
    let mut rates = BTreeMap::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, rate) = line
            .split_once([' ', '\t', '='])
            .ok_or_else(|| wrong(&format!("{line:?} is no name and number")))?;
        let rate = rate.trim().trim_start_matches('=').trim();
        let rate = rate
            .parse()
            .map_err(|_| wrong(&format!("{rate:?} is no number")))?;
        rates.insert(name.trim().to_owned(), rate);
    }
    Ok(rates)
}

/// Requests by workload, of all targets, from a worker's metrics.
fn counted(metrics: &str) -> Option<BTreeMap<String, f64>> {
    let mut rates = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(REQUESTS)) {
        let (labels, count) = line.split_once('}')?;
        let label = |label: &str| {
            label
                .strip_prefix("workload=\"")?
                .strip_suffix('"')
                .map(str::to_owned)
        };
        let workload = labels.split(',').find_map(label)?;
        let count: f64 = count.trim().parse().ok()?;
        *rates.entry(workload).or_default() += count;
    }
    Some(rates)
}

/// What an earlier run wrote as JSON.
fn baseline(path: &Path) -> Result<Sizes> {
    let sizes: Sizes = json(path)?;
    written_by_this(path, sizes.schema, SCHEMA)?;
    Ok(sizes)
}

/// What `lambdac test --profile` wrote.
fn profile(path: &Path) -> Result<Profile> {
    let profile: Profile = json(path)?;
    written_by_this(path, profile.schema, PROFILE_SCHEMA)?;
    Ok(profile)
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = bounded(path)?;
    serde_json::from_str(&text).map_err(|error| Exit::Usage(format!("{}: {error}", path.display())))
}

fn written_by_this(path: &Path, schema: u32, expected: u32) -> Result {
    if schema == expected {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "{}: schema {schema}, this version writes {expected}",
        path.display()
    )))
}

fn bounded(path: &Path) -> Result<String> {
    let wrong = || Exit::environment(path.display());
    let file = std::fs::File::open(path).map_err(wrong())?;
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(wrong())?;
    Ok(text)
}
