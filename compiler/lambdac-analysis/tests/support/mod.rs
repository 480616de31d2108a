//! From source text to what the analysis says.

use lambdac_analysis::{Analysis, analyze};
use lambdac_check::NoSources;
use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_hir::Workload;

/// The HIR of a source that the checker accepts, what is known of it, and what the analysis reported.
pub fn analysed(source: &str) -> (Workload, Analysis, Vec<Diagnostic>) {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add("test.lnic", source);
    let ast = lambdac_syntax::parse(file, source, &mut sink);
    let workload = ast.and_then(|ast| lambdac_check::check(&ast, &mut map, &NoSources, &mut sink));
    let Some(workload) = workload else {
        panic!("{source}\n{:#?}", sink.into_sorted())
    };
    let mut sink = Sink::new();
    let facts = analyze(&workload, &mut sink);
    (workload, facts, sink.into_sorted())
}

/// What is reported, a line each: `code text-of-the-span: message (label)`.
pub fn reports(source: &str) -> Vec<String> {
    let show = |diagnostic: &Diagnostic| {
        let span = diagnostic.span();
        let text = &source[span.start as usize..span.end as usize];
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!(
            "{} `{text}`: {} ({})",
            diagnostic.code, diagnostic.message, diagnostic.labels[0].message
        )
    };
    analysed(source).2.iter().map(show).collect()
}
