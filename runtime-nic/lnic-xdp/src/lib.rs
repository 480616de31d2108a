//! The NIC side of a worker on Linux: XDP programs that the kernel runs in the network driver.
//!
//! In goes an ELF object with libbpf's conventions, as `lambdac-backend-ebpf` makes it. Out come maps, programs
//! that the kernel's verifier has accepted, and a link that holds them to an interface for as long as this process
//! lives.
//!
//! - [`Image::load`] makes maps and programs of an object; maps of an older image can be kept.
//! - [`Program::run`] runs a program on a packet, without any interface, by the kernel's test-run call.
//! - [`Link`] attaches a program and replaces it atomically.
//! - [`RingBuffer`] reads what programs report.
//! - [`probe::check`] says what this machine lacks for any of it.
//!
//! Parsing, BTF and relocation are `aya-obj`'s. The calls to the kernel are made here and not by `aya`, which can share
//! a map between two images only through a file system, and this crate does that at every hot swap.
//!
//! All unsafe code is calls of bpf(2), poll(2) and mmap(2), in the modules `sys`, `map`, `program`, `link` and `ring`.

mod agent;
mod contents;
mod engine;
mod error;
mod events;
mod generation;
mod image;
pub mod instance;
mod interface;
mod link;
mod map;
mod metrics;
pub mod probe;
mod program;
mod ring;
pub mod state;
mod sys;
pub mod testing;
mod verifier;
pub mod wait;
mod waiter;

pub use agent::Agent;
pub use contents::{Contents, Resident};
pub use error::{Error, Missing, Result};
pub use image::{Image, LoadOptions};
pub use interface::{Device, DeviceError};
pub use link::{Link, Mode};
pub use lnic_ether::frame;
pub use map::{Map, MapDef, MapKind};
pub use program::{Action, Program, TestRun};
pub use ring::RingBuffer;
pub use verifier::{Place, Rejection};
