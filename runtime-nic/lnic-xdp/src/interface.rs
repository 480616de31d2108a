//! The interface that an image is attached to: what the flag says, and what the kernel knows.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::error::{Error, Missing, Result};
use crate::link::{Mode, interface_index};
use crate::netlink;

/// Longest name of an interface (`IFNAMSIZ` less its zero).
const MAX_NAME: usize = 15;

/// `IFACE[,skb]`: which interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The interface.
    pub interface: String,
    /// Native unless `skb` was asked for.
    pub mode: Mode,
}

/// A text that is no [`Device`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form IFACE or IFACE,skb")]
pub struct DeviceError(String);

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let (name, mode) = match text.split_once(',') {
            None => (text, Mode::Native),
            Some((name, "skb")) => (name, Mode::Skb),
            Some(_) => return Err(DeviceError(text.to_owned())),
        };
        let legal = (1..=MAX_NAME).contains(&name.len()) && !name.contains(['/', ' ', '\0']);
        if !legal {
            return Err(DeviceError(text.to_owned()));
        }
        Ok(Self {
            interface: name.to_owned(),
            mode,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Native => f.write_str(&self.interface),
            Mode::Skb => write!(f, "{},skb", self.interface),
        }
    }
}

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
        let failed = |source| Error::System {
            what: "cannot ask for the interface's addresses",
            source,
        };
        let facts = netlink::link(index, None).map_err(failed)?;
        let mac = facts.mac.filter(|mac| *mac != [0; 6]);
        let Some(mac) = mac else {
            return Err(Missing(format!("`{name}` has no Ethernet address")).into());
        };
        let addresses = netlink::addresses(index).map_err(failed)?;
        if addresses.is_empty() {
            return Err(Missing(format!(
                "`{name}` has no IPv4 address (`ip addr add` gives it one)"
            ))
            .into());
        }
        Ok(Self {
            name: name.to_owned(),
            mac,
            addresses: addresses.iter().map(|a| (a.address, a.broadcast)).collect(),
            peer: peer(&facts),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_interface_and_maybe_skb() {
        let native: Device = "eth0".parse().unwrap();
        assert_eq!((native.interface.as_str(), native.mode), ("eth0", Mode::Native));
        let skb: Device = "eth0,skb".parse().unwrap();
        assert_eq!((skb.mode, skb.to_string().as_str()), (Mode::Skb, "eth0,skb"));
        for bad in [
            "",
            ",skb",
            "eth0,",
            "eth0,native",
            "eth0,skb,skb",
            "a/b",
            "a_name_of_16_byt",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_has_no_ethernet_address() {
        let error = Interface::find("lo").unwrap_err();
        assert_eq!(error.to_string(), "`lo` has no Ethernet address");
    }
}
