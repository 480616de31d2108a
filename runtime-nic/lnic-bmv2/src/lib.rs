//! Runs lambdas on the P4 reference switch.
//!
//! [`tools`] finds p4c and simple_switch; [`switch`] runs a program; [`testing`] runs `test` items. Packets go in and out
//! through the switch's own packet socket ([`packets`]), so no interface and no privilege is needed; registers are read
//! over its Thrift port ([`thrift`]), since P4Runtime answers UNIMPLEMENTED for them.

#![forbid(unsafe_code)]

pub mod frame;
pub mod packets;
pub mod switch;
pub mod testing;
pub mod thrift;
pub mod tools;
