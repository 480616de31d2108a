//! What generated code and its caller share.
//!
//! Every entry is `extern "C" fn(*mut Context) -> u32`: it reads the request and facts from the [`Context`], writes the
//! reply and the reason of a trap into it, and returns a [`status`]. Nothing else is shared; code holds no state, so it
//! can be swapped under its objects. [`Runtime`] is what code calls back. `compile_object` writes both structures as a
//! C header.

use std::ffi::c_void;

/// What an entry of a lambda returns.
pub mod status {
    /// `reply_len` bytes stand in the reply buffer.
    pub const REPLY: u32 = 0;
    /// No answer.
    pub const DROP: u32 = 1;
    /// The fallback's turn.
    pub const PUNT: u32 = 2;
    /// `trap` says why.
    pub const TRAP: u32 = 3;
    /// `call` says what is asked; `part` and `save` are what is needed to go on.
    pub const AWAIT: u32 = 4;
    /// The turn of the lambda `target` of the same workload.
    pub const PUNT_TO: u32 = 5;
}

/// What the entry of a match stage returns: a lambda's index, or one of these.
pub mod dispatch {
    /// No answer.
    pub const DROP: u32 = 0xffff_0001;
    /// The fallback's turn.
    pub const PUNT: u32 = 0xffff_0002;
    /// `trap` says why.
    pub const TRAP: u32 = 0xffff_0003;
    /// No rule applies, or the request is too short for the rules.
    pub const BAD_REQUEST: u32 = 0xffff_0004;
}

/// An entry of a lambda or a match stage.
pub type Entry = unsafe extern "C" fn(*mut Context) -> u32;

/// Everything that an invocation reads and writes besides its objects.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// The request's bytes; not written, apart from `reply`.
    pub request: *const u8,
    /// Where the reply goes: `reply_cap` bytes, at least the lambda's largest reply.
    pub reply: *mut u8,
    /// Base of each object of the module: cells of values and counters, else what [`Runtime`] is given.
    pub objects: *const *mut u8,
    /// The parameters, laid out by [`crate::layout::params`].
    pub params: *const u8,
    /// What code calls.
    pub runtime: *const Runtime,
    /// At least as many bytes as the entry's `arena_bytes`, 16-aligned.
    pub arena: *mut u8,
    /// At least as many bytes as the entry's `save_bytes`, 16-aligned; what was saved, where a part is entered again.
    pub save: *mut u8,
    /// Nanoseconds: what `now()` gives.
    pub now: u64,
    /// State of the generator behind `random()`.
    pub random_state: u64,
    /// What `random()` gives where `random_is_fixed` is not 0.
    pub random_fixed: u32,
    /// Whether `random()` is fixed.
    pub random_is_fixed: u32,
    /// `pkt.request_id`
    pub request_id: u64,
    /// `pkt.src_ip`
    pub src_ip: u32,
    /// `pkt.src_port`
    pub src_port: u16,
    /// `pkt.dst_port`
    pub dst_port: u16,
    /// `pkt.port`
    pub port: u16,
    /// Why it trapped: index into [`lambdac_mir::TrapCause::ALL`].
    pub trap_cause: u16,
    /// Bytes of the request.
    pub request_len: u32,
    /// Bytes that `reply` holds.
    pub reply_cap: u32,
    /// Bytes of the reply.
    pub reply_len: u32,
    /// Where it trapped: index into the module's files.
    pub trap_file: u32,
    /// Where it trapped: line from 1.
    pub trap_line: u32,
    /// 0 to start, else the point that `AWAIT` left here.
    pub part: u32,
    /// The lambda of `PUNT_TO`.
    pub target: u32,
    /// Bytes of `save` in use.
    pub save_len: u32,
    /// What is asked of a service.
    pub call: ServiceRequest,
    /// What it answered, where a part is entered again.
    pub answer: ServiceAnswer,
    /// The caller's own, for [`Runtime`].
    pub user: *mut c_void,
}

/// What is asked of a service. Key and value stand in the save area.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceRequest {
    /// Index into the module's services.
    pub service: u32,
    /// 0 get, 1 set, 2 delete.
    pub op: u32,
    /// Offset of the key in the save area.
    pub key: u32,
    /// Bytes of the key.
    pub key_len: u32,
    /// Offset of the value in the save area.
    pub value: u32,
    /// Bytes of the value.
    pub value_len: u32,
    /// The longest value that the lambda takes as an answer; a longer one has failed.
    pub limit: u32,
}

/// What a service answered.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ServiceAnswer {
    /// The value of a `get`.
    pub value: *const u8,
    /// Its bytes.
    pub len: u32,
    /// Whether there is an answer that goes to the main path.
    pub ok: u8,
    /// Where not: whether it failed, as against a miss or refusal.
    pub failed: u8,
}

/// An argument of a log line.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LogValue {
    /// 0 unsigned, 1 signed, 2 bool, 3 bytes.
    pub kind: u32,
    /// Bytes, for kind 3.
    pub len: u32,
    /// The number, or the address of the bytes.
    pub value: u64,
}

/// An object as code passes it on.
pub type Object = *const c_void;

/// What generated code calls. Pointers to keys and values follow [`crate::layout`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// Finds a key of an lru or map; copies its value to the last argument, which stays untouched where it returns 0.
    pub map_get: unsafe extern "C" fn(*mut Context, Object, *const u8, *mut u8) -> u32,
    /// Stores a value in its layout; 0 where there was no room.
    pub map_put: unsafe extern "C" fn(*mut Context, Object, *const u8, *const u8) -> u32,
    /// Stores a byte string given by address and length.
    pub map_put_bytes: unsafe extern "C" fn(*mut Context, Object, *const u8, *const u8, u32) -> u32,
    /// Removes a key; whether it was there.
    pub map_remove: unsafe extern "C" fn(*mut Context, Object, *const u8) -> u32,
    /// Adds to a key's integer, giving whether it was there and, in the last argument, what it was (else 0).
    pub map_fetch_add: unsafe extern "C" fn(*mut Context, Object, *const u8, u64, *mut u64) -> u32,
    /// Finds a key of a table; copies its value to the last argument unless that is null.
    pub table_get: unsafe extern "C" fn(*mut Context, Object, *const u8, *mut u8) -> u32,
    /// `random()`.
    pub random: unsafe extern "C" fn(*mut Context) -> u32,
    /// A log line: text and length, arguments and how many.
    pub log: unsafe extern "C" fn(*mut Context, *const u8, u32, *const LogValue, u32),
    /// CRC-32 of bytes.
    pub crc32: unsafe extern "C" fn(*const u8, u32) -> u32,
    /// CRC-16/ARC of bytes.
    pub crc16: unsafe extern "C" fn(*const u8, u32) -> u32,
    /// Copies cells: to, from, bytes, alignment of both.
    pub copy_cells: unsafe extern "C" fn(*mut u8, *const u8, u64, u64),
    /// Zeroes cells: to, bytes, alignment.
    pub zero_cells: unsafe extern "C" fn(*mut u8, u64, u64),
    /// Reads a big-endian bit field: bytes, first bit, width.
    pub load_bits: unsafe extern "C" fn(*const u8, u64, u32) -> u64,
    /// Writes a big-endian bit field: bytes, first bit, width, value.
    pub store_bits: unsafe extern "C" fn(*mut u8, u64, u32, u64),
}
