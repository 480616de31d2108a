//! memory-stratification and partition.

use insta::assert_snapshot;
use lambdac_image::Image;

use crate::support::{behind, cost, linked, nfp, run, stage};

/// A lambda that adds to a number and replies with a constant.
fn workload(name: &str, state: &str, constant: &str) -> String {
    format!(
        "module \"{name}\"

const c0 \"page\": bytes<32> = b\"hello\"{constant}

object o0 \"n\" \"u32\" {state}= value i32 = 0

lambda l0 \"go\" request \"bytes<4>\" 0..4 reply \"bytes<32>\" 0..32 {{
  part0() {{
    v0: i32 = const 1
    v1: i32 = atomic_add o0, v0
    v2: i32 = const 0
    v3: i32 = const 5
    reply c0[v2 +: v3]
  }}
}}

dispatch only l0
"
    )
}

fn places(image: &Image) -> String {
    let device = nfp();
    let placement = image.placement(&device);
    let objects = image.module.objects.iter().zip(&placement.objects);
    let objects = objects.map(|(object, at)| format!("{} {}", object.name, device.memory[*at].name));
    let consts = image.module.consts.iter().zip(&placement.consts);
    let consts = consts.map(|(item, at)| format!("{} {}", item.name, device.memory[*at].name));
    objects.chain(consts).collect::<Vec<_>>().join("\n")
}

#[test]
fn state_lies_where_all_cores_see_it_and_constants_beside_the_core() {
    let (image, notes) = run(
        "memory-stratification",
        &nfp(),
        &[],
        linked(&[workload("a", "", "")]),
    );
    assert_snapshot!(places(&image), @r#"
    a.n imem
    a.page lmem
    "#);
    assert_snapshot!(notes.join("\n"), @"2 objects and constants placed: 1000 cycles of waiting became 253, the best there is");
}

#[test]
fn what_the_author_asks_for_holds() {
    let text = workload("a", "memory emem ", " memory cls");
    let (image, _) = run("memory-stratification", &nfp(), &[], linked(&[text]));
    assert_snapshot!(places(&image), @r#"
    a.n emem
    a.page cls
    "#);
}

#[test]
fn state_in_memory_that_each_island_has_of_its_own_is_refused_with_the_reason() {
    let (image, notes) = run(
        "memory-stratification",
        &nfp(),
        &[],
        linked(&[workload("a", "memory ctm ", "")]),
    );
    assert_snapshot!(notes.join("\n"), @r#"
    `a.n` cannot lie in ctm: it can change, and each island has a ctm of its own
    2 objects and constants placed: 1000 cycles of waiting became 253, the best there is
    "#);
    assert_snapshot!(places(&image), @r#"
    a.n imem
    a.page lmem
    "#);
}

#[test]
fn the_more_requested_constant_gets_the_last_room() {
    let mut device = nfp();
    device.memory[0].bytes = 40;
    let texts = [
        workload("a", "", ""),
        workload("b", "", "").replace("hello", "world"),
    ];
    let (image, _) = run("memory-stratification", &device, &[("b", 10.0)], linked(&texts));
    assert_snapshot!(places(&image), @r#"
    a.n imem
    b.n imem
    a.page cls
    b.page lmem
    "#);
}

#[test]
fn the_least_requested_goes_to_the_host_and_the_cut_is_explained() {
    let mut device = nfp();
    device.store = device.store.map(|mut store| {
        store.words = store.base_words + 1100;
        store
    });
    let texts = ["a", "b", "c"].map(|name| workload(name, "", ""));
    let (image, notes) = run(
        "partition",
        &device,
        &[("a", 5.0), ("b", 1.0), ("c", 3.0)],
        linked(&texts),
    );
    assert_snapshot!(notes.join("\n"), @r#"
    over by 168: 1268 words, 1100 beside the base
    all of it would fit two cores' pooled store, with 28 cores left
    `b.go` to the host (worth 1): back on the NIC, 168 words would have to go
    what stays is worth 8.00, the most that fits
    requests for lambdas of the host are handed up before they are told apart: 2 nodes of the stage fewer
    "#);
    let on_nic: Vec<String> = (0..image.entries.len())
        .filter(|entry| image.entries[*entry].on_host.is_none())
        .map(|entry| image.entry_name(entry))
        .collect();
    assert_eq!(on_nic, ["a.go", "c.go"]);
}

#[test]
fn a_workload_whose_lambdas_left_takes_nothing_of_the_stage() {
    let mut device = nfp();
    device.store = device.store.map(|mut store| {
        store.words = store.base_words + 1100;
        store
    });
    let texts = ["a", "b", "c"].map(|name| workload(name, "", ""));
    let rates = [("a", 5.0), ("b", 1.0), ("c", 3.0)];
    let (image, _) = run("partition", &device, &rates, linked(&texts));
    assert_snapshot!(stage(&image), @r#"
    n4: table id [1 a.go] : n3
    n3: table id [3 c.go] : HandUp
    "#);
    let host = image.host.as_ref().expect("the host decides for b");
    assert_eq!(host.nodes[host.root.index()].successors().len(), 2);
}

#[test]
fn what_the_host_runs_is_handed_up_in_an_image_that_fits() {
    let mut image = linked(&["a", "b"].map(|name| workload(name, "", "")));
    image.keep_on_host(1, "it asks for the host");
    let (image, notes) = run("partition", &nfp(), &[], image);
    assert_snapshot!(stage(&image), @"n2: table id [1 a.go] : HandUp");
    assert_snapshot!(notes.join("\n"), @r#"
    it fits: 624 words of 1042
    requests for lambdas of the host are handed up before they are told apart: 2 nodes of the stage fewer
    "#);
}

#[test]
fn what_fits_stays() {
    let (image, notes) = run("partition", &nfp(), &[], linked(&[workload("a", "", "")]));
    assert!(image.entries[0].on_host.is_none());
    assert_snapshot!(notes.join("\n"), @"it fits: 624 words of 1042");
}

#[test]
fn what_runs_longer_than_the_device_lets_it_is_the_hosts_with_the_reason() {
    let mut device = nfp();
    device.limits.max_cycles = Some(1500);
    // The reply of one is copied from the far memory first.
    let long = workload("a", "", "").replace(
        "  part0() {\n    v0: i32 = const 1\n",
        "  slot s0 \"copy\": bytes<32>\n  part0() {\n    copy s0, c0\n    v0: i32 = const 1\n",
    );
    let (image, _) = run("dead-code", &device, &[], linked(&[long, workload("b", "", "")]));
    let why: Vec<_> = image
        .entries
        .iter()
        .map(|entry| entry.on_host.as_deref().unwrap_or("nic"))
        .collect();
    assert_snapshot!(why.join("\n"), @r#"
    its worst case, 1748 cycles, is longer than the 1500 that nfp-4000 lets a lambda run
    nic
    "#);
}

/// An array of structures, of which a number is counted up and a page of bytes is read seldom.
fn array(elements: u32, author: &str) -> String {
    format!(
        "module \"a\"

object o0 \"rows\" \"[Row; {elements}]\" {author}= value [{{i32, [i8 x 60]}} x {elements}] = [[0, b\"{}\"] x {elements}]

lambda l0 \"hit\" request \"u32\" 4..4 reply \"bytes<4>\" 0..4 {{
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = const {elements}
    v2: i32 = urem v0, v1
    v3: i32 = const 1
    v4: i32 = atomic_add o0[v2].0, v3
    v5: i32 = const 0
    reply req[v5 +: v5]
  }}
}}

lambda l1 \"read\" request \"u32\" 4..4 reply \"bytes<60>\" 0..60 {{
  part0() {{
    v0: i32 = const 0
    v1: i32 = const 60
    reply o0[v0].1[v0 +: v1]
  }}
}}

dispatch match min 4 {{
  bits(0, i8) eq 1 => l1
  true => l0
}}
",
        "\\x00".repeat(60)
    )
}

#[test]
fn hot_fields_lie_near_where_the_whole_does_not_fit() {
    let device = nfp();
    let (image, notes) = run(
        "memory-stratification",
        &device,
        &[],
        linked(&[array(65_536, "")]),
    );
    assert_snapshot!(notes.join("\n"), @r#"
    `a.rows` is divided: field 0 in imem, field 1 in emem
    dividing saves 125 cycles of waiting
    1 objects and constants placed: 500 cycles of waiting became 375, the best there is
    "#);
    let placed = image.placed.as_ref().expect("it is placed");
    let fields: Vec<_> = placed
        .fields
        .values()
        .flatten()
        .map(|at| &*device.memory[*at].name)
        .collect();
    assert_eq!(fields, ["imem", "emem"]);
    // It is one object still, and one that fits lies in one piece, as does one whose author said where.
    assert_eq!(&*image.module.objects[0].name, "a.rows");
    for text in [array(64, ""), array(65_536, "memory emem ")] {
        let (image, _) = run("memory-stratification", &device, &[], linked(&[text]));
        assert!(image.placed.expect("it is placed").fields.is_empty());
    }
}

/// The NFP with so many words beside the base.
fn with_room(words: u64) -> lambdac_target::Device {
    let mut device = nfp();
    device.store = device.store.map(|mut store| {
        store.words = store.base_words + words;
        store
    });
    device
}

fn on_nic(image: &Image) -> Vec<String> {
    (0..image.entries.len())
        .filter(|entry| image.entries[*entry].on_host.is_none())
        .map(|entry| image.entry_name(entry))
        .collect()
}

#[test]
fn what_nobody_asks_for_stays_where_there_is_room() {
    let texts = ["a", "b", "c"].map(|name| workload(name, "", ""));
    let rates = [("a", 0.0), ("b", 0.0), ("c", 0.0)];
    let (image, _) = run("partition", &with_room(1100), &rates, linked(&texts));
    assert_eq!(on_nic(&image).len(), 2, "one has to go");
}

#[test]
fn what_its_author_wants_on_the_nic_does_not_leave() {
    let mut image = linked(&["a", "b", "c"].map(|name| workload(name, "", "")));
    image.entries[1].asked = true;
    let rates = [("a", 5.0), ("b", 1.0), ("c", 3.0)];
    let (image, _) = run("partition", &with_room(1100), &rates, image);
    assert_eq!(on_nic(&image), ["a.go", "b.go"]);
}

#[test]
fn what_the_host_runs_is_not_counted_though_it_shares_code() {
    let mut image = linked(&["a", "b", "c"].map(|name| workload(name, "", "")));
    image.entries[2].lambda = image.entries[0].lambda;
    image.keep_on_host(2, "it asks for the host");
    let counted = cost(&image);
    assert_eq!(counted.entries[2], lambdac_image::EntryCost::default());
    let words: u64 = counted.entries.iter().map(|entry| entry.words).sum();
    assert_eq!(words, counted.lambda_words());
}

#[test]
fn the_tables_of_the_busy_workload_lie_near() {
    let text = |name: &str| {
        let table = "object o0 \"acl\" \"exact\" = exact (i32) -> [i64 x 2] capacity 50000 {\n}\n";
        behind(name, 4, "  has o0(bits(0, i32)) => l0\n  true => drop").replacen(
            "\n\n",
            &format!("\n\n{table}\n"),
            1,
        )
    };
    let texts = [text("idle"), text("busy")];
    let rates = |idle: f64, busy: f64| [("idle", idle), ("busy", busy)];
    for rates in [rates(1.0, 1_000_000.0), rates(0.000_001, 1.0)] {
        let (image, _) = run("memory-stratification", &nfp(), &rates, linked(&texts));
        assert_eq!(places(&image), "idle.acl emem\nbusy.acl imem");
    }
}

#[test]
fn constants_have_what_slots_leave_of_local_memory() {
    let text = |slot: u32| {
        workload("a", "", "").replace(
            "  part0() {\n",
            &format!("  slot s0 \"v\": [i8 x {slot}]\n  part0() {{\n    zero s0\n"),
        )
    };
    let place = |slot: u32| {
        let (image, notes) = run("memory-stratification", &nfp(), &[], linked(&[text(slot)]));
        (places(&image), notes[0].clone())
    };
    let (placed, note) = place(240);
    assert_snapshot!(note, @"variables of 4 threads take 960 of 1024 bytes of lmem");
    assert_snapshot!(placed, @r"
    a.n imem
    a.page lmem
    ");
    let (placed, note) = place(256);
    assert_snapshot!(note, @"variables of 4 threads take 1024 of 1024 bytes of lmem");
    assert_snapshot!(placed, @r"
    a.n imem
    a.page cls
    ");
}

#[test]
fn objects_under_one_name_lie_in_one_memory() {
    // Each of them fits beside the core's neighbours, all of them together do not.
    let text = |name: &str| {
        array(12_000, "")
            .replace("module \"a\"", &format!("module \"{name}\""))
            .replace("[Row; 12000] ", "[Row; 12000]")
    };
    let mut image = linked(&["a", "b", "c"].map(text));
    let device = nfp();
    let (apart, _) = run("memory-stratification", &device, &[], image.clone());
    let options = lambdac_image::Options {
        disabled: vec![
            "match-reduction".to_owned(),
            "dead-code".to_owned(),
            "partition".to_owned(),
        ],
        validate: true,
        ..lambdac_image::Options::default()
    };
    lambdac_image::optimize(&mut image, &device, &options);
    assert!(image.entries.iter().any(|entry| !entry.instances.is_empty()));
    let placed = |image: &Image| {
        let placed = image.placed.clone().expect("it is placed");
        (0..3u32)
            .map(|id| match placed.fields.get(&lambdac_mir::ObjectId(id)) {
                Some(fields) => format!("{fields:?}"),
                None => placed.objects[id as usize].to_string(),
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(placed(&apart).len() > 1, "{:?}", placed(&apart));
    assert_eq!(placed(&image).len(), 1, "{:?}", placed(&image));
}

/// A lambda with a sequence that others have too, and an end of its own.
fn with_sequence(name: &str, own: usize) -> String {
    let more: String = (0..own)
        .map(|step| format!("    v{}: i32 = add v{}, v0\n", 10 + step, 9 + step))
        .collect();
    format!(
        "module \"{name}\"

lambda l0 \"go\" request \"u32\" 4..4 reply \"u32\" 4..4 {{
  slot s0 \"out\": [i8 x 4]
  part0() {{
    v0: i32 = load_bits req, bit 0
    v1: i32 = const 4
    v2: i32 = const 0
    v3: i32 = xor v0, v0
    v4: i32 = mul v3, v0
    v5: i32 = mul v4, v3
    v6: i32 = mul v5, v4
    v7: i32 = mul v6, v5
    v8: i32 = mul v7, v6
    v9: i32 = mul v8, v7
{more}    zero s0
    store_bits s0, bit 0, v{}
    reply s0[v2 +: v1]
  }}
}}

dispatch only l0
",
        9 + own
    )
}

#[test]
fn what_stays_after_a_cut_is_coalesced_by_itself() {
    let texts = [1, 2, 3].map(|own| with_sequence(&format!("w{own}"), own));
    let rates = std::collections::BTreeMap::from([("w1".to_owned(), 100.0)]);
    let options = lambdac_image::Options {
        rates,
        validate: true,
        ..lambdac_image::Options::default()
    };
    let mut alone = linked(&texts[..1]);
    let whole = lambdac_image::optimize(&mut alone, &nfp(), &options).expect("it counts words");
    let room = whole.end().words() + 20;
    let mut image = linked(&texts);
    let report = lambdac_image::optimize(&mut image, &with_room(room), &options).expect("it counts words");
    assert_eq!(on_nic(&image), ["w1.go"]);
    let again = report.steps.iter().flat_map(|step| &step.notes);
    let again = again.filter(|note| note.starts_with("the passes ran again over what stays"));
    assert_eq!(again.count(), 1, "{report:#?}");
    assert_eq!(image.module.funcs.len(), 0, "nobody is left to share it with");
    assert!(report.end().words() <= whole.end().words() + 20);
}

/// The end of a sequence with other operations, so that no part of it is like another.
fn without_pattern(text: &str, mut seed: u32) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let op = ["add", "sub", "xor", "and", "or"][(seed >> 16) as usize % 5];
        lines.push(line.replace("= add ", &format!("= {op} ")));
    }
    lines.join("\n")
}

#[test]
fn room_that_the_second_run_leaves_brings_lambdas_back() {
    // Two that are too large share a sequence with one that stays, which then is no function any more.
    let small = workload("small", "", "");
    let texts = [
        with_sequence("w1", 1),
        without_pattern(&with_sequence("w2", 200), 2),
        without_pattern(&with_sequence("w3", 210), 3),
        small.clone(),
    ];
    let options = lambdac_image::Options {
        rates: [("w1", 100.0), ("small", 10.0)]
            .map(|(name, rate)| (name.to_owned(), rate))
            .into(),
        validate: true,
        ..lambdac_image::Options::default()
    };
    let mut both = linked(&[texts[0].clone(), small]);
    let whole = lambdac_image::optimize(&mut both, &nfp(), &options).expect("it counts words");
    let mut image = linked(&texts);
    let device = with_room(whole.end().words());
    let report = lambdac_image::optimize(&mut image, &device, &options).expect("it counts words");
    assert_eq!(on_nic(&image), ["w1.go", "small.go"], "{report:#?}");
    let notes = report.steps.iter().flat_map(|step| &step.notes);
    let back = notes.filter(|note| note.contains("`small.go` came back"));
    assert_eq!(back.count(), 1, "{report:#?}");
    assert!(report.end().words() <= whole.end().words());
}

#[test]
fn of_many_components_the_most_stay_that_fit() {
    let texts: Vec<String> = (0..12)
        .map(|index| workload(&format!("w{index}"), "", ""))
        .collect();
    let (image, notes) = run("partition", &with_room(2200), &[], linked(&texts));
    let left = on_nic(&image).len();
    assert!(left < 12);
    let told: Vec<_> = notes
        .iter()
        .filter(|note| note.starts_with("what stays is worth"))
        .collect();
    assert_eq!(
        told,
        [&format!("what stays is worth {left}.00, the most that fits")]
    );
    let more = linked(&texts[..=left]);
    assert!(cost(&more).words() > 2200, "one more would not fit by itself");
}

/// What notes say of how good a cut is, and how many percent it may be under the best.
fn told_of_the_best(notes: &[impl AsRef<str> + std::fmt::Debug]) -> (&str, f64) {
    let told = notes
        .iter()
        .find_map(|note| note.as_ref().strip_prefix("what stays is worth "));
    let told = told.unwrap_or_else(|| panic!("{notes:#?}"));
    let percent = told
        .split("at most ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    (told, percent.map_or(0.0, |text| text.parse().expect("a number")))
}

#[test]
fn a_cut_of_very_many_components_ends_and_tells_how_far_it_may_be_from_the_best() {
    let texts: Vec<String> = (0..150)
        .map(|index| with_sequence(&format!("w{index:03}"), 1 + index % 40))
        .collect();
    let names: Vec<String> = (0..150).map(|index| format!("w{index:03}")).collect();
    let rates: Vec<(&str, f64)> = (names.iter().enumerate())
        .map(|(index, name)| (&**name, 1.0 + ((index * 37) % 101) as f64))
        .collect();
    let (image, notes) = run("partition", &with_room(6000), &rates, linked(&texts));
    assert!(cost(&image).words() <= 6000, "{notes:#?}");
    let (told, percent) = told_of_the_best(&notes);
    assert!(percent < 5.0, "{told}");
}

#[test]
fn the_stage_is_in_the_bound_of_a_cut() {
    // Tests of packets are most of what such workloads take once their code is shared.
    let rules = "  bits(0, i8) eq 7 => l0\n  bits(8, i8) eq 9 => l1\n  true => drop";
    let texts: Vec<String> = (0..64)
        .map(|index| behind(&format!("w{index:02}"), 2, rules))
        .collect();
    let mut image = linked(&texts);
    let options = lambdac_image::Options {
        validate: true,
        ..lambdac_image::Options::default()
    };
    let device = with_room(1042);
    let report = lambdac_image::optimize(&mut image, &device, &options).expect("it counts words");
    assert!(report.end().words() <= 1042);
    let notes: Vec<&String> = report.steps.iter().flat_map(|step| &step.notes).collect();
    let (told, percent) = told_of_the_best(&notes);
    assert!(percent < 10.0, "{told}");
    let fits = notes.iter().any(|note| note.contains("back on the NIC, 0 words"));
    assert!(!fits, "what fits stays: {notes:#?}");
}
