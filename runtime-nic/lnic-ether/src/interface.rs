//! What the kernel knows of an interface.

use std::ffi::CString;
use std::net::Ipv4Addr;

use crate::{Error, Result, netlink, system};

/// Who is at the other end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It is no veth pair.
    None,
    /// An end with an XDP program, which takes what is sent to it by `XDP_TX`.
    Ready,
    /// An end without one: the kernel throws away what a program sends to it, unless it does GRO there.
    NoProgram,
    /// An end that we may not look at.
    Unknown,
}

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its IPv4 addresses with the broadcast addresses of their subnets, primary ones first; at least one.
    pub addresses: Vec<(Ipv4Addr, Option<Ipv4Addr>)>,
    /// The other end.
    pub peer: Peer,
}

impl Interface {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If there is no such interface, or it has no Ethernet or IPv4 address.
    pub fn find(name: &str) -> Result<Self> {
        let index = interface_index(name)?;
        let failed = |source| system("cannot ask for the interface's addresses")(source);
        let facts = netlink::link(index, None).map_err(failed)?;
        let mac = facts.mac.filter(|mac| *mac != [0; 6]);
        let Some(mac) = mac else {
            return Err(Error::Missing(format!("`{name}` has no Ethernet address")));
        };
        let addresses = netlink::addresses(index).map_err(failed)?;
        if addresses.is_empty() {
            return Err(Error::Missing(format!(
                "`{name}` has no IPv4 address (`ip addr add` gives it one)"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            mac,
            addresses: addresses.iter().map(|a| (a.address, a.broadcast)).collect(),
            peer: peer(&facts),
        })
    }

    /// The interface that has an IPv4 address.
    ///
    /// # Errors
    /// If there is none, or interfaces can't be listed.
    pub fn with_address(address: Ipv4Addr) -> Result<Self> {
        let names = std::fs::read_dir("/sys/class/net").map_err(system("cannot list interfaces"))?;
        let mut names: Vec<String> = names
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
            .iter()
            // One without addresses is none of ours.
            .filter_map(|name| Self::find(name).ok())
            .find(|interface| interface.broadcast_of(address).is_some())
            .ok_or_else(|| Error::Missing(format!("no interface has the address {address}")))
    }

    /// The broadcast address of the subnet of one of the interface's addresses; none if the address is not its own.
    pub fn broadcast_of(&self, address: Ipv4Addr) -> Option<Option<Ipv4Addr>> {
        let found = self.addresses.iter().find(|(own, _)| *own == address);
        found.map(|(_, broadcast)| *broadcast)
    }
}

fn peer(facts: &netlink::LinkFacts) -> Peer {
    if facts.kind != "veth" {
        return Peer::None;
    }
    let Some(index) = facts.link else {
        return Peer::Unknown;
    };
    match netlink::link(index, facts.link_netns) {
        Ok(other) if other.has_program => Peer::Ready,
        Ok(_) => Peer::NoProgram,
        Err(_) => Peer::Unknown,
    }
}

/// The number of an interface.
///
/// # Errors
/// If there is none of this name.
pub fn interface_index(interface: &str) -> Result<u32> {
    let unknown = || {
        Error::Missing(format!(
            "there is no network interface `{}`",
            interface.escape_debug()
        ))
    };
    let name = CString::new(interface).map_err(|_| unknown())?;
    // SAFETY: a string that ends in zero.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    match index {
        0 => Err(unknown()),
        index => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_ethernet_address() {
        let error = Interface::find("lo").unwrap_err();
        assert_eq!(error.to_string(), "`lo` has no Ethernet address");
    }

    #[test]
    fn an_address_that_nobody_has_is_on_no_interface() {
        // Of TEST-NET-1 (RFC 5737).
        let error = Interface::with_address(Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
        assert_eq!(error.to_string(), "no interface has the address 192.0.2.1");
    }

    #[test]
    fn no_such_interface_is_named() {
        let error = interface_index("no such").unwrap_err();
        assert_eq!(error.to_string(), "there is no network interface `no such`");
        assert!(interface_index("a\0b").is_err());
    }
}
