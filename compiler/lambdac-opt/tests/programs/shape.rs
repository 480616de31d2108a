//! What is left of typical programs.

use lambdac_mir::{Module, Op, Stmt};

use crate::compile::optimized;

/// Statements of all lambdas that a question picks.
fn count(module: &Module, pick: impl Fn(&Stmt) -> bool) -> usize {
    let mut count = 0;
    for part in module.lambdas.iter().flat_map(|lambda| &lambda.parts) {
        part.region.walk(&mut |stmt| count += usize::from(pick(stmt)));
    }
    count
}

fn checks(module: &Module) -> usize {
    count(module, |stmt| match &stmt.op {
        Op::Check(..) => true,
        Op::Loop(inner) => inner.checked,
        _ => false,
    })
}

#[test]
fn a_loop_over_an_image_has_no_check_left() {
    let module = optimized(
        "workload w;
lambda gray(req: [u8; 262144]) -> [u8; 65536] {
    let mut out: [u8; 65536];
    for i in 0..65536 { out[i] = ((req[4*i] as u16 + req[4*i+1] as u16 + req[4*i+2] as u16) / 3) as u8; }
    reply out;
}",
    );
    assert_eq!(checks(&module), 0, "{module}");
}

#[test]
fn a_loop_over_records_of_a_variable_request_has_no_check_left() {
    let module = optimized(
        "workload w;
stream lambda gray(req: bytes<1344>) -> bytes<336> {
    let mut out: bytes<336> = b\"\";
    for i in 0..req.len() / 4 max 336 {
        out.push(((req[4*i] as u16 + req[4*i+1] as u16 + req[4*i+2] as u16) / 3) as u8);
    }
    reply out;
}",
    );
    assert_eq!(checks(&module), 0, "{module}");
}
