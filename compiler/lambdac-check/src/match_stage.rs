//! The match stage: which lambda gets a request.

use lambdac_diag::Diagnostic;
use lambdac_hir::{Dispatch, LambdaId, Match, Rule, Target, Type};
use lambdac_syntax::ast::{self, ItemKind as K};

use crate::body::{BodyCx, BodyKind};
use crate::names::{Entity, ROOT};
use crate::{Checker, Reported, Res};

impl Checker<'_> {
    /// Checks the `match`, or what stands for it where there is none.
    pub(crate) fn check_dispatch(&mut self) {
        self.module = ROOT;
        let root = self.names.modules[ROOT.0 as usize].file;
        if root.kind == ast::FileKind::Library {
            return;
        }
        let matches: Vec<&ast::Item> = root
            .items
            .iter()
            .filter(|item| matches!(item.kind, K::Match { .. }))
            .collect();
        self.check_workload_name(!matches.is_empty());
        if let [first, second, ..] = matches[..] {
            self.push(
                Diagnostic::error(
                    "E0310",
                    "a workload has at most one match",
                    second.span,
                    "a second one",
                )
                .with_label(first.span, "the first one")
                .with_help("put all rules into one"),
            );
        }
        let Some(first) = matches.first() else {
            return self.dispatch_without_match(root);
        };
        let K::Match { param, rules } = &first.kind else {
            return;
        };
        if let Ok(checked) = self.match_item(param, rules, first.span) {
            self.w.dispatch = Dispatch::Match(checked);
        }
    }

    fn dispatch_without_match(&mut self, root: &ast::File) {
        let lambdas = root
            .items
            .iter()
            .filter(|item| matches!(item.kind, K::Lambda { .. }))
            .count();
        if lambdas == 1 {
            self.w.dispatch = Dispatch::Only(LambdaId(0));
            return;
        }
        if self.had_errors_before {
            return;
        }
        let name = &root.name;
        if lambdas == 0 {
            let message = format!("workload `{}` has no lambda", name.text);
            self.warn(
                "W0301",
                message,
                name.span,
                "every request is answered BAD_REQUEST",
                "add a lambda: `lambda name(req: T) -> R { … }`",
            );
        } else {
            let message = format!("nothing chooses among the {lambdas} lambdas of `{}`", name.text);
            self.warn(
                "W0301",
                message,
                name.span,
                "every request is answered BAD_REQUEST; only tests can reach the lambdas",
                "add a match: `match (req: T) { condition => lambda, … }`",
            );
        }
    }

    fn match_item(
        &mut self,
        param: &ast::Field,
        rules: &[ast::Rule],
        span: lambdac_diag::Span,
    ) -> Res<Match> {
        self.body = BodyCx::constant();
        let request = self.message_type(&param.ty, "request");
        self.body = BodyCx::new(BodyKind::Condition);
        match &request {
            Ok(ty) => drop(
                self.body
                    .declare(&param.name.text, ty.clone(), false, param.name.span),
            ),
            Err(_) => self.body.declare_poisoned(&param.name.text),
        }
        let mut checked = Vec::with_capacity(rules.len());
        let mut failed = false;
        for (at, rule) in rules.iter().enumerate() {
            if rule.cond.is_none() && at + 1 < rules.len() {
                self.push(
                    Diagnostic::error(
                        "E0311",
                        "`_` must be the last rule",
                        rule.cond_span,
                        "this takes everything",
                    )
                    .with_label(rules[at + 1].span, "so this is never reached")
                    .with_help("move it to the end"),
                );
                failed = true;
            }
            match self.rule(rule) {
                Ok(rule) => checked.push(rule),
                Err(_) => failed = true,
            }
        }
        let request = request?;
        if failed {
            return Err(Reported);
        }
        let locals = std::mem::take(&mut self.body.locals);
        Ok(Match {
            request,
            locals,
            rules: checked,
            span,
        })
    }

    fn rule(&mut self, rule: &ast::Rule) -> Res<Rule> {
        let cond = rule.cond.as_ref().map(|cond| self.condition(cond)).transpose();
        let target = self.target_of(&rule.target);
        Ok(Rule {
            cond: cond?,
            target: target?,
            span: rule.span,
        })
    }

    fn condition(&mut self, cond: &ast::Expr) -> Res<lambdac_hir::Expr> {
        if let Some(span) = choice_in(cond) {
            return Err(self.error_help(
                "E0312",
                "a condition of the match can't hold an `if`",
                span,
                "only comparisons, `in`, `table.has`, calls of pure fns, `&&`, `||` and `!`",
                "write a fn that gives a bool",
            ));
        }
        self.expr_as(cond, &Type::Bool)
    }

    fn target_of(&mut self, name: &ast::Ident) -> Res<Target> {
        if let Some(id) = self.find_item(ROOT, std::slice::from_ref(name))
            && matches!(self.names.items[id.0 as usize].ast.kind, K::Lambda { .. })
        {
            return match self.entity(id) {
                Entity::Lambda(lambda) => Ok(Target::Lambda(lambda)),
                _ => Err(self.fail()),
            };
        }
        match &*name.text {
            "drop" => Ok(Target::Drop),
            "punt" => Ok(Target::Punt),
            _ => match self.find_item(ROOT, std::slice::from_ref(name)) {
                Some(id) => Err(self.wrong_kind(id, name.span, "a lambda, `drop` or `punt`", None)),
                None if self.silenced(&name.text) => Err(self.fail()),
                None => {
                    let message = format!("there is no lambda `{}`", name.text);
                    Err(self.unknown_lambda(name, "E0313", message))
                }
            },
        }
    }
}

/// Where an `if` stands in a condition, outside of brackets and arguments.
fn choice_in(cond: &ast::Expr) -> Option<lambdac_diag::Span> {
    match &cond.kind {
        ast::ExprKind::If(..) => Some(cond.span),
        ast::ExprKind::Unary(_, a) => choice_in(a),
        ast::ExprKind::Binary(_, a, b) => choice_in(a).or_else(|| choice_in(b)),
        _ => None,
    }
}
