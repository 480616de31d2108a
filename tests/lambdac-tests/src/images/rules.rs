//! Workloads whose many rules look at one field: what tables keyed on it, and on the id and it, are made of.

use super::Member;
use crate::generate::Request;

/// Rules of a workload with many.
const RULES: u32 = 40;

/// Workloads that tell 40 values of their first byte apart: two behind one least length, two behind another, and one that
/// looks at nothing. Each is asked with every first byte in messages of 0 to 4 bytes.
pub fn many_rules() -> Vec<Member> {
    let many = |name: &str, len: usize, from: u32| {
        let rule = |value: u32| {
            let target = if value.is_multiple_of(3) {
                "drop"
            } else {
                ["even", "odd"][value as usize % 2]
            };
            format!("    req.op == {} => {target},\n", from + value)
        };
        let rules: String = (0..RULES).map(rule).collect();
        let source = format!(
            "workload {name};
header Request {{ op: u8, rest: [u8; {}] }}
lambda even(req: Request) -> bytes<4> {{ reply b\"even\"; }}
lambda odd(req: Request) -> bytes<4> {{ reply b\"odd\"; }}
match (req: Request) {{\n{rules}}}\n",
            len - 1
        );
        member(name, &source)
    };
    vec![
        many("first", 2, 10),
        many("second", 2, 60),
        many("third", 3, 10),
        many("fourth", 3, 200),
        member(
            "fifth",
            "workload fifth; lambda fifth() -> bytes<4> { reply b\"five\"; }",
        ),
    ]
}

fn member(name: &str, source: &str) -> Member {
    let requests = |_: &lambdac_mir::Module| {
        let bytes = (0..=255u8).flat_map(|first| (0..5).map(move |len| vec![first; len]));
        bytes.map(request).collect()
    };
    Member::new(&format!("{name}.lnic"), source, requests).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

fn request(bytes: Vec<u8>) -> Request {
    Request {
        bytes,
        fits: true,
        src_ip: 1,
        src_port: 2,
        dst_port: 4369,
        port: 1,
        request_id: 7,
        now: 1,
        random: None,
    }
}
