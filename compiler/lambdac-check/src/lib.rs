//! AST to typed HIR: names, types, rules of the language, warnings.
//!
//! # Order
//! Items stand in any order in a file, so checking first finds out what needs what. [`libraries`] loads the files
//! named by `use`; [`names`] lists the items of all files; [`order`] sorts constants, types and fns so that each comes
//! after those it mentions (and reports those that mention themselves). Then every item is checked once, in that
//! order: constants and types, then parameters, state, tables and services, then fns, lambdas, the match and the
//! tests. Library items are checked only where the workload reaches them, and only those become part of the HIR.
//!
//! # Errors
//! A check that fails reports its error and gives [`Reported`]; whoever needed the result passes that on in silence.
//! So one cause has one diagnostic. HIR exists only where nothing was reported, hence it has no error nodes.
//!
//! # Types
//! Expressions are checked against a hint: the type that is expected where they stand. Only literals, `pad`, `none`
//! and empty arrays need it; everything else has a type of its own, which [`Checker::coerce`] then fits to what is
//! wanted.

#![forbid(unsafe_code)]

mod attributes;
mod body;
mod consteval;
mod context;
pub mod disk;
mod expr;
mod fns;
mod items;
mod lambdas;
mod libraries;
mod match_stage;
mod names;
mod order;
mod patterns;
mod places;
mod refs;
mod services;
mod state;
mod stmts;
mod suggest;
mod tables;
mod test_items;
mod types;
mod unused;

use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_syntax::ast;

pub use libraries::StdLibraries;

pub(crate) use context::{Checker, Reported, Res};

/// Where the text of libraries and included files comes from; the checker itself does no I/O ([`disk`] does).
pub trait Sources {
    /// The file of library `name`, for a `use` in the file `from`: the name to show for it, and its bytes.
    ///
    /// `None` if there is no such file.
    ///
    /// # Errors
    /// If the file exists and can't be read; the text says why.
    fn library(&self, from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String>;

    /// The bytes of a file that `from` includes by a relative path, which has no `..`.
    ///
    /// The implementation sees to it that no link leads out of the source's folder.
    ///
    /// # Errors
    /// If there is no such file, it can't be read or may not be; the text says why.
    fn include(&self, from: &str, relative: &str) -> Result<Vec<u8>, String>;
}

/// A source of nothing, for programs of a single file.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn library(&self, _from: &str, _name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        Ok(None)
    }

    fn include(&self, _from: &str, _relative: &str) -> Result<Vec<u8>, String> {
        Err("no such file".into())
    }
}

/// Checks a `workload` file and what it uses. `None` if there were errors, its parse errors included.
pub fn check(
    file: &ast::File,
    map: &mut SourceMap,
    sources: &dyn Sources,
    sink: &mut Sink,
) -> Option<Workload> {
    check_with(file, map, &mut StdLibraries::default(), sources, sink)
}

/// [`check`], with what was parsed of the standard library for other files of the same map.
pub fn check_with(
    file: &ast::File,
    map: &mut SourceMap,
    std: &mut StdLibraries,
    sources: &dyn Sources,
    sink: &mut Sink,
) -> Option<Workload> {
    if file.kind == ast::FileKind::Library {
        let message = format!("`{}` is a library, not a workload", file.name.text);
        sink.push(
            Diagnostic::error("E0904", message, file.name.span, "declared as a library here")
                .with_help("begin the file with `workload name;`, or check it as a library"),
        );
        return None;
    }
    run(file, map, std, sources, sink)
}

/// Checks a `library` file on its own, all its items. Whether there were no errors.
pub fn check_library(file: &ast::File, map: &mut SourceMap, sources: &dyn Sources, sink: &mut Sink) -> bool {
    run(file, map, &mut StdLibraries::default(), sources, sink).is_some()
}

fn run(
    file: &ast::File,
    map: &mut SourceMap,
    std: &mut StdLibraries,
    sources: &dyn Sources,
    sink: &mut Sink,
) -> Option<Workload> {
    let errors_before = sink.error_count();
    let libraries = libraries::load(file, map, std, sources, sink);
    let mut checker = Checker::new(file, &libraries, map, sources, sink);
    checker.check_all();
    let clean = !checker.failed;
    let workload = checker.w;
    (clean && sink.error_count() == errors_before).then_some(workload)
}
