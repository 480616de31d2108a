//! Runs lambdas on the P4 reference switch.
//!
//! Two ways lead to it. `test` items ([`testing`], kept as [`recording`]s): [`tools`] finds p4c and simple_switch; [`switch`] runs a program;
//! packets go in and out through captures that are pipes ([`packets`], [`pcap`]), so no interface and no privilege is
//! needed. A worker ([`Agent`]): a running simple_switch_grpc is given program and entries over P4Runtime
//! ([`session`]), answers in front of the worker, and hands over what it doesn't answer, which comes out of an interface
//! of this machine ([`tap`]).
//!
//! Registers are read over the switch's Thrift port ([`thrift`]), since P4Runtime answers UNIMPLEMENTED for them.

#![deny(unsafe_code)]

mod agent;
mod checksum;
pub mod contents;
pub mod device;
mod engine;
pub mod entries;
pub mod error;
pub mod frame;
mod front;
mod memcached;
mod metrics;
pub mod packets;
pub mod pcap;
pub mod recording;
pub mod session;
pub mod state;
pub mod switch;
#[allow(unsafe_code)]
pub mod tap;
pub mod testing;
pub mod thrift;
pub mod tools;
mod waiter;

pub use agent::Agent;
pub use contents::Contents;
pub use device::{Device, DeviceError};
pub use error::Error;
