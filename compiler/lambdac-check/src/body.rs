//! The body that is being checked: its variables, scopes, and what may stand in it.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::Span;
use lambdac_hir::{Local, LocalId, ServiceId, Type};

/// What kind of body it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// A constant expression outside of all bodies.
    Constant,
    /// A fn and what it returns.
    Fn(Type),
    /// A lambda and what it replies.
    Lambda {
        /// R.
        reply: Type,
        /// Whether it handles chunks.
        stream: bool,
    },
    /// A condition of the match stage.
    Condition,
}

/// What a body does besides computing, with the place of the first such thing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effects {
    /// Reads or writes state.
    pub(crate) state: Option<Span>,
    /// Uses the clock, dice or the log.
    pub(crate) outside: Option<Span>,
}

/// The body that is being checked.
#[derive(Clone, Debug)]
pub(crate) struct BodyCx {
    pub(crate) kind: BodyKind,
    /// All variables.
    pub(crate) locals: Vec<Local>,
    /// What each name means now, innermost last; `None` is a variable whose declaration failed.
    names: HashMap<Arc<str>, Vec<Option<LocalId>>>,
    /// Names in order of declaration, to leave scopes.
    declared: Vec<Arc<str>>,
    /// Loops around the current place.
    pub(crate) loops: u32,
    /// Services whose `failed()` may stand here.
    pub(crate) failed_in: Vec<ServiceId>,
    pub(crate) effects: Effects,
}

impl BodyCx {
    /// For constant expressions outside of all bodies.
    pub(crate) fn constant() -> Self {
        Self::new(BodyKind::Constant)
    }

    /// An empty body.
    pub(crate) fn new(kind: BodyKind) -> Self {
        Self {
            kind,
            locals: Vec::new(),
            names: HashMap::new(),
            declared: Vec::new(),
            loops: 0,
            failed_in: Vec::new(),
            effects: Effects::default(),
        }
    }

    /// Declares a variable from here to the end of the scope.
    pub(crate) fn declare(&mut self, name: &Arc<str>, ty: Type, mutable: bool, span: Span) -> LocalId {
        let id = LocalId(self.locals.len() as u32);
        self.locals.push(Local {
            name: name.clone(),
            ty,
            mutable,
            span,
        });
        self.bind(name, Some(id));
        id
    }

    /// Declares a variable whose type is not known because of an error: its uses keep silent.
    pub(crate) fn declare_poisoned(&mut self, name: &Arc<str>) {
        self.bind(name, None);
    }

    fn bind(&mut self, name: &Arc<str>, to: Option<LocalId>) {
        self.names.entry(name.clone()).or_default().push(to);
        self.declared.push(name.clone());
    }

    /// What a name means here: a variable, or one that failed (`Some(None)`).
    pub(crate) fn lookup(&self, name: &str) -> Option<Option<LocalId>> {
        self.names.get(name)?.last().copied()
    }

    /// A mark to leave the scope that begins here.
    pub(crate) fn enter(&self) -> usize {
        self.declared.len()
    }

    /// Forgets what was declared since [`Self::enter`] gave `mark`.
    pub(crate) fn leave(&mut self, mark: usize) {
        for name in self.declared.drain(mark..) {
            if let Some(stack) = self.names.get_mut(&name) {
                stack.pop();
            }
        }
    }

    /// Names of variables that can be used here.
    pub(crate) fn visible_names(&self) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .filter(|(_, stack)| !stack.is_empty())
            .map(|(name, _)| &**name)
    }

    /// Whether this is a lambda's body.
    pub(crate) fn is_lambda(&self) -> bool {
        matches!(self.kind, BodyKind::Lambda { .. })
    }
}
