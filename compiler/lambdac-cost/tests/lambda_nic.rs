//! The λ-NIC project's own P4 programs, written down as the items of the model: what its unoptimised version and its
//! third hand-optimised one hold, as counted over the released sources.

use lambdac_cost::{Model, Shape};
use lambdac_target::builtin;

/// The 16 tables of the unoptimised version: four forwarding tables and one for the cache's ports have a key.
const UNOPTIMISED: Shape = Shape {
    headers: 6,
    header_bits: 1056,
    branches: 13,
    keyless_tables: 11,
    keyed_tables: 5,
    key_bits: 5 * 32,
    actions: 11,
    assigned_words: 37,
    plugin_calls: 4,
};

/// The 8 tables of the third version: one forwarding table and the cache's.
const THIRD: Shape = Shape {
    headers: 5,
    header_bits: 880,
    branches: 11,
    keyless_tables: 6,
    keyed_tables: 2,
    key_bits: 2 * 32,
    actions: 8,
    assigned_words: 13,
    plugin_calls: 2,
};

/// Words of the plugin's functions by the operation table: the web server's store, the image loop (three loads, three
/// divisions by 3, a store for each pixel), and the frames of GET (7 words written) and SET (8), with their length fields.
fn lambdas(joined: bool) -> u64 {
    let device = builtin("nfp").expect("built in");
    let ops = device.ops.expect("it counts words");
    let store = ops.load_const32.words + ops.lmem_word.words;
    let web = store + ops.call.words;
    let load = ops.address.words + ops.command.words + ops.move_word.words;
    let pixel =
        3 * (load + ops.field.words + ops.div32_const.words) + 2 * ops.alu32.words + load + ops.field.words;
    let image =
        pixel + ops.branch32.words + 2 * ops.alu32.words + load + ops.branch_bit.words + ops.call.words;
    let frame = |words: u64| words * store + 2 * store + ops.call.words;
    let cache = if joined {
        // One function that writes what both have once and branches on the port for the rest.
        frame(8) + 4 * store + 2 * ops.branch32.words
    } else {
        frame(7) + frame(8)
    };
    web + image + cache
}

/// How far an estimate is from another, in thousandths of the other.
fn off(estimate: u64, counted: u64) -> u64 {
    estimate.abs_diff(counted) * 1000 / counted
}

#[test]
fn estimates_of_the_hand_written_versions_stand_within_15_per_cent() {
    let device = builtin("nfp").expect("built in");
    let model = Model::new(&device).expect("it counts words");
    let unoptimised = model.shape(&UNOPTIMISED) + lambdas(false);
    let third = model.shape(&THIRD) + lambdas(true);
    assert!(
        off(unoptimised, 1630) <= 150,
        "unoptimised: {unoptimised} words, 1,630 by hand"
    );
    assert!(off(third, 1030) <= 150, "third: {third} words, 1,030 by hand");
    let fall = unoptimised - third;
    assert!(off(fall, 600) <= 150, "a fall of {fall}, 600 by hand");
}
