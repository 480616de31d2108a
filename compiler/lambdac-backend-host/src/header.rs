//! The C header of an object file.

use std::fmt::Write;
use std::mem::offset_of;

use lambdac_mir::Module;

use crate::context::{Context, LogValue, Runtime, ServiceAnswer, ServiceRequest};
use crate::emit::{Compiled, CompiledModule};

/// The structures of [`crate::context`], which the assertions below compare with the Rust ones.
const STRUCTURES: &str = r#"
/* What an entry of a lambda returns. */
enum { LNIC_REPLY, LNIC_DROP, LNIC_PUNT, LNIC_TRAP, LNIC_AWAIT, LNIC_PUNT_TO };

/* What the entry of a match stage returns, besides a lambda's index. */
#define LNIC_MATCH_DROP 0xffff0001u
#define LNIC_MATCH_PUNT 0xffff0002u
#define LNIC_MATCH_TRAP 0xffff0003u
#define LNIC_MATCH_BAD_REQUEST 0xffff0004u

/* Why a lambda trapped. */
enum { LNIC_TRAP_INDEX, LNIC_TRAP_SLICE, LNIC_TRAP_CAPACITY, LNIC_TRAP_NARROW, LNIC_TRAP_PAD, LNIC_TRAP_LOOP_MAX };

struct lnic_context;

/* An argument of a log line: kind 0 unsigned, 1 signed, 2 bool, 3 bytes (len and address). */
struct lnic_log_value { uint32_t kind; uint32_t len; uint64_t value; };

/* What is asked of a service: op 0 get, 1 set, 2 delete; key and value are offsets into the save area. */
struct lnic_service_request {
    uint32_t service, op, key, key_len, value, value_len, limit;
};

struct lnic_service_answer { const uint8_t *value; uint32_t len; uint8_t ok, failed; };

/* What code calls. A lambda that uses no map, table, random, log or checksum calls none of them. */
struct lnic_runtime {
    uint32_t (*map_get)(struct lnic_context *, const void *object, const uint8_t *key, uint8_t *value);
    uint32_t (*map_put)(struct lnic_context *, const void *object, const uint8_t *key, const uint8_t *value);
    uint32_t (*map_put_bytes)(struct lnic_context *, const void *object, const uint8_t *key, const uint8_t *value, uint32_t len);
    uint32_t (*map_remove)(struct lnic_context *, const void *object, const uint8_t *key);
    uint32_t (*map_fetch_add)(struct lnic_context *, const void *object, const uint8_t *key, uint64_t amount, uint64_t *old);
    uint32_t (*table_get)(struct lnic_context *, const void *object, const uint8_t *key, uint8_t *value);
    uint32_t (*random)(struct lnic_context *);
    void (*log)(struct lnic_context *, const uint8_t *text, uint32_t len, const struct lnic_log_value *, uint32_t count);
    uint32_t (*crc32)(const uint8_t *, uint32_t len);
    uint32_t (*crc16)(const uint8_t *, uint32_t len);
    void (*copy_cells)(uint8_t *to, const uint8_t *from, uint64_t bytes, uint64_t align);
    void (*zero_cells)(uint8_t *to, uint64_t bytes, uint64_t align);
    uint64_t (*load_bits)(const uint8_t *, uint64_t bit, uint32_t width);
    void (*store_bits)(uint8_t *, uint64_t bit, uint32_t width, uint64_t value);
};

/* Everything that an entry reads and writes. */
struct lnic_context {
    const uint8_t *request;
    uint8_t *reply;                     /* at least the lambda's LNIC_..._REPLY bytes */
    void *const *objects;               /* one pointer for each object of the module */
    const uint8_t *params;
    const struct lnic_runtime *runtime;
    uint8_t *arena;                     /* LNIC_..._ARENA bytes, 16-aligned */
    uint8_t *save;                      /* LNIC_..._SAVE bytes, 16-aligned */
    uint64_t now;
    uint64_t random_state;
    uint32_t random_fixed, random_is_fixed;
    uint64_t request_id;
    uint32_t src_ip;
    uint16_t src_port, dst_port, port, trap_cause;
    uint32_t request_len, reply_cap, reply_len;
    uint32_t trap_file, trap_line;
    uint32_t part;                      /* 0 to start, else as LNIC_AWAIT left it */
    uint32_t target;                    /* lambda of LNIC_PUNT_TO */
    uint32_t save_len;
    struct lnic_service_request call;
    struct lnic_service_answer answer;
    void *user;
};
"#;

/// Writes the header of an image.
pub(crate) fn header(modules: &[(&Module, CompiledModule)]) -> String {
    let mut out =
        String::from("/* Lambdas compiled for the host. */\n#ifndef LNIC_IMAGE_H\n#define LNIC_IMAGE_H\n\n");
    out.push_str("#include <stddef.h>\n#include <stdint.h>\n");
    out.push_str(STRUCTURES);
    assertions(&mut out);
    for (module, compiled) in modules {
        // Names are identifiers of the language; a comment holds them whatever they are.
        let _ = write!(out, "\n/* workload {} */\n", comment(&module.name));
        for (lambda, entry) in module.lambdas.iter().zip(&compiled.lambdas) {
            let (request, reply) = (lambda.request, lambda.reply);
            let _ = writeln!(out, "/* {} to {} request bytes */", request.min, request.max);
            declare(&mut out, entry);
            let _ = writeln!(out, "#define {}_REPLY {}", entry.symbol.to_uppercase(), reply.max);
        }
        declare(&mut out, &compiled.dispatch);
    }
    out.push_str("\n#endif\n");
    out
}

fn comment(text: &str) -> String {
    text.replace("*/", "* /")
}

fn declare(out: &mut String, entry: &Compiled) {
    let upper = entry.symbol.to_uppercase();
    let _ = writeln!(out, "uint32_t {}(struct lnic_context *);", entry.symbol);
    let _ = writeln!(out, "#define {upper}_ARENA {}", entry.needs.arena_bytes);
    let _ = writeln!(out, "#define {upper}_SAVE {}", entry.needs.save_bytes);
}

/// Compile-time checks that C lays the structures out as we do.
fn assertions(out: &mut String) {
    let offsets = [
        ("now", offset_of!(Context, now)),
        ("request_id", offset_of!(Context, request_id)),
        ("trap_cause", offset_of!(Context, trap_cause)),
        ("request_len", offset_of!(Context, request_len)),
        ("trap_line", offset_of!(Context, trap_line)),
        ("call", offset_of!(Context, call)),
        ("answer", offset_of!(Context, answer)),
        ("user", offset_of!(Context, user)),
    ];
    out.push('\n');
    for (field, offset) in offsets {
        let _ = writeln!(
            out,
            "_Static_assert(offsetof(struct lnic_context, {field}) == {offset}, \"{field}\");"
        );
    }
    let sizes = [
        ("context", size_of::<Context>()),
        ("runtime", size_of::<Runtime>()),
        ("log_value", size_of::<LogValue>()),
        ("service_request", size_of::<ServiceRequest>()),
        ("service_answer", size_of::<ServiceAnswer>()),
    ];
    for (name, size) in sizes {
        let _ = writeln!(
            out,
            "_Static_assert(sizeof(struct lnic_{name}) == {size}, \"{name}\");"
        );
    }
}
