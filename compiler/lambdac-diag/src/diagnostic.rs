//! One message to the author of a program, as data.

use crate::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The program is wrong.
    Error,
    /// The program is legal and probably not meant so.
    Warning,
}

/// A span with what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty.
    pub message: String,
    /// The one label that says what is wrong; the others say why.
    pub primary: bool,
}

/// An error or warning with its code, places and, where known, its mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// `E0101`, `W0003`: a page of `lang-spec/errors/`. Codes are never reused.
    pub code: &'static str,
    /// Lower case, one clause, no full stop; enough when only this line is shown.
    pub message: String,
    /// Exactly one primary label, first.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`; `label` says what is wrong there.
    pub fn error(
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, message.into(), span, label.into())
    }

    /// A warning at `span`.
    pub fn warning(
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, message.into(), span, label.into())
    }

    fn new(severity: Severity, code: &'static str, message: String, span: Span, label: String) -> Self {
        let labels = vec![Label {
            span,
            message: label,
            primary: true,
        }];
        Self {
            severity,
            code,
            message,
            labels,
            help: None,
        }
    }

    /// Adds a secondary label.
    #[must_use]
    pub fn with_label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            message: message.into(),
            primary: false,
        });
        self
    }

    /// Adds the help line.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The primary span.
    pub fn span(&self) -> Span {
        self.labels[0].span
    }
}

/// Collects diagnostics; bounded, so that no input makes it grow without end.
#[derive(Clone, Debug, Default)]
pub struct Sink {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
}

/// More are counted, not kept.
const MAX_KEPT: usize = 1_000;

impl Sink {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Error {
            self.errors += 1;
        }
        if self.diagnostics.len() < MAX_KEPT {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Whether an error was pushed.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors were pushed.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// All that were kept, sorted by file and position.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|d| (d.span(), d.code));
        self.diagnostics
    }
}
