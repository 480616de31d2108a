//! The `match` statement: patterns, and which values are left for later arms.

use std::collections::BTreeMap;

use lambdac_diag::Span;
use lambdac_hir::{IntType, MatchArm, StmtKind, Type, Value};
use lambdac_syntax::ast::{self, Pattern};

use crate::consteval::ordered;
use crate::stmts::Tail;
use crate::{Checker, Reported, Res};

/// A set of values as half-open ranges that do not touch: start to end.
#[derive(Debug, Default)]
struct Covered(BTreeMap<i128, i128>);

impl Covered {
    /// Adds `from..to`; whether any of it was new.
    fn add(&mut self, from: i128, to: i128) -> bool {
        if from >= to {
            return false;
        }
        let (mut from, mut to) = (from, to);
        if let Some((&start, &end)) = self.0.range(..=from).next_back()
            && end >= from
        {
            if end >= to {
                return false;
            }
            from = start;
        }
        while let Some((&start, &end)) = self.0.range(from..=to).next() {
            self.0.remove(&start);
            to = to.max(end);
        }
        self.0.insert(from, to);
        true
    }

    /// Whether all values of a type are in it.
    fn is_all(&self, int: IntType) -> bool {
        let (least, most) = bounds(int);
        self.0
            .range(..=least)
            .next_back()
            .is_some_and(|(_, &end)| end > most)
    }
}

/// The least and the greatest value of a type.
fn bounds(int: IntType) -> (i128, i128) {
    if int.signed {
        (-(1i128 << (int.bits - 1)), (1i128 << (int.bits - 1)) - 1)
    } else {
        (0, i128::from(int.mask()))
    }
}

/// What is matched, and what earlier arms have taken.
struct Arms {
    ty: Type,
    int: IntType,
    covered: Covered,
    any: bool,
}

impl Checker<'_> {
    /// `match e { … }`, and whether control leaves by it on every path.
    pub(crate) fn match_stmt(
        &mut self,
        scrutinee: &ast::Expr,
        arms: &[ast::MatchArm],
    ) -> Res<(StmtKind, bool)> {
        let scrutinee = self.expr(scrutinee, None).and_then(|e| match self.as_int(&e.ty) {
            Some(int) => Ok((e, int)),
            None if e.ty == Type::Unit => Err(self.no_value(e.span)),
            None => {
                let found = self.show(&e.ty);
                let help = matches!(e.ty, Type::Bool).then(|| "use `if`".to_string());
                let message = format!("`match` is for integers and enums, not for {found}");
                Err(self.error_maybe_help("E0206", message, e.span, format!("this is {found}"), help))
            }
        });
        let (scrutinee, int) = match scrutinee {
            Ok(scrutinee) => scrutinee,
            Err(reported) => {
                arms.iter()
                    .for_each(|arm| drop(self.block(&arm.body, Tail::Discard)));
                return Err(reported);
            }
        };
        let mut state = Arms {
            ty: scrutinee.ty.clone(),
            int,
            covered: Covered::default(),
            any: false,
        };
        let mut checked = Vec::with_capacity(arms.len());
        let mut failed = false;
        for arm in arms {
            match self.match_arm(arm, &mut state) {
                Ok(arm) => checked.push(arm),
                Err(_) => failed = true,
            }
        }
        if failed {
            return Err(Reported);
        }
        let complete = state.any || state.covered.is_all(state.int);
        let leaves = complete && checked.iter().all(|arm| arm.body.ty == Type::Never);
        Ok((
            StmtKind::Match {
                scrutinee,
                arms: checked,
            },
            leaves,
        ))
    }

    fn match_arm(&mut self, arm: &ast::MatchArm, state: &mut Arms) -> Res<MatchArm> {
        let mut checked = (Vec::new(), Vec::new(), false);
        let before = state.any;
        let mut failed = false;
        let mut useful = false;
        for pattern in &arm.patterns {
            match self.pattern(pattern, state, &mut checked) {
                Ok(new) => useful |= new,
                Err(_) => failed = true,
            }
        }
        let body = self.block(&arm.body, Tail::Discard);
        if failed {
            return Err(Reported);
        }
        if !useful || before {
            let span = arm
                .patterns
                .iter()
                .map(pattern_span)
                .reduce(Span::to)
                .unwrap_or(arm.span);
            self.warn(
                "W0202",
                "this arm is never reached",
                span,
                "earlier arms take all of its values",
                "remove it, or move it before them",
            );
        }
        let (ranges, values, any) = checked;
        Ok(MatchArm {
            ranges,
            values,
            any,
            body: body?,
        })
    }

    /// Adds a pattern to an arm; whether it takes any value that no earlier pattern takes.
    fn pattern(
        &mut self,
        pattern: &Pattern,
        state: &mut Arms,
        (ranges, values, any): &mut (Vec<(Value, Value)>, Vec<Value>, bool),
    ) -> Res<bool> {
        match pattern {
            Pattern::Any(_) => {
                *any = true;
                let useful = !state.any && !state.covered.is_all(state.int);
                state.any = true;
                Ok(useful)
            }
            Pattern::Value(expr) => {
                let bits = self.pattern_value(expr, &state.ty)?;
                let at = ordered(state.int, bits);
                values.push(Value::Int(bits));
                Ok(state.covered.add(at, at + 1))
            }
            Pattern::Range(from, to) => {
                let (from_bits, to_bits) = (
                    self.pattern_value(from, &state.ty),
                    self.pattern_value(to, &state.ty),
                );
                let (from_bits, to_bits) = (from_bits?, to_bits?);
                ranges.push((Value::Int(from_bits), Value::Int(to_bits)));
                Ok(state
                    .covered
                    .add(ordered(state.int, from_bits), ordered(state.int, to_bits)))
            }
        }
    }

    fn pattern_value(&mut self, expr: &ast::Expr, ty: &Type) -> Res<u64> {
        let checked = self.expr(expr, Some(ty))?;
        // An enum names integers: an integer may stand for it and the other way round.
        let checked = match (&checked.ty, ty) {
            (Type::Int(int), Type::Enum(id)) if self.w.enumeration(*id).repr == *int => checked,
            _ => self.coerce(checked, ty)?,
        };
        Ok(self.fold(&checked)?.as_int())
    }
}

fn pattern_span(pattern: &Pattern) -> Span {
    match pattern {
        Pattern::Value(expr) => expr.span,
        Pattern::Range(from, to) => from.span.to(to.span),
        Pattern::Any(span) => *span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut covered = Covered::default();
        assert!(covered.add(0, 10));
        assert!(!covered.add(3, 5));
        assert!(covered.add(20, 30));
        assert!(covered.add(10, 20));
        assert_eq!(covered.0.into_iter().collect::<Vec<_>>(), [(0, 30)]);
    }

    #[test]
    fn all_values_of_a_type_are_seen() {
        let mut covered = Covered::default();
        covered.add(128, 256);
        assert!(!covered.is_all(IntType::U8));
        covered.add(0, 128);
        assert!(covered.is_all(IntType::U8));
        let mut signed = Covered::default();
        signed.add(-128, 128);
        assert!(signed.is_all(IntType {
            bits: 8,
            signed: true
        }));
    }
}
