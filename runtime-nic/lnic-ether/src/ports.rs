//! A row of UDP ports that services answer a NIC at.
//!
//! The NIC takes what comes to them, before the host sees it; sockets of this process only keep others away.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Result, system};

/// Where rows start: above the well-known ports, below the ports that Linux gives out (ip_local_port_range).
const FIRST: u16 = 16_384;
const LAST: u16 = 32_768 - PortRow::PORTS;
/// Rows that are tried before we give up.
const TRIES: u16 = 128;
/// What was not done.
const REFUSED: &str = "cannot get a row of UDP ports for services' answers";

/// A row of ports on an address that are ours.
#[derive(Debug)]
pub struct PortRow {
    first: u16,
    sockets: Vec<UdpSocket>,
}

impl PortRow {
    /// Ports in a row: with 16 bits of id, 2^22 guesses for an answer. A power of two.
    pub const PORTS: u16 = 64;

    /// Takes some row that is free.
    ///
    /// # Errors
    /// If none of many is.
    pub fn bind(address: Ipv4Addr) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut first = FIRST + (since.as_micros() % u128::from(LAST - FIRST)) as u16;
        let mut last = None;
        for _ in 0..TRIES {
            match take(address, first) {
                Ok(row) => return Ok(row),
                Err(error) => last = Some(error),
            }
            first = FIRST + (first - FIRST + Self::PORTS) % (LAST - FIRST);
        }
        let last = last.unwrap_or_else(|| std::io::Error::other("none was tried"));
        Err(system(REFUSED)(last))
    }

    /// Takes the row that starts here.
    ///
    /// # Errors
    /// If somebody has one of its ports.
    pub fn at(address: Ipv4Addr, first: u16) -> Result<Self> {
        take(address, first).map_err(system(REFUSED))
    }

    /// The first port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// Has the kernel find out how to reach a service: an empty datagram, which memcached ignores.
    pub fn nudge(&self, service: SocketAddrV4) {
        if let Some(socket) = self.sockets.first() {
            // Whether anyone hears it does not matter.
            let _ = socket.send_to(&[], service);
        }
    }
}

fn take(address: Ipv4Addr, first: u16) -> std::io::Result<PortRow> {
    let ports = first..first.saturating_add(PortRow::PORTS);
    let sockets = ports.map(|port| UdpSocket::bind((address, port)));
    let sockets = sockets.collect::<std::io::Result<Vec<_>>>()?;
    Ok(PortRow { first, sockets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_ours_alone() {
        let row = PortRow::bind(Ipv4Addr::LOCALHOST).unwrap();
        const { assert!(PortRow::PORTS.is_power_of_two()) };
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, row.first() + 1)).is_err());
        assert!(PortRow::at(Ipv4Addr::LOCALHOST, row.first()).is_err());
        let other = PortRow::bind(Ipv4Addr::LOCALHOST).unwrap();
        assert!(other.first().abs_diff(row.first()) >= PortRow::PORTS);
    }
}
