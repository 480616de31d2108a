//! Diagnostics as text for people, one line each, or JSON.
//!
//! [`render`] gives the text of one diagnostic, ending in a line break; who prints it is up to the caller. Source
//! lines that are too long to show are not shown: the human form then falls back to the short one with its notes.

use std::ops::Range;

use codespan_reporting::diagnostic as cs;
use codespan_reporting::files::{self, Files};
use codespan_reporting::term;
use serde::Serialize;

use crate::{Diagnostic, FileId, Label, Severity, SourceMap, Span};

/// How diagnostics are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFormat {
    /// With the source lines and labels.
    #[default]
    Human,
    /// One object a line.
    Json,
    /// `file:line:col: error[E0101]: message`
    Short,
}

/// Source lines longer than this many bytes are not shown.
const MAX_SHOWN_LINE: usize = 400;

/// The text of one diagnostic, ending in a line break. `color` concerns the human form alone.
pub fn render(format: MessageFormat, color: bool, map: &SourceMap, d: &Diagnostic) -> String {
    match format {
        MessageFormat::Human if lines_fit(map, d) => human(color, map, d),
        MessageFormat::Human => short_with_notes(map, d),
        MessageFormat::Short => short(map, d),
        MessageFormat::Json => json(map, d),
    }
}

fn lines_fit(map: &SourceMap, d: &Diagnostic) -> bool {
    d.labels.iter().all(|label| {
        shown_lines(map, label.span)
            .lines()
            .all(|line| line.len() <= MAX_SHOWN_LINE)
    })
}

/// The whole lines that a span touches.
fn shown_lines(map: &SourceMap, span: Span) -> &str {
    let text = map.text(span.file);
    let (start, end) = (floor(text, span.start), floor(text, span.end));
    let from = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let to = text[end..].find('\n').map_or(text.len(), |i| end + i);
    &text[from..to]
}

/// `offset` as a character boundary inside `text`, so that no span can make rendering fail.
fn floor(text: &str, offset: u32) -> usize {
    text.floor_char_boundary(offset as usize)
}

fn severity(d: &Diagnostic) -> &'static str {
    match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn place(map: &SourceMap, span: Span) -> String {
    let (line, column) = map.line_column(span.file, span.start);
    format!("{}:{line}:{column}", map.name(span.file))
}

fn short(map: &SourceMap, d: &Diagnostic) -> String {
    format!(
        "{}: {}[{}]: {}\n",
        place(map, d.span()),
        severity(d),
        d.code,
        d.message
    )
}

fn short_with_notes(map: &SourceMap, d: &Diagnostic) -> String {
    let mut out = short(map, d);
    for label in d.labels.iter().filter(|label| !label.message.is_empty()) {
        out += &format!("  {}: {}\n", place(map, label.span), label.message);
    }
    if let Some(help) = &d.help {
        out += &format!("  help: {help}\n");
    }
    out
}

fn human(color: bool, map: &SourceMap, d: &Diagnostic) -> String {
    let labels = d.labels.iter().map(|label| to_codespan(map, label)).collect();
    let notes = d.help.iter().map(|help| format!("help: {help}")).collect();
    let severity = match d.severity {
        Severity::Error => cs::Severity::Error,
        Severity::Warning => cs::Severity::Warning,
    };
    let diagnostic = cs::Diagnostic::new(severity)
        .with_code(d.code)
        .with_message(&d.message)
        .with_labels(labels)
        .with_notes(notes);
    emit(color, map, &diagnostic).unwrap_or_else(|| short_with_notes(map, d))
}

fn to_codespan(map: &SourceMap, label: &Label) -> cs::Label<FileId> {
    let text = map.text(label.span.file);
    let range = floor(text, label.span.start)..floor(text, label.span.end);
    let style = if label.primary {
        cs::LabelStyle::Primary
    } else {
        cs::LabelStyle::Secondary
    };
    cs::Label::new(style, label.span.file, range).with_message(&label.message)
}

fn emit(color: bool, map: &SourceMap, d: &cs::Diagnostic<FileId>) -> Option<String> {
    let config = term::Config::default();
    let files = Sources(map);
    if !color {
        return term::emit_into_string(&config, &files, d).ok();
    }
    let mut out = term::termcolor::Ansi::new(Vec::new());
    term::emit_to_write_style(&mut out, &config, &files, d).ok()?;
    String::from_utf8(out.into_inner()).ok()
}

/// A source map as codespan reads it.
struct Sources<'a>(&'a SourceMap);

impl<'a> Files<'a> for Sources<'a> {
    type FileId = FileId;
    type Name = &'a str;
    type Source = &'a str;

    fn name(&'a self, id: FileId) -> Result<&'a str, files::Error> {
        Ok(self.0.name(id))
    }

    fn source(&'a self, id: FileId) -> Result<&'a str, files::Error> {
        Ok(self.0.text(id))
    }

    fn line_index(&'a self, id: FileId, byte: usize) -> Result<usize, files::Error> {
        Ok(self.0.line_column(id, byte as u32).0 as usize - 1)
    }

    fn line_range(&'a self, id: FileId, line: usize) -> Result<Range<usize>, files::Error> {
        let max = self.0.line_count(id);
        self.0
            .line_bytes(id, line)
            .ok_or(files::Error::LineTooLarge { given: line, max })
    }
}

/// The JSON form; the names are a contract with scripts.
#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    severity: &'static str,
    code: &'a str,
    message: &'a str,
    spans: Vec<JsonSpan<'a>>,
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonSpan<'a> {
    file: &'a str,
    start: u32,
    end: u32,
    line: u32,
    column: u32,
    label: &'a str,
    primary: bool,
}

fn json(map: &SourceMap, d: &Diagnostic) -> String {
    let spans = d.labels.iter().map(|label| {
        let Span { file, start, end } = label.span;
        let (line, column) = map.line_column(file, start);
        JsonSpan {
            file: map.name(file),
            start,
            end,
            line,
            column,
            label: &label.message,
            primary: label.primary,
        }
    });
    let object = JsonDiagnostic {
        severity: severity(d),
        code: d.code,
        message: &d.message,
        spans: spans.collect(),
        help: d.help.as_deref(),
    };
    let mut out = serde_json::to_string(&object).expect("strings and numbers always serialize");
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
