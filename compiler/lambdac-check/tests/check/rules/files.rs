//! Libraries and included files.

use super::{items, whole};

#[test]
fn include_stays_in_its_folder() {
    let source = r#"const A: bytes<8> = include("page.txt");
const B: bytes<8> = include("../page.txt");
const C: bytes<8> = include("/page.txt");
const D: bytes<8> = include("missing.txt");
const E: bytes<2> = include("page.txt");"#;
    let expected = r#"3:21: error[E0906]: "../page.txt" can't be included: the path may not leave the source's folder by `..`
4:21: error[E0906]: "/page.txt" can't be included: the path must be relative, with `/` between its parts
5:21: error[E0906]: "missing.txt" can't be included: no such file
6:21: error[E0204]: expected bytes<2>, found bytes<5>"#;
    assert_eq!(items(source), expected);
}

#[test]
fn libraries_hold_what_has_no_state() {
    let source = r#"library t;
const A: u32 = 1;
fn f() -> u32 { return A; }
state s: u32;
lambda go() -> bytes<1> { drop; }
test "t" { }
"#;
    let expected = r"4:7: error[E0904]: a state can't stand in a library
5:8: error[E0904]: a lambda can't stand in a library
6:1: error[E0904]: a test can't stand in a library";
    assert_eq!(whole(source), expected);
}

#[test]
fn library_items_are_named_with_their_library() {
    let source = r"workload t;
use shapes;
use txt;
state s: [u8; shapes::SIDES];
state p: shapes::Point;
state k: shapes::Kind = shapes::Kind::Round;
lambda go() -> bytes<1> { let a = shapes::area(1); let b = shapes::aera(1); let c = shape::SIDES; let d = shapes::Kind::Rund; let e = text::dec(1); drop; }
";
    let expected = r"3:5: error[E0901]: there is no library `txt`
7:68: error[E0201]: library `shapes` has no fn `aera`
7:85: error[E0201]: there is no library or enum `shape` here
7:121: error[E0201]: enum `shapes::Kind` has no variant `Rund`
7:135: error[E0201]: there is no library or enum `text` here";
    assert_eq!(whole(source), expected);
}

#[test]
fn a_library_that_is_used_tells_only_errors_of_what_is_used() {
    let source = r"workload t;
use broken;
lambda go() -> bytes<1> { let a = broken::GOOD; let b = broken::BAD; drop; }
";
    let expected = r"broken.lnic:3:17: error[E0205]: 300 is out of range for u8";
    assert_eq!(whole(source), expected);
}

#[test]
fn what_could_not_be_parsed_is_not_told_twice() {
    let source = r"workload t;
fn helper(a u32) -> u32 { return a; }
lambda go(req: bytes<4>) -> bytes<4> { let n = helper(req.len()); let m = other(n); reply req; }
";
    let expected = r"2:13: error[E0101]: expected `:` after `a`, found `u32`
3:75: error[E0201]: there is no fn `other`";
    assert_eq!(whole(source), expected);
}

#[test]
fn constants_types_and_libraries_that_nothing_mentions_are_warned_about() {
    let source = r#"workload t;
use text;
use shapes;
const USED: u32 = 4;
const UNUSED: u32 = 4;
const FOR_TESTS: bytes<4> = b"ab";
enum Op: u8 { Get }
struct Point { x: u32 }
header Request { x: u32 }
lambda go(req: bytes<USED>) -> bytes<4> {
    if req.len() == shapes::SIDES { drop; }
    reply req;
}
test "t" { expect t(FOR_TESTS) == FOR_TESTS; }
"#;
    let expected = r"2:5: warning[W0052]: the library `text` is never used
5:7: warning[W0052]: the constant `UNUSED` is never used
7:6: warning[W0052]: the enum `Op` is never used
8:8: warning[W0052]: the struct `Point` is never used
9:8: warning[W0052]: the header `Request` is never used";
    assert_eq!(whole(source), expected);
}
