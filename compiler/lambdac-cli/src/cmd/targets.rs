//! `lambdac targets`

use lambdac_driver::target;
use lambdac_driver::targets::{Target, all};

use crate::args::{Output, Targets};
use crate::exit::{Exit, Result};
use crate::report;

/// Lists the targets, or prints one's description.
pub fn run(args: &Targets) -> Result {
    if let Some(name) = &args.name {
        return describe(name, args.format);
    }
    match args.format {
        Output::Table => report::print(table(all())),
        Output::Json => {
            let json = serde_json::to_string_pretty(&all()).map_err(|e| Exit::Failed(e.to_string()))?;
            report::print(json + "\n")
        }
    }
}

/// The text of a description, which names the source of each number, or its data.
fn describe(name: &str, format: Output) -> Result {
    let device = super::size::device(name)?;
    match format {
        Output::Table => {
            let text = match target::builtin_text(name) {
                Some(text) => text.to_owned(),
                None => std::fs::read_to_string(name).map_err(Exit::environment(name))?,
            };
            report::print(text)
        }
        Output::Json => {
            let json = serde_json::to_string_pretty(&device).map_err(|e| Exit::Failed(e.to_string()))?;
            report::print(json + "\n")
        }
    }
}

fn table(targets: &[Target]) -> String {
    let line = |t: &Target| format!("{:<8} {:<10} {}\n", t.name, t.kind, t.summary);
    let head = format!("{:<8} {:<10} {}\n", "TARGET", "KIND", "WHAT IT IS");
    std::iter::once(head).chain(targets.iter().map(line)).collect()
}
