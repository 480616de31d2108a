//! The rules of the language, one sentence a test: a source, and each diagnostic as `line:column: message`.
//!
//! A body stands in the lambda of [`source_body`], from line 10 on; items stand from line 2 on. Messages of
//! another file than the source begin with its name.

mod constants;
mod files;
mod lambdas;
mod services;
mod state;
mod statements;
mod tests;
mod types;

use crate::support::{Files, check_with, source_body, source_items};

/// What is reported of a lambda's body.
fn body(source: &str) -> String {
    whole(&source_body(source))
}

/// What is reported of items.
fn items(source: &str) -> String {
    whole(&source_items(source))
}

/// What is reported of a whole file, with some files beside it.
fn whole(source: &str) -> String {
    let files = Files::of(&[
        ("page.txt", "hello"),
        (
            "shapes.lnic",
            "library shapes;
const SIDES: u32 = 4;
struct Point { x: u32 }
enum Kind: u8 { Round, Square }
fn area(a: u32) -> u32 { return a * SIDES; }
",
        ),
        (
            "broken.lnic",
            "library broken;
const GOOD: u32 = 4;
const BAD: u8 = 300;
const UNUSED: u8 = missing;
",
        ),
    ]);
    check_with(source, &files).trim_end().replace("t.lnic:", "")
}
