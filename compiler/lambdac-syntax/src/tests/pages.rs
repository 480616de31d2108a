//! The error pages of this crate's codes: each example gives its code alone, each mend nothing.

use std::path::Path;

use lambdac_diag::{FileId, Sink};

const CODES: [&str; 8] = [
    "E0101", "E0102", "E0103", "E0104", "E0105", "E0106", "E0107", "E0108",
];

fn codes_of(source: &[u8]) -> Vec<&'static str> {
    let mut sink = Sink::new();
    let _ = crate::parse_bytes(FileId(0), source, &mut sink);
    sink.into_sorted().iter().map(|d| d.code).collect()
}

/// The code block under a heading of a page.
fn block<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, after) = page.split_once(heading).expect("the heading is there");
    let (_, code) = after.split_once("```lnic\n").expect("a block follows");
    code.split_once("```").expect("the block ends").0
}

#[test]
fn every_example_gives_its_code_and_every_mend_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lang-spec/errors");
    for code in CODES {
        let page =
            std::fs::read_to_string(folder.join(code).with_extension("md")).expect("the code has a page");
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
        assert_eq!(codes_of(block(&page, "## Example").as_bytes()), [code]);
        assert_eq!(codes_of(block(&page, "## Mend").as_bytes()), [""; 0], "{code}");
    }
}
