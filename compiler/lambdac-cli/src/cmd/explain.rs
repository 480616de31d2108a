//! `lambdac explain`

use crate::args::Explain;
use crate::exit::{Exit, Result};
use crate::report;

/// Prints a code's page, or all codes with their titles.
pub fn run(args: &Explain) -> Result {
    let Some(code) = &args.code else {
        return report::print(list());
    };
    let code = code.to_ascii_uppercase();
    match lang_spec::error_page(&code) {
        Some(page) => report::print(page),
        None => Err(Exit::Usage(format!(
            "there is no code {code:?}; `lambdac explain` lists them all"
        ))),
    }
}

fn list() -> String {
    let title = |code| lang_spec::error_page(code)?.lines().next()?.strip_prefix("# ");
    lang_spec::error_codes()
        .filter_map(title)
        .map(|title| format!("{title}\n"))
        .collect()
}
