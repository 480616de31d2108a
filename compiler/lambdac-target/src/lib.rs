//! Descriptions of devices.
//!
//! A device is data: `targets/*.toml` says how many cores it has, how large their code store is, what memories there
//! are, which limits hold and what operations cost, each with its source in a comment. Passes and legalisers read a
//! [`Device`]; none asks for a device by name. Four are built in ([`builtin`]), others are read with [`Device::parse`].
//!
//! Units: sizes are bytes, code is instruction words of the device, times are cycles of its core's clock.

#![forbid(unsafe_code)]

mod bounds;
mod device;
mod parse;

pub use device::{
    Core, Cost, Device, Family, Items, Kernel, Limits, Memory, Ops, Packet, Programs, Release, Sharing, Store,
};
pub use parse::{Error, MAX_TEXT};

/// Name and description of each device that is built in, in the order that they are listed.
pub const BUILTIN: [(&str, &str); 4] = [
    ("host", include_str!("../targets/host.toml")),
    ("xdp", include_str!("../targets/xdp.toml")),
    ("bmv2", include_str!("../targets/bmv2.toml")),
    ("nfp-4000", include_str!("../targets/nfp-4000.toml")),
];

/// The text of a built-in description by the device's name, or by its family's where only one device has it (`nfp`).
pub fn builtin_text(name: &str) -> Option<&'static str> {
    let name = if name == "nfp" { "nfp-4000" } else { name };
    BUILTIN
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, text)| *text)
}

/// A built-in device by name, or by its family's name.
///
/// # Panics
/// Never for the descriptions of this crate: a test reads each of them.
pub fn builtin(name: &str) -> Option<Device> {
    builtin_text(name).map(|text| Device::parse(text).expect("built-in descriptions are valid"))
}
