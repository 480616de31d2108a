//! Fixtures: a source, and the errors it must give.

mod errors;
mod hostile;
mod pages;
mod tree;

use lambdac_diag::{FileId, Sink, SourceMap};

use crate::ast::File;

/// Parses a source that has no errors.
fn parses(source: &str) -> File {
    let (file, errors) = run(source);
    assert_eq!(errors, "", "in\n{source}");
    file.expect("a file without errors has a tree")
}

/// The errors of a source: position, length, code and message.
fn check(source: &str) -> String {
    run(source).1
}

fn run(source: &str) -> (Option<File>, String) {
    let mut map = SourceMap::new();
    let id = map.add("t.lnic", source);
    let mut sink = Sink::new();
    let file = crate::parse(id, source, &mut sink);
    let mut out = String::new();
    for d in sink.into_sorted() {
        let (line, column) = map.line_column(FileId(0), d.span().start);
        let len = d.span().end - d.span().start;
        out += &format!("{line}:{column}+{len} {} {}\n", d.code, d.message);
    }
    (file, out)
}
