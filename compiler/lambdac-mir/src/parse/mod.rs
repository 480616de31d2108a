//! The text form, in: a recursive-descent parser.
//!
//! Bundles carry this text, so it is read like hostile input: nothing panics, recursion is bounded by
//! [`crate::validate::MAX_DEPTH`], repeated data and value numbers cannot ask for more memory than a fixed budget, and
//! every error names a line and a column. What parses is not yet valid: see [`crate::validate`].

mod body;
mod item;
mod small;
mod stmt;

use std::sync::Arc;

use crate::lexer::{Kind, LexError, Token, bytes_value, next_token, text_value};
use crate::validate::{MAX_DEPTH, MAX_VALUES};
use crate::{Module, Value};

/// The longest text that is read.
pub const MAX_TEXT_BYTES: usize = 256 << 20;
/// The most elements that the data of one text may have once its repetitions are written out.
const MAX_DATA_ELEMENTS: u64 = 1 << 23;
/// The most bytes that byte strings of one text may have once their repetitions are written out.
const MAX_DATA_BYTES: u64 = 256 << 20;

/// Why a text is no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads one module.
///
/// # Errors
///
/// The first place where the text is not the text form of exactly one module.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    let mut parser = Parser::new(text)?;
    parser.one_module().map_err(|error| locate(text, error))
}

/// Reads any number of modules, one after the other, as [`crate::print_image`] writes them.
///
/// # Errors
///
/// The first place where the text is not the text form of modules.
pub fn parse_image(text: &str) -> Result<Vec<Module>, ParseError> {
    let mut parser = Parser::new(text)?;
    parser.modules().map_err(|error| locate(text, error))
}

fn locate(text: &str, (at, message): LexError) -> ParseError {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    ParseError {
        line: line as u32,
        column: column as u32,
        message,
    }
}

type Result1<T> = Result<T, LexError>;

/// The parser: one token ahead.
struct Parser<'t> {
    text: &'t str,
    token: Token,
    /// Regions and conditions around.
    depth: u32,
    /// Widths of the values of the body that is being read, as far as their definitions were seen.
    widths: Vec<Option<u8>>,
    elements_left: u64,
    bytes_left: u64,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, ParseError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(locate(
                text,
                (0, format!("the text has more than {MAX_TEXT_BYTES} bytes")),
            ));
        }
        let token = next_token(text, 0).map_err(|error| locate(text, error))?;
        Ok(Self {
            text,
            token,
            depth: 0,
            widths: Vec::new(),
            elements_left: MAX_DATA_ELEMENTS,
            bytes_left: MAX_DATA_BYTES,
        })
    }

    fn one_module(&mut self) -> Result1<Module> {
        let module = self.module()?;
        match self.token.kind {
            Kind::End => Ok(module),
            _ => self.fail("expected the end of the text"),
        }
    }

    fn modules(&mut self) -> Result1<Vec<Module>> {
        let mut modules = Vec::new();
        while self.token.kind != Kind::End {
            modules.push(self.module()?);
        }
        Ok(modules)
    }

    /// An error at the token ahead.
    fn fail<T>(&self, message: impl Into<String>) -> Result1<T> {
        Err((self.token.start, message.into()))
    }

    fn expected<T>(&self, what: &str) -> Result1<T> {
        let found = match self.token.kind {
            Kind::End => "the end of the text".to_owned(),
            Kind::Text | Kind::Bytes => "a string".to_owned(),
            Kind::Word | Kind::Int(_) | Kind::Sign(_) => format!("`{}`", self.shown()),
        };
        self.fail(format!("expected {what}, found {found}"))
    }

    /// The token ahead, cut to a length that suits a message.
    fn shown(&self) -> String {
        self.source().chars().take(40).collect()
    }

    fn source(&self) -> &'t str {
        &self.text[self.token.start..self.token.end]
    }

    fn advance(&mut self) -> Result1<()> {
        self.token = next_token(self.text, self.token.end)?;
        Ok(())
    }

    /// The word ahead; empty where there is none.
    fn word(&self) -> &'t str {
        match self.token.kind {
            Kind::Word => self.source(),
            _ => "",
        }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.token.kind, Kind::Sign(found) if found == sign)
    }

    fn eat_sign(&mut self, sign: &str) -> Result1<bool> {
        let there = self.is_sign(sign);
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn sign(&mut self, sign: &str) -> Result1<()> {
        if self.eat_sign(sign)? {
            Ok(())
        } else {
            self.expected(&format!("`{sign}`"))
        }
    }

    fn eat_word(&mut self, word: &str) -> Result1<bool> {
        let there = self.word() == word;
        if there {
            self.advance()?;
        }
        Ok(there)
    }

    fn keyword(&mut self, word: &str) -> Result1<()> {
        if self.eat_word(word)? {
            Ok(())
        } else {
            self.expected(&format!("`{word}`"))
        }
    }

    /// A word with a meaning.
    fn named<T>(&mut self, what: &str, from_word: impl Fn(&str) -> Option<T>) -> Result1<T> {
        match from_word(self.word()) {
            Some(value) => {
                self.advance()?;
                Ok(value)
            }
            None => self.expected(what),
        }
    }

    fn int(&mut self) -> Result1<u64> {
        match self.token.kind {
            Kind::Int(value) => {
                self.advance()?;
                Ok(value)
            }
            _ => self.expected("a number"),
        }
    }

    /// A number of a smaller type.
    fn small<T: TryFrom<u64>>(&mut self) -> Result1<T> {
        let at = self.token.start;
        let value = self.int()?;
        T::try_from(value).map_err(|_| (at, format!("{value} is too large here")))
    }

    fn text(&mut self) -> Result1<Arc<str>> {
        if self.token.kind != Kind::Text {
            return self.expected("a text in quotes");
        }
        let value = text_value(self.source(), self.token.start)?;
        self.advance()?;
        Ok(value.into())
    }

    fn byte_string(&mut self) -> Result1<Vec<u8>> {
        if self.token.kind != Kind::Bytes {
            return self.expected("a byte string");
        }
        let value = bytes_value(self.source(), self.token.start)?;
        self.spend_bytes(value.len() as u64)?;
        self.advance()?;
        Ok(value)
    }

    fn spend_bytes(&mut self, count: u64) -> Result1<()> {
        match self.bytes_left.checked_sub(count) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => self.fail(format!("byte strings of more than {MAX_DATA_BYTES} bytes in all")),
        }
    }

    fn spend_elements(&mut self, count: u64) -> Result1<()> {
        match self.elements_left.checked_sub(count) {
            Some(left) => {
                self.elements_left = left;
                Ok(())
            }
            None => self.fail(format!("lists of more than {MAX_DATA_ELEMENTS} elements in all")),
        }
    }

    /// The number of the word ahead where it is an id with a prefix (`v12`).
    fn peek_id(&self, prefix: &str) -> Option<u32> {
        let digits = self.word().strip_prefix(prefix)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }

    fn id(&mut self, prefix: &str) -> Result1<u32> {
        match self.peek_id(prefix) {
            Some(number) => {
                self.advance()?;
                Ok(number)
            }
            None => self.expected(&format!("`{prefix}` and a number")),
        }
    }

    /// The id that stands at an item: the next one of its kind.
    fn next_id(&mut self, prefix: &str, index: usize) -> Result1<()> {
        if self.peek_id(prefix) != Some(index as u32) {
            return self.expected(&format!("`{prefix}{index}`"));
        }
        self.advance()
    }

    fn value(&mut self) -> Result1<Value> {
        if self.peek_id("v").is_none() {
            return self.expected("a value");
        }
        self.id("v").map(Value)
    }

    /// A width: `i32`.
    fn width(&mut self) -> Result1<u8> {
        match self.peek_id("i") {
            Some(width @ 1..=64) => {
                self.advance()?;
                Ok(width as u8)
            }
            _ => self.expected("a width, `i1` to `i64`"),
        }
    }

    /// A value's definition: `v3: i32`.
    fn def(&mut self) -> Result1<Value> {
        let at = self.token.start;
        let value = self.value()?;
        self.sign(":")?;
        let width = self.width()?;
        if value.index() >= MAX_VALUES {
            return Err((at, format!("{value} is past the {MAX_VALUES} values of a body")));
        }
        if value.index() >= self.widths.len() {
            self.widths.resize(value.index() + 1, None);
        }
        match self.widths[value.index()].replace(width) {
            Some(before) if before != width => Err((at, format!("{value} is i{before} elsewhere"))),
            _ => Ok(value),
        }
    }

    /// Widths of a body that was read.
    fn take_widths(&mut self) -> Result1<Vec<u8>> {
        let widths = std::mem::take(&mut self.widths);
        match widths.iter().position(Option::is_none) {
            Some(gap) => self.fail(format!("{} has no width: it is never defined", Value(gap as u32))),
            None => Ok(widths.into_iter().flatten().collect()),
        }
    }

    /// Things between commas up to a closing sign, which is taken.
    fn list<T>(&mut self, close: &str, mut one: impl FnMut(&mut Self) -> Result1<T>) -> Result1<Vec<T>> {
        let mut items = Vec::new();
        if self.eat_sign(close)? {
            return Ok(items);
        }
        loop {
            items.push(one(self)?);
            if self.eat_sign(close)? {
                return Ok(items);
            }
            if !self.eat_sign(",")? {
                return self.expected(&format!("`,` or `{close}`"));
            }
        }
    }

    /// A list in parentheses.
    fn parens<T>(&mut self, one: impl FnMut(&mut Self) -> Result1<T>) -> Result1<Vec<T>> {
        self.sign("(")?;
        self.list(")", one)
    }

    /// Runs a parser one level deeper.
    fn deeper<T>(&mut self, one: impl FnOnce(&mut Self) -> Result1<T>) -> Result1<T> {
        if self.depth > MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        let result = one(self);
        self.depth -= 1;
        result
    }
}
