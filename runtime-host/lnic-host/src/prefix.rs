//! Address prefixes: who is trusted as a caller, and who as a proxy.

use std::net::IpAddr;
use std::str::FromStr;

/// An address prefix such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// A text that is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address prefix such as 10.0.0.0/8")]
pub struct PrefixError(String);

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let error = || PrefixError(text.to_owned());
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(most), |len| len.parse().map_err(|_| error()))?;
        if len > most {
            return Err(error());
        }
        Ok(Prefix { address, len })
    }
}

impl Prefix {
    /// Whether `address` lies in the prefix. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.checked_shr(32 - u32::from(self.len)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.checked_shr(128 - u32::from(self.len)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Address and length of an IPv4 prefix, bits beyond the length cleared; none of an IPv6 one.
    pub fn ipv4(&self) -> Option<(std::net::Ipv4Addr, u8)> {
        let IpAddr::V4(address) = self.address else {
            return None;
        };
        let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
        Some((std::net::Ipv4Addr::from_bits(address.to_bits() & mask), self.len))
    }

    /// The prefixes trusted unless told otherwise: loopback and the private ranges.
    pub fn private() -> Vec<Prefix> {
        let v4 = |a, b, len| Prefix {
            address: IpAddr::from([a, b, 0, 0]),
            len,
        };
        let v6 = |first, last, len| Prefix {
            address: IpAddr::from([first, 0, 0, 0, 0, 0, 0, last]),
            len,
        };
        vec![
            v4(127, 0, 8),
            v4(10, 0, 8),
            v4(172, 16, 12),
            v4(192, 168, 16),
            v6(0, 1, 128),
            v6(0xfc00, 0, 7),
            v6(0xfe80, 0, 10),
        ]
    }
}

/// Whether any of `prefixes` holds `address`.
pub(crate) fn any_contains(prefixes: &[Prefix], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(address: &str) -> bool {
        any_contains(&Prefix::private(), address.parse().unwrap())
    }

    #[test]
    fn loopback_and_private_ranges_are_trusted_by_default() {
        for address in [
            "127.9.9.9",
            "10.255.0.1",
            "172.31.0.1",
            "192.168.7.1",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(trusted(address), "{address}");
        }
        for address in ["172.32.0.1", "8.8.8.8", "2001:db8::1", "::2", "::ffff:8.8.8.8"] {
            assert!(!trusted(address), "{address}");
        }
    }

    #[test]
    fn an_ipv4_prefix_has_no_bits_beyond_its_length() {
        let parts = |text: &str| text.parse::<Prefix>().unwrap().ipv4();
        assert_eq!(parts("10.1.2.3/8"), Some(([10, 0, 0, 0].into(), 8)));
        assert_eq!(parts("10.1.2.3/0"), Some(([0, 0, 0, 0].into(), 0)));
        assert_eq!(parts("10.1.2.3"), Some(([10, 1, 2, 3].into(), 32)));
        assert_eq!(parts("fd00::/8"), None);
    }

    #[test]
    fn prefixes_parse_and_bad_ones_are_refused() {
        assert!(
            "0.0.0.0/0"
                .parse::<Prefix>()
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
        assert!(
            "::/0"
                .parse::<Prefix>()
                .unwrap()
                .contains("2001:db8::1".parse().unwrap())
        );
        assert!(
            "1.2.3.4"
                .parse::<Prefix>()
                .unwrap()
                .contains("1.2.3.4".parse().unwrap())
        );
        for bad in ["1.2.3.4/33", "::/129", "x/8", "1.2.3.4/", ""] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
