//! Source text to AST.
//!
//! The grammar is `lang-spec/grammar.pest`; pest stays private to this crate. A file is read in three steps:
//!
//! 1. [`lex`] finds tokens, and with them what is wrong without any grammar.
//! 2. [`items`] matches brackets and cuts the file into items.
//! 3. [`recover`] parses each item by the grammar, goes on after what is broken in it, and [`build`] makes the tree.
//!
//! No input makes the parser panic or overflow the stack, and its time and memory are linear in the input: brackets
//! are at most [`MAX_NESTING`] deep, a tree at most [`MAX_DEPTH`], a file at most [`MAX_FILE_BYTES`] long.

#![forbid(unsafe_code)]

pub mod ast;
mod build;
mod grammar;
mod items;
mod lex;
mod literal;
mod message;
mod recover;
#[cfg(test)]
mod tests;

use lambdac_diag::{Diagnostic, FileId, Sink, Span};

use build::{Builder, Built, doc_text};
use grammar::Rule;
use items::{ItemTokens, Shape, Tokens};
use lex::DocLine;
use recover::{Budget, ItemParser};

/// Brackets (parentheses, square brackets and braces together) open at one place, at most.
pub const MAX_NESTING: usize = 64;

/// Levels of the tree of one item, at most: whoever walks it may recurse. An operator is a level, so this also is the
/// longest chain of operators such as `a + b + c`.
pub const MAX_DEPTH: u32 = 256;

/// Bytes in a file, at most.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// Parses a file.
///
/// Everything that is wrong goes to `sink`. What could not be parsed is left out of the tree, a statement or step as
/// `Broken`. `None` only where the `workload` or `library` line is missing.
pub fn parse(file: FileId, text: &str, sink: &mut Sink) -> Option<ast::File> {
    if !fits(file, text.len(), sink) {
        return None;
    }
    let lexed = lex::lex(file, text, sink);
    let (tokens, brackets) = items::match_brackets(file, text, &lexed, sink);
    let mut local = lexed.errors;
    local.extend(brackets.local);
    local.sort_unstable();
    let budget = Budget::new(text.len());
    let mut parser = FileParser {
        file,
        tokens: &tokens,
        docs: &lexed.docs,
        local: &local,
        fatal: &brackets.fatal,
        budget,
        sink,
    };
    parser.file()
}

/// Parses a file as it was read: also reports what is not UTF-8.
///
/// The text under `file` in a source map should be `String::from_utf8_lossy` of these bytes.
pub fn parse_bytes(file: FileId, bytes: &[u8], sink: &mut Sink) -> Option<ast::File> {
    if !fits(file, bytes.len(), sink) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text, sink),
        Err(error) => {
            let at = error.valid_up_to() as u32;
            let label = format!(
                "the byte 0x{:02x} at offset {at} starts no character",
                bytes[at as usize]
            );
            let d = Diagnostic::error("E0108", "the file is not UTF-8", Span::new(file, at, at), label);
            sink.push(d.with_help("bytes beyond ASCII are written `\\xNN` in a byte string"));
            None
        }
    }
}

fn fits(file: FileId, len: usize, sink: &mut Sink) -> bool {
    if len <= MAX_FILE_BYTES {
        return true;
    }
    let label = format!("{len} bytes; at most {MAX_FILE_BYTES} can be read");
    sink.push(Diagnostic::error(
        "E0108",
        "the file is too large",
        Span::new(file, 0, 0),
        label,
    ));
    false
}

struct FileParser<'a> {
    file: FileId,
    tokens: &'a Tokens<'a>,
    docs: &'a [DocLine],
    /// Offsets of reported errors: those that a statement's loss mends, and those that cost the item.
    local: &'a [u32],
    fatal: &'a [u32],
    budget: Budget,
    sink: &'a mut Sink,
}

impl FileParser<'_> {
    fn file(&mut self) -> Option<ast::File> {
        let mut head = None;
        let mut parsed = (Vec::new(), Vec::new());
        // An error in an item may have torn it apart: what is left over says nothing new.
        let mut torn = false;
        for (i, item) in items::split(self.tokens).into_iter().enumerate() {
            let before = self.sink.error_count();
            match item.shape {
                Shape::Garbage if torn => continue,
                Shape::Garbage => self.garbage(item),
                Shape::Head if head.is_some() => self.second_head(item),
                Shape::Head => {
                    if i > 0 {
                        self.no_head(Some(item.first));
                    }
                    head = Some(self.head(item));
                }
                _ => self.item(item, &mut parsed),
            }
            torn = item.shape == Shape::Garbage || self.sink.error_count() > before;
        }
        if head.is_none() {
            self.no_head(None);
        }
        let (kind, name) = head??;
        let docs = doc_text(self.tokens.text, self.docs.iter().filter(|d| d.inner));
        let (uses, items) = parsed;
        Some(ast::File {
            file: self.file,
            kind,
            name,
            docs,
            uses,
            items,
        })
    }

    /// Reports a missing or late first line; `late` is where it stands.
    fn no_head(&mut self, late: Option<usize>) {
        let span = message::span(self.file, self.tokens, late.unwrap_or(0));
        let (message, label) = match late {
            Some(_) => (
                "the `workload` or `library` line is not the first item",
                "must stand before all other items",
            ),
            None => (
                "the file does not start with `workload name;` or `library name;`",
                "expected before this",
            ),
        };
        let d = Diagnostic::error("E0106", message, span, label);
        self.sink.push(match late {
            Some(_) => d,
            None => d.with_help("name the workload in the first line: `workload name;`"),
        });
    }

    fn second_head(&mut self, item: ItemTokens) {
        let span = message::span(self.file, self.tokens, item.first);
        let d = Diagnostic::error(
            "E0106",
            "a second `workload` or `library` line",
            span,
            "a file has one",
        );
        self.sink
            .push(d.with_help("put each workload in a file of its own"));
    }

    fn garbage(&mut self, item: ItemTokens) {
        if self.has_error(self.fatal, item) || self.has_error(self.local, item) || self.stray(item) {
            return;
        }
        let found = message::found(self.tokens, item.first);
        let span = message::span(self.file, self.tokens, item.first);
        let d = Diagnostic::error(
            "E0101",
            format!("expected an item, found {found}"),
            span,
            "no item starts with this",
        );
        self.sink.push(d.with_help(
            "items are `const enum struct header param state table service fn lambda match test` and `use`",
        ));
    }

    /// Reports the first closing bracket in `item` that closes nothing; whether there is one.
    fn stray(&mut self, item: ItemTokens) -> bool {
        let strays = &self.tokens.strays;
        let first = strays
            .get(strays.partition_point(|&s| s < item.first))
            .filter(|&&s| s < item.end);
        if let Some(&stray) = first {
            self.sink.push(items::unmatched(self.file, self.tokens, stray));
        }
        first.is_some()
    }

    fn has_error(&self, offsets: &[u32], item: ItemTokens) -> bool {
        !self.within(offsets, item).is_empty()
    }

    /// Those of `offsets`, which ascend, that are in `item`.
    fn within<'o>(&self, offsets: &'o [u32], item: ItemTokens) -> &'o [u32] {
        let (start, end) = (
            self.tokens.list[item.first].start,
            self.tokens.list[item.end - 1].end,
        );
        &offsets[offsets.partition_point(|&o| o < start)..offsets.partition_point(|&o| o < end)]
    }

    fn head(&mut self, item: ItemTokens) -> Option<(ast::FileKind, ast::Ident)> {
        self.parse_item(item, Rule::head_only, |builder, pair| builder.head(pair))
    }

    fn item(&mut self, item: ItemTokens, parsed: &mut (Vec<ast::Ident>, Vec<ast::Item>)) {
        match self.parse_item(item, Rule::item_only, |builder, pair| builder.item_only(pair)) {
            Some(Built::Use(name)) => parsed.0.push(name),
            Some(Built::Item(item)) => parsed.1.push(*item),
            None => {}
        }
    }

    fn parse_item<T>(
        &mut self,
        item: ItemTokens,
        rule: Rule,
        build: impl FnOnce(&mut Builder, build::P) -> T,
    ) -> Option<T> {
        if self.has_error(self.fatal, item) || self.stray(item) {
            return None;
        }
        let reported = self.within(self.local, item);
        let (file, tokens, docs) = (self.file, self.tokens, self.docs);
        let mut parser = ItemParser {
            file,
            tokens,
            item,
            reported,
            budget: &mut self.budget,
        };
        let base = parser.base() as u32;
        parser.parse(rule, self.sink, |sink, pair| {
            build(&mut Builder::new(file, base, tokens, docs, sink), pair)
        })
    }
}
