//! Object files: the same bytes every time, and a C program that links and runs a lambda.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lambdac_backend_host::{clif_text, compile_object};
use lambdac_mir::Module;

const SUM: &str = r#"module "sum"
const c0 "greeting": bytes<5> = b"sum: "
lambda l0 "sum" request "bytes<64>" 1..64 reply "bytes<9>" 0..9 {
  labels 1
  slot s0 "out": bytes<9> reply_buffer
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32 = loop b0 for v3: i32 in v0..v1 max 64 (v4: i32 = v0) {
      v5: i8 = load req[v3]
      v6: i32 = zext v5
      v7: i32 = add v4, v6
      continue b0(v7)
    }
    zero s0
    v8: i32 = const 5
    v9: i32 = const 9
    copy_bytes s0, v0, c0[v0 +: v8]
    store_bits s0, bit 40, v2
    set_len s0, v9
    reply s0[v0 +: v9]
  }
}
dispatch only l0
"#;

const MAIN: &str = r#"#include <string.h>
#include "image.h"
int main(void) {
    uint8_t reply[LNIC_SUM_SUM_REPLY];
    struct lnic_context ctx = {0};
    ctx.request = (const uint8_t *)"\xff\xff\x02";
    ctx.request_len = 3;
    ctx.reply = reply;
    ctx.reply_cap = sizeof reply;
    if (lnic_sum__dispatch(&ctx) != 0) return 1;
    if (lnic_sum_sum(&ctx) != LNIC_REPLY) return 2;
    if (ctx.reply_len != 9) return 3;
    return memcmp(reply, "sum: \x00\x00\x02\x00", 9) ? 4 : 0;
}
"#;

fn modules() -> Vec<Arc<Module>> {
    vec![Arc::new(lambdac_mir::parse(SUM).expect("the fixture parses"))]
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let first = compile_object(&modules()).unwrap();
    assert_eq!(first, compile_object(&modules()).unwrap());
    assert!(clif_text(&modules()[0]).unwrap().contains("lambda `sum`"));
}

#[test]
fn a_c_program_links_and_runs_a_lambda() {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: cc not found");
        return;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c-program");
    std::fs::create_dir_all(&dir).unwrap();
    let image = compile_object(&modules()).unwrap();
    std::fs::write(dir.join("image.o"), image.object).unwrap();
    std::fs::write(dir.join("image.h"), image.header).unwrap();
    std::fs::write(dir.join("main.c"), MAIN).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args([
        "-std=c11", "-Wall", "-Wextra", "-Werror", "main.c", "image.o", "-o", "main",
    ]);
    let built = compiler.current_dir(&dir).output().unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let ran = Command::new(dir.join("main")).status().unwrap();
    assert_eq!(ran.code(), Some(0));
}
