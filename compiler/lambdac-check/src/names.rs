//! The items of all files by name, and the resolution of paths.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lambdac_diag::{Diagnostic, Span};
use lambdac_hir::{ConstId, EnumId, FnId, LambdaId, ParamId, ServiceId, StateId, StructId, TableId};
use lambdac_syntax::ast;

use crate::{Checker, Reported, Res, suggest};

/// Index into [`Names::items`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ItemId(pub(crate) u32);

/// Index into [`Names::modules`]; 0 is the file that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ModuleId(pub(crate) u32);

/// The file that is checked.
pub(crate) const ROOT: ModuleId = ModuleId(0);

/// What an item became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entity {
    /// Its turn has not come.
    Pending,
    /// It has an error, which was reported.
    Poisoned,
    Const(ConstId),
    Enum(EnumId),
    Struct(StructId),
    Param(ParamId),
    State(StateId),
    Table(TableId),
    Service(ServiceId),
    Fn(FnId),
    Lambda(LambdaId),
}

/// An item that has a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedItem<'a> {
    pub(crate) module: ModuleId,
    pub(crate) ast: &'a ast::Item,
    pub(crate) name: &'a ast::Ident,
    pub(crate) entity: Entity,
}

/// A file and what can be named in it.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    pub(crate) file: &'a ast::File,
    pub(crate) items: HashMap<Arc<str>, ItemId>,
    pub(crate) uses: HashMap<Arc<str>, Option<ModuleId>>,
    /// Names that a broken part of the file seems to declare; filled when first needed.
    declared_in_text: Option<HashSet<String>>,
}

/// All items of all files.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) modules: Vec<Module<'a>>,
    pub(crate) items: Vec<NamedItem<'a>>,
}

/// The name that an item declares, if it is of a kind that has one.
pub(crate) fn name_of(item: &ast::Item) -> Option<&ast::Ident> {
    use ast::ItemKind as K;
    match &item.kind {
        K::Const { name, .. }
        | K::Enum { name, .. }
        | K::Struct { name, .. }
        | K::Header { name, .. }
        | K::Param { name, .. }
        | K::State { name, .. }
        | K::Service { name, .. }
        | K::Fn { name, .. }
        | K::Lambda { name, .. } => Some(name),
        K::Table(table) => Some(&table.name),
        K::Match { .. } | K::Test { .. } => None,
    }
}

/// The kind of an item, as a reader would call it, with its article.
pub(crate) fn kind_of(item: &ast::Item) -> &'static str {
    use ast::ItemKind as K;
    match &item.kind {
        K::Const { .. } => "a constant",
        K::Enum { .. } => "an enum",
        K::Struct { .. } => "a struct",
        K::Header { .. } => "a header",
        K::Param { .. } => "a param",
        K::State { .. } => "a state",
        K::Table(_) => "a table",
        K::Service { .. } => "a service",
        K::Fn { .. } => "a fn",
        K::Lambda { .. } => "a lambda",
        K::Match { .. } => "a match",
        K::Test { .. } => "a test",
    }
}

impl<'a> Checker<'a> {
    /// Lists the items of all files; reports names that are declared twice.
    pub(crate) fn collect_names(&mut self, root: &'a ast::File, libraries: &'a crate::libraries::Libraries) {
        let uses = |from: &crate::libraries::Uses| {
            from.iter()
                .map(|(name, to)| (name.clone(), to.map(|i| ModuleId(i as u32 + 1))))
                .collect()
        };
        let files = std::iter::once((root, &libraries.root_uses))
            .chain(libraries.files.iter().map(|file| &**file).zip(&libraries.uses));
        for (file, file_uses) in files {
            let module = ModuleId(self.names.modules.len() as u32);
            self.names.modules.push(Module {
                file,
                items: HashMap::new(),
                uses: uses(file_uses),
                declared_in_text: None,
            });
            for item in &file.items {
                self.collect_item(module, file, item);
            }
        }
    }

    fn collect_item(&mut self, module: ModuleId, file: &'a ast::File, item: &'a ast::Item) {
        use ast::ItemKind as K;
        let allowed = matches!(
            item.kind,
            K::Const { .. } | K::Enum { .. } | K::Struct { .. } | K::Header { .. } | K::Fn { .. }
        );
        if file.kind == ast::FileKind::Library && !allowed {
            let span = name_of(item).map_or(item.span, |name| name.span);
            let message = format!("{} can't stand in a library", kind_of(item));
            self.error_help(
                "E0904",
                message,
                span,
                "only const, enum, struct, header and fn items can",
                "move it to the workload",
            );
            return;
        }
        let Some(name) = name_of(item) else { return };
        let id = ItemId(self.names.items.len() as u32);
        let known = self.names.modules[module.0 as usize]
            .items
            .get(&name.text)
            .copied();
        if let Some(first) = known {
            let first = self.names.items[first.0 as usize].name.span;
            let message = format!("`{}` is declared twice", name.text);
            self.push(
                Diagnostic::error("E0202", message, name.span, "declared again here")
                    .with_label(first, "first declared here")
                    .with_help("rename one of the two"),
            );
        } else {
            self.names.modules[module.0 as usize]
                .items
                .insert(name.text.clone(), id);
        }
        self.names.items.push(NamedItem {
            module,
            ast: item,
            name,
            entity: Entity::Pending,
        });
    }

    /// The item that a path of one or two segments names, seen from the current file, without an error.
    pub(crate) fn find_item(&self, module: ModuleId, segments: &[ast::Ident]) -> Option<ItemId> {
        let scope = &self.names.modules[module.0 as usize];
        match segments {
            [name] => scope.items.get(&name.text).copied(),
            [library, name] => {
                let library = (*scope.uses.get(&library.text)?)?;
                self.names.modules[library.0 as usize]
                    .items
                    .get(&name.text)
                    .copied()
            }
            _ => None,
        }
    }

    /// The item that a path names; reports an unknown name. `what` is what is looked for: "type", "name", "fn".
    pub(crate) fn resolve(&mut self, segments: &[ast::Ident], what: &str) -> Res<ItemId> {
        if let Some(id) = self.find_item(self.module, segments) {
            return Ok(id);
        }
        match segments {
            [name] => Err(self.unknown_name(name, what, &[])),
            [library, name] => {
                let module = self.resolve_library(library)?;
                Err(self.unknown_in_library(module, library, name, what))
            }
            [.., last] => {
                let text = segments.iter().map(|s| &*s.text).collect::<Vec<_>>().join("::");
                Err(self.error(
                    "E0201",
                    format!("there is no {what} `{text}`"),
                    last.span,
                    "not found",
                ))
            }
            [] => Err(Reported),
        }
    }

    /// The module that a path's first segment names.
    pub(crate) fn resolve_library(&mut self, name: &ast::Ident) -> Res<ModuleId> {
        let scope = &self.names.modules[self.module.0 as usize];
        match scope.uses.get(&name.text) {
            Some(Some(module)) => Ok(*module),
            Some(None) => Err(self.fail()),
            None if scope.items.contains_key(&name.text) => {
                let id = scope.items[&name.text];
                let item = self.names.items[id.0 as usize];
                let message = format!(
                    "`{}` is {}, and nothing is named inside it",
                    name.text,
                    kind_of(item.ast)
                );
                Err(self.error("E0203", message, name.span, "not a library or an enum"))
            }
            None => {
                let used: Vec<_> = scope.uses.keys().map(|k| k.to_string()).collect();
                let message = format!("there is no library or enum `{}` here", name.text);
                let help = if lang_spec::std_library(&name.text).is_some() {
                    Some(format!("add `use {};` at the top of the file", name.text))
                } else {
                    let known = used.iter().map(String::as_str);
                    suggest::nearest(&name.text, sorted(known)).map(|near| format!("did you mean `{near}`?"))
                };
                Err(self.error_maybe_help("E0201", message, name.span, "not found", help))
            }
        }
    }

    fn unknown_in_library(
        &mut self,
        module: ModuleId,
        library: &ast::Ident,
        name: &ast::Ident,
        what: &str,
    ) -> Reported {
        if self.declared_in_text(module, &name.text) {
            return self.fail();
        }
        let most = self.most_candidates();
        let known = self.names.modules[module.0 as usize]
            .items
            .keys()
            .map(|k| &**k)
            .take(most);
        let help = suggest::nearest(&name.text, sorted(known))
            .map(|near| format!("did you mean `{}::{near}`?", library.text));
        let message = format!("library `{}` has no {what} `{}`", library.text, name.text);
        self.error_maybe_help("E0201", message, name.span, "not found", help)
    }

    /// Reports a name that nothing declares; `more` are further names that could be meant.
    pub(crate) fn unknown_name(&mut self, name: &ast::Ident, what: &str, more: &[&str]) -> Reported {
        if self.declared_in_text(self.module, &name.text) {
            return self.fail();
        }
        let most = self.most_candidates();
        let items = self.names.modules[self.module.0 as usize]
            .items
            .keys()
            .map(|k| &**k)
            .take(most);
        let locals = self.body.visible_names().take(most);
        let all = sorted(items.chain(locals).chain(more.iter().copied()));
        let help = suggest::nearest(&name.text, all).map(|near| format!("did you mean `{near}`?"));
        let message = format!("there is no {what} `{}`", name.text);
        self.error_maybe_help("E0201", message, name.span, "not found in this scope", help)
    }

    /// Whether the absence of `name` is a consequence of something that could not be parsed.
    pub(crate) fn silenced(&mut self, name: &str) -> bool {
        self.declared_in_text(self.module, name)
    }

    /// Whether a part of the file that could not be parsed seems to declare `name`: then its absence is no news.
    fn declared_in_text(&mut self, module: ModuleId, name: &str) -> bool {
        if !self.had_errors_before {
            return false;
        }
        let module = &mut self.names.modules[module.0 as usize];
        let text = self.map.text(module.file.file);
        module
            .declared_in_text
            .get_or_insert_with(|| words_declared(text))
            .contains(name)
    }

    /// An error that says what a name is where something else is wanted.
    pub(crate) fn wrong_kind(
        &mut self,
        id: ItemId,
        at: Span,
        wanted: &str,
        help: Option<String>,
    ) -> Reported {
        let item = self.names.items[id.0 as usize];
        if item.entity == Entity::Poisoned {
            return self.fail();
        }
        let message = format!("`{}` is {}, not {wanted}", item.name.text, kind_of(item.ast));
        let mut diagnostic = Diagnostic::error("E0203", message, at, format!("{wanted} is wanted here"))
            .with_label(item.name.span, "declared here");
        if let Some(help) = help {
            diagnostic = diagnostic.with_help(help);
        }
        self.push(diagnostic)
    }

    /// What an item became.
    pub(crate) fn entity(&self, id: ItemId) -> Entity {
        self.names.items[id.0 as usize].entity
    }

    /// Notes what an item became, or that it failed.
    pub(crate) fn set_entity(&mut self, id: ItemId, entity: Res<Entity>) {
        self.names.items[id.0 as usize].entity = entity.unwrap_or(Entity::Poisoned);
    }

    /// The name of an item in the HIR: `name`, or `library::name`.
    pub(crate) fn qualified_name(&self, id: ItemId) -> Arc<str> {
        let item = &self.names.items[id.0 as usize];
        if item.module == ROOT {
            return item.name.text.clone();
        }
        let library = &self.names.modules[item.module.0 as usize].file.name.text;
        format!("{library}::{}", item.name.text).into()
    }
}

/// In alphabetical order, so that a suggestion does not depend on a hash map's.
pub(crate) fn sorted<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// The words of `text` that follow a word which declares something.
fn words_declared(text: &str) -> HashSet<String> {
    const DECLARING: [&str; 14] = [
        "const", "enum", "struct", "header", "param", "state", "table", "service", "fn", "lambda", "let",
        "mut", "for", "use",
    ];
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty());
    words
        .clone()
        .zip(words.skip(1))
        .filter(|(before, _)| DECLARING.contains(before))
        .map(|(_, word)| word.to_string())
        .collect()
}
