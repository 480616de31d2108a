//! The host's end of a card: the virtual function that the worker's address is on.
//!
//! Frames that go out by it come in to the card as [`HOST_PORT`](lambdac_driver::nfp::HOST_PORT), past the host's own
//! stack, which would keep what is for its own address.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lambdac_driver::nfp::Listen;
use lnic_ether::{Interface, PortRow, Wire};
use lnic_host::route;

use super::Result;
use crate::machine::NOBODY;

/// What the host does by its end of a card.
pub trait Port: Send + Sync {
    /// Sends a frame to the card.
    ///
    /// # Errors
    /// If the kernel does not take it.
    fn send(&self, frame: &[u8]) -> io::Result<()>;
    /// The next frame from the card that goes to who asks for the worker, or comes back from it; none if there is none
    /// within a time.
    ///
    /// # Errors
    /// If the interface is gone.
    fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>>;
    /// The address of a service that a text means, if the card's packets get there.
    ///
    /// # Errors
    /// Why not, as a clause that can follow the service's name.
    fn reach(&self, service: &str) -> Result<SocketAddrV4, String>;
    /// The Ethernet address of the next hop to a service, where the kernel knows it.
    fn hop(&self, service: Ipv4Addr) -> Option<[u8; 6]>;
    /// Keeps the row of ports that starts here from everybody on this host.
    ///
    /// # Errors
    /// If somebody has one of them.
    fn reserve(&self, first: u16) -> lnic_ether::Result<PortRow>;
}

/// A virtual function of a card.
#[derive(Debug)]
pub struct VirtualFunction {
    interface: Interface,
    address: Ipv4Addr,
    wire: Wire,
}

impl VirtualFunction {
    /// The one that has an address.
    ///
    /// # Errors
    /// If none has, or frames can't be sent by it.
    pub fn open(address: Ipv4Addr) -> Result<Self> {
        let interface = Interface::with_address(address)?;
        let wire = Wire::listen(&interface.name, NOBODY)?;
        Ok(Self {
            interface,
            address,
            wire,
        })
    }

    /// Where the card answers for a worker at its address.
    pub fn listen(&self, port: u16) -> Listen {
        let broadcast = self.interface.broadcast_of(self.address).flatten();
        Listen {
            mac: self.interface.mac,
            address: self.address.to_bits(),
            port,
            broadcast: broadcast.unwrap_or(Ipv4Addr::BROADCAST).to_bits(),
        }
    }
}

impl Port for VirtualFunction {
    fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.wire.send(frame)
    }

    fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        self.wire.receive(within)
    }

    fn reach(&self, service: &str) -> Result<SocketAddrV4, String> {
        route::reached(self.address, service)
    }

    fn hop(&self, service: Ipv4Addr) -> Option<[u8; 6]> {
        route::hop(&self.interface.name, service)
    }

    fn reserve(&self, first: u16) -> lnic_ether::Result<PortRow> {
        PortRow::at(self.address, first)
    }
}
