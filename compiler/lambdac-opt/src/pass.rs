//! What a pass is, the code it works on, and the pipeline that runs passes.
//!
//! A [`Pass`] is data: a name, what it does in a noun phrase, and a function over one piece of [`Code`] (a function,
//! all parts of a lambda, a condition of the match stage) or over the whole [`Module`]. [`optimize`] runs the
//! [`default_pipeline`] and reports what each pass did to each lambda.
//!
//! Passes rely on a validated module and leave a valid one. Whether a pass changed something is asked of the pass;
//! with [`Options::validate`] the text before and after must agree with its answer, and the module must stay valid.

use std::sync::Arc;

use lambdac_mir::{
    Body, Const, Dispatch, Effects, Func, FuncParam, MessageSize, Module, Object, Param, Region, SlotId,
    Term, Value,
};

/// Whether a pass changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The module is as it was.
    No,
    /// The module differs.
    Yes,
}

impl Changed {
    /// From a flag.
    pub fn from_bool(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }

    /// `Yes` if either is.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Yes { self } else { other }
    }
}

/// What a pass does its work on.
pub enum Run {
    /// One function, lambda or condition at a time.
    Code(fn(&mut Code<'_>, &Context) -> Changed),
    /// The module.
    Module(fn(&mut Module) -> Changed),
}

/// A pass.
pub struct Pass {
    /// Kebab-case; LLVM's name where one exists.
    pub name: &'static str,
    /// What it does, a noun phrase.
    pub summary: &'static str,
    /// The work.
    pub run: Run,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The longest message (language.md, section 2: any value is at most 1 MiB).
pub(crate) const MAX_MESSAGE: u32 = 1 << 20;

/// What code passes may know of the rest of the module.
#[derive(Debug, Default)]
pub struct Context {
    /// Read-only data.
    pub consts: Vec<Const>,
    /// Deploy-time parameters.
    pub params: Vec<Param>,
    /// State and tables.
    pub objects: Vec<Object>,
    /// What each function takes and does.
    pub sigs: Vec<Signature>,
}

/// A function as its callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its parameters.
    pub params: Vec<FuncParam>,
    /// What a call does to state and to what it is passed.
    pub effects: Effects,
}

/// One piece of code that shares values and slots.
pub struct Code<'a> {
    /// Values and slots.
    pub body: &'a mut Body,
    /// Where it can be entered: one for a function, one a part for a lambda.
    pub entries: Vec<Entry<'a>>,
    /// A function's parameters.
    pub args: Vec<FuncParam>,
    /// Bytes that the request can have here.
    pub request: MessageSize,
}

/// A way into a piece of code.
pub struct Entry<'a> {
    /// Scalars it is entered with.
    pub params: Vec<Value>,
    /// Slots that hold something on entry.
    pub live_slots: Vec<SlotId>,
    /// The code.
    pub region: &'a mut Region,
}

/// What [`optimize`] does.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of passes that are left out.
    pub disabled: Vec<String>,
    /// After which passes the module's text is kept.
    pub dump_after: Option<Dump>,
    /// Checks after every pass that the module is valid and that the pass told the truth about changes.
    pub validate: bool,
}

/// Which dumps are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// After every pass.
    All,
    /// After each run of the pass of this name.
    After(String),
}

/// What the passes did, in the order they ran.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each run of a pass.
    pub passes: Vec<PassReport>,
}

/// What one run of a pass did.
#[derive(Clone, Debug)]
pub struct PassReport {
    /// The pass.
    pub name: &'static str,
    /// Whether it changed anything.
    pub changed: Changed,
    /// Operations per lambda.
    pub lambdas: Vec<LambdaOps>,
    /// The module's text afterwards, where it was asked for.
    pub dump: Option<String>,
}

/// Operations of a lambda before and after a pass. A call counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaOps {
    /// The lambda.
    pub name: Arc<str>,
    /// Before.
    pub before: usize,
    /// After.
    pub after: usize,
}

/// All passes that exist, each once, in the order of their first run.
pub fn passes() -> impl Iterator<Item = &'static Pass> {
    let pipeline = default_pipeline();
    let firsts: Vec<&'static Pass> = (pipeline.iter().enumerate())
        .filter(|(at, pass)| pipeline[..*at].iter().all(|earlier| earlier.name != pass.name))
        .map(|(_, pass)| *pass)
        .collect();
    firsts.into_iter()
}

/// The passes in the order that [`optimize`] runs them. The scalar passes run three times: what one finds, the
/// others can use.
pub fn default_pipeline() -> Vec<&'static Pass> {
    crate::pipeline::default_pipeline()
}

/// Runs the default pipeline.
///
/// # Panics
///
/// With [`Options::validate`], where a pass left an invalid module or was wrong about having changed it: both are
/// bugs of the pass.
pub fn optimize(module: &mut Module, options: &Options) -> Report {
    let mut report = Report::default();
    for pass in default_pipeline() {
        if options.disabled.iter().any(|name| name == pass.name) {
            continue;
        }
        let before = lambda_sizes(module);
        let changed = if options.validate {
            run_checked(pass, module)
        } else {
            run_pass(pass, module)
        };
        let lambdas = (module.lambdas.iter().zip(before).zip(lambda_sizes(module)))
            .map(|((lambda, before), after)| LambdaOps {
                name: lambda.name.clone(),
                before,
                after,
            })
            .collect();
        let wanted = match &options.dump_after {
            None => false,
            Some(Dump::All) => true,
            Some(Dump::After(name)) => name == pass.name,
        };
        let dump = wanted.then(|| module.to_string());
        report.passes.push(PassReport {
            name: pass.name,
            changed,
            lambdas,
            dump,
        });
    }
    report
}

/// Operations of each lambda.
fn lambda_sizes(module: &Module) -> Vec<usize> {
    module
        .lambdas
        .iter()
        .map(|lambda| lambda.parts.iter().map(|part| part.region.op_count()).sum())
        .collect()
}

/// Runs one pass and holds it to its word.
pub(crate) fn run_checked(pass: &Pass, module: &mut Module) -> Changed {
    let before = module.to_string();
    let changed = run_pass(pass, module);
    let after = module.to_string();
    if let Err(errors) = lambdac_mir::validate(module) {
        panic!(
            "pass `{}` left an invalid module: {errors:?}\n--- before\n{before}\n--- after\n{after}",
            pass.name
        );
    }
    assert_eq!(
        changed,
        Changed::from_bool(before != after),
        "pass `{}` is wrong about having changed this:\n{before}\n--- after\n{after}",
        pass.name
    );
    changed
}

/// Runs one pass over a module.
pub fn run_pass(pass: &Pass, module: &mut Module) -> Changed {
    match pass.run {
        Run::Module(run) => run(module),
        Run::Code(run) => run_on_code(module, run),
    }
}

fn run_on_code(module: &mut Module, run: fn(&mut Code<'_>, &Context) -> Changed) -> Changed {
    let effects = lambdac_mir::func_effects(module);
    let sigs = (module.funcs.iter().zip(effects))
        .map(|(func, effects)| Signature {
            params: func.params.clone(),
            effects,
        })
        .collect();
    let cx = Context {
        consts: std::mem::take(&mut module.consts),
        params: std::mem::take(&mut module.params),
        objects: std::mem::take(&mut module.objects),
        sigs,
    };
    let mut changed = Changed::No;
    for mut code in codes(module) {
        changed = run(&mut code, &cx).or(changed);
    }
    module.consts = cx.consts;
    module.params = cx.params;
    module.objects = cx.objects;
    changed
}

/// Every piece of code of a module: functions, lambdas, conditions of the match stage.
pub(crate) fn codes(module: &mut Module) -> Vec<Code<'_>> {
    let any = MessageSize {
        min: 0,
        max: MAX_MESSAGE,
    };
    let mut codes: Vec<Code<'_>> = module.funcs.iter_mut().map(|func| func_code(func, any)).collect();
    for lambda in &mut module.lambdas {
        let entries = (lambda.parts.iter_mut())
            .map(|part| Entry {
                params: part.params.clone(),
                live_slots: part.live_slots.clone(),
                region: &mut part.region,
            })
            .collect();
        codes.push(Code {
            body: &mut lambda.body,
            entries,
            args: Vec::new(),
            request: lambda.request,
        });
    }
    if let Dispatch::Match(stage) = &mut module.dispatch {
        let request = MessageSize {
            min: stage.min_len,
            max: MAX_MESSAGE,
        };
        for rule in &mut stage.rules {
            rule.cond
                .for_each_func_mut(&mut |func| codes.push(func_code(func, request)));
        }
    }
    codes
}

fn func_code(func: &mut Func, request: MessageSize) -> Code<'_> {
    let scalars = func.params.iter().filter_map(|param| match param {
        FuncParam::Scalar(value) => Some(*value),
        FuncParam::Ref { .. } | FuncParam::View => None,
    });
    let entry = Entry {
        params: scalars.collect(),
        live_slots: Vec::new(),
        region: &mut func.region,
    };
    Code {
        body: &mut func.body,
        entries: vec![entry],
        args: func.params.clone(),
        request,
    }
}

impl Code<'_> {
    /// Runs `f` on each entry's region with the body beside it.
    pub(crate) fn for_each_region(&mut self, mut f: impl FnMut(&mut Body, &mut Region)) {
        for entry in &mut self.entries {
            f(self.body, entry.region);
        }
    }
}

/// A region that does nothing, to stand in for one that is being rewritten.
pub(crate) fn no_region() -> Region {
    Region {
        stmts: Vec::new(),
        term: Term::Yield(Vec::new()),
    }
}
