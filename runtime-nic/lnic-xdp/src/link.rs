//! Holding a program to an interface.
//!
//! A link of the kernel (`bpf_link`, 5.9) belongs to the process that made it: when the process ends, in whatever way,
//! the program is off the interface. Replacing the program of a link is atomic: a packet meets the old one or the new.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_cmd};

use lnic_ether::interface_index;

use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys;

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` of `include/uapi/linux/if_link.h`.
const SKB_MODE: u32 = 1 << 1;
const DRV_MODE: u32 = 1 << 2;

/// Where on a packet's way up the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a socket buffer.
    Native,
    /// In the kernel's generic hook, after it has: works on any interface, and slower.
    Skb,
}

impl Mode {
    /// Its name in flags, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program on an interface, for as long as this lives.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    interface: String,
    mode: Mode,
}

impl Link {
    /// Attaches a program.
    ///
    /// # Errors
    /// If there is no such interface, it has a program already, or its driver can't.
    pub fn attach(interface: &str, mode: Mode, program: &Program) -> Result<Self> {
        let index = interface_index(interface)?;
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let create = unsafe { &mut attr.link_create };
        create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
        create.__bindgen_anon_2.target_ifindex = index;
        create.attach_type = bpf_attach_type::BPF_XDP as u32;
        create.flags = match mode {
            Mode::Native => DRV_MODE,
            Mode::Skb => SKB_MODE,
        };
        // SAFETY: the command takes no pointers for this kind of link.
        let made = unsafe { sys::bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) };
        let fd = made.map_err(|error| refused(interface, mode, &error))?;
        Ok(Self {
            fd,
            interface: interface.to_owned(),
            mode,
        })
    }

    /// Puts another program in place of the one that runs. No packet goes past both.
    ///
    /// # Errors
    /// If the kernel refuses; then the old one stays.
    pub fn replace(&self, program: &Program) -> Result<()> {
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let update = unsafe { &mut attr.link_update };
        update.link_fd = self.fd.as_raw_fd() as u32;
        update.__bindgen_anon_1.new_prog_fd = program.as_fd().as_raw_fd() as u32;
        // SAFETY: the command takes no pointers.
        let done = unsafe { sys::bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr) };
        done.map(drop)
            .map_err(|error| refused(&self.interface, self.mode, &error))
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// How it is attached.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

fn refused(interface: &str, mode: Mode, error: &std::io::Error) -> Error {
    let reason = match (error.raw_os_error(), mode) {
        (Some(libc::EOPNOTSUPP), Mode::Native) => format!(
            "its driver has no XDP; `xdp:{interface},skb` runs the program in the kernel's generic hook, slower"
        ),
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            "another XDP program is attached to it (`bpftool net` shows which)".to_owned()
        }
        (Some(libc::EPERM), _) => "CAP_NET_ADMIN is missing".to_owned(),
        (Some(libc::ERANGE | libc::EINVAL), Mode::Native) => format!(
            "{error}: its MTU, or an offload such as LRO that is on, may rule XDP out (`dmesg` says which)"
        ),
        _ => error.to_string(),
    };
    Error::Attach {
        interface: interface.to_owned(),
        mode,
        reason,
    }
}
