//! What is left of typical programs.

use lambdac_mir::{Module, Op, Stmt};

use crate::compile::{compile, optimized};

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

#[test]
fn a_small_function_leaves_no_call_and_no_block() {
    let module = optimized(
        "workload w;
fn clamp(x: u32, top: u32) -> u32 { if x > top { return top; } return x; }
lambda l(req: bytes<64>) -> bytes<64> { reply req[0..clamp(req.len(), 8)]; }",
    );
    assert!(module.funcs.is_empty(), "{module}");
    assert_eq!(
        count(&module, |stmt| matches!(
            stmt.op,
            Op::Call(..) | Op::Block(..) | Op::If(..)
        )),
        0,
        "{module}"
    );
    assert_eq!(checks(&module), 0, "{module}");
}

#[test]
fn functions_that_call_twice_do_not_double_without_end() {
    let mut text = "workload w;\n@inline fn f0(x: u32) -> u32 { return x * 3 + random(); }\n".to_owned();
    for id in 1..40 {
        let callee = id - 1;
        text += &format!("@inline fn f{id}(x: u32) -> u32 {{ return f{callee}(x) + f{callee}(x ^ 5); }}\n");
    }
    // The worst case of running this is beyond the language's limit; sixteen levels are not.
    text += "lambda l(req: bytes<4>) -> bytes<4> { let x = f16(req.len()); reply req[0..x & 1]; }";
    let module = optimized(&text);
    assert!(count(&module, |_| true) < 60_000);
}

#[test]
fn time_grows_with_the_program_and_not_faster() {
    let seconds = |statements: usize| {
        let mut text =
            "workload w;\nlambda l(req: bytes<64>) -> bytes<64> {\nlet mut out: bytes<64> = b\"\";\n"
                .to_owned();
        for at in 0..statements {
            text += &format!(
                "if req.len() > {} {{ out.clear(); out.push(req[{}]); }}\n",
                at % 60,
                at % 50
            );
        }
        text += "reply out; }";
        let mut module = compile("long.lnic", &text).expect("a workload").module;
        let start = std::time::Instant::now();
        lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
        start.elapsed().as_secs_f64()
    };
    let (short, long) = (seconds(250), seconds(2000));
    // Eight times the program; the rest is room for a busy machine.
    println!("{short} {long}");
    assert!(long < 40.0 * short.max(0.01), "{short} s, then {long} s");
}
