//! Source files, spans and diagnostics.
//!
//! A [`Diagnostic`] is plain data: checks build one, [`Sink`] collects them, [`render`] turns them into text for
//! people, scripts and editors. This crate is the only user of codespan-reporting.

#![forbid(unsafe_code)]

mod diagnostic;
pub mod render;
mod source;

pub use diagnostic::{Diagnostic, Label, Severity, Sink};
pub use source::{FileId, SourceMap, Span};
