//! Program text: from bytes to errors that name a place, or to valid MIR.

use lambdac_analysis::analyze;
use lambdac_check::{Sources, check, check_library};
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_mir::{Module, validate};
use lambdac_syntax::ast::FileKind;
use lambdac_syntax::parse_bytes;

use super::dice::Dice;
use super::mutate;

/// What became of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Errors that were reported.
    pub errors: usize,
    /// Diagnostics that were kept.
    pub diagnostics: usize,
    /// Whether it went through to MIR.
    pub compiled: bool,
}

/// MIR of a source.
#[derive(Clone, Debug)]
pub struct Stages {
    /// As lowered, awaits and all.
    pub lowered: Module,
    /// After the await split and all passes.
    pub optimised: Module,
}

/// The files that mutated sources may use and include.
struct Beside;

impl Sources for Beside {
    fn library(&self, _: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let text = match name {
            "shapes" => include_str!("../../../../lang-spec/conformance/shapes.lnic"),
            "circle" => "library circle;\nuse circle;\n",
            "broken" => "library broken;\nconst A: u32 = ;\n",
            "unreadable" => return Err("it can't be read".into()),
            _ => return Ok(None),
        };
        Ok(Some((format!("{name}.lnic"), text.into())))
    }

    fn include(&self, _: &str, relative: &str) -> Result<Vec<u8>, String> {
        match relative {
            "greeting.txt" => Ok(include_bytes!("../../../../lang-spec/conformance/greeting.txt").to_vec()),
            "index.html" => Ok(b"<!doctype html><p>hello</p>".to_vec()),
            _ => Err("there is no such file".into()),
        }
    }
}

/// Takes a source through the whole front end and, where it is clean, to optimised MIR.
///
/// # Panics
/// Where nothing came out and nothing was said, a diagnostic names no place in the files, can't be rendered or is out of
/// order, or MIR is invalid at any stage.
pub fn run(bytes: &[u8]) -> Outcome {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let clean = front(bytes, &mut map, &mut sink);
    let errors = sink.error_count();
    let diagnostics = sink.into_sorted();
    check_diagnostics(&map, &diagnostics);
    if let Some(Clean::Workload(workload)) = &clean
        && errors == 0
    {
        lower(workload, &map);
    }
    assert!(
        clean.is_some() || errors > 0,
        "nothing came out, and nothing was said"
    );
    Outcome {
        errors,
        diagnostics: diagnostics.len(),
        compiled: errors == 0 && matches!(clean, Some(Clean::Workload(_))),
    }
}

/// The MIR of a clean workload; none for all else.
pub fn compile(bytes: &[u8]) -> Option<Stages> {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    match front(bytes, &mut map, &mut sink)? {
        Clean::Workload(workload) if !sink.has_errors() => Some(lower(&workload, &map)),
        _ => None,
    }
}

/// What has no errors before the analysis.
enum Clean {
    Workload(Box<Workload>),
    Library,
}

fn front(bytes: &[u8], map: &mut SourceMap, sink: &mut Sink) -> Option<Clean> {
    let file = map.add("fuzz.lnic", String::from_utf8_lossy(bytes));
    let parsed = parse_bytes(file, bytes, sink)?;
    if parsed.kind == FileKind::Library {
        return check_library(&parsed, map, &Beside, sink).then_some(Clean::Library);
    }
    let workload = check(&parsed, map, &Beside, sink)?;
    analyze(&workload, sink);
    Some(Clean::Workload(Box::new(workload)))
}

fn lower(workload: &Workload, map: &SourceMap) -> Stages {
    let lowered = lambdac_lower::lower(workload, map);
    assert_valid("lowering", &lowered);
    let mut optimised = lowered.clone();
    lambdac_lower::split_awaits(&mut optimised);
    assert_valid("the await split", &optimised);
    lambdac_opt::optimize(&mut optimised, &lambdac_opt::Options::default());
    assert_valid("the passes", &optimised);
    Stages { lowered, optimised }
}

/// Panics unless `module` is valid.
pub(super) fn assert_valid(after: &str, module: &Module) {
    if let Err(errors) = validate(module) {
        panic!("{after} left invalid MIR: {errors:?}\n{module}");
    }
}

fn check_diagnostics(map: &SourceMap, diagnostics: &[Diagnostic]) {
    assert!(
        diagnostics.is_sorted_by_key(|d| d.span()),
        "diagnostics are out of order"
    );
    for diagnostic in diagnostics {
        let primary: Vec<bool> = diagnostic.labels.iter().map(|label| label.primary).collect();
        assert!(
            primary[0] && !primary[1..].contains(&true),
            "not one primary label: {diagnostic:?}"
        );
        for label in &diagnostic.labels {
            assert!(
                map.files().any(|file| file == label.span.file),
                "no such file: {diagnostic:?}"
            );
            let text = map.text(label.span.file);
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            assert!(
                text.get(start..end).is_some(),
                "a span outside the text: {diagnostic:?}"
            );
        }
        check_rendered(map, diagnostic);
    }
}

fn check_rendered(map: &SourceMap, diagnostic: &Diagnostic) {
    let human = render(MessageFormat::Human, false, map, diagnostic);
    assert!(human.contains(diagnostic.code), "{human}");
    let short = render(MessageFormat::Short, false, map, diagnostic);
    assert_eq!(short.trim_end().lines().count(), 1, "{short}");
    let json = render(MessageFormat::Json, false, map, diagnostic);
    assert_eq!(json.trim_end().lines().count(), 1, "{json}");
    let value: serde_json::Value = serde_json::from_str(&json).expect("a line of JSON");
    assert_eq!(value["code"], diagnostic.code);
}

/// A mutated source.
pub fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut text = dice.pick(corpus).clone();
    let other = dice.pick(corpus).clone();
    match dice.chance(40) {
        true => mutate::gently(dice, &mut text, &other),
        false => mutate::text(dice, &mut text, &other),
    }
    text
}
