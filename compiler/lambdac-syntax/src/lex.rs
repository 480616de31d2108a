//! The lexical pass: tokens, doc comments, and the errors that are plain without any grammar.
//!
//! The grammar re-reads the text itself; these tokens serve to cut the file into items, to find the statement that
//! an error stands in, and to say what was found. The pass never fails: what it can't read becomes an
//! [`Kind::Unknown`] token and an error, and the text after it is read as usual.

use lambdac_diag::{Diagnostic, FileId, Sink, Span};

use crate::literal;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword, or `_`.
    Word,
    /// `10`, `0x1f`, `10u8`, `5ms`, `10.0.0.1`.
    Number,
    /// `b"…"`, `b'…'`, `"…"`.
    Quoted,
    /// An operator or separator.
    Punct,
    /// `(`, `[`, `{`.
    Open,
    /// `)`, `]`, `}`.
    Close,
    /// Not of the language; reported.
    Unknown,
}

/// A token: kind and byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A line of `///` or `//!`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DocLine {
    /// Index of the token that follows it.
    pub(crate) before: usize,
    /// Whether it is `//!`.
    pub(crate) inner: bool,
    /// The text after the mark.
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What the pass found.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) docs: Vec<DocLine>,
    /// Offsets of errors, ascending; what holds one was reported and is not complained of again.
    pub(crate) errors: Vec<u32>,
}

/// Operators of more than one character, longest first.
const LONG_PUNCT: [&str; 22] = [
    "<<=", ">>=", "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "..", "+=", "-=", "*=",
    "/=", "%=", "&=", "|=", "^=",
];

/// What a lossy conversion leaves where a byte was not UTF-8.
const LOST: char = char::REPLACEMENT_CHARACTER;

/// Reads all of `text`.
pub(crate) fn lex(file: FileId, text: &str, sink: &mut Sink) -> Lexed {
    let mut lexer = Lexer {
        file,
        text,
        bytes: text.as_bytes(),
        at: 0,
        out: Lexed::default(),
        sink,
    };
    if text.starts_with('\u{feff}') {
        lexer.at = '\u{feff}'.len_utf8();
    }
    while lexer.at < lexer.bytes.len() {
        lexer.step();
    }
    lexer.out
}

struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: Lexed,
    sink: &'a mut Sink,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let rest = &self.bytes[self.at..];
        match rest[0] {
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'/' if rest.starts_with(b"//") => self.line_comment(),
            b'/' if rest.starts_with(b"/*") => self.block_comment(),
            b'"' => self.quoted(0),
            b'b' if matches!(rest.get(1), Some(b'"' | b'\'')) => self.quoted(1),
            b'0'..=b'9' => self.number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let len = word_len(rest);
                self.word(len);
            }
            b'(' | b'[' | b'{' => self.token(Kind::Open, 1),
            b')' | b']' | b'}' => self.token(Kind::Close, 1),
            b';' | b',' | b':' | b'.' | b'@' | b'?' | b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*'
            | b'/' | b'%' | b'&' | b'|' | b'^' | b'~' => self.punct(),
            _ => self.unknown(),
        }
    }

    fn word(&mut self, len: usize) {
        if len > MAX_NAME_BYTES {
            let span = self.span(self.at, self.at + len);
            let label = format!("{len} bytes; at most {MAX_NAME_BYTES} make a name");
            self.error(Diagnostic::error("E0103", "the name is too long", span, label));
        }
        self.token(Kind::Word, len);
    }

    fn token(&mut self, kind: Kind, len: usize) {
        let start = self.at as u32;
        self.at += len;
        self.out.tokens.push(Token {
            kind,
            start,
            end: self.at as u32,
        });
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.out.errors.push(diagnostic.span().start);
        self.sink.push(diagnostic);
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start as u32, end as u32)
    }

    fn line_end(&self) -> usize {
        self.bytes[self.at..]
            .iter()
            .position(|&b| b == b'\n')
            .map_or(self.bytes.len(), |n| self.at + n)
    }

    fn line_comment(&mut self) {
        let end = self.line_end();
        let rest = &self.bytes[self.at..end];
        let outer = rest.starts_with(b"///") && !rest.starts_with(b"////");
        let inner = rest.starts_with(b"//!");
        if outer || inner {
            let before = self.out.tokens.len();
            self.out.docs.push(DocLine {
                before,
                inner,
                start: self.at as u32 + 3,
                end: end as u32,
            });
        }
        self.at = end;
    }

    fn block_comment(&mut self) {
        let body = self.at + 2;
        if let Some(len) = self.text[body..].find("*/") {
            self.at = body + len + 2;
            return;
        }
        let span = self.span(self.at, body);
        self.error(
            Diagnostic::error(
                "E0103",
                "unterminated comment",
                span,
                "this comment is never closed",
            )
            .with_help("end it with `*/`"),
        );
        self.token(Kind::Unknown, self.bytes.len() - self.at);
    }

    /// A literal in quotes, whose quote stands `prefix` bytes on.
    fn quoted(&mut self, prefix: usize) {
        let quote = self.bytes[self.at + prefix];
        let mut end = self.at + prefix + 1;
        loop {
            match self.bytes.get(end) {
                None | Some(b'\n') => return self.unterminated(prefix, quote),
                Some(b'\\') if self.bytes.get(end + 1).is_some_and(|&b| b != b'\n') => end += 2,
                Some(&b) if b == quote => break,
                Some(_) => end += 1,
            }
        }
        let (start, inside) = (self.at, self.at + prefix + 1);
        self.token(Kind::Quoted, end + 1 - self.at);
        let text = &self.text[inside..end];
        if let Some(lost) = text.find(LOST) {
            return self.lost(inside + lost);
        }
        let problem = match (prefix, quote) {
            (1, b'\'') => literal::byte(text).err(),
            _ => literal::check_escapes(text).err(),
        };
        if let Some(problem) = problem {
            let span = match problem.range {
                Some((from, to)) => self.span(inside + from, inside + to),
                None => self.span(start, end + 1),
            };
            self.error(problem.diagnostic(span));
        }
    }

    fn unterminated(&mut self, prefix: usize, quote: u8) {
        let end = self.line_end();
        let quote = char::from(quote);
        let span = self.span(self.at, self.at + prefix + 1);
        self.error(
            Diagnostic::error(
                "E0103",
                "unterminated literal",
                span,
                format!("no closing `{quote}` on this line"),
            )
            .with_help(format!(
                "end it with `{quote}`; a line break inside is written `\\n`"
            )),
        );
        self.token(Kind::Unknown, end - self.at);
    }

    fn number(&mut self) {
        let start = self.at;
        let mut end = start + word_len(&self.bytes[start..]);
        while self.bytes.get(end) == Some(&b'.') && self.bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end += 1 + word_len(&self.bytes[end + 1..]);
        }
        self.token(Kind::Number, end - start);
        if let Err(problem) = literal::number(&self.text[start..end]) {
            let span = self.span(start, end);
            self.error(problem.diagnostic(span));
        }
    }

    fn punct(&mut self) {
        let rest = &self.text[self.at..];
        let len = LONG_PUNCT
            .iter()
            .find(|p| rest.starts_with(**p))
            .map_or(1, |p| p.len());
        self.token(Kind::Punct, len);
    }

    /// The mark that takes the place of bytes that were not UTF-8.
    fn lost(&mut self, at: usize) {
        let span = self.span(at, at + LOST.len_utf8());
        let label = "U+FFFD: a byte here was not UTF-8, and was lost";
        self.error(
            Diagnostic::error("E0108", "the file was not UTF-8", span, label)
                .with_help("bytes beyond ASCII are written `\\xNN` in a byte string"),
        );
    }

    /// A run of characters that no token starts with, as one error.
    fn unknown(&mut self) {
        let rest = &self.text[self.at..];
        let strange = |c: char| !c.is_ascii() || c.is_ascii_control() && !c.is_ascii_whitespace();
        let first = rest.chars().next().unwrap_or(' ');
        let len = rest
            .find(|c: char| !strange(c))
            .unwrap_or(rest.len())
            .max(first.len_utf8());
        if first == LOST {
            self.lost(self.at);
            return self.token(Kind::Unknown, len);
        }
        let span = self.span(self.at, self.at + len);
        let message = match first {
            c if c.is_control() => format!("unknown character U+{:04X}", u32::from(c)),
            c => format!("unknown character `{c}`"),
        };
        let d = Diagnostic::error("E0103", message, span, "not a character of the language");
        self.error(match first {
            '\'' => d.with_help("a byte is written `b'a'`"),
            c if c.is_alphabetic() => d.with_help("names are of ASCII letters, digits and `_`"),
            _ => d,
        });
        self.token(Kind::Unknown, len);
    }
}

/// Bytes in a name, at most: a workload's name is part of a file's name in a bundle.
const MAX_NAME_BYTES: usize = 200;

fn word_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
        .unwrap_or(bytes.len())
}
