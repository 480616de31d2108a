//! match-reduction and dead-code.

use insta::assert_snapshot;

use crate::support::{behind, cost, linked, nfp, run, stage};

fn reduced(rules: &str) -> String {
    let (image, _) = run("match-reduction", &nfp(), &[], linked(&[behind("w", 4, rules)]));
    stage(&image)
}

#[test]
fn a_workload_has_a_table_of_its_own_and_rules_in_order() {
    let rules = "  bits(0, i8) eq 1 => l0\n  bits(0, i8) eq 2 => l1\n  true => drop";
    assert_snapshot!(stage(&linked(&[behind("v", 4, rules), behind("w", 4, rules)])), @r#"
    n16: table id [1 n7] : n15
    n15: table id [2 n14] : NoWorkload
    n14: len >= 4 ? n13 : BadRequest
    n13: bits(0, i8) eq 1 ? w.a : n11
    n11: bits(0, i8) eq 2 ? w.b : Drop
    n7: len >= 4 ? n6 : BadRequest
    n6: bits(0, i8) eq 1 ? v.a : n4
    n4: bits(0, i8) eq 2 ? v.b : Drop
    "#);
}

#[test]
fn a_rule_behind_one_that_takes_all_of_its_requests_is_gone() {
    assert_snapshot!(reduced("  bits(0, i8) in 0..10 => l0\n  bits(0, i8) eq 3 => l1\n  true => drop"), @r#"
    n6: id 1 ? n5 : NoWorkload
    n5: len >= 4 ? n4 : BadRequest
    n4: bits(0, i8) ule 9 ? w.a : Drop
    "#);
}

#[test]
fn a_rule_that_contradicts_itself_is_gone() {
    assert_snapshot!(reduced("  all(bits(0, i8) eq 1, bits(0, i8) eq 2) => l1\n  true => l0"), @r#"
    n4: id 1 ? n3 : NoWorkload
    n3: len >= 4 ? w.a : BadRequest
    "#);
}

#[test]
fn neighbouring_ranges_with_one_end_are_one_range() {
    assert_snapshot!(reduced("  bits(0, i8) in 0..10 => l0\n  bits(0, i8) in 10..20 => l0\n  true => l1"), @r#"
    n6: id 1 ? n5 : NoWorkload
    n5: len >= 4 ? n4 : BadRequest
    n4: bits(0, i8) ule 19 ? w.a : w.b
    "#);
}

#[test]
fn what_an_earlier_rule_has_found_is_not_asked_again() {
    let rules = "  all(bits(0, i8) eq 1, pkt(port) eq 7) => l0\n  all(bits(0, i8) eq 1, pkt(port) eq 8) => l1\n  bits(0, i8) eq 1 => drop\n  not(bits(0, i8) eq 1) => l1";
    assert_snapshot!(reduced(rules), @r#"
    n9: id 1 ? n8 : NoWorkload
    n8: len >= 4 ? n7 : BadRequest
    n7: bits(0, i8) eq 1 ? n6 : w.b
    n6: pkt(port) eq 7 ? w.a : n4
    n4: pkt(port) eq 8 ? w.b : Drop
    "#);
}

#[test]
fn the_last_of_two_sides_needs_no_test() {
    assert_snapshot!(reduced("  bits(0, i8) ult 128 => l0\n  128 ule bits(0, i8) => l1\n  true => drop"), @r#"
    n6: id 1 ? n5 : NoWorkload
    n5: len >= 4 ? n4 : BadRequest
    n4: bits(0, i8) ule 127 ? w.a : w.b
    "#);
}

#[test]
fn a_condition_that_may_trap_is_asked_though_its_answer_does_not_matter() {
    let rules = "  eval func \"cond\"() -> (i1) {
    v0: i8 = load_bits req, bit 0
    v1: i8 = const 9
    v2: i1 = eq v0, v1
    check v2, index
    return v2
  } => l0
  true => l0";
    assert_snapshot!(reduced(rules), @r#"
    n5: id 1 ? n4 : NoWorkload
    n4: len >= 4 ? n3 : BadRequest
    n3: eval func "cond"() -> (i1) { ? w.a : w.a
    "#);
}

#[test]
fn few_workloads_are_told_apart_by_branches_and_many_by_one_table() {
    let text = |index: usize| behind(&format!("w{index}"), 0, "  true => l0");
    let few: Vec<String> = (0..3).map(text).collect();
    let (image, _) = run("match-reduction", &nfp(), &[], linked(&few));
    assert_snapshot!(stage(&image), @r#"
    n6: id 1 ? w0.a : n5
    n5: id 2 ? w1.a : n4
    n4: id 3 ? w2.a : NoWorkload
    "#);
    let many: Vec<String> = (0..60).map(text).collect();
    let (image, notes) = run("match-reduction", &nfp(), &[], linked(&many));
    let counted = cost(&image);
    assert_snapshot!(format!("{}\n{} tables, {} entries", notes.join("\n"), counted.tables(), counted.table_entries), @r#"
    60 workloads are told apart by one table: 445 words; a chain of more than 32 branches takes too long
    60 tables in front of lambdas became 1
    120 lambdas are called where the stage ends, without a table
    120 reply epilogues became one
    120 tables of ways out with 120 entries became one with 0
    1 tables, 60 entries
    "#);
}

#[test]
fn the_most_requested_workload_is_asked_for_first() {
    let text = |name: &str| behind(name, 0, "  true => l0");
    let (image, _) = run(
        "match-reduction",
        &nfp(),
        &[("w", 100.0)],
        linked(&[text("v"), text("w")]),
    );
    assert_snapshot!(stage(&image), @r#"
    n4: id 2 ? w.a : n3
    n3: id 1 ? v.a : NoWorkload
    "#);
}

#[test]
fn a_long_chain_of_comparisons_becomes_a_table() {
    let rules: String = (0..40)
        .map(|value| format!("  bits(0, i16) eq {} => l{}\n", value * 7, value % 2))
        .collect();
    let (image, _) = run(
        "match-reduction",
        &nfp(),
        &[],
        linked(&[behind("w", 4, &(rules + "  true => drop"))]),
    );
    let counted = cost(&image);
    assert_eq!((counted.tables(), counted.table_entries), (1, 40));
}

#[test]
fn a_lambda_that_no_rule_names_is_not_called_and_unread_headers_are_not_parsed() {
    let text = behind("w", 4, "  bits(0, i8) eq 1 => l0\n  true => drop").replace("0..8 reply", "8..8 reply");
    let before = cost(&linked(std::slice::from_ref(&text)));
    let (image, notes) = run("dead-code", &nfp(), &[], linked(&[text]));
    let after = cost(&image);
    let bits = (before.shape.header_bits, after.shape.header_bits);
    assert_snapshot!(format!("{}\n{bits:?}", notes.join("\n")), @r#"
    nothing leads to `w.b`
    120 bits of headers are not parsed, as the stage reads none of them
    (736, 640)
    "#);
    assert_eq!((before.lambdas, after.lambdas), (2, 1));
}

#[test]
fn tables_of_one_field_of_several_workloads_become_one_with_the_id() {
    let rules = |from: u32| -> String {
        let rule = |value: u32| format!("  bits(0, i8) eq {} => l{}\n", from + value, value % 2);
        (0..40).map(rule).collect::<String>() + "  true => drop"
    };
    let texts = [
        behind("v", 4, &rules(10)),
        behind("w", 4, &rules(60)),
        behind("x", 2, "  true => l0"),
    ];
    let (image, notes) = run("match-reduction", &nfp(), &[], linked(&texts));
    let shown = stage(&image);
    let shown: Vec<&str> = shown.lines().map(|line| &line[..line.len().min(90)]).collect();
    assert_snapshot!(shown.join("\n"), @r#"
    n14: len >= 4 ? n13 : n12
    n13: table id and Bits { bit: 0, width: 8 } [1/10 v.a, 1/11 v.b, 1/12 v.a, 1/13 v.b, 1/14 
    n12: id 1 ? n9 : n11
    n11: id 2 ? n9 : n10
    n10: id 3 ? n8 : NoWorkload
    n9: len >= 4 ? Drop : BadRequest
    n8: len >= 2 ? x.a : BadRequest
    "#);
    assert_snapshot!(notes[..2].join("\n"), @r#"
    3 workloads are told apart by a chain of branches: 241 words as a table, 174 as branches
    2 tables of one field became one of 80 entries, keyed on the id and the field
    "#);
    let counted = cost(&image);
    assert_eq!((counted.tables(), counted.table_entries), (1, 80));
}
