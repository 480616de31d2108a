//! Units of Micro-C for small modules, word by word: a value with a lock and one without, a wait, a stream.

use std::sync::Arc;

use insta::assert_snapshot;
use lambdac_backend_c::{Dialect, Options, print};

/// The workload id of the only module.
const ID: u32 = 0x1234_0001;

/// The unit of a module, as a device gets it.
fn unit(text: &str) -> String {
    let module = lambdac_mir::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let name = module.name.clone();
    let image = lambdac_image::link(&name, &[(ID, Arc::new(module))]).expect("one module links");
    image.validate().unwrap_or_else(|errors| panic!("{errors:#?}"));
    let options = Options {
        ending: Some("lnic_plugin.h".to_owned()),
        ..Options::new(Dialect::MicroC)
    };
    let source = print(&image, &options).unwrap_or_else(|refusals| panic!("{refusals:#?}"));
    source.text
}

#[test]
fn state() {
    assert_snapshot!(unit(include_str!("units/state.mir")));
}

#[test]
fn wait() {
    assert_snapshot!(unit(include_str!("units/wait.mir")));
}

#[test]
fn stream() {
    assert_snapshot!(unit(include_str!("units/stream.mir")));
}

/// The device has no compare-and-swap, so between a lock's taking and its giving back lies every line that reads or
/// writes a value which is compared and swapped somewhere, and no other value takes a lock.
#[test]
fn a_value_that_is_compared_and_swapped_is_locked_wherever_it_is_touched() {
    let text = unit(include_str!("units/state.mir"));
    let (mut held, mut touched) = (false, 0);
    for line in text.lines().filter(|line| line.starts_with(' ')) {
        if line.contains("lnic_mem_lock(") {
            assert!(!held && line.contains("best_lock"), "{line}\n{text}");
            held = true;
        } else if line.contains("lnic_mem_unlock(") {
            assert!(held && line.contains("best_lock"), "{line}\n{text}");
            held = false;
        } else if line.contains("best") {
            assert!(held, "{line}\n{text}");
            touched += 1;
        }
    }
    assert!(!held && touched >= 3, "{touched} lines touch it\n{text}");
    assert!(!text.contains("sum_lock"), "{text}");
}

/// A thread has 256 bytes of its core's local memory, and no stack: what a chain of calls has there fits together, and
/// what finds no room beside its callees' lies in the thread's frames.
#[test]
fn slots_of_a_chain_of_calls_share_local_memory() {
    let func = |id: usize, from: &str| {
        format!(
            "func f{id} \"f{id}\"(v0: i32) -> (i32) {{\n  slot s0 \"s\": [i32 x 25]\n  {from}\n  \
             store s0[v0], v1\n  v2: i32 = load s0[v0]\n  return v2\n}}\n"
        )
    };
    let calls = |id: usize| func(id, &format!("v1: i32 = call f{}(v0)", id - 1));
    let funcs = [func(0, "v1: i32 = xor v0, v0"), calls(1), calls(2), calls(3)].concat();
    let text = unit(&format!(
        "module \"chain\"\n{funcs}lambda l0 \"go\" request \"[u8; 1]\" 1..1 reply \"[u8; 1]\" 1..1 {{\n  \
         slot s0 \"out\": [i8 x 1]\n  part0() {{\n    v0: i32 = const 0\n    v1: i32 = const 1\n    \
         v2: i32 = call f3(v0)\n    v3: i8 = trunc v2\n    store s0[v0], v3\n    reply s0[v0 +: v1]\n  }}\n}}\n\n\
         dispatch only l0\n",
    ));
    let count = |part: &str| text.matches(part).count();
    assert_eq!(count("__lmem uint32_t s0_s[25]"), 2, "{text}");
    // 100 bytes of each of the two outer functions, at multiples of 8.
    assert!(
        text.contains("static __imem LNIC_ALIGNED(8) uint32_t w_frames[52];"),
        "{text}"
    );
}
