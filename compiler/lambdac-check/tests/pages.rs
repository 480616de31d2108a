//! Every error page's example reports the page's code, and its mend reports nothing.

mod support;

use lambdac_diag::Severity;
use support::Files;

/// Codes of stages after this one: analysis, the limits, targets and the driver. Their own tests run their pages.
fn is_of_another_stage(code: &str) -> bool {
    let (block, number) = code.split_at(3);
    matches!(block, "E05" | "E07" | "E10")
        || (code.starts_with('E') && number >= "50")
        || code.starts_with("W00")
}

/// The two programs of a page.
fn programs(page: &str) -> [&str; 2] {
    let mut parts = page
        .split("```lnic\n")
        .skip(1)
        .map(|part| part.split("```").next().unwrap_or_default());
    [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()]
}

/// The codes that a program reports; the file lies where its own `use` would find it.
fn codes(source: &str) -> Vec<(&'static str, Severity)> {
    let name = source
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .trim_end_matches(';');
    let file = format!("{name}.lnic");
    let (_, diagnostics, _) = support::check_file(&file, source, &Files::of(&[(&file, source)]));
    diagnostics.iter().map(|d| (d.code, d.severity)).collect()
}

#[test]
fn an_example_reports_its_code_and_its_mend_nothing() {
    let mut wrong = String::new();
    for code in lang_spec::error_codes().filter(|code| !is_of_another_stage(code)) {
        let page = lang_spec::error_page(code).expect("listed");
        let [example, mend] = programs(page);
        let found = codes(example);
        if found.is_empty() || found.iter().any(|(found, _)| *found != code) {
            wrong += &format!("{code}: the example reports {found:?}\n");
        }
        let left = codes(mend);
        if !left.is_empty() {
            wrong += &format!("{code}: the mend reports {left:?}\n");
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn every_code_of_this_crate_has_a_page() {
    let mut missing = Vec::new();
    let sources = [
        include_str!("../src/attributes.rs"),
        include_str!("../src/consteval.rs"),
        include_str!("../src/expr/aggregates.rs"),
        include_str!("../src/expr/branches.rs"),
        include_str!("../src/expr/calls.rs"),
        include_str!("../src/expr/literals.rs"),
        include_str!("../src/expr/methods.rs"),
        include_str!("../src/expr/mod.rs"),
        include_str!("../src/expr/operators.rs"),
        include_str!("../src/expr/paths.rs"),
        include_str!("../src/expr/state_methods.rs"),
        include_str!("../src/fns.rs"),
        include_str!("../src/items.rs"),
        include_str!("../src/lambdas.rs"),
        include_str!("../src/lib.rs"),
        include_str!("../src/libraries.rs"),
        include_str!("../src/match_stage.rs"),
        include_str!("../src/names.rs"),
        include_str!("../src/order.rs"),
        include_str!("../src/patterns.rs"),
        include_str!("../src/places.rs"),
        include_str!("../src/services.rs"),
        include_str!("../src/state.rs"),
        include_str!("../src/stmts.rs"),
        include_str!("../src/tables.rs"),
        include_str!("../src/test_items.rs"),
        include_str!("../src/types.rs"),
    ];
    for source in sources {
        for word in source.split('"') {
            let is_code = word.len() == 5
                && word.starts_with(['E', 'W'])
                && word[1..].bytes().all(|b| b.is_ascii_digit());
            if is_code && lang_spec::error_page(word).is_none() {
                missing.push(word);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
