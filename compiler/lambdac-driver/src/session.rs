//! A session: files that were read, and the way from source to optimised MIR.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lambdac_analysis::Analysis;
use lambdac_check::{NoSources, Sources, StdLibraries, disk};
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Diagnostic, Severity, Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::Module;
use lambdac_syntax::ast;

use crate::deadline;

/// A source file.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that diagnostics show, and that `use` and `include` start from.
    pub name: String,
    /// Its bytes; anything.
    pub bytes: Vec<u8>,
}

impl Input {
    /// A text under a name.
    pub fn new(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: text.into(),
        }
    }

    /// Reads a file, whose path is its name.
    ///
    /// # Errors
    /// If it can't be read; the text names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(Self {
            name: path.display().to_string(),
            bytes: disk::read(path)?,
        })
    }
}

/// What changes the compiler's work.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Passes to leave out.
    pub disabled: Vec<String>,
    /// Text of the MIR is wanted after this pass, or after each (`all`).
    pub dump_after: Option<String>,
    /// Validate the MIR before and after each pass.
    pub validate: bool,
}

/// A pass that there is none of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPass(pub String);

impl fmt::Display for UnknownPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = pass_names().collect();
        write!(
            f,
            "there is no pass {:?}; there are: {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownPass {}

/// All passes that can be left out: over a workload, then over an image.
fn pass_names() -> impl Iterator<Item = &'static str> {
    let image = lambdac_image::passes().iter().map(|pass| pass.name);
    lambdac_opt::passes().map(|pass| pass.name).chain(image)
}

/// A file after checking.
#[derive(Debug)]
pub struct Checked {
    /// Errors and warnings, in order of position.
    pub diagnostics: Vec<Diagnostic>,
    /// What was parsed, where anything was.
    pub ast: Option<ast::File>,
    /// The checked workload; none for a library or where there are errors.
    pub workload: Option<CheckedWorkload>,
}

/// A workload without errors and what is known of it.
pub type CheckedWorkload = Arc<(Workload, Analysis)>;

impl Checked {
    /// Whether the program is wrong.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// A workload after all passes.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Typed HIR and analysis.
    pub checked: CheckedWorkload,
    /// Optimised MIR.
    pub module: Arc<Module>,
    /// What the passes did.
    pub report: lambdac_opt::Report,
    /// Name and text of the files that the code comes from.
    pub sources: Vec<(Arc<str>, Arc<str>)>,
}

/// Files and where more come from.
pub struct Session {
    map: SourceMap,
    /// Parsed once for all files.
    std: StdLibraries,
    sources: Box<dyn Sources>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("map", &self.map)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Without files.
    pub fn new(sources: Box<dyn Sources>) -> Self {
        Self {
            map: SourceMap::new(),
            std: StdLibraries::default(),
            sources,
        }
    }

    /// All files so far, for rendering diagnostics.
    pub fn map(&self) -> &SourceMap {
        &self.map
    }

    /// Parses and checks one file.
    pub fn check(&mut self, input: &Input) -> Checked {
        let mut sink = Sink::new();
        let text = String::from_utf8_lossy(&input.bytes);
        let file = self.map.add(input.name.as_str(), text.as_ref());
        let parsed = lambdac_syntax::parse_bytes(file, &input.bytes, &mut sink);
        let workload = parsed
            .as_ref()
            .and_then(|parsed| self.check_parsed(parsed, &mut sink));
        Checked {
            diagnostics: sink.into_sorted(),
            ast: parsed,
            workload,
        }
    }

    fn check_parsed(&mut self, parsed: &ast::File, sink: &mut Sink) -> Option<CheckedWorkload> {
        let sources = &*self.sources;
        match parsed.kind {
            ast::FileKind::Library => {
                lambdac_check::check_library(parsed, &mut self.map, sources, sink);
                None
            }
            ast::FileKind::Workload => {
                let workload =
                    lambdac_check::check_with(parsed, &mut self.map, &mut self.std, sources, sink)?;
                let analysis = lambdac_analysis::analyze(&workload, sink);
                if sink.has_errors() {
                    return None;
                }
                if deadline::any(&workload) {
                    let module = optimized(&workload, &self.map);
                    deadline::check(&workload, &module, &self.map, sink);
                }
                (!sink.has_errors()).then(|| Arc::new((workload, analysis)))
            }
        }
    }

    /// Lowers a workload to MIR before any pass.
    pub fn lower(&self, workload: &CheckedWorkload) -> Module {
        lambdac_lower::lower(&workload.0, &self.map)
    }

    /// Lowers a workload, splits its awaits and runs the passes.
    ///
    /// # Errors
    /// If an option names a pass that there is none of.
    pub fn compile(&self, workload: &CheckedWorkload, options: &Options) -> Result<Compiled, UnknownPass> {
        let mut module = self.lower(workload);
        lambdac_lower::split_awaits(&mut module);
        let report = optimize(&mut module, options)?;
        Ok(Compiled {
            checked: workload.clone(),
            module: Arc::new(module),
            report,
            sources: self.sources_of(&workload.0),
        })
    }
}

impl Session {
    /// The files with code of a workload: its own, and those of the libraries whose functions it has.
    fn sources_of(&self, workload: &Workload) -> Vec<(Arc<str>, Arc<str>)> {
        let libraries = workload.fns.iter().map(|function| function.span.file);
        let files: std::collections::BTreeSet<_> = libraries.chain([workload.file]).collect();
        let named = |&file: &_| (self.map.name(file).clone(), self.map.text(file).clone());
        files.iter().map(named).collect()
    }
}

/// Checks and compiles a workload that uses no file but itself, with all passes.
///
/// # Errors
/// What is wrong with it, rendered for people.
pub fn compile(input: &Input) -> Result<Compiled, String> {
    let mut session = Session::new(Box::new(NoSources));
    let checked = session.check(input);
    let Some(workload) = checked.workload else {
        let shown = checked.diagnostics.iter();
        let shown = shown.map(|diagnostic| render(MessageFormat::Human, false, session.map(), diagnostic));
        return Err(shown.collect());
    };
    let compiled = session.compile(&workload, &Options::default());
    compiled.map_err(|error| error.to_string())
}

/// A workload's MIR after all passes.
fn optimized(workload: &Workload, map: &SourceMap) -> Module {
    let mut module = lambdac_lower::lower(workload, map);
    lambdac_lower::split_awaits(&mut module);
    lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
    module
}

fn optimize(module: &mut Module, options: &Options) -> Result<lambdac_opt::Report, UnknownPass> {
    let named = options
        .disabled
        .iter()
        .chain(options.dump_after.iter().filter(|name| *name != "all"));
    for name in named {
        if !pass_names().any(|pass| pass == name) {
            return Err(UnknownPass(name.clone()));
        }
    }
    let options = lambdac_opt::Options {
        disabled: options.disabled.clone(),
        dump_after: options.dump_after.as_deref().map(|name| match name {
            "all" => lambdac_opt::Dump::All,
            name => lambdac_opt::Dump::After(name.to_owned()),
        }),
        validate: options.validate,
    };
    Ok(lambdac_opt::optimize(module, &options))
}
