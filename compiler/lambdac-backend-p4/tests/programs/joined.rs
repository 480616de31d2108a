//! A table of the stage that is keyed on the workload id and a field, on the machine.

use std::sync::Arc;

use lambdac_backend_p4::{Listen, Options, print, program};
use lambdac_image::{Key, Node};
use lambdac_interp::CallResult;

use crate::execution::{ADDRESS, MAC, WIRE, answered, frame};
use crate::machine::Machine;
use crate::parser;

/// Two lambdas, the first for even values, behind 40 values of the first byte.
fn workload(name: &str, from: u32) -> String {
    let rule = |value: u32| format!("  bits(0, i8) eq {} => l{}\n", from + value, value % 2);
    let rules: String = (0..40).map(rule).collect();
    let lambda = |id: u32, len: u32| {
        format!(
            "lambda l{id} \"l{id}\" request \"bytes<8>\" 0..8 reply \"bytes<8>\" 0..8 {{
  part0() {{
    v0: i32 = const 0
    v1: i32 = const {len}
    reply req[v0 +: v1]
  }}
}}
"
        )
    };
    let (even, odd) = (lambda(0, 1), lambda(1, 2));
    format!("module \"{name}\"\n\n{even}\n{odd}\ndispatch match min 2 {{\n{rules}  true => drop\n}}\n")
}

#[test]
fn an_entry_is_of_one_workload() {
    let ids = [0x1234_0001, 0x1234_0002];
    let modules: Vec<_> = ids
        .into_iter()
        .zip([("v", 10), ("w", 60)])
        .map(|(id, (name, from))| {
            let text = workload(name, from);
            (
                id,
                Arc::new(lambdac_mir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))),
            )
        })
        .collect();
    let mut image = lambdac_image::link("image", &modules).unwrap();
    let device = lambdac_target::builtin("nfp-4000").unwrap();
    lambdac_image::optimize(&mut image, &device, &lambdac_image::Options::default());
    let joined = |node: &Node| {
        matches!(
            node,
            Node::Table {
                key: Key::Both(_),
                ..
            }
        )
    };
    assert!(image.stage.nodes.iter().any(joined), "{:?}", image.stage);
    let options = Options {
        test: false,
        listen: Some(Listen {
            mac: MAC,
            address: ADDRESS,
            port: WIRE,
            broadcast: 0x0a00_00ff,
        }),
        constant_entries: true,
        params: Vec::new(),
        services: Vec::new(),
    };
    let output = program(&image, &options).unwrap();
    let mut machine = Machine::new(&parser::parse(&print::print(&output.program)).unwrap());
    for (id, from) in ids.into_iter().zip([10u8, 60]) {
        for first in 0..=255u8 {
            let payload = [first, 7, 8];
            let mut sent = frame(&[], 1, (0, 1), &payload);
            sent[46..50].copy_from_slice(&u32::to_be_bytes(id));
            let got = match machine.run(1, &sent) {
                None => CallResult::Drop,
                Some((_, reply)) => answered(&sent, &reply),
            };
            let expected = match first.checked_sub(from) {
                Some(value @ 0..40) => CallResult::Reply(payload[..1 + usize::from(value % 2)].to_vec()),
                _ => CallResult::Drop,
            };
            assert_eq!(got, expected, "{first} to {id:x}");
        }
    }
}
