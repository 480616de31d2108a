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
    let (checked, module) = (&compiled.checked, &compiled.module);
    run(
        checked,
        module,
        &targets,
        None,
        &crate::testing::BuiltIn,
        &mut |ran| results.push(ran.result),
    );
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

/// A chain of fns, each of which calls the one before inside `depth` times `open`.
fn nested(fns: usize, open: &str, depth: usize) -> String {
    let mut source = "workload deep;\nfn f0(x: u32) -> u32 { return x; }\n".to_string();
    for n in 1..=fns {
        let (heads, tails) = (open.repeat(depth), "}".repeat(depth));
        source += &format!(
            "fn f{n}(x: u32) -> u32 {{ let mut s = x; {heads} s += f{}(s); {tails} return s; }}\n",
            n - 1
        );
    }
    source + &format!("lambda go(req: [u32; 1]) -> [u32; 1] {{ reply [f{fns}(req[0])]; }}\n")
}

#[test]
fn the_deepest_programs_that_are_accepted_are_valid_mir() {
    for open in [
        "if s > 1 {",
        "if s > 1 && s < 9 || s == 20 {",
        "for i in 0..1 {",
        "while s > 7 max 1 {",
        "if s > 1 { s += 1; } else {",
    ] {
        let mut session = Session::new(Box::new(NoSources));
        let mut check = |fns: usize| {
            session.check(&Input {
                name: "deep.lnic".into(),
                bytes: nested(fns, open, 20).into(),
            })
        };
        let refused = (1..40)
            .find(|&fns| check(fns).failed())
            .expect("so many are too deep");
        let why = check(refused).diagnostics;
        assert!(why.iter().any(|d| d.code == "E0552"), "{open}: {why:?}");
        let deepest = check(refused - 1).workload.expect("it was accepted");
        let module = session.lower(&deepest);
        assert_eq!(lambdac_mir::validate(&module), Ok(()), "{open}");
    }
}
