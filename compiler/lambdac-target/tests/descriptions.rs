//! The built-in descriptions, and what wrong ones are told.

use lambdac_target::{BUILTIN, Device, builtin};

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
    assert!(changed("threads = 4", "treads = 4").contains("unknown field `treads`"));
    assert!(Device::parse(&"#".repeat(2 << 20)).is_err());
}

#[test]
fn cycles_become_nanoseconds_rounded_up() {
    let device = builtin("nfp").expect("built in");
    assert_eq!(device.nanoseconds(800), 1000);
    assert_eq!(device.nanoseconds(1), 2);
    assert_eq!(device.nanoseconds(u64::MAX), u64::MAX);
}
