//! The checker's state and how it reports.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lambdac_diag::{Diagnostic, Sink, SourceMap, Span};
use lambdac_hir::{Dispatch, EnumId, LambdaId, StructId, Type, Value, Workload};
use lambdac_syntax::ast;

use crate::Sources;
use crate::body::BodyCx;
use crate::fns::FnSignature;
use crate::libraries::Libraries;
use crate::names::{ItemId, ModuleId, Names, ROOT};
use crate::test_items::MessageTypes;
use crate::types::StructFacts;

/// An error was reported; what depends on the failed part keeps silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported;

/// A result whose error has been reported.
pub(crate) type Res<T> = Result<T, Reported>;

/// The state of one check.
pub(crate) struct Checker<'a> {
    pub(crate) map: &'a SourceMap,
    pub(crate) sources: &'a dyn Sources,
    sink: &'a mut Sink,
    /// Whether anything was reported or passed over in silence.
    pub(crate) failed: bool,
    /// Whether there were errors before checking began: then names may be missing through no fault of theirs.
    pub(crate) had_errors_before: bool,
    /// What is being built.
    pub(crate) w: Workload,
    /// All items of all files.
    pub(crate) names: Names<'a>,
    /// The file whose item is being checked.
    pub(crate) module: ModuleId,
    /// The body being checked.
    pub(crate) body: BodyCx,
    /// By [`lambdac_hir::FnId`].
    pub(crate) fn_signatures: Vec<FnSignature>,
    /// By [`lambdac_hir::StructId`].
    pub(crate) struct_facts: Vec<StructFacts>,
    /// Contents of included files, by file and path.
    pub(crate) included: HashMap<(ModuleId, Arc<str>), Res<Arc<Value>>>,
    /// All-zeros values that were needed, by type.
    pub(crate) zeros: HashMap<Type, Arc<Value>>,
    /// Where each variant of each enum stands in it.
    pub(crate) variant_of: HashMap<(EnumId, Arc<str>), u32>,
    /// Where each field of each struct stands in it.
    pub(crate) field_of: HashMap<(StructId, Arc<str>), u32>,
    /// The types of the workload's messages, for tests.
    pub(crate) message_types: Option<MessageTypes>,
    /// Targets of `punt name;`.
    pub(crate) punted: BTreeSet<LambdaId>,
    /// How many more suggestions are looked for.
    pub(crate) suggestions_left: u32,
    /// Parts of constants that were made so far; see [`crate::consteval`].
    pub(crate) constant_parts: Cell<u64>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        root: &'a ast::File,
        libraries: &'a Libraries,
        map: &'a SourceMap,
        sources: &'a dyn Sources,
        sink: &'a mut Sink,
    ) -> Self {
        let w = Workload {
            name: root.name.text.clone(),
            span: root.name.span,
            file: root.file,
            docs: root.docs.clone(),
            enums: Vec::new(),
            structs: Vec::new(),
            consts: Vec::new(),
            params: Vec::new(),
            states: Vec::new(),
            tables: Vec::new(),
            services: Vec::new(),
            fns: Vec::new(),
            lambdas: Vec::new(),
            dispatch: Dispatch::Unreachable,
            tests: Vec::new(),
        };
        let had_errors_before = sink.has_errors();
        let mut checker = Self {
            map,
            sources,
            sink,
            failed: false,
            had_errors_before,
            w,
            names: Names::default(),
            module: ROOT,
            body: BodyCx::constant(),
            fn_signatures: Vec::new(),
            struct_facts: Vec::new(),
            included: HashMap::new(),
            zeros: HashMap::new(),
            variant_of: HashMap::new(),
            field_of: HashMap::new(),
            message_types: None,
            punted: BTreeSet::new(),
            suggestions_left: crate::suggest::MAX_SUGGESTIONS,
            constant_parts: Cell::new(0),
        };
        checker.collect_names(root, libraries);
        checker
    }

    /// Checks everything, in the order that the crate's page tells.
    pub(crate) fn check_all(&mut self) {
        let order = self.order_items();
        for &id in &order {
            self.check_type_or_const(id);
        }
        self.each_root_item(Self::check_declaration);
        for &id in &order {
            self.check_fn(id);
        }
        self.each_root_item(Self::declare_lambda);
        self.each_root_item(Self::check_lambda);
        self.check_dispatch();
        self.check_tests();
        self.check_attributes(&order);
        self.warn_of_unused();
    }

    fn each_root_item(&mut self, check: fn(&mut Self, ItemId)) {
        for i in 0..self.names.items.len() as u32 {
            let id = ItemId(i);
            if self.names.items[i as usize].module != ROOT {
                break;
            }
            self.module = ROOT;
            check(self, id);
        }
    }

    /// Reports a diagnostic.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) -> Reported {
        self.failed |= diagnostic.severity == lambdac_diag::Severity::Error;
        self.sink.push(diagnostic);
        Reported
    }

    /// What `check` gives, if it reports no error; else nothing is reported and nothing remembered.
    pub(crate) fn attempt<T>(&mut self, check: impl FnOnce(&mut Self) -> Res<T>) -> Option<T> {
        let (failed, included) = (self.failed, self.included.clone());
        let reported = std::mem::take(self.sink);
        let result = check(self).ok();
        let attempted = std::mem::replace(self.sink, reported);
        if result.is_none() || attempted.has_errors() {
            self.failed = failed;
            self.included = included;
            return None;
        }
        result
    }

    /// For what follows from an error that was reported elsewhere.
    pub(crate) fn fail(&mut self) -> Reported {
        self.failed = true;
        Reported
    }

    /// Reports an error.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Reported {
        self.push(Diagnostic::error(code, message, span, label))
    }

    /// Reports an error whose mend is known.
    pub(crate) fn error_help(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Reported {
        self.push(Diagnostic::error(code, message, span, label).with_help(help))
    }

    /// Reports an error whose mend may be known.
    pub(crate) fn error_maybe_help(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Reported {
        let mut diagnostic = Diagnostic::error(code, message, span, label);
        diagnostic.help = help;
        self.push(diagnostic)
    }

    /// Reports a warning whose mend is known.
    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::warning(code, message, span, label).with_help(help));
    }

    /// Among how many names a suggestion may be looked for: all, until there were many suggestions.
    pub(crate) fn most_candidates(&mut self) -> usize {
        if self.suggestions_left == 0 {
            return 0;
        }
        self.suggestions_left -= 1;
        usize::MAX
    }

    /// A type as the language writes it.
    pub(crate) fn show(&self, ty: &Type) -> String {
        self.w.type_name(ty)
    }
}
