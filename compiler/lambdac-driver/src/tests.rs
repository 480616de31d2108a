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

/// Calls `f` for each number, with the path to it; elements of arrays are told apart.
fn for_each_number(value: &mut toml::Value, path: &str, f: &mut dyn FnMut(&str, &mut i64)) {
    match value {
        toml::Value::Table(fields) => {
            (fields.iter_mut()).for_each(|(key, value)| for_each_number(value, &format!("{path}.{key}"), f))
        }
        toml::Value::Array(elements) => (elements.iter_mut().enumerate())
            .for_each(|(index, value)| for_each_number(value, &format!("{path}[{index}]"), f)),
        toml::Value::Integer(number) => f(path, number),
        _ => {}
    }
}

/// A program with something of everything that the cost model prices by a device's numbers.
const PRICED: &str = "workload priced;
    state hits: lru<u32, u64>(64);
    state seen: [u8; 4096];
    state total: u64;
    table ports: exact<u16, u8>(16);
    fn mix(x: u64) -> u64 { return (x * 0x9e37_79b9_7f4a_7c15) ^ (x / 3) ^ (x << (x % 64)); }
    lambda count(req: bytes<256>) -> [u64; 2] {
        let mut sum: u64 = mix(total.fetch_add(1));
        for i in 0..req.len() max 256 { sum = mix(sum + req[i] as u64); seen[(sum % 4096) as u32] = req[i]; }
        hits.put(sum as u32, sum);
        let known = hits.get(7) else { drop; };
        reply [sum, known];
    }
    lambda crc(req: bytes<256>) -> [u32; 1] { reply [hash::crc32(req)]; }
    match (first: [u16; 1]) { ports.has(first[0]) => crc, first[0] % 7 == 3 => crc, _ => count }";

#[test]
fn sizes_are_counted_with_every_number_of_a_description_at_its_ends() {
    let mut session = Session::new(Box::new(NoSources));
    let image = link(vec![compile(&mut session, "priced.lnic", PRICED)]).expect("it is one");
    let text = lambdac_target::builtin_text("nfp").expect("it is built in");
    let whole: toml::Value = toml::from_str(text).expect("it is TOML");
    let mut paths = Vec::new();
    for_each_number(&mut whole.clone(), "", &mut |path, _| paths.push(path.to_owned()));
    let largest = [48, 32, 30, 20, 16, 12].map(|bits| 1 << bits);
    let powers = (0..=15).rev().map(|power| 10_i64.pow(power)).chain(largest);
    let mut down: Vec<i64> = powers.collect();
    down.sort_unstable_by(|a, b| b.cmp(a));
    let ends: [Vec<i64>; 2] = [down, vec![0, 1]];
    for candidates in &ends {
        // All numbers so far at this end, and this one alone.
        let mut all = whole.clone();
        for path in &paths {
            for from in [&whole.clone(), &all.clone()] {
                let device = candidates.iter().find_map(|value| {
                    let mut changed = from.clone();
                    for_each_number(&mut changed, "", &mut |at, number| {
                        if at == path {
                            *number = *value;
                        }
                    });
                    let device = lambdac_target::Device::parse(&toml::to_string(&changed).ok()?).ok()?;
                    Some((device, changed))
                });
                // Where others are at their ends, this one may have to stay.
                let Some((device, changed)) = device else { continue };
                if from != &whole {
                    all = changed;
                }
                let measured = crate::size::measure(&image, &device, &crate::size::SizeOptions::default());
                let sizes = measured.unwrap_or_else(|error| panic!("{path}: {error}")).sizes;
                assert_eq!(
                    sizes.store.fits,
                    sizes.store.base + sizes.store.image <= sizes.store.words
                );
            }
        }
    }
}
