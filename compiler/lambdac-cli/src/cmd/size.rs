//! `lambdac size`

mod files;
mod rates;

use std::sync::Arc;

use lambdac_driver::size::{Change, SizeError, SizeOptions, Sizes, change, measure, page, text};
use lambdac_driver::target::Device;
use lambdac_driver::{Image, Profile};

use self::rates::Rates;
use crate::args::{Format, Size, SizeFormat};
use crate::exit::{Exit, Result};
use crate::{compile, report};

pub use self::files::device;

/// Prints what an image takes, and fails where it does not fit, is late, or grew past the limit.
pub fn run(args: &Size, format: Format) -> Result {
    let device = device(&args.target)?;
    let baseline = args.baseline.as_deref().map(files::baseline).transpose()?;
    if let Some(old) = &baseline {
        of_target(old, &device)?;
    }
    let rates = args.rates.as_deref().map(Rates::read).transpose()?;
    let profile = args.profile.as_deref().map(files::profile).transpose()?;
    let image = compile::image(&compile::paths(&args.sources)?, &args.passes, format)?;
    if let Some(profile) = &profile {
        warn_of_stranger(profile, &image);
    }
    let options = SizeOptions {
        disabled: args.passes.no_pass.clone(),
        rates: rates.map(|rates| rates.of(&image)).unwrap_or_default(),
        profile: profile.map(Arc::new),
        dump_after: args.passes.dump_after.clone(),
    };
    let measured = measure(&image, &device, &options).map_err(|error| match error {
        SizeError::OnNic(..) => Exit::Failed(error.to_string()),
        _ => Exit::Usage(error.to_string()),
    })?;
    for (pass, module) in &measured.dumps {
        eprintln!("// the image after {pass}\n{module}");
    }
    let sizes = &measured.sizes;
    match args.format {
        SizeFormat::Table => report::print(text(sizes))?,
        SizeFormat::Json => {
            let json = serde_json::to_string_pretty(sizes).map_err(|e| Exit::Failed(e.to_string()))?;
            report::print(json + "\n")?;
        }
        SizeFormat::Html => report::print(page(&measured, &image, &device))?,
    }
    let mut wrong = sizes.wrong();
    if let Some(old) = baseline {
        let change = change(&old, sizes);
        let table = &change.table;
        match args.format {
            SizeFormat::Table => report::print(format!("\n{table}"))?,
            // stdout is the result's alone.
            SizeFormat::Json | SizeFormat::Html => eprint!("{table}"),
        }
        wrong.extend(judge(&change, args.limit.unwrap_or(0.0)));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Exit::Failed(wrong.join("\nlambdac: ")))
}

/// Words and cycles of two targets say nothing about each other.
fn of_target(old: &Sizes, device: &Device) -> Result {
    if old.target == device.name {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "the baseline is of target {:?}, this is {:?}",
        old.target, device.name
    )))
}

/// What of a change is more than what is allowed, a line each.
fn judge(change: &Change, limit: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    if change.percent > limit {
        let percent = change.percent;
        wrong.push(format!(
            "the image grew by {percent:.1} %, the limit is {limit} %"
        ));
    }
    if !change.left.is_empty() {
        wrong.push(format!("no longer on the NIC: {}", change.left.join(", ")));
    }
    if !change.no_room.is_empty() {
        wrong.push(format!(
            "new, and the NIC has no room for it: {}",
            change.no_room.join(", ")
        ));
    }
    wrong
}

/// Says so where a profile is of other programs: nothing is weighed by it then.
fn warn_of_stranger(profile: &Profile, image: &Image) {
    let files = || {
        let workloads = image.workloads.iter();
        workloads.flat_map(|one| one.compiled.module.files.iter().map(|file| &**file))
    };
    if let (Some(theirs), Some(ours)) = (profile.stranger(files()), files().next()) {
        eprintln!(
            "lambdac: warning: the profile knows none of the image's files: it has {theirs:?}, the image {ours:?}; \
             branches are weighed evenly"
        );
    }
}
