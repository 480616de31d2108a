//! The unit's table of services: what the compiler says in it, and what the tools that load a unit write into it
//! (`lnic_wait.h`).

use std::net::SocketAddrV4;

use lambdac_mir::Service;

/// The table's symbol.
pub const SYMBOL: &str = "lnic_services";
/// Bytes of a row; a service's is the one of its number in the image.
pub const ROW: u64 = 32;
/// Where a row has the way to its service ([`way`]).
pub const WAY: u64 = 8;
/// Where a row says that the way is known: a word, 0 or 1.
pub const KNOWN: u64 = 20;

/// A row as the unit has it at first: where the service is, as far as the image says so, and how long it may take.
pub(crate) fn row(service: &Service) -> Vec<u8> {
    let address: Option<SocketAddrV4> = service.address.parse().ok();
    let ip = address.map_or(0, |address| address.ip().to_bits());
    let port = address.map_or(0, |address| address.port());
    let words = [ip, port.into(), 0, 0, 0, 0];
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(service.timeout.to_be_bytes());
    bytes
}

/// The way to a service: the next hop's Ethernet address, in two words, and the card's port that leads there.
pub fn way(hop: [u8; 6], port: u32) -> [u8; 12] {
    let [a, b, c, d, e, f] = hop;
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&[a, b, c, d]);
    bytes[6..8].copy_from_slice(&[e, f]);
    bytes[8..].copy_from_slice(&port.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use lambdac_mir::{Protocol, Service};

    use super::*;

    #[test]
    fn rows_are_as_the_header_reads_them() {
        let (_, header) = crate::HEADERS
            .iter()
            .find(|(name, _)| *name == "lnic_wait.h")
            .unwrap();
        let says = |name: &str, value: u64| {
            let lines = [
                format!("#define {name} {value}\n"),
                format!("#define {name} {value}u\n"),
            ];
            assert!(lines.iter().any(|line| header.contains(line)), "{name}");
        };
        says("LNIC_SERVICE_BYTES", ROW);
        says("LNIC_SERVICE_MAC_HI", WAY);
        says("LNIC_SERVICE_MAC_LO", WAY + 4);
        says("LNIC_SERVICE_EGRESS", WAY + 8);
        says("LNIC_SERVICE_KNOWN", KNOWN);
        let service = Service {
            name: "cache".into(),
            protocol: Protocol::Memcached,
            address: "10.0.0.1:11211".into(),
            timeout: 7,
        };
        let row = row(&service);
        assert_eq!(row.len() as u64, ROW);
        assert_eq!(row[..8], [10, 0, 0, 1, 0, 0, 0x2b, 0xcb]);
        assert_eq!(row[31], 7);
        let way = way([2, 3, 4, 5, 6, 7], 1);
        assert_eq!(way, [2, 3, 4, 5, 0, 0, 6, 7, 0, 0, 0, 1]);
    }
}
