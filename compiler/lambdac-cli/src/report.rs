//! Writing: diagnostics to stderr (JSON to stdout would mix with results, so it goes to stderr too), results to stdout.

use std::io::{self, IsTerminal, Write};

use lambdac_driver::diag::render::{MessageFormat, render};
use lambdac_driver::diag::{Diagnostic, SourceMap};

use crate::args::Format;
use crate::exit::{Exit, Result};

/// Whether to write colours there: only to a terminal, and not where NO_COLOR is set.
pub fn color(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes diagnostics to stderr.
pub fn diagnostics(format: Format, map: &SourceMap, diagnostics: &[Diagnostic]) {
    write_rendered(&rendered(format, color(&io::stderr()), map, diagnostics));
}

/// The text of diagnostics, each ending in a line break.
pub fn rendered(format: Format, color: bool, map: &SourceMap, diagnostics: &[Diagnostic]) -> String {
    let format = match format {
        Format::Human => MessageFormat::Human,
        Format::Json => MessageFormat::Json,
        Format::Short => MessageFormat::Short,
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out += render(format, color, map, diagnostic).trim_end_matches('\n');
        out.push('\n');
    }
    out
}

/// Writes what [`rendered`] gave to stderr.
pub fn write_rendered(text: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to stdout. A closed pipe is success: the reader has what it wanted.
pub fn print(bytes: impl AsRef<[u8]>) -> Result {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Exit::Environment(format!("cannot write: {error}")))
        }
        _ => Ok(()),
    }
}
