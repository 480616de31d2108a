//! Warns about rules of the `match` that never win, because an earlier one takes all they would, or because their
//! condition never holds.
//!
//! A condition is brought into alternatives of facts. A fact is a subject and the set of words that it may be: a
//! comparison with a constant gives a set of the compared expression, anything else is a bool that must be true (or
//! false). A rule is covered where each of its alternatives implies one of an earlier rule, or is taken apart between
//! several: what one of them leaves of it, others take. `_` after rules that take everything together is no mistake, but
//! a default.

use lambdac_diag::{Diagnostic, Sink, Span};
use lambdac_hir::{BinOp, Dispatch, Expr, ExprKind, Rule, Type, UnOp, Workload};

use crate::same::{constant, same_expr};

/// A rule is compared with so many before it, which keeps the check linear.
const MAX_COMPARED: usize = 256;
/// A condition of more alternatives is taken as one bool.
const MAX_ALTERNATIVES: usize = 64;
/// Most pieces that an alternative is taken apart into; beyond, it counts as not covered.
const MAX_PIECES: usize = 2_000;
/// Earlier rules that are pointed at where several cover one.
const MAX_SHOWN: usize = 3;

/// Checks the `match`.
pub fn check(workload: &Workload, sink: &mut Sink) {
    let Dispatch::Match(stage) = &workload.dispatch else {
        return;
    };
    let mut before: Vec<(&Rule, Alternatives)> = Vec::new();
    for rule in &stage.rules {
        let alternatives = match &rule.cond {
            None => always(),
            Some(cond) => possible(workload, alternatives(workload, cond, true)),
        };
        if alternatives.is_empty() {
            sink.push(never_holds(rule));
            continue;
        }
        let mut recent = before.iter().skip(before.len().saturating_sub(MAX_COMPARED));
        let covering = recent.find(|(_, earlier)| covers(workload, earlier, &alternatives));
        match covering {
            Some((earlier, alternatives)) => {
                sink.push(unreachable_rule(rule, earlier.span));
                // Nothing comes after a rule that always holds: one warning says it.
                if alternatives.iter().any(Vec::is_empty) {
                    return;
                }
            }
            None => {
                if let Some(together) = covered_together(workload, &before, rule, &alternatives) {
                    sink.push(never_left(rule, &together));
                }
                before.push((rule, alternatives));
            }
        }
    }
}

fn unreachable_rule(rule: &Rule, earlier: Span) -> Diagnostic {
    Diagnostic::warning(
        "W0051",
        "a rule that is never reached",
        rule.span,
        "an earlier rule takes all of this",
    )
    .with_label(earlier, "this rule wins")
    .with_help("put the narrower rule first, or take this one away")
}

fn never_left(rule: &Rule, earlier: &[Span]) -> Diagnostic {
    let label = "earlier rules take all of this together";
    let warning = Diagnostic::warning("W0051", "a rule that is never reached", rule.span, label);
    let shown = earlier.iter().take(MAX_SHOWN);
    shown
        .fold(warning, |warning, span| {
            warning.with_label(*span, "this rule takes a part")
        })
        .with_help("put the narrower rule first, or take this one away")
}

fn never_holds(rule: &Rule) -> Diagnostic {
    let label = "no request makes this condition true";
    Diagnostic::warning("W0051", "a rule that is never reached", rule.span, label)
        .with_help("take the rule away, or mend its condition")
}

/// Inclusive ranges of words, ascending, with gaps between them.
type Words = Vec<(u64, u64)>;

/// What must hold of a subject.
#[derive(Clone)]
struct Fact<'a> {
    subject: &'a Expr,
    kind: FactKind,
}

#[derive(Clone)]
enum FactKind {
    /// It is one of these words.
    Is(Words),
    /// `subject & mask == value`
    Masked { mask: u64, value: u64 },
}

/// Or of ands; an empty and holds always, an empty or never.
type Alternatives<'a> = Vec<Vec<Fact<'a>>>;

fn always<'a>() -> Alternatives<'a> {
    vec![Vec::new()]
}

/// The alternatives in which a condition is `wanted`.
fn alternatives<'a>(workload: &Workload, cond: &'a Expr, wanted: bool) -> Alternatives<'a> {
    match (&cond.kind, wanted) {
        (ExprKind::Value(_), _) => {
            if constant(cond) == Some(u64::from(wanted)) {
                always()
            } else {
                Vec::new()
            }
        }
        (ExprKind::Unary(UnOp::Not, inner), _) => alternatives(workload, inner, !wanted),
        (ExprKind::LogicAnd(a, b), true) | (ExprKind::LogicOr(a, b), false) => {
            let (left, right) = (
                alternatives(workload, a, wanted),
                alternatives(workload, b, wanted),
            );
            if left.len() * right.len() > MAX_ALTERNATIVES {
                return vec![vec![bool_fact(cond, wanted)]];
            }
            let both = |a: &Vec<Fact<'a>>, b: &Vec<Fact<'a>>| a.iter().chain(b).cloned().collect();
            left.iter()
                .flat_map(|a| right.iter().map(move |b| both(a, b)))
                .collect()
        }
        (ExprKind::LogicAnd(a, b), false) | (ExprKind::LogicOr(a, b), true) => {
            let mut either = alternatives(workload, a, wanted);
            either.extend(alternatives(workload, b, wanted));
            if either.len() > MAX_ALTERNATIVES {
                vec![vec![bool_fact(cond, wanted)]]
            } else {
                either
            }
        }
        _ => vec![vec![
            fact(workload, cond, wanted).unwrap_or_else(|| bool_fact(cond, wanted)),
        ]],
    }
}

fn bool_fact(cond: &Expr, wanted: bool) -> Fact<'_> {
    let word = u64::from(wanted);
    Fact {
        subject: cond,
        kind: FactKind::Is(vec![(word, word)]),
    }
}

/// A comparison of an unsigned expression with constants.
fn fact<'a>(workload: &Workload, cond: &'a Expr, wanted: bool) -> Option<Fact<'a>> {
    match &cond.kind {
        ExprKind::Binary(op, a, b) => {
            let (subject, op, word) = match (constant(a), constant(b)) {
                (None, Some(word)) => (&**a, *op, word),
                (Some(word), None) => (&**b, mirrored(*op), word),
                _ => return None,
            };
            if let (ExprKind::Binary(BinOp::And, inner, mask), BinOp::Eq, true) = (&subject.kind, op, wanted)
                && let Some(mask) = constant(mask)
            {
                return Some(Fact {
                    subject: inner,
                    kind: FactKind::Masked { mask, value: word },
                });
            }
            let max = max_word(workload, &subject.ty)?;
            words_fact(subject, compared(op, word, max)?, max, wanted)
        }
        ExprKind::InRange(subject, from, to) => {
            let max = max_word(workload, &subject.ty)?;
            let (from, to) = (constant(from)?, constant(to)?);
            let words = if from < to {
                vec![(from, to - 1)]
            } else {
                Vec::new()
            };
            words_fact(subject, words, max, wanted)
        }
        ExprKind::InPrefix { value, addr, mask } => {
            let max = max_word(workload, &value.ty)?;
            let first = addr & mask;
            words_fact(value, vec![(first, first | (!mask & max))], max, wanted)
        }
        _ => None,
    }
}

fn words_fact(subject: &Expr, words: Words, max: u64, wanted: bool) -> Option<Fact<'_>> {
    let words = if wanted { words } else { complement(&words, max) };
    Some(Fact {
        subject,
        kind: FactKind::Is(words),
    })
}

/// The largest word of a scalar type that is ordered as its words are.
fn max_word(workload: &Workload, ty: &Type) -> Option<u64> {
    workload
        .scalar_int(ty)
        .filter(|int| !int.signed)
        .map(|int| int.mask())
}

/// The operator with its sides exchanged.
fn mirrored(op: BinOp) -> BinOp {
    match op {
        BinOp::Lt => BinOp::Gt,
        BinOp::Le => BinOp::Ge,
        BinOp::Gt => BinOp::Lt,
        BinOp::Ge => BinOp::Le,
        other => other,
    }
}

/// The words `x` for which `x op word` holds.
fn compared(op: BinOp, word: u64, max: u64) -> Option<Words> {
    let up_to = |end: Option<u64>| end.map(|end| (0, end)).into_iter().collect();
    let from = |start: Option<u64>| {
        start
            .filter(|&s| s <= max)
            .map(|s| (s, max))
            .into_iter()
            .collect()
    };
    Some(match op {
        BinOp::Eq => vec![(word, word)],
        BinOp::Ne => complement(&[(word, word)], max),
        BinOp::Lt => up_to(word.checked_sub(1)),
        BinOp::Le => up_to(Some(word)),
        BinOp::Gt => from(word.checked_add(1)),
        BinOp::Ge => from(Some(word)),
        _ => return None,
    })
}

fn complement(words: &[(u64, u64)], max: u64) -> Words {
    let mut rest = Vec::new();
    let mut next = Some(0);
    for &(from, to) in words {
        if let Some(start) = next.filter(|&start| start < from) {
            rest.push((start, from - 1));
        }
        next = to.checked_add(1);
    }
    rest.extend(next.filter(|&start| start <= max).map(|start| (start, max)));
    rest
}

fn intersect(a: &[(u64, u64)], b: &[(u64, u64)]) -> Words {
    let pairs = a
        .iter()
        .flat_map(|x| b.iter().map(move |y| (x.0.max(y.0), x.1.min(y.1))));
    pairs.filter(|(from, to)| from <= to).collect()
}

/// What all facts of an alternative say of a subject.
fn words_of(workload: &Workload, facts: &[Fact<'_>], subject: &Expr) -> Option<Words> {
    let all = vec![(0, max_word(workload, &subject.ty)?)];
    Some(facts.iter().fold(all, |words, fact| match &fact.kind {
        FactKind::Is(of) if same_expr(fact.subject, subject) => intersect(&words, of),
        _ => words,
    }))
}

/// Leaves out alternatives that contradict themselves, and facts that always hold.
fn possible<'a>(workload: &Workload, mut alternatives: Alternatives<'a>) -> Alternatives<'a> {
    for facts in &mut alternatives {
        facts.retain(|fact| match &fact.kind {
            FactKind::Is(words) => {
                max_word(workload, &fact.subject.ty).is_none_or(|max| !complement(words, max).is_empty())
            }
            FactKind::Masked { mask, value } => (*mask, *value) != (0, 0),
        });
    }
    alternatives.retain(|facts| {
        facts.iter().all(|fact| match fact.kind {
            FactKind::Is(_) => words_of(workload, facts, fact.subject).is_none_or(|words| !words.is_empty()),
            FactKind::Masked { mask, value } => value & !mask == 0,
        })
    });
    alternatives
}

/// Whether whatever satisfies the later condition satisfies the earlier one.
fn covers(workload: &Workload, earlier: &Alternatives<'_>, later: &Alternatives<'_>) -> bool {
    later.iter().all(|facts| {
        earlier
            .iter()
            .any(|conclusion| conclusion.iter().all(|fact| implied(workload, facts, fact)))
    })
}

/// The earlier rules that take all of a rule together, in order, if they do.
fn covered_together<'a>(
    workload: &Workload,
    before: &[(&Rule, Alternatives<'a>)],
    rule: &Rule,
    alternatives: &Alternatives<'a>,
) -> Option<Vec<Span>> {
    rule.cond.as_ref()?;
    let recent = &before[before.len().saturating_sub(MAX_COMPARED)..];
    let mut cover = Cover {
        workload,
        earlier: recent
            .iter()
            .flat_map(|(rule, alternatives)| alternatives.iter().map(|facts| (rule.span, &facts[..])))
            .collect(),
        pieces: 0,
        used: vec![false; recent.iter().map(|(_, alternatives)| alternatives.len()).sum()],
    };
    if !alternatives.iter().all(|facts| cover.covers(facts.clone(), 0)) {
        return None;
    }
    let mut spans: Vec<Span> = (cover.earlier.iter().zip(&cover.used))
        .filter(|(_, used)| **used)
        .map(|((span, _), _)| *span)
        .collect();
    spans.dedup();
    Some(spans)
}

/// Takes alternatives apart between earlier ones.
struct Cover<'w, 'b, 'a> {
    workload: &'w Workload,
    earlier: Vec<(Span, &'b [Fact<'a>])>,
    pieces: usize,
    /// Which of the earlier ones took something.
    used: Vec<bool>,
}

impl<'a> Cover<'_, '_, 'a> {
    /// Whether the earlier alternatives from a place on take all of a piece. At most [`MAX_PIECES`] deep.
    fn covers(&mut self, piece: Vec<Fact<'a>>, from: usize) -> bool {
        self.pieces += 1;
        if self.pieces > MAX_PIECES {
            return false;
        }
        for at in from..self.earlier.len() {
            let facts = self.earlier[at].1;
            if self.apart(&piece, facts) {
                continue;
            }
            // What each fact leaves must be taken by others; the rest is this one's.
            let mut inside = piece.clone();
            let open: Vec<&Fact<'a>> = (facts.iter())
                .filter(|fact| !implied(self.workload, &piece, fact))
                .collect();
            if open.iter().any(|fact| self.opposite(fact).is_none()) {
                continue;
            }
            for fact in open {
                let mut outside = inside.clone();
                outside.extend(self.opposite(fact));
                if self.is_possible(&outside, fact.subject) && !self.covers(outside, at + 1) {
                    return false;
                }
                inside.push(fact.clone());
            }
            self.used[at] = true;
            return true;
        }
        false
    }

    /// Whether a piece and an alternative have nothing in common.
    fn apart(&self, piece: &[Fact<'a>], facts: &[Fact<'a>]) -> bool {
        let mut both = piece.to_vec();
        both.extend_from_slice(facts);
        facts.iter().any(|fact| !self.is_possible(&both, fact.subject))
    }

    /// Whether facts leave a subject a word.
    fn is_possible(&self, facts: &[Fact<'a>], subject: &Expr) -> bool {
        words_of(self.workload, facts, subject).is_none_or(|words| !words.is_empty())
    }

    /// What holds where a fact does not; none where that is no set of words.
    fn opposite(&self, fact: &Fact<'a>) -> Option<Fact<'a>> {
        let FactKind::Is(words) = &fact.kind else {
            return None;
        };
        let max = max_word(self.workload, &fact.subject.ty)?;
        Some(Fact {
            subject: fact.subject,
            kind: FactKind::Is(complement(words, max)),
        })
    }
}

fn implied(workload: &Workload, facts: &[Fact<'_>], conclusion: &Fact<'_>) -> bool {
    let words = words_of(workload, facts, conclusion.subject);
    match &conclusion.kind {
        FactKind::Is(of) => words.is_some_and(|words| {
            words
                .iter()
                .all(|&(from, to)| of.iter().any(|&(first, last)| first <= from && to <= last))
        }),
        FactKind::Masked { mask, value } => {
            let by_word = words.is_some_and(|words| match words.as_slice() {
                [(from, to)] => from == to && from & mask == *value,
                _ => false,
            });
            by_word
                || facts.iter().any(|fact| match fact.kind {
                    FactKind::Masked {
                        mask: more,
                        value: bits,
                    } => {
                        same_expr(fact.subject, conclusion.subject)
                            && more & mask == *mask
                            && bits & mask == *value
                    }
                    FactKind::Is(_) => false,
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_words_have_their_complements() {
        assert_eq!(complement(&[], 255), [(0, 255)]);
        assert_eq!(complement(&[(0, 255)], 255), []);
        assert_eq!(complement(&[(5, 5)], 255), [(0, 4), (6, 255)]);
        assert_eq!(
            complement(&[(0, 3), (u64::MAX, u64::MAX)], u64::MAX),
            [(4, u64::MAX - 1)]
        );
    }

    #[test]
    fn comparisons_at_the_ends_are_empty_or_full() {
        assert_eq!(compared(BinOp::Lt, 0, 255), Some(vec![]));
        assert_eq!(compared(BinOp::Ge, 0, 255), Some(vec![(0, 255)]));
        assert_eq!(compared(BinOp::Gt, 255, 255), Some(vec![]));
        assert_eq!(compared(BinOp::Gt, u64::MAX, u64::MAX), Some(vec![]));
        assert_eq!(compared(BinOp::Add, 1, 255), None);
    }
}
