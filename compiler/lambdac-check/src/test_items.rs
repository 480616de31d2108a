//! `test` items: calls with their requests and answers, places of state, answers of services.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{
    CallStep, Callee, Dispatch, Expected, GivenResult, GivenStep, LambdaId, ParamId, PktField, PlaceBase,
    Projection, Request, ServiceOp, StateKind, StatePlace, Step, Target, Test, Type, Value, Workload,
};
use lambdac_syntax::ast::{self, ExprKind as E, ItemKind as K, StepKind};

use crate::body::BodyCx;
use crate::names::{Entity, ROOT, sorted};
use crate::services::MAX_ANSWER;
use crate::{Checker, Reported, Res, suggest};

/// The types that the messages of a workload have.
#[derive(Debug)]
pub(crate) struct MessageTypes {
    /// T's that a call of the workload may be written as, the match's first.
    requests: Rc<[Type]>,
    /// R's of all lambdas, those first that the match can reach.
    replies: Rc<[Type]>,
    /// R's of the lambdas that the match can reach, and of those that a `punt name;` can.
    answers: Rc<[Type]>,
    /// R's of the lambdas that a `punt name;` can reach.
    punted: Rc<[Type]>,
    /// Whether there are stream lambdas.
    has_streams: bool,
}

impl Default for MessageTypes {
    fn default() -> Self {
        Self {
            requests: Rc::new([]),
            replies: Rc::new([]),
            answers: Rc::new([]),
            punted: Rc::new([]),
            has_streams: false,
        }
    }
}

/// Each type once, in order.
fn distinct(types: impl Iterator<Item = Type>) -> Rc<[Type]> {
    let mut seen = HashSet::new();
    types.filter(|ty| seen.insert(ty.clone())).collect()
}

/// T of a lambda, if it reads its request.
fn request_type(w: &Workload, lambda: LambdaId) -> Option<Type> {
    match &w.lambdas[lambda.index()].request {
        Request::Typed(ty) => Some(ty.clone()),
        Request::Any => None,
    }
}

/// What `with` may set besides params.
const SETTINGS: [&str; 2] = ["now", "random"];

impl Checker<'_> {
    /// Checks all tests.
    pub(crate) fn check_tests(&mut self) {
        self.module = ROOT;
        let root = self.names.modules[ROOT.0 as usize].file;
        for item in &root.items {
            let K::Test {
                name,
                name_span,
                steps,
            } = &item.kind
            else {
                continue;
            };
            self.body = BodyCx::constant();
            let steps: Vec<Step> = steps.iter().filter_map(|step| self.step(step).ok()).collect();
            self.w.tests.push(Test {
                name: name.clone(),
                span: *name_span,
                steps,
            });
        }
    }

    fn step(&mut self, step: &ast::Step) -> Res<Step> {
        match &step.kind {
            StepKind::Expect {
                left,
                with,
                negated,
                right,
            } => match self.callee(left) {
                Some((callee, args)) => self.call_step(callee?, args, with, (*negated, right), step.span),
                None => self.state_step(left, with, (*negated, right), step.span),
            },
            StepKind::Given {
                service,
                op,
                args,
                result,
            } => self.given(service, op, args, result, step.span),
            StepKind::Broken => Err(self.fail()),
        }
    }

    /// What a call in a test calls; `None` if it is no call.
    fn callee<'e>(&mut self, left: &'e ast::Expr) -> Option<(Res<Callee>, &'e [ast::Expr])> {
        let E::Call(path, args) = &left.kind else {
            return None;
        };
        let root = self.names.modules[ROOT.0 as usize].file;
        let [name] = &path.segments[..] else {
            let message = "only lambdas and the workload can be called by a test";
            return Some((Err(self.error("E0801", message, path.span, "not a lambda")), args));
        };
        if name.text == root.name.text {
            return Some((Ok(Callee::Workload), args));
        }
        let callee = match self.find_item(ROOT, &path.segments) {
            Some(id) => match self.entity(id) {
                Entity::Lambda(lambda) => Ok(Callee::Lambda(lambda)),
                _ => Err(self.wrong_kind(id, name.span, "a lambda", None)),
            },
            None if self.silenced(&name.text) => Err(self.fail()),
            None => {
                let message = format!("there is no lambda or workload `{}` to call", name.text);
                Err(self.unknown_lambda(name, "E0801", message))
            }
        };
        Some((callee, args))
    }

    fn call_step(
        &mut self,
        callee: Callee,
        args: &[ast::Expr],
        with: &[(ast::Ident, ast::Expr)],
        (negated, right): (bool, &ast::Expr),
        span: Span,
    ) -> Res<Step> {
        let request = self.request(callee, args, span);
        let mut step = CallStep {
            callee,
            request: Vec::new(),
            pkt: Vec::new(),
            now: None,
            random: None,
            params: Vec::new(),
            expected: Expected::Drop,
            negated,
            span,
        };
        let settings = self.settings(with, &mut step);
        let expected = self.expected(callee, negated, right);
        settings?;
        step.request = request?;
        step.expected = expected?;
        self.all_params_given(&step)?;
        Ok(Step::Call(step))
    }

    /// The bytes of a call's request.
    fn request(&mut self, callee: Callee, args: &[ast::Expr], span: Span) -> Res<Vec<u8>> {
        let types = self.request_types(callee);
        match args {
            [] if types.is_empty() => Ok(Vec::new()),
            [_] if callee == Callee::Workload && self.dispatch_failed() => Err(self.fail()),
            [arg] => {
                let mut values = self.messages(arg, (&types, &types), "request")?;
                // One that fits several types is taken for the first: the match's, then its lambdas' in order.
                Ok(values.swap_remove(0))
            }
            _ => {
                let wanted = usize::from(!types.is_empty());
                let message = format!("a call has {wanted} request, not {}", args.len());
                Err(self.error("E0802", message, span, "one request is wanted here"))
            }
        }
    }

    /// Whether the workload has a match, or a lambda that takes everything, which has an error.
    fn dispatch_failed(&self) -> bool {
        let root = self.names.modules[ROOT.0 as usize].file;
        match &self.w.dispatch {
            Dispatch::Match(_) => false,
            Dispatch::Only(lambda) => lambda.index() >= self.w.lambdas.len(),
            Dispatch::Unreachable => root.items.iter().any(|item| matches!(item.kind, K::Match { .. })),
        }
    }

    /// T's that a call may be written as.
    fn request_types(&mut self, callee: Callee) -> Rc<[Type]> {
        match callee {
            Callee::Lambda(lambda) => request_type(&self.w, lambda).into_iter().collect(),
            Callee::Workload => self.message_types().requests.clone(),
        }
    }

    /// R's that a reply may be written as; after `punt name;` it is another lambda's.
    fn reply_types(&mut self, callee: Callee) -> Rc<[Type]> {
        let all = self.message_types().replies.clone();
        match callee {
            Callee::Lambda(lambda) => {
                let own = &self.w.lambdas[lambda.index()].reply;
                if all.first() == Some(own) {
                    return all;
                }
                std::iter::once(own).chain(all.iter()).cloned().collect()
            }
            Callee::Workload => all,
        }
    }

    /// R's of the lambdas that can answer a call.
    fn answer_types(&mut self, callee: Callee) -> Rc<[Type]> {
        match callee {
            Callee::Lambda(lambda) => {
                let punted = self.message_types().punted.clone();
                let own = &self.w.lambdas[lambda.index()].reply;
                distinct(std::iter::once(own).chain(punted.iter()).cloned())
            }
            Callee::Workload => self.message_types().answers.clone(),
        }
    }

    /// The types of all messages, each once; worked out when the first test needs them.
    fn message_types(&mut self) -> &MessageTypes {
        if self.message_types.is_none() {
            let matched = match &self.w.dispatch {
                Dispatch::Match(found) => Some(found.request.clone()),
                Dispatch::Only(_) | Dispatch::Unreachable => None,
            };
            let reachable = self.reachable();
            let requests = reachable
                .iter()
                .filter_map(|&lambda| request_type(&self.w, lambda));
            let first_replies = reachable
                .iter()
                .map(|lambda| self.w.lambdas[lambda.index()].reply.clone());
            let all_replies = self.w.lambdas.iter().map(|lambda| lambda.reply.clone());
            let punted = (self.punted.iter()).filter_map(|id| self.w.lambdas.get(id.index()));
            let punted = distinct(punted.map(|lambda| lambda.reply.clone()));
            self.message_types = Some(MessageTypes {
                requests: distinct(matched.into_iter().chain(requests)),
                answers: distinct(first_replies.clone().chain(punted.iter().cloned())),
                punted,
                replies: distinct(first_replies.chain(all_replies)),
                has_streams: self.w.lambdas.iter().any(|lambda| lambda.stream),
            });
        }
        self.message_types.get_or_insert_default()
    }

    /// Lambdas that the workload's match can reach.
    fn reachable(&self) -> Vec<LambdaId> {
        match &self.w.dispatch {
            Dispatch::Only(lambda) if lambda.index() < self.w.lambdas.len() => vec![*lambda],
            Dispatch::Only(_) | Dispatch::Unreachable => Vec::new(),
            Dispatch::Match(found) => (found.rules.iter())
                .filter_map(|rule| match rule.target {
                    Target::Lambda(lambda) => Some(lambda),
                    Target::Drop | Target::Punt => None,
                })
                .collect(),
        }
    }

    /// The bytes of a request or reply in each of its readings: raw, or a value of one of the `types`.
    ///
    /// Only an array literal has several, because its elements take the type that is expected of them: one for each
    /// of the array types in `likely` that it fits. Where it fits none, it is read like any other value.
    fn messages(
        &mut self,
        expr: &ast::Expr,
        (likely, types): (&[Type], &[Type]),
        what: &str,
    ) -> Res<Vec<Vec<u8>>> {
        let arrays = || likely.iter().filter(|ty| matches!(ty, Type::Array(..)));
        let mut readings = Vec::new();
        if matches!(expr.kind, E::Array(_) | E::Repeat(..)) && arrays().nth(1).is_some() {
            for ty in arrays() {
                let reading = self.attempt(|checker| {
                    let checked = checker.expr(expr, Some(ty))?;
                    Ok((checker.encoded(&checked)?, checked.ty))
                });
                if let Some((bytes, found)) = reading
                    && found == *ty
                {
                    readings.push(bytes);
                }
            }
        }
        if readings.is_empty() {
            readings.push(self.message(expr, types, what)?);
        }
        readings.dedup();
        Ok(readings)
    }

    /// The bytes of a request or reply: raw, or a value of one of the types.
    fn message(&mut self, expr: &ast::Expr, types: &[Type], what: &str) -> Res<Vec<u8>> {
        let raw = Type::Array(Arc::new(Type::U8), 1);
        let is_array_literal = matches!(expr.kind, E::Array(_) | E::Repeat(..));
        let hint = match types.iter().find(|ty| matches!(ty, Type::Array(..))) {
            None if is_array_literal => Some(&raw),
            found => found,
        };
        let checked = self.expr(expr, hint)?;
        let ty = checked.ty.clone();
        if let Type::Bytes(_) | Type::BytesView = ty {
            return self.encoded(&checked);
        }
        // A byte array is raw bytes too; a stream's message is any number of chunks.
        let streams = self.message_types().has_streams;
        let is_chunk_of = |chunk: &Type, elem: &Type| matches!(chunk, Type::Array(of, _) if **of == *elem);
        let is_elements =
            |elem: &Type| *elem == Type::U8 || streams && types.iter().any(|ty| is_chunk_of(ty, elem));
        if types.contains(&ty) || matches!(&ty, Type::Array(elem, _) if is_elements(elem)) {
            return self.encoded(&checked);
        }
        self.fold(&checked)?;
        let found = self.show(&ty);
        let mut wanted: Vec<String> = types.iter().map(|ty| self.show(ty)).collect();
        wanted.dedup();
        let label = match wanted.first() {
            Some(first) => format!("expected {first} or raw bytes"),
            None => "expected raw bytes".into(),
        };
        let message = format!("the {what} can't be written as {found}");
        Err(self.error_help(
            "E0802",
            message,
            expr.span,
            label,
            format!("write the {what} as its bytes: `b\"…\"`"),
        ))
    }

    fn settings(&mut self, with: &[(ast::Ident, ast::Expr)], step: &mut CallStep) -> Res<()> {
        let mut seen = HashSet::new();
        let mut failed = false;
        for (name, value) in with {
            if !seen.insert(name.text.clone()) {
                let message = format!("`{}` is set twice", name.text);
                self.error_help(
                    "E0803",
                    message,
                    name.span,
                    "set again here",
                    "remove one of the two",
                );
                failed = true;
                continue;
            }
            failed |= self.setting(name, value, step).is_err();
        }
        if failed { Err(Reported) } else { Ok(()) }
    }

    fn setting(&mut self, name: &ast::Ident, value: &ast::Expr, step: &mut CallStep) -> Res<()> {
        if let Some(field) = PktField::ALL.into_iter().find(|f| f.name() == &*name.text) {
            step.pkt
                .push((field, self.const_as(value, &Type::Int(field.ty()))?.as_int()));
            return Ok(());
        }
        match &*name.text {
            "now" => step.now = Some(self.const_as(value, &Type::U64)?.as_int()),
            "random" => step.random = Some(self.const_as(value, &Type::U32)?.as_int() as u32),
            _ => {
                let id = self.find_item(ROOT, std::slice::from_ref(name));
                match id.map(|id| self.entity(id)) {
                    Some(Entity::Param(param)) => {
                        let ty = self.w.params[param.index()].ty.clone();
                        let value = self.const_as(value, &ty)?;
                        step.params.push((param, (*value).clone()));
                    }
                    Some(Entity::Poisoned) => return Err(self.fail()),
                    _ if self.silenced(&name.text) => return Err(self.fail()),
                    _ => return Err(self.unknown_setting(name)),
                }
            }
        }
        Ok(())
    }

    fn unknown_setting(&mut self, name: &ast::Ident) -> Reported {
        let most = self.most_candidates();
        let params: Vec<Arc<str>> = self
            .w
            .params
            .iter()
            .take(most)
            .map(|param| param.name.clone())
            .collect();
        let pkt = PktField::ALL.map(PktField::name);
        let known = sorted(params.iter().map(|name| &**name).chain(pkt).chain(SETTINGS));
        let help = match suggest::nearest(&name.text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "a test sets {}, {} and params",
                pkt.join(", "),
                SETTINGS.join(", ")
            ),
        };
        let message = format!("a test can't set `{}`", name.text);
        self.error_help(
            "E0803",
            message,
            name.span,
            "not a field of `pkt`, `now`, `random` or a param",
            help,
        )
    }

    fn all_params_given(&mut self, step: &CallStep) -> Res<()> {
        let missing = self.w.params.iter().enumerate().find(|(at, param)| {
            param.default.is_none() && !step.params.iter().any(|(given, _)| *given == ParamId(*at as u32))
        });
        let Some((_, param)) = missing else { return Ok(()) };
        let (name, declared) = (param.name.clone(), param.span);
        Err(self.push(
            lambdac_diag::Diagnostic::error(
                "E0804",
                format!("param `{name}` has no default and must be given"),
                step.span,
                "not given here",
            )
            .with_label(declared, "declared here")
            .with_help(format!(
                "write `with {{ {name}: … }}` before `==`, or give it a default"
            )),
        ))
    }

    fn expected(&mut self, callee: Callee, negated: bool, right: &ast::Expr) -> Res<Expected> {
        let word = match &right.kind {
            E::Path(path) => match &path.segments[..] {
                [name] => match &*name.text {
                    "drop" => Some(Expected::Drop),
                    "punt" => Some(Expected::Punt),
                    "trap" => Some(Expected::Trap),
                    "bad_request" => Some(Expected::BadRequest),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        match word {
            Some(_) if negated => Err(self.error_help(
                "E0806",
                "`!=` compares replies only",
                right.span,
                "this is no reply",
                "`!= VALUE` needs a reply with other bytes; write what should happen after `==`",
            )),
            Some(word) => Ok(word),
            None => {
                let types = self.reply_types(callee);
                let likely = self.answer_types(callee);
                Ok(Expected::Reply(self.messages(
                    right,
                    (&likely, &types),
                    "reply",
                )?))
            }
        }
    }

    fn state_step(
        &mut self,
        left: &ast::Expr,
        with: &[(ast::Ident, ast::Expr)],
        (negated, right): (bool, &ast::Expr),
        span: Span,
    ) -> Res<Step> {
        if let Some((name, _)) = with.first() {
            return Err(self.error(
                "E0803",
                "`with` is for calls",
                name.span,
                "nothing is called here",
            ));
        }
        let (place, ty) = self.state_place(left)?;
        let value = (*self.const_as(right, &ty)?).clone();
        Ok(Step::State {
            place,
            value,
            negated,
            span,
        })
    }

    fn state_place(&mut self, left: &ast::Expr) -> Res<(StatePlace, Type)> {
        let (base, index) = match &left.kind {
            E::Index(base, index) => (&**base, Some(&**index)),
            _ => (left, None),
        };
        if let E::Path(path) = &base.kind
            && let Some(id) = self.find_item(ROOT, &path.segments)
            && let Entity::State(state) = self.entity(id)
            && let StateKind::Counter { count } = self.w.states[state.index()].kind
        {
            let index = index.map(|index| self.const_unsigned(index)).transpose()?;
            let in_range = match (count, index) {
                (None, None) => true,
                (Some(n), Some(at)) => at < u64::from(n),
                _ => false,
            };
            if !in_range {
                let name = self.w.states[state.index()].name.clone();
                let label = match count {
                    Some(n) => format!("it has elements 0 to {}", n - 1),
                    None => "it is one counter".to_string(),
                };
                let message = format!("this is no counter of `{name}`");
                return Err(self.error("E0801", message, left.span, label));
            }
            return Ok((StatePlace::Counter(state, index.map(|at| at as u32)), Type::U64));
        }
        if !self.is_state_place(left) {
            if let E::Path(path) = &base.kind {
                // An unknown name or an object that needs an operation has a message of its own.
                self.expr(
                    &ast::Expr {
                        kind: E::Path(path.clone()),
                        span: base.span,
                    },
                    None,
                )?;
            }
            return Err(self.error_help(
                "E0801",
                "a test expects something of a call or of state",
                left.span,
                "neither a call nor a place of state",
                "call a lambda or the workload, or name a counter, scalar, element or field",
            ));
        }
        let mut place = self.place(left)?;
        let PlaceBase::State(_) = place.base else {
            return Err(self.fail());
        };
        for projection in &mut place.projections {
            if let Projection::Index(index) = projection {
                index.kind = lambdac_hir::ExprKind::Value(self.fold(index)?);
            }
        }
        let ty = place.ty.clone();
        Ok((StatePlace::Value(place), ty))
    }

    fn given(
        &mut self,
        service: &ast::Ident,
        op: &ast::Ident,
        args: &[ast::Expr],
        result: &ast::Expr,
        span: Span,
    ) -> Res<Step> {
        let service = self.find_service(service);
        let op = self.service_op(op)?;
        let wanted = if op == ServiceOp::Set { 2 } else { 1 };
        if args.len() != wanted {
            return Err(self.argument_count("given", wanted, args, span, None));
        }
        let texts: Vec<_> = args.iter().map(|arg| self.raw_bytes(arg)).collect();
        let result = self.given_result(op, result);
        let mut texts = texts.into_iter();
        let key = texts.next().ok_or(Reported)??;
        let value = texts.next().transpose()?;
        Ok(Step::Given(GivenStep {
            service: service?,
            op,
            key,
            value,
            result: result?,
            span,
        }))
    }

    fn raw_bytes(&mut self, expr: &ast::Expr) -> Res<Vec<u8>> {
        let (value, ty) = self.const_expr(expr, None)?;
        match &*value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            _ => {
                let found = self.show(&ty);
                Err(self.error(
                    "E0204",
                    format!("expected a byte string, found {found}"),
                    expr.span,
                    "wanted here",
                ))
            }
        }
    }

    fn given_result(&mut self, op: ServiceOp, result: &ast::Expr) -> Res<GivenResult> {
        let is_fail = match &result.kind {
            E::Path(path) => matches!(&path.segments[..], [name] if &*name.text == "fail"),
            _ => false,
        };
        let wrong = |this: &mut Self, what: &str, help: &str| {
            Err(this.error_help(
                "E0805",
                what.to_string(),
                result.span,
                "not an answer to this request",
                help,
            ))
        };
        match (&result.kind, op) {
            (E::None, _) => Ok(GivenResult::None),
            _ if is_fail => Ok(GivenResult::Fail),
            (E::Bool(true), ServiceOp::Set | ServiceOp::Delete) => Ok(GivenResult::Done),
            (_, ServiceOp::Set | ServiceOp::Delete) => wrong(
                self,
                "`set` and `delete` are answered by true, none or fail",
                "write `true`, `none` or `fail`",
            ),
            (E::Bool(_), ServiceOp::Get) => wrong(
                self,
                "`get` is answered by a value, none or fail",
                "write `b\"…\"`, `none` or `fail`",
            ),
            (_, ServiceOp::Get) => {
                let bytes = self.raw_bytes(result)?;
                if bytes.len() > MAX_ANSWER as usize {
                    let message = format!(
                        "an answer of {} bytes is over the limit of {MAX_ANSWER}",
                        bytes.len()
                    );
                    return Err(self.error_help(
                        "E0805",
                        message,
                        result.span,
                        "too long",
                        "such an answer counts as failed: write `fail`",
                    ));
                }
                Ok(GivenResult::Value(bytes))
            }
        }
    }
}
