//! bpf(2), the one system call of this crate.
//!
//! Layouts and numbers are those of the kernel's `include/uapi/linux/bpf.h`, as `aya-obj` has them.

use std::ffi::c_char;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use aya_obj::generated::{bpf_attr, bpf_cmd};

/// `BPF_OBJ_NAME_LEN`: bytes of a name in the kernel, its zero included.
const NAME_LEN: usize = 16;

/// An argument of bpf(2) with all bytes zero, which every command takes for "not given".
pub(crate) fn attr() -> bpf_attr {
    // SAFETY: a union of structs of integers, for which zero bytes are a value.
    unsafe { std::mem::zeroed() }
}

/// Calls bpf(2), again where a signal cut it off.
///
/// # Safety
/// Every pointer in `attr` that `cmd` reads or writes is valid for the length that the kernel takes it to have.
pub(crate) unsafe fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    loop {
        // SAFETY: `attr` is of the size that is passed; what it points to is the caller's promise.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                cmd as libc::c_long,
                std::ptr::from_mut(attr),
                size_of::<bpf_attr>(),
            )
        };
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        // The verifier gives up with EAGAIN when a signal waits.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
            return Err(error);
        }
    }
}

/// Calls a command of bpf(2) that makes a descriptor.
///
/// # Safety
/// As [`bpf`]; and `cmd` is such a command.
pub(crate) unsafe fn bpf_fd(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise is the same.
    let fd = unsafe { bpf(cmd, attr) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made the descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A name as the kernel takes it: letters, digits, `_` and `.`, cut to 15 bytes.
pub(crate) fn object_name(name: &str) -> [c_char; NAME_LEN] {
    let mut out = [0; NAME_LEN];
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    for (to, byte) in out[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = if legal(byte) { byte } else { b'_' } as c_char;
    }
    out
}

/// The address of a slice, as bpf(2) takes it.
pub(crate) fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as usize as u64
}

/// The address of a slice that the kernel writes.
pub(crate) fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr() as usize as u64
}

/// CPUs that per-CPU maps have room for.
///
/// # Errors
/// If the kernel doesn't say, or not in the way it always has.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    count_cpus(&text).ok_or_else(|| io::Error::other(format!("`{}` is no list of CPUs", text.trim())))
}

/// The length of an array by CPU, from a list such as `0-3,8`.
fn count_cpus(list: &str) -> Option<usize> {
    let last = list.trim().rsplit(',').next()?;
    let highest = last.rsplit('-').next()?;
    highest.parse::<usize>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_cpu_gives_the_count() {
        assert_eq!(count_cpus("0\n"), Some(1));
        assert_eq!(count_cpus("0-3\n"), Some(4));
        assert_eq!(count_cpus("0-3,8-11"), Some(12));
        assert_eq!(count_cpus(""), None);
    }

    #[test]
    fn names_are_cut_and_cleaned_for_the_kernel() {
        let text = |name: &str| -> Vec<u8> {
            object_name(name)
                .iter()
                .map(|&c| c as u8)
                .take_while(|&c| c != 0)
                .collect()
        };
        assert_eq!(text(".data.kv-x"), b".data.kv_x");
        assert_eq!(text("a_very_long_name_indeed"), b"a_very_long_nam");
    }
}
