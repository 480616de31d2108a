//! The built-in descriptions, and what wrong ones are told.

use lambdac_target::{BUILTIN, Device, Programs, builtin};

#[test]
fn every_built_in_description_is_read_under_its_own_name() {
    for (name, text) in BUILTIN {
        let device = Device::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(device.name, name);
    }
    assert_eq!(
        builtin("nfp").map(|device| device.name),
        Some("nfp-4000".to_owned())
    );
    assert_eq!(builtin("no such"), None);
}

#[test]
fn a_description_that_is_written_out_reads_back() {
    for (name, text) in BUILTIN {
        let device = Device::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = toml::to_string(&device).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Device::parse(&written), Ok(device));
    }
}

/// A valid description with one line replaced by another.
fn changed(from: &str, to: &str) -> String {
    let (_, text) = BUILTIN[3];
    assert!(text.contains(from), "{from} is not in the description");
    Device::parse(&text.replacen(from, to, 1)).map_or_else(|error| error.to_string(), |_| "read".to_owned())
}

#[test]
fn wrong_descriptions_are_told_what_is_wrong() {
    insta::assert_snapshot!(changed("name = \"nfp-4000\"", "name = \"NFP 4000\""), @r#"`name` is "NFP 4000": lower case, digits and `-` are allowed"#);
    insta::assert_snapshot!(changed("threads = 4", "threads = 0"), @"`core.threads` is 0: 1 to 100000 are allowed");
    insta::assert_snapshot!(changed("base_words = 7150", "base_words = 9000"), @"`store.base_words` is 9000, more than the 8192 words that there are");
    insta::assert_snapshot!(changed("name = \"cls\"", "name = \"lmem\""), @r#"two memories are called "lmem""#);
    insta::assert_snapshot!(changed("word = 4", "word = 3"), @r#"the word of memory "lmem" is no power of two"#);
    insta::assert_snapshot!(changed("latency = 50", "latency = 1000001"), @"`memory[1].latency` is 1000001: 0 to 1000000 are allowed");
    insta::assert_snapshot!(changed("alu32 = { words = 1 }", "alu32 = { words = 1, cycles = 9_000_000_000 }"), @"`ops.alu32.cycles` is 9000000000: 0 to 1000000 are allowed");
    insta::assert_snapshot!(changed("bytes = 65536", "bytes = 9_000_000_000_000_000_000"), @"`memory[1].bytes` is 9000000000000000000: 0 to 281474976710656 are allowed");
    insta::assert_snapshot!(changed("clock_hz = 800_000_000", "clock_hz = 800_000_000_000"), @"`core.clock_hz` is 800000000000: 1 to 100000000000 are allowed");
    insta::assert_snapshot!(changed("threads = 4", "threads = 400_000"), @"`core.threads` is 400000: 1 to 100000 are allowed");
    insta::assert_snapshot!(changed("name = \"cls\"", r#"name = "c\u001b[31m""#), @r#"`memory[1].name` is "c\u{1b}[31m": a letter, then letters, digits and `_` are allowed"#);
    insta::assert_snapshot!(changed("56 NPU cores", "56\\tcores"), @"there is a control character in `summary`");
    assert!(changed("threads = 4", "treads = 4").contains("unknown field `treads`"));
    assert!(Device::parse(&"#".repeat(2 << 20)).is_err());
}

#[test]
fn parts_that_do_not_agree_are_told_which() {
    insta::assert_snapshot!(changed("payload = 1344", "payload = 0"), @"`limits.payload` is 0: 1 to 1048576 are allowed");
    insta::assert_snapshot!(changed("pooled_words = 16384", "pooled_words = 8000"), @"`store.pooled_words` is 8000, less than the 8192 words that a core has alone");
    insta::assert_snapshot!(changed("pooled_cores = 28", "pooled_cores = 57"), @"`store.pooled_cores` is 57, more than the 56 cores that there are");
    insta::assert_snapshot!(changed("pooled_cores = 28\n", ""), @"`store.pooled_words` and `store.pooled_cores` stand together or not at all");
    insta::assert_snapshot!(changed("latency = 100\n", "latency = 10\n"), @r#"`memory[2].latency` is 10, less than the 50 of "cls" before it: the nearest stands first"#);
    insta::assert_snapshot!(changed("name = \"imem\"", "name = \"sram\""), @r#"`memory[3].name` is "sram": a device of family nfp has lmem, cls, ctm, imem, emem"#);
    insta::assert_snapshot!(changed("memory = \"ctm\"", "memory = \"sram\""), @r#"`packet.memory` is "sram": there is no memory of this name"#);
    insta::assert_snapshot!(changed("memory = \"ctm\"", ""), @"`packet.memory` is missing: a device of family nfp has packets in one of its memories");
    let (_, text) = BUILTIN[3];
    let alone = Device::parse(&text.replace("shared = \"device\"", "shared = \"island\""));
    insta::assert_snapshot!(alone.expect_err("nothing is shared"), @r#"no memory has `shared = "device"`: what lambdas change can lie in no other"#);
    let memory = |index: usize| {
        format!("[[memory]]\nname = \"m{index}\"\nbytes = 1\nlatency = 1000\nword = 1\nshared = \"device\"\n")
    };
    let (_, host) = BUILTIN[0];
    let many = format!("{host}\n{}", (0..64).map(memory).collect::<String>());
    insta::assert_snapshot!(Device::parse(&many).expect_err("too many"), @"there are 65 memories, more than 64");
    let (_, xdp) = BUILTIN[1];
    let strange = xdp.replacen("[kernel.helpers]\n", "[kernel.helpers]\n\"a b\" = \"5.1\"\n", 1);
    insta::assert_snapshot!(Device::parse(&strange).expect_err("no name"), @r#"`kernel.helpers` names "a b": a letter, then letters, digits and `_` are allowed"#);
}

/// Calls `f` for each number, with the path to it; elements of arrays are told apart.
fn for_each_number(value: &mut toml::Value, path: &str, f: &mut dyn FnMut(&str, &mut i64)) {
    let under = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        toml::Value::Table(fields) => fields
            .iter_mut()
            .for_each(|(key, value)| for_each_number(value, &under(key), f)),
        toml::Value::Array(elements) => (elements.iter_mut().enumerate())
            .for_each(|(index, value)| for_each_number(value, &format!("{path}[{index}]"), f)),
        toml::Value::Integer(number) => f(path, number),
        _ => {}
    }
}

#[test]
fn every_number_beyond_its_range_is_told_by_its_key() {
    for (name, text) in BUILTIN {
        let whole: toml::Value = toml::from_str(text).expect("it is TOML");
        let mut paths = Vec::new();
        for_each_number(&mut whole.clone(), "", &mut |path, _| paths.push(path.to_owned()));
        assert!(paths.len() > 5, "{name} has numbers");
        for path in &paths {
            for wrong in [-1, i64::MAX] {
                let mut changed = whole.clone();
                for_each_number(&mut changed, "", &mut |at, number| {
                    if at == path {
                        *number = wrong;
                    }
                });
                let changed = toml::to_string(&changed).expect("it is TOML");
                let error = Device::parse(&changed).expect_err(path).to_string();
                let key = path.rsplit('.').next().unwrap_or(path);
                assert!(error.contains(key), "{name}: {path} = {wrong}: {error}");
            }
        }
    }
}

#[test]
fn what_counts_operations_has_a_store() {
    let (_, text) = BUILTIN[3];
    let (before, store) = text.split_once("[store]").expect("there is a store");
    let (_, rest) = store.split_once("[limits]").expect("limits come next");
    let error = Device::parse(&format!("{before}[limits]{rest}")).expect_err("nothing says how much fits");
    assert_eq!(
        error.to_string(),
        "a device with `[ops]` or `[items]` needs a `[store]`"
    );
}

#[test]
fn a_device_runs_one_program_unless_it_says_otherwise() {
    let programs = |name: &str| builtin(name).map(|device| device.programs);
    assert_eq!(programs("nfp"), Some(Programs::One));
    assert_eq!(programs("xdp"), Some(Programs::Each));
    let (_, text) = BUILTIN[3];
    let silent = Device::parse(&text.replacen("programs = \"one\"\n", "", 1)).expect("it is valid");
    assert_eq!(silent.programs, Programs::One);
}

#[test]
fn cycles_become_nanoseconds_rounded_up() {
    let device = builtin("nfp").expect("built in");
    assert_eq!(device.nanoseconds(800), 1000);
    assert_eq!(device.nanoseconds(1), 2);
    assert_eq!(device.nanoseconds(u64::MAX), u64::MAX);
}
