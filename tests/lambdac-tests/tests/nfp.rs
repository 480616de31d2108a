//! `test` items on the NFP's shim, as `lambdac test --target nfp` runs them: every one of the conformance programs and
//! examples passes, or is the host's with a code. Without gcc and clang all are visibly skipped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use lambdac_backend_c::Dialect;
use lambdac_driver::disk::{self, Disk};
use lambdac_driver::nic::Place;
use lambdac_driver::testing::{Ran, TestResult, run};
use lambdac_driver::{Input, Options, Session};
use lambdac_image::{Ending, Packet};
use lambdac_mir::interp::{Answer, Outcome};
use lnic_nfp::testing::{Compiled, NAME, NfpTests, compile, toolchain};
use lnic_nfp::{Machine, TOO_LARGE};

/// Compilers that run at a time.
const THREADS: usize = 2;

/// What the NFP can't run, and what keeps a lambda off it for reasons of the program's own (the README's list).
const HOSTS: [&str; 8] = [
    "E0701", "E0702", "E0705", "E0706", "E0710", "E0711", "E0712", "E0790",
];

/// How each test of a file ends.
fn tested(file: &Path) -> Vec<Ran> {
    let input = Input::read(file).expect("sources can be read");
    let mut session = Session::new(Box::new(Disk::default()));
    let Some(workload) = session.check(&input).workload else {
        return Vec::new();
    };
    let compiled = session
        .compile(&workload, &Options::default())
        .expect("all passes exist");
    let mut ended = Vec::new();
    let targets = [NAME.to_owned()];
    run(
        &workload,
        &compiled.module,
        &targets,
        None,
        &NfpTests,
        &mut |ran| {
            ended.push(ran);
        },
    );
    ended
}

#[test]
fn every_test_item_passes_on_the_shim_or_is_the_hosts_with_a_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["lang-spec/conformance", "examples"].map(|folder| root.join(folder));
    let files = disk::find(&folders).expect("there are programs");
    let (queue, all) = (Mutex::new(files), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = { queue.lock().expect("no panic holds it").pop() } {
                    let ended = tested(&file);
                    all.lock().expect("no panic holds it").extend(ended);
                }
            });
        }
    });
    let all = all.into_inner().expect("no panic holds it");
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut passed = 0;
    for ran in &all {
        match &ran.result {
            TestResult::Passed => passed += 1,
            TestResult::Skipped(reason) => *skipped.entry(reason.clone()).or_default() += 1,
            TestResult::Failed(failures) => {
                failed.push(format!("{}: {}: {failures:?}", ran.workload, ran.test));
            }
        }
    }
    eprintln!("{passed} passed, skipped: {skipped:?}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    if skipped.keys().any(|reason| reason.contains("not found")) {
        return;
    }
    assert!(passed > 100, "most of {} tests run there", all.len());
    let odd: Vec<&String> = skipped
        .keys()
        .filter(|reason| !HOSTS.iter().any(|code| **reason == format!("host ({code})")))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

/// A source, compiled for the shim.
fn compiled(source: &str) -> Compiled {
    let made =
        lambdac_driver::compile(&Input::new("w.lnic", source)).unwrap_or_else(|error| panic!("{error}"));
    compile(&made.checked, &made.module).expect("it links")
}

/// Codes of the lambdas of a source that are the host's.
fn kept(source: &str) -> Vec<String> {
    let made = compiled(source);
    let codes = made.places.lambdas().iter().filter_map(|place| match place {
        Place::Native => None,
        Place::Host { code, .. } => Some(code.clone()),
    });
    codes.collect()
}

#[test]
fn the_examples_of_the_pages_have_their_code_and_their_mends_are_native() {
    for code in ["E0701", "E0702", "E0705", "E0706", "E0711", "E0712", "E0790"] {
        let page = lang_spec::error_page(code).expect("it is listed");
        let blocks = page.split("```lnic\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        let [example, mend] = blocks[..] else {
            panic!("{code}: an example and a mend")
        };
        let found = kept(example);
        assert!(found.iter().any(|found| found == code), "{code}: {found:?}");
        assert!(kept(mend).is_empty(), "{code}: {:?}", kept(mend));
    }
}

/// An image of three rows comes in three packets; the core answers each, and none leaves by the host's port (which is 768,
/// a number that is also the bytes of the reply).
#[test]
fn a_stream_of_several_packets_is_the_cores_alone() {
    let Some(toolchain) = toolchain() else {
        eprintln!("skipped: gcc or clang not found");
        return;
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/lambda-nic/grayscale_stream.lnic");
    let made = compiled(&std::fs::read_to_string(file).expect("sources can be read"));
    assert_eq!(made.places.native(), [true]);
    let machine = Machine::new(Arc::new(made.image), Dialect::MicroC, &toolchain, 0);
    let mut machine = machine.expect("it compiles and starts");
    for rows in 1..=3 {
        let packet = Packet {
            pkt: [0x0a00_0001, 5, 4369, 0, 1],
            now: 0,
            random: None,
        };
        let image = vec![255; 1024 * rows];
        let ended = machine.call(made.id, &image, &packet, &mut |_, _, _, _| Answer::Failed);
        // What is the host's ends as `Invalid`.
        let gray = Ending::Of(Outcome::Reply(vec![255; 256 * rows]));
        assert_eq!(ended.expect("the process lives"), gray);
    }
}

/// A caller that nobody vouches for gets at most three times what it sent, whatever the packet was padded to on the way.
#[test]
fn long_replies_go_to_callers_who_are_trusted_or_sent_as_much() {
    let Some(toolchain) = toolchain() else {
        eprintln!("skipped: gcc or clang not found");
        return;
    };
    let made = compiled(
        "workload w; lambda fill(req: bytes<600>) -> [u8; 900] { let mut out = [7u8; 900]; out[0] = req.len() as u8;
         reply out; }",
    );
    let machine = Machine::new(Arc::new(made.image), Dialect::MicroC, &toolchain, 0);
    let mut machine = machine.expect("it compiles and starts");
    let ask = |machine: &mut Machine, source: [u8; 4], len: usize| {
        let packet = Packet {
            pkt: [u32::from_be_bytes(source).into(), 5, 4369, 0, 1],
            now: 0,
            random: None,
        };
        let ended = machine.call(made.id, &vec![1; len], &packet, &mut |_, _, _, _| Answer::Failed);
        match ended.expect("the process lives") {
            Ending::Of(outcome) => outcome,
            Ending::NoWorkload => panic!("the id is right"),
        }
    };
    let reply = |len: usize| {
        let mut reply = vec![7; 900];
        reply[0] = len as u8;
        Outcome::Reply(reply)
    };
    assert_eq!(ask(&mut machine, [203, 0, 113, 9], 8), reply(8));
    machine.trust(false).expect("the process lives");
    let refused = Outcome::Invalid(TOO_LARGE.to_owned());
    assert_eq!(ask(&mut machine, [203, 0, 113, 9], 8), refused);
    // 3 * (8 + 24 + 278) is less than 8 + 24 + 900, and 3 * (8 + 24 + 279) is not.
    assert_eq!(ask(&mut machine, [203, 0, 113, 9], 278), refused);
    assert_eq!(ask(&mut machine, [203, 0, 113, 9], 279), reply(279));
    for trusted in [[10, 0, 0, 1], [172, 16, 0, 1], [192, 168, 255, 1]] {
        assert_eq!(ask(&mut machine, trusted, 8), reply(8));
    }
}
