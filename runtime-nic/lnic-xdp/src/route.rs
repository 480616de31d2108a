//! Ways to services, from the kernel's tables as text: `/proc/net/route` and `/proc/net/arp` (proc(5)).

use std::net::Ipv4Addr;

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

/// The Ethernet address of the next hop to an address, if the way leads out of an interface and the kernel knows it.
pub(crate) fn hop(interface: &str, address: Ipv4Addr) -> Option<[u8; 6]> {
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
}
