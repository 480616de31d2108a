//! MIR to eBPF: an ELF object of XDP programs that the kernel's verifier accepts.
//!
//! Two halves. The *object side* knows the machine and the file: instructions ([`insn`]), functions with labels
//! ([`asm`]), and an [`object::Object`] of programs, maps and data sections. The *code side* turns MIR into functions.
//!
//! No I/O: the object is bytes, loading it is the loader's business. The same input gives the same bytes.

#![forbid(unsafe_code)]

pub mod abi;
pub mod asm;
mod btf;
pub mod dispatch;
pub mod elf;
mod emit;
mod encode;
mod expand;
pub mod finish;
mod image;
pub mod insn;
pub mod kernel;
pub mod layout;
pub mod legalise;
mod names;
pub mod object;
pub mod packet;
mod regalloc;
pub mod shared;
pub mod text;
mod vcode;
mod wait;

pub use image::{Error, Options, Workload, compile};
pub use legalise::{Legaliser, Refusal, legalise};
