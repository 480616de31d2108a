//! The examples of `wire.md` and `bundle.md` are what the formats' crates write and read.

use lnic_wire::{Header, Kind, Status, workload_id};

const WIRE: &str = include_str!("../../../lang-spec/wire.md");
const BUNDLE: &str = include_str!("../../../lang-spec/bundle.md");

/// The text of the page's only block that opens so.
fn block<'p>(page: &'p str, info: &str) -> &'p str {
    let opening = format!("```{info}\n");
    let (_, rest) = page
        .split_once(&opening)
        .unwrap_or_else(|| panic!("no block `{info}`"));
    rest.split_once("```").expect("the block ends").0
}

/// The hex digits before two blanks on each line.
fn packet(info: &str) -> Vec<u8> {
    let digits = block(WIRE, info)
        .lines()
        .map(|line| line.split("  ").next().unwrap_or_default());
    let digits: String = digits.flat_map(str::split_whitespace).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn request() -> Header {
    let web = workload_id(1, "web").expect("1 is an index");
    Header::request(web, 0x0123_4567_89ab_cdef, 0, 1, 5)
}

#[test]
fn the_request_on_the_page_is_a_request() {
    let packet = packet("hex,request");
    let (header, payload) = Header::decode(&packet, Kind::Request).expect("it is well formed");
    assert_eq!(header, request());
    assert_eq!(payload, b"GET /");
}

#[test]
fn the_replies_on_the_page_answer_it() {
    let reply = packet("hex,reply");
    let expected = request().reply(Status::Ok, 0, 1, 5);
    assert_eq!(Header::decode(&reply, Kind::Reply), Ok((expected, &b"hello"[..])));
    let trap = packet("hex,trap");
    assert_eq!(
        Header::decode(&trap, Kind::Reply),
        Ok((request().error(Status::Trap), &b""[..]))
    );
}

#[test]
fn the_statuses_on_the_page_are_all_of_them() {
    for status in Status::ALL {
        let row = format!("| {} | {} |", status as u8, status.name());
        assert!(WIRE.contains(&row), "{row}");
    }
}

#[test]
fn the_manifest_on_the_page_is_one() {
    let manifest: lnic_bundle::Manifest =
        serde_json::from_str(block(BUNDLE, "json")).expect("it is of the schema");
    assert_eq!(manifest.schema, lnic_bundle::SCHEMA);
    let echo = &manifest.workloads[0];
    assert_eq!(Some(echo.id), workload_id(1, &echo.name));
}
