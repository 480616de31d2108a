//! The constructs of the language, and how often programs use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Program;

/// Every construct that the generator must use in at least 1 % of programs.
pub const FEATURES: &[&str] = &[
    "enum",
    "struct",
    "header",
    "const",
    "param",
    "use",
    "doc comment",
    "bool field",
    "enum field",
    "array field",
    "bytes field",
    "fields across bytes",
    "bool",
    "unsigned",
    "odd width",
    "signed",
    "array",
    "nested array",
    "bytes",
    "option",
    "literal suffix",
    "literal without suffix",
    "hex literal",
    "binary literal",
    "byte literal",
    "address literal",
    "duration literal",
    "bytes literal",
    "add",
    "sub",
    "mul",
    "div",
    "rem",
    "and",
    "or",
    "xor",
    "shl",
    "shr",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in range",
    "in prefix",
    "&&",
    "||",
    "!",
    "~",
    "neg",
    "cast",
    "cast of bool",
    "cast of enum",
    "widen",
    "narrow",
    "index",
    "slice",
    "bytes index",
    "array literal",
    "repeat literal",
    "struct literal",
    "if expression",
    "bytes equality",
    "aggregate equality",
    "len",
    "push",
    "append",
    "clear",
    "pad",
    "bytes()",
    "min",
    "max",
    "crc32",
    "crc16",
    "now",
    "random",
    "log",
    "text",
    "net",
    "let",
    "let mut",
    "let zero",
    "assign",
    "assign field",
    "assign element",
    "assign op",
    "if",
    "else",
    "else if",
    "match",
    "match range",
    "match alternatives",
    "match enum",
    "for",
    "for max",
    "while",
    "break",
    "continue",
    "let else",
    "if let",
    "return",
    "fn",
    "fn with bytes view",
    "fn with aggregate",
    "fn giving option",
    "fn giving aggregate",
    "fn touching state",
    "@inline",
    "lambda without parameter",
    "reply",
    "drop",
    "punt",
    "punt name",
    "pkt",
    "stream",
    "whole message",
    "match stage",
    "rule compares",
    "rule range",
    "rule prefix",
    "rule mask",
    "rule has",
    "rule calls",
    "rule and",
    "rule or",
    "rule not",
    "rule any",
    "rule drop",
    "rule punt",
    "T is bytes",
    "T is a header",
    "T is an array",
    "R is bytes",
    "R is a header",
    "R is an array",
    "state scalar",
    "state array",
    "state struct",
    "state initial",
    "state bool",
    "state enum",
    "fetch_add",
    "fetch_sub",
    "swap",
    "cas",
    "counter",
    "counter array",
    "counter read",
    "lru",
    "lru ttl",
    "lru get",
    "lru put",
    "lru remove",
    "lru fetch_add",
    "map",
    "map get",
    "map insert",
    "map remove",
    "map fetch_add",
    "struct key",
    "bytes value",
    "table exact",
    "table lpm",
    "table ternary",
    "table get",
    "table has",
    "service",
    "await get",
    "await set",
    "await delete",
    "failed",
    "if let await",
    "live across await",
    "wide enum",
    "variant without a number",
    "enum equality",
    "size by a constant",
    "comment",
    "index of a constant",
    "nested index",
    "array len",
    "hash of an integer",
    "log bytes",
    "none",
    "option local",
    "option assign",
    "option parameter",
    "fn giving nothing",
    "call statement",
    "for of another type",
    "assign state",
    "assign state element",
    "assign state field",
    "state array of structs",
    "@memory",
    "@deadline",
    "@on",
];

/// Every way in which a request may end, each of which at least 1 % of programs must see.
pub const ENDINGS: &[&str] = &[
    "ends in reply",
    "ends in drop",
    "ends in punt",
    "ends in bad_request",
    "traps by index",
    "traps by slice",
    "traps by capacity",
    "traps by narrow",
    "traps by pad",
    "traps by loop-max",
];

/// What was seen of a program while it ran.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often each rule of its match held.
    pub rule_hits: Vec<u64>,
    /// The ways in which its requests ended, of [`ENDINGS`].
    pub endings: BTreeSet<&'static str>,
}

/// How often constructs were used, and how requests fared.
#[derive(Clone, Debug, Default)]
pub struct UseCounts {
    programs: u64,
    uses: BTreeMap<&'static str, u64>,
    /// Rules that were hit, by what they are made of.
    hit_by_kind: BTreeMap<&'static str, u64>,
    requests: u64,
    fitting: u64,
    rules: u64,
    rules_hit: u64,
    hit_by_index: BTreeMap<u32, u64>,
}

impl UseCounts {
    /// Counts a program and what was seen of it.
    pub fn add(&mut self, program: &Program, seen: &Seen) {
        self.programs += 1;
        for feature in program.features.iter().chain(&seen.endings) {
            *self.uses.entry(feature).or_default() += 1;
        }
        self.requests += program.requests.len() as u64;
        self.fitting += program.requests.iter().filter(|request| request.fits).count() as u64;
        let hits = &seen.rule_hits;
        self.rules += hits.len() as u64;
        for (index, _) in hits.iter().enumerate().filter(|&(_, &hit)| hit > 0) {
            self.rules_hit += 1;
            *self.hit_by_index.entry(index as u32).or_default() += 1;
            for kind in program.rules.get(index).into_iter().flatten() {
                *self.hit_by_kind.entry(kind).or_default() += 1;
            }
        }
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Self) {
        self.programs += other.programs;
        for (feature, count) in &other.uses {
            *self.uses.entry(feature).or_default() += count;
        }
        self.requests += other.requests;
        self.fitting += other.fitting;
        self.rules += other.rules;
        self.rules_hit += other.rules_hit;
        for (kind, count) in &other.hit_by_kind {
            *self.hit_by_kind.entry(kind).or_default() += count;
        }
        for (index, count) in &other.hit_by_index {
            *self.hit_by_index.entry(*index).or_default() += count;
        }
    }

    /// Constructs and endings that fewer than 1 % of the programs have.
    pub fn rare(&self) -> Vec<&'static str> {
        let count = |feature: &&&str| self.uses.get(**feature).copied().unwrap_or(0);
        FEATURES
            .iter()
            .chain(ENDINGS)
            .filter(|feature| count(feature) * 100 < self.programs)
            .copied()
            .collect()
    }

    /// Uses that are in none of the lists: a mistake of the generator.
    pub fn unlisted(&self) -> Vec<&'static str> {
        self.uses
            .keys()
            .filter(|feature| !FEATURES.contains(feature) && !ENDINGS.contains(feature))
            .copied()
            .collect()
    }

    /// Requests of 100 that fit what the workload takes.
    pub fn fitting_percent(&self) -> u64 {
        self.fitting * 100 / self.requests.max(1)
    }

    /// Match rules of 100 that were reached.
    pub fn rules_hit_percent(&self) -> u64 {
        self.rules_hit * 100 / self.rules.max(1)
    }

    /// Kinds of match rules that exist and of which no request met one.
    pub fn rules_never_hit(&self) -> Vec<&'static str> {
        let used = |kind: &&&str| kind.starts_with("rule ") && self.uses.contains_key(**kind);
        FEATURES
            .iter()
            .filter(used)
            .filter(|kind| !self.hit_by_kind.contains_key(**kind))
            .copied()
            .collect()
    }

    /// Places in a match, from 0, that no program's request reached below the highest that exists.
    pub fn places_never_hit(&self) -> Vec<u32> {
        let last = self.hit_by_index.keys().next_back().copied().unwrap_or(0);
        (0..last)
            .filter(|index| !self.hit_by_index.contains_key(index))
            .collect()
    }
}

impl fmt::Display for UseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} programs, {} requests, {} % of them fit T, {} of {} match rules reached",
            self.programs,
            self.requests,
            self.fitting_percent(),
            self.rules_hit,
            self.rules
        )?;
        for feature in FEATURES.iter().chain(ENDINGS) {
            let count = self.uses.get(feature).copied().unwrap_or(0);
            write!(
                f,
                "{:>7.1} %  {feature}",
                count as f64 * 100.0 / self.programs.max(1) as f64
            )?;
            match self.hit_by_kind.get(feature) {
                Some(hits) => writeln!(f, ", {hits} of these rules reached")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
