//! Brackets and items: the shape of a file that is plain from its tokens.
//!
//! Brackets are matched first; then the file is cut into items, so that an error in one costs none of the others.
//! Both work on broken files too: a word that can only start an item (`lambda`, `fn`, or two words such as
//! `state hits`, which stand nowhere else) closes whatever is still open.

use lambdac_diag::{Diagnostic, FileId, Sink, Span};

use crate::MAX_NESTING;
use crate::lex::{Kind, Lexed, Token};

/// No token.
const NONE: u32 = u32::MAX;

/// The tokens of a file with their brackets matched.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    pub(crate) text: &'a str,
    pub(crate) list: Vec<Token>,
    /// Of each token, the index of the bracket it stands in.
    parents: Vec<u32>,
    /// Of each opening bracket, the index of the last token of its group.
    ends: Vec<u32>,
    /// Closing brackets that close nothing outside all brackets, ascending: an error, or the consequence of one.
    pub(crate) strays: Vec<usize>,
}

impl<'a> Tokens<'a> {
    /// A token's text; empty past the end.
    pub(crate) fn word(&self, index: usize) -> &'a str {
        self.list
            .get(index)
            .map_or("", |t| &self.text[t.start as usize..t.end as usize])
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.list.get(index).map(|t| t.kind)
    }

    /// The opening bracket that token `index` stands in; a closing bracket stands in its own.
    pub(crate) fn parent(&self, index: usize) -> Option<usize> {
        self.parents
            .get(index)
            .filter(|&&p| p != NONE)
            .map(|&p| p as usize)
    }

    /// The last token of the group that opens at `index`; `index` itself where none does.
    pub(crate) fn group_end(&self, index: usize) -> usize {
        self.ends
            .get(index)
            .filter(|&&e| e != NONE)
            .map_or(index, |&e| e as usize)
    }

    /// The first token that ends after `offset`.
    pub(crate) fn at(&self, offset: u32) -> usize {
        self.list.partition_point(|t| t.end <= offset)
    }

    /// Whether a new item can only start here, wherever that is.
    fn starts_item(&self, index: usize) -> bool {
        let previous = index.checked_sub(1).map_or("", |i| self.word(i));
        match self.word(index) {
            "fn" | "lambda" => previous != "stream",
            "stream" => self.word(index + 1) == "lambda",
            "test" => self.word(index + 1).starts_with('"'),
            "const" | "enum" | "struct" | "header" | "param" | "state" | "table" | "service" | "use"
            | "workload" | "library" => {
                let next = self.word(index + 1);
                self.kind(index + 1) == Some(Kind::Word)
                    && !matches!(next, "as" | "in" | "max" | "with" | "else" | "_")
            }
            _ => false,
        }
    }
}

/// Offsets of errors in brackets, each list ascending.
#[derive(Debug, Default)]
pub(crate) struct BracketErrors {
    /// Those that make the item's shape uncertain.
    pub(crate) fatal: Vec<u32>,
    /// Those inside one statement.
    pub(crate) local: Vec<u32>,
}

/// Matches the brackets of `lexed`.
pub(crate) fn match_brackets<'a>(
    file: FileId,
    text: &'a str,
    lexed: &Lexed,
    sink: &mut Sink,
) -> (Tokens<'a>, BracketErrors) {
    let n = lexed.tokens.len();
    let tokens = Tokens {
        text,
        list: lexed.tokens.clone(),
        parents: vec![NONE; n],
        ends: vec![NONE; n],
        strays: Vec::new(),
    };
    let errors = BracketErrors::default();
    let mut matcher = Matcher {
        file,
        tokens,
        open: Vec::new(),
        deep: false,
        cut: None,
        errors,
        sink,
    };
    for index in 0..n {
        matcher.token(index);
    }
    matcher.close_all(n);
    matcher.errors.fatal.sort_unstable();
    matcher.errors.local.sort_unstable();
    (matcher.tokens, matcher.errors)
}

struct Matcher<'a, 'b> {
    file: FileId,
    tokens: Tokens<'a>,
    open: Vec<u32>,
    /// Whether the present item was found too deep.
    deep: bool,
    /// The last unterminated literal or comment: it may have swallowed closing brackets.
    cut: Option<u32>,
    errors: BracketErrors,
    sink: &'b mut Sink,
}

impl Matcher<'_, '_> {
    fn token(&mut self, index: usize) {
        if !self.open.is_empty() && self.tokens.starts_item(index) {
            self.close_all(index);
        }
        if self.open.is_empty() {
            self.deep = false;
        }
        self.tokens.parents[index] = self.open.last().copied().unwrap_or(NONE);
        match self.tokens.list[index].kind {
            Kind::Open => {
                self.open.push(index as u32);
                if self.open.len() > MAX_NESTING && !self.deep {
                    self.too_deep(index);
                }
            }
            Kind::Close => self.close(index),
            Kind::Unknown if self.tokens.word(index).starts_with(['b', '"', '/']) => {
                self.cut = Some(index as u32)
            }
            _ => {}
        }
    }

    fn close(&mut self, index: usize) {
        let opener = opener_of(self.tokens.word(index));
        // Looking at the nearest few is enough, and keeps a file of closing brackets linear.
        let found = self
            .open
            .iter()
            .rev()
            .take(MAX_NESTING)
            .position(|&o| self.tokens.word(o as usize) == opener);
        let Some(unclosed) = found else {
            self.stray(index);
            return;
        };
        if unclosed > 0 {
            let last = self.open.len() - 1;
            self.mismatch(self.open[last] as usize, index);
        }
        for _ in 0..unclosed {
            let open = self.open.pop().unwrap_or(NONE);
            self.tokens.ends[open as usize] = index as u32 - 1;
        }
        if let Some(open) = self.open.pop() {
            self.tokens.ends[open as usize] = index as u32;
            self.tokens.parents[index] = open;
        }
    }

    /// Everything still open ends before token `index`.
    fn close_all(&mut self, index: usize) {
        if let Some(&innermost) = self.open.last()
            && !self.deep
        {
            self.errors.fatal.push(self.tokens.list[innermost as usize].start);
        }
        if let Some(&innermost) = self.open.last()
            && !self.deep
            && self.cut < Some(innermost)
        {
            let bracket = self.tokens.word(innermost as usize);
            let message = format!("unclosed `{bracket}`");
            let d = Diagnostic::error("E0102", message, self.span(innermost as usize), "never closed");
            let d = match self.tokens.list.get(index) {
                Some(_) => d.with_label(self.span(index), "still open here, where a new item starts"),
                None => d,
            };
            self.sink.push(d);
        }
        for open in self.open.drain(..) {
            self.tokens.ends[open as usize] = index as u32 - 1;
        }
    }

    /// The bracket `open` is not closed before `close`, which closes one further out.
    fn mismatch(&mut self, open: usize, close: usize) {
        let errors = if self.tokens.word(close) == "}" && self.tokens.word(open) != "{" {
            &mut self.errors.local
        } else {
            &mut self.errors.fatal
        };
        errors.push(self.tokens.list[open].start);
        if self.cut >= Some(open as u32) {
            return;
        }
        let (bracket, found) = (self.tokens.word(open), self.tokens.word(close));
        let message = format!("unclosed `{bracket}`");
        let d = Diagnostic::error(
            "E0102",
            message,
            self.span(open),
            format!("not closed before the `{found}`"),
        );
        self.sink.push(d.with_label(
            self.span(close),
            format!("`{}` expected before this", closer_of(bracket)),
        ));
    }

    fn stray(&mut self, index: usize) {
        self.tokens.list[index].kind = Kind::Unknown;
        if self.open.is_empty() {
            self.tokens.strays.push(index);
            return;
        }
        self.errors.local.push(self.tokens.list[index].start);
        self.sink.push(unmatched(self.file, &self.tokens, index));
    }

    fn too_deep(&mut self, index: usize) {
        self.deep = true;
        let label = format!("more than {MAX_NESTING} brackets are open here");
        let d = Diagnostic::error("E0105", "nested too deeply", self.span(index), label);
        self.errors.fatal.push(d.span().start);
        self.sink
            .push(d.with_help("move an inner part into a `fn` or a `let` of its own"));
    }

    fn span(&self, index: usize) -> Span {
        let token = self.tokens.list[index];
        Span::new(self.file, token.start, token.end)
    }
}

/// The error at a closing bracket that closes nothing.
pub(crate) fn unmatched(file: FileId, tokens: &Tokens, index: usize) -> Diagnostic {
    let message = format!("unmatched `{}`", tokens.word(index));
    let token = tokens.list[index];
    Diagnostic::error(
        "E0102",
        message,
        Span::new(file, token.start, token.end),
        "closes nothing",
    )
}

fn opener_of(close: &str) -> &'static str {
    match close {
        ")" => "(",
        "]" => "[",
        _ => "{",
    }
}

fn closer_of(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// What an item's first word says about its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `workload name;`, `library name;`
    Head,
    /// Ends with `;`.
    Line,
    /// Ends with a `{ … }` of statements or steps.
    Body,
    /// Ends with a `{ … }` of things between commas.
    List,
    /// No item starts with this word.
    Garbage,
}

/// The tokens of one item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemTokens {
    pub(crate) shape: Shape,
    /// First token.
    pub(crate) first: usize,
    /// One past the last token.
    pub(crate) end: usize,
}

/// Cuts a file into items.
pub(crate) fn split(tokens: &Tokens) -> Vec<ItemTokens> {
    let mut items = Vec::new();
    let mut first = 0;
    while first < tokens.list.len() {
        let keyword = skip_attrs(tokens, first);
        let shape = shape_of(tokens.word(keyword));
        let end = item_end(tokens, shape, keyword).min(tokens.list.len());
        items.push(ItemTokens { shape, first, end });
        first = end;
    }
    items
}

fn skip_attrs(tokens: &Tokens, mut index: usize) -> usize {
    while tokens.word(index) == "@" {
        index += 1;
        if tokens.kind(index) == Some(Kind::Word) {
            index += 1;
        }
        if tokens.word(index) == "(" {
            index = tokens.group_end(index) + 1;
        }
    }
    index
}

fn shape_of(keyword: &str) -> Shape {
    match keyword {
        "workload" | "library" => Shape::Head,
        "use" | "const" | "param" | "state" | "service" => Shape::Line,
        "fn" | "lambda" | "stream" | "test" => Shape::Body,
        "enum" | "struct" | "header" | "match" | "table" => Shape::List,
        _ => Shape::Garbage,
    }
}

/// One past the item whose keyword is token `keyword`; at least one token on.
fn item_end(tokens: &Tokens, shape: Shape, keyword: usize) -> usize {
    let mut index = keyword;
    loop {
        let word = tokens.word(index);
        let last = tokens.group_end(index);
        let done = match shape {
            Shape::Garbage => false,
            Shape::Head | Shape::Line => word == ";",
            Shape::Body | Shape::List => word == ";" || word == "{",
        };
        index = last + 1;
        let next_starts = matches!(tokens.word(index), "@" | "match") || tokens.starts_item(index);
        if done || next_starts || index >= tokens.list.len() {
            return index;
        }
    }
}
