//! Runs one test on one target.

use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{
    CallStep, Callee, Dispatch, Expected, GivenStep, LambdaId, StatePlace, Step, Target as RuleTarget, Test,
    Type, Value, Workload,
};

use crate::interpreter::Env;
use crate::random::test_seed;
use crate::runner::render::render_reply;
use crate::runner::{CallResult, Givens, Target, render_value};

/// A step that went otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub span: Span,
    /// What was expected, readably.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestResult {
    /// As expected.
    Passed,
    /// Otherwise: at least one failure, in the order of the steps.
    Failed(Vec<Failure>),
    /// It can't run on this target: the reason.
    Skipped(String),
}

/// Runs the steps of a test in order, all of them even after a failure.
pub fn run_test(workload: &Arc<Workload>, test: &Test, target: &mut dyn Target) -> TestResult {
    if let Err(reason) = target.begin(test, test_seed(&test.name)) {
        return TestResult::Skipped(reason);
    }
    let mut run = Run {
        workload,
        givens: Givens::new(workload),
        failures: Vec::new(),
    };
    for step in &test.steps {
        match step {
            Step::Given(given) => run.givens.push(given),
            Step::Call(call) => run.call(call, target),
            Step::State {
                place,
                value,
                negated,
                span,
            } => {
                run.read(place, value, *negated, *span, target);
            }
        }
    }
    for unused in run.givens.unused() {
        run.unused(&unused);
    }
    if run.failures.is_empty() {
        TestResult::Passed
    } else {
        TestResult::Failed(run.failures)
    }
}

struct Run<'a> {
    workload: &'a Arc<Workload>,
    givens: Givens,
    failures: Vec<Failure>,
}

impl Run<'_> {
    fn fail(&mut self, span: Span, expected: String, got: String) {
        self.failures.push(Failure { span, expected, got });
    }

    fn call(&mut self, step: &CallStep, target: &mut dyn Target) {
        let env = match self.env(step) {
            Ok(env) => env,
            Err(param) => {
                let expected = format!("a value for param `{param}`, which has no default");
                return self.fail(step.span, expected, "none: add `with { … }`".to_owned());
            }
        };
        let result = target.call(step, &env, &mut self.givens);
        for unexpected in self.givens.take_unexpected() {
            let expected = unexpected
                .expected
                .unwrap_or_else(|| "no request to a service".to_owned());
            self.fail(step.span, expected, unexpected.got);
        }
        if !as_expected(step, &result) {
            let ty = reply_type(self.workload, step.callee);
            let expected = self.render_expected(step, ty);
            let got = self.render_result(&result, ty);
            self.fail(step.span, expected, with_difference(step, &result, got));
        }
    }

    /// What a call sees: the defaults, and what its `with` sets.
    fn env(&self, step: &CallStep) -> Result<Env, Arc<str>> {
        let mut env = Env::new(self.workload);
        for (number, param) in self.workload.params.iter().enumerate() {
            let set = step.params.iter().rev().find(|(id, _)| id.index() == number);
            match set {
                Some((_, value)) => env.params[number] = value.clone(),
                None if param.default.is_none() => return Err(param.name.clone()),
                None => {}
            }
        }
        for &(field, value) in &step.pkt {
            env.pkt.set(field, value);
        }
        env.now = step.now.unwrap_or(env.now);
        env.random = step.random;
        Ok(env)
    }

    fn read(
        &mut self,
        place: &StatePlace,
        value: &Value,
        negated: bool,
        span: Span,
        target: &mut dyn Target,
    ) {
        let ty = match place {
            StatePlace::Value(place) => place.ty.clone(),
            StatePlace::Counter(..) => Type::U64,
        };
        let not = if negated { "not " } else { "" };
        let expected = format!("{not}{}", render_value(self.workload, &ty, value));
        match target.read(place) {
            Ok(got) if (got == *value) != negated => {}
            Ok(got) => {
                let got = render_value(self.workload, &ty, &got);
                self.fail(span, expected, got);
            }
            Err(reason) => self.fail(span, expected, reason),
        }
    }

    fn unused(&mut self, step: &GivenStep) {
        let request = self
            .givens
            .render(step.service, step.op, &step.key, step.value.as_deref());
        self.fail(
            step.span,
            format!("the request {request}"),
            "no such request".to_owned(),
        );
    }

    fn render_expected(&self, step: &CallStep, ty: Option<&Type>) -> String {
        let text = match &step.expected {
            Expected::Reply(wanted) => {
                let all: Vec<String> = wanted
                    .iter()
                    .map(|bytes| render_reply(self.workload, ty, bytes))
                    .collect();
                all.join(" or ")
            }
            Expected::Drop => "drop".to_owned(),
            Expected::Punt => "punt".to_owned(),
            Expected::Trap => "trap".to_owned(),
            Expected::BadRequest => "bad_request".to_owned(),
        };
        if step.negated {
            format!("a reply other than {text}")
        } else {
            text
        }
    }

    fn render_result(&self, result: &CallResult, ty: Option<&Type>) -> String {
        match result {
            CallResult::Reply(bytes) => render_reply(self.workload, ty, bytes),
            CallResult::Drop => "drop".to_owned(),
            CallResult::Punt => "punt".to_owned(),
            CallResult::Trap(cause) if cause.is_empty() => "trap".to_owned(),
            CallResult::Trap(cause) => format!("trap: {cause}"),
            CallResult::BadRequest => "bad_request".to_owned(),
            CallResult::Error(reason) => format!("an error: {reason}"),
        }
    }
}

/// Whether a call ended as its step says; `!=` still needs a reply.
fn as_expected(step: &CallStep, result: &CallResult) -> bool {
    match (&step.expected, result) {
        (Expected::Reply(wanted), CallResult::Reply(bytes)) => wanted.contains(bytes) != step.negated,
        (_, CallResult::Reply(_)) => step.negated,
        (Expected::Drop, CallResult::Drop)
        | (Expected::Punt, CallResult::Punt)
        | (Expected::Trap, CallResult::Trap(_))
        | (Expected::BadRequest, CallResult::BadRequest) => !step.negated,
        _ => false,
    }
}

/// Points at the first byte of a long reply that differs.
fn with_difference(step: &CallStep, result: &CallResult, got: String) -> String {
    const LONG: usize = 32;
    let (Expected::Reply(wanted), CallResult::Reply(bytes)) = (&step.expected, result) else {
        return got;
    };
    let [wanted] = &wanted[..] else {
        return got;
    };
    if step.negated || wanted.len().max(bytes.len()) < LONG {
        return got;
    }
    let at = wanted.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    let lengths = if wanted.len() == bytes.len() {
        String::new()
    } else {
        format!(", {} bytes instead of {}", bytes.len(), wanted.len())
    };
    format!("{got} (first difference at byte {at}{lengths})")
}

/// R, if all lambdas that can answer the callee have one R.
fn reply_type(workload: &Workload, callee: Callee) -> Option<&Type> {
    let of = |id: LambdaId| &workload.lambdas[id.index()].reply;
    let dispatch = match callee {
        Callee::Lambda(id) => return Some(of(id)),
        Callee::Workload => &workload.dispatch,
    };
    match dispatch {
        Dispatch::Only(id) => Some(of(*id)),
        Dispatch::Unreachable => None,
        Dispatch::Match(stage) => {
            let mut types = stage.rules.iter().filter_map(|rule| match rule.target {
                RuleTarget::Lambda(id) => Some(of(id)),
                RuleTarget::Drop | RuleTarget::Punt => None,
            });
            let first = types.next()?;
            types.all(|ty| ty == first).then_some(first)
        }
    }
}
