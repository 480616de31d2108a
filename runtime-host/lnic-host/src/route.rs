//! Ways to services for a NIC that asks them itself: whether what it sends gets there ([`reached`]), and whom it sends
//! that to ([`hop`]).
//!
//! Next hops are read from the kernel's tables as text: `/proc/net/route` and `/proc/net/arp` (proc(5)).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};

/// A way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    /// The interface that packets leave by.
    interface: String,
    /// The next hop, where it is not the address itself.
    gateway: Option<Ipv4Addr>,
}

/// The way to an address.
fn to(address: Ipv4Addr) -> Option<Route> {
    best(&std::fs::read_to_string("/proc/net/route").ok()?, address)
}

/// The address of a service, if packets that leave by the interface with the address `own` get there; else why not: a
/// clause that can follow "which".
///
/// # Errors
/// That clause.
pub fn reached(own: Ipv4Addr, service: &str) -> Result<SocketAddrV4, String> {
    let address = resolve(service)?;
    leaves_from(own, address).map(|()| address)
}

/// The address that a text means, if packets from the NIC get there; else why not. What they leave by is the wire, so
/// this machine's own addresses are out of their reach.
fn resolve(text: &str) -> Result<SocketAddrV4, String> {
    let found = text.to_socket_addrs().map(|mut found| found.next());
    let Ok(Some(SocketAddr::V4(address))) = found else {
        return Err(format!("has no IPv4 address ({text})"));
    };
    // Only own addresses can be bound.
    let is_own = address.ip().is_unspecified() || UdpSocket::bind((*address.ip(), 0)).is_ok();
    match is_own {
        true => Err(format!("is on this host ({text}), where the NIC can't reach it")),
        false => Ok(address),
    }
}

/// Whether packets to a service leave by the interface that the NIC answers at: its programs send by no other.
fn leaves_from(own: Ipv4Addr, service: SocketAddrV4) -> Result<(), String> {
    // Connecting sends nothing; the kernel looks for a route and takes the address of its interface.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let local = socket.and_then(|socket| socket.connect(service).and_then(|()| socket.local_addr()));
    match local {
        Ok(local) if local.ip() == own => Ok(()),
        Ok(_) => Err(format!("is reached by another interface ({service})")),
        Err(error) => Err(format!("cannot be reached ({service}: {error})")),
    }
}

/// The Ethernet address of the next hop to an address, if the way leads out of an interface and the kernel knows it.
pub fn hop(interface: &str, address: Ipv4Addr) -> Option<[u8; 6]> {
    let route = to(address).filter(|route| route.interface == interface)?;
    let neighbours = std::fs::read_to_string("/proc/net/arp").ok()?;
    neighbour(&neighbours, interface, route.gateway.unwrap_or(address))
}

/// The most specific route to an address, from the text of `/proc/net/route`: lines of
/// interface, destination, gateway, flags, three counts, and mask; numbers are hexadecimal, addresses as a little-endian
/// machine reads them.
fn best(text: &str, to: Ipv4Addr) -> Option<Route> {
    let lines = text.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let address = |at: usize| number(at).map(u32::swap_bytes);
        // RTF_UP of Linux include/uapi/linux/route.h.
        let up = number(3)? & 1 == 1;
        let (destination, mask) = (address(1)?, address(7)?);
        let metric: u32 = words.get(6)?.parse().ok()?;
        let fits = up && to.to_bits() & mask == destination;
        let gateway = Some(address(2)?).filter(|gateway| *gateway != 0);
        fits.then_some((mask, std::cmp::Reverse(metric), *words.first()?, gateway))
    });
    let best = lines.max_by_key(|(mask, metric, ..)| (*mask, *metric))?;
    Some(Route {
        interface: best.2.to_owned(),
        gateway: best.3.map(Ipv4Addr::from_bits),
    })
}

/// The Ethernet address of a neighbour, from the text of `/proc/net/arp`: lines of address, type, flags, Ethernet
/// address, mask and interface.
fn neighbour(text: &str, interface: &str, address: Ipv4Addr) -> Option<[u8; 6]> {
    text.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [ip, _, _, mac, .., device] = words[..] else {
            return None;
        };
        if device != interface || ip.parse() != Ok(address) {
            return None;
        }
        let mut bytes = [0; 6];
        let mut pieces = mac.split(':');
        for byte in &mut bytes {
            *byte = u8::from_str_radix(pieces.next()?, 16).ok()?;
        }
        // Zeros stand for one that is not known yet.
        Some(bytes).filter(|bytes| *bytes != [0; 6])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0000010A\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0
eth2\t0000010A\t00000000\t0001\t0\t0\t50\t0000FFFF\t0\t0\t0
";

    #[test]
    fn the_most_specific_route_wins_and_of_two_the_cheaper() {
        let default = (
            Ipv4Addr::new(8, 8, 8, 8),
            "eth0",
            Some(Ipv4Addr::new(10, 0, 0, 1)),
        );
        let near = (Ipv4Addr::new(10, 1, 7, 7), "eth2", None);
        for (to, interface, gateway) in [default, near] {
            let interface = interface.to_owned();
            assert_eq!(best(ROUTES, to), Some(Route { interface, gateway }), "{to}");
        }
        assert_eq!(best("", Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn a_neighbour_is_one_of_the_interface_whose_address_is_known() {
        let text = "\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         02:00:00:00:00:01     *        eth0
10.0.0.2         0x1         0x0         00:00:00:00:00:00     *        eth0
";
        let of = |device: &str, last: u8| neighbour(text, device, Ipv4Addr::new(10, 0, 0, last));
        assert_eq!(of("eth0", 1), Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(of("eth0", 2), None);
        assert_eq!(of("eth1", 1), None);
    }

    #[test]
    fn the_address_that_packets_leave_from_decides() {
        let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 11211);
        assert_eq!(leaves_from(Ipv4Addr::LOCALHOST, loopback), Ok(()));
        let other = leaves_from(Ipv4Addr::new(192, 0, 2, 1), loopback).unwrap_err();
        assert_eq!(other, "is reached by another interface (127.0.0.1:11211)");
    }

    #[test]
    fn own_addresses_are_out_of_reach() {
        assert!(resolve("127.0.0.1:11211").is_err());
        assert!(resolve("0.0.0.0:11211").is_err());
        assert!(resolve("[::1]:11211").is_err());
        // Of TEST-NET-1 (RFC 5737): nobody's.
        let far = "192.0.2.77:11211";
        assert_eq!(resolve(far), Ok(far.parse().unwrap()));
    }
}
