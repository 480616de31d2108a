//! `lambdac targets`

use lambdac_driver::targets::{Target, all};

use crate::args::{Output, Targets};
use crate::exit::{Exit, Result};
use crate::report;

/// Lists the targets.
pub fn run(args: &Targets) -> Result {
    match args.format {
        Output::Table => report::print(table(all())),
        Output::Json => {
            let json = serde_json::to_string_pretty(&all()).map_err(|e| Exit::Failed(e.to_string()))?;
            report::print(json + "\n")
        }
    }
}

fn table(targets: &[Target]) -> String {
    let line = |t: &Target| format!("{:<8} {:<10} {}\n", t.name, t.kind, t.summary);
    let head = format!("{:<8} {:<10} {}\n", "TARGET", "KIND", "WHAT IT IS");
    std::iter::once(head).chain(targets.iter().map(line)).collect()
}
