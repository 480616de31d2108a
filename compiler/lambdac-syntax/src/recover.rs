//! Parsing one item, and going on after what is broken in it.
//!
//! pest stops at its first failure. So the innermost statement (or field, rule, entry) around it is reported and
//! painted over in a copy of the item's text, and the item is parsed again: now the next error shows. A second
//! failure at the same place is the same error; then the statement around it is painted over too. The number of tries
//! is bounded by the work they cost, so a large and thoroughly broken file stays linear.

use lambdac_diag::{FileId, Sink};
use pest::Parser;
use pest::iterators::Pair;

use crate::grammar::{Grammar, Rule};
use crate::items::{ItemTokens, Shape, Tokens};
use crate::message;

/// The mark that stands for a broken statement in the grammar.
const BROKEN: u8 = 1;

/// Bytes that one file may cost in second tries: this, and [`RETRY_FACTOR`] times its size.
const RETRY_BYTES: usize = 1 << 20;
const RETRY_FACTOR: usize = 4;

/// What second tries may still cost.
pub(crate) struct Budget {
    bytes: usize,
}

impl Budget {
    /// The budget for a file of `len` bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            bytes: RETRY_BYTES + RETRY_FACTOR * len,
        }
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(0);
        left.is_some()
    }
}

/// A run of tokens that was painted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Painted {
    first: usize,
    /// One past the last.
    end: usize,
}

/// Parses one item by `rule`, reports what is wrong in it, and gives what is left to `build`.
pub(crate) struct ItemParser<'a> {
    pub(crate) file: FileId,
    pub(crate) tokens: &'a Tokens<'a>,
    pub(crate) item: ItemTokens,
    /// Offsets of errors that the lexical pass has reported in this item.
    pub(crate) reported: &'a [u32],
    pub(crate) budget: &'a mut Budget,
}

impl ItemParser<'_> {
    /// The start of the item's text in the file.
    pub(crate) fn base(&self) -> usize {
        self.tokens.list[self.item.first].start as usize
    }

    pub(crate) fn parse<T>(
        &mut self,
        rule: Rule,
        sink: &mut Sink,
        build: impl FnOnce(&mut Sink, Pair<Rule>) -> T,
    ) -> Option<T> {
        let base = self.base();
        let original = &self.tokens.text[base..self.tokens.list[self.item.end - 1].end as usize];
        let mut copy: Option<Vec<u8>> = None;
        let mut painted: Vec<Painted> = Vec::new();
        for &offset in self.reported {
            let index = self.tokens.at(offset);
            if painted.iter().any(|p| (p.first..p.end).contains(&index)) {
                continue;
            }
            let part = self.part_around(index)?;
            self.paint(copy.get_or_insert_with(|| original.into()), &mut painted, part);
        }
        loop {
            let text = match &copy {
                Some(copy) => std::str::from_utf8(copy).ok()?,
                None => original,
            };
            let error = match Grammar::parse(rule, text) {
                Ok(mut pairs) => return pairs.next().map(|pair| build(sink, pair)),
                Err(error) => error,
            };
            let index = self.tokens.at((base + message::offset(&error)) as u32);
            let part = match painted.iter().find(|p| self.blames(p, index)).copied() {
                Some(part) => self.part_outside(part),
                None => {
                    sink.push(message::unexpected(self.file, self.tokens, index, &error));
                    self.part_around(index)
                }
            }?;
            if !self.budget.spend(text.len()) {
                return None;
            }
            self.paint(copy.get_or_insert_with(|| original.into()), &mut painted, part);
        }
    }

    /// Whether a failure at token `index` comes from what was painted over.
    fn blames(&self, painted: &Painted, index: usize) -> bool {
        let at_end = index == painted.end && matches!(self.tokens.word(index), ")" | "]" | "}");
        (painted.first..painted.end).contains(&index) || at_end
    }

    fn paint(&self, copy: &mut [u8], painted: &mut Vec<Painted>, part: Part) {
        let (first, end) = (part.tokens.first, part.tokens.end);
        let base = self.base();
        let bytes =
            self.tokens.list[first].start as usize - base..self.tokens.list[end - 1].end as usize - base;
        copy[bytes.clone()].fill(b' ');
        if part.marked {
            copy[bytes.start] = BROKEN;
        }
        painted.retain(|p| p.first < first || p.end > end);
        painted.push(part.tokens);
    }

    /// The innermost statement, step, field, rule or entry that token `index` is in, or the one before it that
    /// lacks its end.
    fn part_around(&self, index: usize) -> Option<Part> {
        let mut anchor = index;
        let mut parent = self.parent(anchor);
        while let Some(open) = parent {
            if let Some(list) = self.list_kind(open)
                && let Some(part) = self.part_of(open, list, anchor)
            {
                return Some(part);
            }
            anchor = open;
            parent = self.parent(anchor);
        }
        None
    }

    fn part_outside(&self, part: Painted) -> Option<Part> {
        let open = self.parent(part.first)?;
        self.part_around(open)
    }

    /// The bracket around a token, where that is of this item.
    fn parent(&self, index: usize) -> Option<usize> {
        self.tokens
            .parent(index)
            .filter(|&p| p >= self.item.first && p < self.item.end)
    }

    fn is_test(&self) -> bool {
        self.tokens.word(self.item.first) == "test"
    }

    /// What stands between the brackets that open at `open`, where they are braces of statements or of a list.
    fn list_kind(&self, open: usize) -> Option<List> {
        if self.tokens.word(open) != "{" {
            return None;
        }
        if self.parent(open).is_none() {
            return Some(if self.item.shape == Shape::List {
                List::Commas
            } else {
                List::Statements
            });
        }
        let is_literal = self.tokens.word(open + 2) == ":" && self.tokens.word(open + 1) != "let";
        if is_literal {
            return None;
        }
        let arms = self.children(open).any(|i| self.tokens.word(i) == "=>");
        Some(if arms { List::Commas } else { List::Statements })
    }

    /// The tokens directly inside a bracket, a group counting as its opening one.
    fn children(&self, open: usize) -> impl Iterator<Item = usize> {
        let close = self.tokens.group_end(open);
        let first = Some(open + 1).filter(|&i| i < close);
        std::iter::successors(first, move |&i| {
            Some(self.tokens.group_end(i) + 1).filter(|&next| next < close)
        })
    }

    /// The part that token `anchor`, a child of `open` or its closing bracket, is in.
    fn part_of(&self, open: usize, list: List, anchor: usize) -> Option<Part> {
        let mut first = open + 1;
        let mut previous: Option<Painted> = None;
        for child in self.children(open) {
            let end = self.tokens.group_end(child) + 1;
            if child > first && list.starts(self, child) {
                previous = Some(Painted { first, end: child });
                if previous.is_some_and(|p| anchor < p.end) {
                    break;
                }
                first = child;
            }
            if list.ends(self, child, end) {
                previous = Some(Painted { first, end });
                if anchor < end {
                    break;
                }
                first = end;
            }
        }
        let close = self.tokens.group_end(open);
        let tokens = match previous {
            Some(p) if anchor >= p.first && anchor < p.end => self.or_unfinished(open, list, p, anchor),
            // The closing bracket: what stands before it lacks its end.
            Some(p) if anchor >= close && first >= close => p,
            _ if first < close => Painted { first, end: close },
            _ => return None,
        };
        Some(Part {
            tokens,
            marked: list == List::Statements,
        })
    }

    /// A failure at the first token of a part is the fault of the part before it, where that has no end.
    fn or_unfinished(&self, open: usize, list: List, part: Painted, anchor: usize) -> Painted {
        if list != List::Statements || anchor != part.first || part.first == open + 1 {
            return part;
        }
        let last = part.first - 1;
        if matches!(self.tokens.word(last), ";" | "}") {
            return part;
        }
        self.part_of(open, list, self.child_before(open, part.first))
            .map_or(part, |p| p.tokens)
    }

    /// The child of `open` that ends right before token `index`.
    fn child_before(&self, open: usize, index: usize) -> usize {
        let mut last = index - 1;
        while let Some(parent) = self.parent(last).filter(|&p| p != open) {
            last = parent;
        }
        last
    }
}

/// A part of a list, and whether [`BROKEN`] takes its place.
#[derive(Clone, Copy)]
struct Part {
    tokens: Painted,
    marked: bool,
}

/// How the parts of a list are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Statements,
    Commas,
}

impl List {
    /// Whether a part ends with the child from `child` to `end`.
    fn ends(self, parser: &ItemParser, child: usize, end: usize) -> bool {
        let word = parser.tokens.word(child);
        let after_body = word == "{" && begins_part(parser.tokens.word(end));
        match self {
            Self::Statements => word == ";" || after_body,
            Self::Commas => word == "," || after_body && parser.tokens.word(end) != "=>",
        }
    }

    /// Whether a statement starts at `child` although the one before it has no end.
    fn starts(self, parser: &ItemParser, child: usize) -> bool {
        let previous = parser.tokens.word(child - 1);
        if self == Self::Commas || matches!(previous, "let" | "mut" | "for" | "if" | ".") {
            return false;
        }
        match parser.tokens.word(child) {
            // After these somebody takes it for an expression.
            "match" => !matches!(previous, "=" | "return" | "reply"),
            "let" | "return" | "reply" | "break" | "continue" | "for" | "while" => true,
            "expect" | "given" => parser.is_test(),
            _ => false,
        }
    }
}

/// Whether a token after `}` can be the first of a new part, and does not go on with the old one.
fn begins_part(word: &str) -> bool {
    match word {
        "else" | "as" | "in" | "max" | "with" => false,
        _ => word.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"' | '(' | '@')),
    }
}
