//! Many threads on one state: atomics lose nothing at any width, and a code swap loses no state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lambdac_mir::{Data, Module};
use lnic_engine::control::{StateDump, Tree};
use lnic_engine::{Image, Meta, Outcome, Scratch};

const THREADS: u64 = 4;
const CALLS: u64 = 20_000;

fn module(text: &str) -> Arc<Module> {
    Arc::new(lambdac_mir::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// A lambda that adds `step` to an integer of a width and, by compare-exchange, tries to add 1 to another.
fn adder(width: u8, step: u64) -> Arc<Module> {
    module(&format!(
        r#"module "adder"
object o0 "n" "u{width}" = value i{width} = 0
object o1 "row" "[u{width}; 3]" = value [i{width} x 3] = {zeros}
object o2 "hits" "counter" = counter
lambda l0 "add" request "bytes<0>" 0..0 reply "bytes<1>" 0..1 {{
  slot s0 "out": bytes<1>
  part0() {{
    v0: i{width} = const {step}
    v1: i{width} = atomic_add o0, v0
    v2: i32 = const 1
    v3: i{width} = load o1[v2]
    v4: i{width} = add v3, v0
    v5: i1 = atomic_cas o1[v2], v3, v4
    v6: i64 = zext v5
    counter_add o2, v6
    zero s0
    v7: i32 = const 0
    reply s0[v7 +: v7]
  }}
}}
dispatch only l0
"#,
        zeros = if width == 8 {
            "b\"\\x00\\x00\\x00\""
        } else {
            "[0, 0, 0]"
        },
    ))
}

fn hammer(image: &Image) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let workload = &image.workloads()[0];
            scope.spawn(move || {
                let mut scratch = Scratch::new(thread);
                let mut reply = [0; 1];
                for _ in 0..CALLS {
                    let outcome = workload.invoke(&mut scratch, &Meta::default(), b"", &mut reply);
                    assert!(matches!(outcome, Outcome::Reply(0)));
                }
            });
        }
    });
}

fn int(tree: &Tree) -> u64 {
    match tree {
        Tree::Int(value) => *value,
        other => panic!("{other:?} is no integer"),
    }
}

#[test]
fn atomics_lose_nothing_at_any_width() {
    for width in [1, 2, 3, 5, 8, 12, 16, 24, 32, 33, 64] {
        let step = if width == 1 { 1 } else { 3 };
        let image = Image::load(&[adder(width, step)], &[], None).unwrap();
        hammer(&image);
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let workload = &image.workloads()[0];
        assert_eq!(
            int(&workload.read("n", &[], 0).unwrap()),
            (THREADS * CALLS * step) & mask,
            "u{width}"
        );
        let exchanged = int(&workload.read("hits", &[], 0).unwrap());
        assert_eq!(
            int(&workload.read("row", &["1"], 0).unwrap()),
            (exchanged * step) & mask,
            "u{width}"
        );
        assert_eq!(int(&workload.read("row", &["0"], 0).unwrap()), 0);
        assert_eq!(int(&workload.read("row", &["2"], 0).unwrap()), 0);
    }
}

#[test]
fn code_is_swapped_under_running_threads_and_state_stays() {
    let first = Image::load(&[adder(24, 1)], &[], None).unwrap();
    let current = arc_swap::ArcSwap::from_pointee(first);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|thread| {
                let current = &current;
                scope.spawn(move || {
                    let mut scratch = Scratch::new(thread);
                    for _ in 0..CALLS {
                        let image = current.load_full();
                        let outcome =
                            image.workloads()[0].invoke(&mut scratch, &Meta::default(), b"", &mut [0; 1]);
                        assert!(matches!(outcome, Outcome::Reply(0)));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                // Another source line is another module: it is compiled anew, with the same declarations.
                let mut next = (*adder(24, 1)).clone();
                next.files.push(format!("round{round}.lnic").into());
                let next = Image::load(&[next.into()], &[], Some(&current.load())).unwrap();
                current.store(next.into());
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let image = current.load_full();
    assert_eq!(int(&image.workloads()[0].read("n", &[], 0).unwrap()), 2 * CALLS);
    // With another declared type it starts anew.
    let changed = Image::load(&[adder(25, 1)], &[], Some(&image)).unwrap();
    assert_eq!(
        changed.workloads()[0].state(0)[0].1,
        StateDump::Value(Data::Int(0))
    );
    assert_eq!(
        changed.workloads()[0].state(0)[2].1,
        image.workloads()[0].state(0)[2].1
    );
}

#[test]
fn streams_are_answered_chunk_by_chunk() {
    let gray = module(
        r#"module "gray"
lambda l0 "gray" stream request "[u8; 4]" 4..4 reply "[u8; 1]" 1..1 {
  slot s0 "out": [i8 x 1]
  part0() {
    v0: i8 = load_bits req, bit 8
    v1: i32 = const 0
    v2: i32 = const 1
    store s0[v1], v0
    reply s0[v1 +: v2]
  }
}
dispatch only l0
"#,
    );
    let image = Image::load(&[gray], &[], None).unwrap();
    let workload = &image.workloads()[0];
    assert_eq!(workload.facts().fragment, 1344);
    let mut scratch = Scratch::new(0);
    let mut reply = [0; 2];
    let mut run = |payload: &[u8]| {
        let outcome = workload.invoke_stream(&mut scratch, &Meta::default(), payload, &mut reply);
        (format!("{outcome:?}"), reply)
    };
    assert_eq!(run(b"abcdefgh"), ("Reply(2)".into(), *b"bf"));
    assert_eq!(run(b"abcdefg").0, "BadRequest");
    assert_eq!(run(b"").0, "BadRequest");
}
