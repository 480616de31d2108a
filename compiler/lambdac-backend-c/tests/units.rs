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
