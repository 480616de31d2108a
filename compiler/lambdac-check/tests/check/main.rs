//! Tests of the checker from source text to diagnostics.

mod hostile;
mod pages;
mod programs;
mod rules;
mod support;
