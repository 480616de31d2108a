//! Linking again after a change.

use std::sync::Arc;

use lambdac_image::{Linker, Options, Source, link, optimize, passes};
use lambdac_mir::Module;

use crate::support::{behind, nfp};

/// A workload with a function, a constant in it, an object and rules.
fn workload(name: &str, constant: u32, rules: &str) -> Arc<Module> {
    let text = behind(name, 4, rules);
    let (head, rest) = text.split_once("lambda l0").expect("it has a lambda");
    let (_, rest) = rest.split_once("lambda l1").expect("and another");
    let text = format!(
        "{head}
const c0 \"page\": bytes<32> = b\"hello\"

param p0 \"limit\": i32 = {constant}

object o0 \"n\" \"u32\" = value i32 = 0

func f0 \"mix\"(v0: i32) -> (i32) {{
  v1: i32 = const {constant}
  v2: i32 = xor v0, v1
  v3: i32 = mul v2, v0
  v4: i32 = mul v3, v2
  v5: i32 = mul v4, v3
  return v5
}}

lambda l0 \"a\" request \"u32\" 4..4 reply \"u32\" 4..4 {{
  slot s0 \"out\": bytes<4>
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = call f0(v0)
    v2: i32 = load p0
    v3: i32 = xor v1, v2
    store o0, v3
    v4: i32 = const 4
    set_len s0, v4
    store_bits s0, bit 0, v3
    v5: i32 = const 0
    reply s0[v5 +: v4]
  }}
}}

lambda l1{rest}"
    );
    Arc::new(lambdac_mir::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

const RULES: &str = "  bits(0, i8) eq 1 => l0\n  bits(0, i8) eq 2 => l1\n  bits(0, i8) in 1..3 => l0";

fn sources(modules: &[Arc<Module>]) -> Vec<Source> {
    let why: Arc<str> = "it asks for the host".into();
    let source = |(id, module): (u32, &Arc<Module>)| Source {
        asked: Vec::new(),
        id,
        module: Arc::clone(module),
        // Some are kept on the host.
        on_host: if id % 3 == 0 {
            vec![None, Some(Arc::clone(&why))]
        } else {
            Vec::new()
        },
    };
    (1u32..).zip(modules).map(source).collect()
}

/// Compares what a linker makes with what a clean build makes.
fn check(linker: &mut Linker, modules: &[Arc<Module>], options: &Options) {
    let sources = sources(modules);
    let (image, report) = linker
        .run("image", &sources, options)
        .expect("names are distinct");
    let pairs: Vec<_> = sources
        .iter()
        .map(|source| (source.id, Arc::clone(&source.module)))
        .collect();
    let mut clean = link("image", &pairs).expect("names are distinct");
    for (number, source) in sources.iter().enumerate() {
        for (entry, why) in clean.entries_of(number).zip(&source.on_host) {
            if let Some(why) = why {
                clean.keep_on_host(entry, why);
            }
        }
    }
    let clean_report = optimize(&mut clean, &nfp(), options);
    assert_eq!(image.module.to_string(), clean.module.to_string());
    assert_eq!(image, clean);
    assert_eq!(report, clean_report);
}

#[test]
fn relinking_after_a_change_gives_the_bytes_of_a_clean_build() {
    let mut modules: Vec<_> = (0u32..20)
        .map(|index| workload(&format!("w{index}"), index % 7, RULES))
        .collect();
    let mut linker = Linker::new(nfp());
    let all: Vec<Options> = std::iter::once(Vec::new())
        .chain(passes().iter().map(|pass| vec![pass.name.to_owned()]))
        .map(|disabled| Options {
            disabled,
            validate: true,
            ..Options::default()
        })
        .collect();
    for options in &all {
        check(&mut linker, &modules, options);
        // Another constant, another order of rules, fewer workloads, and one back.
        modules[3] = workload("w3", 1_000_000, RULES);
        check(&mut linker, &modules, options);
        modules[5] = workload("w5", 5, "  bits(0, i8) eq 2 => l1\n  true => l0");
        check(&mut linker, &modules, options);
        let last = modules.pop().expect("there are 20");
        check(&mut linker, &modules, options);
        modules.push(Arc::new((*last).clone()));
        check(&mut linker, &modules, options);
    }
}

#[test]
fn few_workloads_in_a_large_store_are_linked_as_they_are() {
    let mut device = nfp();
    device.store = device.store.map(|mut store| {
        store.words = 1_000_000;
        store
    });
    let modules = [workload("a", 1, RULES), workload("b", 1, RULES)];
    let (image, report) = Linker::new(device)
        .run("image", &sources(&modules), &Options::default())
        .expect("names are distinct");
    assert_eq!(image.module.lambdas.len(), 4);
    let notes = &report.expect("the device counts words").steps[0].notes;
    assert!(notes[0].starts_with("declined"), "{notes:?}");
}
