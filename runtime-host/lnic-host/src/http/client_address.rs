//! Who called: the peer of the connection, or whom trusted proxies say they speak for.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::prefix::{Prefix, any_contains};

/// The client's IPv4 address for `pkt.src_ip`; 0 where it is unknown or IPv6.
///
/// `X-Forwarded-For` is read from its end, for as long as who wrote the entry is a trusted proxy.
pub(super) fn source_ip(peer: SocketAddr, headers: &HeaderMap, proxies: &[Prefix]) -> u32 {
    let mut client = Some(peer.ip());
    if !proxies.is_empty() {
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !client.is_some_and(|ip| any_contains(proxies, ip)) {
                break;
            }
            client = parse_hop(hop.trim());
        }
    }
    match client.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(v4)) => v4.to_bits(),
        _ => 0,
    }
}

/// An address with or without a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    hop.parse::<SocketAddr>()
        .map(|address| address.ip())
        .or_else(|_| hop.trim_matches(['[', ']']).parse())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let ip = source_ip(peer.parse().unwrap(), &headers, &proxies);
        std::net::Ipv4Addr::from_bits(ip).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(source("8.8.8.8:1", &["1.2.3.4"]), "8.8.8.8");
        assert_eq!(source("10.0.0.1:1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(source("10.0.0.1:1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(source("10.0.0.1:1", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(source("[fd00::1]:1", &["1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn unknown_and_ipv6_clients_are_zero() {
        assert_eq!(source("10.0.0.1:1", &["unknown"]), "0.0.0.0");
        assert_eq!(source("10.0.0.1:1", &["[2001:db8::1]:5"]), "0.0.0.0");
        assert_eq!(source("[2001:db8::1]:5", &[]), "0.0.0.0");
        assert_eq!(source("10.0.0.1:1", &[]), "10.0.0.1");
    }
}
