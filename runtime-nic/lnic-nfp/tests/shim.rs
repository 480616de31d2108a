//! What the shim refuses (`runtime-nic/nfp/shim/shim.h`), each mistake made once, in a program of its own run.

use std::path::{Path, PathBuf};
use std::process::Command;

use lnic_nfp::{Build, testing::toolchain};

/// Cases of `shim/mistakes.c`, and what the shim says of each.
const MISTAKES: [(u32, &str); 32] = [
    (1, "imem: the objects in this region"),
    (2, "cls: the objects in this region"),
    (3, "ctm: the objects in this region"),
    (4, "lmem: the objects in this region"),
    (5, "imem: the objects in this region"),
    (
        6,
        "besides: what lambdas change lies in memory that not all cores share",
    ),
    (7, "an object that is not at a word: besides"),
    (10, "mem_read8: a size"),
    (11, "mem_write8: a size"),
    (12, "mem_read8: a size"),
    (13, "mem_read32: a size"),
    (14, "mem_write32: a size"),
    (15, "mem_read64: a size"),
    (16, "mem_write64: a size"),
    (17, "mem_read_atomic: a size"),
    (18, "mem_write_atomic: a size"),
    (19, "cls_read: a size"),
    (20, "mem_read32: an unaligned transfer"),
    (21, "mem_write32: an unaligned transfer"),
    (22, "mem_read64: an unaligned transfer"),
    (23, "mem_write64: an unaligned transfer"),
    (24, "mem_test_add: an unaligned transfer"),
    (25, "mem_incr64: an unaligned transfer"),
    (26, "cls_read: an unaligned transfer"),
    (30, "emem: a command past its end"),
    (31, "emem: a command past its end"),
    (32, "a command: outside all memory"),
    (33, "cls: a command of another kind of memory"),
    (34, "emem: a command of another kind of memory"),
    (35, "constant: a write to what is constant"),
    (36, "cls: a write to what is constant"),
    (40, "a lock: nobody gives it back"),
];
/// The case that is no mistake.
const ALLOWED: u32 = 50;

/// The program of the cases; none without a compiler.
fn program(folder: &Path) -> Option<PathBuf> {
    let toolchain = toolchain()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shim = root.join("../nfp/shim");
    let object = |source: &Path, name: &str| {
        let to = folder.join(name);
        let made = toolchain.object(source, &[&shim], &Build::Checked, true, &to);
        made.unwrap_or_else(|error| panic!("{error}"));
        to
    };
    let cases = object(&root.join("tests/shim/mistakes.c"), "mistakes.o");
    let checks = object(&shim.join("shim.c"), "shim.o");
    let program = folder.join("mistakes");
    let linked = toolchain.link(&[&cases, &checks], &Build::Checked, &program);
    linked.unwrap_or_else(|error| panic!("{error}"));
    Some(program)
}

/// What a case says and whether it ended well.
fn ran(program: &Path, case: u32) -> (bool, String) {
    let output = Command::new(program).arg(case.to_string()).output();
    let output = output.expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn every_mistake_is_caught_and_nothing_else() {
    let folder = tempfile::TempDir::new().expect("a folder can be made");
    let Some(program) = program(folder.path()) else {
        eprintln!("skipped: gcc or clang not found");
        return;
    };
    for (case, why) in MISTAKES {
        let (well, said) = ran(&program, case);
        assert!(
            !well && said.contains(&format!("nfp shim: {why}")),
            "{case}: {said}"
        );
    }
    let (well, said) = ran(&program, ALLOWED);
    assert!(well && said == "through\n", "{said}");
}
