//! Emitted C: images of the examples and of the conformance programs, as linked and after all passes, compile under
//! gcc and clang with every warning an error, and answer in a process with sanitizers as each workload alone does on
//! the evaluator: as plain C, and as Micro-C on the shim. A compiler that is not there is a visible skip.

use std::sync::{Arc, Mutex};
use std::thread;

use lambdac_analysis::Placement;
use lambdac_backend_c::{Dialect, Options, SymbolKind, print};
use lambdac_image::Image;
use lambdac_mir::ObjectId;
use lambdac_tests::generate::{Request, program};
use lambdac_tests::images::{
    Member, compare, compare_in_c, copies, folder, image, keep_on_host, linked, many_rules, run_tests_in_c,
};
use lnic_nfp::{Build, Code, Machine, Toolchain, options};

/// Requests of a lambda, on plain C and on the shim.
const REQUESTS: u64 = 100;
const SHIM_REQUESTS: u64 = 20;
/// Random programs of a run in plain C, and of an image.
const PROGRAMS: u64 = 80;
const PROGRAMS_EACH: usize = 10;
/// Random programs of a run on the shim, and of an image: compiling takes most of the time, and most of that is not the
/// programs'. Of a few groups all compilers get the unit; one of so many groups runs under sanitizers, which take most of
/// the time in which a unit is compiled. `LAMBDAC_C_PROGRAMS` says another number.
const SHIM_PROGRAMS: u64 = 2_000;
const SHIM_PROGRAMS_EACH: usize = 40;
const COMPILED_BY_ALL: usize = 2;
const SANITIZED: usize = 5;
/// Groups that are under way at a time.
const THREADS: usize = 2;
/// Workloads of an image on the shim, whose memories are a card's.
const GROUP: usize = 6;

/// The compilers that are here, each missing one said aloud.
fn compilers() -> Vec<Toolchain> {
    ["gcc", "clang"]
        .into_iter()
        .filter_map(|name| {
            let found = Toolchain::find(name);
            if found.is_none() {
                eprintln!("skipped: {name} not found");
            }
            found
        })
        .collect()
}

/// Compiles an image with all compilers and starts it with the first.
fn start(name: &str, dialect: Dialect, image: &Arc<Image>) -> Option<Machine> {
    let code = Code::new(image, &options(dialect)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let compilers = compilers();
    for compiler in &compilers {
        code.compile(compiler, &Build::Small)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let machine = Machine::new(image.clone(), dialect, compilers.first()?, 0);
    Some(machine.unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// Runs the tests of all members; gives how many passed.
fn tests(name: &str, machine: &mut Machine, image: &Image, members: &[&Member]) -> usize {
    let mut failures = Vec::new();
    let mut passed = 0;
    for member in members {
        match run_tests_in_c(machine, image, member) {
            Ok(tests) => passed += tests,
            Err(errors) => failures.extend(errors),
        }
    }
    let failures = failures.join("\n");
    assert!(failures.is_empty(), "{name}: {passed} passed\n{failures}");
    passed
}

fn in_plain_c(name: &str, image: Image, members: &[&Member]) {
    let image = Arc::new(image);
    let Some(mut machine) = start(name, Dialect::Host, &image) else {
        return;
    };
    assert!(tests(name, &mut machine, &image, members) > 0, "{name}: no tests");
    compare_in_c(&mut machine, &image, members).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn both(name: &str, members: &[Member]) {
    let members: Vec<&Member> = members.iter().collect();
    let naive = linked(&members).unwrap_or_else(|error| panic!("{name}: {error}"));
    in_plain_c(&format!("{name}, as linked"), naive, &members);
    let optimised = image(&members, &["partition"]).unwrap_or_else(|error| panic!("{name}: {error}"));
    in_plain_c(&format!("{name}, optimised"), optimised, &members);
}

/// Random programs, from a seed on.
fn random(first: u64, count: u64) -> Vec<Member> {
    let member = |seed| {
        let program = program(seed);
        let name = format!("w{seed}");
        let source = lambdac_tests::images::variant(&program.source, &name, None);
        Member::generated(&name, &source, program.requests).unwrap_or_else(|error| panic!("{error}"))
    };
    (first..first + count).map(member).collect()
}

/// How many random programs; `LAMBDAC_C_PROGRAMS` says another number.
fn programs(usual: u64) -> u64 {
    let asked = std::env::var("LAMBDAC_C_PROGRAMS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_programs_in_c_answer_as_on_the_evaluator() {
    let members = random(0, programs(PROGRAMS));
    for (number, group) in members.chunks(PROGRAMS_EACH).enumerate() {
        let group: Vec<&Member> = group.iter().collect();
        let name = format!("random programs, group {number}");
        let image = match number % 2 {
            0 => image(&group, &["partition"]),
            _ => linked(&group),
        };
        let image = Arc::new(image.unwrap_or_else(|error| panic!("{name}: {error}")));
        let Some(mut machine) = start(&name, Dialect::Host, &image) else {
            return;
        };
        compare_in_c(&mut machine, &image, &group).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn random_programs_on_the_shim_answer_as_on_the_evaluator() {
    let all = programs(SHIM_PROGRAMS);
    let each = SHIM_PROGRAMS_EACH as u64;
    let groups = Mutex::new((0..all.div_ceil(each)).rev());
    let ran = Mutex::new(0);
    let Some(toolchain) = lnic_nfp::testing::toolchain() else {
        eprintln!("skipped: gcc or clang not found");
        return;
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(number) = { groups.lock().expect("no panic holds it").next() } {
                    let first = PROGRAMS + number * each;
                    let count = each.min(all - number * each);
                    let count = random_on_the_shim(&toolchain, number as usize, first, count);
                    *ran.lock().expect("no panic holds it") += count as u64;
                }
            });
        }
    });
    let ran = ran.into_inner().expect("no panic holds it");
    assert!(ran * 2 > all, "{ran} of {all} are native");
}

/// Runs a group of random programs as one image, half of the groups through all passes; gives how many of them are the
/// core's alone. The others, and those with requests of several packets, are left out.
fn random_on_the_shim(toolchain: &Toolchain, number: usize, first: u64, count: u64) -> usize {
    let name = format!("random programs on the shim, from {first}");
    let members = random(first, count);
    let native: Vec<&Member> = members
        .iter()
        .filter(|member| {
            let mut image = linked(&[*member]).expect("it links");
            keep_on_host(&mut image, &[*member]);
            let fits = |request: &Request| request.bytes.len() <= lnic_wire::MAX_FRAGMENT;
            let packets = image.workloads[0].chunk.is_some() || member.requests.iter().all(fits);
            packets && image.entries.iter().all(|entry| entry.on_host.is_none())
        })
        .collect();
    let image = match number % 2 {
        0 => image(&native, &["partition"]),
        _ => linked(&native),
    };
    let image = Arc::new(image.unwrap_or_else(|error| panic!("{name}: {error}")));
    let machine = match number < COMPILED_BY_ALL {
        true => start(&name, Dialect::MicroC, &image).ok_or("no compiler".to_owned()),
        false => {
            let build = match number % SANITIZED {
                0 => Build::Checked,
                _ => Build::Plain,
            };
            let machine = Machine::built(image.clone(), Dialect::MicroC, (toolchain, build), 0);
            machine.map_err(|error| error.to_string())
        }
    };
    let mut machine = machine.unwrap_or_else(|error| panic!("{name}: {error}"));
    compare_in_c(&mut machine, &image, &native).unwrap_or_else(|error| panic!("{name}: {error}"));
    native.len()
}

/// Runs members on the shim in small images; those of which nothing is the host's also all their requests.
fn on_the_shim(name: &str, members: &[Member]) {
    let is_native = |member: &&Member| {
        let mut lambdas = member.checked.1.lambdas.iter();
        lambdas.all(|lambda| matches!(lambda.placement, Placement::Nic { .. }))
    };
    let (native, mixed): (Vec<&Member>, Vec<&Member>) = members.iter().partition(is_native);
    let mut passed = 0;
    for (number, group) in native.chunks(GROUP).chain(mixed.chunks(GROUP)).enumerate() {
        let name = format!("{name}, group {number}");
        let image = match number % 2 {
            0 => image(group, &["partition"]),
            _ => linked(group),
        };
        let mut image = image.unwrap_or_else(|error| panic!("{name}: {error}"));
        keep_on_host(&mut image, group);
        let image = Arc::new(image);
        let Some(mut machine) = start(&name, Dialect::MicroC, &image) else {
            return;
        };
        passed += tests(&name, &mut machine, &image, group);
        if image.entries.iter().all(|entry| entry.on_host.is_none()) {
            compare_in_c(&mut machine, &image, group).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(passed > 0, "{name}: no tests");
}

#[test]
fn the_examples_in_c_answer_as_on_the_evaluator() {
    both("examples", &folder("examples", REQUESTS));
}

#[test]
fn the_conformance_programs_in_c_answer_as_on_the_evaluator() {
    both("conformance", &folder("lang-spec/conformance", REQUESTS));
}

#[test]
fn the_examples_on_the_shim_answer_as_on_the_evaluator() {
    on_the_shim("examples", &folder("examples", SHIM_REQUESTS));
}

#[test]
fn the_conformance_programs_on_the_shim_answer_as_on_the_evaluator() {
    on_the_shim("conformance", &folder("lang-spec/conformance", SHIM_REQUESTS));
}

#[test]
fn the_optimised_image_of_lambda_nic_is_smaller_in_c_too() {
    let members = folder("examples/lambda-nic-original", REQUESTS);
    let members: Vec<&Member> = members.iter().collect();
    let [naive, optimised] = [linked(&members), image(&members, &[])].map(|image| {
        let image = image.expect("it links");
        Code::new(&image, &Options::new(Dialect::Host)).expect("it can be said in C")
    });
    for compiler in compilers() {
        let [before, after] =
            [&naive, &optimised].map(|code| code.sizes(&compiler, &Build::Small).expect("it compiles"));
        assert!(before.text > 0 && before.rodata > 0, "{before:?}");
        assert!(
            after.total() * 4 <= before.total() * 3,
            "{}: {before:?}, {after:?}",
            compiler.name()
        );
    }
}

#[test]
fn joined_tables_answer_alike_in_c() {
    let members = many_rules();
    let members: Vec<&Member> = members.iter().collect();
    let image = Arc::new(image(&members, &[]).unwrap_or_else(|error| panic!("{error}")));
    if let Some(mut machine) = start("many_rules", Dialect::Host, &image) {
        compare_in_c(&mut machine, &image, &members).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn copies_that_share_code_keep_their_own_state_and_services_in_c() {
    for file in [
        "examples/kv/kv.lnic",
        "examples/counter/counter.lnic",
        "examples/rate_limit/rate_limit.lnic",
        "examples/lambda-nic-original/original_get.lnic",
        "examples/lambda-nic-original/original_set.lnic",
    ] {
        let members = copies(file, 3, REQUESTS);
        let members: Vec<&Member> = members.iter().collect();
        let image = Arc::new(image(&members, &["partition"]).unwrap_or_else(|error| panic!("{error}")));
        let shares = |entry: &lambdac_image::Entry| !entry.instances.is_empty() || !entry.services.is_empty();
        assert!(
            image.entries.iter().any(shares),
            "{file}: no code is shared over objects or services"
        );
        compare((*image).clone(), &members).unwrap_or_else(|error| panic!("{file}: {error}"));
        for dialect in [Dialect::Host, Dialect::MicroC] {
            let Some(mut machine) = start(file, dialect, &image) else {
                return;
            };
            compare_in_c(&mut machine, &image, &members).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
}

/// Puts the fields of every structure into two memories by turns, as placement does where the nearer one is full.
fn divide_all(image: &mut Image) -> usize {
    let device = lambdac_driver::target::builtin("nfp").expect("it is built in");
    let number = |name: &str| {
        device
            .memory
            .iter()
            .position(|memory| memory.name == name)
            .expect("it has one")
    };
    let memories = [number("emem"), number("imem")];
    let placed = image.placed.as_mut().expect("everything was placed");
    for (index, object) in image.module.objects.iter().enumerate() {
        if let Some((fields, _)) = lambdac_cost::fields(&object.kind) {
            let by_turns = (0..fields.len()).map(|field| memories[field % 2]).collect();
            placed.fields.insert(ObjectId(index as u32), by_turns);
        }
    }
    placed.fields.len()
}

#[test]
fn values_whose_fields_lie_in_several_memories_answer_alike() {
    let Some(compiler) = compilers().into_iter().next() else {
        return;
    };
    let has_fields = |member: &Member| {
        let mut objects = member.module.objects.iter();
        objects.any(|object| lambdac_cost::fields(&object.kind).is_some())
    };
    let mut members = folder("lang-spec/conformance", SHIM_REQUESTS);
    members.extend(copies(
        "lang-spec/conformance/06_struct_and_array_state.lnic",
        3,
        SHIM_REQUESTS,
    ));
    members.retain(has_fields);
    let (mut objects, mut apart, mut passed) = (0, 0, 0);
    for group in members.chunks(GROUP) {
        let group: Vec<&Member> = group.iter().collect();
        let mut image = image(&group, &["partition"]).unwrap_or_else(|error| panic!("{error}"));
        keep_on_host(&mut image, &group);
        objects += divide_all(&mut image);
        let image = Arc::new(image);
        let printed =
            print(&image, &options(Dialect::MicroC)).unwrap_or_else(|refusals| panic!("{refusals:?}"));
        let fields = printed
            .symbols
            .iter()
            .filter(|symbol| matches!(symbol.kind, SymbolKind::Field(..)));
        apart += fields.count();
        let built = (&compiler, Build::Checked);
        let machine = Machine::built(image.clone(), Dialect::MicroC, built, 0);
        let mut machine = machine.unwrap_or_else(|error| panic!("{error}"));
        passed += tests("fields apart", &mut machine, &image, &group);
        if image.entries.iter().all(|entry| entry.on_host.is_none()) {
            compare_in_c(&mut machine, &image, &group).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(
        apart >= 12 && passed > 0,
        "{apart} fields of {objects} objects lie apart, {passed} tests passed"
    );
}
