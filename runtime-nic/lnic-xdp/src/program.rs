//! Programs, and running one on a packet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type};

use crate::error::{Error, Result};
use crate::sys;
use crate::verifier::{LineTable, Rejection};

/// Room for the verifier's log. Kernels from 6.4 keep its end where it is longer; older ones give up, so it is big.
const LOG_BYTES: usize = 16 << 20;

/// Room for the packet that a test run leaves: a page holds the largest.
const PACKET_ROOM: usize = 4096;

/// What a program says is to be done with a packet: `enum xdp_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// 0: the program gave up.
    Aborted,
    /// 1: nothing more.
    Drop,
    /// 2: up the stack.
    Pass,
    /// 3: out of the interface it came in by.
    Tx,
    /// 4: out of another interface.
    Redirect,
    /// Anything else.
    Unknown(u32),
}

impl From<u32> for Action {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Aborted,
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            other => Self::Unknown(other),
        }
    }
}

/// What a test run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the last run returned.
    pub action: Action,
    /// The packet as the last run left it.
    pub packet: Vec<u8>,
    /// Mean time of a run, in whole nanoseconds.
    pub duration: Duration,
}

/// A program that the verifier has accepted.
#[derive(Debug)]
pub struct Program {
    name: String,
    code: Vec<u8>,
    fd: OwnedFd,
}

/// All that the kernel wants of a program, linked.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) license: &'a std::ffi::CStr,
    pub(crate) function: &'a aya_obj::Function,
    pub(crate) btf: Option<BorrowedFd<'a>>,
    pub(crate) lines: &'a LineTable,
}

impl Source<'_> {
    /// The instructions as the kernel reads them.
    pub(crate) fn code(&self) -> Vec<u8> {
        let word = |insn: &bpf_insn| {
            let mut bytes = [0; 8];
            bytes[0] = insn.code;
            bytes[1] = insn.dst_reg() | insn.src_reg() << 4;
            bytes[2..4].copy_from_slice(&insn.off.to_ne_bytes());
            bytes[4..].copy_from_slice(&insn.imm.to_ne_bytes());
            bytes
        };
        self.function.instructions.iter().flat_map(word).collect()
    }
}

impl Program {
    /// Has the kernel verify and compile a program. A refused one is tried again for the log of why.
    pub(crate) fn load(source: &Source<'_>) -> Result<Self> {
        let code = source.code();
        match load(source, &code, &mut []) {
            Ok(fd) => Ok(Self {
                name: source.name.to_owned(),
                code,
                fd,
            }),
            Err(first) => {
                let mut log = vec![0; LOG_BYTES];
                // It may pass now where memory was short before.
                let error = match load(source, &code, &mut log) {
                    Ok(fd) => {
                        return Ok(Self {
                            name: source.name.to_owned(),
                            code,
                            fd,
                        });
                    }
                    // The log's own troubles say less than the first error.
                    Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => first,
                    Err(error) => error,
                };
                let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
                let text = String::from_utf8_lossy(&log[..end]);
                let rejection = Rejection::new(source.name, error, &text, source.lines);
                Err(Error::Rejected(Box::new(rejection)))
            }
        }
    }

    /// Its name in the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its instructions with all references filled in. Equal code is an equal program: references are the maps'
    /// descriptors.
    pub(crate) fn code(&self) -> &[u8] {
        &self.code
    }

    /// Instructions, before the kernel's own rewriting.
    pub fn instructions(&self) -> usize {
        self.code.len() / size_of::<bpf_insn>()
    }

    /// Instructions that the verifier looked at before it was content.
    ///
    /// # Errors
    /// If the kernel doesn't say.
    pub fn verified_instructions(&self) -> Result<u32> {
        Ok(self.info()?.verified_insns)
    }

    /// Bytes of machine code that the kernel made of it; 0 where it interprets programs.
    ///
    /// # Errors
    /// If the kernel doesn't say.
    pub fn jited_bytes(&self) -> Result<u32> {
        Ok(self.info()?.jited_prog_len)
    }

    fn info(&self) -> Result<bpf_prog_info> {
        // SAFETY: a struct of integers, for which zero bytes are a value.
        let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let request = unsafe { &mut attr.info };
        request.bpf_fd = self.fd.as_raw_fd() as u32;
        request.info_len = size_of::<bpf_prog_info>() as u32;
        request.info = std::ptr::from_mut(&mut info) as usize as u64;
        // SAFETY: `info` has the length that is given.
        let done = unsafe { sys::bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) };
        done.map(|_| info).map_err(|source| Error::System {
            what: "cannot ask about a program",
            source,
        })
    }

    /// Runs it on a packet that starts with its Ethernet header. The kernel doesn't restore the packet between
    /// repeats: each starts with what the one before left.
    ///
    /// # Errors
    /// If the packet is shorter than an Ethernet header, does not fit a page with the room that XDP keeps, or the
    /// kernel refuses.
    pub fn run(&self, packet: &[u8], repeat: u32) -> Result<TestRun> {
        let mut out = vec![0; PACKET_ROOM];
        let mut attr = sys::attr();
        // SAFETY: writing plain integers of a union whose bytes are all initialised.
        let test = unsafe { &mut attr.test };
        test.prog_fd = self.fd.as_raw_fd() as u32;
        test.data_in = sys::address(packet);
        test.data_size_in = packet.len() as u32;
        test.data_out = sys::address_mut(&mut out);
        test.data_size_out = out.len() as u32;
        test.repeat = repeat;
        // SAFETY: both buffers have the lengths that are given.
        let done = unsafe { sys::bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr) };
        done.map_err(|source| Error::TestRun {
            program: self.name.clone(),
            len: packet.len(),
            source,
        })?;
        // SAFETY: the kernel wrote these integers.
        let test = unsafe { attr.test };
        out.truncate(test.data_size_out as usize);
        Ok(TestRun {
            action: test.retval.into(),
            packet: out,
            duration: Duration::from_nanos(test.duration.into()),
        })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn load(source: &Source<'_>, code: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    let function = source.function;
    let funcs = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let mut attr = sys::attr();
    // SAFETY: writing plain integers of a union whose bytes are all initialised.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_XDP as u32;
    load.expected_attach_type = bpf_attach_type::BPF_XDP as u32;
    load.insns = sys::address(code);
    load.insn_cnt = (code.len() / size_of::<bpf_insn>()) as u32;
    load.license = source.license.as_ptr() as usize as u64;
    load.prog_name = sys::object_name(source.name);
    if let Some(btf) = source.btf {
        load.prog_btf_fd = btf.as_raw_fd() as u32;
        if function.func_info_rec_size > 0 && !funcs.is_empty() {
            load.func_info_rec_size = function.func_info_rec_size as u32;
            load.func_info = sys::address(&funcs);
            load.func_info_cnt = function.func_info.len() as u32;
        }
        if function.line_info_rec_size > 0 && !lines.is_empty() {
            load.line_info_rec_size = function.line_info_rec_size as u32;
            load.line_info = sys::address(&lines);
            load.line_info_cnt = function.line_info.len() as u32;
        }
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = sys::address_mut(log);
        load.log_size = log.len() as u32;
    }
    // SAFETY: code, licence, information and log have the lengths that are given, and live until the call is over.
    unsafe { sys::bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) }
}
