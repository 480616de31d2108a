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
    insta::assert_snapshot!(changed("threads = 4", "threads = 0"), @"`core.threads` is 0");
    insta::assert_snapshot!(changed("base_words = 7150", "base_words = 9000"), @"`store.base_words` is 9000, more than the 8192 words that there are");
    insta::assert_snapshot!(changed("name = \"cls\"", "name = \"lmem\""), @r#"two memories are called "lmem""#);
    insta::assert_snapshot!(changed("word = 4", "word = 3"), @r#"the word of memory "lmem" is no power of two"#);
    insta::assert_snapshot!(changed("latency = 50", "latency = 1000001"), @"`memory[1].latency` is 1000001: 0 to 1000000 are allowed");
    insta::assert_snapshot!(changed("alu32 = { words = 1 }", "alu32 = { words = 1, cycles = 9_000_000_000 }"), @"`ops.alu32.cycles` is 9000000000: 0 to 1000000 are allowed");
    insta::assert_snapshot!(changed("bytes = 65536", "bytes = 9_000_000_000_000_000_000"), @"`memory[1].bytes` is 9000000000000000000: 0 to 281474976710656 are allowed");
    insta::assert_snapshot!(changed("clock_hz = 800_000_000", "clock_hz = 800_000_000_000"), @"`core.clock_hz` is 800000000000: 0 to 100000000000 are allowed");
    insta::assert_snapshot!(changed("threads = 4", "threads = 400_000"), @"`core.threads` is 400000: 0 to 100000 are allowed");
    insta::assert_snapshot!(changed("name = \"cls\"", r#"name = "c\u001b[31m""#), @r#"`memory[1].name` is "c\u{1b}[31m": a letter, then letters, digits and `_` are allowed"#);
    insta::assert_snapshot!(changed("56 NPU cores", "56\\tcores"), @"there is a control character in `summary`");
    assert!(changed("threads = 4", "treads = 4").contains("unknown field `treads`"));
    assert!(Device::parse(&"#".repeat(2 << 20)).is_err());
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
