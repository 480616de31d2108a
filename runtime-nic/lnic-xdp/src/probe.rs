//! What a machine lacks for running lambdas in XDP.
//!
//! Nothing is read off a version: each thing is tried, so that a distribution's kernel with features of a newer one
//! counts as what it is.

use std::sync::OnceLock;

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_prog_type};
use lambdac_backend_ebpf::insn::Helper;
use lambdac_backend_ebpf::kernel;

use crate::error::Error;
use crate::error::Missing;
use crate::map::{Map, MapDef, MapKind};
use crate::sys;

/// `r0 = 2` (`XDP_PASS`), `exit`, in the encoding of RFC 9669.
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// Whether programs can be loaded here; tried once a process.
///
/// # Errors
/// What is missing.
pub fn check() -> Result<(), Missing> {
    static FOUND: OnceLock<Result<(), Missing>> = OnceLock::new();
    FOUND.get_or_init(try_all).clone()
}

fn try_all() -> Result<(), Missing> {
    let def = MapDef {
        kind: MapKind::Array,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
    };
    const ARRAY: u32 = 2;
    if let Err(Error::Map { source, .. }) = Map::create("lnic_probe", def, ARRAY, None) {
        return Err(missing(&source, "eBPF maps", "CAP_BPF"));
    }
    if let Err(source) = try_program(&PASS, &mut []) {
        return Err(missing(&source, "XDP programs", "CAP_NET_ADMIN"));
    }
    if std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").is_ok_and(|text| text.trim() == "0") {
        return Err(Missing(
            "the kernel's eBPF compiler is off (sysctl net.core.bpf_jit_enable=1 puts it on)".to_owned(),
        ));
    }
    let device = lambdac_target::builtin("xdp").expect("a device of this name is built in");
    let mut helpers = kernel::helpers(&device);
    // The newest first: it tells most.
    helpers.sort_by_key(|(_, release)| std::cmp::Reverse(*release));
    match helpers.iter().find(|(helper, _)| !has_helper(helper.id())) {
        None => Ok(()),
        Some((Helper::ProbeReadKernel, _)) if !has_capability(CAP_PERFMON) => Err(Missing(
            "XDP programs that read memory need a privilege that is missing here: CAP_PERFMON, or root"
                .to_owned(),
        )),
        Some((helper, release)) => {
            let release =
                release.map_or_else(|| "a newer one".to_owned(), |release| format!("Linux {release}"));
            let name = helper.name();
            Err(Missing(format!(
                "this kernel has no bpf_{name} for XDP, which {release} brought"
            )))
        }
    }
}

/// Tracing helpers are for whoever has this (capabilities(7)).
const CAP_PERFMON: u32 = 38;

/// Whether this process has a capability in force; yes, if the kernel doesn't say.
fn has_capability(number: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let mut lines = status.lines();
    let set = lines.find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    set.is_none_or(|set| set >> number & 1 == 1)
}

fn missing(error: &std::io::Error, what: &str, capability: &str) -> Missing {
    Missing(match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            format!("{what} need a privilege that is missing here: {capability}, or root")
        }
        Some(libc::ENOSYS | libc::EINVAL) => format!("this kernel does not support {what}"),
        _ => format!("{what} cannot be loaded: {error}"),
    })
}

/// Whether the verifier knows a helper for XDP: a call of an unknown one is refused in words of its own.
fn has_helper(number: u32) -> bool {
    let mut call = [0x85, 0, 0, 0, 0, 0, 0, 0];
    call[4..].copy_from_slice(&number.to_le_bytes());
    let mut log = vec![0; 4096];
    if try_program(&[call, PASS[0], PASS[1]], &mut log).is_ok() {
        return true;
    }
    let log = String::from_utf8_lossy(&log);
    ![
        "invalid func",
        "unknown func",
        "program of this type cannot use helper",
    ]
    .iter()
    .any(|words| log.contains(words))
}

fn try_program(code: &[[u8; 8]], log: &mut [u8]) -> std::io::Result<()> {
    let mut attr = sys::attr();
    // SAFETY: writing plain integers of a union whose bytes are all initialised.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
    load.expected_attach_type = bpf_attach_type::BPF_XDP as u32;
    load.insns = sys::address(code);
    load.insn_cnt = code.len() as u32;
    load.license = c"Dual BSD/GPL".as_ptr() as usize as u64;
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = sys::address_mut(log);
        load.log_size = log.len() as u32;
    }
    // SAFETY: code, licence and log have the lengths that are given, and live until the call is over.
    unsafe { sys::bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_does_not_exist_is_not_found() {
        if let Err(missing) = check() {
            eprintln!("skipped: {missing}");
            return;
        }
        assert!(has_helper(1), "bpf_map_lookup_elem");
        assert!(!has_helper(60_000));
    }
}
