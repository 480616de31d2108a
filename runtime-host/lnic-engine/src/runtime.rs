//! What generated code calls back: entries, tables, log.

use lambdac_backend_host::context::{Context, LogValue, Object, Runtime};
use lambdac_backend_host::support;

use crate::entries::{Entries, Value};
use crate::scratch::Scratch;
use crate::table::Table;

/// The functions, for [`Context::runtime`].
pub(crate) static RUNTIME: Runtime = Runtime {
    map_get,
    map_put,
    map_put_bytes,
    map_remove,
    map_fetch_add,
    table_get,
    random: support::random,
    log,
    crc32: support::crc32,
    crc16: support::crc16,
    copy_cells: support::copy_cells,
    zero_cells: support::zero_cells,
    load_bits: support::load_bits,
    store_bits: support::store_bits,
};

/// What [`Context::user`] points to.
pub(crate) struct Running<'r> {
    pub(crate) workload: &'r str,
    pub(crate) scratch: *mut Scratch,
}

/// The entries behind an object's base.
///
/// # Safety
/// `object` is the base of an lru or map that outlives the call, as [`crate::objects::Objects`] gives it.
unsafe fn entries<'a>(object: Object) -> &'a Entries {
    // SAFETY: the caller's promise.
    unsafe { &*object.cast::<Entries>() }
}

/// The bytes of a key.
///
/// # Safety
/// `key` has the object's key size.
unsafe fn key_of<'a>(entries: &Entries, key: *const u8) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { support::slice(key, entries.sizes().key as u32) }
}

unsafe extern "C" fn map_get(ctx: *mut Context, object: Object, key: *const u8, dst: *mut u8) -> u32 {
    // SAFETY: generated code passes a live context, an object's base, a key and memory of the value's layout.
    unsafe {
        let entries = entries(object);
        let out = std::slice::from_raw_parts_mut(dst, entries.sizes().value);
        entries.get(key_of(entries, key), (*ctx).now, out).into()
    }
}

unsafe extern "C" fn map_put(ctx: *mut Context, object: Object, key: *const u8, value: *const u8) -> u32 {
    // SAFETY: as in `map_get`; the value has the layout's size.
    unsafe {
        let entries = entries(object);
        let value = support::slice(value, entries.sizes().value as u32);
        entries
            .put(key_of(entries, key), (*ctx).now, Value::Whole(value))
            .into()
    }
}

unsafe extern "C" fn map_put_bytes(
    ctx: *mut Context,
    object: Object,
    key: *const u8,
    value: *const u8,
    len: u32,
) -> u32 {
    // SAFETY: as in `map_get`; `len` bytes stand at `value`.
    unsafe {
        let entries = entries(object);
        let value = support::slice(value, len);
        entries
            .put(key_of(entries, key), (*ctx).now, Value::Bytes(value))
            .into()
    }
}

unsafe extern "C" fn map_remove(_: *mut Context, object: Object, key: *const u8) -> u32 {
    // SAFETY: as in `map_get`.
    unsafe {
        let entries = entries(object);
        entries.remove(key_of(entries, key)).into()
    }
}

unsafe extern "C" fn map_fetch_add(
    ctx: *mut Context,
    object: Object,
    key: *const u8,
    amount: u64,
    old: *mut u64,
) -> u32 {
    // SAFETY: as in `map_get`; `old` is a word of the caller's frame.
    unsafe {
        let entries = entries(object);
        let before = entries.fetch_add(key_of(entries, key), (*ctx).now, amount);
        *old = before.unwrap_or(0);
        before.is_some().into()
    }
}

unsafe extern "C" fn table_get(_: *mut Context, object: Object, key: *const u8, dst: *mut u8) -> u32 {
    // SAFETY: `object` is the base of a table, `key` has its key size, `dst` is null or has its value's layout.
    unsafe {
        let table = &*object.cast::<Table>();
        let key = support::slice(key, table.key_bytes() as u32);
        let copied = table.find(key, |value| {
            if !dst.is_null() {
                std::ptr::copy_nonoverlapping(value.as_ptr(), dst, value.len());
            }
        });
        copied.is_some().into()
    }
}

unsafe extern "C" fn log(ctx: *mut Context, text: *const u8, len: u32, args: *const LogValue, count: u32) {
    // SAFETY: `user` is set by the invocation to what lives until it returns; nobody else uses the scratch meanwhile.
    unsafe {
        let running = &*(*ctx).user.cast::<Running<'_>>();
        let scratch = &mut *running.scratch;
        let Some(sink) = &mut scratch.log else { return };
        let args = if count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(args, count as usize)
        };
        crate::log::format_line(&mut scratch.line, support::slice(text, len), args);
        sink.line(running.workload, &scratch.line);
    }
}
