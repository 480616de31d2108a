//! One diagnostic in each form, and sources that are hard to show.

use insta::assert_snapshot;

use super::{MessageFormat, render};
use crate::{Diagnostic, FileId, SourceMap, Span};

const SOURCE: &str = "workload kv;\nstate hits: u32;\nlambda é() { hits = hits + 1; }\n";

fn lost_update() -> (SourceMap, Diagnostic) {
    let mut map = SourceMap::new();
    let file = map.add("kv.lnic", SOURCE);
    let at = SOURCE.find("hits = ").unwrap() as u32;
    let d = Diagnostic::warning(
        "W0301",
        "lost update",
        Span::new(file, at, at + 15),
        "read, then written",
    )
    .with_label(Span::new(file, 19, 23), "shared by all invocations")
    .with_help("write `hits.fetch_add(1)`");
    (map, d)
}

fn shown(format: MessageFormat) -> String {
    let (map, d) = lost_update();
    render(format, false, &map, &d)
}

#[test]
fn the_human_form_shows_the_source_labels_and_help() {
    assert_snapshot!(shown(MessageFormat::Human), @r"
    warning[W0301]: lost update
      ┌─ kv.lnic:3:14
      │
    2 │ state hits: u32;
      │       ---- shared by all invocations
    3 │ lambda é() { hits = hits + 1; }
      │              ^^^^^^^^^^^^^^^ read, then written
      │
      = help: write `hits.fetch_add(1)`
    ");
}

#[test]
fn the_short_form_is_one_line() {
    assert_snapshot!(shown(MessageFormat::Short), @r"kv.lnic:3:14: warning[W0301]: lost update");
}

#[test]
fn the_json_form_is_one_object_a_line_with_byte_offsets() {
    assert_snapshot!(shown(MessageFormat::Json), @r#"{"severity":"warning","code":"W0301","message":"lost update","spans":[{"file":"kv.lnic","start":44,"end":59,"line":3,"column":14,"label":"read, then written","primary":true},{"file":"kv.lnic","start":19,"end":23,"line":2,"column":7,"label":"shared by all invocations","primary":false}],"help":"write `hits.fetch_add(1)`"}"#);
}

#[test]
fn without_help_json_says_null() {
    let (map, mut d) = lost_update();
    d.help = None;
    assert!(render(MessageFormat::Json, false, &map, &d).ends_with("\"help\":null}\n"));
}

#[test]
fn colors_are_only_in_the_human_form() {
    let (map, d) = lost_update();
    assert!(render(MessageFormat::Human, true, &map, &d).contains('\u{1b}'));
    assert!(!render(MessageFormat::Human, false, &map, &d).contains('\u{1b}'));
    assert!(!render(MessageFormat::Short, true, &map, &d).contains('\u{1b}'));
    assert!(!render(MessageFormat::Json, true, &map, &d).contains('\u{1b}'));
}

#[test]
fn a_line_of_a_megabyte_is_not_shown() {
    let mut map = SourceMap::new();
    let file = map.add("long.lnic", "x".repeat(1 << 20));
    let d = Diagnostic::error("E0101", "unexpected `x`", Span::new(file, 1000, 1001), "here")
        .with_help("shorten it");
    assert_snapshot!(render(MessageFormat::Human, false, &map, &d), @r"
    long.lnic:1:1001: error[E0101]: unexpected `x`
      long.lnic:1:1001: here
      help: shorten it
    ");
}

#[test]
fn labels_in_two_files_show_both() {
    let (mut map, d) = lost_update();
    let other = map.add("b.lnic", "workload kv;\n");
    let d = d.with_label(Span::new(other, 9, 11), "the same name");
    let text = render(MessageFormat::Human, false, &map, &d);
    assert!(
        text.contains("kv.lnic:3:14") && text.contains("b.lnic:1:10"),
        "{text}"
    );
}

#[test]
fn spans_outside_the_file_or_inside_a_character_do_no_harm() {
    let mut map = SourceMap::new();
    let file = map.add("e.lnic", "é");
    let empty = map.add("empty.lnic", "");
    for (file, start, end) in [
        (file, 1, 1),
        (file, 0, 1),
        (file, 2, 2),
        (file, 50, 60),
        (empty, 0, 0),
        (empty, 3, 9),
    ] {
        let d = Diagnostic::error("E0101", "message", Span::new(file, start, end), "label");
        for format in [MessageFormat::Human, MessageFormat::Json, MessageFormat::Short] {
            assert!(render(format, false, &map, &d).contains("message"));
        }
    }
    assert_eq!(map.files().count(), FileId(2).0 as usize);
}
