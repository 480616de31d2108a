//! From pest's pairs to the tree.
//!
//! A [`Builder`] works on one item that the grammar has accepted. It reports what the grammar can't see: chained
//! comparisons, and expressions whose tree would be deeper than [`MAX_DEPTH`](crate::MAX_DEPTH). Its own recursion is
//! bounded by the bracket depth; operator chains are built by loops.

mod expr;
mod item;
mod stmt;
mod types;

use std::sync::Arc;

use lambdac_diag::{Diagnostic, FileId, Sink, Span};
use pest::iterators::{Pair, Pairs};

use crate::MAX_DEPTH;
use crate::ast;
use crate::grammar::{Rule, is_noise};
use crate::items::Tokens;
use crate::lex::DocLine;

pub(crate) use item::Built;

pub(crate) type P<'i> = Pair<'i, Rule>;

/// Builds the tree of one item.
pub(crate) struct Builder<'a> {
    pub(crate) file: FileId,
    /// Where in the file the parsed text starts.
    pub(crate) base: u32,
    pub(crate) tokens: &'a Tokens<'a>,
    pub(crate) docs: &'a [DocLine],
    pub(crate) sink: &'a mut Sink,
    /// Height of the tallest tree built since this was last reset by [`Builder::nested`].
    tallest: u32,
    /// Whether this item was found too deep.
    deep: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        file: FileId,
        base: u32,
        tokens: &'a Tokens<'a>,
        docs: &'a [DocLine],
        sink: &'a mut Sink,
    ) -> Self {
        Self {
            file,
            base,
            tokens,
            docs,
            sink,
            tallest: 0,
            deep: false,
        }
    }

    /// The bytes of a pair, without the white space that pest counts to it where an optional part is left out.
    fn span(&self, pair: &P) -> Span {
        let span = pair.as_span();
        let (start, end) = (self.base + span.start() as u32, self.base + span.end() as u32);
        let last = self.tokens.list.partition_point(|t| t.start < end);
        let end = last
            .checked_sub(1)
            .map_or(end, |i| self.tokens.list[i].end.min(end));
        // The mark of a broken statement is one byte; the character that it was painted over may be longer.
        let text = self.tokens.text;
        let whole = (end.max(start)..).find(|&end| text.is_char_boundary(end as usize));
        Span::new(self.file, start, whole.unwrap_or(end))
    }

    fn ident(&self, pair: &P) -> ast::Ident {
        ast::Ident {
            text: Arc::from(pair.as_str()),
            span: self.span(pair),
        }
    }

    fn path(&self, pair: P) -> ast::Path {
        let span = self.span(&pair);
        let segments = Inner::of(pair).map(|p| self.ident(&p)).collect();
        ast::Path { segments, span }
    }

    /// The doc comment right before the token at `offset`.
    fn docs_before(&self, offset: u32) -> String {
        let token = self.tokens.list.partition_point(|t| t.start < offset);
        let from = self.docs.partition_point(|d| d.before < token);
        let lines = self.docs[from..]
            .iter()
            .take_while(|d| d.before == token)
            .filter(|d| !d.inner);
        doc_text(self.tokens.text, lines)
    }

    /// Runs `build` for the inside of a node; gives the node's height too, and counts it for the node around it.
    fn nested<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> (T, u32) {
        let outer = std::mem::take(&mut self.tallest);
        let built = build(self);
        let height = self.tallest + 1;
        self.tallest = outer.max(height);
        (built, height)
    }

    /// A node of `kind`, or a broken one where that would be too high a tree.
    fn node(&mut self, kind: ast::ExprKind, span: Span, height: u32) -> Tall {
        if height <= MAX_DEPTH {
            return Tall {
                expr: ast::Expr { kind, span },
                height,
            };
        }
        if !self.deep {
            self.deep = true;
            let label = format!("more than {MAX_DEPTH} operators deep");
            let d = Diagnostic::error("E0105", "expression too long", span, label);
            self.sink.push(d.with_help("split it up with `let`"));
        }
        Tall {
            expr: ast::Expr {
                kind: ast::ExprKind::Broken,
                span,
            },
            height: 1,
        }
    }
}

/// An expression with the height of its tree.
struct Tall {
    expr: ast::Expr,
    height: u32,
}

/// The text of doc lines, one a line, without the space after the mark.
pub(crate) fn doc_text<'d>(text: &str, lines: impl Iterator<Item = &'d DocLine>) -> String {
    let lines: Vec<&str> = lines
        .map(|d| {
            let line = text[d.start as usize..d.end as usize].trim_end();
            line.strip_prefix(' ').unwrap_or(line)
        })
        .collect();
    lines.join("\n")
}

/// The children of a pair that mean something.
#[derive(Clone)]
pub(crate) struct Inner<'i> {
    pairs: Pairs<'i, Rule>,
}

impl<'i> Inner<'i> {
    fn of(pair: P<'i>) -> Self {
        Self {
            pairs: pair.into_inner(),
        }
    }

    fn next_rule(&mut self) -> Option<Rule> {
        while let Some(pair) = self.pairs.peek() {
            let rule = pair.as_rule();
            if !is_noise(rule) {
                return Some(rule);
            }
            self.pairs.next();
        }
        None
    }

    /// The next child where it is a `rule`.
    fn take_rule(&mut self, rule: Rule) -> Option<P<'i>> {
        if self.next_rule() == Some(rule) {
            self.pairs.next()
        } else {
            None
        }
    }

    /// The next child, which the grammar says is there.
    fn expect(&mut self) -> P<'i> {
        self.next().expect("the grammar guarantees this child")
    }
}

impl<'i> Iterator for Inner<'i> {
    type Item = P<'i>;

    fn next(&mut self) -> Option<P<'i>> {
        self.next_rule()?;
        self.pairs.next()
    }
}
