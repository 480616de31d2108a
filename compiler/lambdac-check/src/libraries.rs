//! Loads the files that `use` names: the standard library's and those beside the source.
//!
//! Every library is loaded once, however often it is used; one of the standard library once for all files that are
//! checked with the same [`StdLibraries`]. A library may use others; a circle of them is an error at the `use` that
//! closes it.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::{Diagnostic, FileId, Sink, SourceMap};
use lambdac_syntax::ast;

use crate::Sources;

/// Which file a `use` leads to; `None` where it could not be loaded (and that was reported).
pub(crate) type Uses = HashMap<Arc<str>, Option<usize>>;

/// The files of the standard library that were parsed so far, for all workloads of one source map.
///
/// Parsing them costs about as much as parsing a small workload, so whoever checks many keeps one of these beside the
/// map that their text went into.
#[derive(Clone, Debug, Default)]
pub struct StdLibraries {
    parsed: HashMap<&'static str, Arc<ast::File>>,
}

impl StdLibraries {
    /// The library `name`, whose text is `text`.
    fn load(
        &mut self,
        (name, text): (&'static str, &'static str),
        map: &mut SourceMap,
        sink: &mut Sink,
    ) -> Option<Arc<ast::File>> {
        if let Some(parsed) = self.parsed.get(name) {
            return Some(parsed.clone());
        }
        let file = map.add(std_display(name), text);
        let parsed = Arc::new(lambdac_syntax::parse(file, text, sink)?);
        self.parsed.insert(name, parsed.clone());
        Some(parsed)
    }
}

/// The name that diagnostics show for a file of the standard library.
fn std_display(name: &str) -> String {
    format!("<std>/{name}.lnic")
}

/// The standard library's name and text for `name`, if it has such a library.
fn find_std(name: &str) -> Option<(&'static str, &'static str)> {
    let known = lang_spec::std_library_names().find(|&known| known == name)?;
    Some((known, lang_spec::std_library(known)?))
}

/// The loaded libraries.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    /// Their files, in order of first use.
    pub(crate) files: Vec<Arc<ast::File>>,
    /// What the root file's `use` items lead to: indexes into `files`.
    pub(crate) root_uses: Uses,
    /// The same for each library.
    pub(crate) uses: Vec<Uses>,
}

/// Loads all libraries that `root` uses, directly or not.
pub(crate) fn load(
    root: &ast::File,
    map: &mut SourceMap,
    std: &mut StdLibraries,
    sources: &dyn Sources,
    sink: &mut Sink,
) -> Libraries {
    let mut loader = Loader {
        map,
        std,
        sources,
        sink,
        known: HashMap::new(),
        out: Libraries::default(),
    };
    loader.check_own_name(root);
    let root_uses = loader.resolve_uses(root.file, &root.uses);
    loader.out.root_uses = root_uses;
    let mut next = 0;
    while next < loader.out.files.len() {
        let (file, names) = (loader.out.files[next].file, loader.out.files[next].uses.clone());
        let uses = loader.resolve_uses(file, &names);
        loader.out.uses.push(uses);
        next += 1;
    }
    report_cycles(root, &mut loader.out, loader.sink);
    loader.out
}

struct Loader<'a> {
    map: &'a mut SourceMap,
    std: &'a mut StdLibraries,
    sources: &'a dyn Sources,
    sink: &'a mut Sink,
    /// By display name: two files may be used under one name from different folders.
    known: HashMap<String, Option<usize>>,
    out: Libraries,
}

impl Loader<'_> {
    fn check_own_name(&mut self, file: &ast::File) {
        let name = &file.name;
        if file.kind == ast::FileKind::Library && lang_spec::std_library(&name.text).is_some() {
            let message = format!("a file may not take the standard library's name `{}`", name.text);
            self.sink.push(
                Diagnostic::error("E0903", message, name.span, "this is a library of the language")
                    .with_help("rename the library and its file"),
            );
        }
    }

    fn resolve_uses(&mut self, from: FileId, names: &[ast::Ident]) -> Uses {
        let mut uses = Uses::new();
        let mut first_at = HashMap::new();
        for name in names {
            if let Some(&first) = first_at.get(&name.text) {
                let message = format!("`{}` is used twice", name.text);
                self.sink.push(
                    Diagnostic::error("E0202", message, name.span, "used again here")
                        .with_label(first, "first used here")
                        .with_help("remove one of the two"),
                );
                continue;
            }
            first_at.insert(name.text.clone(), name.span);
            uses.insert(name.text.clone(), self.load_one(from, name));
        }
        uses
    }

    fn load_one(&mut self, from: FileId, name: &ast::Ident) -> Option<usize> {
        if let Some(std) = find_std(&name.text) {
            return self.once(std_display(std.0), |loader| {
                loader.std.load(std, loader.map, loader.sink)
            });
        }
        let (display, bytes) = self.read(from, name)?;
        self.once(display.clone(), |loader| {
            let id = loader.map.add(display, String::from_utf8_lossy(&bytes));
            let file = lambdac_syntax::parse_bytes(id, &bytes, loader.sink)?;
            loader.check_kind(name, &file)?;
            Some(Arc::new(file))
        })
    }

    /// The library that is shown as `display`, parsed now unless it was before.
    fn once(
        &mut self,
        display: String,
        parse: impl FnOnce(&mut Self) -> Option<Arc<ast::File>>,
    ) -> Option<usize> {
        if let Some(&known) = self.known.get(&display) {
            return known;
        }
        let loaded = parse(self).map(|file| {
            self.out.files.push(file);
            self.out.files.len() - 1
        });
        self.known.insert(display, loaded);
        loaded
    }

    /// The name to show and the bytes of a library that is not of the standard library; reports what fails.
    fn read(&mut self, from: FileId, name: &ast::Ident) -> Option<(String, Vec<u8>)> {
        match self.sources.library(self.map.name(from), &name.text) {
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                let message = format!("there is no library `{}`", name.text);
                let help = format!("put `{}.lnic` beside this file{}", name.text, did_you_mean(name));
                self.sink
                    .push(Diagnostic::error("E0901", message, name.span, "not found").with_help(help));
                None
            }
            Err(why) => {
                let message = format!("library `{}` can't be read: {why}", name.text);
                self.sink
                    .push(Diagnostic::error("E0901", message, name.span, "used here"));
                None
            }
        }
    }

    fn check_kind(&mut self, name: &ast::Ident, file: &ast::File) -> Option<()> {
        if file.kind != ast::FileKind::Library {
            let message = format!("`{}` is a workload, and only libraries can be used", name.text);
            self.sink.push(
                Diagnostic::error("E0905", message, name.span, "used here")
                    .with_label(file.name.span, "declared as a workload here")
                    .with_help("move what both need into a file that begins with `library name;`"),
            );
            return None;
        }
        if file.name.text != name.text {
            let message = format!("the library's file calls itself `{}`", file.name.text);
            self.sink.push(
                Diagnostic::error("E0905", message, name.span, format!("used as `{}`", name.text))
                    .with_label(file.name.span, "named here")
                    .with_help("a library bears the name of its file"),
            );
            return None;
        }
        Some(())
    }
}

fn did_you_mean(name: &ast::Ident) -> String {
    match crate::suggest::nearest(&name.text, lang_spec::std_library_names()) {
        Some(near) => format!(", or use the standard library's `{near}`"),
        None => String::new(),
    }
}

/// Reports each `use` that closes a circle and cuts it, so that what follows sees a tree.
fn report_cycles(root: &ast::File, libraries: &mut Libraries, sink: &mut Sink) {
    // 0: not seen, 1: on the path, 2: done. The root can't be used: it has no number.
    let mut state = vec![0u8; libraries.files.len()];
    let starts: Vec<usize> = root
        .uses
        .iter()
        .filter_map(|u| *libraries.root_uses.get(&u.text)?)
        .collect();
    for start in starts {
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        let mut path = vec![(start, 0usize)];
        while let Some((file, at)) = path.last_mut() {
            let file = *file;
            let Some(name) = libraries.files[file].uses.get(*at).cloned() else {
                state[file] = 2;
                path.pop();
                continue;
            };
            *at += 1;
            let Some(Some(target)) = libraries.uses[file].get(&name.text).copied() else {
                continue;
            };
            match state[target] {
                0 => {
                    state[target] = 1;
                    path.push((target, 0));
                }
                1 => {
                    let names: Vec<_> = path
                        .iter()
                        .skip_while(|(f, _)| *f != target)
                        .map(|(f, _)| format!("`{}`", libraries.files[*f].name.text))
                        .collect();
                    let message = if names.len() == 1 {
                        format!("library {} uses itself", names[0])
                    } else {
                        format!("libraries use each other in a circle: {}", names.join(", "))
                    };
                    sink.push(
                        Diagnostic::error("E0902", message, name.span, "this closes the circle")
                            .with_help("move what both need into a third library"),
                    );
                    libraries.uses[file].insert(name.text.clone(), None);
                }
                _ => {}
            }
        }
    }
}
