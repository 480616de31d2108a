//! The part of [`crate::context::Runtime`] that needs no engine: checksums, bit fields, cells, dice.
//!
//! All of them are called by generated code with arguments that MIR's invariants keep in bounds.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::context::Context;

/// Tables for eight bytes a step ("slicing by 8"): `t[k][b]` is the remainder of byte `b` followed by `k` zero bytes.
const fn slices(poly: u32) -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ poly } else { crc >> 1 };
            bit += 1;
        }
        t[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = t[k - 1][byte];
            t[k][byte] = before >> 8 ^ t[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    t
}

/// IEEE 802.3, reflected.
static CRC32: [[u32; 256]; 8] = slices(0xedb8_8320);
/// CRC-16/ARC, reflected.
static CRC16: [[u32; 256]; 8] = slices(0xa001);

/// The remainder of a reflected CRC of up to 32 bits.
fn crc(tables: &[[u32; 256]; 8], start: u32, bytes: &[u8]) -> u32 {
    let mut crc = start;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut slot = 0;
        let mut next = 0;
        while slot < 8 {
            let carried = if slot < 4 { crc >> (8 * slot) & 0xff } else { 0 };
            next ^= tables[7 - slot][usize::from(chunk[slot]) ^ carried as usize];
            slot += 1;
        }
        crc = next;
    }
    for byte in chunks.remainder() {
        crc = crc >> 8 ^ tables[0][(crc as u8 ^ byte) as usize];
    }
    crc
}

/// CRC-32 (check value 0xcbf43926).
pub fn crc32_of(bytes: &[u8]) -> u32 {
    !crc(&CRC32, !0, bytes)
}

/// CRC-16/ARC (check value 0xbb3d).
pub fn crc16_of(bytes: &[u8]) -> u16 {
    crc(&CRC16, 0, bytes) as u16
}

/// [`crate::context::Runtime::crc32`].
///
/// # Safety
/// `len` bytes at `bytes` are readable.
pub unsafe extern "C" fn crc32(bytes: *const u8, len: u32) -> u32 {
    // SAFETY: the caller's promise.
    crc32_of(unsafe { slice(bytes, len) })
}

/// [`crate::context::Runtime::crc16`].
///
/// # Safety
/// `len` bytes at `bytes` are readable.
pub unsafe extern "C" fn crc16(bytes: *const u8, len: u32) -> u32 {
    // SAFETY: the caller's promise.
    crc16_of(unsafe { slice(bytes, len) }).into()
}

/// A slice from generated code, whose pointer may be anything where the length is 0.
///
/// # Safety
/// `len` bytes at `bytes` stay readable and unchanged for `'a`.
pub unsafe fn slice<'a>(bytes: *const u8, len: u32) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(bytes, len as usize) }
}

/// [`crate::context::Runtime::load_bits`].
///
/// # Safety
/// The bytes that the field touches are readable.
pub unsafe extern "C" fn load_bits(bytes: *const u8, bit: u64, width: u32) -> u64 {
    let mut value = 0u128;
    let (first, last) = (bit / 8, (bit + u64::from(width) - 1) / 8);
    for index in first..=last {
        // SAFETY: the byte holds a bit of the field, so the caller's promise covers it.
        value = value << 8 | u128::from(unsafe { *bytes.add(index as usize) });
    }
    let below = (last + 1) * 8 - bit - u64::from(width);
    (value >> below) as u64 & crate::layout::mask(width as u8)
}

/// [`crate::context::Runtime::store_bits`].
///
/// # Safety
/// The bytes that the field touches are readable and writable.
pub unsafe extern "C" fn store_bits(bytes: *mut u8, bit: u64, width: u32, value: u64) {
    let (first, last) = (bit / 8, (bit + u64::from(width) - 1) / 8);
    let below = (last + 1) * 8 - bit - u64::from(width);
    let mut mask = u128::from(crate::layout::mask(width as u8)) << below;
    let mut value = u128::from(value) << below & mask;
    for index in (first..=last).rev() {
        // SAFETY: the byte holds a bit of the field, so the caller's promise covers it.
        let byte = unsafe { &mut *bytes.add(index as usize) };
        *byte = *byte & !(mask as u8) | value as u8;
        mask >>= 8;
        value >>= 8;
    }
}

/// [`crate::context::Runtime::copy_cells`]. Each cell of the alignment is copied by one access.
///
/// # Safety
/// Both are aligned, `size` bytes long, live, and written by others only atomically.
pub unsafe extern "C" fn copy_cells(dst: *mut u8, src: *const u8, size: u64, align: u64) {
    // Words where both allow it: a word access covers whole cells.
    let both = (dst as usize | src as usize | size as usize) as u64;
    let unit = if both.is_multiple_of(8) { 8 } else { align };
    macro_rules! copy {
        ($atomic:ty, $bytes:literal) => {
            for index in 0..size as usize / $bytes {
                // SAFETY: in bounds and aligned by the caller's promise.
                unsafe {
                    let value = (*src.cast::<$atomic>().add(index)).load(Relaxed);
                    (*dst.cast::<$atomic>().add(index)).store(value, Relaxed);
                }
            }
        };
    }
    match unit {
        8 => copy!(AtomicU64, 8),
        4 => copy!(AtomicU32, 4),
        2 => copy!(AtomicU16, 2),
        _ => copy!(AtomicU8, 1),
    }
}

/// [`crate::context::Runtime::zero_cells`].
///
/// # Safety
/// As for [`copy_cells`].
pub unsafe extern "C" fn zero_cells(dst: *mut u8, size: u64, align: u64) {
    let unit = if (dst as u64 | size).is_multiple_of(8) {
        8
    } else {
        align
    };
    macro_rules! zero {
        ($atomic:ty, $bytes:literal) => {
            for index in 0..size as usize / $bytes {
                // SAFETY: in bounds and aligned by the caller's promise.
                unsafe { (*dst.cast::<$atomic>().add(index)).store(0, Relaxed) };
            }
        };
    }
    match unit {
        8 => zero!(AtomicU64, 8),
        4 => zero!(AtomicU32, 4),
        2 => zero!(AtomicU16, 2),
        _ => zero!(AtomicU8, 1),
    }
}

/// [`crate::context::Runtime::random`]: splitmix64's upper half, or the fixed number.
///
/// # Safety
/// The context is live and nobody else's.
pub unsafe extern "C" fn random(ctx: *mut Context) -> u32 {
    // SAFETY: the caller's promise.
    let ctx = unsafe { &mut *ctx };
    if ctx.random_is_fixed != 0 {
        return ctx.random_fixed;
    }
    ctx.random_state = ctx.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = ctx.random_state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_their_check_values() {
        assert_eq!(crc32_of(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc16_of(b"123456789"), 0xbb3d);
        assert_eq!(crc32_of(b""), 0);
    }

    #[test]
    fn a_checksum_by_eights_is_the_one_by_single_bytes() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| ((n * 37) >> 3) as u8).collect();
        let slow = bytes.iter().fold(!0u32, |mut crc, byte| {
            crc ^= u32::from(*byte);
            (0..8).fold(crc, |crc, _| {
                if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                }
            })
        });
        assert_eq!(crc32_of(&bytes), !slow);
    }

    #[test]
    fn a_bit_field_is_read_back_and_leaves_its_neighbours() {
        for bit in 0..16 {
            for width in 1..=64u32 {
                let mut bytes = [0xa5u8; 16];
                let value = 0x0123_4567_89ab_cdef & crate::layout::mask(width as u8);
                // SAFETY: 16 + 64 bits lie inside 16 bytes.
                let back = unsafe {
                    store_bits(bytes.as_mut_ptr(), bit, width, value);
                    load_bits(bytes.as_ptr(), bit, width)
                };
                assert_eq!(back, value, "bit {bit} width {width}");
                let as_bits = |bytes: &[u8; 16]| u128::from_be_bytes(*bytes);
                let field = (u128::MAX >> (128 - width)) << (128 - bit - u64::from(width));
                assert_eq!(as_bits(&bytes) & !field, as_bits(&[0xa5; 16]) & !field);
            }
        }
    }
}
