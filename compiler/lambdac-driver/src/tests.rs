//! Linking and test failures, from source.

use crate::testing::{TestResult, run};
use crate::{Compiled, Input, NoSources, Options, Session, link};

fn compile(session: &mut Session, name: &str, source: &str) -> Compiled {
    let checked = session.check(&Input {
        name: name.into(),
        bytes: source.into(),
    });
    let workload = checked
        .workload
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    session
        .compile(&workload, &Options::default())
        .expect("all passes exist")
}

const ECHO: &str = "workload echo; lambda answer(req: bytes<64>) -> bytes<64> { reply req; }";

#[test]
fn two_workloads_of_one_name_are_an_error_with_both_places() {
    let mut session = Session::new(Box::new(NoSources));
    let twice = [
        compile(&mut session, "a.lnic", ECHO),
        compile(&mut session, "b.lnic", ECHO),
    ];
    let errors = link(twice.into()).expect_err("the names are the same");
    assert_eq!(
        (errors.len(), errors[0].code, errors[0].labels.len()),
        (1, "E0910", 2)
    );
    assert_ne!(errors[0].labels[0].span.file, errors[0].labels[1].span.file);
}

#[test]
fn an_image_holds_no_more_workloads_than_there_are_ids() {
    let mut session = Session::new(Box::new(NoSources));
    let one = compile(&mut session, "a.lnic", ECHO);
    let many = vec![one; crate::image::MAX_WORKLOADS + 1];
    let errors = link(many).expect_err("one is too many");
    assert!(errors.iter().any(|error| error.code == "E0911"));
}

#[test]
fn ids_are_given_by_sorted_name_from_1() {
    let mut session = Session::new(Box::new(NoSources));
    let b = compile(&mut session, "b.lnic", &ECHO.replace("echo", "bravo"));
    let a = compile(&mut session, "a.lnic", &ECHO.replace("echo", "alpha"));
    let image = link(vec![b, a]).expect("the names differ");
    let ids: Vec<_> = image
        .workloads
        .iter()
        .map(|w| (&*w.compiled.module.name, w.id & 0xffff))
        .collect();
    assert_eq!(ids, [("alpha", 1), ("bravo", 2)]);
}

#[test]
fn a_test_that_fails_does_so_on_every_target() {
    let mut session = Session::new(Box::new(NoSources));
    let source = format!("{ECHO} test \"t\" {{ expect echo(b\"a\") == b\"b\"; }}");
    let compiled = compile(&mut session, "a.lnic", &source);
    let targets = crate::testing::TARGETS.map(str::to_owned);
    let mut results = Vec::new();
    run(&compiled.checked, &compiled.module, &targets, None, &mut |ran| {
        results.push(ran.result)
    });
    assert_eq!(results.len(), 2);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, TestResult::Failed(f) if f.len() == 1)),
        "{results:?}"
    );
}

#[test]
fn an_unknown_pass_is_refused_by_name() {
    let mut session = Session::new(Box::new(NoSources));
    let checked = session.check(&Input {
        name: "a.lnic".into(),
        bytes: ECHO.into(),
    });
    let workload = checked.workload.expect("it is right");
    let options = Options {
        disabled: vec!["no-such".into()],
        ..Options::default()
    };
    let error = session
        .compile(&workload, &options)
        .expect_err("there is no such pass");
    assert!(
        error
            .to_string()
            .starts_with("there is no pass \"no-such\"; there are: ")
    );
}
